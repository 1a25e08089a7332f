# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failover part of one cluster's directors: who moves what, between whom, by which links they talk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .addresses import IPAddress, IPNetwork
from .health import version_of
from .host_variables import listing
from .machines import Link, Machine, family
from .mistakes import Mistakes
from .moving import DeviceOf, Moving
from .realservers import Cluster

# A director that is told that the other one gives up waits a part of an advert's interval, (256 - priority) / 256, so
# they are high; up to 254 there is room for what a tracked script adds.
PREFERRED, OTHERS = 230, 220
SOME_SECONDS = 5
LONGEST_GROUP = 63
LONGEST_ADVERT = 40.95  # of VRRP 3
MAX_ROUTER_ID = 255


class FailoverParts:
    """Compiles the part of each director of one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        moving: Moving,
        device_of: DeviceOf,
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
        for group in groups if not keepalived else ():
            if len(group) > LONGEST_GROUP:
                self.mistakes.append(
                    f"{self.where}: {group} would be a name in heartbeat's files, where {LONGEST_GROUP} characters are"
                    " the most; give the cluster or the director a shorter name."
                )
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
            "fencing": failover.fencing[name] is not None,
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
        addresses = [IPNetwork(entry["address"]).ip for entry in entries]
        source = self._source(director, version, interface, addresses)
        peers = [peer for other in self.others(director) if (peer := self._peer(other, home, version))]
        if self.failover.backend == "keepalived":
            self._check_instance(director, version, interface, source, peers, router_id)
        return {
            "name": f"{group}_{version}",
            "family": family(version),
            "group": group,
            "router_id": router_id,
            "preferred": home,
            "priority": PREFERRED if director.name == home else OTHERS - others.index(director.name),
            "interface": interface,
            "source": str(source.address) if source else None,
            "peers": [str(peer.address) for peer in peers],
            "addresses": entries,
        }

    def _check_instance(
        self, director: Machine, version: int, interface: str, source: Link | None, peers: list[Link], router_id: int
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
        if version == 6 and vrrp["advert"] > LONGEST_ADVERT:
            self.mistakes.append(
                f"{self.where}: advert {vrrp['advert']} of lvs_vrrp: IPv6 addresses move by VRRP 3, which has at most"
                f" {LONGEST_ADVERT} seconds; write a smaller one."
            )
        for peer in peers if vrrp["unicast"] else ():
            if source and peer.address not in source.network:
                self.mistakes.append(
                    f"director {director.name}: would send adverts from {source.address} to {peer.address}, which is"
                    " on another network, and adverts that passed a router do not count; name in lvs_vrrp an"
                    " interface by which the directors share a network."
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

    def _peer(self, other: Machine, home: str, version: int) -> Link | None:
        """The address from which the other director sends the adverts of the same instance."""
        held = dict(self.held[other.name]).get(home, [])
        device = next((entry["device"] for network, entry in held if network.version == version), None)
        interface = self.failover.vrrp[other.name]["interface"] or device
        addresses = [network.ip for network, _entry in held if network.version == version]
        return self._source(other, version, interface, addresses) if interface else None

    def _source(self, machine: Machine, version: int, interface: str, addresses: list[IPAddress]) -> Link | None:
        """Its address in the network of what moves, or one that all directors share a network with, or any."""
        links = [link for link in self.own_links(machine, version) if link.interface == interface]
        others = [[link.address for link in self.own_links(other, version)] for other in self.others(machine)]
        near = [link for link in links if any(address in link.network for address in addresses)]
        shared = [link for link in links if all(any(one in link.network for one in own) for own in others)]
        return next(iter((*near, *shared, *links)), None)

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
        home, entries = next(iter(self.held[director.name]), (self.default, []))
        device = next((entry["device"] for _network, entry in entries), None)
        return {
            "interface": found.get("interface") or device,
            "syncid": found["syncid"],
            "maxlen": found.get("maxlen"),
            "multicast": found.get("group"),
            "port": found.get("port"),
            "ttl": found.get("ttl"),
            "group": None if self.both else self.group(home),
            "both": self.both,
        }


def check_sync(cluster: Cluster, table: Iterable[Mapping[str, Any]], moving: Moving, mistakes: Mistakes) -> None:
    """What synchronisation cannot do, and what cannot do without (HOWTO 9.1, 31)."""
    where = f"cluster {cluster.name}"
    synchronised = any(cluster.failover.sync.values())
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
    elif len(moving.places) > 1:
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
        for instance in part["instances"] if part["vrrp"] else ():
            for link in machine.links if not (part["vrrp"]["unicast"] and instance["peers"]) else ():
                if link.interface != instance["interface"] or link.is_host_route:
                    continue
                if family(link.address.version) != instance["family"]:
                    continue
                first = seen.setdefault((link.network.cidr, instance["router_id"], instance["family"]), cluster)
                if first != cluster:
                    mistakes.append(
                        f"clusters {first} and {cluster} both send adverts of router_id {instance['router_id']} into"
                        f" {link.network.cidr}; give one of them another router_id in lvs_vrrp"
                        + ("." if part["vrrp"]["unicast"] else ", or set unicast to true.")
                    )
