# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How realservers are asked whether they work (HOWTO 29, 32): `health` and `lvs_health_check`, read and resolved.

The same keys become keepalived's or ldirectord's words; what one of them has no word for is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .mistakes import Mistakes

if TYPE_CHECKING:
    from .services import Service

BACKENDS = ("none", "keepalived", "ldirectord")
TYPES = ("tcp", "http", "https", "smtp", "dns", "udp", "ping", "external", "none")
# Types that ask a port of the realserver; a command is told the port and does what it likes.
ASKING = ("tcp", "http", "https", "smtp", "dns", "udp")
QUERY_TYPES = ("A", "AAAA", "CNAME", "MX", "NS", "SOA", "TXT")
ON_FAILURE = ("remove", "quiesce")
MAX_SECONDS, MAX_RETRIES, MAX_QUORUM = 3600, 100, 2**31 - 1
# Who may say what: the types that a key belongs to; a key that is not here belongs to all.
OF_TYPES: Mapping[str, tuple[str, ...]] = {
    "path": ("http", "https"),
    "host": ("http", "https"),
    "status": ("http", "https"),
    "contains": ("http", "https"),
    "digest": ("http", "https"),
    "query": ("dns",),
    "query_type": ("dns",),
    "command": ("external",),
    "port": (*ASKING, "external"),
}
# Where a realserver is asked if neither the check nor the table says a port.
USUAL_PORTS = {"http": 80, "https": 443, "smtp": 25, "dns": 53}
DEFAULTS: Mapping[str, Any] = {
    "type": None, "port": None, "interval": 5, "timeout": 3, "retries": 1, "path": "/", "host": None, "status": [200],
    "contains": None, "digest": None, "query": None, "query_type": "A", "command": None, "on_failure": "remove",
    "quorum": 1,
}  # fmt: skip
HEALTH_KEYS = set(DEFAULTS)
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")
# Neither program's file has a way to write more; a fragment is never sent anyway.
PATH = re.compile(r"/[!$-~]*")
NAME = re.compile(r"[A-Za-z0-9._:\[\]-]+")
# What keepalived's reader and a list of words both leave as they are.
COMMAND_WORD = re.compile(r"[A-Za-z0-9_./:%+,=@?*-]+")


@dataclass(frozen=True)
class Health:
    """What a person wrote, each key checked; what it says nothing about is not there."""

    given: Mapping[str, Any]


def read_health(raw: Any, where: str, mistakes: Mistakes) -> Health:
    """Read `health` of a service, or `lvs_health_check`."""
    if raw is None or not mistakes.keys(where, raw, HEALTH_KEYS):
        return Health({})
    given: dict[str, Any] = {
        key: reader(f"{where}: {key}", raw[key], mistakes)
        for key, reader in _READERS.items()
        if raw.get(key) is not None
    }
    if kind := given.get("type"):
        for key in sorted(set(given) & set(OF_TYPES)):
            if kind not in OF_TYPES[key]:
                mistakes.append(
                    f"{where}: {key} belongs to type {' and '.join(OF_TYPES[key])}, and type is {kind}; leave {key}"
                    " out, or change type."
                )
    return Health({key: value for key, value in given.items() if value is not None})


def resolve(
    service: Service, protocol: str, own_ports: bool, common: Health, mistakes: Mistakes
) -> dict[str, Any]:
    """Every key of the check of one record of the table; a check's `port` None asks each realserver's own."""
    found: dict[str, Any] = {**DEFAULTS, **common.given, **service.health.given}
    where = f"service {service.name}: health"
    if not found["type"]:
        found["type"] = protocol if protocol in ("tcp", "udp") else "none"
        if protocol not in ("tcp", "udp"):
            mistakes.append(
                f"{where}: no program asks {protocol}; write type: ping, type: external with a command, a type with the"
                " port of something else that tells (tcp, http ...), or type: none."
            )
    if found["type"] in ASKING and found["port"] is None and not own_ports:
        found["port"] = _only_port(service, protocol) or USUAL_PORTS.get(found["type"])
        if found["port"] is None:
            mistakes.append(
                f"{where}: which of its ports to ask is not to be seen; name it with port, or use type: ping."
            )
    for key in ("query", "command"):
        if found["type"] in OF_TYPES[key] and not found[key]:
            needed = "a name that the realserver knows" if key == "query" else "the path of a program"
            mistakes.append(f"{where}: type {found['type']} needs {key}, {needed}.")
    for key, types in OF_TYPES.items():
        if found["type"] not in types:
            if key in service.health.given and "type" not in service.health.given:
                mistakes.append(
                    f"{where}: {key} belongs to type {' and '.join(types)}, and type is {found['type']}; say type, too."
                )
            found[key] = DEFAULTS[key]
    return found


def _only_port(service: Service, protocol: str) -> int | None:
    """The port to ask where the table has none: FTP's control connection, or the only one that is marked."""
    if service.ftp:
        return 21
    ports = {
        ports for rule in service.marks if not rule.protocols or protocol in rule.protocols for ports in rule.ports
    }
    if len(ports) != 1:
        return None
    low, high = ports.pop()
    return low if low == high else None


def version_of(record: Mapping[str, Any]) -> int:
    """The family of a record of the table, 4 or 6."""
    if "fwmark" in record:
        return 6 if record["family"] == "ipv6" else 4
    return 6 if ":" in record["address"] else 4


def checked(
    backend: str,
    common: Health,
    service: Service,
    record: Mapping[str, Any],
    local: Sequence[str],
    mistakes: Mistakes,
) -> dict[str, Any]:
    """A record of the table, with its sorry server, and what its realservers are asked."""
    marked = {protocol for rule in service.marks for protocol in rule.protocols or ("tcp",)}
    protocol = record.get("protocol") or ("tcp" if "tcp" in marked else min(marked, default="tcp"))
    own_ports = all(member["port"] for member in record["realservers"]) if record["realservers"] else False
    health = resolve(service, protocol, own_ports or bool(record.get("port")), common, mistakes)
    if health["type"] in ASKING and health["port"] is None and record["realservers"] and not own_ports:
        health["port"] = record.get("port") or None  # a realserver without a port is asked at the service's
    found = {**record, "name": service.name, "health": health}
    mistakes += [f"service {service.name}: {sentence}" for sentence in _refusals(backend, found, local)]
    return found


# ------------------------------------------------------------------ what a program cannot

# Whatever else it is given as a scheduler, it complains of and crashes over.
KEEPALIVED_SCHEDULERS = (
    "rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos",
)  # fmt: skip
KEEPALIVED_WEIGHT = 65535


def _refusals(backend: str, record: Mapping[str, Any], local: Sequence[str]) -> Iterable[str]:
    """What the program has no word for, in a record of the health part; `local` are the directors' own addresses."""
    if any(member["weight"] == "keep" for member in record["realservers"]):
        yield f"weight keep: {backend} sets the weights, so nobody else's can be kept; write a number."
    if backend == "keepalived":
        yield from _beyond_keepalived(record)
    elif backend == "ldirectord":
        yield from _beyond_ldirectord(record, f"ipv{version_of(record)}", local)


def _beyond_keepalived(record: Mapping[str, Any]) -> Iterable[str]:
    health = record["health"]
    weights = [member["weight"] for member in record["realservers"] if member["weight"] != "keep"]
    if sum(weights) and health["quorum"] > sum(weights):
        yield (
            f"health: quorum {health['quorum']}: keepalived adds up weights, here {sum(weights)}, so it would never"
            " be met; write a smaller one, or greater weights."
        )
    if record["sorry_server"] and not record["realservers"]:
        yield "sorry_server without any realserver: keepalived leaves such a service out; make it the realserver."
    if record["scheduler"] not in KEEPALIVED_SCHEDULERS:
        yield (
            f"scheduler {record['scheduler']}: keepalived knows {', '.join(KEEPALIVED_SCHEDULERS)} only; use one of"
            " them, or lvs_health ldirectord."
        )
    if max(weights, default=0) > KEEPALIVED_WEIGHT:
        yield f"weight {max(weights)}: keepalived takes at most {KEEPALIVED_WEIGHT}; make all weights smaller."
    if "[" in (health["host"] or ""):
        yield f"health: host {health['host']}: keepalived's file cannot hold brackets; write a name."
    if "[" in (health["query"] or ""):
        yield f"health: query {health['query']}: keepalived's file cannot hold brackets; write a name."
    if re.search(r"^.\.|\.\.", health["query"] or ""):
        yield (
            f"health: query {health['query']}: keepalived takes no name whose first part is one character, or that has"
            " an empty part; write another that the realserver knows."
        )
    if health["type"] == "external" and not isinstance(health["timeout"], int):
        yield f"health: timeout {health['timeout']}: keepalived gives a command whole seconds; write 1 or more."


def _beyond_ldirectord(record: Mapping[str, Any], family: str, local: Sequence[str]) -> Iterable[str]:
    if record.get("protocol") == "sctp":
        yield "protocol sctp: ldirectord knows tcp and udp only; use a fwmark, or lvs_health keepalived."
    if not re.fullmatch("[a-z]+", record["scheduler"]):
        yield f"scheduler {record['scheduler']}: ldirectord reads names of small letters only; use another scheduler."
    if (record.get("persistence") or {}).get("engine"):
        yield "persistence engine: ldirectord has no word for it; leave engine out, or use lvs_health keepalived."
    for member in record["realservers"]:
        if (":" in member["address"]) != (family == "ipv6"):
            yield (
                f"realserver {member['address']} under an {family} service: ldirectord wants one family; use lvs_health"
                " keepalived, or a realserver of the same family."
            )
        if member["address"] in local and member["forwarding"] == "nat" and member["port"] != record.get("port", 0):
            yield (
                f"realserver {member['address']} is the director itself: ldirectord gives it the VIP's port, not"
                f" {member['port']}; use lvs_health keepalived."
            )
    if record["one_packet"] and "fwmark" in record:
        yield "one_packet with a fwmark: ldirectord has it for udp by address only; use lvs_health keepalived."
    if record["sorry_server"] and (":" in record["sorry_server"]["address"]) != (family == "ipv6"):
        yield f"sorry_server {record['sorry_server']['address']}: ldirectord wants it of the service's own family."
    health = record["health"]
    if health["type"] == "tcp" and record.get("protocol") == "udp":
        yield "health: type tcp of a udp service: ldirectord would ping; write type ping, dns, or external."
    for key, wrong, reason in _LDIRECTORD_CANNOT:
        if wrong(health, family):
            yield f"health: {key} {health[key]}: {reason}."


# A key of the check, whether its value goes beyond ldirectord, and what to do then.
_LDIRECTORD_CANNOT: tuple[tuple[str, Callable[[Mapping[str, Any], str], bool], str], ...] = (
    (
        "quorum",
        lambda health, family: health["quorum"] != 1,
        "ldirectord counts no realservers; leave it out, or use lvs_health keepalived",
    ),
    (
        "type",
        lambda health, family: health["type"] == "udp",
        "ldirectord cannot ask by UDP (it would ping instead); write type ping, dns, or external with a command",
    ),
    (
        "type",
        lambda health, family: health["type"] in ("ping", "smtp") and family == "ipv6",
        "ldirectord does that by IPv4 only; write another type for this service, or use lvs_health keepalived",
    ),
    (
        "path",
        lambda health, family: "://" in health["path"],
        "ldirectord takes what contains :// for a whole address; write %3A for the colon",
    ),
    (
        "digest",
        lambda health, family: health["digest"] is not None,
        "ldirectord compares no sums; use contains, a text of the page",
    ),
    (
        "status",
        lambda health, family: not all(200 <= code <= 299 for code in health["status"]),
        "ldirectord takes every answer from 200 to 299 and no other; leave it out, or use lvs_health keepalived",
    ),
    (
        "query_type",
        lambda health, family: health["query_type"] != "A",
        "ldirectord asks for addresses (A) only; leave it out, or use lvs_health keepalived",
    ),
    (
        "port",
        lambda health, family: health["type"] == "external" and health["port"] is not None,
        "ldirectord tells the program the realserver's port and no other; leave it out",
    ),
    (
        "command",
        lambda health, family: len(health["command"] or ()) > 1,
        "ldirectord gives the program four arguments (VIP or mark, port, RIP, port) and no others; write a program"
        " that needs none of yours, or use lvs_health keepalived",
    ),
    (
        "interval",
        lambda health, family: not isinstance(health["interval"], int),
        "ldirectord counts whole seconds; write 1 or more",
    ),
    (
        "timeout",
        lambda health, family: not isinstance(health["timeout"], int),
        "ldirectord counts whole seconds; write 1 or more",
    ),
)

# ------------------------------------------------------------------ the keys


def _seconds(where: str, value: Any, mistakes: Mistakes) -> int | float:
    return mistakes.seconds(where, value, 0.1, MAX_SECONDS, 5)


def _text(where: str, value: Any, mistakes: Mistakes) -> str | None:
    if isinstance(value, str) and PRINTABLE.fullmatch(value):
        return value
    mistakes.append(f"{where}: {value!r} is not a text of one line.")
    return None


def _path(where: str, value: Any, mistakes: Mistakes) -> str | None:
    if isinstance(value, str) and PATH.fullmatch(value):
        return value
    mistakes.append(f"{where}: {value!r} is not what a request asks for; begin with /, and write %20 for a blank.")
    return None


def _name(where: str, value: Any, mistakes: Mistakes) -> str | None:
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    mistakes.append(f"{where}: {value!r} is not a name; write it as in www.example.com.")
    return None


def _status(where: str, value: Any, mistakes: Mistakes) -> list[int]:
    codes = list(value) if isinstance(value, (list, tuple)) else [value]
    if not codes:
        mistakes.append(f"{where}: is empty; name the answers that are right, as in [200].")
    return sorted({mistakes.integer(where, code, 100, 599, 200) for code in codes})


def _digest(where: str, value: Any, mistakes: Mistakes) -> str | None:
    if isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{32}", value):
        return value.lower()
    mistakes.append(f"{where}: {value!r} is not an MD5 sum; `curl -s URL | md5sum` says it, 32 digits.")
    return None


def command(where: str, value: Any, mistakes: Mistakes) -> list[str] | None:
    """A program and its arguments as words; no shell reads them."""
    words = [str(word) for word in value] if isinstance(value, (list, tuple)) else [value]
    right = all(isinstance(word, str) and COMMAND_WORD.fullmatch(word) for word in words)
    if right and words and words[0].startswith("/"):
        return words
    mistakes.append(
        f"{where}: {value!r} is not the path of a program, or a list of it and its arguments; begin with /, and use"
        " letters, digits and _./:%+,=@?*- only (no shell reads it; what needs more is a script of your own)."
    )
    return None


# A wrong value has been named; what comes in its place must not be named, too.
_READERS: Mapping[str, Callable[[str, Any, Mistakes], Any]] = {
    "type": lambda where, value, mistakes: mistakes.choice(where, value, TYPES, ""),
    "port": lambda where, value, mistakes: mistakes.integer(where, value, 1, 65535, 1),
    "interval": _seconds,
    "timeout": _seconds,
    "retries": lambda where, value, mistakes: mistakes.integer(where, value, 0, MAX_RETRIES, 1),
    "path": _path,
    "host": _name,
    "status": _status,
    "contains": _text,
    "digest": _digest,
    "query": lambda where, value, mistakes: _name(where, value, mistakes) or ".",
    "query_type": lambda where, value, mistakes: mistakes.choice(where, value, QUERY_TYPES, "A"),
    "command": lambda where, value, mistakes: command(where, value, mistakes) or ["/bin/false"],
    "on_failure": lambda where, value, mistakes: mistakes.choice(where, value, ON_FAILURE, "remove"),
    "quorum": lambda where, value, mistakes: mistakes.integer(where, value, 1, MAX_QUORUM, 1),
}
