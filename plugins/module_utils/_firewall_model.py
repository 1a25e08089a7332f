# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `firewall` is asked for, as plain comparable objects; every mistake of the input in one message."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Tuple

from ._errors import LvsError

FAMILIES = ("ipv4", "ipv6")
PROTOCOLS = ("tcp", "udp", "sctp")
# What a tunnel's packets carry, by the number in the header around it; both families carry both.
TUNNELS = {"ipip": "4", "ipv6": "41"}
SECTIONS = ("marks", "unmarked", "untracked", "masquerade", "clamps", "filter")
# The mark of packets that no later rule marks.
UNMARK = 0
# Below 536 bytes no IPv4 host has to go; no link carries more than 65495.
MSS = (536, 65495)

# Neither nft's wildcard * nor that of iptables, a + at the end.
_INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]{1,15}", re.ASCII)
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)

Range = Tuple[int, int]


@dataclass(frozen=True)
class Match:
    """The packets a rule is for; what is empty is any. Addresses are networks in CIDR form, sorted."""

    family: str = ""
    protocol: str = ""
    destinations: tuple[str, ...] = ()
    ports: tuple[Range, ...] = ()
    sources: tuple[str, ...] = ()
    interface: str = ""

    def exact(self) -> list[tuple[str, str, int]]:
        """The packets as single addresses, protocol and ports; nothing where they cannot be counted like that."""
        single = all(first == last for first, last in self.ports)
        hosts = all(net.endswith("/128" if self.family == "ipv6" else "/32") for net in self.destinations)
        if self.sources or self.interface or not (self.protocol and single and hosts):
            return []
        return [(net, self.protocol, first) for net in self.destinations for first, _last in self.ports]

    @property
    def number(self) -> str:
        """The protocol for a rule without ports."""
        return TUNNELS.get(self.protocol, self.protocol)

    def families(self) -> tuple[str, ...]:
        return (self.family,) if self.family else FAMILIES


@dataclass(frozen=True)
class Mark:
    """Packets that get a fwmark."""

    mark: int
    match: Match


@dataclass(frozen=True)
class Masquerade:
    """A VIP, or a network of them, whose translated packets leave with the director's address; port 0 is every one."""

    family: str
    protocol: str
    vip: str
    port: int


@dataclass(frozen=True)
class Clamp:
    """Sources whose SYN segments announce no larger segments than this, in bytes."""

    family: str
    sources: tuple[str, ...]
    mss: int


@dataclass(frozen=True)
class Forward:
    """Who may send anything through this host, and what else may pass."""

    realservers: tuple[str, ...] = ()
    accept: tuple[Match, ...] = ()


@dataclass(frozen=True)
class Filter:
    """What may come in, and what may pass; without ``forward`` that is left alone."""

    ssh_ports: tuple[Range, ...]
    accept: tuple[Match, ...]
    peers: tuple[str, ...]
    forward: Forward | None


@dataclass(frozen=True)
class Rules:
    """Everything that one host shall have."""

    marks: tuple[Mark, ...] = ()
    untracked: tuple[Match, ...] = ()
    masquerade: tuple[Masquerade, ...] = ()
    clamps: tuple[Clamp, ...] = ()
    filter: Filter | None = None

    @property
    def empty(self) -> bool:
        return self == Rules()


def of_family(networks: Iterable[str], family: str) -> list[str]:
    """Those of the networks that are of this family."""
    return [network for network in networks if (":" in network) == (family == "ipv6")]


def merged(config: Mapping[str, Any], before: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """A config with what another one has besides, and how much that is. What is new comes first, so its marks win.

    Old marks are no matter of what shall be ``unmarked`` now. A filter is not kept where there shall be none: what it
    does not know it would shut out.
    """
    result: dict[str, Any] = {**config}
    leaving = 0
    for section in ("marks", "untracked", "masquerade", "clamps"):
        more = [entry for entry in _besides(config.get(section), before.get(section)) if entry.get("mark") != UNMARK]
        spared = (config.get("unmarked") or []) if section == "marks" and more else []
        result[section] = [*(config.get(section) or []), *({"mark": UNMARK, **entry} for entry in spared), *more]
        leaving += len(more)
    new, old = config.get("filter"), before.get("filter")
    if new and old:
        result["filter"] = {**new}
        for name in ("accept", "peers"):
            more = _besides(new.get(name), old.get(name))
            result["filter"][name] = [*(new.get(name) or []), *more]
            leaving += len(more)
        if new.get("forward") is not None:
            result["filter"]["forward"] = {**new["forward"]}
            for name in ("realservers", "accept"):
                mine = new["forward"].get(name) or []
                more = _besides(mine, (old.get("forward") or {}).get(name))
                result["filter"]["forward"][name] = [*mine, *more]
                leaving += len(more)
    return result, leaving


def _besides(new: Any, old: Any) -> list[Any]:
    return [entry for entry in old or [] if entry not in (new or [])]


def parse(config: Mapping[str, Any]) -> Rules:
    """The rules of a config. Raises LvsError with every mistake in one message."""
    mistakes: list[str] = []
    top = _Entry("config", config, mistakes)
    top.keys(SECTIONS)
    found = Rules(
        tuple(_mark(entry) for entry in top.entries("marks")),
        tuple(_match(entry, ("destinations", "ports"), must=True) for entry in top.entries("untracked")),
        tuple(_masquerade(entry) for entry in top.entries("masquerade")),
        tuple(_clamp(entry) for entry in top.entries("clamps")),
        _filter(top.mapping("filter")),
    )
    for entry in top.entries("unmarked"):
        _match(entry, ("destinations", "ports"), must=True)
    if mistakes:
        raise LvsError("\n".join(mistakes), mistakes=mistakes)
    return found


class _Entry:
    """A part of the config while it is judged; a value that cannot be is noted as a mistake and replaced."""

    def __init__(self, where: str, value: Any, mistakes: list[str]) -> None:
        self.where = where
        self.mistakes = mistakes
        self.sound = isinstance(value, Mapping)
        self.value: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        if not self.sound:
            self.mistake(f"{value!r} is not a dictionary")

    def mistake(self, text: str) -> None:
        self.mistakes.append(f"{self.where}: {text}.")

    def keys(self, known: Iterable[str]) -> None:
        """What is not known here is a typing error."""
        unknown = sorted(str(key) for key in self.value if key not in known)
        if unknown:
            self.mistake(f"{', '.join(unknown)} is not known here; known are {', '.join(known)}")

    def entries(self, key: str) -> list[_Entry]:
        found = [_Entry(f"{self.where}.{key}[{at}]", one, self.mistakes) for at, one in enumerate(self.list(key))]
        return [entry for entry in found if entry.sound]

    def mapping(self, key: str) -> _Entry | None:
        value = self.value.get(key)
        return None if value is None else _Entry(f"{self.where}.{key}", value, self.mistakes)

    def list(self, key: str) -> list[Any]:
        value = self.value.get(key)
        if value is None or isinstance(value, (list, tuple)):
            return list(value or ())
        self.mistake(f"{key} {value!r} is not a list")
        return []

    def choice(self, key: str, choices: tuple[str, ...], must: bool = False) -> str:
        value = self.value.get(key)
        if value in choices:
            return str(value)
        if value is not None or must:
            self.mistake(f"{key} {value!r} is not one of {', '.join(choices)}")
        return ""

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.value.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.mistake(f"{key} {value!r} is not a number from {low} to {high}")
        return low

    def interface(self) -> str:
        value = self.value.get("interface")
        if value is None or (isinstance(value, str) and _INTERFACE.fullmatch(value)):
            return value or ""
        self.mistake(f"interface {value!r} is not the name of an interface, without wildcards")
        return ""

    def networks(self, key: str, family: str) -> tuple[str, ...]:
        """Networks of one family, or of any where that is open; sorted, and none lies within another."""
        judged = [self.network(key, value, family) for value in self.list(key)]
        found = [network for network in judged if network is not None]
        kept: list[Any] = []
        for network in sorted(found, key=lambda one: (one.version, one.network_address, one.prefixlen)):
            if not (kept and kept[-1].version == network.version and network.subnet_of(kept[-1])):
                kept.append(network)
        return tuple(str(network) for network in kept)

    def network(self, key: str, value: Any, family: str) -> Any:
        try:
            if not isinstance(value, str):
                raise ValueError("it is no text")
            if "%" in value:
                raise ValueError("it names a link; say interface instead")
            network = ipaddress.ip_network(value)
        except ValueError as error:
            self.mistake(f"{key} {value!r} is not an address or a network: {error}")
            return None
        if family and network.version != (6 if family == "ipv6" else 4):
            self.mistake(f"{key} {value!r} is not of family {family}")
            return None
        return network

    def ports(self, key: str) -> tuple[Range, ...]:
        """Ports and ranges of them; what overlaps is one range."""
        ranges = []
        for value in self.list(key):
            found = _PORTS.fullmatch(str(value)) if isinstance(value, (int, str)) else None
            first, last = (int(found.group(1)), int(found.group(2) or found.group(1))) if found else (0, 0)
            if 0 < first <= last < 65536:
                ranges.append((first, last))
            else:
                self.mistake(f"{key} {value!r} is not a port from 1 to 65535 or a range like 1024-65535")
        merged: list[Range] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return tuple(merged)


def _match(
    entry: _Entry, keys: tuple[str, ...], must: bool, more: tuple[str, ...] = (), protocols: Iterable[str] = PROTOCOLS
) -> Match:
    """``must``: the family has to be said, and destinations."""
    entry.keys((*more, "family", "protocol", *keys))
    family = entry.choice("family", FAMILIES, must)
    destinations, sources = entry.networks("destinations", family), entry.networks("sources", family)
    if not family:
        named = {"ipv6" if ":" in network else "ipv4" for network in (*destinations, *sources)}
        if len(named) > 1:
            entry.mistake("addresses of both families; say the family, or make two entries of it")
        family = "".join(named) if len(named) == 1 else ""
    if must and not entry.list("destinations"):
        entry.mistake("destinations is empty; name the VIPs")
    protocol, ports = entry.choice("protocol", tuple(protocols)), entry.ports("ports")
    if ports and not entry.value.get("protocol"):
        entry.mistake("ports need a protocol")
    if ports and protocol in TUNNELS:
        entry.mistake(f"ports with {protocol}, which has none")
    return Match(family, protocol, destinations, ports, sources, entry.interface())


def _mark(entry: _Entry) -> Mark:
    keys = ("destinations", "ports", "sources", "interface")
    return Mark(entry.number("mark", UNMARK, 2**32 - 1), _match(entry, keys, must=True, more=("mark",)))


def _masquerade(entry: _Entry) -> Masquerade:
    entry.keys(("family", "protocol", "vip", "port"))
    family = entry.choice("family", FAMILIES, must=True)
    protocol, port = entry.choice("protocol", PROTOCOLS), entry.number("port", 0, 65535, default=0)
    if port and not entry.value.get("protocol"):
        entry.mistake("a port needs a protocol")
    return Masquerade(family, protocol, str(entry.network("vip", entry.value.get("vip"), family)), port)


def _clamp(entry: _Entry) -> Clamp:
    entry.keys(("family", "sources", "mss"))
    family = entry.choice("family", FAMILIES, must=True)
    if not entry.list("sources"):
        entry.mistake("sources is empty; name the VIPs")
    return Clamp(family, entry.networks("sources", family), entry.number("mss", *MSS))


def _filter(entry: _Entry | None) -> Filter | None:
    if entry is None:
        return None
    entry.keys(("ssh_ports", "accept", "peers", "forward"))
    forward = entry.mapping("forward")
    if forward is not None:
        forward.keys(("realservers", "accept"))
    return Filter(
        entry.ports("ssh_ports"),
        _accepted(entry),
        entry.networks("peers", ""),
        None if forward is None else Forward(forward.networks("realservers", ""), _accepted(forward)),
    )


def _accepted(entry: _Entry) -> tuple[Match, ...]:
    keys = ("destinations", "ports", "sources", "interface")
    return tuple(_match(one, keys, must=False, protocols=(*PROTOCOLS, *TUNNELS)) for one in entry.entries("accept"))
