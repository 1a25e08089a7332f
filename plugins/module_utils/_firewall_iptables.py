# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as text of iptables: chains of ours in each family and table, as `iptables-save` shows them; pure.

A text of ours has a line `:LVS-CHAIN` for each chain, then `-A` lines; those of built-in chains jump to ours.
"""

from __future__ import annotations

import re
from typing import Iterable

from ._firewall_model import FAMILIES, Filter, Forward, Match, Range, Rules, of_family

PREFIX = "LVS-"
TABLES = ("raw", "mangle", "nat", "filter")
# A multiport match has room for so many ports; a range takes two.
ROOM = 15

_OURS = re.compile(rf"-[AI] (\S+) .*-[jg] {PREFIX}\S+$")
# What tells a sender that his packets are too large or do not arrive, and ping. Both families must let it pass.
_ICMP = {
    "ipv4": ("-p icmp -m icmp --icmp-type", (3, 11, 12, 8, 0)),
    # From 133 router and neighbour discovery, then listener discovery. They are never routed, but with br_netfilter a
    # bridge's frames pass the forward hook.
    "ipv6": ("-p icmpv6 -m icmp6 --icmpv6-type", (1, 2, 3, 4, 128, 129, 133, 134, 135, 136, 130, 131, 132, 143)),
}


def render(rules: Rules) -> dict[tuple[str, str], str]:
    """The text for every family and table that has rules."""
    found = {}
    for family in FAMILIES:
        for table, chains in _chains(rules, family).items():
            chains = {name: lines for name, lines in chains.items() if lines}
            if chains:
                found[(family, table)] = _text(chains)
    return found


def _text(chains: dict[str, list[str]]) -> str:
    names = [name for name in chains if not name.startswith(f"{PREFIX}MARK-")]
    lines = [f":{name}" for name in chains]
    lines += [f"-A {name[len(PREFIX) :]} -j {name}" for name in names]
    lines += [f"-A {name} {line}" for name, rules in chains.items() for line in rules]
    return "".join(f"{line}\n" for line in lines)


def _chains(rules: Rules, family: str) -> dict[str, dict[str, list[str]]]:
    marks = [mark for mark in rules.marks if mark.match.family == family]
    untracked = [match for match in rules.untracked if match.family == family]
    mangle: dict[str, list[str]] = {
        f"{PREFIX}MARK-{number}": [f"-j MARK --set-mark {number}"] for number in sorted({mark.mark for mark in marks})
    }
    # To go, not to jump: behind the mark the packet is done with our chain, so the first match wins.
    mangle["LVS-PREROUTING"] = [line for mark in marks for line in _lines(mark.match, f"-g {PREFIX}MARK-{mark.mark}")]
    mangle["LVS-FORWARD"] = [
        f"-s {source} -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss {clamp.mss}"
        for clamp in rules.clamps
        if clamp.family == family
        for source in clamp.sources
    ]
    found = {
        "raw": {"LVS-PREROUTING": [line for match in untracked for line in _lines(match, "-j CT --notrack")]},
        "mangle": mangle,
        "nat": {"LVS-POSTROUTING": _masquerade(rules, family)},
    }
    if rules.filter is not None:
        found["filter"] = {"LVS-INPUT": _input(rules.filter, family)}
        if rules.filter.forward is not None:
            found["filter"]["LVS-FORWARD"] = _forward(rules.filter.forward, family)
    return found


def _lines(match: Match, action: str) -> list[str]:
    """A rule for each pair of addresses, with as many ports as fit."""
    interface = f"-i {match.interface} " if match.interface else ""
    protocol = f"-p {match.number} " if match.protocol else ""
    return [
        f"{source}{destination}{interface}{protocol}{ports}{action}"
        for source in [f"-s {network} " for network in match.sources] or [""]
        for destination in [f"-d {network} " for network in match.destinations] or [""]
        for ports in _ports(match.protocol, match.ports)
    ]


def _ports(protocol: str, ports: tuple[Range, ...]) -> list[str]:
    words = [str(first) if first == last else f"{first}:{last}" for first, last in ports]
    if len(words) < 2:
        return [f"-m {protocol} --dport {words[0]} "] if words else [""]
    groups: list[list[str]] = [[]]
    room = ROOM
    for word in words:
        takes = 2 if ":" in word else 1
        if takes > room:
            groups.append([])
            room = ROOM
        groups[-1].append(word)
        room -= takes
    return [f"-m multiport --dports {','.join(group)} " for group in groups]


def _masquerade(rules: Rules, family: str) -> list[str]:
    lines = []
    for one in rules.masquerade:
        if one.family == family:
            words = ["-m ipvs", f"--vaddr {one.vip}"]
            if one.protocol:
                words.insert(1, f"--vproto {one.protocol}")
            if one.port:
                words.append(f"--vport {one.port}")
            lines.append(" ".join([*words, "--vmethod masq -j MASQUERADE"]))
    return lines


def _icmp(family: str) -> list[str]:
    words, types = _ICMP[family]
    return [f"{words} {number} -j ACCEPT" for number in types]


_STATE = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"


def _input(rules: Filter, family: str) -> list[str]:
    lines = ["-i lo -j ACCEPT"]
    # Before any look at the state: of DR and Tun conntrack sees one side only (HOWTO 22).
    lines += _accepted(rules.accept, family)
    lines.append(_STATE)
    if family == "ipv4":
        lines += [*_icmp(family), "-p igmp -j ACCEPT", "-p udp -m udp --sport 67 --dport 68 -j ACCEPT"]
    else:
        lines += [*_icmp(family), "-s fe80::/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT"]
    lines += [f"-p tcp {ports}-j ACCEPT" for ports in _ports("tcp", rules.ssh_ports) if ports]
    peers = of_family(rules.peers, family)
    for peer in peers:
        lines += [f"-s {peer} -p 112 -j ACCEPT", f"-s {peer} -p udp -m multiport --dports 694,8848 -j ACCEPT"]
    if peers and family == "ipv6":
        # VRRP speaks from the link-local address, whatever other address the peer has (RFC 5798).
        lines.append("-s fe80::/10 -d ff02::12/128 -p 112 -j ACCEPT")
    return [*lines, "-j DROP"]


def _forward(rules: Forward, family: str) -> list[str]:
    senders = [f"-s {network} -j ACCEPT" for network in of_family(rules.realservers, family)]
    return [*_accepted(rules.accept, family), *senders, _STATE, *_icmp(family), "-j DROP"]


def _accepted(matches: Iterable[Match], family: str) -> list[str]:
    return [line for match in matches if family in match.families() for line in _lines(match, "-j ACCEPT")]


# ---- what iptables-save shows, and what iptables-restore takes


def saved(text: str) -> dict[str, str]:
    """What is ours in the output of `iptables-save`, for each table."""
    found: dict[str, str] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(f":{PREFIX}"):
            found[table] = found.get(table, "") + line.split()[0] + "\n"
        elif line.startswith(f"-A {PREFIX}") or _OURS.match(line):
            found[table] = found.get(table, "") + line.strip() + "\n"
    return found


def chains(text: str) -> list[str]:
    return [line[1:] for line in text.splitlines() if line.startswith(":")]


def jumps(text: str) -> list[str]:
    """The rules of built-in chains, as `CHAIN -j OURS`."""
    return [line[3:] for line in text.splitlines() if line.startswith("-A ") and not line.startswith(f"-A {PREFIX}")]


def rules(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"-A {PREFIX}")]


def restore(table: str, have: str, want: str) -> str:
    """What brings a table from one text of ours to another in one step, for `iptables-restore --noflush`."""
    lines = [f"*{table}", *(f":{name} - [0:0]" for name in chains(want)), *rules(want)]
    there = jumps(have)
    for jump in jumps(want):
        if jump in there:
            there.remove(jump)
        else:
            # In front: a rule of others that accepts must not keep packets from ours.
            lines.append(f"-I {jump.replace(' ', ' 1 ', 1)}")
    lines += [f"-D {jump}" for jump in there]
    gone = [name for name in chains(have) if name not in chains(want)]
    lines += [f"-F {name}" for name in gone] + [f"-X {name}" for name in gone]
    return "".join(f"{line}\n" for line in [*lines, "COMMIT"])


def whole(table: str, want: str, emptied: Iterable[str] = ()) -> str:
    """The chains alone, whatever is there; jumps cannot be said twice in such a text."""
    lines = [f"*{table}", *(f":{name} - [0:0]" for name in [*chains(want), *emptied]), *rules(want), "COMMIT"]
    return "".join(f"{line}\n" for line in lines)
