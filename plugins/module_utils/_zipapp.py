# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own code as one file that python3 can run on a host without Ansible: the same bytes for the same sources."""

from __future__ import annotations

import ast
import io
import zipfile
from typing import Callable

PACKAGE = "lvs"
# A zip file holds times; these are its earliest, so that the bytes tell of the content alone.
_TIME = (1980, 1, 1, 0, 0, 0)
_MAIN = f"""\
import sys

from {PACKAGE}._boot import main

sys.exit(main(sys.argv[1:]))
"""


def needed(entry: str, read: Callable[[str], bytes]) -> dict[str, bytes]:
    """The sources of a module and of all that it imports relatively, also inside functions, by name."""
    found: dict[str, bytes] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = read(name)
        for node in ast.walk(ast.parse(found[name])):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                waiting += [node.module] if node.module else [alias.name for alias in node.names]
    return found


def build(entry: str, read: Callable[[str], bytes], interpreter: str) -> bytes:
    """The zip application. ``read`` gives the source of a module of this package by its name."""
    files = {f"{PACKAGE}/{name}.py": source for name, source in needed(entry, read).items()}
    files[f"{PACKAGE}/__init__.py"] = b""
    files["__main__.py"] = _MAIN.encode()
    content = io.BytesIO()
    # Stored, not packed: what packing makes of it depends on the version of zlib.
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(path, _TIME)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, files[path])
    return f"#!{interpreter}\n".encode() + content.getvalue()
