# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ARP problem (HOWTO 6): who-has VIP, and its neighbour solicitation, are answered by the director alone."""

from __future__ import annotations

import re

import pytest
from lab import Lab

# They stand on the link of director and realservers; nat's inside network has no VIP.
VIP4, VIP6 = "192.168.1.110", "2001:db8:1::110"


def askers(lab: Lab) -> tuple[str, ...]:
    """There is no router among containers."""
    return ("client",) if lab.contained else ("client", "router")


def arp_owners(lab: Lab, asker: str, interface: str = "eth1") -> set[str]:
    """Every MAC that answers who-has VIP on the link; arping asks by broadcast and prints each answer."""
    output = lab.run(asker, f"arping -b -c 3 -w 4 -I {interface} {VIP4}", check=False)
    return {mac.lower() for mac in re.findall(r"\[([0-9A-Fa-f:]{17})\]", output)}


def ndp_owners(lab: Lab, asker: str) -> set[str]:
    """Every MAC that advertises the IPv6 VIP after a fresh neighbour solicitation, as tcpdump sees it."""
    with lab.capture(asker, "eth1", "icmp6 and ip6[40] == 136", "-nnev") as lines:
        for _number in range(3):
            lab.run(asker, f"ip -6 neigh flush to {VIP6}; ping -6 -c 1 -W 1 {VIP6}", check=False)
    advertisement = re.compile(rf"([0-9a-f:]{{17}}) > .*neighbor advertisement.*tgt is {VIP6},")
    return {found.group(1) for line in lines if (found := advertisement.search(line))}


def test_only_the_director_answers_arp(lab: Lab) -> None:
    for asker in askers(lab):
        assert arp_owners(lab, asker) == {lab.mac("director", "eth1")}, asker


@pytest.mark.scenario("tun")
def test_nobody_answers_arp_on_the_far_link(lab: Lab) -> None:
    """The realserver behind the router has the VIP too; there is no director on its link."""
    assert arp_owners(lab, "router", "eth2") == set()


def test_only_the_director_answers_neighbour_solicitations(lab: Lab) -> None:
    for asker in askers(lab):
        assert ndp_owners(lab, asker) == {lab.mac("director", "eth1")}, asker


@pytest.mark.scenario("dr", "tun", "container_dr")
def test_answering_realserver_is_noticed(lab: Lab) -> None:
    """Sabotage: arp_ignore=0 on a realserver that has the VIP; the ARP test must see a second owner."""
    lab.run(lab.realservers[0], "sysctl -qw net.ipv4.conf.all.arp_ignore=0")
    try:
        assert arp_owners(lab, "client") == {lab.mac("director", "eth1"), lab.mac(lab.realservers[0], "eth1")}
    finally:
        lab.run(lab.realservers[0], "sysctl -qw net.ipv4.conf.all.arp_ignore=1")
        lab.run("client", f"ip neigh flush to {VIP4}")


@pytest.mark.scenario("dr", "tun", "container_dr")
def test_advertising_realserver_is_noticed(lab: Lab) -> None:
    """Sabotage: the IPv6 VIP on the realserver's own link, where it is advertised."""
    device = "lo" if lab.cluster == "dr" else "ip6tnl0"
    lab.run(lab.realservers[0], f"ip addr del {VIP6}/128 dev {device}; ip addr add {VIP6}/128 dev eth1 nodad")
    try:
        assert lab.mac(lab.realservers[0], "eth1") in ndp_owners(lab, "client")
    finally:
        lab.run(
            lab.realservers[0],
            f"ip addr del {VIP6}/128 dev eth1; ip addr add {VIP6}/128 dev {device} nodad preferred_lft 0",
        )
        lab.run("client", f"ip -6 neigh flush to {VIP6}")
