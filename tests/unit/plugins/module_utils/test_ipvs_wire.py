# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPVS records as bytes. The bytes are written out by hand from linux/ip_vs.h and what the kernel does with them."""

from __future__ import annotations

import struct
import sys

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_kernel as kernel
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_model as model
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_wire as wire
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._genl import Payload

pytestmark = pytest.mark.skipif(
    sys.byteorder != "little", reason="the golden bytes are those of a little-endian machine"
)

V4 = bytes([192, 168, 1, 110])
V6 = bytes.fromhex("20010db8000000000000000000000110")


def golden(text: str) -> bytes:
    """Bytes from hexadecimal digits with comments."""
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def test_an_ipv4_service_as_a_whole() -> None:
    service = model.Service(2, 6, V4, 80, 0, "wlc", model.PERSISTENT | 0x10, 300, 0xFFFFFF00, "sip")
    assert kernel._whole_service(service) == golden(
        """
        5c00 0100                                          # service, 92 bytes
        0600 0100 0200 0000                                # family
        0600 0200 0600 0000                                # protocol
        1400 0300 c0a8016e 00000000 00000000 00000000      # address, in the first 4 of 16 bytes
        0600 0400 0050 0000                                # port, network order
        0800 0600 776c6300                                 # scheduler, ends with a zero byte
        0c00 0700 11000000 3d000000                        # flags, and the mask of those that are meant
        0800 0800 2c010000                                 # timeout
        0800 0900 ffffff00                                 # netmask, network order
        0800 0b00 73697000                                 # persistence engine
        """
    )


def test_an_ipv6_service_has_a_prefix_length_even_without_persistence() -> None:
    service = model.Service(10, 17, V6, 53, 0, "rr", netmask=128)
    assert kernel._whole_service(service) == golden(
        """
        5400 0100
        0600 0100 0a00 0000
        0600 0200 1100 0000
        1400 0300 20010db8 00000000 00000000 00000110
        0600 0400 0035 0000
        0700 0600 727200 00
        0c00 0700 00000000 3d000000
        0800 0800 00000000
        0800 0900 80000000                                 # 128, machine order
        """
    )


def test_a_firewall_mark_is_named_by_family_and_mark_alone() -> None:
    assert kernel._service_key((10, 0, b"", 0, 0x12345678)) == golden(
        "1400 0100  0600 0100 0a00 0000  0800 0500 78563412"
    )


def test_an_engine_that_is_not_wanted_is_left_out() -> None:
    """Without the attribute the kernel takes the engine away; an empty name is refused by none and meant by none."""
    data = kernel._whole_service(model.Service(2, 6, V4, 80, 0))
    assert b"\x0b\x00" not in [data[at + 2 : at + 4] for at in range(4, len(data), 4)]


def test_a_realserver_as_a_whole() -> None:
    destination = model.Destination(2, bytes([10, 0, 0, 1]), 8080, model.TUN, 70000, 10, 5, 1, 6080, 2)
    assert wire.pack_destination(*destination) == golden(
        """
        1400 0100 0a000001 00000000 00000000 00000000
        0600 0200 1f90 0000                                # port, network order
        0800 0300 02000000                                 # forwarding
        0800 0400 70110100                                 # weight, 32 bits
        0500 0d00 01 000000                                # tunnel type, 8 bits
        0600 0e00 17c0 0000                                # tunnel port, network order
        0600 0f00 0200 0000                                # tunnel flags, machine order
        0800 0500 0a000000
        0800 0600 05000000
        0600 0b00 0200 0000                                # family
        """
    )


def test_records_packed_one_after_another_do_not_mix() -> None:
    first = model.Destination(2, bytes([10, 0, 0, 1]), 80, model.DR, 5, 9, 8)
    second = model.Destination(10, V6, 443, model.TUN, 0)
    alone = wire.pack_destination(*second)
    wire.pack_destination(*first)
    assert wire.pack_destination(*second) == alone


def attribute(number: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), number) + content + b"\0" * (-len(content) % 4)


def service_reply(*attributes: bytes) -> model.Service:
    data = attribute(1, b"".join(attributes))
    return kernel._service(Payload(data, 0, len(data)))


FLAGS = attribute(7, struct.pack("=II", 0x2, 0xFFFFFFFF))


def test_a_service_is_read_without_the_kernels_own_flags() -> None:
    service = service_reply(
        attribute(1, b"\x02\0"),
        attribute(2, b"\x06\0"),
        attribute(3, V4 + b"\0" * 12),
        attribute(4, b"\x00\x50"),
        attribute(6, b"wlc\0"),
        attribute(7, struct.pack("=II", 0x2 | 0x1 | 0x20, 0xFFFFFFFF)),
        attribute(8, struct.pack("=I", 300)),
        attribute(9, bytes([255, 255, 255, 0])),
        attribute(99, b"from the future"),
    )
    assert service == model.Service(2, 6, V4, 80, 0, "wlc", 0x21, 300, 0xFFFFFF00)


def test_timeout_and_netmask_count_only_with_persistence() -> None:
    service = service_reply(
        attribute(1, b"\x0a\0"),
        attribute(5, struct.pack("=I", 7)),
        attribute(6, b"rr\0"),
        FLAGS,
        attribute(8, struct.pack("=I", 900)),
        attribute(9, struct.pack("=I", 64)),
    )
    assert service == model.Service(10, 0, b"", 0, 7, "rr", 0, 0, 128)


def test_a_persistent_ipv6_netmask_is_a_number_in_machine_order() -> None:
    service = service_reply(
        attribute(1, b"\x0a\0"),
        attribute(5, struct.pack("=I", 7)),
        attribute(6, b"rr\0"),
        attribute(7, struct.pack("=II", 0x3, 0xFFFFFFFF)),
        attribute(8, struct.pack("=I", 900)),
        attribute(9, struct.pack("=I", 64)),
    )
    assert (service.timeout, service.netmask) == (900, 64)


def test_a_short_address_is_accepted() -> None:
    service = service_reply(
        attribute(1, b"\x02\0"),
        attribute(2, b"\x06\0"),
        attribute(3, V4),
        attribute(4, b"\0\x50"),
        attribute(6, b"rr\0"),
        FLAGS,
    )
    assert service.address == V4


def destination_record(weight: int, port: int, *, tunnel: bool = True, address: bytes = V4 + b"\0" * 12) -> bytes:
    data = attribute(1, address) + attribute(2, struct.pack("!H", port)) + attribute(3, struct.pack("=I", 2))
    data += attribute(4, struct.pack("=I", weight))
    if tunnel:
        data += attribute(13, b"\1") + attribute(14, struct.pack("!H", 6080)) + attribute(15, struct.pack("=H", 1))
    data += attribute(5, struct.pack("=I", 20)) + attribute(6, struct.pack("=I", 10))
    data += attribute(7, struct.pack("=I", 3)) + attribute(8, struct.pack("=I", 2)) + attribute(9, struct.pack("=I", 1))
    return data + attribute(11, b"\x02\0") + attribute(10, b"x" * 80) + attribute(12, b"y" * 136)


def read(data: bytes) -> list[object]:
    return kernel._read_destination(data, 0, len(data))


def test_realservers_are_read_alike_by_the_walk_and_by_the_learnt_layout() -> None:
    """The first record of a length is walked, the next is read at the positions that it taught."""
    for weight, port in ((1, 80), (70000, 443), (0, 65535)):
        assert read(destination_record(weight, port)) == [2, V4 + b"\0" * 12, port, 2, weight, 20, 10, 1, 6080, 1]


def test_a_record_of_the_same_length_with_other_attributes_is_not_misread() -> None:
    plain = destination_record(5, 80)
    assert read(plain)[4] == 5
    swapped = plain.replace(attribute(5, struct.pack("=I", 20)), attribute(6, struct.pack("=I", 20)), 1)
    swapped = swapped.replace(attribute(6, struct.pack("=I", 10)), attribute(5, struct.pack("=I", 10)), 1)
    assert len(swapped) == len(plain)
    assert read(swapped)[5:7] == [10, 20]


def test_what_an_old_kernel_does_not_send_has_its_default() -> None:
    assert read(destination_record(5, 80, tunnel=False))[7:] == [0, 0, 0]


def test_counters_are_64_bits() -> None:
    numbers = b"".join(attribute(number, struct.pack("=Q", 1 << 40 | number)) for number in range(1, 11))
    data = attribute(12, attribute(11, b"") + numbers)
    (stats,) = kernel._read_service_stats["stats64"](data, 0, len(data))
    assert stats["connections"] == 1 << 40 | 1
    assert stats["out_bytes_per_second"] == 1 << 40 | 10


def test_kernels_before_4_1_count_with_32_bits() -> None:
    data = golden(
        """
        5c00 0a00
        0800 0100 01000000                                 # connections
        0800 0200 02000000  0800 0300 03000000             # packets in and out
        0c00 0400 0000000004000000                         # bytes in and out, always of 64 bits
        0c00 0500 0000000005000000
        0800 0600 06000000  0800 0700 07000000  0800 0800 08000000  0800 0900 09000000  0800 0a00 ffffffff
        """
    )
    assert len(data) == 0x5C
    (stats,) = kernel._read_service_stats["stats"](data, 0, len(data))
    assert list(stats.values()) == [1, 2, 3, 4 << 32, 5 << 32, 6, 7, 8, 9, 0xFFFFFFFF]
    assert kernel._read_service_stats["stats64"](data, 0, len(data)) == [{}]


def test_the_tables_name_every_attribute_once() -> None:
    for table in (wire.SERVICE, wire.DESTINATION, wire.STATS64, wire.STATS):
        assert [attribute.number for attribute in table] == list(range(1, len(table) + 1))
        assert len({attribute.name for attribute in table}) == len(table)
