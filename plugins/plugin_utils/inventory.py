# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Inventory:
    """What the plan is made from: group members, all groups, host variables and gathered facts by host."""

    directors: Sequence[str]
    realservers: Sequence[str]
    clients: Sequence[str]
    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Mapping[str, Any]]
    # Routers between realservers and clients that this inventory manages, too.
    routers: Sequence[str] = ()
