# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors from playbooks to plugin_utils, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import preflight


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "proof_mistakes": preflight.proof_mistakes,
            "wanted_schedulers": preflight.wanted_schedulers,
        }
