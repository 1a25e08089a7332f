# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole cluster changes its forwarding method again and again under a stream of requests in each family."""

from __future__ import annotations

import pytest

from ansible_collections.linuxvirtualserver.lvs.tests.soak.cluster import Soak, expect_shares

VIP4, VIP6 = "192.168.1.110", "2001:db8:1::110"
FLAG = {"dr": "-g", "nat": "-m", "tun": "-i"}
CHANGES = [f"{number}-{method}" for number, method in enumerate(["nat", "tun", "dr"] * 7, start=1)]


@pytest.fixture(scope="module", autouse=True)
def cluster(lab: Soak) -> None:
    lab.converge()


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_the_method_loses_no_request(lab: Soak, change: str) -> None:
    method = change.partition("-")[2]
    with lab.background("stream", VIP4, 80) as streamed4, lab.background("stream", VIP6, 8080) as streamed6:
        lab.converge(services=lab.by(method))
    answered = [sum(count for who, count in seen[0].items() if who != "lost") for seen in (streamed4, streamed6)]
    print(f"to {method}: {answered} requests answered, lost {streamed4[0]['lost']} {streamed6[0]['lost']}")
    assert all(answered)
    assert (streamed4[0]["lost"], streamed6[0]["lost"]) == ([], [])
    lines = [line for line in lab.run("director", "ipvsadm -Sn").splitlines() if line.startswith("-a")]
    assert lines
    assert all(f" {FLAG[method]} " in line for line in lines), lines
    for protocol in ("tcp", "udp"):
        for vip in (VIP4, VIP6):
            expect_shares(lab.ask(protocol, vip, 80, 4), dict.fromkeys(lab.realservers, 2))


@pytest.mark.xfail(strict=True, reason="known, see docs/figures.md: what is known to lose requests")
def test_an_open_connection_does_not_spoil_the_change_from_tun_to_dr(lab: Soak) -> None:
    """The kernel keeps one route for each realserver, whoever of its connections asked for it first.

    One that a connection by tunnel has asked for leads packets under DR astray: to the VIP instead of the RIP.
    """
    lab.converge(services=lab.by("tun"))
    with lab.background("hold", VIP4, 80):
        lab.converge(services=lab.by("dr"))
        expect_shares(lab.ask("tcp", VIP4, 80, 4), dict.fromkeys(lab.realservers, 2))


def test_nothing_of_it_is_left(lab: Soak) -> None:
    lab.teardown()
    assert lab.leftovers() == {}
