# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory in, plan out: one part per host, or every mistake at once. Pure: no Ansible, no input or output."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork
from .behaviour import dos_settings, reuse_mode
from .firewall_part import FirewallPart, read_filter
from .host_variables import check_machine, dos_profile, edges, listing, route_table
from .inventory import Inventory
from .machines import Link, Machine, family
from .marks import contradictions
from .mistakes import Mistakes
from .parts import HEADERS, TUNNEL_OVERHEAD, NetworkPart
from .realservers import Cluster, Realservers
from .services import FTP_CONTROL, Entry, Service, read_services


@dataclass
class Plan:
    """`parts` by host, what clients can `probe`, and the `mistakes` that forbid to use either."""

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    probe: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"vips": [], "services": []})
    mistakes: Mistakes = field(default_factory=Mistakes)
    warnings: list[str] = field(default_factory=list)


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
        self.firewalls: dict[str, FirewallPart] = {}
        self.daemons: dict[str, list[dict[str, Any]]] = {}
        for host in (*inventory.directors, *inventory.realservers, *inventory.clients, *inventory.routers):
            if host not in self.machines:
                machine = Machine(host, inventory.variables.get(host, {}), inventory.facts.get(host))
                self.machines[host] = machine
                self.parts[host] = NetworkPart(machine)
                self.firewalls[host] = FirewallPart(machine)
        self.vips: set[IPAddress] = set()
        self.addresses = Realservers(inventory, self.machines, self.vips, self.mistakes)

    def run(self) -> Plan:
        if not self.inventory.directors:
            self.mistakes.append("no director: the directors' group (lvs_directors by default) is empty or missing.")
        for machine in self.machines.values():
            check_machine(machine, self.mistakes)
            self.parts[machine.name].route_table = route_table(machine, self.mistakes)
            read_filter(self.firewalls[machine.name], self.mistakes)
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

    def _clusters(self) -> list[Cluster]:
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
                directors = self._active_first(name, directors, services)
            clusters.append(Cluster(name, directors, services))
            self.vips |= {vip for service in services for vip in service.vips}
        return clusters

    def _active_first(self, name: str, directors: list[Machine], services: list[Service]) -> list[Machine]:
        """Which of several directors holds the VIPs; a person says so, there is no other failover yet."""
        names = [machine.name for machine in directors]
        where = f"cluster {name}: {', '.join(names)}"
        if {machine.variables.get("lvs_failover") for machine in directors} != {"manual"}:
            self.mistakes.append(
                f"{where} would all hold the same VIPs; two directors for one VIP need a failover backend. Keep one"
                " director, or give each its own lvs_cluster and services, or set lvs_failover: manual and name in"
                " lvs_active the one that is to hold the VIPs."
            )
            return directors
        active = {machine.variables.get("lvs_active") for machine in directors}
        if len(active) != 1 or not active <= set(names):
            self.mistakes.append(
                f"{where}: lvs_active must be the name of one of them, the same for all; put it into the group."
            )
            return directors
        for service in services:
            if any(entry.forwarding == "nat" for entry in service.entries):
                self.mistakes.append(
                    f"{where}: service {service.name} uses nat, whose realservers send their replies to the director's"
                    " inside address, which does not move with lvs_active; use dr or tun, or one director."
                )
        return sorted(directors, key=lambda machine: machine.name not in active)

    def _check_keys(self, clusters: list[Cluster]) -> None:
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
                        for port in service.ports if not service.fwmark else ():
                            first = keys.setdefault((vip, protocol, port), service.name)
                            if first != service.name:
                                self.mistakes.append(
                                    f"service {service.name}: {protocol} {vip} port {port} is already in service"
                                    f" {first}; every VIP, protocol and port belongs to one service."
                                )
            self._check_marks(cluster)
        self._check_links()

    def _check_marks(self, cluster: Cluster) -> None:
        """One mark, one service; one packet, one mark; and a packet that is marked does not reach its VIP's service."""
        named: dict[int, str] = {}
        rules = [(service.name, service.fwmark, rule) for service in cluster.services for rule in service.marks]
        for service in cluster.services:
            if service.fwmark and named.setdefault(service.fwmark, service.name) != service.name:
                self.mistakes.append(
                    f"services {named[service.fwmark]} and {service.name} both have fwmark {service.fwmark}; give each"
                    " its own, or list what both shall get under marks of one."
                )
        self.mistakes += contradictions(rules)
        for service in cluster.services:
            if service.fwmark:
                continue
            for name, mark, rule in rules:
                if not rule.limited and any(rule.meets(wanted) for wanted in service.wanted):
                    self.mistakes.append(
                        f"service {service.name}: fwmark {mark} of service {name} marks packets to the same VIP and"
                        " port, and the kernel asks for the mark first (HOWTO 18.9), so this service would get none of"
                        " them; give it other ports or VIPs, or limit the mark to some clients (sources, interface)."
                    )

    def _check_links(self) -> None:
        for machine in self.machines.values():
            for link in machine.links:
                for vip in sorted(self.vips & edges(link.network)):
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

    def _compile_cluster(self, cluster: Cluster) -> None:
        self._inside_addresses(cluster)
        table: list[dict[str, Any]] = []
        for service in cluster.services:
            table += self._compile_service(cluster, service)
        for director in cluster.directors:
            self.tables.setdefault(director.name, []).extend(table)
            if cluster.services:
                self._behaviour(director, cluster)
        if cluster.standbys and cluster.services:
            self._synchronise(cluster)

    def _compile_service(self, cluster: Cluster, service: Service) -> list[dict[str, Any]]:
        """A service's records of the table; what it asks of machines is noted in their parts."""
        for director in cluster.directors:
            self._direct(director, service)
        for vip in service.vips:
            device = self._vip_interface(cluster.director, vip) if not service.vip_less else None
            if device:
                self.parts[cluster.director.name].director_vip(vip, device)
            self._probe(cluster.director, service, vip, device)
        records = []
        for targets in self._targets(service):
            members = self._members(cluster, service, targets)
            address = targets[0].ip
            if service.fwmark:
                records.append(self._record(service, address, {"fwmark": str(service.fwmark)}, 0, members))
                continue
            for protocol in service.protocols:
                for port in service.ports:
                    name = {"protocol": protocol, "address": str(address), "port": port}
                    records.append(self._record(service, address, name, port, members))
        return records

    @staticmethod
    def _targets(service: Service) -> list[list[IPNetwork]]:
        """What has a record of the table together: every VIP of its own, or all of a family under one mark."""
        everything = [*(IPNetwork(vip) for vip in service.vips), *(net for net in service.networks if net.size > 1)]
        if not service.fwmark:
            return [[target] for target in everything]
        families = [[target for target in everything if target.version == version] for version in (4, 6)]
        return [targets for targets in families if targets]

    def _direct(self, director: Machine, service: Service) -> None:
        """What a director needs for a service whatever its realservers are: modules, marks, what the filter lets in."""
        part, firewall = self.parts[director.name], self.firewalls[director.name]
        part.module("ip_vs")
        if service.scheduler != "none":
            part.module(f"ip_vs_{service.scheduler}")
        if service.persistence and service.persistence.get("engine"):
            part.module(f"ip_vs_pe_{service.persistence['engine']}")
        methods = {entry.forwarding for entry in service.entries}
        if service.ftp and "nat" in methods:
            part.module("ip_vs_ftp")
        for rule in service.marks:
            firewall.mark(service.name, service.fwmark, rule)
        for network in service.networks:
            part.take_in(service.fwmark, network.version)
        for rule in service.wanted:
            firewall.serve(rule, tracked="nat" in methods, marked=bool(service.fwmark))
            if service.snat:
                firewall.masquerade(rule)

    def _behaviour(self, director: Machine, cluster: Cluster) -> None:
        """How IPVS treats finished connections, quiesced realservers and floods there."""
        part, firewall = self.parts[director.name], self.firewalls[director.name]
        facts = director.facts or {}
        # An entry of a finished connection outlives a deleted realserver; a client that uses its port again would
        # be dropped without a word until the entry expires. So it is rescheduled (HOWTO 4.14, 4.20).
        part.sysctl("net.ipv4.vs.expire_nodest_conn", 1)
        part.sysctl("net.ipv4.vs.conn_reuse_mode", reuse_mode(str(facts.get("kernel", "")), firewall.conntrack))
        if any(service.persistence for service in cluster.services):
            # A persistent client leaves a realserver whose weight is 0, or draining it would never end (HOWTO 21.8).
            part.sysctl("net.ipv4.vs.expire_quiescent_template", 1)
        if firewall.conntrack:
            part.sysctl("net.ipv4.vs.conntrack", 1)
        if cluster.standbys:
            part.sysctl("net.ipv4.vs.backup_only", 1)
        profile = dos_profile(director)
        if profile in ("auto", "on"):
            for name, value in dos_settings(profile, int(facts.get("min_free_pages", 0))).items():
                part.sysctl(f"net.ipv4.vs.{name}", value)

    def _synchronise(self, cluster: Cluster) -> None:
        """The active director sends its connections, the others take them and, meanwhile, direct nothing themselves.

        A node that is realserver of the other's VIP and has the table as well would send every other packet back
        (HOWTO 9.1); with `backup_only` a node that takes connections does not direct. So no node does both.
        """
        for machine in cluster.directors:
            given = machine.variables.get("lvs_sync") or {}
            vips = [vip for service in cluster.services for vip in service.vips]
            daemon = {
                "role": "backup" if machine in cluster.standbys else "master",
                # Of the cluster's own, so that a neighbour's messages are not taken for this one's.
                "syncid": 1 + zlib.crc32(cluster.name.encode()) % 255,
                **(given if isinstance(given, Mapping) else {}),
            }
            if "interface" not in daemon and vips and (interface := self._vip_interface(machine, vips[0])):
                daemon["interface"] = interface
            self.daemons[machine.name] = [daemon]

    def _inside_addresses(self, cluster: Cluster) -> None:
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
                        f" ({listing(machine.links)}); give the inside interface an address first."
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
                f"none of its networks ({listing(director.links)}) contains it and there is no default route"
                if director.facts is not None
                else "its addresses are not known (outside --limit, or it did not answer)"
            )
            + "; name the interface with lvs_vip_interface."
        )
        return None

    def _members(self, cluster: Cluster, service: Service, targets: Sequence[IPNetwork]) -> list[dict[str, Any]]:
        """The realservers of a service for these VIPs, as records without their port, and what their hosts need."""
        vip = targets[0].ip
        members: list[dict[str, Any]] = []
        seen: dict[tuple[str, int, int], str] = {}
        for entry in service.entries:
            for host in self.addresses.hosts(service, entry):
                rip = self.addresses.rip(cluster, service, entry, host, vip)
                if rip is None:
                    continue
                label = host or entry.value
                # No port means the VIP's: the same realserver may come once with and once without it.
                keys = [
                    (str(rip), port, port if entry.port is None else entry.port) for port in service.ports or (0,)
                ]
                if (other := next((seen[key] for key in keys if key in seen), None)) is not None:
                    self.mistakes.append(
                        f"service {service.name}: realserver {label} ({rip}) is listed twice"
                        + (f" (also as {other})" if other != label else "")
                        + "; list it once, with the weight it shall have."
                    )
                    continue
                seen.update(dict.fromkeys(keys, label))
                if host is None and not entry.unmanaged and (owner := self.addresses.owner_of(rip)) is not None:
                    self.mistakes.append(
                        f"service {service.name}: realserver {rip} is an address of host {owner}, which nothing would"
                        f" configure for this service; write host: {owner}, or unmanaged: true if that is meant."
                    )
                    continue
                for target in targets:
                    self._prepare(cluster, service, entry, host, rip, target)
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
            what = f"VIP {vip}" if not service.fwmark else f"fwmark {service.fwmark} ({family(vip.version)})"
            self.plan.warnings.append(f"service {service.name}: {what} has no realserver; clients will be refused.")
        return members

    def _prepare(
        self, cluster: Cluster, service: Service, entry: Entry, host: str | None, rip: IPAddress, target: IPNetwork
    ) -> None:
        """What the method asks of the realserver's host, and for NAT of the director."""
        director = cluster.director
        if host == director.name:
            return  # LocalNode: the director has the VIP already (HOWTO 9)
        if entry.forwarding == "nat":
            links = (self._link(director, rip), director.link_to(target.ip))
            self.parts[director.name].forwarding(rip.version, sorted({link.interface for link in links if link}))
            self.firewalls[director.name].forward(rip)
        if host is None:
            return  # unmanaged
        machine, part = self.machines[host], self.parts[host]
        if dos_profile(director) in ("auto", "on"):
            # Who ends the client's TCP can answer a flood without remembering it; the director cannot (HOWTO 27).
            part.sysctl("net.ipv4.tcp_syncookies", 1)
        if entry.forwarding == "nat":
            if service.snat or machine.variables.get("lvs_nat_return", "policy") == "none":
                return
            gateway = self.addresses.gateway(cluster, service, machine, rip)
            if gateway is not None:
                network = machine.link_to(rip)
                part.return_through(rip, gateway, network is not None and target.ip in network.network)
            return
        if entry.forwarding == "dr":
            part.direct(target)
        else:
            part.tunnel(target)
            self._clamp(cluster, rip, target)
        route = machine.default_route(target.version)
        if target in service.held and route and route.get("gateway") in {str(link.address) for link in director.links}:
            self.plan.warnings.append(
                f"host {host}: its default gateway {route['gateway']} is director {director.name}, which drops replies"
                f" from its own VIP {target.ip} as martians (HOWTO 7.5); replies of {entry.forwarding} need another"
                " router, or a director without the VIP (fwmark and vip_less)."
            )

    @staticmethod
    def _link(machine: Machine, address: IPAddress) -> Link | None:
        """The machine's link by which a packet leaves for an address, its neighbour's or not."""
        if link := machine.link_to(address):
            return link
        route = machine.default_route(address.version) or {}
        return next((link for link in machine.links if link.interface == route.get("device")), None)

    def _clamp(self, cluster: Cluster, rip: IPAddress, target: IPNetwork) -> None:
        """Routers that replies from a tunnel's end may pass lower the segment size that clients are told (HOWTO 8.15).

        The realserver's own routes say it already; this helps with realservers that nobody here manages, and costs
        one rule.
        """
        link = self._link(cluster.director, rip)
        interface = cluster.director.interface(link.interface) if link else None
        mtu = int(interface["mtu"]) if interface else 1500
        mss = mtu - TUNNEL_OVERHEAD[rip.version] - HEADERS[target.version]
        for host in self.inventory.routers:
            self.firewalls[host].clamp(target, mss)
        # A director without the VIP may be its realservers' router (HOWTO 7.5).
        for machine in cluster.directors:
            if self.firewalls[machine.name].clamping:
                self.firewalls[machine.name].clamp(target, mss)

    @staticmethod
    def _record(
        service: Service, vip: IPAddress, name: Mapping[str, Any], port: int, members: list[dict[str, Any]]
    ) -> dict[str, Any]:
        record: dict[str, Any] = {
            **name,
            "scheduler": service.scheduler,
            "scheduler_flags": list(service.scheduler_flags),
            "one_packet": service.one_packet,
            "realservers": [
                {**member, "port": port if member["port"] is None else member["port"]} for member in members
            ],
        }
        if service.fwmark:
            record["family"] = family(vip.version)
        if service.persistence is not None:
            persistence = dict(service.persistence)
            masks = {4: persistence.pop("netmask", None), 6: persistence.pop("netmask6", None)}
            if mask := masks[vip.version]:
                persistence["netmask"] = mask
            record["persistence"] = persistence
        return record

    def _probe(self, director: Machine, service: Service, vip: IPAddress, device: str | None) -> None:
        """What a client can see: who answers for the VIP, and that its TCP ports do."""
        interface = director.interface(device) if device else None
        macs = [str(interface["mac"])] if interface else []
        known = {item["address"] for item in self.plan.probe["vips"]}
        if not service.vip_less and str(vip) not in known:
            self.plan.probe["vips"].append({"address": str(vip), "director": director.name, "macs": macs})
        if all(entry.weight == 0 for entry in service.entries):
            return
        for port in _probed_ports(service, vip):
            probed = {"address": str(vip), "port": port, "protocol": "tcp"}
            if probed not in self.plan.probe["services"]:
                self.plan.probe["services"].append(probed)

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
                ("router", self.inventory.routers),
            )
            if host in members
        ]
        compiled: dict[str, Any] = {"roles": roles}
        if {"director", "realserver"} & set(roles):
            compiled["network"] = part.compiled(extra if isinstance(extra, Mapping) else {})
        if {"director", "router"} & set(roles):
            compiled["firewall"] = self.firewalls[host].compiled()
        if "director" in roles:
            table = sorted(self.tables.get(host, []), key=_place)
            compiled["director"] = {
                "groundwork": part.groundwork(compiled["network"]),
                "owner": str(machine.variables.get("lvs_table_owner", "static")),
                "config": table,
                "restrict": [
                    *({"address": value} for value in sorted({row["address"] for row in table if "address" in row})),
                    *({"fwmark": value} for value in sorted({row["fwmark"] for row in table if "fwmark" in row})),
                ],
                # What new marks lead to, and what packets lead to without old ones, has to be there before them.
                "additions_first": bool(compiled["firewall"]["marks"])
                or bool((machine.facts or {}).get("firewall", {}).get("ours")),
                "daemons": self.daemons.get(host, []),
                "module_options": self._module_options(machine),
            }
        self.mistakes += part.conflicts
        self.plan.parts[host] = compiled

    @staticmethod
    def _module_options(machine: Machine) -> dict[str, str]:
        """What kernel modules are loaded with, by module."""
        bits = machine.variables.get("lvs_conn_tab_bits")
        return {} if bits is None else {"ip_vs": f"conn_tab_bits={bits}"}


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a record stands in the table: by address and port, then by mark."""
    if "fwmark" in row:
        return (1, int(row["fwmark"]), row["family"], 0)
    return (0, row["protocol"], row["address"], row["port"])


def _probed_ports(service: Service, vip: IPAddress) -> Iterable[int]:
    """The TCP ports of a VIP that every client can ask; a range is not one, nor is what only some clients reach."""
    for rule in service.wanted:
        if "tcp" not in rule.protocols or rule.limited or not any(vip in target for target in rule.targets):
            continue
        if service.ftp:
            yield FTP_CONTROL
        else:
            yield from (low for low, high in rule.ports if low == high)
