# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that is just connecting stays with its realserver while that one loses its weight."""

from __future__ import annotations

from typing import Any, Callable

SETTINGS = "/proc/sys/net/ipv4/vs"
# A client repeats its SYN after one second and after two more, or every second at first (Linux since 6.5, see
# tcp_syn_linear_timeouts). Who answers only later may as well be dead; its clients are better off with somebody else.
SECONDS = 3.0


class Handshakes:
    """Holds ``expire_nodest_conn`` off from `begin` for `SECONDS` at most, or to the end of ``with``. Call it first.

    While it is on, the kernel sends a repeated SYN of a connection whose realserver has weight 0 to another realserver
    (ip_vs_in_hook() in net/netfilter/ipvs/ip_vs_core.c). If the first one was only slow, the client answers the first
    one's SYN-ACK, and the other one, which knows nothing of that, resets the connection.
    Who finds it off leaves it off: that is how it is wanted, or another run, which is going to switch it on, waits too.
    """

    def __init__(self, clock: Callable[[], float], settings: str = SETTINGS) -> None:
        self._path = f"{settings}/expire_nodest_conn"
        self._clock = clock
        self._until: float | None = None  # when it is switched on again

    def __enter__(self) -> Handshakes:
        return self

    def __exit__(self, *_exc: Any) -> None:
        self._end()

    def begin(self) -> None:
        """Switch it off, if it is on and can be."""
        if self._is_on() and self._write("0"):
            self._until = self._clock() + SECONDS

    def look(self) -> None:
        """Switch it on again if the time is over; to be called while waiting."""
        if self._until is not None and self._clock() >= self._until:
            self._end()

    def _end(self) -> None:
        if self._until is not None:
            self._until = None
            self._write("1")

    def _is_on(self) -> bool:
        try:
            with open(self._path, encoding="ascii") as file:
                return file.read().strip() == "1"
        except OSError:
            return False  # no IPVS, or a kernel that hides its settings within a user namespace

    def _write(self, value: str) -> bool:
        try:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(value)
        except OSError:
            return False  # read-only, as in containers without privileges
        return True
