# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine of the inventory: which of its addresses can be a RIP, and where its links lead."""

from __future__ import annotations

from typing import Any

import pytest
from netaddr import IPAddress

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.machines import Machine
from tests.howto import LINKS, VIP, VIP6, facts


def machine(
    *, links: dict[str, list[str]] | None = None, gateways: list[str] | None = None, **variables: Any
) -> Machine:
    return Machine("rs1", variables, facts(links or LINKS["rs1"], gateways or []))


def candidates(tested: Machine, version: int = 4) -> list[str]:
    return [str(link.address) for link in tested.candidates(version, {IPAddress(VIP), IPAddress(VIP6)})]


def test_a_machine_without_facts_knows_nothing() -> None:
    unknown = Machine("rs1", {})
    assert unknown.links == []
    assert unknown.interface("eth1") is None
    assert unknown.link_to(IPAddress("192.168.1.2")) is None
    assert unknown.default_route(4) is None
    assert unknown.has(IPAddress("192.168.1.2"))  # nothing speaks against it


def test_loopback_and_link_local_are_no_links() -> None:
    seen = facts({"eth1": ["192.168.1.2/24"]})
    seen["interfaces"][1]["addresses"].append(
        {"address": "fe80::1", "prefix": 64, "family": "ipv6", "scope": "link", "deprecated": False}
    )
    assert [str(link.address) for link in Machine("rs1", {}, seen).links] == ["192.168.1.2"]


@pytest.mark.parametrize(("variables", "address"), [({"ansible_host": "10.255.0.2"}, "10.255.0.2"), ({}, None)])
def test_management_address(variables: dict[str, Any], address: str | None) -> None:
    assert machine(**variables).management() == (IPAddress(address) if address else None)


@pytest.mark.parametrize("name", ["rs1.example.com", "", 5, None, ["10.255.0.2"]])
def test_a_name_is_no_management_address(name: Any) -> None:
    assert machine(ansible_host=name).management() is None


def test_management_is_no_candidate() -> None:
    assert candidates(machine(ansible_host="10.255.0.2")) == ["192.168.1.2", "10.1.1.2"]
    assert candidates(machine()) == ["10.255.0.2", "192.168.1.2", "10.1.1.2"]


def test_management_is_a_candidate_if_there_is_no_other() -> None:
    assert candidates(machine(links={"eth0": ["192.168.1.2/24"]}, ansible_host="192.168.1.2")) == ["192.168.1.2"]


def test_vips_and_host_routes_are_no_candidates() -> None:
    # 192.168.1.111 is what a service had that is gone from the inventory by now.
    links = {"eth1": ["192.168.1.110/32", "192.168.1.111/32", "192.168.1.2/24"]}
    assert candidates(machine(links=links)) == ["192.168.1.2"]


def test_a_host_route_is_a_candidate_if_there_is_no_other() -> None:
    assert candidates(machine(links={"eth1": ["10.9.9.9/32"]})) == ["10.9.9.9"]


def test_lvs_interface_chooses() -> None:
    assert candidates(machine(lvs_interface="eth2")) == ["10.1.1.2"]
    assert candidates(machine(lvs_interface="eth2"), 6) == ["2001:db8:2::2"]


def test_the_longest_prefix_carries_the_address() -> None:
    tested = machine(links={"eth1": ["10.0.0.2/8"], "eth2": ["10.1.1.2/24"], "eth3": ["10.1.1.7/32"]})
    link = tested.link_to(IPAddress("10.1.1.7"))
    assert link is not None
    assert link.interface == "eth2"


def test_default_route_by_family() -> None:
    tested = machine(gateways=["192.168.1.254", "2001:db8:1::254"])
    four, six = tested.default_route(4), tested.default_route(6)
    assert four is not None
    assert six is not None
    assert (four["gateway"], six["gateway"]) == ("192.168.1.254", "2001:db8:1::254")
    assert machine().default_route(4) is None


def test_given_values_and_addresses() -> None:
    tested = machine(lvs_rip=["10.1.1.2/32", "nonsense", "10.1.1.3"], lvs_dip="10.1.1.9", lvs_inside="10.1.1.9/24")
    assert tested.given("lvs_dip") == ["10.1.1.9"]
    assert tested.given("lvs_gateway") == []
    assert list(map(str, tested.addresses("lvs_rip"))) == ["10.1.1.2", "10.1.1.3"]
    assert list(map(str, tested.addresses("lvs_inside"))) == ["10.1.1.9"]
    assert tested.addresses("lvs_inside", settable=False) == []


def test_has_compares_addresses_not_their_spelling() -> None:
    assert machine().has(IPAddress("2001:0db8:0001::0002"))
    assert machine().has(IPAddress("127.0.0.1"))
    assert not machine().has(IPAddress("192.168.1.22"))
