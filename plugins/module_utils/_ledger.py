# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we changed on this host and what stood there before: /var/lib/lvs/ledger.json, held by one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from types import TracebackType
from typing import Any, Mapping

from . import _files
from ._errors import LvsError

DIRECTORY = "/var/lib/lvs"
VERSION = 1
# How long a run waits for another one that holds the ledger.
PATIENCE = 30.0

Entry = Mapping[str, Any]


class Ledger:
    """The entries by their identity, in the order in which they came.

    ``with Ledger(...) as ledger`` locks it; ``save`` writes it at once and durably. A caller saves an entry
    BEFORE it makes the change that the entry records, so that a crash never loses what stood there before.
    With ``write=False`` (check mode) nothing is made, locked by us only what is there, and ``save`` does nothing.
    """

    def __init__(self, directory: str = DIRECTORY, write: bool = True, patience: float = PATIENCE) -> None:
        self.directory = directory
        self.path = os.path.join(directory, "ledger.json")
        self.entries: dict[str, dict[str, Any]] = {}
        self._write = write
        self._patience = patience
        self._lock = -1
        self._saved: bytes | None = None

    def __enter__(self) -> Ledger:
        self._acquire()
        try:
            self._saved = _files.read(self.path)
            self.entries = self._load()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._write and not self.entries and _files.read(self.path) is None:
            # Nothing of ours is left on this host; a run that waits for the lock notices that the directory went.
            with contextlib.suppress(OSError):
                os.rmdir(self.directory)
        self._release()

    def save(self, entries: Mapping[str, Entry]) -> bool:
        """Make these the entries, on the disk too; returns whether the file had to be written."""
        self.entries = {key: dict(entry) for key, entry in entries.items()}
        content = None
        if self.entries:
            content = json.dumps({"version": VERSION, "entries": self.entries}, indent=1).encode() + b"\n"
        if content == self._saved or not self._write:
            return False
        if content is None:
            _files.remove(self.path)
        else:
            _files.write(self.path, content, 0o600, 0o700)
        self._saved = content
        return True

    def _load(self) -> dict[str, dict[str, Any]]:
        if self._saved is None:
            return {}
        try:
            found = json.loads(self._saved)
            version, entries = found["version"], found["entries"]
            if version != VERSION:
                raise LvsError(
                    f"{self.path} is of version {version}, this collection knows version {VERSION}:"
                    " use the version of the collection that wrote it.",
                    path=self.path,
                )
            return {str(key): dict(entry) for key, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LvsError(
                f"{self.path} cannot be understood ({error}). It remembers what stood on this host before; restore it"
                " from a backup. Without one, move it away: what is on the host now then counts as what stood there.",
                path=self.path,
            ) from error

    def _acquire(self) -> None:
        """Lock the directory itself, so that no lock file stays behind when the last entry goes."""
        end = time.monotonic() + self._patience
        while True:
            if self._write:
                try:
                    _files.make_directory(self.directory, 0o700)
                except OSError as error:
                    raise LvsError(f"{self.directory} cannot be made: {error.strerror}", path=self.directory) from error
            elif not os.path.isdir(self.directory):
                return
            if self._try_lock():
                return
            if time.monotonic() >= end:
                raise LvsError(
                    f"Another run has held {self.directory} for {self._patience:g} seconds; try again when it is done.",
                    path=self.directory,
                )
            time.sleep(0.1)

    def _try_lock(self) -> bool:
        try:
            handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LvsError(f"{self.directory} cannot be opened: {error.strerror}", path=self.directory) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(self.directory)):
                self._lock = handle
                return True
        except OSError:
            pass
        os.close(handle)
        return False

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
