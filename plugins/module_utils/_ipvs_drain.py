# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take realservers out of service, wait for their connections, and bring them back, at once or slowly."""

from __future__ import annotations

import time
from typing import Any, Iterable, NamedTuple

from . import _ipvs_drained as drained
from . import _ipvs_model as model
from . import _ipvs_saved as saved_table
from ._errors import LvsError
from ._ipvs_diff import DETACHED, MERGED
from ._ipvs_handshakes import Handshakes
from ._ipvs_input import (
    Mistake,
    Mistakes,
    WantedDestination,
    WantedService,
    parse_address,
    parse_integer,
    parse_restrict,
)
from ._ipvs_kernel import KernelTable
from ._ipvs_model import Connections, Destination, DestinationKey, ServiceKey, Table
from ._ipvs_reconcile import POLL_SECONDS, Environment, Outcome, Request, reconciled, report, run, saved_services
from ._kernel_modules import KernelModules

DRAINED, RESTORED = "drained", "restored"
KEEP, DELETE, FAIL = "keep", "delete", "fail"
COUNTERS = ("active", "inactive", "persistent")
MAX_SECONDS = 7 * 86400
MAX_STEPS = 100
SHOWN = 10


class Wish(NamedTuple):
    """What module ``ipvs_drain`` is asked to do; its options are documented there."""

    realservers: list[dict[str, Any]]
    state: str = DRAINED
    restrict: list[dict[str, Any]] | None = None
    timeout: float = 60
    waited: float = 0  # of `timeout`, by earlier calls
    at_once: float | None = None  # how much of it this call waits at most
    wait_for: tuple[str, ...] = ("active",)
    then: str = KEEP
    on_timeout: str = FAIL
    steps: int = 1
    interval: float = 30
    at_most: int | None = None
    weight: int | None = None
    allow_empty: bool = False
    save: str | None = None
    check: bool = False


class Found(NamedTuple):
    """The realservers that are meant, among all of the services that have them."""

    table: Table
    places: list[tuple[ServiceKey, DestinationKey]]

    def record(self, place: tuple[ServiceKey, DestinationKey]) -> Destination:
        """The realserver as it was found."""
        return self.table[place[0]].destinations[place[1]]


def drain(wish: Wish, environment: Environment | None = None) -> dict[str, Any]:
    """What module ``ipvs_drain`` does. Returns the module's results."""
    return _Run(wish, environment or Environment(KernelModules())).results()


def parse_realservers(entries: Any) -> list[tuple[int, bytes, int | None]]:
    """The realservers as (family, address, port); without a port every one of the address is meant."""
    mistakes = Mistakes()
    found = []
    for index, entry in enumerate(entries or ()):
        try:
            if not isinstance(entry, dict):
                raise Mistake(f"{entry!r} is not a dictionary")
            family, packed = parse_address(entry.get("address"))
            port = None if entry.get("port") is None else parse_integer(entry["port"], 0, 65535, "port")
            found.append((family, packed, port))
        except Mistake as exc:
            mistakes.add(f"realservers[{index}]", str(exc))
    if not entries:
        mistakes.add("realservers", "names nobody")
    mistakes.raise_any()
    return found


class _Run:
    def __init__(self, wish: Wish, environment: Environment) -> None:
        self._wish = wish
        self._environment = environment
        self._wanted = parse_realservers(wish.realservers)
        self._restrictions = parse_restrict(wish.restrict)
        _check_numbers(wish)
        self._outcomes: list[Outcome] = []
        self._changed = False
        self._counted: dict[tuple[ServiceKey, DestinationKey], Connections] = {}
        self._weights: dict[tuple[ServiceKey, DestinationKey], int] = {}
        self._started = environment.clock()
        self._finished = True
        self._notes: list[str] = []

    def results(self) -> dict[str, Any]:
        """Do it, and say what was done."""
        wish = self._wish
        drains = wish.state == DRAINED
        with self._environment.handshakes() as handshakes:
            with self._environment.exclusive(wish.check):
                found = self._find()
                if drains and not wish.check and any(found.record(place).weight for place in found.places):
                    handshakes.begin()
                if drains:
                    self._take_weight(found)
            if drains:
                self._finished = self._wait(found, handshakes)
        if not drains:
            self._give_weight(found)
        waited = self._environment.clock() - self._started
        gone = drains and self._leave(found)
        return self._merged(found, waited, gone)

    # ---- who is meant

    def _find(self) -> Found:
        environment = self._environment
        table = KernelTable.open(False, environment.modules, environment.connect, environment.proc, must_exist=False)
        content: Table = {}
        if table is not None:
            try:
                content = table.entries(service for key, service in table.services().items() if self._ours(key))
            finally:
                table.close()
        places = []
        missing = []
        for family, packed, port in self._wanted:
            of_this = [
                (key, place)
                for key, entry in content.items()
                for place in entry.destinations
                if place[:2] == (family, packed) and port in (None, place[2])
            ]
            places += [place for place in of_this if place not in places]
            if not of_this:
                missing.append(model.address_text(family, packed) + (f" port {port}" if port is not None else ""))
        if missing:
            where = "that restrict names" if self._wish.restrict is not None else "of the IPVS table"
            text = f"No service {where} has realserver {', '.join(missing)}"
            if not self._deletes:
                raise LvsError(
                    f"{text}; nothing was changed. Look at the table with module ipvs_info.", missing=missing
                )
            self._notes.append(f"{text}, as if it had been deleted before.")
        return Found({key: content[key] for key in dict.fromkeys(key for key, _place in places)}, places)

    @property
    def _deletes(self) -> bool:
        """Whether the realservers may have been deleted by an earlier run of the same."""
        return self._wish.state == DRAINED and DELETE in (self._wish.then, self._wish.on_timeout)

    def _ours(self, key: ServiceKey) -> bool:
        return self._wish.restrict is None or any(entry.matches(key) for entry in self._restrictions)

    # ---- the weight

    def _take_weight(self, found: Found) -> None:
        if not self._wish.allow_empty:
            _refuse_to_empty(found)
        memory = drained.load(self._environment.memory())
        new = {
            place: drained.Drained(found.record(place).weight, time.time())
            for place in found.places
            if place not in memory
        }
        known = {place: memory[place]._replace(now=0) for place in found.places if place in memory}
        # First: whatever happens later, the weight is known.
        self._remembering({**memory, **known, **new}, memory, found, dict.fromkeys(found.places, 0))
        self._changed |= bool(new)

    def _goal(self, found: Found, memory: drained.Memory) -> dict[tuple[ServiceKey, DestinationKey], int]:
        """The weights that are to be given back."""
        goal: dict[tuple[ServiceKey, DestinationKey], int] = {}
        lost: list[str] = []
        for place in found.places:
            if self._wish.weight is not None:
                goal[place] = self._wish.weight
            elif place in memory:
                goal[place] = memory[place].weight
            elif not found.record(place).weight:
                lost.append(_name(place))
        if lost and len(lost) == len(found.places):
            raise LvsError(
                f"No weight is remembered for {_some(lost)}, and it has weight 0; nothing was changed. "
                "State the weight that it is to get."
            )
        if lost:  # an earlier run has given the others theirs
            self._notes.append(f"No weight is remembered for {_some(lost)}, which keeps weight 0.")
        return goal

    def _give_weight(self, found: Found) -> None:
        memory = drained.load(self._environment.memory())
        goal = self._goal(found, memory)
        # Who has more already keeps it until the last step; who has no weight at all starts with a part of it.
        left = self._wish.at_most or self._wish.steps
        for step in range(1, self._wish.steps + 1):
            last = step == self._wish.steps
            weights = {
                place: weight if last else max(found.record(place).weight, -(-weight * step // self._wish.steps))
                for place, weight in goal.items()
            }
            if not last and all(found.record(place).weight >= weights[place] for place in weights):
                continue  # a run that was interrupted came as far as this
            if not left:
                self._finished = False
                break
            left -= 1
            with self._environment.exclusive(self._wish.check):
                self._step(found, weights, last)
            if not last and left and not self._wish.check:
                self._environment.sleep(self._wish.interval)
        if self._outcomes and self._finished:
            self._changed |= any(place in memory for place in goal)

    def _step(self, found: Found, weights: dict[tuple[ServiceKey, DestinationKey], int], last: bool) -> None:
        memory = drained.load(self._environment.memory())
        if last:
            self._set(found, weights)
            self._remember({place: entry for place, entry in memory.items() if place not in weights}, memory)
        else:  # other runs leave it at this weight
            now = {place: entry._replace(now=weights.get(place, entry.now)) for place, entry in memory.items()}
            self._remembering(now, memory, found, weights)

    def _remembering(
        self,
        memory: drained.Memory,
        before: drained.Memory,
        found: Found,
        weights: dict[tuple[ServiceKey, DestinationKey], int],
    ) -> None:
        """Set the weights and remember this; a change that did not stay is not remembered."""
        self._remember(memory, before)
        try:
            self._set(found, weights)
        except LvsError as exc:
            if exc.details.get("rolled_back", True):
                self._remember(memory=before, before=memory)
            raise

    def _remember(self, memory: drained.Memory, before: drained.Memory) -> None:
        if memory != before and not self._wish.check:
            drained.store(memory, self._environment.memory())

    def _set(self, found: Found, weights: dict[tuple[ServiceKey, DestinationKey], int]) -> None:
        wanted = _only_weights(found, weights)
        request = Request(wanted, MERGED, lambda key: False, check=self._wish.check, holds=False)
        outcome = run(request, self._environment)
        if self._wish.check:  # where the kernel does not have what the step before would have written
            known = {place for place, weight in weights.items() if self._weights.get(place) == weight}
            new = [one for one in outcome.operations if (one.service.key, (one.destination or ())[:3]) not in known]
            outcome = outcome._replace(operations=new)
        self._outcomes.append(outcome)
        self._weights.update(weights)

    # ---- waiting

    def _wait(self, found: Found, handshakes: Handshakes) -> bool:
        """Until nothing that is waited for is seen twice in a row: a connection may show up late."""
        seconds = max(0.0, self._wish.timeout - self._wish.waited)
        deadline = self._started + (seconds if self._wish.at_once is None else min(seconds, self._wish.at_once))
        quiet = 0
        while True:
            self._counted = self._count(found)
            quiet = 0 if any(self._waits_for(place) for place in found.places) else quiet + 1
            remaining = deadline - self._environment.clock()
            if self._wish.check or quiet == 2 or (quiet and not self._wish.timeout):
                return bool(quiet)
            if remaining <= 0:
                return False
            self._environment.sleep(min(POLL_SECONDS, remaining))
            handshakes.look()

    def _count(self, found: Found) -> dict[tuple[ServiceKey, DestinationKey], Connections]:
        environment = self._environment
        table = KernelTable.open(False, environment.modules, environment.connect, environment.proc, must_exist=False)
        if table is None:
            return {}
        try:
            counted = table.connections(found.table)
        finally:
            table.close()
        none = Connections(0, 0, 0)
        return {place: counted.get(place[0], {}).get(place[1], none) for place in found.places}

    def _waits_for(self, place: tuple[ServiceKey, DestinationKey]) -> int:
        """How many of what is waited for are left. UDP has no active connections: its inactive ones are all it has."""
        counted = self._counted.get(place)
        if counted is None:
            return 0
        names = set(self._wish.wait_for)
        if "active" in names and place[0][1] in (0, model.PROTOCOLS["udp"]):
            names.add("inactive")
        return sum(getattr(counted, name) for name in names)

    def _leave(self, found: Found) -> bool:
        """What comes after waiting; whether the realservers are gone."""
        wish = self._wish
        over = wish.at_once is None or wish.waited + wish.at_once >= wish.timeout
        action = wish.then if self._finished else wish.on_timeout if over else KEEP
        if action == FAIL and not wish.timeout:
            action = KEEP  # nobody waited, so no time is over
        if action == FAIL and not wish.check:
            left = [f"{_name(place)}: {self._waits_for(place)}" for place in found.places if self._waits_for(place)]
            raise LvsError(
                f"After {wish.timeout:g} seconds connections are left at {_some(left)}. The realservers keep weight 0 "
                "and get no new connections. Run again to go on waiting, or with state restored to take it back.",
                realservers=self._rows(found, gone=False),
                finished=False,
            )
        if action != DELETE:
            return False
        places = dict.fromkeys(found.places)
        places.update(dict.fromkeys(self._elsewhere()))
        config = [
            {
                **model.service_name(key),
                "realservers": [model.destination_name(place) for owner, place in places if owner == key],
            }
            for key in dict.fromkeys(owner for owner, _place in places)
        ]
        outcome = reconciled(config, DETACHED, save=wish.save, check=wish.check, environment=self._environment)
        self._outcomes.append(outcome)
        return True

    def _elsewhere(self) -> list[tuple[ServiceKey, DestinationKey]]:
        """The realservers that are only remembered or saved: a run that was interrupted had deleted them before."""
        found = list(drained.load(self._environment.memory()))
        path = self._wish.save
        for key, entry in (saved_services(saved_table.load(path), path) if path else {}).items():
            found += [(key, place) for place in entry.destinations]
        wanted = set(self._wanted)
        return [(key, place) for key, place in found if self._ours(key) and wanted & {(*place[:2], None), place}]

    # ---- results

    def _merged(self, found: Found, waited: float, gone: bool) -> dict[str, Any]:
        result = report(_as_one(self._outcomes), full=False)
        return {
            "changed": result["changed"] or self._changed,
            **{name: result[name] for name in ("before", "after", "commands", "diff")},
            "notes": self._notes + result["notes"],
            "realservers": self._rows(found, gone),
            "finished": self._finished,
            "waited": round(waited, 1),
        }

    def _rows(self, found: Found, gone: bool) -> list[dict[str, Any]]:
        memory = drained.load(self._environment.memory())
        counted = self._counted or self._count(found)
        rows = []
        for place in found.places:
            remembered = memory.get(place)
            rows.append(
                {
                    **model.service_name(place[0]),
                    "realserver": model.destination_name(place[1]),
                    "weight": None if gone else self._weights.get(place, found.record(place).weight),
                    "remembered_weight": remembered.weight if remembered and not gone else None,
                    **counted.get(place, Connections(0, 0, 0))._asdict(),
                }
            )
        return rows


def _as_one(outcomes: list[Outcome]) -> Outcome:
    """From how each service was found first to how it was left last."""
    one = Outcome({}, {}, [], [], {}, [], {})
    for outcome in outcomes:
        for key in outcome.keys:
            if key not in one.keys:
                one.keys.append(key)
                one.before.update({key: outcome.before[key]} if key in outcome.before else {})
            one.after.pop(key, None)
            one.after.update({key: outcome.after[key]} if key in outcome.after else {})
        one.operations.extend(outcome.operations)
        one.notes.extend(outcome.notes)
    return one._replace(
        remembered=any(outcome.remembered for outcome in outcomes), saved=any(outcome.saved for outcome in outcomes)
    )


def _only_weights(found: Found, weights: dict[tuple[ServiceKey, DestinationKey], int]) -> list[WantedService]:
    """The services with these weights, and nothing else stated."""
    wanted = []
    for position, key in enumerate(dict.fromkeys(place[0] for place in weights)):
        service = found.table[key].service
        destinations = []
        for index, (owner, place) in enumerate(weights):
            if owner == key:
                weight = weights[owner, place]
                record = found.table[key].destinations[place]._replace(weight=weight)
                destinations.append(WantedDestination(record, {"weight": weight}, False, index))
        complete = {destination.key: destination.plain for destination in destinations}
        wanted.append(WantedService(service, {}, (0, 0), destinations, complete, {}, position))
    return wanted


def _refuse_to_empty(found: Found) -> None:
    leaving: dict[ServiceKey, set[DestinationKey]] = {}
    for key, place in found.places:
        leaving.setdefault(key, set()).add(place)
    emptied = []
    for key, places in leaving.items():
        records = found.table[key].destinations.values()
        if any(record.weight for record in records) and not any(r.weight for r in records if r.key not in places):
            emptied.append(model.describe_service(key))
    if emptied:
        raise LvsError(
            f"Nobody would be left to serve {_some(emptied)}; nothing was changed. "
            "If that is meant, say so with allow_empty: true."
        )


def _check_numbers(wish: Wish) -> None:
    mistakes = Mistakes()
    checks: list[tuple[str, Any, int, int]] = [
        ("timeout", wish.timeout, 0, MAX_SECONDS),
        ("slice.waited", wish.waited, 0, MAX_SECONDS),
        ("slice.at_most", 0 if wish.at_once is None else wish.at_once, 0, MAX_SECONDS),
        ("ramp.steps", wish.steps, 1, MAX_STEPS),
        ("ramp.interval", wish.interval, 0, MAX_SECONDS),
    ]
    if wish.at_most is not None:
        checks.append(("ramp.at_most", wish.at_most, 1, MAX_STEPS))
    if wish.weight is not None:
        checks.append(("weight", wish.weight, 0, 2147483647))
    for name, value, low, high in checks:
        if not low <= value <= high:
            mistakes.add(name, f"{value} is outside of {low} to {high}")
    mistakes.raise_any()


def _name(place: tuple[ServiceKey, DestinationKey]) -> str:
    return f"{model.endpoint(*place[1])} of {model.describe_service(place[0])}"


def _some(texts: Iterable[str]) -> str:
    everything = list(texts)
    more = len(everything) - SHOWN
    return ", ".join(everything[:SHOWN]) + (f" and {more} more" if more > 0 else "")
