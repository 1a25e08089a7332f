# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPVS attributes and bytes: one typed table for each kind of record, and what packs and unpacks by it."""

from __future__ import annotations

import struct
import sys
from operator import itemgetter
from socket import htonl, htons, ntohl, ntohs
from typing import Any, Callable, Iterator, NamedTuple

from ._errors import LvsError
from ._genl import attributes

# Commands of the family IPVS (linux/ip_vs.h).
NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE = 1, 2, 3, 4
NEW_DESTINATION, SET_DESTINATION, DEL_DESTINATION, GET_DESTINATION = 5, 6, 7, 8

# What a command carries.
COMMAND_SERVICE, COMMAND_DESTINATION = 1, 2


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


def packer(table: tuple[Attribute, ...], names: tuple[str, ...], inside: int) -> Callable[..., bytes]:
    """A function that packs the values of ``names``, given in that order, as the content of attribute ``inside``.

    Every record written has the same attributes, all of a fixed length: one pre-computed format writes it at once.
    """
    known = {attribute.name: attribute for attribute in table}
    text = "=HH"
    template: list[Any] = [0, inside]
    swapped: list[int] = []
    for place, name in enumerate(names):
        attribute = known[name]
        length = _READERS[attribute.kind].size
        text += f"HH{_FORMATS[attribute.kind]}{-length % 4}x"
        template += [4 + length, attribute.number, None]
        if attribute.kind == "be16":
            swapped.append(place)
    whole = struct.Struct(text)
    template[0] = whole.size
    write = whole.pack

    def pack_record(record: tuple[Any, ...]) -> bytes:
        values = list(record)
        for place in swapped:
            values[place] = htons(values[place])
        template[4::3] = values
        return write(*template)

    return pack_record


class _Layout(NamedTuple):
    """Where the wanted values of a record lie, and the attribute headers by which such a record is known again."""

    heads: struct.Struct
    expected: tuple[Any, ...]
    fields: struct.Struct
    order: list[int]
    swapped: list[int]


# A netlink message with one record: length, type, the generic header, the header of the attribute around the record.
_MESSAGE_HEADS = "=IH10xII"
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
        self._messages: dict[int, _Layout] = {}

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

    def datagram(self, buffer: bytes) -> Iterator[list[Any]] | None:
        """The values of every record of a datagram that holds nothing but messages of one known layout."""
        length = int.from_bytes(buffer[:4], sys.byteorder)
        layout = self._messages.get(length)
        if layout is None or len(buffer) % length:
            return None
        heads = list(layout.heads.iter_unpack(buffer))
        if heads.count(layout.expected) != len(heads):
            return None
        return self._rows(layout, buffer)

    @staticmethod
    def _rows(layout: _Layout, buffer: bytes) -> Iterator[list[Any]]:
        ordered = itemgetter(*layout.order)
        swapped = layout.swapped
        for row in layout.fields.iter_unpack(buffer):
            values = list(ordered(row))
            for place in swapped:
                values[place] = ntohs(values[place])
            yield values

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
        layout = _Layout(head, head.unpack_from(buffer, start), struct.Struct("=" + fields), order, swapped)
        self._layouts[end - start] = layout
        self._learn_message(layout, heads, fields, buffer, start, end)

    def _learn_message(self, layout: _Layout, heads: str, fields: str, buffer: bytes, start: int, end: int) -> None:
        """The same for the whole message around a record that has every value, ordered as ``names``."""
        places = layout.order
        if start < _MESSAGE_BYTES or sorted(places) != list(range(len(self._defaults))) or (end - start) % 4:
            return
        head = struct.Struct(_MESSAGE_HEADS + heads)
        expected = head.unpack_from(buffer, start - _MESSAGE_BYTES)
        order = [places.index(place) for place in range(len(places))]
        whole = struct.Struct(f"={_MESSAGE_BYTES}x{fields}")
        self._messages[end - start + _MESSAGE_BYTES] = layout._replace(
            heads=head, expected=expected, fields=whole, order=order
        )


def _read(kind: str, buffer: bytes, start: int, end: int) -> Any:
    if kind == "string":
        return buffer[start:end].split(b"\0", 1)[0].decode("ascii", "replace")
    if kind == "address":
        return buffer[start:end].ljust(16, b"\0")
    if kind in _STATS:
        return dict(zip(STATS_NAMES, _STATS[kind](buffer, start, end)))
    if end - start < _READERS[kind].size:
        raise LvsError("The kernel's answer about the IPVS table holds a number that is too short.")
    value = _READERS[kind].unpack_from(buffer, start)[0]
    return ntohs(value) if kind == "be16" else value


STATS_NAMES = tuple(attribute.name for attribute in STATS64)
_STATS = {kind: Reader(table, STATS_NAMES, (0,) * 10) for kind, table in (("stats", STATS), ("stats64", STATS64))}
