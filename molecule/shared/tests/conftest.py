# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One suite for every scenario: tests marked for other scenarios are left out, and the lab is made ready once."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from lab import Lab

SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME", "dr")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(*names): the scenarios this test is about; without it, all")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The machines and the kernels the scenario runs on."""
    status = json.loads(Lab(SCENARIO).control("status"))
    machines = (f"{item['name']} ({item['distribution']}, kernel {item['kernel']})" for item in status["machines"])
    return [f"scenario {SCENARIO} on {', '.join(machines)}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def wanted(item: pytest.Item) -> bool:
        marker = item.get_closest_marker("scenario")
        return marker is None or SCENARIO in marker.args

    left_out = [item for item in items if not wanted(item)]
    items[:] = [item for item in items if wanted(item)]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def lab() -> Lab:
    lab = Lab(SCENARIO)
    lab.put("client", pathlib.Path(__file__).parent / "traffic.py", "/root/traffic.py")
    return lab
