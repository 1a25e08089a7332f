# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single connections of IPVS, as /proc/net/ip_vs_conn lists them: read line by line, summed up or picked out."""

from __future__ import annotations

import binascii
from typing import Any, Callable, NamedTuple

from . import _ipvs_model as model
from ._errors import LvsError
from ._ipvs_model import IPV4, IPV6, DestinationKey, ServiceKey

PROC_CONNECTIONS = "proc/net/ip_vs_conn"

_PROTOCOLS = {b"IP": 0, b"TCP": 6, b"UDP": 17, b"SCTP": 132, b"ICMP": 1, b"ICMPv6": 58}
# What a persistence template can say; a connection whose client port is still unknown says LISTEN.
_TEMPLATE_STATES = ("NONE", "ASSURED")
_LINE_BYTES = 4096
_SHOWN = 120


class Row(NamedTuple):
    """One line: a connection, or a persistence template."""

    service: ServiceKey  # as the client addressed it, or the firewall mark that a template is for
    client: tuple[int, bytes]
    client_port: int
    realserver: DestinationKey
    state: str
    expires: int  # seconds
    engine: str
    engine_data: str
    template: bool


class Counted(NamedTuple):
    """The connections of one realserver, those that were read."""

    states: dict[str, int]
    templates: int


class Summary(NamedTuple):
    """What was found in the lines that were read; ``truncated`` if there were more."""

    read: int
    truncated: bool
    realservers: dict[ServiceKey, dict[DestinationKey, Counted]]
    rows: list[Row]  # the first of those that were asked for
    matching: int  # how many there are of them


NOTHING = Summary(0, False, {}, [], 0)


def parse(line: bytes) -> Row:
    """One line of the file, but its first. Raises LvsError where it is not what the kernel writes."""
    fields = line.split(None, 9)
    try:
        name, client, client_port, vip, vip_port, realserver, realserver_port, state, expires = fields[:9]
        protocol = _PROTOCOLS.get(name)
        if protocol is None:
            protocol = _number(name[3:] if name.startswith(b"IP_") else name)
        family, vip_address = _address(vip)
        port = _port(client_port)
        state_text = state.decode("ascii")
        template = port == 0 and state_text in _TEMPLATE_STATES
        service: ServiceKey = (family, protocol, vip_address, _port(vip_port), 0)
        mark = int.from_bytes(vip_address[:4], "big")
        if template and protocol == 0 and mark:  # it stands in place of the VIP
            service = (family, 0, b"", 0, mark)
        engine, _space, data = b"".join(fields[9:]).partition(b" ")
        return Row(
            service,
            _address(client),
            port,
            (*_address(realserver), _port(realserver_port)),
            state_text,
            _number(expires),
            engine.strip().decode("ascii", "replace"),
            data.strip().decode("ascii", "replace"),
            template,
        )
    except ValueError as exc:
        shown = line[:_SHOWN].decode("ascii", "backslashreplace").strip()
        raise LvsError(f"A line of /{PROC_CONNECTIONS} is not what kernels are known to write: {shown!r}.") from exc


def read(
    stream: Any,
    wanted: Callable[[Row], bool],
    max_connections: int,
    max_rows: int,
) -> Summary:
    """Go through the lines of ``stream``, at most ``max_connections``, and keep at most ``max_rows`` of the wanted."""
    counted: dict[tuple[ServiceKey, DestinationKey, str], int] = {}
    rows: list[Row] = []
    number = matching = 0
    for line in iter(lambda: stream.readline(_LINE_BYTES), b""):
        if line.startswith(b"Pro "):
            continue
        if number == max_connections:
            return Summary(number, True, _by_service(counted), rows, matching)
        number += 1
        row = parse(line)
        if not wanted(row):
            continue
        matching += 1
        place = (row.service, row.realserver, "" if row.template else row.state)
        counted[place] = counted.get(place, 0) + 1
        if len(rows) < max_rows:
            rows.append(row)
    return Summary(number, False, _by_service(counted), rows, matching)


def summary_results(summary: Summary) -> dict[str, Any]:
    """The numbers of connections as a module returns them."""
    return {
        "read": summary.read,
        "truncated": summary.truncated,
        "services": [
            {
                **model.service_name(service),
                "realservers": [
                    {**model.destination_name(place), **realservers[place]._asdict()} for place in sorted(realservers)
                ],
            }
            for service, realservers in (
                (key, summary.realservers[key]) for key in model.ordered_keys(summary.realservers)
            )
        ],
    }


def row_results(summary: Summary) -> dict[str, Any]:
    """Single connections as a module returns them."""
    return {
        "read": summary.read,
        "matching": summary.matching,
        "truncated": summary.truncated or summary.matching > len(summary.rows),
        "connections": [
            {
                **model.service_name(row.service),
                "client": model.address_text(*row.client),
                "client_port": row.client_port,
                "realserver": model.destination_name(row.realserver),
                "state": row.state,
                "expires": row.expires,
                "engine": row.engine or None,
                "engine_data": row.engine_data or None,
                "template": row.template,
            }
            for row in summary.rows
        ],
    }


def _by_service(
    counted: dict[tuple[ServiceKey, DestinationKey, str], int],
) -> dict[ServiceKey, dict[DestinationKey, Counted]]:
    result: dict[ServiceKey, dict[DestinationKey, Counted]] = {}
    for (service, realserver, state), number in sorted(counted.items()):
        found = result.setdefault(service, {}).get(realserver, Counted({}, 0))
        if state:
            found.states[state] = number
        else:
            found = found._replace(templates=number)
        result[service][realserver] = found
    return result


def _address(text: bytes) -> tuple[int, bytes]:
    """``C0A8016E``, or eight groups of four digits with colons."""
    if len(text) == 8:
        return IPV4, binascii.unhexlify(text)
    packed = binascii.unhexlify(text.replace(b":", b""))
    if len(packed) != 16:
        raise ValueError("no address")
    return IPV6, packed


def _port(text: bytes) -> int:
    if len(text) != 4:
        raise ValueError("no port")
    return int.from_bytes(binascii.unhexlify(text), "big")


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise ValueError("no number")
    return int(text)
