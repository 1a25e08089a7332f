# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that belong to kube-proxy, kube-router or docker swarm."""

from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_strangers
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_strangers import addresses_of, strangers

CLUSTER_IP = socket.inet_aton("10.96.0.1")
VIP = socket.inet_aton("192.168.1.110")
VIP6 = socket.inet_pton(socket.AF_INET6, "fd00:10:96::1")
KUBE = (2, 6, CLUSTER_IP, 443, 0)
KUBE6 = (10, 6, VIP6, 443, 0)
OURS = (2, 6, VIP, 80, 0)
NODE_PORT = (2, 6, VIP, 30080, 0)
MARK = (2, 0, b"", 0, 256)
LOW_MARK = (2, 0, b"", 0, 255)
EVERYTHING = [KUBE, KUBE6, OURS, NODE_PORT, MARK, LOW_MARK]


def test_nobody_else_is_here(tmp_path: Path) -> None:
    assert strangers(EVERYTHING, str(tmp_path), lambda _device: None) == {}


def test_vips_on_the_device_of_kube_proxy_and_node_ports_are_its_own(tmp_path: Path) -> None:
    devices = {"kube-ipvs0": {(2, CLUSTER_IP), (10, VIP6)}}
    found = strangers(EVERYTHING, str(tmp_path), devices.get)
    assert set(found) == {KUBE, KUBE6, NODE_PORT}
    assert found[KUBE] == "kube-proxy: the VIP is on device kube-ipvs0"
    assert "30000 to 32767" in found[NODE_PORT]


def test_a_device_without_vips_proves_nothing(tmp_path: Path) -> None:
    assert strangers(EVERYTHING, str(tmp_path), {"kube-ipvs0": set()}.get) == {}


def test_kube_router_has_a_device_of_its_own(tmp_path: Path) -> None:
    found = strangers([KUBE, OURS], str(tmp_path), {"kube-dummy-if": {(2, CLUSTER_IP)}}.get)
    assert found == {KUBE: "kube-router: the VIP is on device kube-dummy-if"}


@pytest.mark.parametrize("name", ["ingress_sbox", "lb_k2x8f0a1b"])
def test_marks_in_a_network_namespace_of_swarm(tmp_path: Path, name: str) -> None:
    own = tmp_path / "proc/self/ns/net"
    own.parent.mkdir(parents=True)
    own.write_text("")
    folder = tmp_path / "run/docker/netns"
    folder.mkdir(parents=True)
    (folder / "lb_another").write_text("")
    (folder / "1-k2x8f0a1b").hardlink_to(own)  # any other network namespace of docker's says nothing
    assert strangers(EVERYTHING, str(tmp_path), lambda _device: None) == {}
    (folder / name).hardlink_to(own)
    found = strangers(EVERYTHING, str(tmp_path), lambda _device: None)
    assert set(found) == {MARK}
    assert name in found[MARK]


# ---- the addresses of a device


def test_addresses_of_the_loopback_device() -> None:
    found = addresses_of("lo")
    assert found is not None
    assert (2, socket.inet_aton("127.0.0.1")) in found
    assert addresses_of("nosuchdevice0") is None


def message(kind: int, content: bytes, flags: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(content), kind, flags, 1, 0) + content


def address(family: int, index: int, **attributes: bytes) -> bytes:
    content = struct.pack("=BBBBI", family, 32, 0, 0, index)
    for name, value in attributes.items():
        content += struct.pack("=HH", 4 + len(value), {"address": 1, "local": 2}[name]) + value
    return message(20, content)


class Socket:
    """Gives these datagrams."""

    def __init__(self, *datagrams: bytes) -> None:
        self.datagrams = list(datagrams)

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_about: object) -> None:
        return

    def send(self, data: bytes) -> int:
        """A request for all addresses."""
        assert data == struct.pack("=IHHIIB7x", 24, 22, 0x301, 1, 0, 0)
        return len(data)

    def recv(self, _size: int) -> bytes:
        """The next one."""
        if not self.datagrams:
            raise TimeoutError("timed out")
        return self.datagrams.pop(0)


DONE = message(3, struct.pack("=i", 0))


def read(*datagrams: bytes) -> Any:
    index = socket.if_nametoindex("lo")
    changed = [datagram.replace(struct.pack("=I", 0xABCD), struct.pack("=I", index)) for datagram in datagrams]
    # A fake socket, with only the methods that are called.
    return addresses_of("lo", lambda: Socket(*changed))  # type: ignore[arg-type, return-value]  # a fake


def test_only_this_device_and_its_own_end() -> None:
    peer = address(2, 0xABCD, address=b"\x0a\0\0\2", local=b"\x0a\0\0\1")
    other = address(2, 0xABCE, address=CLUSTER_IP, local=CLUSTER_IP)
    assert read(peer + other, address(10, 0xABCD, address=VIP6), DONE) == {(2, b"\x0a\0\0\1"), (10, VIP6)}


@pytest.mark.parametrize(
    "datagrams",
    [
        (),
        (b"",),
        (message(20, b"\2", flags=0x12),),
        (message(2, struct.pack("=i", -errno.EPERM)),),
        (message(20, struct.pack("=BBBBI", 2, 32, 0, 0, 1) + b"\1\0\1\0"),),
        (b"\xff" * 40,),
    ],
)
def test_a_list_that_is_not_whole_is_an_error(datagrams: tuple[bytes, ...]) -> None:
    with pytest.raises(LvsError, match="addresses of device lo"):
        read(*datagrams)


def test_a_device_that_cannot_be_read_is_no_empty_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_ipvs_strangers, "_exists", lambda _name: True)
    monkeypatch.setattr(socket, "if_nametoindex", lambda _name: 7)
    monkeypatch.setattr(_ipvs_strangers, "_socket", lambda: Socket(message(2, struct.pack("=i", -errno.EPERM))))
    with pytest.raises(LvsError, match="kube-ipvs0"):
        strangers([OURS], str(tmp_path))
