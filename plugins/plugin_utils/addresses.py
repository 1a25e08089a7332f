# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one door to netaddr: importable without it, so that its absence is one clear sentence of the action plugin."""

from __future__ import annotations

try:
    from netaddr import AddrFormatError, IPAddress, IPNetwork

    NETADDR_MISSING = None
except ImportError as error:
    AddrFormatError = IPAddress = IPNetwork = None
    NETADDR_MISSING = f"the plan needs the Python library netaddr on the controller ({error}); install it there."

__all__ = ["NETADDR_MISSING", "AddrFormatError", "IPAddress", "IPNetwork"]
