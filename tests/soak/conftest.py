# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak's lab: the machines of the scenarios, in a lab of their own, with a snapshot of the bare machines.

LVS_SOAK_SEED repeats a run's random choices; every test prints the seed it drew from.
"""

from __future__ import annotations

import os
import random

import pytest

from ansible_collections.linuxvirtualserver.lvs.tests.soak.cluster import HERE, Soak

SEED = os.environ.get("LVS_SOAK_SEED") or str(random.randrange(10**6))


@pytest.fixture(scope="session")
def lab() -> Soak:
    """The lab with the programs of the tests on its machines, bare and remembered as such."""
    soak = Soak("dr")
    soak.put("client", HERE / "traffic.py", "/root/traffic.py")
    soak.teardown()
    for name in soak.managed:
        soak.put(name, HERE.parent / "snapshot.py", "/root/snapshot.py")
        soak.run(name, "test -e /var/tmp/snapshot.json || python3 /root/snapshot.py take; sync")
        print(f"{name}: kernel {soak.run(name, 'uname -r').strip()}")
    return soak


@pytest.fixture
def choice(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test alone, the same again for the same seed."""
    print(f"LVS_SOAK_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")
