# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs over timeouts and daemons with the fake kernel: what is written, restarted, rolled back, snapshotted."""

from __future__ import annotations

import dataclasses
import errno
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _boot, _ipvs_interface
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_settings_run as run_file
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._genl import Connection
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_drain import Wish, drain
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_kernel import KernelTable
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_lock import Lock
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import Environment, reconcile
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_settings import Daemon, read_settings
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_snapshot import bring_back, take
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_ipvs import (
    BACKUP,
    DEL_DAEMON,
    MASTER,
    NEW_DAEMON,
    SET_CONFIG,
    FakeIpvs,
    FakeSocket,
    Sync,
)

SEND = {"role": "master", "interface": "eth0", "syncid": 7}
TAKE = {"role": "backup", "interface": "eth0", "syncid": 7}
WEB = {"address": "192.168.1.110", "port": 80, "realservers": [{"address": "10.0.0.1", "upper_threshold": 9}]}
DNS = {"protocol": "udp", "address": "192.168.1.110", "port": 53, "realservers": [{"address": "10.0.0.2"}]}
MIXED = {"address": "192.168.1.111", "port": 80, "realservers": [{"address": "2001:db8::2", "forwarding": "tun"}]}


class Director:
    """A host with the fake kernel, whose interfaces lack what the test says."""

    def __init__(self, root: Path) -> None:
        self.kernel = FakeIpvs()
        self.path = str(root / "ipvs.json")
        self.lacks: dict[str, str] = {}
        (root / "proc").mkdir()
        self.proc = root / "proc/ip_vs"
        self.proc.write_text("")
        (root / "proc/modules").write_text("ip_vs 1 0 - Live 0x0\nip_vs_wlc 1 0 - Live 0x0\n")
        self.environment = Environment(
            KernelModules(str(root), "6.1.0", lambda _arguments: (1, "not here")),
            lambda: Connection(self.kernel.socket),
            str(self.proc),
            lock=Lock(str(root / "run")),
            strangers=lambda _keys: {},
            drained=str(root / "drained.json"),
        )

    def lacking(self, daemon: Daemon) -> str:
        return self.lacks.get(daemon.interface, "")

    def timeouts(self, check: bool = False, save: str | None = None, **stated: Any) -> dict[str, Any]:
        return run_file.set_timeouts(stated, save, check, self.environment)

    def sync(self, *daemons: dict[str, Any], **options: Any) -> dict[str, Any]:
        return run_file.set_daemons(list(daemons), environment=self.environment, lacking=self.lacking, **options)

    def ipvs(self, *config: dict[str, Any], **options: Any) -> dict[str, Any]:
        return reconcile(list(config), environment=self.environment, **options)

    def restore(self, **options: Any) -> dict[str, Any]:
        return bring_back(self.path, environment=self.environment, lacking=self.lacking, **options)

    def state(self) -> tuple[Any, ...]:
        return self.kernel.copy(), dict(self.kernel.timeouts), dict(self.kernel.daemons)

    def saved(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(Path(self.path).read_text())
        return content


@pytest.fixture
def director(tmp_path: Path) -> Director:
    return Director(tmp_path)


# ---- bytes


@pytest.mark.skipif(sys.byteorder != "little", reason="the golden bytes are those of a little-endian machine")
def test_what_is_sent_and_read_byte_by_byte(director: Director, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    send = FakeSocket.send

    def noting(self: FakeSocket, data: bytes) -> int:
        sent.append(bytes(data)[16:].hex())
        return send(self, data)

    monkeypatch.setattr(FakeSocket, "send", noting)
    director.timeouts(tcp=1200, udp=77)
    assert "0c010000" + "08000400b0040000" + "080006004d000000" in sent
    director.sync({**SEND, "group": "ff02::81", "port": 8850, "ttl": 3, "maxlen": 1400})
    assert (
        "09010000"  # NEW_DAEMON
        "4c000300"  # daemon, 76 bytes
        "0800010001000000"  # state
        "090002006574683000000000"  # interface, ends with a zero byte
        "0800030007000000"  # syncid
        "0600040078050000"  # maxlen, 16 bits
        "14000600ff020000000000000000000000000081"  # IPv6 group, 16 bytes
        "0600070092220000"  # port, machine order
        "0500080003000000"  # ttl, 8 bits
    ) in sent
    director.sync({**TAKE, "group": "239.0.0.5"})
    assert any("08000500ef000005" in data for data in sent), "the IPv4 group in 4 bytes"
    director.sync({"role": "master"}, state="deleted")
    assert "0a010000" + "0c000300" + "0800010001000000" in sent


def test_all_settings_are_read(director: Director) -> None:
    director.sync(SEND, {**TAKE, "interface": "eth1", "group": "ff05::8"})
    table = KernelTable(Connection(director.kernel.socket), 0x1C)
    settings = read_settings(table)
    assert (settings.version, settings.connection_buckets) == ("1.2.1", 4096)
    assert tuple(settings.timeouts) == (900, 120, 300)
    assert settings.daemons == [
        Daemon("master", "eth0", 7, "224.0.0.81", 8848, 1, 1472),
        Daemon("backup", "eth1", 7, "ff05::8", 8848, 1, 8952),
    ]


# ---- timeouts


def test_timeouts_that_are_not_stated_stay(director: Director) -> None:
    assert director.timeouts(tcp=1200, check=True)["commands"] == ["--set 1200 120 300"]
    assert director.kernel.writes == []
    result = director.timeouts(tcp=1200, udp=None)
    assert result["before"] == {"tcp": 900, "tcp_fin": 120, "udp": 300}
    assert result["after"] == {"tcp": 1200, "tcp_fin": 120, "udp": 300}
    assert result["diff"] == {"before": "--set 900 120 300\n", "after": "--set 1200 120 300\n"}
    assert director.kernel.timeouts == {4: 1200, 5: 120, 6: 300}
    assert not director.timeouts(tcp=1200)["changed"]
    assert director.kernel.writes == [SET_CONFIG]


def test_a_protocol_that_the_kernel_lacks_is_said(director: Director) -> None:
    del director.kernel.timeouts[6]
    with pytest.raises(LvsError, match="accepted the timeouts"):
        director.timeouts(udp=77)


# ---- daemons


def test_an_unchanged_daemon_is_not_restarted(director: Director) -> None:
    director.sync(SEND, {**TAKE, "interface": "eth1"})
    started = {state: daemon.number for state, daemon in director.kernel.daemons.items()}
    for daemons in (
        (SEND, {**TAKE, "interface": "eth1"}),
        ({**SEND, "group": "224.0.0.81", "port": 8848, "ttl": 1, "maxlen": 1472},),
        ({"role": "master", "interface": "eth0"},),
    ):
        assert not director.sync(*daemons)["changed"]
    assert {state: daemon.number for state, daemon in director.kernel.daemons.items()} == started


def test_an_ipv6_group_is_the_same_however_it_is_written(director: Director) -> None:
    director.sync({**SEND, "group": "FF02:0::81"})
    assert not director.sync({**SEND, "group": "ff02:0:0:0:0:0:0:81"})["changed"]


def test_a_length_that_the_kernel_would_correct_is_refused(director: Director) -> None:
    with pytest.raises(LvsError, match="outside of 1024 to 65507"):
        director.sync({**TAKE, "maxlen": 1023})
    with pytest.raises(LvsError, match="outside of 1 to 65487"):
        director.sync({**SEND, "maxlen": 65488, "group": "ff02::81"})
    director.sync({**TAKE, "maxlen": 1024}, {**SEND, "maxlen": 1})
    assert not director.sync({**TAKE, "maxlen": 1024}, {**SEND, "maxlen": 1})["changed"]


def test_a_length_that_is_not_stated_is_kept_within_its_family(director: Director) -> None:
    director.sync({**SEND, "maxlen": 1300})
    director.sync({**SEND, "ttl": 2})
    assert director.kernel.daemons[MASTER].maxlen == 1300
    director.sync({**SEND, "group": "ff02::81"})
    assert director.kernel.daemons[MASTER].maxlen == 1452


def test_only_the_role_that_differs_is_restarted(director: Director) -> None:
    director.sync(SEND, TAKE)
    result = director.sync({**SEND, "ttl": 5}, TAKE, state="overridden")
    assert [command.split()[:2] for command in result["commands"]] == [
        ["--stop-daemon", "master"],
        ["--start-daemon", "master"],
    ]
    assert director.kernel.writes[2:] == [DEL_DAEMON, NEW_DAEMON]
    assert director.kernel.daemons[BACKUP].number == 2


def test_what_an_interface_lacks_is_found_before_anything_stops(director: Director) -> None:
    director.sync(SEND, TAKE)
    director.lacks = {"eth1": "interface eth1 is down"}
    with pytest.raises(LvsError, match="No synchronisation daemon was started or stopped: interface eth1 is down"):
        director.sync({**SEND, "interface": "eth1"}, state="overridden")
    assert director.kernel.writes == [NEW_DAEMON, NEW_DAEMON]


@pytest.mark.parametrize(("number", "words"), [(errno.ENETUNREACH, "is down"), (errno.ENOMEM, "Cannot allocate")])
def test_a_start_that_fails_brings_the_old_daemon_back(director: Director, number: int, words: str) -> None:
    director.sync(SEND, TAKE)
    director.kernel.refuse = {3: number}
    with pytest.raises(LvsError, match=r"Starting the master .* on eth1 was refused") as caught:
        director.sync({**SEND, "interface": "eth1"})
    assert words in caught.value.message
    assert caught.value.message.endswith("What ran before runs again.")
    assert director.kernel.daemons[MASTER].interface == b"eth0"
    assert director.kernel.daemons[BACKUP].number == 2


def test_a_first_start_that_fails_leaves_nothing(director: Director) -> None:
    director.kernel.refuse = {1: errno.ENOMEM}
    with pytest.raises(LvsError, match="None runs, as before"):
        director.sync(SEND, TAKE)
    assert director.kernel.daemons == {}


def test_a_rollback_that_fails_says_what_ran(director: Director) -> None:
    director.sync(SEND)
    director.kernel.refuse = {2: errno.ENOMEM, 3: errno.ENOMEM}
    with pytest.raises(LvsError, match=r"Rolling back failed too .* --start-daemon master --mcast-interface eth0"):
        director.sync({**SEND, "ttl": 2})


def other(syncid: int) -> Sync:
    """A master that another program starts."""
    return Sync(MASTER, b"eth0", syncid, 1472, bytes([224, 0, 0, 81]), 8848, 1, 99)


def test_another_program_that_starts_the_same_daemon_is_no_error(director: Director) -> None:
    director.kernel.meanwhile.append(lambda: director.kernel.daemons.update({MASTER: other(7)}))
    assert director.sync(SEND)["after"][0]["syncid"] == 7
    assert director.kernel.daemons[MASTER].number == 99


def test_another_program_that_starts_another_daemon_keeps_it(director: Director) -> None:
    director.kernel.meanwhile.append(lambda: director.kernel.daemons.update({MASTER: other(9)}))
    with pytest.raises(LvsError, match="Another program starts them as well"):
        director.sync(SEND)
    assert director.kernel.daemons[MASTER].number == 99


def test_a_daemon_that_has_ended_by_itself_is_stopped(director: Director) -> None:
    director.sync(SEND)
    director.kernel.meanwhile.append(director.kernel.daemons.clear)
    assert director.sync({"role": "master"}, state="deleted")["after"] == []


def test_realservers_of_another_family_are_named_as_the_reason(director: Director) -> None:
    director.ipvs(MIXED)
    with pytest.raises(LvsError, match="realservers of another address family"):
        director.sync(SEND)
    director.ipvs(MIXED, state="deleted")
    director.sync(SEND)
    with pytest.raises(LvsError, match="daemon runs"):
        director.ipvs(MIXED)


def test_a_kernel_that_knows_only_the_syncid(director: Director) -> None:
    director.kernel.sync_values = False
    director.sync(SEND)
    assert not director.sync(SEND)["changed"]
    with pytest.raises(LvsError, match=r"Linux 4\.3"):
        director.sync({**SEND, "port": 8850})
    assert director.kernel.daemons[MASTER].syncid == 7


def test_check_mode_starts_and_saves_nothing(director: Director) -> None:
    result = director.sync(SEND, check=True, save=director.path)
    assert result["commands"] == [
        "--start-daemon master --mcast-interface eth0 --syncid 7 --mcast-group 224.0.0.81 --mcast-port 8848"
        " --mcast-ttl 1"
    ]
    assert director.kernel.writes == []
    assert not Path(director.path).exists()


# ---- saved and brought back


def test_each_module_writes_its_part_of_the_saved_table(director: Director) -> None:
    director.timeouts(tcp=1200, save=director.path)
    director.ipvs(WEB, save=director.path)
    director.sync(SEND, TAKE, save=director.path)
    director.timeouts(udp=77, save=director.path)
    director.ipvs(DNS, save=director.path)
    content = director.saved()
    assert content["timeouts"] == {"tcp": 1200, "udp": 77}
    assert content["sync"] == [SEND, TAKE]
    assert [entry["port"] for entry in content["config"]] == [80, 53]
    director.ipvs(WEB, DNS, state="deleted", save=director.path)
    assert director.saved() == {"version": 1, "restrict": [], "config": [], "timeouts": content["timeouts"],
                                "sync": [SEND, TAKE]}  # fmt: skip


def test_a_file_of_settings_alone_owns_no_service(director: Director) -> None:
    """Without its scope it would own all of them, and the boot would delete them."""
    director.timeouts(tcp=1200, save=director.path)
    assert director.saved()["restrict"] == []


def test_the_boot_brings_back_what_it_can(director: Director) -> None:
    director.timeouts(tcp=1200, save=director.path)
    director.sync({**SEND, "interface": "eth1"}, TAKE, save=director.path)
    director.kernel.timeouts[4] = 900
    director.kernel.daemons.clear()
    director.lacks = {"eth1": "interface eth1 is down"}
    told: list[str] = []
    with pytest.raises(LvsError, match="interface eth1 is down"):
        run_file.restore_settings(director.path, told.append, director.environment, director.lacking)
    assert told[0] == "--set 1200 120 300"
    assert set(director.kernel.daemons) == {BACKUP}
    director.lacks = {}
    told.clear()
    run_file.restore_settings(director.path, told.append, director.environment, director.lacking)
    assert [line.split()[1] for line in told] == ["master"]


def test_the_boot_tries_again_for_a_while(
    director: Director, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    director.sync(SEND, save=director.path)
    time = [0.0]
    tries: list[float] = []

    def restore(_path: str, _tell: Any) -> None:
        tries.append(time[0])
        if time[0] < 4:
            raise LvsError("interface eth0 does not exist")

    def pause(seconds: float) -> None:
        time[0] += seconds

    monkeypatch.setattr(run_file, "restore_settings", restore)
    _boot.settings(director.path, 30, pause, lambda: time[0])
    assert tries == [0, 2, 4]
    assert capsys.readouterr().err.count("trying again, since interface eth0 does not exist") == 2


def test_a_snapshot_leads_back_to_everything(director: Director) -> None:
    director.ipvs(WEB, DNS)
    director.timeouts(tcp=1200)
    director.sync(SEND)
    before = director.state()
    assert take(director.path, check=True, environment=director.environment)["changed"]
    assert not Path(director.path).exists()
    assert take(director.path, environment=director.environment)["changed"]
    assert not take(director.path, environment=director.environment)["changed"]
    assert stat.S_IMODE(Path(director.path).stat().st_mode) == 0o600
    assert director.saved()["restrict"] is None, "everything"
    director.ipvs({**WEB, "realservers": [{"address": "10.0.0.9"}]}, MIXED | {"realservers": []}, state="overridden")
    director.timeouts(tcp=1, tcp_fin=2, udp=3)
    director.sync(TAKE, state="overridden")
    planned = director.restore(check=True)
    assert director.restore()["commands"] == planned["commands"]
    assert director.state()[:2] == before[:2]
    assert {state: daemon.syncid for state, daemon in director.kernel.daemons.items()} == {MASTER: 7}
    assert not director.restore()["changed"]


def test_a_snapshot_leads_back_to_records_that_would_be_refused_as_input(director: Director) -> None:
    director.ipvs(WEB)
    (svc,) = director.kernel.table.values()
    svc.flags |= 0x4  # one-packet scheduling of TCP, as other programs write it
    before = director.state()
    take(director.path, environment=director.environment)
    director.ipvs(state="overridden", allow_empty=True)
    director.restore()
    assert director.state() == before


def test_a_snapshot_is_of_one_moment_or_says_that_it_is_not(
    director: Director, monkeypatch: pytest.MonkeyPatch
) -> None:
    director.ipvs(WEB)
    (svc,) = director.kernel.table.values()
    (dest,) = svc.dests.values()
    entries = KernelTable.entries
    writes = [1]

    def moving(table: KernelTable, services: Any) -> Any:
        found = entries(table, services)
        if writes[0]:
            writes[0] -= 1
            dest.weight += 1
        return found

    monkeypatch.setattr(KernelTable, "entries", moving)
    assert take(director.path, environment=director.environment)["notes"] == []
    assert director.saved()["config"][0]["realservers"][0]["weight"] == dest.weight
    writes[0] = 99
    (note,) = take(director.path, environment=director.environment)["notes"]
    assert "Something else wrote to the table all the while" in note


def test_a_snapshot_waits_for_a_run_that_writes(director: Director, tmp_path: Path) -> None:
    director.ipvs(WEB)
    with Lock(str(tmp_path / "run")):
        impatient = director.environment._replace(lock=Lock(str(tmp_path / "run"), patience=0))
        with pytest.raises(LvsError, match="Another run"):
            take(director.path, environment=impatient)


def test_a_snapshot_of_some_services_leaves_the_others(director: Director) -> None:
    director.ipvs(WEB, DNS)
    take(director.path, [{"port": 80}], environment=director.environment)
    director.ipvs({**WEB, "port": 81}, state="overridden")
    director.restore()
    assert sorted(key[3] for key in director.kernel.table) == [80, 81]


def test_daemons_stop_before_realservers_of_another_family_come_back(director: Director) -> None:
    director.ipvs(MIXED)
    take(director.path, environment=director.environment)
    director.ipvs(state="overridden", allow_empty=True)
    director.sync(SEND)
    director.restore()
    assert director.kernel.daemons == {}
    assert len(director.kernel.table) == 1


def test_a_snapshot_has_the_weights_that_drained_realservers_get_back(director: Director) -> None:
    director.ipvs({**WEB, "realservers": [{"address": "10.0.0.1", "weight": 3}, {"address": "10.0.0.2"}]})
    drain(Wish([{"address": "10.0.0.1"}], timeout=0), director.environment)
    take(director.path, environment=director.environment)
    assert [server["weight"] for server in director.saved()["config"][0]["realservers"]] == [3, 1]
    assert not director.restore()["changed"], "a drain goes on"
    drain(Wish([{"address": "10.0.0.1"}], state="restored"), director.environment)
    assert not director.restore()["changed"], "and ends"


def test_a_snapshot_leaves_the_services_of_others_out(director: Director) -> None:
    director.ipvs(WEB, DNS)
    others = director.environment._replace(strangers=lambda keys: {key: "kube-proxy's" for key in keys if key[3] == 53})
    result = take(director.path, environment=others)
    assert result["notes"] == ["UDP service 192.168.1.110:53 was left out: kube-proxy's."]
    assert [entry["port"] for entry in director.saved()["config"]] == [80]


def test_a_table_that_is_refused_leaves_timeouts_and_daemons_as_they_were(director: Director, tmp_path: Path) -> None:
    director.ipvs(WEB)
    take(director.path, environment=director.environment)
    director.ipvs(DNS, state="overridden")
    director.timeouts(tcp=1200)
    director.sync(SEND)
    before = director.state()
    director.kernel.refuse = {len(director.kernel.writes) + 3: errno.ENOMEM}  # after timeouts, daemon, the service
    with pytest.raises(LvsError, match=r"rolled back.*Timeouts and daemons are as they were\."):
        director.restore()
    table, timeouts, daemons = director.state()
    daemons = {role: dataclasses.replace(daemon, number=before[2][role].number) for role, daemon in daemons.items()}
    assert (table, timeouts, daemons) == before
    content = director.saved()
    content["config"][0]["scheduler"] = "mh"
    (tmp_path / "lib/modules/6.1.0").mkdir(parents=True)
    (tmp_path / "lib/modules/6.1.0/modules.dep").write_text("")
    Path(director.path).write_text(json.dumps(content))
    director.kernel.writes.clear()
    with pytest.raises(LvsError, match="lacks what the table needs; nothing was changed"):
        director.restore()
    assert director.kernel.writes == []


def test_a_daemon_on_another_interface_has_the_length_that_fits_it(director: Director) -> None:
    director.sync({**SEND, "maxlen": 8972})
    assert director.sync(SEND)["after"][0]["maxlen"] == 8972
    assert director.sync({**SEND, "interface": "eth1"})["after"][0]["maxlen"] != 8972
    with pytest.raises(LvsError, match="is no name of an interface"):
        director.sync({**SEND, "interface": "eth\0"})


def test_a_snapshot_that_cannot_be_brought_back_is_found_before_the_first_write(director: Director) -> None:
    director.ipvs(WEB)
    director.sync(SEND)
    take(director.path, environment=director.environment)
    director.ipvs(WEB, state="deleted")
    director.sync(state="overridden")
    director.kernel.writes.clear()
    director.lacks = {"eth0": "interface eth0 does not exist"}
    with pytest.raises(LvsError, match="eth0 does not exist"):
        director.restore()
    content = director.saved()
    for damage in ({"timeouts": {"tcp": -1}}, {"sync": [{"role": "slave"}]}, {"config": [{"port": 80}]}):
        Path(director.path).write_text(json.dumps({**content, **damage}))
        director.lacks = {}
        with pytest.raises(LvsError):
            director.restore()
    Path(director.path).unlink()
    with pytest.raises(LvsError, match="does not exist on this host"):
        director.restore()
    assert director.kernel.writes == []


# ---- interfaces of this host


def test_what_interfaces_lack() -> None:
    assert _ipvs_interface.trouble(Daemon("backup", "nosuch0")) == "interface nosuch0 does not exist"
    assert _ipvs_interface.trouble(Daemon("backup", "lo")) == ""


def test_absent_stops_ours_and_nobody_elses(director: Director) -> None:
    director.sync(SEND, save=director.path)
    director.sync(TAKE)
    checked = director.sync(state="absent", save=director.path, check=True)
    assert [entry["role"] for entry in checked["after"]] == ["backup"]
    done = director.sync(state="absent", save=director.path)
    assert done["commands"] == ["--stop-daemon master"]
    assert [entry["role"] for entry in done["after"]] == ["backup"]
    assert not Path(director.path).exists()
    assert not director.sync(state="absent", save=director.path)["changed"]
