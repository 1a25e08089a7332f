# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this kernel's IPVS can do, and what this process may do with it."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from ._kernel_advice import KernelJudge, text_of
from ._kernel_modules import MISSING, KernelModules

CAP_NET_ADMIN = 12
# What the map of a process in the initial user namespace says: every id is itself.
_WHOLE_MAP = ["0", "0", "4294967295"]

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos")
ENGINES = ("sip",)
# The release of Linux that brought it.
TUNNELS = {"ipip": (2, 2), "gue": (5, 2), "gre": (5, 3)}
TUNNEL_CHECKSUM = (5, 3)
DESTINATION_FAMILY = (3, 18)
STATS64 = (4, 1)


class Seen(NamedTuple):
    """What a look at the table showed."""

    allowed: bool | None = None  # whether the kernel let us look; None where there was nothing to look at
    schedulers: frozenset[str] = frozenset()  # those that are bound to a service
    engines: frozenset[str] = frozenset()
    of_service: frozenset[str] = frozenset()  # the names of what the kernel sent of a service
    of_realserver: frozenset[str] = frozenset()


def net_admin(root: str = "/") -> bool:
    """Whether this process may change the network and the IPVS table.

    The kernel asks for CAP_NET_ADMIN in the initial user namespace before it lets anyone at the IPVS table, so the
    capability inside a user namespace is not enough.
    """
    match = re.search(r"^CapEff:\s*([0-9a-fA-F]+)", text_of(root, "proc/self/status"), re.MULTILINE)
    return bool(match and int(match.group(1), 16) >> CAP_NET_ADMIN & 1) and not in_user_namespace(root)


def in_user_namespace(root: str = "/") -> bool:
    """Whether user ids are translated here, as in an unprivileged container."""
    table = text_of(root, "proc/self/uid_map").split()
    return bool(table) and table != _WHOLE_MAP


def network_namespace(root: str = "/") -> dict[str, Any]:
    """The number of the network namespace that this process is in, and the name that `ip netns` has for it."""
    result: dict[str, Any] = {"id": None, "name": None}
    try:
        own = os.stat(os.path.join(root, "proc/self/ns/net"))
    except OSError:
        return result
    result["id"] = own.st_ino
    folder = os.path.join(root, "run/netns")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        try:
            if os.path.samestat(own, os.stat(os.path.join(folder, name))):
                result["name"] = name
        except OSError:
            continue
    return result


def release_at_least(release: str, wanted: tuple[int, int]) -> bool:
    """Whether a kernel release such as ``5.10.0-32-amd64`` is ``wanted`` or later."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return match is not None and (int(match.group(1)), int(match.group(2))) >= wanted


def capabilities(modules: KernelModules, root: str, seen: Seen) -> dict[str, Any]:
    """All of it: what the kernel showed, and by its release what it had no occasion to show."""
    release = modules.release
    judge = KernelJudge(root, modules)

    def has(sent: frozenset[str], name: str, since: tuple[int, int]) -> bool:
        return name in sent if sent else release_at_least(release, since)

    version = re.search(r"version (\S+) \(size=(\d+)\)", text_of(root, "proc/net/ip_vs"))
    may = net_admin(root) if seen.allowed is None else seen.allowed
    tunnels = [name for name, since in TUNNELS.items() if release_at_least(release, since)]
    if "tunnel_type" in seen.of_realserver and "gue" not in tunnels:
        tunnels.append("gue")  # a distribution's kernel that is newer than its number
    return {
        "kernel": release,
        "version": version.group(1) if version else None,
        "connection_buckets": int(version.group(2)) if version else None,
        "schedulers": _states(judge, modules, SCHEDULERS, engines=False),
        "engines": _states(judge, modules, ENGINES, engines=True),
        "bound_schedulers": sorted(seen.schedulers - {"none"}),
        "bound_engines": sorted(seen.engines - {""}),
        "tunnels": tunnels,
        "tunnel_checksum": has(seen.of_realserver, "tunnel_flags", TUNNEL_CHECKSUM),
        "destination_family": has(seen.of_realserver, "family", DESTINATION_FAMILY),
        "stats64": has(seen.of_service, "stats64", STATS64),
        "may_read": may,
        "may_write": may,  # the kernel asks for the same right
        "net_admin": net_admin(root),
        "user_namespace": in_user_namespace(root),
        "network_namespace": network_namespace(root),
    }


def _states(judge: KernelJudge, modules: KernelModules, known: tuple[str, ...], engines: bool) -> dict[str, str]:
    """The state of each scheduler, or persistence engine, that the kernel has: known ones and others it comes with."""
    prefix = "ip_vs_pe_" if engines else "ip_vs_"
    names = set(known)
    for module in modules.names(prefix):
        if engines or not module.startswith(("ip_vs_pe_", "ip_vs_ftp")):
            names.add(module[len(prefix) :])
    states = {name: judge.state(prefix + name) for name in sorted(names)}
    return {name: state for name, state in states.items() if state != MISSING}
