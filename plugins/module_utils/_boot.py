# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lvs.service runs at boot: the saved network, after the saved IPVS table, by the same code as the modules."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Callable, Mapping, Sequence

from ._errors import LvsError
from ._network_files import saved_config
from ._network_kernel import Kernel
from ._network_model import SECTIONS
from ._network_run import Request, run

IPVS_TABLE = "/etc/lvs/ipvs.json"
# A device or a gateway may come up late; the unit must not wait for it for ever.
PATIENCE = 30.0
PAUSE = 2.0


def main(arguments: Sequence[str]) -> int:
    """The program; its exit code says whether everything is back."""
    if list(arguments) != ["boot"]:
        say("usage: lvs.pyz boot")
        return 2
    failures = 0
    # The table first, as in the roles: a VIP that is up has its services. Each comes back even if the other cannot.
    # The daemons last: they need their interface, and an address on it.
    for name, step in (("IPVS table", ipvs), ("network", network), ("IPVS timeouts and daemons", settings)):
        try:
            step()
        except LvsError as error:
            failures += 1
            say(f"{name}: {' '.join(error.message.split())}")
    return 1 if failures else 0


def say(text: str) -> None:
    """One line for the journal."""
    sys.stderr.write(f"lvs: {text}\n")
    sys.stderr.flush()


def network(
    root: str = "/",
    kernel: Kernel | None = None,
    patience: float = PATIENCE,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Put the saved network in place; what cannot be is tried again for a while, then left out."""
    config = saved_config(root)
    if config is None:
        return
    kernel = kernel or Kernel(root)
    end = now() + patience
    while True:
        try:
            _once(config, root, kernel)
            return
        except LvsError as error:
            if "mistakes" in error.details:
                raise
            if now() >= end:
                _rest(config, root, kernel)
                raise
            say(f"network: trying again, since {' '.join(error.message.split())}")
            pause(PAUSE)


def _once(config: Mapping[str, Any], root: str, kernel: Kernel) -> None:
    # Not `replaced`: a merged change that was under way when the host went down is not to be completed by the boot.
    outcome = run(Request(config, "merged", persist=False, root=root), kernel)
    for line in (*outcome.commands, *outcome.warnings):
        say(line)


def _rest(config: Mapping[str, Any], root: str, kernel: Kernel) -> None:
    """A device that is not there, is down or has no address yet must not take the VIPs of the others away."""
    for section in SECTIONS:
        _as_far_as_possible(section, list(config.get(section) or ()), root, kernel)


def _as_far_as_possible(section: str, entries: list[Any], root: str, kernel: Kernel) -> None:
    """Halves, until what cannot be had is alone."""
    if not entries:
        return
    try:
        _once({section: entries}, root, kernel)
    except LvsError as error:
        if len(entries) == 1:
            say(f"network, left out: {' '.join(error.message.split())}")
            return
        middle = len(entries) // 2
        for half in (entries[:middle], entries[middle:]):
            _as_far_as_possible(section, half, root, kernel)


def ipvs(path: str = IPVS_TABLE) -> None:
    """Put the saved table in place; a realserver has none."""
    if not os.path.exists(path):
        return
    from ._ipvs_kernel import restore  # a host without a table needs none of it

    for line in restore(path).get("commands", ()):
        say(f"ipvsadm {line}")


def settings(
    path: str = IPVS_TABLE,
    patience: float = PATIENCE,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Put timeouts and synchronisation daemons in place; an interface may come up late."""
    if not os.path.exists(path):
        return
    from ._ipvs_settings_run import restore_settings  # a host without a table needs none of it

    end = now() + patience
    while True:
        try:
            restore_settings(path, lambda line: say(f"ipvsadm {line}"))
            return
        except LvsError as error:
            if "mistakes" in error.details or now() >= end:
                raise
            say(f"IPVS timeouts and daemons: trying again, since {' '.join(error.message.split())}")
            pause(PAUSE)
