# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generic netlink: one socket, the family's number, many requests in one send, dumps, error numbers."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any, Callable, Iterable, Iterator, NamedTuple

from ._errors import LvsError

NETLINK_GENERIC = 16
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10

SOL_NETLINK = 270
NETLINK_CAP_ACK = 10  # an error then carries the header of what failed, not the whole of it
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

BUFFER_BYTES = 4 << 20
RECEIVE_BYTES = 1 << 17  # the kernel fills at most 32 KiB at a time
MESSAGES_PER_SEND = 1000
TIMEOUT_SECONDS = 20  # replies are queued before send() returns; waiting longer than this means that they are lost

HEADER = struct.Struct("=IHHIIBBxx")  # length, type, flags, sequence, port; command, version
_MESSAGE = struct.Struct("=IHHI")
_ERRNO = struct.Struct("=i")
_FLAGS, _FLAGS_OFFSET = struct.Struct("=H"), 6  # in a header
_SEQUENCE, _SEQUENCE_OFFSET = struct.Struct("=I"), 8


class GenlError(LvsError):
    """The kernel refused a request; ``errno`` says why."""

    def __init__(self, number: int, doing: str) -> None:
        super().__init__(f"{doing}: the kernel answered {errno.errorcode.get(number, number)} ({os.strerror(number)}).")
        self.errno = number


class FamilyMissing(LvsError):
    """The running kernel does not know this generic netlink family."""


class RepliesLost(LvsError):
    """The requests were carried out, but it is not known which of them failed: read again and compare."""


class Payload(NamedTuple):
    """Where the attributes of one reply lie in a receive buffer; a slice would copy every record."""

    buffer: bytes
    start: int
    end: int


class Run(NamedTuple):
    """Requests of one command whose payloads begin with the same bytes and go on with contents of one length."""

    command: int
    common: bytes
    contents: list[bytes]


class BatchResult(NamedTuple):
    """``sent`` requests were carried out in order; those listed in ``failed`` (index, errno) were refused."""

    sent: int
    failed: dict[int, int]


def open_socket() -> socket.socket:
    """A netlink socket in the calling thread's network namespace, with room for large batches."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC)
    for forced, plain in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except OSError:  # not root: the system-wide maximum has to do
            sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
    try:
        sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    except OSError:  # before Linux 4.3; the answers are only longer
        pass
    # The kernel keeps the time: a timeout of Python's own would ask poll() before every single receive.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT_SECONDS, 0))
    sock.bind((0, 0))
    return sock


class Connection:
    """One generic netlink socket. It carries one dump or one batch at a time."""

    def __init__(self, make_socket: Callable[[], Any] = open_socket) -> None:
        try:
            self._socket = make_socket()
        except OSError as exc:
            raise LvsError(
                f"Opening a generic netlink socket failed: {exc.strerror}. The kernel needs netlink support and "
                "the process must be allowed to create sockets of family AF_NETLINK."
            ) from exc
        self._sequence = 0
        # One buffer for all answers: a fresh one of this size is fresh memory each time.
        self._buffer = bytearray(RECEIVE_BYTES)
        # What a socket may hold is counted in its own bookkeeping as well; half of it is safely data.
        self._send_limit = max(16384, self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2)
        self.sends = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def family(self, name: str) -> int:
        """The number that the running kernel gave to a family. The kernel may load the family's module to answer."""
        text = name.encode("ascii") + b"\0"
        attribute = struct.pack("=HH", 4 + len(text), CTRL_ATTR_FAMILY_NAME) + text
        attribute += b"\0" * (-len(attribute) % 4)
        try:
            replies = self.request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, attribute, f"Looking up netlink family {name}")
        except GenlError as exc:
            if exc.errno != errno.ENOENT:
                raise
            replies = []
        for reply in replies:
            for kind, start, end in attributes(reply.buffer, reply.start, reply.end):
                if kind == CTRL_ATTR_FAMILY_ID and end - start >= 2:
                    return int(struct.unpack_from("=H", reply.buffer, start)[0])
        raise FamilyMissing(f"The running kernel has no generic netlink family {name}.")

    def request(self, family: int, command: int, payload: bytes, doing: str) -> list[Payload]:
        """One request with its replies."""
        return self._exchange(family, command, payload, NLM_F_REQUEST | NLM_F_ACK, doing)

    def dump(
        self, family: int, command: int, payload: bytes, doing: str, take: Callable[[memoryview], bool] | None = None
    ) -> list[Payload]:
        """All records that the kernel lists for one request.

        ``take`` is offered every datagram of records as a whole, in a buffer that the next one overwrites; what it does
        not take comes back record by record.
        """
        return self._exchange(family, command, payload, NLM_F_REQUEST | NLM_F_DUMP, doing, take)

    def _exchange(
        self,
        family: int,
        command: int,
        payload: bytes,
        flags: int,
        doing: str,
        take: Callable[[memoryview], bool] | None = None,
    ) -> list[Payload]:
        self._sequence += 1
        sequence = self._sequence
        self._send(HEADER.pack(HEADER.size + len(payload), family, flags, sequence, 0, command, 1) + payload)
        replies: list[Payload] = []
        while True:
            try:
                received = memoryview(self._buffer)[: self._socket.recv_into(self._buffer)]
            except OSError as exc:
                self._drain()
                raise RepliesLost(f"{doing}: the kernel's answer was lost ({exc}).") from exc
            if take is not None and len(received) >= 16:
                _length, kind, _flags, answers = _MESSAGE.unpack_from(received)
                if kind == family and answers == sequence and take(received):
                    continue
            buffer = bytes(received)
            for kind, answers, start, end in messages(buffer):
                if answers != sequence:
                    continue  # left over from a request whose answers were given up
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    number = _errno(buffer, start, end)
                    if number:
                        raise GenlError(number, doing)
                    return replies
                if kind >= GENL_ID_CTRL:
                    replies.append(Payload(buffer, start + 4, end))

    def batch(self, family: int, runs: Iterable[Run]) -> BatchResult:
        """Carry out requests in order, many in one send.

        The kernel goes on after a refused request; this stops after the send that held it. Only the last request of
        a send asks for an answer, every refused one answers unasked: a thousand cost one send and one receive.
        They are taken as they are sent: memory that has not been used before costs more than the packing.
        """
        sent = 0
        failed: dict[int, int] = {}
        parts: list[bytes] = []
        count = size = last = 0  # of what is packed: requests, bytes, bytes of the last request

        def flush() -> None:
            nonlocal sent, count, size
            data = bytearray().join(parts)
            _FLAGS.pack_into(data, size - last + _FLAGS_OFFSET, NLM_F_REQUEST | NLM_F_ACK)
            self._send(data)
            for answers, number in self._answers(self._sequence):
                if number:
                    failed[sent + count - 1 - (self._sequence - answers)] = number
            sent += count
            parts.clear()
            count = size = 0

        for command, common, contents in runs:
            position = 0
            while position < len(contents):
                length = HEADER.size + len(common) + len(contents[position])
                room = min(MESSAGES_PER_SEND - count, (self._send_limit - size) // length)
                if room < 1 and count:
                    flush()
                    if failed:
                        return BatchResult(sent, failed)
                    continue
                chunk = contents[position : position + max(room, 1)]
                parts += self._packed(family, command, length, common, chunk)
                position += len(chunk)
                count += len(chunk)
                size += length * len(chunk)
                last = length
        if count:
            flush()
        return BatchResult(sent, failed)

    def _packed(self, family: int, command: int, length: int, common: bytes, contents: list[bytes]) -> list[bytes]:
        """Requests that differ in their sequence numbers and contents only, in pieces to be joined."""
        first = self._sequence + 1
        self._sequence += len(contents)
        if len(contents) == 1:
            return [HEADER.pack(length, family, NLM_F_REQUEST, first, 0, command, 1), common, contents[0]]
        header = HEADER.pack(length, family, NLM_F_REQUEST, 0, 0, command, 1)
        pieces = [b""] * (4 * len(contents))
        pieces[0::4] = [header[:_SEQUENCE_OFFSET]] * len(contents)
        pieces[1::4] = map(_SEQUENCE.pack, range(first, first + len(contents)))
        pieces[2::4] = [header[_SEQUENCE_OFFSET + 4 :] + common] * len(contents)
        pieces[3::4] = contents
        return pieces

    def _answers(self, last: int) -> Iterator[tuple[int, int]]:
        """The (sequence, errno) that the kernel answered to a send, up to the answer of its last request."""
        while True:
            try:
                buffer = bytes(memoryview(self._buffer)[: self._socket.recv_into(self._buffer)])
            except OSError as exc:
                self._drain()
                raise RepliesLost(
                    f"The kernel carried out a batch of requests, but its answers were lost ({exc})."
                ) from exc
            for kind, answers, start, end in messages(buffer):
                if kind == NLMSG_ERROR:
                    yield answers, _errno(buffer, start, end)
                    if answers == last:
                        return

    def _send(self, data: bytes | bytearray) -> None:
        self.sends += 1
        try:
            self._socket.send(data)
        except OSError as exc:
            raise GenlError(exc.errno or 0, f"Sending {len(data)} bytes to the kernel") from exc

    def _drain(self) -> None:
        """Empty the queue, so that the next request does not meet old answers."""
        while True:
            try:
                self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    return


def _errno(buffer: bytes, start: int, end: int) -> int:
    number: int = _ERRNO.unpack_from(buffer, start)[0] if end - start >= _ERRNO.size else 0
    if not -4096 < number <= 0:
        raise RepliesLost("The kernel's answer holds no error number where one belongs.")
    return -number


def messages(buffer: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The (type, sequence, start of content, end) of every netlink message in a receive buffer."""
    position = 0
    while position + 16 <= len(buffer):
        length, kind, _flags, sequence = _MESSAGE.unpack_from(buffer, position)
        if length < 16 or position + length > len(buffer):
            raise RepliesLost("The kernel's answer was cut off.")
        yield kind, sequence, position + 16, position + length
        position += (length + 3) & ~3


def attributes(buffer: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The (type, start of content, end) of every netlink attribute between two positions."""
    while start + 4 <= end:
        length, kind = struct.unpack_from("=HH", buffer, start)
        if length < 4 or start + length > end:
            raise RepliesLost("The kernel's answer holds a malformed attribute.")
        yield kind & 0x3FFF, start + 4, start + length
        start += (length + 3) & ~3
