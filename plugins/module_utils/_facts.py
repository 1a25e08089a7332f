# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan and the doctor have to know of one host: kernel, rights, programs, network and packet filter."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable, Iterable

from . import _firewall_foreign, _ipvs_saved
from ._errors import LvsError
from ._firewall_host import FirewallHost
from ._ipvs_capabilities import in_user_namespace, net_admin
from ._kernel_advice import KernelJudge, container, distribution
from ._kernel_modules import MISSING
from ._ledger import DIRECTORY, Ledger
from ._network_model import normal_value

# What a director is set up with, beside the ledger.
DIRECTOR_FILES = ("/etc/lvs/ipvs.json", "/var/lib/lvs/heartbeat", "/var/lib/lvs/keepalived", "/var/lib/lvs/ldirectord")

ReadIp = Callable[..., "list[dict[str, Any]]"]


def gather(read_ip: ReadIp, modules: Iterable[str], root: str = "/") -> tuple[dict[str, Any], list[str]]:
    """The facts, and what could not be found out. ``read_ip`` gives the JSON of `ip` with these words."""
    missed: list[str] = []
    judge = KernelJudge(root)
    facts: dict[str, Any] = {
        "kernel": os.uname().release,
        "distribution": {key: distribution(root)[key] for key in ("id", "version")},
        "machine": os.uname().machine,
        "memory": memory(root),
        "min_free_pages": min_free_pages(root),
        "root": os.geteuid() == 0,
        "net_admin": net_admin(root),
        "user_namespace": in_user_namespace(root),
        "container": container(root),
        "director_files": [path for path in DIRECTOR_FILES if _sets_up(os.path.join(root, path.lstrip("/")))],
        "systemd": os.path.isdir(os.path.join(root, "run/systemd/system")),
        "read_only_sysctls": read_only_sysctls(root),
        "iproute2": True,
        "interfaces": [],
        "routes": [],
    }
    facts["modules"] = {name: judge.state(name) for name in ["ip_vs", *sorted(set(modules) - {"ip_vs"})]}
    facts["advice"] = {name: judge.advice(name) for name, state in facts["modules"].items() if state == MISSING}
    try:
        facts["interfaces"] = [interface(link) for link in read_ip("-d", "addr", "show")]
        for family, option in (("ipv4", "-4"), ("ipv6", "-6")):
            found = (route(family, entry) for entry in read_ip(option, "route", "show"))
            facts["routes"] += [entry for entry in found if entry is not None]
    except LvsError as error:
        facts["iproute2"] = False
        missed.append(f"Interfaces and routes are not known: {error}")
    host = FirewallHost(root, judge=judge)
    try:
        with Ledger(os.path.join(root, DIRECTORY.lstrip("/")), write=False) as ledger:
            ours = set(ledger.entries)
    except LvsError as error:
        ours = set()
        missed.append(f"Which policy rules are ours is not known: {error}")
    facts["firewall"] = _firewall_foreign.gather(host, read_ip, ours, missed)
    return facts, missed


def memory(root: str) -> int:
    """Bytes of main memory; 0 if the kernel does not say."""
    path = os.path.join(root, "proc/meminfo")
    with contextlib.suppress(OSError), open(path, encoding="ascii") as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")), 0)
    return 0


def min_free_pages(root: str) -> int:
    """Free pages that the kernel keeps for those who cannot wait (vm.min_free_kbytes); 0 if it does not say."""
    path = os.path.join(root, "proc/sys/vm/min_free_kbytes")
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as kibibytes:
        return int(kibibytes.read()) * 1024 // os.sysconf("SC_PAGE_SIZE")
    return 0


def read_only_sysctls(root: str = "/") -> dict[str, str]:
    """The network's settings by file below /proc/sys, where that is mounted read-only; else none."""
    base = os.path.join(root, "proc/sys")
    found: dict[str, str] = {}
    try:
        if not os.statvfs(os.path.join(base, "net")).f_flag & os.ST_RDONLY:
            return found
    except OSError:
        return found
    for folder, _folders, names in os.walk(os.path.join(base, "net")):
        for name in names:
            path = os.path.join(folder, name)
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    found[os.path.relpath(path, base)] = normal_value(file.read())
            except OSError:
                continue  # may only be written, or belongs to the first namespace
    return found


def _sets_up(path: str) -> bool:
    """Whether it is there, and no saved table with nothing but timeouts."""
    if os.path.isdir(path):
        return True
    try:
        saved = _ipvs_saved.load(path)
    except LvsError:
        return True
    return saved is not None and bool(saved.config or saved.settings.get("sync"))


def interface(link: dict[str, Any]) -> dict[str, Any]:
    """One interface of `ip -j -d addr`."""
    return {
        "name": link["ifname"],
        "mac": link.get("address", ""),
        "mtu": link.get("mtu", 0),
        "up": "UP" in link.get("flags", ()),
        "kind": (link.get("linkinfo") or {}).get("info_kind") or link.get("link_type", ""),
        "addresses": [
            {
                "address": entry["local"],
                "prefix": entry["prefixlen"],
                "family": "ipv6" if entry["family"] == "inet6" else "ipv4",
                "scope": entry.get("scope", ""),
                "deprecated": entry.get("preferred_life_time") == 0,
            }
            for entry in link.get("addr_info", ())
            # One of IPv6 that is changed every day (RFC 8981) is nothing to build on.
            if "local" in entry and not entry.get("temporary")
        ],
    }


def route(family: str, entry: dict[str, Any]) -> dict[str, Any] | None:
    """One route of `ip -j route`; of several next hops the first. None for one that leads nowhere."""
    if entry.get("type", "unicast") != "unicast":
        return None
    hop = (entry.get("nexthops") or [entry])[0]
    return {
        "family": family,
        "destination": entry["dst"],
        "gateway": hop.get("gateway") or (hop.get("via") or {}).get("host"),
        "device": hop.get("dev"),
        "protocol": entry.get("protocol", "boot"),
        "scope": entry.get("scope", "global"),
        "metric": entry.get("metric", 0),
        "source": entry.get("prefsrc"),
        "onlink": "onlink" in (*entry.get("flags", ()), *hop.get("flags", ())),
        "tos": entry.get("tos"),
    }
