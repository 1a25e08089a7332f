# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ARP and neighbour discovery frames, bytes only: the question, the unasked statement, and reading answers."""

from __future__ import annotations

import ipaddress
import struct
from socket import AF_INET6, inet_aton, inet_ntop, inet_pton
from typing import Tuple

ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
BROADCAST = b"\xff" * 6

_ARP_ETHERNET_IPV4 = struct.pack("!HHBB", 1, 0x0800, 6, 4)
_REQUEST, _REPLY = 1, 2
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2
_OVERRIDE = 0x20000000
_ALL_NODES = "ff02::1"

Answer = Tuple[str, str]


def mac_text(mac: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in mac)


def _arp(operation: int, mac: bytes, sender: bytes, target_mac: bytes, target: bytes) -> bytes:
    head = BROADCAST + mac + struct.pack("!H", ETH_P_ARP)
    return head + _ARP_ETHERNET_IPV4 + struct.pack("!H", operation) + mac + sender + target_mac + target


def _neighbour(mac: bytes, to_mac: bytes, source: str, destination: str, kind: int, flags: int, rest: bytes) -> bytes:
    """An Ethernet frame with an IPv6 packet with a neighbour discovery message."""
    body = struct.pack("!BBHI", kind, 0, 0, flags) + rest
    addresses = inet_pton(AF_INET6, source) + inet_pton(AF_INET6, destination)
    checked = addresses + struct.pack("!II", len(body), _ICMPV6) + body
    total = sum(struct.unpack(f"!{len(checked) // 2}H", checked))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    # The hop limit 255 proves to the receiver that no router forwarded it.
    packet = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255) + addresses + body
    return to_mac + mac + struct.pack("!H", ETH_P_IPV6) + packet


def who_has(address: str, mac: bytes, sender: str) -> bytes:
    """The question for an address; without a sender the probe of RFC 5227 (0.0.0.0) or of duplicate detection (::)."""
    if ":" not in address:
        return _arp(_REQUEST, mac, inet_aton(sender or "0.0.0.0"), bytes(6), inet_aton(address))
    target = inet_pton(AF_INET6, address)
    group = inet_ntop(AF_INET6, inet_pton(AF_INET6, "ff02::1:ff00:0")[:13] + target[13:])
    # A message from the unspecified address may not tell a link-layer address (RFC 4861, 4.3).
    option = struct.pack("!BB", _SOURCE_LINK_LAYER, 1) + mac if sender else b""
    to_mac = b"\x33\x33" + inet_pton(AF_INET6, group)[12:]
    return _neighbour(mac, to_mac, sender or "::", group, _SOLICITATION, 0, target + option)


def is_at(address: str, mac: bytes) -> list[bytes]:
    """The unasked statement that an address is here, in every form that neighbours listen to."""
    if ":" not in address:
        own = inet_aton(address)
        # Some neighbours update their cache at a request, others only at a reply.
        return [_arp(_REQUEST, mac, own, bytes(6), own), _arp(_REPLY, mac, own, BROADCAST, own)]
    option = struct.pack("!BB", _TARGET_LINK_LAYER, 1) + mac
    rest = inet_pton(AF_INET6, address) + option
    return [_neighbour(mac, b"\x33\x33\0\0\0\x01", address, _ALL_NODES, _ADVERTISEMENT, _OVERRIDE, rest)]


def answer(frame: bytes) -> Answer | None:
    """Who says in a frame to have which address: (address, MAC address); None for every other frame."""
    if len(frame) < 42:
        return None
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == ETH_P_ARP and frame[14:20] == _ARP_ETHERNET_IPV4 and struct.unpack_from("!H", frame, 20)[0] == _REPLY:
        return str(ipaddress.IPv4Address(frame[28:32])), mac_text(frame[22:28])
    if kind == ETH_P_IPV6 and len(frame) >= 78 and (frame[20], frame[54]) == (_ICMPV6, _ADVERTISEMENT):
        mac = frame[6:12]
        if len(frame) >= 86 and frame[78:80] == bytes((_TARGET_LINK_LAYER, 1)):
            mac = frame[80:86]
        return str(ipaddress.IPv6Address(frame[62:78])), mac_text(mac)
    return None
