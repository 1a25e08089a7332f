# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files of ours on the host: read, written whole and durably, removed with the directories that were theirs."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile

from ._errors import LvsError


def read(path: str) -> bytes | None:
    """The content of a file; None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LvsError(f"{path} cannot be read: {error.strerror}", path=path) from error


def mode(path: str) -> int | None:
    """The permission bits of a file; None if there is none."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return None


def write(path: str, content: bytes, file_mode: int, dir_mode: int = 0o755) -> None:
    """Put content in place in one step: a reader, or a crash, sees the old file or the new one, never half of it."""
    directory = os.path.dirname(path)
    try:
        make_directory(directory, dir_mode)
        handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), file_mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(directory)
    except OSError as error:
        raise LvsError(f"{path} cannot be written: {error.strerror}", path=path) from error


def make_directory(directory: str, dir_mode: int) -> None:
    """The directory with this mode if it is ours to make; one that stands there keeps its mode."""
    if not os.path.isdir(directory):
        os.makedirs(directory, exist_ok=True)
        # makedirs would let the umask decide.
        os.chmod(directory, dir_mode)


def remove(path: str, *directories: str) -> None:
    """Remove a file, and then these directories as far as nothing else is in them."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            _sync_directory(os.path.dirname(path))
    except OSError as error:
        raise LvsError(f"{path} cannot be removed: {error.strerror}", path=path) from error
    for directory in directories:
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def sync_links_of_units(root: str = "/") -> None:
    """What `systemctl enable` makes: it syncs nothing, so after a power failure the unit would not be enabled."""
    units = os.path.join(root, "etc/systemd/system")
    with contextlib.suppress(OSError):
        for name in os.listdir(units):
            if name.endswith((".wants", ".requires")):
                _sync_directory(os.path.join(units, name))
        _sync_directory(units)


def _sync_directory(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
