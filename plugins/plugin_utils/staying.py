# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which realservers stay where a health backend writes the table, which deletes the others at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Record = Mapping[str, Any]


def staying_realservers(table: Iterable[Record], part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The services of ``table`` that realservers are to leave, without those, for module ipvs (``replaced``).

    ``table`` is ``config`` of module ipvs_info, ``part`` a director's part of the plan. A realserver whose checks fail
    is not in the table, and a sorry server that answers meanwhile is no stranger.
    """
    stay: dict[tuple[Any, ...], set[tuple[str, int]]] = {}
    for record in part["director"]["config"]:
        stay.setdefault(_key(record), set()).update(map(_place, record.get("realservers") or ()))
    for record in (part.get("health") or {}).get("services") or ():
        if record.get("sorry_server"):
            stay.setdefault(_key(record), set()).add(_place(record["sorry_server"]))
    found = []
    for record in table:
        known = stay.get(_key(record))
        staying = [server for server in record["realservers"] if known is None or _place(server) in known]
        if len(staying) < len(record["realservers"]):
            found.append({**record, "realservers": [{**server, "weight": "keep"} for server in staying]})
    return found


def _key(record: Record) -> tuple[Any, ...]:
    if "fwmark" in record:
        return (record["fwmark"], record["family"])
    return (record["protocol"], record["address"], record["port"])


def _place(server: Record) -> tuple[str, int]:
    return (server["address"], server["port"])
