# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two directors that behave as one, under each backend: what they do with each fault, seen from the client.

The bounds are loose, so that a slow machine does not fail; the figures are printed, and docs/failover.md has them.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable

import pytest
from lab import expect_shares
from pair import DIRECTORS, NAT4, NAT6, VIP4, VIP6, VIPS, Pair, expect_even, until
from test_2_arp import arp_owners, ndp_owners

BACKEND = os.environ.get("MOLECULE_SCENARIO_NAME", "keepalived")
# Seconds without an answer: about three times what the timers of the inventory promise, and some more.
BOUND = {"keepalived": 10.0, "heartbeat": 25.0}[BACKEND]
EVEN = {"rs1": 2, "rs2": 2}


def test_client_is_balanced(lab: Pair) -> None:
    lab.settled()
    expect_even(lab)


def test_only_the_holder_answers_for_the_vip(lab: Pair) -> None:
    mac = lab.mac(lab.settled(), "eth1")
    assert arp_owners(lab, "client") == {mac}
    assert ndp_owners(lab, "client") == {mac}


# ---------------------------------------------------------------------- realservers


def sends_to(lab: Pair, name: str, last: str) -> bool:
    """Whether a director sends to the realserver with these last letters of its addresses, for any service."""
    return any(f".{last}:" in line or f"::{last}]:" in line for line in lab.table(name) if line.startswith("-a"))


def test_realservers_leave_when_they_fail_and_come_back(lab: Pair) -> None:
    """rs1 stops, then rs2 shows another page than it should: the sorry server is all that is left."""
    lab.settled()
    try:
        lab.run("rs1", "systemctl stop lvs-responder")
        took = until(lambda: not any(sends_to(lab, name, "2") for name in DIRECTORS))
        print(f"service stopped: out of both tables after {took:.1f} s")
        for vip in VIPS:
            expect_shares(lab.ask("tcp", vip, 80, 2), {"rs2": 2})

        lab.run("rs2", "hostname wrong; systemctl restart lvs-responder")
        took = until(lambda: all("172.16.5.4" in " ".join(lab.table(name)) for name in DIRECTORS))
        print(f"wrong page: out of both tables after {took:.1f} s")
        until(lambda: all("2001:db8:3::4" in " ".join(lab.table(name)) for name in DIRECTORS))
        for vip in (VIP4, VIP6):
            expect_shares(lab.ask("tcp", vip, 80, 2), {"rs3": 2})
    finally:
        lab.run("rs2", "hostname rs2; systemctl restart lvs-responder")
        lab.run("rs1", "systemctl start lvs-responder")

    def back() -> bool:
        return lab.fit() is not None and all(lab.run(name, "ipvsadm -Sn").count("-a ") == 12 for name in DIRECTORS)

    print(f"both work again: in both tables after {until(back):.1f} s")
    expect_even(lab)


# ---------------------------------------------------------------------- directors


def test_without_synchronisation_the_connection_breaks(lab: Pair) -> None:
    """Sabotage: the daemon that tells the peer of new connections is gone; what the tests below rely on is missing."""
    holder = lab.settled()
    lab.run(holder, "ipvsadm --stop-daemon master")
    peer = lab.other(holder)
    # Not the session alone: settled() wants the daemons back.
    with lab.background("session", VIP4, 7) as session:
        time.sleep(3)
        lab.kill_program(holder)
        until(lambda: lab.held(peer) > 0)
        time.sleep(2)
    assert session[0]["broken"] is not None, session
    lab.settled()


def killed(lab: Pair, holder: str) -> None:
    """What it ran is gone at once; it is started again and stands by."""
    lab.kill_program(holder)
    until(lambda: lab.held(lab.other(holder)) > 0)
    lab.expect_holder(lab.other(holder))


def stopped(lab: Pair, holder: str) -> None:
    """It hangs and keeps its addresses while the other takes them; the watchdog ends that."""
    lab.kill_program(holder, "STOP")
    until(lambda: lab.held(lab.other(holder)) > 0)
    lab.expect_holder(lab.other(holder))


def unplugged(lab: Pair, holder: str) -> None:
    """The holder cannot reach clients nor hear the other on that network, and gives up; then it can again."""
    with lab.cut(holder, "lan"):
        until(lambda: lab.held(lab.other(holder)) > 0 and lab.held(holder) == 0)
    lab.expect_holder(lab.other(holder))


def without_power(lab: Pair, holder: str) -> None:
    lab.control("kill", holder)
    until(lambda: lab.held(lab.other(holder)) > 0)
    lab.control("start", holder)
    lab.expect_holder(lab.other(holder), 120)


def rebooted(lab: Pair, holder: str) -> None:
    boot = lab.run(holder, "cat /proc/sys/kernel/random/boot_id").strip()
    lab.run(holder, "systemctl reboot", check=False)
    until(lambda: lab.held(lab.other(holder)) > 0)
    lab.wait(holder, f"! grep -q {boot} /proc/sys/kernel/random/boot_id")
    lab.expect_holder(lab.other(holder), 120)


FAULTS = {
    "keepalived": [killed, stopped, unplugged, without_power, rebooted],
    # heartbeat that hangs needs a watchdog device, which would reset the machine: make soak.
    "heartbeat": [killed, unplugged, without_power, rebooted],
}


@pytest.mark.parametrize("fault", FAULTS[BACKEND])
def test_fault_is_survived(lab: Pair, fault: Callable[[Pair, str], None]) -> None:
    with lab.watched() as seen:
        fault(lab, lab.settled())
    assert seen.broken is None, seen
    # Of new connections: TCP asks again later each time, so the one that stays may notice twice as much.
    assert float(seen.gaps[0]["longest"]) < BOUND, seen
    expect_even(lab)


# ---------------------------------------------------------------------- on purpose


def test_switch_is_refused_if_the_peer_is_not_fit(lab: Pair) -> None:
    holder = lab.settled()
    peer = lab.other(holder)
    lab.run(peer, f"systemctl stop {lab.backend}")
    try:
        play = lab.play("failover.yml")
        assert play.code != 0
        assert f"{lab.backend} does not run on {peer}" in play.output, play.output
        assert "Nothing was touched" in play.output
        assert lab.held(holder) > 0
    finally:
        lab.run(peer, f"systemctl start {lab.backend}")


def test_switch_loses_nothing(lab: Pair) -> None:
    holder = lab.settled()
    checked = lab.play("failover.yml", "--check")
    assert checked.code == 0, checked.output
    assert "would give" in checked.output
    assert (checked.changes(), lab.holder()) == ({}, holder)

    with lab.watched() as seen, lab.background("stream", VIP4, 80) as stream:
        play = lab.play("failover.yml")
        assert play.code == 0, play.output
    assert play.changes(), "it did nothing"
    lab.expect_holder(lab.other(holder))
    assert stream[0]["lost"] == [], stream
    assert seen.broken is None, seen
    for vip in (NAT4, NAT6):
        expect_shares(lab.ask("tcp", vip, 80, 4), EVEN)


def test_a_realserver_that_leaves_is_drained(lab: Pair) -> None:
    """Health backends delete at once; its open connection would break, and so would requests under way.

    Then nothing is left to do, and nothing moves. Comes last: the realserver does not come back.
    """
    holder = lab.settled()
    fewer = copy.deepcopy(lab.services)
    fewer[0]["realservers"] = fewer[0]["realservers"][1:]
    with lab.watched() as seen, lab.background("stream", VIP4, 80) as stream:
        assert lab.converge(services=fewer).changes()
        lab.settled()
        expect_shares(lab.ask("tcp", VIP4, 80, 2), {"rs2": 2})
        assert lab.converge(services=fewer).changes() == {}
    lab.expect_holder(holder)
    assert seen.broken is None, seen
    assert stream[0]["lost"] == [], stream
