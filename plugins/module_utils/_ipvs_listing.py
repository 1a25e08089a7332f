# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text table /proc/net/ip_vs as a witness: which services does it show just as they are wanted?

One read of it costs a tenth of asking for the realservers of every service. It shows no thresholds, tunnel types,
persistence engines or scheduler flags: a service whose record has any of them is never called as wanted here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import BinaryIO, Iterable, Iterator

from . import _ipvs_model as model
from ._ipvs_model import Destination, Entry, Service, ServiceKey

_HEADINGS = (
    b"Prot LocalAddress:Port Scheduler Flags\n",
    b"  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
)
_FORWARDING = {model.NAT: "Masq", model.LOCAL: "Local", model.TUN: "Tunnel", model.DR: "Route", model.BYPASS: "Bypass"}
_ARROW = b"  -> "
# From a realserver's port to its weight, which a wider number would move: that counts as not shown.
_TAIL = ":{:04X}      {:<7} {:<6d} "
_WIDEST = 10**6


def as_wanted(stream: BinaryIO, wanted: Iterable[Entry]) -> set[ServiceKey]:
    """The services of ``wanted`` that the text shows with just these realservers; none if it is of another kernel."""
    stream.readline()  # the version
    if tuple(stream.readline() for _heading in _HEADINGS) != _HEADINGS:
        return set()
    entries = {head: entry for entry in wanted if (head := _head(entry.service))}
    found = set()
    known: dict[model.DestinationKey, Destination] | None = None
    expected: set[bytes] | None = None
    for head, rows in _blocks(stream):
        entry = entries.get(head)
        if entry is None or len(rows) != len(entry.destinations):
            continue
        if known is not entry.destinations:  # services share pools, so the last one is kept
            known, expected = entry.destinations, _rows(entry.destinations)
        width = len(next(iter(expected), b"")) if expected is not None else 0
        if expected == {row[:width] for row in rows}:
            found.add(entry.service.key)
    return found


def _blocks(stream: BinaryIO) -> Iterator[tuple[bytes, list[bytes]]]:
    """The line of each service, and those of its realservers; one at a time, for fresh memory is dear."""
    head, rows = b"", []
    for line in stream:
        if line.startswith(_ARROW):
            rows.append(line)
        else:
            yield head, rows
            head, rows = line, []
    yield head, rows


def _head(service: Service) -> bytes:
    """The line of a service; empty where the line would not tell all of it."""
    if service.fwmark or service.flags or service.engine:
        return b""
    protocol = model.PROTOCOL_NAMES[service.protocol].upper()
    address = _address(service.family, service.address)
    return f"{protocol}  {address}:{service.port:04X} {service.scheduler}  \n".encode()


def _address(family: int, address: bytes) -> str:
    return address.hex().upper() if family == model.IPV4 else f"[{address.hex(':', 2)}]"


def _rows(destinations: dict[model.DestinationKey, Destination]) -> set[bytes] | None:
    """How the lines of these realservers begin, all equally long, or None where lines would not tell all of one."""
    rows = set()
    for record in destinations.values():
        tail = _tail(record[2:])
        if tail is None:
            return None
        rows.add(_ARROW + (_address(record[0], record[1]) + tail).encode())
    return rows if len({*map(len, rows)}) < 2 else None


@lru_cache(maxsize=4096)
def _tail(values: tuple[int, ...]) -> str | None:
    port, forwarding, weight, *unseen = values
    if any(unseen) or weight >= _WIDEST or forwarding not in _FORWARDING:
        return None
    return _TAIL.format(port, _FORWARDING[forwarding], weight)
