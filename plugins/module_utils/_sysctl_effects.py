# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings that move other settings when they are written, and which module or device brings a setting."""

from __future__ import annotations

from typing import Iterable, Mapping

# net.ipv4.ip_forward and net.ipv4.conf.all.forwarding are one variable under two names.
FORWARD_IPV4 = ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding")
FORWARD_IPV6 = ("net.ipv6.conf.all.forwarding",)

# The module that brings the settings below a prefix.
BROUGHT_BY = {"net.ipv4.vs.": "ip_vs", "net.netfilter.nf_conntrack": "nf_conntrack", "net.bridge.": "br_netfilter"}
# The device that a tunnel module makes by itself in every network namespace, and its kind.
FALLBACK_DEVICES = {"tunl0": "ipip", "ip6tnl0": "ip6tnl", "gre0": "gre", "sit0": "sit"}
# Which kernel module makes devices of a kind.
DEVICE_MODULE = {"ipip": "ipip", "ip6tnl": "ip6_tunnel", "gre": "ip_gre", "sit": "sit", "dummy": "dummy"}


def escaped(interface: str) -> str:
    """An interface's name as a part of a key: a dot in it is written as a slash."""
    return interface.replace(".", "/")


def path(key: str) -> str:
    """The file below /proc/sys of a key."""
    return key.translate(str.maketrans("./", "/."))


def interface_of(key: str) -> str:
    """The interface that a key is about, or ""; `all` and `default` are none."""
    parts = path(key).split("/")
    if len(parts) == 5 and parts[2] in ("conf", "neigh") and parts[3] not in ("all", "default"):
        return parts[3]
    return ""


def moves(key: str, value: str, interfaces: Iterable[str]) -> dict[str, str]:
    """What the kernel sets besides, when a forwarding setting changes to value (inet_forward_change and addrconf)."""
    on = value != "0"
    names = ["default", *(escaped(name) for name in interfaces)]
    if key in FORWARD_IPV4:
        moved = {name: ("1" if on else "0") for name in FORWARD_IPV4 if name != key}
        moved.update({f"net.ipv4.conf.{name}.forwarding": "1" if on else "0" for name in names})
        moved["net.ipv4.conf.all.accept_redirects"] = "0" if on else "1"
        return moved
    if key in FORWARD_IPV6:
        return {f"net.ipv6.conf.{name}.forwarding": value for name in names}
    return {}


def in_order(keys: Iterable[str]) -> list[str]:
    """Forwarding first, since it moves others; the rest keep their order."""
    known = list(keys)
    return sorted(known, key=lambda key: key not in FORWARD_IPV4 + FORWARD_IPV6)


def advertisement_keys(interfaces: Iterable[str]) -> list[str]:
    """The settings that decide whether an interface listens to router advertisements."""
    names = ["default", *(escaped(name) for name in interfaces if name != "lo")]
    return [f"net.ipv6.conf.{name}.accept_ra" for name in names]


def router_advertisements(
    forwarding: bool, values: Mapping[str, str | None], interfaces: Iterable[str]
) -> dict[str, str]:
    """What stands before IPv6 forwarding: a host that forwards drops advertised routes unless accept_ra is 2."""
    return {key: "2" for key in advertisement_keys(interfaces) if forwarding and values.get(key) == "1"}
