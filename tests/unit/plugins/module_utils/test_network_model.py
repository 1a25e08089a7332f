# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of `network`: what it is read as, and every mistake in one message."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_model import (
    Route,
    as_config,
    parse,
    same_route,
)


def one(section: str, entry: Any) -> Any:
    return parse({section: [entry]})[0]


@pytest.mark.parametrize(
    ("section", "entry", "line"),
    [
        ("modules", "ip-vs", "module ip_vs"),
        ("sysctls", {"key": "net.ipv4.ip_forward", "value": 1}, "net.ipv4.ip_forward = 1"),
        ("sysctls", {"key": "net.ipv4.ip_forward", "value": True}, "net.ipv4.ip_forward = 1"),
        (
            "sysctls",
            {"key": "net.ipv4.ip_local_port_range", "value": "1024\t 65535"},
            "net.ipv4.ip_local_port_range = 1024 65535",
        ),
        (
            "sysctls",
            {"key": "net/ipv4/conf/eth0.100/rp_filter", "value": 2},
            "net.ipv4.conf.eth0/100.rp_filter = 2",
        ),
        ("devices", {"name": "tunl0", "kind": "ipip"}, "device tunl0 up"),
        ("addresses", {"address": "192.168.1.110", "device": "lo"}, "address 192.168.1.110/32 dev lo"),
        (
            "addresses",
            {"address": "2001:DB8:0::110", "device": "lo", "deprecated": True},
            "address 2001:db8::110/128 dev lo deprecated",
        ),
        (
            "addresses",
            {"address": "10.1.1.9/24", "device": "eth1", "deprecated": True},
            "address 10.1.1.9/24 dev eth1",
        ),
        (
            "routes",
            {"destination": "default", "gateway": "10.1.1.9", "table": 1100, "advmss": 1440},
            "route ipv4 default via 10.1.1.9 table 1100 advmss 1440",
        ),
        (
            "routes",
            {"destination": "0.0.0.0/0", "device": "eth0"},
            "route ipv4 default dev eth0 table 254",
        ),
        (
            "routes",
            {"destination": "::/0", "gateway": "fe80::1", "device": "eth0"},
            "route ipv6 default via fe80::1 dev eth0 table 254 metric 1024",
        ),
        (
            "routes",
            {"destination": "10.1.1.2/32", "device": "eth0", "metric": 5, "source": "10.1.1.1"},
            "route ipv4 10.1.1.2 dev eth0 table 254 metric 5 src 10.1.1.1",
        ),
        (
            "routes",
            {"destination": "default", "family": "ipv6", "type": "local", "device": "lo", "table": 100},
            "route ipv6 local default dev lo table 100 metric 1024",
        ),
        (
            "routes",
            {"destination": "10.0.0.0/8", "type": "blackhole"},
            "route ipv4 blackhole 10.0.0.0/8 table 254",
        ),
        (
            "rules",
            {"from": "10.1.1.2/32", "priority": 1000, "table": 1100, "suppress_prefixlength": 0},
            "rule ipv4 priority 1000 from 10.1.1.2 table 1100 suppress_prefixlength 0",
        ),
        (
            "rules",
            {"family": "ipv6", "fwmark": 1, "iif": "eth0", "priority": 1, "table": 100},
            "rule ipv6 priority 1 from all fwmark 1 iif eth0 table 100",
        ),
    ],
)
def test_normal_form(section: str, entry: Any, line: str) -> None:
    item = one(section, entry)
    assert item.line() == line
    # What is shown is what can be given.
    assert parse(as_config([item])) == [item]


@pytest.mark.parametrize(
    ("section", "entry", "said"),
    [
        ("modules", "ip_vs; reboot", "not the name of a kernel module"),
        ("sysctls", {"key": "vm.swappiness", "value": 1}, "a setting below net"),
        ("sysctls", {"key": "net.ipv4..x", "value": 1}, "empty part"),
        ("sysctls", {"key": "net.ipv4.ip_forward"}, "value is missing"),
        ("sysctls", {"value": 1}, "key is missing"),
        ("sysctls", "net.ipv4.ip_forward=1", "is not a mapping with key"),
        ("sysctls", {"key": "net.ipv4.ip_forward", "value": 1, "vlaue": 2}, "vlaue is not known here"),
        ("devices", {"name": "a/b"}, "name of a network device"),
        ("devices", {"name": "x", "kind": "I P"}, "kind of network device"),
        ("addresses", {"address": "192.168.1.300", "device": "lo"}, "not an IPv4 or IPv6 address"),
        ("addresses", {"address": "192.168.1.110/24", "device": "lo"}, "prefix length 32"),
        ("addresses", {"address": "2001:db8::1/64", "device": "lo"}, "prefix length 128"),
        ("addresses", {"address": "224.0.0.1", "device": "eth0"}, "multicast"),
        ("addresses", {"address": "192.168.1.110"}, "device is missing"),
        ("addresses", {"address": "192.168.1.110", "device": "lo", "announce": True}, "nobody listens on lo"),
        ("addresses", {"address": "192.168.1.110", "device": "lo", "nodad": "yes"}, "neither true nor false"),
        ("routes", {"destination": "10.0.0.1/8", "device": "eth0"}, "has host bits set"),
        ("routes", {"device": "eth0"}, "destination is missing"),
        ("routes", {"destination": "default", "device": "eth0"}, "family is missing"),
        ("routes", {"destination": "default", "family": "ipv5", "device": "eth0"}, "neither ipv4 nor ipv6"),
        ("routes", {"destination": "10.0.0.0/8"}, "neither gateway nor device"),
        ("routes", {"destination": "10.0.0.0/8", "gateway": "fe80::1"}, "destination is ipv4, gateway is ipv6"),
        ("routes", {"destination": "10.0.0.0/8", "gateway": "router"}, "gateway 'router' is not"),
        ("routes", {"destination": "10.0.0.0/8", "device": "e", "type": "nat"}, "type 'nat'"),
        ("routes", {"destination": "10.0.0.0/8", "device": "e", "table": 0}, "table 0 is not a number from 1"),
        ("routes", {"destination": "10.0.0.0/8", "device": "e", "table": "main"}, "table 'main'"),
        ("routes", {"destination": "10.0.0.0/8", "device": "e", "advmss": 70000}, "advmss 70000"),
        ("rules", {"from": "10.0.0.1", "table": 1}, "priority is missing"),
        ("rules", {"from": "10.0.0.1", "priority": 5}, "table is missing"),
        ("rules", {"from": "10.0.0.1", "priority": 32766, "table": 1}, "from 1 to 32765"),
        ("rules", {"priority": 5, "table": 1}, "family is missing"),
        ("rules", {"from": "nonsense", "priority": 5, "table": 1, "family": "ipv4"}, "from 'nonsense'"),
        ("rules", {"from": "10.0.0.1", "to": "fe80::1", "priority": 5, "table": 1}, "both families"),
    ],
)
def test_mistakes(section: str, entry: Any, said: str) -> None:
    with pytest.raises(LvsError) as caught:
        one(section, entry)
    assert said in caught.value.message
    assert caught.value.message.startswith(f"config: {section}[0]")


def test_all_mistakes_in_one_message() -> None:
    with pytest.raises(LvsError) as caught:
        parse(
            {
                "moduls": ["x"],
                "modules": ["a b"],
                "addresses": [{"address": "x", "device": "lo"}, {"address": "10.0.0.1"}],
                "rules": [{"from": "10.0.0.1"}],
            }
        )
    assert len(caught.value.details["mistakes"]) == 6
    assert "config: moduls is not one of" in caught.value.message


def test_the_same_twice_is_once_and_otherwise_a_mistake() -> None:
    vip = {"address": "192.168.1.110", "device": "lo"}
    assert len(parse({"addresses": [vip, {**vip, "address": "192.168.1.110/32"}]})) == 1
    with pytest.raises(LvsError, match=r"given twice, before with net\.ipv4\.ip_forward = 1"):
        parse({"sysctls": [{"key": "net.ipv4.ip_forward", "value": value} for value in "10"]})


def test_none_is_the_same_as_left_out() -> None:
    """Ansible fills what is not given with null."""
    route = {
        "destination": "default",
        "gateway": "10.0.0.1",
        "device": None,
        "source": None,
        "advmss": None,
        "family": None,
    }
    assert one("routes", route) == one("routes", {"destination": "default", "gateway": "10.0.0.1"})
    assert parse({"modules": None}) == []


def test_what_a_route_does_not_state_is_any_value_unless_we_had_stated_it() -> None:
    want = Route("default", "ipv4", gateway="10.0.0.1")
    have = Route("default", "ipv4", gateway="10.0.0.1", device="eth0", source="10.0.0.2", advmss=1400)
    assert same_route(want, have, None)
    assert not same_route(want, have, Route("default", "ipv4", gateway="10.0.0.1", advmss=1400))
    assert not same_route(Route("default", "ipv4", gateway="10.0.0.9"), have, None)
    assert not same_route(Route("default", "ipv4", device="eth0"), have, None)
    assert not same_route(Route("default", "ipv4", gateway="10.0.0.1", device="eth1"), have, None)
