# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lvs.cf of Red Hat's Piranha."""

from __future__ import annotations

from typing import Any

from .texts import PROTOCOL_WORDS, Reading, Statement, WrongError, blocks, is_address, number

METHODS = {"nat": "nat", "direct": "dr", "tunnel": "tun"}
SERVICE = ("active", "address", "port", "protocol", "scheduler", "persistent", "pmask", "fwmark")
SERVER = ("active", "address", "port", "weight")


def parse(text: str, report: bool = False) -> Any:
    """The services of all ``virtual`` blocks; what is not active is left out."""
    reading = Reading()
    top = blocks(text, "#")
    method = "nat"
    for statement in top:
        if statement.block is None and statement.name == "network":
            method = METHODS.get(_value(statement), "")
            if not method:
                reading.wrong(statement.line, f"network {_value(statement)!r} is none of {', '.join(METHODS)}")
    for statement in top:
        if statement.name == "virtual" and statement.block is not None:
            try:
                _virtual(reading, statement, method)
            except WrongError as exc:
                reading.wrong(statement.line, exc)
        elif statement.name != "network":
            reading.ignore(statement.line, f"{statement.name}: not part of the table")
    return reading.result(report)


def _value(statement: Statement) -> str:
    words = statement.words[1:]
    return " ".join(words[1:] if words[:1] == ["="] else words)


def _fields(reading: Reading, statement: Statement, known: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for inner in statement.block or ():
        if inner.block is None and inner.name in known:
            found[inner.name] = _value(inner)
        elif inner.name != "server":
            reading.ignore(inner.line, f"{inner.name}: not part of the table")
    return found


def _virtual(reading: Reading, statement: Statement, method: str) -> None:
    fields = _fields(reading, statement, SERVICE)
    if fields.get("active", "0") != "1":
        reading.ignore(statement.line, f"{' '.join(statement.words)}: not active")
        return
    port = number(fields["port"], "port") if fields.get("port") else None
    name: dict[str, Any]
    if fields.get("fwmark"):
        name = {"fwmark": number(fields["fwmark"], "fwmark"), "family": "ipv4"}
    else:
        address = fields.get("address", "").split()[:1]
        if not address or not is_address(address[0]) or port is None:
            raise WrongError(f"{' '.join(statement.words)} has no address and port")
        protocol = fields.get("protocol", "tcp").lower()
        name = {"protocol": PROTOCOL_WORDS.get(protocol, protocol), "address": address[0], "port": port}
    persistence: dict[str, Any] | None = None
    if fields.get("persistent", "0") not in ("", "0"):
        persistence = {"timeout": number(fields["persistent"], "persistent")}
        if fields.get("pmask"):
            persistence["netmask"] = fields["pmask"]
    realservers = []
    for inner in statement.block or ():
        if inner.name == "server" and inner.block is not None:
            record = _server(reading, inner, method)
            realservers += [record] if record else []
    key = tuple(name.values())
    if key in reading.services:
        raise WrongError(f"{' '.join(map(str, key))} is there twice")
    scheduler = fields.get("scheduler", "wlc")
    reading.services[key] = {**name, "scheduler": scheduler, "persistence": persistence, "realservers": realservers}


def _server(reading: Reading, statement: Statement, method: str) -> dict[str, Any] | None:
    fields = _fields(reading, statement, SERVER)
    if fields.get("active", "0") != "1":
        reading.ignore(statement.line, f"{' '.join(statement.words)}: not active")
        return None
    address = fields.get("address", "")
    if not is_address(address):
        raise WrongError(f"line {statement.line}: {' '.join(statement.words)} has no address")
    weight = number(fields.get("weight") or "1", "weight")
    record: dict[str, Any] = {"address": address, "forwarding": method, "weight": weight}
    if fields.get("port"):
        record["port"] = number(fields["port"], "port")
    return record
