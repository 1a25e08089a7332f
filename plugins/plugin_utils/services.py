# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wrote in ``lvs_services``, checked and normalised; knows nothing of machines.

Every mistake is collected, none stops the reading, so that one message can name them all.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork

FORWARDING = ("dr", "nat", "tun")
PROTOCOLS = ("tcp", "udp", "sctp")
# The kernel loads ip_vs_<name>; its name field has 16 bytes. Which schedulers exist is the kernel's to say.
SCHEDULER_NAME = re.compile(r"[a-z0-9_]{1,15}")
# netaddr before 1.0 would complete 10.1 to 10.0.0.1.
WHOLE_ADDRESS = re.compile(r".*:.*|[0-9]+(\.[0-9]+){3}(/.*)?")
MAX_WEIGHT = MAX_THRESHOLD = 2**31 - 1
# IP_VS keeps the timeout in jiffies; ipvsadm(8) bounds it at 31 days.
MAX_PERSISTENCE = 31 * 24 * 3600

SERVICE_KEYS = {
    "name", "vips", "protocol", "ports", "forwarding", "scheduler", "scheduler_flags", "persistence", "one_packet",
    "weight", "realservers",
}  # fmt: skip
REALSERVER_KEYS = {
    "host", "group", "address", "unmanaged", "weight", "port", "forwarding", "upper_threshold", "lower_threshold",
}  # fmt: skip
PERSISTENCE_KEYS = {"timeout", "netmask", "netmask6", "engine"}
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


class Mistakes(list[str]):
    """Sentences for the person who wrote the inventory: which object, what is wrong, what to do."""

    def integer(self, where: str, value: Any, low: int, high: int, fallback: int) -> int:
        """Read an integer; text of digits counts, because extra variables and surveys deliver text."""
        if isinstance(value, str) and re.fullmatch(r"[0-9]+", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.append(f"{where}: {value!r} is not an integer from {low} to {high}.")
            return fallback
        return value

    def port(self, where: str, value: Any) -> int | None:
        """Read a port; None if it is none, so that a wrong port is not taken for port 0 as well."""
        port = self.integer(where, value, 0, 65535, -1)
        return None if port < 0 else port

    def choice(self, where: str, value: Any, choices: Iterable[str], fallback: str) -> str:
        if value not in choices:
            self.append(f"{where}: {value!r} is unknown; choose one of {', '.join(choices)}.")
            return fallback
        return str(value)

    def boolean(self, where: str, value: Any) -> bool:
        if value not in (True, False, "true", "false", "yes", "no", "True", "False"):
            self.append(f"{where}: {value!r} is not a boolean; write true or false.")
            return False
        return value in (True, "true", "yes", "True")

    def keys(self, where: str, value: Any, known: set[str]) -> bool:
        """True if value is a mapping; names its unknown keys."""
        if not isinstance(value, Mapping):
            self.append(f"{where}: expected a mapping, got {type(value).__name__} {value!r}.")
            return False
        unknown = sorted(str(key) for key in value if key not in known)
        if unknown:
            self.append(f"{where}: unknown {', '.join(map(repr, unknown))}; known are {', '.join(sorted(known))}.")
        return True

    def address(self, where: str, value: Any) -> IPAddress | None:
        """Read one unicast host address; a /32 or /128 is tolerated, any shorter prefix is not."""
        text = str(value)
        if re.search(r"(^|\.)0\d", text.split("/", maxsplit=1)[0]) and ":" not in text:
            self.append(f"{where}: {text} has a leading zero, which some programs read as octal; write it without.")
            return None
        try:
            if not isinstance(value, str) or "%" in text or not WHOLE_ADDRESS.fullmatch(text):
                raise AddrFormatError
            network = IPNetwork(text) if "/" in text else IPNetwork(IPAddress(text))
        except (AddrFormatError, ValueError):
            self.append(
                f"{where}: {value!r} is not an IPv4 or IPv6 address; names are not resolved, write the address."
            )
            return None
        address = network.ip
        if network.prefixlen != (32 if address.version == 4 else 128):
            self.append(
                f"{where}: {text} has a prefix shorter than the address; write {address}"
                " (a VIP with a network's prefix makes the whole network local, HOWTO 4.7)."
            )
        if _unusable(address):
            self.append(
                f"{where}: {address} is not a unicast address that clients and routers can use; choose one of your"
                " network (for LocalNode, name the director as host)."
            )
            return None
        if address.is_ipv4_mapped():
            self.append(f"{where}: {address} is an IPv4-mapped IPv6 address; write {address.ipv4()}.")
            return None
        return address


def _unusable(address: IPAddress) -> bool:
    if address.version == 4 and (address.words[0] == 0 or address.words[0] >= 224):
        return True
    return int(address) == 0 or address.is_multicast() or address.is_loopback() or address.is_link_local()


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
    vips = _vips(item.get("vips"), where, mistakes)
    protocols = _protocols(item.get("protocol", "tcp"), where, mistakes)
    persistence = _persistence(item.get("persistence"), where, mistakes)
    ports = _ports(item.get("ports"), protocols, where, mistakes)
    if 0 in ports and persistence is None:
        mistakes.append(f"{where}: port 0 (every port) needs persistence (HOWTO 21).")
    scheduler = _name(f"{where}: scheduler", item.get("scheduler", "wlc"), mistakes) or "wlc"
    one_packet = mistakes.boolean(f"{where}: one_packet", item.get("one_packet", False))
    if one_packet and set(protocols) != {"udp"}:
        mistakes.append(f"{where}: one_packet works for udp only; write protocol: udp, or leave one_packet out.")
    entries = _entries(item, ports, where, mistakes)
    return Service(
        name=name,
        vips=vips,
        protocols=protocols,
        ports=ports,
        scheduler=scheduler,
        scheduler_flags=_flags(item.get("scheduler_flags"), scheduler, where, mistakes),
        persistence=persistence,
        one_packet=one_packet,
        entries=entries,
    )


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
        if isinstance(value, str) and not value.isdigit():
            try:
                value = socket.getservbyname(value, protocols[0])
            except (OSError, ValueError):
                mistakes.append(
                    f"{where}: port {value!r} is no number and no service name of {protocols[0]} that this machine"
                    " knows; write the number."
                )
                continue
        port = mistakes.port(f"{where}: port", value)
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
        # 360 s is what ipvsadm's code takes for a bare -p (its manual says 300): said here, so nobody depends on it.
        "timeout": mistakes.integer(f"{where} timeout", raw.get("timeout", 360), 1, MAX_PERSISTENCE, 360)
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
