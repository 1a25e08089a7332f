# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of marks: what they match, which goes first, which contradict."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from netaddr import IPNetwork

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.marks import MarkRule, contradictions
from tests.howto import VIP, VIP6


def rule(
    *targets: str,
    ports: tuple[tuple[int, int], ...] = ((80, 80),),
    sources: Sequence[str] = (),
    interface: str | None = None,
) -> MarkRule:
    found = tuple(IPNetwork(target) for target in targets or (VIP,))
    return MarkRule(found, ("tcp",), ports, tuple(map(IPNetwork, sources)), interface)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (rule(), rule(), True),
        (rule(), rule(VIP6), False),
        (rule(), rule("192.168.1.0/24"), True),
        (rule(), rule(ports=((443, 443),)), False),
        (rule(ports=((1024, 65535),)), rule(ports=((8080, 8080),)), True),
        (rule(ports=()), rule(), True),
        (rule(sources=["10.0.0.0/8"]), rule(), True),
        (rule(sources=["10.0.0.0/8"]), rule(sources=["192.0.0.0/8"]), False),
        (rule(interface="eth1"), rule(interface="eth2"), False),
        (rule(interface="eth1"), rule(), True),
        (MarkRule((IPNetwork(VIP),), ("udp",), ()), rule(), False),
    ],
)
def test_meeting(one: MarkRule, other: MarkRule, meet: bool) -> None:
    assert one.meets(other) is meet
    assert other.meets(one) is meet


def test_the_narrower_stands_first_in_any_order() -> None:
    whole, ten, host = rule(), rule(sources=["10.0.0.0/8", "172.16.0.0/12"]), rule(sources=["10.0.0.0/8"])
    wire = rule(interface="eth1")
    assert host.within(ten) and ten.within(whole) and host.within(whole) and wire.within(whole)
    assert not whole.within(whole) and not ten.within(host) and not whole.within(ten)
    for mixed in permutations([whole, ten, host]):
        assert sorted(mixed, key=lambda one: one.order) == [host, ten, whole]


def test_two_marks_for_one_packet_contradict_unless_one_is_for_fewer_clients() -> None:
    assert not contradictions([("a", 1, rule()), ("b", 2, rule(sources=["10.0.0.0/8"]))])
    assert not contradictions([("a", 1, rule()), ("a", 1, rule())])
    (found,) = contradictions([("a", 1, rule()), ("b", 2, rule("192.168.1.0/24"))])
    assert "a (fwmark 1) and b (fwmark 2)" in found and f"to {VIP}/32" in found
    assert contradictions(
        [("a", 1, rule(sources=["10.0.0.0/8"])), ("b", 2, rule(sources=["10.1.0.0/16", "192.168.0.0/16"]))]
    )


def test_one_entry_per_family_and_protocol() -> None:
    both = MarkRule((IPNetwork(VIP), IPNetwork(VIP6)), ("tcp", "udp"), ((53, 53), (1024, 2047)))
    found = both.compiled(7)
    assert [(entry["family"], entry["protocol"]) for entry in found] == [
        ("ipv4", "tcp"),
        ("ipv4", "udp"),
        ("ipv6", "tcp"),
        ("ipv6", "udp"),
    ]
    assert found[0] == {
        "mark": 7,
        "family": "ipv4",
        "destinations": [f"{VIP}/32"],
        "protocol": "tcp",
        "ports": ["53", "1024-2047"],
        "sources": [],
    }
    # Clients of one family only: the other family gets no rule, not a rule for everybody.
    assert [entry["family"] for entry in rule(VIP, VIP6, sources=["10.0.0.0/8"]).compiled(1)] == ["ipv4"]
