# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of the packets: which machine they pass, in which frame, in which tunnel, with which MSS."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest
from lab import LITTLE_PATIENCE, Lab, expect_shares, shares

VIPS = ["192.168.1.110", "2001:db8:1::110"]
MEGABYTE = 1_000_000


def replies(vip: str) -> str:
    return f"src host {vip} and src port 80"


def source_macs(lines: list[str]) -> set[str]:
    return {match.group(1) for line in lines if (match := re.search(r"([0-9a-f:]{17}) > [0-9a-f:]{17}", line))}


def policy_rule(lab: Lab, family: str, source: str) -> tuple[str, str]:
    """Priority and text of the one rule on the first realserver for packets from this address."""
    output = lab.run(lab.realservers[0], f"ip {family} rule")
    ((priority, rule),) = re.findall(rf"^(\d+):\s+(from {re.escape(source)} .*?)\s*$", output, re.MULTILINE)
    return priority, rule


@pytest.mark.scenario("dr", "tun", "container_dr")
@pytest.mark.parametrize("vip", VIPS)
def test_replies_do_not_pass_the_director(lab: Lab, vip: str) -> None:
    with lab.capture("director", "any", replies(vip)) as lines:
        answers = lab.ask("tcp", vip, 80, 2 * len(lab.realservers))
    expect_shares(answers, dict.fromkeys(lab.realservers, 2))
    assert lines == []


@pytest.mark.scenario("dr", "container_dr")
@pytest.mark.parametrize("vip", VIPS)
def test_replies_come_in_the_realservers_frames(lab: Lab, vip: str) -> None:
    with lab.capture("client", "eth1", replies(vip), "-nne") as lines:
        lab.ask("tcp", vip, 80, 2 * len(lab.realservers))
    assert source_macs(lines) == {lab.mac(name, "eth1") for name in lab.realservers}


@pytest.mark.scenario("nat", "container_nat")
@pytest.mark.parametrize("vip", VIPS)
def test_replies_pass_the_director(lab: Lab, vip: str) -> None:
    with (
        lab.capture("client", "eth1", replies(vip), "-nne") as outside,
        lab.capture("director", "eth2", "src port 8080") as inside,
    ):
        answers = lab.ask("tcp", vip, 80, 2 * len(lab.realservers))
    expect_shares(answers, dict.fromkeys(lab.realservers, 2))
    assert source_macs(outside) == {lab.mac("director", "eth1")}
    assert any(" 10.1.1.2.8080 > " in line or " 2001:db8:2::2.8080 > " in line for line in inside), inside


@pytest.mark.scenario("nat", "container_nat")
@pytest.mark.parametrize(("vip", "family"), [(VIPS[0], "-4"), (VIPS[1], "-6")])
def test_wrong_way_back_is_noticed(lab: Lab, vip: str, family: str) -> None:
    """Sabotage: without its rule a realserver answers past the director, and its share of the requests is lost."""
    priority, rule = policy_rule(lab, family, "10.1.1.2" if family == "-4" else "2001:db8:2::2")
    lab.run(lab.realservers[0], f"ip {family} rule del {rule}")
    try:
        seen = shares(lab.ask("tcp", vip, 80, 2 * len(lab.realservers), patience=LITTLE_PATIENCE))
        assert (seen.get(lab.realservers[0], 0), seen["lost"]) == (0, 2), seen
    finally:
        lab.run(lab.realservers[0], f"ip {family} rule add {rule} priority {priority}")


@pytest.mark.scenario("tun")
@pytest.mark.parametrize(
    ("vip", "expression", "inner"),
    [(VIPS[0], "ip proto 4", "192.168.1.254"), (VIPS[1], "ip6 proto 41", "2001:db8:1::254")],
)
def test_requests_travel_in_the_tunnel(lab: Lab, vip: str, expression: str, inner: str) -> None:
    """DIP > RIP around CIP > VIP: the outer source is the director's own address, never the VIP."""
    with lab.capture("director", "eth1", expression) as lines:
        lab.ask("tcp", vip, 80, len(lab.realservers))
    dip = "192.168.1.1 >" if ":" not in vip else "2001:db8:1::1 >"
    assert len(lines) >= 4 * len(lab.realservers)
    assert all(dip in line and inner in line for line in lines), lines


@pytest.mark.scenario("tun")
@pytest.mark.parametrize(("vip", "limit"), [(VIPS[0], 1440), (VIPS[1], 1400)])
def test_realservers_offer_an_mss_that_fits_the_tunnel(lab: Lab, vip: str, limit: int) -> None:
    with lab.capture("client", "eth1", replies(vip), "-nnv") as lines:
        lab.ask("tcp", vip, 80, len(lab.realservers))
    offered = [int(match) for match in re.findall(r"Flags \[S\.\][^\n]*mss (\d+)", "\n".join(lines))]
    assert len(offered) == len(lab.realservers), lines
    assert max(offered) <= limit


@contextlib.contextmanager
def deaf_client(lab: Lab) -> Iterator[None]:
    """The client never hears that a packet was too big, as behind many firewalls (HOWTO 8.14)."""
    too_big = ("protocol ip flower ip_proto icmp type 3 code 4", "protocol ipv6 flower ip_proto icmpv6 type 2")
    lab.run("client", "tc qdisc add dev eth1 clsact")
    for number, match in enumerate(too_big, start=1):
        lab.run("client", f"tc filter add dev eth1 ingress pref {number} {match} action drop")
    try:
        yield
    finally:
        lab.run("client", "tc qdisc del dev eth1 clsact; ip route flush cache; ip -6 route flush cache")


@pytest.mark.scenario("tun")
@pytest.mark.parametrize("vip", VIPS)
def test_big_upload_passes_without_path_mtu_discovery(lab: Lab, vip: str) -> None:
    with deaf_client(lab):
        for _name in lab.realservers:
            answer = lab.upload(vip, 80, MEGABYTE)
            assert answer is not None
            assert answer[1] == str(MEGABYTE)


@pytest.mark.scenario("tun")
@pytest.mark.parametrize(("vip", "family"), [(VIPS[0], "-4"), (VIPS[1], "-6")])
def test_big_upload_without_the_mss_is_noticed(lab: Lab, vip: str, family: str) -> None:
    """Sabotage: without the rule that lowers the MSS the upload must stall."""
    priority, rule = policy_rule(lab, family, vip)
    lab.run(lab.realservers[0], f"ip {family} rule del {rule}")
    try:
        with deaf_client(lab):
            answers = [lab.upload(vip, 80, MEGABYTE) for _name in lab.realservers]
        assert answers.count(None) == 1, answers
    finally:
        lab.run(lab.realservers[0], f"ip {family} rule add {rule} priority {priority}")
