# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as text of nft: one table of ours; pure."""

from __future__ import annotations

from itertools import groupby
from typing import Iterable

from ._firewall_model import FAMILIES, Filter, Forward, Mark, Masquerade, Match, Range, Rules, of_family

TABLE = "inet lvs"
# In front of a listing or a rendered table: all of it is one transaction, and it does not matter whether one is there.
REMOVE = f"table {TABLE}\ndelete table {TABLE}\n"

# What tells a sender that his packets are too large or do not arrive, and ping. Both families must let it pass.
_ICMP = "icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request, echo-reply } accept"
# Neighbour and listener discovery are never routed, but with br_netfilter a bridge's frames pass the forward hook.
_ICMPV6 = (
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, echo-reply,"
    " nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert,"
    " mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept"
)
_IP = {"ipv4": "ip", "ipv6": "ip6"}
_KEY = "{ip} daddr . meta l4proto . th dport"


def render(rules: Rules) -> str:
    """The table, without what removes its predecessor."""
    chains = [
        ("untracked", "filter hook prerouting priority raw", _untracked(rules.untracked)),
        ("marks", "filter hook prerouting priority mangle", _marks(rules.marks)),
        ("clamps", "filter hook forward priority mangle", _clamps(rules)),
        ("translated", "nat hook postrouting priority srcnat", [_masquerade(one) for one in rules.masquerade]),
    ]
    if rules.filter is not None:
        chains.append(("input", "filter hook input priority filter", _input(rules.filter)))
        if rules.filter.forward is not None:
            chains.append(("forward", "filter hook forward priority filter", _forward(rules.filter.forward)))
    blocks = [
        f"\tchain {name} {{\n\t\ttype {hook}; policy accept;\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"
        for name, hook, lines in chains
        if lines
    ]
    return f"table {TABLE} {{\n" + "\n".join(blocks) + "}\n"


def rule_count(table: str) -> int:
    """How many rules a table has, rendered or listed."""
    inside = [line for line in table.splitlines() if line.startswith("\t\t")]
    return sum(not line.lstrip().startswith("type ") for line in inside)


def _set(values: Iterable[str]) -> str:
    found = list(values)
    return found[0] if len(found) == 1 else "{ " + ", ".join(found) + " }"


def _address(network: str) -> str:
    address, _slash, length = network.partition("/")
    return address if length == ("128" if ":" in address else "32") else network


def _addresses(networks: Iterable[str]) -> str:
    return _set(_address(network) for network in networks)


def _ports(ports: Iterable[Range]) -> str:
    return _set(str(first) if first == last else f"{first}-{last}" for first, last in ports)


def _words(match: Match, action: str) -> str:
    ip = _IP.get(match.family, "")
    words = [f'iifname "{match.interface}"'] if match.interface else []
    if ip and not (match.sources or match.destinations):
        words.append(f"meta nfproto {match.family}")
    if match.sources:
        words.append(f"{ip} saddr {_addresses(match.sources)}")
    if match.destinations:
        words.append(f"{ip} daddr {_addresses(match.destinations)}")
    if match.ports:
        words.append(f"{match.protocol} dport {_ports(match.ports)}")
    elif match.protocol:
        words.append(f"meta l4proto {match.number}")
    return " ".join([*words, action])


def _matches(matches: Iterable[Match], action: str) -> list[str]:
    """One rule for each, but those that can be looked up share one for their family, however many they are."""
    lines, rest = [], []
    tuples: dict[str, dict[str, None]] = {family: {} for family in FAMILIES}
    for match in matches:
        for address, protocol, port in match.exact():
            tuples[match.family][f"{_address(address)} . {protocol} . {port}"] = None
        if not match.exact():
            rest.append(_words(match, action))
    for family, found in tuples.items():
        if found:
            lines.append(f"{_KEY.format(ip=_IP[family])} {{ {', '.join(found)} }} {action}")
    return lines + rest


def _untracked(matches: Iterable[Match]) -> list[str]:
    return _matches(matches, "notrack")


def _marks(marks: Iterable[Mark]) -> list[str]:
    """In their order. Neighbours that can be looked up share one map, in which the first of equal ones stays.

    `accept` ends our chain only; the hook's later chains see the packet.
    """
    lines = []
    for family in FAMILIES:
        mine = [mark for mark in marks if mark.match.family == family]
        for exact, run in groupby(mine, key=lambda mark: bool(mark.match.exact())):
            if not exact:
                lines += [_words(mark.match, f"meta mark set {mark.mark} accept") for mark in run]
                continue
            found: dict[str, int] = {}
            for mark in run:
                for address, protocol, port in mark.match.exact():
                    found.setdefault(f"{_address(address)} . {protocol} . {port}", mark.mark)
            pairs = ", ".join(f"{key} : {value}" for key, value in found.items())
            lines.append(f"meta mark set {_KEY.format(ip=_IP[family])} map {{ {pairs} }} accept")
    return lines


def _clamps(rules: Rules) -> list[str]:
    # The kernel lowers the option and never raises it.
    return [
        f"{_IP[one.family]} saddr {_addresses(one.sources)} tcp flags & (syn | rst) == syn"
        f" tcp option maxseg size set {one.mss}"
        for one in rules.clamps
    ]


def _masquerade(one: Masquerade) -> str:
    """nft has no match for IPVS. IPVS leaves conntrack's original direction (CIP to VIP) and writes the realserver into
    the reply's, for the method masq only and without the status dnat: an answer that is not to come from the VIP says
    that IPVS has translated it."""
    ip = _IP[one.family]
    words = [f"meta nfproto {one.family}"]
    if one.protocol:
        words.append(f"meta l4proto {one.protocol}")
    words.append(f"ct original {ip} daddr {_address(one.vip)}")
    if one.port:
        words.append(f"ct original proto-dst {one.port}")
    return " ".join([*words, f"ct reply {ip} saddr != {_address(one.vip)}", "masquerade"])


def _input(rules: Filter) -> list[str]:
    lines = ['iifname "lo" accept']
    # Before any look at the state: of DR and Tun conntrack sees one side only (HOWTO 22).
    lines += _matches(rules.accept, "accept")
    lines += [
        "ct state established,related accept",
        _ICMP,
        _ICMPV6,
        "meta nfproto ipv4 meta l4proto igmp accept",
        "meta nfproto ipv4 udp sport 67 udp dport 68 accept",
        "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
    ]
    if rules.ssh_ports:
        lines.append(f"tcp dport {_ports(rules.ssh_ports)} accept")
    for family in FAMILIES:
        peers = of_family(rules.peers, family)
        if peers:
            source = f"{_IP[family]} saddr {_addresses(peers)}"
            # By its number: not every host has /etc/protocols.
            lines += [f"{source} meta l4proto 112 accept", f"{source} udp dport {{ 694, 8848 }} accept"]
        if peers and family == "ipv6":
            # VRRP speaks from the link-local address, whatever other address the peer has (RFC 5798).
            lines.append("ip6 saddr fe80::/10 ip6 daddr ff02::12 meta l4proto 112 accept")
    return [*lines, "counter drop"]


def _forward(rules: Forward) -> list[str]:
    lines = _matches(rules.accept, "accept")
    for family in FAMILIES:
        mine = of_family(rules.realservers, family)
        if mine:
            lines.append(f"{_IP[family]} saddr {_addresses(mine)} accept")
    return [*lines, "ct state established,related accept", _ICMP, _ICMPV6, "counter drop"]
