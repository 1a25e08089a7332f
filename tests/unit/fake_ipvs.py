# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An IPVS kernel in memory that is spoken to in netlink bytes and refuses what the real one refuses.

It is written from the kernel's own rules (ip_vs_ctl.c) and shares no code with the collection, so a mistake in the
collection's codec does not find its mirror image here.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass, field, replace
from typing import Any

CTRL = 0x10
FAMILY = 0x1C
AF_INET, AF_INET6 = 2, 10
PERSISTENT, HASHED = 0x1, 0x2
MASQ, LOCAL, TUNNEL, ROUTE = 0, 1, 2, 3
DUMP = 0x300
NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE, NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = range(1, 9)
NEW_DAEMON, DEL_DAEMON, GET_DAEMON, SET_CONFIG, GET_CONFIG, _SET_INFO, GET_INFO = range(9, 16)
MASTER, BACKUP = 1, 2
INT_MAX, HZ = 2147483647, 1000
WRITES = (NEW_SERVICE, SET_SERVICE, DEL_SERVICE, NEW_DEST, SET_DEST, DEL_DEST, NEW_DAEMON, DEL_DAEMON, SET_CONFIG)


class RefusedError(Exception):
    """The kernel's negative return value."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.number = number


@dataclass
class Dest:
    """A destination as the kernel keeps it."""

    af: int
    addr: bytes
    port: int
    fwd: int = 0
    weight: int = 0
    upper: int = 0
    lower: int = 0
    tun_type: int = 0
    tun_port: int = 0
    tun_flags: int = 0
    active: int = 0
    inactive: int = 0
    persistent: int = 0

    @property
    def key(self) -> tuple[int, bytes, int]:
        return (self.af, self.addr, self.port)


@dataclass
class Sync:
    """A synchronisation daemon as the kernel keeps it; ``number`` tells a restarted one from the one before."""

    state: int
    interface: bytes
    syncid: int
    maxlen: int
    group: bytes
    port: int
    ttl: int
    number: int


@dataclass
class Svc:
    """A service as the kernel keeps it."""

    af: int
    protocol: int
    addr: bytes
    port: int
    fwmark: int
    sched: str = ""
    flags: int = 0
    timeout: int = 0
    netmask: bytes = b"\xff" * 4
    pe: str = ""
    dests: dict[tuple[int, bytes, int], Dest] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, int, bytes, int, int]:
        if self.fwmark:
            return (self.af, 0, b"", 0, self.fwmark)
        return (self.af, self.protocol, self.addr, self.port, 0)


def parse(data: bytes) -> dict[int, bytes]:
    """Attributes by number."""
    found = {}
    position = 0
    while position + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, position)
        if length < 4 or position + length > len(data):
            raise RefusedError(errno.EINVAL)
        found[number & 0x3FFF] = data[position + 4 : position + length]
        position += (length + 3) & ~3
    return found


def put(number: int, data: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(data), number) + data + b"\0" * (-len(data) % 4)


def u32(value: int) -> bytes:
    """A number in the machine's order."""
    return struct.pack("=I", value)


def u16(value: int) -> bytes:
    """A number in the machine's order."""
    return struct.pack("=H", value)


def place(af: int, addr: bytes, port: int) -> str:
    """An address and port in hexadecimal."""
    if af == AF_INET:
        return f"{struct.unpack('!I', addr)[0]:08X}:{port:04X}"
    return "[" + ":".join(f"{part:04x}" for part in struct.unpack("!8H", addr)) + f"]:{port:04X}"


def be16(value: int) -> bytes:
    """A port."""
    return struct.pack("!H", value)


class FakeIpvs:
    """The table and its rules. ``refuse`` and ``lose`` make it misbehave as real kernels do."""

    def __init__(self) -> None:
        self.table: dict[tuple[int, int, bytes, int, int], Svc] = {}
        self.loaded = True
        self.allowed = True
        self.schedulers = {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf"}
        self.engines = {"sip"}
        self.sync_running = False
        self.timeouts = {4: 900, 5: 120, 6: 300}  # seconds by attribute: TCP, TCP after a FIN, UDP
        self.daemons: dict[int, Sync] = {}
        self.started = 0
        self.sync_values = True  # False: a kernel before 4.3, with the same multicast group and port for everybody
        self.interfaces: dict[bytes, int] = {b"eth0": 1500, b"eth1": 9000}  # MTU by name
        self.stats64 = True  # False: a kernel before 4.1
        self.dest_family = True  # False: a kernel before 3.18 that neither takes nor sends the family of a destination
        self.local: set[bytes] = set()  # own addresses, which this kernel reports as LOCAL
        self.writes: list[int] = []  # commands of the writes that were tried
        self.sends = 0
        self.refuse: dict[int, int] = {}  # number of a write, from 0: error that it gets
        self.lose: set[int] = set()  # number of a send whose answers get lost
        self.meanwhile: list[Any] = []  # called before the next write, once each: another program at work

    def socket(self) -> FakeSocket:
        """What the collection believes to be a netlink socket."""
        return FakeSocket(self)

    def copy(self) -> dict[Any, Svc]:
        """The table as it is now."""
        return {
            key: replace(svc, flags=svc.flags & ~HASHED, dests={k: replace(d) for k, d in svc.dests.items()})
            for key, svc in self.table.items()
        }

    def listing(self) -> str:
        """The table as /proc/net/ip_vs shows it, in the words of the kernel's ip_vs_info_seq_show."""
        lines = [
            "IP Virtual Server version 1.2.1 (size=4096)",
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
        ]
        for svc in self.table.values():
            flags = "ops " if svc.flags & 4 else ""
            if svc.flags & 1:
                flags += f"persistent {svc.timeout * 250} FFFFFFFF"
            if svc.fwmark:
                lines.append(f"FWM  {svc.fwmark:08X} {svc.sched} {flags} ")
            else:
                name = {6: "TCP", 17: "UDP", 132: "SCTP"}[svc.protocol]
                lines.append(f"{name}  {place(svc.af, svc.addr, svc.port)} {svc.sched} {flags} ")
            for dest in svc.dests.values():
                way = ("Masq", "Local", "Tunnel", "Route", "Bypass")[dest.fwd]
                lines.append(f"  -> {place(*dest.key)}      {way:<7} {dest.weight:<6} {0:<10} {0:<10}")
        return "".join(f"{line}\n" for line in lines)

    # ---- one request

    def request(self, command: int, payload: bytes) -> list[bytes]:
        """Carry out one request; the replies' payloads."""
        if not self.allowed:
            raise RefusedError(errno.EPERM)
        if command in WRITES:
            while self.meanwhile:
                self.meanwhile.pop(0)()
            number = len(self.writes)
            self.writes.append(command)
            if number in self.refuse:
                raise RefusedError(self.refuse[number])
            attrs = parse(payload)
            if command == SET_CONFIG:
                self._set_config(attrs)
            elif command in (NEW_DAEMON, DEL_DAEMON):
                self._daemon(command, attrs)
            else:
                self._write(command, attrs)
            return []
        if command == GET_CONFIG:
            return [b"".join(put(number, u32(seconds)) for number, seconds in self.timeouts.items())]
        if command == GET_INFO:
            return [put(1, u32(0x010201)) + put(2, u32(4096))]
        if command == GET_SERVICE:
            svc, _new = self._service(parse(payload), full=False)
            if svc is None:
                raise RefusedError(errno.ESRCH)
            return [self._fill_service(svc)]
        raise RefusedError(errno.EOPNOTSUPP)

    def dump(self, command: int, payload: bytes) -> list[bytes]:
        """The records of a dump."""
        if not self.allowed:
            raise RefusedError(errno.EPERM)
        if command == GET_SERVICE:
            return [self._fill_service(svc) for svc in self.table.values()]
        if command == GET_DAEMON:
            return [self._fill_daemon(self.daemons[state]) for state in (MASTER, BACKUP) if state in self.daemons]
        try:
            svc, _new = self._service(parse(payload), full=False)
        except RefusedError:
            return []
        if svc is None:
            return []  # the real kernel says nothing here either
        return [self._fill_dest(dest) for dest in reversed(list(svc.dests.values()))]

    def _set_config(self, attrs: dict[int, bytes]) -> None:
        """ip_vs_set_timeout: all are checked before one is set, and 0 keeps what is there."""
        stated = {number: struct.unpack("=i", attrs[number])[0] for number in (4, 5, 6) if number in attrs}
        if any(not 0 <= seconds <= INT_MAX // HZ for seconds in stated.values()):
            raise RefusedError(errno.EINVAL)
        self.timeouts.update(
            {number: seconds for number, seconds in stated.items() if seconds and number in self.timeouts}
        )

    def _daemon(self, command: int, attrs: dict[int, bytes]) -> None:
        """start_sync_thread and stop_sync_thread."""
        inner = parse(attrs.get(3, b""))
        if 1 not in inner:
            raise RefusedError(errno.EINVAL)
        (state,) = struct.unpack("=I", inner[1])
        if command == DEL_DAEMON:
            if self.daemons.pop(state, None) is None:
                raise RefusedError(errno.ESRCH)
            return
        if not {2, 3} <= set(inner):
            raise RefusedError(errno.EINVAL)
        if not self.sync_values:
            inner = {number: inner[number] for number in (1, 2, 3)}
        group = inner.get(5, inner.get(6, bytes([224, 0, 0, 81])))
        if not (group[0] == 0xFF if len(group) == 16 else 224 <= group[0] < 240):
            raise RefusedError(errno.EINVAL)
        if any(dest.af != svc.af for svc in self.table.values() for dest in svc.dests.values()):
            raise RefusedError(errno.EINVAL)
        interface = inner[2].split(b"\0")[0]
        if interface not in self.interfaces:
            raise RefusedError(errno.ENODEV)
        header = 48 if len(group) == 16 else 28
        maxlen = struct.unpack("=H", inner.get(4, b"\0\0"))[0]
        if maxlen:
            maxlen = min(max(maxlen, 1024 if state == BACKUP else 1), 65535 - header)
        else:
            maxlen = (max(self.interfaces[interface], 1500) if state == BACKUP else 1500) - header
        if state in self.daemons:
            raise RefusedError(errno.EEXIST)
        self.started += 1
        (syncid,) = struct.unpack("=I", inner[3])
        port = struct.unpack("=H", inner.get(7, b"\0\0"))[0] or 8848
        ttl = inner.get(8, b"\0")[0] or 1
        self.daemons[state] = Sync(state, interface, syncid, maxlen, group, port, ttl, self.started)

    def _service(self, attrs: dict[int, bytes], full: bool) -> tuple[Svc | None, Svc]:
        if 1 not in attrs:
            raise RefusedError(errno.EINVAL)
        inner = parse(attrs[1])
        if 1 not in inner or not (5 in inner or {2, 3, 4} <= set(inner)):
            raise RefusedError(errno.EINVAL)
        (af,) = struct.unpack("=H", inner[1])
        if af not in (AF_INET, AF_INET6):
            raise RefusedError(errno.EAFNOSUPPORT)
        if 5 in inner:
            new = Svc(af, 0, b"", 0, struct.unpack("=I", inner[5])[0])
        else:
            length = 4 if af == AF_INET else 16
            address = inner[3].ljust(16, b"\0")[:length]
            new = Svc(af, struct.unpack("=H", inner[2])[0], address, struct.unpack("!H", inner[4])[0], 0)
        old = self.table.get(new.key)
        if full:
            if not {6, 7, 8, 9} <= set(inner):
                raise RefusedError(errno.EINVAL)
            flags, mask = struct.unpack("=II", inner[7])
            new.flags = (old.flags if old else 0) & ~mask | flags & mask
            new.sched = inner[6].split(b"\0")[0].decode()
            (new.timeout,) = struct.unpack("=I", inner[8])
            new.netmask = inner[9]
            new.pe = inner.get(11, b"").split(b"\0")[0].decode()
            if new.sched not in self.schedulers | {"none"} or (new.pe and new.pe not in self.engines):
                raise RefusedError(errno.ENOENT)
            if af == AF_INET6 and not 1 <= struct.unpack("=I", new.netmask)[0] <= 128:
                raise RefusedError(errno.EINVAL)
        return old, new

    def _write(self, command: int, attrs: dict[int, bytes]) -> None:
        old, new = self._service(attrs, full=command in (NEW_SERVICE, SET_SERVICE))
        if command == NEW_SERVICE:
            if old is not None:
                raise RefusedError(errno.EEXIST)
            new.flags |= HASHED
            self.table[new.key] = new
            return
        if old is None:
            raise RefusedError(errno.ESRCH)
        if command == SET_SERVICE:
            old.sched, old.pe, old.timeout, old.netmask = new.sched, new.pe, new.timeout, new.netmask
            old.flags = new.flags | HASHED
        elif command == DEL_SERVICE:
            del self.table[old.key]
        else:
            self._write_dest(command, old, attrs)

    def _write_dest(self, command: int, svc: Svc, attrs: dict[int, bytes]) -> None:
        if 2 not in attrs:
            raise RefusedError(errno.EINVAL)
        inner = parse(attrs[2])
        if not {1, 2} <= set(inner):
            raise RefusedError(errno.EINVAL)
        af = struct.unpack("=H", inner.get(11, b"\0\0"))[0] * self.dest_family or svc.af
        address = inner[1].ljust(16, b"\0")[: 4 if af == AF_INET else 16]
        dest = Dest(af, address, struct.unpack("!H", inner[2])[0])
        old = svc.dests.get(dest.key)
        if command == DEL_DEST:
            if old is None:
                raise RefusedError(errno.ENOENT)
            del svc.dests[dest.key]
            return
        if not {3, 4, 5, 6} <= set(inner):
            raise RefusedError(errno.EINVAL)
        self._fill_in(dest, inner)
        if af != svc.af and (self.sync_running or self.daemons or dest.fwd != TUNNEL):
            raise RefusedError(errno.EINVAL)
        if address in self.local:
            dest.fwd = LOCAL
        if (old is None) != (command == NEW_DEST):
            raise RefusedError(errno.ENOENT if old is None else errno.EEXIST)
        if old is None and not _unicast(af, address):
            raise RefusedError(errno.EINVAL)
        if old is not None:
            dest.active, dest.inactive, dest.persistent = old.active, old.inactive, old.persistent
        svc.dests[dest.key] = dest

    @staticmethod
    def _fill_in(dest: Dest, inner: dict[int, bytes]) -> None:
        dest.fwd = struct.unpack("=I", inner[3])[0] & 7
        (dest.weight,) = struct.unpack("=i", inner[4])
        (dest.upper,), (dest.lower,) = struct.unpack("=I", inner[5]), struct.unpack("=I", inner[6])
        dest.tun_type = inner.get(13, b"\0")[0]
        (dest.tun_port,) = struct.unpack("!H", inner.get(14, b"\0\0"))
        (dest.tun_flags,) = struct.unpack("=H", inner.get(15, b"\0\0"))
        if dest.weight < 0 or dest.lower > dest.upper:
            raise RefusedError(errno.ERANGE)
        if dest.tun_type == 1 and dest.tun_port == 0:
            raise RefusedError(errno.EINVAL)

    # ---- replies

    def _fill_daemon(self, daemon: Sync) -> bytes:
        inner = put(1, u32(daemon.state)) + put(2, daemon.interface + b"\0") + put(3, u32(daemon.syncid))
        if self.sync_values:
            inner += put(4, u16(daemon.maxlen)) + put(7, u16(daemon.port)) + put(8, bytes([daemon.ttl]))
            inner += put(6 if len(daemon.group) == 16 else 5, daemon.group)
        return put(3, inner)

    def _stats(self) -> bytes:
        numbers = {number: u32(number) for number in range(1, 11)}
        numbers.update({number: struct.pack("=Q", number << 33) for number in (4, 5)})  # bytes always had 64 bits
        narrow = b"".join(put(number, data) for number, data in numbers.items())
        wide = b"".join(put(number, struct.pack("=Q", number << 33)) for number in range(1, 11))
        return put(10, narrow) + (put(12, wide) if self.stats64 else b"")

    def _fill_service(self, svc: Svc) -> bytes:
        inner = put(1, u16(svc.af))
        if svc.fwmark:
            inner += put(5, u32(svc.fwmark))
        else:
            inner += put(2, u16(svc.protocol)) + put(3, svc.addr.ljust(16, b"\0")) + put(4, be16(svc.port))
        inner += put(6, svc.sched.encode() + b"\0")
        if svc.pe:
            inner += put(11, svc.pe.encode() + b"\0")
        inner += put(7, struct.pack("=II", svc.flags, 0xFFFFFFFF)) + put(8, u32(svc.timeout)) + put(9, svc.netmask)
        return put(1, inner + self._stats())

    def _fill_dest(self, dest: Dest) -> bytes:
        inner = put(1, dest.addr.ljust(16, b"\0")) + put(2, be16(dest.port)) + put(3, u32(dest.fwd))
        inner += put(4, u32(dest.weight))
        if self.dest_family:
            inner += put(13, bytes([dest.tun_type])) + put(14, be16(dest.tun_port)) + put(15, u16(dest.tun_flags))
        inner += put(5, u32(dest.upper)) + put(6, u32(dest.lower))
        inner += put(7, u32(dest.active)) + put(8, u32(dest.inactive)) + put(9, u32(dest.persistent))
        if self.dest_family:
            inner += put(11, u16(dest.af))
        return put(2, inner + self._stats())


def _unicast(af: int, address: bytes) -> bool:
    if af == AF_INET6:
        return any(address) and address[0] != 0xFF and not (address[0] == 0xFE and address[1] & 0xC0 == 0x80)
    return 0 < address[0] < 224


class FakeSocket:
    """A netlink socket to the fake kernel."""

    def __init__(self, kernel: FakeIpvs) -> None:
        self._kernel = kernel
        self._queue: list[bytes] = []
        self._lost = False
        self.closed = False

    def getsockopt(self, _level: int, option: int) -> int:
        """The send buffer, as the kernel doubles it."""
        return 2 << 20 if option == socket.SO_SNDBUF else 0

    def close(self) -> None:
        """Note that it was given back."""
        self.closed = True

    def send(self, given: bytes | bytearray) -> int:
        """Walk the messages in order, as netlink_rcv_skb does: a malformed length ends the walk silently."""
        data = bytes(given)
        number = self._kernel.sends
        self._kernel.sends += 1
        position = 0
        answers: list[bytes] = []
        while position + 16 <= len(data):
            length, kind, flags, sequence, _port = struct.unpack_from("=IHHII", data, position)
            if length < 20 or position + length > len(data):
                break
            answers += self._message(kind, flags, sequence, data[position : position + length])
            position += (length + 3) & ~3
        if number in self._kernel.lose:
            self._lost = True
        else:
            self._queue += answers
        return len(data)

    def recv(self, _size: int, _flags: int = 0) -> bytes:
        """The next answer."""
        if self._lost:
            self._lost = False
            raise OSError(errno.ENOBUFS, "No buffer space available")
        if not self._queue:
            raise BlockingIOError(errno.EAGAIN, "nothing to read")
        return self._queue.pop(0)

    def recv_into(self, buffer: bytearray) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _message(self, kind: int, flags: int, sequence: int, message: bytes) -> list[bytes]:
        command = message[16]
        payload = message[20:]

        def answer(content: bytes, answer_kind: int, answer_flags: int = 0) -> bytes:
            return struct.pack("=IHHII", 16 + len(content), answer_kind, answer_flags, sequence, 1) + content

        def acknowledge(number: int) -> bytes:
            return answer(struct.pack("=i", -number) + message[:16], 2, 0x100)

        try:
            if kind == CTRL:
                replies = [self._family(payload)]
            elif kind != FAMILY or not self._kernel.loaded:
                raise RefusedError(errno.ENOENT)
            elif flags & DUMP == DUMP:
                records = self._kernel.dump(command, payload)
                kind_of_record = NEW_DAEMON if command == GET_DAEMON else command - 3
                multi = [answer(bytes([kind_of_record, 1, 0, 0]) + record, FAMILY, 2) for record in records]
                done = answer(struct.pack("=i", 0), 3, 2)
                # Several records in one datagram, as the real kernel sends them.
                return [b"".join(multi[at : at + 7]) for at in range(0, len(multi), 7)] + [done]
            else:
                replies = self._kernel.request(command, payload)
        except RefusedError as exc:
            return [acknowledge(exc.number)]
        out = [answer(bytes([command, 1, 0, 0]) + reply, kind) for reply in replies]
        if flags & 0x4:
            out.append(acknowledge(0))
        return out

    def _family(self, payload: bytes) -> bytes:
        name = parse(payload)[2].split(b"\0")[0]
        if name != b"IPVS" or not self._kernel.loaded:
            raise RefusedError(errno.ENOENT)
        return put(2, b"IPVS\0") + put(1, u16(FAMILY)) + put(3, u32(1))
