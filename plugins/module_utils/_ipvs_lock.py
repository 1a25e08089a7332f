# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One of our runs at a time writes the IPVS table of a network namespace; the next one waits."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Callable, Iterator

from ._errors import LvsError

DIRECTORY = "/run/lvs"
NAMESPACE = "/proc/self/ns/net"
# Longer than a large table takes; a run that drains lets go of the lock while it waits for connections to end.
PATIENCE = 120.0
PAUSE = 0.1


class Lock:
    """Held inside ``with``.

    Other programs that write the table (ipvsadm, keepalived) know nothing of it: they are found by reading again what
    was written.
    """

    def __init__(
        self,
        directory: str = DIRECTORY,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._handle = -1
        self._depth = 0

    def __enter__(self) -> Lock:
        """Take it; whoever holds it already only counts."""
        if not self._depth:
            self._acquire()
        self._depth += 1
        return self

    def __exit__(self, *_error: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._release()

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Let others write meanwhile; nothing where it is not held."""
        self._release()
        try:
            yield
        finally:
            if self._depth:
                self._acquire()

    def _acquire(self) -> None:
        """Wait for the lock; an error names the process that does not let go of it."""
        path = os.path.join(self._directory, f"ipvs-{_namespace()}.lock")
        try:
            if not os.path.isdir(self._directory):
                os.mkdir(self._directory, 0o755)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # not root, who cannot write the table either, or a read-only /run
        deadline = self._clock() + self._patience
        while not _taken(handle):
            if self._clock() >= deadline:
                holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
                os.close(handle)
                raise LvsError(
                    f"Another run (process {holder or 'unknown'}) has been changing the IPVS table for more than "
                    f"{self._patience:.0f} seconds. Wait for it to end and run again."
                )
            self._sleep(PAUSE)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def _release(self) -> None:
        """Let the next one go on. The kernel does the same when the process ends."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _namespace() -> int:
    try:
        return os.stat(NAMESPACE).st_ino
    except OSError:  # no /proc
        return 0


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
