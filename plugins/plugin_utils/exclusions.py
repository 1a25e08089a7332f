# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What excludes each other across services and machines: keys of the table, marks, and VIPs with others' addresses."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence

from .addresses import AddrFormatError, IPAddress
from .host_variables import edges
from .machines import Machine
from .marks import MarkRule, contradictions
from .mistakes import Mistakes
from .realservers import Cluster


def check_keys(clusters: Sequence[Cluster], machines: Iterable[Machine], mistakes: Mistakes) -> None:
    """One VIP belongs to one cluster, one VIP, protocol and port to one service, and no VIP is a machine's own."""
    keys: dict[tuple[IPAddress, str, int], str] = {}
    homes: dict[IPAddress, str] = {}
    for cluster in clusters:
        for service in cluster.services:
            for vip in service.vips:
                if homes.setdefault(vip, cluster.name) != cluster.name:
                    mistakes.append(
                        f"VIP {vip} is in cluster {homes[vip]} and in cluster {cluster.name}; one director holds a"
                        " VIP, so give each cluster its own."
                    )
                for protocol in service.protocols:
                    for port in service.ports if not service.fwmark else ():
                        first = keys.setdefault((vip, protocol, port), service.name)
                        if first != service.name:
                            mistakes.append(
                                f"service {service.name}: {protocol} {vip} port {port} is already in service"
                                f" {first}; every VIP, protocol and port belongs to one service."
                            )
        _check_marks(cluster, mistakes)
        _check_snat(cluster, mistakes)
    everybody = list(machines)
    _check_links(set(homes), everybody, mistakes)
    _check_ways(clusters, set(homes), everybody, mistakes)


def _check_marks(cluster: Cluster, mistakes: Mistakes) -> None:
    """One mark, one service; one packet, one mark; and a packet that is marked does not reach its VIP's service."""
    named: dict[int, str] = {}
    rules = [(service.name, service.fwmark, rule) for service in cluster.services for rule in service.marks]
    for service in cluster.services:
        if service.fwmark and named.setdefault(service.fwmark, service.name) != service.name:
            mistakes.append(
                f"services {named[service.fwmark]} and {service.name} both have fwmark {service.fwmark}; give each"
                " its own, or list what both shall get under marks of one."
            )
    mistakes += contradictions(rules)
    for service in cluster.services:
        if service.fwmark:
            continue
        for name, mark, rule in rules:
            if not rule.limited and any(rule.meets(wanted) for wanted in service.wanted):
                mistakes.append(
                    f"service {service.name}: fwmark {mark} of service {name} marks packets to the same VIP and"
                    " port, and the kernel asks for the mark first (HOWTO 18.9), so this service would get none of"
                    " them; give it other ports or VIPs, or limit the mark to some clients (sources, interface)."
                )


def _check_snat(cluster: Cluster, mistakes: Mistakes) -> None:
    """Masquerading goes by VIP and one port: ranges are every port, and clients make no difference."""
    hidden = [
        (service.name, MarkRule(rule.targets, rule.protocols, () if any(a != b for a, b in rule.ports) else rule.ports))
        for service in cluster.services
        for rule in service.wanted
        if service.snat
    ]
    for service in cluster.services:
        if service.snat or all(entry.forwarding != "nat" for entry in service.everyone):
            continue
        for name, rule in hidden:
            if any(rule.meets(wanted) for wanted in service.wanted):
                mistakes.append(
                    f"service {service.name}: snat of service {name} would also hide its clients, as it goes by"
                    " VIP and port (a range of ports is every port, sources and interface do not count); give it"
                    " another VIP, or snat, too."
                )


def _check_links(vips: set[IPAddress], machines: Iterable[Machine], mistakes: Mistakes) -> None:
    """No VIP is an edge of a network, nor an address that a machine has anyway."""
    for machine in machines:
        for link in machine.links:
            for vip in sorted(vips & edges(link.network)):
                mistakes.append(
                    f"VIP {vip} is the network's own or the broadcast address of {link.network.cidr};"
                    " choose an address of a host."
                )
            if link.address in vips and not link.is_host_route:
                mistakes.append(
                    f"VIP {link.address} is the address of {machine.name} on {link.interface} with the network's"
                    " prefix; a VIP is an address of its own, held by the director as /32 or /128."
                )


def _gateways(machine: Machine) -> Iterator[IPAddress]:
    for route in (route for version in (4, 6) for route in machine.routes(version)):
        with contextlib.suppress(AddrFormatError, ValueError, TypeError):
            yield IPAddress(route.get("gateway"))


def _check_ways(
    clusters: Sequence[Cluster], vips: set[IPAddress], machines: Iterable[Machine], mistakes: Mistakes
) -> None:
    """No VIP and no network of VIPs has what machines are reached by: who takes it in as its own is cut off from it."""
    ways = _ways(vips, machines)
    for service in (service for cluster in clusters for service in cluster.services):
        for network, (address, what) in itertools.product(service.networks, ways.items()):
            if address in network:
                mistakes.append(
                    f"service {service.name}: networks {network.cidr}: {address} in it is {what}, which whoever takes"
                    " the network in would reach no more; name smaller networks, or single vips."
                )
    for machine in (machine for cluster in clusters for machine in cluster.directors):
        for gateway in vips & set(_gateways(machine)):
            mistakes.append(
                f"VIP {gateway} is a gateway of director {machine.name}, which cannot hold it as well; choose another."
            )


def _ways(vips: set[IPAddress], machines: Iterable[Machine]) -> dict[IPAddress, str]:
    """The addresses by which machines are reached, and what each is."""
    ways: dict[IPAddress, str] = {}
    for machine in machines:
        for link in machine.links:
            if not link.is_host_route and link.address not in vips:
                ways.setdefault(link.address, f"the address of {machine.name} on {link.interface}")
        if address := machine.management():
            ways.setdefault(address, f"how Ansible reaches {machine.name} (ansible_host)")
        for gateway in _gateways(machine):
            ways.setdefault(gateway, f"a gateway of {machine.name}")
    return ways
