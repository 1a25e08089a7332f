# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter's part of one host's plan: the `config` of module ``firewall``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .addresses import IPAddress, IPNetwork
from .failover import HEARTBEAT_PORT, SYNC_PORT
from .machines import Machine, family
from .marks import MarkRule, port_texts
from .mistakes import Mistakes

ALLOW_KEYS = {"protocol", "ports", "sources", "destinations", "interface"}
ALLOW_PROTOCOLS = ("tcp", "udp", "sctp")
SSH_PORT = 22
# heartbeat and the synchronisation of IPVS, which module `firewall` lets in from peers; VRRP is a protocol of its own.
PEER_PORTS = (HEARTBEAT_PORT, SYNC_PORT)


class FirewallPart:
    """Collects what one machine marks, leaves untracked, masquerades, clamps and lets in."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.rules: list[tuple[str, int, MarkRule]] = []
        self._untracked: list[MarkRule] = []
        self._unmarked: list[MarkRule] = []
        self._accepted: list[MarkRule] = []
        self._masquerade: list[dict[str, Any]] = []
        self._clamps: dict[tuple[int, int], dict[str, None]] = {}
        self._realservers: dict[IPAddress, None] = {}
        self._passing: list[dict[str, Any]] = []
        self.filtering = self.untracking = self.clamping = False
        self.peers: list[str] = []
        self.allowed: list[dict[str, Any]] = []
        self.ssh_ports: list[int] = []

    def mark(self, service: str, mark: int, rule: MarkRule) -> None:
        self.rules.append((service, mark, rule))

    def serve(self, rule: MarkRule, tracked: bool, marked: bool) -> None:
        """Clients may send this. With dr and tun conntrack sees one side only and would call it invalid (HOWTO 22)."""
        self._accepted.append(rule)
        if not marked:
            self._unmarked.append(rule)
        if not tracked:
            self._untracked.append(rule)

    def masquerade(self, rule: MarkRule) -> None:
        """What nat has translated leaves with the director's own address (HOWTO 5.26)."""
        for target in rule.targets:
            for protocol in rule.protocols or (None,):
                for low, high in rule.ports or ((0, 0),):
                    # A port each, as iptables' ipvs match wants it; a range is every port of the VIP.
                    entry = {"family": family(target.version), "vip": _text(target), "port": low if low == high else 0}
                    if protocol:
                        entry["protocol"] = protocol
                    if entry not in self._masquerade:
                        self._masquerade.append(entry)

    def clamp(self, target: IPNetwork, mss: int) -> None:
        """Replies from these tell clients a segment size that fits the tunnel (HOWTO 8.15)."""
        self._clamps.setdefault((target.version, mss), {})[str(target.cidr)] = None

    def pair(self, peers: Iterable[IPAddress], ports: Iterable[int]) -> None:
        """The other directors: what they say to this one gets in, at other UDP ports than the usual ones, too."""
        known = [str(address) for address in peers]
        self.peers += [address for address in known if address not in self.peers]
        unusual = [str(port) for port in dict.fromkeys(ports) if port not in PEER_PORTS]
        for version in (4, 6):
            sources = [str(IPNetwork(address).cidr) for address in known if (":" in address) == (version == 6)]
            if sources and unusual:
                entry = {"family": family(version), "protocol": "udp", "ports": unusual, "sources": sources}
                self.allowed.append(entry)

    def forward(self, rip: IPAddress, ssh: tuple[IPAddress, int] | None = None) -> None:
        """This realserver's packets pass the host, and what Ansible asks it at this address and port."""
        self._realservers[rip] = None
        if ssh:
            address, port = ssh
            _add(self._passing, _to(address, "tcp", [port]))

    def serve_for(self, rules: Iterable[MarkRule]) -> None:
        """It is a realserver, too: what is directed to it."""
        self._accepted += [rule for rule in rules if rule not in self._accepted]

    def reached(self, rip: IPAddress, protocols: Iterable[str], ports: Iterable[int], sources: list[str]) -> None:
        """What these hosts themselves send to its RIP; without ports, whatever the protocol carries."""
        for protocol in protocols if sources else ():
            _add(self.allowed, {**_to(rip, protocol, ports), "sources": sources})

    @property
    def conntrack(self) -> bool:
        """Whether IPVS has to tell conntrack what it does: rules look at a translated connection's state."""
        return bool(self._masquerade) or (self.filtering and bool(self._realservers))

    def compiled(self) -> dict[str, Any]:
        """The `config` of module ``firewall``; without any rule it is empty of everything."""
        ordered = sorted(self.rules, key=lambda entry: entry[2].order)
        clamps = [
            {"family": family(version), "sources": list(sources), "mss": mss}
            for (version, mss), sources in self._clamps.items()
        ]
        untracked = self._untracked if self.filtering or self.untracking else []
        # Of interest only where there are marks, or may be some from before.
        marks = self.rules or (self.machine.facts or {}).get("firewall", {}).get("ours")
        unmarked = self._unmarked if marks else []
        return {
            "marks": [entry for _name, mark, rule in ordered for entry in rule.compiled(mark)],
            "unmarked": [entry for rule in unmarked for entry in rule.selections(with_clients=False)],
            "untracked": [entry for rule in untracked for entry in rule.selections(with_clients=False)],
            "masquerade": self._masquerade,
            "clamps": clamps,
            "filter": self._filter() if self.filtering else None,
        }

    def _filter(self) -> dict[str, Any]:
        forward = None
        if self._realservers:
            forward = {"realservers": [str(rip) for rip in self._realservers], "accept": self._passing}
        accepted: list[dict[str, Any]] = []
        served = [entry for rule in self._accepted for entry in rule.selections(with_clients=True)]
        for entry in (*served, *self.allowed):
            _add(accepted, entry)
        return {
            "ssh_ports": self.ssh_ports,
            "accept": accepted,
            "peers": self.peers,
            "forward": forward,
        }


def _to(address: IPAddress, protocol: str, ports: Iterable[int]) -> dict[str, Any]:
    entry = {"family": family(address.version), "protocol": protocol, "destinations": [str(IPNetwork(address).cidr)]}
    found = [str(port) for port in dict.fromkeys(ports)]
    return {**entry, "ports": found} if found else entry


def _add(entries: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    if entry not in entries:
        entries.append(entry)


def read_filter(part: FirewallPart, is_director: bool, mistakes: Mistakes) -> None:
    """The host variables about the packet filter: `lvs_filter` and its like, `lvs_untracked`, `lvs_clamp_mss`.

    The first two are for directors; a router may have them from a group that both are in.
    """
    variables = part.machine.variables
    where = f"host {part.machine.name}"
    part.filtering = mistakes.boolean(f"{where}: lvs_filter", variables.get("lvs_filter", False)) and is_director
    part.untracking = mistakes.boolean(f"{where}: lvs_untracked", variables.get("lvs_untracked", False)) and is_director
    part.clamping = mistakes.boolean(f"{where}: lvs_clamp_mss", variables.get("lvs_clamp_mss", False))
    for value in part.machine.given("lvs_filter_peers"):
        if (address := mistakes.address(f"{where}: lvs_filter_peers", value)) is not None:
            part.peers.append(str(address))
    given = variables.get("lvs_ssh_ports", [variables.get("ansible_port", SSH_PORT)])
    for value in given if isinstance(given, (list, tuple)) else [given]:
        if (port := mistakes.port(f"{where}: lvs_ssh_ports", value)) is not None:
            part.ssh_ports.append(port)
    if part.filtering and not part.ssh_ports:
        mistakes.append(f"{where}: lvs_ssh_ports is empty, so the filter would lock Ansible out; name the port of ssh.")
    allowed = variables.get("lvs_filter_allow", [])
    if not isinstance(allowed, list):
        mistakes.append(f"{where}: lvs_filter_allow must be a list of mappings with protocol, ports and sources.")
        return
    for index, item in enumerate(allowed):
        if (entry := _allowed(item, f"{where}: lvs_filter_allow[{index}]", mistakes)) is not None:
            part.allowed += entry


def _allowed(item: Any, where: str, mistakes: Mistakes) -> list[dict[str, Any]] | None:
    if not mistakes.keys(where, item, ALLOW_KEYS):
        return None
    protocol = mistakes.choice(f"{where}: protocol", item.get("protocol", "tcp"), ALLOW_PROTOCOLS, "tcp")
    ports = [mistakes.ports(f"{where}: port", value, protocol) for value in _listed(item.get("ports", []))]
    networks = {
        key: [mistakes.network(f"{where}: {key}", value) for value in _listed(item.get(key, []))]
        for key in ("sources", "destinations")
    }
    if not ports:
        mistakes.append(f"{where}: needs ports, a list of port numbers and ranges.")
    if None in ports or any(None in found for found in networks.values()):
        return None
    entry: dict[str, Any] = {"protocol": protocol, "ports": port_texts(found for found in ports if found)}
    if item.get("interface"):
        entry["interface"] = str(item["interface"])
    versions = {network.version for found in networks.values() for network in found if network is not None}
    if not versions:
        return [entry]
    return [
        {"family": family(version), **entry, **{key: _of(version, found) for key, found in networks.items()}}
        for version in sorted(versions)
        if all(not found or _of(version, found) for found in networks.values())
    ]


def _of(version: int, networks: list[IPNetwork | None]) -> list[str]:
    return [str(network.cidr) for network in networks if network is not None and network.version == version]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _text(target: IPNetwork) -> str:
    """A single address without its prefix length."""
    return str(target.ip) if target.size == 1 else str(target.cidr)
