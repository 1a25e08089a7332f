# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine of the inventory: its addresses, links and routes, from host variables and from gathered facts."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork


def full_length(version: int) -> int:
    return 32 if version == 4 else 128


def family(version: int) -> str:
    return f"ipv{version}"


@dataclass(frozen=True)
class Link:
    """One address of a machine: the address, its network and the interface that carries it."""

    address: IPAddress
    network: IPNetwork
    interface: str

    @property
    def is_host_route(self) -> bool:
        """A /32 or /128 has no neighbours: a VIP, or an address routed to this machine."""
        return self.network.prefixlen == full_length(self.address.version)


@dataclass
class Machine:
    """A host with its ``lvs_*`` variables and the facts of module ``lvs_facts`` (None: not gathered)."""

    name: str
    variables: Mapping[str, Any]
    facts: Mapping[str, Any] | None = None
    links: list[Link] = field(init=False)

    def __post_init__(self) -> None:
        self.links = [
            Link(IPAddress(item["address"]), IPNetwork(f"{item['address']}/{item['prefix']}"), interface["name"])
            for interface in self._interfaces()
            if interface["name"] != "lo"
            for item in interface["addresses"]
            if item["scope"] == "global"
        ]

    def _interfaces(self) -> Iterable[Mapping[str, Any]]:
        return (self.facts or {}).get("interfaces", [])

    def interface(self, name: str) -> Mapping[str, Any] | None:
        return next((interface for interface in self._interfaces() if interface["name"] == name), None)

    def has(self, address: IPAddress) -> bool:
        """Whether the address is on any interface; True while nothing is known."""
        known = (item["address"] for interface in self._interfaces() for item in interface["addresses"])
        return self.facts is None or any(address == IPAddress(item) for item in known)

    def management(self) -> IPAddress | None:
        """``ansible_host`` if it is an address: how Ansible reaches the machine says nothing about its RIP."""
        try:
            return IPAddress(str(self.variables.get("ansible_host")))
        except (AddrFormatError, ValueError):
            return None

    def given(self, name: str) -> list[str]:
        """The values of a host variable that may be one value or a list."""
        value = self.variables.get(name)
        if value is None:
            return []
        return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]

    def addresses(self, name: str, settable: bool = True) -> list[IPAddress]:
        """The same as addresses, a prefix left off; what is none is named where the variables are checked.

        Without the `settable` ones: a value that has a prefix is one that we set ourselves.
        """
        found = []
        for value in self.given(name):
            if not settable and "/" in value:
                continue
            with contextlib.suppress(AddrFormatError, ValueError):
                found.append(IPNetwork(value).ip)
        return found

    def link_to(self, address: IPAddress) -> Link | None:
        """The link on whose network the address lies; the longest prefix wins, as in the kernel."""
        reachable = [link for link in self.links if address in link.network and not link.is_host_route]
        return max(reachable, key=lambda link: link.network.prefixlen, default=None)

    def candidates(self, version: int, vips: Collection[IPAddress]) -> list[Link]:
        """Addresses that can be this machine's RIP or DIP: not a VIP, not only for management if there are others."""
        # An inside address that we set ourselves is there from the second run on only.
        ours = set(self.addresses("lvs_inside")) - set(self.addresses("lvs_inside", settable=False))
        others = {*vips, *ours}
        links = [link for link in self.links if link.address.version == version and link.address not in others]
        if interface := self.variables.get("lvs_interface"):
            links = [link for link in links if link.interface == interface]
        for unwanted in (lambda link: link.is_host_route, lambda link: link.address == self.management()):
            links = [link for link in links if not unwanted(link)] or links
        return links

    def routes(self, version: int) -> list[Mapping[str, Any]]:
        return [route for route in (self.facts or {}).get("routes", []) if route["family"] == family(version)]

    def default_route(self, version: int) -> Mapping[str, Any] | None:
        return next((route for route in self.routes(version) if route["destination"] == "default"), None)
