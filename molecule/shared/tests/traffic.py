# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the client: asks the lab's responders through a VIP and prints what came back as one JSON document.

An answer is [realserver, client address it saw, its own local address]; a request without answer is null.
"""

from __future__ import annotations

import json
import pathlib
import socket
import sys
import time

TIMEOUT = 3.0
MAX_SECONDS = 150.0
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


def udp(address: str, port: int, source: str = "") -> list[str] | None:
    """One datagram from a source port of its own."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.settimeout(TIMEOUT)
        try:
            if source:
                channel.bind((source, 0))
            # connect() lets the kernel discard an answer that comes from any address but the VIP.
            channel.connect((address, port))
            channel.send(b"who\n")
            return channel.recv(4096).decode().split()
        except OSError:
            return None


def upload(address: str, port: int, size: int) -> list[str] | None:
    head = f"POST / HTTP/1.1\r\nHost: lvs\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()
    return tcp(address, port, head + b"x" * size, timeout=15.0)


def ask(protocol: str, address: str, port: int, count: int, source: str) -> list[list[str] | None]:
    if protocol == "tcp":
        return [tcp(address, port, GET, source=source) for _number in range(count)]
    return [udp(address, port, source) for _number in range(count)]


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


def main(what: str, address: str, port: str, argument: str, source: str = "") -> object:
    if what == "upload":
        return upload(address, int(port), int(argument))
    if what == "stream":
        return stream(address, int(port), pathlib.Path(argument))
    if what == "hold":
        return hold(address, int(port), pathlib.Path(argument))
    return ask(what, address, int(port), int(argument), source)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:6])))
