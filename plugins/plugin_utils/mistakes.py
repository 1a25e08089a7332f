# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mistakes of an inventory, collected while its values are read, so that one message names them all."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from .addresses import AddrFormatError, IPAddress, IPNetwork

# netaddr before 1.0 would complete 10.1 to 10.0.0.1.
WHOLE_ADDRESS = re.compile(r".*:.*|[0-9]+(\.[0-9]+){3}(/.*)?")


class Mistakes(list[str]):
    """Sentences for the person who wrote the inventory: which object, what is wrong, what to do."""

    def integer(self, where: str, value: Any, low: int, high: int, fallback: int) -> int:
        """Read an integer; text of digits counts, because extra variables and surveys deliver text."""
        if isinstance(value, str) and re.fullmatch(r"[0-9]+", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.append(f"{where}: {value!r} is not an integer from {low} to {high}.")
            return fallback
        return value

    def signed(self, where: str, value: Any, low: int, high: int, fallback: int) -> int:
        """Read an integer that may be below zero."""
        negative = isinstance(value, str) and re.fullmatch(r"-[0-9]+", value)
        return self.integer(where, int(value) if negative else value, low, high, fallback)

    def seconds(self, where: str, value: Any, low: float, high: float, fallback: float) -> int | float:
        """Read a time, which may be a fraction; whole seconds come as an integer."""
        if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self.append(f"{where}: {value!r} is not a number of seconds from {low:g} to {high:g}.")
            value = fallback
        return int(value) if value == int(value) else value

    def port(self, where: str, value: Any) -> int | None:
        """Read a port; None if it is none, so that a wrong port is not taken for port 0 as well."""
        port = self.integer(where, value, 0, 65535, -1)
        return None if port < 0 else port

    def choice(self, where: str, value: Any, choices: Iterable[str], fallback: str) -> str:
        if value not in choices:
            self.append(f"{where}: {value!r} is unknown; choose one of {', '.join(choices)}.")
            return fallback
        return str(value)

    def boolean(self, where: str, value: Any) -> bool:
        if value not in (True, False, "true", "false", "yes", "no", "True", "False"):
            self.append(f"{where}: {value!r} is not a boolean; write true or false.")
            return False
        return value in (True, "true", "yes", "True")

    def keys(self, where: str, value: Any, known: set[str]) -> bool:
        """True if value is a mapping; names its unknown keys."""
        if not isinstance(value, Mapping):
            self.append(f"{where}: expected a mapping, got {type(value).__name__} {value!r}.")
            return False
        unknown = sorted(str(key) for key in value if key not in known)
        if unknown:
            self.append(f"{where}: unknown {', '.join(map(repr, unknown))}; known are {', '.join(sorted(known))}.")
        return True

    def address(self, where: str, value: Any) -> IPAddress | None:
        """Read one unicast host address; a /32 or /128 is tolerated, any shorter prefix is not."""
        network = self._written(
            where, value, "is not an IPv4 or IPv6 address; names are not resolved, write the address."
        )
        if network is None:
            return None
        address = network.ip
        if network.prefixlen != (32 if address.version == 4 else 128):
            self.append(
                f"{where}: {value} has a prefix shorter than the address; write {address}"
                " (a VIP with a network's prefix makes the whole network local, HOWTO 4.7)."
            )
        if _unusable(address):
            self.append(
                f"{where}: {address} is not a unicast address that clients and routers can use; choose one of your"
                " network (for LocalNode, name the director as host)."
            )
            return None
        if address.is_ipv4_mapped():
            self.append(f"{where}: {address} is an IPv4-mapped IPv6 address; write {address.ipv4()}.")
            return None
        return address

    def multicast(self, where: str, value: Any) -> IPAddress | None:
        """Read the address of a multicast group."""
        network = self._written(where, value, "is not an address.")
        if network is None:
            return None
        if not network.ip.is_multicast() or "/" in str(value):
            self.append(f"{where}: {value} is not a multicast address; write one as in 224.0.0.81 or ff02::81.")
            return None
        return network.ip

    def network(self, where: str, value: Any) -> IPNetwork | None:
        """Read a network in CIDR form; an address is one of a single host."""
        network = self._written(where, value, "is not a network; write it as in 192.168.3.0/29.")
        if network is None:
            return None
        if network.ip != network.network:
            self.append(f"{where}: {value} has bits behind its prefix; write {network.cidr}, or the address alone.")
            return None
        return network

    def _written(self, where: str, value: Any, complaint: str) -> IPNetwork | None:
        """An address or a network as it was written."""
        text = str(value)
        if ":" not in text and re.search(r"(^|\.)0\d", text.split("/", maxsplit=1)[0]):
            self.append(f"{where}: {text} has a leading zero, which some programs read as octal; write it without.")
            return None
        try:
            if not isinstance(value, str) or "%" in text or not WHOLE_ADDRESS.fullmatch(text):
                raise AddrFormatError
            return IPNetwork(text) if "/" in text else IPNetwork(IPAddress(text))
        except (AddrFormatError, ValueError):
            self.append(f"{where}: {value!r} {complaint}")
            return None

    def ports(self, where: str, value: Any, protocol: str) -> tuple[int, int] | None:
        """Read a port or a range of them such as 1024-65535: the lowest and the highest."""
        text = str(value)
        if isinstance(value, str) and (found := re.fullmatch(r"(\d+)-(\d+)", text)):
            low, high = int(found[1]), int(found[2])
            if not 1 <= low <= high <= 65535:
                self.append(f"{where} {text} is no range of ports; write the lower one first, 1 to 65535.")
                return None
            return low, high
        port = self.port_name(where, value, protocol)
        return None if port is None else (port, port)

    def port_name(self, where: str, value: Any, protocol: str) -> int | None:
        """Read a port, also by the name that this machine knows for the protocol."""
        if isinstance(value, str) and not value.isdigit():
            try:
                value = socket.getservbyname(value, protocol)
            except (OSError, ValueError):
                self.append(
                    f"{where} {value!r} is no number and no service name of {protocol} that this machine knows; write"
                    " the number."
                )
                return None
        return self.port(where, value)


def _unusable(address: IPAddress) -> bool:
    if address.version == 4 and (address.words[0] == 0 or address.words[0] >= 224):
        return True
    return int(address) == 0 or address.is_multicast() or address.is_loopback() or address.is_link_local()
