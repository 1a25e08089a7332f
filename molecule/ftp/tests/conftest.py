# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, with an FTP client on the client."""

from __future__ import annotations

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared/tests"
sys.path.insert(0, str(SHARED))
from lab import Lab  # noqa: E402


@pytest.fixture(scope="session")
def lab() -> Lab:
    lab = Lab("ftp")
    lab.put("client", HERE / "ftp_list.py", "/root/ftp_list.py")
    return lab
