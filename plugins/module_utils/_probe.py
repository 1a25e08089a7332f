# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw sockets for ARP and neighbour discovery: who answers for an address, and telling that it is here now."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from typing import Callable, Iterable, Mapping, Sequence

from . import _neighbour_frames as frames
from ._errors import LvsError

ARPHRD_ETHER = 1
# An announcement is repeated, since a switch or a neighbour may lose one.
ROUNDS = 3
INTERVAL = 0.2
# Questions in a row, and the seconds to read their answers: a socket does not hold those of hundreds.
IN_A_ROW = 32
PAUSE = 0.03
# Duplicate address detection takes about one second.
TENTATIVE_PATIENCE = 3.0


class NoEthernet(LvsError):
    """The interface has no Ethernet addresses, so nobody can be asked on it."""


def open_link(interface: str, protocol: int) -> tuple[socket.socket, bytes]:
    """A socket for frames of one protocol on an interface, and the interface's own MAC address."""
    try:
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise LvsError("Raw packets need root, or the capability CAP_NET_RAW over this network namespace.") from error
    try:
        link.bind((interface, protocol))
    except OSError as error:
        link.close()
        reason = "there is no such interface" if error.errno in (errno.ENODEV, errno.ENXIO) else error.strerror
        raise LvsError(f"Interface {interface} cannot be listened on: {reason}.") from error
    name = link.getsockname()
    if name[3] != ARPHRD_ETHER:
        link.close()
        raise NoEthernet(
            f"interface {interface} is no Ethernet: nobody can be asked there by ARP or neighbour discovery"
        )
    return link, name[4][:6]


def _protocol(address: str) -> int:
    return frames.ETH_P_IPV6 if ":" in address else frames.ETH_P_ARP


def announce(targets: Sequence[tuple[str, str]], tentative: Callable[[str], bool] = lambda address: False) -> list[str]:
    """Tell the neighbours that these (address, interface) are here now; returns what could not be told."""
    failed = []
    ready: list[tuple[socket.socket, bytes]] = []
    with contextlib.ExitStack() as stack:
        for address, interface in targets:
            # While an IPv6 address is being checked for duplicates it must not be announced.
            _wait_while(tentative, address)
            try:
                link, mac = open_link(interface, _protocol(address))
            except LvsError as error:
                failed.append(f"{address} could not be announced on {interface}: {error}")
                continue
            stack.enter_context(link)
            ready += [(link, frame) for frame in frames.is_at(address, mac)]
        for number in range(ROUNDS if ready else 0):
            if number:
                time.sleep(INTERVAL)
            failed += [problem for problem in map(_sent, ready) if problem and problem not in failed]
    return failed


def _sent(ready: tuple[socket.socket, bytes]) -> str:
    link, frame = ready
    try:
        link.send(frame)
    except OSError as error:
        return f"{link.getsockname()[0]} did not take an announcement: {error.strerror}"
    return ""


def _wait_while(tentative: Callable[[str], bool], address: str) -> None:
    end = time.monotonic() + TENTATIVE_PATIENCE
    while tentative(address) and time.monotonic() < end:
        time.sleep(0.1)


def who_has(interface: str, questions: Mapping[str, str], count: int = 3, timeout: float = 2.0) -> dict[str, list[str]]:
    """Ask on an interface for every address (with this sender, "" for none); every MAC address that answered, in order.

    Each question is sent ``count`` times; answers are collected until ``timeout`` seconds after the last one, since
    only the whole time shows that a second host answers, too.
    """
    found: dict[str, list[str]] = {address: [] for address in questions}
    with contextlib.ExitStack() as stack:
        links = {}
        for protocol in sorted({_protocol(address) for address in questions}):
            links[protocol] = open_link(interface, protocol)
            stack.enter_context(links[protocol][0])
        sockets = [link for link, _mac in links.values()]
        for number in range(count):
            for place, (address, sender) in enumerate(questions.items()):
                if place and place % IN_A_ROW == 0:
                    _collect(sockets, found, PAUSE)
                link, mac = links[_protocol(address)]
                problem = _sent((link, frames.who_has(address, mac, sender)))
                if problem:
                    raise LvsError(f"{address} could not be asked for: {problem}")
            _collect(sockets, found, timeout if number == count - 1 else min(INTERVAL, timeout))
    return found


def _collect(sockets: Iterable[socket.socket], found: dict[str, list[str]], seconds: float) -> None:
    watched = list(sockets)
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return
        ready, _write, _error = select.select(watched, [], [], left)
        for link in ready:
            try:
                heard = frames.answer(link.recv(2048))
            except OSError as error:  # a link that went down meanwhile
                raise LvsError(f"The answers cannot be heard: {error.strerror}.") from error
            if heard and heard[0] in found and heard[1] not in found[heard[0]]:
                found[heard[0]].append(heard[1])


def reachable(address: str, port: int, protocol: str, timeout: float, payload: bytes = b"") -> str:
    """Try a service once: nothing, or why it is not reachable. UDP counts as reachable only if an answer came."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as connection:
            connection.settimeout(timeout)
            connection.connect((address, port))
            if protocol == "udp":
                connection.send(payload)
                connection.recv(65535)
    except socket.timeout:
        return f"no answer within {timeout:g} seconds"
    except OSError as error:  # a host without IPv6 among others
        return str(error.strerror or error)
    return ""
