# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines an entry of ``realservers`` means, which of their addresses is the RIP, and which way leads back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from .addresses import IPAddress, IPNetwork
from .failover import Failover
from .host_variables import listing
from .inventory import Inventory
from .machines import Link, Machine, family
from .mistakes import Mistakes
from .services import Entry, Service


@dataclass
class Cluster:
    """Directors that share VIPs, and their services."""

    name: str
    directors: list[Machine]  # the active one first
    services: list[Service]
    failover: Failover = field(default_factory=Failover)
    # Directors that are realservers, too; known once the services are compiled.
    serving: set[str] = field(default_factory=set)

    @property
    def director(self) -> Machine:
        return self.directors[0]

    @property
    def standbys(self) -> list[Machine]:
        return self.directors[1:]


class Realservers:
    """Finds the addresses of realservers; what is not to be found, or is ambiguous, is a mistake."""

    def __init__(
        self, inventory: Inventory, machines: Mapping[str, Machine], vips: Set[IPAddress], mistakes: Mistakes
    ) -> None:
        self.inventory = inventory
        self.machines = machines
        self.vips = vips
        self.mistakes = mistakes
        self._targets: dict[str, tuple[set[IPAddress], list[IPNetwork]]] = {}

    def owner_of(self, rip: IPAddress) -> str | None:
        machines = (self.machines[host] for host in self.inventory.realservers)
        return next((machine.name for machine in machines if any(link.address == rip for link in machine.links)), None)

    def hosts(self, service: Service, entry: Entry) -> Sequence[str | None]:
        """The hosts an entry stands for; None for the address of a host nobody here manages."""
        if entry.kind == "address":
            return [None]
        if entry.kind == "host":
            if entry.value not in self.inventory.variables:
                self.mistakes.append(
                    f"service {service.name}: realserver host {entry.value!r} is not in the inventory; add it, or give"
                    " its address with unmanaged: true."
                )
                return []
            hosts: Sequence[str] = [entry.value]
        else:
            hosts = self.inventory.groups.get(entry.value, [])
            if not hosts:
                self.mistakes.append(
                    f"service {service.name}: realserver group {entry.value!r} is empty or not in the inventory;"
                    " correct the name, or add its hosts."
                )
        outside = [h for h in hosts if h not in self.inventory.realservers and h not in self.inventory.directors]
        for host in outside:
            self.mistakes.append(
                f"service {service.name}: realserver host {host!r} is not in the realservers' group (lvs_realservers"
                " by default), so nothing would configure it; put it there, or give its address with unmanaged: true."
            )
        return [host for host in hosts if host not in outside]

    def rip(
        self, cluster: Cluster, service: Service, entry: Entry, host: str | None, vip: IPAddress
    ) -> IPAddress | None:
        """The RIP for one VIP: given, or the one address of the host that fits the method; otherwise a mistake."""
        where = f"service {service.name}: realserver {host or entry.value}"
        if host is None:
            address = IPAddress(entry.value)
            if address.version != vip.version:
                if any(address.version == other.version for other in service.vips):
                    return None
                if entry.forwarding != "tun":
                    self.mistakes.append(
                        f"{where} is IPv{address.version} under the IPv{vip.version} VIP {vip}: IPVS cannot translate"
                        " between families; give the realserver an address of the VIP's family, or use tun."
                    )
                    return None
            return self._linked(cluster, service, entry, where, address)
        machine = self.machines[host]
        variable = "lvs_rip" if vip.version == 4 else "lvs_rip6"
        if machine.given(variable):
            given = [address for address in machine.addresses(variable) if address.version == vip.version]
            # Of several the one that this cluster's director reaches: two NAT directors need a RIP each.
            near = [address for address in given if entry.forwarding == "tun" or cluster.director.link_to(address)]
            # None left: said once, where host variables are checked.
            return self._linked(cluster, service, entry, where, (near or given)[0]) if given else None
        if machine.facts is None:
            self.mistakes.append(
                f"{where}: its addresses are not known (outside --limit, or it did not answer); give {variable}."
            )
            return None
        found = self._fitting(cluster, service, entry, machine, vip)
        if len(found) == 1:
            return self._linked(cluster, service, entry, where, found[0].address)
        if not found:
            self.mistakes.append(
                f"{where} has no {family(vip.version)} address on a network that {entry.forwarding} can use"
                f" (it has {listing(machine.links)}; director {cluster.director.name} has"
                f" {listing(cluster.director.links)}); give {variable}, or correct its network."
                + (
                    " NAT: the way back must pass the director, on a network they share (HOWTO 5.4)."
                    if entry.forwarding == "nat"
                    else ""
                )
            )
        else:
            self.mistakes.append(
                f"{where} has several addresses that could be its RIP for {vip} ({listing(found)}); name one with"
                f" {variable}, or the interface with lvs_interface."
            )
        return None

    def _fitting(
        self, cluster: Cluster, service: Service, entry: Entry, machine: Machine, vip: IPAddress
    ) -> list[Link]:
        links = machine.candidates(vip.version, self.vips)
        director = cluster.director
        if machine is director:
            # LocalNode: every address of its own would do, the VIP's network is what people expect to read.
            return ([link for link in links if vip in link.network] or links)[:1]
        if entry.forwarding != "tun" and director.facts is not None:
            links = [link for link in links if director.link_to(link.address)] or (links if service.snat else [])
        with_vip = [link for link in links if vip in link.network]
        if entry.forwarding == "nat":
            insides = director.addresses("lvs_inside")
            inside = [link for link in links if any(address in link.network for address in insides)]
            return inside or [link for link in links if link not in with_vip] or links
        return with_vip or links

    def _linked(
        self, cluster: Cluster, service: Service, entry: Entry, where: str, rip: IPAddress
    ) -> IPAddress | None:
        """DR rewrites the frame only, NAT needs the reply: both want director and realserver on one link."""
        if cluster.name not in self._targets:
            self._targets[cluster.name] = (
                {vip for own in cluster.services for vip in own.vips},
                list(dict.fromkeys(network for own in cluster.services for network in own.networks)),
            )
        vips, networks = self._targets[cluster.name]
        if rip in vips or any(rip in network for network in networks):
            self.mistakes.append(
                f"{where}: its address {rip} is a VIP of this cluster, so the director would send the packets to"
                " itself; give the realserver's own address (RIP)."
            )
            return None
        if entry.forwarding == "tun" or service.snat:
            return rip
        unlinked = [
            director
            for director in (cluster.directors if cluster.failover.backend != "none" else [cluster.director])
            if director.facts is not None
            and not director.link_to(rip)
            and not any(link.address == rip for link in director.links)
        ]
        if not unlinked:
            return rip
        reason = (
            "dr reaches a realserver on the director's own link only (HOWTO 7.1); use tun"
            if entry.forwarding == "dr"
            else "nat: the way back must pass the director, on a network they share (HOWTO 5.4)"
        )
        self.mistakes.append(
            f"{where}: {rip} is in no network of director {unlinked[0].name} ({listing(unlinked[0].links)}); {reason}."
        )
        return None

    def gateway(self, cluster: Cluster, service: Service, machine: Machine, rip: IPAddress) -> IPAddress | None:
        """The director's address that a NAT realserver sends its replies to: given, inside, DIP, or the only one."""
        director = cluster.director
        own = [address for name in ("lvs_inside", "lvs_dip") for address in director.addresses(name)]
        on_link = director.link_to(rip)
        network = on_link.network if on_link else None
        found = [
            link.address
            for link in director.links
            if network and link.address in network and link.address not in self.vips and not link.is_host_route
        ]
        given = [address for address in machine.addresses("lvs_gateway") if address.version == rip.version]
        where = f"service {service.name}: NAT realserver {machine.name}"
        if given:
            if director.facts is not None and given[0] not in (*own, *found):
                self.mistakes.append(
                    f"{where}: its lvs_gateway {given[0]} is no address of director {director.name}, so replies would"
                    f" not pass the director (HOWTO 5.4); it has {', '.join(map(str, found)) or 'none there'}."
                )
                return None
            if machine.facts is not None and machine.link_to(given[0]) is None:
                self.mistakes.append(
                    f"{where}: its lvs_gateway {given[0]} is in no network of it ({listing(machine.links)}); name the"
                    f" director's address on the network of {rip}."
                )
                return None
            return given[0]
        named = [address for address in own if network is None or address in network]
        for address in (*[address for address in named if address.version == rip.version], *found):
            return address
        self.mistakes.append(
            f"{where}: no address of director {director.name} is known on the network of {rip}, so the way back cannot"
            " pass the director (HOWTO 5.4); give the director lvs_inside, or the realserver lvs_gateway."
        )
        return None
