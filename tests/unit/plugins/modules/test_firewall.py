# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module `firewall` on a host in memory: the timer, the confirmation, what is kept, and what goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _firewall_foreign, _firewall_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_host import FirewallHost
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_keep import Keep
from ansible_collections.linuxvirtualserver.lvs.plugins.modules import firewall

CONFIG = {"filter": {"ssh_ports": ["22"]}}
OTHER = {"clamps": [{"family": "ipv4", "sources": ["192.168.1.110"], "mss": 1440}]}
PREFIX = "table inet lvs\ndelete table inet lvs\n"


class FakeFilter:
    """A host with nft, whose kernel shows numbers otherwise than they were given, and systemd."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = ""
        self.written = 0
        self.timer = self.service = False
        self.units: dict[str, bool] = {}
        self.refused = ""
        self.shown_late = ""
        self.before = ""
        # What iptables-nft-save ends with, says and complains.
        self.saved = (0, "", "")
        self.said: list[str] = []
        for name in ("usr/sbin", "proc/sys/net/ipv6", "run/systemd/system", "sys/module/nf_tables"):
            (root / name).mkdir(parents=True)
        (root / "usr/sbin/nft").touch(0o755)

    def run(self, words: Sequence[str], given: str = "") -> tuple[int, str, str]:
        self.said.append(" ".join(words))
        name = words[0].rpartition("/")[2]
        if "iptables" in name:
            return self.saved if name == "iptables-nft-save" else (0, "", "")
        return {"nft": self.nft, "systemctl": self.systemctl, "systemd-run": self.arm, "sh": self.undo}[name](
            list(words[1:]), given
        )

    def nft(self, words: list[str], given: str) -> tuple[int, str, str]:
        if "-c" in words:
            return (1, "", f"{self.refused}\n") if self.refused else (0, "", "")
        if "list" in words:
            return (0, self.table, "") if self.table else (1, "", "Error: No such file or directory\n")
        assert given.startswith(PREFIX)
        if "1400" in given:
            return 1, "", "/dev/stdin:6:3-6: Error: syntax error, unexpected meta\n"
        self.written += 1
        self.table = given[len(PREFIX) :].replace("& (syn | rst) == syn", "syn / syn,rst") + self.shown_late
        return 0, "", ""

    def systemctl(self, words: list[str], _given: str) -> tuple[int, str, str]:
        verb, unit = words[0], words[-1]
        if verb == "is-active" and unit.startswith("lvs-firewall-undo"):
            return 0, "active\n" if unit.endswith(".timer") and self.timer else "inactive\n", ""
        if verb in ("is-active", "is-enabled"):
            return 0, {"is-active": "active\n", "is-enabled": "enabled\n"}[verb] if self.units.get(unit) else "no\n", ""
        if verb == "stop":
            self.timer = False
        elif verb in ("reenable", "disable"):
            self.units[unit] = verb == "reenable"
        return 0, "", ""

    def arm(self, words: list[str], _given: str) -> tuple[int, str, str]:
        if self.refused == "systemd-run":
            return 1, "", "Failed to start transient timer unit"
        assert not self.timer
        assert words[-2:] == ["/bin/sh", f"{self.root}/var/lib/lvs/firewall/undo.sh"]
        self.timer = True
        return 0, "", ""

    def undo(self, words: list[str], _given: str) -> tuple[int, str, str]:
        """What the script does, read out of it."""
        folder = self.root / "var/lib/lvs/firewall"
        text = Path(words[0]).read_text(encoding="utf-8")
        if (folder / "pending.json").exists():
            (folder / "pending.json").rename(folder / "undone.json")
            given = text.split("<<'END' || status=1\n")[1].split("END\n")[0]
            assert given.startswith(PREFIX)
            self.table = given[len(PREFIX) :]
            Path(words[0]).unlink()
        return 0, "", ""

    def have_iptables(self) -> None:
        for name in ("iptables-nft-save", "iptables-nft"):
            (self.root / f"usr/sbin/{name}").touch(0o755)

    def fire(self) -> None:
        self.timer = False
        self.undo([str(self.root / "var/lib/lvs/firewall/undo.sh")], "")

    def host(self) -> FirewallHost:
        found = FirewallHost(str(self.root), self.run)
        found._ready = lambda module: module == "nf_tables"  # type: ignore[method-assign]  # whatever runs the test
        return found

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for at in ("etc", "var") for path in (self.root / at).rglob("*.*")}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFilter:
    fake = FakeFilter(tmp_path)
    run = _firewall_run.run

    def on_fake(request: _firewall_run.Request) -> _firewall_run.Outcome:
        request.root = str(fake.root)
        filter_host = fake.host()
        return run(request, filter_host, Keep(filter_host, lambda _seconds: None))

    monkeypatch.setattr(_firewall_run, "run", on_fake)
    return fake


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Any:
    def one(check: bool = False, **arguments: Any) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            firewall.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return one


def test_once_around(host: FakeFilter, call: Any) -> None:
    checked = call(config=CONFIG, check=True)
    assert (host.written, host.files()) == (0, set())
    done = call(config=CONFIG)
    for key in ("changed", "backend", "confirmed", "before", "after", "commands", "diff"):
        assert done[key] == checked[key]
    assert (done["changed"], done["backend"], done["confirmed"], host.timer) == (True, "nftables", False, True)
    assert "tcp dport 22 accept" in done["after"]
    assert done["diff"][0]["before"] == ""
    assert "etc/lvs/firewall.nft" not in host.files()
    kept = call(state="confirmed")
    assert (kept["changed"], kept["confirmed"], host.timer) == (True, True, False)
    assert host.files() == {
        "etc/lvs/firewall.nft", "etc/systemd/system/lvs-firewall.service", "var/lib/lvs/firewall/record.json"
    }  # fmt: skip
    host.units["lvs-firewall.service"] = True
    again = call(config=CONFIG)
    assert (again["changed"], again["confirmed"], host.written) == (False, True, 1)
    assert not call(state="confirmed")["changed"]
    gone = call(config={})
    assert gone["commands"][:2] == ["remove nftables", "systemctl disable --now lvs-firewall.service"]
    assert host.files() == set()
    assert not (host.root / "var/lib/lvs").exists()
    assert not call(state="absent")["changed"]


def test_rules_are_compared_as_the_kernel_shows_them(host: FakeFilter, call: Any) -> None:
    call(config=OTHER)
    call(state="confirmed")
    host.units["lvs-firewall.service"] = True
    assert "syn / syn,rst" in host.table
    assert not call(config=OTHER)["changed"]
    host.table = host.table.replace("1440", "1430")
    repaired = call(config=OTHER)
    assert "1430" in repaired["before"]
    assert "1440" in repaired["after"]
    assert "1440" in host.table


@pytest.mark.parametrize("config", [{**CONFIG, **OTHER}, {"clamps": OTHER["clamps"]}])
def test_the_timer_fires_while_the_next_run_looks(
    host: FakeFilter, call: Any, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    """That run must not take the rules that were just undone for those that its own undo leads back to."""
    call(config=CONFIG)
    call(state="confirmed")
    confirmed, nft, due = host.table, host.nft, [1]
    assert call(config={**CONFIG, **OTHER})["changed"]

    def listed(words: list[str], given: str) -> tuple[int, str, str]:
        found = nft(words, given)
        if "list" in words and due:
            due.pop()
            host.fire()
        return found

    monkeypatch.setattr(host, "nft", listed)
    found = call(config=config)
    assert (found["changed"], found["confirmed"], host.table != confirmed) == (True, False, True)
    host.fire()
    assert host.table == confirmed


def test_undone(host: FakeFilter, call: Any) -> None:
    call(config=OTHER)
    call(state="confirmed")
    before = host.table
    call(config=CONFIG)
    host.fire()
    assert host.table == before
    failed = call(state="confirmed")
    assert failed["failed"]
    assert "not confirmed in time" in failed["msg"]
    assert call(config=CONFIG)["changed"]
    assert call(state="confirmed")["confirmed"]
    assert "dport 22" in host.table


def test_a_restart_before_the_confirmation(host: FakeFilter, call: Any) -> None:
    call(config=CONFIG)
    host.table, host.timer = "", False
    failed = call(state="confirmed")
    assert "the host was restarted" in failed["msg"]
    assert host.table == ""
    assert call(config=CONFIG)["changed"]


def test_resumed(host: FakeFilter, call: Any) -> None:
    call(config=CONFIG)
    resumed = call(config=CONFIG, undo_after=90)
    assert (resumed["changed"], resumed["confirmed"], host.written, host.timer) == (False, False, 1, True)
    assert any("--on-active=90" in line for line in host.said)
    host.timer = False
    assert call(config=CONFIG)["changed"]


def test_files_that_are_missing_come_back(host: FakeFilter, call: Any) -> None:
    call(config=CONFIG)
    call(state="confirmed")
    host.units["lvs-firewall.service"] = True
    (host.root / "etc/lvs/firewall.nft").unlink()
    assert call(config=CONFIG, check=True)["commands"] == ["install -D firewall.nft /etc/lvs/firewall.nft"]
    assert call(config=CONFIG)["confirmed"]
    assert (host.root / "etc/lvs/firewall.nft").exists()
    assert host.written == 1


def test_refused(host: FakeFilter, call: Any) -> None:
    call(config=OTHER)
    call(state="confirmed")
    before, files = host.table, host.files()
    failed = call(config={"clamps": [{"family": "ipv4", "sources": ["192.168.1.110"], "mss": 1400}]})
    assert "Line 6: ip saddr 192.168.1.110" in failed["msg"]
    assert "as they were before" in failed["msg"]
    assert (host.table, host.files(), host.timer) == (before, files, False)


def test_what_the_kernel_does_not_keep(host: FakeFilter, call: Any) -> None:
    host.shown_late = "\t\tip saddr 1.2.3.4 drop\n"
    failed = call(config=OTHER)
    assert "took 1 rules for nftables and shows 2" in failed["msg"]
    assert host.table == ""


def test_without_a_timer_nothing_is_applied(host: FakeFilter, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host.refused = "systemd-run"

    def nft(words: list[str], given: str) -> tuple[int, str, str]:
        return (0, "", "") if "-c" in words else FakeFilter.nft(host, words, given)

    monkeypatch.setattr(host, "nft", nft)
    assert "not applied" in call(config=CONFIG)["msg"]
    assert (host.written, host.files()) == (0, set())


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("auto", "No backend .*nftables: the kernel does not take its rules .*iptables-legacy: the program"),
        ("nftables", "Backend nftables cannot be used: the kernel does not take"),
        ("iptables-legacy", r"the program iptables-legacy is not installed \(package iptables\)"),
    ],
)
def test_no_backend(host: FakeFilter, call: Any, backend: str, words: str) -> None:
    host.refused = "Error: Could not process rule: Address family not supported by protocol"
    assert re.search(words, call(config=CONFIG, backend=backend)["msg"])


def test_not_permitted(host: FakeFilter, call: Any) -> None:
    host.refused = "Operation not permitted (you must be root)"
    assert "CAP_NET_ADMIN" in call(config=CONFIG, backend="nftables")["msg"]


def test_check_mode_on_a_bare_host(host: FakeFilter, call: Any) -> None:
    (host.root / "usr/sbin/nft").unlink()
    assert call(config=CONFIG, check=True)["backend"] == "nftables"
    assert call(config=CONFIG)["failed"]


def test_without_systemd(host: FakeFilter, call: Any) -> None:
    (host.root / "run/systemd/system").rmdir()
    assert "systemd does not run this host" in call(config=CONFIG)["msg"]
    assert not call(config={})["changed"]


def test_mistakes(host: FakeFilter, call: Any) -> None:
    failed = call(config={"filter": {"ssh_ports": ["0"], "peers": ["x"]}})
    assert len(failed["mistakes"]) == 2
    assert "undo_after 4" in call(config=CONFIG, undo_after=4)["msg"]
    assert "config" in call()["msg"]
    assert host.said == []


def test_a_broken_record(host: FakeFilter, call: Any) -> None:
    call(config=CONFIG)
    (host.root / "var/lib/lvs/firewall/pending.json").write_text("{", encoding="utf-8")
    assert "Remove it" in call(config=CONFIG)["msg"]


# ---- marks of others

MARK = {"meta": {"key": "mark"}}


def rule(*expressions: Any, table: str = "foo", family: str = "ip") -> dict[str, Any]:
    return {"rule": {"family": family, "table": table, "chain": "bar", "expr": list(expressions)}}


def mangle(value: Any) -> dict[str, Any]:
    return {"mangle": {"key": MARK, "value": value}}


def match(left: Any, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


WHOLE = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("expression", "marks"),
    [
        (mangle(7), [(7, WHOLE)]),
        (mangle({"|": [{"&": [MARK, 0xFFFFFF00]}, 7]}), [(7, 0xFF)]),
        (mangle({"|": [MARK, 0x10]}), [(0x10, 0x10)]),
        (mangle({"map": {"key": {}, "data": {"set": [[80, 1], [443, 2]]}}}), [(1, WHOLE), (2, WHOLE)]),
        (mangle({"map": {"key": {}, "data": "@named"}}), [(5, WHOLE)]),
        (mangle({"ct": {"key": "mark"}}), []),
        (match(MARK, 9), [(9, WHOLE)]),
        (match(MARK, {"set": [1, {"range": [3, 5]}]}), [(1, WHOLE), (3, WHOLE), (5, WHOLE)]),
        (match({"&": [MARK, 0xF]}, 2), [(2, 0xF)]),
        (match({"meta": {"key": "l4proto"}}, "tcp"), []),
        ({"vmap": {"key": MARK, "data": {"set": [[4, {"accept": None}]]}}}, [(4, WHOLE)]),
        ({"vmap": {"key": MARK, "data": "@nobody"}}, []),
        ("accept", []),
    ],
)
def test_marks_of_nft(
    host: FakeFilter, expression: Any, marks: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"map": {"family": "ip", "table": "foo", "name": "named", "elem": [[1, 5]]}}
    ours = [rule(mangle(99), table=table, family=family) for table, family in (("lvs", "inet"), ("lvs_relay", "ip"))]
    text = json.dumps({"nftables": [named, rule(expression), *ours]})
    monkeypatch.setattr(host, "nft", lambda words, given: (0, text, ""))
    found = _firewall_foreign.gather(host.host(), lambda *_words: [])
    assert [(one["mark"], one["mask"]) for one in found["marks"]] == marks
    assert {one["where"] for one in found["marks"]} <= {"nft table ip foo chain bar"}


def test_marks_of_iptables(host: FakeFilter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a table of nft's that has the name of one of iptables'; not those of connections."""
    text = json.dumps({"nftables": [rule(mangle(6), table="mangle", family="ip")]})
    monkeypatch.setattr(host, "nft", lambda words, given: (0, text, ""))
    lines = [
        "*mangle",
        "-A PREROUTING -p tcp -j MARK --set-xmark 0x5/0xffffffff",
        "-A PREROUTING -m connmark --mark 0x1 -j MARK --set-xmark 0x2/0xff",
        "-A PREROUTING -j CONNMARK --set-xmark 0x3/0xffffffff",
        "-A LVS-PREROUTING -j MARK --set-xmark 0x9/0xffffffff",
    ]
    host.have_iptables()
    host.saved = (0, "".join(f"{line}\n" for line in lines), "")
    found = _firewall_foreign.gather(host.host(), lambda *_words: [])
    assert {one["mark"] for one in found["marks"]} == {2, 5, 6}


def test_a_listing_that_breaks_off_is_not_taken_for_all(host: FakeFilter, call: Any) -> None:
    assert call(config=CONFIG)["changed"] and call(state="confirmed")["confirmed"]
    host.have_iptables()
    host.saved = (3, "*filter\n", "Parsing nftables rule failed\n")
    for state in ("present", "absent"):
        failed = call(state=state, config=CONFIG if state == "present" else {})
        assert "iptables-nft-save cannot show the rules: Parsing nftables rule failed" in failed["msg"]
    assert host.table
    missed: list[str] = []
    _firewall_foreign.gather(host.host(), lambda *_words: [], missed=missed)
    assert missed and "not known: iptables-nft-save cannot show" in missed[0]


def test_marks_of_policy_rules(host: FakeFilter) -> None:
    rules = [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 100, "src": "all", "fwmark": "0x1", "table": "100"},
        {"priority": 101, "src": "10.0.0.0", "srclen": 8, "fwmark": "0x2", "fwmask": "0xf", "table": "100"},
    ]
    ledger = {"rule ipv4 priority 100 from all fwmark 1"}
    read = _firewall_foreign.gather(host.host(), lambda *words: rules if "-4" in words else [], ledger)["marks"]
    assert read == [{"mark": 2, "mask": 15, "where": "ip rule 101"}]
