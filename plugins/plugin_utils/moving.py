# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves from one director of a cluster to another: which director is preferred for a VIP, and NAT's gateway."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork
from .failover import Failover
from .machines import Machine
from .mistakes import Mistakes
from .realservers import Cluster
from .services import Service

# By preferred director, its networks with their entries of the part.
Held = list[tuple[str, list[tuple[IPNetwork, dict[str, Any]]]]]
DeviceOf = Callable[[Machine, IPNetwork, str], str | None]


def active_first(
    name: str, directors: list[Machine], services: list[Service], failover: Failover, mistakes: Mistakes
) -> list[Machine]:
    """Which of several directors holds the VIPs, or is preferred for them."""
    names = [machine.name for machine in directors]
    where = f"cluster {name}: {', '.join(names)}"
    if failover.floating:
        return sorted(directors, key=lambda machine: machine.name != (failover.active or names[0]))
    if len(directors) == 1:
        return directors
    if failover.backend == "none":
        mistakes.append(
            f"{where} would all hold the same VIPs; two directors for one VIP need a failover backend. Set"
            " lvs_failover: keepalived or heartbeat (or manual, and name in lvs_active the one that is to hold the"
            " VIPs), or keep one director, or give each its own lvs_cluster and services."
        )
        return directors
    active = {failover.active}
    if not active <= set(names):
        mistakes.append(
            f"{where}: lvs_active must be the name of one of them, the same for all; put it into the group."
        )
        return directors
    for service in services:
        if service.active not in (None, *active):
            mistakes.append(
                f"{where}: service {service.name}: active {service.active} under lvs_failover manual, where"
                f" {failover.active} holds every VIP; leave it out, or use keepalived or heartbeat."
            )
        if any(entry.forwarding == "nat" for entry in service.everyone):
            mistakes.append(
                f"{where}: service {service.name} uses nat, whose realservers send their replies to the director's"
                " inside address, which does not move with lvs_active; use dr or tun, or one director."
            )
    return sorted(directors, key=lambda machine: machine.name not in active)


class Moving:
    """The VIPs by preferred director, and the inside addresses, which realservers of nat use as their gateway."""

    def __init__(self, cluster: Cluster, mistakes: Mistakes) -> None:
        self.cluster = cluster
        self.mistakes = mistakes
        self.where = f"cluster {cluster.name}"
        self.names = [machine.name for machine in cluster.directors]
        self.homes: dict[IPAddress, str] = {}
        self.insides: list[IPNetwork] = []
        self.given = {machine.name: tuple(machine.given("lvs_inside")) for machine in cluster.directors}
        self._nat: dict[str, Service] = {}
        if cluster.failover.floating:
            self._vips()
            # Where each director has its own, it stays with it.
            for value in self.given[self.names[0]] if len(set(self.given.values())) == 1 else ():
                # What is no address at all was named where the host's variables are checked.
                with contextlib.suppress(AddrFormatError, ValueError):
                    self.insides += [IPNetwork(value)] if "/" in value else []

    def _home(self, service: Service) -> str:
        return service.active if service.active in self.names else self.names[0]

    def _vips(self) -> None:
        """Every VIP has one preferred director, whatever services it has."""
        first: dict[IPAddress, str] = {}
        for service in self.cluster.services:
            home = self._home(service)
            if service.active not in (None, home):
                self.mistakes.append(
                    f"service {service.name}: active {service.active} is no director of cluster {self.cluster.name}"
                    f" ({', '.join(self.names)}); name one of them, or leave it out for {home}."
                )
            for vip in service.vips if not service.vip_less else ():
                first.setdefault(vip, service.name)
                if self.homes.setdefault(vip, home) != home:
                    self.mistakes.append(
                        f"services {first[vip]} and {service.name}: VIP {vip} would be active on {self.homes[vip]} and"
                        f" on {home}; one director holds a VIP, so give both services the same active, or a VIP each."
                    )

    def sends_replies(self, service: Service) -> bool:
        """Realservers of this service use the inside address; whether it is one that moves with the VIPs."""
        self._nat[service.name] = service
        return len(self.insides) > 0

    def check_way_back(self) -> None:
        """The gateway is one for all directors, and it is with one of them at a time (HOWTO 5, 29)."""
        if not self._nat:
            return
        name = next(iter(self._nat))
        if not self.insides:
            said = ", ".join(f"{host} {' and '.join(values) or 'none'}" for host, values in self.given.items())
            self.mistakes.append(
                f"{self.where}: service {name} uses nat, whose realservers send their replies to the director's inside"
                " address; it has to move with the VIP, so lvs_inside has to be the same on every director, with its"
                f" prefix ({said}). Give the directors' group an address that none of them has, as in 10.1.1.9/24."
            )
        homes = dict.fromkeys(map(self._home, self._nat.values()))
        if len(homes) > 1:
            self.mistakes.append(
                f"{self.where}: services by nat are active on {' and on '.join(homes)}, but their realservers have one"
                " gateway, which is with one of them; give all services by nat the same active, or use dr or tun."
            )

    @property
    def _inside_home(self) -> str:
        """With NAT's VIPs; without NAT somebody else's gateway, which gets no director of its own."""
        if self._nat:
            return self._home(next(iter(self._nat.values())))
        return next(iter(self.homes.values()), self.names[0])

    @property
    def places(self) -> set[str]:
        """The directors that are preferred for something."""
        return {*self.homes.values(), *([self._inside_home] if self.insides else ())}

    def addresses(self, director: Machine, device_of: DeviceOf) -> Held:
        """By preferred director: its name and what it holds, with the devices that `director` would use."""
        found: Held = []
        inside = self._inside_home
        for home in self.names:
            networks = [(IPNetwork(vip), "vip") for vip, name in self.homes.items() if name == home]
            networks += [(network, "inside") for network in self.insides if home == inside]
            entries = [
                (network, {"address": str(network), "device": device, "kind": kind})
                for network, kind in networks
                if (device := device_of(director, network, kind)) is not None
            ]
            if entries:
                found.append((home, entries))
        return found
