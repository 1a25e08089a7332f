# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failover part of one cluster's directors: what moves together, between whom, and by which links they talk."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork
from .failover import Failover
from .health import version_of
from .host_variables import listing
from .machines import Link, Machine, family
from .mistakes import Mistakes
from .realservers import Cluster
from .services import Service

PREFERRED, OTHERS = 150, 100
SOME_SECONDS = 5
# By preferred director, its networks with their entries of the part.
Held = list[tuple[str, list[tuple[IPNetwork, dict[str, Any]]]]]
MAX_ROUTER_ID = 255


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
        if any(entry.forwarding == "nat" for entry in service.entries):
            mistakes.append(
                f"{where}: service {service.name} uses nat, whose realservers send their replies to the director's"
                " inside address, which does not move with lvs_active; use dr or tun, or one director."
            )
    return sorted(directors, key=lambda machine: machine.name not in active)


class Moving:
    """What moves from one director to another in a cluster: by preferred director, VIPs and inside addresses."""

    def __init__(self, cluster: Cluster, mistakes: Mistakes) -> None:
        self.cluster = cluster
        self.mistakes = mistakes
        self.where = f"cluster {cluster.name}"
        self.names = [machine.name for machine in cluster.directors]
        self.homes: dict[IPAddress, str] = {}
        self.insides: list[IPNetwork] = []
        self.home_of_inside = self.names[0]
        # The realservers' way back is known, or what is wrong with it has been said.
        self.way_back = True
        if cluster.failover.floating:
            self._vips()
            self._insides()

    def _vips(self) -> None:
        """Every VIP has one preferred director, whatever services it has."""
        first: dict[IPAddress, str] = {}
        for service in self.cluster.services:
            if service.active is not None and service.active not in self.names:
                self.mistakes.append(
                    f"service {service.name}: active {service.active} is no director of cluster {self.cluster.name}"
                    f" ({', '.join(self.names)}); name one of them, or leave it out for {self.names[0]}."
                )
            home = service.active if service.active in self.names else self.names[0]
            for vip in service.vips if not service.vip_less else ():
                first.setdefault(vip, service.name)
                if self.homes.setdefault(vip, home) != home:
                    self.mistakes.append(
                        f"services {first[vip]} and {service.name}: VIP {vip} would be active on {self.homes[vip]} and"
                        f" on {home}; one director holds a VIP, so give both services the same active, or a VIP each."
                    )

    def _insides(self) -> None:
        """The realservers' gateway moves with the VIPs of nat, so it is one for all directors (HOWTO 5, 29)."""
        nat = [
            service
            for service in self.cluster.services
            if not service.snat and any(entry.forwarding == "nat" for entry in service.entries)
        ]
        given = {machine.name: machine.given("lvs_inside") for machine in self.cluster.directors}
        same = len({tuple(values) for values in given.values()}) == 1
        if nat and not (same and given[self.names[0]]):
            self.way_back = False
            said = ", ".join(f"{name} {' and '.join(values) or 'none'}" for name, values in given.items())
            self.mistakes.append(
                f"{self.where}: service {nat[0].name} uses nat, whose realservers send their replies to the director's"
                f" inside address; it has to move with the VIP, so lvs_inside has to be the same on every director"
                f" ({said}). Give the directors' group an address of its own, with its prefix, as in 10.1.1.9/24."
            )
            return
        homes = dict.fromkeys(service.active or self.names[0] for service in nat)
        if len(homes) > 1:
            self.mistakes.append(
                f"{self.where}: services by nat are active on {' and on '.join(homes)}, but their realservers have one"
                " gateway, which is with one of them; give all services by nat the same active, or use dr or tun."
            )
        self.home_of_inside = next(iter(homes), self.names[0])
        if not same:
            return  # each director has its own, which no service relies on
        for value in given[self.names[0]]:
            if "/" in value:
                # What is no address at all was named where the host's variables are checked.
                with contextlib.suppress(AddrFormatError, ValueError):
                    self.insides.append(IPNetwork(value))
            elif nat:
                self.way_back = False
                self.mistakes.append(
                    f"{self.where}: lvs_inside {value} has no prefix, so it would be a director's own address, which"
                    f" does not move with the VIPs; write an address of its own with its prefix, as in {value}/24."
                )

    def addresses(self, director: Machine, device_of: Callable[[Machine, IPNetwork, str], str | None]) -> Held:
        """By preferred director: its name and what it holds, with the devices that `director` would use."""
        found: Held = []
        for home in self.names:
            networks = [(IPNetwork(vip), "vip") for vip, name in self.homes.items() if name == home]
            if self.insides and self.home_of_inside == home:
                networks += [(inside, "inside") for inside in self.insides]
            entries = [
                (network, {"address": str(network), "device": device, "kind": kind})
                for network, kind in networks
                if (device := device_of(director, network, kind)) is not None
            ]
            if entries:
                found.append((home, entries))
        return found


class FailoverParts:
    """Compiles the part of each director of one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        moving: Moving,
        device_of: Callable[[Machine, IPNetwork, str], str | None],
        order: Iterable[str],
        mistakes: Mistakes,
        warnings: list[str],
    ) -> None:
        self.cluster = cluster
        self.failover = cluster.failover
        self.mistakes = mistakes
        self.warnings = warnings
        self.where = f"cluster {cluster.name}"
        self.machines = {machine.name: machine for machine in cluster.directors}
        self.nodes = [name for name in order if name in self.machines]
        self.held = {name: moving.addresses(machine, device_of) for name, machine in self.machines.items()}
        self.default = cluster.director.name
        # Stable whoever is preferred by default, and whatever services come and go.
        others = [name for name in self.nodes if name != self.default]
        self.places = {name: place for place, name in enumerate([self.default, *others])}

    @property
    def both(self) -> bool:
        """Whether several directors are active at once, each of which sends its connections to the other."""
        return len(self.held[self.default]) > 1

    def compiled(self, director: Machine) -> dict[str, Any]:
        failover, name = self.failover, director.name
        keepalived = failover.backend == "keepalived"
        instances = [
            self._instance(director, home, version, entries)
            for home, held in self.held[name]
            for version in (4, 6)
            if (entries := [entry for network, entry in held if network.version == version])
        ]
        groups: dict[str, list[str]] = {}
        for instance in instances:
            groups.setdefault(instance["group"], []).append(instance["name"])
        if not instances:
            self.mistakes.append(
                f"{self.where}: no service has a VIP that a director holds, so there is nothing that could move; give"
                " one service a VIP, or the directors' group an lvs_inside to which a router sends the rest."
            )
        return {
            "backend": failover.backend,
            "node": name,
            "nodes": self.nodes,
            "secret": failover.secret,
            "failback": failover.failback,
            "fencing": failover.fencing[name],
            "instances": instances,
            "groups": [{"name": group, "instances": members} for group, members in groups.items()],
            "vrrp": self._vrrp(name) if keepalived else None,
            "heartbeat": None if keepalived else self._heartbeat(director),
            "sync": self.sync(director),
        }

    def patience(self, director: Machine) -> int:
        """Whole seconds after which the VIPs are held, whoever was there before: a sign of life is missed, and some."""
        name = director.name
        if self.failover.backend == "keepalived":
            # Three adverts, and a part of one by priority.
            return math.ceil(4 * self.failover.vrrp[name]["advert"]) + SOME_SECONDS
        return math.ceil(self.failover.heartbeat[name]["deadtime"]) + SOME_SECONDS

    def group(self, home: str) -> str:
        """What is preferred on one director; the default one's name stays when others come."""
        return f"lvs_{self.cluster.name}" + ("" if home == self.default else f"_{home}")

    def _instance(self, director: Machine, home: str, version: int, entries: list[dict[str, Any]]) -> dict[str, Any]:
        vrrp = self.failover.vrrp[director.name]
        group = self.group(home)
        others = [name for name in self.nodes if name != home]
        router_id = vrrp["router_id"] + 2 * self.places[home] + (version == 6)
        interface = vrrp["interface"] or entries[0]["device"]
        source = self._source(director, version, interface)
        if self.failover.backend == "keepalived":
            self._check_instance(director, version, interface, source, router_id)
        return {
            "name": f"{group}_{version}",
            "family": family(version),
            "group": group,
            "router_id": router_id,
            "preferred": home,
            "priority": PREFERRED if director.name == home else OTHERS - others.index(director.name),
            "interface": interface,
            "source": source,
            "peers": [peer for other in self.others(director) if (peer := self._peer(other, home, version))],
            "addresses": entries,
        }

    def _check_instance(
        self, director: Machine, version: int, interface: str, source: str | None, router_id: int
    ) -> None:
        vrrp = self.failover.vrrp[director.name]
        if router_id > MAX_ROUTER_ID:
            self.mistakes.append(
                f"{self.where}: router_id of lvs_vrrp {vrrp['router_id']} leaves no room for all instances, which count"
                f" up from it to {router_id}; the highest is {MAX_ROUTER_ID}, so begin lower."
            )
        if version == 6 and vrrp["version"] == 2:
            self.warnings.append(
                f"{self.where}: VRRP 2 knows IPv4 only, so the IPv6 addresses move by VRRP 3, without"
                " lvs_failover_secret."
            )
        if source is None and vrrp["unicast"]:
            self.mistakes.append(
                f"director {director.name}: no {family(version)} address of its own on {interface}, from which it could"
                " send adverts (it has "
                + (listing(director.links) if director.facts is not None else "not been asked, outside --limit")
                + "); give it one, name another interface in lvs_vrrp, or set unicast of lvs_vrrp to false."
            )

    def others(self, director: Machine) -> list[Machine]:
        return [self.machines[name] for name in self.nodes if name != director.name]

    def _peer(self, other: Machine, home: str, version: int) -> str | None:
        """The address from which the other director sends the adverts of the same instance."""
        held = dict(self.held[other.name]).get(home, [])
        device = next((entry["device"] for network, entry in held if network.version == version), None)
        interface = self.failover.vrrp[other.name]["interface"] or device
        return self._source(other, version, interface) if interface else None

    def _source(self, machine: Machine, version: int, interface: str) -> str | None:
        links = [link for link in self.own_links(machine, version) if link.interface == interface]
        return str(links[0].address) if links else None

    def own_links(self, machine: Machine, version: int) -> list[Link]:
        """The addresses that stay with a director; whatever is held by turns is a host route or was left out before."""
        return [link for link in machine.links if link.address.version == version and not link.is_host_route]

    def _vrrp(self, name: str) -> dict[str, Any]:
        return {key: value for key, value in self.failover.vrrp[name].items() if key not in ("interface", "router_id")}

    def _heartbeat(self, director: Machine) -> dict[str, Any]:
        found = self.failover.heartbeat[director.name]
        links = self._heartbeat_links(director, found["links"])
        if not links and len(self.nodes) == 2:
            (other,) = self.others(director)
            self.mistakes.append(
                f"director {director.name}: no IPv4 network that it shares with {other.name}, by which heartbeat could"
                f" hear of it (it has {listing(director.links)}); give them one, two are better, or name links in"
                " lvs_heartbeat."
            )
        return {**found, "links": links}

    def _heartbeat_links(self, director: Machine, given: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        """The links with the other's address where heartbeat wants it; one for each network that both have."""
        own = self.own_links(director, 4)
        if given is None:
            names = dict.fromkeys(link.interface for link in own)
            return [link for name in names for link in self._ucast(director, own, name)]
        links = []
        for link in given:
            if "ucast" not in link:
                links.append(link)
                continue
            peers = self._ucast(director, own, link["ucast"])
            links += peers
            if not peers:
                self.mistakes.append(
                    f"host {director.name}: lvs_heartbeat: links: no other director has an IPv4 address on a network of"
                    f" {link['ucast']}, to which ucast could send; name another interface, or use bcast."
                )
        return links

    def _ucast(self, director: Machine, own: list[Link], name: str) -> list[dict[str, Any]]:
        networks = [link.network for link in own if link.interface == name]
        return [
            {"ucast": name, "peer": str(link.address)}
            for other in self.others(director)
            for link in [link for link in self.own_links(other, 4) if any(link.address in one for one in networks)][:1]
        ]

    def daemons(self, director: Machine) -> list[dict[str, Any]] | None:
        """What we run ourselves: both roles everywhere, if several are active; one that follows is the backend's."""
        sync = self.sync(director)
        if sync is None:
            return []
        if not sync["both"]:
            return None
        found = {key: value for key, value in sync.items() if key not in ("group", "both", "multicast") and value}
        if sync["multicast"]:
            found["group"] = sync["multicast"]
        return [{"role": role, **found} for role in ("master", "backup")]

    def sync(self, director: Machine) -> dict[str, Any] | None:
        """What the synchronisation daemons are started with; `group` is what they follow."""
        found = self.failover.sync[director.name]
        if found is None or len(self.nodes) == 1:
            return None
        held = [entry for _home, entries in self.held[director.name] for _network, entry in entries]
        return {
            "interface": found.get("interface") or (held[0]["device"] if held else None),
            "syncid": found["syncid"],
            "maxlen": found.get("maxlen"),
            "multicast": found.get("group"),
            "port": found.get("port"),
            "ttl": found.get("ttl"),
            "group": None if self.both else self.group(self.default),
            "both": self.both,
        }


def check_sync(cluster: Cluster, table: Iterable[Mapping[str, Any]], moving: Moving, mistakes: Mistakes) -> None:
    """What synchronisation cannot do, and what cannot do without (HOWTO 9.1, 31)."""
    where = f"cluster {cluster.name}"
    synchronised = any(cluster.failover.sync.values())
    several = len(set(moving.homes.values())) > 1
    for row in table if synchronised else ():
        if any((":" in member["address"]) != (version_of(row) == 6) for member in row["realservers"]):
            mistakes.append(
                f"{where}: {row.get('address') or 'fwmark ' + row['fwmark']} has realservers of another family (a"
                " tunnel between families), and the kernel synchronises no connections while there is such a"
                " service (HOWTO 31); set lvs_sync: false, or give it realservers of its own family."
            )
    if not cluster.serving or not cluster.standbys:
        return
    serving = " and ".join(sorted(cluster.serving))
    if not synchronised:
        mistakes.append(
            f"{where}: lvs_sync is false, and {serving} direct and serve in turn: without the backup daemon the"
            " director that waits would direct what it is to serve, and packets go to and fro for ever (HOWTO 9.1);"
            " leave lvs_sync out, or take the director out of the realservers."
        )
    elif several:
        mistakes.append(
            f"{where}: services are active on several directors, and {serving} serve, too: such a director has to"
            " direct and must not (backup_only) at once, or packets go to and fro for ever (HOWTO 9.1); use one"
            " active for all, or realservers that direct nothing."
        )


def daemons_by_hand(cluster: Cluster, machine: Machine, device: str | None) -> list[dict[str, Any]]:
    """The active director sends its connections, the others take them."""
    sync = cluster.failover.sync[machine.name] or {}
    found = {key: value for key, value in sync.items() if key not in ("threshold", "period")}
    role = "backup" if machine in cluster.standbys else "master"
    return [{"role": role, **({"interface": device} if device else {}), **found}]


def check_router_ids(
    parts: Iterable[tuple[str, Machine, Mapping[str, Any]]], mistakes: Mistakes
) -> None:
    """One router id is one virtual router on a link, where adverts go to everybody: cluster, director, its part."""
    seen: dict[tuple[IPNetwork, int, str], str] = {}
    for cluster, machine, part in parts:
        for instance in part["instances"] if part["vrrp"] and not part["vrrp"]["unicast"] else ():
            for link in machine.links:
                if link.interface != instance["interface"] or link.is_host_route:
                    continue
                if family(link.address.version) != instance["family"]:
                    continue
                first = seen.setdefault((link.network.cidr, instance["router_id"], instance["family"]), cluster)
                if first != cluster:
                    mistakes.append(
                        f"clusters {first} and {cluster} both send adverts of router_id {instance['router_id']} into"
                        f" {link.network.cidr}; give one of them another router_id in lvs_vrrp, or set unicast to true."
                    )
