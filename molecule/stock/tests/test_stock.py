# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks, filter and untracked LVS-DR on Debian's own kernels, whose parts of netfilter are modules."""

from __future__ import annotations

import json
from typing import Any

from lab import LITTLE_PATIENCE, PATIENCE, TRAFFIC, Lab, expect_shares, shares

VIPS = {"192.168.1.110": "192.168.1.254", "2001:db8:1::110": "2001:db8:1::254"}
# A port of the director's that nobody listens at.
CLOSED = 7


def asked(lab: Lab, patience: int = PATIENCE) -> list[tuple[str, str, int, Any]]:
    """Two answers of each service, in one call: every call is dear on these machines."""
    wanted = [(protocol, vip, port) for vip in VIPS for protocol, port in (("tcp", 80), ("tcp", 443), ("udp", 53))]
    command = "; ".join(f"{TRAFFIC} {protocol} {vip} {port} 2 '' {patience}" for protocol, vip, port in wanted)
    lines = lab.run("client", command).splitlines()
    return [(*one, json.loads(line)) for one, line in zip(wanted, lines, strict=True)]


def refusals(lab: Lab) -> list[str]:
    """Which VIPs say that a port is closed; the others say nothing."""
    command = f"timeout 2 bash -c '</dev/tcp/{{0}}/{CLOSED}' 2>&1 | grep -q refused && echo {{0}}"
    return lab.run("client", "; ".join(command.format(vip) for vip in VIPS), check=False).split()


def test_the_kernels_are_the_distributions(lab: Lab) -> None:
    for name in ("director", "rs1"):
        release = lab.run(name, "uname -r").strip()
        assert lab.run(name, f"dpkg-query --search /boot/vmlinuz-{release}").startswith(f"linux-image-{release}:")


def test_every_service_answers_past_the_filter_and_nothing_else_does(lab: Lab) -> None:
    for _protocol, vip, _port, answers in asked(lab):
        expect_shares(answers, {"rs1": 2})
        assert {answer[1] for answer in answers} == {VIPS[vip]}
    assert refusals(lab) == []


def test_both_ports_share_one_entry_of_persistence(lab: Lab) -> None:
    lines = lab.run("director", "ipvsadm -Lcn --persistent-conn").splitlines()
    for client in VIPS.values():
        found = [line for line in lines if f"{client}:0 " in line or f"[{client}]:0 " in line]
        assert len(found) == 1, lines


def test_nothing_of_the_vips_is_tracked(lab: Lab) -> None:
    tracked = lab.run("director", "conntrack -L -f ipv4; conntrack -L -f ipv6")
    assert "dport=22 " in tracked, "conntrack sees nothing at all"
    assert not [line for line in tracked.splitlines() for vip in VIPS if f"dst={vip} " in line]


def test_without_our_table_nothing_is_chosen_and_nothing_kept_out(lab: Lab) -> None:
    """Sabotage."""
    before = lab.run("director", "nft -s list table inet lvs; nft delete table inet lvs")
    try:
        seen = {(protocol, port): shares(answers) for protocol, _vip, port, answers in asked(lab, LITTLE_PATIENCE)}
        assert seen == {("tcp", 80): {"lost": 2}, ("tcp", 443): {"lost": 2}, ("udp", 53): {"rs1": 2}}
        assert refusals(lab) == list(VIPS)
    finally:
        lab.run("director", "nft -f /etc/lvs/firewall.nft")
    assert lab.run("director", "nft -s list table inet lvs") == before


def test_second_converge_changes_nothing(lab: Lab) -> None:
    assert lab.converge().changes() == {}
