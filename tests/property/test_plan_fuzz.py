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
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_settings_run import parse_daemons
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import (
    heartbeat_config,
    keepalived_config,
    ldirectord_config,
)
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import Plan, compile_plan
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.preflight import problems, wanted_schedulers
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.services import (
    PERSISTENCE_KEYS,
    REALSERVER_KEYS,
    SERVICE_KEYS,
)
from tests.howto import GATEWAYS, facts, inventory, plan_of

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
        "active": often(st.just("director")),
        **MARKED,
    },
)
HEALTH = st.fixed_dictionaries(
    {},
    optional={
        "type": often(st.sampled_from("tcp http https smtp dns udp ping external none".split())),
        "port": often(st.sampled_from([80, 8080])),
        "interval": often(st.sampled_from([1, 2.5, "5"])),
        "timeout": often(st.sampled_from([1, 0.5])),
        "retries": often(st.integers(0, 3)),
        "path": often(st.sampled_from(["/", "/ok?a=1&b=%20", '/"', "/#x"])),
        "host": often(st.just("www.example.com")),
        "status": often(st.sampled_from([200, [200, 204], [404]])),
        "contains": often(st.sampled_from(["up", 'a "b" #c \\ {d} $e', "ü", "[.*"])),
        "digest": often(st.just("d41d8cd98f00b204e9800998ecf8427e")),
        "query": often(st.just("www.example.com")),
        "query_type": often(st.sampled_from(["A", "SOA"])),
        "command": often(st.sampled_from(["/bin/true", ["/bin/true", "-a"]])),
        "on_failure": often(st.sampled_from(["remove", "quiesce"])),
        "quorum": often(st.integers(1, 2)),
    },
)
VRRP = st.fixed_dictionaries(
    {},
    optional={
        "version": often(st.sampled_from([2, 3])),
        "advert": often(st.sampled_from([1, 0.1, "0.01", 255])),
        "unicast": often(st.booleans()),
        "router_id": often(st.sampled_from([1, 251, 254, 255])),
        "interface": often(st.sampled_from(["eth1", "eth2", "eth9"])),
        "track_interfaces": often(st.lists(st.sampled_from(["eth1", "mgmt0"]), max_size=2)),
        "track_scripts": often(
            st.just([{"name": "a", "command": "/bin/true", "weight": -5}, {"name": "b", "command": ["/bin/x", "1"]}])
        ),
        "notify": often(st.just("/bin/true")),
        "watchdog": often(st.sampled_from([0, 1, 3])),
    },
)
HEARTBEAT = st.fixed_dictionaries(
    {},
    optional={
        "keepalive": often(st.sampled_from([0.2, 1])),
        "warntime": often(st.sampled_from([0.5, 4])),
        "deadtime": often(st.sampled_from([1, 12])),
        "initdead": often(st.sampled_from([1, 40])),
        "udpport": often(st.sampled_from([694, 700])),
        "links": often(st.lists(st.sampled_from([{"ucast": "eth1"}, {"bcast": "eth2"}, {"mcast": "eth1"}]))),
        "ping": often(st.just(["192.168.1.254"])),
        "watchdog": often(st.just("/dev/watchdog")),
    },
)
SYNC = st.fixed_dictionaries(
    {},
    optional={
        "interface": often(st.just("eth2")),
        "syncid": often(st.integers(1, 255)),
        "group": often(st.just("224.0.0.99")),
        "port": often(st.just(9000)),
        "maxlen": often(st.just(1400)),
        "threshold": often(st.sampled_from(["2 50", "3  100", "0 1"])),
        "period": often(st.integers(0, 10)),
    },
)
# What both directors of a pair say.
PAIR = st.fixed_dictionaries(
    {"lvs_failover": st.sampled_from(["keepalived", "heartbeat", "manual"])},
    optional={
        "lvs_health": st.sampled_from(["none", "keepalived", "ldirectord"]),
        "lvs_active": often(st.sampled_from(["director", "standby"])),
        "lvs_failback": often(st.booleans()),
        "lvs_failover_secret": often(st.sampled_from(["secret", "longer-than-8"])),
        "lvs_inside": often(st.sampled_from([["10.1.1.254/24", "2001:db8:2::fe/64"], "10.1.1.254/24", "10.1.1.9"])),
        "lvs_vrrp": often(VRRP),
        "lvs_heartbeat": often(HEARTBEAT),
        "lvs_fencing": often(st.just({"command": ["/bin/fence", "now"]})),
        "lvs_sync": often(st.one_of(st.booleans(), SYNC)),
        "lvs_health_check": often(HEALTH),
        "lvs_filter": often(st.booleans()),
    },
)
VARIABLES = st.dictionaries(
    st.sampled_from(
        "lvs_rip lvs_rip6 lvs_dip lvs_inside lvs_gateway lvs_interface lvs_vip_interface lvs_cluster lvs_nat_return"
        " lvs_route_table lvs_sysctls ansible_host lvs_filter lvs_filter_allow lvs_filter_peers"
        " lvs_ssh_ports lvs_failover lvs_active lvs_sync lvs_dos_profile lvs_conn_tab_bits lvs_clamp_mss lvs_health"
        " lvs_failback lvs_failover_secret lvs_vrrp lvs_heartbeat lvs_fencing lvs_health_check".split()
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
            judge_programs(part)
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


def judge_programs(part: dict[str, Any]) -> None:
    """What the plan did not refuse, the programs' texts can say."""
    failover, health = part["failover"] or {}, part["health"] or {}
    parse_daemons(part["director"]["daemons"], "overridden")
    programs = {failover.get("backend"), health.get("backend")}
    if "keepalived" in programs:
        assert keepalived_config.render(part)
    if "heartbeat" in programs:
        assert heartbeat_config.render(part, fencing="/bin/fence")
    if "ldirectord" in programs:
        assert ldirectord_config.render(part)
    held = {entry["address"] for instance in failover.get("instances", ()) for entry in instance["addresses"]}
    assert not held & {item["address"] for item in part["network"]["addresses"] if item["device"] != "lo"}


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
            "ports": st.sampled_from([[0], [80], ["8000-8099"], [80, "8000-8099"]]),
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


STANDBY = {
    "mgmt0": ["10.255.0.11/24"],
    "eth1": ["192.168.1.11/24", "2001:db8:1::11/64"],
    "eth2": ["10.1.1.11/24", "2001:db8:2::11/64"],
}


def pair_of(services: Any, common: dict[str, Any]) -> Plan:
    return compile_plan(
        inventory(
            services,
            directors=["director", "standby"],
            variables={host: dict(common) for host in ("director", "standby")},
            seen={"standby": facts(STANDBY, GATEWAYS["director"])},
        )
    )


@BOUNDED
@given(
    services=st.lists(SERVICE, max_size=2),
    common=PAIR,
    extra=st.fixed_dictionaries(
        {}, optional={"health": often(HEALTH), "sorry_server": often(st.just({"host": "rs3", "forwarding": "tun"}))}
    ),
)
def test_nearly_right_pairs(services: Any, common: Any, extra: Any) -> None:
    judge(pair_of([{**one, **extra} for one in services], common))


CHECKS = {
    "any": [
        {},
        {"type": "http", "path": "/ok?a=1&b=%20", "host": "www.example.com", "contains": 'a "b" #c \\ {d} $e ü [.*'},
        {"type": "https", "status": [200, 204], "on_failure": "quiesce", "retries": 0},
        {"type": "dns", "query": "www.example.com", "port": 5353},
        {"type": "external", "command": "/bin/true", "timeout": 1},
        {"type": "none"},
    ],
    "keepalived": [
        {"type": "udp", "interval": 0.5},
        {"type": "ping", "timeout": 0.3},
        {"type": "https", "digest": "d41d8cd98f00b204e9800998ecf8427e", "status": [404]},
        {"type": "dns", "query": "www.example.com", "query_type": "SOA"},
        {"type": "external", "command": ["/bin/true", "-a"], "port": 99, "quorum": 1},
    ],
}


@st.composite
def right_pairs(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Services and the variables of a pair that have no mistake in them."""
    failover = draw(st.sampled_from(["keepalived", "heartbeat"]))
    health = draw(st.sampled_from(["none", "ldirectord", *(["keepalived"] if failover == "keepalived" else [])]))
    version = draw(st.sampled_from([2, 3]))
    failback = draw(st.booleans())
    weight = -5 if failback else 0
    common: dict[str, Any] = {
        "lvs_failover": failover,
        "lvs_health": health,
        "lvs_active": draw(st.sampled_from(["director", "standby", None])),
        "lvs_failback": failback,
        "lvs_failover_secret": "secret-8" if failover == "heartbeat" or version == 2 else None,
        "lvs_inside": ["10.1.1.254/24", "2001:db8:2::fe/64"],
        "lvs_sync": draw(st.sampled_from([False, True, {"interface": "eth2", "maxlen": 1400, "group": "224.0.0.99"}])),
        "lvs_fencing": {"command": ["/bin/fence", "it"]} if failover == "heartbeat" and draw(st.booleans()) else None,
        "lvs_vrrp": {
            "version": version,
            "advert": draw(st.sampled_from([1, 2] if version == 2 else [0.01, 0.1, 1, 40.95])),
            "unicast": draw(st.booleans()),
            "notify": draw(st.sampled_from([None, "/bin/true", ["/bin/true", "a"]])),
            "watchdog": draw(st.sampled_from([0, 3])),
            "track_interfaces": draw(st.sampled_from([[], ["eth1"], ["eth2", "mgmt0"]])),
            "track_scripts": draw(st.sampled_from([[], [{"name": "a", "command": "/bin/true", "weight": weight}]])),
        },
        "lvs_heartbeat": draw(
            st.sampled_from([{}, {"keepalive": 0.2, "warntime": 1, "deadtime": 2, "links": [{"bcast": "eth2"}]}])
        ),
    }
    realservers: list[dict[str, Any]] = [{"host": "rs1"}, {"host": "rs2", "weight": 3}]
    services = []
    actives = draw(st.sampled_from([(None, None), (None, "standby")]))
    for number in (0, 1):
        checks = CHECKS["any"] + (CHECKS["keepalived"] if health == "keepalived" else [])
        services.append(
            {
                "name": f"s{number}",
                "vips": [f"192.168.1.11{number}", *draw(st.sampled_from([[], [f"2001:db8:1::11{number}"]]))],
                "ports": draw(st.sampled_from([[80], [53, 443]])),
                "protocol": draw(st.sampled_from(["tcp", ["tcp", "udp"]])),
                # NAT for one of them: it has one way back.
                "forwarding": draw(st.sampled_from(["dr", "tun", *(["nat"] if number == 0 else [])])),
                "scheduler": draw(st.sampled_from(["rr", "wlc", "mh"])),
                "persistence": draw(st.sampled_from([None, {"timeout": 60, "netmask": 24, "netmask6": 64}])),
                "realservers": draw(st.sampled_from([realservers, realservers[:1]])),
                "active": actives[number],
                "health": {"type": "http", **draw(st.sampled_from(checks))},
                "sorry_server": draw(st.sampled_from([None, {"host": "rs3", "forwarding": "tun"}])),
            }
        )
    return services, common


@BOUNDED
@given(pair=right_pairs())
def test_right_pairs_meet_the_modules_and_the_programs(pair: Any) -> None:
    plan = pair_of(*pair)
    assert not plan.mistakes, plan.mistakes
    judge(plan)


def test_the_judge_sees_a_real_plan() -> None:
    plan = plan_of()
    judge(plan)
    assert problems(plan.parts, inventory().facts, ["director"]) == []
