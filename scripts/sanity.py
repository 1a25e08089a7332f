#!/usr/bin/env python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs `ansible-test sanity` on the copy that copy_tree.py made, without docker; arguments are passed on.

ansible-test makes a virtual environment per test. It drops the environment variables that configure pip, and it wants
its bootstrap script for pip from a server of its own. So it is given a home directory in .cache, with pip's
configuration of this machine written out, and a bootstrap script that installs the same version of pip from a wheel.
"""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import ansible_test

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build/ansible_collections/linuxvirtualserver/lvs"
HOME = ROOT / ".cache/ansible-test"
WHEELS = HOME / "wheels"

BOOTSTRAP = """\
# Stands in for the script that ansible-test would download: installs pip from a wheel on this machine.
import runpy
import sys

sys.path.insert(0, {wheel!r})
sys.argv[1:] = ["install", "--no-index", "--find-links", {wheels!r}, "pip=={version}"]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def write_pip_configuration() -> None:
    """The settings of pip in force here, whether they came from a file or from the environment."""
    configuration = configparser.RawConfigParser()
    # What comes from the environment is listed first and wins.
    for section, option, value in re.findall(r"^(\S+)\.([a-z-]+)=(.*)$", pip("config", "list"), re.MULTILINE):
        section = "global" if section == ":env:" else section
        if not configuration.has_section(section):
            configuration.add_section(section)
        if not configuration.has_option(section, option):
            configuration.set(section, option, ast.literal_eval(value))
    path = HOME / ".config/pip/pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        configuration.write(file)


def write_bootstrap() -> None:
    """What ansible-test looks for before it downloads anything."""
    source = Path(ansible_test.__file__).parent / "_internal/python_requirements.py"
    found = re.search(r"pip='([0-9.]+)'", source.read_text(encoding="utf-8"))
    if not found:
        raise SystemExit(f"{source} does not say which version of pip ansible-test wants")
    version = found.group(1)
    wheel = WHEELS / f"pip-{version}-py3-none-any.whl"
    if not wheel.exists():
        pip("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(WHEELS), f"pip=={version}")
    script = HOME / f".ansible/test/cache/get_pip_{version.replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(BOOTSTRAP.format(wheel=str(wheel), wheels=str(WHEELS), version=version), encoding="utf-8")


def main() -> int:
    write_pip_configuration()
    write_bootstrap()
    environment = {
        "HOME": str(HOME),
        # Real interpreters only: the shims of version managers do not work in the environment ansible-test makes.
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
    }
    command = ["ansible-test", "sanity", "--junit", "--color", "no", *sys.argv[1:]]
    return subprocess.run(command, cwd=COPY, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
