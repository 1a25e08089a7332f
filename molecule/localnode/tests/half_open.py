# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the client: half_open.py ADDRESS PORT COUNT SECONDS leaves so many connections half open for a while.

The answers are dropped on the way in, so the last packet of the handshake is never sent.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time

MAX_COUNT, MAX_SECONDS = 500, 60


def main(address: str, port: int, count: int, seconds: float) -> None:
    device = "dev eth1"
    subprocess.run(f"tc qdisc add {device} clsact".split(), check=True)
    match = f"protocol ip flower ip_proto tcp src_ip {address} src_port {port} action drop"
    try:
        subprocess.run(f"tc filter add {device} ingress {match}".split(), check=True)
        opened = []
        for _number in range(min(count, MAX_COUNT)):
            one = socket.socket()
            one.setblocking(False)
            # Asked again once, after a second: later repetitions would bring back what the director has dropped.
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
            one.connect_ex((address, port))
            opened.append(one)
        print(len(opened), flush=True)
        time.sleep(min(seconds, MAX_SECONDS))
        for one in opened:
            one.close()
    finally:
        subprocess.run(f"tc qdisc del {device} clsact".split(), check=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
