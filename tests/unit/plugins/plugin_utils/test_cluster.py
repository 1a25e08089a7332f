# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole plan: what every host of the HOWTO's inventory gets, and every mistake an inventory can have."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_input
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import Plan, compile_plan
from tests.howto import DIP, GATEWAYS, LINKS, VIP, VIP6, facts, inventory, mistakes_of, plan_of, plus, service

EMPTY: dict[str, list[Any]] = {
    "modules": [], "sysctls": [], "devices": [], "addresses": [], "routes": [], "rules": [],
}  # fmt: skip


def network(plan: Plan, host: str) -> dict[str, Any]:
    return plan.parts[host]["network"]


def table(plan: Plan, host: str = "director") -> list[dict[str, Any]]:
    return plan.parts[host]["director"]["config"]


def rips(record: dict[str, Any]) -> list[tuple[str, int, str]]:
    return [(member["address"], member["port"], member["forwarding"]) for member in record["realservers"]]


def addresses(plan: Plan, host: str) -> dict[str, str]:
    return {item["address"]: item["device"] for item in network(plan, host)["addresses"]}


def sysctls(plan: Plan, host: str) -> dict[str, str]:
    return {item["key"]: item["value"] for item in network(plan, host)["sysctls"]}


# Every director: a client that uses a port again is scheduled anew, whatever the old entry says.
RESCHEDULE = {"net.ipv4.vs.expire_nodest_conn": "1", "net.ipv4.vs.conn_reuse_mode": "2"}

# ------------------------------------------------------------------ methods


def test_dr() -> None:
    plan = plan_of()
    assert table(plan) == [
        {
            "protocol": "tcp",
            "address": VIP,
            "port": 80,
            "scheduler": "wlc",
            "scheduler_flags": [],
            "one_packet": False,
            "realservers": [
                {
                    "address": address,
                    "port": 80,
                    "forwarding": "dr",
                    "weight": 1,
                    "upper_threshold": 0,
                    "lower_threshold": 0,
                }
                for address in ("192.168.1.2", "192.168.1.3")
            ],
        }
    ]
    assert plan.parts["director"]["director"]["owner"] == "static"
    assert plan.parts["director"]["director"]["restrict"] == [{"address": VIP}]
    assert network(plan, "director") == {
        **EMPTY,
        "modules": ["ip_vs", "ip_vs_wlc"],
        "sysctls": [{"key": key, "value": value} for key, value in RESCHEDULE.items()],
        "addresses": [{"address": f"{VIP}/32", "device": "eth1", "announce": True}],
    }
    for host in ("rs1", "rs2"):
        assert addresses(plan, host) == {f"{VIP}/32": "lo"}
        assert sysctls(plan, host) == {"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"}
    assert plan.warnings == []


def test_a_host_without_a_service_gets_an_empty_part() -> None:
    """So that a host that leaves is cleaned up."""
    plan = plan_of()
    assert plan.parts["rs3"] == {"roles": ["realserver"], "network": EMPTY}


def test_a_client_gets_its_role_only() -> None:
    assert plan_of().parts["client"] == {"roles": ["client"]}


def test_nat_with_two_networks() -> None:
    plan = plan_of([service(forwarding="nat", ports=[80, 443], realservers=[{"host": "rs1", "port": 8080}])])
    assert [(row["port"], rips(row)) for row in table(plan)] == [
        (80, [("10.1.1.2", 8080, "nat")]),
        (443, [("10.1.1.2", 8080, "nat")]),
    ]
    assert sysctls(plan, "director") == {
        **RESCHEDULE,
        "net.ipv4.ip_forward": "1",
        "net.ipv4.conf.all.send_redirects": "0",
        "net.ipv4.conf.eth1.send_redirects": "0",
        "net.ipv4.conf.eth2.send_redirects": "0",
    }
    assert network(plan, "rs1") == {
        **EMPTY,
        "routes": [
            {"destination": "10.1.1.0/24", "family": "ipv4", "device": "eth2", "table": 1101},
            {"destination": "default", "family": "ipv4", "gateway": DIP, "table": 1101, "device": "eth2"},
        ],
        "rules": [{"family": "ipv4", "priority": 1601, "from": "10.1.1.2/32", "table": 1101}],
    }


def test_nat_on_one_network() -> None:
    """Clients and realservers share a network: only a route past the neighbours keeps the reply's way back."""
    plan = plan_of(
        [service(forwarding="nat", realservers=[{"host": "rs1"}])], variables={"rs1": {"lvs_interface": "eth1"}}
    )
    assert rips(table(plan)[0]) == [("192.168.1.2", 80, "nat")]
    assert network(plan, "rs1")["routes"] == [
        {"destination": "default", "family": "ipv4", "gateway": "192.168.1.1", "table": 1101, "device": "eth1"}
    ]


def test_nat_with_an_inside_address_to_set() -> None:
    inside = {"director": {"lvs_inside": ["10.1.1.254/24", "2001:db8:2::fe/64"]}}
    plan = plan_of([service(vips=[VIP, VIP6], forwarding="nat")], variables=inside)
    assert addresses(plan, "director") == {
        "10.1.1.254/24": "eth2",
        "2001:db8:2::fe/64": "eth2",
        f"{VIP}/32": "eth1",
        f"{VIP6}/128": "eth1",
    }
    gateways = [route.get("gateway") for route in network(plan, "rs2")["routes"]]
    assert gateways == [None, "10.1.1.254", None, "2001:db8:2::fe"]
    assert sysctls(plan, "director")["net.ipv6.conf.all.forwarding"] == "1"


def test_nat_with_a_gateway_of_the_realservers_own() -> None:
    plan = plan_of(
        [service(forwarding="nat")],
        variables={"rs1": {"lvs_gateway": DIP}, "rs2": {"lvs_gateway": "10.1.1.9/32", "lvs_nat_return": "default"}},
    )
    assert network(plan, "rs1")["routes"][-1]["gateway"] == DIP
    assert network(plan, "rs2")["routes"] == [
        {"destination": "default", "family": "ipv4", "gateway": DIP, "table": 254, "device": "eth2"}
    ]


def test_nat_whose_way_back_is_none_of_our_business() -> None:
    plan = plan_of([service(forwarding="nat")], variables={"rs1": {"lvs_nat_return": "none"}})
    assert network(plan, "rs1") == EMPTY
    assert network(plan, "rs2") != EMPTY


def test_nat_route_table_from_a_survey_is_text() -> None:
    plan = plan_of([service(forwarding="nat")], variables={"rs1": {"lvs_route_table": "2000"}})
    assert {route["table"] for route in network(plan, "rs1")["routes"]} == {2001}


def test_tun_behind_a_router_and_on_the_directors_link() -> None:
    plan = plan_of([service(forwarding="tun", realservers=[{"host": "rs1"}, {"host": "rs3"}])])
    assert rips(table(plan)[0]) == [("192.168.1.2", 80, "tun"), ("172.16.5.4", 80, "tun")]
    for host in ("rs1", "rs3"):
        part = network(plan, host)
        assert addresses(plan, host) == {f"{VIP}/32": "tunl0"}
        assert part["modules"] == ["ipip"]
        assert part["devices"] == [{"name": "tunl0", "kind": "ipip"}]
        assert part["rules"] == [{"family": "ipv4", "priority": 1100, "from": f"{VIP}/32", "table": 1100}]
        assert {route["advmss"] for route in part["routes"]} == {1440}
        assert sysctls(plan, host)["net.ipv4.conf.tunl0.rp_filter"] == "2"
        assert sysctls(plan, host)["net.ipv4.conf.all.arp_ignore"] == "1"


def test_dual_stack() -> None:
    plan = plan_of([service(vips=[VIP, VIP6], forwarding="tun", realservers=[{"host": "rs3"}])])
    assert [(row["address"], rips(row)) for row in table(plan)] == [
        (VIP, [("172.16.5.4", 80, "tun")]),
        (VIP6, [("2001:db8:3::4", 80, "tun")]),
    ]
    assert addresses(plan, "rs3") == {f"{VIP}/32": "tunl0", f"{VIP6}/128": "ip6tnl0"}
    advmss = {route["family"]: route["advmss"] for route in network(plan, "rs3")["routes"]}
    assert advmss == {"ipv4": 1440, "ipv6": 1400}
    v6 = next(item for item in network(plan, "director")["addresses"] if ":" in item["address"])
    assert v6 == {"address": f"{VIP6}/128", "device": "eth1", "announce": True, "nodad": True, "deprecated": True}


def test_methods_may_be_mixed_in_one_service() -> None:
    plan = plan_of(
        [
            service(
                realservers=[
                    {"host": "rs1"},
                    {"host": "rs2", "forwarding": "nat"},
                    {"host": "rs3", "forwarding": "tun"},
                ]
            )
        ]
    )
    assert rips(table(plan)[0]) == [("192.168.1.2", 80, "dr"), ("10.1.1.3", 80, "nat"), ("172.16.5.4", 80, "tun")]


def test_localnode() -> None:
    plan = plan_of([service(realservers=[{"host": "director"}, {"host": "rs1"}])])
    assert rips(table(plan)[0]) == [("192.168.1.1", 80, "dr"), ("192.168.1.2", 80, "dr")]
    assert addresses(plan, "director") == {f"{VIP}/32": "eth1"}
    assert sysctls(plan, "director") == RESCHEDULE  # the director must answer who-has VIP


def test_director_and_realserver_in_one() -> None:
    """A director of one cluster that is a realserver of another gets one part with both."""
    own = [service(name="b", vips=["192.168.1.120"], realservers=[{"host": "rs1"}])]
    plan = plan_of(directors=["director", "rs2"], variables={"rs2": {"lvs_cluster": "b", "lvs_services": own}})
    assert plan.parts["rs2"]["roles"] == ["director", "realserver"]
    assert addresses(plan, "rs2") == {"192.168.1.120/32": "eth1", f"{VIP}/32": "lo"}
    assert addresses(plan, "rs1") == {f"{VIP}/32": "lo", "192.168.1.120/32": "lo"}
    assert [row["address"] for row in table(plan, "rs2")] == ["192.168.1.120"]
    # The VIP that it directs comes after its table, the one of the other cluster before that cluster's.
    ground = plan.parts["rs2"]["director"]["groundwork"]["addresses"]
    assert [(item["address"], item["device"]) for item in ground] == [(f"{VIP}/32", "lo")]


def test_realserver_of_two_clusters_by_two_methods() -> None:
    own = [service(name="b", vips=["10.1.1.110"], forwarding="nat", realservers=[{"host": "rs1"}])]
    plan = plan_of(
        [service(realservers=[{"host": "rs1"}])],
        directors=["director", "rs3"],
        seen={"rs3": facts({"eth2": ["10.1.1.8/24"]})},
        variables={"rs3": {"lvs_cluster": "b", "lvs_services": own}},
    )
    part = network(plan, "rs1")
    assert addresses(plan, "rs1") == {f"{VIP}/32": "lo"}
    assert [rule["from"] for rule in part["rules"]] == ["10.1.1.2/32"]
    assert part["routes"][-1]["gateway"] == "10.1.1.8"


def test_realserver_of_two_nat_clusters_has_a_rip_for_each() -> None:
    own = [service(name="b", vips=["192.168.1.120"], forwarding="nat", realservers=[{"host": "rs1"}])]
    plan = plan_of(
        [service(forwarding="nat", realservers=[{"host": "rs1"}])],
        directors=["director", "rs3"],
        seen={"rs3": facts({"eth1": ["192.168.1.8/24"]})},
        variables={
            "rs1": {"lvs_rip": ["10.1.1.2", "192.168.1.2"]},
            "rs3": {"lvs_cluster": "b", "lvs_services": own},
        },
    )
    assert (rips(table(plan)[0]), rips(table(plan, "rs3")[0])) == (
        [("10.1.1.2", 80, "nat")],
        [("192.168.1.2", 80, "nat")],
    )
    defaults = [route for route in network(plan, "rs1")["routes"] if route["destination"] == "default"]
    assert [(route["gateway"], route["table"]) for route in defaults] == [(DIP, 1101), ("192.168.1.8", 1102)]


# ------------------------------------------------------------------ services and realservers


def test_one_record_for_each_vip_protocol_and_port() -> None:
    plan = plan_of([service(name="dns", vips=[VIP, VIP6], protocol=["udp", "tcp"], ports=[53, 5353])])
    keys = [(row["protocol"], row["address"], row["port"]) for row in table(plan)]
    assert keys == sorted((p, v, n) for p in ("tcp", "udp") for v in (VIP, VIP6) for n in (53, 5353))


def test_what_a_record_carries() -> None:
    plan = plan_of(
        [
            service(
                protocol="udp",
                scheduler="sh",
                scheduler_flags=["sh-port"],
                persistence={"timeout": 300, "netmask": 24, "engine": "sip"},
                one_packet=True,
                realservers=[{"host": "rs1", "weight": 0, "upper_threshold": 9, "lower_threshold": 3}],
            )
        ]
    )
    record = table(plan)[0]
    assert record["scheduler_flags"] == ["sh-port"]
    assert record["persistence"] == {"timeout": 300, "netmask": 24, "engine": "sip"}
    assert record["one_packet"] is True
    member = record["realservers"][0]
    assert (member["weight"], member["upper_threshold"], member["lower_threshold"]) == (0, 9, 3)
    assert network(plan, "director")["modules"] == ["ip_vs", "ip_vs_sh", "ip_vs_pe_sip"]


def test_no_scheduler_needs_no_module() -> None:
    assert network(plan_of([service(scheduler="none")]), "director")["modules"] == ["ip_vs"]


def test_weight_keep() -> None:
    plan = plan_of([service(realservers=[{"host": "rs1", "weight": "keep"}])])
    assert table(plan)[0]["realservers"][0]["weight"] == "keep"


def test_a_group_of_realservers() -> None:
    plan = plan_of(
        [service(realservers=[{"group": "web_servers", "weight": 2}])], groups={"web_servers": ["rs1", "rs2"]}
    )
    assert [(m["address"], m["weight"]) for m in table(plan)[0]["realservers"]] == [
        ("192.168.1.2", 2),
        ("192.168.1.3", 2),
    ]


def test_an_unmanaged_address() -> None:
    plan = plan_of([service(realservers=[{"address": "192.168.1.77", "unmanaged": True}])])
    assert rips(table(plan)[0]) == [("192.168.1.77", 80, "dr")]
    assert network(plan, "rs1") == EMPTY


def test_a_managed_realserver_may_be_left_alone() -> None:
    plan = plan_of([service(realservers=[{"address": "192.168.1.3", "unmanaged": True}])])
    assert rips(table(plan)[0]) == [("192.168.1.3", 80, "dr")]
    assert network(plan, "rs2") == EMPTY


def test_unmanaged_addresses_of_both_families_go_to_their_vips() -> None:
    both = [{"address": "192.168.1.77", "unmanaged": True}, {"address": "2001:db8:1::77", "unmanaged": True}]
    plan = plan_of([service(vips=[VIP, VIP6], realservers=both)])
    assert [rips(row)[0][0] for row in table(plan)] == ["192.168.1.77", "2001:db8:1::77"]


def test_a_tunnel_may_carry_the_other_family() -> None:
    far = {"address": "2001:db8:9::77", "unmanaged": True, "forwarding": "tun"}
    assert rips(table(plan_of([service(realservers=[far])]))[0]) == [("2001:db8:9::77", 80, "tun")]


def test_one_realserver_may_serve_on_two_ports() -> None:
    plan = plan_of(
        [service(forwarding="nat", realservers=[{"host": "rs1", "port": 8080}, {"host": "rs1", "port": 8081}])]
    )
    assert rips(table(plan)[0]) == [("10.1.1.2", 8080, "nat"), ("10.1.1.2", 8081, "nat")]


def test_a_service_without_realservers_is_warned_of() -> None:
    plan = plan_of([service(realservers=[])])
    assert table(plan)[0]["realservers"] == []
    assert plan.warnings == [f"service web: VIP {VIP} has no realserver; clients will be refused."]


def test_the_director_as_gateway_of_a_dr_realserver_is_warned_of() -> None:
    plan = plan_of(seen={"rs1": facts(LINKS["rs1"], ["192.168.1.1"])})
    assert len(plan.warnings) == 1
    assert re.search(
        rf"host rs1: its default gateway 192.168.1.1 is director director, .* VIP {VIP} as martians \(HOWTO 7.5\)",
        plan.warnings[0],
    )


def test_the_tables_owner() -> None:
    plan = plan_of(variables={"director": {"lvs_health": "keepalived"}})
    assert plan.parts["director"]["director"]["owner"] == "keepalived"


def test_an_empty_list_of_services_empties_the_director() -> None:
    plan = plan_of([])
    assert plan.parts["director"] == {
        "roles": ["director"],
        "network": EMPTY,
        "firewall": {
            "marks": [],
            "unmarked": [],
            "untracked": [],
            "masquerade": [],
            "clamps": [],
            "filter": None,
        },
        "director": {
            "groundwork": EMPTY,
            "owner": "static",
            "config": [],
            "restrict": [],
            "additions_first": False,
            "daemons": [],
            "held": [],
            "module_options": {},
        },
        "failover": None,
        "health": None,
    }
    assert plan.probe == {"vips": [], "services": [], "patience": 0}


def test_the_ground_is_laid_without_vips_and_with_the_inside_address() -> None:
    variables = {"director": {"lvs_inside": "10.1.1.1/24"}}
    director = plan_of([service(forwarding="nat")], variables=variables).parts["director"]
    assert [entry["address"] for entry in director["network"]["addresses"]] == ["10.1.1.1/24", f"{VIP}/32"]
    assert [entry["address"] for entry in director["director"]["groundwork"]["addresses"]] == ["10.1.1.1/24"]
    assert director["director"]["groundwork"]["sysctls"] == director["network"]["sysctls"] != []


def test_netmasks_go_to_their_family() -> None:
    masks = {"timeout": 300, "netmask": 24, "netmask6": 64}
    plan = plan_of([service(vips=[VIP, VIP6], persistence=masks)])
    assert {row["address"]: row["persistence"]["netmask"] for row in table(plan)} == {VIP: 24, VIP6: 64}


def test_interfaces_that_are_named() -> None:
    variables = {"director": {"lvs_vip_interface": "eth2"}, "rs1": {"lvs_interface": "eth2"}}
    plan = plan_of([service(realservers=[{"host": "rs1"}])], variables=variables)
    assert addresses(plan, "director") == {f"{VIP}/32": "eth2"}
    assert rips(table(plan)[0]) == [("10.1.1.2", 80, "dr")]


def test_a_routed_vip_lives_where_the_default_route_is() -> None:
    eth1 = {"lvs_interface": "eth1"}
    plan = plan_of([service(vips=["203.0.113.10"])], variables={"rs1": eth1, "rs2": eth1})
    assert rips(table(plan)[0])[0] == ("192.168.1.2", 80, "dr")
    assert addresses(plan, "director") == {"203.0.113.10/32": "eth1"}


def test_own_sysctls() -> None:
    plan = plan_of(variables={"rs1": {"lvs_sysctls": {"net.ipv4.conf.all.arp_ignore": 0}}})
    assert sysctls(plan, "rs1")["net.ipv4.conf.all.arp_ignore"] == "0"


# ------------------------------------------------------------------ runs


def test_a_second_run_reads_the_same_plan_from_what_the_first_one_made() -> None:
    services = [
        service(vips=[VIP, VIP6], realservers=[{"host": "rs1"}, {"host": "director"}]),
        service(name="nat", vips=["192.168.1.111"], forwarding="nat", realservers=[{"host": "rs1"}, {"host": "rs2"}]),
        service(name="tun", vips=["192.168.1.112", "2001:db8:1::112"], forwarding="tun", realservers=[{"host": "rs3"}]),
    ]
    variables = {"director": {"lvs_inside": "10.1.1.254/24"}}
    first = plan_of(services, variables=variables)
    after: dict[str, dict[str, Any]] = {}
    for host in ("director", "rs1", "rs2", "rs3"):
        links = {name: list(own) for name, own in LINKS[host].items()}
        for address, device in addresses(first, host).items():
            links.setdefault(device, []).append(address)
        after[host] = facts(links, GATEWAYS[host])
    second = plan_of(services, variables=variables, seen=after)
    assert second.parts == first.parts
    assert second.warnings == first.warnings


def test_a_vip_that_leaves_is_still_there_and_confuses_nobody() -> None:
    old = "192.168.1.199/32"
    plan = plan_of(seen={"director": plus("director", "eth1", old), "rs1": plus("rs1", "tunl0", old)})
    assert plan.parts == plan_of().parts


def test_limit_leaves_hosts_without_facts() -> None:
    """A run limited to rs1 knows nothing of the others, but their `lvs_*` variables."""
    variables = {"director": {"lvs_vip_interface": "eth1"}, "rs2": {"lvs_rip": "192.168.1.3"}}
    plan = plan_of(variables=variables, seen={"director": None, "rs2": None, "rs3": None, "client": None})
    full = plan_of()
    assert plan.parts["rs1"] == full.parts["rs1"]
    assert table(plan) == table(full)
    assert plan.probe["vips"] == [{"address": VIP, "director": "director", "macs": []}]


def test_limit_and_nat() -> None:
    variables: dict[str, dict[str, Any]] = {
        "director": {"lvs_vip_interface": "eth1", "lvs_inside": DIP},
        "rs2": {"lvs_rip": "10.1.1.3/32"},
        "rs1": {"lvs_interface": "eth2"},
    }
    plan = plan_of([service(forwarding="nat")], variables=variables, seen={"director": None, "rs2": None})
    assert rips(table(plan)[0]) == [("10.1.1.2", 80, "nat"), ("10.1.1.3", 80, "nat")]
    assert network(plan, "rs1")["routes"][-1]["gateway"] == DIP


def test_parts_are_json_and_the_table_is_what_the_module_takes() -> None:
    services = [
        service(vips=[VIP, VIP6], persistence={"timeout": 300, "netmask": "24"}),
        service(name="n", ports=[81], forwarding="nat", realservers=[{"host": "rs1", "port": 8080}]),
    ]
    plan = plan_of(services)
    director = json.loads(json.dumps(plan.parts))["director"]["director"]
    wanted, _restrictions = _ipvs_input.parse(director["config"], director["restrict"], False)
    assert len(wanted) == 3


# ------------------------------------------------------------------ mistakes: object, reason, cure

BACKWARDS = {"rs1": {"lvs_gateway": "10.1.1.254"}}

PLAN_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no director": ({"directors": []}, r"no director: the directors' group \(lvs_directors by default\) is empty"),
    "no services": (
        {"variables": {"director": {"lvs_services": None}}},
        r"cluster lvs: director director has no lvs_services \(an empty list is one\)",
    ),
    "two directors without failover": (
        {"directors": ["director", "rs3"]},
        r"cluster lvs: director, rs3 would all hold the same VIPs; .* failover backend\. Set lvs_failover: keepalived",
    ),
    "two directors that disagree": (
        {"directors": ["director", "rs3"], "variables": {"rs3": {"lvs_services": []}}},
        r"directors director and rs3 of cluster lvs have different lvs_services; put the variable into the directors' ",
    ),
    "one VIP in two clusters": (
        {
            "directors": ["director", "rs3"],
            "variables": {"rs3": {"lvs_cluster": "b", "lvs_services": [service(name="b", ports=[81], realservers=[])]}},
        },
        rf"VIP {VIP} is in cluster lvs and in cluster b; one director holds a VIP, so give each cluster its own",
    ),
    "one service twice": (
        {"services": [service(), service(name="www", vips=["192.168.1.110/32"], ports=["http"])]},
        rf"service www: tcp {VIP} port 80 is already in service web; every VIP, protocol and port belongs to one",
    ),
    "VIP is a machine's own address": (
        {"services": [service(vips=["192.168.1.1"])]},
        r"VIP 192.168.1.1 is the address of director on eth1 with the network's prefix; a VIP is an address of its own",
    ),
    "VIP is the broadcast address": (
        {"services": [service(vips=["192.168.1.255"])]},
        r"VIP 192.168.1.255 is the network's own or the broadcast address of 192.168.1.0/24; choose an address",
    ),
    "VIP is the network": (
        {"services": [service(vips=["2001:db8:1::"])]},
        r"VIP 2001:db8:1:: is the network's own or the broadcast address of 2001:db8:1::/64",
    ),
    "VIP without an interface": (
        {"services": [service(vips=["203.0.113.1"], realservers=[])], "seen": {"director": facts(LINKS["director"])}},
        r"director director: no interface found for VIP 203.0.113.1: none of its networks \(.*192.168.1.1/24 on eth1.*"
        r"\) contains it and there is no default route; name the interface with lvs_vip_interface",
    ),
    "VIP of a director nobody asked": (
        {"seen": {"director": None}},
        rf"director director: no interface found for VIP {VIP}: its addresses are not known \(outside --limit, or it"
        r" did not answer\); name the interface with lvs_vip_interface",
    ),
    "unknown host": (
        {"services": [service(realservers=[{"host": "rs9"}])]},
        r"service web: realserver host 'rs9' is not in the inventory; add it, or give its address with unmanaged: true",
    ),
    "unknown group": (
        {"services": [service(realservers=[{"group": "none_such"}])]},
        r"service web: realserver group 'none_such' is empty or not in the inventory; correct the name",
    ),
    "host outside the realservers' group": (
        {"realservers": ["rs1"]},
        r"service web: realserver host 'rs2' is not in the realservers' group .* nothing would configure it; put it",
    ),
    "realserver twice by host and group": (
        {"services": [service(realservers=[{"group": "lvs_realservers"}, {"host": "rs1"}], forwarding="tun")]},
        r"service web: realserver rs1 \(192.168.1.2\) is listed twice; list it once, with the weight it shall have",
    ),
    "realserver twice by host and address": (
        {"services": [service(realservers=[{"host": "rs1"}, {"address": "192.168.1.2"}])]},
        r"service web: realserver 192.168.1.2 \(192.168.1.2\) is listed twice \(also as rs1\); list it once",
    ),
    "address of a managed realserver": (
        {"services": [service(realservers=[{"address": "192.168.1.3"}])]},
        r"service web: realserver 192.168.1.3 is an address of host rs2, which nothing would configure for this service"
        r"; write host: rs2, or unmanaged: true if that is meant",
    ),
    "realserver twice by spelling": (
        {
            "services": [
                service(vips=[VIP6], realservers=[{"address": "2001:db8:1::5"}, {"address": "2001:DB8:1:0::5/128"}])
            ]
        },
        r"service web: realserver 2001:db8:1::5 \(2001:db8:1::5\) is listed twice; list it once",
    ),
    "realserver twice by port": (
        {"services": [service(realservers=[{"host": "rs1"}, {"host": "rs1", "port": 80}])]},
        r"service web: realserver rs1 \(192.168.1.2\) is listed twice; list it once",
    ),
    "realserver is the VIP": (
        {"services": [service(realservers=[{"address": VIP}])]},
        rf"service web: realserver {VIP}: its address {VIP} is a VIP of this cluster, .* to itself; give .*\(RIP\)",
    ),
    "lvs_rip is the VIP": (
        {"variables": {"rs2": {"lvs_rip": VIP}}, "seen": {"rs2": None}},
        rf"service web: realserver rs2: its address {VIP} is a VIP of this cluster",
    ),
    "IPv6 realserver under an IPv4 VIP": (
        {"services": [service(realservers=[{"address": "2001:db8:1::5"}])]},
        rf"realserver 2001:db8:1::5 is IPv6 under the IPv4 VIP {VIP}: IPVS cannot translate between families; give the"
        r" realserver an address of the VIP's family, or use tun",
    ),
    "IPv6 VIP for a realserver that has IPv4 only": (
        {"services": [service(vips=[VIP, VIP6])], "seen": {"rs1": facts({"eth1": ["192.168.1.2/24"]})}},
        r"service web: realserver rs1 has no ipv6 address on a network that dr can use \(it has 192.168.1.2/24 on eth1;"
        r" director director has .*\); give lvs_rip6, or correct its network",
    ),
    "DR behind a router": (
        {"services": [service(realservers=[{"host": "rs3"}])]},
        r"service web: realserver rs3 has no ipv4 address on a network that dr can use \(it has .*172.16.5.4/24 on eth1"
        r".*; director director has .*\); give lvs_rip, or correct its network\.$",
    ),
    "NAT behind a router": (
        {"services": [service(forwarding="nat", realservers=[{"host": "rs3"}])]},
        r"realserver rs3 has no ipv4 address on a network that nat can use .* NAT: the way back must pass the director",
    ),
    "DR behind a router, address given": (
        {"services": [service(realservers=[{"host": "rs3"}])], "variables": {"rs3": {"lvs_rip": "172.16.5.4"}}},
        r"realserver rs3: 172.16.5.4 is in no network of director director .* dr reaches .* own link only .*; use tun",
    ),
    "NAT behind a router, address given": (
        {"services": [service(forwarding="nat", realservers=[{"address": "172.16.5.9"}])]},
        r"realserver 172.16.5.9: 172.16.5.9 is in no network of director .* the way back must pass the director, on a",
    ),
    "realserver with two addresses": (
        {
            "services": [service(realservers=[{"host": "rs1"}])],
            "seen": {"rs1": facts({"eth1": ["192.168.1.2/24", "192.168.1.22/24"]})},
        },
        rf"realserver rs1 has several addresses that could be its RIP for {VIP} \(192.168.1.2/24 on eth1, "
        r"192.168.1.22/24 on eth1\); name one with lvs_rip, or the interface with lvs_interface",
    ),
    "realserver nobody asked": (
        {"seen": {"rs2": None}},
        r"service web: realserver rs2: its addresses are not known \(outside --limit, or it did not answer\); give",
    ),
    "lvs_gateway past the director": (
        {"services": [service(forwarding="nat", realservers=[{"host": "rs1"}])], "variables": BACKWARDS},
        r"service web: NAT realserver rs1: its lvs_gateway 10.1.1.254 is no address of director director, so replies"
        r" would not pass the director \(HOWTO 5.4\); it has 10.1.1.9",
    ),
    "lvs_gateway on a network the realserver does not have": (
        {
            "services": [service(forwarding="nat", realservers=[{"host": "rs1"}])],
            "variables": {"rs1": {"lvs_gateway": "192.168.1.1"}, "director": {"lvs_dip": "192.168.1.1"}},
            "seen": {"rs1": facts({"eth2": ["10.1.1.2/24"]})},
        },
        r"NAT realserver rs1: its lvs_gateway 192.168.1.1 is in no network of it \(10.1.1.2/24 on eth2\); name the",
    ),
    "NAT without a known way back": (
        {
            "services": [service(forwarding="nat", realservers=[{"host": "rs1"}])],
            "seen": {"director": None},
            "variables": {"director": {"lvs_vip_interface": "eth1"}, "rs1": {"lvs_rip": "10.1.1.2"}},
        },
        r"service web: NAT realserver rs1: no address of director director is known on the network of 10.1.1.2, .*"
        r" \(HOWTO 5.4\); give the director lvs_inside, or the realserver lvs_gateway",
    ),
    "lvs_rip is no address": (
        {"variables": {"rs1": {"lvs_rip": "rs1.example.com"}}},
        r"host rs1: lvs_rip: 'rs1.example.com' is not an IPv4 or IPv6 address",
    ),
    "lvs_rip of the wrong family": (
        {"variables": {"rs1": {"lvs_rip": "2001:db8:1::2"}}},
        r"host rs1: lvs_rip 2001:db8:1::2 is IPv6; use lvs_rip6",
    ),
    "lvs_rip6 of the wrong family": (
        {"services": [service(vips=[VIP6])], "variables": {"rs1": {"lvs_rip6": "192.168.1.2"}}},
        r"host rs1: lvs_rip6 192.168.1.2 is IPv4; use lvs_rip",
    ),
    "lvs_rip is another machine's": (
        {"variables": {"rs1": {"lvs_rip": "192.168.1.22"}}},
        r"host rs1: lvs_rip 192.168.1.22 is no address of it \(it has .*192.168.1.2/24 on eth1.*\); correct it, or",
    ),
    "lvs_dip is no address": (
        {"variables": {"director": {"lvs_dip": "inside"}}},
        r"host director: lvs_dip: 'inside' is not an IPv4 or IPv6 address",
    ),
    "lvs_dip is not there": (
        {"variables": {"director": {"lvs_dip": "10.1.1.8"}}},
        r"host director: lvs_dip 10.1.1.8 is no address of it",
    ),
    "lvs_gateway is no address": (
        {"services": [service(forwarding="nat")], "variables": {"rs1": {"lvs_gateway": "the director"}}},
        r"host rs1: lvs_gateway: 'the director' is not an IPv4 or IPv6 address",
    ),
    "lvs_inside is no address": (
        {"services": [service(forwarding="nat")], "variables": {"director": {"lvs_inside": "eth2"}}},
        r"host director: lvs_inside 'eth2' is not an address with its prefix, as in 10.1.1.9/24",
    ),
    "lvs_inside is a network": (
        {"variables": {"director": {"lvs_inside": "10.1.1.0/24"}}},
        r"host director: lvs_inside 10.1.1.0/24 is the address of the network itself; write the director's own address",
    ),
    "lvs_inside without prefix is not there": (
        {"variables": {"director": {"lvs_inside": "10.1.1.8"}}},
        r"host director: lvs_inside 10.1.1.8 is no address of it .* correct it, or give the machine that address first",
    ),
    "lvs_inside lies nowhere": (
        {"variables": {"director": {"lvs_inside": "10.7.7.1/24"}}},
        r"director director: lvs_inside 10.7.7.1/24 lies in none of its networks .* give the inside interface an addr",
    ),
    "lvs_interface is no interface": (
        {"variables": {"rs3": {"lvs_interface": "eth9"}}},
        r"host rs3: lvs_interface 'eth9' is no interface of it; correct the name",
    ),
    "lvs_vip_interface is no interface": (
        {"variables": {"director": {"lvs_vip_interface": "eth9"}}},
        r"host director: lvs_vip_interface 'eth9' is no interface of it",
    ),
    "lvs_nat_return unknown": (
        {"variables": {"rs1": {"lvs_nat_return": "magic"}}},
        r"host rs1: lvs_nat_return: 'magic' is unknown; choose one of policy, default, none",
    ),
    "lvs_table_owner of before": (
        {"variables": {"director": {"lvs_table_owner": "static"}}},
        r"host director: lvs_table_owner is gone; say with lvs_health who checks the realservers",
    ),
    "lvs_route_table out of range": (
        {"services": [service(forwarding="tun")], "variables": {"rs1": {"lvs_route_table": "main"}}},
        r"host rs1: lvs_route_table: 'main' is not an integer from 256 to 31000",
    ),
    "lvs_sysctls of a wrong shape": (
        {"variables": {"rs1": {"lvs_sysctls": ["net.ipv4.ip_forward=1"]}}},
        r"host rs1: lvs_sysctls must be a mapping of sysctl keys to values",
    ),
    "lvs_sysctls names no setting of ours": (
        {"variables": {"rs1": {"lvs_sysctls": {"vm.swappiness": 1}}}},
        r"host rs1: lvs_sysctls: 'vm.swappiness' is no setting below net; write it as in net.core.somaxconn",
    ),
    "lvs_sysctls without a value": (
        {"variables": {"rs1": {"lvs_sysctls": {"net.core.somaxconn": None}}}},
        r"host rs1: lvs_sysctls: net.core.somaxconn: None is not a value; write a number or a text",
    ),
    "lvs_vip_interface is lo": (
        {"variables": {"director": {"lvs_vip_interface": "lo"}}},
        r"host director: lvs_vip_interface is lo, where no neighbour is; name the interface of the network",
    ),
    "lvs_vip_interface cannot be a name": (
        {"services": [], "variables": {"director": {"lvs_vip_interface": "eth 1"}}, "seen": {"director": None}},
        r"host director: lvs_vip_interface 'eth 1' is no interface of it; correct the name",
    ),
    "one VIP by dr and by tun on one host": (
        {"services": [service(), service(name="tls", ports=[443], forwarding="tun")]},
        rf"host rs1: {VIP} would have to be on lo and on tunl0, .* use one method, dr or tun, for this VIP there",
    ),
    "one RIP behind two NAT directors": (
        {
            "services": [service(forwarding="nat", realservers=[{"host": "rs1"}])],
            "directors": ["director", "rs2"],
            "variables": {
                "rs2": {
                    "lvs_cluster": "b",
                    "lvs_services": [
                        service(name="b", vips=["192.168.1.120"], forwarding="nat", realservers=[{"host": "rs1"}])
                    ],
                }
            },
        },
        r"host rs1: replies from 10.1.1.2 would have to go through 10.1.1.9 and through 10.1.1.3; two NAT directors",
    ),
}


@pytest.mark.parametrize(("arguments", "sentence"), PLAN_MISTAKES.values(), ids=PLAN_MISTAKES.keys())
def test_mistake_of_the_inventory(arguments: dict[str, Any], sentence: str) -> None:
    found = mistakes_of(**arguments)
    hits = [said for said in found if re.search(sentence, said)]
    assert len(hits) == 1, "\n".join(found)
    assert hits[0].endswith(".")


# What is said beside the sentence of the case.
BESIDE = {"two directors that disagree": "would all hold the same VIPs"}


@pytest.mark.parametrize("name", PLAN_MISTAKES)
def test_one_cause_one_sentence(name: str) -> None:
    """A mistake must not drag others behind it; where two hosts share a cause, each is named once."""
    arguments, sentence = PLAN_MISTAKES[name]
    expected = [sentence.replace("rs1", "rs[12]"), *([BESIDE[name]] if name in BESIDE else [])]
    found = mistakes_of(**arguments)
    assert [said for said in found if not any(re.search(known, said) for known in expected)] == []


def test_all_mistakes_at_once() -> None:
    found = mistakes_of(
        [
            service(
                vips=["192.168.1.110/24"], scheduler="W", realservers=[{"host": "rs1", "weight": -1}, {"host": "rs9"}]
            ),
            service(name="web2", ports=[80], realservers=[{"host": "rs3"}]),
        ],
        variables={"rs1": {"lvs_rip": "192.168.1.300"}, "director": {"lvs_nat_return": 5}},
    )
    for sentence in (
        "VIP: 192.168.1.110/24 has a prefix",
        "scheduler 'W' cannot be a name",
        "weight: -1 is not an integer",
        "host 'rs9' is not in the inventory",
        "service web2: tcp 192.168.1.110 port 80 is already in service web",
        "realserver rs3 has no ipv4 address on a network that dr can use",
        "lvs_rip: '192.168.1.300' is not an IPv4",
        "lvs_nat_return: 5 is unknown",
    ):
        assert len([said for said in found if sentence in said]) == 1, sentence
    assert len(found) == len(set(found)) == 8


def test_a_mistake_met_for_every_port_is_said_once() -> None:
    many = [service(ports=[80, 81, 82], protocol=["tcp", "udp"], realservers=[{"host": "rs9"}])]
    assert len(mistakes_of(many)) == 1


def test_the_same_inventory_gives_the_same_plan() -> None:
    assert compile_plan(inventory()).parts == compile_plan(inventory()).parts
