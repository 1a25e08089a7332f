# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LocalNode, one box, two boxes; and what the director's IPVS does with half-open connections."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from lab import LITTLE_PATIENCE, Lab, expect_shares, shares

LOCAL = ["192.168.1.110", "2001:db8:1::110"]
TWO = ["192.168.1.111", "2001:db8:1::111"]
ONE_BOX = ["192.168.1.112", "2001:db8:1::112"]


@pytest.mark.parametrize("vip", LOCAL)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_director_takes_its_turn(lab: Lab, protocol: str, vip: str) -> None:
    expect_shares(lab.ask(protocol, vip, 80, 6), {"director": 3, "rs1": 3})


def daemons_that_served(lab: Lab, vip: str) -> Counter[str]:
    lab.run("director", ": > /run/lvs-responder.log")
    expect_shares(lab.ask("tcp", vip, 80, 6), {"director": 6})
    return Counter(line.split()[-1] for line in lab.run("director", "cat /run/lvs-responder.log").splitlines())


@pytest.mark.parametrize("vip", ONE_BOX)
def test_two_daemons_of_one_box_take_turns(lab: Lab, vip: str) -> None:
    assert daemons_that_served(lab, vip) == {"8080": 3, "443": 3}


def test_a_missing_daemon_is_noticed(lab: Lab) -> None:
    """Sabotage: one of the two out of the table."""
    lab.run("director", "ipvsadm -d -t 192.168.1.112:80 -r 192.168.1.1:443")
    try:
        assert daemons_that_served(lab, "192.168.1.112") == {"8080": 6}
    finally:
        lab.run("director", "ipvsadm -a -t 192.168.1.112:80 -r 192.168.1.1:443 -m -w 1")


def expect_turns(lab: Lab) -> None:
    for vip in TWO:
        for protocol in ("tcp", "udp"):
            expect_shares(lab.ask(protocol, vip, 80, 6), {"rs1": 3, "rs2": 3})


def test_two_boxes_take_turns(lab: Lab) -> None:
    expect_turns(lab)


def test_packets_bounce_without_backup_only(lab: Lab) -> None:
    """Sabotage: the box that does not hold the VIP directs what it is sent to serve (HOWTO 9.1)."""
    lab.run("rs2", "sysctl -qw net.ipv4.vs.backup_only=0")
    try:
        with pytest.raises(AssertionError, match="expected"):
            expect_turns(lab)
    finally:
        lab.run("rs2", "sysctl -qw net.ipv4.vs.backup_only=1")
    expect_turns(lab)


def daemons(lab: Lab, name: str) -> list[str]:
    return [line.split()[0] for line in lab.run(name, "ipvsadm -Ln --daemon").splitlines() if "sync daemon" in line]


def expect_active(lab: Lab, active: str, standby: str) -> None:
    """One answers for the VIP and sends its connections, the other is silent and takes them."""
    assert (daemons(lab, active), daemons(lab, standby)) == (["master"], ["backup"])
    seen = lab.run("client", f"ip neigh flush dev eth1; arping -c 2 -w 3 -I eth1 {TWO[0]}", check=False)
    assert lab.mac(active, "eth1").upper() in seen.upper()
    assert lab.mac(standby, "eth1").upper() not in seen.upper()


def test_the_vips_move_by_one_variable(lab: Lab) -> None:
    """A connection that was synchronised outlives both moves; afterwards nothing is left to do."""
    expect_active(lab, "rs1", "rs2")
    with lab.background("hold", TWO[0], 80) as held:
        time.sleep(3)
        lab.converge("-e", "lvs_active=rs2")
        expect_active(lab, "rs2", "rs1")
        time.sleep(2)
    assert held[0] is not None, "the connection broke"
    expect_turns(lab)
    assert lab.converge("-e", "lvs_active=rs2").changes() == {}
    lab.converge()
    expect_active(lab, "rs1", "rs2")
    expect_turns(lab)


def half_open(lab: Lab, seconds: int) -> tuple[int, int]:
    """How many half-open connections the director has at once, and after so many seconds."""
    # With secure_tcp the state has another name. grep prints 0 and fails where there is none, which is an answer, too.
    counted = "grep -cE ' (SYN_RECV|SYNACK) ' /proc/net/ip_vs_conn || true"
    arguments = f"{LOCAL[0]} 80 200 {seconds + 5}"
    lab.run("client", f"nohup python3 /root/half_open.py {arguments} > /tmp/half.txt 2>&1 < /dev/null & sleep 0.1")
    lab.wait("client", "grep -qx 200 /tmp/half.txt", seconds=20)
    time.sleep(2)
    first = int(lab.run("director", counted))
    time.sleep(seconds)
    last = int(lab.run("director", counted))
    lab.wait("client", "! tc qdisc show dev eth1 | grep -q clsact", seconds=30)
    return first, last


def test_half_open_connections_are_dropped_early(lab: Lab) -> None:
    first, last = half_open(lab, 20)
    assert first >= 150
    assert last <= first * 0.8, "drop_entry looks at one thirty-second of them each second"


def test_without_the_defence_they_stay(lab: Lab) -> None:
    """Sabotage: drop_entry off; the time they have is a minute."""
    lab.run("director", "sysctl -qw net.ipv4.vs.drop_entry=0 net.ipv4.vs.secure_tcp=0")
    try:
        first, last = half_open(lab, 20)
        assert last > first * 0.95, (first, last)
    finally:
        lab.run("director", "sysctl -qw net.ipv4.vs.drop_entry=3 net.ipv4.vs.secure_tcp=3")


def test_a_full_page_cache_is_no_attack(lab: Lab) -> None:
    """The automatic defence counts what the cache holds as used; its threshold has to be below what is always free."""
    lab.run("director", "find / -xdev -type f -size +64k -exec cat {} + > /dev/null")
    lab.run("director", "awk '/MemTotal/ {all=$2} /MemFree/ {exit $2 > all/16}' /proc/meminfo; sleep 2")
    for vip in LOCAL:
        expect_shares(lab.ask("udp", vip, 80, 30), {"director": 15, "rs1": 15})
    threshold = lab.run("director", "sysctl -n net.ipv4.vs.amemthresh").strip()
    lab.run("director", f"sysctl -qw net.ipv4.vs.amemthresh={2**30}; sleep 2")
    try:
        assert "lost" in shares(lab.ask("udp", LOCAL[0], 80, 2, patience=LITTLE_PATIENCE))
    finally:
        lab.run("director", f"sysctl -qw net.ipv4.vs.amemthresh={threshold}; sleep 2")


BEHAVIOUR = "sysctl net.ipv4.vs.{drop_entry,drop_packet,secure_tcp,amemthresh,expire_nodest_conn,conn_reuse_mode}"


def test_behaviour_and_both_ways_to_serve_come_back_after_a_reboot(lab: Lab) -> None:
    values = lab.run("director", f"bash -c '{BEHAVIOUR}'")
    assert "drop_entry = 3" in values and "secure_tcp = 3" in values
    for name in ("director", "rs2"):
        boot = lab.run(name, "cat /proc/sys/kernel/random/boot_id").strip()
        lab.run(name, "systemctl reboot", check=False)
        lab.wait(name, f"! grep -q {boot} /proc/sys/kernel/random/boot_id")
        lab.wait(name, "systemctl is-active lvs.service")
    lab.run("director", "systemctl start lvs-responder")
    assert lab.run("director", f"bash -c '{BEHAVIOUR}'") == values
    # A module's option counts from the boot on.
    assert lab.run("director", "cat /sys/module/ip_vs/parameters/conn_tab_bits").strip() == "14"
    assert lab.run("rs2", "sysctl -n net.ipv4.vs.backup_only").strip() == "1"
    expect_active(lab, "rs1", "rs2")
    expect_turns(lab)
    expect_shares(lab.ask("tcp", LOCAL[1], 80, 4), {"director": 2, "rs1": 2})
    assert lab.converge().changes() == {}


def test_a_wrong_setting_is_refused_before_anything_is_touched(lab: Lab) -> None:
    before = lab.run("director", "ipvsadm -Sn")
    wrong = {"net.ipv4.vs.secure_tcp": 4, "net.ipv4.vs.no_such_thing": 1}
    play = lab.play("site.yml", "-e", f"{{'lvs_sysctls': {wrong}}}")
    assert play.code != 0
    assert "0 to 3" in play.output and "no setting of IPVS" in play.output and "nothing was touched" in play.output
    assert lab.run("director", "ipvsadm -Sn") == before
    assert shares(lab.ask("tcp", LOCAL[0], 80, 2)) == {"director": 1, "rs1": 1}
