# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How IPVS behaves: its settings by name and range, and the profiles against floods (HOWTO 4.28, 21, 27)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .mistakes import Mistakes

PREFIX = "net.ipv4.vs."
MAX_INT = 2**31 - 1
BOOLEAN = (0, 1)
# Documentation/networking/ipvs-sysctl.rst and the checks in ip_vs_ctl.c: lowest and highest value.
SETTINGS: Mapping[str, tuple[int, int]] = {
    "am_droprate": (1, MAX_INT),
    "amemthresh": (0, MAX_INT),
    "backup_only": BOOLEAN,
    "cache_bypass": BOOLEAN,
    "conn_lfactor": (-8, 8),
    "conn_max": (0, MAX_INT),
    "conn_reuse_mode": (0, 3),
    "conntrack": BOOLEAN,
    "debug_level": (0, 12),
    "drop_entry": (0, 3),
    "drop_packet": (0, 3),
    "est_nice": (-20, 19),
    "expire_nodest_conn": BOOLEAN,
    "expire_quiescent_template": BOOLEAN,
    "ignore_tunneled": BOOLEAN,
    "nat_icmp_send": BOOLEAN,
    "pmtu_disc": BOOLEAN,
    "run_estimation": BOOLEAN,
    "schedule_icmp": BOOLEAN,
    "secure_tcp": (0, 3),
    "sloppy_sctp": BOOLEAN,
    "sloppy_tcp": BOOLEAN,
    "snat_reroute": BOOLEAN,
    "svc_lfactor": (-8, 8),
    "sync_persist_mode": BOOLEAN,
    "sync_ports": (1, 64),
    "sync_qlen_max": (0, MAX_INT),
    "sync_refresh_period": (0, MAX_INT),
    "sync_retries": (0, 3),
    "sync_sock_size": (0, MAX_INT),
    "sync_version": BOOLEAN,
}
# Not a number each: the connection is synchronised at the first of so many packets; which processors count.
TEXTS = {"sync_threshold": re.compile(r"(\d+)\s+(\d+)"), "est_cpulist": re.compile(r"[\d,:/-]*")}

DOS_PROFILES = ("off", "auto", "on")
# Kconfig: 4,096 buckets; up to 2^27 where pointers have 64 bits.
CONN_TAB_BITS = (8, 27)


def check_settings(where: str, sysctls: Mapping[Any, Any], mistakes: Mistakes) -> None:
    """Names and ranges of the settings of IPVS among a host's sysctls."""
    for key, value in sysctls.items():
        if not isinstance(key, str) or not key.startswith(PREFIX):
            continue
        name = key[len(PREFIX) :]
        spot = f"{where}: {key}"
        if name in SETTINGS:
            low, high = SETTINGS[name]
            text = int(value) if isinstance(value, bool) else value
            if isinstance(text, str) and re.fullmatch(r"-?\d+", text.strip()):
                text = int(text)
            mistakes.integer(spot, text, low, high, low)
        elif name in TEXTS:
            found = TEXTS[name].fullmatch(str(value).strip())
            if not found or (name == "sync_threshold" and not _threshold(int(found[1]), int(found[2]))):
                mistakes.append(
                    f"{spot}: {value!r} is wrong; "
                    + (
                        "write two numbers, the first below the second, as in '3 50' (HOWTO 31.6)."
                        if name == "sync_threshold"
                        else "write a list of processors, as in 0-3,6."
                    )
                )
        else:
            known = ", ".join(sorted((*SETTINGS, *TEXTS)))
            mistakes.append(f"{spot} is no setting of IPVS; known are {known}.")


def _threshold(first: int, period: int) -> bool:
    return first < period or period == 0


def reuse_mode(kernel: str, conntrack: bool) -> int:
    """What becomes of a finished connection's entry when the client uses its port again.

    2 schedules it anew also in FIN_WAIT, the last state that a director sees with dr and tun: its realserver may be
    drained, or be reached by another method by now. Kernels before 5.9 drop the first packet of such a connection
    where conntrack follows it, which costs the client a second; 0 leaves it with its realserver.
    """
    found = re.match(r"(\d+)\.(\d+)", kernel)
    old = bool(found) and (int(found[1]), int(found[2])) < (5, 9) if found else False
    return 0 if conntrack and old else 2


def dos_settings(profile: str, min_free_pages: int) -> dict[str, int]:
    """The settings of a profile: `auto` begins when memory runs low, `on` does not wait for that (HOWTO 27.24)."""
    if profile == "off":
        return {}
    settings = {
        # Half-open connections are dropped by chance, first come the oldest.
        "drop_entry": 1 if profile == "auto" else 3,
        # Always would mean one of am_droprate packets, whatever the load; so it stays automatic.
        "drop_packet": 1,
        "secure_tcp": 1 if profile == "auto" else 3,
    }
    if min_free_pages:
        # The kernel compares with free pages alone, without the page cache; and a healthy machine's cache grows until
        # hardly more than these are free. A higher threshold would drop packets there for ever.
        settings["amemthresh"] = min_free_pages
    return settings
