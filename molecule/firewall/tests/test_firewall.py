# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client sees of a director that filters, each with the sabotage in which the same look must find something
wrong. Rules of somebody else, loaded by nftables.service, drop there what conntrack cannot follow.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from lab import LITTLE_PATIENCE, Lab, shares

VIPS = [f"{network}{number}" for network in ("192.168.1.", "2001:db8:1::") for number in range(110, 115)]
DIPS = ["192.168.1.1", "2001:db8:1::1"]
LITTLE = {"patience": LITTLE_PATIENCE}
CLIENTS = {"192.168.1.254", "2001:db8:1::254"}
# The last part of a VIP, and who serves it. Those of snat are told that the director is their client.
SERVED = {"110": ("rs1", "rs2"), "111": ("rs3",), "112": ("rs1", "rs2"), "113": ("rs3",), "114": ("rs1",)}
DR, TUN, NAT, SNAT, MARK = SERVED
NFT, LEGACY = "iptables-nft", "iptables-legacy"
# What takes every rule away there.
EMPTY = {
    NFT: "nft flush ruleset",
    LEGACY: "for p in iptables ip6tables; do for t in raw mangle nat filter; do $p-legacy -t $t -F; $p-legacy -t $t -X;"
    " done; done",
}
MEGABYTE = 1_000_000


def number_of(vip: str) -> str:
    return re.split("[.:]", vip)[-1]


def of(number: str) -> list[str]:
    return [vip for vip in VIPS if number_of(vip) == number]


# TCP ports below 1024 that a scan may find.
PLANNED = {address: {22, 80} for address in (*of(DR), *of(NAT))}
PLANNED |= {**{address: {22, 80, 443} for address in of(MARK)}, **{address: {22} for address in DIPS}}


# ---------------------------------------------------------------- looks


def look(lab: Lab, wanted: dict[str, Any], name: str = "client") -> Any:
    return json.loads(lab.run(name, f"python3 /root/look.py '{json.dumps(wanted)}'"))


def expect_served(lab: Lab, *numbers: str) -> None:
    """Every planned service answers twice from each of its realservers, which see the client they should."""
    asked = [("tcp", vip, port) for vip in VIPS for port in ((80, 443) if number_of(vip) == MARK else (80,))]
    asked += [("udp", vip, 80) for vip in VIPS if number_of(vip) != MARK]
    asked = [one for one in asked if not numbers or number_of(one[1]) in numbers]
    seen = look(lab, {"ask": [(*one, 2 * len(SERVED[number_of(one[1])])) for one in asked]})
    for (protocol, vip, port), answers in zip(asked, seen, strict=True):
        realservers, found = SERVED[number_of(vip)], shares(answers)
        if found != dict.fromkeys(realservers, 2):
            raise AssertionError(f"{protocol} {vip} {port}: expected 2 from each of {realservers}, got {found}")
        clients = {answer[1] for answer in answers if answer}
        if not clients <= set(DIPS if number_of(vip) == SNAT else CLIENTS):
            raise AssertionError(f"{protocol} {vip} {port}: realservers saw {clients}")


def expect_open(lab: Lab, expected: dict[str, set[int]], refused: bool = False) -> None:
    """Scans find these ports open, and no other that answers; without a filter the others refuse."""
    for address, found in zip(expected, look(lab, {"scan": list(expected), "ports": [1, 1023]}), strict=True):
        if set(found["open"]) != expected[address] or bool(found["refused"]) != refused:
            raise AssertionError(f"{address}: expected {expected[address]}, refusals {refused}; got {found}")


def tracked(lab: Lab) -> list[str]:
    """What conntrack on the director knows of VIPs after a request for each service."""
    lab.run("director", "conntrack -F")
    expect_served(lab)
    entries = lab.run("director", "conntrack -L").splitlines()
    return [line for line in entries if re.search("dst=[^ ]*[.:]11[0-4] ", line)]


def expect_untracked(lab: Lab) -> None:
    """DR and Tun leave nothing in conntrack; NAT and SNAT leave the client, the VIP and who answers it."""
    found = tracked(lab)
    if lines := [line for line in found for vip in of(DR) + of(TUN) + of(MARK) if f"dst={vip} " in line]:
        raise AssertionError(f"expected no entry, got {lines}")
    for client, vip, answers in (
        ("192.168.1.254", "192.168.1.112", r"src=10\.1\.1\.[23] dst=192\.168\.1\.254 sport=8080"),
        ("2001:db8:1::254", "2001:db8:1::112", r"src=2001:db8:2::[23] dst=2001:db8:1::254 sport=8080"),
        ("192.168.1.254", "192.168.1.113", r"src=172\.16\.5\.4 dst=192\.168\.1\.1 sport=80"),
        ("2001:db8:1::254", "2001:db8:1::113", r"src=2001:db8:3::4 dst=2001:db8:1::1 sport=80"),
    ):
        for protocol in ("tcp", "udp"):
            expression = f"^{protocol} .*src={client} dst={vip} sport=[0-9]+ dport=80 .*{answers}"
            if not any(re.search(expression, line) for line in found):
                raise AssertionError(f"expected {expression}, got {found}")


@contextlib.contextmanager
def tunnel_that_needs_the_router(lab: Lab) -> Iterator[None]:
    """A realserver that offers the segment size of its own link, as one that nobody here manages does."""
    rules = {family: lab.run("rs3", f"ip {family} rule | grep 'from .*111 '").split(":\t") for family in ("-4", "-6")}
    for family, (_priority, rule) in rules.items():
        lab.run("rs3", f"ip {family} rule del {rule}")
    try:
        yield
    finally:
        for family, (priority, rule) in rules.items():
            lab.run("rs3", f"ip {family} rule add {rule.strip()} priority {priority}")


def offered(lab: Lab) -> list[int]:
    """The segment sizes that the client is offered through the tunnel, by family."""
    with lab.capture("client", "eth1", "src port 80", "-nnv") as lines:
        look(lab, {"ask": [("tcp", vip, 80, 1) for vip in of(TUN)]})
    return sorted(map(int, re.findall(r"Flags \[S\.\][^\n]*mss (\d+)", "\n".join(lines))), reverse=True)


def uploads(lab: Lab) -> list[Any]:
    """A megabyte to each of the tunnel's VIPs, at once, from a client that never hears that a packet was too big."""
    too_big = ("protocol ip flower ip_proto icmp type 3 code 4", "protocol ipv6 flower ip_proto icmpv6 type 2")
    drops = [
        f"tc filter add dev eth1 ingress pref {number} {match} action drop" for number, match in enumerate(too_big, 1)
    ]
    forget = "ip route flush cache; ip -6 route flush cache"
    lab.run("client", " && ".join(["tc qdisc add dev eth1 clsact", *drops]) + f"; {forget}")
    commands = [f"python3 /root/traffic.py upload {vip} 80 {MEGABYTE} &" for vip in of(TUN)]
    try:
        return [json.loads(line) for line in lab.run("client", " ".join([*commands, "wait"])).splitlines()]
    finally:
        lab.run("client", f"tc qdisc del dev eth1 clsact; {forget}")


# ---------------------------------------------------------------- states of the rules


def rules(lab: Lab, name: str = "director") -> str:
    """Ours and those of somebody else, whichever came first. iptables' own tables stay, empty, until a reboot."""
    tables = re.split("^(?=table )", lab.run(name, "nft -s list ruleset"), flags=re.MULTILINE)
    return "".join(sorted(table for table in tables if table.startswith("table inet ")))


@contextlib.contextmanager
def without(lab: Lab, name: str, chain: str) -> Iterator[None]:
    """One chain of ours has no rules."""
    before = rules(lab, name)
    lab.run(name, f"nft flush chain inet lvs {chain}")
    try:
        yield
    finally:
        lab.run(name, "nft -f /etc/lvs/firewall.nft")
    assert rules(lab, name) == before


def saved(lab: Lab, name: str, backend: str) -> str:
    """The rules of iptables, of both families."""
    programs = (backend, backend.replace("iptables", "ip6tables"))
    return lab.run(name, "; ".join(f"{program}-save | grep ^-A" for program in programs), check=False)


def converge(lab: Lab, **variables: Any) -> Any:
    """The packet filter's plays alone."""
    return lab.play("site.yml", "--tags", "firewall", "-e", json.dumps(variables))


# ---------------------------------------------------------------- what the filter lets in


def test_every_service_answers(lab: Lab) -> None:
    expect_served(lab)


def test_a_scan_finds_what_is_planned_and_nothing_else(lab: Lab) -> None:
    expect_open(lab, PLANNED)
    assert look(lab, {"ask": [("udp", dip, 53, 1) for dip in DIPS], **LITTLE}) == [[None], [None]]


def test_the_allowed_port_is_open_to_its_clients(lab: Lab) -> None:
    allowed = {"scan": DIPS, "ports": [8080, 8081]}
    assert look(lab, allowed) == [{"open": [8080], "refused": []}] * 2
    assert look(lab, allowed, "router") == [{"open": [], "refused": []}] * 2


def ping(lab: Lab) -> set[str]:
    """Which addresses of the director answer a ping of a client that knows no neighbour."""
    lab.run("client", "ip neigh flush dev eth1; ip -6 neigh flush dev eth1")
    commands = [f"ping -c 1 -W 2 {address} > /dev/null && echo {address} &" for address in (*DIPS, *VIPS)]
    return set(lab.run("client", " ".join([*commands, "wait"])).split())


def test_ping_and_neighbours_get_through(lab: Lab) -> None:
    assert ping(lab) == {*DIPS, *VIPS}


def test_without_the_rule_for_icmp_they_do_not(lab: Lab) -> None:
    """Sabotage, for both families."""
    listed = lab.run("director", "nft -a list chain inet lvs input")
    handles = re.findall(r"icmp(?:v6)? type .* handle (\d+)", listed)
    assert len(handles) == 2
    for handle in handles:
        lab.run("director", f"nft delete rule inet lvs input handle {handle}")
    try:
        assert ping(lab) == set()
    finally:
        # The director's own questions were not answered either.
        lab.run("director", "nft -f /etc/lvs/firewall.nft; ip -6 neigh flush dev eth1; ip -6 neigh flush dev eth2")
    assert ping(lab) == {*DIPS, *VIPS}


# ---------------------------------------------------------------- connection tracking


def test_only_translated_connections_are_tracked(lab: Lab) -> None:
    expect_untracked(lab)


def test_tracked_dr_and_tun_are_cut_by_a_stateful_rule(lab: Lab) -> None:
    """Sabotage: conntrack sees one side of DR and Tun and calls what follows the SYN invalid (HOWTO 22)."""
    dropped = "nft list chain inet site input | sed -n 's/.*counter packets \\([0-9]*\\) .*/\\1/p'"
    before = int(lab.run("director", dropped))
    with without(lab, "director", "untracked"):
        answers = look(lab, {"ask": [("tcp", vip, 80, 1) for vip in of(DR) + of(TUN) + of(MARK)], **LITTLE})
        assert answers == [[None]] * 6
        # Each side of UDP is a beginning to conntrack, and NAT passes the director both ways.
        assert None not in lab.ask("udp", of(DR)[0], 80, 2)
        expect_served(lab, NAT, SNAT)
    assert int(lab.run("director", dropped)) > before


def test_without_masquerading_one_arm_is_not_served(lab: Lab) -> None:
    """Sabotage: the realserver answers the client by its own gateway, from an address the client never asked."""
    with without(lab, "director", "translated"):
        assert look(lab, {"ask": [("tcp", vip, 80, 1) for vip in of(SNAT)], **LITTLE}) == [[None], [None]]
        expect_served(lab, NAT)
    expect_served(lab, SNAT)


# ---------------------------------------------------------------- segment sizes


def test_the_router_lowers_the_segment_size(lab: Lab) -> None:
    """With it a megabyte gets through the tunnel although nobody hears that a packet was too big (HOWTO 8.15)."""
    with tunnel_that_needs_the_router(lab):
        assert offered(lab) == [1440, 1400]
        assert uploads(lab) == [["rs3", str(MEGABYTE)]] * 2


def test_without_the_router_the_upload_hangs(lab: Lab) -> None:
    """Sabotage."""
    with tunnel_that_needs_the_router(lab), without(lab, "router", "clamps"):
        assert offered(lab) == [1460, 1440]
        assert uploads(lab) == [None, None]


# ---------------------------------------------------------------- rules of others, mistakes, backends, boots


def test_restart_and_reload_of_the_distributions_rules_bring_ours_back(lab: Lab) -> None:
    before = rules(lab)
    for verb in ("restart", "reload"):
        lab.run("director", f"systemctl {verb} nftables")
        lab.wait("director", "systemctl is-active lvs-firewall && nft list table inet lvs", seconds=10)
        assert rules(lab) == before
    expect_served(lab)


def test_rules_that_are_gone_are_noticed_and_come_back(lab: Lab) -> None:
    """Sabotage: what the distribution's unit does at its start, without ours that follows it."""
    before = rules(lab)
    lab.run("director", "nft -f /etc/nftables.conf")
    assert "table inet lvs" not in rules(lab)
    expect_open(lab, {dip: {7, 22, 80, 443} for dip in DIPS}, refused=True)
    assert look(lab, {"ask": [("udp", dip, 53, 1) for dip in DIPS]}) == [
        [["director", client, dip]] for client, dip in zip(sorted(CLIENTS), DIPS, strict=True)
    ]
    play = converge(lab)
    assert play.code == 0, play.output
    assert {host for host, _task in play.changes()} == {"director"}
    assert rules(lab) == before


def test_rules_that_cut_the_connection_undo_themselves(lab: Lab) -> None:
    kept = "cat /etc/lvs/firewall.nft /var/lib/lvs/firewall/record.json /etc/systemd/system/lvs-firewall.service"
    before, files = rules(lab), lab.run("director", kept)
    play = converge(lab, lvs_ssh_ports=[2222], firewall_undo_after=10)
    assert play.code != 0
    assert "timed out waiting for ping" in play.output, play.output
    lab.wait("director", "test -e /var/lib/lvs/firewall/undone.json", seconds=30)
    assert rules(lab) == before
    assert lab.run("director", kept) == files


@pytest.mark.parametrize("backend", [NFT, LEGACY])
def test_the_same_by_iptables(lab: Lab, backend: str) -> None:
    """The backend before is gone, and what is lost comes back by the unit."""
    play = converge(lab, firewall_backend=backend)
    assert play.code == 0, play.output
    other = LEGACY if backend == NFT else NFT
    for name in ("director", "router"):
        assert "table inet lvs" not in rules(lab, name)
        assert "LVS-" not in saved(lab, name, other)
        assert "LVS-" in saved(lab, name, backend)
    assert "table inet site" in rules(lab)
    before = saved(lab, "director", backend)
    lab.run("director", EMPTY[backend])
    assert "LVS-" not in saved(lab, "director", backend)
    lab.run("director", "systemctl restart nftables")
    lab.wait("director", "systemctl is-active lvs-firewall", seconds=10)
    assert saved(lab, "director", backend) == before

    expect_untracked(lab)
    expect_open(lab, PLANNED)
    with tunnel_that_needs_the_router(lab):
        assert offered(lab) == [1440, 1400]


def test_back_to_nftables(lab: Lab) -> None:
    play = converge(lab)
    assert play.code == 0, play.output
    for name in ("director", "router"):
        assert "LVS-" not in saved(lab, name, NFT) + saved(lab, name, LEGACY)
        assert "table inet lvs" in rules(lab, name)


def test_comes_back_after_a_reboot_with_nothing_to_change(lab: Lab) -> None:
    """The rules are there before ssh, and before the services."""
    machines = ("director", "router")
    before = [rules(lab, name) for name in machines]
    boots = [lab.run(name, "cat /proc/sys/kernel/random/boot_id").strip() for name in machines]
    for name in machines:
        lab.run(name, "systemctl reboot", check=False)
    for name, boot in zip(machines, boots, strict=True):
        lab.wait(name, f"! grep -q {boot} /proc/sys/kernel/random/boot_id")
    lab.wait("director", "systemctl is-active lvs.service")
    assert [rules(lab, name) for name in machines] == before
    shown = lab.run("director", "systemctl show -P ActiveEnterTimestampMonotonic lvs-firewall ssh lvs")
    filtered, *others = map(int, shown.split())
    assert all(0 < filtered < later for later in others), shown
    lab.run("director", "systemctl start lvs-responder")
    expect_served(lab)
    expect_open(lab, PLANNED)
    assert lab.converge().changes() == {}
