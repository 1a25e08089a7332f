# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands around the table in the plan: marks, routed VIPs, FTP, SNAT, LocalNode, filter, two boxes, profiles."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_input, _network_model
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import Plan
from tests.howto import GATEWAYS, LINKS, VIP, VIP6, facts, mistakes_of, plan_of, plus, service

LAN = {host: {"lvs_interface": "eth1"} for host in ("rs1", "rs2")}


def shop(**changes: Any) -> dict[str, Any]:
    """80 and 443 of a VIP of each family under one mark, persistent."""
    return service(name="shop", fwmark=1, vips=[VIP, VIP6], ports=[80, 443], persistence=300, **changes)


def network(plan: Plan, host: str) -> dict[str, Any]:
    config: dict[str, Any] = plan.parts[host]["network"]
    _network_model.parse(config)
    return config


def table(plan: Plan, host: str = "director") -> list[dict[str, Any]]:
    config: list[dict[str, Any]] = plan.parts[host]["director"]["config"]
    _ipvs_input.parse(config, None, False)
    return config


def firewall(plan: Plan, host: str = "director") -> dict[str, Any]:
    config: dict[str, Any] = plan.parts[host]["firewall"]
    return config


def sysctls(plan: Plan, host: str = "director") -> dict[str, str]:
    return {entry["key"].removeprefix("net.ipv4.vs."): entry["value"] for entry in network(plan, host)["sysctls"]}


# ------------------------------------------------------------------ marks


def test_one_mark_is_one_service_of_each_family() -> None:
    plan = plan_of([shop()])
    assert [(row["fwmark"], row["family"], len(row["realservers"])) for row in table(plan)] == [
        ("1", "ipv4", 2),
        ("1", "ipv6", 2),
    ]
    assert {member["port"] for row in table(plan) for member in row["realservers"]} == {0}
    assert [(entry["family"], entry["ports"]) for entry in firewall(plan)["marks"]] == [
        ("ipv4", ["80", "443"]),
        ("ipv6", ["80", "443"]),
    ]
    assert plan.parts["director"]["director"]["restrict"] == [{"fwmark": "1"}]
    # Held as any VIP, by the director and by the realservers.
    assert {entry["address"] for entry in network(plan, "rs1")["addresses"]} == {f"{VIP}/32", f"{VIP6}/128"}
    assert not network(plan, "director")["rules"]
    assert [(probe["address"], probe["port"]) for probe in plan.probe["services"]] == [
        (VIP, 80),
        (VIP, 443),
        (VIP6, 80),
        (VIP6, 443),
    ]


def test_entries_of_marks_say_what_the_service_does_not() -> None:
    marks = [{"ports": [554]}, {"protocol": "udp", "ports": ["6970-7170"], "sources": ["10.0.0.0/8"]}]
    plan = plan_of([service(fwmark="0x10", marks=marks)])
    assert [(entry["mark"], entry["protocol"], entry["ports"]) for entry in firewall(plan)["marks"]] == [
        (16, "udp", ["6970-7170"]),
        (16, "tcp", ["554"]),
    ]
    assert firewall(plan)["marks"][0]["sources"] == ["10.0.0.0/8"]
    assert [probe["port"] for probe in plan.probe["services"]] == [554]


def test_clients_of_one_network_have_realservers_of_their_own() -> None:
    near = service(name="near", fwmark=1, sources=["192.168.1.0/24"], realservers=[{"host": "rs1"}])
    far = service(name="far", fwmark=2, realservers=[{"host": "rs2"}])
    # Written first or last, the narrower rule is asked first.
    for services in ([near, far], [far, near]):
        assert [entry["mark"] for entry in firewall(plan_of(services))["marks"]] == [1, 2]


def test_a_network_of_vips_is_taken_in_by_mark_and_by_local_routes() -> None:
    plan = plan_of([shop(networks=["192.168.3.0/29", "2001:db8:9::/125"])], variables=LAN)
    director, realserver = network(plan, "director"), network(plan, "rs1")
    assert [(rule["family"], rule["fwmark"], rule["table"]) for rule in director["rules"]] == [
        ("ipv4", 1, 2000),
        ("ipv6", 1, 2000),
    ]
    assert [(route["destination"], route["family"], route["type"], route["table"]) for route in director["routes"]] == [
        ("default", "ipv4", "local", 2000),
        ("default", "ipv6", "local", 2000),
    ]
    assert [(route["destination"], route["type"], route["device"]) for route in realserver["routes"]] == [
        ("192.168.3.0/29", "local", "lo"),
        ("2001:db8:9::/125", "local", "lo"),
    ]
    assert firewall(plan)["marks"][0]["destinations"] == [f"{VIP}/32", "192.168.3.0/29"]


def test_a_director_without_the_vip() -> None:
    plan = plan_of([shop(vip_less=True)])
    assert not network(plan, "director")["addresses"]
    assert [rule["fwmark"] for rule in network(plan, "director")["rules"]] == [1, 1]
    assert network(plan, "rs1")["addresses"]
    assert plan.probe["vips"] == []
    assert plan.probe["services"]


def test_tun_takes_networks_from_the_tunnel() -> None:
    plan = plan_of([service(fwmark=3, vips=[], networks=["192.168.3.0/29"], forwarding="tun")], variables=LAN)
    part = network(plan, "rs1")
    assert part["devices"] == [{"name": "tunl0", "kind": "ipip"}]
    assert part["rules"][0]["from"] == "192.168.3.0/29"
    assert {"destination": "192.168.3.0/29", "family": "ipv4", "type": "local", "device": "lo", "table": 255} in part[
        "routes"
    ]


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ([shop(forwarding="nat", realservers=[{"host": "rs1", "port": 8080}])], "HOWTO 18.8"),
        ([shop(realservers=[{"host": "rs1", "port": 80}])], "dr cannot rewrite ports"),
        ([shop(), service()], "the kernel asks for the mark first"),
        ([shop(), service(name="b", fwmark=2)], "services shop (fwmark 1) and b (fwmark 2)"),
        ([shop(), service(name="b", fwmark=1, vips=["192.168.1.111"])], "both have fwmark 1"),
        ([service(networks=["192.168.3.0/29"])], "networks needs a fwmark"),
        ([service(vip_less=True)], "vip_less needs a fwmark"),
        ([service(fwmark=0)], "1 to 4294967295"),
        ([service(fwmark=1, ports=[])], "needs ports"),
        ([service(fwmark=1, vips=[])], "needs vips or networks"),
        ([service(fwmark=1, marks=[{"port": [80]}])], "unknown 'port'"),
        ([service(fwmark=1, marks=[{"ports": ["90-80"]}])], "no range of ports"),
        ([service(fwmark=1, networks=["192.168.3.1/29"])], "bits behind its prefix"),
        ([service(fwmark=1, networks=["192.168.1.0/29"], realservers=[{"host": "rs1"}])], "is a VIP of this cluster"),
        ([service(fwmark=1, marks=[{"interface": "eth 1"}])], "cannot be the name of one"),
    ],
)
def test_what_marks_cannot_do(services: list[dict[str, Any]], words: str) -> None:
    found = mistakes_of(services)
    assert any(words in sentence for sentence in found), found


def test_ordinary_services_are_named_where_marks_are_or_were() -> None:
    other = service(vips=["192.168.1.111"])
    assert [entry["ports"] for entry in firewall(plan_of([shop(), other]))["unmarked"]] == [["80"]]
    assert not firewall(plan_of([other]))["unmarked"]
    seen = facts(LINKS["director"], GATEWAYS["director"], firewall={"ours": True, "marks": []})
    plan = plan_of([other], seen={"director": seen})
    assert firewall(plan)["unmarked"]
    assert plan.parts["director"]["director"]["additions_first"]


def test_one_port_under_a_mark_can_be_translated() -> None:
    plan = plan_of([service(fwmark=1, forwarding="nat", realservers=[{"host": "rs1", "port": 8080}])])
    assert table(plan)[0]["realservers"][0]["port"] == 8080


# ------------------------------------------------------------------ FTP


def test_ftp_by_nat_has_a_helper() -> None:
    plan = plan_of([service(ftp=True, ports=[21], forwarding="nat")])
    assert "ip_vs_ftp" in network(plan, "director")["modules"]
    assert table(plan)[0]["port"] == 21 and "persistence" not in table(plan)[0]


def test_ftp_by_dr_sticks_to_its_realserver() -> None:
    (row,) = table(plan_of([service(ftp=True, ports=[21])]))
    assert row["port"] == 0 and row["persistence"] == {"timeout": 360}
    plan = plan_of([service(ftp={"passive_ports": "30000-30009"}, fwmark=4, ports=[21])])
    assert firewall(plan)["marks"][0]["ports"] == ["21", "20", "30000-30009"]
    assert table(plan)[0]["persistence"] == {"timeout": 360}
    assert [probe["port"] for probe in plan.probe["services"]] == [21]


def test_the_filter_lets_ftp_in_and_not_every_port() -> None:
    ftp = service(ftp={"passive_ports": "30000-30009"}, ports=[21])
    plan = plan_of([ftp], variables={"director": {"lvs_filter": True}})
    assert [entry["ports"] for entry in firewall(plan)["filter"]["accept"]] == [["21", "20", "30000-30009"]]


def test_ftp_by_two_methods_is_refused() -> None:
    both = [{"host": "rs1"}, {"host": "rs2", "forwarding": "nat"}]
    assert any("HOWTO 15" in sentence for sentence in mistakes_of([service(ftp=True, ports=[21], realservers=both)]))
    assert any("ftp is on port 21" in sentence for sentence in mistakes_of([service(ftp=True, ports=[21, 2121])]))
    datagrams = service(ftp=True, ports=[21], protocol="udp")
    assert any("service of tcp" in sentence for sentence in mistakes_of([datagrams]))


# ------------------------------------------------------------------ SNAT


@pytest.mark.parametrize("marks", [{"ports": ["8000-8010"]}, {"ports": [80], "sources": ["10.0.0.0/8"]}])
def test_snat_that_would_hide_the_clients_of_another_service(marks: dict[str, Any]) -> None:
    hiding = {
        key: value for key, value in service(forwarding="nat", snat=True, name="hiding").items() if key != "ports"
    }
    hiding = {**hiding, "fwmark": 1, "marks": [marks]}
    found = mistakes_of([hiding, service(forwarding="nat", name="plain")])
    assert any(sentence.startswith("service plain: snat of service hiding") for sentence in found), found
    for other in (service(name="plain"), service(forwarding="nat", snat=True, name="plain")):
        plan_of([hiding, other])


def test_snat_needs_no_way_back() -> None:
    plan = plan_of([service(forwarding="nat", snat=True)])
    assert firewall(plan)["masquerade"] == [{"family": "ipv4", "vip": VIP, "port": 80, "protocol": "tcp"}]
    assert sysctls(plan)["conntrack"] == "1"
    assert not network(plan, "rs1")["rules"]
    # Any realserver that the director can reach, also behind a router.
    plan = plan_of([service(forwarding="nat", snat=True, realservers=[{"host": "rs3"}])])
    assert table(plan)[0]["realservers"][0]["address"] == "172.16.5.4"
    assert any("HOWTO 5.26" in sentence for sentence in mistakes_of([service(snat=True)]))
    datagrams = service(forwarding="nat", snat=True, protocol="udp", one_packet=True)
    assert any("one_packet does not make" in sentence for sentence in mistakes_of([datagrams]))


# ------------------------------------------------------------------ LocalNode


def test_the_director_serves_itself() -> None:
    plan = plan_of([service(realservers=[{"host": "director"}, {"host": "rs1"}])])
    assert [member["address"] for member in table(plan)[0]["realservers"]] == ["192.168.1.1", "192.168.1.2"]
    assert [entry["device"] for entry in network(plan, "director")["addresses"]] == ["eth1"]


def test_one_box_translates_ports_without_forwarding() -> None:
    daemons = [{"host": "director", "port": port} for port in (8080, 8081)]
    plan = plan_of([service(forwarding="nat", realservers=daemons)])
    assert [member["port"] for member in table(plan)[0]["realservers"]] == [8080, 8081]
    assert "net.ipv4.ip_forward" not in sysctls(plan)


def test_two_boxes() -> None:
    boxes = {host: {"lvs_failover": "manual", "lvs_active": "rs2"} for host in ("rs1", "rs2")}
    plan = plan_of(directors=["rs1", "rs2"], variables=boxes)
    assert table(plan, "rs1") == table(plan, "rs2")
    assert {host: network(plan, host)["addresses"][0]["device"] for host in boxes} == {"rs1": "lo", "rs2": "eth1"}
    assert {host: plan.parts[host]["director"]["daemons"][0]["role"] for host in boxes} == {
        "rs1": "backup",
        "rs2": "master",
    }
    assert {sysctls(plan, host)["backup_only"] for host in boxes} == {"1"}
    ids = {plan.parts[host]["director"]["daemons"][0]["syncid"] for host in boxes}
    assert len(ids) == 1 and 0 not in ids


@pytest.mark.parametrize(
    ("variables", "forwarding", "words"),
    [
        ({}, "dr", "need a failover backend"),
        ({"lvs_failover": "manual"}, "dr", "lvs_active must be the name of one of them"),
        ({"lvs_failover": "manual", "lvs_active": "rs1"}, "nat", "does not move with lvs_active"),
        ({"lvs_failover": "manual", "lvs_active": "rs1", "lvs_sync": {"syncid": 0}}, "dr", "1 to 255"),
        ({"lvs_failover": "manual", "lvs_active": "rs1", "lvs_sync": {"role": "both"}}, "dr", "unknown 'role'"),
    ],
)
def test_what_two_boxes_cannot_do(variables: dict[str, Any], forwarding: str, words: str) -> None:
    found = mistakes_of(
        [service(forwarding=forwarding)], directors=["rs1", "rs2"], variables=dict.fromkeys(("rs1", "rs2"), variables)
    )
    assert any(words in sentence for sentence in found), found


# ------------------------------------------------------------------ filter, clamps


def test_the_filter_knows_the_services() -> None:
    own = {
        "lvs_filter": True,
        "ansible_port": 2222,
        "lvs_filter_peers": ["192.168.1.12"],
        "lvs_filter_allow": [
            {"ports": [9100, "9200-9299"], "sources": ["10.0.0.0/8", "2001:db8::/32"]},
            {"ports": [53]},
        ],
    }
    plan = plan_of([service(), service(name="n", forwarding="nat", ports=[25])], variables={"director": own})
    config = firewall(plan)
    assert config["filter"]["ssh_ports"] == [2222]
    assert config["filter"]["peers"] == ["192.168.1.12"]
    assert [entry["ports"] for entry in config["filter"]["accept"]] == [
        ["80"],
        ["25"],
        ["9100", "9200-9299"],
        ["9100", "9200-9299"],
        ["53"],
    ]
    assert config["filter"]["forward"] == {"realservers": ["10.1.1.2", "10.1.1.3"], "accept": []}
    # What passes the director one way only is not tracked; what nat translates is, so that replies are known.
    assert [entry["ports"] for entry in config["untracked"]] == [["80"]]
    assert sysctls(plan)["conntrack"] == "1"
    assert firewall(plan_of())["filter"] is None


def test_ansible_passes_the_filter_to_realservers_behind_it() -> None:
    variables = {
        "director": {"lvs_filter": True},
        "rs1": {"ansible_host": "10.1.1.2", "ansible_port": 2222, "lvs_rip": "10.1.1.2"},
        "rs2": {"ansible_host": "10.255.0.3"},
    }
    config = firewall(plan_of([service(forwarding="nat")], variables=variables))
    assert config["filter"]["forward"]["accept"] == [
        {"family": "ipv4", "protocol": "tcp", "destinations": ["10.1.1.2/32"], "ports": ["2222"]}
    ]


def accepted(plan: Plan, host: str) -> list[tuple[Any, ...]]:
    """What the filter lets in: where, protocol, ports, from whom."""
    return [
        (",".join(entry["destinations"]), entry.get("protocol"), entry.get("ports", []), entry.get("sources", []))
        for entry in firewall(plan, host)["filter"]["accept"]
    ]


def test_a_filtering_director_that_serves_lets_in_what_is_directed_to_it_and_checks() -> None:
    """Two boxes (HOWTO 9): each is the other's realserver. What moves between them is nobody's address."""
    own = {"lvs_filter": True, "lvs_failover": "keepalived", "lvs_health": "keepalived"}
    other = ["10.255.0.2/32", "192.168.1.2/32", "10.1.1.2/32"]
    tunnel: tuple[Any, ...] = ("192.168.1.3/32", "ipip", [], other)
    for forwarding, more in (("dr", ()), ("tun", (tunnel,))):
        web = service(forwarding=forwarding, realservers=[{"host": "rs1"}, {"host": "rs2"}], health={"port": 81})
        plan = plan_of(
            [web],
            directors=["rs1", "rs2"],
            variables=dict.fromkeys(("rs1", "rs2"), own),
            seen={"rs1": plus("rs1", "eth1", f"{VIP}/32")},
        )
        assert accepted(plan, "rs2") == [
            (f"{VIP}/32", "tcp", ["80"], []),
            *more,
            ("192.168.1.3/32", "tcp", ["80", "81"], other),
        ]


OTHER = {"rs1": {"lvs_filter": True, "lvs_cluster": "other", "lvs_services": []}}
DIRECTOR = ["10.255.0.1/32", "192.168.1.1/32", "10.1.1.9/32"]


def test_a_filtering_director_of_another_cluster_lets_in_what_is_directed_to_it() -> None:
    plan = plan_of([service(realservers=[{"host": "rs1"}])], directors=["director", "rs1"], variables=OTHER)
    assert accepted(plan, "rs1") == [(f"{VIP}/32", "tcp", ["80"], []), ("192.168.1.2/32", "tcp", ["80"], DIRECTOR)]


def test_it_lets_in_every_mark() -> None:
    marks = [{"ports": [80]}, {"ports": [443]}, {"protocol": "udp", "ports": [53]}]
    web = service(fwmark=7, marks=marks, realservers=[{"host": "rs1"}])
    del web["ports"]
    plan = plan_of([web], directors=["director", "rs1"], variables=OTHER)
    assert accepted(plan, "rs1") == [
        (f"{VIP}/32", "tcp", ["80"], []),
        (f"{VIP}/32", "tcp", ["443"], []),
        (f"{VIP}/32", "udp", ["53"], []),
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, [("10.1.1.2/32", "tcp", ["8080"], []), ("10.1.1.2/32", "tcp", ["8080"], DIRECTOR)]),
        ({"snat": True}, [("10.1.1.2/32", "tcp", ["8080"], DIRECTOR)]),
        ({"fwmark": 7, "marks": [{"ports": [80]}]}, [("10.1.1.2/32", "tcp", ["80"], [])]),
    ],
)
def test_by_nat_it_lets_clients_reach_the_port_and_no_other(more: dict[str, Any], expected: list[Any]) -> None:
    port = {} if "fwmark" in more else {"port": 8080}
    web = service(forwarding="nat", realservers=[{"host": "rs1", **port}], **more)
    if "fwmark" in more:
        del web["ports"]
    plan = plan_of([web], directors=["director", "rs1"], variables=OTHER)
    assert accepted(plan, "rs1") == expected


def test_by_nat_with_snat_nobody_known_is_nobody_let_in() -> None:
    named = {"rs1": {**OTHER["rs1"], "lvs_filter_peers": ["2001:db8:1::1"]}, "director": {"lvs_vip_interface": "eth1"}}
    web = service(forwarding="nat", snat=True, realservers=[{"host": "rs1"}])
    plan = plan_of([web], directors=["director", "rs1"], variables=named, seen={"director": None})
    assert accepted(plan, "rs1") == []


def test_who_serves_itself_lets_in_clients_only() -> None:
    """LocalNode (HOWTO 9.1): nobody else sends to it, and its own checks come over lo."""
    own = {"lvs_filter": True, "lvs_health": "keepalived"}
    for forwarding in ("dr", "nat"):
        web = service(forwarding=forwarding, realservers=[{"host": "director"}], health={"port": 81})
        plan = plan_of([web], variables={"director": own})
        assert accepted(plan, "director") == [(f"{VIP}/32", "tcp", ["80"], [])]


def test_a_filter_without_the_other_directors_addresses_is_refused() -> None:
    own = {"lvs_filter": True, "lvs_failover": "manual", "lvs_active": "rs1"}
    variables = dict.fromkeys(("rs1", "rs2"), own)
    arguments = {"directors": ["rs1", "rs2"], "seen": {"rs2": None}}
    found = mistakes_of([service(realservers=[{"host": "rs3"}])], variables=variables, **arguments)
    assert any("lvs_filter would shut out director rs2" in sentence for sentence in found), found
    peers = {"rs1": {**own, "lvs_filter_peers": ["192.168.1.3"]}, "rs2": own}
    found = mistakes_of([service(realservers=[{"host": "rs3"}])], variables=peers, **arguments)
    assert not any("shut out director rs2" in sentence for sentence in found), found


def test_who_is_named_in_lvs_filter_peers_may_direct_and_check() -> None:
    """A director of another cluster that is not asked."""
    named = {**OTHER["rs1"], "lvs_filter_peers": ["192.168.1.1"]}
    arguments = {"directors": ["director", "rs1"], "seen": {"director": None}}
    given = {"director": {"lvs_vip_interface": "eth1"}}
    web = service(realservers=[{"host": "rs1"}])
    found = mistakes_of([web], variables={**given, **OTHER}, **arguments)
    assert any("host rs1: lvs_filter would shut out director director" in sentence for sentence in found), found
    plan = plan_of([web], variables={**given, "rs1": named}, **arguments)
    assert accepted(plan, "rs1")[1] == ("192.168.1.2/32", "tcp", ["80"], ["192.168.1.1/32"])


def test_a_filter_is_for_directors() -> None:
    plan = plan_of(routers=["client"], variables={"client": {"lvs_filter": True, "lvs_untracked": True}})
    assert firewall(plan, "client")["filter"] is None


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"lvs_filter": "perhaps"}, "is not a boolean"),
        ({"lvs_filter": True, "lvs_ssh_ports": []}, "lock Ansible out"),
        ({"lvs_filter_allow": {"ports": [1]}}, "must be a list"),
        ({"lvs_filter_allow": [{"ports": []}]}, "needs ports"),
        ({"lvs_filter_allow": [{"ports": [1], "source": "10.0.0.0/8"}]}, "unknown 'source'"),
        ({"lvs_filter_allow": [{"ports": [1], "sources": ["10.0.0.1/8"]}]}, "bits behind its prefix"),
        ({"lvs_filter_peers": ["somebody"]}, "is not an IPv4 or IPv6 address"),
        ({"lvs_dos_profile": "maximal"}, "choose one of off, auto, on"),
        ({"lvs_conn_tab_bits": 40}, "8 to 27"),
        ({"lvs_sysctls": {"net.ipv4.vs.conntrak": 1}}, "no setting of IPVS"),
    ],
)
def test_mistakes_about_the_machine(own: dict[str, Any], words: str) -> None:
    found = mistakes_of(variables={"director": own})
    assert any(words in sentence for sentence in found), found


def test_routers_clamp_what_comes_back_from_tunnels() -> None:
    plan = plan_of([service(vips=[VIP, VIP6], forwarding="tun", realservers=[{"host": "rs3"}])], routers=["client"])
    assert firewall(plan, "client")["clamps"] == [
        {"family": "ipv4", "sources": [f"{VIP}/32"], "mss": 1440},
        {"family": "ipv6", "sources": [f"{VIP6}/128"], "mss": 1400},
    ]
    assert "network" not in plan.parts["client"]
    assert not firewall(plan)["clamps"]
    # Extra variables are text.
    text = {"director": {"lvs_clamp_mss": "true", "lvs_untracked": "yes"}}
    plan = plan_of([service(forwarding="tun", realservers=[{"host": "rs3"}])], variables=text)
    assert firewall(plan)["clamps"] and firewall(plan)["untracked"]


# ------------------------------------------------------------------ behaviour


def test_behaviour_follows_the_services_and_gives_way_to_the_person() -> None:
    assert "expire_quiescent_template" not in sysctls(plan_of())
    assert sysctls(plan_of([service(persistence=300)]))["expire_quiescent_template"] == "1"
    sticky = {"net.ipv4.vs.expire_quiescent_template": 0}
    own = {"lvs_sysctls": sticky, "lvs_dos_profile": True, "lvs_conn_tab_bits": 16}
    plan = plan_of([service(persistence=300)], variables={"director": own})
    assert sysctls(plan)["expire_quiescent_template"] == "0"
    assert sysctls(plan)["drop_entry"] == "3"
    assert sysctls(plan, "rs1")["net.ipv4.tcp_syncookies"] == "1"
    assert plan.parts["director"]["director"]["module_options"] == {"ip_vs": "conn_tab_bits=16"}
