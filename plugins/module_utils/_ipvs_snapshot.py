# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A director's whole IPVS state in one file: table, timeouts and daemons; taken, and brought back by reconciling."""

from __future__ import annotations

from typing import Any, Callable

from . import _ipvs_drained as drained
from . import _ipvs_model as model
from . import _ipvs_saved as saved_table
from ._errors import LvsError
from ._ipvs_diff import OVERRIDDEN
from ._ipvs_input import Restriction, parse_restrict
from ._ipvs_interface import trouble
from ._ipvs_kernel import KernelTable
from ._ipvs_model import Table
from ._ipvs_reconcile import Environment, reconcile
from ._ipvs_settings import Daemon, Settings, daemon_config, read_settings, timeouts_config
from ._ipvs_settings_run import set_daemons, set_timeouts
from ._kernel_modules import KernelModules

ATTEMPTS = 5
_UNSETTLED = (
    "Something else wrote to the table all the while: the snapshot may mix what stood there at different moments. "
    "Take it again when that has ended."
)


def take(
    path: str,
    restrict: list[dict[str, Any]] | None = None,
    check: bool = False,
    environment: Environment | None = None,
) -> dict[str, Any]:
    """Write what the kernel has now to ``path``, as one step."""
    restrictions = parse_restrict(restrict)
    environment = environment or Environment(KernelModules())
    notes = []
    table = KernelTable.open(False, environment.modules, environment.connect, environment.proc, must_exist=False)
    if table is None:
        raise LvsError("Module ip_vs is not loaded; there is nothing to take a snapshot of. Nothing was changed.")
    try:
        with environment.exclusive(check):
            content, settled = _content(table, restrict is None, restrictions)
            for key, whose in sorted(environment.strangers(content).items()):
                notes.append(f"{model.describe_service(key)} was left out: {whose}.")
                del content[key]
            # A drain is no state to come back to: it has an end of its own.
            content = drained.with_weights(content, drained.load(environment.memory()))
        settings = read_settings(table)
    finally:
        table.close()
    beside: dict[str, Any] = {"timeouts": _timeouts(settings)}
    beside["sync"] = [daemon_config(daemon) for daemon in settings.daemons]
    stated = None
    if restrict is not None:
        stated = [{key: value for key, value in entry.items() if value is not None} for entry in restrict]
    text = saved_table.render(stated, model.table_config(content), beside)
    previous = saved_table.load(path)
    changed = previous is None or previous.text != text
    if changed and not check:
        saved_table.store(path, text)
    return {
        "changed": changed,
        "commands": [],
        "notes": notes if settled else [*notes, _UNSETTLED],
        "diff": {"before": previous.text if previous is not None else "", "after": text},
    }


def _content(table: KernelTable, everything: bool, restrictions: list[Restriction]) -> tuple[Table, bool]:
    """What the kernel shows, and whether it showed the same twice: it does not say when others write meanwhile."""
    previous: Table | None = None
    for _attempt in range(ATTEMPTS):
        content = table.entries(
            service
            for key, service in table.services().items()
            if everything or any(restriction.matches(key) for restriction in restrictions)
        )
        if content == previous:
            return content, True
        previous = content
    return content, False


def bring_back(
    path: str,
    drain_timeout: float = 0,
    check: bool = False,
    environment: Environment | None = None,
    lacking: Callable[[Daemon], str] = trouble,
) -> dict[str, Any]:
    """Lead the kernel to what was taken, within its scope. Nothing is flushed; what is equal is not touched."""
    saved = saved_table.load(path)
    if saved is None:
        raise LvsError(f"{path} does not exist on this host; nothing was changed.")
    environment = environment or Environment(KernelModules())
    timeouts = saved.settings.get("timeouts")
    # A snapshot that was taken without daemons says that none ran; a file without timeouts is no snapshot.
    sync = saved.settings.get("sync", []) if timeouts else None

    def settings(check: bool) -> list[dict[str, Any]]:
        parts = []
        if timeouts:
            parts.append(set_timeouts(timeouts, check=check, environment=environment))
        if sync is not None:
            parts.append(set_daemons(sync, OVERRIDDEN, check=check, environment=environment, lacking=lacking))
        return parts

    def table(check: bool) -> dict[str, Any]:
        return reconcile(
            None,
            OVERRIDDEN,
            src=path,
            drain_timeout=drain_timeout,
            allow_empty=True,
            check=check,
            environment=environment,
            judge=False,
        )

    with environment.exclusive(check):
        # What cannot be brought back is found before anything is written.
        foretold = settings(check=True)
        expected = [table(check=True)]
        if check:
            parts = [*expected, *foretold] if sync else [*foretold, *expected]
        elif sync:
            parts = [table(check), *_after(settings)]
        else:
            # Realservers of the other address family and daemons exclude each other: who is to stop, stops first.
            before = _read_settings(environment)
            try:
                parts = settings(check)
                parts.append(table(check))
            except LvsError as exc:
                raise LvsError(f"{exc.message} {_put_back(before, environment)}", **exc.details) from exc
    return {
        "changed": any(part["changed"] for part in parts),
        "commands": [command for part in parts for command in part["commands"]],
        "notes": list(dict.fromkeys(note for part in parts for note in part["notes"])),
        "diff": {side: "".join(part["diff"][side] for part in parts) for side in ("before", "after")},
    }


def _after(settings: Callable[[bool], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The settings, when the table has been written."""
    try:
        return settings(False)
    except LvsError as exc:
        raise LvsError(f"{exc.message} The table is as in the snapshot by now.", **exc.details) from exc


def _read_settings(environment: Environment) -> Settings | None:
    table = KernelTable.open(False, environment.modules, environment.connect, environment.proc, must_exist=False)
    if table is None:
        return None
    try:
        return read_settings(table)
    finally:
        table.close()


def _put_back(before: Settings | None, environment: Environment) -> str:
    """Timeouts and daemons as they were before the table was refused, in words."""
    if before is None:
        return "Timeouts and daemons are those of the snapshot by now."
    daemons = [daemon_config(daemon) for daemon in before.daemons]
    try:
        set_timeouts(_timeouts(before), environment=environment)
        set_daemons(daemons, OVERRIDDEN, environment=environment, lacking=lambda daemon: "")
    except LvsError as exc:
        return f"Timeouts and daemons are those of the snapshot by now, and putting them back failed: {exc.message}"
    return "Timeouts and daemons are as they were."


def _timeouts(settings: Settings) -> dict[str, int]:
    """Those that there are: 0 is a protocol that this kernel lacks."""
    return {name: value for name, value in timeouts_config(settings.timeouts).items() if value}
