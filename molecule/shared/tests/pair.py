# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two directors as the tests see them: who holds the VIPs, what breaks, and what a client notices of it."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab import LAB, Lab, expect_shares

DIRECTORS = ("director", "director2")
VIP4, VIP6 = "192.168.1.110", "2001:db8:1::110"
NAT4, NAT6 = "192.168.1.112", "2001:db8:1::112"
VIPS = (VIP4, VIP6, NAT4, NAT6)
MOVING = (*(f"{vip}/" for vip in VIPS), "10.1.1.10/", "2001:db8:2::10/")
ECHO = 7
NETWORKS = ("lan", "inside")  # of a director's eth1 and eth2
# A machine that swaps or compiles beside the tests is slow; what is slower than this is broken.
PATIENCE = 60.0


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """How long it took; bounded."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds, f"not within {seconds:g} s"
        time.sleep(0.3)
    return time.monotonic() - start


def expect_even(pair: Pair) -> None:
    """The two realservers take turns behind every VIP."""
    for vip in VIPS:
        expect_shares(pair.ask("tcp", vip, 80, 4), {"rs1": 2, "rs2": 2})


@dataclass
class Seen:
    """What the client noticed meanwhile: one connection that stays, and new ones to the other family's VIP."""

    session: list[Any] = field(default_factory=list)
    gaps: list[Any] = field(default_factory=list)

    @property
    def broken(self) -> str | None:
        return None if self.session[0]["broken"] is None else str(self.session[0]["broken"])

    @property
    def longest(self) -> float:
        return max(float(one[0]["longest"]) for one in (self.session, self.gaps))

    def __str__(self) -> str:
        return f"session {self.session[0]}; new connections {self.gaps[0]}"


class Pair(Lab):
    """The lab with two directors."""

    @property
    def backend(self) -> str:
        return str(self.variables["lvs_failover"])

    @property
    def checker(self) -> str:
        return str(self.variables["lvs_health"])

    def other(self, name: str) -> str:
        return next(director for director in DIRECTORS if director != name)

    def held(self, name: str) -> int:
        """How many of the addresses that move are on this director."""
        text = self.run(name, "ip -o addr show scope global; ip -o -6 addr show deprecated")
        return sum(f" {address}" in text for address in MOVING)

    def holder(self) -> str | None:
        """The director that has all that moves while the other has nothing of it."""
        held = {name: self.held(name) for name in DIRECTORS}
        full = [name for name, count in held.items() if count == len(MOVING)]
        return full[0] if len(full) == 1 and sum(held.values()) == len(MOVING) else None

    def daemons(self, name: str) -> set[str]:
        lines = self.run(name, "ipvsadm -L --daemon", check=False).splitlines()
        return {line.split()[0] for line in lines if " sync daemon" in line}

    def table(self, name: str) -> list[str]:
        return sorted(self.run(name, "ipvsadm -Sn").splitlines())

    def fit(self) -> str | None:
        """Who has the VIPs, if both directors are as they should be."""
        holder = self.holder()
        if holder is None:
            return None
        peer = self.other(holder)
        right = self.daemons(holder) == {"master"} and self.daemons(peer) == {"backup"}
        return holder if right and self.table(holder) == self.table(peer) else None

    def settled(self, seconds: float = PATIENCE) -> str:
        """Until one director has the VIPs and the other stands by, with the same table; who has them."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(Exception):  # a machine that boots
                if holder := self.fit():
                    return holder
            time.sleep(0.5)
        told = "\n".join(
            f"{name}: holds {self.held(name)} of {len(MOVING)}, daemons {self.daemons(name)}, {self.table(name)}"
            for name in DIRECTORS
        )
        raise AssertionError(f"the directors have not settled within {seconds:g} s\n{told}")

    def expect_holder(self, name: str, seconds: float = PATIENCE) -> None:
        """It has the VIPs when all has settled; else the failure shows what both programs said meanwhile."""
        if (holder := self.settled(seconds)) != name:
            said = f"journalctl --no-pager -o short-precise -n 60 -u {self.backend}"
            told = "\n".join(f"{director}:\n{self.run(director, said)}" for director in DIRECTORS)
            raise AssertionError(f"{holder} has the VIPs, not {name}\n{told}")

    # ------------------------------------------------------------------ what a client notices

    def knows(self, name: str, port: int = ECHO) -> int:
        """How many established connections to this port a director has in its list."""
        listed = f"ipvsadm -Lnc | grep -c 'ESTABLISHED.*:{port} '"
        return int(self.run(name, listed, check=False) or 0)

    def session_known(self, name: str) -> str:
        """The command that succeeds where a director has the client's one open connection in its list."""
        own = self.run("client", f"ss -Htn state established dst {VIP4} dport = :{ECHO} | awk '{{print $3}}'").split()
        assert len(own) == 1, own
        return f"ipvsadm -Lnc | grep -q 'ESTABLISHED *{own[0]} '"

    @contextlib.contextmanager
    def watched(self, known: bool = True) -> Iterator[Seen]:
        """A client in both families; the block begins when the peer knows the connection that stays."""
        peer = self.other(self.settled())
        seen = Seen()
        with self.background("session", VIP4, ECHO) as seen.session, self.background("gaps", VIP6, 80) as seen.gaps:
            if known:
                self.wait(peer, self.session_known(peer), seconds=20)
            yield seen
        print(seen)

    # ------------------------------------------------------------------ faults

    def kill_program(self, name: str, signal: str = "KILL") -> None:
        self.run(name, f"systemctl kill --kill-whom=all --signal={signal} {self.backend}.service")

    def plug(self, name: str, networks: Sequence[str], put_in: bool) -> None:
        """A machine's cables, which it does not see: its end stays up, as with a switch between."""
        for network in networks:
            # Its tap must not go down: user-mode Linux reads from it no more afterwards.
            where = ["master", network] if put_in else ["nomaster"]
            device = f"{name}-{1 + NETWORKS.index(network)}"
            command = ["ip", "netns", "exec", f"lvslab-{LAB.name}", "ip", "link", "set", device, *where]
            subprocess.run(command, check=True, timeout=20)

    @contextlib.contextmanager
    def cut(self, name: str, *networks: str) -> Iterator[None]:
        self.plug(name, networks, put_in=False)
        try:
            yield
        finally:
            self.plug(name, networks, put_in=True)
