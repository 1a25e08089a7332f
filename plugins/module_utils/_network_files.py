# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the network is kept in files for the next boot, and how those files differ from what is there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Iterable, Mapping

from . import _files
from . import _sysctl_effects as effects
from ._errors import LvsError
from ._network_model import Item, Module, Sysctl, as_config, parse

MODULES = "/etc/modules-load.d/lvs.conf"
SYSCTLS = "/etc/sysctl.d/90-lvs.conf"
CONFIG = "/etc/lvs/network.json"
VERSION = 1

_HEAD = "# Managed by the Ansible module linuxvirtualserver.lvs.network: what is changed by hand here is lost.\n"
_SYSCTL_HEAD = (
    _HEAD
    + "# systemd loads modules (modules-load.d) before it reads this file, so net.ipv4.vs.* is there by then.\n"
    + "# The dash lets a line pass whose device is not there yet; udev and lvs.service come back to it.\n"
)


@dataclass(frozen=True)
class FileChange:
    """A file that gets another content; None is no file."""

    path: str
    before: str | None
    after: str | None

    @property
    def ident(self) -> str:
        return f"file {self.path}"


def contents(root: str, items: Iterable[Item], derived: Iterable[Item]) -> dict[str, str | None]:
    """What our files hold when these items are ours; a file without a line is no file."""
    kept = list(items)
    modules = [item.name for item in kept if isinstance(item, Module)]
    values = {item.key: item.value for item in (*derived, *kept) if isinstance(item, Sysctl)}
    lines = "".join(f"-{key} = {values[key]}\n" for key in effects.in_order(values))
    config = {"version": VERSION, "config": as_config(kept)}
    return {
        _below(root, MODULES): _HEAD + "".join(f"{name}\n" for name in modules) if modules else None,
        _below(root, SYSCTLS): _SYSCTL_HEAD + lines if lines else None,
        _below(root, CONFIG): json.dumps(config, indent=1) + "\n" if kept else None,
    }


def changes(wanted: Mapping[str, str | None], entries: Mapping[str, Mapping[str, Any]]) -> list[FileChange]:
    """The files that have to be written. One that is not needed any more becomes what stood there before us."""
    found = []
    for path, content in wanted.items():
        raw = _files.read(path)
        have = None if raw is None else raw.decode("utf-8", "replace")
        entry = entries.get(f"file {path}")
        if content is None:
            content = entry["before"] if entry else have
        if content != have:
            found.append(FileChange(path, have, content))
    return found


def records(
    wanted: Mapping[str, str | None], entries: Mapping[str, Mapping[str, Any]], changed: Iterable[FileChange]
) -> dict[str, dict[str, Any]]:
    """The ledger's entries of the files that are ours; the saved config is ours alone, nothing stood there before."""
    before = {change.path: change.before for change in changed}
    ours = {}
    for path, content in wanted.items():
        entry = entries.get(f"file {path}")
        if content is None:
            continue
        old = entry["before"] if entry else before.get(path)
        ours[f"file {path}"] = {"before": None if path.endswith(CONFIG) else old}
    return ours


def write(change: FileChange) -> None:
    """Put one file in place, or away, with the directory if it was ours alone."""
    if change.after is None:
        _files.remove(change.path, *([os.path.dirname(change.path)] if change.path.endswith(CONFIG) else []))
    elif change.path.endswith(CONFIG):
        _files.write(change.path, change.after.encode(), 0o600, 0o700)
    else:
        _files.write(change.path, change.after.encode(), 0o644)


def saved_config(root: str = "/") -> Mapping[str, Any] | None:
    """The config that was saved for the boot; None if there is none."""
    raw = _files.read(_below(root, CONFIG))
    if raw is None:
        return None
    try:
        found = json.loads(raw)
        if found["version"] != VERSION:
            raise ValueError(f"version {found['version']}, known is {VERSION}")
        config = found["config"]
        if not isinstance(config, dict):
            raise ValueError("config is not a mapping")
    except (ValueError, KeyError, TypeError) as error:
        path = _below(root, CONFIG)
        raise LvsError(f"{path} cannot be understood ({error}); run the play again to write it.", path=path) from error
    return config


def saved_order(root: str = "/") -> dict[str, int]:
    """The place of every item in the saved config; nothing if there is none that can be understood."""
    try:
        return {item.ident: place for place, item in enumerate(parse(saved_config(root) or {}))}
    except LvsError:
        return {}


def _below(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))
