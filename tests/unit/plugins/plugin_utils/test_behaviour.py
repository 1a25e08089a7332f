# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of IPVS by name and range; the profiles against floods."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.behaviour import (
    check_settings,
    dos_settings,
    reuse_mode,
)
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.mistakes import Mistakes


def mistakes(name: str, value: Any) -> Mistakes:
    found = Mistakes()
    check_settings("host d: lvs_sysctls", {f"net.ipv4.vs.{name}": value, "net.core.somaxconn": "what"}, found)
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("conntrack", True),
        ("conntrack", "1"),
        ("secure_tcp", 3),
        ("est_nice", -20),
        ("est_cpulist", "0-3,6"),
        ("sync_threshold", "2 50"),
        ("sync_threshold", "3\t50"),
        ("sync_threshold", "0 0"),
    ],
)
def test_right(name: str, value: Any) -> None:
    assert not mistakes(name, value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("conntrack", 2, "0 to 1"),
        ("secure_tcp", "4", "0 to 3"),
        ("sync_threshold", "50 3", "first below the second"),
        ("sync_threshold", "3", "two numbers"),
        ("est_cpulist", "all", "list of processors"),
        ("timeout_close", 10, "no setting of IPVS; known are am_droprate"),
    ],
)
def test_wrong(name: str, value: Any, words: str) -> None:
    (found,) = mistakes(name, value)
    assert f"net.ipv4.vs.{name}" in found and words in found


def test_profiles() -> None:
    assert dos_settings("off", 1 << 20) == {}
    assert dos_settings("auto", 1 << 20) == {"drop_entry": 1, "drop_packet": 1, "secure_tcp": 1, "amemthresh": 1 << 20}
    assert dos_settings("on", 100) == {"drop_entry": 3, "drop_packet": 1, "secure_tcp": 3, "amemthresh": 100}
    assert "amemthresh" not in dos_settings("on", 0)


@pytest.mark.parametrize(
    ("kernel", "conntrack", "mode"),
    [("6.1.0-50-amd64", True, 2), ("5.8.18", True, 0), ("5.8.18", False, 2), ("5.10", True, 2), ("", True, 2)],
)
def test_reuse_of_ports(kernel: str, conntrack: bool, mode: int) -> None:
    assert reuse_mode(kernel, conntrack) == mode
