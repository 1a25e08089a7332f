# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another preferred director is refused by what heartbeat has read, not by what an interrupted run has written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
ANSIBLE_PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
OLD, NEW = "# ours\nlvs1 lvs-addresses::web lvs-sync::web\n", "# ours\nlvs2 lvs-addresses::web lvs-sync::web\n"


@pytest.mark.parametrize(
    ("active", "read", "written", "refused"),
    [
        ("active", OLD, NEW, True),  # a run ended after it had written it
        ("active", None, OLD, True),  # by a heartbeat whose unit is not ours yet
        ("active", NEW, NEW, False),
        ("active", None, None, False),
        ("inactive", OLD, OLD, False),
    ],
)
def test_another_director_is_to_be_preferred(
    tmp_path: Path, active: str, read: str | None, written: str | None, refused: bool
) -> None:
    for name, text in (("read", read), ("haresources", written)):
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho {active}\n", encoding="utf-8")
    systemctl.chmod(0o755)
    role = {"name": "linuxvirtualserver.lvs.heartbeat", "tasks_from": "preferred"}
    tasks = [{"ansible.builtin.include_role": role}]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    played = {
        "ansible_python_interpreter": sys.executable,
        "__heartbeat_folder": str(tmp_path),
        "__heartbeat_stamp": str(tmp_path / "read"),
        "__heartbeat_order": ["lvs2 lvs-addresses::web"],
    }
    done = subprocess.run(
        [ANSIBLE_PLAYBOOK, "-i", "localhost,", "-c", "local", "-e", json.dumps(played), tmp_path / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    said = " ".join(done.stdout.split())
    assert (done.returncode != 0, "web: another director is to be preferred" in said) == (refused, refused), said
