# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draining and restoring over the fake kernel: weights, waiting, what is remembered, what is said."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_drained as drained
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_reconcile as engine
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._genl import Connection
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_drain import Wish, drain
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_lock import Lock
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_ipvs import FakeIpvs

RS1, RS2 = "10.0.0.1", "10.0.0.2"


class Director:
    """The fake kernel with a web and a DNS service on two realservers."""

    def __init__(self, root: Path) -> None:
        self.kernel = FakeIpvs()
        self.time = 0.0
        self.sleeps: list[float] = []
        self.on_sleep: Any = lambda: None
        (root / "proc").mkdir()
        (root / "proc/modules").write_text("ip_vs 1 0 - Live 0x0\nip_vs_wlc 1 0 - Live 0x0\n")
        self.environment = engine.Environment(
            KernelModules(str(root), "6.1.0"),
            lambda: Connection(self.kernel.socket),
            "/",
            self._sleep,
            lambda: self.time,
            Lock(str(root / "run"), sleep=self._sleep, clock=lambda: self.time),
            lambda keys: {},
            str(root / "drained.json"),
            str(root),
        )
        self.run([self.service("tcp", 80, 2), self.service("udp", 53, 3)])
        self.kernel.writes.clear()

    @staticmethod
    def service(protocol: str, port: int, weight: int, *addresses: str) -> dict[str, Any]:
        realservers = [{"address": address, "weight": weight} for address in addresses or (RS1, RS2)]
        return {"address": "192.168.1.110", "protocol": protocol, "port": port, "realservers": realservers}

    def _sleep(self, seconds: float) -> None:
        self.time += seconds
        self.sleeps.append(seconds)
        self.on_sleep()

    def run(self, config: list[dict[str, Any]], state: str = "merged") -> dict[str, Any]:
        return engine.reconcile(config, state, environment=self.environment)

    def drain(self, *addresses: str, **wish: Any) -> dict[str, Any]:
        realservers = [{"address": address} for address in addresses or (RS1,)]
        return drain(Wish(realservers, **wish), self.environment)

    def restore(self, *addresses: str, **wish: Any) -> dict[str, Any]:
        return self.drain(*addresses, state="restored", **wish)

    def dests(self, address: str = RS1) -> dict[int, Any]:
        """That realserver in each service, by the service's port."""
        packed = bytes(int(part) for part in address.split("."))
        found: dict[int, Any] = {}
        for key, svc in self.kernel.table.items():
            found.update((key[3], dest) for dest in svc.dests.values() if dest.addr[:4] == packed)
        return found

    def weights(self, address: str = RS1) -> dict[int, int]:
        return {port: dest.weight for port, dest in self.dests(address).items()}

    def memory(self) -> list[int]:
        return sorted(entry.weight for entry in drained.load(self.environment.memory()).values())


@pytest.fixture
def director(tmp_path: Path) -> Director:
    return Director(tmp_path)


def test_the_weight_goes_in_all_services_and_is_remembered(director: Director) -> None:
    result = director.drain()
    assert director.weights() == {80: 0, 53: 0}
    assert director.weights(RS2) == {80: 2, 53: 3}
    assert director.memory() == [2, 3]
    assert result["changed"]
    assert result["finished"]
    assert sorted(result["commands"]) == [
        "-e -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 0",
        "-e -u 192.168.1.110:53 -r 10.0.0.1:53 -g -w 0",
    ]
    assert {row["remembered_weight"] for row in result["realservers"]} == {2, 3}


def test_a_second_run_changes_nothing_and_keeps_the_memory(director: Director) -> None:
    director.drain()
    director.kernel.writes.clear()
    assert not director.drain()["changed"]
    assert director.kernel.writes == []
    assert director.memory() == [2, 3]


def test_restrict_and_port_choose_the_services(director: Director) -> None:
    director.drain(restrict=[{"protocol": "udp"}])
    assert director.weights() == {80: 2, 53: 0}
    drain(Wish([{"address": RS2, "port": 80}]), director.environment)
    assert director.weights(RS2) == {80: 0, 53: 3}


def test_check_mode_writes_and_remembers_nothing(director: Director) -> None:
    director.dests()[80].active = 4
    result = director.drain(check=True)
    assert result["changed"]
    assert not result["finished"]
    assert director.kernel.writes == []
    assert director.memory() == []
    assert director.sleeps == []


@pytest.mark.parametrize(
    ("port", "counter", "wait_for", "waits"),
    [
        (80, "active", ("active",), True),
        (80, "inactive", ("active",), False),
        (80, "inactive", ("active", "inactive"), True),
        (80, "persistent", ("active",), False),
        (80, "persistent", ("persistent",), True),
        (53, "inactive", ("active",), True),
    ],
)
def test_what_is_waited_for(
    director: Director, port: int, counter: str, wait_for: tuple[str, ...], waits: bool
) -> None:
    setattr(director.dests()[port], counter, 1)
    result = director.drain(wait_for=wait_for, timeout=10, on_timeout="keep")
    assert result["finished"] is not waits
    assert (result["waited"] >= 10) is waits


def test_it_goes_on_as_soon_as_the_connections_have_ended(director: Director) -> None:
    director.dests()[80].active = 3

    def end() -> None:
        director.dests()[80].active -= 1 if director.dests()[80].active else 0

    director.on_sleep = end
    result = director.drain(timeout=60)
    assert result["finished"]
    assert result["waited"] == 2.0


def test_when_time_is_over_it_says_who_has_what_and_keeps_the_weight_away(director: Director) -> None:
    director.dests()[80].active = 3
    with pytest.raises(LvsError, match=r"connections are left at 10\.0\.0\.1:80 of TCP service .*: 3\.") as caught:
        director.drain(timeout=5)
    assert caught.value.details["finished"] is False
    assert director.weights() == {80: 0, 53: 0}
    assert director.memory() == [2, 3]


def test_who_leaves_for_good_is_deleted_and_forgotten(director: Director) -> None:
    director.drain(then="delete")
    assert director.weights() == {}
    assert director.weights(RS2) == {80: 2, 53: 3}
    assert director.memory() == []


def test_deleting_waits_for_the_connections(director: Director) -> None:
    director.dests()[80].active = 1
    director.drain(then="delete", on_timeout="keep", timeout=3)
    assert director.weights() == {80: 0, 53: 0}
    director.drain(then="delete", on_timeout="delete", timeout=3)
    assert director.weights() == {}


def test_the_last_realserver_with_weight_needs_a_word(director: Director) -> None:
    director.drain(RS2, restrict=[{"port": 80}])
    director.kernel.writes.clear()
    with pytest.raises(LvsError, match=r"Nobody would be left to serve TCP service 192\.168\.1\.110:80; nothing"):
        director.drain(RS1)
    assert director.kernel.writes == []
    director.drain(RS1, allow_empty=True)
    assert director.weights() == {80: 0, 53: 0}


def test_who_is_nowhere_is_an_error(director: Director) -> None:
    with pytest.raises(LvsError, match=r"has realserver 10\.0\.0\.9; nothing was changed"):
        director.drain(RS1, "10.0.0.9")
    assert director.kernel.writes == []


def test_who_was_deleted_before_is_no_error_where_deleting_is_asked_for(director: Director) -> None:
    director.drain(then="delete")
    again = director.drain(then="delete")
    assert not again["changed"]
    assert again["finished"]
    assert again["notes"] == ["No service of the IPVS table has realserver 10.0.0.1, as if it had been deleted before."]
    assert director.drain(RS1, RS2, then="delete", allow_empty=True)["changed"]
    assert director.weights(RS2) == {}


def test_a_deletion_that_was_interrupted_is_completed(director: Director, tmp_path: Path) -> None:
    """The table was written, but neither the memory nor the saved table."""
    path = str(tmp_path / "ipvs.json")
    engine.reconcile([director.service("tcp", 80, 2)], environment=director.environment, save=path)
    director.drain()
    for svc in director.kernel.table.values():
        svc.dests = {key: dest for key, dest in svc.dests.items() if dest.addr[3] != 1}
    director.drain(then="delete", save=path)
    assert director.memory() == []
    (entry,) = json.loads((tmp_path / "ipvs.json").read_text())["config"]
    assert [other["address"] for other in entry["realservers"]] == [RS2]
    director.run([director.service("tcp", 80, 2)])
    assert director.weights() == {80: 2}


def test_deleting_takes_from_the_saved_table_and_adds_no_service_to_it(director: Director, tmp_path: Path) -> None:
    path = tmp_path / "ipvs.json"
    engine.reconcile([director.service("tcp", 80, 2)], environment=director.environment, save=str(path))
    director.drain(then="delete", save=str(path))
    (entry,) = json.loads(path.read_text())["config"]
    assert (entry["protocol"], [other["address"] for other in entry["realservers"]]) == ("tcp", [RS2])


def test_the_remembered_weight_comes_back_once(director: Director) -> None:
    director.drain()
    assert director.restore()["changed"]
    assert director.weights() == {80: 2, 53: 3}
    assert director.memory() == []
    assert not director.restore()["changed"]


def test_what_the_plan_said_meanwhile_comes_back(director: Director) -> None:
    director.drain()
    director.run([director.service("tcp", 80, 7)])
    assert director.weights()[80] == 0
    director.restore()
    assert director.weights() == {80: 7, 53: 3}


def test_a_weight_that_nobody_remembers_must_be_stated(director: Director) -> None:
    director.run([director.service("tcp", 80, 0, RS1)])
    with pytest.raises(LvsError, match="No weight is remembered"):
        director.restore(restrict=[{"port": 80}])
    director.restore(restrict=[{"port": 80}], weight=4)
    assert director.weights()[80] == 4


def test_who_had_no_weight_before_keeps_none(director: Director) -> None:
    director.run([director.service("tcp", 80, 0, RS1)])
    director.drain()
    assert director.restore()["changed"]
    again = director.restore()
    assert not again["changed"]
    assert "10.0.0.1:80 of TCP service 192.168.1.110:80, which keeps weight 0" in again["notes"][0]
    assert director.weights() == {80: 0, 53: 3}


def test_what_was_read_while_drained_is_no_word_about_the_weight(director: Director) -> None:
    director.drain()
    shown = director.service("tcp", 80, 0, RS1)
    shown["realservers"].append({"address": RS2, "weight": 2})
    director.run([shown], "replaced")
    director.restore(restrict=[{"port": 80}])
    assert director.weights()[80] == 2
    director.drain()
    director.run([director.service("tcp", 80, 10, RS1)])
    director.restore(restrict=[{"port": 80}], steps=5, at_most=2)
    director.run([director.service("tcp", 80, 4, RS1)])
    director.restore(restrict=[{"port": 80}])
    assert director.weights()[80] == 10


@pytest.mark.parametrize("state", ["drained", "restored"])
def test_what_was_rolled_back_is_not_remembered(director: Director, state: str) -> None:
    if state == "restored":
        director.run([director.service("tcp", 80, 10)])
        director.drain()
    before = drained.load(director.environment.memory())
    weights = director.weights()
    director.kernel.refuse = {len(director.kernel.writes) + 1: errno.ENOMEM}
    with pytest.raises(LvsError, match="rolled back"):
        director.drain(state=state, steps=3, at_most=1)
    assert drained.load(director.environment.memory()) == before
    assert director.weights() == weights


def test_before_and_after_are_of_the_same_services(director: Director) -> None:
    director.run([director.service("tcp", 80, 1, RS1), director.service("udp", 53, 10, RS1)])
    director.drain()
    foretold = director.restore(steps=5, interval=1, check=True)
    result = director.restore(steps=5, interval=1)
    for name in ("before", "after", "commands", "diff"):
        assert foretold[name] == result[name], name
    ports = [[service["port"] for service in result[side]] for side in ("before", "after")]
    assert ports[0] == ports[1] == [80, 53]
    weights = [service["realservers"][0]["weight"] for side in ("before", "after") for service in result[side]]
    assert weights == [0, 0, 1, 10]


def test_deleting_leaves_what_the_saved_table_says_is_ours(director: Director, tmp_path: Path) -> None:
    path = str(tmp_path / "ipvs.json")
    restrict = [{"address": "192.168.1.0/24"}]
    engine.reconcile(
        [director.service("tcp", 80, 2)], "overridden", restrict, environment=director.environment, save=path
    )
    director.drain(then="delete", save=path)
    assert json.loads(Path(path).read_text())["restrict"] == restrict


def test_a_part_of_the_time_is_no_end_of_it(director: Director) -> None:
    director.dests()[80].active = 1
    part = director.drain(timeout=12, on_timeout="delete", at_once=5)
    assert (part["finished"], part["waited"], director.weights()) == (False, 5, {80: 0, 53: 0})
    with pytest.raises(LvsError, match="After 12 seconds"):
        director.drain(timeout=12, waited=10, at_once=5)
    director.drain(timeout=12, waited=10, at_once=5, on_timeout="delete")
    assert director.weights() == {}
    assert not director.drain(timeout=12, on_timeout="delete", at_once=5)["changed"]


def test_repeated_syns_stay_once_when_the_weight_is_taken(director: Director, tmp_path: Path) -> None:
    setting = tmp_path / "expire_nodest_conn"
    setting.write_text("1\n")
    values: list[str] = []
    director.on_sleep = lambda: values.append(setting.read_text().strip())
    director.dests()[80].active = 1
    director.drain(timeout=30, on_timeout="keep", at_once=5, check=True)
    director.drain(timeout=30, on_timeout="keep", at_once=5)
    assert (values[:6], values[7:]) == (["0"] * 6, ["1"] * 3)
    values.clear()
    director.drain(timeout=30, on_timeout="keep", waited=5, at_once=5)
    assert set(values) == {"1"}


def test_the_weight_comes_back_in_steps(director: Director) -> None:
    director.run([director.service("tcp", 80, 10)])
    director.drain()
    seen = []
    director.on_sleep = lambda: seen.append(director.weights()[80])
    director.restore(restrict=[{"port": 80}], steps=4, interval=30)
    assert seen == [3, 5, 8]
    assert director.weights()[80] == 10
    assert director.sleeps[-3:] == [30, 30, 30]


def test_an_interrupted_ramp_goes_on_where_it_was(director: Director) -> None:
    director.run([director.service("tcp", 80, 10)])
    director.drain()

    def interrupt() -> None:
        raise KeyboardInterrupt

    director.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        director.restore(restrict=[{"port": 80}], steps=4, interval=30)
    assert director.weights()[80] == 3
    assert 10 in director.memory()
    seen = []
    director.on_sleep = lambda: seen.append(director.weights()[80])
    director.restore(restrict=[{"port": 80}], steps=4, interval=30)
    assert seen == [5, 8]
    assert director.weights()[80] == 10


def test_a_ramp_step_by_step(director: Director) -> None:
    director.run([director.service("tcp", 80, 10)])
    director.drain()
    director.sleeps.clear()
    seen = []
    for _call in range(4):
        result = director.restore(restrict=[{"port": 80}], steps=4, interval=30, at_most=1)
        (row,) = result["realservers"]
        seen.append((row["weight"], row["remembered_weight"], result["finished"]))
    assert seen == [(3, 10, False), (5, 10, False), (8, 10, False), (10, None, True)]
    assert director.sleeps == []
    with pytest.raises(LvsError, match=r"ramp\.at_most: 0 is outside"):
        director.restore(at_most=0)


def test_other_runs_leave_a_ramp_where_it_is(director: Director) -> None:
    director.run([director.service("tcp", 80, 10)])
    director.drain()
    director.restore(restrict=[{"port": 80}], steps=4, at_most=2)
    result = director.run([director.service("tcp", 80, 20)])
    assert director.weights()[80] == 5
    assert result["notes"][0].endswith("10.0.0.1:80 of TCP service 192.168.1.110:80 (5 by now).")
    director.drain(restrict=[{"port": 80}])
    director.run([director.service("tcp", 80, 20)])
    assert director.weights()[80] == 0
    director.restore(restrict=[{"port": 80}])
    assert director.weights()[80] == 20


def test_realservers_that_are_no_dictionaries_are_mistakes(director: Director) -> None:
    with pytest.raises(LvsError, match=r"realservers\[0\]: '10\.0\.0\.1' is not a dictionary"):
        drain(Wish(["10.0.0.1"]), director.environment)  # type: ignore[list-item]  # it has to be an error in words


def test_an_interrupted_drain_is_resumed_with_the_weight_of_old(director: Director) -> None:
    director.dests()[80].active = 1

    def interrupt() -> None:
        raise KeyboardInterrupt

    director.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        director.drain()
    director.on_sleep = lambda: None
    director.dests()[80].active = 0
    assert director.drain()["finished"]
    director.restore()
    assert director.weights() == {80: 2, 53: 3}


def test_every_mistake_is_said_before_anything_is_done(director: Director) -> None:
    with pytest.raises(LvsError) as caught:
        drain(Wish([{"address": "rs1"}, {"address": RS1, "port": 70000}]), director.environment)
    assert len(caught.value.details["mistakes"]) == 2
    with pytest.raises(LvsError, match=r"timeout: -1 is outside"):
        director.drain(timeout=-1)


def test_where_ip_vs_is_not_loaded_nobody_is_found(tmp_path: Path, director: Director) -> None:
    (tmp_path / "proc/modules").write_text("")
    director.environment = director.environment._replace(proc=str(tmp_path / "nothing"))
    with pytest.raises(LvsError, match="No service of the IPVS table has realserver"):
        director.drain()


def test_without_waiting_connections_are_no_failure(director: Director) -> None:
    director.dests()[80].active = 1
    result = director.drain(timeout=0)
    assert not result["finished"]
    assert director.weights() == {80: 0, 53: 0}
    assert director.sleeps == []
