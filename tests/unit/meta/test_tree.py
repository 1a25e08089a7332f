# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every file of the project keeps to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Packages come from wherever apt and pip are configured to take them on the machine.
REGISTRY = re.compile(r"https?://[\w.-]*\b(debian|ubuntu|pypi|pythonhosted|npmjs)\b", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")


def files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in sorted(set(listing.split("\0"))) if name and (ROOT / name).is_file()]


FILES = files()


@pytest.mark.parametrize("pattern", [REGISTRY, UNFINISHED], ids=["package registries", "unfinished work"])
def test_no_file_names(pattern: re.Pattern[str]) -> None:
    found = []
    for path in FILES:
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


def test_every_python_file_says_its_licence() -> None:
    python = [path for path in FILES if path.suffix == ".py"]
    silent = [
        str(path.relative_to(ROOT))
        for path in python
        if path.stat().st_size and "SPDX-License-Identifier: GPL-3.0-or-later" not in path.read_text(encoding="utf-8")
    ]
    assert not silent


def test_sanity_ignores_nothing() -> None:
    entries = [path for path in ROOT.glob("tests/sanity/ignore-*.txt") if path.read_text(encoding="utf-8").strip()]
    assert not entries
