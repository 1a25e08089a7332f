# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak's lab: the machines of the scenarios, in a lab of their own, with a snapshot of the bare machines.

LVS_SOAK_SEED repeats a run's random choices; every test prints the seed it drew from.
"""

from __future__ import annotations

import copy
import os
import random
from typing import Any

import pytest

os.environ.setdefault("LVS_LAB", "soak")  # before lab.py reads it

from lab import HERE, Lab

SEED = os.environ.get("LVS_SOAK_SEED") or str(random.randrange(10**6))


class Soak(Lab):
    """The lab under the inventory of scenario dr, whose two realservers can be reached by every method."""

    def by(self, method: str) -> list[dict[str, Any]]:
        """The services with another forwarding method."""
        services = copy.deepcopy(self.services)
        for service in services:
            service["forwarding"] = method
        return services

    @property
    def managed(self) -> list[str]:
        return ["director", *self.realservers]

    def teardown(self) -> None:
        play = self.play("teardown.yml")
        assert play.code == 0, play.output

    def leftovers(self) -> dict[str, str]:
        """What differs from the bare machine, for each machine where something does."""
        said = {name: self.run(name, "python3 /root/snapshot.py compare", check=False) for name in self.managed}
        return {name: text for name, text in said.items() if text}


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
