# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces of the running kernel, one per test; they need root and go with the test."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator

import pytest

CLONE_NEWNET = 0x40000000


class Neighbour:
    """Another host on the link: a namespace that lives as long as a process in it."""

    def __init__(self, bridge: str, number: int) -> None:
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "300"])
        pid = str(self.holder.pid)
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{pid}/ns/net") == own:
            if self.holder.poll() is not None:
                raise RuntimeError("no namespace for a neighbour")
        self.pid = pid
        run(f"ip link add p{number} type veth peer name eth1 netns {pid}")
        run(f"ip link set p{number} master {bridge} up")
        self.run("ip link set lo up")
        self.run("ip link set eth1 up")
        self.run(f"ip addr add 192.168.1.{number}/24 dev eth1")
        self.run(f"ip addr add 2001:db8:1::{number}/64 dev eth1 nodad")

    def run(self, command: str) -> str:
        return run(f"nsenter -t {self.pid} -n {command}")

    def mac(self) -> str:
        return self.run("ip -br link show eth1").split()[2]

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()


def run(command: str) -> str:
    """A command in the namespace of the test; its output."""
    return subprocess.run(command.split(), check=True, capture_output=True, text=True, timeout=20).stdout


@pytest.fixture
def namespace() -> Iterator[None]:
    """An empty network namespace, the one of this test, with lo up."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        os.close(home)
        pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    try:
        run("ip link set lo up")
        yield
    finally:
        back = libc.setns(home, CLONE_NEWNET)
        os.close(home)
        if back != 0:
            pytest.exit("the way back into the own network namespace failed", returncode=2)


@pytest.fixture
def neighbours(namespace: None) -> Iterator[list[Neighbour]]:
    """Two hosts, .2 and .3, on one link with this one, eth1 with .1 in 192.168.1.0/24 and 2001:db8:1::/64."""
    run("ip link add br0 type bridge")
    run("ip link set br0 up")
    run("ip link add p1 type veth peer name eth1")
    run("ip link set p1 master br0 up")
    run("ip link set eth1 up")
    run("ip addr add 192.168.1.1/24 dev eth1")
    run("ip addr add 2001:db8:1::1/64 dev eth1 nodad")
    found: list[Neighbour] = []
    try:
        found += [Neighbour("br0", 2)]
        found += [Neighbour("br0", 3)]
        yield found
    finally:
        for neighbour in found:
            neighbour.close()
