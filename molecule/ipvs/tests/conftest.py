# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, one module call at a time, and programs that run on the director with the installed zipapp.

`lab` is the lab of the other scenarios. `module(host, name, check=False, **arguments)` runs one module of the
collection with become and returns its results, also of a failure. `program(name, *arguments)` runs a program on
the director and returns what it prints; it fails the test when the program fails. `whole_package` is the code of all
IPVS modules there.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pathlib
import subprocess
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from lab import LAB, ROOT, Lab

HERE = pathlib.Path(__file__).resolve().parent

ZIPAPP = "/usr/local/lib/lvs/lvs.pyz"


@pytest.fixture(scope="session")
def lab() -> Lab:
    lab = Lab("ipvs")
    lab.put("client", ROOT / "molecule/shared/tests/traffic.py", "/root/traffic.py")
    return lab


@pytest.fixture(scope="session")
def module() -> Callable[..., dict[str, Any]]:
    def call(host: str, name: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
        command = [
            "ansible",
            "-i",
            str(LAB / "hosts.yml"),
            host,
            "--become",
            "--one-line",
            *(["--check"] if check else []),
        ]
        command += ["-m", f"linuxvirtualserver.lvs.{name}", "-a", json.dumps(arguments)]
        # molecule asks for colours, which would stand before the host's name.
        plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
        done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=False, timeout=180)
        lines = [line for line in done.stdout.splitlines() if line.startswith(f"{host} | ")]
        if not lines:
            raise AssertionError(done.stdout + done.stderr)
        result: dict[str, Any] = json.loads(lines[-1].partition(" => ")[2])
        return result

    return call


@pytest.fixture(scope="session")
def program(lab: Lab) -> Callable[..., str]:
    def run(name: str, *arguments: str, package: str = ZIPAPP) -> str:
        source = HERE / name if (HERE / name).exists() else ROOT / "tests/soak" / name
        lab.put("director", source, f"/root/{name}")
        return lab.run("director", f"timeout 400 python3 /root/{name} {package} {' '.join(arguments)} 2>&1")

    return run


@pytest.fixture(scope="session")
def whole_package(lab: Lab) -> str:
    """Package `lvs` on the director, with all IPVS modules; the installed one has what the boot needs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lvs/__init__.py", "")
        for path in (ROOT / "plugins/module_utils").glob("_*.py"):
            if path.name.startswith(("_ipvs_", "_genl", "_errors", "_files", "_kernel_modules", "_kernel_advice")):
                archive.write(path, f"lvs/{path.name}")
    target = "/root/lvs.zip"
    lab.run("director", f": > {target}")
    text = base64.b64encode(content.getvalue()).decode()
    for start in range(0, len(text), 60000):
        lab.run("director", f"printf %s {text[start : start + 60000]} | base64 -d >> {target}")
    return target
