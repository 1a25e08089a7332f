# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random tables, one after another, in the director's real kernel, with ipvsadm as the judge."""

from __future__ import annotations

import pathlib
import random

import pytest

from ansible_collections.linuxvirtualserver.lvs.tests.soak.cluster import Soak

PROGRAM = pathlib.Path(__file__).parent / "random_tables.py"
TRANSITIONS = 60


@pytest.mark.parametrize("part", range(6))
def test_any_table_leads_to_any_other(lab: Soak, choice: random.Random, part: int) -> None:
    if part == 0:
        lab.converge()  # brings ipvsadm, and the zipapp with the code under test
        lab.put("director", PROGRAM, "/root/random_tables.py")
    seed = choice.randrange(10**6)
    print(lab.run("director", f"python3 /root/random_tables.py /usr/local/lib/lvs/lvs.pyz {seed} {TRANSITIONS}"))
