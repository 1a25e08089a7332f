# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, with the test responder on the director, too, and a client that can leave connections half open."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from lab import HERE as SHARED
from lab import Lab

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    lab = Lab("localnode")
    lab.put("client", SHARED / "traffic.py", "/root/traffic.py")
    lab.put("client", HERE / "half_open.py", "/root/half_open.py")
    yield lab
    lab.run("director", "systemctl stop lvs-responder")
