# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client is balanced: rr exactly evenly, wrr in the ratio of the weights, with the client's own address logged."""

from __future__ import annotations

import pytest
from lab import Lab, expect_shares

VIPS = ["192.168.1.110", "2001:db8:1::110"]
CIP = {"192.168.1.110": "192.168.1.254", "2001:db8:1::110": "2001:db8:1::254"}
EVERY = [(protocol, vip) for protocol in ("tcp", "udp") for vip in VIPS]


def weighted_shares(lab: Lab, rounds: int) -> dict[str, int]:
    return {
        entry["host"]: rounds * entry.get("weight", 1)
        for entry in lab.service("weighted")["realservers"]
        if entry.get("weight", 1)
    }


@pytest.mark.parametrize(("protocol", "vip"), EVERY)
def test_round_robin_is_exactly_even(lab: Lab, protocol: str, vip: str) -> None:
    answers = lab.ask(protocol, vip, 80, 4 * len(lab.realservers))
    expect_shares(answers, dict.fromkeys(lab.realservers, 4))


@pytest.mark.parametrize(("protocol", "vip"), EVERY)
def test_weighted_round_robin_follows_the_weights(lab: Lab, protocol: str, vip: str) -> None:
    expected = weighted_shares(lab, rounds=2)
    expect_shares(lab.ask(protocol, vip, 8080, sum(expected.values())), expected)


@pytest.mark.parametrize("vip", VIPS)
def test_swapped_weights_are_noticed(lab: Lab, vip: str) -> None:
    """Sabotage: the weights of the realservers swapped behind Ansible's back; the test above must fail."""
    service = f"-t [{vip}]:8080" if ":" in vip else f"-t {vip}:8080"
    saved = lab.run("director", "ipvsadm -Sn")
    lines = [line.split() for line in saved.splitlines() if line.startswith(f"-a {service}")]
    weights = [line[line.index("-w") + 1] for line in lines]
    try:
        for line, weight in zip(lines, reversed(weights), strict=True):
            method = {"-m": "-m", "-g": "-g", "-i": "-i"}[next(word for word in line if word in ("-m", "-g", "-i"))]
            lab.run("director", f"ipvsadm -e {service} -r {line[line.index('-r') + 1]} {method} -w {weight}")
        expected = weighted_shares(lab, rounds=2)
        answers = lab.ask("tcp", vip, 8080, sum(expected.values()))
        with pytest.raises(AssertionError, match="expected"):
            expect_shares(answers, expected)
    finally:
        for line, weight in zip(lines, weights, strict=True):
            method = next(word for word in line if word in ("-m", "-g", "-i"))
            lab.run("director", f"ipvsadm -e {service} -r {line[line.index('-r') + 1]} {method} -w {weight}")


@pytest.mark.parametrize("vip", VIPS)
def test_realserver_sees_the_client(lab: Lab, vip: str) -> None:
    """The realserver's log has the CIP, and as its own address the VIP (DR, Tun) or the RIP and its port (NAT)."""
    answers = lab.ask("tcp", vip, 80, len(lab.realservers))
    if any(answer is None or answer[1] != CIP[vip] for answer in answers):
        raise AssertionError(answers)
    for name in lab.realservers:
        _protocol, client, _port, local, local_port = lab.run(name, "tail -n 1 /run/lvs-responder.log").split()
        assert client == CIP[vip]
        if lab.cluster == "nat":
            assert (local != vip, local_port) == (True, "8080"), "NAT rewrites VIP:80 to RIP:8080"
        else:
            assert (local, local_port) == (vip, "80")
