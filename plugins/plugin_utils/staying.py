# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which realservers stay where a health backend writes the table, which deletes the others at once.

keepalived never sends a changed threshold of one that is in the table, so those are set beforehand, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Record = Mapping[str, Any]


def staying_realservers(table: Iterable[Record], part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The services of ``table`` that realservers are to leave, without those, for module ipvs (``replaced``).

    Those that stay have the thresholds of the plan; a service in which some differ is among them, too.

    ``table`` is ``config`` of module ipvs_info, ``part`` a director's part of the plan. A realserver whose checks fail
    is not in the table, and a sorry server that answers meanwhile is no stranger.
    """
    stay: dict[tuple[Any, ...], dict[tuple[str, int], dict[str, Any]]] = {}
    for record in part["director"]["config"]:
        planned = {_place(server): _thresholds(server) for server in record.get("realservers") or ()}
        stay.setdefault(_key(record), {}).update(planned)
    for record in (part.get("health") or {}).get("services") or ():
        if record.get("sorry_server"):
            stay.setdefault(_key(record), {}).setdefault(_place(record["sorry_server"]), {})
    found = []
    for record in table:
        known = stay.get(_key(record))
        if known is None:
            continue
        there = record["realservers"]
        staying = [{**server, **known[_place(server)]} for server in there if _place(server) in known]
        if staying != list(there):
            found.append({**record, "realservers": [{**server, "weight": "keep"} for server in staying]})
    return found


def _thresholds(server: Record) -> dict[str, Any]:
    return {name: server[name] for name in ("upper_threshold", "lower_threshold") if name in server}


def _key(record: Record) -> tuple[Any, ...]:
    if "fwmark" in record:
        return (record["fwmark"], record["family"])
    return (record["protocol"], record["address"], record["port"])


def _place(server: Record) -> tuple[str, int]:
    return (server["address"], server["port"])
