# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a lab machine: counts the writing requests in a capture of device nlmon, whoever made them.

Reads a classic pcap file of link type netlink: 16 bytes of cooked header (the family in its last two), then messages.
"""

from __future__ import annotations

import struct
import sys

NETLINK_ROUTE, NETLINK_GENERIC = 0, 16
REQUEST, DUMP = 0x1, 0x300
FIRST_FAMILY = 0x12  # generic families below are the controller and its neighbours
# <linux/ip_vs.h>: NEW_SERVICE .. DEL_SERVICE, NEW_DEST .. DEL_DEST, NEW_DAEMON, DEL_DAEMON, SET_CONFIG, ZERO, FLUSH
IPVS_WRITES = {1, 2, 3, 5, 6, 7, 9, 10, 12, 16, 17}


def messages(data: bytes) -> list[tuple[int, int, int, int]]:
    """(netlink family, message type, flags, generic command) of every message."""
    found = []
    offset = 24
    while offset + 16 <= len(data):
        length = struct.unpack_from("<I", data, offset + 8)[0]
        packet = data[offset + 16 : offset + 16 + length]
        offset += 16 + length
        family = struct.unpack_from(">H", packet, 14)[0]
        position = 16
        while position + 16 <= len(packet):
            size, kind, flags = struct.unpack_from("<IHH", packet, position)
            command = packet[position + 16] if len(packet) > position + 16 else 0
            found.append((family, kind, flags, command))
            if size < 16:
                break
            position += (size + 3) & ~3
    return found


def is_write(family: int, kind: int, flags: int, command: int) -> bool:
    # What the kernel sends itself has no REQUEST flag.
    if not flags & REQUEST:
        return False
    if family == NETLINK_ROUTE:
        # rtnetlink numbers NEW, DEL, GET, SET in fours from 16 on; every type but GET writes.
        return kind >= 16 and kind % 4 != 2
    return family == NETLINK_GENERIC and kind >= FIRST_FAMILY and flags & DUMP != DUMP and command in IPVS_WRITES


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as capture:
        found = messages(capture.read())
    print(len(found), sum(is_write(*message) for message in found))
