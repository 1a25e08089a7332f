# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs over the fake kernel: what goes wrong, what is said about it, what is left behind."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_drained as drained
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_info as info_file
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_kernel as kernel_file
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_reconcile as reconcile_file
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._genl import Connection
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_lock import Lock
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import Environment
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_ipvs import (
    DEL_DEST,
    DEL_SERVICE,
    LOCAL,
    NEW_DEST,
    NEW_SERVICE,
    SET_DEST,
    FakeIpvs,
)


class Machine:
    """A host with the fake kernel, its modules on a disk of its own, and a clock that jumps."""

    def __init__(self, root: Path) -> None:
        self.kernel = FakeIpvs()
        self.root = root
        self.loads: list[str] = []
        self.load_error = ""
        self.time = 0.0
        self.sleeps: list[float] = []
        self.on_sleep: Any = None
        self.strangers: set[Any] = set()
        (root / "proc/net").mkdir(parents=True)
        (root / "proc/modules").write_text("ip_vs 1 0 - Live 0x0\nip_vs_wlc 1 0 - Live 0x0\n")
        (root / "sbin").mkdir()
        (root / "sbin/modprobe").write_text("")
        (root / "sbin/modprobe").chmod(0o755)
        self.proc = root / "proc/net/ip_vs"
        self.proc.write_text("")

    def install(self, *names: str) -> None:
        """Put modules on the disk."""
        folder = self.root / "lib/modules/6.1.0"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"kernel/net/netfilter/ipvs/{name}.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n" for name in names]
        (folder / "modules.dep").write_text("".join(lines))

    def unload(self) -> None:
        """A host on which ip_vs has not been loaded."""
        self.kernel.loaded = False
        self.proc.unlink()
        (self.root / "proc/modules").write_text("")

    def _modprobe(self, arguments: list[str]) -> tuple[int, str]:
        self.loads.append(arguments[-1])
        if self.load_error:
            return 1, self.load_error
        self.kernel.loaded = True
        return 0, ""

    def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds
        if self.on_sleep:
            self.on_sleep()

    @property
    def environment(self) -> Environment:
        return Environment(
            KernelModules(str(self.root), "6.1.0", self._modprobe),
            lambda: Connection(self.kernel.socket),
            str(self.proc),
            self._sleep,
            lambda: self.time,
            Lock(str(self.root / "run"), sleep=self._sleep, clock=lambda: self.time),
            lambda keys: {key: "of somebody else" for key in keys if key in self.strangers},
            str(self.root / "drained.json"),
            str(self.root),
        )

    def run(self, config: list[dict[str, Any]] | None, state: str = "merged", **options: Any) -> dict[str, Any]:
        """One run of the engine."""
        return reconcile_file.reconcile(config, state, environment=self.environment, **options)

    def other(self, config: list[dict[str, Any]], state: str = "merged") -> None:
        """Another program, which knows nothing of our lock."""
        environment = self.environment._replace(lock=Lock(str(self.root / "elsewhere")))
        reconcile_file.reconcile(config, state, environment=environment)

    def rules(self) -> list[str]:
        """The table as ipvsadm prints it."""
        environment = self.environment
        there = info_file.Machine(environment.modules, environment.connect, str(self.root), lambda _keys: {})
        rules: list[str] = info_file.gather(machine=there)["rules"]
        return rules


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def service(port: int = 80, *realservers: str, **fields: Any) -> dict[str, Any]:
    """A service of 192.168.1.110 with realservers of these addresses."""
    return {"address": "192.168.1.110", "port": port, "realservers": [{"address": rs} for rs in realservers], **fields}


# ---- one run


def test_a_run_writes_once_and_verifies(machine: Machine) -> None:
    result = machine.run([service(80, "10.0.0.1", "10.0.0.2")])
    assert result["changed"] is True
    assert result["before"] == []
    assert [entry["port"] for entry in result["after"]] == [80]
    assert result["commands"] == machine.rules()
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == "".join(f"{line}\n" for line in machine.rules())
    assert machine.kernel.writes == [NEW_SERVICE, NEW_DEST, NEW_DEST]


def test_a_second_run_writes_nothing_and_reports_nothing(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1")])
    machine.kernel.writes.clear()
    result = machine.run([service(80, "10.0.0.1")], "overridden")
    assert machine.kernel.writes == []
    assert (result["changed"], result["commands"], result["before"], result["after"]) == (False, [], [], [])


def test_results_hold_the_services_that_change_or_the_whole_table(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1"), service(81)])
    result = machine.run([service(80, "10.0.0.2"), service(81)])
    assert [entry["port"] for entry in result["before"]] == [80]
    result = machine.run([service(80, "10.0.0.3")], full=True)
    assert [entry["port"] for entry in result["before"]] == [80, 81]
    assert [len(entry["realservers"]) for entry in result["after"]] == [3, 0]
    assert "192.168.1.110:81" not in result["diff"]["after"]


def test_few_services_are_asked_for_one_by_one_and_not_all_are_read(machine: Machine) -> None:
    machine.run([service(port, "10.0.0.1") for port in range(1000, 1100)])
    sends = machine.kernel.sends
    machine.run([service(1050, "10.0.0.1")])
    assert machine.kernel.sends - sends == 3  # family, the service, its realservers


def test_ten_thousand_realservers_are_a_dozen_sends_of_writes(machine: Machine) -> None:
    config = [service(port, *(f"10.0.{n}.1" for n in range(100))) for port in range(1000, 1100)]
    machine.run(config)
    reads = 1 + 1 + 1 + 100  # family, services before, services after, their realservers
    assert machine.kernel.sends - reads == 11
    assert len(machine.kernel.writes) == 10100


def test_many_services_are_verified_by_the_kernels_own_text(machine: Machine) -> None:
    config = [service(port, "10.0.0.1", "10.0.0.2") for port in range(1000, 1100)]
    machine.run(config)
    text = machine.kernel.listing()
    machine.run([], "overridden", allow_empty=True)
    machine.proc.write_text(text)
    machine.kernel.sends = 0
    result = machine.run(config)
    assert machine.kernel.sends == 1 + 1 + 1  # family, services before, writes
    assert len(result["after"]) == 100


def test_what_the_kernels_text_shows_otherwise_is_asked_for(machine: Machine) -> None:
    config = [service(port, "10.0.0.1", "10.0.0.2") for port in range(1000, 1100)]
    machine.run(config)
    text = machine.kernel.listing()
    machine.run([], "overridden", allow_empty=True)
    machine.proc.write_text(text.replace("0A000001:03E8      Route   1 ", "0A000001:03E8      Route   2 "))
    machine.kernel.sends = 0
    assert machine.run(config)["changed"]
    assert machine.kernel.sends == 1 + 1 + 1 + 2  # the doubtful one: its service, its realservers


def test_an_unknown_state_is_an_error(machine: Machine) -> None:
    with pytest.raises(LvsError, match="state 'present' is none of merged"):
        machine.run([], "present")
    with pytest.raises(LvsError, match="negative"):
        machine.run([], drain_timeout=-1)


def test_overridden_with_an_empty_config_needs_a_word(machine: Machine) -> None:
    machine.run([service(80)])
    with pytest.raises(LvsError, match="allow_empty"):
        machine.run([], "overridden")
    assert machine.rules()
    machine.run([], "overridden", allow_empty=True)
    assert machine.rules() == []


def test_deleted_deletes_what_is_named_and_there(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1"), service(81)])
    result = machine.run([service(80), service(99)], "deleted")
    assert result["commands"] == ["-D -t 192.168.1.110:80"]
    assert [entry["realserver"] for entry in result["leaving"]] == [{"address": "10.0.0.1", "port": 80}]
    assert machine.run([service(80), service(99)], "deleted")["changed"] is False


def test_an_old_kernel_without_families_of_realservers_is_understood(machine: Machine) -> None:
    machine.kernel.dest_family = False
    config = [service(80, "10.0.0.1"), {"address": "2001:db8::1", "port": 80, "realservers": [{"address": "fd00::1"}]}]
    assert machine.run(config)["changed"] is True
    assert machine.run(config, "overridden")["changed"] is False


def test_local_addresses_converge_although_the_kernel_calls_them_local(machine: Machine) -> None:
    machine.kernel.local = {bytes([10, 0, 0, 1])}
    machine.run([service(80, "10.0.0.1", "10.0.0.2")])
    (svc,) = machine.kernel.table.values()
    assert {dest.fwd for dest in svc.dests.values()} == {LOCAL, 3}
    assert machine.run([service(80, "10.0.0.1", "10.0.0.2")], "overridden")["changed"] is False


# ---- refusals


def test_a_tunnel_to_a_local_address_converges_although_the_kernel_calls_it_local(machine: Machine) -> None:
    machine.kernel.local = {bytes([10, 0, 0, 1])}
    entry = {"address": "10.0.0.1", "forwarding": "tun", "tunnel": {"type": "gue", "port": 6080}}
    config = [{"address": "192.168.1.110", "port": 80, "realservers": [entry]}]
    assert machine.run(config)["changed"]
    assert not machine.run(config, "replaced")["changed"]


def test_what_was_written_before_a_refusal_is_rolled_back(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1")])
    before = machine.kernel.copy()
    with pytest.raises(LvsError) as caught:
        machine.run(
            [
                service(80, "10.0.0.2", scheduler="rr"),
                {"address": "2001:db8::1", "port": 80, "realservers": [{"address": "fe80::1"}]},
            ],
            "overridden",
        )
    assert machine.kernel.copy() == before
    assert "adding realserver [fe80::1]:80 of TCP service [2001:db8::1]:80 was refused" in caught.value.message
    assert "rolled back" in caught.value.message
    assert caught.value.details["rolled_back"] is True
    assert [failure["command"] for failure in caught.value.details["failures"]] == [
        "-a -t [2001:db8::1]:80 -r [fe80::1]:80 -g -w 1"
    ]


@pytest.mark.parametrize("drain_timeout", [0, 30])
def test_nobody_leaves_before_all_that_comes_is_there(machine: Machine, drain_timeout: int) -> None:
    """What is deleted and added again by the roll-back would have lost its connections."""
    machine.run([service(80, "10.0.0.1"), service(81, "10.0.0.1")])
    before = machine.kernel.copy()
    machine.kernel.writes.clear()
    with pytest.raises(LvsError, match=r"0\.0\.1\.1.* rolled back"):
        machine.run([service(80, "10.0.0.2", "0.0.1.1")], "overridden", drain_timeout=drain_timeout)
    assert machine.kernel.copy() == before
    assert DEL_SERVICE not in machine.kernel.writes
    assert machine.kernel.writes.count(DEL_DEST) == 1  # the one that had come


@pytest.mark.parametrize("drain_timeout", [0, 30])
def test_nobody_leaves_while_it_is_not_known_what_has_come(machine: Machine, drain_timeout: int) -> None:
    machine.run([service(80, "10.0.0.1")])
    machine.kernel.writes.clear()
    machine.kernel.sends = 0
    machine.kernel.lose = {2}
    with pytest.raises(LvsError, match=r"0\.0\.1\.1"):
        machine.run([service(80, "0.0.1.1")], "overridden", restrict=[{"port": 80}], drain_timeout=drain_timeout)
    assert DEL_DEST not in machine.kernel.writes


def test_a_roll_back_that_fails_says_what_is_left_to_do(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1")])
    machine.kernel.writes.clear()
    machine.kernel.refuse = {1: errno.EINVAL, **dict.fromkeys(range(2, 20), errno.ENOMEM)}
    with pytest.raises(LvsError, match="Rolling back failed too") as caught:
        machine.run([service(80, "10.0.0.1", "10.0.0.2", "10.0.0.3")])
    assert caught.value.details["rolled_back"] is False
    assert caught.value.details["rollback_commands"] == ["-d -t 192.168.1.110:80 -r 10.0.0.2:80"]


@pytest.mark.parametrize(
    ("number", "config", "words"),
    [
        (errno.ENOENT, service(80, scheduler="rr"), "has no scheduler rr (module ip_vs_rr)"),
        (errno.EAFNOSUPPORT, service(80), "IPv6 is switched off"),
        (errno.ENOPROTOOPT, service(80), "module ip_vs is being unloaded"),
        (errno.ENOMEM, service(80), "no memory left"),
        (errno.EPERM, service(80), "CAP_NET_ADMIN"),
        (errno.ENOSPC, service(80), "No space left on device (ENOSPC)"),
    ],
)
def test_a_refusal_is_told_in_words(machine: Machine, number: int, config: dict[str, Any], words: str) -> None:
    machine.kernel.refuse = {0: number}
    with pytest.raises(LvsError) as caught:
        machine.run([config])
    assert "adding TCP service 192.168.1.110:80 was refused" in caught.value.message
    assert words in caught.value.message


def test_ip_vs_that_is_unloaded_meanwhile_is_named_as_the_reason(machine: Machine) -> None:
    machine.kernel.meanwhile = [lambda: setattr(machine.kernel, "loaded", False)]
    with pytest.raises(LvsError, match=r"^Module ip_vs was unloaded during this run\. There is no table now") as caught:
        machine.run([service(80, "10.0.0.1"), service(81, "10.0.0.1")])
    assert "scheduler" not in caught.value.message
    assert caught.value.details["rolled_back"] is True


def test_what_stood_in_a_table_that_was_unloaded_is_told(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1")])
    machine.kernel.meanwhile = [lambda: setattr(machine.kernel, "loaded", False)]
    with pytest.raises(LvsError, match=r"Rolling back failed too \(there is no IPVS\)") as caught:
        machine.run([service(80, "10.0.0.2"), service(81, "10.0.0.1")])
    assert caught.value.details["rollback_commands"] == [
        "-A -t 192.168.1.110:80 -s wlc",
        "-a -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 1",
    ]


def test_mixed_families_and_a_sync_daemon_are_named_as_the_reason(machine: Machine) -> None:
    machine.kernel.sync_running = True
    entry = {"address": "fd00::1", "forwarding": "tun"}
    with pytest.raises(LvsError, match="no connection synchronisation daemon runs"):
        machine.run([{"address": "192.168.1.110", "port": 80, "realservers": [entry]}])


def test_without_the_right_to_read_the_reason_is_said(machine: Machine) -> None:
    machine.kernel.allowed = False
    with pytest.raises(LvsError, match="Reading the IPVS table is not allowed: the kernel answered EPERM"):
        machine.run([service(80)])


def test_many_refusals_are_counted_not_listed(machine: Machine) -> None:
    machine.kernel.refuse = dict.fromkeys(range(30), errno.EINVAL)
    with pytest.raises(LvsError, match="and 20 more") as caught:
        machine.run([service(port) for port in range(1, 31)])
    assert len(caught.value.details["failures"]) == 30


# ---- somebody else at work


def test_another_program_that_adds_the_same_does_no_harm(machine: Machine) -> None:
    other = service(80, "10.0.0.1")
    machine.kernel.meanwhile = [lambda: machine.other([other])]
    machine.run([service(80, "10.0.0.1", "10.0.0.2")], "replaced")
    assert machine.rules() == [
        "-A -t 192.168.1.110:80 -s wlc",
        "-a -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 1",
        "-a -t 192.168.1.110:80 -r 10.0.0.2:80 -g -w 1",
    ]


def test_another_program_that_deletes_what_leaves_does_no_harm(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1", "10.0.0.2")])
    machine.kernel.meanwhile = [lambda: machine.other([service(80, "10.0.0.2")], "replaced")]
    machine.run([service(80)], "replaced")
    assert machine.rules() == ["-A -t 192.168.1.110:80 -s wlc"]


def test_another_program_that_deletes_the_service_does_no_harm(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1")])
    machine.kernel.meanwhile = [machine.kernel.table.clear]
    machine.run([service(80, "10.0.0.1", "10.0.0.2")], "replaced")
    assert len(machine.rules()) == 3


def test_a_program_that_never_stops_writing_is_reported(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1")])
    (svc,) = machine.kernel.table.values()

    class Stubborn(dict[Any, Any]):
        def __setitem__(self, key: Any, dest: Any) -> None:
            dest.weight = 7
            super().__setitem__(key, dest)

    svc.dests = Stubborn(svc.dests)
    with pytest.raises(LvsError, match="accepted these changes but does not show them") as caught:
        machine.run([{"address": "192.168.1.110", "port": 80, "realservers": [{"address": "10.0.0.1", "weight": 3}]}])
    assert "-e -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 3" in caught.value.message


def test_lost_answers_lead_to_reading_again(machine: Machine) -> None:
    machine.kernel.lose = {2}  # family, the service, then the writes
    result = machine.run([service(80, "10.0.0.1")])
    assert result["changed"] is True
    assert machine.kernel.writes == [NEW_SERVICE, NEW_DEST]


def test_a_refusal_whose_answer_was_lost_is_found_out(machine: Machine) -> None:
    machine.kernel.lose = {2}
    entry = [{"address": "2001:db8::1", "port": 80, "realservers": [{"address": "fe80::1"}]}]
    with pytest.raises(LvsError, match="does not take fe80::1 as a realserver"):
        machine.run(entry)
    assert machine.kernel.table == {}


# ---- drain


def leaving(machine: Machine, active: list[int]) -> None:
    """Two realservers, of which the first has this many connections, one look after the other."""
    machine.run([service(80, "10.0.0.1", "10.0.0.2")])
    (svc,) = machine.kernel.table.values()
    key = (2, bytes([10, 0, 0, 1]), 80)
    svc.dests[key].active = active.pop(0)

    def pass_time() -> None:
        if active:
            svc.dests[key].active = active.pop(0)

    machine.on_sleep = pass_time
    machine.kernel.writes.clear()


def test_the_cached_route_is_renewed_after_a_change_of_method(machine: Machine) -> None:
    """The kernel keeps one route per realserver; a packet of an old connection would leave a wrong one for dr."""
    both = [{"address": "10.0.0.1", "forwarding": "nat"}, {"address": "10.0.0.2", "forwarding": "nat"}]
    machine.run([service(80, realservers=both)], "replaced")
    machine.kernel.writes.clear()
    machine.run([service(80, realservers=[{**both[0], "forwarding": "dr"}, both[1]])], "replaced", drain_timeout=4)
    assert machine.kernel.writes == [SET_DEST] * 4  # the change, and again as long as the drain may last
    assert machine.sleeps == [0.5, 1.0, 2.0]
    machine.kernel.writes.clear()
    machine.run([service(80, realservers=[{**both[0], "forwarding": "dr", "weight": 3}, both[1]])], drain_timeout=4)
    assert machine.kernel.writes == [SET_DEST], "another edit needs no renewal"


def test_a_renewal_leaves_what_another_run_wrote_meanwhile(machine: Machine) -> None:
    server = {"address": "10.0.0.1", "forwarding": "nat", "weight": 3}
    machine.run([service(80, realservers=[server])])
    key = (2, bytes([10, 0, 0, 1]), 80)
    (svc,) = machine.kernel.table.values()

    def another_run() -> None:
        svc.dests[key].weight = 0

    machine.on_sleep = another_run
    machine.run([service(80, realservers=[{**server, "forwarding": "dr"}])], drain_timeout=1)
    assert svc.dests[key].weight == 0


def test_what_another_program_wrote_is_accepted_as_it_is(machine: Machine) -> None:
    """Records that would be refused as new: what is shown can be stated, and deleted by its name."""
    machine.run([service(80, "10.0.0.1")])
    (svc,) = machine.kernel.table.values()
    (dest,) = svc.dests.values()
    svc.dests = {(2, bytes([10, 0, 0, 1]), 8080): dest}
    dest.port = 8080
    machine.kernel.writes.clear()
    shown = [service(80, realservers=[{"address": "10.0.0.1", "port": 8080, "forwarding": "dr", "weight": 1}])]
    for state in ("replaced", "merged", "overridden"):
        assert not machine.run(shown, state)["changed"], state
    with pytest.raises(LvsError, match="port 8081 with forwarding dr"):
        machine.run([service(80, realservers=[{"address": "10.0.0.1", "port": 8081}])], "replaced")
    assert machine.kernel.writes == []
    assert machine.run([{**shown[0], "pool": "none", "scheduler": "?"}], "deleted")["changed"]
    assert machine.kernel.table == {}


def test_a_part_of_a_tunnel_leaves_the_rest_as_it_is(machine: Machine) -> None:
    tunnel = {"type": "gue", "port": 6080, "checksum": "csum"}
    machine.run([service(80, realservers=[{"address": "10.0.0.1", "forwarding": "tun", "tunnel": tunnel}])])

    def after(**part: Any) -> Any:
        result = machine.run([service(80, realservers=[{"address": "10.0.0.1", "tunnel": part}])])
        return result["after"][0]["realservers"][0]["tunnel"]

    assert after(port=6081) == {**tunnel, "port": 6081}
    assert after(type="gre") == {"type": "gre", "checksum": "csum"}
    with pytest.raises(LvsError, match="a gue tunnel needs a port"):
        after(type="gue")


def test_a_realserver_leaves_when_its_connections_are_gone(machine: Machine) -> None:
    leaving(machine, [2, 1, 0, 1, 0, 0])
    result = machine.run([service(80, "10.0.0.2")], "replaced", drain_timeout=60)
    assert machine.kernel.writes == [SET_DEST, DEL_DEST]
    assert len(machine.sleeps) == 5  # one quiet look is not enough
    assert result["leaving"][0]["active"] == 0
    assert result["commands"] == [
        "-e -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 0",
        "-d -t 192.168.1.110:80 -r 10.0.0.1:80",
    ]


def test_a_realserver_leaves_when_the_time_is_over(machine: Machine) -> None:
    leaving(machine, [2, 1])
    result = machine.run([service(80, "10.0.0.2")], "replaced", drain_timeout=10)
    assert sum(machine.sleeps) == 10
    assert result["leaving"] == [
        {
            "protocol": "tcp",
            "address": "192.168.1.110",
            "port": 80,
            "realserver": {"address": "10.0.0.1", "port": 80},
            "active": 1,
            "inactive": 0,
            "persistent": 0,
        }
    ]


@pytest.mark.parametrize(
    ("found", "seen"),
    [("1", ["0"] * 5 + ["1"] * 15), ("0", ["0"] * 20), (None, [None] * 20)],
)
def test_a_repeated_syn_stays_with_its_realserver_for_a_while(
    machine: Machine, found: str | None, seen: list[str | None]
) -> None:
    """Of 20 looks in 10 seconds the first five are within the three that a handshake is given."""
    setting = machine.root / "expire_nodest_conn"
    if found is not None:
        setting.write_text(f"{found}\n")
    leaving(machine, [2, 1])
    values: list[str | None] = []
    machine.on_sleep = lambda: values.append(setting.read_text().strip() if setting.exists() else None)
    machine.run([service(80, "10.0.0.2")], "replaced", drain_timeout=10)
    assert values[:5] + values[6:] == seen[:5] + seen[6:]
    assert (setting.read_text().strip() if setting.exists() else None) == found


def test_the_setting_is_off_when_the_weight_is_taken_and_on_when_that_is_refused(machine: Machine) -> None:
    setting = machine.root / "expire_nodest_conn"
    setting.write_text("1\n")
    leaving(machine, [2])
    values: list[str] = []
    machine.kernel.meanwhile = [lambda: values.append(setting.read_text().strip())]
    machine.kernel.refuse = {0: errno.EPERM}
    with pytest.raises(LvsError):
        machine.run([service(80, "10.0.0.2")], "replaced", drain_timeout=10)
    assert (values, setting.read_text().strip()) == (["0"], "1")


def test_without_a_drain_timeout_nobody_waits_and_the_connections_are_told(machine: Machine) -> None:
    leaving(machine, [2])
    result = machine.run([], "overridden", allow_empty=True)
    assert machine.sleeps == []
    assert machine.kernel.writes == [DEL_SERVICE]
    assert [entry["active"] for entry in result["leaving"]] == [2, 0]


def test_check_mode_tells_who_would_leave_and_does_not_wait(machine: Machine) -> None:
    leaving(machine, [2])
    result = machine.run([service(80, "10.0.0.2")], "replaced", drain_timeout=60, check=True)
    assert machine.sleeps == []
    assert machine.kernel.writes == []
    assert result["leaving"][0]["active"] == 2
    assert len(result["commands"]) == 2


# ---- modules


def test_a_bare_host_in_check_mode_counts_as_empty_and_stays_bare(machine: Machine) -> None:
    machine.unload()
    machine.install("ip_vs", "ip_vs_wlc")
    result = machine.run([service(80, "10.0.0.1")], check=True)
    assert result["notes"] == ["Module ip_vs is not loaded; the table counts as empty. A real run loads it."]
    assert len(result["commands"]) == 2
    assert machine.loads == []
    assert machine.kernel.sends == 0  # even asking for the family would load the module


def test_a_bare_host_gets_ip_vs_and_its_scheduler_loaded(machine: Machine) -> None:
    machine.unload()
    machine.install("ip_vs", "ip_vs_wlc")
    assert machine.run([service(80, "10.0.0.1")])["changed"] is True
    assert machine.loads == ["ip_vs", "ip_vs_wlc"]


@pytest.mark.parametrize("modules", [["ip_vs"], ["ip_tables"]], ids=["not loaded", "no IPVS"])
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("state", ["overridden", "deleted"])
def test_to_take_services_away_nothing_is_loaded(
    machine: Machine, path: Path, modules: list[str], check: bool, state: str
) -> None:
    """A host that was torn down already, or never had a table."""
    machine.run([service(80)], "overridden", save=str(path))
    machine.unload()
    machine.install(*modules)
    gone = [service(80)] if state == "deleted" else []
    result = machine.run(gone, state, save=str(path), allow_empty=True, check=check)
    assert result["notes"][0] == "Module ip_vs is not loaded; the table counts as empty."
    assert (result["changed"], result["commands"], machine.loads) == (True, [], [])
    assert path.exists() is check


@pytest.mark.parametrize("check", [True, False])
def test_a_kernel_that_cannot_have_ip_vs_is_an_error_in_both_modes(machine: Machine, check: bool) -> None:
    machine.unload()
    machine.install("ip_tables")
    with pytest.raises(LvsError, match=r"neither built in nor in .*CONFIG_IP_VS"):
        machine.run([service(80)], check=check)


def test_ip_vs_that_does_not_load_is_an_error_that_says_why(machine: Machine) -> None:
    machine.unload()
    machine.install("ip_vs")
    machine.load_error = "modprobe: ERROR: could not insert 'ip_vs': Operation not permitted"
    with pytest.raises(LvsError, match="could not be loaded: modprobe: ERROR: could not insert"):
        machine.run([service(80)])


@pytest.mark.parametrize("check", [True, False])
def test_a_scheduler_that_is_nowhere_is_named_before_anything_is_written(machine: Machine, check: bool) -> None:
    machine.install("ip_vs", "ip_vs_wlc", "ip_vs_rr")
    with pytest.raises(LvsError) as caught:
        machine.run(
            [service(80), service(81, scheduler="twos"), service(82, persistence={"engine": "sip"})], check=check
        )
    assert "scheduler twos of TCP service 192.168.1.110:81: module ip_vs_twos is neither" in caught.value.message
    assert "persistence engine sip of TCP service 192.168.1.110:82: module ip_vs_pe_sip" in caught.value.message
    assert machine.kernel.writes == []


def test_a_scheduler_that_some_service_has_is_there_whatever_its_module_is_called(machine: Machine) -> None:
    machine.run([service(80, scheduler="rr")])
    machine.install("ip_vs", "ip_vs_wlc")
    machine.run([service(81, scheduler="rr")])
    with pytest.raises(LvsError, match="scheduler sh of TCP service"):
        machine.run([service(82, scheduler="sh")])


def test_a_scheduler_that_does_not_load_is_named_before_anything_is_written(machine: Machine) -> None:
    machine.install("ip_vs", "ip_vs_rr")
    machine.load_error = "modprobe: ERROR: Key was rejected by service"
    with pytest.raises(LvsError, match="module ip_vs_rr could not be loaded: modprobe: ERROR: Key was rejected"):
        machine.run([service(80), service(81, scheduler="rr")])
    assert machine.kernel.writes == []


def test_without_module_files_the_kernel_itself_is_asked(machine: Machine) -> None:
    """In a container the kernel's modules are on its host."""
    assert machine.run([service(80, scheduler="rr")])["changed"] is True
    with pytest.raises(LvsError, match="has no scheduler twos"):
        machine.run([service(81, scheduler="twos")])
    assert machine.loads == []


def test_a_scheduler_in_use_is_not_looked_for(machine: Machine) -> None:
    machine.run([service(80, scheduler="rr")])
    machine.install("ip_vs")
    assert machine.run([service(80, scheduler="rr", one_packet=False), service(80)][:1])["changed"] is False


# ---- saved table


@pytest.fixture
def path(machine: Machine) -> Path:
    return machine.root / "etc/lvs/ipvs.json"


def test_what_is_wanted_is_saved_for_root_alone(machine: Machine, path: Path) -> None:
    result = machine.run([service(80, "10.0.0.1")], save=str(path))
    assert f"{path} was written." in result["notes"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    content = json.loads(path.read_text())
    assert content == {"version": 1, "restrict": [], "config": result["after"]}
    assert list(path.parent.iterdir()) == [path]


def odd(machine: Machine) -> None:
    """A realserver and a service as other programs write them, and as they would be refused here."""
    machine.run([service(80, "10.0.0.1")])
    (svc,) = machine.kernel.table.values()
    svc.flags |= 0x4  # one-packet scheduling of TCP
    (dest,) = svc.dests.values()
    dest.port = 8080
    svc.dests = {dest.key: dest}


def test_records_of_others_can_be_saved_and_come_back(machine: Machine, path: Path) -> None:
    odd(machine)
    machine.run([service(80, "10.0.0.2")], save=str(path))
    assert not machine.run([service(80, "10.0.0.2")], save=str(path))["changed"]
    before = machine.kernel.copy()
    machine.kernel.table.clear()
    reconcile_file.restore(str(path), machine.environment)
    assert machine.kernel.copy() == before


def test_the_same_table_is_not_saved_again(machine: Machine, path: Path) -> None:
    machine.run([service(80, "10.0.0.1")], save=str(path))
    before = path.stat()
    result = machine.run([service(80, "10.0.0.1")], save=str(path))
    assert (result["changed"], result["notes"]) == (False, [])
    assert path.stat().st_ino == before.st_ino


def test_a_missing_file_alone_is_a_change(machine: Machine, path: Path) -> None:
    machine.run([service(80)])
    assert machine.run([service(80)], save=str(path), check=True)["changed"] is True
    assert not path.exists()
    assert machine.run([service(80)], save=str(path))["changed"] is True
    assert path.exists()


def test_only_what_was_saved_before_is_ours_to_override(machine: Machine, path: Path) -> None:
    machine.run([service(99)])
    machine.run([service(80), service(81)], "overridden", save=str(path))
    result = machine.run([service(81)], "overridden", save=str(path))
    assert result["commands"] == ["-D -t 192.168.1.110:80"]
    assert [line.split()[2] for line in machine.rules()] == ["192.168.1.110:81", "192.168.1.110:99"]


def test_an_empty_restrict_is_no_word_for_everything(machine: Machine) -> None:
    machine.run([service(99)])
    assert machine.run([], "overridden", restrict=[], allow_empty=True)["changed"] is False
    machine.run([service(80)], "overridden", restrict=[])
    assert [line.split()[2] for line in machine.rules()] == ["192.168.1.110:80", "192.168.1.110:99"]


def test_restrict_and_the_saved_table_together_are_ours(machine: Machine, path: Path) -> None:
    machine.run([service(80)], "overridden", save=str(path))
    machine.run([service(81), service(82)])
    result = machine.run(
        [service(82)], "overridden", save=str(path), restrict=[{"port": 81}, {"port": 82, "protocol": None}]
    )
    assert result["commands"] == ["-D -t 192.168.1.110:80", "-D -t 192.168.1.110:81"]
    assert json.loads(path.read_text())["restrict"] == [{"port": 81}, {"port": 82}]


def test_merging_and_deleting_keep_the_rest_of_the_saved_table(machine: Machine, path: Path) -> None:
    def ports() -> list[int]:
        return [entry["port"] for entry in json.loads(path.read_text())["config"]]

    machine.run([service(80)], save=str(path))
    machine.run([service(81)], save=str(path))
    assert ports() == [80, 81]
    machine.run([service(80)], "deleted", save=str(path))
    assert ports() == [81]
    result = machine.run([service(81)], "deleted", save=str(path))
    assert not path.exists()
    assert f"{path} was removed." in result["notes"]


def test_nothing_is_saved_when_writing_failed(machine: Machine, path: Path) -> None:
    machine.kernel.refuse = {0: errno.EINVAL}
    with pytest.raises(LvsError):
        machine.run([service(80)], save=str(path))
    assert not path.exists()


def test_the_saved_table_comes_back_as_it_was(machine: Machine, path: Path) -> None:
    config = [
        {
            "address": "192.168.1.110",
            "port": 80,
            "scheduler": "sh",
            "scheduler_flags": ["sh-port"],
            "persistence": {"timeout": 60, "netmask": "255.0.255.0"},
            "realservers": [{"address": "10.0.0.1", "weight": 0, "upper_threshold": 9, "lower_threshold": 3}],
        }
    ]
    machine.run(config, save=str(path))
    rules = machine.rules()
    machine.kernel.table.clear()
    restored = reconcile_file.restore(str(path), machine.environment)
    assert restored["changed"] is True
    assert restored["commands"] == machine.rules() == rules
    assert reconcile_file.restore(str(path), machine.environment)["changed"] is False


def test_restoring_leaves_alone_what_is_not_ours(machine: Machine, path: Path) -> None:
    machine.run([service(80)], "overridden", save=str(path), restrict=[{"address": "192.168.1.0/24"}])
    machine.run([service(81), {"address": "10.0.0.1", "port": 80}])
    reconcile_file.restore(str(path), machine.environment)
    assert machine.rules() == ["-A -t 10.0.0.1:80 -s wlc", "-A -t 192.168.1.110:80 -s wlc"]


def test_restoring_without_a_file_does_nothing(machine: Machine, path: Path) -> None:
    result = kernel_file.restore(str(path))
    assert (result["changed"], result["commands"]) == (False, [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not valid JSON"),
        ("[]", "not of version 1"),
        ('{"version": 2, "config": []}', "not of version 1"),
        ('{"version": 1, "config": [{"address": "x", "port": 80}]}', "cannot be used"),
    ],
)
def test_a_broken_saved_table_is_an_error_before_anything_is_written(
    machine: Machine, path: Path, text: str, why: str
) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(LvsError, match=why):
        machine.run([service(80)], save=str(path))
    assert machine.kernel.writes == []


def test_a_link_is_not_followed(machine: Machine, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(machine.root / "elsewhere")
    (machine.root / "elsewhere").write_text("{}")
    with pytest.raises(LvsError, match="must be a file, not a link"):
        machine.run([service(80)], save=str(path))


# ---- reading


# ---- what one run may do


def test_the_guard_counts_deleted_services(machine: Machine) -> None:
    machine.run([service(port, "10.0.0.1") for port in (80, 81, 82)])
    with pytest.raises(LvsError, match="2 services would be deleted, 1 may be") as caught:
        machine.run([service(80)], "overridden", guard={"deleted_services": 1}, check=True)
    assert "192.168.1.110:81, TCP service 192.168.1.110:82" in caught.value.message
    assert machine.run([service(80)], "overridden", guard={"deleted_services": 2})["counts"]["services_deleted"] == 2


def test_the_guard_keeps_a_share_of_the_weight(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")])
    writes = len(machine.kernel.writes)
    with pytest.raises(LvsError, match=r"80 would have weight 1 of 4") as caught:
        machine.run([service(80, "10.0.0.1")], "replaced", guard={"weight_percent": 50})
    assert caught.value.details["guard"] == {"deleted_services": 0, "weakened_services": 1}
    assert len(machine.kernel.writes) == writes
    assert machine.run([service(80, "10.0.0.1", "10.0.0.2")], "replaced", guard={"weight_percent": 50})["changed"]


def test_a_wrong_guard_is_refused(machine: Machine) -> None:
    with pytest.raises(LvsError, match="weight_percent 101 is outside of 0 to 100"):
        machine.run([service(80)], guard={"weight_percent": 101})


def test_services_of_others_stay_under_overridden_and_are_named(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1"), service(81, "10.0.0.1")])
    machine.strangers = {next(key for key in machine.kernel.table if key[3] == 81)}
    result = machine.run([], "overridden", allow_empty=True)
    assert machine.rules() == [
        "-A -t 192.168.1.110:81 -s wlc",
        "-a -t 192.168.1.110:81 -r 10.0.0.1:81 -g -w 1",
    ]
    assert result["notes"] == ["TCP service 192.168.1.110:81 was left alone: of somebody else."]
    assert machine.run([service(81, "10.0.0.2")], "overridden")["counts"]["realservers_deleted"] == 1


def test_results_of_a_large_change_hold_the_first_of_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile_file, "SHOWN_OPERATIONS", 5)
    result = machine.run([service(port, "10.0.0.1", "10.0.0.2") for port in (80, 81, 82)])
    assert result["truncated"]
    assert [entry["port"] for entry in result["after"]] == [80]
    assert len(result["commands"]) == 5
    assert result["counts"]["realservers_added"] == 6
    full = machine.run([service(port, "10.0.0.9") for port in (80, 81, 82)], "replaced", full=True)
    assert not full["truncated"]
    assert len(full["after"]) == 3
    assert len(full["commands"]) == 9


# ---- files and pools


def test_results_of_few_writes_to_large_services_are_cut_as_well(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_file, "SHOWN_OPERATIONS", 5)
    machine.run([service(port, *(f"10.0.0.{number}" for number in range(1, 5))) for port in (80, 81, 82)])
    result = machine.run([service(80), service(81), service(82)], "deleted")
    assert result["truncated"]
    assert (len(result["before"]), len(result["commands"]), len(result["leaving"])) == (1, 3, 4)
    assert result["counts"]["services_deleted"] == 3
    machine.run([service(80, *(f"10.0.0.{number}" for number in range(1, 9)))])
    result = machine.run([service(80) | {"realservers": [{"address": "10.0.0.1", "weight": 0}]}])
    assert (len(result["before"]), result["truncated"]) == (1, False)


def test_a_table_from_a_file(machine: Machine) -> None:
    source = machine.root / "table.json"
    content = {
        "version": 1,
        "restrict": [{"port": "80-89"}],
        "pools": {"web": [{"address": "10.0.0.1"}]},
        "config": [{"address": "192.168.1.110", "port": 80, "pool": "web"}],
    }
    source.write_text(json.dumps(content))
    machine.run([service(81), service(90)])
    machine.run(None, "overridden", src=str(source))
    assert [rule for rule in machine.rules() if rule.startswith("-A")] == [
        "-A -t 192.168.1.110:80 -s wlc",
        "-A -t 192.168.1.110:90 -s wlc",
    ]


def test_a_file_that_is_not_there_is_an_error(machine: Machine) -> None:
    with pytest.raises(LvsError, match="does not exist on this host; nothing was changed"):
        machine.run(None, src=str(machine.root / "table.json"))


def test_a_pool_means_the_same_as_its_realservers_written_out(machine: Machine) -> None:
    pools = {"web": [{"address": "10.0.0.1", "weight": "keep"}, {"address": "10.0.0.2", "forwarding": "nat"}]}
    names = [{"address": "192.168.1.110", "port": port, "pool": "web"} for port in (80, 81)]
    machine.run(names, "replaced", pools=pools)
    written_out = [{**name, "pool": None, "realservers": pools["web"]} for name in names]
    assert machine.run(written_out, "replaced")["changed"] is False
    machine.run([service(80, "10.0.0.1")])
    assert machine.run(names, "replaced", pools=pools)["changed"] is False


# ---- realservers that are drained


def drain(machine: Machine, port: int, weight: int) -> None:
    """Remember 10.0.0.1 of that service as drained."""
    place = next(key for key in machine.kernel.table if key[3] == port)
    path = machine.environment.memory()
    memory = drained.load(path)
    memory[place, next(iter(machine.kernel.table[place].dests))] = drained.Drained(weight, 0.0)
    drained.store(memory, path)


def weights(machine: Machine) -> list[int]:
    """What memory there is of drained realservers."""
    return [entry.weight for entry in drained.load(machine.environment.memory()).values()]


def test_a_drain_beats_the_stated_weight_and_remembers_it(machine: Machine) -> None:
    wanted = service(80, "10.0.0.1", "10.0.0.2")
    machine.run([wanted])
    drain(machine, 80, 5)
    result = machine.run([wanted], "replaced")
    assert result["changed"]
    assert result["commands"] == ["-e -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 0"]
    assert result["notes"] == [
        "Drained, so kept at weight 0 until module ipvs_drain restores them: "
        "10.0.0.1:80 of TCP service 192.168.1.110:80."
    ]
    assert weights(machine) == [1]
    assert machine.run([wanted], "replaced")["changed"] is False


def test_what_is_not_stated_leaves_the_remembered_weight(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1")])
    drain(machine, 80, 5)
    machine.run([service(80, "10.0.0.1")])
    keep = {**service(80), "realservers": [{"address": "10.0.0.1", "weight": "keep"}]}
    machine.run([keep], "replaced")
    assert weights(machine) == [5]


def test_check_mode_foretells_the_drain_and_remembers_nothing(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1")])
    drain(machine, 80, 5)
    result = machine.run([service(80, "10.0.0.1")], "replaced", check=True)
    assert result["after"][0]["realservers"][0]["weight"] == 0
    assert weights(machine) == [5]


def test_who_is_deleted_is_forgotten(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1"), service(81, "10.0.0.1")])
    drain(machine, 80, 5)
    drain(machine, 81, 6)
    machine.run([service(80)], "replaced")
    assert weights(machine) == [6]
    machine.run([service(81)], "deleted")
    assert weights(machine) == []
    assert not Path(machine.environment.memory()).exists()


def test_the_saved_table_holds_the_weight_that_comes_back(machine: Machine, path: Path) -> None:
    machine.run([service(80, "10.0.0.1")], save=str(path))
    drain(machine, 80, 5)
    machine.run([{**service(80), "realservers": [{"address": "10.0.0.1", "weight": 7}]}], save=str(path))
    assert json.loads(path.read_text())["config"][0]["realservers"][0]["weight"] == 7
    machine.kernel.table.clear()
    reconcile_file.restore(str(path), machine.environment)
    assert machine.rules()[1] == "-a -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 0"


def test_single_realservers_are_detached(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1", "10.0.0.2"), service(81, "10.0.0.1")])
    machine.run([service(80, "10.0.0.1"), service(82, "10.0.0.1")], "detached")
    assert [rule for rule in machine.rules() if rule.startswith("-a")] == [
        "-a -t 192.168.1.110:80 -r 10.0.0.2:80 -g -w 1",
        "-a -t 192.168.1.110:81 -r 10.0.0.1:81 -g -w 1",
    ]


# ---- our own runs wait for each other


def test_a_run_waits_for_another_and_then_says_who_it_is(machine: Machine) -> None:
    machine.run([service(80)])
    writes = len(machine.kernel.writes)
    with machine.environment.lock, pytest.raises(LvsError, match=rf"Another run \(process {os.getpid()}\)"):
        machine.run([service(81)])
    assert len(machine.kernel.writes) == writes
    machine.run([service(81)])
    assert len(machine.rules()) == 2


def test_while_it_waits_for_connections_others_may_write(machine: Machine) -> None:
    machine.run([service(80, "10.0.0.1", "10.0.0.2")])
    for svc in machine.kernel.table.values():
        for dest in svc.dests.values():
            dest.active = 1
    done = []

    def meanwhile() -> None:
        machine.on_sleep = None
        done.append(machine.run([service(81)]))

    machine.on_sleep = meanwhile
    machine.run([service(80, "10.0.0.1")], "replaced", drain_timeout=5)
    assert done[0]["changed"]
    assert len(machine.rules()) == 3


def test_a_single_realserver_needs_its_service(machine: Machine) -> None:
    with pytest.raises(LvsError, match=r"192\.168\.1\.110:80 does not exist; nothing was changed"):
        machine.run([service(80, "10.0.0.1")], "attached")
    machine.run([service(80)])
    machine.run([service(80, "10.0.0.1")], "attached")
    assert len(machine.rules()) == 2


def test_saving_without_restrict_keeps_the_saved_one(machine: Machine, path: Path) -> None:
    machine.run([service(80)], restrict=[{"port": "80"}], save=str(path))
    machine.run([service(80, "10.0.0.1")], "attached", save=str(path))
    saved = json.loads(path.read_text())
    assert saved["restrict"] == [{"port": "80"}]
    assert [entry["address"] for entry in saved["config"][0]["realservers"]] == ["10.0.0.1"]
