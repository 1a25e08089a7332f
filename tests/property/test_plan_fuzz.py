# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a person writes, the plan answers with sentences; and a plan without mistakes is one the modules take."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _firewall_model, _ipvs_input, _network_model
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import Plan, compile_plan
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.preflight import problems, wanted_schedulers
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.services import (
    PERSISTENCE_KEYS,
    REALSERVER_KEYS,
    SERVICE_KEYS,
)
from tests.howto import inventory, plan_of

# Some seconds each: the gate runs them every time.
BOUNDED = settings(max_examples=250, suppress_health_check=list(HealthCheck), derandomize=True)

ADDRESSES = st.sampled_from(
    "192.168.1.110 192.168.1.111 192.168.1.2 192.168.1.1 192.168.1.255 10.1.1.2 10.1.1.110 172.16.5.4 203.0.113.1"
    " 2001:db8:1::110 2001:DB8:1:0::110 2001:db8:1::2 2001:db8:2::2 ::1 ::ffff:1.2.3.4 0.0.0.0 192.168.1.110/32"
    " 192.168.1.110/24 10.1.1.254/24 2001:db8:2::fe/64 10.1.1.9 10.1.1.9/32 1.2.3 01.2.3.4 fe80::1%eth1".split()
)
WORDS = st.sampled_from(
    "tcp udp sctp dr nat tun wlc rr sh mh none sh-port mh-port flag-1 keep host group rs1 rs2 rs3 director client eth1"
    " lvs_realservers all sip http default policy 255.255.255.0 24 0 80 443 true no".split()
)
NUMBERS = st.sampled_from(
    [0, 1, 2, 24, 32, 33, 80, 443, 8080, 65535, 65536, -1, 2**31, 2**63, 1.5, float("nan"), float("inf")]
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, ADDRESSES, st.text(max_size=6), st.integers())
GARBAGE = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.one_of(WORDS, st.text(max_size=4)), inner, max_size=3)
    ),
    max_leaves=6,
)


def often(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly something of the right kind, else anything: deeper code is only reached by input that is nearly right."""
    return st.one_of(*[right] * 40, GARBAGE)


VIPS = st.one_of(
    *[st.sampled_from(["192.168.1.110", "192.168.1.111", "10.1.1.110", "203.0.113.1", "2001:db8:1::110"])] * 20,
    ADDRESSES,
)
RIPS = st.one_of(*[st.sampled_from(["192.168.1.70", "192.168.1.71", "10.1.1.72", "2001:db8:1::70"])] * 20, ADDRESSES)
PORTS = st.sampled_from([0, 53, 80, "80", 443, "http", 8080])
REALSERVER = st.one_of(
    *[
        st.fixed_dictionaries(
            {kind: often(values)},
            optional={
                "forwarding": often(st.sampled_from(["dr", "nat", "tun"])),
                "port": often(PORTS),
                "weight": often(st.sampled_from([0, 1, "2", "keep"])),
                "upper_threshold": often(st.integers(2, 4)),
                "lower_threshold": often(st.integers(0, 2)),
                "unmanaged": often(st.just(kind == "address")),
            },
        )
        for kind, values in (
            ("host", st.sampled_from(["rs1", "rs2", "director"])),
            ("group", st.sampled_from(["lvs_directors", "lvs_realservers"])),
            ("address", RIPS),
        )
        for _often in range(5)
    ],
    st.dictionaries(st.sampled_from(sorted(REALSERVER_KEYS)), GARBAGE, max_size=4),
)
PERSISTENCE = st.one_of(
    st.booleans(),
    st.integers(1, 600),
    st.fixed_dictionaries(
        {},
        optional={
            "timeout": often(st.integers(1, 600)),
            "netmask": often(st.sampled_from([1, 24, "32", 64, 128, "255.255.255.0"])),
            "engine": often(st.sampled_from(["sip", "none"])),
        },
    ),
    st.dictionaries(st.sampled_from(sorted(PERSISTENCE_KEYS)), GARBAGE, max_size=2),
)
NETWORKS = st.sampled_from(["192.168.3.0/29", "10.9.0.0/16", "2001:db8:9::/125", "10.0.0.0/8", "192.168.1.254"])
MARKED: dict[str, st.SearchStrategy[Any]] = {
    "fwmark": often(st.sampled_from([1, 2, "0x10", 7])),
    "marks": often(
        st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "ports": often(st.lists(st.sampled_from([0, 21, 80, "1024-65535", "http"]), max_size=2)),
                    "protocol": often(st.sampled_from(["tcp", "udp"])),
                    "networks": often(st.lists(NETWORKS, max_size=2)),
                    "sources": often(st.lists(NETWORKS, max_size=2)),
                    "interface": often(st.just("eth1")),
                },
            ),
            max_size=2,
        )
    ),
    "networks": often(st.lists(NETWORKS, max_size=2)),
    "vip_less": often(st.booleans()),
    "snat": often(st.booleans()),
    "ftp": often(st.sampled_from([True, False, {"passive_ports": "30000-30009"}])),
}
SERVICE = st.fixed_dictionaries(
    {
        "name": often(st.sampled_from("abcdefgh")),
        "vips": often(st.lists(VIPS, min_size=1, max_size=2)),
        "ports": often(st.lists(PORTS, min_size=1, max_size=2)),
    },
    optional={
        "protocol": often(st.lists(st.sampled_from(["tcp", "udp", "sctp"]), min_size=1, max_size=2)),
        "forwarding": often(st.sampled_from(["dr", "nat", "tun"])),
        "scheduler": often(st.sampled_from(["rr", "wlc", "sh", "none"])),
        "scheduler_flags": often(st.lists(st.sampled_from(["flag-1", "flag-2"]), max_size=2)),
        "persistence": often(PERSISTENCE),
        "one_packet": often(st.booleans()),
        "weight": often(st.integers(0, 9)),
        "realservers": often(st.lists(REALSERVER, max_size=3)),
        **MARKED,
    },
)
VARIABLES = st.dictionaries(
    st.sampled_from(
        "lvs_rip lvs_rip6 lvs_dip lvs_inside lvs_gateway lvs_interface lvs_vip_interface lvs_cluster lvs_nat_return"
        " lvs_table_owner lvs_route_table lvs_sysctls ansible_host lvs_filter lvs_filter_allow lvs_filter_peers"
        " lvs_ssh_ports lvs_failover lvs_active lvs_sync lvs_dos_profile lvs_conn_tab_bits lvs_clamp_mss".split()
    ),
    st.one_of(ADDRESSES, st.lists(ADDRESSES, max_size=2), WORDS, GARBAGE),
    max_size=4,
)


def judge(plan: Plan) -> None:
    """What every answer of the plan must be, right or wrong the question."""
    assert all(isinstance(said, str) and said.endswith(".") for said in plan.mistakes + plan.warnings)
    assert len(set(plan.mistakes)) == len(plan.mistakes)
    if plan.mistakes:
        return
    json.dumps([plan.parts, plan.probe])
    for part in plan.parts.values():
        if "director" in part:
            judge_table(part["director"])
        if "network" in part:
            judge_network(part["network"])
        if "firewall" in part:
            _firewall_model.parse(part["firewall"])


def judge_table(director: dict[str, Any]) -> None:
    names = ("protocol", "address", "port", "fwmark", "family")
    keys = [tuple(row.get(name) for name in names) for row in director["config"]]
    assert len(set(keys)) == len(keys)
    for row in director["config"]:
        members = [(member["address"], member["port"]) for member in row["realservers"]]
        assert len(set(members)) == len(members)
    # The module checks again on the host; a plan without mistakes gives it nothing to say.
    _ipvs_input.parse(director["config"], director["restrict"], False)


def judge_network(network: dict[str, Any]) -> None:
    addresses = [item["address"].split("/")[0] for item in network["addresses"]]
    assert len(set(addresses)) == len(addresses)
    routes = [
        (route["table"], route["family"], route["destination"], route.get("metric")) for route in network["routes"]
    ]
    assert len(set(routes)) == len(routes)
    keys = [item["key"] for item in network["sysctls"]]
    assert len(set(keys)) == len(keys)
    _network_model.parse(network)


@BOUNDED
@given(services=GARBAGE)
def test_garbage(services: Any) -> None:
    judge(compile_plan(inventory([] if services is None else services)))
    wanted_schedulers(services)


@BOUNDED
@given(services=st.lists(st.dictionaries(st.sampled_from(sorted(SERVICE_KEYS)), GARBAGE, max_size=8), max_size=3))
def test_known_words_with_garbage(services: Any) -> None:
    judge(compile_plan(inventory(services)))


@BOUNDED
@given(services=st.lists(SERVICE, max_size=3))
def test_nearly_right_services(services: Any) -> None:
    judge(compile_plan(inventory(services)))


@BOUNDED
@given(
    services=st.lists(SERVICE, max_size=2),
    variables=st.dictionaries(st.sampled_from(["director", "rs1", "rs2", "rs3", "client"]), VARIABLES, max_size=4),
    unknown=st.sets(st.sampled_from(["director", "rs1", "rs2"]), max_size=2),
)
def test_nearly_right_inventories(services: Any, variables: Any, unknown: set[str]) -> None:
    judge(compile_plan(inventory(services, variables=variables, seen=dict.fromkeys(unknown))))


RIGHT: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from("abcdefgh"),
            "vips": st.lists(
                st.sampled_from(["192.168.1.110", "2001:db8:1::110", "192.168.1.111"]), min_size=1, unique=True
            ),
            "ports": st.lists(st.sampled_from([53, 80, 443]), min_size=1, unique=True),
            "forwarding": st.sampled_from(["dr", "nat", "tun"]),
            "scheduler": st.sampled_from(["rr", "wlc", "sh"]),
            "persistence": st.sampled_from([None, True, 300, {"netmask": 24}]),
            "realservers": st.lists(
                st.fixed_dictionaries(
                    {"host": st.sampled_from(["rs1", "rs2", "director"]), "weight": st.integers(0, 3)}
                ),
                max_size=3,
                unique_by=lambda line: str(line["host"]),
            ),
        }
    ),
    max_size=3,
    unique_by=lambda one: str(one["name"]),
)


@BOUNDED
@given(services=RIGHT)
def test_right_services_meet_the_modules(services: Any) -> None:
    """Not every one of these is free of mistakes (one VIP by two methods), but all that are must hold."""
    judge(compile_plan(inventory(services)))


MARKED_RIGHT: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from("abcdefgh"),
            "fwmark": st.integers(1, 2**32 - 1),
            "vips": st.lists(st.sampled_from(["192.168.1.110", "2001:db8:1::110", "192.168.1.111"]), unique=True),
            "networks": st.lists(st.sampled_from(["192.168.3.0/29", "2001:db8:9::/125"]), min_size=1, unique=True),
            "ports": st.lists(st.sampled_from([0, 80, "8000-8099"]), min_size=1, unique=True),
            "forwarding": st.sampled_from(["dr", "nat", "tun"]),
            "persistence": st.sampled_from([None, 300]),
            "vip_less": st.booleans(),
            "realservers": st.lists(st.sampled_from(["rs1", "rs2", "director"]), max_size=3, unique=True).map(
                lambda hosts: [{"host": host} for host in hosts]
            ),
        },
        optional={"sources": st.just(["10.0.0.0/8", "2001:db8:5::/48"]), "interface": st.just("eth1")},
    ),
    max_size=2,
    unique_by=(lambda one: str(one["name"]), lambda one: int(one["fwmark"])),
)
ON_LAN = {host: {"lvs_interface": "eth1"} for host in ("rs1", "rs2")}


@BOUNDED
@given(services=MARKED_RIGHT, filtering=st.booleans())
def test_right_services_by_mark_meet_the_modules(services: Any, filtering: bool) -> None:
    director = {"lvs_filter": filtering, "lvs_inside": ["192.168.1.1", "2001:db8:1::1"]}
    variables: dict[str, Any] = {**ON_LAN, "director": director}
    plan = compile_plan(inventory(services, variables=variables, routers=["client"]))
    judge(plan)
    for one in services[:1]:
        judge(compile_plan(inventory([{**one, "ports": [21], "ftp": True}], variables=variables)))
    # Two services can contradict each other; one alone is right.
    assert len(services) > 1 or not plan.mistakes, plan.mistakes


def test_the_judge_sees_a_real_plan() -> None:
    plan = plan_of()
    judge(plan)
    assert problems(plan.parts, inventory().facts, ["director"]) == []
