# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directors that stand in for one another: what moves, who talks to whom, what synchronises, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _firewall_model, _network_model
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_settings_run import parse_daemons
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import keepalived_config
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import Plan
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.preflight import proof_mistakes
from tests.howto import DIP, GATEWAYS, LINKS, VIP, VIP6, facts, mistakes_of, plan_of, service

STANDBY = {
    "mgmt0": ["10.255.0.11/24"],
    "eth1": ["192.168.1.11/24", "2001:db8:1::11/64"],
    "eth2": ["10.1.1.11/24", "2001:db8:2::11/64"],
}
OTHER_VIP, INSIDE, INSIDE6 = "192.168.1.111", "10.1.1.254/24", "2001:db8:2::fe/64"
SECRET = "never-to-be-seen"
KEEPALIVED = {"lvs_failover": "keepalived"}
HEARTBEAT = {"lvs_failover": "heartbeat", "lvs_failover_secret": SECRET}
BOTH = pytest.mark.parametrize("common", [KEEPALIVED, HEARTBEAT], ids=["keepalived", "heartbeat"])


def pair(
    common: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]] | None = None, **arguments: Any
) -> dict[str, Any]:
    """The HOWTO's inventory with a second director; `own` are one host's variables beside the common ones."""
    variables: dict[str, dict[str, Any]] = {host: dict(common) for host in ("director", "standby")}
    for host, more in (own or {}).items():
        variables.setdefault(host, {}).update(more)
    seen = {"standby": facts(STANDBY, GATEWAYS["director"]), **arguments.pop("seen", {})}
    return {"directors": ["director", "standby"], "variables": variables, "seen": seen, **arguments}


def failover(plan: Plan, host: str = "director") -> dict[str, Any]:
    part: dict[str, Any] = plan.parts[host]["failover"]
    json.dumps(part)
    return part


def instances(plan: Plan, host: str = "director") -> dict[str, dict[str, Any]]:
    return {instance["name"]: instance for instance in failover(plan, host)["instances"]}


def held(plan: Plan, host: str, name: str) -> list[tuple[str, str, str]]:
    return [(entry["address"], entry["device"], entry["kind"]) for entry in instances(plan, host)[name]["addresses"]]


def network(plan: Plan, host: str) -> dict[str, Any]:
    config: dict[str, Any] = plan.parts[host]["network"]
    _network_model.parse(config)
    return config


def sysctls(plan: Plan, host: str = "director") -> dict[str, str]:
    return {entry["key"].removeprefix("net.ipv4.vs."): entry["value"] for entry in network(plan, host)["sysctls"]}


# ------------------------------------------------------------------ what moves


def test_without_a_program_nothing_moves() -> None:
    plan = plan_of()
    assert plan.parts["director"]["failover"] is None and plan.parts["director"]["health"] is None


@BOTH
def test_the_vips_are_the_programs(common: dict[str, Any]) -> None:
    plan = plan_of([service(vips=[VIP, VIP6])], **pair(common))
    for host in ("director", "standby"):
        assert network(plan, host)["addresses"] == []
        assert plan.parts[host]["director"]["groundwork"] == network(plan, host)
        assert held(plan, host, "lvs_lvs_4") == [(f"{VIP}/32", "eth1", "vip")]
        assert held(plan, host, "lvs_lvs_6") == [(f"{VIP6}/128", "eth1", "vip")]
        assert failover(plan, host)["groups"] == [{"name": "lvs_lvs", "instances": ["lvs_lvs_4", "lvs_lvs_6"]}]
        assert plan.parts[host]["director"]["config"] == plan.parts["director"]["director"]["config"]
        assert plan.parts[host]["director"]["owner"] == "static"
    assert {failover(plan, host)["node"] for host in ("director", "standby")} == {"director", "standby"}
    assert failover(plan)["backend"] == common["lvs_failover"]


@BOTH
def test_both_direct_what_still_comes_while_the_vips_move(common: dict[str, Any]) -> None:
    """Otherwise whoever has just given a VIP up tells clients that it cannot be reached."""
    plan = plan_of([service(vips=[VIP, VIP6])], **pair(common))
    for host, own in (("director", ("192.168.1.1", "2001:db8:1::1")), ("standby", ("192.168.1.11", "2001:db8:1::11"))):
        local = {"type": "local", "device": "lo", "table": 255, "metric": 1100}
        assert network(plan, host)["routes"] == [
            {"destination": VIP, "family": "ipv4", "source": own[0], **local},
            {"destination": VIP6, "family": "ipv6", "source": own[1], **local},
        ]
        # Or it would answer ARP for the VIP, too.
        assert sysctls(plan, host)["net.ipv4.conf.all.arp_ignore"] == "1"


def test_between_whom_adverts_go() -> None:
    plan = plan_of([service(vips=[VIP, VIP6])], **pair(KEEPALIVED))
    four, six = instances(plan)["lvs_lvs_4"], instances(plan)["lvs_lvs_6"]
    assert (four["interface"], four["source"], four["peers"]) == ("eth1", "192.168.1.1", ["192.168.1.11"])
    assert (six["interface"], six["source"], six["peers"]) == ("eth1", "2001:db8:1::1", ["2001:db8:1::11"])
    assert (four["router_id"], six["router_id"]) == (51, 52)
    assert [instances(plan, host)["lvs_lvs_4"]["priority"] for host in ("director", "standby")] == [230, 220]
    assert instances(plan, "standby")["lvs_lvs_4"]["peers"] == ["192.168.1.1"]
    # On a network of their own, away from the clients (HOWTO 29.7).
    plan = plan_of([service(vips=[VIP, VIP6])], **pair({**KEEPALIVED, "lvs_vrrp": {"interface": "eth2"}}))
    assert instances(plan)["lvs_lvs_4"]["source"] == DIP
    assert instances(plan)["lvs_lvs_6"]["peers"] == ["2001:db8:2::11"]
    assert held(plan, "director", "lvs_lvs_4") == [(f"{VIP}/32", "eth1", "vip")]


def test_the_defaults_of_vrrp() -> None:
    part = failover(plan_of(**pair(KEEPALIVED)))
    assert part["vrrp"] == {
        "version": 3,
        "advert": 1,
        "unicast": True,
        "track_interfaces": [],
        "track_scripts": [],
        "notify": None,
        "watchdog": 0,
    }
    assert (part["heartbeat"], part["failback"], part["secret"], part["fencing"]) == (None, False, False, False)


def test_what_a_person_says_of_vrrp() -> None:
    vrrp = {
        "version": 2,
        "advert": "2",
        "unicast": False,
        "router_id": 7,
        "track_interfaces": ["eth1", "eth2"],
        "track_scripts": [{"name": "alive", "command": "/usr/bin/true", "interval": 3, "weight": "-20"}],
        "notify": ["/usr/local/sbin/told", "lvs"],
        "watchdog": 3,
    }
    common = {**KEEPALIVED, "lvs_vrrp": vrrp, "lvs_failback": "yes", "lvs_failover_secret": "abcd.EF8"}
    plan = plan_of([service(vips=[VIP, VIP6])], **pair(common))
    part = failover(plan)
    assert part["vrrp"]["track_scripts"] == [
        {
            "name": "alive",
            "command": ["/usr/bin/true"],
            "interval": 3,
            "timeout": 3,
            "rise": 1,
            "fall": 1,
            "weight": -20,
        }
    ]
    assert part["vrrp"]["notify"] == ["/usr/local/sbin/told", "lvs"]
    assert (part["vrrp"]["advert"], part["vrrp"]["unicast"]) == (2, False)
    assert (part["failback"], part["secret"]) == (True, True)
    assert instances(plan)["lvs_lvs_4"]["router_id"] == 7
    assert plan.warnings == [
        "cluster lvs: VRRP 2 knows IPv4 only, so the IPv6 addresses move by VRRP 3, without lvs_failover_secret."
    ]


def test_the_secret_is_nowhere_in_the_plan() -> None:
    plan = plan_of(**pair(HEARTBEAT))
    assert failover(plan)["secret"] is True
    assert SECRET not in json.dumps(plan.parts) + str(plan.warnings) + json.dumps(plan.probe)
    found = mistakes_of(**pair(KEEPALIVED, {"standby": {"lvs_failover_secret": SECRET}}))
    found += mistakes_of(**pair({**KEEPALIVED, "lvs_failover_secret": SECRET, "lvs_vrrp": {"version": 2}}))
    found += mistakes_of(**pair({**HEARTBEAT, "lvs_failover_secret": f"{SECRET} !"}))
    assert len(found) >= 3 and SECRET not in " ".join(found)


def test_who_is_preferred() -> None:
    plan = plan_of(**pair({**KEEPALIVED, "lvs_active": "standby"}))
    assert [instances(plan, host)["lvs_lvs_4"]["priority"] for host in ("director", "standby")] == [220, 230]
    # Names and router ids stay, so that only priorities move.
    assert {instances(plan, host)["lvs_lvs_4"]["router_id"] for host in ("director", "standby")} == {51}
    assert instances(plan)["lvs_lvs_4"]["preferred"] == "standby"


def test_three_directors_stand_in_in_their_order() -> None:
    third = {"mgmt0": ["10.255.0.12/24"], "eth1": ["192.168.1.12/24"]}
    arguments = pair({**KEEPALIVED, "lvs_active": "standby"}, {"third": {**KEEPALIVED, "lvs_active": "standby"}})
    arguments["directors"] = ["director", "standby", "third"]
    arguments["seen"]["third"] = facts(third, ["192.168.1.254"])
    plan = plan_of(**arguments)
    priorities = [instances(plan, host)["lvs_lvs_4"]["priority"] for host in arguments["directors"]]
    assert priorities == [220, 230, 219]
    assert instances(plan, "third")["lvs_lvs_4"]["peers"] == ["192.168.1.1", "192.168.1.11"]
    assert failover(plan)["nodes"] == arguments["directors"]


def test_two_are_active_each_with_its_vip() -> None:
    services = [service(), service(name="mail", vips=[OTHER_VIP], ports=[25], active="standby")]
    plan = plan_of(services, **pair(KEEPALIVED))
    assert list(instances(plan)) == ["lvs_lvs_4", "lvs_lvs_standby_4"]
    assert {name: one["priority"] for name, one in instances(plan, "standby").items()} == {
        "lvs_lvs_4": 220,
        "lvs_lvs_standby_4": 230,
    }
    assert held(plan, "standby", "lvs_lvs_standby_4") == [(f"{OTHER_VIP}/32", "eth1", "vip")]
    assert [one["router_id"] for one in instances(plan).values()] == [51, 53]
    # Each sends its connections and takes the other's; nobody has to switch roles, so we run both ourselves.
    daemons = plan.parts["director"]["director"]["daemons"]
    assert [daemon["role"] for daemon in daemons] == ["master", "backup"]
    assert parse_daemons(daemons, "overridden")
    assert failover(plan)["sync"]["both"] is True and failover(plan)["sync"]["group"] is None


def test_all_are_active_on_the_other() -> None:
    plan = plan_of([service(active="standby")], **pair(KEEPALIVED))
    assert list(instances(plan)) == ["lvs_lvs_standby_4"]
    assert failover(plan)["sync"]["group"] == "lvs_lvs_standby"
    assert plan.parts["director"]["director"]["daemons"] is None


def test_hundreds_of_vips_are_one_instance() -> None:
    vips = [f"192.168.1.{number}" for number in range(30, 240)]
    realserver = {"address": "192.168.1.20", "unmanaged": True}
    plan = plan_of([service(vips=vips, realservers=[realserver])], **pair(KEEPALIVED))
    assert list(instances(plan)) == ["lvs_lvs_4"]
    assert len(held(plan, "standby", "lvs_lvs_4")) == len(vips)


def test_a_second_run_sees_the_vips_and_plans_the_same() -> None:
    services = [
        service(vips=[VIP, VIP6], forwarding="nat"),
        service(name="t", vips=[OTHER_VIP, "2001:db8:1::111"], forwarding="tun", realservers=[{"host": "rs3"}]),
    ]
    common = {**KEEPALIVED, "lvs_inside": [INSIDE, INSIDE6], "lvs_filter": True}
    links = {name: list(own) for name, own in LINKS["director"].items()}
    links["eth1"] += [f"{VIP}/32", f"{VIP6}/128", f"{OTHER_VIP}/32", "2001:db8:1::111/128"]
    links["eth2"] += [INSIDE, INSIDE6]
    before = plan_of(services, **pair(common))
    after = plan_of(services, **pair(common, seen={"director": facts(links, GATEWAYS["director"])}))
    assert before.parts == after.parts and before.probe == after.probe


def test_the_proof_accepts_any_director() -> None:
    plan = plan_of(**pair(KEEPALIVED))
    (vip,) = plan.probe["vips"]
    assert vip["director"] == "director or standby" and vip["macs"]
    mac = "52:54:00:00:00:02"
    standby = facts(STANDBY, GATEWAYS["director"])
    for interface in standby["interfaces"]:
        interface["mac"] = mac
    plan = plan_of(**pair(KEEPALIVED, seen={"standby": standby}))
    answer = {"vip": VIP, "interface": "eth1", "on_link": True, "macs": [mac]}
    assert not proof_mistakes(plan.probe, {"results": [answer], "services": []}, "client")


def test_how_long_it_may_take_until_a_vip_is_held() -> None:
    assert plan_of().probe["patience"] == 0
    assert plan_of(**pair({**KEEPALIVED, "lvs_vrrp": {"advert": 0.1}})).probe["patience"] == 6
    assert plan_of(**pair({**HEARTBEAT, "lvs_heartbeat": {"deadtime": 20}})).probe["patience"] == 25


def test_what_the_director_forgets_once_it_is_held() -> None:
    plan = plan_of([service(forwarding="nat")], **pair({**KEEPALIVED, "lvs_inside": INSIDE}))
    assert plan.parts["standby"]["director"]["held"] == [
        {"address": f"{VIP}/32", "device": "eth1"},
        {"address": INSIDE, "device": "eth2"},
    ]
    assert plan_of().parts["director"]["director"]["held"] == []


def test_a_single_director_waits_for_its_second() -> None:
    plan = plan_of(variables={"director": {**KEEPALIVED, "lvs_health": "keepalived"}})
    (instance,) = failover(plan)["instances"]
    assert (instance["peers"], instance["priority"], failover(plan)["sync"]) == ([], 230, None)
    assert plan.parts["director"]["director"]["daemons"] == [] and "sync_threshold" not in sysctls(plan)
    assert keepalived_config.render(plan.parts["director"])


# ------------------------------------------------------------------ NAT pairs


@BOTH
def test_the_realservers_gateway_moves_with_the_vip(common: dict[str, Any]) -> None:
    services = [service(vips=[VIP, VIP6], forwarding="nat")]
    plan = plan_of(services, **pair({**common, "lvs_inside": [INSIDE, INSIDE6]}))
    for host in ("director", "standby"):
        assert held(plan, host, "lvs_lvs_4") == [(f"{VIP}/32", "eth1", "vip"), (INSIDE, "eth2", "inside")]
        assert held(plan, host, "lvs_lvs_6") == [(f"{VIP6}/128", "eth1", "vip"), (INSIDE6, "eth2", "inside")]
        assert network(plan, host)["addresses"] == []
        # Whoever has the VIP forwards.
        assert sysctls(plan, host)["net.ipv4.ip_forward"] == "1"
    gateways = {route["gateway"] for route in network(plan, "rs1")["routes"] if route.get("gateway")}
    assert gateways == {"10.1.1.254", "2001:db8:2::fe"}


def test_snat_needs_no_gateway_that_moves() -> None:
    plan = plan_of([service(forwarding="nat", snat=True)], **pair(KEEPALIVED))
    assert held(plan, "director", "lvs_lvs_4") == [(f"{VIP}/32", "eth1", "vip")]
    assert len(plan.warnings) == 1 and "its connections end when another director takes over" in plan.warnings[0]


def test_a_way_back_that_is_no_business_of_ours_needs_none_that_moves() -> None:
    own = {host: {"lvs_nat_return": "none"} for host in ("rs1", "rs2")}
    plan = plan_of([service(forwarding="nat")], **pair(KEEPALIVED, own))
    assert held(plan, "director", "lvs_lvs_4") == [(f"{VIP}/32", "eth1", "vip")]


def test_a_gateway_of_its_own_for_each_director_does_not_move() -> None:
    own = {"director": {"lvs_inside": DIP}, "standby": {"lvs_inside": "10.1.1.11"}}
    assert [entry[2] for entry in held(plan_of(**pair(KEEPALIVED, own)), "director", "lvs_lvs_4")] == ["vip"]


# ------------------------------------------------------------------ directors that serve


@BOTH
def test_the_backup_serves_and_never_answers_for_the_vip(common: dict[str, Any]) -> None:
    serving = service(vips=[VIP, VIP6], realservers=[{"host": "director"}, {"host": "standby"}, {"host": "rs1"}])
    plan = plan_of([serving], **pair(common))
    for host in ("director", "standby"):
        assert {entry["address"]: entry["device"] for entry in network(plan, host)["addresses"]} == {
            f"{VIP}/32": "lo",
            f"{VIP6}/128": "lo",
        }
        assert sysctls(plan, host)["net.ipv4.conf.all.arp_ignore"] == "1"
        assert sysctls(plan, host)["backup_only"] == "1"
        assert held(plan, host, "lvs_lvs_4") == [(f"{VIP}/32", "eth1", "vip")]
        # On lo it is there anyway.
        assert network(plan, host)["routes"] == []
        assert plan.parts[host]["director"]["daemons"] is None
    # Nobody goes round in circles where directors only direct.
    assert "backup_only" not in sysctls(plan_of(**pair(common)))


# ------------------------------------------------------------------ synchronisation


def test_the_daemons_follow_the_vips() -> None:
    plan = plan_of(**pair(KEEPALIVED))
    assert plan.parts["director"]["director"]["daemons"] is None
    sync = failover(plan)["sync"]
    assert (sync["interface"], sync["group"], sync["both"]) == ("eth1", "lvs_lvs", False)
    assert sync == failover(plan, "standby")["sync"] and 1 <= sync["syncid"] <= 255
    assert sysctls(plan)["sync_threshold"] == "2 50"


def test_what_a_person_says_of_synchronisation() -> None:
    given = {"interface": "eth2", "syncid": 9, "group": "224.0.0.99", "port": 9000, "threshold": "3  100", "period": 10}
    plan = plan_of(**pair({**KEEPALIVED, "lvs_filter": True, "lvs_sync": given}))
    sync = failover(plan)["sync"]
    assert {key: sync[key] for key in ("interface", "syncid", "multicast", "port")} == {
        "interface": "eth2",
        "syncid": 9,
        "multicast": "224.0.0.99",
        "port": 9000,
    }
    assert (sysctls(plan)["sync_threshold"], sysctls(plan)["sync_refresh_period"]) == ("3 100", "10")
    off = plan_of(**pair({**KEEPALIVED, "lvs_sync": False}))
    assert failover(off)["sync"] is None and "sync_threshold" not in sysctls(off)
    assert off.parts["director"]["director"]["daemons"] == []


def test_by_hand_is_as_before_but_for_what_was_wrong() -> None:
    common = {"lvs_failover": "manual", "lvs_active": "standby"}
    plan = plan_of(**pair(common))
    roles = {host: plan.parts[host]["director"]["daemons"][0]["role"] for host in ("director", "standby")}
    assert roles == {"director": "backup", "standby": "master"}
    assert parse_daemons(plan.parts["director"]["director"]["daemons"], "overridden")
    assert [entry["device"] for entry in network(plan, "standby")["addresses"]] == ["eth1"]
    assert plan.parts["standby"]["failover"] is None
    assert sysctls(plan)["sync_threshold"] == "2 50" and "backup_only" not in sysctls(plan)
    assert plan_of(**pair({**common, "lvs_sync": False})).parts["director"]["director"]["daemons"] == []


# ------------------------------------------------------------------ heartbeat


def test_heartbeat_hears_by_every_network_that_both_have() -> None:
    part = failover(plan_of(**pair(HEARTBEAT)))
    assert part["heartbeat"] == {
        "keepalive": 1,
        "warntime": 5,
        "deadtime": 10,
        "initdead": 30,
        "udpport": 694,
        "ping": [],
        "watchdog": "",
        "links": [
            {"ucast": "mgmt0", "peer": "10.255.0.11"},
            {"ucast": "eth1", "peer": "192.168.1.11"},
            {"ucast": "eth2", "peer": "10.1.1.11"},
        ],
    }
    assert part["vrrp"] is None


def test_what_a_person_says_of_heartbeat() -> None:
    given = {
        "keepalive": "0.2",
        "warntime": 1,
        "deadtime": 2,
        "initdead": 2.5,
        "udpport": 695,
        "links": [{"ucast": "eth2"}, {"bcast": "eth1"}, {"mcast": "eth1", "group": "225.0.0.1", "port": 694, "ttl": 2}],
        "ping": ["192.168.1.254"],
        "watchdog": "/dev/watchdog",
    }
    common = {**HEARTBEAT, "lvs_heartbeat": given, "lvs_fencing": {"command": ["/sbin/fence", "-f"]}}
    plan = plan_of(**pair(common))
    found = failover(plan)["heartbeat"]
    assert found["links"] == [{"ucast": "eth2", "peer": "10.1.1.11"}, *given["links"][1:]]  # type: ignore[index]  # a mapping of several types
    assert (found["keepalive"], found["deadtime"], found["ping"]) == (0.2, 2, ["192.168.1.254"])
    assert failover(plan)["fencing"] is True, "whether there is one; it may hold a password"


# ------------------------------------------------------------------ the packet filter


def test_the_filter_lets_the_other_director_in() -> None:
    common = {**HEARTBEAT, "lvs_filter": True, "lvs_heartbeat": {"udpport": 700}, "lvs_sync": {"port": 9000}}
    plan = plan_of(**pair(common))
    config = plan.parts["director"]["firewall"]
    _firewall_model.parse(config)
    peers = ["10.255.0.11", "192.168.1.11", "2001:db8:1::11", "10.1.1.11", "2001:db8:2::11"]
    assert config["filter"]["peers"] == peers
    unusual = [entry for entry in config["filter"]["accept"] if entry["protocol"] == "udp"]
    assert [(entry["family"], entry["ports"]) for entry in unusual] == [
        ("ipv4", ["9000", "700"]),
        ("ipv6", ["9000", "700"]),
    ]
    assert unusual[0]["sources"] == ["10.255.0.11/32", "192.168.1.11/32", "10.1.1.11/32"]
    # By the usual ports, nothing beside the peers is said; by hand, too.
    manual = {"lvs_failover": "manual", "lvs_active": "director", "lvs_filter": True}
    usual = plan_of(**pair(manual)).parts["director"]["firewall"]["filter"]
    assert usual["peers"] == peers and [entry["protocol"] for entry in usual["accept"]] == ["tcp"]


# ------------------------------------------------------------------ what is refused


def nat(**changes: Any) -> dict[str, Any]:
    return service(forwarding="nat", **changes)


ETH1 = {"standby": {"lvs_vip_interface": "eth1"}}
REFUSED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "an unknown program": ([service()], pair({"lvs_failover": "pacemaker"}), r"lvs_failover: 'pacemaker' is unknown"),
    "variables that differ": (
        [service()],
        pair(KEEPALIVED, {"standby": {"lvs_failback": True}}),
        r"directors director and standby of cluster lvs have different lvs_failback; put the variable into the",
    ),
    "adverts that differ": (
        [service()],
        pair(KEEPALIVED, {"standby": {"lvs_vrrp": {"advert": 2}}}),
        r"different lvs_vrrp: advert",
    ),
    "synchronisation on one side": (
        [service()],
        pair(KEEPALIVED, {"director": {"lvs_sync": {"syncid": 4, "port": 9000}}, "standby": {"lvs_sync": False}}),
        r"different lvs_sync; put the variable into the directors' group",
    ),
    "heartbeat beside keepalived": (
        [service()],
        pair({**HEARTBEAT, "lvs_health": "keepalived"}),
        r"lvs_failover heartbeat and lvs_health keepalived: .* two programs that know nothing of each other",
    ),
    "heartbeat without a secret": (
        [service()],
        pair({"lvs_failover": "heartbeat"}),
        r"cluster lvs: lvs_failover_secret is missing; heartbeat believes whoever knows it",
    ),
    "a secret of blanks": (
        [service()],
        pair({**HEARTBEAT, "lvs_failover_secret": "a b"}),
        r"lvs_failover_secret must be a text of letters, digits and punctuation without blanks",
    ),
    "a short secret": (
        [service()],
        pair({**HEARTBEAT, "lvs_failover_secret": "1234567"}),
        r"lvs_failover_secret has less than 8 characters",
    ),
    "a priority that moves nothing": (
        [service()],
        pair({**KEEPALIVED, "lvs_vrrp": {"track_scripts": [{"name": "a", "command": "/bin/true", "weight": -60}]}}),
        r"track_scripts: weight -60 of a: with lvs_failback false nobody takes over",
    ),
    "a secret with VRRP 3": (
        [service()],
        pair({**KEEPALIVED, "lvs_failover_secret": "abc"}),
        r"lvs_failover_secret with version 3 of VRRP, which has no authentication \(RFC 5798\)",
    ),
    "a long secret with VRRP 2": (
        [service()],
        pair({**KEEPALIVED, "lvs_failover_secret": "123456789", "lvs_vrrp": {"version": 2}}),
        r"lvs_failover_secret: VRRP 2 takes 1 to 8 characters",
    ),
    "an active that is no director": (
        [service()],
        pair({**KEEPALIVED, "lvs_active": "rs1"}),
        r"cluster lvs: lvs_active rs1 is none of its directors \(director, standby\)",
    ),
    "a service's active that is no director": (
        [service(active="rs1")],
        pair(KEEPALIVED),
        r"service web: active rs1 is no director of cluster lvs \(director, standby\)",
    ),
    "a service's active by hand": (
        [service(active="standby")],
        pair({"lvs_failover": "manual", "lvs_active": "director"}),
        r"service web: active standby under lvs_failover manual, where director holds every VIP",
    ),
    "a VIP on two directors": (
        [service(), service(name="other", ports=[81], active="standby")],
        pair(KEEPALIVED),
        r"services web and other: VIP 192.168.1.110 would be active on director and on standby",
    ),
    "nothing to move": (
        [service(fwmark=1, vips=[], networks=["192.168.3.0/29"])],
        pair(KEEPALIVED, {host: {"lvs_interface": "eth1"} for host in ("rs1", "rs2")}),
        r"cluster lvs: no service has a VIP that a director holds, so there is nothing that could move",
    ),
    "NAT without a gateway": (
        [nat()],
        pair(KEEPALIVED),
        r"service web uses nat, .* be the same on every director, with its prefix \(director none, standby none\)",
    ),
    "NAT to a stranger without a gateway": (
        [nat(realservers=[{"address": "10.1.1.77", "unmanaged": True}])],
        pair(KEEPALIVED),
        r"service web uses nat, .* \(director none, standby none\)",
    ),
    "NAT with a gateway each": (
        [nat()],
        pair(KEEPALIVED, {"director": {"lvs_inside": INSIDE}, "standby": {"lvs_inside": "10.1.1.253/24"}}),
        r"the same on every director, with its prefix \(director 10.1.1.254/24, standby 10.1.1.253/24\)",
    ),
    "NAT with a gateway that stays": (
        [nat()],
        pair({**KEEPALIVED, "lvs_inside": "10.1.1.254"}),
        r"the same on every director, with its prefix \(director 10.1.1.254, standby 10.1.1.254\)",
    ),
    "NAT for IPv6 with a gateway for IPv4": (
        [nat(vips=[VIP, VIP6])],
        pair({**KEEPALIVED, "lvs_inside": INSIDE}),
        r"NAT realserver rs1 would send its replies to 2001:db8:2::9, which stays with director when the VIP",
    ),
    "NAT on two directors": (
        [nat(), nat(name="b", vips=[OTHER_VIP], active="standby")],
        pair({**KEEPALIVED, "lvs_inside": INSIDE}),
        r"services by nat are active on director and on standby, but their realservers have one gateway",
    ),
    "NAT to a director": (
        [nat(realservers=[{"host": "standby"}, {"host": "rs1"}])],
        pair({**KEEPALIVED, "lvs_inside": INSIDE}),
        r"realserver standby is a director, and nat sends its replies to the inside address, which is its own when",
    ),
    "a realserver that the other director does not reach": (
        [service(realservers=[{"host": "rs1"}])],
        pair(KEEPALIVED, ETH1, seen={"standby": facts({"eth1": ["172.16.5.11/24"]})}),
        r"realserver rs1: 192.168.1.2 is in no network of director standby",
    ),
    "a director without an address of the family": (
        [service(vips=[VIP6], forwarding="tun")],
        pair(KEEPALIVED, ETH1, seen={"standby": facts({"eth1": ["192.168.1.11/24"]})}),
        r"director standby: no ipv6 address of its own on eth1, from which it could send adverts",
    ),
    "router ids that run out": (
        [service(), service(name="b", vips=[OTHER_VIP], active="standby")],
        pair({**KEEPALIVED, "lvs_vrrp": {"router_id": 254}}),
        r"router_id of lvs_vrrp 254 leaves no room for all instances, which count up from it to 256",
    ),
    "two clusters with one router id": (
        [service()],
        {
            "directors": ["director", "standby"],
            "seen": {"standby": facts(STANDBY, GATEWAYS["director"])},
            "variables": {
                "director": {**KEEPALIVED, "lvs_vrrp": {"unicast": False}},
                "standby": {
                    **KEEPALIVED,
                    "lvs_vrrp": {"unicast": False},
                    "lvs_cluster": "b",
                    "lvs_services": [service(name="b", vips=[OTHER_VIP])],
                },
            },
        },
        r"clusters lvs and b both send adverts of router_id 51 into 192.168.1.0/24",
    ),
    "a name of the cluster that files cannot hold": (
        [service()],
        pair({**KEEPALIVED, "lvs_cluster": "my cluster"}),
        r"the name of lvs_cluster becomes part of names in its files",
    ),
    "keepalived that is to fence": (
        [service()],
        pair({**KEEPALIVED, "lvs_fencing": {"command": "/sbin/fence"}}),
        r"lvs_fencing under lvs_failover keepalived: keepalived takes the VIPs first and waits for no command",
    ),
    "a command for a shell": (
        [service()],
        pair({**HEARTBEAT, "lvs_fencing": {"command": "/sbin/fence && true"}}),
        r"lvs_fencing: needs command and nothing else: the path of a program",
    ),
    "a fencing command that came out empty": (
        [service()],
        pair({**HEARTBEAT, "lvs_fencing": {"command": None}}),
        r"lvs_fencing: needs command",
    ),
    "adverts of VRRP 2 for IPv6": (
        [service(vips=[VIP, VIP6])],
        pair({**KEEPALIVED, "lvs_vrrp": {"version": 2, "advert": 60}}),
        r"advert 60 of lvs_vrrp: IPv6 addresses move by VRRP 3",
    ),
    "messages to one host": (
        [service()],
        pair({**KEEPALIVED, "lvs_sync": {"group": "10.0.0.1"}}),
        r"lvs_sync: group: 10.0.0.1 is not a multicast address",
    ),
    "messages that no IPv6 packet holds": (
        [service()],
        pair({**KEEPALIVED, "lvs_sync": {"group": "ff02::81", "maxlen": 65500}}),
        r"lvs_sync: maxlen 65500: to an IPv6 group at most 65487",
    ),
    "a threshold that no kernel holds": (
        [service()],
        pair({**KEEPALIVED, "lvs_sync": {"threshold": "3 4000000000"}}),
        r"threshold '3 4000000000' is wrong",
    ),
    "a script with the name of ours": (
        [service()],
        pair({**KEEPALIVED, "lvs_vrrp": {"track_scripts": [{"name": "lvs_life_sign", "command": "/bin/true"}]}}),
        r"needs a name of its own",
    ),
    "a sorry server that DR cannot reach by its port": (
        [service(fwmark=1, sorry_server={"address": "192.168.1.70", "port": 8080})],
        pair({**KEEPALIVED, "lvs_health": "keepalived"}),
        r"192.168.1.70: port 8080: dr cannot rewrite ports",
    ),
    "half a second of VRRP 2": (
        [service()],
        pair({**KEEPALIVED, "lvs_vrrp": {"version": 2, "advert": 1.5}}),
        r"advert 1.5: VRRP 2 counts whole seconds",
    ),
    "a thousandth of a second": (
        [service()],
        pair({**KEEPALIVED, "lvs_vrrp": {"advert": 0.125}}),
        r"advert 0.125: VRRP 3 counts hundredths of a second",
    ),
    "a long advert": (
        [service()],
        pair({**KEEPALIVED, "lvs_vrrp": {"advert": 41}}),
        r"advert: 41 is not a number of seconds from 0.01 to 40.95",
    ),
    "a watchdog that barks too soon": (
        [service()],
        pair({**KEEPALIVED, "lvs_vrrp": {"watchdog": 1}}),
        r"watchdog 1: keepalived gives a sign of life once a second",
    ),
    "a script without a name": (
        [service()],
        pair({**KEEPALIVED, "lvs_vrrp": {"track_scripts": [{"command": "/bin/true"}]}}),
        r"lvs_vrrp: track_scripts\[0\]: needs a name of its own",
    ),
    "an interface that is not there": (
        [service()],
        pair({**KEEPALIVED, "lvs_vrrp": {"track_interfaces": ["eth9"]}}),
        r"track_interfaces: 'eth9' is no interface of it",
    ),
    "three nodes of heartbeat": (
        [service()],
        {
            **pair(HEARTBEAT, {"rs1": HEARTBEAT}),
            "directors": ["director", "standby", "rs1"],
        },
        r"3 directors under lvs_failover heartbeat, whose haresources know two nodes only",
    ),
    "one node of heartbeat": (
        [service()],
        {"variables": {"director": HEARTBEAT}},
        r"one director under lvs_failover heartbeat, which needs a second one to hear of",
    ),
    "signs of life too late": (
        [service()],
        pair({**HEARTBEAT, "lvs_heartbeat": {"warntime": 10}}),
        r"warntime 10 is not below deadtime 10",
    ),
    "a link to nowhere": (
        [service()],
        pair({**HEARTBEAT, "lvs_heartbeat": {"links": [{"ucast": "eth3"}]}}),
        r"links\[0\]: ucast: 'eth3' is no interface of it",
    ),
    "a link of two kinds": (
        [service()],
        pair({**HEARTBEAT, "lvs_heartbeat": {"links": [{"ucast": "eth1"}, {"ucast": "eth1", "bcast": "eth1"}]}}),
        r"links\[1\]: needs exactly one of ucast, bcast and mcast",
    ),
    "everybody's connections": (
        [service()],
        pair({**KEEPALIVED, "lvs_sync": {"syncid": 0}}),
        r"lvs_sync: syncid: 0 is not an integer from 1 to 255",
    ),
    "a threshold that is never met": (
        [service()],
        pair({**KEEPALIVED, "lvs_sync": {"threshold": "50 2"}}),
        r"threshold '50 2' is wrong; write two numbers, the first below the second",
    ),
    "synchronisation beside a tunnel between families": (
        [
            service(
                vips=[VIP6],
                forwarding="tun",
                realservers=[{"address": "172.16.5.77", "unmanaged": True}],
            )
        ],
        pair(KEEPALIVED),
        rf"cluster lvs: {VIP6} has realservers of another family .* set lvs_sync: false",
    ),
    "directors that serve without synchronisation": (
        [service(realservers=[{"host": "director"}, {"host": "standby"}])],
        pair({**KEEPALIVED, "lvs_sync": False}),
        r"lvs_sync is false, and director and standby direct and serve in turn: .* \(HOWTO 9.1\)",
    ),
    "directors that serve while both are active": (
        [
            service(realservers=[{"host": "director"}, {"host": "standby"}]),
            service(name="b", vips=[OTHER_VIP], active="standby"),
        ],
        pair(KEEPALIVED),
        r"services are active on several directors, and director and standby serve, too",
    ),
}
BESIDE = {
    "a realserver that the other director does not reach": r"would send adverts from 192.168.1.1 to 172.16.5.11|"
    r"would send adverts from 172.16.5.11 to 192.168.1.1",
    "a link to nowhere": r"no IPv4 network that it shares with",
    "NAT with a gateway that stays": r"lvs_inside 10.1.1.254 is no address of it",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    """One sentence for one cause, for each director where it is about each; others only where they cannot be helped."""
    services, arguments, sentence = REFUSED[name]
    found = mistakes_of(services, **arguments)
    assert any(re.search(sentence, said) for said in found), "\n".join(found)
    general = sentence.replace("standby", "(director|standby)").replace("rs1", "rs[12]")
    rest = [said for said in found if not re.search(general, said)]
    if name in BESIDE:
        rest = [said for said in rest if not re.search(BESIDE[name], said)]
    assert rest == []


def test_one_director_sends_adverts_to_everybody() -> None:
    """Two clusters of one director each have no peers to send to, so they would hear each other."""
    services = {"director": [service()], "standby": [service(vips=[OTHER_VIP])]}
    own: dict[str, dict[str, Any]] = {host: {"lvs_cluster": host, "lvs_services": services[host]} for host in services}
    (found,) = mistakes_of(**pair(KEEPALIVED, own))
    assert "both send adverts of router_id 51" in found and "unicast" not in found
    own["standby"]["lvs_vrrp"] = {"router_id": 60}
    plan_of(**pair(KEEPALIVED, own))


def test_adverts_go_where_the_vip_is() -> None:
    """Not from the first address of the interface."""
    links = {**LINKS["director"], "eth1": ["172.20.0.1/24", "fd00:9::1/64", *LINKS["director"]["eth1"]]}
    seen = {"director": facts(links, GATEWAYS["director"])}
    plan = plan_of([service(vips=[VIP, VIP6])], **pair(KEEPALIVED, seen=seen))
    assert [instances(plan)[f"lvs_lvs_{n}"]["source"] for n in (4, 6)] == ["192.168.1.1", "2001:db8:1::1"]
    assert [instances(plan, "standby")[f"lvs_lvs_{n}"]["peers"] for n in (4, 6)] == [["192.168.1.1"], ["2001:db8:1::1"]]


def test_an_inside_address_without_nat_goes_with_the_vips() -> None:
    services = [service(active="standby", realservers=[{"host": "director"}, {"host": "standby"}])]
    plan = plan_of(services, **pair({**KEEPALIVED, "lvs_inside": INSIDE}))
    assert [group["name"] for group in failover(plan)["groups"]] == ["lvs_lvs_standby"]
    assert not failover(plan)["sync"]["both"]


def test_the_filter_lets_multicast_heartbeats_in() -> None:
    given = {"lvs_heartbeat": {"links": [{"mcast": "eth1", "port": 700}]}, "lvs_filter": True}
    plan = plan_of(**pair({**HEARTBEAT, **given}))
    assert "700" in json.dumps(plan.parts["director"]["firewall"])


def test_realservers_under_a_mark_are_checked_at_their_own_port() -> None:
    realservers = [{"host": host, "port": 8080} for host in ("rs1", "rs2")]
    marked = service(fwmark=1, forwarding="nat", snat=True, realservers=realservers)
    plan = plan_of([marked], **pair({**KEEPALIVED, "lvs_health": "keepalived", "lvs_inside": INSIDE}))
    (record,) = plan.parts["director"]["health"]["services"]
    assert record["health"]["port"] is None
