# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of itself in ``lvs_*`` variables, checked against what it has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork
from .behaviour import CONN_TAB_BITS, DOS_PROFILES, check_settings
from .machines import Link, Machine, full_length
from .mistakes import Mistakes
from .parts import ROUTE_TABLE

# What the kernel takes as a name, and what module ``network`` takes as a setting.
INTERFACE_NAME = re.compile(r"[^\s/:]{1,15}")
SYSCTL_KEY = re.compile(r"net(\.[\w/:@-]+)+", re.ASCII)
NAT_RETURNS = ("policy", "default", "none")


def check_machine(machine: Machine, mistakes: Mistakes) -> None:
    """Everything that a host says of itself."""
    _check_addresses(machine, mistakes)
    _check_interfaces(machine, mistakes)
    _check_sysctls(machine, mistakes)
    where = f"host {machine.name}"
    mistakes.choice(
        f"{where}: lvs_nat_return", machine.variables.get("lvs_nat_return", "policy"), NAT_RETURNS, "policy"
    )
    mistakes.choice(
        f"{where}: lvs_dos_profile", dos_profile(machine), DOS_PROFILES, "off"
    )
    if (bits := machine.variables.get("lvs_conn_tab_bits")) is not None:
        mistakes.integer(f"{where}: lvs_conn_tab_bits", bits, *CONN_TAB_BITS, CONN_TAB_BITS[0])
    if "lvs_table_owner" in machine.variables:
        mistakes.append(
            f"{where}: lvs_table_owner is gone; say with lvs_health who checks the realservers (none, keepalived,"
            " ldirectord): that program writes the table, without one we do."
        )


def route_table(machine: Machine, mistakes: Mistakes) -> int:
    """The first routing table of ours there; 32766 is the main table's rule, which none of ours may reach."""
    return mistakes.integer(
        f"host {machine.name}: lvs_route_table",
        machine.variables.get("lvs_route_table", ROUTE_TABLE),
        256,
        31000,
        ROUTE_TABLE,
    )


def dos_profile(machine: Machine) -> Any:
    """`lvs_dos_profile` as it was written; YAML reads a bare `off` and `on` as booleans."""
    profile = machine.variables.get("lvs_dos_profile", "off")
    return {True: "on", False: "off"}[profile] if isinstance(profile, bool) else profile


def _check_interfaces(machine: Machine, mistakes: Mistakes) -> None:
    for name in ("lvs_interface", "lvs_vip_interface"):
        interface = machine.variables.get(name)
        if not interface:
            continue
        known = machine.facts is None or machine.interface(str(interface)) is not None
        if not known or not INTERFACE_NAME.fullmatch(str(interface)):
            mistakes.append(
                f"host {machine.name}: {name} {interface!r} is no interface of it; correct the name."
            )
        elif interface == "lo":
            mistakes.append(
                f"host {machine.name}: {name} is lo, where no neighbour is; name the interface of the network."
            )


def _check_sysctls(machine: Machine, mistakes: Mistakes) -> None:
    where = f"host {machine.name}: lvs_sysctls"
    sysctls = machine.variables.get("lvs_sysctls", {})
    if not isinstance(sysctls, Mapping):
        mistakes.append(f"{where} must be a mapping of sysctl keys to values.")
        return
    for key, value in sysctls.items():
        if not isinstance(key, str) or not SYSCTL_KEY.fullmatch(key):
            mistakes.append(f"{where}: {key!r} is no setting below net; write it as in net.core.somaxconn.")
        if not isinstance(value, (str, int)) or not str(value).strip():
            mistakes.append(f"{where}: {key}: {value!r} is not a value; write a number or a text.")
    check_settings(where, sysctls, mistakes)


def _check_addresses(machine: Machine, mistakes: Mistakes) -> None:
    for name, version in (("lvs_rip", 4), ("lvs_rip6", 6)):
        for value in machine.given(name):
            address = mistakes.address(f"host {machine.name}: {name}", value)
            if address is not None and address.version != version:
                other = "lvs_rip6" if name == "lvs_rip" else "lvs_rip"
                mistakes.append(f"host {machine.name}: {name} {address} is IPv{address.version}; use {other}.")
    for name in ("lvs_dip", "lvs_gateway"):
        for value in machine.given(name):
            mistakes.address(f"host {machine.name}: {name}", value)
    for value in machine.given("lvs_inside"):
        try:
            inside = IPNetwork(value)
        except (AddrFormatError, ValueError):
            mistakes.append(
                f"host {machine.name}: lvs_inside {value!r} is not an address with its prefix, as in 10.1.1.9/24."
            )
            continue
        if inside.ip in edges(inside):
            mistakes.append(
                f"host {machine.name}: lvs_inside {value} is the address of the network itself; write the"
                " director's own address there, as in 10.1.1.9/24."
            )
    for name in ("lvs_rip", "lvs_rip6", "lvs_dip", "lvs_inside"):
        # An inside address with its prefix is set by us, so it need not be there yet.
        for address in machine.addresses(name, settable=name != "lvs_inside"):
            if not machine.has(address):
                mistakes.append(
                    f"host {machine.name}: {name} {address} is no address of it (it has {listing(machine.links)});"
                    " correct it, or give the machine that address first."
                )


def edges(network: IPNetwork) -> set[IPAddress]:
    """The addresses of a network that belong to no host: its own and the broadcast address (RFC 3021 has none).

    IPv6 knows no broadcast; the network's own is the routers' anycast address.
    """
    if network.prefixlen >= full_length(network.version) - 1:
        return set()
    return {network.network} | ({network.broadcast} if network.version == 4 else set())


def listing(links: Sequence[Link]) -> str:
    return ", ".join(f"{link.network} on {link.interface}" for link in links) or "no address"
