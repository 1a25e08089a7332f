# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the boot program and its systemd unit on the host, or takes them away."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, Callable, Sequence

from . import _files
from ._errors import LvsError
from ._network_kernel import Run, run_program

PROGRAM = "/usr/local/lib/lvs/lvs.pyz"
UNIT_NAME = "lvs.service"
UNIT = f"/etc/systemd/system/{UNIT_NAME}"
INTERPRETER = "/usr/bin/python3"
# Made by the modules that save there; it goes with the last of us.
SAVED = "/etc/lvs"

_UNIT_TEXT = """\
# Managed by the Ansible module linuxvirtualserver.lvs.boot: what is changed by hand here is lost.
[Unit]
Description=Linux Virtual Server: saved addresses, routes and IPVS table
Documentation=https://docs.kernel.org/networking/ipvs-sysctl.html
# Never a .device unit: where udev does not run it would not come. The program itself waits a bounded time.
Wants=network-online.target
# The init script of package ipvsadm empties the table where it is told to load one of its own.
After=network-online.target systemd-modules-load.service systemd-sysctl.service ipvsadm.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={interpreter} {program} boot
TimeoutStartSec=180
# Stopping it changes nothing: taking the LVS down is the work of the modules.

[Install]
WantedBy=multi-user.target
"""


@dataclass
class Installed:
    """What is on the host, or shall be."""

    program: bytes | None
    unit: str | None
    enabled: bool

    def result(self) -> dict[str, Any]:
        return {
            "program": None if self.program is None else hashlib.sha256(self.program).hexdigest(),
            "unit": self.unit,
            "enabled": self.enabled,
        }


class BootInstall:
    """One run of the module `boot`."""

    def __init__(self, root: str = "/", run: Run = run_program) -> None:
        self._root = root
        self._run = run
        self.program_path = self._below(PROGRAM)
        self.unit_path = self._below(UNIT)

    def _below(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def _systemctl(self, *words: str) -> tuple[int, str]:
        code, said, complaint = self._run(["systemctl", *words], "")
        return code, (said + complaint).strip()

    def interpreter(self, running: str) -> str:
        """The host's own python3, which outlives an update to the next minor version; else the one that runs now."""
        return INTERPRETER if os.path.exists(self._below(INTERPRETER)) else running

    def read(self) -> Installed:
        """What is there now; raises LvsError where systemd does not run the host."""
        if not os.path.isdir(self._below("/run/systemd/system")):
            raise LvsError(
                "systemd does not run this host, so there is nothing that could bring the LVS back at boot. Let its own"
                f" init run `{INTERPRETER} {PROGRAM} boot`, or do without the module boot."
            )
        unit = _files.read(self.unit_path)
        _code, said = self._systemctl("is-enabled", UNIT_NAME)
        return Installed(
            _files.read(self.program_path), None if unit is None else unit.decode("utf-8", "replace"), said == "enabled"
        )

    def wanted(self, state: str, build: Callable[[str], bytes], running: str) -> Installed:
        """What shall be there."""
        if state == "absent":
            return Installed(None, None, False)
        interpreter = self.interpreter(running)
        return Installed(build(interpreter), _UNIT_TEXT.format(interpreter=interpreter, program=PROGRAM), True)

    def commands(self, before: Installed, after: Installed) -> list[str]:
        """What has to be done, as a person would type it, in this order."""
        steps = []
        if before.enabled and not after.enabled:
            steps.append(f"systemctl disable --now {UNIT_NAME}")
        for path, old, new in ((PROGRAM, before.program, after.program), (UNIT, before.unit, after.unit)):
            if old != new:
                steps.append(f"rm {path}" if new is None else f"install -D {os.path.basename(path)} {path}")
        if before.unit != after.unit:
            steps.append("systemctl daemon-reload")
        if after.enabled and not before.enabled:
            steps.append(f"systemctl enable {UNIT_NAME}")
        return steps

    def apply(self, before: Installed, after: Installed) -> None:
        """Do it."""
        for step in self.commands(before, after):
            words = step.split()
            if words[0] == "systemctl":
                self._must(words[1:])
                _files.sync_links_of_units(self._root)
            elif words[-1] == PROGRAM:
                folders = (os.path.dirname(self.program_path), self._below(SAVED))
                self._put(self.program_path, after.program, 0o755, *folders)
            else:
                self._put(self.unit_path, None if after.unit is None else after.unit.encode(), 0o644)

    def _must(self, words: Sequence[str]) -> None:
        code, said = self._systemctl(*words)
        if code != 0:
            raise LvsError(f"systemctl {' '.join(words)} ended with code {code}: {said}")

    @staticmethod
    def _put(path: str, content: bytes | None, mode: int, *directories: str) -> None:
        if content is None:
            _files.remove(path, *directories)
        else:
            _files.write(path, content, mode)


def diff(before: Installed, after: Installed) -> list[dict[str, str]]:
    """The difference of the unit as text, of the program as checksums."""
    parts = []
    for path, old, new in (
        (PROGRAM, before.result()["program"], after.result()["program"]),
        (UNIT, before.unit, after.unit),
        (f"{UNIT_NAME} enabled", str(before.enabled).lower(), str(after.enabled).lower()),
    ):
        if old != new:
            texts = {"before": old or "", "after": new or ""}
            texts = {key: text if not text or text.endswith("\n") else f"{text}\n" for key, text in texts.items()}
            parts.append({"before_header": path, "after_header": path, **texts})
    return parts
