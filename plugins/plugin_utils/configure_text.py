# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lvs_nat.conf, lvs_dr.conf and lvs_tun.conf of the LVS-HOWTO's configure script."""

from __future__ import annotations

import re
from typing import Any

from .texts import Reading, WrongError, is_address, number, port_number

METHODS = {"VS_NAT": "nat", "VS_DR": "dr", "VS_TUN": "tun"}
PROTOCOLS = {"t": "tcp", "u": "udp"}


def parse(text: str, hosts: dict[str, str] | None = None, report: bool = False) -> Any:
    """The services of all ``SERVICE`` lines; ``hosts`` gives the addresses of the names in them."""
    reading = Reading()
    names = hosts or {}
    method, vip = "", ""
    lines: list[tuple[int, str]] = []
    for line, content in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"\s*([A-Za-z_]+)\s*=\s*(.*?)\s*", content.split("#", 1)[0])
        if not match:
            if content.split("#", 1)[0].strip():
                reading.wrong(line, f"{content.strip()!r} is no NAME=value")
            continue
        name, value = match[1], match[2].strip("\"'")
        if name == "LVS_TYPE":
            method = METHODS.get(value.upper(), "")
            if not method:
                reading.wrong(line, f"LVS_TYPE {value!r} is none of {', '.join(METHODS)}")
        elif name == "VIP":
            vip = next((names.get(word, word) for word in value.split() if is_address(names.get(word, word))), "")
            if not vip:
                reading.wrong(line, f"VIP {value!r} holds no address")
        elif name == "SERVICE":
            lines.append((line, value))
        else:
            reading.ignore(line, f"{name}: not part of the table")
    if lines and not (method and vip) and not reading.mistakes:
        reading.wrong(lines[0][0], "LVS_TYPE and VIP are missing")
    for line, value in lines if method and vip else ():
        try:
            _service(reading, value.split(), method, vip, names)
        except WrongError as exc:
            reading.wrong(line, exc)
    return reading.result(report)


def _service(reading: Reading, words: list[str], method: str, vip: str, hosts: dict[str, str]) -> None:
    if len(words) < 3 or words[0] not in PROTOCOLS:
        raise WrongError(f"SERVICE={' '.join(words)} is no protocol (t or u), port, scheduler and realservers")
    protocol = PROTOCOLS[words[0]]
    port = port_number(words[1], protocol)
    key = (protocol, vip, port)
    if key in reading.services:
        raise WrongError(f"{protocol} {vip} port {port} is there twice")
    realservers = []
    for word in words[3:]:
        place, _comma, weight = word.partition(",")
        host, _colon, own = place.partition(":")
        address = hosts.get(host, host)
        if not is_address(address):
            raise WrongError(f"{host!r} is a name; give its address in hosts")
        realservers.append(
            {
                "address": address,
                "port": port_number(own, protocol) if own else port,
                "forwarding": method,
                "weight": number(weight, "weight") if weight else 1,
            }
        )
    reading.services[key] = {
        "protocol": protocol, "address": vip, "port": port, "scheduler": words[2], "realservers": realservers,
    }  # fmt: skip
