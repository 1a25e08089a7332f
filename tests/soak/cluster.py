# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenarios' cluster in a lab of the soak's own."""

from __future__ import annotations

import copy
import os
from typing import Any

os.environ["LVS_LAB"] = "soak"  # before lab.py reads it: the soak must never touch the scenarios' machines

from lab import HERE, LAB, ROOT, Lab, expect_shares
from pair import DIRECTORS, ECHO, NAT4, NAT6, VIP4, VIP6, VIPS, Pair, expect_even, until

__all__ = [
    "DIRECTORS", "ECHO", "HERE", "LAB", "NAT4", "NAT6", "ROOT", "VIP4", "VIP6", "VIPS", "Pair", "Soak", "expect_even",
    "expect_shares", "until",
]  # fmt: skip

if LAB.name != "soak":
    raise RuntimeError(f"lab.py was imported before for lab {LAB.name}: run the soak alone")


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
        return {name: text for name, text in said.items() if text.strip()}
