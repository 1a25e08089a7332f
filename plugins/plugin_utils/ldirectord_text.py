# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual services of ldirectord.cf."""

from __future__ import annotations

import re
from typing import Any

from .texts import Reading, WrongError, address_and_port, address_range, is_address, number

METHODS = {"gate": "dr", "masq": "nat", "ipip": "tun"}
VIRTUAL = re.compile(r"virtual(6?)\s*=\s*(\S+)")
THRESHOLD = re.compile("([lu]):([0-9]+)")
THRESHOLDS = {"l": "lower_threshold", "u": "upper_threshold"}
DNS = 53  # the port whose services are by UDP unless the text says otherwise


def parse(text: str, report: bool = False) -> Any:
    """The services of all ``virtual`` lines with the indented lines under them."""
    reading = Reading()
    entry: dict[str, Any] | None = None
    # The protocol and the forwarding of a service may stand after its realservers: they are put together at the end.
    for line, content in enumerate(text.splitlines(), 1):
        stripped = content.split("#", 1)[0].rstrip()
        if not stripped.strip():
            continue
        try:
            match = VIRTUAL.fullmatch(stripped)
            if match:
                entry = _virtual(reading, match)
            elif not stripped[0].isspace():
                entry = None
                reading.ignore(line, f"{stripped.split('=', 1)[0].strip()}: not part of the table")
            elif entry is None:
                raise WrongError("an indented line that belongs to no virtual service")
            else:
                _inside(reading, line, entry, stripped.strip())
        except WrongError as exc:
            reading.wrong(line, exc)
    for entry in reading.services.values():
        _settle(entry)
    return reading.result(report)


def _settle(entry: dict[str, Any]) -> None:
    """What ldirectord does when all lines are known: some count only together with others."""
    netmask, one_packet = entry.pop("netmask", None), entry.pop("ops", False)
    if netmask is not None and entry["persistence"]:
        entry["persistence"]["netmask"] = netmask
    entry["one_packet"] = one_packet and entry.get("protocol") == "udp"


def _virtual(reading: Reading, match: re.Match[str]) -> dict[str, Any]:
    six, text = match.groups()
    if re.fullmatch("[0-9]{1,10}", text):
        entry: dict[str, Any] = {"fwmark": int(text), "family": "ipv6" if six else "ipv4"}
    else:
        address, port = address_and_port(text)
        if not is_address(address) or port is None:
            raise WrongError(f"{text!r} is neither an address with a port nor a firewall mark")
        entry = {"protocol": "udp" if port == DNS else "tcp", "address": address, "port": port}
    entry.update(scheduler="wrr", persistence=None, realservers=[])
    key = (text, six, len(reading.services))  # the protocol, which may tell two of one address apart, comes later
    reading.services[key] = entry
    return entry


def _inside(reading: Reading, line: int, entry: dict[str, Any], text: str) -> None:
    name, _equals, value = (part.strip().strip('"') for part in text.partition("="))
    if name in ("real", "real6"):
        entry["realservers"] += _real(entry, value)
    elif name == "scheduler":
        entry["scheduler"] = value
    elif name == "protocol" and "fwmark" not in entry:
        entry["protocol"] = value
    elif name == "persistent":
        entry["persistence"] = {"timeout": number(value, name)}
    elif name == "netmask":
        entry["netmask"] = value
    elif name == "schedflags":
        entry["scheduler_flags"] = value.split(",")
    elif name == "ops":
        entry["ops"] = value == "yes"
    else:
        reading.ignore(line, f"{name}: not part of the table")


def _real(entry: dict[str, Any], value: str) -> list[dict[str, Any]]:
    words = value.split()
    first, arrow, last = words[0].partition("->") if words else ("", "", "")
    address, port = address_and_port(first, entry.get("protocol", "tcp"))
    if arrow:
        last, port_of_last = address_and_port(last, entry.get("protocol", "tcp"))
        port = port_of_last if port_of_last is not None else port
    if not is_address(address):
        raise WrongError(f"{address!r} is not an address; names are not resolved")
    if len(words) < 2 or words[1] not in METHODS:
        raise WrongError(f"{value!r} has none of {', '.join(METHODS)} after the address")
    record: dict[str, Any] = {"forwarding": METHODS[words[1]], "weight": 1}
    if port is not None:
        record["port"] = port
    if len(words) > 2 and words[2].isdigit():
        record["weight"] = number(words[2], "weight")
    for word in words[2:]:
        if threshold := THRESHOLD.fullmatch(word):
            record[THRESHOLDS[threshold[1]]] = number(threshold[2], THRESHOLDS[threshold[1]])
    return [{"address": one, **record} for one in (address_range(address, last) if arrow else [address])]
