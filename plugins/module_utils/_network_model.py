# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `network` wants or finds on a host, as plain comparable objects; every mistake of the input in one message."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterable, Mapping, Union

from ._errors import LvsError

MAIN_TABLE = 254
# The kernel files an IPv6 route without a metric under this one.
IPV6_METRIC = 1024
ROUTE_TYPES = ("unicast", "local", "blackhole", "unreachable", "prohibit")
# What a config holds, in the order in which it is put in place.
SECTIONS = ("modules", "sysctls", "devices", "addresses", "routes", "rules")

_MODULE = re.compile(r"^[A-Za-z0-9_-]+$")
_DEVICE = re.compile(r"^[^\s/]{1,15}$")
_SYSCTL = re.compile(r"^net[./][A-Za-z0-9_@:./-]+$")
_KIND = re.compile(r"^[a-z0-9_]+$")


@dataclass(frozen=True)
class Module:
    """A kernel module, loaded now and at boot."""

    name: str

    section = "modules"

    @property
    def ident(self) -> str:
        return f"module {self.name}"

    def config(self) -> Any:
        return self.name

    def line(self) -> str:
        return self.ident


@dataclass(frozen=True)
class Sysctl:
    """A kernel setting; the value is text with single blanks, as the kernel shows it."""

    key: str
    value: str

    section = "sysctls"

    @property
    def ident(self) -> str:
        return f"sysctl {self.key}"

    def config(self) -> dict[str, Any]:
        return {"key": self.key, "value": self.value}

    def line(self) -> str:
        return f"{self.key} = {self.value}"


@dataclass(frozen=True)
class Device:
    """A network device that has to be up. ``kind`` as in `ip -d link`; "" is any."""

    name: str
    kind: str = ""
    up: bool = True

    section = "devices"

    @property
    def ident(self) -> str:
        return f"device {self.name}"

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind}

    def line(self) -> str:
        return f"device {self.name} {'up' if self.up else 'down'}"


@dataclass(frozen=True)
class Address:
    """An address on a device. ``deprecated`` is preferred_lft 0; ``announce`` and ``nodad`` matter when it is added."""

    address: str
    prefix: int
    device: str
    nodad: bool = False
    deprecated: bool = False
    announce: bool = False

    section = "addresses"

    @property
    def family(self) -> str:
        return "ipv6" if ":" in self.address else "ipv4"

    @property
    def ident(self) -> str:
        # IPv6 takes an address once per device, whatever its prefix length; IPv4 once per prefix length.
        prefix = "" if self.family == "ipv6" else f"/{self.prefix}"
        return f"address {self.address}{prefix} {self.device}"

    def config(self) -> dict[str, Any]:
        return {
            "address": f"{self.address}/{self.prefix}",
            "device": self.device,
            "nodad": self.nodad,
            "deprecated": self.deprecated,
            "announce": self.announce,
        }

    def line(self) -> str:
        return f"address {self.address}/{self.prefix} dev {self.device}{' deprecated' if self.deprecated else ''}"


@dataclass(frozen=True)
class Route:
    """A route; family, table, destination and metric name it, the rest can be edited in place."""

    destination: str
    family: str
    table: int = MAIN_TABLE
    metric: int = 0
    gateway: str = ""
    device: str = ""
    advmss: int = 0
    source: str = ""
    type: str = "unicast"

    section = "routes"

    @property
    def ident(self) -> str:
        return f"route {self.family} table {self.table} {self.destination} metric {self.metric}"

    def config(self) -> dict[str, Any]:
        stated = {
            "gateway": self.gateway,
            "device": self.device,
            "advmss": self.advmss,
            "source": self.source,
            "type": "" if self.type == "unicast" else self.type,
            "metric": 0 if (self.family == "ipv6" and self.metric == IPV6_METRIC) else self.metric,
        }
        return {
            "destination": self.destination,
            "family": self.family,
            "table": self.table,
            **{key: value for key, value in stated.items() if value},
        }

    def words(self) -> tuple[str, ...]:
        """The route in the words of `ip route`."""
        words = [] if self.type == "unicast" else [self.type]
        words.append(self.destination)
        for word, value in (
            ("via", self.gateway),
            ("dev", self.device),
            ("table", self.table),
            ("metric", self.metric),
            ("src", self.source),
            ("advmss", self.advmss),
        ):
            if value:
                words += [word, str(value)]
        return tuple(words)

    def line(self) -> str:
        return f"route {self.family} {' '.join(self.words())}"


@dataclass(frozen=True)
class Rule:
    """A policy rule; what it matches and its priority name it, the table it leads to can be exchanged."""

    family: str
    priority: int
    table: int
    source: str = "all"
    to: str = ""
    fwmark: int = 0
    iif: str = ""
    suppress_prefixlength: int = -1

    section = "rules"

    @property
    def ident(self) -> str:
        return f"rule {self.family} {' '.join(self._match())}"

    def _match(self) -> tuple[str, ...]:
        words = ["priority", str(self.priority), "from", self.source]
        for word, value in (("to", self.to), ("fwmark", self.fwmark), ("iif", self.iif)):
            if value:
                words += [word, str(value)]
        return tuple(words)

    def config(self) -> dict[str, Any]:
        stated: dict[str, Any] = {"to": self.to, "fwmark": self.fwmark, "iif": self.iif}
        found = {"family": self.family, "priority": self.priority, "from": self.source, "table": self.table}
        found.update({key: value for key, value in stated.items() if value})
        if self.suppress_prefixlength >= 0:
            found["suppress_prefixlength"] = self.suppress_prefixlength
        return found

    def words(self) -> tuple[str, ...]:
        """The rule in the words of `ip rule`."""
        words = (*self._match(), "table", str(self.table))
        if self.suppress_prefixlength >= 0:
            words += ("suppress_prefixlength", str(self.suppress_prefixlength))
        return words

    def line(self) -> str:
        return f"rule {self.family} {' '.join(self.words())}"


Item = Union[Module, Sysctl, Device, Address, Route, Rule]


def as_config(items: Iterable[Item]) -> dict[str, list[Any]]:
    """Items in the shape of the option `config`; every section is there, empty or not."""
    config: dict[str, list[Any]] = {section: [] for section in SECTIONS}
    for item in items:
        config[item.section].append(item.config())
    return config


def normal_value(value: Any) -> str:
    """A sysctl's value as text with single blanks: the kernel separates several numbers by tabs."""
    if isinstance(value, bool):
        value = int(value)
    return " ".join(str(value).split())


def parse(config: Mapping[str, Any], what: str = "config") -> list[Item]:
    """The items of a config, normalised, in the order in which they are put in place.

    Raises LvsError with every mistake in one message.
    """
    found: dict[str, Item] = {}
    known = ", ".join(SECTIONS)
    mistakes = [f"{what}: {section} is not one of {known}" for section in config if section not in SECTIONS]
    for section in SECTIONS:
        for index, entry in enumerate(config.get(section) or []):
            where = f"{what}: {section}[{index}]"
            judge = _Entry(where, entry, mistakes)
            item = _PARSERS[section](judge)
            if item is None:
                continue
            if found.setdefault(item.ident, item) != item:
                mistakes.append(f"{where}: {item.ident} is given twice, before with {found[item.ident].line()}")
    if mistakes:
        raise LvsError("\n".join(mistakes), mistakes=mistakes)
    return list(found.values())


class _Entry:
    """One entry of a section while it is judged; a value that cannot be is noted as a mistake and replaced."""

    def __init__(self, where: str, entry: Any, mistakes: list[str]) -> None:
        self.where = where
        self.mistakes = mistakes
        self.good = True
        self.entry: Any = entry

    def mapping(self, *known: str) -> bool:
        """Whether the entry is a mapping; unknown keys are a mistake, as they are typing errors."""
        if not isinstance(self.entry, Mapping):
            self.mistake(f"{self.entry!r} is not a mapping with {known[0]}")
            return False
        unknown = sorted(str(key) for key in self.entry if key not in known)
        if unknown:
            self.mistake(f"{', '.join(unknown)} is not known here; known are {', '.join(known)}")
        return True

    def mistake(self, text: str) -> None:
        self.good = False
        self.mistakes.append(f"{self.where}: {text}")

    def text(self, key: str, pattern: re.Pattern[str], must: bool, meaning: str) -> str:
        value = self.entry.get(key)
        if value is None or value == "":
            if must:
                self.mistake(f"{key} is missing ({meaning})")
            return ""
        if not pattern.match(str(value)):
            self.mistake(f"{key} {value!r} is not {meaning}")
            return ""
        return str(value)

    def number(self, key: str, lowest: int, highest: int, default: int) -> int:
        value = self.entry.get(key)
        if value is None:
            return default
        try:
            number = int(str(value), 0)
        except ValueError:
            number = lowest - 1
        if isinstance(value, bool) or not lowest <= number <= highest:
            self.mistake(f"{key} {value!r} is not a number from {lowest} to {highest}")
            return default
        return number

    def flag(self, key: str) -> bool:
        value = self.entry.get(key)
        if value not in (None, True, False):
            self.mistake(f"{key} {value!r} is neither true nor false")
        return value is True

    def host(self, key: str) -> str:
        """A single address, normalised."""
        value = self.entry.get(key)
        if value is None or value == "":
            return ""
        try:
            return str(ipaddress.ip_address(str(value)))
        except ValueError:
            self.mistake(f"{key} {value!r} is not an IPv4 or IPv6 address")
            return ""

    def network(self, key: str, everything: str) -> str:
        """A network, normalised as `ip` shows it: one host without its prefix length, the whole as ``everything``."""
        value = self.entry.get(key)
        if value is None or value == "" or value == everything:
            return everything
        try:
            network = ipaddress.ip_network(str(value))
        except ValueError as error:
            self.mistake(f"{key} {value!r} is not {everything!r}, an address or a network in CIDR form ({error})")
            return everything
        if network.prefixlen == 0:
            return everything
        if network.prefixlen == network.max_prefixlen:
            return str(network.network_address)
        return str(network)

    def family(self, **values: str) -> str:
        """The one family of everything given, by `family` itself or by the addresses."""
        given = self.entry.get("family")
        if given is not None and given not in ("ipv4", "ipv6"):
            self.mistake(f"family {given!r} is neither ipv4 nor ipv6")
            return "ipv4"
        addresses = {key: value for key, value in values.items() if re.search("[.:]", value)}
        families = {key: ("ipv6" if ":" in value else "ipv4") for key, value in addresses.items()}
        if given is not None:
            families["family"] = given
        if len(set(families.values())) > 1:
            said = ", ".join(f"{key} is {value}" for key, value in families.items())
            self.mistake(f"both families in one entry: {said}")
        if not families:
            self.mistake("family is missing: neither ipv4 nor ipv6 follows from the rest")
        return next(iter(families.values()), "ipv4")


def _module(judge: _Entry) -> Module | None:
    name = str(judge.entry)
    if not _MODULE.match(name):
        judge.mistake(f"{name!r} is not the name of a kernel module")
        return None
    return Module(name.replace("-", "_"))


def _sysctl(judge: _Entry) -> Sysctl | None:
    if not judge.mapping("key", "value"):
        return None
    key = judge.text("key", _SYSCTL, True, "a setting below net, such as net.ipv4.conf.all.arp_ignore")
    value = judge.entry.get("value")
    if value is None or normal_value(value) == "":
        judge.mistake("value is missing")
    if ".." in key.replace("/", "."):
        judge.mistake(f"key {key!r} has an empty part")
    if "/" in key and key[3] == "/":
        # sysctl(8) takes either separator for the first and turns both round in the rest.
        key = key.translate(str.maketrans("/.", "./"))
    return Sysctl(key, normal_value(value)) if judge.good else None


def _device(judge: _Entry) -> Device | None:
    if not judge.mapping("name", "kind"):
        return None
    name = judge.text("name", _DEVICE, True, "the name of a network device, up to 15 characters")
    kind = judge.text("kind", _KIND, False, "a kind of network device such as ipip or ip6tnl")
    return Device(name, kind) if judge.good else None


def _address(judge: _Entry) -> Address | None:
    if not judge.mapping("address", "device", "nodad", "deprecated", "announce"):
        return None
    device = judge.text("device", _DEVICE, True, "the device that shall have the address")
    given = judge.entry.get("address")
    try:
        address = ipaddress.ip_interface(str(given))
    except ValueError:
        judge.mistake(f"address {given!r} is not an IPv4 or IPv6 address, with or without /prefix length")
        return None
    if address.ip.is_multicast or address.ip.is_unspecified:
        judge.mistake(f"address {given}: no host can have a multicast or unspecified address")
    prefix = address.network.prefixlen
    if device == "lo" and prefix < address.max_prefixlen and not address.ip.is_loopback:
        judge.mistake(
            f"address {given} on lo would make the whole network local to this host;"
            f" a VIP on lo has the prefix length {address.max_prefixlen}"
        )
    announce = judge.flag("announce")
    if announce and device == "lo":
        judge.mistake("announce: nobody listens on lo; announce belongs to the device that faces the clients")
    six = address.version == 6
    nodad, deprecated = judge.flag("nodad"), judge.flag("deprecated")
    return Address(str(address.ip), prefix, device, six and nodad, six and deprecated, announce) if judge.good else None


def _route(judge: _Entry) -> Route | None:
    known = ("destination", "family", "gateway", "device", "table", "metric", "advmss", "source", "type")
    if not judge.mapping(*known):
        return None
    if judge.entry.get("destination") in (None, ""):
        judge.mistake("destination is missing (default, an address or a network in CIDR form)")
    given = str(judge.entry.get("destination"))
    destination = judge.network("destination", "default")
    gateway, source = judge.host("gateway"), judge.host("source")
    family = judge.family(destination=given, gateway=gateway, source=source)
    kind = judge.entry.get("type") or "unicast"
    if kind not in ROUTE_TYPES:
        judge.mistake(f"type {kind!r} is not one of {', '.join(ROUTE_TYPES)}")
    device = judge.text("device", _DEVICE, False, "the name of a network device")
    if kind in ("unicast", "local") and not gateway and not device:
        judge.mistake(f"the route to {given} has neither gateway nor device")
    metric = judge.number("metric", 0, 4294967295, 0)
    if family == "ipv6" and metric == 0:
        metric = IPV6_METRIC
    route = Route(
        destination=destination,
        family=family,
        table=judge.number("table", 1, 4294967295, MAIN_TABLE),
        metric=metric,
        gateway=gateway,
        device=device,
        advmss=judge.number("advmss", 0, 65535, 0),
        source=source,
        type=kind,
    )
    return route if judge.good else None


def _rule(judge: _Entry) -> Rule | None:
    known = ("family", "priority", "from", "to", "fwmark", "iif", "table", "suppress_prefixlength")
    if not judge.mapping(*known):
        return None
    for key in ("priority", "table"):
        if judge.entry.get(key) is None:
            judge.mistake(f"{key} is missing")
    source, to = judge.network("from", "all"), judge.network("to", "all")
    rule = Rule(
        family=judge.family(**{"from": source, "to": to}),
        priority=judge.number("priority", 1, 32765, 1),
        table=judge.number("table", 1, 4294967295, MAIN_TABLE),
        source=source,
        to="" if to == "all" else to,
        fwmark=judge.number("fwmark", 0, 4294967295, 0),
        iif=judge.text("iif", _DEVICE, False, "the name of a network device"),
        suppress_prefixlength=judge.number("suppress_prefixlength", 0, 128, -1),
    )
    return rule if judge.good else None


_PARSERS: Mapping[str, Callable[[_Entry], Item | None]] = {
    "modules": _module,
    "sysctls": _sysctl,
    "devices": _device,
    "addresses": _address,
    "routes": _route,
    "rules": _rule,
}


def same_route(want: Route, have: Route, ours: Item | None) -> bool:
    """Whether the kernel's route is what is wanted.

    What a route does not state is any value, unless an earlier call of ours (``ours``) had stated it.
    """
    earlier = ours if isinstance(ours, Route) else want
    blind: dict[str, Any] = {}
    if not want.source and not earlier.source:
        blind["source"] = have.source
    if not want.advmss and not earlier.advmss:
        blind["advmss"] = have.advmss
    if not want.device and want.gateway:
        blind["device"] = have.device
    return replace(want, **blind) == have
