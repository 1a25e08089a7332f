# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the client: asks the lab's responders through a VIP and prints what came back as one JSON document.

An answer is [realserver, client address it saw, its own local address]; a request without answer is null.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import sys
import time

# On a busy host a machine may stand still for seconds. What a test expects to be lost it waits for less long.
TIMEOUT = 10.0
MAX_SECONDS = 300.0
CROWD = 200
GET = b"GET / HTTP/1.1\r\nHost: lvs\r\nConnection: close\r\n\r\n"


losses: list[str] = []


def tcp(address: str, port: int, request: bytes, timeout: float = TIMEOUT, source: str = "") -> list[str] | None:
    """One request over a connection of its own; `losses` says when and why one failed."""
    stage, start = "connect", time.gmtime()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as connection:
        connection.settimeout(timeout)
        try:
            if source:
                connection.bind((source, 0))
            connection.connect((address, port))
            stage = "request"
            connection.sendall(request)
            received = b""
            while part := connection.recv(4096):
                received += part
        except OSError as error:
            own = connection.getsockname()[1]
            losses.append(f"{time.strftime('%H:%M:%S', start)} {stage} from port {own}: {error}")
            return None
    body = received.partition(b"\r\n\r\n")[2]
    return body.decode().split() or None


def unused_port() -> int:
    """A port below those that the kernel chooses, and not used again until 12,000 others were.

    IPVS has an entry of a datagram for five minutes, even if its service or its realserver is deleted: another datagram
    from the same port goes the same way instead of being scheduled, or is dropped.
    """
    counter = os.open("/root/datagrams", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(counter, b".")
        return 20000 + os.lseek(counter, 0, os.SEEK_CUR) % 12000
    finally:
        os.close(counter)


def udp(address: str, port: int, timeout: float = TIMEOUT, source: str = "") -> list[str] | None:
    """One datagram."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.settimeout(timeout)
        try:
            channel.bind((source, unused_port()))
            # connect() lets the kernel discard an answer that comes from any address but the VIP.
            channel.connect((address, port))
            channel.send(b"who\n")
            return channel.recv(4096).decode().split()
        except OSError:
            return None


def upload(address: str, port: int, size: int) -> list[str] | None:
    head = f"POST / HTTP/1.1\r\nHost: lvs\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()
    return tcp(address, port, head + b"x" * size, timeout=15.0)


def ask(
    protocol: str, address: str, port: int, count: int, source: str = "", patience: float = TIMEOUT
) -> list[list[str] | None]:
    if protocol == "tcp":
        return [tcp(address, port, GET, patience, source) for _number in range(count)]
    return [udp(address, port, patience, source) for _number in range(count)]


def stream(address: str, port: int, stop: pathlib.Path) -> dict[str, object]:
    """Ask one after another until the file `stop` appears; what was answered by whom, and what was lost."""
    seen: dict[str, int] = {}
    end = time.monotonic() + MAX_SECONDS
    while not stop.exists() and time.monotonic() < end:
        answer = tcp(address, port, GET)
        if answer:
            seen[answer[0]] = seen.get(answer[0], 0) + 1
        time.sleep(0.02)
    return {**seen, "lost": losses}


def hold(address: str, port: int, stop: pathlib.Path) -> list[str] | None:
    """One upload that dribbles until the file `stop` appears and then ends: an established connection."""
    size = 4096
    sent = 0
    end = time.monotonic() + MAX_SECONDS
    try:
        with socket.create_connection((address, port), timeout=TIMEOUT) as connection:
            connection.sendall(
                f"POST / HTTP/1.1\r\nHost: lvs\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()
            )
            while not stop.exists() and time.monotonic() < end:
                sent += connection.send(b"x")
                time.sleep(0.3)
            connection.sendall(b"x" * (size - sent))
            received = b""
            while part := connection.recv(4096):
                received += part
    except OSError:
        return None
    return received.partition(b"\r\n\r\n")[2].decode().split() or None


class Gap:
    """The longest time without an answer, and when it began (seconds after the start)."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()
        self.longest = self.began = 0.0

    def answered(self) -> None:
        now = time.monotonic()
        if now - self.last > self.longest:
            self.longest, self.began = now - self.last, self.last - self.start
        self.last = now

    def result(self) -> dict[str, object]:
        self.answered()  # what is missing until the end counts
        return {"longest": round(self.longest, 3), "began": round(self.began, 1)}


def gaps(address: str, port: int, stop: pathlib.Path) -> dict[str, object]:
    """New connections one after another, each given up soon, so that the time without service is seen as it is."""
    seen: dict[str, int] = {}
    gap = Gap()
    end = time.monotonic() + MAX_SECONDS
    while not stop.exists() and time.monotonic() < end:
        answer = tcp(address, port, GET, timeout=0.3)
        who = answer[0] if answer else "lost"
        seen[who] = seen.get(who, 0) + 1
        if answer:
            gap.answered()
        time.sleep(0.01)
    return {"seen": seen, **gap.result()}


def session(address: str, port: int, stop: pathlib.Path) -> dict[str, object]:
    """One connection to the echo port: a line, its answer, and on; why it broke, if it did."""
    gap = Gap()
    lines, broken = 0, None
    end = time.monotonic() + MAX_SECONDS
    try:
        # Silence is no end: TCP asks again, later each time, and 30 seconds without service are still no break.
        with socket.create_connection((address, port), timeout=60) as connection:
            while not stop.exists() and time.monotonic() < end:
                connection.sendall(b"line\n")
                if not connection.recv(4096):
                    raise OSError("closed by the other end")
                gap.answered()
                lines += 1
                time.sleep(0.05)
    except OSError as error:
        broken = str(error)
    return {"lines": lines, "broken": broken, **gap.result()}


def crowd(address: str, port: int, stop: pathlib.Path, size: int) -> dict[str, object]:
    """As many connections that stay idle, and as many that exchange a line now and then; how many live at the end."""

    def echo(connection: socket.socket) -> bool:
        try:
            connection.sendall(b"line\n")
            return bool(connection.recv(4096))
        except OSError:
            return False

    everyone = [socket.create_connection((address, port), timeout=20) for _number in range(2 * size)]
    idle, active = everyone[:size], everyone[size:]
    lost: set[int] = set()
    end = time.monotonic() + MAX_SECONDS
    while not stop.exists() and time.monotonic() < end:
        for number, connection in enumerate(active):
            if number not in lost and not echo(connection):
                lost.add(number)
        time.sleep(0.5)
    return {"idle lost": sum(not echo(connection) for connection in idle), "active lost": len(lost), "of": size}


def main(what: str, address: str, port: str, argument: str, source: str = "", patience: str = str(TIMEOUT)) -> object:
    if what == "upload":
        return upload(address, int(port), int(argument))
    if what == "stream":
        return stream(address, int(port), pathlib.Path(argument))
    if what in ("hold", "gaps", "session"):
        return {"hold": hold, "gaps": gaps, "session": session}[what](address, int(port), pathlib.Path(argument))
    if what == "crowd":
        return crowd(address, int(port), pathlib.Path(argument), CROWD)
    return ask(what, address, int(port), int(argument), source, float(patience))


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:7])))
