# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A converge that is killed at a random moment; the next one must finish the work, and the teardown find everything."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

import pytest

from ansible_collections.linuxvirtualserver.lvs.tests.soak.cluster import LAB, ROOT, Soak, expect_shares

VIPS = ("192.168.1.110", "2001:db8:1::110")
METHODS = ("dr", "nat", "tun")
ROUNDS = [f"{number}-{what}" for number, what in enumerate(["controller", "modules", "machine"] * 3, start=1)]


@pytest.fixture(scope="module")
def duration(lab: Soak) -> float:
    """How many seconds a first converge takes here."""
    lab.teardown()
    start = time.monotonic()
    lab.converge()
    seconds = time.monotonic() - start
    lab.teardown()
    print(f"a first converge takes {seconds:.1f} s")
    return seconds


def killed_converge(lab: Soak, method: str, seconds: float) -> bool:
    """Start site.yml and kill it with all its processes after so many seconds; whether it was still running."""
    command = [
        "ansible-playbook",
        *("-i", str(LAB / "hosts.yml"), "-i", str(lab.inventory)),
        *("-e", json.dumps({"lvs_services": lab.by(method)}), str(ROOT / "playbooks/site.yml")),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    running = process.poll() is None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(20)
    return running


@pytest.mark.parametrize("what", ROUNDS)
def test_killed_half_way(lab: Soak, duration: float, choice: random.Random, what: str) -> None:
    """What is killed with ansible-playbook: nothing more, the modules that run on the machines, or a whole machine."""
    bare = choice.random() < 0.5
    before, after = choice.choice(METHODS), choice.choice(METHODS)
    moment = choice.uniform(1, duration)
    victim = choice.choice(lab.managed)
    if not bare:
        lab.converge(services=lab.by(before))
    running = killed_converge(lab, after, moment)
    print(f"from {'bare' if bare else before} to {after}, killed after {moment:.1f} s, running {running}, {victim}")
    if what.endswith("modules"):
        for name in lab.managed:
            lab.run(name, "pkill -9 -fx /usr/bin/python3", check=False)  # reads its program from standard input
    if what.endswith("machine"):
        lab.control("kill", victim)
        lab.control("start", victim)

    lab.converge(services=lab.by(after))
    assert lab.converge(services=lab.by(after)).changes() == {}
    for vip in VIPS:
        expect_shares(lab.ask("tcp", vip, 80, 4), dict.fromkeys(lab.realservers, 2))
    lab.teardown()
    assert lab.leftovers() == {}
