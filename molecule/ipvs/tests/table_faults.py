# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the director: what goes wrong in the middle of a large change, in a network namespace of its own.

    table_faults.py PATH CASE

PATH is a zipapp that holds the collection's module_utils as package `lvs`; the cases are the functions below. ipvsadm
tells what the table is; a raw socket on device nlmon counts the writes, whoever made them.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

CLONE_NEWNET = 0x40000000
NAME = "lvs-faults"
REQUEST, DUMP = 0x1, 0x300
WRITES = {1, 2, 3, 5, 6, 7, 9, 10, 12, 16, 17}  # <linux/ip_vs.h>
FIRST_FAMILY = 0x12  # generic families below are the controller and its neighbours

Config = list[dict[str, Any]]


def demand(condition: bool, text: object) -> None:
    if not condition:
        raise SystemExit(str(text))


def ipvsadm(*arguments: str) -> list[str]:
    done = subprocess.run(["ipvsadm", *arguments], capture_output=True, text=True, timeout=120, check=True)
    return sorted(done.stdout.splitlines())


def table(services: int, realservers: int, first: int = 0, weight: int = 1) -> Config:
    """Services of 10.1/16 and fd01::/64 in turn, each with realservers of its own number."""
    result = []
    for number in range(services):
        six = number % 2
        vip = f"fd01::{number:x}:1" if six else f"10.1.{number // 250}.{number % 250 + 1}"
        others = range(first, first + realservers)
        addresses = [f"fd02::{other:x}:1" if six else f"10.2.{other // 250}.{other % 250 + 1}" for other in others]
        entries = [{"address": address, "weight": weight} for address in addresses]
        result.append({"address": vip, "port": 80, "scheduler": "rr", "realservers": entries})
    return result


class Writes:
    """Counts the messages to IPVS that write, as the kernel's monitoring device shows them."""

    def __init__(self) -> None:
        for command in ("modprobe nlmon", "ip link add nlmon0 type nlmon", "ip link set nlmon0 up"):
            subprocess.run(command.split(), check=True, timeout=30)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._socket.bind(("nlmon0", 3))
        self._socket.settimeout(0.3)

    def count(self, action: Callable[[], Any]) -> int:
        """How many there were while the action ran."""
        self._drained()
        action()
        return self._drained()

    def _drained(self) -> int:
        found = 0
        while True:
            try:
                data, sender = self._socket.recvfrom(1 << 20)
            except TimeoutError:
                return found
            if sender[1] == 16:  # NETLINK_GENERIC
                found += self._writes(data)

    @staticmethod
    def _writes(data: bytes) -> int:
        found = position = 0
        while position + 20 <= len(data):
            length, kind, flags = struct.unpack_from("=IHH", data, position)
            write = flags & REQUEST and flags & DUMP != DUMP and kind >= FIRST_FAMILY and data[position + 16] in WRITES
            found += bool(write)
            position += max(16, length + 3 & ~3)
        return found


def writes(engine: Any) -> None:
    """A second run writes nothing, one weight of many is one message, and the counter sees what others write."""
    counter = Writes()
    wanted = table(100, 20)

    def run() -> None:
        engine.reconcile(wanted, "overridden")

    first = counter.count(run)
    demand(first == 100 * 21, f"{first} messages for 2100 records")
    again = counter.count(run)
    demand(again == 0, f"a second run sent {again}")
    wanted[40]["realservers"][7]["weight"] = 70000
    one = counter.count(run)
    demand(one == 1, f"one weight was {one} messages")
    check = counter.count(lambda: engine.reconcile(table(3, 3), "overridden", check=True))
    demand(check == 0, f"check mode sent {check}")
    sabotage = counter.count(lambda: ipvsadm("-A", "-t", "10.9.9.9:80"))
    demand(sabotage == 1, f"the counter saw {sabotage} of 1 write of ipvsadm")
    scheduler = counter.count(lambda: engine.reconcile(table(1, 20)[:1], "replaced"))
    demand(scheduler == 0, f"an equal service was written {scheduler} times")


def refused(engine: Any) -> None:
    """A realserver in the middle of ten thousand that the kernel does not take: the old table, and its name."""
    engine.reconcile(table(200, 5), "overridden")
    before = ipvsadm("-Sn") + ipvsadm("-Ln", "--thresholds")
    wanted = table(1000, 10, first=3, weight=4)
    wanted[501]["realservers"][5]["address"] = "fe80::99"
    text = "the kernel took a link-local realserver"
    try:
        engine.reconcile(wanted, "overridden")
    except Exception as exc:
        text = str(exc)
    demand("fe80::99" in text and "rolled back" in text, text)
    after = ipvsadm("-Sn") + ipvsadm("-Ln", "--thresholds")
    demand(after == before, f"{len(set(before) ^ set(after))} lines differ: {sorted(set(before) ^ set(after))[:5]}")


def together(engine: Any) -> None:
    """Two runs at once, twelve times: each succeeds, and the table is one of the two that were wanted, as a whole."""
    sides = [table(60, 8), table(60, 8, first=4, weight=9)]
    expected = []
    for side in sides:
        engine.reconcile(side, "overridden")
        expected.append(ipvsadm("-Sn"))
    for number in range(12):
        children = []
        for side in sides if number % 2 else reversed(sides):
            child = os.fork()
            if not child:
                code = 1
                try:
                    engine.reconcile(side, "overridden")
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        demand(codes == [0, 0], f"round {number}: exit codes {codes}")
        demand(ipvsadm("-Sn") in expected, f"round {number}: the table is neither of the two")


def killed(engine: Any) -> None:
    """Killed at random moments: every record is the old or the new one, nobody stands empty, the next run completes."""
    old, new = table(100, 10), table(100, 10, first=5, weight=6)
    lines = []
    for side in (old, new):
        engine.reconcile(side, "overridden")
        lines.append(set(ipvsadm("-Sn")))
    whole = time.monotonic()
    engine.reconcile(old, "overridden")
    whole = time.monotonic() - whole
    seen = {"old": 0, "new": 0, "between": 0}
    for number in range(24):
        child = os.fork()
        if not child:
            engine.reconcile(new, "overridden")
            os._exit(0)
        time.sleep(random.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        now = set(ipvsadm("-Sn"))
        # While realservers change, those of both tables are there; what both have is the old record or the new one.
        demand(now <= lines[0] | lines[1], f"round {number}: {sorted(now - lines[0] - lines[1])[:5]}")
        served = {line.split()[2] for line in now if line.startswith("-a")}
        demand(len(served) == 100, f"round {number}: only {len(served)} services have realservers")
        seen["old" if now == lines[0] else "new" if now == lines[1] else "between"] += 1
        engine.reconcile(new, "overridden")
        demand(set(ipvsadm("-Sn")) == lines[1], f"round {number}: the next run did not complete the change")
        engine.reconcile(old, "overridden")
    print(f"killed: {seen}")


def flushed(engine: Any) -> None:
    """Somebody flushes the table, or takes a part of it away: the next run brings exactly that back."""
    wanted = table(200, 20)
    engine.reconcile(wanted, "overridden")
    before = ipvsadm("-Sn")
    for name in [line.split()[1:3] for line in before if line.startswith("-A")][:5]:
        ipvsadm("-D", *name)
    result = engine.reconcile(wanted, "overridden")
    demand(result["counts"]["realservers_added"] == 100, result["counts"])
    ipvsadm("-C")
    engine.reconcile(wanted, "overridden")
    demand(ipvsadm("-Sn") == before, "the table did not come back")


def main(path: str, case: str) -> None:
    sys.path.insert(0, path)
    engine = importlib.import_module("lvs._ipvs_reconcile")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise SystemExit(os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=30)
    cases: dict[str, Callable[[Any], None]] = {
        "writes": writes, "refused": refused, "together": together, "killed": killed, "flushed": flushed,
    }  # fmt: skip
    cases[case](engine)
    print(f"{case}: passed")


if __name__ == "__main__":
    main(*sys.argv[1:3])
