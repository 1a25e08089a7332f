# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that everything of this collection on a managed host raises for a user to read."""

from __future__ import annotations

from typing import Any


class LvsError(Exception):
    """Something a user can understand and act upon.

    ``message`` names the object, what was asked, what the kernel or tool said in words, and what to do.
    ``details`` holds the same as data: a module passes it to ``fail_json(msg=error.message, **error.details)``,
    so its keys must not be ``msg``, ``failed`` or ``exception``, and its values must be JSON.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details

    def __str__(self) -> str:
        return self.message
