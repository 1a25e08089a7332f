# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module ``ipvs_info`` returns: the parts that were asked for, read from the kernel and from /proc."""

from __future__ import annotations

import os
import re
from functools import cached_property
from typing import Any, Callable, Iterable, NamedTuple

from . import _ipvs_connections as single
from . import _ipvs_model as model
from ._errors import LvsError
from ._genl import Connection
from ._ipvs_capabilities import Seen, capabilities
from ._ipvs_input import Mistake, Mistakes, parse_integer, parse_network, parse_restrict
from ._ipvs_kernel import KernelTable, Statistics
from ._ipvs_model import DestinationKey, Service, ServiceKey
from ._ipvs_settings import daemon_config, read_daemons, read_timeouts, timeouts_config
from ._ipvs_strangers import strangers
from ._kernel_modules import KernelModules

DEFAULT_PARTS = ("table", "connections")
MAX_CONNECTIONS = 100000
MAX_ENTRIES = 100

_PER_SECOND = "_per_second"


class Machine(NamedTuple):
    """What reading needs of the machine it is on."""

    modules: KernelModules
    connect: Callable[[], Connection] = Connection
    root: str = "/"
    strangers: Callable[[Iterable[ServiceKey]], dict[ServiceKey, str]] = strangers


class Wanted(NamedTuple):
    """Which services and single connections are meant, and how many of the latter may be read and returned."""

    service: Callable[[ServiceKey], bool]
    row: Callable[[single.Row], bool]
    max_connections: int
    max_entries: int


def gather(
    restrict: list[dict[str, Any]] | None = None,
    parts: Iterable[str] = DEFAULT_PARTS,
    realserver: str | None = None,
    client: str | None = None,
    max_connections: int = MAX_CONNECTIONS,
    max_entries: int = MAX_ENTRIES,
    machine: Machine | None = None,
) -> dict[str, Any]:
    """The parts ``parts``, the names in ``PARTS``. Nothing is loaded for it.

    A part that cannot be read is left out and said in ``notes``; only for the table that is an error.
    """
    wanted = _wanted(restrict, realserver, client, max_connections, max_entries)
    asked = frozenset(parts)
    missed: dict[str, list[str]] = {}
    reading = _Reading(machine or Machine(KernelModules()), wanted)
    result: dict[str, Any] = {"loaded": reading.loaded}
    try:
        for part in PARTS:
            if part not in asked:
                continue
            try:
                result.update(PARTS[part](reading))
            except LvsError as exc:
                if part == "table":
                    raise
                missed.setdefault(exc.message, []).append(part)
    finally:
        reading.close()
    result["notes"] = [f"Not read: {', '.join(names)}. {message}" for message, names in missed.items()]
    return result


class _Reading:
    """What several parts are made from, read once and only when it is needed."""

    def __init__(self, machine: Machine, wanted: Wanted) -> None:
        self.machine = machine
        self.wanted = wanted
        self._proc = self.path("proc/net/ip_vs")
        self._opened: KernelTable | None = None

    def path(self, name: str) -> str:
        """A file of the machine."""
        return os.path.join(self.machine.root, name)

    @property
    def loaded(self) -> bool:
        """Whether there is an IPVS table."""
        try:
            return self.table is not None
        except LvsError:
            return os.path.exists(self._proc)

    @cached_property
    def table(self) -> KernelTable | None:
        """The table; None where ip_vs is not loaded."""
        machine = self.machine
        self._opened = KernelTable.open(False, machine.modules, machine.connect, self._proc, must_exist=False)
        return self._opened

    def close(self) -> None:
        """Give the socket back."""
        if self._opened is not None:
            self._opened.close()

    @cached_property
    def services(self) -> dict[ServiceKey, Service]:
        """The services that are meant, in ipvsadm's order, without realservers."""
        found = self.table.services() if self.table is not None else {}
        return {key: found[key] for key in model.ordered_keys(found) if self.wanted.service(key)}

    @cached_property
    def statistics(self) -> dict[ServiceKey, Statistics]:
        """What the kernel has counted for them."""
        return self.table.statistics(self.services) if self.table is not None else {}

    @cached_property
    def connections(self) -> single.Summary:
        """The single connections that are meant."""
        wanted = self.wanted
        path = self.path(single.PROC_CONNECTIONS)
        try:
            with open(path, "rb") as stream:
                return single.read(stream, wanted.row, wanted.max_connections, wanted.max_entries)
        except FileNotFoundError:
            return single.NOTHING
        except OSError as exc:
            raise LvsError(f"Reading {path} failed: {exc.strerror}.") from exc


# ---- the parts


def _table(reading: _Reading) -> dict[str, Any]:
    content = reading.table.entries(reading.services.values()) if reading.table is not None else {}
    others = reading.machine.strangers(content)
    return {
        "config": model.table_config(content),
        "rules": list(model.rules(content)),
        "strangers": [
            {**model.service_name(key), "whose": others[key]} for key in model.ordered_keys(content) if key in others
        ],
    }


def _connections(reading: _Reading) -> dict[str, Any]:
    counted = reading.table.connections(reading.services) if reading.table is not None else {}
    return {
        "connections": [
            _by_realserver(key, {}, {place: number._asdict() for place, number in found.items()})
            for key, found in counted.items()
        ]
    }


def _stats(reading: _Reading) -> dict[str, Any]:
    def totals(counted: dict[str, int]) -> dict[str, int]:
        return {name: number for name, number in counted.items() if not name.endswith(_PER_SECOND)}

    return {"stats": _statistics(reading, totals)}


def _rates(reading: _Reading) -> dict[str, Any]:
    def rates(counted: dict[str, int]) -> dict[str, int]:
        return {name[: -len(_PER_SECOND)]: number for name, number in counted.items() if name.endswith(_PER_SECOND)}

    return {"rates": _statistics(reading, rates)}


def _statistics(reading: _Reading, chosen: Callable[[dict[str, int]], dict[str, int]]) -> list[dict[str, Any]]:
    return [
        _by_realserver(
            key,
            chosen(counted.service),
            {place: chosen(numbers) for place, numbers in counted.destinations.items()},
        )
        for key, counted in reading.statistics.items()
    ]


def _by_realserver(
    key: ServiceKey, numbers: dict[str, int], realservers: dict[DestinationKey, dict[str, int]]
) -> dict[str, Any]:
    return {
        **model.service_name(key),
        **numbers,
        "realservers": [{**model.destination_name(place), **realservers[place]} for place in sorted(realservers)],
    }


def _states(reading: _Reading) -> dict[str, Any]:
    return {"states": single.summary_results(reading.connections)}


def _entries(reading: _Reading) -> dict[str, Any]:
    return {"entries": single.row_results(reading.connections)}


def _timeouts(reading: _Reading) -> dict[str, Any]:
    return {"timeouts": timeouts_config(read_timeouts(reading.table)) if reading.table is not None else None}


def _daemons(reading: _Reading) -> dict[str, Any]:
    found = read_daemons(reading.table) if reading.table is not None else []
    return {"daemons": [daemon_config(daemon) for daemon in found]}


def _sysctls(reading: _Reading) -> dict[str, Any]:
    folder = reading.path("proc/sys/net/ipv4/vs")
    found: dict[str, int | str] = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        try:
            with open(os.path.join(folder, name), encoding="ascii", errors="replace") as stream:
                text = " ".join(stream.read().split())
        except OSError:  # some can only be written
            continue
        found[name] = int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else text
    return {"sysctls": found}


def _capabilities(reading: _Reading) -> dict[str, Any]:
    seen = Seen()
    if reading.table is not None:
        try:
            services = reading.table.services()
            schedulers = frozenset(service.scheduler for service in services.values())
            engines = frozenset(service.engine for service in services.values())
            seen = Seen(True, schedulers, engines, *reading.table.sent(services))
        except LvsError:
            seen = Seen(False)
    return {"capabilities": capabilities(reading.machine.modules, reading.machine.root, seen)}


PARTS: dict[str, Callable[[_Reading], dict[str, Any]]] = {
    "table": _table,
    "connections": _connections,
    "stats": _stats,
    "rates": _rates,
    "states": _states,
    "entries": _entries,
    "timeouts": _timeouts,
    "daemons": _daemons,
    "sysctls": _sysctls,
    "capabilities": _capabilities,
}


# ---- options


def _wanted(
    restrict: list[dict[str, Any]] | None,
    realserver: str | None,
    client: str | None,
    max_connections: int,
    max_entries: int,
) -> Wanted:
    restrictions = parse_restrict(restrict)
    mistakes = Mistakes()
    networks: dict[str, tuple[int, int, int]] = {}
    for name, value in (("realserver", realserver), ("client", client)):
        if value is not None:
            try:
                networks[name] = parse_network(value)
            except Mistake as exc:
                mistakes.add(name, str(exc))
    for name, number in (("max_connections", max_connections), ("max_entries", max_entries)):
        try:
            parse_integer(number, 0, 10**9, name)
        except Mistake as exc:
            mistakes.add(name, str(exc))
    mistakes.raise_any()

    def ours(key: ServiceKey) -> bool:
        return restrict is None or any(restriction.matches(key) for restriction in restrictions)

    def inside(name: str, family: int, address: bytes) -> bool:
        if name not in networks:
            return True
        wanted, network, mask = networks[name]
        return family == wanted and int.from_bytes(address, "big") & mask == network

    def row(entry: single.Row) -> bool:
        return ours(entry.service) and inside("realserver", *entry.realserver[:2]) and inside("client", *entry.client)

    return Wanted(ours, row, max_connections, max_entries)
