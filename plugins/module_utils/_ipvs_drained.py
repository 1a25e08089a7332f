# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which realservers are drained on this host, and the weight that each gets back."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Iterable, NamedTuple, Tuple

from . import _files
from . import _ipvs_model as model
from ._errors import LvsError
from ._ipvs_input import MAX_WEIGHT, Mistake, WantedService, parse, parse_integer
from ._ipvs_model import DestinationKey, ServiceKey, Table

# Beside the ledger: it must outlive a reboot, or the boot would give a drained realserver its weight back.
PATH = "/var/lib/lvs/drained.json"
VERSION = 1


class Drained(NamedTuple):
    """What is remembered of one drained realserver."""

    weight: int  # what it had, and gets back
    since: float  # seconds since 1970
    now: int = 0  # how much of it a ramp has given back


Memory = Dict[Tuple[ServiceKey, DestinationKey], Drained]


def default_path() -> str:
    """Where the network namespace that this process is in is remembered; only the machine's own outlives a reboot."""
    try:
        own, first = os.stat("/proc/self/ns/net"), os.stat("/proc/1/ns/net")
    except OSError:
        return PATH
    return PATH if os.path.samestat(own, first) else f"/run/lvs/drained-{own.st_ino}.json"


def load(path: str) -> Memory:
    """What is remembered; nothing where the file does not exist."""
    text = _files.read(path)
    if text is None:
        return {}
    try:
        content = json.loads(text.decode("utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r}")
        return dict(_entry(row) for row in content["drained"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Mistake, LvsError) as exc:
        raise LvsError(
            f"Reading {path}, which remembers the weights of drained realservers, failed: {exc}. Remove it, and set "
            "the weights of realservers that are drained by hand."
        ) from exc


def store(memory: Memory, path: str) -> None:
    """Remember this, as one step; with nothing to remember the file goes."""
    if not memory:
        _files.remove(path, os.path.dirname(path))
        return
    rows = [
        {
            "service": model.service_name(service),
            "realserver": model.destination_name(place),
            "weight": drained.weight,
            "since": drained.since,
            **({"now": drained.now} if drained.now else {}),
        }
        for (service, place), drained in sorted(memory.items())
    ]
    text = json.dumps({"version": VERSION, "drained": rows}, indent=1, sort_keys=True) + "\n"
    _files.write(path, text.encode("utf-8"), 0o600)


def hold(want: Table, wanted: list[WantedService], memory: Memory, keep: bool) -> tuple[Table, Memory]:
    """The table that is wanted with the weight that who is drained has by now, and the memory with those stated.

    ``keep`` says that a weight which is not stated is none (state ``merged``), not the default.
    """
    table, remembered = dict(want), dict(memory)
    places: dict[ServiceKey, list[DestinationKey]] = {}
    for owner, place in memory:
        places.setdefault(owner, []).append(place)
    for service in wanted:
        if service.key not in want:
            continue
        entry = want[service.key]
        stated = {destination.key: destination for destination in service.destinations or ()}
        held = {}
        for place in places.get(service.key, ()):
            destination = entry.destinations.get(place)
            if destination is None:
                continue
            held[place] = destination._replace(weight=memory[service.key, place].now)
            said = stated.get(place)
            # One that states what it has at the moment repeats what it has read.
            if (
                said is not None
                and not said.keep_weight
                and said.plain.weight != memory[service.key, place].now
                and ("weight" in said.stated or not keep)
            ):
                remembered[service.key, place] = remembered[service.key, place]._replace(weight=said.plain.weight)
        if held:
            table[service.key] = entry._replace(destinations={**entry.destinations, **held})
    return table, remembered


def forget(memory: Memory, table: Table, keys: Iterable[ServiceKey]) -> Memory:
    """The memory without the realservers that the services ``keys`` do not have any more."""
    decided = set(keys)

    def stays(service: ServiceKey, place: DestinationKey) -> bool:
        return service not in decided or (service in table and place in table[service].destinations)

    return {place: drained for place, drained in memory.items() if stays(*place)}


def with_weights(table: Table, memory: Memory) -> Table:
    """The table with the remembered weights: what is saved must not make a drain last for ever."""
    result = dict(table)
    for (service, place), drained in memory.items():
        entry = result.get(service)
        if entry is not None and place in entry.destinations:
            record = entry.destinations[place]._replace(weight=drained.weight)
            result[service] = entry._replace(destinations={**entry.destinations, place: record})
    return result


def _entry(row: dict[str, Any]) -> tuple[tuple[ServiceKey, DestinationKey], Drained]:
    wanted, _none = parse([{**row["service"], "realservers": [row["realserver"]]}], None, keep=True)
    (destination,) = wanted[0].destinations or []
    weight, now = (parse_integer(value, 0, MAX_WEIGHT, "weight") for value in (row["weight"], row.get("now", 0)))
    return (wanted[0].key, destination.key), Drained(weight, float(row["since"]), now)
