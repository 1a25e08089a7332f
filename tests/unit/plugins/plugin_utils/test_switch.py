# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gives up, who takes over, and everything that speaks against a deliberate switch."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.switch import plan_switch, unsynchronised

VIP = "192.168.1.110/32 eth1"
SERVICE: dict[str, Any] = {
    "protocol": "tcp",
    "address": "192.168.1.110",
    "port": 80,
    "realservers": [
        {"address": "192.168.1.2", "port": 80, "weight": 1},
        {"address": "192.168.1.3", "port": 80, "weight": 0},
    ],
}
MARK: dict[str, Any] = {"fwmark": "1", "family": "ipv6", "realservers": []}


def director(holds: bool, **other: Any) -> dict[str, Any]:
    return {
        "program": "keepalived",
        "running": True,
        "unfit": "",
        "addresses": [VIP],
        "held": [VIP] if holds else [],
        "config": [deepcopy(SERVICE), deepcopy(MARK)],
        "daemons": [{"role": "master" if holds else "backup", "syncid": 7}],
        **other,
    }


def test_the_peer_of_the_holder_takes_over() -> None:
    found = plan_switch({"one": director(True), "two": director(False)})
    assert found == {"to": "two", "holders": ["one"], "givers": ["one"], "mistakes": []}


def test_who_has_them_already_needs_nobody_else() -> None:
    found = plan_switch({"one": director(True), "two": None}, "one")
    assert (found["givers"], found["mistakes"]) == ([], [])


def test_all_at_once_from_active_active() -> None:
    other = "192.168.1.111/32 eth1"
    states = {"one": director(True), "two": director(True, held=[other])}
    daemons = [{"role": "master", "syncid": 7}, {"role": "backup", "syncid": 7}]
    for state in states.values():
        state["daemons"] = daemons
    assert plan_switch(states, "two") == {"to": "two", "holders": ["one", "two"], "givers": ["one"], "mistakes": []}
    (mistake,) = plan_switch(states)["mistakes"]
    assert "lvs_failover_to" in mistake


def test_a_table_that_has_more_is_fit() -> None:
    more = deepcopy(SERVICE)
    more["realservers"][1]["weight"] = 5
    strange = {**SERVICE, "address": "192.168.1.99"}
    states = {
        "one": director(True, config=[SERVICE, strange]),
        "two": director(False, config=[more, MARK, {**SERVICE, "port": 81}]),
    }
    assert plan_switch(states)["mistakes"] == []


NOT_FIT: dict[str, tuple[dict[str, Any] | None, str]] = {
    "silent": (None, "two does not answer"),
    "stopped": (director(False, running=False), "keepalived does not run on two"),
    "fault": (director(False, unfit="instance lvs_lvs_4 is FAULT"), "instance lvs_lvs_4 is FAULT"),
    "no service": (director(False, config=[MARK]), "two has no service tcp 192.168.1.110 80, which one has"),
    "no mark": (director(False, config=[SERVICE]), "two has no service fwmark 1 ipv6"),
    "dead realserver": (
        director(False, config=[{**SERVICE, "realservers": []}, MARK]),
        "two does not send to 192.168.1.2 for service tcp 192.168.1.110 80",
    ),
    "no backup daemon": (director(False, daemons=[{"role": "master", "syncid": 7}]), "no synchronisation daemon as"),
    "another syncid": (director(False, daemons=[{"role": "backup", "syncid": 8}]), "(one 7, two 8)"),
    "two holders": (director(True), "one and two both hold 192.168.1.110/32 eth1"),
}


@pytest.mark.parametrize("name", NOT_FIT)
def test_a_peer_that_is_not_fit_is_refused(name: str) -> None:
    state, reason = NOT_FIT[name]
    (mistake,) = plan_switch({"one": director(True), "two": state}, "two")["mistakes"]
    assert reason in mistake


def test_without_synchronisation_nobody_asks_for_daemons() -> None:
    states = {"one": director(True, daemons=[]), "two": director(False, daemons=[])}
    assert plan_switch(states, synchronised=False)["mistakes"] == []
    (mistake,) = plan_switch(states)["mistakes"]
    assert "one runs no synchronisation daemon as master" in mistake


def test_nobody_holds_anything() -> None:
    (mistake,) = plan_switch({"one": director(False), "two": director(False)})["mistakes"]
    assert "no director holds the VIPs" in mistake


def test_a_stranger_is_no_target() -> None:
    with pytest.raises(LvsError, match="three is no director of this cluster, which has one, two"):
        plan_switch({"one": director(True), "two": director(False)}, "three")


def connections(first: int, second: int, other: int = 0) -> dict[str, Any]:
    states = [{"ESTABLISHED": first}, {"ESTABLISHED": second, "FIN_WAIT": other}]
    servers = [{"address": f"192.168.1.{number}", "port": 80, "states": each} for number, each in enumerate(states, 2)]
    return {"services": [{"protocol": "tcp", "address": "192.168.1.110", "port": 80, "realservers": servers}]}


def test_connections_are_compared_by_realserver() -> None:
    assert unsynchronised([connections(200, 100)], [connections(200, 100)]) == []
    assert unsynchronised([connections(200, 0)], [connections(201, 0)]) == []
    assert unsynchronised([connections(0, 0, 9)], [connections(0, 0)]) == []
    assert unsynchronised([connections(200, 100)], [connections(300, 99)]) == [
        "tcp 192.168.1.110 80 192.168.1.3 80: 99 of 100"
    ]
    assert unsynchronised([connections(2, 0)], [{"services": []}]) == ["tcp 192.168.1.110 80 192.168.1.2 80: 0 of 2"]


def test_a_share_of_all_connections_may_be_missing() -> None:
    assert unsynchronised([connections(600, 400)], [connections(580, 400)], 0.02) == []
    assert unsynchronised([connections(600, 400)], [connections(579, 400)], 0.02) != []
    assert unsynchronised([connections(600, 400)], [connections(590, 389)], 0.02) == [
        "tcp 192.168.1.110 80 192.168.1.2 80: 590 of 600",
        "tcp 192.168.1.110 80 192.168.1.3 80: 389 of 400",
    ]


def test_a_few_always_may_unless_none_is_said() -> None:
    assert unsynchronised([connections(10, 5)], [connections(0, 5)], 0.02) == []
    assert unsynchronised([connections(10, 1)], [connections(0, 0)], 0.02) != []
    assert unsynchronised([connections(1, 0)], [connections(0, 0)]) != []


def test_what_comes_and_goes_is_not_missing() -> None:
    looks = [connections(1, 3), connections(0, 2), connections(1, 5)]
    late = [connections(0, 0), connections(0, 2), connections(0, 1)]
    assert unsynchronised(looks, late) == []
    assert unsynchronised(looks, late[::2]) == ["tcp 192.168.1.110 80 192.168.1.3 80: 1 of 2"]
