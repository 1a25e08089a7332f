# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What heartbeat runs on a director: addresses, synchronisation daemons and fencing, on a host that is played here."""

from __future__ import annotations

import importlib
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import ldirectord_config

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[4] / "roles/heartbeat/files"))

program = importlib.import_module("lvs_heartbeat")

VIP = {"address": "192.168.1.110/32", "device": "eth1", "deprecated": False}
VIP6 = {"address": "2001:db8::110/128", "device": "eth1", "deprecated": True}
INSIDE6 = {"address": "fd00::fe/64", "device": "eth2", "deprecated": False}
OTHER = {"address": "192.168.1.113/32", "device": "eth1", "deprecated": False}
SYNC = {"group": "lvs_a", "options": ["--mcast-interface", "eth2", "--syncid", "7"]}


class Host:
    """Addresses, IPVS daemons and heartbeat of a director, behind the programs that are run."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.addresses = {("192.168.1.1/24", "eth1"), ("192.168.1.110/32", "lo")}
        self.devices = {"eth1", "eth2"}
        self.daemons: dict[str, str] = {}
        self.stuck: set[str] = set()  # addresses that cannot be taken away
        self.rscstatus = "local"
        self.ran: list[list[str]] = []
        self.lines: list[str] = []
        self.told: list[list[str]] = []
        self.checker = True  # ldirectord runs
        self.tables = [""]  # what ipvsadm saves, one time after the other

    def write(self, **content: Any) -> None:
        content = {"groups": {}, "sync": None, "fence": None, "nodes": {}, "preferred": {}, **content}
        (self.folder / "lvs.json").write_text(json.dumps(content))

    def run(self, arguments: Sequence[str], given: str = "", seconds: int = 60) -> tuple[int, str, str]:
        self.ran.append(list(arguments))
        if arguments[:2] == ["ip", "-json"]:
            return 0, json.dumps(self._links()), ""
        if arguments[:2] == ["ip", "-force"]:
            return self._batch(given.splitlines())
        if arguments[0] == "ipvsadm":
            return self._ipvsadm(list(arguments[1:]))
        if arguments[0] == "cl_status":
            return 0, f"{self.rscstatus}\n", ""
        if arguments == ["systemctl", "is-active", "ldirectord.service"]:
            return 0 if self.checker else 3, "", ""
        return 0, "", ""

    def _links(self) -> list[dict[str, Any]]:
        links: dict[str, list[dict[str, Any]]] = {device: [] for device in ("lo", *sorted(self.devices))}
        for address, device in sorted(self.addresses):
            local, _slash, length = address.partition("/")
            links[device].append({"local": local, "prefixlen": int(length)})
        return [{"ifname": device, "addr_info": found} for device, found in links.items()]

    def _batch(self, lines: Sequence[str]) -> tuple[int, str, str]:
        code = 0
        for line in lines:
            self.lines.append(line)
            _address, verb, address, _dev, device, *_options = line.split()
            if device not in self.devices or address in self.stuck:
                code = 1
            elif verb == "replace":
                self.addresses.add((address, device))
            else:
                self.addresses.remove((address, device))
        return code, "", "RTNETLINK answers: no" if code else ""

    def _ipvsadm(self, words: list[str]) -> tuple[int, str, str]:
        if words[0] == "-L":
            shown = [f"{role} sync daemon ({inside})\n" for role, inside in self.daemons.items()]
            return 0, "".join(shown), ""
        if words == ["-S", "-n"]:
            return 0, self.tables.pop(0) if self.tables[1:] else self.tables[0], ""
        role = words[1]
        if (role in self.daemons) is (words[0] == "--start-daemon"):
            return 255, "", "Daemon has already run, or does not run"
        if words[0] == "--stop-daemon":
            del self.daemons[role]
            return 0, "", ""
        options = dict(zip(words[2::2], words[3::2], strict=True))
        self.daemons[role] = (
            f"mcast={options['--mcast-interface']}, syncid={options['--syncid']},"
            f" maxlen={options.get('--sync-maxlen', 1472)}, group=224.0.0.81, port=8848, ttl=1"
        )
        return 0, "", ""


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    played = Host(tmp_path)
    monkeypatch.setattr(program, "LIST", str(tmp_path / "lvs.json"))
    monkeypatch.setattr(program, "HELD", str(tmp_path / "held"))
    monkeypatch.setattr(program, "ADOPT", str(tmp_path / "adopt"))
    monkeypatch.setattr(program, "LDIRECTORD", str(tmp_path / "ldirectord.cf"))
    monkeypatch.setattr(program, "SYNCS", str(tmp_path / "syncs"))
    monkeypatch.setattr(program, "run", played.run)
    monkeypatch.setattr(
        program, "announce", lambda targets: played.told.append([entry["address"] for entry in targets])
    )
    return played


def call(*words: str) -> int:
    code: int = program.main([f"/etc/ha.d/resource.d/{words[0]}", *words[1:]])
    return code


def test_a_group_comes_and_goes(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.write(groups={"lvs_a": [VIP, VIP6, INSIDE6]})
    assert call("lvs-addresses", "lvs_a", "status") == 3
    assert capsys.readouterr().out == "stopped\n"
    before = set(host.addresses)
    assert call("lvs-addresses", "lvs_a", "start") == 0
    assert host.lines == [
        "address replace 192.168.1.110/32 dev eth1",
        "address replace 2001:db8::110/128 dev eth1 nodad valid_lft forever preferred_lft 0",
        "address replace fd00::fe/64 dev eth2 nodad valid_lft forever",
    ]
    assert host.told == [["192.168.1.110/32", "2001:db8::110/128", "fd00::fe/64"]]
    assert call("lvs-addresses", "lvs_a", "status") == 0
    assert capsys.readouterr().out == "running\n"
    assert call("lvs-addresses", "lvs_a", "stop") == 0
    # The VIP on lo, of a director that is a realserver, too, stays.
    assert host.addresses == before
    assert program.held() == {}


def test_starting_and_stopping_again_changes_nothing(host: Host) -> None:
    host.write(groups={"lvs_a": [VIP]})
    assert call("lvs-addresses", "lvs_a", "start") == 0
    assert call("lvs-addresses", "lvs_a", "start") == 0
    assert len(host.lines) == 1
    assert len(host.told) == 2  # but the neighbours are told again
    assert call("lvs-addresses", "lvs_a", "stop") == 0
    assert call("lvs-addresses", "lvs_a", "stop") == 0
    assert len(host.lines) == 2


def test_a_group_that_is_here_already_is_announced_when_it_is_taken(host: Host) -> None:
    """heartbeat asks for the status first, and starts only what does not run."""
    host.write(groups={"lvs_a": [VIP, VIP6]})
    call("lvs-addresses", "lvs_a", "status")
    assert host.told == []
    call("lvs-addresses", "lvs_a", "start")
    call("lvs-addresses", "lvs_a", "status")
    assert host.told == [["192.168.1.110/32", "2001:db8::110/128"]] * 2


def test_hundreds_of_addresses_take_as_many_processes_as_one(host: Host) -> None:
    many = [{**VIP, "address": f"10.9.{number // 250}.{number % 250 + 1}/32"} for number in range(500)]
    host.write(groups={"lvs_a": many})
    call("lvs-addresses", "lvs_a", "start")
    assert len(host.ran) == 3
    assert len(host.told[0]) == 500


def test_an_address_that_cannot_be_set_does_not_take_the_others_away(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.write(groups={"lvs_a": [VIP, {**OTHER, "device": "eth9"}]})
    assert call("lvs-addresses", "lvs_a", "start") == 0
    assert host.told == [["192.168.1.110/32"]]
    assert "192.168.1.113/32 could not be set on eth9" in capsys.readouterr().err
    # A group of which nothing can be set is better off on the other node.
    host.write(groups={"lvs_a": [{**VIP, "device": "eth9"}]})
    assert call("lvs-addresses", "lvs_a", "start") == 1


def test_an_address_that_stays_is_a_failure(host: Host) -> None:
    """heartbeat then tries again, and in the end resets the machine: the other node must not have it as well."""
    host.write(groups={"lvs_a": [VIP]})
    call("lvs-addresses", "lvs_a", "start")
    host.stuck = {"192.168.1.110/32"}
    assert call("lvs-addresses", "lvs_a", "stop") == 1
    assert "lvs_a" in program.held()


def test_what_has_left_the_list_leaves_with_the_group(host: Host) -> None:
    host.write(groups={"lvs_a": [VIP, OTHER]})
    call("lvs-addresses", "lvs_a", "start")
    host.write(groups={"lvs_a": [VIP]})
    assert call("lvs-addresses", "lvs_a", "stop") == 0
    assert not any(address.startswith("192.168.1.113") for address, _device in host.addresses)


def test_what_is_held_follows_the_list(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.write(groups={"lvs_a": [VIP, OTHER], "lvs_old": [INSIDE6]})
    call("lvs-addresses", "lvs_a", "start")
    call("lvs-addresses", "lvs_old", "start")
    host.told.clear()
    node = program.os.uname().nodename.lower()
    groups = {"lvs_a": [VIP, VIP6], "lvs_mine": [OTHER], "lvs_theirs": [INSIDE6]}
    host.write(groups=groups, preferred={"lvs_a": node, "lvs_mine": node, "lvs_theirs": "elsewhere"})
    assert program.main(["lvs_heartbeat.py", "reload"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "- 192.168.1.113/32 dev eth1",
        "+ 2001:db8::110/128 dev eth1",
        "- fd00::fe/64 dev eth2",
        "+ lvs_mine",
    ]
    assert ("2001:db8::110/128", "eth1") in host.addresses
    assert ("192.168.1.113/32", "eth1") not in host.addresses
    assert ("fd00::fe/64", "eth2") not in host.addresses
    assert [program.RESOURCE_MANAGER, "takegroup", "lvs-addresses::lvs_mine"] in host.ran
    assert sorted(program.held()) == ["lvs_a"]
    # And then nothing is left to do.
    host.write(groups={"lvs_a": [VIP, VIP6]})
    host.lines.clear()
    assert program.main(["lvs_heartbeat.py", "reload"]) == 0
    assert (host.lines, capsys.readouterr().out) == ([], "")


@pytest.mark.parametrize(("old", "new"), [("lvs_b", "lvs_a"), ("lvs_a", "lvs_b")])
@pytest.mark.parametrize("rest", [[], [INSIDE6]])
def test_what_goes_from_one_group_to_another_stays(host: Host, old: str, new: str, rest: list[dict[str, Any]]) -> None:
    """Also with a group that is no more: its end takes nothing that the other one has now."""
    host.write(groups={old: [VIP, *rest], new: [OTHER]})
    call("lvs-addresses", old, "start")
    call("lvs-addresses", new, "start")
    host.lines.clear()
    host.write(groups={new: [OTHER, VIP], **({old: rest} if rest else {})})
    assert program.main(["lvs_heartbeat.py", "reload"]) == 0
    assert host.lines == []
    assert sorted(program.held()) == sorted([new, *([old] if rest else [])])
    assert call("lvs-addresses", new, "stop") == 0
    assert ("192.168.1.110/32", "eth1") not in host.addresses


@pytest.mark.parametrize(
    ("holds", "preferred", "here"),
    [
        ("all", "elsewhere", True),
        ("local", "own", True),
        ("local", "elsewhere", False),
        ("foreign", "elsewhere", True),
        ("foreign", "own", False),
        ("none", "own", False),
        ("transition", "own", False),
    ],
)
def test_where_a_new_group_belongs(host: Host, holds: str, preferred: str, here: bool) -> None:
    node = program.os.uname().nodename.lower() if preferred == "own" else preferred
    host.write(groups={"lvs_b": [OTHER]}, preferred={"lvs_b": node})
    host.rscstatus = holds
    assert program.belongs_here("lvs_b") is here


def test_nothing_is_held_while_heartbeat_does_not_run(host: Host) -> None:
    host.write(groups={"lvs_a": [VIP], "lvs_b": [OTHER]}, sync=SYNC)
    before = set(host.addresses)
    call("lvs-addresses", "lvs_a", "start")
    host.addresses.add(("192.168.1.113/32", "eth1"))  # set by somebody, known by the list only
    assert program.main(["lvs_heartbeat.py", "release"]) == 0
    assert host.addresses == before
    assert set(host.daemons) == {"backup"}


def test_a_director_that_serves_goes_on_when_heartbeat_comes(host: Host) -> None:
    node = program.os.uname().nodename.lower()
    host.write(groups={"lvs_a": [VIP, VIP6], "lvs_b": [OTHER]}, preferred={"lvs_a": node, "lvs_b": "elsewhere"})
    host.addresses |= {("192.168.1.110/32", "eth1"), ("192.168.1.113/32", "eth1")}
    (host.folder / "adopt").touch()
    assert program.main(["lvs_heartbeat.py", "release"]) == 0
    assert ("192.168.1.110/32", "eth1") in host.addresses
    assert ("192.168.1.113/32", "eth1") not in host.addresses
    assert list(program.held()) == ["lvs_a"]
    # Once: whoever starts it after that finds nothing that is still of use.
    assert program.main(["lvs_heartbeat.py", "release"]) == 0
    assert ("192.168.1.110/32", "eth1") not in host.addresses


def test_daemons_follow_the_group(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.write(sync=SYNC)
    for action, role, shown in (("stop", "backup", "stopped"), ("start", "master", "running")):
        for _again in range(2):
            assert call("lvs-sync", "lvs_a", action) == 0
            assert set(host.daemons) == {role}
        call("lvs-sync", "lvs_a", "status")
        assert capsys.readouterr().out == f"{shown}\n"
    changing = [words[1:3] for words in host.ran if words[0] == "ipvsadm" and words[1] != "-L"]
    assert changing == [["--start-daemon", "backup"], ["--start-daemon", "master"], ["--stop-daemon", "backup"]]


def test_a_daemon_with_other_options_is_not_what_is_meant(host: Host) -> None:
    host.write(sync=SYNC)
    call("lvs-sync", "lvs_a", "start")
    host.write(sync={**SYNC, "options": [*SYNC["options"][:-1], "8"]})
    call("lvs-sync", "lvs_a", "start")
    assert "syncid=8" in host.daemons["master"]


@pytest.mark.parametrize(("held", "role"), [("lvs_a", "master"), ("lvs_b", "backup")])
def test_the_daemon_follows_the_list(host: Host, capsys: pytest.CaptureFixture[str], held: str, role: str) -> None:
    """heartbeat starts it with a group only: none runs when the VIPs of several active directors come together."""
    groups = {"lvs_a": [VIP], "lvs_b": [OTHER]}
    host.write(groups=groups)
    call("lvs-addresses", held, "start")
    host.write(groups=groups, sync=SYNC)
    assert program.main(["lvs_heartbeat.py", "reload"]) == 0
    assert (list(host.daemons), capsys.readouterr().out) == ([role], f"synchronisation: {role}\n")

    host.write(groups=groups, sync={**SYNC, "options": [*SYNC["options"][:-1], "8"]})
    assert program.main(["lvs_heartbeat.py", "reload"]) == 0
    assert "syncid=8" in host.daemons[role]

    capsys.readouterr()
    host.write(groups=groups)
    assert program.main(["lvs_heartbeat.py", "reload"]) == 0
    assert (host.daemons, capsys.readouterr().out) == ({}, "synchronisation: none\n")


@pytest.mark.parametrize("there", [["master"], ["master", "backup"]])
def test_a_list_without_daemons_leaves_those_of_others_alone(host: Host, there: list[str]) -> None:
    """One that somebody has started, and both that role director has started since we ran one."""
    if len(there) == 2:
        host.write(sync=SYNC)
        call("lvs-sync", "lvs_a", "start")
    host.daemons = dict.fromkeys(there, "mcast=eth2, syncid=7")
    host.write()
    assert program.main(["lvs_heartbeat.py", "reload"]) == 0
    assert list(host.daemons) == there


def test_daemons_that_follow_another_group_or_none_are_left_alone(host: Host) -> None:
    for sync in (SYNC, None):
        host.write(sync=sync)
        assert call("lvs-sync", "lvs_b", "start") == 0
        assert call("lvs-sync", "lvs_b", "status") == 3
    assert host.daemons == {}


def test_fencing_names_the_other_node_as_the_inventory_does(host: Host) -> None:
    host.write(fence=["/usr/local/sbin/fence", "-v"], nodes={"d1.example.org": "d1", "d2": "d2"})
    assert call("lvs-fence", "reset", "D1.example.org") == 0
    assert host.ran == [["/usr/local/sbin/fence", "-v", "d1"]]


def test_fencing_without_a_command_fails(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write()
    monkeypatch.setattr(program, "run", lambda words, seconds: (1 if words[0] == "false" else 0, "", ""))
    assert call("lvs-fence", "reset", "d1") == 1


def test_a_restart_waits_until_the_nodes_have_agreed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["transition", "foreign"])
    monkeypatch.setattr(program.time, "sleep", lambda _seconds: setattr(host, "rscstatus", next(said)))
    host.rscstatus = "transition"
    assert program.main(["lvs_heartbeat.py", "restart", "5"]) == 0
    assert host.ran == [["systemctl", "restart", "heartbeat.service"], *[["cl_status", "rscstatus"]] * 3]
    host.rscstatus = "transition"
    monkeypatch.setattr(program.time, "sleep", lambda _seconds: None)
    assert program.main(["lvs_heartbeat.py", "restart", "3"]) == 1


CHECKED: list[dict[str, Any]] = [
    {
        "name": "web",
        "protocol": "tcp",
        "address": "192.168.1.110",
        "port": 80,
        "scheduler": "wlc",
        "realservers": [
            {"address": "192.168.1.2", "port": 80, "forwarding": "dr"},
            {"address": "192.168.1.3", "port": 80, "forwarding": "dr", "weight": 0},
        ],
        "sorry_server": {"address": "192.168.1.9"},
    },
    {
        "name": "marked",
        "fwmark": 7,
        "family": "ipv6",
        "scheduler": "wlc",
        "realservers": [{"address": "2001:db8::2", "port": 0, "forwarding": "dr", "weight": 2, "upper_threshold": 100}],
        "health": {"type": "tcp", "port": 80},
    },
]
SAVED = """\
-A -t 192.168.1.110:80 -s wlc
-a -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w {}
-a -t 192.168.1.110:80 -r 192.168.1.3:80 -g -w 1
-a -t 192.168.1.110:80 -r 192.168.1.9:80 -g -w 1
-A -f 7 -6 -s wlc
-a -f 7 -6 -r [2001:db8::2]:0 -g -w {} -x 100 -y 0
"""


def test_it_waits_for_the_first_checks_of_ldirectord(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sorry server does not count, nor does a realserver that the plan gives no weight."""
    now = iter(range(100))
    monkeypatch.setattr(program.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(program.time, "sleep", lambda _seconds: None)
    assert program.main(["lvs_heartbeat.py", "wait", "20"]) == 0  # nothing is checked
    (host.folder / "ldirectord.cf").write_text(
        ldirectord_config.render({"health": {"backend": "ldirectord", "services": CHECKED}})
    )
    host.tables = ["", SAVED.format(0, 0), SAVED.format(1, 0), SAVED.format(10, 2), "read once too often"]
    assert program.main(["lvs_heartbeat.py", "wait", "20"]) == 0
    assert host.tables == ["read once too often"]
    host.tables = [SAVED.format(1, 0)]
    assert program.main(["lvs_heartbeat.py", "wait", "20"]) == 1
    assert capsys.readouterr().err == "lvs: in 20 seconds ldirectord has found no realserver for -f 7 -6\n"
    host.checker = False
    assert program.main(["lvs_heartbeat.py", "wait", "20"]) == 0


def test_a_program_that_takes_too_long_is_ended_without_a_word_of_its_arguments() -> None:
    assert program.run(["sleep", "30"], seconds=1) == (1, "", "not done after 1 seconds, ended")


def test_what_a_stonith_plugin_has_to_tell(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.write(nodes={"d1": "d1", "d2": "d2"})
    assert call("lvs-fence", "gethosts") == 0
    assert capsys.readouterr().out.split() == ["d1", "d2"]
    assert call("lvs-fence", "getconfignames") == 0
    assert capsys.readouterr().out == "hostlist\n"
    assert call("lvs-fence", "status") == 0
    assert call("lvs-fence", "dance") == 1


@pytest.mark.parametrize("words", [("lvs-addresses", "lvs_a"), ("lvs-sync", "lvs_a", "dance"), ("lvs_heartbeat.py",)])
def test_what_it_does_not_know(host: Host, words: tuple[str, ...]) -> None:
    assert call(*words) == 2
    assert host.ran == []
