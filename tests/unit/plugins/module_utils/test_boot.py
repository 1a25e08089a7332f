# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs at boot: the saved network and table come back, late devices are waited for, failures are one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _boot, _ipvs_kernel
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_host import FakeHost

CONFIG: dict[str, Any] = {
    "modules": ["ip_vs"],
    "sysctls": [
        {"key": "net.ipv4.conf.all.arp_ignore", "value": "1"},
        {"key": "net.ipv4.conf.eth9.rp_filter", "value": "2"},
    ],
    "devices": [],
    "addresses": [
        {"address": "192.168.1.110/32", "device": "lo"},
        {"address": "10.9.0.1/24", "device": "eth9", "announce": True},
    ],
    "routes": [{"destination": "10.0.0.0/8", "device": "eth9"}],
    "rules": [],
}


RULE = {"from": "10.9.0.1", "priority": 9, "table": 1100}


class Clock:
    """Time that passes by waiting only; something can happen at a time."""

    def __init__(self) -> None:
        self.time = 0.0
        self.events: dict[float, Any] = {}

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        self.time += seconds
        for at in [at for at in self.events if at <= self.time]:
            self.events.pop(at)()


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    found = FakeHost(tmp_path)
    save(found, CONFIG)
    return found


def save(host: FakeHost, config: Any) -> None:
    path = host.root / "etc/lvs/network.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1, "config": config}), encoding="utf-8")


def plug_in(host: FakeHost) -> None:
    host.batch("ip link add eth9 type dummy")
    host.batch("ip link set eth9 up")


def boot(host: FakeHost, clock: Clock) -> None:
    _boot.network(str(host.root), host.kernel(), pause=clock.pause, now=clock.now)


def test_a_device_that_comes_late_is_waited_for(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    clock.events[5] = lambda: plug_in(host)
    boot(host, clock)
    assert clock.time == 6
    assert ("10.9.0.1", "eth9") in host.announced
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("lvs: network: trying again, since This host cannot give")
    assert "lvs: ip -4 addr add 192.168.1.110/32 dev lo" in said


def test_what_does_not_need_the_missing_device_comes_all_the_same(host: FakeHost) -> None:
    clock = Clock()
    with pytest.raises(LvsError, match="no device eth9"):
        boot(host, clock)
    assert clock.time == 30
    assert "ip addr add 192.168.1.110/32 dev lo" in host.commands
    assert host.settings.values["net.ipv4.conf.all.arp_ignore"] == "1"
    assert not any("eth9" in line for line in host.commands)


def test_what_does_not_need_a_device_that_is_down_comes_all_the_same(
    host: FakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    host.batch("ip link add eth9 type dummy")
    refused = {"key": "net.ipv4.conf.all.no_such_setting", "value": "1"}
    save(host, {**CONFIG, "sysctls": [*CONFIG["sysctls"], refused], "rules": [RULE]})
    with pytest.raises(LvsError):
        boot(host, Clock())
    commands = " ".join(host.commands)
    assert "addr add 192.168.1.110/32 dev lo" in commands
    assert host.settings.values["net.ipv4.conf.all.arp_ignore"] == "1"
    said = capsys.readouterr().err
    assert "left out: This host cannot give what is wanted: net.ipv4.conf.all.no_such_setting" in said


def test_a_boot_changes_no_saved_file_and_twice_is_nothing(host: FakeHost) -> None:
    plug_in(host)
    before = host.state()["files"]["etc/lvs/network.json"]
    boot(host, Clock())
    host.commands.clear()
    boot(host, Clock())
    assert host.commands == []
    assert host.state()["files"]["etc/lvs/network.json"] == before
    assert not (host.root / "etc/sysctl.d").exists()


def test_a_mistake_in_the_file_is_not_tried_again(host: FakeHost) -> None:
    clock = Clock()
    save(host, {"addresses": [{"address": "x", "device": "lo"}]})
    with pytest.raises(LvsError, match="not an IPv4 or IPv6 address"):
        boot(host, clock)
    assert clock.time == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 7, "config": {}}', '{"version": 1, "config": []}'])
def test_a_file_that_cannot_be_understood(host: FakeHost, content: str) -> None:
    (host.root / "etc/lvs/network.json").write_text(content, encoding="utf-8")
    with pytest.raises(LvsError, match=r"network\.json cannot be understood"):
        boot(host, Clock())


def test_without_files_there_is_nothing_to_do(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    before = host.state()
    boot(host, Clock())
    _boot.ipvs(str(tmp_path / "ipvs.json"))
    assert host.state() == before


def test_the_table_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ipvs.json"
    path.touch()
    asked = []

    def restore(name: str) -> dict[str, Any]:
        asked.append(name)
        return {"changed": True, "commands": ["-A -t 192.168.1.110:80 -s wlc"]}

    monkeypatch.setattr(_ipvs_kernel, "restore", restore)
    _boot.ipvs(str(path))
    assert asked == [str(path)]
    assert capsys.readouterr().err == "lvs: ipvsadm -A -t 192.168.1.110:80 -s wlc\n"


@pytest.mark.parametrize(
    ("broken", "code", "said"),
    [
        ([], 0, []),
        (["network"], 1, ["lvs: network: no way"]),
        (["network", "ipvs"], 1, ["lvs: IPVS table: no way", "lvs: network: no way"]),
    ],
)
def test_exit_code_and_one_line_per_failure(
    broken: list[str], code: int, said: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []
    for name in ("network", "ipvs"):

        def step(name: str = name) -> None:
            done.append(name)
            if name in broken:
                raise LvsError("no\nway")

        monkeypatch.setattr(_boot, name, step)
    assert _boot.main(["boot"]) == code
    assert done == ["ipvs", "network"], "a VIP that is up has its services"
    assert capsys.readouterr().err.splitlines() == said


def test_anything_else_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert _boot.main([]) == 2
    assert "usage" in capsys.readouterr().err
