# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What IPVS keeps beside its table: connection timeouts and the daemons that synchronise connections."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, NamedTuple

from . import _ipvs_wire as wire
from ._genl import attributes
from ._ipvs_kernel import KernelTable

MASTER, BACKUP = "master", "backup"
ROLES = {MASTER: 1, BACKUP: 2}
ROLE_NAMES = {number: name for name, number in ROLES.items()}

# What the kernel fills in.
DEFAULT_GROUP, DEFAULT_PORT, DEFAULT_TTL = "224.0.0.81", 8848, 1


class Timeouts(NamedTuple):
    """How long the kernel remembers a silent connection, in seconds; 0 where it lacks the protocol."""

    tcp: int = 900
    tcp_fin: int = 120
    udp: int = 300

    def command(self) -> str:
        """The option of ipvsadm that sets these."""
        return f"--set {self.tcp} {self.tcp_fin} {self.udp}"


class Daemon(NamedTuple):
    """A synchronisation daemon. A network namespace has at most one of each role."""

    role: str
    interface: str
    syncid: int = 0
    group: str = DEFAULT_GROUP
    port: int = DEFAULT_PORT
    ttl: int = DEFAULT_TTL
    maxlen: int = 0  # bytes; 0 leaves it to the kernel, which then reports what it chose

    def command(self) -> str:
        """The options of ipvsadm that start it."""
        text = f"--start-daemon {self.role} --mcast-interface {self.interface} --syncid {self.syncid}"
        if self.maxlen:
            text += f" --sync-maxlen {self.maxlen}"
        return f"{text} --mcast-group {self.group} --mcast-port {self.port} --mcast-ttl {self.ttl}"


class Settings(NamedTuple):
    """Everything that IPVS keeps beside its table."""

    timeouts: Timeouts
    daemons: list[Daemon]
    version: str
    connection_buckets: int


def timeouts_config(timeouts: Timeouts) -> dict[str, int]:
    """Timeouts in the shape that module ``ipvs_timeouts`` takes."""
    return timeouts._asdict()


def daemon_config(daemon: Daemon) -> dict[str, Any]:
    """A daemon in the shape that module ``ipvs_sync`` takes."""
    return daemon._asdict()


# ---- kernel

_READING = "Reading the settings of IPVS"

_read_timeouts = wire.Reader(wire.TIMEOUTS, Timeouts._fields, (0, 0, 0))
_read_info = wire.Reader(wire.INFO, ("version", "connection_buckets"), (0, 0))
_DAEMON_NAMES = ("state", "interface", "syncid", "group4", "group6", "port", "ttl", "maxlen")
# Kernels before 4.3 report only the first three, and have these values for the rest.
_DAEMON_DEFAULTS = (0, "", 0, b"", b"", DEFAULT_PORT, DEFAULT_TTL, 0)
_read_daemon = wire.Reader(wire.DAEMON, _DAEMON_NAMES, _DAEMON_DEFAULTS)


def read_settings(table: KernelTable) -> Settings:
    """What the kernel has now."""
    version, buckets = 0, 0
    for reply in table.request(wire.GET_INFO, b"", _READING):
        version, buckets = _read_info(*reply)
    text = f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}"
    return Settings(read_timeouts(table), read_daemons(table), text, buckets)


def read_timeouts(table: KernelTable) -> Timeouts:
    """The timeouts that the kernel has now."""
    timeouts = Timeouts(0, 0, 0)
    for reply in table.request(wire.GET_CONFIG, b"", _READING):
        timeouts = Timeouts(*_read_timeouts(*reply))
    return timeouts


def read_daemons(table: KernelTable) -> list[Daemon]:
    """The daemons that run now, the master first."""
    daemons = []
    for reply in table.dump(wire.GET_DAEMON, b"", _READING):
        for number, start, end in attributes(*reply):
            if number == wire.COMMAND_DAEMON:
                daemons.append(_daemon(_read_daemon(reply.buffer, start, end)))
    return sorted(daemons, key=lambda daemon: ROLES[daemon.role])


def _daemon(values: list[Any]) -> Daemon:
    state, interface, syncid, group4, group6, port, ttl, maxlen = values
    group = DEFAULT_GROUP
    if group6 or group4:
        group = inet_ntop(AF_INET6, group6) if group6 else inet_ntop(AF_INET, group4)
    return Daemon(ROLE_NAMES[state], interface, syncid, group, port, ttl, maxlen)
