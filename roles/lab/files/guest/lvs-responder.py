# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A realserver's service for tests: every answer says which machine gave it, to whom, and at which address.

TCP 80, 443, 8080
               HTTP, on all of them without TLS. GET / answers "HOSTNAME CLIENT LOCAL"; GET /slow?s=N does so after N
               seconds (at most 20); POST reads the whole body and answers "HOSTNAME <bytes>". The connection is closed
               after the answer.
TCP 7          answers each line with "HOSTNAME line" and stays open.
UDP 53, 80, 8080
               answers "HOSTNAME CLIENT LOCAL" from the very address the datagram was sent to: a realserver under direct
               routing must answer from the VIP, and an ordinary socket would choose the interface's own address.

Each request is one line of /run/lvs-responder.log: protocol client_ip client_port local_ip local_port
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import struct
import threading
import time

HTTP_PORTS = (80, 443, 8080)
ECHO_PORTS = (7,)
UDP_PORTS = (53, 80, 8080)
# In memory: an answer waits for this line, and must not wait for a disk.
LOG = "/run/lvs-responder.log"
LONGEST_WAIT = 20

# Linux's number (linux/in.h); the socket module of Python 3.11 does not name it.
IP_PKTINFO = 8
# Lets a socket answer from an address that is local by a route only (linux/in6.h).
IPV6_FREEBIND = 78

NAME = socket.gethostname()


class Log:
    """One line a request, written at once in a single append, so that lines never mix."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def request(self, protocol: str, client: str, client_port: int, local: str, local_port: int) -> None:
        os.write(self._file, f"{protocol} {client} {client_port} {local} {local_port}\n".encode())


def head_of(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read an HTTP request's head; return it and what has already arrived of the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece or len(data) > 65536:
            return data, b""
        data += piece
    head, _separator, rest = data.partition(b"\r\n\r\n")
    return head, rest


def read_body(connection: socket.socket, head: bytes, so_far: int) -> int:
    """Read the rest of a body whose length the head tells; return how many bytes came in all."""
    length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
    wanted = int(length.group(1)) if length else 0
    if re.search(rb"(?im)^expect:\s*100-continue", head):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while so_far < wanted:
        piece = connection.recv(262144)
        if not piece:
            break
        so_far += len(piece)
    return so_far


def serve_http(connection: socket.socket, client: str, local: str) -> None:
    """Answer one request and close."""
    head, rest = head_of(connection)
    if not head:
        return
    if head.startswith(b"POST "):
        answer = f"{NAME} {read_body(connection, head, len(rest))}\n"
    else:
        slow = re.match(rb"[A-Z]+ /slow\?s=(\d+)", head)
        if slow:
            time.sleep(min(int(slow.group(1)), LONGEST_WAIT))
        answer = f"{NAME} {client} {local}\n"
    reply = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
    connection.sendall((reply + answer).encode())


def serve_echo(connection: socket.socket) -> None:
    """Answer line by line until the client closes."""
    with connection.makefile("rb") as lines:
        for line in lines:
            connection.sendall(NAME.encode() + b" " + line)


def serve_connection(connection: socket.socket, log: Log) -> None:
    """One accepted TCP connection, in a thread of its own."""
    with connection:
        try:
            client, client_port = connection.getpeername()[:2]
            local, local_port = connection.getsockname()[:2]
            log.request("tcp", client, client_port, local, local_port)
            if local_port in ECHO_PORTS:
                serve_echo(connection)
            else:
                serve_http(connection, client, local)
        except OSError:
            return  # the client went away


def destination_of(ancillary: list[tuple[int, int, bytes]]) -> tuple[str, tuple[int, int, bytes]]:
    """The address a datagram was sent to, and the control message that makes the answer leave from it."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            address = data[8:12]
            return socket.inet_ntoa(address), (level, kind, struct.pack("=i4s4s", 0, address, b"\0" * 4))
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            address, interface = struct.unpack("=16sI", data[:20])
            name = socket.inet_ntop(socket.AF_INET6, address)
            # A link-local address means nothing without its interface; any other leaves by the routing table.
            kept = interface if name.startswith("fe80:") else 0
            return name, (level, kind, struct.pack("=16sI", address, kept))
    raise OSError("the kernel did not say where the datagram was sent to")


def serve_datagram(sock: socket.socket, log: Log) -> None:
    """Answer one datagram from the address it came to."""
    try:
        _data, ancillary, _flags, sender = sock.recvmsg(65536, 256)
        local, leave_from = destination_of(ancillary)
        log.request("udp", sender[0], sender[1], local, sock.getsockname()[1])
        sock.sendmsg([f"{NAME} {sender[0]} {local}\n".encode()], [leave_from], 0, sender)
    except OSError:
        return  # nobody there to answer, or no way back: the next datagram may fare better


def bound(family: int, kind: int, port: int) -> socket.socket:
    """A socket on every address of one family."""
    sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if kind == socket.SOCK_DGRAM:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.bind(("", port))
    if kind == socket.SOCK_STREAM:
        sock.listen(512)
    return sock


def main() -> None:
    log = Log(LOG)
    waiting = selectors.DefaultSelector()
    for family in (socket.AF_INET, socket.AF_INET6):
        for port in HTTP_PORTS + ECHO_PORTS:
            waiting.register(bound(family, socket.SOCK_STREAM, port), selectors.EVENT_READ, "tcp")
        for port in UDP_PORTS:
            waiting.register(bound(family, socket.SOCK_DGRAM, port), selectors.EVENT_READ, "udp")
    while True:
        for key, _events in waiting.select():
            sock = key.fileobj
            if not isinstance(sock, socket.socket):
                continue
            if key.data == "udp":
                serve_datagram(sock, log)
                continue
            connection, _address = sock.accept()
            threading.Thread(target=serve_connection, args=(connection, log), daemon=True).start()


if __name__ == "__main__":
    main()
