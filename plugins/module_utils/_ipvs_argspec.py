# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs of ``config`` and ``restrict``; their documentation is doc fragment ``ipvs_config``."""

from __future__ import annotations

from typing import Any

FAMILY: dict[str, Any] = {"type": "str", "choices": ["ipv4", "ipv6"]}
PROTOCOL: dict[str, Any] = {"type": "str", "choices": ["tcp", "udp", "sctp"]}

TUNNEL: dict[str, Any] = {
    "type": {"type": "str", "choices": ["ipip", "gue", "gre"]},
    "port": {"type": "int"},
    "checksum": {"type": "str", "choices": ["none", "csum", "remcsum"]},
}

REALSERVER: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int"},
    "forwarding": {"type": "str", "choices": ["nat", "dr", "tun", "local"]},
    "weight": {"type": "str"},
    "upper_threshold": {"type": "int"},
    "lower_threshold": {"type": "int"},
    "tunnel": {"type": "dict", "options": TUNNEL},
}

PERSISTENCE: dict[str, Any] = {
    "timeout": {"type": "int"},
    "netmask": {"type": "str"},
    "engine": {"type": "str"},
}

SERVICE: dict[str, Any] = {
    "protocol": PROTOCOL,
    "address": {"type": "str"},
    "port": {"type": "int"},
    "fwmark": {"type": "str"},
    "family": FAMILY,
    "scheduler": {"type": "str"},
    "scheduler_flags": {"type": "list", "elements": "str"},
    "persistence": {"type": "dict", "options": PERSISTENCE},
    "one_packet": {"type": "bool"},
    "realservers": {"type": "list", "elements": "dict", "options": REALSERVER},
    "pool": {"type": "str"},
}

CONFIG: dict[str, Any] = {"type": "list", "elements": "dict", "options": SERVICE}

RESTRICT: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "options": {
        "address": {"type": "str"},
        "port": {"type": "str"},
        "protocol": PROTOCOL,
        "fwmark": {"type": "str"},
        "family": FAMILY,
    },
}

GUARD: dict[str, Any] = {
    "type": "dict",
    "options": {"weight_percent": {"type": "int"}, "deleted_services": {"type": "int"}},
}
