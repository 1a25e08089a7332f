# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers for VIPs as seen from one host: by which interface, asked from which address; which services reply."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Mapping, Sequence

from . import _probe
from ._errors import LvsError

# Probes of services that wait at the same time.
WAITING = 16

ReadIp = Callable[..., "list[dict[str, Any]]"]
Ask = Callable[[str, Mapping[str, str], int, float], "dict[str, list[str]]"]


def who_answers(
    vips: Sequence[str],
    interface: str,
    count: int,
    timeout: float,
    read_ip: ReadIp,
    ask: Ask = _probe.who_has,
) -> list[dict[str, Any]]:
    """For each VIP the MAC addresses that answer for it, or why nobody can be asked."""
    results = [_place(_normal(vip), interface, read_ip) for vip in vips]
    groups: dict[str, dict[str, str]] = {}
    links = {link["ifname"]: link for link in read_ip("addr", "show")}
    for result in results:
        if result["on_link"]:
            sender = own_address(result["vip"], links.get(result["interface"], {}))
            groups.setdefault(result["interface"], {})[result["vip"]] = sender
    answers: dict[tuple[str, str], list[str]] = {}
    for name, questions in groups.items():
        try:
            found = ask(name, questions, count, timeout)
        except _probe.NoEthernet as error:
            for result in results:
                if result["interface"] == name:
                    result.update(on_link=False, reason=error.message)
            continue
        answers.update({(name, vip): macs for vip, macs in found.items()})
    for result in results:
        result["macs"] = answers.get((result["interface"], result["vip"]), [])
    return results


def _normal(vip: str) -> str:
    try:
        if "%" in vip:
            raise ValueError("its link is named by interface")
        return str(ipaddress.ip_address(vip))
    except ValueError as error:
        raise LvsError(f"vips: {vip!r} is not an IPv4 or IPv6 address.") from error


def _place(vip: str, interface: str, read_ip: ReadIp) -> dict[str, Any]:
    """Where a VIP is, by the route to it."""
    result: dict[str, Any] = {"vip": vip, "interface": interface, "on_link": False, "macs": [], "reason": ""}
    try:
        routes = read_ip("route", "get", vip)
    except LvsError as error:
        routes = []
        result["reason"] = f"this host has no route to it ({error})"
    route = routes[0] if routes else {}
    if route.get("type") == "local":
        result["reason"] = "this host holds it itself"
    elif interface:
        result.update(on_link=True, reason="")
    elif route:
        gateway = route.get("gateway") or (route.get("via") or {}).get("host")
        result["interface"] = route.get("dev", "")
        result["on_link"] = not gateway and route.get("type", "unicast") == "unicast"
        if gateway:
            result["reason"] = f"it is behind router {gateway}, which alone asks for it by ARP or neighbour discovery"
        elif not result["on_link"]:
            result["reason"] = f"the route to it is of type {route['type']}"
    return result


def own_address(vip: str, link: Mapping[str, Any]) -> str:
    """The address of an interface to ask from: one on the VIP's network, else any; "" if it has none."""
    target = ipaddress.ip_address(vip)
    own = [
        ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}")
        for entry in link.get("addr_info", ())
        if "local" in entry and not entry.get("tentative")
    ]
    own = [address for address in own if address.version == target.version]
    near = [address for address in own if target in address.network]
    chosen = near or [address for address in own if address.is_link_local] or own
    return str(chosen[0].ip) if chosen else ""


def try_services(services: Sequence[Mapping[str, Any]], timeout: float) -> list[dict[str, Any]]:
    """Each service with whether it is reachable, and why not."""

    def tried(service: Mapping[str, Any]) -> dict[str, Any]:
        payload = str(service.get("payload") or "").encode()
        error = _probe.reachable(service["address"], service["port"], service["protocol"], timeout, payload)
        return {**service, "reachable": not error, "error": error}

    with ThreadPoolExecutor(WAITING) as pool:
        return list(pool.map(tried, services))


def check_limits(count: int, timeout: float, services: Sequence[Mapping[str, Any]]) -> None:
    """Raises LvsError with every mistake of the options."""
    mistakes = []
    if not 1 <= count <= 100:
        mistakes.append(f"count: {count} is not a number from 1 to 100.")
    if not 0 < timeout <= 60:
        mistakes.append(f"timeout: {timeout:g} is not more than 0 and at most 60 seconds.")
    for number, service in enumerate(services):
        if not 1 <= service["port"] <= 65535:
            mistakes.append(f"services[{number}]: port {service['port']} is not a number from 1 to 65535.")
        try:
            ipaddress.ip_address(service["address"])
        except ValueError:
            mistakes.append(f"services[{number}]: address {service['address']!r} is not an IPv4 or IPv6 address.")
    if mistakes:
        raise LvsError("\n".join(mistakes), mistakes=mistakes)
