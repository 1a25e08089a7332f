# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory in, plan out: one part per host, or every mistake at once. Pure: no Ansible, no input or output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..module_utils._errors import LvsError
from ..module_utils._firewall_model import parse as parse_firewall
from ..module_utils._network_model import parse as parse_network
from .addresses import AddrFormatError, IPAddress, IPNetwork
from .behaviour import dos_settings, reuse_mode
from .exclusions import check_keys
from .failover import HEARTBEAT_PORT, SYNC_PORT, read_failover
from .failover_part import FailoverParts, check_router_ids, check_sync, daemons_by_hand
from .firewall_part import SSH_PORT, FirewallPart, read_filter
from .health import checked, version_of
from .host_variables import check_machine, dos_profile, listing, route_table
from .inventory import Inventory
from .machines import Link, Machine, family
from .marks import MarkRule
from .mistakes import Mistakes
from .moving import Moving, active_first
from .parts import HEADERS, TUNNEL_OVERHEAD, NetworkPart
from .proof import promise
from .realservers import Cluster, Realservers
from .services import Entry, Service, read_services


@dataclass
class Plan:
    """`parts` by host, what clients can `probe`, and the `mistakes` that forbid to use either."""

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=lambda: {"vips": [], "services": [], "patience": 0})
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
        self.checked: dict[str, list[dict[str, Any]]] = {}
        self.clusters: dict[str, Cluster] = {}
        self.moving: dict[str, Moving] = {}
        self.failovers: dict[str, dict[str, Any]] = {}
        self.firewalls: dict[str, FirewallPart] = {}
        self.daemons: dict[str, list[dict[str, Any]] | None] = {}
        for host in (*inventory.directors, *inventory.realservers, *inventory.clients, *inventory.routers):
            if host not in self.machines:
                machine = Machine(host, inventory.variables.get(host, {}), inventory.facts.get(host))
                self.machines[host] = machine
                self.parts[host] = NetworkPart(machine)
                self.firewalls[host] = FirewallPart(machine)
        self.vips: set[IPAddress] = set()
        self.promised: set[Any] = set()
        self.addresses = Realservers(inventory, self.machines, self.vips, self.mistakes)

    def run(self) -> Plan:
        if not self.inventory.directors:
            self.mistakes.append("no director: the directors' group (lvs_directors by default) is empty or missing.")
        for machine in self.machines.values():
            check_machine(machine, self.mistakes)
            self.parts[machine.name].route_table = route_table(machine, self.mistakes)
            read_filter(self.firewalls[machine.name], machine.name in self.inventory.directors, self.mistakes)
        clusters = self._clusters()
        check_keys(clusters, self.machines.values(), self.mistakes)
        for cluster in clusters:
            self._compile_cluster(cluster)
        check_router_ids(
            [(self.clusters[host].name, self.machines[host], part) for host, part in self.failovers.items()],
            self.mistakes,
        )
        for host, machine in self.machines.items():
            self._compile_part(host, machine)
        if not self.mistakes:
            self._ask_the_modules()
        # The same mistake can be met once per VIP, protocol and port; a person needs it once.
        self.mistakes[:] = dict.fromkeys(self.mistakes)
        self.plan.warnings[:] = dict.fromkeys(self.plan.warnings)
        return self.plan

    def _ask_the_modules(self) -> None:
        """What modules network and firewall would refuse later, when other hosts have been written to already."""
        for host, part in self.plan.parts.items():
            for name, parse in (("network", parse_network), ("firewall", parse_firewall)):
                try:
                    parse(part.get(name) or {})
                except LvsError as exc:
                    self.mistakes += [f"host {host}: {name}: {text}." for text in exc.details["mistakes"]]

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
            failover = read_failover(name, directors, self.mistakes)
            if services:
                directors = active_first(name, directors, services, failover, self.mistakes)
            cluster = Cluster(name, directors, services, failover)
            clusters.append(cluster)
            self.vips |= {vip for service in services for vip in service.vips}
            self.clusters.update((machine.name, cluster) for machine in directors)
            self.moving[name] = moving = Moving(cluster, self.mistakes)
            for machine in directors:
                # Held by turns, so nobody's own.
                held = {inside.ip for inside in moving.insides}
                machine.links = [link for link in machine.links if link.address not in held]
        return clusters

    # ------------------------------------------------------------------ one cluster

    def _compile_cluster(self, cluster: Cluster) -> None:
        self._inside_addresses(cluster)
        table: list[dict[str, Any]] = []
        asked: list[dict[str, Any]] = []
        local = [str(link.address) for director in cluster.directors for link in director.links]
        for service in cluster.services:
            records = self._compile_service(cluster, service)
            table += records
            if cluster.failover.health != "none":
                asked += [
                    checked(
                        cluster.failover.health,
                        cluster.failover.common,
                        service,
                        {**record, "sorry_server": self._sorry_server(cluster, service, record)},
                        local,
                        self.mistakes,
                    )
                    for record in records
                ]
            elif service.sorry_server:
                self.plan.warnings.append(
                    f"service {service.name}: sorry_server answers only where lvs_health says who checks the"
                    " realservers."
                )
        for director in cluster.directors:
            self.tables.setdefault(director.name, []).extend(table)
            self.checked.setdefault(director.name, []).extend(asked)
            if cluster.services:
                self._behaviour(director, cluster)
        self.moving[cluster.name].check_way_back()
        if cluster.services and (cluster.failover.floating or cluster.standbys):
            self._pair(cluster, table)

    def _compile_service(self, cluster: Cluster, service: Service) -> list[dict[str, Any]]:
        """A service's records of the table; what it asks of machines is noted in their parts."""
        for director in cluster.directors:
            self._direct(director, service)
        holders = cluster.directors if cluster.failover.floating else [cluster.director]
        for vip in service.vips:
            devices = {
                director.name: device
                for director in holders
                if not service.vip_less and (device := self._vip_interface(director, vip))
            }
            for holder, device in devices.items():
                if cluster.failover.floating:
                    self.parts[holder].floating_vip(vip)
                else:
                    self.parts[holder].director_vip(vip, device)
            promise(self.plan.probe, holders, service, vip, devices, self.promised)
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
        sorry = [service.sorry_server] if service.sorry_server else []
        methods = {entry.forwarding for entry in (*service.entries, *sorry)}
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
        sync = cluster.failover.sync[director.name]
        if sync and cluster.standbys:
            part.sysctl("net.ipv4.vs.sync_threshold", sync["threshold"])
            if sync["period"]:
                part.sysctl("net.ipv4.vs.sync_refresh_period", sync["period"])
            if director.name in cluster.serving:
                # Two that serve each other would send every other packet back for ever (HOWTO 9.1).
                part.sysctl("net.ipv4.vs.backup_only", 1)
        profile = dos_profile(director)
        if profile in ("auto", "on"):
            for name, value in dos_settings(profile, int(facts.get("min_free_pages", 0))).items():
                part.sysctl(f"net.ipv4.vs.{name}", value)

    def _pair(self, cluster: Cluster, table: list[dict[str, Any]]) -> None:
        """What directors that stand in for one another are to each other: who moves what, who tells whom."""
        failover, moving = cluster.failover, self.moving[cluster.name]
        check_sync(cluster, table, moving, self.mistakes)
        self.plan.warnings += [
            f"service {service.name}: snat: its connections end when another director takes over, since realservers"
            " know the client by the director's own address, and connection tracking is not synchronised (HOWTO 31.4)."
            for service in cluster.services
            if service.snat and cluster.standbys
        ]
        if failover.floating:
            order = self.inventory.directors
            parts = FailoverParts(cluster, moving, self._device, order, self.mistakes, self.plan.warnings)
        for machine in cluster.directors:
            sync = failover.sync[machine.name]
            ports = [SYNC_PORT if sync is None else sync.get("port", SYNC_PORT)]
            if failover.floating:
                part = self.failovers[machine.name] = parts.compiled(machine)
                self.plan.probe["patience"] = max(self.plan.probe["patience"], parts.patience(machine))
                self.daemons[machine.name] = parts.daemons(machine)
                ports.append(part["heartbeat"]["udpport"] if part["heartbeat"] else HEARTBEAT_PORT)
                ports += [link["port"] for link in (part["heartbeat"] or {}).get("links", ()) if "port" in link]
            elif sync is not None:
                vips = [vip for service in cluster.services for vip in service.vips]
                device = self._vip_interface(machine, vips[0]) if vips else None
                self.daemons[machine.name] = daemons_by_hand(cluster, machine, device)
            others = [other for other in cluster.directors if other is not machine]
            firewall = self.firewalls[machine.name]
            if firewall.filtering:
                self._must_know(machine, others)
            peers = [link.address for other in others for link in other.links if link.address not in self.vips]
            firewall.pair(peers, ports)

    def _device(self, director: Machine, network: IPNetwork, kind: str) -> str | None:
        return self._vip_interface(director, network.ip) if kind == "vip" else self._inside_device(director, network)

    def _sorry_server(
        self, cluster: Cluster, service: Service, record: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Who answers for a record when no realserver is left, prepared as a realserver is."""
        entry = service.sorry_server
        targets = [targets for targets in self._targets(service) if targets[0].version == version_of(record)]
        if entry is None:
            return None
        host = entry.value if entry.kind == "host" else None
        if host is not None and not self.addresses.hosts(service, entry):
            return None
        rip = self.addresses.rip(cluster, service, entry, host, targets[0][0].ip)
        if rip is None:
            return None
        if host is None and (owner := self.addresses.owner_of(rip)) is not None:
            self.mistakes.append(
                f"service {service.name}: sorry_server {rip} is an address of host {owner}, which nothing would"
                f" configure for this service; write host: {owner}."
            )
        for target in (target for group in targets for target in group):
            self._prepare(cluster, service, entry, host, rip, target)
        port = record.get("port", 0) if entry.port is None else entry.port
        if any(member["address"] == str(rip) and member["port"] == port for member in record["realservers"]):
            self.mistakes.append(
                f"service {service.name}: sorry_server {host or rip} is one of its realservers, too, and would be gone"
                " with the last of them; name another machine."
            )
        return {"address": str(rip), "port": port, "forwarding": entry.forwarding}

    def _inside_addresses(self, cluster: Cluster) -> None:
        """`lvs_inside` with a prefix is set on the director; without one it only names an address that is there."""
        floating = {str(inside) for inside in self.moving[cluster.name].insides}
        for machine in cluster.directors:
            for value in machine.given("lvs_inside"):
                if "/" not in value:
                    continue
                try:
                    network = IPNetwork(value)
                except (AddrFormatError, ValueError):
                    continue
                device = self._inside_device(machine, network)
                if device and str(network) in floating:
                    self.parts[machine.name].floating(network.ip)
                elif device:
                    self.parts[machine.name].inside_address(network, device)

    def _inside_device(self, machine: Machine, network: IPNetwork) -> str | None:
        """The interface on the inside network, which has another address already, unless we set this one before."""
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
                f"director {machine.name}: lvs_inside {network} lies in none of its networks"
                f" ({listing(machine.links)}); give the inside interface an address of its own first."
            )
        return None if link is None else link.interface

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
        if host is not None and self.firewalls[host].filtering:
            self._let_in(cluster, service, entry, host, rip, target)
        if any(host == machine.name for machine in cluster.directors):
            cluster.serving.add(str(host))
        if host == director.name and not cluster.failover.floating:
            return  # LocalNode: the director has the VIP already (HOWTO 9)
        if entry.forwarding == "nat":
            self._translate(cluster, host, rip, target)
        if host is None:  # unmanaged
            if entry.forwarding == "nat" and not service.snat and cluster.failover.floating:
                self.moving[cluster.name].sends_replies(service)
            return
        machine, part = self.machines[host], self.parts[host]
        if dos_profile(director) in ("auto", "on"):
            # Who ends the client's TCP can answer a flood without remembering it; the director cannot (HOWTO 27).
            part.sysctl("net.ipv4.tcp_syncookies", 1)
        if entry.forwarding == "nat":
            self._return_through(cluster, service, machine, rip, target)
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

    def _translate(self, cluster: Cluster, host: str | None, rip: IPAddress, target: IPNetwork) -> None:
        """Whichever director has the VIPs translates for a NAT realserver, and is its router."""
        for machine in cluster.directors if cluster.failover.floating else [cluster.director]:
            links = (self._link(machine, rip), machine.link_to(target.ip))
            self.parts[machine.name].forwarding(rip.version, sorted({link.interface for link in links if link}))
            self.firewalls[machine.name].forward(rip, self._ssh(machine, host, rip))

    def _let_in(
        self, cluster: Cluster, service: Service, entry: Entry, host: str, rip: IPAddress, target: IPNetwork
    ) -> None:
        """A director that serves lets in what other directors direct to it, and their checks."""
        others = [machine for machine in cluster.directors if machine.name != host]
        if not others:
            return
        part = self.firewalls[host]
        self._must_know(self.machines[host], others)
        senders = [link.address for machine in others for link in machine.links if link.address not in self.vips]
        senders += self.machines[host].addresses("lvs_filter_peers")
        sources = [str(IPNetwork(sender).cidr) for sender in dict.fromkeys(senders) if sender.version == rip.version]
        rules = [rule for rule in service.wanted if target in rule.targets]
        if entry.forwarding == "nat":
            # They come to the RIP, from the clients or, with snat, from a director.
            directors = tuple(IPNetwork(source) for source in sources)
            rules = [
                MarkRule(
                    (IPNetwork(rip),),
                    rule.protocols,
                    ((entry.port, entry.port),) if entry.port else rule.ports,
                    directors if service.snat else rule.sources,
                )
                for rule in rules
                if directors or not service.snat  # no sources are all sources
            ]
        elif entry.forwarding == "tun":
            part.reached(rip, ["ipip" if target.version == 4 else "ipv6"], (), sources)
        part.serve_for(rules)
        checks = [health.given.get("port", 0) for health in (service.health, cluster.failover.common)]
        if ports_asked := [port for port in (*(entry.port or port for port in service.ports), *checks) if port]:
            part.reached(rip, dict.fromkeys((*service.protocols, "tcp")), ports_asked, sources)

    def _must_know(self, machine: Machine, others: Iterable[Machine]) -> None:
        """A filter lets in what other directors send by their addresses."""
        for other in others if not machine.given("lvs_filter_peers") else ():
            if other.facts is None:
                self.mistakes.append(
                    f"host {machine.name}: lvs_filter would shut out director {other.name}, whose addresses are not"
                    " known, as it was not asked (outside --limit); name them in lvs_filter_peers, or run without"
                    " --limit."
                )

    def _ssh(self, director: Machine, host: str | None, rip: IPAddress) -> tuple[IPAddress, int] | None:
        """Where Ansible may come to a realserver through the director: an address beside the RIP."""
        link = director.link_to(rip)
        address = self.machines[host].management() if host is not None else None
        if host is None or link is None or address is None or address not in link.network:
            return None
        port = str(self.machines[host].variables.get("ansible_port"))
        return address, int(port) if port.isdecimal() else SSH_PORT

    def _return_through(
        self, cluster: Cluster, service: Service, machine: Machine, rip: IPAddress, target: IPNetwork
    ) -> None:
        """A NAT realserver sends its replies to the director, whichever that is."""
        if service.snat or machine.variables.get("lvs_nat_return", "policy") == "none":
            return
        floating = cluster.failover.floating
        if floating and machine.name in cluster.serving:
            if cluster.standbys:
                self.mistakes.append(
                    f"service {service.name}: realserver {machine.name} is a director, and nat sends its replies to the"
                    " inside address, which is its own when it directs; use dr for a director that serves (HOWTO 9)."
                )
            return
        moving = self.moving[cluster.name]
        if floating and not moving.sends_replies(service):
            return
        gateway = self.addresses.gateway(cluster, service, machine, rip)
        if gateway is None:
            return
        if floating and gateway not in {inside.ip for inside in moving.insides}:
            self.mistakes.append(
                f"service {service.name}: NAT realserver {machine.name} would send its replies to {gateway}, which"
                f" stays with {cluster.director.name} when the VIP moves (HOWTO 29); give the directors' group an"
                f" lvs_inside with its prefix on the network of {rip}, the same for all, and no other lvs_gateway."
            )
            return
        link = machine.link_to(rip)
        self.parts[machine.name].return_through(rip, gateway, link is not None and target.ip in link.network)

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
                "owner": self.clusters[host].failover.owner,
                "config": table,
                "restrict": [
                    *({"address": value} for value in sorted({row["address"] for row in table if "address" in row})),
                    *({"fwmark": value} for value in sorted({row["fwmark"] for row in table if "fwmark" in row})),
                ],
                # What new marks lead to, and what packets lead to without old ones, has to be there before them.
                "additions_first": bool(compiled["firewall"]["marks"])
                or bool((machine.facts or {}).get("firewall", {}).get("ours")),
                "daemons": self.daemons.get(host, []),
                "held": [
                    {"address": entry["address"], "device": entry["device"]}
                    for instance in self.failovers.get(host, {}).get("instances", ())
                    for entry in instance["addresses"]
                ],
                "module_options": self._module_options(machine),
            }
            compiled["failover"] = self.failovers.get(host)
            compiled["health"] = self._health(host)
        self.mistakes += part.conflicts
        self.plan.parts[host] = compiled

    def _health(self, host: str) -> dict[str, Any] | None:
        backend = self.clusters[host].failover.health
        if backend == "none":
            return None
        return {"backend": backend, "services": sorted(self.checked.get(host, []), key=_place)}

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
