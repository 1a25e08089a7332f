#!/usr/bin/env python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies what git tracks, and what it would track, to build/ansible_collections/linuxvirtualserver/lvs.

ansible-test wants a git checkout at a path of that shape; antsibull-docs copies whatever directory it is given, and
must not meet the virtual environment or the link in .collections. Neither is true of the checkout itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build/ansible_collections/linuxvirtualserver/lvs"
KEPT = {".git", "tests/output"}  # tests/output: ansible-test's reports


def tracked() -> set[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = (Path(name) for name in listing.split("\0") if name)
    return {name for name in names if (ROOT / name).is_symlink() or (ROOT / name).is_file()}


def remove_strangers(wanted: set[Path]) -> None:
    directories = {parent for name in wanted for parent in name.parents}
    for path in sorted(COPY.rglob("*"), reverse=True):
        name = path.relative_to(COPY)
        if any(str(name) == kept or str(name).startswith(f"{kept}/") for kept in KEPT):
            continue
        if path.is_dir() and not path.is_symlink():
            if name not in directories and not any(path.iterdir()):
                path.rmdir()
        elif name not in wanted:
            path.unlink()


def main() -> int:
    wanted = tracked()
    COPY.mkdir(parents=True, exist_ok=True)
    remove_strangers(wanted)
    for name in wanted:
        target = COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    if not (COPY / ".git").exists():
        subprocess.run(["git", "init", "--quiet", str(COPY)], check=True)
    print(f"{len(wanted)} files in {COPY.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
