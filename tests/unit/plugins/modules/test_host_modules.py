# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doors of network, boot, lvs_facts and vip_probe: arguments in, results and failures out, in Ansible's own way."""

from __future__ import annotations

import json
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _network_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._boot_install import Installed
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.modules import boot, lvs_facts, network, vip_probe
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_host import FakeHost


def call(module: Any, capsys: pytest.CaptureFixture[str], check: bool = False, **arguments: Any) -> dict[str, Any]:
    """One run of a module; its result."""
    with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """The modules work on this host instead of the machine that runs the tests."""
    fake = FakeHost(tmp_path)
    run = _network_run.run

    def on_fake(request: _network_run.Request) -> _network_run.Outcome:
        request.root = str(fake.root)
        return run(request, fake.kernel())

    monkeypatch.setattr(_network_run, "run", on_fake)
    monkeypatch.setattr(lvs_facts, "Kernel", fake.kernel)
    monkeypatch.setattr(vip_probe, "Kernel", fake.kernel)
    return fake


CONFIG = {
    "sysctls": [{"key": "net.ipv4.conf.all.arp_ignore", "value": "1"}],
    "addresses": [{"address": "192.168.1.110", "device": "lo"}],
    "rules": [{"from": "192.168.1.110", "priority": 5, "table": 6, "suppress_prefixlength": 0}],
}


def test_network_writes_once(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    checked = call(network, capsys, check=True, config=CONFIG, state="replaced")
    assert host.commands == []
    done = call(network, capsys, config=CONFIG, state="replaced")
    assert done["changed"]
    for key in ("before", "after", "commands", "leaving", "notes", "diff"):
        assert done[key] == checked[key]
    assert not call(network, capsys, config=CONFIG, state="merged")["changed"]
    gone = call(network, capsys, state="absent")
    assert gone["commands"][0] == "ip -4 addr del 192.168.1.110/32 dev lo"
    assert gone["leaving"][-2]["connections"] == 0


def test_network_fails_with_every_mistake(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"addresses": [{"address": "x", "device": "lo"}, {"address": "10.0.0.1/8", "device": "lo"}]}
    failed = call(network, capsys, config=config)
    assert failed["failed"]
    assert len(failed["mistakes"]) == 2
    failed = call(network, capsys, config={"modules": ["nonsense"]})
    assert "nonsense" in failed["problems"][0]
    assert host.commands == []


@pytest.mark.parametrize("state", ["merged", "replaced"])
def test_network_needs_a_config(host: FakeHost, capsys: pytest.CaptureFixture[str], state: str) -> None:
    failed = call(network, capsys, state=state)
    assert "config" in failed["msg"]
    assert host.commands == []


def test_network_warns(host: FakeHost, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warned.append(text))
    host.batch("ip link add deaf0 type dummy")
    config = {"addresses": [{"address": "192.168.1.110", "device": "deaf0", "announce": True}]}
    assert call(network, capsys, config=config)["changed"]
    assert warned == ["192.168.1.110 could not be announced"]


def test_facts(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(lvs_facts, capsys, schedulers=["wlc"], modules=["ip6-tunnel"])
    facts = result["ansible_facts"]["lvs"]
    assert set(result["ansible_facts"]) == {"lvs"}
    assert set(facts["modules"]) == {"ip_vs", "ip_vs_wlc", "ip6_tunnel"}
    assert [interface["name"] for interface in facts["interfaces"]] == ["lo", "eth0"]
    assert facts["routes"][0]["gateway"] == "192.168.1.254"
    assert not result["changed"]


def test_probe(host: FakeHost, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*arguments: Any) -> list[dict[str, Any]]:
        return [{"vip": vip, "macs": ["02:00:00:00:00:01"]} for vip in arguments[0]]

    monkeypatch.setattr(vip_probe, "who_answers", answers)
    result = call(vip_probe, capsys, check=True, vips=["192.168.1.110"])
    assert result["results"][0]["macs"] == ["02:00:00:00:00:01"]
    assert (result["services"], result["changed"]) == ([], False)
    failed = call(vip_probe, capsys, count=0)
    assert failed["mistakes"] == ["count: 0 is not a number from 1 to 100."]


class FakeInstall:
    """In place of a host's systemd."""

    applied = 0

    def read(self) -> Any:
        return installed(None)

    def wanted(self, _state: str, build: Any, _running: str) -> Any:
        return installed(build("/usr/bin/python3"))

    def commands(self, _before: Any, _after: Any) -> list[str]:
        return ["systemctl enable lvs.service"]

    def apply(self, _before: Any, _after: Any) -> None:
        FakeInstall.applied += 1


def installed(program: bytes | None) -> Any:
    return Installed(program, None, program is not None)


def test_boot(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "BootInstall", FakeInstall)
    FakeInstall.applied = 0
    checked = call(boot, capsys, check=True)
    assert FakeInstall.applied == 0
    done = call(boot, capsys)
    assert FakeInstall.applied == 1
    assert done["changed"]
    assert {key: done[key] for key in ("before", "after", "diff")} == {
        key: checked[key] for key in ("before", "after", "diff")
    }
    assert len(done["after"]["program"]) == 64


def test_boot_without_systemd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_self: Any) -> Any:
        raise LvsError("systemd does not run this host")

    monkeypatch.setattr(FakeInstall, "read", read)
    monkeypatch.setattr(boot, "BootInstall", FakeInstall)
    assert call(boot, capsys, check=True)["msg"] == "systemd does not run this host"


def test_boot_needs_every_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkgutil, "get_data", lambda _package, _name: None)
    with pytest.raises(LvsError, match=r"did not send _x\.py"):
        boot._source("_x")
