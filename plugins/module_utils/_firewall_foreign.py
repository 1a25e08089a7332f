# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backends a host has for its packet filter, and the fwmarks that rules of others set or match there."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Callable, Container, Iterator, Mapping

from ._errors import LvsError
from ._firewall_host import LEGACY, NFT, NFTABLES, FirewallHost
from ._firewall_iptables import PREFIX
from ._firewall_keep import RECORD
from ._firewall_model import FAMILIES

WHOLE = 2**32 - 1
_IPTABLES = re.compile(r"--(?:set-xmark|set-mark|tproxy-mark|mark) (0x[0-9a-f]+|\d+)(?:/(0x[0-9a-f]+|\d+))?", re.ASCII)
# Marks of connections, which are no marks of packets.
_CONNMARK = re.compile(r"-m connmark (?:! )?--mark \S+|-j CONNMARK .*")
# What role firewall writes, and playbook failover.yml for a minute.
_OURS = (("inet", "lvs"), ("ip", "lvs_relay"), ("ip6", "lvs_relay"))

ReadIp = Callable[..., "list[dict[str, Any]]"]


def gather(
    host: FirewallHost, read_ip: ReadIp, ledger: Container[str] = (), missed: list[str] | None = None
) -> dict[str, Any]:
    """The fact `firewall`. Nothing is loaded; ``ledger`` holds the identities of policy rules that are ours.

    What could not be read is added to ``missed``.
    """
    missed = [] if missed is None else missed
    found = [*_nft(host, missed), *_iptables(host, missed), *_ip_rules(read_ip, ledger)]
    unique = {(mark, mask, where): {"mark": mark, "mask": mask, "where": where} for mark, mask, where in found}
    return {
        "nftables": host.usable(NFTABLES),
        "iptables": {"nft": host.usable(NFT), "legacy": host.usable(LEGACY)},
        "marks": list(unique.values()),
        "ours": os.path.exists(os.path.join(host.root, RECORD.lstrip("/"))),
    }


Found = Iterator["tuple[int, int, str]"]


def _nft(host: FirewallHost, missed: list[str]) -> Found:
    try:
        code, said = host.ruleset()
    except LvsError as error:
        missed.append(f"Which marks rules of nftables use is not known: {error}")
        return
    if code != 0:
        return
    try:
        objects = json.loads(said or "{}").get("nftables", [])
    except ValueError:  # nft without JSON
        return
    maps = {(one["family"], one["table"], one["name"]): one.get("elem", [])
            for entry in objects for one in [entry.get("map")] if one}  # fmt: skip
    for entry in objects:
        rule = entry.get("rule")
        if not rule or (rule["family"], rule["table"]) in _OURS:
            continue
        if rule["chain"].startswith(PREFIX):  # ours, by iptables-nft
            continue
        where = f"nft table {rule['family']} {rule['table']} chain {rule['chain']}"
        elements = {name: elem for (family, table, name), elem in maps.items()
                    if (family, table) == (rule["family"], rule["table"])}  # fmt: skip
        for expression in rule.get("expr", []):
            for mark, mask in _expression(expression, elements):
                yield mark, mask, where


def _expression(expression: Any, maps: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    if not isinstance(expression, dict):
        return
    mangle, match = expression.get("mangle"), expression.get("match")
    if mangle and mangle.get("key") == {"meta": {"key": "mark"}}:
        yield from _set_to(mangle.get("value"), maps)
    if match:
        left = match.get("left")
        mask = left["&"][1] if isinstance(left, dict) and _masked(left) else WHOLE
        if _is_mark(left) or _masked(left):
            for value in _numbers(match.get("right")):
                yield value, mask
    if _is_mark((expression.get("vmap") or {}).get("key")):
        for pair in _pairs(expression["vmap"].get("data"), maps):
            for value in _numbers(pair[0]):
                yield value, WHOLE


def _is_mark(value: Any) -> bool:
    return bool(value == {"meta": {"key": "mark"}})


def _masked(value: Any) -> bool:
    parts = value.get("&") if isinstance(value, dict) else None
    return isinstance(parts, list) and len(parts) == 2 and _is_mark(parts[0]) and isinstance(parts[1], int)


def _pairs(data: Any, maps: Mapping[str, Any]) -> list[Any]:
    """What a map holds, one written out or one that is named."""
    found = maps.get(data[1:], []) if isinstance(data, str) else (data or {}).get("set", [])
    return list(found)


def _set_to(value: Any, maps: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """A number, a map to numbers, or bits of the mark: `mark & keep | bits`, `mark | bits`."""
    if isinstance(value, int):
        yield value, WHOLE
    elif isinstance(value, dict) and "map" in value:
        for pair in _pairs(value["map"].get("data"), maps):
            if isinstance(pair, list) and isinstance(pair[-1], int):
                yield pair[-1], WHOLE
    elif isinstance(value, dict) and isinstance(value.get("|"), list):
        kept, bits = value["|"][0], value["|"][1]
        if isinstance(bits, int) and (_is_mark(kept) or _masked(kept)):
            mask = bits | (WHOLE & ~kept["&"][1] if _masked(kept) else 0)
            yield bits, mask


def _numbers(value: Any) -> Iterator[int]:
    """Of a range both ends; it is enough to say that these are in use."""
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, dict):
        for part in value.get("set") or value.get("range") or []:
            yield from _numbers(part)


def _iptables(host: FirewallHost, missed: list[str]) -> Found:
    for backend in (NFT, LEGACY):
        for family in FAMILIES:
            name = "iptables" if family == "ipv4" else "ip6tables"
            table = ""
            try:
                saved = host.saved(backend, family)
            except LvsError as error:
                missed.append(f"Which marks rules of iptables use is not known: {error}")
                continue
            for line in saved.splitlines():
                if line.startswith("*"):
                    table = line[1:]
                elif line.startswith("-A ") and not line.startswith(f"-A {PREFIX}"):
                    for value, mask in _IPTABLES.findall(_CONNMARK.sub("", line)):
                        where = f"{name} {table} {line.split()[1]}"
                        yield int(value, 0), int(mask or str(WHOLE), 0), where


def _ip_rules(read_ip: ReadIp, ledger: Container[str]) -> Found:
    for family, option in (("ipv4", "-4"), ("ipv6", "-6")):
        try:
            rules = read_ip(option, "rule", "show")
        except LvsError:  # said already by the facts about addresses
            return
        for rule in rules:
            if "fwmark" not in rule:
                continue
            mark, mask = int(str(rule["fwmark"]), 0), int(str(rule.get("fwmask", WHOLE)), 0)
            if _ident(family, rule, mark) not in ledger:
                yield mark, mask, f"ip rule {rule.get('priority', 0)}"


def _ident(family: str, rule: Mapping[str, Any], mark: int) -> str:
    """As the module `network` names the rule in the ledger."""
    words = ["rule", family, "priority", str(rule.get("priority", 0)), "from", _network(rule, "src") or "all"]
    for word, value in (("to", _network(rule, "dst")), ("fwmark", str(mark)), ("iif", rule.get("iif", ""))):
        if value:
            words += [word, value]
    return " ".join(words)


def _network(rule: Mapping[str, Any], end: str) -> str:
    """With its length, as `network` writes it; "all" has none."""
    address = str(rule.get(end, ""))
    if not address or address == "all":
        return ""
    return f"{address}/{rule.get(end + 'len', 128 if ':' in address else 32)}"
