# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a lab up is killed at a random moment; taking it down must leave nothing of it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import time
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.tests.soak.cluster import ROOT

NAME = "soak-killed"
DIRECTORY = pathlib.Path("/var/lib/lvs-lab") / NAME
MACHINES: dict[str, Any] = {
    "lab_name": NAME,
    "lab_networks": [{"name": "lan", "ipv4": "192.168.1.0/24"}],
    "lab_machines": [
        {
            "name": name,
            "groups": ["lvs_realservers"],
            "distribution": distribution,
            "memory": 192,
            "nics": [{"network": "lan", "addresses": [f"192.168.1.{number}/24"]}],
        }
        for number, (name, distribution) in enumerate([("a", "bookworm"), ("b", "trixie")], start=2)
    ],
}


def command(playbook: str) -> list[str]:
    return ["ansible-playbook", str(ROOT / "playbooks" / playbook), "-e", json.dumps(MACHINES)]


def environment() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def up(seconds: float | None) -> float:
    """Bring the lab up, or kill that after so many seconds; how long it ran."""
    start = time.monotonic()
    with open(ROOT / "build/soak-lab.log", "ab") as log:
        process = subprocess.Popen(
            command("lab_up.yml"),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        code = process.wait(seconds or 180)
        assert code == 0, "lab_up failed; see build/soak-lab.log"
    except subprocess.TimeoutExpired:
        kill(process.pid)
        process.wait(20)
        assert seconds, "lab_up did not end; see build/soak-lab.log"
    return time.monotonic() - start


def kill(number: int) -> None:
    """A process and what it has started, but for the lab's machines.

    Ansible's workers are in sessions of their own, and would go on writing beside lab_down.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if "lvslab_machine" in pathlib.Path(f"/proc/{number}/cmdline").read_text():
            return
        os.kill(number, signal.SIGSTOP)  # it starts no more of them
        for child in children(number):
            kill(child)
        os.kill(number, signal.SIGKILL)


def children(parent: int) -> list[int]:
    numbers = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The name before ")" may hold anything.
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                numbers.append(int(path.parent.name))
    return numbers


def down() -> None:
    done = subprocess.run(
        command("lab_down.yml"), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def found() -> list[str]:
    """Whatever of this machine has the lab's name: processes, namespaces, files, mounts, links."""
    seen = []
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                arguments = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                place = os.readlink(folder / "cwd")
            except OSError:
                continue
            if NAME in arguments or NAME in place:
                seen.append(f"process {folder.name}: {arguments}")
    seen += [
        str(path)
        for folder in ("/run/netns", "/var/lib/lvs-lab", "/dev/shm", "/tmp", "/run")
        for path in pathlib.Path(folder).glob(f"*{NAME}*")
    ]
    seen += [line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines() if NAME in line]
    return seen


@pytest.fixture(scope="module")
def duration() -> float:
    """How many seconds a whole boot takes here; the search must see a lab that runs."""
    down()
    assert found() == []
    seconds = up(None)
    seen = found()
    down()
    assert [line for line in seen if line.startswith("process")], "no process of a running lab was found"
    assert f"/run/netns/lvslab-{NAME}" in seen
    print(f"lab_up takes {seconds:.1f} s")
    return seconds


@pytest.mark.parametrize("number", range(6))
def test_killed_lab_up_leaves_nothing_after_lab_down(duration: float, choice: random.Random, number: int) -> None:
    moment = choice.uniform(0.5, duration)
    up(moment)
    print(f"killed after {moment:.1f} s, then there was: {found()}")
    down()
    assert found() == []


def test_a_killed_lab_comes_up_again() -> None:
    """Without a lab_down in between: what is half there is completed."""
    try:
        up(6)
        up(None)
    finally:
        down()
    assert found() == []


def test_a_machine_that_hangs_or_has_ended_is_mended() -> None:
    """What answers is left alone."""

    def mend() -> tuple[list[str], str]:
        program = ["/usr/bin/python3", str(DIRECTORY / "bin/lvslab.py"), "--lab", str(DIRECTORY), "mend"]
        done = subprocess.run(program, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["started"], done.stderr

    def processes(name: str) -> set[int]:
        listed = subprocess.run(["pgrep", "-f", f"umid={NAME}.{name}"], capture_output=True, text=True, check=True)
        return {int(number) for number in listed.stdout.split()}

    try:
        up(None)
        assert mend() == ([], "")
        before = processes("b")
        for number in processes("a"):
            os.kill(number, signal.SIGSTOP)
        started, told = mend()
        assert started == ["a"]
        assert "ERROR: no answer by ssh, started anew; consoles ended with a: " in told
        for number in processes("a"):
            os.kill(number, signal.SIGKILL)
        assert mend()[0] == ["a"]
        assert processes("b") == before
        assert mend() == ([], "")
    finally:
        down()
    assert found() == []
