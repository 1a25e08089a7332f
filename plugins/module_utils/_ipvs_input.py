# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user wrote as ``config`` and ``restrict``, checked and normalised; every mistake in one message."""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Callable, NamedTuple

from . import _ipvs_model as model
from ._errors import LvsError
from ._ipvs_model import Destination, DestinationKey, Service, ServiceKey

MAX_WEIGHT = MAX_THRESHOLD = 2147483647
MAX_TIMEOUT = 31 * 86400  # seconds
MAX_FWMARK = 0xFFFFFFFF
SHOWN_MISTAKES = 50

SCHEDULER_NAME = re.compile(r"[a-z0-9_]{1,15}", re.ASCII)

SERVICE_OPTIONS = frozenset(
    "protocol address port fwmark family scheduler scheduler_flags persistence one_packet realservers pool".split()
)
NAMES = frozenset("protocol address port fwmark family".split())
REALSERVER_OPTIONS = frozenset("address port forwarding weight upper_threshold lower_threshold tunnel".split())
PERSISTENCE_OPTIONS = frozenset("timeout netmask engine".split())
TUNNEL_OPTIONS = frozenset("type port checksum".split())
RESTRICT_OPTIONS = frozenset("address port protocol fwmark family".split())


class WantedDestination(NamedTuple):
    """A realserver as stated: ``plain`` with defaults where nothing was stated, ``stated`` without."""

    plain: Destination
    stated: dict[str, Any]
    keep_weight: bool
    position: int

    @property
    def key(self) -> DestinationKey:
        return self.plain[:3]


class Doubt(NamedTuple):
    """What is wrong with a whole record, unless the kernel has one with the same fault; no place means the service."""

    place: DestinationKey | None
    where: str
    text: str


class WantedService(NamedTuple):
    """A service as stated, the same way. ``destinations`` is None where realservers were not mentioned.

    ``flags`` is a pair: the flags that were stated, and which of them are set. Persistence is stated as a whole.
    """

    plain: Service
    stated: dict[str, Any]
    flags: tuple[int, int]
    destinations: list[WantedDestination] | None
    plain_destinations: dict[DestinationKey, Destination]
    keep_weights: dict[DestinationKey, Destination]
    position: int
    doubts: tuple[Doubt, ...] = ()

    @property
    def key(self) -> ServiceKey:
        return self.plain[:5]


class _Pool(NamedTuple):
    """Realservers as stated, as records with defaults, those whose weight stays what it is, and doubts about them."""

    destinations: list[WantedDestination] | None
    complete: dict[DestinationKey, Destination]
    keep_weights: dict[DestinationKey, Destination]
    doubts: tuple[Doubt, ...]


class Restriction(NamedTuple):
    """What a service must look like to be ours; None matches everything."""

    family: int | None
    network: int
    mask: int
    ports: range | None
    protocol: int | None
    fwmarks: range | None

    def matches(self, key: ServiceKey) -> bool:
        """Whether this entry names the service. Only ``fwmark`` names a firewall mark's service."""
        family, protocol, address, port, fwmark = key
        if self.family is not None and self.family != family:
            return False
        if self.fwmarks is not None or fwmark:
            return self.fwmarks is not None and fwmark in self.fwmarks
        if int.from_bytes(address, "big") & self.mask != self.network:
            return False
        return (self.ports is None or port in self.ports) and self.protocol in (None, protocol)


class Mistake(Exception):
    """One thing that is wrong with what the user wrote."""


class Mistakes:
    """Collects what is wrong, to say it all at once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, where: str, text: str) -> None:
        """Note one mistake and where it stands."""
        self.texts.append(f"{where}: {text}")

    def raise_any(self) -> None:
        """End with one error that holds every mistake, if there are any."""
        self.texts = list(dict.fromkeys(self.texts))  # a pool is looked at once for each port
        if not self.texts:
            return
        shown = self.texts[:SHOWN_MISTAKES]
        more = len(self.texts) - len(shown)
        count = f"{len(self.texts)} mistakes" if len(self.texts) > 1 else "1 mistake"
        raise LvsError(
            f"The input has {count}; nothing was changed. "
            + " ".join(f"({number}) {text}" for number, text in enumerate(shown, 1))
            + (f" … and {more} more." if more else ""),
            mistakes=self.texts,
        )


# ---- single values


def parse_address(value: Any) -> tuple[int, bytes]:
    """An IPv4 or IPv6 address as (family, packed)."""
    if not isinstance(value, str):
        raise Mistake(f"{value!r} is not an IP address")
    if "%" in value:
        raise Mistake(f"{value!r} has a zone; IPVS knows no zones")
    if "/" in value:
        raise Mistake(f"{value!r} has a prefix length where a single address is asked for")
    if ":" in value:
        try:
            packed = inet_pton(AF_INET6, value)
        except (OSError, ValueError):
            raise Mistake(f"{value!r} is not an IPv6 address") from None
        if packed[:12] == b"\0" * 10 + b"\xff\xff":
            raise Mistake(f"{value!r} is an IPv4-mapped IPv6 address; write the IPv4 address")
        return int(AF_INET6), packed
    try:
        return int(AF_INET), inet_pton(AF_INET, value)
    except (OSError, ValueError):
        if re.fullmatch(r"(\d{1,3}\.){3}\d{1,3}", value, re.ASCII) and re.search(r"(^|\.)0\d", value):
            raise Mistake(f"{value!r} has leading zeros, which some programs read as octal") from None
        raise Mistake(f"{value!r} is not an IP address (names are not resolved)") from None


def _unusable(family: int, packed: bytes) -> str:
    """Why no machine can have this address, or nothing."""
    if not any(packed):
        return "is the unspecified address"
    if packed[0] == 0xFF and family == AF_INET6:
        return "is a multicast address"
    if family == AF_INET and packed[0] >= 224:
        return "is the broadcast address" if packed == b"\xff" * 4 else "is a multicast or reserved address"
    return ""


def parse_integer(value: Any, low: int, high: int, what: str) -> int:
    """A whole number within its range. Digits in a string are a number, as they come from Jinja."""
    if isinstance(value, bool):
        raise Mistake(f"{what} {value!r} is not a number")
    if isinstance(value, str) and re.fullmatch(r"\d{1,20}", value, re.ASCII):
        value = int(value)
    if not isinstance(value, int):
        raise Mistake(f"{what} {value!r} is not a whole number")
    if not low <= value <= high:
        raise Mistake(f"{what} {value} is outside of {low} to {high}")
    return value


def parse_fwmark(value: Any) -> int:
    """A firewall mark, decimal or hexadecimal with 0x."""
    if isinstance(value, str) and re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", value, re.ASCII):
        value = int(value, 16)
    return parse_integer(value, 1, MAX_FWMARK, "fwmark")


def parse_range(value: Any, parse: Callable[[Any], int], what: str) -> range:
    """One number, or two with a hyphen between them, both included."""
    first, hyphen, last = value.partition("-") if isinstance(value, str) else (value, "", "")
    low = parse(first)
    high = parse(last) if hyphen else low
    if high < low:
        raise Mistake(f"{what} {value!r} ends before it begins")
    return range(low, high + 1)


def _parse_port(value: Any) -> int:
    return parse_integer(value, 0, 65535, "port")


def parse_netmask(value: Any, family: int) -> int:
    """A persistence netmask: a prefix length, or dotted for IPv4."""
    if family == AF_INET6:
        return parse_integer(value, 1, 128, "netmask")
    if isinstance(value, str) and "." in value:
        try:
            return int.from_bytes(inet_pton(AF_INET, value), "big")
        except (OSError, ValueError):
            raise Mistake(f"netmask {value!r} is neither a prefix length nor a dotted mask") from None
    length = parse_integer(value, 0, 32, "netmask")
    return 0xFFFFFFFF << (32 - length) & 0xFFFFFFFF


def parse_choice(value: Any, choices: dict[str, int], what: str) -> int:
    """One of some words."""
    if isinstance(value, str) and value in choices:
        return choices[value]
    raise Mistake(f"{what} {value!r} is none of {', '.join(choices)}")


def parse_name(value: Any, what: str) -> str:
    """The name of a scheduler or persistence engine, as the kernel's modules are called."""
    if isinstance(value, str) and SCHEDULER_NAME.fullmatch(value):
        return value
    raise Mistake(f"{what} {value!r} is no such name: 1 to 15 of the characters a-z, 0-9 and _")


def _only(entry: Any, options: frozenset[str], what: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise Mistake(f"{entry!r} is not a dictionary")
    unknown = [str(key) for key in entry if key not in options]
    if unknown:
        raise Mistake(f"unknown option {', '.join(sorted(unknown))}; {what} has {', '.join(sorted(options))}")
    return entry


# ---- rules that a whole record must keep


def service_mistakes(service: Service) -> list[str]:
    """What makes this complete record one that the kernel would refuse or that could not work."""
    found = []
    if not service.fwmark and not service.port and not service.flags & model.PERSISTENT:
        found.append("port 0 (every port) needs persistence")
    if service.flags & model.ONE_PACKET and service.protocol not in (0, model.PROTOCOLS["udp"]):
        found.append("one_packet is for UDP services and firewall marks only")
    if service.engine and not service.flags & model.PERSISTENT:
        found.append(f"persistence engine {service.engine} needs persistence")
    return found


def destination_mistakes(service: ServiceKey, destination: Destination) -> list[str]:
    """The same for a realserver of that service."""
    found = []
    family, _protocol, _address, service_port, fwmark = service[:5]
    forwarding = destination.forwarding
    # A mark has no port: there a realserver's is part of its name and nothing else.
    if forwarding in (model.DR, model.TUN) and destination.port != service_port and not fwmark:
        found.append(
            f"port {destination.port} with forwarding {model.FORWARDING_NAMES[forwarding]}: packets reach the "
            f"realserver unchanged, so its port must be the service's, {service_port}; only nat translates ports"
        )
    if destination.family != family and forwarding != model.TUN:
        found.append(
            f"an {_family_word(destination.family)} realserver of an {_family_word(family)} service "
            "needs forwarding tun"
        )
    if destination.lower_threshold > destination.upper_threshold:
        found.append(
            f"lower_threshold {destination.lower_threshold} is above upper_threshold {destination.upper_threshold}"
        )
    if destination.tunnel_type and forwarding not in (model.TUN, model.LOCAL):
        found.append("tunnel is for forwarding tun only")
    if destination.tunnel_type == model.TUNNELS["gue"] and not destination.tunnel_port:
        found.append("a gue tunnel needs a port")
    if destination.tunnel_type != model.TUNNELS["gue"] and destination.tunnel_port:
        found.append("a tunnel port is for type gue only")
    if destination.tunnel_type == model.TUNNELS["ipip"] and destination.tunnel_flags:
        found.append("an ipip tunnel has no checksum")
    return found


def _family_word(family: int) -> str:
    return "IPv6" if family == AF_INET6 else "IPv4"


# ---- config


class _Parser:
    """Reads one ``config``; addresses are parsed once however often they come."""

    def __init__(self, keep: bool, pools: Any = None, judge: bool = True) -> None:
        self.keep = keep  # unstated fields keep the kernel's value: a record cannot be judged before it is known
        self.judge = judge
        self.mistakes = Mistakes()
        self.doubts: list[Doubt] = []
        self._addresses: dict[Any, tuple[int, bytes]] = {}
        self._pools = self._named_pools(pools)
        # What a pool means depends on family, port and being a mark alone: read once, shared by all.
        self._read_pools: dict[tuple[str, int, int, bool], _Pool] = {}

    def _named_pools(self, pools: Any) -> dict[str, Any]:
        if not isinstance(pools, dict):
            if pools is not None:
                self.mistakes.add("pools", "is not a dictionary of lists")
            return {}
        for name, entries in pools.items():
            if not isinstance(entries, (list, tuple)):
                self.mistakes.add(f"pools.{name}", "is not a list of realservers")
        return {str(name): entries for name, entries in pools.items() if isinstance(entries, (list, tuple))}

    def _doubt(self, *what: Any) -> Doubt:
        self.doubts.append(Doubt(*what))
        return self.doubts[-1]

    def attempt(self, where: str, parse: Callable[..., Any], *arguments: Any) -> Any:
        """The parsed value, or None after noting the mistake."""
        try:
            return parse(*arguments)
        except Mistake as exc:
            self.mistakes.add(where, str(exc))
            return None

    def address(self, value: Any) -> tuple[int, bytes]:
        """A usable address, parsed once."""
        try:
            known = self._addresses.get(value)
        except TypeError:
            known = None
        if known is None:
            known = parse_address(value)
            reason = _unusable(*known)
            if reason:
                raise Mistake(f"{value!r} {reason}")
            self._addresses[value] = known
        return known

    def services(self, config: Any) -> list[WantedService]:
        """Every service that could be read; look at the mistakes before using them."""
        if not isinstance(config, (list, tuple)):
            self.mistakes.add("config", "is not a list")
            return []
        wanted: list[WantedService] = []
        first: dict[ServiceKey, int] = {}
        for index, entry in enumerate(config):
            where = f"config[{index}]"
            before = len(self.mistakes.texts)
            service = self.attempt(where, self._service, where, index, entry)
            if service is None or len(self.mistakes.texts) != before:
                continue
            if service.key in first:
                self.mistakes.add(
                    where, f"{model.describe_service(service.key)} is the same as config[{first[service.key]}]"
                )
                continue
            first[service.key] = index
            wanted.append(service)
        return wanted

    def _service(self, where: str, index: int, entry: Any) -> WantedService:
        entry = {key: value for key, value in _only(entry, SERVICE_OPTIONS, "a service").items() if value is not None}
        key = self._service_key(entry)
        stated: dict[str, Any] = {}
        meant = flags = 0
        if "scheduler" in entry:
            stated["scheduler"] = self.attempt(where, parse_name, entry["scheduler"], "scheduler")
        if "scheduler_flags" in entry:
            meant |= model.ALL_SCHEDULER_FLAGS
            flags |= self.attempt(where, self._scheduler_flags, entry) or 0
        if "one_packet" in entry:
            meant |= model.ONE_PACKET
            if not isinstance(entry["one_packet"], bool):
                self.mistakes.add(where, f"one_packet {entry['one_packet']!r} is not a boolean")
            flags |= model.ONE_PACKET if entry["one_packet"] is True else 0
        if "persistence" in entry:
            persistence = self.attempt(where, self._persistence, key[0], entry["persistence"]) or {}
            meant |= model.PERSISTENT
            flags |= model.PERSISTENT if persistence.pop("on", False) else 0
            stated.update(persistence)
        plain = Service(*key, netmask=model.FULL_NETMASK[key[0]], flags=flags)
        if flags & model.PERSISTENT:
            plain = plain._replace(timeout=model.DEFAULT_TIMEOUT)
        plain = plain._replace(**stated)
        doubts: list[Doubt] = []
        if self.judge and not self.keep:
            doubts = [self._doubt(None, where, text) for text in service_mistakes(plain)]
        pool = _Pool(None, {}, {}, ())
        if "pool" in entry:
            if "realservers" in entry:
                raise Mistake("has both realservers and a pool; name one of them")
            pool = self._pool(entry["pool"], key)
        elif "realservers" in entry:
            pool = self._destinations(where, key, entry["realservers"])
        return WantedService(plain, stated, (meant, flags), *pool[:3], index, (*doubts, *pool.doubts))

    def _pool(self, name: Any, service: ServiceKey) -> _Pool:
        entries = self._pools.get(name) if isinstance(name, str) else None
        if entries is None:
            raise Mistake(f"pool {name!r} is none of pools{': ' * bool(self._pools)}{', '.join(sorted(self._pools))}")
        place = (name, service[0], service[3], bool(service[4]))
        known = self._read_pools.get(place)
        if known is None:
            known = self._read_pools[place] = self._destinations(f"pools.{name}", service, entries)
        return known

    def _service_key(self, entry: dict[str, Any]) -> ServiceKey:
        if "fwmark" in entry:
            extra = [name for name in ("protocol", "address", "port") if name in entry]
            if extra:
                raise Mistake(f"a firewall mark has no {', '.join(extra)}; what is marked is the firewall's business")
            family = parse_choice(entry.get("family", "ipv4"), model.FAMILIES, "family")
            return (family, 0, b"", 0, parse_fwmark(entry["fwmark"]))
        missing = [name for name in ("address", "port") if name not in entry]
        if missing:
            raise Mistake(
                f"{' and '.join(missing)} missing; a service is named by protocol, address and port or by fwmark"
            )
        protocol = parse_choice(entry.get("protocol", "tcp"), model.PROTOCOLS, "protocol")
        family, packed = self.address(entry["address"])
        if "family" in entry and parse_choice(entry["family"], model.FAMILIES, "family") != family:
            raise Mistake(f"address {entry['address']} is not of family {entry['family']}")
        return (family, protocol, packed, parse_integer(entry["port"], 0, 65535, "port"), 0)

    @staticmethod
    def _scheduler_flags(entry: dict[str, Any]) -> int:
        names = entry["scheduler_flags"]
        if not isinstance(names, (list, tuple)):
            raise Mistake(f"scheduler_flags {names!r} is not a list")
        scheduler = entry.get("scheduler")
        known = dict(model.SCHEDULER_FLAGS)
        for owner, own in model.SCHEDULER_FLAG_NAMES.items():
            if scheduler in (None, owner):
                known.update(own)
        flags = 0
        for name in names:
            flags |= parse_choice(name, known, "scheduler flag")
        return flags

    @staticmethod
    def _persistence(family: int, entry: Any) -> dict[str, Any]:
        """The stated fields of a service, and whether persistence is on at all."""
        entry = _only(entry, PERSISTENCE_OPTIONS, "persistence")
        stated: dict[str, Any] = {"on": True}
        if entry.get("timeout") is not None:
            stated["timeout"] = parse_integer(entry["timeout"], 0, MAX_TIMEOUT, "persistence timeout (seconds)")
            if not stated["timeout"]:
                return {"on": False}
        if entry.get("netmask") is not None:
            stated["netmask"] = parse_netmask(entry["netmask"], family)
        if entry.get("engine") is not None:
            stated["engine"] = "" if entry["engine"] == "none" else parse_name(entry["engine"], "persistence engine")
        return stated

    def _destinations(self, where: str, service: ServiceKey, entries: Any) -> _Pool:
        if not isinstance(entries, (list, tuple)):
            self.mistakes.add(f"{where}.realservers", "is not a list")
            return _Pool([], {}, {}, ())
        wanted: list[WantedDestination] = []
        doubts: list[Doubt] = []
        first: dict[DestinationKey, int] = {}

        def place(index: int) -> str:
            return f"{where}[{index}]" if where.startswith("pools.") else f"{where}.realservers[{index}]"

        for index, entry in enumerate(entries):
            try:
                destination = self._destination(service, index, entry)
                key = destination.key
                if key in first:
                    raise Mistake(f"{model.endpoint(*key)} is the same as {place(first[key])}")
            except Mistake as exc:
                self.mistakes.add(place(index), str(exc))
                continue
            first[key] = index
            wanted.append(destination)
            if self.judge and not self.keep:
                for text in destination_mistakes(service, destination.plain):
                    doubts.append(self._doubt(key, place(index), text))
        complete = {destination.key: destination.plain for destination in wanted}
        return _Pool(wanted, complete, {one.key: one.plain for one in wanted if one.keep_weight}, tuple(doubts))

    def _destination(self, service: ServiceKey, index: int, entry: Any) -> WantedDestination:
        _only(entry, REALSERVER_OPTIONS, "a realserver")
        get = entry.get
        if get("address") is None:
            raise Mistake("address missing")
        family, packed = self.address(entry["address"])
        port = service[3] if get("port") is None else parse_integer(entry["port"], 0, 65535, "port")
        stated: dict[str, Any] = {}
        if get("forwarding") is not None:
            stated["forwarding"] = parse_choice(entry["forwarding"], model.FORWARDING, "forwarding")
        weight = get("weight")
        keep_weight = weight == "keep"
        if weight is not None and not keep_weight:
            stated["weight"] = parse_integer(weight, 0, MAX_WEIGHT, "weight")
        for name in ("upper_threshold", "lower_threshold"):
            if get(name) is not None:
                stated[name] = parse_integer(entry[name], 0, MAX_THRESHOLD if self.judge else 0xFFFFFFFF, name)
        if get("tunnel") is not None:
            stated.update(self._tunnel(entry["tunnel"]))
            if not self.keep and stated.get("forwarding") != model.TUN:
                raise Mistake("tunnel is for forwarding tun only")
        return WantedDestination(Destination(family, packed, port, **stated), stated, keep_weight, index)

    def _tunnel(self, entry: Any) -> dict[str, Any]:
        _only(entry, TUNNEL_OPTIONS, "tunnel")
        stated: dict[str, Any] = {}
        if entry.get("type") is not None or not self.keep:
            kind = parse_choice(entry.get("type") or "ipip", model.TUNNELS, "tunnel type")
            stated["tunnel_type"] = kind
            # What the kernel has of a tunnel of another type does not stay with this one.
            if kind != model.TUNNELS["gue"] or not self.keep:
                stated["tunnel_port"] = 0
            if kind == model.TUNNELS["ipip"] or not self.keep:
                stated["tunnel_flags"] = 0
        if entry.get("port") is not None:
            stated["tunnel_port"] = parse_integer(entry["port"], 1, 65535, "tunnel port")
        if entry.get("checksum") is not None:
            stated["tunnel_flags"] = parse_choice(entry["checksum"], model.CHECKSUMS, "tunnel checksum")
        return stated


def names_only(config: Any, realservers: bool) -> Any:
    """The config without all that does not name services, or their realservers; what is no list stays for `parse`."""

    def only(entry: Any, options: frozenset[str]) -> Any:
        return {key: value for key, value in entry.items() if key in options} if isinstance(entry, dict) else entry

    if not isinstance(config, (list, tuple)):
        return config
    named = [only(entry, NAMES | {"realservers"} if realservers else NAMES) for entry in config]
    for entry in named:
        if isinstance(entry, dict) and isinstance(entry.get("realservers"), (list, tuple)):
            entry["realservers"] = [only(one, frozenset({"address", "port"})) for one in entry["realservers"]]
    return named


def parse(
    config: Any, restrict: Any, keep: bool, pools: Any = None, judge: bool = True
) -> tuple[list[WantedService], list[Restriction]]:
    """``config`` and ``restrict``, or one error that names every mistake in them.

    ``keep`` says that fields which are not stated keep the kernel's value (state ``merged``). ``pools`` are lists of
    realservers that services name instead of writing them out. Without ``judge`` whole records are taken as they are:
    a kernel had them, so a kernel takes them, however little sense they make. What is wrong with a whole record is one
    of the service's ``doubts``, which `target` judges by what the kernel has; beside other mistakes it is said here.
    """
    parser = _Parser(keep, pools, judge)
    restrictions = _restrictions(restrict or [], parser)
    wanted = parser.services(config or [])
    if restrictions:
        for service in wanted:
            if not any(restriction.matches(service.key) for restriction in restrictions):
                parser.mistakes.add(
                    f"config[{service.position}]",
                    f"{model.describe_service(service.key)} matches no entry of restrict, so it is not ours to change",
                )
    if parser.mistakes.texts:
        for doubt in parser.doubts:
            parser.mistakes.add(doubt.where, doubt.text)
    parser.mistakes.raise_any()
    return wanted, restrictions


def parse_restrict(restrict: Any) -> list[Restriction]:
    """``restrict`` alone."""
    parser = _Parser(keep=True)
    restrictions = _restrictions(restrict or [], parser)
    parser.mistakes.raise_any()
    return restrictions


def _restrictions(entries: Any, parser: _Parser) -> list[Restriction]:
    if not isinstance(entries, (list, tuple)):
        parser.mistakes.add("restrict", "is not a list")
        return []
    found = []
    for index, entry in enumerate(entries):
        restriction = parser.attempt(f"restrict[{index}]", _restriction, entry)
        if restriction is not None:
            found.append(restriction)
    return found


def _restriction(entry: Any) -> Restriction:
    entry = {key: value for key, value in _only(entry, RESTRICT_OPTIONS, "restrict").items() if value is not None}
    if not entry:
        raise Mistake("names nothing; leave restrict out to mean every service")
    stated = parse_choice(entry["family"], model.FAMILIES, "family") if "family" in entry else None
    if "fwmark" in entry:
        if not entry.keys() <= {"fwmark", "family"}:
            raise Mistake("fwmark stands alone: a firewall mark has no address, port or protocol")
        return Restriction(stated, 0, 0, None, None, parse_range(entry["fwmark"], parse_fwmark, "fwmark"))
    family, network, mask = stated, 0, 0
    if "address" in entry:
        family, network, mask = parse_network(entry["address"])
        if stated not in (None, family):
            raise Mistake(f"address {entry['address']} is not of family {entry['family']}")
    ports = parse_range(entry["port"], _parse_port, "port") if "port" in entry else None
    protocol = parse_choice(entry["protocol"], model.PROTOCOLS, "protocol") if "protocol" in entry else None
    return Restriction(family, network, mask, ports, protocol, None)


def parse_network(value: Any) -> tuple[int, int, int]:
    """The family, the network and the mask of an address or a prefix."""
    text, slash, length = str(value).partition("/")
    family, packed = parse_address(text)
    bits = 8 * len(packed)
    prefix = parse_integer(length, 0, bits, "prefix length") if slash else bits
    mask = (1 << bits) - (1 << (bits - prefix))
    network = int.from_bytes(packed, "big")
    if network & ~mask:
        raise Mistake(f"{value} has bits set behind its prefix length")
    return family, network, mask
