# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be promised of every module: check mode, diff mode, platform, idempotence."""

from __future__ import annotations


class ModuleDocFragment:
    """``linuxvirtualserver.lvs.attributes`` describes the attributes, the modules state their support.

    A module that changes a host extends ``linuxvirtualserver.lvs.attributes`` and states ``support`` for
    ``check_mode``, ``diff_mode`` and ``idempotent`` itself. A module that only reads extends
    ``linuxvirtualserver.lvs.attributes`` and ``linuxvirtualserver.lvs.attributes.info_module`` and states nothing.
    """

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changed status prediction without modifying the target.
  diff_mode:
    description: Will return details on what has changed (or would change in C(check_mode)), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that nothing else changes the system between the two runs.
  platform:
    description: Target OS and families that can be operated against.
    platforms: linux
    support: full
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This action only reads, so a run in check mode and a real run are the same.
  diff_mode:
    support: N/A
    details:
      - This action only reads, so there is no difference to show.
  idempotent:
    support: full
    details:
      - This action only reads, so it never indicates a change.
"""

    FACTS_MODULE = r"""
options: {}
attributes:
  facts:
    description: Action returns an C(ansible_facts) dictionary that will update existing host facts.
    support: full
"""
