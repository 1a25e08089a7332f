# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How realservers are asked: every key resolved for every record, and what a program cannot is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import Plan
from tests.howto import VIP, VIP6, mistakes_of, plan_of, service

KEEPALIVED, LDIRECTORD = {"lvs_health": "keepalived"}, {"lvs_health": "ldirectord"}


def checked(plan: Plan) -> list[dict[str, Any]]:
    services: list[dict[str, Any]] = plan.parts["director"]["health"]["services"]
    return services


def director(*variables: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"director": {key: value for one in variables for key, value in one.items()}}


def test_without_a_program_the_table_is_ours() -> None:
    plan = plan_of([service(health={"type": "http"})])
    assert plan.parts["director"]["health"] is None
    assert plan.parts["director"]["director"]["owner"] == "static"


@pytest.mark.parametrize("backend", ["keepalived", "ldirectord"])
def test_the_defaults(backend: str) -> None:
    plan = plan_of(variables=director({"lvs_health": backend}))
    assert plan.parts["director"]["director"]["owner"] == plan.parts["director"]["health"]["backend"] == backend
    (found,) = checked(plan)
    (record,) = plan.parts["director"]["director"]["config"]
    assert found == {
        **record,
        "name": "web",
        "sorry_server": None,
        "health": {
            "type": "tcp",
            "port": None,
            "interval": 5,
            "timeout": 3,
            "retries": 1,
            "path": "/",
            "host": None,
            "status": [200],
            "contains": None,
            "digest": None,
            "query": None,
            "query_type": "A",
            "command": None,
            "on_failure": "remove",
            "quorum": 1,
        },
    }
    # VIPs of a single director stay ours.
    assert [entry["device"] for entry in plan.parts["director"]["network"]["addresses"]] == ["eth1"]


def test_a_service_says_more_than_the_group() -> None:
    common = {"lvs_health_check": {"type": "http", "path": "/alive", "interval": "0.5", "on_failure": "quiesce"}}
    services = [
        service(health={"path": "/ok?a=1", "contains": '"up" #1', "status": [204, 200], "host": "www.example.com"}),
        service(name="mail", ports=[25], health={"type": "smtp", "retries": 0}),
    ]
    mail, web = (one["health"] for one in checked(plan_of(services, variables=director(KEEPALIVED, common))))
    assert (web["path"], web["status"], web["interval"]) == ("/ok?a=1", [200, 204], 0.5)
    assert (web["contains"], web["host"], web["on_failure"]) == ('"up" #1', "www.example.com", "quiesce")
    # What the group says about pages is nothing to a service that has none.
    assert (mail["type"], mail["path"], mail["retries"], mail["interval"]) == ("smtp", "/", 0, 0.5)


def test_every_type_by_keepalived() -> None:
    asked: list[dict[str, Any]] = [
        {"type": "https", "digest": "D41D8CD98F00B204E9800998ECF8427E"},
        {"type": "dns", "query": "www.example.com", "query_type": "SOA", "port": 5353},
        {"type": "udp"},
        {"type": "ping"},
        {"type": "external", "command": ["/usr/local/bin/ask", "-v"], "timeout": 2},
        {"type": "none"},
    ]
    services = [
        service(name=f"s{number}", ports=[number], protocol="udp", health=one) for number, one in enumerate(asked, 1)
    ]
    found = [one["health"] for one in checked(plan_of(services, variables=director(KEEPALIVED)))]
    assert [one["type"] for one in found] == [one["type"] for one in asked]
    assert found[0]["digest"] == "d41d8cd98f00b204e9800998ecf8427e"
    assert (found[1]["port"], found[1]["query_type"]) == (5353, "SOA")
    assert found[4]["command"] == ["/usr/local/bin/ask", "-v"]


def test_a_realserver_without_a_port_is_asked_at_the_services() -> None:
    realservers = [{"host": "rs1", "port": 0}, {"host": "rs2"}]
    plan = plan_of([service(forwarding="nat", realservers=realservers)], variables=director(KEEPALIVED))
    assert checked(plan)[0]["health"]["port"] == 80


def test_udp_is_asked_by_udp() -> None:
    plan = plan_of([service(protocol=["tcp", "udp"], ports=[53])], variables=director(KEEPALIVED))
    assert [(one["protocol"], one["health"]["type"]) for one in checked(plan)] == [("tcp", "tcp"), ("udp", "udp")]


@pytest.mark.parametrize(
    ("changes", "port"),
    [
        ({"ports": [80]}, 80),
        ({"ports": [80, 443], "health": {"port": 8080}}, 8080),
        ({"ports": [80, 443], "health": {"type": "https"}}, 443),
        ({"ports": [80, 443], "health": {"type": "ping"}}, None),
        ({"ftp": True, "ports": [21]}, 21),
        ({"marks": [{"ports": [554]}, {"protocol": "udp", "ports": ["6970-7170"]}], "ports": []}, 554),
    ],
)
def test_the_port_that_is_asked_under_a_mark(changes: dict[str, Any], port: int | None) -> None:
    plan = plan_of([service(fwmark=1, **changes)], variables=director(KEEPALIVED))
    assert [one["health"]["port"] for one in checked(plan)] == [port]
    assert checked(plan)[0]["fwmark"] == "1"


def test_both_families_under_one_mark() -> None:
    plan = plan_of([service(fwmark=1, vips=[VIP, VIP6])], variables=director(LDIRECTORD))
    assert [(one["fwmark"], one["family"]) for one in checked(plan)] == [("1", "ipv4"), ("1", "ipv6")]


# ------------------------------------------------------------------ sorry server


def test_somebody_says_sorry() -> None:
    sorry = service(vips=[VIP, VIP6], sorry_server={"host": "rs3", "forwarding": "tun"})
    plan = plan_of([sorry], variables=director(KEEPALIVED))
    assert [one["sorry_server"] for one in checked(plan)] == [
        {"address": "172.16.5.4", "port": 80, "forwarding": "tun"},
        {"address": "2001:db8:3::4", "port": 80, "forwarding": "tun"},
    ]
    # It is configured as a realserver, and stands in no table of ours.
    assert {entry["device"] for entry in plan.parts["rs3"]["network"]["addresses"]} == {"tunl0", "ip6tnl0"}
    assert "172.16.5.4" not in str(plan.parts["director"]["director"]["config"])
    assert not plan.warnings


def test_a_stranger_says_sorry_from_another_port() -> None:
    sorry = {"address": "10.1.1.77", "port": 8080, "forwarding": "nat"}
    plan = plan_of([service(sorry_server=sorry)], variables=director(KEEPALIVED))
    assert checked(plan)[0]["sorry_server"] == sorry
    # The director translates for it.
    assert {"key": "net.ipv4.ip_forward", "value": "1"} in plan.parts["director"]["network"]["sysctls"]
    filtering = director(KEEPALIVED, {"lvs_filter": True})
    firewall = plan_of([service(sorry_server=sorry)], variables=filtering).parts["director"]["firewall"]
    assert firewall["filter"]["forward"] == {"realservers": ["10.1.1.77"], "accept": []} and not firewall["untracked"]


def test_nobody_notices_that_all_are_gone() -> None:
    plan = plan_of([service(sorry_server={"host": "rs3", "forwarding": "tun"})])
    assert plan.warnings == [
        "service web: sorry_server answers only where lvs_health says who checks the realservers."
    ]


def test_a_sorry_server_that_nothing_would_configure() -> None:
    sorry = {"address": "172.16.5.4", "forwarding": "tun"}
    found = mistakes_of([service(sorry_server=sorry)], variables=director(KEEPALIVED))
    assert found == [
        "service web: sorry_server 172.16.5.4 is an address of host rs3, which nothing would configure for this"
        " service; write host: rs3."
    ]


# ------------------------------------------------------------------ what is refused


def asked(**health: Any) -> list[dict[str, Any]]:
    return [service(health=health)]


REFUSED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "an unknown program": (asked(), {"lvs_health": "mon"}, r"lvs_health: 'mon' is unknown; choose one of none, keep"),
    "an unknown key": (asked(url="/"), KEEPALIVED, r"service web: health: unknown 'url'; known are command, contains"),
    "an unknown type": (asked(type="ftp"), KEEPALIVED, r"health: type: 'ftp' is unknown; choose one of tcp, http"),
    "a mapping that is none": ([service(health="http")], KEEPALIVED, r"health: expected a mapping, got str 'http'"),
    "a page of tcp": (asked(type="tcp", path="/x"), KEEPALIVED, r"path belongs to type http and https, and type is"),
    "a page of nothing": (asked(path="/x"), KEEPALIVED, r"path belongs to type http and https, and type is tcp; say"),
    "a page with a blank": (asked(type="http", path="/a b"), KEEPALIVED, r"path: '/a b' is not what a request asks"),
    "two lines": (asked(type="http", contains="a\nb"), KEEPALIVED, r"contains: 'a\\nb' is not a text of one line"),
    "a sum of another kind": (asked(type="http", digest="abc"), KEEPALIVED, r"digest: 'abc' is not an MD5 sum"),
    "an answer that is none": (asked(type="http", status=["2xx"]), KEEPALIVED, r"status: '2xx' is not an integer"),
    "no time at all": (asked(interval=0), KEEPALIVED, r"interval: 0 is not a number of seconds from 0.1 to 3600"),
    "dns without a name": (asked(type="dns"), KEEPALIVED, r"type dns needs query, a name that the realserver knows"),
    "a command that is none": (asked(type="external"), KEEPALIVED, r"type external needs command, the path"),
    "a command of a shell": (asked(type="external", command="ask|tee"), KEEPALIVED, r"command: 'ask\|tee' is not the"),
    "a check of sctp": ([service(protocol="sctp")], KEEPALIVED, r"health: no program asks sctp; write type: ping"),
    "which port": (
        [service(fwmark=1, ports=[554, 7070])],
        KEEPALIVED,
        r"health: which of its ports to ask is not to be seen; name it with port",
    ),
    "a name that keepalived takes for an empty one": (
        [service(ports=[53], protocol="udp", health={"type": "dns", "query": "a.root-servers.net"})],
        KEEPALIVED,
        r"query a\.root-servers\.net: keepalived takes no name whose first part is one character",
    ),
    "every port": (
        [service(ports=[0], persistence=60)],
        LDIRECTORD,
        r"health: which of its ports to ask is not to be seen",
    ),
    "a common check that is wrong": (
        [service()],
        {**KEEPALIVED, "lvs_health_check": {"retries": -1}},
        r"cluster lvs: lvs_health_check: retries: -1 is not an integer from 0 to 100",
    ),
    "weights that stay": ([service(weight="keep")], KEEPALIVED, r"weight keep: keepalived sets the weights"),
    "keepalived, scheduler": ([service(scheduler="none")], KEEPALIVED, r"scheduler none: keepalived knows rr, wrr"),
    "keepalived, weight": ([service(weight=65536)], KEEPALIVED, r"weight 65536: keepalived takes at most 65535"),
    "keepalived, quorum": (asked(quorum=3), KEEPALIVED, r"quorum 3: keepalived adds up weights, here 2, so it would"),
    "keepalived, command's time": (
        asked(type="external", command="/bin/true", timeout=0.5),
        KEEPALIVED,
        r"timeout 0.5: keepalived gives a command whole seconds",
    ),
    "keepalived, sorry alone": (
        [service(realservers=[], sorry_server={"host": "rs1"})],
        KEEPALIVED,
        r"sorry_server without any realserver: keepalived leaves such a service out",
    ),
    "ldirectord, sctp": (
        [service(protocol="sctp", health={"type": "ping"})],
        LDIRECTORD,
        r"protocol sctp: ldirectord knows tcp and udp only",
    ),
    "ldirectord, udp": ([service(protocol="udp")], LDIRECTORD, r"health: type udp: ldirectord cannot ask by UDP"),
    "ldirectord, tcp of udp": (
        [service(protocol="udp", health={"type": "tcp"})],
        LDIRECTORD,
        r"type tcp of a udp service: ldirectord would ping",
    ),
    "ldirectord, ping of IPv6": (
        [service(vips=[VIP6], health={"type": "ping"})],
        LDIRECTORD,
        r"type ping: ldirectord does that by IPv4 only",
    ),
    "ldirectord, quorum": (asked(quorum=2), LDIRECTORD, r"quorum 2: ldirectord counts no realservers"),
    "ldirectord, digest": (
        asked(type="http", digest="0" * 32),
        LDIRECTORD,
        r"digest 0{32}: ldirectord compares no sums; use contains",
    ),
    "ldirectord, status": (
        asked(type="http", status=[200, 404]),
        LDIRECTORD,
        r"status \[200, 404\]: ldirectord takes every answer from 200 to 299",
    ),
    "ldirectord, query type": (
        asked(type="dns", query="a.example", query_type="SOA"),
        LDIRECTORD,
        r"query_type SOA: ldirectord asks for addresses \(A\) only",
    ),
    "ldirectord, arguments": (
        asked(type="external", command=["/bin/ask", "-v"]),
        LDIRECTORD,
        r"command \['/bin/ask', '-v'\]: ldirectord gives the program four arguments",
    ),
    "ldirectord, port of a command": (
        asked(type="external", command="/bin/ask", port=81),
        LDIRECTORD,
        r"port 81: ldirectord tells the program the realserver's port and no other",
    ),
    "ldirectord, half a second": (asked(interval=0.5), LDIRECTORD, r"interval 0.5: ldirectord counts whole seconds"),
    "ldirectord, scheduler": ([service(scheduler="my_own2")], LDIRECTORD, r"scheduler my_own2: ldirectord reads names"),
    "ldirectord, engine": (
        [service(protocol="udp", persistence={"engine": "sip"}, health={"type": "ping"})],
        LDIRECTORD,
        r"persistence engine: ldirectord has no word for it",
    ),
    "ldirectord, one packet by mark": (
        [service(fwmark=1, protocol="udp", one_packet=True, health={"type": "ping"})],
        LDIRECTORD,
        r"one_packet with a fwmark: ldirectord has it for udp by address only",
    ),
    "ldirectord, two families": (
        [service(vips=[VIP6], forwarding="tun", realservers=[{"address": "172.16.5.77", "unmanaged": True}])],
        LDIRECTORD,
        r"realserver 172.16.5.77 under an ipv6 service: ldirectord wants one family",
    ),
    "ldirectord, one box": (
        [service(forwarding="nat", realservers=[{"host": "director", "port": 8080}])],
        LDIRECTORD,
        r"realserver 192.168.1.1 is the director itself: ldirectord gives it the VIP's port, not 8080",
    ),
    "sorry, two of them": (
        [service(sorry_server={"host": "rs3", "address": "10.1.1.77"})],
        KEEPALIVED,
        r"service web: sorry_server: needs exactly one of host and address",
    ),
    "sorry, a group": ([service(sorry_server={"group": "all"})], KEEPALIVED, r"sorry_server: unknown 'group'; known"),
    "sorry, nobody": ([service(sorry_server={"host": "rs9"})], KEEPALIVED, r"realserver host 'rs9' is not in the inv"),
    "sorry, one of them": (
        [service(sorry_server={"host": "rs1"})],
        KEEPALIVED,
        r"sorry_server rs1 is one of its realservers, too, and would be gone with the last of them",
    ),
    "sorry, another port": (
        [service(sorry_server={"address": "192.168.1.77", "port": 8080})],
        KEEPALIVED,
        r"sorry_server: realserver 192.168.1.77: port 8080 differs from the VIP's",
    ),
}
BESIDE = {"sorry, a group": r"needs exactly one of host and address"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    services, own, sentence = REFUSED[name]
    found = mistakes_of(services, variables=director(own))
    assert len([said for said in found if re.search(sentence, said)]) == 1, "\n".join(found)
    expected = [sentence, *([BESIDE[name]] if name in BESIDE else [])]
    assert [said for said in found if not any(re.search(known, said) for known in expected)] == []
