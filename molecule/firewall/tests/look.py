# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the client: many looks at once. Reads a JSON document from its argument and prints one.

{"ask": [[protocol, address, port, count], ...], "patience": seconds} prints the answers to each, as traffic.py has
them;
{"scan": [address, ...], "ports": [first, last]} prints which TCP ports of each are open, and which refuse.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import resource
import select
import socket
import sys
import time
from typing import Any

import traffic

# Long enough for a SYN without answer to be sent again, after a second: of thousands at once one may be lost.
PATIENCE = 2.5


def scan(address: str, ports: range) -> dict[str, list[int]]:
    """Connections to all of these ports at once; those that do not answer in time are in neither list."""
    found: dict[str, list[int]] = {"open": [], "refused": []}
    # By one packet alone the neighbour becomes known, or the first of many were lost.
    with contextlib.suppress(OSError):
        socket.create_connection((address, 22), PATIENCE).close()
    waiting: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    for port in ports:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.setblocking(False)
        sock.connect_ex((address, port))
        waiting[sock.fileno()] = port, sock
        poll.register(sock, select.POLLOUT)
    end = time.monotonic() + PATIENCE
    while waiting and (left := end - time.monotonic()) > 0:
        for number, _event in poll.poll(left * 1000):
            port, sock = waiting.pop(number)
            poll.unregister(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            found["refused" if error else "open"].append(port)
            sock.close()
    for _port, sock in waiting.values():
        sock.close()
    return found


def main(wanted: dict[str, Any]) -> Any:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        if "scan" in wanted:
            first, last = wanted["ports"]
            return list(pool.map(lambda address: scan(address, range(first, last + 1)), wanted["scan"]))
        ask = functools.partial(traffic.ask, patience=wanted.get("patience", traffic.TIMEOUT))
        return list(pool.map(ask, *zip(*wanted["ask"], strict=True)))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    print(json.dumps(main(json.loads(sys.argv[1]))))
