# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeouts and daemons: what is refused before anything is asked of the kernel, what runs in the end, what is saved.

That the kernel takes and shows them is proven on a real one (scenario ipvs).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_saved as saved
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_settings_run as settings
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_settings import Daemon

MASTER = {"role": "master", "interface": "eth0", "syncid": 7}
RUNNING = {"master": Daemon("master", "eth0", 7, maxlen=1472), "backup": Daemon("backup", "eth1", 7, maxlen=1472)}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"role": "slave", "interface": "eth0"}, "role 'slave' is none of master, backup"),
        ({"role": "master"}, "interface missing"),
        ({**MASTER, "interface": "a-name-that-is-too-long"}, "is no name of an interface"),
        ({**MASTER, "interface": "eth0\nx"}, "is no name of an interface"),
        ({**MASTER, "syncid": 256}, "syncid 256 is outside of 0 to 255"),
        ({**MASTER, "group": "10.0.0.1"}, "group 10.0.0.1 is not a multicast address"),
        ({**MASTER, "group": "fe80::1"}, "group fe80::1 is not a multicast address"),
        ({**MASTER, "group": "all"}, "group 'all' is not an IP address"),
        ({**MASTER, "port": 0}, "port 0 is outside of 1 to 65535"),
        ({**MASTER, "ttl": 300}, "ttl 300 is outside of 1 to 255"),
        ({**MASTER, "device": "eth0"}, "unknown option device"),
    ],
)
def test_a_wrong_daemon_is_refused(entry: dict[str, Any], why: str) -> None:
    with pytest.raises(LvsError, match=r"daemons\[1\]") as caught:
        settings.parse_daemons([{"role": "backup", "interface": "eth1"}, entry], settings.MERGED)
    assert why in caught.value.message


def test_a_role_is_there_once() -> None:
    with pytest.raises(LvsError, match="role master is there twice"):
        settings.parse_daemons([MASTER, MASTER], settings.MERGED)


@pytest.mark.parametrize(
    ("state", "entries", "roles", "ttl"),
    [
        ("merged", [MASTER], ["master", "backup"], 1),
        ("merged", [{**MASTER, "ttl": 5}], ["master", "backup"], 5),
        ("overridden", [MASTER], ["master"], 1),
        ("overridden", [], [], None),
        ("deleted", [{"role": "backup"}], ["master"], 1),
    ],
)
def test_who_runs_in_the_end(state: str, entries: list[dict[str, Any]], roles: list[str], ttl: int | None) -> None:
    goal = settings._goal(RUNNING, settings.parse_daemons(entries, state), state)
    assert sorted(goal) == sorted(roles)
    if ttl is not None:
        assert goal["master"] == RUNNING["master"]._replace(ttl=ttl)


@pytest.mark.parametrize("stated", [{"tcp": 0}, {"udp": 2147484}, {"tcp_fin": -1}])
def test_a_wrong_timeout_is_refused(stated: dict[str, int]) -> None:
    with pytest.raises(LvsError, match=r"outside of 1 to 2147483 \(seconds\)"):
        settings.parse_timeouts(stated)


def test_the_saved_table_keeps_settings_beside_the_services(tmp_path: Path) -> None:
    path = str(tmp_path / "ipvs.json")
    config = [{"address": "10.0.0.1", "port": 80}]
    saved.store(path, saved.render([{"port": 80}], config, {}))
    assert saved.keep_settings(path, {"timeouts": {"tcp": 5}}, check=True)
    assert "timeouts" not in Path(path).read_text()
    assert saved.keep_settings(path, {"timeouts": {"tcp": 5}}, check=False)
    assert not saved.keep_settings(path, {"timeouts": {"tcp": 5}}, check=False)
    assert saved.keep_settings(path, {"sync": [MASTER]}, check=False)
    content = json.loads(Path(path).read_text())
    assert content == {
        "version": 1, "restrict": [{"port": 80}], "config": config, "timeouts": {"tcp": 5}, "sync": [MASTER],
    }  # fmt: skip
    loaded = saved.load(path)
    assert loaded is not None
    assert loaded.settings == {"timeouts": {"tcp": 5}, "sync": [MASTER]}


def test_with_nothing_left_the_file_goes(tmp_path: Path) -> None:
    path = str(tmp_path / "ipvs.json")
    saved.keep_settings(path, {"sync": [MASTER]}, check=False)
    saved.keep_settings(path, {"sync": []}, check=False)
    assert not Path(path).exists()
