# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual servers of keepalived.conf."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .texts import (
    Reading,
    Statement,
    WrongError,
    address_range,
    blocks,
    is_address,
    number,
    port_number,
)

METHODS = {"NAT": "nat", "DR": "dr", "TUN": "tun"}
FLAGS = ("flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback")
STATEMENTS = (
    "real_server", "lvs_sched", "lvs_method", "protocol", "family", "ops", "persistence_timeout",
    "persistence_granularity", "persistence_engine", "weight",
)  # fmt: skip
DEFAULT_TIMEOUT = 360  # seconds, by keepalived
# Of health checks and VRRP; the table knows nothing of them.
CHECKS = (
    "TCP_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "MISC_CHECK", "UDP_CHECK", "PING_CHECK", "BFD_CHECK",
    "FILE_CHECK",
)  # fmt: skip
# What stands for other text: services and realservers could be in it.
ELSEWHERE = ("$", "@", "~", "include")
NAMES = {"lb_algo": "lvs_sched", "lb_kind": "lvs_method", "ip_family": "family"}


def parse(text: str, report: bool = False) -> Any:
    """The services of all ``virtual_server`` blocks."""
    reading = Reading()
    top = blocks(text, "#!")
    groups = {
        s.words[1]: s for s in top if s.name == "virtual_server_group" and len(s.words) > 1 and s.block is not None
    }
    for statement in top:
        if statement.name.startswith(ELSEWHERE):
            _elsewhere(reading, statement)
        elif statement.name == "virtual_server" and statement.block is not None:
            try:
                _virtual_server(reading, statement, groups)
            except WrongError as exc:
                reading.wrong(statement.line, exc)
        elif statement.name != "virtual_server_group":
            reading.ignore(statement.line, f"{statement.name}: not part of the table")
    return reading.result(report)


def _elsewhere(reading: Reading, statement: Statement) -> None:
    reading.wrong(statement.line, f"{statement.name} is not followed: write out what it stands for")


def _virtual_server(reading: Reading, statement: Statement, groups: dict[str, Statement]) -> None:
    service = _Service()
    for inner in statement.block or ():
        if inner.name.startswith(ELSEWHERE):
            _elsewhere(reading, inner)
        elif not service.take(inner):
            reading.ignore(inner.line, f"{inner.name}: not part of the table")
    if service.persistence:
        service.persistence.setdefault("timeout", DEFAULT_TIMEOUT)
    if not service.protocol:
        service.protocol = "udp"  # keepalived says so, too
        if "fwmark" not in statement.words:
            reading.ignore(statement.line, "no protocol is stated, so it is udp")
    for name in _names(statement, groups, service.protocol, service.family or _first_family(service.servers)):
        key = tuple(name.values())
        if key in reading.services:
            raise WrongError(f"{' '.join(map(str, key))} is there twice")
        reading.services[key] = {
            **name,
            "scheduler": service.scheduler,
            "scheduler_flags": service.flags,
            "one_packet": service.one_packet,
            "persistence": service.persistence or None,
            "realservers": [_real_server(reading, server, service, name) for server in service.servers],
        }


@dataclass
class _Service:
    """What stands in one virtual_server block, with keepalived's defaults."""

    protocol: str = ""
    family: str = ""  # of a fwmark; that of its realservers where it is not stated
    scheduler: str = "wlc"
    one_packet: bool = False
    weight: int = 1  # of realservers that state none
    method: dict[str, Any] = field(default_factory=lambda: {"forwarding": "nat"})
    flags: list[str] = field(default_factory=list)
    persistence: dict[str, Any] = field(default_factory=dict)
    servers: list[Statement] = field(default_factory=list)

    def take(self, statement: Statement) -> bool:
        """Whether the statement says something about the table."""
        name = NAMES.get(statement.name, statement.name)
        value = statement.words[1] if len(statement.words) > 1 else ""
        if name in FLAGS:
            self.flags.append(name)
            return True
        known = getattr(self, f"_{name}", None) if name in STATEMENTS else None
        if known is None:
            return False
        known(statement, value)
        return True

    def _real_server(self, statement: Statement, _value: str) -> None:
        self.servers.append(statement)

    def _lvs_sched(self, _statement: Statement, value: str) -> None:
        self.scheduler = value

    def _lvs_method(self, statement: Statement, _value: str) -> None:
        self.method = _method(statement)

    def _protocol(self, _statement: Statement, value: str) -> None:
        self.protocol = value.lower()

    def _family(self, _statement: Statement, value: str) -> None:
        self.family = "ipv6" if value.endswith("6") else "ipv4"

    def _ops(self, _statement: Statement, _value: str) -> None:
        self.one_packet = True

    def _weight(self, _statement: Statement, value: str) -> None:
        self.weight = number(value, "weight")

    def _persistence_timeout(self, _statement: Statement, value: str) -> None:
        self.persistence["timeout"] = number(value, "persistence_timeout") if value else DEFAULT_TIMEOUT

    def _persistence_granularity(self, _statement: Statement, value: str) -> None:
        self.persistence["netmask"] = value

    def _persistence_engine(self, _statement: Statement, value: str) -> None:
        self.persistence["engine"] = value


def _first_family(servers: list[Statement]) -> str:
    return "ipv6" if any(":" in word for server in servers[:1] for word in server.words[1:2]) else "ipv4"


def _names(statement: Statement, groups: dict[str, Statement], protocol: str, family: str) -> list[dict[str, Any]]:
    words = statement.words[1:]
    if words[:1] == ["group"] and len(words) == 2:
        if words[1] not in groups:
            raise WrongError(f"there is no virtual_server_group {words[1]}")
        lines = groups[words[1]].block or []
        return [name for line in lines for name in _name(line.words, protocol, family)]
    return _name(words, protocol, family)


def _name(words: list[str], protocol: str, family: str) -> list[dict[str, Any]]:
    if words[:1] == ["fwmark"] and len(words) >= 2:
        return [{"fwmark": number(words[1], "fwmark"), "family": "ipv6" if words[2:] == ["inet6"] else family}]
    first, dash, last = words[0].partition("-") if words else ("", "", "")
    if not is_address(first) or len(words) > 2:
        raise WrongError(f"{' '.join(words)!r} names no virtual server by address and port or by fwmark")
    port = port_number(words[1], protocol) if len(words) == 2 else 0
    addresses = address_range(first, last) if dash else [first]
    return [{"protocol": protocol, "address": address, "port": port} for address in addresses]


def _method(statement: Statement) -> dict[str, Any]:
    words = statement.words[1:]
    if not words or words[0].upper() not in METHODS:
        raise WrongError(f"{' '.join(words)!r} is none of {', '.join(METHODS)}")
    method: dict[str, Any] = {"forwarding": METHODS[words[0].upper()]}
    tunnel: dict[str, Any] = {}
    rest = words[1:]
    while rest:
        word = rest.pop(0)
        if word == "type" and rest:
            tunnel["type"] = rest.pop(0)
        elif word == "port" and rest:
            tunnel["port"] = number(rest.pop(0), "port")
        elif word in ("nocsum", "csum", "remcsum"):
            tunnel["checksum"] = word.replace("nocsum", "none")
        else:
            raise WrongError(f"{word!r} says nothing about a tunnel")
    if tunnel.get("type", "ipip") != "ipip":
        method["tunnel"] = tunnel
    return method


def _real_server(reading: Reading, server: Statement, shared: _Service, service: dict[str, Any]) -> dict[str, Any]:
    words = server.words[1:]
    if not words or not is_address(words[0]):
        raise WrongError(f"line {server.line}: {' '.join(words)!r} names no real server")
    record: dict[str, Any] = {"address": words[0], **shared.method, "weight": shared.weight}
    if len(words) > 1:
        record["port"] = port_number(words[1], service.get("protocol", "tcp"))
    for inner in server.block or ():
        value = inner.words[1] if len(inner.words) > 1 else ""
        if inner.name == "weight":
            record["weight"] = number(value, "weight")
        elif inner.name == "uthreshold":
            record["upper_threshold"] = number(value, "uthreshold")
        elif inner.name == "lthreshold":
            record["lower_threshold"] = number(value, "lthreshold")
        elif NAMES.get(inner.name, inner.name) == "lvs_method":
            record.pop("tunnel", None)
            record.update(_method(inner))
        elif inner.name.startswith(ELSEWHERE):
            _elsewhere(reading, inner)
        else:
            what = "a health check" if inner.name in CHECKS else "not part of the table"
            reading.ignore(inner.line, f"{inner.name}: {what}")
    if "fwmark" in service:
        reading.rewrite_port(record, 0)  # keepalived does, ipvsadm does not
    return record
