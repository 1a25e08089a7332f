# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wrote in ``lvs_services``, checked and normalised; knows nothing of machines.

Every mistake is collected, none stops the reading, so that one message can name them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork
from .health import Health, read_health
from .marks import MarkRule
from .mistakes import Mistakes

FORWARDING = ("dr", "nat", "tun")
PROTOCOLS = ("tcp", "udp", "sctp")
# The kernel loads ip_vs_<name>; its name field has 16 bytes. Which schedulers exist is the kernel's to say.
SCHEDULER_NAME = re.compile(r"[a-z0-9_]{1,15}")
MAX_WEIGHT = MAX_THRESHOLD = 2**31 - 1
# IP_VS keeps the timeout in jiffies; ipvsadm(8) bounds it at 31 days.
MAX_PERSISTENCE = 31 * 24 * 3600

SERVICE_KEYS = {
    "name", "vips", "protocol", "ports", "forwarding", "scheduler", "scheduler_flags", "persistence", "one_packet",
    "weight", "realservers", "fwmark", "marks", "networks", "sources", "interface", "vip_less", "snat", "ftp",
    "health", "sorry_server", "active",
}  # fmt: skip
REALSERVER_KEYS = {
    "host", "group", "address", "unmanaged", "weight", "port", "forwarding", "upper_threshold", "lower_threshold",
}  # fmt: skip
SORRY_KEYS = {"host", "address", "port", "forwarding"}
MARK_KEYS = {"vips", "networks", "protocol", "ports", "sources", "interface"}
FTP_KEYS = {"passive_ports"}
PERSISTENCE_KEYS = {"timeout", "netmask", "netmask6", "engine"}
FTP_CONTROL, FTP_DATA = 21, 20
MAX_MARK = 2**32 - 1
# What a bare `-p` means to ipvsadm's code (its manual says 300): said here, so nobody depends on it.
PERSISTENCE_SECONDS = 360
SCHEDULER_FLAGS = ("flag-1", "flag-2", "flag-3")
# Schedulers that have names of their own for two of the flags, as in ipvsadm(8).
NAMED_FLAGS = {"sh": ("sh-fallback", "sh-port"), "mh": ("mh-fallback", "mh-port")}


@dataclass(frozen=True)
class Entry:
    """One line of a service's ``realservers``: a host, a group of hosts, or the address of an unmanaged host."""

    kind: str
    value: str
    unmanaged: bool
    weight: int | str
    port: int | None
    forwarding: str
    upper_threshold: int
    lower_threshold: int


@dataclass(frozen=True)
class Ftp:
    """A service that speaks FTP: its data connections are named by the control connection's content (HOWTO 15)."""

    passive: tuple[int, int]

    @property
    def marked(self) -> tuple[tuple[int, int], ...]:
        """Control connection, the server's end of active data connections, and passive ones."""
        return ((FTP_CONTROL, FTP_CONTROL), (FTP_DATA, FTP_DATA), self.passive)


@dataclass(frozen=True)
class Service:
    """One entry of ``lvs_services``; it becomes one virtual service per VIP, protocol and port."""

    name: str
    vips: tuple[IPAddress, ...]
    protocols: tuple[str, ...]
    ports: tuple[int, ...]
    scheduler: str
    scheduler_flags: tuple[str, ...]
    persistence: Mapping[str, Any] | None
    one_packet: bool
    entries: tuple[Entry, ...]
    # Where packets are chosen by a mark: the mark, what gets it, and the VIPs that the director is only sent.
    fwmark: int = 0
    marks: tuple[MarkRule, ...] = ()
    vip_less: bool = False
    # Realservers see the director as the client (HOWTO 5.26).
    snat: bool = False
    ftp: Ftp | None = None
    health: Health = field(default_factory=lambda: Health({}))
    # Answers when no realserver is left.
    sorry_server: Entry | None = None
    # The director that is preferred for its VIPs; None is the cluster's.
    active: str | None = None

    @property
    def everyone(self) -> tuple[Entry, ...]:
        """The realservers, and who answers in their place."""
        return (*self.entries, *([self.sorry_server] if self.sorry_server else ()))

    @property
    def networks(self) -> tuple[IPNetwork, ...]:
        """What the marks choose that is no VIP on the director: whole networks, and VIPs routed to it (HOWTO 17)."""
        targets = dict.fromkeys(target for rule in self.marks for target in rule.targets)
        return tuple(target for target in targets if target not in self.held)

    @property
    def held(self) -> tuple[IPNetwork, ...]:
        """The VIPs that the director has, as networks of one host."""
        return () if self.vip_less else tuple(IPNetwork(vip) for vip in self.vips)

    @property
    def wanted(self) -> tuple[MarkRule, ...]:
        """What clients may send to it, whatever chooses it."""
        if self.marks:
            return self.marks
        ports = tuple((port, port) for port in self.ports if port)
        if self.ftp and not ports:
            ports = self.ftp.marked
        return (MarkRule(tuple(IPNetwork(vip) for vip in self.vips), self.protocols, ports),)


def read_services(raw: Any, where: str, mistakes: Mistakes) -> list[Service]:
    """Read ``lvs_services``; what cannot be read is reported and left out."""
    if raw is None:
        return []
    if not isinstance(raw, list):
        mistakes.append(f"{where}: lvs_services must be a list of services, got {type(raw).__name__}.")
        return []
    services = []
    names: set[str] = set()
    for index, item in enumerate(raw):
        service = _service(item, f"{where}: lvs_services[{index}]", mistakes)
        if service is None:
            continue
        if service.name in names:
            mistakes.append(
                f"{where}: lvs_services[{index}]: the name {service.name!r} is used twice; give each service its own."
            )
        names.add(service.name)
        services.append(service)
    return services


def _service(item: Any, where: str, mistakes: Mistakes) -> Service | None:
    if not mistakes.keys(where, item, SERVICE_KEYS):
        return None
    name = item.get("name")
    if not isinstance(name, str) or not name:
        mistakes.append(f"{where}: needs a name, a text of your choice.")
        name = where
    else:
        where = f"service {name}"
    ftp = _ftp(item.get("ftp"), where, mistakes)
    if ftp and _listed(item.get("ports", FTP_CONTROL)) not in ([FTP_CONTROL], [str(FTP_CONTROL)], ["ftp"]):
        mistakes.append(f"{where}: ftp is on port {FTP_CONTROL}, where its connections are followed; leave ports out.")
    if ftp:
        item = {"ports": [FTP_CONTROL], **item}
    persistence = _persistence(item.get("persistence"), where, mistakes)
    fwmark = _fwmark(item, where, mistakes)
    marks: tuple[MarkRule, ...] = ()
    ports: tuple[int, ...] = ()
    if fwmark:
        marks, vips = _marks(item, ftp, where, mistakes)
        protocols = tuple(dict.fromkeys(name for rule in marks for name in rule.protocols))
    else:
        vips = _vips(item.get("vips"), where, mistakes)
        protocols = _protocols(item.get("protocol", "tcp"), where, mistakes)
        ports = _ports(item.get("ports"), protocols, where, mistakes)
    entries = _entries(item, ports, where, mistakes)
    if ftp and (fwmark or any(entry.forwarding != "nat" for entry in entries)):
        # Whoever has the control connection has to get the data connections.
        persistence = persistence or {"timeout": PERSISTENCE_SECONDS}
        ports = () if fwmark else (0,)
    scheduler = _name(f"{where}: scheduler", item.get("scheduler", "wlc"), mistakes) or "wlc"
    service = Service(
        name=name,
        vips=vips,
        protocols=protocols,
        ports=ports,
        scheduler=scheduler,
        scheduler_flags=_flags(item.get("scheduler_flags"), scheduler, where, mistakes),
        persistence=persistence,
        one_packet=mistakes.boolean(f"{where}: one_packet", item.get("one_packet", False)),
        entries=entries,
        fwmark=fwmark,
        marks=marks,
        vip_less=mistakes.boolean(f"{where}: vip_less", item.get("vip_less", False)),
        snat=mistakes.boolean(f"{where}: snat", item.get("snat", False)),
        ftp=ftp,
        health=read_health(item.get("health"), f"{where}: health", mistakes),
        sorry_server=_sorry_server(item, ports, where, mistakes),
        active=None if item.get("active") is None else str(item["active"]),
    )
    _contradictions(service, where, mistakes)
    return service


def _contradictions(service: Service, where: str, mistakes: Mistakes) -> None:
    """What cannot work whatever the machines are."""
    if 0 in service.ports and service.persistence is None:
        mistakes.append(f"{where}: port 0 (every port) needs persistence (HOWTO 21).")
    if service.one_packet and set(service.protocols) != {"udp"}:
        mistakes.append(f"{where}: one_packet works for udp only; write protocol: udp, or leave one_packet out.")
    if service.ftp and set(service.protocols) - {"tcp"}:
        mistakes.append(f"{where}: ftp is a service of tcp; leave protocol out.")
    methods = {entry.forwarding for entry in service.everyone}
    if service.ftp and not service.fwmark and "nat" in methods and len(methods) > 1:
        mistakes.append(
            f"{where}: ftp by nat and by {', '.join(sorted(methods - {'nat'}))} in one service: nat follows the data"
            " connections by module ip_vs_ftp, the others by persistence (HOWTO 15); use one method, or a fwmark."
        )
    if service.snat and methods - {"nat"}:
        mistakes.append(
            f"{where}: snat changes the client's address, which {', '.join(sorted(methods - {'nat'}))} cannot, as the"
            " reply does not pass the director (HOWTO 5.26); use forwarding nat for all its realservers."
        )
    if service.snat and service.one_packet:
        mistakes.append(
            f"{where}: snat needs a connection to remember the client, which one_packet does not make; leave one out."
        )
    if service.vip_less and service.vips and not service.fwmark:
        mistakes.append(
            f"{where}: vip_less needs a fwmark: without the VIP on the director only a mark makes it take the packets"
            " in (HOWTO 17.4)."
        )
    _marked_ports(service, where, mistakes)


def _marked_ports(service: Service, where: str, mistakes: Mistakes) -> None:
    """A realserver's own port under a mark catches everything that is marked (HOWTO 18.8)."""
    for entry in service.everyone:
        if not service.fwmark or entry.port in (None, 0):
            continue
        spot = f"{where}: realserver {entry.value}: port {entry.port}"
        if entry.forwarding != "nat":
            mistakes.append(f"{spot}: {entry.forwarding} cannot rewrite ports (HOWTO 10); leave port out.")
        elif any(rule.ports == () or any(low != high for low, high in rule.ports) for rule in service.marks) or (
            len({port for rule in service.marks for port in rule.ports}) > 1
        ):
            mistakes.append(
                f"{spot}: fwmark {service.fwmark} marks several ports, and nat would send all of them to this one"
                " (HOWTO 18.8); leave port out so that each keeps its own, or use a service with a mark for each port."
            )


def _fwmark(item: Mapping[str, Any], where: str, mistakes: Mistakes) -> int:
    """The mark, 0 for a service that is chosen by address and port."""
    raw = item.get("fwmark")
    if raw is not None:
        if isinstance(raw, str) and re.fullmatch(r"0[xX][0-9a-fA-F]+", raw):
            raw = int(raw, 16)
        return mistakes.integer(f"{where}: fwmark", raw, 1, MAX_MARK, 0)
    for key in ("marks", "networks", "sources", "interface"):
        if item.get(key):
            mistakes.append(f"{where}: {key} needs a fwmark, by which the director knows the packets (HOWTO 18).")
    return 0


def _marks(
    item: Mapping[str, Any], ftp: Ftp | None, where: str, mistakes: Mistakes
) -> tuple[tuple[MarkRule, ...], tuple[IPAddress, ...]]:
    """What gets the mark, and the VIPs among it; an entry of `marks` is silent about what the service says."""
    raw = item.get("marks") or [{}]
    if not isinstance(raw, list):
        mistakes.append(f"{where}: marks must be a list, got {type(raw).__name__}.")
        return (), ()
    rules, vips = [], {}
    for index, entry in enumerate(raw):
        spot = f"{where}: marks[{index}]" if item.get("marks") else where
        if not mistakes.keys(spot, entry, MARK_KEYS):
            continue
        settings = {**{key: item[key] for key in MARK_KEYS if key in item}, **entry}
        own = () if settings.get("vips") in (None, []) else _vips(settings["vips"], spot, mistakes)
        vips.update(dict.fromkeys(own))
        found = [mistakes.network(f"{spot}: networks", value) for value in _listed(settings.get("networks") or [])]
        targets = (*map(IPNetwork, own), *(network for network in found if network is not None))
        if not targets and not found and settings.get("vips") in (None, []):
            mistakes.append(f"{spot}: needs vips or networks, the addresses whose packets are marked.")
        rules += _mark_rules(settings, targets, ftp if not item.get("marks") else None, spot, mistakes)
    return tuple(rules), tuple(vips)


def _mark_rules(
    settings: Mapping[str, Any], targets: tuple[IPNetwork, ...], ftp: Ftp | None, where: str, mistakes: Mistakes
) -> list[MarkRule]:
    protocols = _protocols(settings.get("protocol", "tcp"), where, mistakes)
    ports: list[tuple[int, int]] = []
    if ftp:
        ports += ftp.marked
    else:
        values = _listed(settings.get("ports") or [])
        if len(values) > 1 and any(str(value) == "0" for value in values):
            mistakes.append(f"{where}: port 0 is every port, so it stands alone.")
        for value in values:
            if (found := mistakes.ports(f"{where}: port", value, protocols[0])) is not None and found != (0, 0):
                ports.append(found)
        if settings.get("ports") in (None, [], ()):
            mistakes.append(f"{where}: needs ports, a list of port numbers and ranges (0: every port).")
    sources = [mistakes.network(f"{where}: sources", value) for value in _listed(settings.get("sources") or [])]
    interface = settings.get("interface")
    if interface is not None and not re.fullmatch(r"[^\s/:\"]{1,15}", str(interface)):
        mistakes.append(f"{where}: interface {interface!r} cannot be the name of one.")
        interface = None
    rule = MarkRule(
        targets=targets,
        protocols=protocols,
        ports=tuple(dict.fromkeys(ports)),
        sources=tuple(source for source in sources if source is not None),
        interface=None if interface is None else str(interface),
    )
    return [rule] if targets else []


def _ftp(raw: Any, where: str, mistakes: Mistakes) -> Ftp | None:
    if raw is None or raw is False:
        return None
    where = f"{where}: ftp"
    if raw is True:
        raw = {}
    if not mistakes.keys(where, raw, FTP_KEYS):
        return None
    passive = mistakes.ports(f"{where}: passive_ports", raw.get("passive_ports", "1024-65535"), "tcp")
    return Ftp(passive or (1024, 65535))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _name(where: str, value: Any, mistakes: Mistakes) -> str | None:
    """The name of a scheduler or persistence engine, which is part of a kernel module's name."""
    if isinstance(value, str) and SCHEDULER_NAME.fullmatch(value):
        return value
    mistakes.append(f"{where} {value!r} cannot be a name; write 1 to 15 of lower-case letters, digits and _.")
    return None


def _flags(raw: Any, scheduler: str, where: str, mistakes: Mistakes) -> tuple[str, ...]:
    known = (*SCHEDULER_FLAGS, *NAMED_FLAGS.get(scheduler, ()))
    flags = _listed(raw) if raw is not None else []
    for value in flags:
        mistakes.choice(f"{where}: scheduler_flags of {scheduler}", value, known, "")
    return tuple(map(str, flags))


def _protocols(raw: Any, where: str, mistakes: Mistakes) -> tuple[str, ...]:
    protocols = [mistakes.choice(f"{where}: protocol", value, PROTOCOLS, "tcp") for value in _listed(raw)]
    if not protocols:
        mistakes.append(f"{where}: protocol is empty; choose of {', '.join(PROTOCOLS)}, or leave it out for tcp.")
    for value in sorted({value for value in protocols if protocols.count(value) > 1}):
        mistakes.append(f"{where}: protocol {value} is listed twice; once is enough.")
    return tuple(dict.fromkeys(protocols)) or ("tcp",)


def _vips(raw: Any, where: str, mistakes: Mistakes) -> tuple[IPAddress, ...]:
    if not raw:
        mistakes.append(f"{where}: needs vips, a list of addresses.")
        return ()
    vips: list[IPAddress] = []
    for value in _listed(raw):
        address = mistakes.address(f"{where}: VIP", value)
        if address is None:
            continue
        if address in vips:
            mistakes.append(f"{where}: VIP {address} is listed twice; once is enough.")
            continue
        vips.append(address)
    return tuple(vips)


def _ports(raw: Any, protocols: tuple[str, ...], where: str, mistakes: Mistakes) -> tuple[int, ...]:
    if raw is None or raw in ([], ()):
        mistakes.append(f"{where}: needs ports, a list of port numbers (0 with persistence: every port).")
        return ()
    ports: list[int] = []
    for value in _listed(raw):
        port = mistakes.port_name(f"{where}: port", value, protocols[0])
        if port in ports:
            mistakes.append(f"{where}: port {port} is listed twice; once is enough.")
        elif port is not None:
            ports.append(port)
    return tuple(ports)


def _persistence(raw: Any, where: str, mistakes: Mistakes) -> Mapping[str, Any] | None:
    """None, or timeout, netmask, netmask6 and engine; a bare number is the timeout in seconds."""
    if raw is None or raw is False:
        return None
    where = f"{where}: persistence"
    if raw is True:
        raw = {}
    elif not isinstance(raw, Mapping):
        raw = {"timeout": raw}
    if not mistakes.keys(where, raw, PERSISTENCE_KEYS):
        return None
    persistence: dict[str, Any] = {
        "timeout": mistakes.integer(
            f"{where} timeout", raw.get("timeout", PERSISTENCE_SECONDS), 1, MAX_PERSISTENCE, PERSISTENCE_SECONDS
        )
    }
    if raw.get("netmask") is not None:
        persistence["netmask"] = _netmask(f"{where} netmask", raw["netmask"], mistakes)
    if raw.get("netmask6") is not None:
        persistence["netmask6"] = mistakes.integer(f"{where} netmask6", raw["netmask6"], 1, 128, 128)
    if raw.get("engine") not in (None, "none") and (engine := _name(f"{where} engine", raw["engine"], mistakes)):
        persistence["engine"] = engine
    return persistence


def _netmask(where: str, raw: Any, mistakes: Mistakes) -> int:
    """How much of an IPv4 client's address counts: a length, or a dotted mask; `netmask6` is IPv6's."""
    if isinstance(raw, str) and "." in raw:
        if length := _dotted_length(raw):
            return length
        mistakes.append(f"{where}: {raw!r} is not a netmask; write the prefix length, 1 to 32.")
        return 32
    return mistakes.integer(where, raw, 1, 32, 32)


def _dotted_length(text: str) -> int:
    """The prefix length of a dotted mask; 0 if it is none."""
    try:
        mask = IPAddress(text)
    except (AddrFormatError, ValueError):
        return 0
    return int(mask.netmask_bits()) if mask.version == 4 and mask.is_netmask() else 0


def _entries(item: Mapping[str, Any], ports: tuple[int, ...], where: str, mistakes: Mistakes) -> tuple[Entry, ...]:
    raw = item.get("realservers", [])
    if not isinstance(raw, list):
        mistakes.append(f"{where}: realservers must be a list, got {type(raw).__name__}.")
        return ()
    entries = []
    for index, line in enumerate(raw):
        spot = f"{where}: realservers[{index}]"
        if not mistakes.keys(spot, line, REALSERVER_KEYS):
            continue
        kinds = [kind for kind in ("host", "group", "address") if line.get(kind) is not None]
        if len(kinds) != 1:
            mistakes.append(f"{spot}: needs exactly one of host, group, address.")
            continue
        unmanaged = mistakes.boolean(f"{where}: realserver {line[kinds[0]]}: unmanaged", line.get("unmanaged", False))
        value = _who(kinds[0], line, unmanaged, where, mistakes)
        if value is not None:
            entries.append(_entry(kinds[0], value, unmanaged, {**item, **line}, ports, where, mistakes))
    return tuple(entries)


def _sorry_server(
    item: Mapping[str, Any], ports: tuple[int, ...], where: str, mistakes: Mistakes
) -> Entry | None:
    """Who answers when nobody else does; what it does not say, the service says."""
    raw = item.get("sorry_server")
    where = f"{where}: sorry_server"
    if raw is None or not mistakes.keys(where, raw, SORRY_KEYS):
        return None
    kinds = [kind for kind in ("host", "address") if raw.get(kind) is not None]
    if len(kinds) != 1:
        mistakes.append(f"{where}: needs exactly one of host and address.")
        return None
    value = _who(kinds[0], raw, False, where, mistakes)
    settings = {"forwarding": item.get("forwarding", "dr"), **raw}
    return None if value is None else _entry(kinds[0], value, False, settings, ports, where, mistakes)


def _who(kind: str, line: Mapping[str, Any], unmanaged: bool, where: str, mistakes: Mistakes) -> str | None:
    """The name of the host or group, or the address normalised."""
    if kind == "address":
        address = mistakes.address(f"{where}: realserver", line[kind])
        return None if address is None else str(address)
    if unmanaged:
        mistakes.append(
            f"{where}: realserver {line[kind]}: only a realserver given by its address can be unmanaged; give its"
            " address, or leave unmanaged out."
        )
    return str(line[kind])


def _entry(
    kind: str,
    value: str,
    unmanaged: bool,
    settings: Mapping[str, Any],
    ports: tuple[int, ...],
    where: str,
    mistakes: Mistakes,
) -> Entry:
    """`settings` are the line's own, and the service's where the line is silent."""
    spot = f"{where}: realserver {value}"
    forwarding = mistakes.choice(f"{spot}: forwarding", settings.get("forwarding", "dr"), FORWARDING, "dr")
    port = settings.get("port")
    if port is not None:
        port = mistakes.port(f"{spot}: port", port)
    if port is not None and forwarding != "nat" and any(port != wanted for wanted in ports):
        mistakes.append(
            f"{spot}: port {port} differs from the VIP's; {forwarding} cannot rewrite ports, the packet reaches"
            " the realserver unchanged (HOWTO 10). Let the daemon listen on the VIP's port, or use nat."
        )
    weight = settings.get("weight", 1)
    if weight != "keep":
        weight = mistakes.integer(f"{spot}: weight", weight, 0, MAX_WEIGHT, 1)
    upper = mistakes.integer(f"{spot}: upper_threshold", settings.get("upper_threshold", 0), 0, MAX_THRESHOLD, 0)
    lower = mistakes.integer(f"{spot}: lower_threshold", settings.get("lower_threshold", 0), 0, MAX_THRESHOLD, 0)
    if lower > upper:
        mistakes.append(
            f"{spot}: lower_threshold {lower} is above upper_threshold {upper}; connections come again when their"
            " number falls below the lower one, so it must not be the greater."
        )
    return Entry(kind, value, unmanaged, weight, port, forwarding, upper, lower)
