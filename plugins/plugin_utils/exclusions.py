# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What excludes each other across services and machines: keys of the table, marks, and VIPs with others' addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .addresses import IPAddress
from .host_variables import edges
from .machines import Machine
from .marks import contradictions
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
    _check_links(set(homes), machines, mistakes)


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
