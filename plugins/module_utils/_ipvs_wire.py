# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPVS attributes and bytes: one typed table for each kind of record, and what packs and unpacks by it."""

from __future__ import annotations

import struct
import sys
from functools import lru_cache
from socket import htonl, htons, ntohl, ntohs
from typing import Any, Iterable, NamedTuple

from ._errors import LvsError
from ._genl import attributes

# Commands of the family IPVS (linux/ip_vs.h).
NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE = 1, 2, 3, 4
NEW_DESTINATION, SET_DESTINATION, DEL_DESTINATION, GET_DESTINATION = 5, 6, 7, 8
NEW_DAEMON, DEL_DAEMON, GET_DAEMON = 9, 10, 11
SET_CONFIG, GET_CONFIG, SET_INFO, GET_INFO = 12, 13, 14, 15

# What a command carries.
COMMAND_SERVICE, COMMAND_DESTINATION, COMMAND_DAEMON = 1, 2, 3


class Attribute(NamedTuple):
    """One attribute of a record: its number, the name used here, and how its value is written."""

    number: int
    name: str
    kind: str


# "u" is in the machine's byte order, "be" in the network's. A netmask is a mask in network order for IPv4 and a prefix
# length in machine order for IPv6, so its bytes are left to whoever knows the family.
SERVICE = (
    Attribute(1, "family", "u16"),
    Attribute(2, "protocol", "u16"),
    Attribute(3, "address", "address"),
    Attribute(4, "port", "be16"),
    Attribute(5, "fwmark", "u32"),
    Attribute(6, "scheduler", "string"),
    Attribute(7, "flags", "flags"),
    Attribute(8, "timeout", "u32"),
    Attribute(9, "netmask", "u32"),
    Attribute(10, "stats", "stats"),
    Attribute(11, "engine", "string"),
    Attribute(12, "stats64", "stats64"),
)

DESTINATION = (
    Attribute(1, "address", "address"),
    Attribute(2, "port", "be16"),
    Attribute(3, "forwarding", "u32"),
    Attribute(4, "weight", "u32"),
    Attribute(5, "upper_threshold", "u32"),
    Attribute(6, "lower_threshold", "u32"),
    Attribute(7, "active", "u32"),
    Attribute(8, "inactive", "u32"),
    Attribute(9, "persistent", "u32"),
    Attribute(10, "stats", "stats"),
    Attribute(11, "family", "u16"),
    Attribute(12, "stats64", "stats64"),
    Attribute(13, "tunnel_type", "u8"),
    Attribute(14, "tunnel_port", "be16"),
    Attribute(15, "tunnel_flags", "u16"),
)

# A connection synchronisation daemon. Its port, unlike all others, is in machine order.
DAEMON = (
    Attribute(1, "state", "u32"),
    Attribute(2, "interface", "string"),
    Attribute(3, "syncid", "u32"),
    Attribute(4, "maxlen", "u16"),
    Attribute(5, "group4", "address4"),
    Attribute(6, "group6", "address"),
    Attribute(7, "port", "u16"),
    Attribute(8, "ttl", "u8"),
)

# Timeouts and information stand in a command by themselves, not inside another attribute.
TIMEOUTS = (
    Attribute(4, "tcp", "u32"),
    Attribute(5, "tcp_fin", "u32"),
    Attribute(6, "udp", "u32"),
)

INFO = (
    Attribute(1, "version", "u32"),
    Attribute(2, "connection_buckets", "u32"),
)

STATS64 = (
    Attribute(1, "connections", "u64"),
    Attribute(2, "in_packets", "u64"),
    Attribute(3, "out_packets", "u64"),
    Attribute(4, "in_bytes", "u64"),
    Attribute(5, "out_bytes", "u64"),
    Attribute(6, "connections_per_second", "u64"),
    Attribute(7, "in_packets_per_second", "u64"),
    Attribute(8, "out_packets_per_second", "u64"),
    Attribute(9, "in_bytes_per_second", "u64"),
    Attribute(10, "out_bytes_per_second", "u64"),
)

# All that kernels before 4.1 count with, and what all later ones send as well: only bytes do not wrap at 32 bits.
STATS = tuple(
    attribute if attribute.name in ("in_bytes", "out_bytes") else attribute._replace(kind="u32")
    for attribute in STATS64
)

_FORMATS = {
    "u8": "B",
    "u16": "H",
    "be16": "H",
    "u32": "I",
    "u64": "Q",
    "flags": "I4x",  # flags, and the mask of those that are meant
    "address": "16s",
    "address4": "4s",
}
_READERS = {kind: struct.Struct("=" + text) for kind, text in _FORMATS.items()}
_HEADER = struct.Struct("=HH")


def netmask_to_wire(family: int, netmask: int) -> int:
    """The number to write for a netmask: IPv4 (2) is in network order, IPv6 (10) is a prefix length."""
    return htonl(netmask) if family == 2 else netmask


def netmask_from_wire(family: int, number: int) -> int:
    """The netmask that a number read from the kernel means."""
    return ntohl(number) if family == 2 else number


def nest(number: int, content: bytes) -> bytes:
    """Attributes as the content of another attribute."""
    return _HEADER.pack(4 + len(content), number) + content


def pack(table: tuple[Attribute, ...], values: dict[str, Any]) -> bytes:
    """The attributes that ``values`` names, in the table's order. ``flags`` is a pair (flags, mask)."""
    parts: list[bytes] = []
    for attribute in table:
        if attribute.name not in values:
            continue
        value = values[attribute.name]
        if attribute.kind == "string":
            content = value.encode("ascii") + b"\0"
        elif attribute.kind == "flags":
            content = struct.pack("=II", *value)
        elif attribute.kind == "be16":
            content = struct.pack("=H", htons(value))
        else:
            content = _READERS[attribute.kind].pack(value)
        parts.append(_HEADER.pack(4 + len(content), attribute.number) + content + b"\0" * (-len(content) % 4))
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _packed_alike(*values: tuple[str, Any]) -> bytes:
    """Attributes of services that many services share, packed once."""
    return pack(SERVICE, dict(values))


_ADDRESS_BYTES = 16
_SERVICE_ADDRESS_HEAD = _HEADER.pack(4 + _ADDRESS_BYTES, 3)


def pack_service_key(family: int, protocol: int, address: bytes, port: int, fwmark: int) -> bytes:
    """The attributes that name a service."""
    if fwmark:
        return pack(SERVICE, {"family": family, "fwmark": fwmark})
    return b"".join(
        (
            _packed_alike(("family", family), ("protocol", protocol)),
            _SERVICE_ADDRESS_HEAD,
            address.ljust(_ADDRESS_BYTES, b"\0"),
            _packed_alike(("port", port)),
        )
    )


def pack_service_settings(scheduler: str, flags: tuple[int, int], timeout: int, netmask: int, engine: str) -> bytes:
    """The attributes of a service that may change; ``flags`` is a pair (flags, mask), ``netmask`` as on the wire."""
    values = [("scheduler", scheduler), ("flags", flags), ("timeout", timeout), ("netmask", netmask)]
    if engine:  # left out, the kernel takes the engine away
        values.append(("engine", engine))
    return _packed_alike(*values)


# A realserver's attributes in the order in which the kernel shows them, but for the counters before its family: what is
# written can be told from what is read byte by byte.
DESTINATION_ORDER = (
    "address", "port", "forwarding", "weight", "tunnel_type", "tunnel_port", "tunnel_flags",
    "upper_threshold", "lower_threshold", "family",
)  # fmt: skip
_ADDRESS_HEAD = _HEADER.pack(4 + _ADDRESS_BYTES, 1)


@lru_cache(maxsize=4096)
def _packed_rest(family: int, values: tuple[int, ...]) -> bytes:
    names = (
        "port", "forwarding", "weight", "upper_threshold", "lower_threshold", "tunnel_type", "tunnel_port",
        "tunnel_flags",
    )  # fmt: skip
    record = dict(zip(names, values), family=family)
    known = {attribute.name: attribute for attribute in DESTINATION}
    return b"".join(pack((known[name],), record) for name in DESTINATION_ORDER[1:])


def pack_destinations(records: Iterable[tuple[Any, ...]]) -> tuple[bytes, list[bytes]]:
    """The attributes of realservers, given in the order of the model's fields: how all begin, and how each goes on.

    Most realservers of a table differ in their address only, so the rest is packed once. All have one length.
    """
    return _ADDRESS_HEAD, [
        record[1].ljust(_ADDRESS_BYTES, b"\0") + _packed_rest(record[0], record[2:]) for record in records
    ]


def pack_destination(*record: Any) -> bytes:
    """The same for one."""
    head, (rest,) = pack_destinations([record])
    return head + rest


class Cutter:
    """Takes the attributes of some names, as they stand, out of every message of a dump: one row of bytes each.

    One kernel lays out all its records alike, so where they lie in the first message of a length serves the others.
    Whoever reads the values of a row finds out if that was not so: it would not begin with the header of an attribute.
    """

    def __init__(self, table: tuple[Attribute, ...], names: tuple[str, ...]) -> None:
        self._numbers = frozenset(attribute.number for attribute in table if attribute.name in names)
        self._layouts: dict[int, tuple[struct.Struct, struct.Struct]] = {}

    def row(self, buffer: bytes, start: int, end: int) -> bytes:
        """The row of one record."""
        return b"".join(buffer[first:last] for first, last in self._spans(buffer, start, end))

    def rows(self, buffer: memoryview) -> list[bytes] | None:
        """The row of every message of a datagram, or None where they are not all of one length and type."""
        length = int.from_bytes(buffer[:4], sys.byteorder)
        if length < _MESSAGE_BYTES or len(buffer) % length:
            return None
        layout = self._layouts.get(length)
        if layout is None:
            layout = self._layouts[length] = self._learn(bytes(buffer[:length]))
        heads, pieces = layout
        if len(set(heads.iter_unpack(buffer))) != 1:
            return None
        return list(map(b"".join, pieces.iter_unpack(buffer)))

    def _spans(self, buffer: bytes, start: int, end: int) -> list[tuple[int, int]]:
        """Where the wanted attributes lie, with their headers and padding; neighbours as one."""
        spans: list[tuple[int, int]] = []
        for number, content, stop in attributes(buffer, start, end):
            if number not in self._numbers:
                continue
            first, last = content - 4, min((stop + 3) & ~3, end)
            if spans and spans[-1][1] == first:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
        return spans

    def _learn(self, message: bytes) -> tuple[struct.Struct, struct.Struct]:
        text, position = "=", 0
        for first, last in self._spans(message, _MESSAGE_BYTES, len(message)):
            text += f"{first - position}x{last - first}s"
            position = last
        return struct.Struct(f"=IH{len(message) - 6}x"), struct.Struct(f"{text}{len(message) - position}x")


class _Layout(NamedTuple):
    """Where the wanted values of a record lie, and the attribute headers by which such a record is known again."""

    heads: struct.Struct
    expected: tuple[Any, ...]
    fields: struct.Struct
    order: list[int]
    swapped: list[int]


# Before the attributes of a record: the netlink header, the generic header, the header of the attribute around them.
_MESSAGE_BYTES = 24


class Reader:
    """Reads the values of ``names`` from records; what the kernel did not send has its default.

    One kernel lays out all its records alike, so the positions learnt from one record serve the next of the same
    length, after its attribute headers have been compared. Any other record is walked attribute by attribute.
    """

    def __init__(self, table: tuple[Attribute, ...], names: tuple[str, ...], defaults: tuple[Any, ...]) -> None:
        self._known = {attribute.number: attribute for attribute in table if attribute.name in names}
        self._places = {number: names.index(attribute.name) for number, attribute in self._known.items()}
        self._defaults = defaults
        self._layouts: dict[int, _Layout] = {}
        self.cutter = Cutter(table, names)

    def __call__(self, buffer: bytes, start: int, end: int) -> list[Any]:
        """The values of the record between two positions."""
        values = list(self._defaults)
        layout = self._layouts.get(end - start)
        if layout is not None and layout.heads.unpack_from(buffer, start) == layout.expected:
            for place, value in zip(layout.order, layout.fields.unpack_from(buffer, start)):
                values[place] = value
            for place in layout.swapped:
                values[place] = ntohs(values[place])
            return values
        for number, position, stop in attributes(buffer, start, end):
            attribute = self._known.get(number)
            if attribute is not None:
                values[self._places[number]] = _read(attribute.kind, buffer, position, stop)
        self._learn(buffer, start, end)
        return values

    def _learn(self, buffer: bytes, start: int, end: int) -> None:
        """Remember the layout of this record, unless a wanted value is of changing length (a string)."""
        heads, fields = "", ""
        order: list[int] = []
        swapped: list[int] = []
        for number, content, stop in attributes(buffer, start, end):
            length = stop - content
            room = min((length + 3) & ~3, end - content)
            attribute = self._known.get(number)
            heads += f"I{room}x"
            if attribute is None:
                fields += f"{4 + room}x"
                continue
            if attribute.kind not in _FORMATS or _READERS[attribute.kind].size != length:
                return
            fields += f"4x{_FORMATS[attribute.kind]}{room - length}x"
            order.append(self._places[number])
            if attribute.kind == "be16":
                swapped.append(self._places[number])
        head = struct.Struct("=" + heads)
        fields_of = struct.Struct("=" + fields)
        self._layouts[end - start] = _Layout(head, head.unpack_from(buffer, start), fields_of, order, swapped)


def _read(kind: str, buffer: bytes, start: int, end: int) -> Any:
    if kind == "string":
        return buffer[start:end].split(b"\0", 1)[0].decode("ascii", "replace")
    if kind == "address":
        return buffer[start:end][:16].ljust(16, b"\0")
    if kind in _STATS:
        return dict(zip(STATS_NAMES, _STATS[kind](buffer, start, end)))
    if end - start < _READERS[kind].size:
        raise LvsError("The kernel's answer about the IPVS table holds a number that is too short.")
    value = _READERS[kind].unpack_from(buffer, start)[0]
    return ntohs(value) if kind == "be16" else value


STATS_NAMES = tuple(attribute.name for attribute in STATS64)
_STATS = {kind: Reader(table, STATS_NAMES, (0,) * 10) for kind, table in (("stats", STATS), ("stats64", STATS64))}
