# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, with the test responder on the director, too: what the filter keeps out would answer."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from lab import HERE as SHARED
from lab import Lab

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    lab = Lab("firewall")
    for name in ("client", "router"):
        lab.put(name, SHARED / "traffic.py", "/root/traffic.py")
        lab.put(name, HERE / "look.py", "/root/look.py")
    # Not enabled: the test with the reboot starts it again.
    lab.run("director", "systemctl start lvs-responder")
    yield lab
    lab.run("director", "systemctl stop lvs-responder")
