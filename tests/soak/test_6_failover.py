# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two directors under each backend and every fault of docs/failover.md, with the figures printed.

The scenarios keepalived and heartbeat have the quick ones; here are those that need other settings, two hundred
connections, or a director that is left in trouble for a while.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.tests.soak.cluster import (
    DIRECTORS,
    ECHO,
    HERE,
    NAT4,
    NAT6,
    VIP4,
    VIP6,
    Pair,
    Soak,
    expect_even,
    expect_shares,
    until,
)

MANAGED = (*DIRECTORS, "rs1", "rs2", "rs3")
SETTLE = 120.0


def teardown(pair: Pair) -> None:
    play = pair.play("teardown.yml")
    assert play.code == 0, play.output


@pytest.fixture(scope="module", params=["keepalived", "heartbeat"])
def pair(request: pytest.FixtureRequest, lab: Soak) -> Iterator[Pair]:
    """Both directors, bare before and after."""
    lab.teardown()
    pair = Pair(request.param)
    for name in MANAGED:
        pair.put(name, HERE.parent / "snapshot.py", "/root/snapshot.py")
        pair.run(name, "test -e /var/tmp/snapshot.json || python3 /root/snapshot.py take; sync")
    start = time.monotonic()
    pair.converge()
    print(f"{pair.backend}: the first converge takes {time.monotonic() - start:.0f} s")
    pair.settled(SETTLE)
    yield pair
    teardown(pair)
    left = {name: pair.run(name, "python3 /root/snapshot.py compare", check=False) for name in MANAGED}
    assert not any(text.strip() for text in left.values()), left


def option(value: dict[str, Any]) -> tuple[str, str]:
    return "-e", json.dumps(value)


@pytest.fixture(scope="class")
def quick(pair: Pair) -> Iterator[None]:
    """The fastest timers that the figures are about."""
    if pair.backend == "keepalived":
        pair.converge(*option({"lvs_vrrp": {**pair.variables["lvs_vrrp"], "advert": 0.1}}))
        yield
        pair.converge()
    else:
        yield


# ---------------------------------------------------------------------- one director fails


def killed(pair: Pair, holder: str) -> None:
    pair.kill_program(holder)


def without_power(pair: Pair, holder: str) -> None:
    pair.control("kill", holder)


def rebooted(pair: Pair, holder: str) -> None:
    pair.run(holder, "systemctl reboot", check=False)


def unplugged(pair: Pair, holder: str) -> None:
    pair.plug(holder, ["lan"], put_in=False)


@pytest.mark.usefixtures("quick")
class TestWithTheFastestTimers:
    @pytest.mark.parametrize("fault", [killed, without_power, rebooted, unplugged])
    def test_the_other_takes_over(self, pair: Pair, fault: Callable[[Pair, str], None]) -> None:
        """Twice, so that each director is the one that fails."""
        for _round in range(2):
            holder = pair.settled(SETTLE)
            peer = pair.other(holder)
            with pair.watched() as seen:
                fault(pair, holder)
                until(lambda peer=peer: pair.held(peer) > 0)  # type: ignore[misc]  # mypy infers no lambda with a default
                time.sleep(3)
            print(f"{pair.backend}: {fault.__name__}, {holder}: {seen.longest:.2f} s without an answer")
            if fault is unplugged:
                pair.plug(holder, ["lan"], put_in=True)
            if fault is without_power:
                pair.control("start", holder)
            pair.wait(holder, seconds=SETTLE)
            pair.settled(SETTLE)
            assert seen.broken is None, seen
            assert seen.longest < {"keepalived": 3, "heartbeat": 15}[pair.backend], seen
            expect_even(pair)

    def test_switch_there_and_back_under_load(self, pair: Pair) -> None:
        with pair.background("gaps", VIP6, 80) as undisturbed:
            assert pair.play("failover.yml", "--check").code == 0
        print(f"{pair.backend}: nothing moves: {undisturbed[0]}")
        lost, longest = [], []
        for _round in range(6):
            with pair.background("stream", VIP4, 80) as streamed, pair.background("gaps", VIP6, 80) as gaps:
                play = pair.play("failover.yml")
                assert play.code == 0, play.output
            pair.settled(SETTLE)
            lost += streamed[0]["lost"]
            longest.append(gaps[0]["longest"])
        print(f"{pair.backend}: six switches: lost {lost}, gaps {longest}")
        assert lost == []


@contextlib.contextmanager
def deaf(pair: Pair, name: str) -> Iterator[None]:
    """A director that is told of no connection, as if each had just begun."""
    chain = "{ type filter hook input priority -10; }"
    pair.run(
        name, f"nft 'add table inet deaf; add chain inet deaf in {chain}; add rule inet deaf in udp dport 8848 drop'"
    )
    try:
        yield
    finally:
        pair.run(name, "nft delete table inet deaf")


def test_a_switch_passes_on_what_the_other_does_not_know(pair: Pair) -> None:
    holder = pair.settled(SETTLE)
    peer = pair.other(holder)
    with deaf(pair, peer), contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(pair.background("session", vip, ECHO)) for vip in (VIP4, VIP6)]
        uploads = [stack.enter_context(pair.background("hold", vip, 80)) for vip in (NAT4, NAT6)]
        time.sleep(4)
        play = pair.play("failover.yml")
        assert play.code == 0, play.output
        assert set(re.findall(r"table (ip6?) lvs_relay", pair.run(peer, "nft list tables"))) == {"ip", "ip6"}
        time.sleep(5)
        assert pair.knows(peer) == 0
    assert [session[0]["broken"] for session in sessions] == [None, None], sessions
    assert all(upload[0] for upload in uploads), uploads
    assert pair.settled(SETTLE) == peer


def test_a_switch_that_passes_nothing_on_breaks_what_the_other_does_not_know(pair: Pair) -> None:
    """Sabotage of the test above."""
    holder = pair.settled(SETTLE)
    peer = pair.other(holder)
    with deaf(pair, peer), pair.background("session", VIP4, ECHO) as session:
        time.sleep(4)
        play = pair.play("failover.yml", "-e", "lvs_failover_relay=0")
        assert play.code == 0, play.output
        time.sleep(2)
    assert session[0]["broken"] is not None, session
    assert pair.settled(SETTLE) == peer
    assert "lvs_relay" not in pair.run(holder, "nft list tables") + pair.run(peer, "nft list tables")


def test_joined_again_one_has_the_vips(pair: Pair) -> None:
    """Neither hears the other for a while, so both take the VIPs."""
    holder = pair.settled(SETTLE)
    with pair.cut(holder, "lan", "inside"):
        until(lambda: all(pair.held(name) > 0 for name in DIRECTORS))
    took = until(lambda: pair.holder() is not None)
    print(f"{pair.backend}: one holder {took:.1f} s after the cables are in again")
    pair.settled(SETTLE)
    expect_even(pair)


def test_hung_without_a_watchdog_both_answer(pair: Pair) -> None:
    """What floating addresses alone cannot cover; the state lasts until a person ends it."""
    if pair.backend == "keepalived":
        pair.converge(*option({"lvs_vrrp": {**pair.variables["lvs_vrrp"], "watchdog": 0}}))
    holder = pair.settled(SETTLE)
    pair.kill_program(holder, "STOP")
    until(lambda: pair.held(pair.other(holder)) > 0)
    time.sleep(15)
    assert all(pair.held(name) > 0 for name in DIRECTORS), "it is covered: tell docs/failover.md"
    pair.kill_program(holder, "CONT")
    print(f"{pair.backend}: one holder {until(lambda: pair.holder() is not None):.1f} s after it goes on")
    if pair.backend == "keepalived":
        pair.converge()
    pair.settled(SETTLE)
    expect_even(pair)


def test_an_end_that_hangs_is_cut_off(pair: Pair) -> None:
    """heartbeat ends when it has given up its resources, and waits for that without a bound of its own."""
    if pair.backend == "keepalived":
        pytest.skip("about what heartbeat waits for")
    holder = pair.settled(SETTLE)
    script = "/etc/ha.d/resource.d/lvs-addresses"
    program = pair.run(holder, f"readlink {script}").strip()
    pair.run(holder, "printf '#!/bin/sh\\nexec sleep 3600\\n' > /root/hangs; chmod 755 /root/hangs")
    pair.run(holder, f"ln -sfn /root/hangs {script}")
    try:
        with pair.watched() as seen:
            start = time.monotonic()
            pair.run(holder, "timeout 60 systemctl stop heartbeat")
            print(f"{pair.backend}: an end that hangs is over after {time.monotonic() - start:.1f} s")
            until(lambda: pair.held(pair.other(holder)) > 0)
    finally:
        pair.run(holder, f"ln -sfn {program} {script}; systemctl start heartbeat")
    assert seen.broken is None, seen
    pair.settled(SETTLE)
    expect_even(pair)


# ---------------------------------------------------------------------- many connections


@pytest.mark.parametrize("how", ["on purpose", "without power"])
def test_two_hundred_idle_and_active_connections(pair: Pair, how: str) -> None:
    holder = pair.settled(SETTLE)
    peer = pair.other(holder)
    with contextlib.ExitStack() as after:
        if how != "on purpose":
            after.callback(pair.control, "start", holder)
        with pair.background("crowd", VIP4, ECHO) as crowd, pair.background("gaps", VIP6, 80) as gaps:
            until(lambda: pair.knows(peer) >= 400, 30)
            if how == "on purpose":
                play = pair.play("failover.yml")
                assert play.code == 0, play.output
            else:
                pair.control("kill", holder)
                until(lambda: pair.held(peer) > 0)
                time.sleep(5)
    pair.wait(holder, seconds=SETTLE)
    print(f"{pair.backend}: {how}: {crowd[0]}, new connections {gaps[0]}")
    assert (crowd[0]["idle lost"], crowd[0]["active lost"]) == (0, 0), crowd
    assert pair.settled(SETTLE) == peer


# ---------------------------------------------------------------------- what people do


def test_what_an_earlier_run_wrote_and_did_not_get_read_is_read(pair: Pair) -> None:
    """It ended between the two; a file that is newer than what the program has read looks the same."""
    holder = pair.settled(SETTLE)
    written = {"keepalived": "/etc/keepalived/keepalived.conf", "heartbeat": "/etc/ha.d/ha.cf"}[pair.backend]
    pair.run(holder, f"sleep 1; touch {written}")
    changes = pair.converge().changes()
    assert {host for host, _task in changes} == {holder}, changes
    assert pair.converge().changes() == {}
    assert pair.settled(SETTLE) == holder


def test_another_secret_on_one_side_is_refused(pair: Pair, tmp_path: Path) -> None:
    extra = tmp_path / "secret.yml"
    extra.write_text("{lvs_directors: {hosts: {director2: {lvs_failover_secret: another}}}}\n")
    holder = pair.settled(SETTLE)
    with pair.watched() as seen:
        play = pair.play("site.yml", "-i", str(extra))
    assert play.code != 0
    assert "lvs_failover_secret" in play.output and "another" not in play.output.replace("name another", "")
    assert (seen.broken, pair.settled(SETTLE)) == (None, holder)


def test_a_check_that_cannot_be_is_refused(pair: Pair) -> None:
    services = copy.deepcopy(pair.services)
    services[0]["health"] = {"type": "http", "status": [42], "path": "no slash"}
    with pair.watched() as seen, pair.background("stream", VIP4, 80) as stream:
        play = pair.play("site.yml", services=services)
    assert play.code != 0
    assert "no slash" in play.output and "nothing was touched" in play.output.lower()
    assert (seen.broken, stream[0]["lost"]) == (None, []), (seen, stream)


def test_a_check_that_would_not_run_is_refused(pair: Pair) -> None:
    """keepalived would say nothing, and count the realservers as up."""
    if pair.checker != "keepalived":
        pytest.skip("about what keepalived does with such a program")
    services = copy.deepcopy(pair.services)
    services[0]["health"] = {"type": "external", "command": "/usr/local/sbin/nobody-wrote-this"}
    play = pair.play("site.yml", services=services)
    assert play.code != 0
    assert "/usr/local/sbin/nobody-wrote-this is not there" in play.output
    expect_even(pair)


def test_a_service_of_which_everybody_is_drained(pair: Pair) -> None:
    """No weight is left, and what else changes is taken, too."""
    holder = pair.settled(SETTLE)
    services = copy.deepcopy(pair.services)
    for realserver in services[1]["realservers"]:
        realserver["weight"] = 0
    services[-1]["scheduler"] = "wlc"
    pair.converge(services=services)

    def taken() -> bool:
        lines = pair.table(holder)
        drained = [line for line in lines if f" {VIP4}:{ECHO} -r " in line]
        changed = [line for line in lines if line.startswith("-A ") and services[-1]["vips"][0] in line]
        right = all(line.split(" -w ")[1].split()[0] == "0" for line in drained)
        return bool(drained) and right and all(" -s wlc" in line for line in changed)

    print(f"{pair.backend}: everybody drained after {until(taken, 60):.0f} s")
    pair.converge()
    pair.settled(SETTLE)
    expect_even(pair)


def test_a_full_disk_leaves_everything_as_it_is(pair: Pair) -> None:
    services = copy.deepcopy(pair.services)
    services[0]["health"] = {"interval": 2}
    holder = pair.settled(SETTLE)
    files = "sha256sum /etc/keepalived/keepalived.conf /etc/ha.d/ldirectord.cf /etc/ha.d/ha.cf 2>/dev/null"
    before = pair.run(holder, files, check=False)
    full = "/etc/full"
    fill = "dd if=/dev/zero 2>/dev/null"
    pair.run(holder, f"{fill} of={full} bs=1M; {fill} of={full}2 bs=1k", check=False)
    try:
        with pair.watched() as seen, pair.background("stream", VIP4, 80) as stream:
            play = pair.play("site.yml", services=services)
        assert play.code != 0
        print(f"{pair.backend}: full disk: {[line for line in play.output.splitlines() if 'space' in line][:1]}")
        assert "No space left on device" in play.output
        assert pair.run(holder, files, check=False) == before
    finally:
        pair.run(holder, f"rm -f {full} {full}2")
    assert (seen.broken, stream[0]["lost"]) == (None, []), (seen, stream)
    assert pair.settled(SETTLE) == holder
    pair.converge()
    expect_even(pair)


def test_a_realserver_that_was_drained_comes_back(pair: Pair) -> None:
    holder = pair.settled(SETTLE)
    fewer = copy.deepcopy(pair.services)
    fewer[0]["realservers"] = fewer[0]["realservers"][1:]
    with pair.watched() as seen, pair.background("stream", VIP4, 80) as stream:
        pair.converge(services=fewer)
        expect_shares(pair.ask("tcp", VIP4, 80, 2), {"rs2": 2})
        pair.converge()
        assert pair.settled(SETTLE) == holder
    assert (seen.broken, stream[0]["lost"]) == (None, []), (seen, stream)
    expect_even(pair)


# ---------------------------------------------------------------------- who fails over and who checks

COMBINATIONS = {
    "keepalived": [
        ("keepalived", "none"),
        ("keepalived", "keepalived"),
        ("keepalived", "ldirectord"),
        ("keepalived", "keepalived"),
    ],
    "heartbeat": [("heartbeat", "none"), ("heartbeat", "ldirectord")],
}


def plain(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The services with nothing that only a health backend knows."""
    return [
        {key: value for key, value in service.items() if key not in ("health", "sorry_server")} for service in services
    ]


def left_out(pair: Pair, name: str, realserver: str) -> bool:
    return not any(f" {realserver} " in line for line in pair.table(name))


def test_each_combination_and_the_way_from_one_to_the_next(pair: Pair) -> None:
    """From the scenario's own through all others and back: balanced, checked, failed over, and nothing left to do."""
    holder = pair.settled(SETTLE)
    for failover, health in COMBINATIONS[pair.backend]:
        words = f"{failover} and {health}"
        settings: dict[str, Any] = {"lvs_failover": failover, "lvs_health": health}
        if health == "none":
            settings["lvs_health_check"] = {}
        services = plain(pair.services) if health == "none" else None
        with pair.watched() as seen, pair.background("stream", VIP4, 80) as stream:
            pair.converge(*option(settings), services=services)
        print(f"{words}: the way there {seen}, lost {stream[0]['lost']}")
        assert (seen.broken, stream[0]["lost"]) == (None, []), words
        holder = pair.settled(SETTLE)
        assert pair.converge(*option(settings), services=services).changes() == {}, words
        expect_even(pair)

        if health != "none":
            pair.run("rs1", "systemctl stop lvs-responder")
            took = until(partial(left_out, pair, holder, "10.1.1.2:8080"))
            expect_shares(pair.ask("tcp", VIP4, 80, 2), {"rs2": 2})
            pair.run("rs1", "systemctl start lvs-responder")
            pair.settled(SETTLE)
            print(f"{words}: a service that stopped is out after {took:.1f} s")

        peer = pair.other(holder)
        with pair.watched() as seen:
            pair.run(holder, f"systemctl kill --kill-whom=all --signal=KILL {failover}.service")
            until(lambda peer=peer: pair.held(peer) > 0)  # type: ignore[misc]  # mypy infers no lambda with a default
        print(f"{words}: the other takes over {seen}")
        holder = pair.settled(SETTLE)
        assert (holder, seen.broken) == (peer, None), words
        expect_even(pair)


@pytest.mark.parametrize("health", ["keepalived", "ldirectord"])
def test_moved_by_hand_and_checked(pair: Pair, health: str) -> None:
    """Without nat, whose gateway does not move by hand; the same whatever moved the VIPs before."""

    def shares(wanted: dict[str, int]) -> None:
        for vip in (VIP4, VIP6):
            expect_shares(pair.ask("tcp", vip, 80, 4), wanted)

    services = [service for service in pair.services if service.get("forwarding") != "nat"]
    holder = pair.settled(SETTLE)
    peer = pair.other(holder)
    settings = {"lvs_failover": "manual", "lvs_active": holder, "lvs_health": health, "lvs_vrrp": {}, "lvs_inside": []}
    with pair.background("stream", VIP4, 80) as stream:
        pair.converge(*option(settings), services=services)
    print(f"manual and {health}: the way there from {pair.backend}: lost {stream[0]['lost']}")
    assert [pair.held(name) for name in (holder, peer)] == [2, 0]
    assert pair.converge(*option(settings), services=services).changes() == {}
    shares({"rs1": 2, "rs2": 2})

    pair.run("rs1", "systemctl stop lvs-responder")
    until(lambda: all(left_out(pair, name, "192.168.1.2:80") for name in DIRECTORS))
    shares({"rs2": 4})
    pair.run("rs1", "systemctl start lvs-responder")
    until(lambda: all(not left_out(pair, name, "192.168.1.2:80") for name in DIRECTORS))

    with pair.background("session", VIP4, ECHO) as session, pair.background("stream", VIP6, 80) as stream:
        pair.wait(peer, pair.session_known(peer), seconds=20)
        pair.converge(*option({**settings, "lvs_active": peer}), services=services)
    print(f"manual and {health}: moved: {session[0]}, lost {stream[0]['lost']}")
    assert [pair.held(name) for name in (holder, peer)] == [0, 2]
    assert session[0]["broken"] is None, session
    shares({"rs1": 2, "rs2": 2})
    pair.converge()
    pair.settled(SETTLE)
    expect_even(pair)


# ---------------------------------------------------------------------- other clusters


def test_both_are_active_and_one_takes_the_others_part(pair: Pair) -> None:
    """Web and echo prefer the second director, NAT stays with the first; each then loses its own."""
    services = copy.deepcopy(pair.services)
    for service in services[:2]:
        service["active"] = "director2"
    if pair.settled(SETTLE) != "director":  # heartbeat gives back what it has when the preferred director joins
        assert pair.play("failover.yml", "-e", "lvs_failover_to=director").code == 0
        pair.settled(SETTLE)
    play = pair.play("site.yml", *option({"heartbeat_may_restart": True, "lvs_failback": True}), services=services)
    assert play.code == 0, play.output
    until(lambda: [pair.held(name) for name in DIRECTORS] == [4, 2], SETTLE)
    expect_even(pair)
    assert [pair.daemons(name) for name in DIRECTORS] == [{"master", "backup"}] * 2
    with pair.background("session", VIP4, ECHO) as session:
        time.sleep(4)
        pair.control("kill", "director2")
        until(lambda: pair.held("director") == 6)
        time.sleep(3)
    pair.control("start", "director2")
    pair.wait("director2", seconds=SETTLE)
    assert session[0]["broken"] is None, session
    print(f"{pair.backend}, both active: {session[0]['longest']} s until the session goes on")
    until(lambda: [pair.held(name) for name in DIRECTORS] == [4, 2], SETTLE)
    expect_even(pair)
    play = pair.play("site.yml", *option({"heartbeat_may_restart": True}))
    assert play.code == 0, play.output
    pair.settled(SETTLE)


def test_two_hundred_vips_move_together(pair: Pair) -> None:
    """ldirectord would need more memory for so many services than there is, so nobody checks them under heartbeat."""
    services = copy.deepcopy(pair.services)
    more = [address for n in range(100) for address in (f"192.168.1.{120 + n}", f"2001:db8:1::1:{n:x}")]
    services[0]["vips"] += more
    settings: dict[str, Any] = {}
    if pair.checker == "ldirectord":
        play = pair.play("site.yml", services=services)
        assert play.code != 0
        assert "services by a process of its own" in play.output and "nothing was touched" in play.output, play.output
        services, settings = plain(services), {"lvs_health": "none", "lvs_health_check": {}}
    pair.converge(*option(settings), services=services)
    holder = pair.settled(SETTLE)
    with pair.background("gaps", more[-1], 80) as gaps:
        time.sleep(1)
        pair.control("kill", holder)
        until(lambda: pair.held(pair.other(holder)) > 0)
        time.sleep(5)
    print(f"{pair.backend}, 200 VIPs more: {gaps[0]['longest']} s without an answer from the last of them")
    assert gaps[0]["longest"] < 15
    pair.control("start", holder)
    pair.wait(holder, seconds=SETTLE)
    pair.settled(SETTLE)
    pair.converge()
    pair.settled(SETTLE)
