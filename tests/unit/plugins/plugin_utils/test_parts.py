# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network part of one host: what each method asks for, merged where a host has several parts to play."""

from __future__ import annotations

from typing import Any

from netaddr import IPAddress, IPNetwork

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.machines import Machine
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.parts import NetworkPart
from tests.howto import DIP, DIP6, GATEWAYS, LINKS, VIP, VIP6, facts

ARP_CURE = [
    {"key": "net.ipv4.conf.all.arp_ignore", "value": "1"},
    {"key": "net.ipv4.conf.all.arp_announce", "value": "2"},
]


def part(host: str = "rs1", seen: dict[str, Any] | None = None, **variables: Any) -> NetworkPart:
    return NetworkPart(Machine(host, variables, seen or facts(LINKS[host], GATEWAYS[host])))


def test_nothing_asked_nothing_done() -> None:
    assert part().compiled({}) == {
        "modules": [], "sysctls": [], "devices": [], "addresses": [], "routes": [], "rules": [],
    }  # fmt: skip


def test_director_vips() -> None:
    tested = part("director")
    tested.director_vip(IPAddress(VIP), "eth1")
    tested.director_vip(IPAddress(VIP6), "eth1")
    assert tested.compiled({})["addresses"] == [
        {"address": f"{VIP}/32", "device": "eth1", "announce": True},
        {"address": f"{VIP6}/128", "device": "eth1", "announce": True, "nodad": True, "deprecated": True},
    ]


def test_forwarding() -> None:
    tested = part("director")
    tested.forwarding(4, ["eth1", "eth2"])
    tested.forwarding(6, ["eth1", "eth2"])
    assert [(row["key"], row["value"]) for row in tested.compiled({})["sysctls"]] == [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.conf.all.send_redirects", "0"),
        ("net.ipv4.conf.eth1.send_redirects", "0"),
        ("net.ipv4.conf.eth2.send_redirects", "0"),
        ("net.ipv6.conf.all.forwarding", "1"),
    ]


def test_dr_realserver() -> None:
    tested = part()
    tested.direct(IPNetwork(VIP))
    tested.direct(IPNetwork(VIP))
    compiled = tested.compiled({})
    assert compiled["sysctls"] == ARP_CURE
    assert compiled["addresses"] == [{"address": f"{VIP}/32", "device": "lo"}]
    assert (compiled["devices"], compiled["routes"], compiled["rules"], compiled["modules"]) == ([], [], [], [])


def test_dr_realserver_of_ipv6_needs_no_sysctl() -> None:
    tested = part()
    tested.direct(IPNetwork(VIP6))
    compiled = tested.compiled({})
    assert compiled["sysctls"] == []
    assert compiled["addresses"] == [{"address": f"{VIP6}/128", "device": "lo", "nodad": True, "deprecated": True}]


def test_tun_realserver() -> None:
    tested = part("rs3")
    tested.tunnel(IPNetwork(VIP))
    compiled = tested.compiled({})
    assert compiled["modules"] == ["ipip"]
    assert compiled["sysctls"] == [*ARP_CURE, {"key": "net.ipv4.conf.tunl0.rp_filter", "value": "2"}]
    assert compiled["devices"] == [{"name": "tunl0", "kind": "ipip"}]
    assert compiled["addresses"] == [{"address": f"{VIP}/32", "device": "tunl0"}]
    assert compiled["rules"] == [{"family": "ipv4", "priority": 1100, "from": f"{VIP}/32", "table": 1100}]
    fitting = {"family": "ipv4", "table": 1100, "advmss": 1440}
    assert compiled["routes"] == [
        {"destination": "10.255.0.0/24", "device": "mgmt0", **fitting},
        {"destination": "172.16.5.0/24", "device": "eth1", **fitting},
        {"destination": "default", "gateway": "172.16.5.254", "device": "eth1", **fitting},
    ]


def test_tun_realserver_of_ipv6() -> None:
    tested = part("rs3")
    tested.tunnel(IPNetwork(VIP6))
    compiled = tested.compiled({})
    assert compiled["modules"] == ["ip6_tunnel"]
    assert compiled["sysctls"] == []
    assert compiled["devices"] == [{"name": "ip6tnl0", "kind": "ip6tnl"}]
    assert compiled["addresses"] == [{"address": f"{VIP6}/128", "device": "ip6tnl0", "nodad": True, "deprecated": True}]
    assert compiled["rules"] == [{"family": "ipv6", "priority": 1100, "from": f"{VIP6}/128", "table": 1100}]
    fitting = {"family": "ipv6", "table": 1100, "advmss": 1400}
    assert compiled["routes"] == [
        {"destination": "2001:db8:3::/64", "device": "eth1", "metric": 256, **fitting},
        {"destination": "default", "gateway": "2001:db8:3::fe", "device": "eth1", "metric": 1024, **fitting},
    ]


def test_a_vlan_has_its_dot_escaped() -> None:
    tested = part("director")
    tested.forwarding(4, ["eth0.100"])
    assert tested.compiled({})["sysctls"][-1]["key"] == "net.ipv4.conf.eth0/100.send_redirects"
    tested = part(seen=facts({"eth0.100": ["2001:db8:2::2/64"]}))
    tested.return_through(IPAddress("2001:db8:2::2"), IPAddress(DIP6), one_network=True)
    assert tested.compiled({})["sysctls"][-1]["key"] == "net.ipv6.conf.eth0/100.accept_redirects"


def test_routes_that_cannot_be_copied_stay_in_the_main_table() -> None:
    seen = facts(LINKS["rs3"], GATEWAYS["rs3"])
    first = {"family": "ipv4", "destination": "default", "device": "eth1", "metric": None}
    plain = {"family": "ipv4", "destination": "10.0.0.0/8", "device": "eth1", "metric": 0}
    seen["routes"] += [
        {**first, "gateway": "172.16.5.253"},  # as good as the one before it
        {**plain, "gateway": "10.255.255.1", "onlink": True},
        {**plain, "gateway": "fe80::1"},
        {**plain, "gateway": "172.16.5.9", "tos": "0x10"},
    ]
    tested = part("rs3", seen=seen)
    tested.tunnel(IPNetwork(VIP))
    routes = tested.compiled({})["routes"]
    assert [route["destination"] for route in routes] == ["10.255.0.0/24", "172.16.5.0/24", "default"]
    assert routes[-1]["gateway"] == GATEWAYS["rs3"][0]


def test_advmss_follows_the_mtu() -> None:
    tested = part("rs3", seen=facts(LINKS["rs3"], GATEWAYS["rs3"], mtu=9000))
    tested.tunnel(IPNetwork(VIP))
    assert {route["advmss"] for route in tested.compiled({})["routes"]} == {8940}


def test_two_default_routes_stay_two() -> None:
    seen = facts({"eth1": ["172.16.5.4/24"], "eth2": ["172.16.6.4/24"]}, ["172.16.5.254", "172.16.6.254"])
    seen["routes"][-1]["metric"] = 200
    tested = part("rs3", seen=seen)
    tested.tunnel(IPNetwork(VIP))
    defaults = [route for route in tested.compiled({})["routes"] if route["destination"] == "default"]
    assert [(route["gateway"], route.get("metric")) for route in defaults] == [
        ("172.16.5.254", None), ("172.16.6.254", 200),
    ]  # fmt: skip


def test_the_tunnels_own_routes_and_link_local_are_not_copied() -> None:
    seen = facts(LINKS["rs3"], GATEWAYS["rs3"])
    more = {"family": "ipv6", "gateway": None, "metric": 256, "source": None}
    seen["routes"] += [
        {**more, "destination": "fe80::/64", "device": "eth1"},
        {**more, "destination": "ff00::/8", "device": "eth1"},
        {**more, "destination": "2001:db8:9::/64", "device": "lo"},
        {**more, "destination": "2001:db8:8::/64", "device": "ip6tnl0"},
        {**more, "destination": "2001:db8:7::/64", "device": "gone0"},
    ]
    tested = part("rs3", seen=seen)
    tested.tunnel(IPNetwork(VIP6))
    assert [route["destination"] for route in tested.compiled({})["routes"]] == ["2001:db8:3::/64", "default"]


def test_an_ipv6_vip_that_is_already_there_changes_nothing() -> None:
    """A director of one VIP that is a Tun realserver of another: the first one's own route is not copied."""

    def compiled(seen: dict[str, Any]) -> dict[str, list[Any]]:
        tested = part("director", seen=seen)
        tested.director_vip(IPAddress(VIP6), "eth1")
        tested.tunnel(IPNetwork("2001:db8:5::110"))
        return tested.compiled({})

    links = {name: list(addresses) for name, addresses in LINKS["director"].items()}
    first = compiled(facts(links, GATEWAYS["director"]))
    links["eth1"].append(f"{VIP6}/128")
    links["ip6tnl0"] = ["2001:db8:5::110/128"]
    assert compiled(facts(links, GATEWAYS["director"])) == first


def test_nat_realserver_behind_the_director() -> None:
    tested = part()
    tested.return_through(IPAddress("10.1.1.2"), IPAddress(DIP), False)
    tested.return_through(IPAddress("2001:db8:2::2"), IPAddress(DIP6), False)
    compiled = tested.compiled({})
    assert compiled["rules"] == [
        {"family": "ipv4", "priority": 1601, "from": "10.1.1.2/32", "table": 1101},
        {"family": "ipv6", "priority": 1602, "from": "2001:db8:2::2/128", "table": 1102},
    ]
    assert compiled["routes"] == [
        {"destination": "10.1.1.0/24", "family": "ipv4", "device": "eth2", "table": 1101},
        {"destination": "default", "family": "ipv4", "gateway": DIP, "table": 1101, "device": "eth2"},
        {"destination": "2001:db8:2::/64", "family": "ipv6", "device": "eth2", "table": 1102},
        {"destination": "default", "family": "ipv6", "gateway": DIP6, "table": 1102, "device": "eth2"},
    ]
    assert (compiled["sysctls"], compiled["addresses"]) == ([], [])


def test_nat_on_one_network_answers_neighbours_through_the_director_too() -> None:
    tested = part()
    tested.return_through(IPAddress("192.168.1.2"), IPAddress("192.168.1.1"), True)
    # A second VIP from elsewhere, before or after, does not bring the short way back.
    tested.return_through(IPAddress("192.168.1.2"), IPAddress("192.168.1.1"), False)
    assert [route["destination"] for route in tested.compiled({})["routes"]] == ["default"]
    assert tested.conflicts == []


def test_nat_on_one_ipv6_network_listens_to_no_redirect() -> None:
    """A router of IPv6 redirects a realserver past itself to the client next door, and cannot be told not to."""
    rip, gateway = IPAddress("2001:db8:1::2"), IPAddress("2001:db8:1::1")
    for one_network, expected in ((True, [{"key": "net.ipv6.conf.eth1.accept_redirects", "value": "0"}]), (False, [])):
        tested = part()
        tested.return_through(rip, gateway, one_network)
        assert tested.compiled({})["sysctls"] == expected


def test_one_network_is_remembered_whatever_the_order() -> None:
    tested = part()
    tested.return_through(IPAddress("192.168.1.2"), IPAddress("192.168.1.1"), False)
    tested.return_through(IPAddress("192.168.1.2"), IPAddress("192.168.1.1"), True)
    assert [route["destination"] for route in tested.compiled({})["routes"]] == ["default"]


def test_nat_return_as_the_hosts_default_route() -> None:
    tested = part(lvs_nat_return="default")
    tested.return_through(IPAddress("10.1.1.2"), IPAddress(DIP), False)
    tested.return_through(IPAddress("10.1.1.22"), IPAddress(DIP), False)
    compiled = tested.compiled({})
    assert compiled["rules"] == []
    assert compiled["routes"] == [
        {"destination": "default", "family": "ipv4", "gateway": DIP, "table": 254, "device": "eth2"}
    ]


def test_nat_without_facts_names_no_device() -> None:
    tested = NetworkPart(Machine("rs1", {}))
    tested.return_through(IPAddress("10.1.1.2"), IPAddress(DIP), False)
    assert tested.compiled({})["routes"] == [
        {"destination": "default", "family": "ipv4", "gateway": DIP, "table": 1101}
    ]


def test_route_table_moves_all_of_it() -> None:
    tested = part("rs1")
    tested.route_table = 5000
    tested.tunnel(IPNetwork(VIP))
    tested.return_through(IPAddress("10.1.1.2"), IPAddress(DIP), False)
    compiled = tested.compiled({})
    assert {route["table"] for route in compiled["routes"]} == {5000, 5001}
    assert [(rule["priority"], rule["table"]) for rule in compiled["rules"]] == [(5000, 5000), (5501, 5001)]


def test_own_sysctls_come_last_and_win() -> None:
    tested = part()
    tested.direct(IPNetwork(VIP))
    extra = {"net.ipv4.conf.all.arp_ignore": 0, "net.ipv4.tcp_ecn": True, "net.core.somaxconn": "4096"}
    assert tested.compiled(extra)["sysctls"] == [
        {"key": "net.ipv4.conf.all.arp_ignore", "value": "0"},
        {"key": "net.ipv4.conf.all.arp_announce", "value": "2"},
        {"key": "net.ipv4.tcp_ecn", "value": "1"},
        {"key": "net.core.somaxconn", "value": "4096"},
    ]


def test_one_vip_by_two_methods_is_a_conflict() -> None:
    tested = part()
    tested.direct(IPNetwork(VIP))
    tested.tunnel(IPNetwork(VIP))
    assert tested.conflicts == [
        f"host rs1: {VIP} would have to be on lo and on tunl0, but a machine holds an address once; use one method,"
        " dr or tun, for this VIP there."
    ]


def test_one_rip_behind_two_directors_is_a_conflict() -> None:
    tested = part()
    tested.return_through(IPAddress("10.1.1.2"), IPAddress(DIP), False)
    tested.return_through(IPAddress("10.1.1.2"), IPAddress("10.1.1.8"), False)
    assert tested.conflicts == [
        f"host rs1: replies from 10.1.1.2 would have to go through {DIP} and through 10.1.1.8; two NAT directors need a"
        " RIP each on this realserver."
    ]


def test_two_default_gateways_are_a_conflict() -> None:
    tested = part(lvs_nat_return="default")
    tested.return_through(IPAddress("10.1.1.2"), IPAddress(DIP), False)
    tested.return_through(IPAddress("192.168.1.2"), IPAddress("192.168.1.1"), True)
    tested.compiled({})
    assert tested.conflicts == [
        f"host rs1: lvs_nat_return is default, but 10.1.1.2 needs {DIP} and 192.168.1.2 needs 192.168.1.1 as the"
        " default gateway; use lvs_nat_return policy there."
    ]
