# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services and destinations of an IPVS table: normalised, comparable, written as ipvsadm writes them."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, Dict, Iterable, Iterator, NamedTuple, Tuple

IPV4, IPV6 = int(AF_INET), int(AF_INET6)
FAMILIES = {"ipv4": IPV4, "ipv6": IPV6}
FAMILY_NAMES = {number: name for name, number in FAMILIES.items()}

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_SERVICE_OPTIONS = {6: "-t", 17: "-u", 132: "--sctp-service"}

NAT, LOCAL, TUN, DR, BYPASS = 0, 1, 2, 3, 4
FORWARDING = {"nat": NAT, "local": LOCAL, "tun": TUN, "dr": DR}
FORWARDING_NAMES = {NAT: "nat", LOCAL: "local", TUN: "tun", DR: "dr", BYPASS: "bypass"}
_FORWARDING_OPTIONS = {NAT: "-m", LOCAL: "-g", TUN: "-i", DR: "-g", BYPASS: "-g"}

PERSISTENT, ONE_PACKET = 0x1, 0x4
SCHEDULER_FLAGS = {"flag-1": 0x8, "flag-2": 0x10, "flag-3": 0x20}
# The names that ipvsadm has for the flags of some schedulers.
SCHEDULER_FLAG_NAMES = {
    "sh": {"sh-fallback": 0x8, "sh-port": 0x10},
    "mh": {"mh-fallback": 0x8, "mh-port": 0x10},
}
ALL_SCHEDULER_FLAGS = 0x38
# The flags that are ours to set. The kernel keeps bits of its own beside them (0x2: the service is in the hash table).
MEANT_FLAGS = PERSISTENT | ONE_PACKET | ALL_SCHEDULER_FLAGS

TUNNELS = {"ipip": 0, "gue": 1, "gre": 2}
TUNNEL_NAMES = {number: name for name, number in TUNNELS.items()}
CHECKSUMS = {"none": 0, "csum": 1, "remcsum": 2, "both": 3}
CHECKSUM_NAMES = {number: name for name, number in CHECKSUMS.items()}
_CHECKSUM_OPTIONS = {0: "--tun-nocsum", 1: "--tun-csum", 2: "--tun-remcsum", 3: "--tun-csum --tun-remcsum"}

DEFAULT_SCHEDULER = "wlc"
DEFAULT_WEIGHT = 1
DEFAULT_TIMEOUT = 300  # seconds, as in ipvsadm(8)
FULL_NETMASK = {IPV4: 0xFFFFFFFF, IPV6: 128}

ServiceKey = Tuple[int, int, bytes, int, int]
DestinationKey = Tuple[int, bytes, int]


class Service(NamedTuple):
    """A virtual service without its realservers. The first five fields are its key and never change."""

    family: int
    protocol: int  # 0 for a firewall mark
    address: bytes  # packed; empty for a firewall mark
    port: int
    fwmark: int  # 0 for an address
    scheduler: str = DEFAULT_SCHEDULER
    flags: int = 0
    timeout: int = 0  # seconds; 0 unless persistent
    netmask: int = (
        0xFFFFFFFF  # IPv4: the mask, most significant byte first; IPv6: prefix length. Full unless persistent
    )
    engine: str = ""  # persistence engine

    @property
    def key(self) -> ServiceKey:
        return (self.family, self.protocol, self.address, self.port, self.fwmark)


class Destination(NamedTuple):
    """A realserver of a service. The first three fields are its key and never change."""

    family: int
    address: bytes
    port: int
    forwarding: int = DR
    weight: int = DEFAULT_WEIGHT
    upper_threshold: int = 0
    lower_threshold: int = 0
    tunnel_type: int = 0
    tunnel_port: int = 0
    tunnel_flags: int = 0

    @property
    def key(self) -> DestinationKey:
        return (self.family, self.address, self.port)


class Entry(NamedTuple):
    """A service with its realservers."""

    service: Service
    destinations: dict[DestinationKey, Destination]


class Connections(NamedTuple):
    """What the kernel counts for one realserver at this moment."""

    active: int
    inactive: int
    persistent: int


Table = Dict[ServiceKey, Entry]


def same_service(have: Service, want: Service) -> bool:
    """Whether the kernel's record already is what is wanted."""
    return have == want


def same_destination(have: Destination, want: Destination) -> bool:
    """Whether the kernel's record already is what is wanted.

    Some kernels report `local` for an address of the director's own, whichever method was asked for; a tunnel then
    counts for nothing.
    """
    if have == want:
        return True
    return have.forwarding == LOCAL and have == want._replace(
        forwarding=LOCAL, tunnel_type=0, tunnel_port=0, tunnel_flags=0
    )


# ---- text


def address_text(family: int, address: bytes) -> str:
    """An address as RFC 5952 and everybody writes it."""
    return inet_ntop(family, address)


def endpoint(family: int, address: bytes, port: int) -> str:
    """``192.168.1.110:80`` or ``[2001:db8::110]:80``."""
    text = inet_ntop(family, address)
    return f"[{text}]:{port}" if family == IPV6 else f"{text}:{port}"


def netmask_value(family: int, netmask: int) -> int | str:
    """A netmask as users write it: a prefix length, or dotted where the mask has holes."""
    if family == IPV6:
        return netmask
    inverted = netmask ^ 0xFFFFFFFF
    if inverted & (inverted + 1):
        return dotted(netmask)
    return 32 - inverted.bit_length()


def dotted(netmask: int) -> str:
    """An IPv4 mask in dotted form."""
    return ".".join(str(netmask >> shift & 255) for shift in (24, 16, 8, 0))


def describe_service(service: Service | ServiceKey) -> str:
    """A service in words: ``TCP service 192.168.1.110:80`` or ``firewall mark 1 (ipv4)``."""
    family, protocol, address, port, fwmark = service[:5]
    if fwmark:
        return f"firewall mark {fwmark} ({FAMILY_NAMES.get(family, family)})"
    name = PROTOCOL_NAMES.get(protocol, str(protocol)).upper()
    return f"{name} service {endpoint(family, address, port)}"


def service_option(service: Service | ServiceKey) -> str:
    """How ipvsadm is told which service is meant: ``-t 192.168.1.110:80``."""
    family, protocol, address, port, fwmark = service[:5]
    if fwmark:
        return f"-f {fwmark} -6" if family == IPV6 else f"-f {fwmark}"
    return f"{_SERVICE_OPTIONS.get(protocol, '-t')} {endpoint(family, address, port)}"


def scheduler_flag_list(service: Service) -> list[str]:
    """The names of a service's scheduler flags, by the scheduler's own names where it has any."""
    own = {bit: name for name, bit in SCHEDULER_FLAG_NAMES.get(service.scheduler, {}).items()}
    return [own.get(bit, name) for name, bit in SCHEDULER_FLAGS.items() if service.flags & bit]


def service_rule(service: Service) -> str:
    """The service as ``ipvsadm -S -n`` prints it, without the command in front."""
    parts = [service_option(service), "-s", service.scheduler]
    if service.flags & PERSISTENT:
        parts.append(f"-p {service.timeout}")
        if service.netmask != FULL_NETMASK[service.family]:
            mask = dotted(service.netmask) if service.family == IPV4 else str(service.netmask)
            parts.append(f"-M {mask}")
    if service.engine:
        parts.append(f"--pe {service.engine}")
    if service.flags & ONE_PACKET:
        parts.append("-o")
    flags = scheduler_flag_list(service)
    if flags:
        parts.append("-b " + ",".join(flags))
    return " ".join(parts)


def destination_rule(option: str, destination: Destination) -> str:
    """The realserver as ``ipvsadm -S -n`` prints it, with its thresholds, which that leaves out."""
    family, address, port, forwarding, weight, upper, lower, tunnel, tunnel_port, tunnel_flags = destination
    text = f"{option} -r {endpoint(family, address, port)} {_FORWARDING_OPTIONS.get(forwarding, '-g')} -w {weight}"
    if upper or lower:
        text += f" -x {upper} -y {lower}"
    if forwarding == TUN:
        text += f" --tun-type {TUNNEL_NAMES.get(tunnel, tunnel)}"
        if tunnel == TUNNELS["gue"]:
            text += f" --tun-port {tunnel_port}"
        if tunnel:
            text += f" {_CHECKSUM_OPTIONS.get(tunnel_flags, '')}"
    return text


def rules(table: Table) -> Iterator[str]:
    """The table as ``ipvsadm -S -n`` prints it."""
    for entry in ordered(table):
        yield f"-A {service_rule(entry.service)}"
        option = service_option(entry.service)
        for key in sorted(entry.destinations):
            yield f"-a {destination_rule(option, entry.destinations[key])}"


def ordered(table: Table) -> list[Entry]:
    """Services in ipvsadm's order: addresses before firewall marks, IPv4 before IPv6, by protocol, address and port."""
    return [table[key] for key in ordered_keys(table)]


def ordered_keys(keys: Iterable[ServiceKey]) -> list[ServiceKey]:
    """The same order for services alone."""
    return sorted(keys, key=lambda key: (key[4], *key[:4]))


# ---- the shape that users write


def service_name(service: Service | ServiceKey) -> dict[str, Any]:
    """The options that name a service."""
    family, protocol, address, port, fwmark = service[:5]
    if fwmark:
        return {"fwmark": fwmark, "family": FAMILY_NAMES.get(family, str(family))}
    return {
        "protocol": PROTOCOL_NAMES.get(protocol, str(protocol)),
        "address": address_text(family, address),
        "port": port,
    }


def destination_name(key: DestinationKey) -> dict[str, Any]:
    """The options that name a realserver within its service."""
    family, address, port = key
    return {"address": address_text(family, address), "port": port}


def destination_config(destination: Destination) -> dict[str, Any]:
    """A realserver as a user writes it, every field stated."""
    result: dict[str, Any] = {
        "address": inet_ntop(destination.family, destination.address),
        "port": destination.port,
        "forwarding": FORWARDING_NAMES.get(destination.forwarding, str(destination.forwarding)),
        "weight": destination.weight,
        "upper_threshold": destination.upper_threshold,
        "lower_threshold": destination.lower_threshold,
    }
    if destination.forwarding == TUN:
        tunnel: dict[str, Any] = {"type": TUNNEL_NAMES.get(destination.tunnel_type, str(destination.tunnel_type))}
        if destination.tunnel_type == TUNNELS["gue"]:
            tunnel["port"] = destination.tunnel_port
        if destination.tunnel_type:
            tunnel["checksum"] = CHECKSUM_NAMES.get(destination.tunnel_flags, str(destination.tunnel_flags))
        result["tunnel"] = tunnel
    return result


def entry_config(entry: Entry) -> dict[str, Any]:
    """A service with its realservers as a user writes it, every field stated."""
    service = entry.service
    persistence = None
    if service.flags & PERSISTENT:
        persistence = {
            "timeout": service.timeout,
            "netmask": netmask_value(service.family, service.netmask),
            "engine": service.engine or None,
        }
    return {
        **service_name(service),
        "scheduler": service.scheduler,
        "scheduler_flags": scheduler_flag_list(service),
        "persistence": persistence,
        "one_packet": bool(service.flags & ONE_PACKET),
        "realservers": [destination_config(entry.destinations[key]) for key in sorted(entry.destinations)],
    }


def table_config(table: Table) -> list[dict[str, Any]]:
    """The table as ``config``."""
    return [entry_config(entry) for entry in ordered(table)]
