# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules ipvs and ipvs_info as Ansible calls them, over the fake kernel."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.linuxvirtualserver.lvs.plugins.doc_fragments import ipvs_config
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_argspec
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._genl import Connection
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_info import Machine, gather
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_lock import Lock
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import (
    Environment,
    reconcile,
)
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules
from ansible_collections.linuxvirtualserver.lvs.plugins.modules import ipvs, ipvs_info
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_ipvs import FakeIpvs


class Host:
    """Runs a module's main() as Ansible would and returns what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.kernel = FakeIpvs()
        self.capsys = capsys

    def call(self, main: Any, arguments: dict[str, Any], code: int = 0) -> dict[str, Any]:
        """One module call."""
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        result: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return result

    def ipvs(self, code: int = 0, **arguments: Any) -> dict[str, Any]:
        """Call module ipvs."""
        return self.call(ipvs.main, arguments, code)

    def info(self, code: int = 0, **arguments: Any) -> dict[str, Any]:
        """Call module ipvs_info."""
        return self.call(ipvs_info.main, arguments, code)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Host:
    host = Host(capsys)
    environment = Environment(
        KernelModules(str(tmp_path), "6.1.0"),
        lambda: Connection(host.kernel.socket),
        proc="/",
        lock=Lock(str(tmp_path / "run")),
        strangers=lambda _keys: {},
        drained=str(tmp_path / "drained.json"),
    )
    monkeypatch.setattr(ipvs, "reconcile", partial(reconcile, environment=environment))
    there = Machine(environment.modules, environment.connect, str(tmp_path), lambda _keys: {})
    monkeypatch.setattr(ipvs_info, "gather", partial(gather, machine=there))
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/ip_vs").touch()
    return host


WEB = {
    "address": "192.168.1.110",
    "port": 80,
    "persistence": {"timeout": 300, "netmask": 24},
    "realservers": [{"address": "192.168.1.2", "weight": 0}, {"address": "192.168.1.3", "weight": "keep"}],
}


def test_do_it_do_it_again_check_undoing_it_undo_it_undo_it_again(host: Host) -> None:
    checked = host.ipvs(config=[WEB], _ansible_check_mode=True)
    done = host.ipvs(config=[WEB])
    assert done["changed"] is True
    assert (
        done["commands"]
        == checked["commands"]
        == [
            "-A -t 192.168.1.110:80 -s wlc -p 300 -M 255.255.255.0",
            "-a -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w 0",
            "-a -t 192.168.1.110:80 -r 192.168.1.3:80 -g -w 1",
        ]
    )
    assert host.ipvs(config=[WEB])["changed"] is False
    assert host.ipvs(config=[WEB], state="deleted", _ansible_check_mode=True)["changed"] is True
    assert len(host.kernel.table) == 1
    assert host.ipvs(config=[WEB], state="deleted")["commands"] == ["-D -t 192.168.1.110:80"]
    assert host.ipvs(config=[WEB], state="deleted")["changed"] is False


def test_what_info_returns_is_what_ipvs_takes(host: Host) -> None:
    host.ipvs(config=[WEB, {"fwmark": "0x10", "family": "ipv6", "scheduler": "sh", "scheduler_flags": ["sh-port"]}])
    info = host.info()
    assert [entry.get("fwmark", entry.get("address")) for entry in info["config"]] == ["192.168.1.110", 16]
    assert info["changed"] is False
    result = host.ipvs(config=info["config"], state="overridden")
    assert (result["changed"], result["commands"]) == (False, [])


def test_info_is_narrowed_by_restrict(host: Host) -> None:
    host.ipvs(config=[WEB, {"fwmark": 16}])
    assert [entry["fwmark"] for entry in host.info(restrict=[{"fwmark": 16}])["config"]] == [16]


def test_a_mistake_is_a_failure_with_all_mistakes(host: Host) -> None:
    result = host.ipvs(1, config=[{"address": "x", "port": 80}, {"address": "10.0.0.1", "port": 70000}])
    assert result["failed"] is True
    assert len(result["mistakes"]) == 2
    assert all(text in result["msg"] for text in result["mistakes"])


def test_a_refusal_is_a_failure_with_its_reason(host: Host) -> None:
    result = host.ipvs(1, config=[{**WEB, "realservers": [{"address": "192.168.1.2"}], "scheduler": "nosuch"}])
    assert "has no scheduler nosuch" in result["msg"]
    assert result["rolled_back"] is True
    assert host.kernel.table == {}


def test_info_fails_in_words(host: Host) -> None:
    host.kernel.allowed = False
    assert "CAP_NET_ADMIN" in host.info(1)["msg"]


def test_a_misspelt_option_is_refused_by_ansible_itself(host: Host) -> None:
    result = host.ipvs(1, config=[{"address": "10.0.0.1", "port": 80, "realserver": []}])
    assert "realserver" in result["msg"]


def test_options_reach_the_engine(host: Host, tmp_path: Path) -> None:
    host.ipvs(config=[WEB, {"fwmark": 16}])
    path = tmp_path / "ipvs.json"
    result = host.ipvs(
        config=[], state="overridden", allow_empty=True, restrict=[{"fwmark": 16}], drain_timeout=5, save=str(path)
    )
    assert result["commands"] == ["-D -f 16"]
    after = host.call(ipvs.main, {"config": [], "return": "full"}, 0)["after"]
    assert [entry["address"] for entry in after] == ["192.168.1.110"]


def documented(options: dict[str, Any]) -> dict[str, Any]:
    """The parts of documented options that an argument spec has as well."""
    spec: dict[str, Any] = {}
    for name, option in options.items():
        entry = {key: option[key] for key in ("type", "elements", "choices", "default", "required") if key in option}
        if "suboptions" in option:
            entry["options"] = documented(option["suboptions"])
        spec[name] = entry
    return spec


def test_the_shared_argument_specs_are_what_is_documented() -> None:
    fragment = ipvs_config.ModuleDocFragment
    options = yaml.safe_load(fragment.DOCUMENTATION)["options"]
    assert documented(options) == {"config": _ipvs_argspec.CONFIG}
    options = yaml.safe_load(fragment.RESTRICT)["options"]
    assert documented(options) == {"restrict": _ipvs_argspec.RESTRICT}


def test_the_examples_are_valid(host: Host, tmp_path: Path) -> None:
    source = tmp_path / "table.json"
    source.write_text(json.dumps({"version": 1, "restrict": [], "config": [WEB]}))
    for task in yaml.safe_load(ipvs.EXAMPLES):
        arguments = task["linuxvirtualserver.lvs.ipvs"]
        if "src" in arguments:
            arguments["src"] = str(source)
        assert host.ipvs(**{**arguments, "save": None})["changed"] or arguments.get("state") == "deleted"
