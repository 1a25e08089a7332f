# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services of the IPVS table belong to somebody else: kube-proxy, kube-router or docker swarm.

Only what leaves a mark of its own can be known. What keepalived, ldirectord or a person wrote leaves none.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Callable, Iterable, Set, Tuple

from ._errors import LvsError
from ._genl import (
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RepliesLost,
    attributes,
    messages,
)
from ._ipvs_model import IPV6, ServiceKey

# The dummy devices that hold the VIPs of who made them, and of nobody else.
DEVICES = {"kube-ipvs0": "kube-proxy", "kube-dummy-if": "kube-router"}
# What both open on every address of the node, by Kubernetes' default range.
NODE_PORTS = range(30000, 32768)
# dockerd counts the firewall marks of swarm services from here, in network namespaces that it gives these names.
SWARM_FIRST_MARK = 256
SWARM_NAMESPACES = ("ingress_sbox", "lb_")
DOCKER_FOLDERS = ("run/docker/netns", "var/run/docker/netns")

DEVICE_LIST = "/proc/self/net/dev"

RTM_NEWADDR, RTM_GETADDR = 20, 22
IFA_ADDRESS, IFA_LOCAL = 1, 2
_REQUEST = struct.Struct("=IHHIIB7x")  # netlink header; ifaddrmsg: family, then what a dump of all leaves zero
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=B3xI")  # ifaddrmsg: family, interface
_ERRNO = struct.Struct("=i")
_RECEIVE_BYTES = 1 << 17
_TIMEOUT_SECONDS = 20
_ATTEMPTS = 5

Addresses = Set[Tuple[int, bytes]]


def strangers(
    keys: Iterable[ServiceKey],
    root: str = "/",
    device_addresses: Callable[[str], Addresses | None] | None = None,
) -> dict[ServiceKey, str]:
    """The services among ``keys`` that are somebody else's, each with whose and how that is known.

    Raises LvsError where a device that marks them is there but its addresses cannot be read: to take them for ours
    would be the worse mistake.
    """
    marked = {device: (device_addresses or addresses_of)(device) for device in DEVICES}
    present = {device: found for device, found in marked.items() if found is not None}
    swarm = _swarm_namespace(root)
    if not present and not swarm:
        return {}
    result: dict[ServiceKey, str] = {}
    for key in keys:
        family, _protocol, address, port, fwmark = key
        if fwmark:
            if swarm and fwmark >= SWARM_FIRST_MARK:
                result[key] = f"docker swarm: a firewall mark from {SWARM_FIRST_MARK} in its network namespace {swarm}"
            continue
        for device, found in present.items():
            if (family, address) in found:
                result[key] = f"{DEVICES[device]}: the VIP is on device {device}"
                break
            if found and port in NODE_PORTS:
                result[key] = (
                    f"{DEVICES[device]}: a port in the usual range of node ports "
                    f"({NODE_PORTS[0]} to {NODE_PORTS[-1]}) where device {device} holds VIPs"
                )
    return result


def addresses_of(device: str, open_socket: Callable[[], socket.socket] | None = None) -> Addresses | None:
    """The (family, address) pairs of a device of this network namespace; None where there is no such device."""
    # Asked for the index of a device that is not there, the kernel runs modprobe, which takes longer than all the rest.
    if not _exists(device):
        return None
    try:
        index = socket.if_nametoindex(device)
    except OSError:
        return None
    for _attempt in range(_ATTEMPTS):
        try:
            return {
                (family, address)
                for number, family, address in _all_addresses(open_socket or _socket)
                if number == index
            }
        except RepliesLost:  # or changed meanwhile
            continue
        except OSError as exc:
            raise LvsError(f"{_READING.format(device)}: {exc.strerror or exc}.") from exc
    raise LvsError(f"{_READING.format(device)}: they change too often, or the kernel's answers get lost.")


_READING = "Reading the addresses of device {}, which tell whose services are whose, failed"


def _exists(device: str) -> bool:
    try:
        with open(DEVICE_LIST, encoding="ascii", errors="replace") as stream:
            return any(line.split(":", 1)[0].strip() == device for line in stream)
    except OSError:  # no /proc: the kernel has to be asked
        return True


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.settimeout(_TIMEOUT_SECONDS)
    sock.bind((0, 0))
    return sock


def _all_addresses(open_socket: Callable[[], socket.socket]) -> list[tuple[int, int, bytes]]:
    """The (interface, family, address) of every address. Raises RepliesLost where the list is not whole."""
    found: list[tuple[int, int, bytes]] = []
    with open_socket() as sock:
        sock.send(_REQUEST.pack(_REQUEST.size, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, socket.AF_UNSPEC))
        while True:
            buffer = sock.recv(_RECEIVE_BYTES)
            if len(buffer) < _HEADER.size:
                raise RepliesLost("The kernel's answer about addresses was cut off.")
            for kind, _sequence, start, end in messages(buffer):
                flags = _HEADER.unpack_from(buffer, start - _HEADER.size)[2]
                if flags & NLM_F_DUMP_INTR:
                    raise RepliesLost("The addresses changed while the kernel listed them.")
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    number = -_ERRNO.unpack_from(buffer, start)[0] if end - start >= _ERRNO.size else 0
                    if number > 0:
                        raise OSError(number, os.strerror(number))
                    return found
                if kind == RTM_NEWADDR and end - start >= _ADDRESS.size:
                    found.append(_address(buffer, start, end))


def _address(buffer: bytes, start: int, end: int) -> tuple[int, int, bytes]:
    family, index = _ADDRESS.unpack_from(buffer, start)
    # On a point-to-point device IFA_ADDRESS is the other end's; only IPv4 always sends IFA_LOCAL.
    values = {kind: buffer[first:last] for kind, first, last in attributes(buffer, start + _ADDRESS.size, end)}
    address = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS, b"")
    return index, family, address[: 16 if family == IPV6 else 4]


def _swarm_namespace(root: str) -> str:
    """The name of the network namespace that this process is in, if it is one that dockerd made for swarm services."""
    try:
        own = os.stat(os.path.join(root, "proc/self/ns/net"))
    except OSError:
        return ""
    for folder in DOCKER_FOLDERS:
        path = os.path.join(root, folder)
        try:
            names = sorted(os.listdir(path))
        except OSError:
            continue
        for name in names:
            try:
                if name.startswith(SWARM_NAMESPACES) and os.path.samestat(own, os.stat(os.path.join(path, name))):
                    return name
            except OSError:
                continue
    return ""
