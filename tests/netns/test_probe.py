# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking for a VIP and announcing it, between namespaces on one link."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _probe
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_kernel import Kernel
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._vip_probe import who_answers

if TYPE_CHECKING:
    from .conftest import Neighbour

VIPS = ["192.168.1.110", "2001:db8:1::110"]


def macs(vips: list[str] | None = None, interface: str = "") -> list[list[str]]:
    return [result["macs"] for result in who_answers(vips or VIPS, interface, 2, 0.5, Kernel().ip)]


def test_every_host_that_answers_is_seen(neighbours: list[Neighbour]) -> None:
    """The ARP problem: two hosts hold the VIP (HOWTO 6); then one of them keeps quiet."""
    director, realserver = neighbours
    assert macs() == [[], []]
    director.run("ip addr add 192.168.1.110/32 dev eth1")
    director.run("ip addr add 2001:db8:1::110/128 dev eth1 nodad")
    realserver.run("ip addr add 192.168.1.110/32 dev lo")
    realserver.run("ip addr add 2001:db8:1::110/128 dev lo nodad")
    four, six = macs()
    assert set(four) == {director.mac(), realserver.mac()}
    assert six == [director.mac()], "IPv6 answers for the addresses of the interface only"
    realserver.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1")
    assert macs() == [[director.mac()], [director.mac()]]
    assert macs(interface="eth1") == [[director.mac()], [director.mac()]]


def test_hundreds_of_vips_are_asked_for_at_once(neighbours: list[Neighbour], tmp_path: Path) -> None:
    """Their answers are more than a socket holds."""
    vips = [address for n in range(1, 301) for address in (f"192.168.{2 + n // 250}.{n % 250}", f"2001:db8:1::2:{n:x}")]
    lines = [f"addr add {vip}/{'128 dev eth1 nodad' if ':' in vip else '32 dev eth1'}\n" for vip in vips]
    (tmp_path / "batch").write_text("".join(lines), encoding="utf-8")
    neighbours[0].run(f"ip -batch {tmp_path / 'batch'}")
    assert macs(vips, "eth1") == [[neighbours[0].mac()]] * len(vips)


@pytest.mark.usefixtures("neighbours")
def test_where_nobody_can_be_asked() -> None:
    results = who_answers(["192.168.1.1", "203.0.113.1", "127.0.0.2"], "", 1, 0.2, Kernel().ip)
    assert [result["on_link"] for result in results] == [False, False, False]
    assert "holds it itself" in results[0]["reason"]
    assert "no route" in results[1]["reason"]
    with pytest.raises(LvsError, match="Interface nope cannot be listened on: there is no such interface"):
        who_answers(["203.0.113.1"], "nope", 1, 0.2, Kernel().ip)


def known(host: Neighbour, vip: str) -> str:
    """The MAC address that a host believes to belong to a VIP."""
    return host.run(f"ip neigh show {vip} dev eth1").partition("lladdr ")[2].split(" ")[0]


@pytest.mark.parametrize("vip", VIPS)
def test_an_announcement_moves_the_vip(neighbours: list[Neighbour], vip: str) -> None:
    """A neighbour that knows the old director learns the new one from the announcement alone."""
    client = neighbours[0]
    own = Kernel().ip("link", "show", "eth1")[0]["address"]
    client.run(f"ip neigh replace {vip} lladdr 02:00:00:00:00:99 dev eth1 nud stale")
    assert _probe.announce([(vip, "eth1")]) == []
    end = time.monotonic() + 3
    while known(client, vip) != own and time.monotonic() < end:
        time.sleep(0.1)
    assert known(client, vip) == own


@pytest.mark.usefixtures("namespace")
def test_an_announcement_that_cannot_be_made_is_told() -> None:
    targets: list[Any] = [("192.168.1.110", "nope"), ("192.168.1.110", "lo")]
    first, second = _probe.announce(targets)
    assert "there is no such interface" in first
    assert "no Ethernet" in second
