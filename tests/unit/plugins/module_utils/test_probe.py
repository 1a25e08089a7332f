# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking who has a VIP: the frames byte by byte, and whom to ask over which interface."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _neighbour_frames as frames
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _probe, _vip_probe
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError

MAC = bytes.fromhex("525400123456")
OTHER = bytes.fromhex("525400abcdef")
ARP_HEAD = "ffffffffffff 525400123456 0806 0001 0800 06 04"


def arp(text: str) -> bytes:
    return bytes.fromhex(f"{ARP_HEAD} {text}")


def checksum(frame: bytes) -> int:
    """Over the pseudo header and the message; 0 if it is right (RFC 4443, 2.3)."""
    source_and_destination, message = frame[22:54], frame[54:]
    data = source_and_destination + struct.pack("!II", len(message), 58) + message
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def test_arp_question() -> None:
    question = frames.who_has("192.168.1.110", MAC, "192.168.1.254")
    assert question == arp("0001 525400123456 c0a801fe 000000000000 c0a8016e")
    assert frames.who_has("192.168.1.110", MAC, "")[28:32] == bytes(4)


def test_arp_announcement_in_both_forms() -> None:
    assert frames.is_at("192.168.1.110", MAC) == [
        arp("0001 525400123456 c0a8016e 000000000000 c0a8016e"),
        arp("0002 525400123456 c0a8016e ffffffffffff c0a8016e"),
    ]


def test_neighbour_solicitation() -> None:
    frame = frames.who_has("2001:db8::110", MAC, "2001:db8::fe")
    assert frame[:14].hex() == "3333ff000110" + MAC.hex() + "86dd"
    assert frame[38:54].hex() == "ff0200000000000000000001ff000110"
    assert (frame[20], frame[21], frame[54], frame[55]) == (58, 255, 135, 0)
    assert frame[62:78].hex() == "20010db8000000000000000000000110"
    assert frame[78:].hex() == "0101" + MAC.hex()
    assert struct.unpack_from("!H", frame, 18)[0] == len(frame) - 54
    assert checksum(frame) == 0


def test_a_solicitation_from_nowhere_tells_no_mac() -> None:
    """RFC 4861, 4.3."""
    frame = frames.who_has("2001:db8::110", MAC, "")
    assert len(frame) == 78
    assert frame[22:38] == bytes(16)
    assert checksum(frame) == 0


def test_neighbour_announcement_overrides() -> None:
    (frame,) = frames.is_at("2001:db8::110", MAC)
    assert frame[:6].hex() == "333300000001"
    assert frame[54] == 136
    assert frame[58] == 0x20, "override, neither router nor solicited"
    assert frame[78:].hex() == "0201" + MAC.hex()
    assert checksum(frame) == 0
    assert frames.answer(frame) == ("2001:db8::110", "52:54:00:12:34:56")


def test_answers() -> None:
    reply = (
        MAC + OTHER + bytes.fromhex("0806 0001 0800 06 04 0002") + OTHER + bytes([192, 168, 1, 110]) + MAC + bytes(4)
    )
    assert frames.answer(reply) == ("192.168.1.110", "52:54:00:ab:cd:ef")
    assert frames.answer(reply + bytes(18)) == ("192.168.1.110", "52:54:00:ab:cd:ef"), "padded to 60 bytes"
    (advertisement,) = frames.is_at("2001:db8::110", OTHER)
    # Without the option the frame's own source counts.
    assert frames.answer(advertisement[:78]) == ("2001:db8::110", "52:54:00:ab:cd:ef")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(60),
        frames.who_has("192.168.1.110", MAC, "192.168.1.1"),
        frames.who_has("2001:db8::110", MAC, "2001:db8::1"),
        frames.is_at("2001:db8::110", MAC)[0][:70],
    ],
)
def test_everything_else_is_no_answer(frame: bytes) -> None:
    assert frames.answer(frame) is None


LINKS: list[dict[str, Any]] = [
    {
        "ifname": "eth1",
        "addr_info": [
            {"local": "10.0.0.1", "prefixlen": 24},
            {"local": "192.168.1.254", "prefixlen": 24},
            {"local": "2001:db8:9::1", "prefixlen": 64},
            {"local": "fe80::1", "prefixlen": 64},
            {"local": "2001:db8:1::254", "prefixlen": 64, "tentative": True},
        ],
    },
    {"ifname": "tun9", "addr_info": []},
]
ROUTES: dict[str, dict[str, Any]] = {
    "192.168.1.110": {"dst": "192.168.1.110", "dev": "eth1", "prefsrc": "192.168.1.254"},
    "172.16.5.1": {"dst": "172.16.5.1", "gateway": "192.168.1.253", "dev": "eth1"},
    "192.168.1.254": {"type": "local", "dst": "192.168.1.254", "dev": "lo"},
    "10.66.0.1": {"type": "blackhole", "dst": "10.66.0.1"},
    "10.99.0.1": {"dst": "10.99.0.1", "dev": "tun9"},
    "2001:db8:1::110": {"dst": "2001:db8:1::110", "dev": "eth1"},
}


def read_ip(*words: str) -> list[dict[str, Any]]:
    if words[0] == "addr":
        return LINKS
    if words[-1] not in ROUTES:
        raise LvsError("Network is unreachable")
    return [ROUTES[words[-1]]]


class Ask:
    def __init__(self) -> None:
        self.questions: dict[str, Mapping[str, str]] = {}

    def __call__(
        self, interface: str, questions: Mapping[str, str], _count: int, _timeout: float
    ) -> dict[str, list[str]]:
        if interface == "tun9":
            raise _probe.NoEthernet("interface tun9 is no Ethernet")
        self.questions[interface] = questions
        return {vip: ["52:54:00:00:00:01"] for vip in questions}


def test_who_is_asked_and_why_not() -> None:
    ask = Ask()
    vips = [*ROUTES, "203.0.113.1"]
    results = _vip_probe.who_answers(vips, "", 3, 2, read_ip, ask)
    assert [result["vip"] for result in results] == vips
    by_vip = {result["vip"]: result for result in results}
    assert [vip for vip in vips if by_vip[vip]["on_link"]] == ["192.168.1.110", "2001:db8:1::110"]
    assert by_vip["192.168.1.110"]["macs"] == ["52:54:00:00:00:01"]
    assert by_vip["192.168.1.110"]["reason"] == ""
    for vip, reason in {
        "172.16.5.1": "behind router 192.168.1.253",
        "192.168.1.254": "holds it itself",
        "10.66.0.1": "of type blackhole",
        "10.99.0.1": "no Ethernet",
        "203.0.113.1": "no route",
    }.items():
        assert reason in by_vip[vip]["reason"]
        assert by_vip[vip]["macs"] == []
    assert ask.questions == {"eth1": {"192.168.1.110": "192.168.1.254", "2001:db8:1::110": "fe80::1"}}


def test_a_given_interface_is_asked_without_a_route() -> None:
    ask = Ask()
    results = _vip_probe.who_answers(["203.0.113.1", "192.168.1.254"], "eth1", 1, 1, read_ip, ask)
    assert [result["on_link"] for result in results] == [True, False]
    assert ask.questions == {"eth1": {"203.0.113.1": "10.0.0.1"}}


@pytest.mark.parametrize("vip", ["web", "fe80::1%eth1"])
def test_not_an_address(vip: str) -> None:
    with pytest.raises(LvsError, match=f"vips: '{vip}' is not"):
        _vip_probe.who_answers([vip], "", 1, 1, read_ip, Ask())


def test_all_mistakes_of_the_limits() -> None:
    with pytest.raises(LvsError) as caught:
        _vip_probe.check_limits(0, 0, [{"address": "web", "port": 70000}])
    assert len(caught.value.details["mistakes"]) == 4
    _vip_probe.check_limits(1, 60, [{"address": "::1", "port": 1}])


def test_services_on_this_machine() -> None:
    import socket

    with (
        socket.create_server(("127.0.0.1", 0)) as open_port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
    ):
        silent.bind(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as once_open:
            closed = once_open.getsockname()[1]
        services = [
            {"address": "127.0.0.1", "port": open_port.getsockname()[1], "protocol": "tcp"},
            {"address": "127.0.0.1", "port": closed, "protocol": "tcp"},
            {"address": "127.0.0.1", "port": silent.getsockname()[1], "protocol": "udp", "payload": "x"},
        ]
        results = _vip_probe.try_services(services, 0.3)
        assert [result["reachable"] for result in results] == [True, False, False]
        assert [result["error"] for result in results] == ["", "Connection refused", "no answer within 0.3 seconds"]
        assert silent.recv(10) == b"x"


def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_arguments: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr("socket.socket", no_socket)
    (result,) = _vip_probe.try_services([{"address": "::1", "port": 80, "protocol": "tcp"}], 0.3)
    assert (result["reachable"], result["error"]) == (False, "Address family not supported by protocol")
