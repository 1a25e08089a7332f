# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client sees of services by mark, each with the sabotage in which the same look must find something wrong."""

from __future__ import annotations

import copy

import pytest
from conftest import CLIENTS
from lab import LITTLE_PATIENCE, Lab, expect_shares, shares

SHOP = {"192.168.1.110": "192.168.1.{}", "2001:db8:1::110": "2001:db8:1::{}"}
GROUPED = {"192.168.1.111": "192.168.1.{}", "2001:db8:1::111": "2001:db8:1::{}"}
BLOCK = [*(f"192.168.3.{number}" for number in range(8)), *(f"2001:db8:9::{number}" for number in range(8))]
# The clients with a realserver of their own, and others.
CUSTOMERS, OTHERS = (201, 203), (204, 211)


def expect_both_ports_on_one(lab: Lab, vip: str) -> None:
    """Every client has one realserver for 80 and 443, and the clients spread over both realservers."""
    seen = {}
    for number in CLIENTS:
        source = SHOP[vip].format(number)
        answers = [*lab.ask("tcp", vip, 80, 2, source), *lab.ask("tcp", vip, 443, 2, source)]
        seen[source] = shares(answers)
    if any(len(found) != 1 or "lost" in found for found in seen.values()):
        raise AssertionError(f"expected one realserver for each client, got {seen}")
    used = {name for found in seen.values() for name in found}
    if used != {"rs1", "rs2"}:
        raise AssertionError(f"expected both realservers, got {used}")


@pytest.mark.parametrize("vip", SHOP)
def test_a_client_has_one_realserver_for_both_ports(lab: Lab, vip: str) -> None:
    expect_both_ports_on_one(lab, vip)


def test_without_persistence_the_ports_part(lab: Lab) -> None:
    """Sabotage: the same look without persistence."""
    saved = lab.run("director", "ipvsadm -Sn").splitlines()
    (service,) = [line for line in saved if line.startswith("-A -f 1 ") and " -6" not in line]
    lab.run("director", f"ipvsadm -E {service.split(' -p ')[0].removeprefix('-A ')}")
    try:
        with pytest.raises(AssertionError, match="expected one realserver"):
            expect_both_ports_on_one(lab, "192.168.1.110")
    finally:
        lab.run("director", f"ipvsadm -E {service.removeprefix('-A ')}")


def expect_groups(lab: Lab, vip: str) -> None:
    for numbers, name in ((CUSTOMERS, "rs2"), (OTHERS, "rs1")):
        for number in numbers:
            expect_shares(lab.ask("tcp", vip, 80, 3, GROUPED[vip].format(number)), {name: 3})


@pytest.mark.parametrize("vip", GROUPED)
def test_clients_are_grouped_by_their_address(lab: Lab, vip: str) -> None:
    expect_groups(lab, vip)


@pytest.mark.parametrize("vip", BLOCK)
def test_every_address_of_a_routed_network_is_served(lab: Lab, vip: str) -> None:
    for protocol in ("tcp", "udp"):
        expect_shares(lab.ask(protocol, vip, 80, 4), {"rs1": 2, "rs2": 2})


def test_the_director_has_no_address_of_the_network(lab: Lab) -> None:
    for name in ("director", "rs1", "rs2"):
        listed = lab.run(name, "ip -o addr")
        assert "192.168.3." not in listed and "2001:db8:9:" not in listed
    # Nobody answers for the network itself, so nothing but the marked ports is served.
    assert lab.run("client", "ping -c 1 -W 1 192.168.3.5 > /dev/null || echo silent").strip() == "silent"


def test_without_marks_nothing_is_chosen(lab: Lab) -> None:
    """Sabotage: our table of nftables gone, the routed network is dead and clients are not told apart any more."""
    rules = lab.run("director", "nft -s list table inet lvs")
    lab.run("director", "nft delete table inet lvs")
    try:
        for vip in (BLOCK[3], BLOCK[11]):
            assert shares(lab.ask("tcp", vip, 80, 2, patience=LITTLE_PATIENCE)) == {"lost": 2}
        with pytest.raises(AssertionError, match="expected"):
            expect_groups(lab, "192.168.1.111")
        # What was changed by hand is a change that the next run takes back.
        play = lab.converge()
        assert [host for host, _task in play.changes()] == ["director"] * len(play.changes())
        assert play.changes()
    finally:
        if lab.run("director", "nft -s list table inet lvs", check=False) != rules:
            lab.run("director", f"nft -f - <<'end'\n{rules}\nend")
    assert lab.run("director", "nft -s list table inet lvs") == rules
    expect_groups(lab, "192.168.1.111")
    assert lab.converge().changes() == {}


def test_a_mark_of_somebody_else_is_refused(lab: Lab) -> None:
    chain = "{ type filter hook prerouting priority 0; ip saddr 10.99.0.1 meta mark set 0x2; }"
    lab.run("director", f"nft 'table ip other {{ chain c {chain}; }}'")
    before = lab.run("director", "ipvsadm -Sn; nft -s list ruleset")
    try:
        play = lab.play("site.yml")
        assert play.code != 0
        assert "fwmark 2 is used there already" in play.output and "other" in play.output
        assert lab.run("director", "ipvsadm -Sn; nft -s list ruleset") == before
    finally:
        lab.run("director", "nft delete table ip other")


def test_a_mark_becomes_an_ordinary_service_and_back_without_loss(lab: Lab) -> None:
    services = copy.deepcopy(lab.services)
    for name in ("fwmark", "persistence"):
        del services[0][name]
    with lab.background("stream", "192.168.1.110", 80) as streamed:
        lab.converge(services=services)
    assert streamed[0]["lost"] == [], streamed
    table = lab.run("director", "ipvsadm -Sn")
    assert "-A -t 192.168.1.110:443 " in table and "-A -f 1 " not in table
    assert "0x00000001" not in lab.run("director", "nft list table inet lvs")
    with lab.background("stream", "192.168.1.110", 80) as streamed:
        lab.converge()
    assert streamed[0]["lost"] == [], streamed
    expect_both_ports_on_one(lab, "192.168.1.110")


def test_comes_back_after_a_reboot(lab: Lab) -> None:
    before = lab.run("director", "nft -s list ruleset; ipvsadm -Sn; ip rule; ip -6 rule")
    boot = lab.run("director", "cat /proc/sys/kernel/random/boot_id").strip()
    lab.run("director", "systemctl reboot", check=False)
    lab.wait("director", f"! grep -q {boot} /proc/sys/kernel/random/boot_id")
    lab.wait("director", "systemctl is-active lvs.service")
    assert lab.run("director", "nft -s list ruleset; ipvsadm -Sn; ip rule; ip -6 rule") == before
    for vip in (BLOCK[2], BLOCK[10]):
        expect_shares(lab.ask("tcp", vip, 80, 4), {"rs1": 2, "rs2": 2})
    expect_groups(lab, "2001:db8:1::111")
