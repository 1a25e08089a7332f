# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converging with an edited inventory, under traffic."""

from __future__ import annotations

import contextlib
import copy
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from lab import Lab, expect_shares

VIP4, VIP6 = "192.168.1.110", "2001:db8:1::110"


@contextlib.contextmanager
def netlink_writes(lab: Lab, names: list[str]) -> Iterator[dict[str, int]]:
    """How many writing requests the kernel of each machine gets while the block runs, seen by nlmon."""
    counted: dict[str, int] = {}
    for name in names:
        lab.put(name, pathlib.Path(__file__).parent / "netlink_writes.py", "/root/netlink_writes.py")
        lab.run(name, "modprobe nlmon; ip link add nlmon0 type nlmon; ip link set nlmon0 up; rm -f /tmp/nlmon.*")
        capture = "tcpdump -Z root -U -i nlmon0 -w /tmp/nlmon.pcap"
        lab.run(name, f"nohup timeout 300 {capture} > /tmp/nlmon.err 2>&1 < /dev/null &")
        lab.wait(name, "grep -q 'listening on' /tmp/nlmon.err", seconds=20)
    try:
        yield counted
    finally:
        for name in names:
            lab.run(name, "pkill -INT -x tcpdump; sleep 0.5; ip link del nlmon0")
            seen, writes = map(int, lab.run(name, "python3 /root/netlink_writes.py /tmp/nlmon.pcap").split())
            # A capture without a single message would prove nothing.
            counted[name] = writes if seen else -1


def edited(lab: Lab) -> list[dict[str, Any]]:
    """Another weight, one realserver less, one service more."""
    services = copy.deepcopy(lab.services)
    web, weighted = services
    web["realservers"] = web["realservers"][:-1]
    weighted["realservers"][0]["weight"] = 5
    extra = copy.deepcopy(weighted)
    extra.update(name="echo", ports=[7], protocol="tcp", realservers=[{"host": lab.realservers[0]}])
    return [web, weighted, extra]


@pytest.mark.scenario("dr", "nat", "tun")
def test_edit_changes_just_that_and_loses_nothing(lab: Lab) -> None:
    """Check mode says what the real run then does; a stream of requests and an open connection survive the change."""
    services = edited(lab)
    table = lab.run("director", "ipvsadm -Sn")
    checked = lab.converge("--check", "--diff", services=services)
    assert lab.run("director", "ipvsadm -Sn") == table, "check mode wrote"

    with (
        netlink_writes(lab, ["director"]) as writes,
        lab.background("stream", VIP4, 80) as streamed,
        lab.background("hold", VIP4, 8080) as held,
    ):
        real = lab.converge(services=services)
    assert real.changes() == checked.changes()
    assert real.changes(), "the edit changed nothing"
    assert streamed[0]["lost"] == [], streamed
    assert held[0] is not None, "the established connection broke"
    # The sabotage of the second converge, which writes nothing: writes are seen when there are any.
    assert writes["director"] > 0

    now = lab.run("director", "ipvsadm -Sn").splitlines()
    before = table.splitlines()
    leaver = lab.realservers[-1]
    gone = [line for line in before if line not in now]
    assert len([line for line in gone if " -w " in line]) == len(gone), f"a service itself was changed: {gone}"
    expect_shares(lab.ask("tcp", VIP6, 80, 4), {lab.realservers[0]: 4})
    assert leaver not in str(lab.ask("udp", VIP4, 80, 4))
    first, second = (entry["host"] for entry in services[1]["realservers"])
    expect_shares(lab.ask("tcp", VIP4, 8080, 8), {first: 5, second: 3})
    assert f"-A -t {VIP4}:7 " in "\n".join(now)


@pytest.mark.scenario("nat", "tun")
def test_editing_back_restores_the_table(lab: Lab) -> None:
    with lab.background("stream", VIP6, 80) as streamed:
        lab.converge()
    assert streamed[0]["lost"] == [], streamed
    for vip in (VIP4, VIP6):
        expect_shares(lab.ask("tcp", vip, 80, 2 * len(lab.realservers)), dict.fromkeys(lab.realservers, 2))


@pytest.mark.scenario("dr")
def test_change_from_dr_to_nat_and_back_loses_nothing(lab: Lab) -> None:
    """From the edited table: every realserver changes its method and its RIP under a stream of requests, and nothing of
    DR is left; then the first table again.
    """
    services = copy.deepcopy(lab.services)
    for service in services:
        service["forwarding"] = "nat"
    with lab.background("stream", VIP4, 80) as streamed, lab.background("stream", VIP6, 8080) as streamed6:
        lab.converge(services=services)
    assert (streamed[0]["lost"], streamed6[0]["lost"]) == ([], []), (streamed, streamed6)
    assert " -m " in lab.run("director", "ipvsadm -Sn")
    for name in lab.realservers:
        assert VIP4 not in lab.run(name, "ip -o addr")
        assert lab.run(name, "sysctl -n net.ipv4.conf.all.arp_ignore").strip() == "0"
    expect_shares(lab.ask("tcp", VIP4, 80, 4), dict.fromkeys(lab.realservers, 2))

    with lab.background("stream", VIP4, 80) as streamed:
        lab.converge()
    assert streamed[0]["lost"] == [], streamed
    expect_shares(lab.ask("tcp", VIP6, 80, 4), dict.fromkeys(lab.realservers, 2))


@pytest.mark.scenario("dr")
def test_every_mistake_in_one_message_and_nothing_touched(lab: Lab) -> None:
    services = copy.deepcopy(lab.services)
    services[0]["vips"] = ["192.168.1.110/24", "web.example"]
    services[0]["forwarding"] = "magic"
    services[1]["realservers"][0]["weight"] = -1
    table = lab.run("director", "ipvsadm -Sn")
    play = lab.play("site.yml", services=services)
    assert play.code != 0
    for word in ("192.168.1.110/24", "web.example", "magic", "-1"):
        assert word in play.output
    assert "nothing was touched" in play.output
    assert lab.run("director", "ipvsadm -Sn") == table


@pytest.mark.scenario("dr")
def test_unknown_scheduler_is_refused_before_anything_is_touched(lab: Lab) -> None:
    services = copy.deepcopy(lab.services)
    services[0]["scheduler"] = "fastest"
    table = lab.run("director", "ipvsadm -Sn")
    play = lab.play("site.yml", services=services)
    assert play.code != 0
    assert "the scheduler fastest is unknown" in play.output
    assert lab.run("director", "ipvsadm -Sn") == table
