# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a director that has just taken over does not know goes to the one that has given up, which does.

A connection is told to the other director up to two seconds after its second packet, or not at all. Without this,
whoever takes over answers its next packet with a reset.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .switch import service_key

State = Mapping[str, Any]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TABLE = "lvs_relay"
# IPVS takes the packets that it knows at 99 (to a VIP) and at 100 (from a realserver by NAT).
PRIORITY = 150


@dataclass(frozen=True)
class Way:
    """How one director reaches the other."""

    device: str
    network: Network
    address: Address

    @property
    def rule(self) -> str:
        return f'dup to {self.address} device "{self.device}" drop'


def render(states: Mapping[str, State], to: str, givers: Sequence[str]) -> str:
    """The tables for ``nft -f`` on director ``to``; both are there, if empty, so that both can be deleted.

    ``states`` has ``addresses``, ``held`` and ``config`` as for `plan_switch`, and ``links``, every address with its
    prefix length and device. What begins a connection (SYN) stays, and so does all that IPVS takes.

    Left out are services that the director serves itself, or would (it has their VIP, on lo), as IPVS leaves their
    packets to the host; services by NAT whose replies cannot be told from other packets of the realserver (no port), or
    cannot go the same way; marks if several directors give up, as they say nothing of whose connection it is; and
    protocols other than TCP, where an unknown packet may begin a connection.
    """
    texts = []
    for family, version in (("ip", 4), ("ip6", 6)):
        chains: dict[str, dict[str, None]] = {"input": {}, "forward": {}}
        for giver in givers:
            for hook, rule in _rules(family, version, states[to], states[giver], len(givers) == 1):
                chains[hook][rule] = None
        texts.append(f"table {family} {TABLE} {{\n")
        for hook, rules in chains.items():
            texts.append(f"    chain {hook} {{\n        type filter hook {hook} priority {PRIORITY}; policy accept;\n")
            texts += [f"        {rule}\n" for rule in rules]
            texts.append("    }\n")
        texts.append("}\n")
    return "".join(texts)


def _rules(family: str, version: int, here: State, there: State, marks: bool) -> Iterator[tuple[str, str]]:
    """Each with the hook that it belongs to."""
    own = {text.partition("/")[0] for text in here["links"]}
    moving = {text.partition("/")[0] for text in there["held"]}
    vips = [text for text in here["addresses"] if text.partition(" ")[0].endswith(("/32", "/128"))]
    devices = {text.partition("/")[0]: text.rpartition(" ")[2] for text in vips}
    ways = list(_ways(version, here, there))
    # Packets come in by the network that they come from otherwise, too, or a strict rp_filter drops them.
    ways.sort(key=lambda way: way.device not in devices.values())
    local = {service_key(record) for state in (here, there) for record in state["config"] if _is_local(record, own)}
    for record in there["config"] if ways else ():
        moves = marks if "fwmark" in record else record["address"] in moving
        service = _service(family, version, record)
        replies = [_reply(family, server, ways) for server in record["realservers"] if server["forwarding"] == "nat"]
        if not moves or not service or "" in replies or service_key(record) in local:
            continue
        way = next((way for way in ways if way.device == devices.get(record.get("address"))), ways[0])
        yield "input", f"{service} tcp flags & (syn | ack) != syn {way.rule}"
        for reply in replies:
            yield "forward", reply


def _is_local(record: State, own: set[str]) -> bool:
    """Whether the director with these addresses serves it, now or as soon as its checks say so."""
    servers = record["realservers"]
    return record.get("address") in own or any(
        server["forwarding"] == "local" or server["address"] in own for server in servers
    )


def _reply(family: str, server: State, ways: Sequence[Way]) -> str:
    """The rule for what a realserver answers by NAT; nothing if there can be none."""
    rip = ipaddress.ip_address(server["address"])
    inside = next((way for way in ways if rip in way.network), None)
    return f"{family} saddr {rip} tcp sport {server['port']} {inside.rule}" if inside and server["port"] else ""


def _service(family: str, version: int, record: State) -> str:
    """What a packet for a service looks like; nothing if it is of another family, or not TCP."""
    if "fwmark" in record:
        return (
            f"meta mark {record['fwmark']} meta l4proto tcp" if record.get("family", "ipv4") == f"ipv{version}" else ""
        )
    if record["protocol"] != "tcp" or ipaddress.ip_address(record["address"]).version != version:
        return ""
    port = f"tcp dport {record['port']}" if record["port"] else "meta l4proto tcp"
    return f"{family} daddr {record['address']} {port}"


def _ways(version: int, here: State, there: State) -> Iterator[Way]:
    """By every network that both have an address of their own in."""
    others = [interface for interface, _device in _own(version, there)]
    for interface, device in _own(version, here):
        for other in others:
            if other.ip in interface.network and other.ip != interface.ip:
                yield Way(device, interface.network, other.ip)


def _own(version: int, state: State) -> Iterator[tuple[Any, str]]:
    """The addresses that stay with a director, with their networks and devices."""
    for text in state["links"]:
        address, _blank, device = text.partition(" ")
        interface = ipaddress.ip_interface(address)
        if text not in state["addresses"] and interface.version == version and not interface.ip.is_link_local:
            yield interface, device
