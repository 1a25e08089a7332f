# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over the IPVS table: read, compare, write the difference, verify, roll back what failed, save."""

from __future__ import annotations

import contextlib
import errno
import gc
import time
from collections import Counter
from typing import Any, Callable, ContextManager, Dict, Iterable, NamedTuple, Optional, Tuple

from . import _ipvs_drained as drained
from . import _ipvs_model as model
from . import _ipvs_saved as saved_table
from ._errors import LvsError
from ._genl import Connection, RepliesLost
from ._ipvs_diff import (
    ACTION_COUNTS,
    ADD_SERVICE,
    DELETED,
    DETACHED,
    KEEPING,
    MERGED,
    OVERRIDDEN,
    REPLACED,
    SET_DESTINATION,
    SET_SERVICE,
    STATES,
    Difference,
    Operation,
    difference,
    target,
    touched,
)
from ._ipvs_guard import Guard, parse_guard
from ._ipvs_handshakes import SETTINGS, Handshakes
from ._ipvs_input import Restriction, WantedService, names_only, parse, parse_restrict
from ._ipvs_kernel import PROC_TABLE, Failure, KernelTable, Unloaded
from ._ipvs_lock import Lock
from ._ipvs_model import Connections, DestinationKey, ServiceKey, Table
from ._ipvs_strangers import strangers
from ._kernel_modules import AVAILABLE, MISSING, KernelModules

ATTEMPTS = 4
PAUSE_SECONDS = 0.2  # before trying again what the kernel had no room for
# How long after a change of method its cached route is renewed, again and again, as old connections end.
RENEW_SECONDS = (0.5, 1.0, 2.0, 4.0)
POLL_SECONDS = 0.5  # between two looks at the connections of realservers that drain
SHOWN_FAILURES = 10
# Ansible looks at every value of a result several times: beyond this many writes or records it holds the first of them.
SHOWN_OPERATIONS = 5000

# Somebody else changed the table meanwhile: read again, compare again.
_CONFLICTS = (errno.EEXIST, errno.ESRCH)
# It may work in a moment.
_TEMPORARY = (errno.EAGAIN, errno.EBUSY, errno.EINTR)

Leaving = Dict[Tuple[ServiceKey, DestinationKey], Optional[Connections]]


class Environment(NamedTuple):
    """What a run needs of the machine it is on."""

    modules: KernelModules
    connect: Callable[[], Connection] = Connection
    proc: str = PROC_TABLE
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    lock: Lock = Lock()
    strangers: Callable[[Iterable[ServiceKey]], dict[ServiceKey, str]] = strangers
    drained: str = ""  # where drained realservers are remembered; nothing means the usual place
    settings: str = SETTINGS

    def memory(self) -> str:
        """The path of the memory of drained realservers."""
        return self.drained or drained.default_path()

    def exclusive(self, check: bool) -> ContextManager[Any]:
        """The lock, unless nothing will be written."""
        return contextlib.nullcontext() if check else self.lock

    def handshakes(self) -> Handshakes:
        """What keeps clients that are just connecting where they are."""
        return Handshakes(self.clock, self.settings)


class Request(NamedTuple):
    """What a run is asked to do, checked."""

    wanted: list[WantedService]
    state: str
    ours: Callable[[ServiceKey], bool]
    drain_timeout: float = 0
    full: bool = False
    check: bool = False
    guard: Guard = Guard()
    holds: bool = True  # realservers that are drained keep weight 0


class Outcome(NamedTuple):
    """What a run found and did. ``keys`` are the services that it changed, or would change in check mode."""

    before: Table
    after: Table
    keys: list[ServiceKey]
    operations: list[Operation]
    leaving: Leaving
    notes: list[str]
    want: Table  # what the saved table is to hold: with the weights that drained realservers get back
    remembered: bool = False  # whether the memory of drained realservers changed
    saved: bool = False  # whether the saved table changed


def reconcile(
    config: list[dict[str, Any]] | None,
    state: str = MERGED,
    restrict: list[dict[str, Any]] | None = None,
    full: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """What `reconciled` does, as the module's results; ``full`` shows the whole table."""
    return report(reconciled(config, state, restrict, full=full, **options), full)


def reconciled(
    config: list[dict[str, Any]] | None,
    state: str = MERGED,
    restrict: list[dict[str, Any]] | None = None,
    save: str | None = None,
    drain_timeout: float = 0,
    allow_empty: bool = False,
    full: bool = False,
    check: bool = False,
    environment: Environment | None = None,
    pools: dict[str, Any] | None = None,
    src: str | None = None,
    guard: dict[str, Any] | None = None,
    judge: bool = True,
) -> Outcome:
    """What module ``ipvs`` does; its options are documented there.

    Without ``judge`` the config is what a kernel had, and is not asked whether it makes sense.
    """
    if src is not None:
        source = saved_table.load(src)
        if source is None:
            raise LvsError(f"{src} does not exist on this host; nothing was changed.")
        config, pools = source.config, source.pools
        restrict = source.restrict if restrict is None else restrict
    if state not in STATES:
        raise LvsError(f"state {state!r} is none of {', '.join(STATES)}.")
    if drain_timeout < 0:
        raise LvsError(f"drain_timeout {drain_timeout} is negative; it is a number of seconds.")
    if state in (DELETED, DETACHED):
        config = names_only(config, realservers=state == DETACHED)
    wanted, restrictions = parse(config, restrict, state in KEEPING, pools, judge)
    if state == OVERRIDDEN and not wanted and not allow_empty:
        raise LvsError(
            "state overridden with an empty config would delete every service that is ours. "
            "If that is meant, say so with allow_empty: true. Nothing was changed."
        )
    limits = parse_guard(guard)
    environment = environment or Environment(KernelModules())
    with environment.exclusive(check):
        previous = saved_table.load(save) if save else None
        saved = saved_services(previous, save or "")
        # An empty `restrict` is no word for everything: it may be the empty result of a template.
        ours = _ownership(restrictions, saved, everything=restrict is None and not save)
        outcome = run(Request(wanted, state, ours, drain_timeout, full, check, limits), environment)
        if save:
            content = _content_to_save(outcome.want, saved, wanted, state)
            if _save(save, previous, restrict, content, check):
                outcome.notes.append(f"{save} {'would be' if check else 'was'} {'written' if content else 'removed'}.")
                outcome = outcome._replace(saved=True)
    return outcome


def restore(path: str, environment: Environment | None = None) -> dict[str, Any]:
    """Bring the table saved at ``path`` back, within what it says is ours."""
    previous = saved_table.load(path)
    if previous is None:
        return {"changed": False, "commands": [], "notes": [f"{path} does not exist; there is nothing to restore."]}
    wanted, _none = parse(previous.config, None, keep=False, pools=previous.pools, judge=False)
    restrictions = parse_restrict(previous.restrict)
    everything = previous.restrict is None
    state = OVERRIDDEN if restrictions or everything else REPLACED
    outcome = run(Request(wanted, state, _ownership(restrictions, {}, everything)), environment)
    return report(outcome, full=False)


def run(request: Request, environment: Environment | None = None) -> Outcome:
    """Read, compare, write the difference and verify it; in check mode everything but the writing."""
    collecting = gc.isenabled()
    gc.disable()  # tens of thousands of small tuples and no cycles: looking for garbage would cost a third of the time
    try:
        return _run(request, environment or Environment(KernelModules()))
    finally:
        if collecting:
            gc.enable()


def _run(request: Request, environment: Environment) -> Outcome:
    # To take services away nothing has to be loaded: where there is no IPVS there are none.
    adds = bool(request.wanted) and request.state not in (DELETED, DETACHED)
    table = KernelTable.open(
        adds and not request.check, environment.modules, environment.connect, environment.proc, must_exist=adds
    )
    notes = []
    if table is None:
        notes.append(f"Module ip_vs is not loaded; the table counts as empty.{' A real run loads it.' * adds}")
    try:
        with environment.exclusive(request.check):
            return _reconciled(request, environment, table, notes)
    finally:
        if table is not None:
            table.close()


def _reconciled(request: Request, environment: Environment, table: KernelTable | None, notes: list[str]) -> Outcome:
    have: Table = {}
    if table is not None:
        request, have = _read(table, request, environment, notes)
    memory = drained.load(environment.memory()) if request.holds else {}
    stated = target(request.wanted, have, request.state, request.ours)
    keys = touched(request.wanted, have, request.state, request.ours)
    want, remembered = (
        drained.hold(stated, request.wanted, memory, request.state in KEEPING) if memory else (stated, {})
    )
    remembered = drained.forget(remembered, want, keys)
    notes += _held(stated, want)
    to_save = drained.with_weights(want, remembered)
    planned = difference(have, want, keys, drain=request.drain_timeout > 0)
    request.guard.check(have, want, keys)
    _check_modules(planned, have, environment.modules, table, load=not request.check)
    outcome = Outcome(have, have, [], [], {}, notes, to_save, remembered != memory)
    if planned:
        changed = list(dict.fromkeys(operation.service.key for operation in planned.operations()))
        leaving = _who_leaves(have, want, changed)
        writer = _Writer(table, request.drain_timeout, environment)
        after = {key: entry for key, entry in have.items() if key not in changed}
        if request.check or table is None:
            after.update((key, want[key]) for key in changed if key in want)
            counted = writer.count(leaving) if table is not None else leaving
            return outcome._replace(after=after, keys=changed, operations=planned.operations(), leaving=counted)
        writer.write(have, want, changed, planned)
        after.update(writer.current)
        outcome = outcome._replace(after=after, keys=changed, operations=writer.done, leaving=writer.leaving)
    if outcome.remembered and not request.check:
        drained.store(remembered, environment.memory())
    return outcome


def _held(stated: Table, want: Table) -> list[str]:
    """What is worth saying about realservers whose stated weight a drain beats."""
    held = [
        f"{model.endpoint(*place)} of {model.describe_service(key)}"
        + (f" ({destination.weight} by now)" if destination.weight else "")
        for key, entry in want.items()
        if entry is not stated[key]
        for place, destination in entry.destinations.items()
        if destination != stated[key].destinations[place]
    ]
    if not held:
        return []
    shown = ", ".join(held[:SHOWN_FAILURES]) + (" …" if len(held) > SHOWN_FAILURES else "")
    return [f"Drained, so kept at weight 0 until module ipvs_drain restores them: {shown}."]


def report(outcome: Outcome, full: bool) -> dict[str, Any]:
    """A run's outcome as the results of a module."""
    before, after, keys = outcome.before, outcome.after, outcome.keys
    shown = keys if full else _first(keys, before, after)
    truncated = not full and (len(outcome.operations) > SHOWN_OPERATIONS or len(shown) < len(keys))
    keys = shown
    changed_before = {key: before[key] for key in keys if key in before}
    changed_after = {key: after[key] for key in keys if key in after}
    return {
        "changed": bool(outcome.operations) or outcome.remembered or outcome.saved,
        "before": model.table_config(before if full else changed_before),
        "after": model.table_config(after if full else changed_after),
        "commands": [
            op.command() for op in (outcome.operations[:SHOWN_OPERATIONS] if truncated else outcome.operations)
        ],
        "counts": _counts(outcome.operations),
        "truncated": truncated,
        "leaving": [
            {
                **model.service_name(service),
                "realserver": model.destination_name(place),
                "active": connections.active if connections else 0,
                "inactive": connections.inactive if connections else 0,
                "persistent": connections.persistent if connections else 0,
            }
            for (service, place), connections in outcome.leaving.items()
            if not truncated or service in changed_before
        ],
        "diff": {
            "before_header": "IPVS table (ipvsadm -S -n)",
            "after_header": "IPVS table (ipvsadm -S -n)",
            "before": "".join(f"{line}\n" for line in model.rules(changed_before)),
            "after": "".join(f"{line}\n" for line in model.rules(changed_after)),
        },
        "notes": list(outcome.notes),
    }


def _first(keys: list[ServiceKey], before: Table, after: Table) -> list[ServiceKey]:
    """As many whole services as fit into the results, at least one."""
    rows = 0
    for index, key in enumerate(keys):
        rows += max((1 + len(table[key].destinations) for table in (before, after) if key in table), default=0)
        if rows > SHOWN_OPERATIONS:
            return keys[: max(index, 1)]
    return keys


def _counts(operations: list[Operation]) -> dict[str, int]:
    """How many writes there were of each kind."""
    found = Counter(operation.action for operation in operations)
    return {name: found[action] for action, name in ACTION_COUNTS.items()}


# ---- what is ours


def _ownership(restrictions: list[Restriction], saved: Table, everything: bool) -> Callable[[ServiceKey], bool]:
    if everything:
        return lambda key: True
    return lambda key: key in saved or any(restriction.matches(key) for restriction in restrictions)


def saved_services(previous: saved_table.Saved | None, path: str) -> Table:
    """The services of a saved table."""
    if previous is None:
        return {}
    try:
        wanted, _none = parse(previous.config, None, keep=False, pools=previous.pools, judge=False)
        return target(wanted, {}, REPLACED, lambda key: False)
    except LvsError as exc:
        raise LvsError(f"The saved table {path} cannot be used. {exc.message}", **exc.details) from exc


def _content_to_save(want: Table, saved: Table, wanted: list[WantedService], state: str) -> Table:
    if state == OVERRIDDEN:
        return want
    if state == DETACHED:  # takes away from what is saved, whether or not the kernel has it, and adds no service to it
        left = target(wanted, saved, state, lambda key: False)
        return {**saved, **{key: want.get(key, entry) for key, entry in left.items()}}
    named = {service.key for service in wanted}
    return {**{key: entry for key, entry in saved.items() if key not in named}, **want}


def _save(
    path: str, previous: saved_table.Saved | None, restrict: list[dict[str, Any]] | None, content: Table, check: bool
) -> bool:
    """Write, or remove, the saved table; whether that changes anything."""
    beside = saved_table.load(path)  # anew: another run may have written it while this one waited for connections
    settings = beside.settings if beside is not None else {}
    if not content and not settings:
        if previous is not None and not check:
            saved_table.remove(path)
        return previous is not None
    if restrict is None:
        restrict = (previous.restrict if previous is not None else None) or []
    stated = [{key: value for key, value in entry.items() if value is not None} for entry in restrict]
    text = saved_table.render(stated, model.table_config(content), settings)
    if previous is not None and previous.text == text:
        return False
    if not check:
        saved_table.store(path, text)
    return True


# ---- before the first write


def _read(table: KernelTable, request: Request, environment: Environment, notes: list[str]) -> tuple[Request, Table]:
    """The services that this run is about, and the request without the services of others."""
    named = [service.key for service in request.wanted]
    table.expect({service.key: service.plain_destinations for service in request.wanted})
    if request.state != OVERRIDDEN:
        return request, table.read(None if request.full else named)
    listed = table.services()
    mine = set(named)
    mine.update(key for key in listed if request.ours(key))
    others = environment.strangers(mine.difference(named))
    for key, whose in sorted(others.items()):
        notes.append(f"{model.describe_service(key)} was left alone: {whose}.")
        mine.discard(key)
    chosen = listed.values() if request.full else [service for key, service in listed.items() if key in mine]
    return request._replace(ours=mine.__contains__), table.entries(chosen)


def _check_modules(
    planned: Difference, have: Table, modules: KernelModules, table: KernelTable | None, load: bool
) -> None:
    """Make sure that every scheduler and persistence engine that will be bound is there, and load it."""
    bound = {entry.service.scheduler for entry in have.values()} | {"none"}
    needed: dict[str, tuple[str, list[ServiceKey]]] = {}
    for operation in planned.grow:
        if operation.action not in (ADD_SERVICE, SET_SERVICE):
            continue
        service = operation.service
        if service.scheduler not in bound:
            needed.setdefault(f"ip_vs_{service.scheduler}", (f"scheduler {service.scheduler}", []))[1].append(
                service.key
            )
        if service.engine:
            text = f"persistence engine {service.engine}"
            needed.setdefault(f"ip_vs_pe_{service.engine}", (text, []))[1].append(service.key)
    problems = []
    for name, (what, keys) in needed.items():
        state = modules.state(name)
        said = modules.load(name) if state == AVAILABLE and load else ""
        if state == MISSING and name in _in_use(table):
            continue  # a module of another name brought it
        if state == MISSING or said:
            why = f"could not be loaded: {said.rstrip('.')}" if said else f"is neither built in nor in {modules.folder}"
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            problems.append(f"{what} of {model.describe_service(keys[0])}{more}: module {name} {why}.")
    if problems:
        raise LvsError(
            f"The running kernel {modules.release} lacks what the table needs; nothing was changed. "
            f"{' '.join(problems)} "
            "Install the package that holds the module (kernel-modules on Red Hat systems, "
            f"linux-modules-extra-{modules.release} on Ubuntu, the full linux-image instead of a cut-down one "
            "elsewhere), or choose another.",
            missing=sorted(needed),
        )


def _in_use(table: KernelTable | None) -> set[str]:
    """The modules that schedulers and engines of any service would come from by their names."""
    services = table.services().values() if table is not None else ()
    return {name for s in services for name in (f"ip_vs_{s.scheduler}", f"ip_vs_pe_{s.engine}")}


def _who_leaves(have: Table, want: Table, keys: list[ServiceKey]) -> Leaving:
    leaving: Leaving = {}
    for key in keys:
        if key not in have:
            continue
        stays = want[key].destinations if key in want else {}
        leaving.update(((key, place), None) for place in sorted(have[key].destinations) if place not in stays)
    return leaving


# ---- writing


class _Writer:
    """Brings some services of the table from one state to another, or back to where they were."""

    def __init__(self, table: KernelTable | None, drain_timeout: float, environment: Environment) -> None:
        self._kernel = table
        self._drain_timeout = drain_timeout
        self._environment = environment
        self.done: list[Operation] = []
        self.leaving: Leaving = {}
        self.current: Table = {}
        self._lost = False

    @property
    def _table(self) -> KernelTable:
        if self._kernel is None:
            raise LvsError("There is no IPVS table to write to.")
        return self._kernel

    def write(self, before: Table, want: Table, keys: list[ServiceKey], planned: Difference) -> None:
        """Write and verify: the difference is taken again from what the kernel then shows, until there is none."""
        self.current = {key: before[key] for key in keys if key in before}
        goal = {key: want[key] for key in keys if key in want}
        self._table.expect({key: entry.destinations for key, entry in goal.items()})
        failures: list[Failure] = []
        previous: list[Operation] = []
        try:
            step = planned
            for _attempt in range(ATTEMPTS):
                if step.operations() == previous and not failures and not self._lost:
                    raise LvsError(_not_taken(previous))
                previous = step.operations()
                failures = self._carry_out(step, goal)
                final = [failure for failure in failures if not _passing(failure)]
                if final:
                    raise LvsError(
                        _refused(final),
                        failures=[{"command": f.operation.command(), "why": f.explain()} for f in final],
                    )
                if any(failure.errno in _TEMPORARY for failure in failures):
                    self._environment.sleep(PAUSE_SECONDS)
                clean = not failures and not self._lost
                self.current = self._table.verify(keys, goal) if clean else self._table.read(keys)
                step = difference(self.current, goal, keys, drain=self._drain_timeout > 0)
                if not step:
                    self._renew_routes(before, planned)
                    return
            raise LvsError(_refused(failures) if failures else _not_taken(previous))
        except LvsError as exc:
            raise self._rolled_back(exc, before, keys) from exc

    def _carry_out(self, step: Difference, goal: Table) -> list[Failure]:
        # Nobody leaves before all that comes is there: the kernel goes on after a refusal, and what is deleted and
        # then rolled back has lost its connections.
        with self._environment.handshakes() as handshakes:
            if step.drain:
                handshakes.begin()
            failures = self._apply(step.grow + step.drain)
            if failures or self._lost or not step.shrink:
                return failures
            leaving = _who_leaves(self.current, goal, list(self.current))
            if leaving and self._drain_timeout:
                with self._environment.lock.released():
                    self._wait(leaving, handshakes)
            else:
                self.leaving.update(self.count(leaving))
        return self._apply(step.shrink)

    def _renew_routes(self, before: Table, planned: Difference) -> None:
        """Have the kernel forget the route of realservers that changed their method in place.

        It caches one route per realserver, whoever sends first. After a change to dr a packet of an old nat or tun
        connection caches one by which dr looks for the VIP, not for the realserver, and nobody is found. Writing the
        same record again empties the cache; a route cached by dr serves the others, too.
        """

        def changed(operation: Operation) -> bool:
            wanted = operation.destination
            if operation.action != SET_DESTINATION or wanted is None or operation.service.key not in before:
                return False
            old = before[operation.service.key].destinations.get(wanted.key)
            return old is not None and old.forwarding != wanted.forwarding

        edits = [operation for operation in planned.grow if changed(operation)]
        deadline = self._environment.clock() + self._drain_timeout
        for pause in RENEW_SECONDS if edits else ():
            if self._environment.clock() + pause > deadline:
                return
            with self._environment.lock.released():
                self._environment.sleep(pause)
            # Another run may have written them meanwhile: what they have now is written again.
            now = self._table.read(dict.fromkeys(operation.service.key for operation in edits))
            self._table.apply([again for edit in edits if (again := _same_again(edit, now)) is not None])

    def _apply(self, operations: list[Operation]) -> list[Failure]:
        self.done += operations
        self._lost = False
        try:
            return self._table.apply(operations)
        except RepliesLost:
            self._lost = True  # everything was carried out; reading again tells what was refused
            return []

    def count(self, leaving: Leaving) -> Leaving:
        """The connections that those who leave have at this moment."""
        if not leaving:
            return {}
        keys: set[ServiceKey] = {service for service, _place in leaving}
        found = self._table.connections(keys)
        return {(service, place): found.get(service, {}).get(place) for service, place in leaving}

    def _wait(self, leaving: Leaving, handshakes: Handshakes) -> None:
        """Until no active connection is seen twice in a row, or until the time is over.

        Once is not enough: a connection may show up just after the weight has gone.
        """
        deadline = self._environment.clock() + self._drain_timeout
        quiet = 0
        while True:
            counted = self.count(leaving)
            self.leaving.update(counted)
            quiet = 0 if any(seen and seen.active for seen in counted.values()) else quiet + 1
            remaining = deadline - self._environment.clock()
            if quiet == 2 or remaining <= 0:
                return
            self._environment.sleep(min(POLL_SECONDS, remaining))
            handshakes.look()

    def _rolled_back(self, error: LvsError, before: Table, keys: list[ServiceKey]) -> LvsError:
        """The error to raise after undoing what was written."""
        remaining: list[Operation] = []
        try:
            for _attempt in range(ATTEMPTS):
                step = difference(self._table.read(keys), before, keys)
                remaining = step.operations()
                if not remaining:
                    break
                try:
                    self._table.apply(remaining)
                except RepliesLost:
                    pass
            else:
                remaining = difference(self._table.read(keys), before, keys).operations()
            trouble = ""
        except Unloaded:
            remaining = difference({}, before, keys).operations()
            trouble = " (there is no IPVS)" if remaining else ""
        except LvsError as exc:
            trouble = f" ({exc.message})"
        if not remaining and not trouble:
            text = "What had been written was rolled back: these services are as they were."
        else:
            commands = "; ".join(operation.command() for operation in remaining[:SHOWN_FAILURES])
            text = f"Rolling back failed too{trouble}. These lines for ipvsadm -R lead back: {commands}"
        return LvsError(
            f"{error.message} {text}",
            **error.details,
            rolled_back=not remaining and not trouble,
            rollback_commands=[operation.command() for operation in remaining],
        )


def _same_again(edit: Operation, now: Table) -> Operation | None:
    """The realserver of an edit as it is now; None if it is gone, or has yet another method."""
    entry = now.get(edit.service.key)
    if entry is None or edit.destination is None:
        return None
    record = entry.destinations.get(edit.destination.key)
    if record is None or record.forwarding != edit.destination.forwarding:
        return None
    return edit._replace(service=entry.service, destination=record)


def _passing(failure: Failure) -> bool:
    """Whether reading again, or waiting a moment, may help."""
    if failure.errno == errno.ENOENT:
        return failure.operation.destination is not None
    return failure.errno in _CONFLICTS or failure.errno in _TEMPORARY


def _refused(failures: list[Failure]) -> str:
    shown = " ".join(failure.explain() for failure in failures[:SHOWN_FAILURES])
    more = len(failures) - SHOWN_FAILURES
    return f"Changing the IPVS table failed: {shown}" + (f" … and {more} more." if more > 0 else "")


def _not_taken(operations: list[Operation]) -> str:
    shown = "; ".join(operation.command() for operation in operations[:SHOWN_FAILURES])
    return (
        f"The kernel accepted these changes but does not show them: {shown}. Either something else writes the same "
        "services (keepalived, ldirectord, another director tool), or this kernel does not know one of the values."
    )
