# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Realservers that the table has and the plan has, too."""

from __future__ import annotations

from typing import Any

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.staying import staying_realservers


def record(*servers: tuple[str, int], weight: Any = 1, **service: Any) -> dict[str, Any]:
    realservers = [{"address": address, "port": port, "weight": weight} for address, port in servers]
    return {**service, "scheduler": "rr", "realservers": realservers}


WEB = {"protocol": "tcp", "address": "192.168.1.110", "port": 80}
MARK = {"fwmark": 1, "family": "ipv4"}
RS1, RS2, SORRY = ("192.168.1.2", 80), ("192.168.1.3", 80), ("192.168.1.9", 80)


def part(*config: dict[str, Any], sorry: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {"director": {"config": list(config)}, "health": None}
    if sorry:
        found["health"] = {"services": [{**WEB, "sorry_server": {"address": SORRY[0], "port": SORRY[1]}}]}
    return found


def test_who_leaves() -> None:
    table = [record(RS1, RS2, **WEB), record(RS1, RS2, **MARK)]
    assert staying_realservers(table, part(record(RS2, **WEB), record(RS1, RS2, **MARK))) == [
        record(RS2, weight="keep", **WEB)
    ]
    assert staying_realservers(table, part(record(RS1, RS2, **WEB), record(**MARK))) == [record(**MARK)]


def test_thresholds_are_the_plans() -> None:
    def limited(upper: int, weight: Any = 1) -> dict[str, Any]:
        found = record(RS1, weight=weight, **WEB)
        found["realservers"][0].update(upper_threshold=upper, lower_threshold=0)
        return found

    assert staying_realservers([limited(5, weight=0)], part(limited(9))) == [limited(9, weight="keep")]
    assert staying_realservers([limited(9, weight=0)], part(limited(9))) == []


def test_who_does_not() -> None:
    # One that is out because its checks fail, a sorry server, and services of others.
    assert staying_realservers([record(RS1, **WEB)], part(record(RS1, RS2, **WEB))) == []
    assert staying_realservers([record(SORRY, **WEB)], part(record(RS1, **WEB), sorry=True)) == []
    assert staying_realservers([record(RS1, **WEB)], part(record(RS2, **MARK))) == []
