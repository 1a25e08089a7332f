# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Be one user-mode-linux machine of a lab: run its process, and run it again whenever its guest reboots.

    lvslab_machine.py KERNEL_FOLDER MACHINE_FOLDER IMAGE_FOLDER KERNEL_ARGUMENT...

Started by lvslab.py inside the lab's network namespace with the console as standard output. Ends when the guest powers
off or its kernel panics.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

PROGRAM = "/usr/bin/linux.uml"

# At a reboot user-mode-linux executes itself anew by the name it was called by. The new kernel would inherit the old
# one's taps, still open, and find them busy. A name that leads nowhere makes the process end instead, saying this.
NOWHERE = "lvslab-machine"
SAID_AT_REBOOT = b"Failed to exec kernel"


def bind_mounts(root: pathlib.Path, machine: pathlib.Path, image: pathlib.Path) -> list[list[str]]:
    """What the kernel's folder lacks; `ip netns exec` gave this process a mount namespace nobody else sees."""
    return [
        ["mount", "--bind", str(machine), str(root / "machine")],
        ["mount", "--bind", str(image), str(root / "image")],
        ["mount", "--rbind", "/dev", str(root / "dev")],
        ["mount", "--bind", "/proc", str(root / "proc")],
    ]


def run_once(arguments: Sequence[str]) -> int:
    """One life of the kernel, from boot to halt or reboot."""
    child = os.fork()
    if child == 0:
        try:
            os.execv(PROGRAM, [NOWHERE, *arguments])
        finally:
            os._exit(127)
    _pid, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended)


def rebooting(console: pathlib.Path) -> bool:
    """Whether the machine's last words are those of a reboot."""
    return SAID_AT_REBOOT in console.read_bytes()[-300:]


def main() -> int:
    root, machine, image = (pathlib.Path(argument) for argument in sys.argv[1:4])
    for argv in bind_mounts(root, machine, image):
        subprocess.run(argv, check=True)
    os.chroot(root)
    os.chdir("/")
    console = pathlib.Path("/machine/console.log")
    status = run_once(sys.argv[4:])
    while rebooting(console):
        print("lvslab: the guest reboots", flush=True)
        status = run_once(sys.argv[4:])
    return status


if __name__ == "__main__":
    sys.exit(main())
