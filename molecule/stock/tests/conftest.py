# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of this scenario's own."""

from __future__ import annotations

import pytest
from lab import HERE as SHARED
from lab import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    lab = Lab("stock")
    lab.put("client", SHARED / "traffic.py", "/root/traffic.py")
    return lab
