# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel modules the running kernel has, and loading them."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Callable

LOADED, BUILTIN, AVAILABLE, MISSING, UNKNOWN = "loaded", "builtin", "available", "missing", "unknown"

_NAME = re.compile(r"[A-Za-z0-9_]{1,55}", re.ASCII)
_PROGRAMS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
TIMEOUT_SECONDS = 60


def run_program(arguments: list[str]) -> tuple[int, str]:
    """Run a program with a clean environment; its exit code and what it said."""
    environment = {"PATH": ":".join(_PROGRAMS), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return 127, str(exc)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


class KernelModules:
    """The modules of the running kernel, as ``/proc/modules`` and ``/lib/modules`` tell."""

    def __init__(
        self,
        root: str = "/",
        release: str | None = None,
        run: Callable[[list[str]], tuple[int, str]] = run_program,
    ) -> None:
        self.root = root
        self.release = release or os.uname().release
        self._run = run
        self._texts: dict[str, str] = {}

    @property
    def folder(self) -> str:
        """Where the running kernel's modules are kept."""
        return os.path.join(self.root, "lib/modules", self.release)

    def installed(self) -> bool:
        """Whether this system knows what the running kernel has. A container usually does not."""
        return os.path.isfile(os.path.join(self.folder, "modules.dep"))

    def loaded(self) -> frozenset[str]:
        """The modules that are loaded now."""
        text = self._read(os.path.join(self.root, "proc/modules"), keep=False)
        return frozenset(line.split(" ", 1)[0] for line in text.splitlines())

    def names(self, prefix: str) -> frozenset[str]:
        """The modules that are loaded, built in or available and whose name starts like this."""
        found = set(self.loaded())
        for name in ("modules.builtin", "modules.dep"):
            text = self._read(os.path.join(self.folder, name))
            found.update(
                match.replace("-", "_") for match in re.findall(r"^(?:[^\s:]*/)?([\w-]+)\.ko", text, re.MULTILINE)
            )
        return frozenset(name for name in found if name.startswith(prefix))

    def state(self, name: str) -> str:
        """``loaded``, ``builtin``, ``available``, ``missing``, or ``unknown`` where nobody can tell."""
        if not _NAME.fullmatch(name):
            return MISSING
        if name in self.loaded():
            return LOADED
        pattern = re.compile(rf"^(?:\S*/)?{name.replace('_', '[_-]')}\.ko", re.MULTILINE)
        if pattern.search(self._read(os.path.join(self.folder, "modules.builtin"))):
            return BUILTIN
        if pattern.search(self._read(os.path.join(self.folder, "modules.dep"))):
            return AVAILABLE
        return MISSING if self.installed() else UNKNOWN

    def load(self, name: str) -> str:
        """Load a module; nothing, or why that failed."""
        if not _NAME.fullmatch(name):
            return f"{name!r} is not the name of a module"
        for folder in _PROGRAMS:
            program = os.path.join(folder, "modprobe")
            if os.access(os.path.join(self.root, program.lstrip("/")), os.X_OK):
                code, said = self._run([program, name])
                return "" if code == 0 else said or f"{program} ended with code {code}"
        return "there is no modprobe on this system (package kmod)"

    def _read(self, path: str, keep: bool = True) -> str:
        if keep and path in self._texts:
            return self._texts[path]
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                text = stream.read()
        except OSError:
            text = ""
        self._texts[path] = text
        return text
