# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted × what the kernel has × state → ordered operations. Nothing here talks to anybody."""

from __future__ import annotations

from itertools import repeat
from typing import Callable, Iterable, NamedTuple

from . import _ipvs_model as model
from ._errors import LvsError
from ._ipvs_input import Mistakes, WantedDestination, WantedService, destination_mistakes, service_mistakes
from ._ipvs_model import Destination, DestinationKey, Entry, Service, ServiceKey, Table

MERGED, REPLACED, OVERRIDDEN, DELETED = "merged", "replaced", "overridden", "deleted"
# For single realservers, no states of module `ipvs`: `attached` is `merged` for services that must exist, `detached`
# deletes the named realservers and leaves their services.
ATTACHED, DETACHED = "attached", "detached"
STATES = (MERGED, REPLACED, OVERRIDDEN, DELETED, ATTACHED, DETACHED)
# Fields that are not stated keep the kernel's value.
KEEPING = (MERGED, DELETED, ATTACHED, DETACHED)

ADD_SERVICE, SET_SERVICE, DEL_SERVICE = "add service", "edit service", "delete service"
ADD_DESTINATION, SET_DESTINATION, DEL_DESTINATION = "add realserver", "edit realserver", "delete realserver"
_OPTIONS = {
    ADD_SERVICE: "-A",
    SET_SERVICE: "-E",
    DEL_SERVICE: "-D",
    ADD_DESTINATION: "-a",
    SET_DESTINATION: "-e",
    DEL_DESTINATION: "-d",
}


_VERBS = {
    ADD_SERVICE: "adding",
    SET_SERVICE: "editing",
    DEL_SERVICE: "deleting",
    ADD_DESTINATION: "adding",
    SET_DESTINATION: "editing",
    DEL_DESTINATION: "deleting",
}


ACTION_COUNTS = {
    ADD_SERVICE: "services_added",
    SET_SERVICE: "services_edited",
    DEL_SERVICE: "services_deleted",
    ADD_DESTINATION: "realservers_added",
    SET_DESTINATION: "realservers_edited",
    DEL_DESTINATION: "realservers_deleted",
}


class Operation(NamedTuple):
    """One write to the table, with the whole record that is wanted."""

    action: str
    service: Service
    destination: Destination | None = None

    def command(self) -> str:
        """The same as a line for ``ipvsadm -R``."""
        option = _OPTIONS[self.action]
        if self.destination is None:
            if self.action == DEL_SERVICE:
                return f"{option} {model.service_option(self.service)}"
            return f"{option} {model.service_rule(self.service)}"
        if self.action == DEL_DESTINATION:
            return f"{option} {model.service_option(self.service)} -r {model.endpoint(*self.destination[:3])}"
        return f"{option} {model.destination_rule(model.service_option(self.service), self.destination)}"

    def describe(self) -> str:
        """The same in words."""
        what = model.describe_service(self.service)
        if self.destination is not None:
            what = f"realserver {model.endpoint(*self.destination[:3])} of {what}"
        return f"{_VERBS[self.action]} {what}"


class Difference(NamedTuple):
    """What leads from one table to another, in the order in which it does no harm.

    ``grow`` adds and edits in place, ``drain`` takes the weight from what leaves, ``shrink`` deletes.
    """

    grow: list[Operation]
    drain: list[Operation]
    shrink: list[Operation]

    def __bool__(self) -> bool:
        return bool(self.grow or self.drain or self.shrink)

    def operations(self) -> list[Operation]:
        """All of it in order."""
        return self.grow + self.drain + self.shrink


def target(wanted: list[WantedService], have: Table, state: str, ours: Callable[[ServiceKey], bool]) -> Table:
    """The table that is wanted, of the services that are named or leave; those that leave are not in it.

    ``ours`` tells which of the services not named leave under ``overridden``. Raises one error with every record
    that is wrong now that the fields kept from the kernel are known.
    """
    if state == DELETED:
        return {}
    if state == DETACHED:
        return {service.key: _without(have[service.key], service) for service in wanted if service.key in have}
    if state == ATTACHED:
        _demand(wanted, have)
    keep = state in KEEPING
    mistakes = Mistakes()
    result: Table = {}
    for service in wanted:
        entry = have.get(service.key)
        where = f"config[{service.position}]"
        record = _service(service, entry, keep)
        destinations = _destinations(service, entry, keep, where, mistakes)
        if keep:
            # What the kernel has already is not this run's mistake.
            old = service_mistakes(entry.service) if entry is not None else []
            for text in service_mistakes(record):
                if text not in old:
                    mistakes.add(where, text)
        for doubt in service.doubts:
            if doubt.text not in _faults(entry, doubt.place):
                mistakes.add(doubt.where, doubt.text)
        result[service.key] = Entry(record, destinations)
    mistakes.raise_any()
    return result


def touched(
    wanted: list[WantedService], have: Table, state: str, ours: Callable[[ServiceKey], bool]
) -> list[ServiceKey]:
    """The services that this run decides about: those named, and under ``overridden`` all others that are ours."""
    keys = {service.key: None for service in wanted}
    if state == OVERRIDDEN:
        keys.update((entry.service.key, None) for entry in model.ordered(have) if ours(entry.service.key))
    return list(keys)


def _faults(entry: Entry | None, place: DestinationKey | None) -> list[str]:
    """What is wrong with a record that the kernel has: some other program wrote it."""
    if entry is None or (place is not None and place not in entry.destinations):
        return []
    if place is None:
        return service_mistakes(entry.service)
    return destination_mistakes(entry.service.key, entry.destinations[place])


def _demand(wanted: list[WantedService], have: Table) -> None:
    missing = [model.describe_service(service.key) for service in wanted if service.key not in have]
    if missing:
        raise LvsError(
            f"{', '.join(missing)} does not exist; nothing was changed. Add it first with module ipvs_service or ipvs.",
            missing=missing,
        )


def _without(entry: Entry, wanted: WantedService) -> Entry:
    gone = {destination.key for destination in wanted.destinations or ()}
    stays = {key: destination for key, destination in entry.destinations.items() if key not in gone}
    return entry._replace(destinations=stays)


def _service(wanted: WantedService, entry: Entry | None, keep: bool) -> Service:
    if not keep or entry is None:
        return wanted.plain
    have = entry.service
    meant, flags = wanted.flags
    result = have._replace(flags=have.flags & ~meant | flags, **wanted.stated)
    if meant & model.PERSISTENT:
        if not flags & model.PERSISTENT:
            return result._replace(timeout=0, netmask=model.FULL_NETMASK[result.family], engine="")
        if not have.flags & model.PERSISTENT and "timeout" not in wanted.stated:
            return result._replace(timeout=model.DEFAULT_TIMEOUT)
    return result


def _destinations(
    wanted: WantedService, entry: Entry | None, keep: bool, where: str, mistakes: Mistakes
) -> dict[DestinationKey, Destination]:
    present = entry.destinations if entry is not None else {}
    if not keep:
        kept = {
            key: destination._replace(weight=present[key].weight)
            for key, destination in wanted.keep_weights.items()
            if key in present
        }
        return {**wanted.plain_destinations, **kept} if kept else wanted.plain_destinations
    result = dict(present)
    for destination in wanted.destinations or ():
        key = destination.key
        have = present.get(key)
        record = _destination(destination, have)
        if have != record:
            old = destination_mistakes(wanted.key, have) if have is not None else []
            for text in destination_mistakes(wanted.key, record):
                if text not in old:
                    mistakes.add(f"{where}.realservers[{destination.position}]", text)
        result[key] = record
    return result


def _destination(wanted: WantedDestination, have: Destination | None) -> Destination:
    if have is None:
        return wanted.plain
    result = have._replace(**wanted.stated)
    if result.forwarding != have.forwarding and have.forwarding == model.TUN:
        return result._replace(tunnel_type=0, tunnel_port=0, tunnel_flags=0)
    return result


def difference(have: Table, want: Table, keys: Iterable[ServiceKey], drain: bool = False) -> Difference:
    """What leads from ``have`` to ``want`` for the services ``keys``; with ``drain``, weights go before records do."""
    result = Difference([], [], [])
    services: list[Operation] = []
    for key in keys:
        old, new = have.get(key), want.get(key)
        if new is None:
            if old is not None:
                if drain:
                    _quiesce(result, old.service, old.destinations.values())
                services.append(Operation(DEL_SERVICE, old.service))
            continue
        if old is None:
            result.grow.append(Operation(ADD_SERVICE, new.service))
        elif not model.same_service(old.service, new.service):
            result.grow.append(Operation(SET_SERVICE, new.service))
        before = old.destinations if old is not None else {}
        if before is not new.destinations and before != new.destinations:
            _destination_difference(result, new.service, before, new.destinations, drain)
    result.shrink.extend(services)
    return result


def _destination_difference(
    result: Difference,
    service: Service,
    before: dict[DestinationKey, Destination],
    after: dict[DestinationKey, Destination],
    drain: bool,
) -> None:
    if not before:
        result.grow.extend(map(Operation, repeat(ADD_DESTINATION), repeat(service), after.values()))
        return
    for key, destination in after.items():
        old = before.get(key)
        if old is None:
            result.grow.append(Operation(ADD_DESTINATION, service, destination))
        elif not model.same_destination(old, destination):
            result.grow.append(Operation(SET_DESTINATION, service, destination))
    leaving = [before[key] for key in sorted(before) if key not in after]
    if drain:
        _quiesce(result, service, leaving)
    result.shrink.extend(Operation(DEL_DESTINATION, service, destination) for destination in leaving)


def _quiesce(result: Difference, service: Service, leaving: Iterable[Destination]) -> None:
    result.drain.extend(
        Operation(SET_DESTINATION, service, destination._replace(weight=0))
        for destination in leaving
        if destination.weight
    )
