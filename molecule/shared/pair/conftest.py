# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pair of the scenario that runs."""

from __future__ import annotations

import os

import pytest
from lab import HERE as SHARED
from pair import Pair


def pytest_configure(config: pytest.Config) -> None:
    # The shared suite's, some of whose functions are used here.
    config.addinivalue_line("markers", "scenario(*names): the scenarios this test is about")


@pytest.fixture(scope="session")
def lab() -> Pair:
    pair = Pair(os.environ.get("MOLECULE_SCENARIO_NAME", "keepalived"))
    pair.put("client", SHARED / "traffic.py", "/root/traffic.py")
    return pair
