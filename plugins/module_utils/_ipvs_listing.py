# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text table /proc/net/ip_vs as a witness: which services does it show just as they are wanted?

One read of it costs a tenth of asking for the realservers of every service. It shows no thresholds, tunnel types,
persistence engines or scheduler flags: a service whose record has any of them is never called as wanted here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Iterable

from . import _ipvs_model as model
from ._ipvs_model import Destination, Entry, Service, ServiceKey

_HEADINGS = "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
_FORWARDING = {model.NAT: "Masq", model.LOCAL: "Local", model.TUN: "Tunnel", model.DR: "Route", model.BYPASS: "Bypass"}
_ARROW = "\n  -> "
_NEXT_SERVICE = re.compile(r"\n(?!  -> )")
# From a realserver's port to its weight, which a wider number would move: that counts as not shown.
_TAIL = ":{:04X}      {:<7} {:<6d} "
_WIDEST = 10**6


def as_wanted(text: str, wanted: Iterable[Entry]) -> set[ServiceKey]:
    """The services of ``wanted`` that the text shows with just these realservers; none if it is of another kernel."""
    _version, _newline, rest = text.partition("\n")
    if not rest.startswith(_HEADINGS):
        return set()
    shown: dict[str, list[str]] = {}
    for block in _NEXT_SERVICE.split(rest[len(_HEADINGS) :].rstrip("\n")):
        head, *rows = block.split(_ARROW)
        shown[head] = rows
    found = set()
    known: dict[model.DestinationKey, Destination] | None = None
    expected: set[str] | None = None
    for service, destinations in wanted:
        rows = shown.get(_head(service))
        if rows is None or len(rows) != len(destinations):
            continue
        if known is not destinations:  # services share pools, so the last one is kept
            known, expected = destinations, _rows(destinations)
        width = len(next(iter(expected), "")) if expected is not None else 0
        if expected == {row[:width] for row in rows}:
            found.add(service.key)
    return found


def _head(service: Service) -> str:
    """The line of a service; empty where the line would not tell all of it."""
    if service.fwmark or service.flags or service.engine:
        return ""
    protocol = model.PROTOCOL_NAMES[service.protocol].upper()
    return f"{protocol}  {_address(service.family, service.address)}:{service.port:04X} {service.scheduler}  "


def _address(family: int, address: bytes) -> str:
    return address.hex().upper() if family == model.IPV4 else f"[{address.hex(':', 2)}]"


def _rows(destinations: dict[model.DestinationKey, Destination]) -> set[str] | None:
    """How the lines of these realservers begin, all equally long, or None where lines would not tell all of one."""
    rows = set()
    for record in destinations.values():
        tail = _tail(record[2:])
        if tail is None:
            return None
        rows.add(_address(record[0], record[1]) + tail)
    return rows if len({*map(len, rows)}) < 2 else None


@lru_cache(maxsize=4096)
def _tail(values: tuple[int, ...]) -> str | None:
    port, forwarding, weight, *unseen = values
    if any(unseen) or weight >= _WIDEST or forwarding not in _FORWARDING:
        return None
    return _TAIL.format(port, _FORWARDING[forwarding], weight)
