# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's network as iproute2, /proc/sys and the kernel modules show it, and the operations on it: the only door."""

from __future__ import annotations

import errno
import json
import os
import re
import struct
import subprocess
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Any, Callable, Iterable, Mapping, Sequence

from . import _probe
from . import _sysctl_effects as effects
from ._errors import LvsError
from ._kernel_advice import KernelJudge
from ._kernel_modules import MISSING, KernelModules
from ._network_check import Found
from ._network_diff import Operation
from ._network_model import IPV6_METRIC, MAIN_TABLE, Address, Device, Item, Module, Route, Rule, Sysctl, normal_value

FAMILIES = ("ipv4", "ipv6")
TIMEOUT_SECONDS = 60
_FAMILY_OPTION = {"": [], "ipv4": ["-4"], "ipv6": ["-6"]}
_PROGRAMS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin")
_TYPES = {"1": "unicast", "2": "local", "6": "blackhole", "7": "unreachable", "8": "prohibit"}
# What a policy rule of ours can say; one with anything else is somebody else's.
_RULE_KEYS = {"priority", "src", "srclen", "dst", "dstlen", "fwmark", "iif", "table", "suppress_prefixlen"}
# TCP states in which data can still be on its way: established, and one side already done (FIN_WAIT1, CLOSE_WAIT).
_LIVE_STATES = ("01", "04", "08")
_TENTATIVE = 0x40  # IFA_F_TENTATIVE

_NO_WAY = "the gateway is in no network that this host reaches directly over a device that is up"
_HINTS = (
    ("nexthop has invalid gateway", _NO_WAY),
    ("network is unreachable", _NO_WAY),
    ("no route to host", _NO_WAY),
    ("network is down", "the device is down"),
    ("device for nexthop is not up", "the device is down"),
    ("cannot find device", "this host has no such device"),
    ("ipv6 is disabled", "IPv6 is switched off on this device (net.ipv6.conf.DEVICE.disable_ipv6)"),
    ("permission denied", "IPv6 may be switched off on this device (net.ipv6.conf.DEVICE.disable_ipv6)"),
    ("operation not permitted", "root, or the capability CAP_NET_ADMIN over this network namespace, is needed"),
    ("invalid prefsrc", "the source is no address of this host"),
)

_WRITE_HINTS = {
    errno.EINVAL: "the kernel does not take this value for it",
    errno.EROFS: "/proc/sys is read-only here (a container?)",
    errno.EACCES: "root is needed, over this network namespace",
    errno.EPERM: "root is needed, over this network namespace",
}

Run = Callable[[Sequence[str], str], "tuple[int, str, str]"]
Announcer = Callable[["Sequence[tuple[str, str]]", Callable[[str], bool]], "list[str]"]


def run_program(arguments: Sequence[str], given: str = "") -> tuple[int, str, str]:
    """Run a program with a clean environment; its exit code, its output and what it complained about."""
    environment = {"PATH": ":".join(_PROGRAMS), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            list(arguments),
            env=environment,
            input=given.encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise LvsError(
            f"The program {arguments[0]} is not on this host: install iproute2 (iproute on Red Hat systems)."
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LvsError(f"{' '.join(arguments)} could not be run: {error}") from error
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


class Refused(Exception):
    """An operation that the kernel refused; ``done`` operations before it were carried out."""

    def __init__(self, done: int, reason: str) -> None:
        super().__init__(reason)
        self.done = done
        self.reason = reason


@dataclass
class Needs:
    """What has to be read of a host to compare it with a config and a ledger."""

    modules: set[str] = field(default_factory=set)
    sysctls: set[str] = field(default_factory=set)
    routes: set[str] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, items: Iterable[Item], entries: Mapping[str, Mapping[str, Any]]) -> Needs:
        needs = cls()
        for item in items:
            needs._add(item)
        for entry in entries.values():
            needs.sysctls.update(entry.get("moved") or {})
        for prefix, module in effects.BROUGHT_BY.items():
            if any(key.startswith(prefix) for key in needs.sysctls):
                needs.modules.add(module)
        return needs

    def _add(self, item: Item) -> None:
        if isinstance(item, Module):
            self.modules.add(item.name)
        elif isinstance(item, Sysctl):
            self.sysctls.add(item.key)
            interface = effects.interface_of(item.key)
            if interface:
                self.sysctls.add(item.key.replace(f".{effects.escaped(interface)}.", ".all."))
        elif isinstance(item, Device):
            kind = effects.FALLBACK_DEVICES.get(item.name, item.kind)
            if kind in effects.DEVICE_MODULE:
                self.modules.add(effects.DEVICE_MODULE[kind])
        elif isinstance(item, Route):
            self.routes.add(item.family)
        elif isinstance(item, Rule):
            self.rules.add(item.family)


class Settings:
    """The kernel's settings as files below /proc/sys, of the network namespace that this process is in."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def interfaces(self) -> tuple[str, ...]:
        """The interfaces that have settings of their own."""
        try:
            names = os.listdir(os.path.join(self._folder, "net/ipv4/conf"))
        except OSError:
            return ()
        return tuple(sorted(name for name in names if name not in ("all", "default")))

    def read(self, key: str) -> str | None:
        """The value; None if the kernel has no such setting."""
        try:
            with open(os.path.join(self._folder, effects.path(key)), encoding="utf-8") as file:
                return normal_value(file.read())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise LvsError(f"{key} cannot be read: {error.strerror}") from error

    def write(self, key: str, value: str) -> None:
        """Raises OSError with what the kernel has against it."""
        with open(os.path.join(self._folder, effects.path(key)), "w", encoding="utf-8") as file:
            file.write(value + "\n")


class Kernel:
    """The network of the namespace that this process is in."""

    def __init__(
        self,
        root: str = "/",
        run: Run = run_program,
        modules: KernelModules | None = None,
        settings: Settings | None = None,
        announcer: Announcer = _probe.announce,
    ) -> None:
        self.root = root
        self._run = run
        self._settings = settings or Settings(os.path.join(root, "proc/sys"))
        self._modules = modules or KernelModules(root)
        self._judge = KernelJudge(root, self._modules)
        self._announce = announcer

    # ---- reading

    def read(self, needs: Needs) -> Found:
        """One reading; nothing is asked that ``needs`` does not name, except the addresses."""
        found = Found(modules={name: self._judge.state(name) for name in sorted(needs.modules)})
        found.advice = {name: self._judge.advice(name) for name, state in found.modules.items() if state == MISSING}
        found.interfaces = self._settings.interfaces()
        if self._settings.read("net.ipv6.conf.all.forwarding") is None:
            found.missing_families = frozenset({"net.ipv6"})
        keys = set(needs.sysctls)
        for key in needs.sysctls:
            keys.update(effects.moves(key, "1", found.interfaces))
        if needs.sysctls.intersection(effects.FORWARD_IPV6):
            keys.update(effects.advertisement_keys(found.interfaces))
        found.sysctls = {key: self._settings.read(key) for key in sorted(keys)}
        self._read_addresses(found)
        for family in FAMILIES:
            if family in needs.routes:
                self._read_routes(family, found)
            if family in needs.rules:
                self._read_rules(family, found)
        return found

    def ip(self, *words: str) -> list[dict[str, Any]]:
        """What `ip` shows, as data."""
        code, said, complaint = self._run(["ip", "-j", *words], "")
        if code != 0:
            raise LvsError(f"ip -j {' '.join(words)} ended with code {code}: {complaint.strip()}")
        try:
            return [entry for entry in json.loads(said or "[]") if entry]
        except ValueError as error:
            raise LvsError(
                f"ip -j {' '.join(words)} gave no JSON ({error}): iproute2 of this host is too old or not the real one."
            ) from error

    def _read_addresses(self, found: Found) -> None:
        clashed = set()
        for link in self.ip("-d", "addr", "show"):
            name = link["ifname"]
            kind = (link.get("linkinfo") or {}).get("info_kind", "")
            found.devices[name] = Device(name, kind, up="UP" in link.get("flags", ()))
            for entry in link.get("addr_info", ()):
                if "local" not in entry:
                    continue
                deprecated = entry.get("preferred_life_time") == 0
                address = Address(entry["local"], entry["prefixlen"], name, bool(entry.get("nodad")), deprecated)
                found.addresses[address.ident] = address
                if entry.get("dadfailed"):
                    clashed.add(address.ident)
        found.clashed = frozenset(clashed)

    def _read_routes(self, family: str, found: Found) -> None:
        # Asked for a table that has no route yet, the kernel answers with an error; `all` never fails.
        for entry in self.ip("-N", *_FAMILY_OPTION[family], "route", "show", "table", "all"):
            # Told apart by more than the table, the destination and the metric: not what this module manages.
            if "tos" in entry or entry.get("from") or entry.get("cache"):
                continue
            route = _route(family, entry)
            if route is not None:
                found.routes.setdefault(route.ident, route)
                found.route_words.setdefault(route.ident, _route_words(family, entry))

    def _read_rules(self, family: str, found: Found) -> None:
        for entry in self.ip("-N", *_FAMILY_OPTION[family], "rule", "show"):
            if set(entry) <= _RULE_KEYS and "table" in entry:
                rule = Rule(
                    family=family,
                    priority=entry["priority"],
                    table=int(entry["table"]),
                    source=_with_length(entry.get("src", "all"), entry.get("srclen")),
                    to=_with_length(entry.get("dst", ""), entry.get("dstlen")),
                    fwmark=int(str(entry.get("fwmark", 0)), 0),
                    iif=entry.get("iif", ""),
                    suppress_prefixlength=entry.get("suppress_prefixlen", -1),
                )
                found.rules.setdefault(rule.ident, []).append(rule)

    def connections(self, addresses: Iterable[str]) -> dict[str, int]:
        """For each of our addresses the TCP connections that can still carry data."""
        forms = {form: address for address in addresses for form in proc_forms(address)}
        counted = dict.fromkeys(forms.values(), 0)
        for name in ("tcp", "tcp6"):
            try:
                with open(os.path.join(self.root, "proc/net", name), encoding="ascii") as file:
                    next(file, None)
                    for line in file:
                        words = line.split(None, 4)
                        address = forms.get(words[1].partition(":")[0])
                        if address and words[3] in _LIVE_STATES:
                            counted[address] += 1
            except FileNotFoundError:
                continue
        return counted

    def tentative(self, address: str) -> bool:
        """Whether an IPv6 address still waits for duplicate address detection."""
        if ":" not in address:
            return False
        wanted = IPv6Address(address).packed.hex()
        try:
            with open(os.path.join(self.root, "proc/net/if_inet6"), encoding="ascii") as file:
                return any(line.startswith(wanted) and int(line.split()[4], 16) & _TENTATIVE for line in file)
        except OSError:
            return False

    # ---- changing

    def apply(self, operations: Sequence[Operation]) -> None:
        """Carry the operations out in order; raises Refused at the first that the kernel does not take."""
        start = 0
        while start < len(operations):
            end = start + 1
            first = operations[start]
            if first.verb == "ip":
                while end < len(operations) and (operations[end].verb, operations[end].family) == ("ip", first.family):
                    end += 1
            self._apply_alike(operations[start:end], start)
            start = end

    def _apply_alike(self, operations: Sequence[Operation], before: int) -> None:
        first = operations[0]
        if first.verb == "modprobe":
            said = self._modules.load(first.words[0])
            if said:
                raise Refused(before, f"{first.command()}: {said}")
        elif first.verb == "sysctl":
            self._write(first, before)
        elif first.verb == "ip":
            self._batch(operations, before)
        else:
            raise LvsError(f"{first.verb} is no operation")

    def _write(self, operation: Operation, before: int) -> None:
        key, value = operation.words
        try:
            self._settings.write(key, value)
        except OSError as error:
            reason = _WRITE_HINTS.get(error.errno or 0, str(error.strerror))
            raise Refused(before, f"{operation.command()}: {reason}") from error

    def _batch(self, operations: Sequence[Operation], before: int) -> None:
        """Several operations by one `ip`; it stops at the first that fails and tells its line."""
        lines = "".join(f"{' '.join(operation.words)}\n" for operation in operations)
        code, _said, complaint = self._run(["ip", *_FAMILY_OPTION[operations[0].family], "-batch", "-"], lines)
        if code == 0:
            return
        match = re.search(r"Command failed -:(\d+)", complaint)
        number = int(match.group(1)) - 1 if match else 0
        text = " ".join(line for line in complaint.splitlines() if "Command failed" not in line).strip()
        hint = next((f" ({words})" for sign, words in _HINTS if sign in text.lower()), "")
        raise Refused(before + number, f"{operations[number].command()}: {text or f'code {code}'}{hint}")

    def announce(self, targets: Sequence[tuple[str, str]]) -> list[str]:
        """Tell the neighbours who has these addresses now; returns what could not be told."""
        return self._announce(targets, self.tentative)


def proc_forms(address: str) -> list[str]:
    """An address as /proc/net/tcp and tcp6 print it: 32-bit words in the machine's own order.

    A connection to an IPv4 address may belong to an IPv6 socket, which shows it as ::ffff:a.b.c.d.
    """
    packed = ip_address(address).packed
    whole = [packed, bytes(10) + b"\xff\xff" + packed] if len(packed) == 4 else [packed]
    return ["".join(f"{word:08X}" for word in struct.unpack(f"={len(raw) // 4}I", raw)) for raw in whole]


def _with_length(address: str, length: int | None) -> str:
    full = 128 if ":" in address else 32
    return address if length in (None, full) else f"{address}/{length}"


def _route(family: str, entry: Mapping[str, Any]) -> Route | None:
    kind = _TYPES.get(str(entry.get("type", "1")))
    if kind is None:
        return None
    metrics = {key: value for part in entry.get("metrics") or () for key, value in part.items()}
    several = bool(entry.get("nexthops"))
    # IPv6 refuses and forwards nowhere through lo.
    device = "" if kind in ("blackhole", "unreachable", "prohibit") else str(entry.get("dev", ""))
    return Route(
        destination=str(entry["dst"]),
        family=family,
        table=int(entry.get("table", MAIN_TABLE)),
        metric=int(entry.get("metric", IPV6_METRIC if family == "ipv6" else 0)),
        gateway="" if several else str(entry.get("gateway", (entry.get("via") or {}).get("host", ""))),
        device="several" if several else device,
        advmss=int(metrics.get("advmss", 0)),
        source=str(entry.get("prefsrc", "")),
        type=kind,
    )


def _route_words(family: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """How to make a route again with everything the kernel keeps about it, in the words of `ip route`."""
    kind = _TYPES.get(str(entry.get("type", "1")), "unicast")
    words = [] if kind == "unicast" else [kind]
    words.append(str(entry["dst"]))
    if entry.get("nhid"):
        words += ["nhid", str(entry["nhid"])]
    else:
        words += _hop(entry)
    if kind == "local" and not entry.get("table"):
        words += ["table", str(MAIN_TABLE)]  # `ip` would take the table named local
    for word, key in (("table", "table"), ("proto", "protocol"), ("scope", "scope"), ("src", "prefsrc")):
        if entry.get(key) not in (None, ""):
            words += [word, str(entry[key])]
    if entry.get("metric"):
        words += ["metric", str(entry["metric"])]
    for metrics in entry.get("metrics") or ():
        for key, value in metrics.items():
            words += [key, str(value)]
    for hop in () if entry.get("nhid") else entry.get("nexthops") or ():
        words += ["nexthop", *_hop(hop)]
        if hop.get("weight"):
            words += ["weight", str(hop["weight"])]
    return tuple(words)


def _hop(entry: Mapping[str, Any]) -> list[str]:
    words = []
    if entry.get("gateway"):
        words += ["via", str(entry["gateway"])]
    elif entry.get("via"):
        words += ["via", str(entry["via"].get("family", "inet")), str(entry["via"]["host"])]
    if entry.get("dev"):
        words += ["dev", str(entry["dev"])]
    if "onlink" in entry.get("flags", ()):
        words.append("onlink")
    return words
