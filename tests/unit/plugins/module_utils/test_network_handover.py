# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VIPs that another program holds from now on are left alone by every later run of `network`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _network_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_files import saved_config
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_handover import hand_over
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_run import Outcome, Request
from ansible_collections.linuxvirtualserver.lvs.plugins.modules import vip_handover
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_host import FakeHost

VIPS = [
    {"address": "192.168.1.110/32", "device": "eth0"},
    {"address": "2001:db8:1::110/128", "device": "eth0"},
]
HIDDEN = {"address": "192.168.1.110/32", "device": "lo"}
SYSCTL = {"key": "net.ipv4.ip_forward", "value": "1"}


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def run(host: FakeHost, config: dict[str, Any], state: str) -> Outcome:
    return _network_run.run(Request(config, state, root=str(host.root)), host.kernel())


def test_what_is_handed_over_stays_and_is_forgotten(host: FakeHost) -> None:
    run(host, {"addresses": [*VIPS, HIDDEN], "sysctls": [SYSCTL]}, "merged")
    host.commands.clear()
    checked = hand_over(VIPS, True, str(host.root))
    assert (saved_config(str(host.root)) or {})["addresses"][0]["device"] == "eth0"
    done = hand_over(VIPS, False, str(host.root))
    assert checked == done
    assert done["forgotten"] == ["192.168.1.110/32 dev eth0", "2001:db8:1::110/128 dev eth0"]
    assert host.commands == []
    # Not at the next boot, not when the old way is dropped, not at the end of it all.
    assert [entry["device"] for entry in (saved_config(str(host.root)) or {})["addresses"]] == ["lo"]
    assert not hand_over(VIPS, False, str(host.root))["changed"]
    run(host, {"sysctls": [SYSCTL]}, "pruned")
    run(host, {}, "absent")
    deleted = [command for command in host.commands if "addr del" in command]
    assert [command for command in deleted if "eth0" in command] == [] and len(deleted) == 1


def test_nothing_of_ours_is_left(host: FakeHost) -> None:
    run(host, {"addresses": VIPS}, "merged")
    hand_over(VIPS, False, str(host.root))
    assert saved_config(str(host.root)) is None
    assert not (host.root / "var/lib/lvs").exists()


def test_what_was_never_ours_is_passed_over(host: FakeHost) -> None:
    assert hand_over(VIPS, False, str(host.root)) == {
        "changed": False,
        "forgotten": [],
        "diff": {"before": "", "after": ""},
    }


def test_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({"addresses": [{"address": "192.168.1.x", "device": "eth0"}]}), pytest.raises(SystemExit):
        vip_handover.main()
    assert "192.168.1.x" in json.loads(capsys.readouterr().out)["msg"]
