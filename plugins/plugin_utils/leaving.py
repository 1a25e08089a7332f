# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which realservers the table has and the plan has not, where a health backend writes the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def leaving_realservers(table: Iterable[Record], part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The services of ``table`` with the realservers that are to leave it, as module ipvs takes them to be deleted.

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
        gone = [server for server in record["realservers"] if known is not None and _place(server) not in known]
        if gone:
            names = ("fwmark", "family", "protocol", "address", "port")
            service = {name: record[name] for name in names if name in record}
            servers: Sequence[dict[str, Any]] = [{key: server[key] for key in ("address", "port")} for server in gone]
            found.append({**service, "realservers": servers})
    return found


def _key(record: Record) -> tuple[Any, ...]:
    if "fwmark" in record:
        return (record["fwmark"], record["family"])
    return (record["protocol"], record["address"], record["port"])


def _place(server: Record) -> tuple[str, int]:
    return (server["address"], server["port"])
