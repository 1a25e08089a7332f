# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a synchronisation daemon can work on its interface: asked before the one that runs is stopped for it."""

from __future__ import annotations

import fcntl
import socket
import struct

from ._ipvs_settings import MASTER, Daemon

SIOCGIFFLAGS, SIOCGIFADDR = 0x8913, 0x8915
IFF_UP = 0x1
_REQUEST = struct.Struct("16s24x")


def trouble(daemon: Daemon) -> str:
    """What the interface lacks, in words, or nothing.

    A master takes its source address when it starts and keeps it: without one it would send from 0.0.0.0 for ever. A
    backup joins the group as soon as the interface comes up. Not from /sys, which may show another namespace.
    """
    name = daemon.interface
    try:
        socket.if_nametoindex(name)
    except OSError:
        return f"interface {name} does not exist"
    if daemon.role != MASTER:
        return ""
    request = _REQUEST.pack(name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        (flags,) = struct.unpack_from("=H", fcntl.ioctl(asking, SIOCGIFFLAGS, request), 16)
        if not flags & IFF_UP:
            return f"interface {name} is down"
        if ":" in daemon.group:
            return ""
        try:
            fcntl.ioctl(asking, SIOCGIFADDR, request)
        except OSError:
            return f"interface {name} has no IPv4 address, which the master would send from"
    return ""
