# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VIPs that would cut machines off, and what the modules would refuse when it is late."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import compile_plan
from tests.howto import GATEWAYS, inventory, mistakes_of, plan_of, plus, service


def block(network: str) -> dict[str, Any]:
    return service(name="block", fwmark=7, vips=[], networks=[network])


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("10.255.0.0/24", r"10\.255\.0\.254 in it is the address of client on mgmt0"),
        ("192.168.1.252/30", r"192\.168\.1\.254 in it is a gateway of director"),
        ("172.16.5.252/30", r"172\.16\.5\.254 in it is a gateway of rs3"),
    ],
)
def test_a_network_of_vips_that_has_the_way_to_a_machine(network: str, why: str) -> None:
    found = "\n".join(mistakes_of([block(network)]))
    assert re.search(why, found), found
    assert "service block: networks" in found


def test_a_network_of_vips_by_itself() -> None:
    variables = {host: {"lvs_interface": "eth1"} for host in ("rs1", "rs2")}
    plan_of([block("192.168.3.0/29")], variables=variables)
    # As on a second run, where the director holds a VIP that lies in it.
    plan_of(
        [block("192.168.3.0/29")], variables=variables, seen={"director": plus("director", "eth1", "192.168.3.1/32")}
    )


def test_a_vip_that_is_the_directors_gateway() -> None:
    gateway = "192.168.1.253"
    seen = plus("director", "eth1")
    seen["routes"][-2]["gateway"] = gateway
    assert GATEWAYS["director"][0] != gateway
    found = mistakes_of([service(vips=[gateway])], seen={"director": seen})
    assert f"VIP {gateway} is a gateway of director director, which cannot hold it as well; choose another." in found


@pytest.mark.parametrize(
    ("services", "variables", "why"),
    [
        ([service(fwmark=1, interface="eth+")], {}, "interface 'eth\\+' is not the name of an interface"),
        ([service()], {"lvs_filter": True, "lvs_ssh_ports": [0]}, "ssh_ports.* 0 is not a port"),
        ([service()], {"lvs_filter": True, "lvs_filter_allow": [{"ports": [0]}]}, "ports '0' is not a port"),
    ],
)
def test_what_a_module_would_refuse_is_refused_by_the_plan(
    services: list[dict[str, Any]], variables: dict[str, Any], why: str
) -> None:
    found = "\n".join(mistakes_of(services, variables={"director": variables}))
    assert re.search("host director: firewall: .*" + why, found), found


def test_every_port_stands_alone_under_a_mark() -> None:
    found = mistakes_of([service(fwmark=1, ports=[80, 0])])
    assert any("port 0 is every port, so it stands alone" in text for text in found), found
    plan_of([service(fwmark=1, ports=[0])])


def test_an_inside_address_that_we_have_set_is_no_candidate_on_the_second_run() -> None:
    variables = {"director": {"lvs_inside": "10.1.1.99/24"}}
    services = [service(forwarding="nat", realservers=[{"host": "rs1"}, {"host": "director"}])]
    plan_of(services, variables=variables, realservers=["rs1", "director"])
    seen = {"director": plus("director", "eth2", "10.1.1.99/24")}
    plan_of(services, variables=variables, realservers=["rs1", "director"], seen=seen)


def test_many_services_of_one_vip_are_promised_once_each() -> None:
    plan = compile_plan(inventory([service(name=f"s{number}", ports=[number]) for number in range(1, 301)]))
    assert len(plan.parts["director"]["director"]["config"]) == 300
    assert len(plan.probe["services"]) == 300
    assert len(plan.probe["vips"]) == 1
