# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The saved table on disk: what is ours and what the boot brings back."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from typing import Any, Callable, NamedTuple

from ._errors import LvsError

VERSION = 1


class Saved(NamedTuple):
    """A saved table as it was written, and its text."""

    restrict: list[dict[str, Any]] | None  # None: everything is ours
    config: list[dict[str, Any]]
    pools: dict[str, Any]
    settings: dict[str, Any]  # what is beside the table: `timeouts` and `sync`
    text: str


SETTINGS = ("timeouts", "sync")


def _rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


# What is in the parts is checked where they are used.
_SHAPES: dict[str, Callable[[Any], bool]] = {
    "restrict": _rows,
    "config": _rows,
    "pools": lambda value: isinstance(value, dict),
    "timeouts": lambda value: isinstance(value, dict),
    "sync": lambda value: _rows(value) and all(isinstance(row.get("role"), str) for row in value),
}


def render(restrict: list[dict[str, Any]] | None, config: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    """The text of a saved table; the same table has the same text."""
    return _text({"version": VERSION, "restrict": restrict, "config": config, **settings})


def keep_settings(path: str, settings: dict[str, Any], check: bool) -> bool:
    """Write these settings, of which an empty one goes, and leave the table alone; whether that changes anything."""
    previous = load(path)
    content: dict[str, Any] = {"version": VERSION, "restrict": [], "config": []}
    if previous is not None:
        content = json.loads(previous.text)
    for name, value in settings.items():
        content.pop(name, None)
        if value:
            content[name] = value
    if not content.get("config") and not any(name in content for name in SETTINGS):
        if previous is not None and not check:
            remove(path)
        return previous is not None
    text = _text(content)
    if previous is not None and text == previous.text:
        return False
    if not check:
        store(path, text)
    return True


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def load(path: str) -> Saved | None:
    """The table saved at ``path``, or None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise LvsError(
            f"Reading the saved table {path} failed: {exc.strerror}. It must be a file, not a link."
        ) from exc
    with os.fdopen(descriptor, encoding="utf-8") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise LvsError(f"Reading the saved table {path} failed: it is not a regular file.")
        try:
            text = stream.read()
            content = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise LvsError(
                f"Reading the saved table {path} failed: it is not valid JSON ({exc}). "
                "Remove it; the next run writes it anew."
            ) from exc
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise LvsError(
            f"Reading the saved table {path} failed: it is not of version {VERSION}. Remove it, or use the version of "
            "linuxvirtualserver.lvs that wrote it."
        )
    wrong = [name for name, fits in _SHAPES.items() if content.get(name) is not None and not fits(content[name])]
    if wrong:
        raise LvsError(
            f"Reading the saved table {path} failed: its {', '.join(wrong)} cannot be what was written there. "
            "Remove it; the next run writes it anew."
        )
    settings = {name: content[name] for name in SETTINGS if content.get(name)}
    return Saved(content.get("restrict"), content.get("config") or [], content.get("pools") or {}, settings, text)


def store(path: str, text: str) -> None:
    """Write a saved table as one step, for root alone: it tells how the network is built."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        _settle(folder)
    except OSError as exc:
        raise LvsError(
            f"The table was changed, but saving it at {path} failed: {exc.strerror}. After a reboot the table would "
            "not be what it is now; make the folder writable and run again."
        ) from exc


def remove(path: str) -> None:
    """Remove a saved table."""
    try:
        os.unlink(path)
        _settle(os.path.dirname(os.path.abspath(path)))
    except OSError as exc:
        raise LvsError(f"Removing the saved table {path} failed: {exc.strerror}.") from exc


def _settle(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
