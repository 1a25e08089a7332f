# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs of the modules that manage the IPVS table; doc fragment ``ipvs_config`` describes what they share."""

from __future__ import annotations

from typing import Any

FAMILY: dict[str, Any] = {"type": "str", "choices": ["ipv4", "ipv6"]}
PROTOCOL: dict[str, Any] = {"type": "str", "choices": ["tcp", "udp", "sctp"]}

TUNNEL: dict[str, Any] = {
    "type": {"type": "str", "choices": ["ipip", "gue", "gre"]},
    "port": {"type": "int"},
    "checksum": {"type": "str", "choices": ["none", "csum", "remcsum", "both"]},
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

SERVICE_NAME: dict[str, Any] = {
    "protocol": PROTOCOL,
    "address": {"type": "str"},
    "port": {"type": "int"},
    "fwmark": {"type": "str"},
    "family": FAMILY,
}

SERVICE_FIELDS: dict[str, Any] = {
    "scheduler": {"type": "str"},
    "scheduler_flags": {"type": "list", "elements": "str"},
    "persistence": {"type": "dict", "options": PERSISTENCE},
    "one_packet": {"type": "bool"},
}

SERVICE: dict[str, Any] = {
    **SERVICE_NAME,
    **SERVICE_FIELDS,
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

# Module ipvs_drain, but for `restrict`.
DRAIN: dict[str, Any] = {
    "realservers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"address": {"type": "str", "required": True}, "port": {"type": "int"}},
    },
    "state": {"type": "str", "choices": ["drained", "restored"], "default": "drained"},
    "timeout": {"type": "int", "default": 60},
    "slice": {"type": "dict", "options": {"waited": {"type": "int", "default": 0}, "at_most": {"type": "int"}}},
    "wait_for": {
        "type": "list",
        "elements": "str",
        "choices": ["active", "inactive", "persistent"],
        "default": ["active"],
    },
    "then": {"type": "str", "choices": ["keep", "delete"], "default": "keep"},
    "on_timeout": {"type": "str", "choices": ["fail", "keep", "delete"], "default": "fail"},
    "ramp": {
        "type": "dict",
        "options": {
            "steps": {"type": "int", "default": 5},
            "interval": {"type": "int", "default": 30},
            "at_most": {"type": "int"},
        },
    },
    "weight": {"type": "int"},
    "allow_empty": {"type": "bool", "default": False},
    "save": {"type": "path"},
}

DAEMON: dict[str, Any] = {
    "role": {"type": "str", "required": True, "choices": ["master", "backup"]},
    "interface": {"type": "str"},
    "syncid": {"type": "int"},
    "group": {"type": "str"},
    "port": {"type": "int"},
    "ttl": {"type": "int"},
    "maxlen": {"type": "int"},
}
