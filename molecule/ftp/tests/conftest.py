# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, with an FTP client that has several addresses."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from lab import Lab

HERE = pathlib.Path(__file__).resolve().parent

CLIENTS = [f"192.168.1.{number}" for number in (200, 201, 202, 203)]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    lab = Lab("ftp")
    lab.put("client", HERE / "ftp_list.py", "/root/ftp_list.py")
    for address in CLIENTS:
        # With the network's prefix, as realservers behind the router have to find the way back.
        lab.run("client", f"ip addr replace {address}/24 dev eth1")
    yield lab
    for address in CLIENTS:
        lab.run("client", f"ip addr del {address}/24 dev eth1")
