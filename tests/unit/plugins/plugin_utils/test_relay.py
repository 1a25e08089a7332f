# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a director that takes over passes on, and what it keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.relay import render

MOVING = ("192.168.1.110/32 eth1", "2001:db8:1::110/128 eth1", "10.1.1.254/24 eth2")
WAY, WAY6, INSIDE = (
    f'dup to {address} device "{device}" drop'
    for address, device in (("192.168.1.1", "eth1"), ("2001:db8:1::1", "eth1"), ("10.1.1.1", "eth2"))
)
OLD = "tcp flags & (syn | ack) != syn"


def director(number: int, held: Sequence[str], config: list[dict[str, Any]]) -> dict[str, Any]:
    own = [
        "127.0.0.1/8 lo",
        f"10.255.0.{number}/24 mgmt0",
        f"192.168.1.{number}/24 eth1",
        f"10.1.1.{number}/24 eth2",
        f"fe80::{number}/64 eth2",
        f"2001:db8:1::{number}/64 eth1",
    ]
    return {"addresses": MOVING, "held": held, "links": [*own, *held], "config": config}


def server(address: str, port: int = 80, forwarding: str = "dr") -> dict[str, Any]:
    return {"address": address, "port": port, "forwarding": forwarding}


def service(*servers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"protocol": "tcp", "address": "192.168.1.110", "port": 80, "realservers": list(servers), **changes}


def rules(*config: dict[str, Any], held: Sequence[str] = MOVING) -> dict[str, list[str]]:
    """By table and chain, for director 2."""
    text = render({"one": director(1, held, list(config)), "two": director(2, (), [])}, "two", ["one"])
    found = {}
    for family, chains in re.findall(r"^table (ip6?) lvs_relay \{\n(.*?)^\}\n", text, re.MULTILINE | re.DOTALL):
        for hook, lines in re.findall(r"^    chain (\w+) \{\n.*accept;\n((?: {8}.*\n)*)", chains, re.MULTILINE):
            found[f"{family} {hook}"] = [line.strip() for line in lines.splitlines()]
    assert list(found) == ["ip input", "ip forward", "ip6 input", "ip6 forward"]
    return {place: lines for place, lines in found.items() if lines}


def test_connections_go_by_the_network_that_they_came_from() -> None:
    assert rules(
        service(server("192.168.1.3")),
        service(server("2001:db8:1::3"), address="2001:db8:1::110", port=0),
    ) == {
        "ip input": [f"ip daddr 192.168.1.110 tcp dport 80 {OLD} {WAY}"],
        "ip6 input": [f"ip6 daddr 2001:db8:1::110 meta l4proto tcp {OLD} {WAY6}"],
    }


def test_replies_by_nat_go_by_the_inside_network() -> None:
    assert rules(service(server("10.1.1.3", 8080, "nat"), server("192.168.1.3"))) == {
        "ip input": [f"ip daddr 192.168.1.110 tcp dport 80 {OLD} {WAY}"],
        "ip forward": [f"ip saddr 10.1.1.3 tcp sport 8080 {INSIDE}"],
    }


@pytest.mark.parametrize("other", [server("10.1.1.4", 0, "nat"), server("172.16.0.1", 80, "nat")])
def test_a_service_whose_replies_cannot_be_passed_on_is_left_out(other: dict[str, Any]) -> None:
    """Or its realservers would serve requests whose answers nobody gets."""
    assert rules(service(server("10.1.1.3", 8080, "nat"), other)) == {}


def test_marks_by_a_network_with_vips() -> None:
    marked = {"realservers": [server("192.168.1.3", 0)]}
    mark = f"meta mark 7 meta l4proto tcp {OLD} {{}}"
    assert rules({"fwmark": "7", **marked}, {"fwmark": "7", "family": "ipv6", **marked}) == {
        "ip input": [mark.format(WAY)],
        "ip6 input": [mark.format(WAY6)],
    }
    # The inside network, which has an address that moves, too, is no way for what comes from clients.
    states = {"one": director(1, MOVING, [{"fwmark": "7", **marked}]), "two": director(2, (), [])}
    states["two"]["links"].sort()
    assert states["two"]["links"].index("10.1.1.2/24 eth2") < states["two"]["links"].index("192.168.1.2/24 eth1")
    assert mark.format(WAY) in render(states, "two", ["one"])


def test_marks_of_two_directors_that_give_up_say_nothing() -> None:
    marked = [{"fwmark": "7", "realservers": [server("192.168.1.3", 0)]}]
    states = {
        "one": director(1, MOVING[:1], marked),
        "two": director(2, (), []),
        "three": director(9, MOVING[1:], marked),
    }
    assert "mark" not in render(states, "two", ["one", "three"])
    assert "mark" in render(states, "two", ["one"])


def test_what_is_left_out() -> None:
    """Services that the director serves itself, UDP, and what does not move."""
    assert (
        rules(
            service(server("192.168.1.3"), server("192.168.1.2")),
            service(server("192.168.1.3", forwarding="local"), port=81),
            service(server("192.168.1.3"), protocol="udp"),
        )
        == {}
    )
    assert rules(service(server("192.168.1.3")), held=MOVING[1:]) == {}


def test_what_the_director_would_serve_itself_is_left_out() -> None:
    """It has the VIP, and may be the sorry server or come back to life a second later; or its own table says so."""
    web, marked = service(server("192.168.1.3")), {"fwmark": "7", "realservers": [server("192.168.1.3", 0)]}
    one, two = director(1, MOVING, [web, marked]), director(2, (), [])
    assert render({"one": one, "two": two}, "two", ["one"]).count("dup") == 2
    two["links"].append("192.168.1.110/32 lo")
    two["config"] = [{**marked, "fwmark": "0x7", "realservers": [server("192.168.1.2", 0)]}]
    assert "dup" not in render({"one": one, "two": two}, "two", ["one"])


def test_directors_without_a_common_network() -> None:
    one, two = director(1, MOVING, [service(server("192.168.1.3"))]), director(2, (), [])
    two["links"] = ["192.168.7.2/24 eth1", "fe80::2/64 eth2"]
    assert "dup" not in render({"one": one, "two": two}, "two", ["one"])
