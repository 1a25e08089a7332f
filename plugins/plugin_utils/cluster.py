# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory in, plan out: one part per host, or every mistake at once. Pure: no Ansible, no input or output."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork
from .machines import Link, Machine, family, full_length
from .parts import ROUTE_TABLE, NetworkPart
from .services import Entry, Mistakes, Service, read_services

OWNERS = ("static", "keepalived", "ldirectord")
# What the kernel takes as a name, and what module ``network`` takes as a setting.
INTERFACE_NAME = re.compile(r"[^\s/:]{1,15}")
SYSCTL_KEY = re.compile(r"net(\.[\w/:@-]+)+", re.ASCII)
NAT_RETURNS = ("policy", "default", "none")


@dataclass(frozen=True)
class Inventory:
    """What the plan is made from: group members, all groups, host variables and gathered facts by host."""

    directors: Sequence[str]
    realservers: Sequence[str]
    clients: Sequence[str]
    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Mapping[str, Any]]


@dataclass
class Plan:
    """`parts` by host, what clients can `probe`, and the `mistakes` that forbid to use either."""

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    probe: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"vips": [], "services": []})
    mistakes: Mistakes = field(default_factory=Mistakes)
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Cluster:
    name: str
    directors: list[Machine]
    services: list[Service]

    @property
    def director(self) -> Machine:
        return self.directors[0]


def compile_plan(inventory: Inventory) -> Plan:
    """Compile the whole inventory, whatever part of it a run is limited to."""
    return _Compiler(inventory).run()


class _Compiler:
    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.plan = Plan()
        self.mistakes = self.plan.mistakes
        self.machines: dict[str, Machine] = {}
        self.parts: dict[str, NetworkPart] = {}
        self.tables: dict[str, list[dict[str, Any]]] = {}
        for host in (*inventory.directors, *inventory.realservers, *inventory.clients):
            if host not in self.machines:
                machine = Machine(host, inventory.variables.get(host, {}), inventory.facts.get(host))
                self.machines[host] = machine
                self.parts[host] = NetworkPart(machine)
        self.vips: set[IPAddress] = set()

    def run(self) -> Plan:
        if not self.inventory.directors:
            self.mistakes.append("no director: the directors' group (lvs_directors by default) is empty or missing.")
        for machine in self.machines.values():
            self._check_variables(machine)
        clusters = self._clusters()
        self._check_keys(clusters)
        for cluster in clusters:
            self._compile_cluster(cluster)
        for host, machine in self.machines.items():
            self._compile_part(host, machine)
        # The same mistake can be met once per VIP, protocol and port; a person needs it once.
        self.mistakes[:] = dict.fromkeys(self.mistakes)
        self.plan.warnings[:] = dict.fromkeys(self.plan.warnings)
        return self.plan

    def _check_variables(self, machine: Machine) -> None:
        self._check_addresses(machine)
        self._check_interfaces(machine)
        self._check_sysctls(machine)
        where = f"host {machine.name}"
        self.mistakes.choice(
            f"{where}: lvs_nat_return", machine.variables.get("lvs_nat_return", "policy"), NAT_RETURNS, "policy"
        )
        self.mistakes.choice(
            f"{where}: lvs_table_owner", machine.variables.get("lvs_table_owner", "static"), OWNERS, "static"
        )
        # The last table number needed is this one plus one per RIP; 32766 is the main table's rule.
        self.parts[machine.name].route_table = self.mistakes.integer(
            f"{where}: lvs_route_table", machine.variables.get("lvs_route_table", ROUTE_TABLE), 256, 31000, ROUTE_TABLE
        )

    def _check_interfaces(self, machine: Machine) -> None:
        for name in ("lvs_interface", "lvs_vip_interface"):
            interface = machine.variables.get(name)
            if not interface:
                continue
            known = machine.facts is None or machine.interface(str(interface)) is not None
            if not known or not INTERFACE_NAME.fullmatch(str(interface)):
                self.mistakes.append(
                    f"host {machine.name}: {name} {interface!r} is no interface of it; correct the name."
                )
            elif interface == "lo":
                self.mistakes.append(
                    f"host {machine.name}: {name} is lo, where no neighbour is; name the interface of the network."
                )

    def _check_sysctls(self, machine: Machine) -> None:
        where = f"host {machine.name}: lvs_sysctls"
        sysctls = machine.variables.get("lvs_sysctls", {})
        if not isinstance(sysctls, Mapping):
            self.mistakes.append(f"{where} must be a mapping of sysctl keys to values.")
            return
        for key, value in sysctls.items():
            if not isinstance(key, str) or not SYSCTL_KEY.fullmatch(key):
                self.mistakes.append(f"{where}: {key!r} is no setting below net; write it as in net.core.somaxconn.")
            if not isinstance(value, (str, int)) or not str(value).strip():
                self.mistakes.append(f"{where}: {key}: {value!r} is not a value; write a number or a text.")

    def _check_addresses(self, machine: Machine) -> None:
        for name, version in (("lvs_rip", 4), ("lvs_rip6", 6)):
            for value in machine.given(name):
                address = self.mistakes.address(f"host {machine.name}: {name}", value)
                if address is not None and address.version != version:
                    other = "lvs_rip6" if name == "lvs_rip" else "lvs_rip"
                    self.mistakes.append(f"host {machine.name}: {name} {address} is IPv{address.version}; use {other}.")
        for name in ("lvs_dip", "lvs_gateway"):
            for value in machine.given(name):
                self.mistakes.address(f"host {machine.name}: {name}", value)
        for value in machine.given("lvs_inside"):
            try:
                inside = IPNetwork(value)
            except (AddrFormatError, ValueError):
                self.mistakes.append(
                    f"host {machine.name}: lvs_inside {value!r} is not an address with its prefix, as in 10.1.1.9/24."
                )
                continue
            if inside.ip in _edges(inside):
                self.mistakes.append(
                    f"host {machine.name}: lvs_inside {value} is the address of the network itself; write the"
                    " director's own address there, as in 10.1.1.9/24."
                )
        for name in ("lvs_rip", "lvs_rip6", "lvs_dip", "lvs_inside"):
            # An inside address with its prefix is set by us, so it need not be there yet.
            for address in machine.addresses(name, settable=name != "lvs_inside"):
                if not machine.has(address):
                    self.mistakes.append(
                        f"host {machine.name}: {name} {address} is no address of it (it has {_listing(machine.links)});"
                        " correct it, or give the machine that address first."
                    )

    def _clusters(self) -> list[_Cluster]:
        by_name: dict[str, list[Machine]] = {}
        for host in self.inventory.directors:
            machine = self.machines[host]
            by_name.setdefault(str(machine.variables.get("lvs_cluster", "lvs")), []).append(machine)
        clusters = []
        for name, directors in by_name.items():
            raw = directors[0].variables.get("lvs_services")
            for other in directors[1:]:
                if other.variables.get("lvs_services") != raw:
                    self.mistakes.append(
                        f"directors {directors[0].name} and {other.name} of cluster {name} have different lvs_services;"
                        " put the variable into the directors' group, or name two clusters with lvs_cluster."
                    )
            services = read_services(raw, f"cluster {name}", self.mistakes)
            if raw is None:
                self.mistakes.append(
                    f"cluster {name}: director {directors[0].name} has no lvs_services (an empty list is one)."
                )
            if len(directors) > 1 and services:
                self.mistakes.append(
                    f"cluster {name}: {', '.join(machine.name for machine in directors)} would all hold the same VIPs;"
                    " two directors for one VIP need a failover backend. Keep one director, or give each its own"
                    " lvs_cluster and services."
                )
            clusters.append(_Cluster(name, directors, services))
            self.vips |= {vip for service in services for vip in service.vips}
        return clusters

    def _check_keys(self, clusters: list[_Cluster]) -> None:
        """One VIP belongs to one cluster, one VIP, protocol and port to one service, and no VIP is a machine's own."""
        keys: dict[tuple[IPAddress, str, int], str] = {}
        homes: dict[IPAddress, str] = {}
        for cluster in clusters:
            for service in cluster.services:
                for vip in service.vips:
                    if homes.setdefault(vip, cluster.name) != cluster.name:
                        self.mistakes.append(
                            f"VIP {vip} is in cluster {homes[vip]} and in cluster {cluster.name}; one director holds a"
                            " VIP, so give each cluster its own."
                        )
                    for protocol in service.protocols:
                        for port in service.ports:
                            first = keys.setdefault((vip, protocol, port), service.name)
                            if first != service.name:
                                self.mistakes.append(
                                    f"service {service.name}: {protocol} {vip} port {port} is already in service"
                                    f" {first}; every VIP, protocol and port belongs to one service."
                                )
        self._check_links()

    def _check_links(self) -> None:
        for machine in self.machines.values():
            for link in machine.links:
                for vip in sorted(self.vips & _edges(link.network)):
                    self.mistakes.append(
                        f"VIP {vip} is the network's own or the broadcast address of {link.network.cidr};"
                        " choose an address of a host."
                    )
                if link.address in self.vips and not link.is_host_route:
                    self.mistakes.append(
                        f"VIP {link.address} is the address of {machine.name} on {link.interface} with the network's"
                        " prefix; a VIP is an address of its own, held by the director as /32 or /128."
                    )

    # ------------------------------------------------------------------ one cluster

    def _compile_cluster(self, cluster: _Cluster) -> None:
        director = cluster.director
        part = self.parts[director.name]
        self._inside_addresses(cluster)
        table = self.tables.setdefault(director.name, [])
        if cluster.services:
            part.module("ip_vs")
            # An entry of a finished connection outlives a deleted realserver; a client that uses its port again would
            # be dropped without a word until the entry expires. So it is rescheduled (HOWTO 4.14, 4.20).
            part.sysctl("net.ipv4.vs.expire_nodest_conn", 1)
            # So is an entry in FIN_WAIT, the last state a director sees with dr and tun: its realserver may be drained,
            # or be reached by another method by now.
            part.sysctl("net.ipv4.vs.conn_reuse_mode", 2)
        for service in cluster.services:
            if service.scheduler != "none":
                part.module(f"ip_vs_{service.scheduler}")
            if service.persistence and service.persistence.get("engine"):
                part.module(f"ip_vs_pe_{service.persistence['engine']}")
            for vip in service.vips:
                device = self._vip_interface(director, vip)
                if device:
                    part.director_vip(vip, device)
                members = self._members(cluster, service, vip)
                for protocol in service.protocols:
                    for port in service.ports:
                        table.append(self._record(service, vip, protocol, port, members))
                self._probe(director, service, vip, device, members)

    def _inside_addresses(self, cluster: _Cluster) -> None:
        """`lvs_inside` with a prefix is set on the director; without one it only names an address that is there."""
        for machine in cluster.directors:
            for value in machine.given("lvs_inside"):
                if "/" not in value:
                    continue
                try:
                    network = IPNetwork(value)
                except (AddrFormatError, ValueError):
                    continue
                link = next(
                    (
                        link
                        for link in machine.links
                        if network.ip in link.network and not link.is_host_route and link.address != network.ip
                    ),
                    machine.link_to(network.ip),
                )
                if link is None and machine.facts is not None:
                    self.mistakes.append(
                        f"director {machine.name}: lvs_inside {value} lies in none of its networks"
                        f" ({_listing(machine.links)}); give the inside interface an address first."
                    )
                elif link is not None:
                    self.parts[machine.name].inside_address(network, link.interface)

    def _vip_interface(self, director: Machine, vip: IPAddress) -> str | None:
        for name in ("lvs_vip_interface", "lvs_interface"):
            if given := director.variables.get(name):
                return str(given)
        if link := director.link_to(vip):
            return link.interface
        if (route := director.default_route(vip.version)) and route.get("device"):
            return str(route["device"])
        self.mistakes.append(
            f"director {director.name}: no interface found for VIP {vip}: "
            + (
                f"none of its networks ({_listing(director.links)}) contains it and there is no default route"
                if director.facts is not None
                else "its addresses are not known (outside --limit, or it did not answer)"
            )
            + "; name the interface with lvs_vip_interface."
        )
        return None

    def _members(self, cluster: _Cluster, service: Service, vip: IPAddress) -> list[dict[str, Any]]:
        """The realservers of a service for one VIP, as records without their port, and what their hosts need."""
        members: list[dict[str, Any]] = []
        seen: dict[tuple[str, int, int], str] = {}
        for entry in service.entries:
            for host in self._hosts(service, entry):
                rip = self._rip(cluster, service, entry, host, vip)
                if rip is None:
                    continue
                label = host or entry.value
                # No port means the VIP's: the same realserver may come once with and once without it.
                keys = [(str(rip), port, port if entry.port is None else entry.port) for port in service.ports]
                if (other := next((seen[key] for key in keys if key in seen), None)) is not None:
                    self.mistakes.append(
                        f"service {service.name}: realserver {label} ({rip}) is listed twice"
                        + (f" (also as {other})" if other != label else "")
                        + "; list it once, with the weight it shall have."
                    )
                    continue
                seen.update(dict.fromkeys(keys, label))
                if host is None and not entry.unmanaged and (owner := self._realserver_with(rip)) is not None:
                    self.mistakes.append(
                        f"service {service.name}: realserver {rip} is an address of host {owner}, which nothing would"
                        f" configure for this service; write host: {owner}, or unmanaged: true if that is meant."
                    )
                    continue
                self._prepare(cluster, service, entry, host, rip, vip)
                member: dict[str, Any] = {
                    "address": str(rip),
                    "port": entry.port,
                    "forwarding": entry.forwarding,
                    "weight": entry.weight,
                    "upper_threshold": entry.upper_threshold,
                    "lower_threshold": entry.lower_threshold,
                }
                members.append(member)
        if not members:
            self.plan.warnings.append(f"service {service.name}: VIP {vip} has no realserver; clients will be refused.")
        return members

    def _realserver_with(self, rip: IPAddress) -> str | None:
        machines = (self.machines[host] for host in self.inventory.realservers)
        return next((machine.name for machine in machines if any(link.address == rip for link in machine.links)), None)

    def _hosts(self, service: Service, entry: Entry) -> Sequence[str | None]:
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

    def _rip(
        self, cluster: _Cluster, service: Service, entry: Entry, host: str | None, vip: IPAddress
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
            return self._linked(cluster, entry, where, address)
        machine = self.machines[host]
        variable = "lvs_rip" if vip.version == 4 else "lvs_rip6"
        if machine.given(variable):
            given = [address for address in machine.addresses(variable) if address.version == vip.version]
            # Of several the one that this cluster's director reaches: two NAT directors need a RIP each.
            near = [address for address in given if entry.forwarding == "tun" or cluster.director.link_to(address)]
            # None left: said once, where host variables are checked.
            return self._linked(cluster, entry, where, (near or given)[0]) if given else None
        if machine.facts is None:
            self.mistakes.append(
                f"{where}: its addresses are not known (outside --limit, or it did not answer); give {variable}."
            )
            return None
        found = self._fitting(cluster, entry, machine, vip)
        if len(found) == 1:
            return found[0].address
        if not found:
            self.mistakes.append(
                f"{where} has no {family(vip.version)} address on a network that {entry.forwarding} can use"
                f" (it has {_listing(machine.links)}; director {cluster.director.name} has"
                f" {_listing(cluster.director.links)}); give {variable}, or correct its network."
                + (
                    " NAT: the way back must pass the director, on a network they share (HOWTO 5.4)."
                    if entry.forwarding == "nat"
                    else ""
                )
            )
        else:
            self.mistakes.append(
                f"{where} has several addresses that could be its RIP for {vip} ({_listing(found)}); name one with"
                f" {variable}, or the interface with lvs_interface."
            )
        return None

    def _fitting(self, cluster: _Cluster, entry: Entry, machine: Machine, vip: IPAddress) -> list[Link]:
        links = machine.candidates(vip.version, self.vips)
        director = cluster.director
        if machine is director:
            # LocalNode: every address of its own would do, the VIP's network is what people expect to read.
            return ([link for link in links if vip in link.network] or links)[:1]
        if entry.forwarding != "tun" and director.facts is not None:
            links = [link for link in links if director.link_to(link.address)]
        with_vip = [link for link in links if vip in link.network]
        if entry.forwarding == "nat":
            insides = director.addresses("lvs_inside")
            inside = [link for link in links if any(address in link.network for address in insides)]
            return inside or [link for link in links if link not in with_vip] or links
        return with_vip or links

    def _linked(self, cluster: _Cluster, entry: Entry, where: str, rip: IPAddress) -> IPAddress | None:
        """DR rewrites the frame only, NAT needs the reply: both want director and realserver on one link."""
        director = cluster.director
        if any(rip in service.vips for service in cluster.services):
            self.mistakes.append(
                f"{where}: its address {rip} is a VIP of this cluster, so the director would send the packets to"
                " itself; give the realserver's own address (RIP)."
            )
            return None
        if entry.forwarding == "tun" or director.facts is None or director.link_to(rip):
            return rip
        if any(link.address == rip for link in director.links):
            return rip
        reason = (
            "dr reaches a realserver on the director's own link only (HOWTO 7.1); use tun"
            if entry.forwarding == "dr"
            else "nat: the way back must pass the director, on a network they share (HOWTO 5.4)"
        )
        self.mistakes.append(
            f"{where}: {rip} is in no network of director {director.name} ({_listing(director.links)}); {reason}."
        )
        return None

    def _prepare(
        self, cluster: _Cluster, service: Service, entry: Entry, host: str | None, rip: IPAddress, vip: IPAddress
    ) -> None:
        """What the method asks of the realserver's host, and for NAT of the director."""
        director = cluster.director
        if entry.forwarding == "nat":
            interfaces = {link.interface for link in (director.link_to(rip), director.link_to(vip)) if link}
            self.parts[director.name].forwarding(rip.version, sorted(interfaces))
        if host is None or host == director.name:
            return  # unmanaged, or LocalNode: the director has the VIP already (HOWTO 9)
        machine, part = self.machines[host], self.parts[host]
        if entry.forwarding == "nat":
            if machine.variables.get("lvs_nat_return", "policy") == "none":
                return
            gateway = self._gateway(cluster, service, machine, rip)
            if gateway is not None:
                network = machine.link_to(rip)
                part.return_through(rip, gateway, network is not None and vip in network.network)
            return
        if entry.forwarding == "dr":
            part.direct_vip(vip)
        else:
            part.tunnel_vip(vip)
        route = machine.default_route(vip.version)
        if route and route.get("gateway") in {str(link.address) for link in director.links}:
            self.plan.warnings.append(
                f"host {host}: its default gateway {route['gateway']} is director {director.name}, which drops replies"
                f" from its own VIP {vip} as martians (HOWTO 7.5); replies of {entry.forwarding} need another router."
            )

    def _gateway(self, cluster: _Cluster, service: Service, machine: Machine, rip: IPAddress) -> IPAddress | None:
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
                    f"{where}: its lvs_gateway {given[0]} is in no network of it ({_listing(machine.links)}); name the"
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

    def _record(
        self, service: Service, vip: IPAddress, protocol: str, port: int, members: list[dict[str, Any]]
    ) -> dict[str, Any]:
        record: dict[str, Any] = {
            "protocol": protocol,
            "address": str(vip),
            "port": port,
            "scheduler": service.scheduler,
            "scheduler_flags": list(service.scheduler_flags),
            "one_packet": service.one_packet,
            "realservers": [
                {**member, "port": port if member["port"] is None else member["port"]} for member in members
            ],
        }
        if service.persistence is not None:
            persistence = dict(service.persistence)
            masks = {4: persistence.pop("netmask", None), 6: persistence.pop("netmask6", None)}
            if mask := masks[vip.version]:
                persistence["netmask"] = mask
            record["persistence"] = persistence
        return record

    def _probe(
        self, director: Machine, service: Service, vip: IPAddress, device: str | None, members: list[dict[str, Any]]
    ) -> None:
        interface = director.interface(device) if device else None
        macs = [str(interface["mac"])] if interface else []
        if all(known["address"] != str(vip) for known in self.plan.probe["vips"]):
            self.plan.probe["vips"].append({"address": str(vip), "director": director.name, "macs": macs})
        if any(member["weight"] for member in members):
            self.plan.probe["services"] += [
                {"address": str(vip), "port": port, "protocol": protocol}
                for protocol in service.protocols
                for port in service.ports
                if protocol == "tcp" and port
            ]

    # ------------------------------------------------------------------ one host

    def _compile_part(self, host: str, machine: Machine) -> None:
        part = self.parts[host]
        extra = machine.variables.get("lvs_sysctls", {})
        roles = [
            role
            for role, members in (
                ("director", self.inventory.directors),
                ("realserver", self.inventory.realservers),
                ("client", self.inventory.clients),
            )
            if host in members
        ]
        compiled: dict[str, Any] = {"roles": roles}
        if roles != ["client"]:
            compiled["network"] = part.compiled(extra if isinstance(extra, Mapping) else {})
        if "director" in roles:
            table = sorted(self.tables.get(host, []), key=lambda row: (row["protocol"], row["address"], row["port"]))
            compiled["director"] = {
                "groundwork": part.groundwork(compiled["network"]),
                "owner": str(machine.variables.get("lvs_table_owner", "static")),
                "config": table,
                "restrict": [{"address": address} for address in sorted({row["address"] for row in table})],
            }
        self.mistakes += part.conflicts
        self.plan.parts[host] = compiled


def _edges(network: IPNetwork) -> set[IPAddress]:
    """The addresses of a network that belong to no host: its own and the broadcast address (RFC 3021 has none)."""
    if network.prefixlen >= full_length(network.version) - 1:
        return set()
    return {network.network} | ({network.broadcast} if network.broadcast is not None else set())


def _listing(links: Sequence[Link]) -> str:
    return ", ".join(f"{link.network} on {link.interface}" for link in links) or "no address"
