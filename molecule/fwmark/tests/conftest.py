# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, with a client that has several addresses and the routes that an administrator sets for routed VIPs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import HERE as SHARED
from lab import Lab

CLIENTS = range(200, 212)
ROUTES = ("192.168.3.0/29 via 192.168.1.1", "2001:db8:9::/125 via 2001:db8:1::1")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    lab = Lab("fwmark")
    lab.put("client", SHARED / "traffic.py", "/root/traffic.py")
    addresses = [f"192.168.1.{number}/32" for number in CLIENTS] + [f"2001:db8:1::{number}/128" for number in CLIENTS]
    for address in addresses:
        lab.run("client", f"ip addr replace {address} dev eth1 nodad")
    for route in ROUTES:
        lab.run("client", f"ip route replace {route}")
    for name in ("rs1", "rs2"):
        # From the first policy rule on the kernel tells the tables local and main apart, for good.
        lab.run(name, "ip rule add from 192.0.2.1 table 99; ip rule del from 192.0.2.1 table 99")
    yield lab
    for address in addresses:
        lab.run("client", f"ip addr del {address} dev eth1")
    for route in ROUTES:
        lab.run("client", f"ip route del {route}")
