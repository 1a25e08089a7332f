# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A director's whole IPVS state in one file: table, timeouts and daemons; taken, and brought back by reconciling."""

from __future__ import annotations

from typing import Any, Callable

from . import _ipvs_model as model
from . import _ipvs_saved as saved_table
from ._errors import LvsError
from ._ipvs_diff import OVERRIDDEN
from ._ipvs_input import Restriction, parse_restrict
from ._ipvs_interface import trouble
from ._ipvs_kernel import KernelTable
from ._ipvs_model import Table
from ._ipvs_reconcile import Environment, reconcile
from ._ipvs_settings import Daemon, daemon_config, read_settings, timeouts_config
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
    table = KernelTable.open(False, environment.modules, environment.connect, environment.proc, must_exist=False)
    if table is None:
        raise LvsError("Module ip_vs is not loaded; there is nothing to take a snapshot of. Nothing was changed.")
    try:
        with environment.exclusive(check):
            content, settled = _content(table, restrict is None, restrictions)
        settings = read_settings(table)
    finally:
        table.close()
    # 0 is a protocol that this kernel lacks: there is nothing to bring back.
    timeouts = {name: value for name, value in timeouts_config(settings.timeouts).items() if value}
    beside: dict[str, Any] = {"timeouts": timeouts}
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
        "notes": [] if settled else [_UNSETTLED],
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

    with environment.exclusive(check):
        settings(check=True)  # what cannot be brought back is found before anything is written
        # Realservers of the other address family and daemons exclude each other: who is to stop, stops first.
        parts = [] if sync else settings(check)
        table = reconcile(
            None,
            OVERRIDDEN,
            src=path,
            drain_timeout=drain_timeout,
            allow_empty=True,
            check=check,
            environment=environment,
            judge=False,
        )
        parts = [*parts, table, *(settings(check) if sync else [])]
    return {
        "changed": any(part["changed"] for part in parts),
        "commands": [command for part in parts for command in part["commands"]],
        "notes": list(dict.fromkeys(note for part in parts for note in part["notes"])),
        "diff": {side: "".join(part["diff"][side] for part in parts) for side in ("before", "after")},
    }
