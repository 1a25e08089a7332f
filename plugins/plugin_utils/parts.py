# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network part of one host's plan: what module ``network`` shall make true there, one rule of the HOWTO a method.

A host that is director and realserver, or realserver of several clusters, gets one merged part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils._sysctl_effects import escaped
from .addresses import AddrFormatError, IPAddress, IPNetwork
from .machines import Machine, family, full_length

# Policy routes of ours live in these tables and rules; `lvs_route_table` on a host moves them.
ROUTE_TABLE = 1100
MAIN_TABLE = 254
# The one table in which IPv4 looks whether an address to send from is its own. A local route of the main table counts
# there only as long as no policy rule was ever set on the machine.
LOCAL_TABLE = 255
# The kernel's own route of an address that a director holds comes before ours.
STANDBY_METRIC = 1100
# Table and rules by which a director without VIP takes packets in, counted from the first of ours.
TAKE_IN = 900
# What the outer header costs: 20 bytes for IPv4 in IPv4, 40 for IPv6 in IPv6; then the inner IP and TCP headers.
TUNNEL_OVERHEAD = {4: 20, 6: 40}
HEADERS = {4: 40, 6: 60}
TUNNEL_DEVICE = {4: ("tunl0", "ipip", "ipip"), 6: ("ip6tnl0", "ip6tnl", "ip6_tunnel")}


class NetworkPart:
    """Collects kernel modules, sysctls, devices, addresses, routes and rules of one machine, each thing once."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.route_table = ROUTE_TABLE
        self.conflicts: list[str] = []
        self._modules: dict[str, None] = {}
        self._sysctls: dict[str, str] = {}
        self._devices: dict[str, dict[str, Any]] = {}
        self._addresses: dict[IPAddress, dict[str, Any]] = {}
        self._director_vips: set[str] = set()
        self._floating: set[IPAddress] = set()
        self._floating_vips: set[IPAddress] = set()
        self._local: dict[IPNetwork, None] = {}
        self._tunnel_targets: set[IPNetwork] = set()
        self._marks: set[tuple[int, int]] = set()
        self._returns: dict[IPAddress, tuple[IPAddress, bool]] = {}

    def module(self, name: str) -> None:
        self._modules[name] = None

    def sysctl(self, key: str, value: Any) -> None:
        # YAML's true and false are 1 and 0 to the kernel.
        self._sysctls[str(key)] = str(int(value) if isinstance(value, bool) else value)

    def address(self, address: IPAddress, prefix: int, device: str, **flags: bool) -> None:
        entry = {"address": f"{address}/{prefix}", "device": device, **flags}
        if self._addresses.setdefault(address, entry)["device"] != device:
            self.conflicts.append(
                f"host {self.machine.name}: {address} would have to be on {self._addresses[address]['device']} and on"
                f" {device}, but a machine holds an address once; use one method, dr or tun, for this VIP there."
            )

    def director_vip(self, vip: IPAddress, device: str) -> None:
        """The VIP, announced. IPv6: deprecated, or IPVS tunnels and the director's own traffic leave from the VIP."""
        flags = {"announce": True} if vip.version == 4 else {"announce": True, "nodad": True, "deprecated": True}
        self.address(vip, full_length(vip.version), device, **flags)
        self._director_vips.add(f"{vip}/{full_length(vip.version)}")

    def floating(self, address: IPAddress) -> None:
        """Another program puts the address on a device here, or does not; nothing of ours relies on it."""
        self._floating.add(address)

    def floating_vip(self, vip: IPAddress) -> None:
        """Directed here whoever holds it: while it moves, clients go on sending to whoever has given it up."""
        self.floating(vip)
        self._floating_vips.add(vip)
        self.hide_vip(vip.version)

    def inside_address(self, network: IPNetwork, device: str) -> None:
        """What NAT realservers use as gateway; at once, as duplicate address detection would keep it silent at boot."""
        flags = {"announce": True} if network.version == 4 else {"announce": True, "nodad": True}
        self.address(network.ip, network.prefixlen, device, **flags)

    def forwarding(self, version: int, interfaces: list[str]) -> None:
        """LVS-NAT: the director is a router (HOWTO 5.6) that never redirects a realserver past itself (HOWTO 5.12)."""
        if version == 6:
            self.sysctl("net.ipv6.conf.all.forwarding", 1)
            return
        self.sysctl("net.ipv4.ip_forward", 1)
        # A redirect is sent if `all` or the interface says so: both must be off.
        for name in ("all", *interfaces):
            self.sysctl(f"net.ipv4.conf.{escaped(name)}.send_redirects", 0)

    def hide_vip(self, version: int) -> None:
        """The ARP cure (HOWTO 6): `all`, since the kernel, not a device, answers; IPv6 answers per device anyway."""
        if version == 4:
            self.sysctl("net.ipv4.conf.all.arp_ignore", 1)
            self.sysctl("net.ipv4.conf.all.arp_announce", 2)

    def direct(self, target: IPNetwork) -> None:
        """LVS-DR realserver: the VIP on lo, /32 or /128 so that nothing else becomes local (HOWTO 4.7, 7)."""
        self.hide_vip(target.version)
        self._own(target, "lo")

    def tunnel(self, target: IPNetwork) -> None:
        """LVS-Tun realserver: the VIP on the tunnel device, replies with an MSS that fits the tunnel (HOWTO 8)."""
        device, kind, module = TUNNEL_DEVICE[target.version]
        self.module(module)
        self._devices[device] = {"name": device, "kind": kind}
        self.hide_vip(target.version)
        if target.version == 4:
            # The packet comes out of the tunnel with the client's address, whose route is not the tunnel. The kernel
            # takes max(all, device): 2 (loose) here is enough, `all` stays.
            self.sysctl(f"net.ipv4.conf.{device}.rp_filter", 2)
        self._own(target, device)
        self._tunnel_targets.add(target)

    def _own(self, target: IPNetwork, device: str) -> None:
        """Take packets in: a VIP is an address of the device, a network of VIPs is a local route (HOWTO 18.12)."""
        if target.prefixlen == full_length(target.version):
            flags = {} if target.version == 4 else {"nodad": True, "deprecated": True}
            self.address(target.ip, target.prefixlen, device, **flags)
        else:
            self._local[target] = None

    def take_in(self, mark: int, version: int) -> None:
        """A director without the VIP takes marked packets in as if they were for itself (HOWTO 17.4)."""
        self._marks.add((mark, version))

    def return_through(self, rip: IPAddress, gateway: IPAddress, one_network: bool) -> None:
        """LVS-NAT realserver: what leaves from the RIP goes back through the director (HOWTO 5.4)."""
        first, known_one_network = self._returns.get(rip, (gateway, False))
        # One VIP on the RIP's own network is enough: its clients are neighbours, to be answered by the director.
        self._returns[rip] = (first, known_one_network or one_network)
        if first != gateway:
            self.conflicts.append(
                f"host {self.machine.name}: replies from {rip} would have to go through {first} and"
                f" through {gateway}; two NAT directors need a RIP each on this realserver."
            )
        if one_network and rip.version == 6 and (link := self.machine.link_to(gateway)):
            # An IPv6 router redirects us to a client next door, and cannot be told not to (HOWTO 5.12): do not listen.
            self.sysctl(f"net.ipv6.conf.{escaped(link.interface)}.accept_redirects", 0)

    def compiled(self, extra_sysctls: Mapping[str, Any]) -> dict[str, list[Any]]:
        """The `config` of module ``network``."""
        routes, rules = self._policy()
        for key, value in extra_sysctls.items():
            self.sysctl(key, value)
        return {
            "modules": list(self._modules),
            "sysctls": [{"key": key, "value": value} for key, value in self._sysctls.items()],
            "devices": list(self._devices.values()),
            "addresses": list(self._addresses.values()),
            "routes": routes,
            "rules": rules,
        }

    def groundwork(self, compiled: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """A director's part without the VIPs that it directs: what has to be true before the table uses it."""
        kept = [entry for entry in compiled["addresses"] if entry["address"] not in self._director_vips]
        return {**compiled, "addresses": kept}

    def _policy(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        routes: list[dict[str, Any]] = []
        rules: list[dict[str, Any]] = []
        as_default = self.machine.variables.get("lvs_nat_return", "policy") == "default"
        base = self.route_table
        for offset, target in enumerate(sorted(self._tunnel_targets)):
            rules.append(_rule(target, base + offset, base))
        for version in sorted({target.version for target in self._tunnel_targets}):
            routes += self._fitting_routes(version, base)
        routes += [_local_route(str(target.cidr), target.version, LOCAL_TABLE) for target in sorted(self._local)]
        routes += [self._standby_route(vip) for vip in sorted(self._floating_vips - set(self._addresses))]
        for mark, version in sorted(self._marks):
            found = {"family": family(version), "priority": base + TAKE_IN, "fwmark": mark, "table": base + TAKE_IN}
            rules.append(found)
        for version in sorted({version for _mark, version in self._marks}):
            routes.append(_local_route("default", version, base + TAKE_IN))
        for number, (rip, (gateway, one_network)) in enumerate(sorted(self._returns.items()), start=1):
            table = base + number
            if as_default:
                table = MAIN_TABLE
                self._only_default(rip, gateway)
            else:
                rules.append(_rule(IPNetwork(rip), base + 500 + number, table))
                routes += self._neighbours(rip, table) if not one_network else []
            route = {"destination": "default", "family": family(rip.version), "gateway": str(gateway), "table": table}
            if link := self.machine.link_to(gateway):
                route["device"] = link.interface
            if route not in routes:
                routes.append(route)
        return routes, rules

    def _standby_route(self, vip: IPAddress) -> dict[str, Any]:
        """A local route answers no neighbour. The director's own connections to the VIP leave from its own address."""
        route = {**_local_route(str(vip), vip.version, LOCAL_TABLE), "metric": STANDBY_METRIC}
        link = self.machine.link_to(vip)
        return {**route, "source": str(link.address)} if link else route

    def _only_default(self, rip: IPAddress, gateway: IPAddress) -> None:
        for other, (through, _one_network) in self._returns.items():
            if other < rip and other.version == rip.version and through != gateway:
                self.conflicts.append(
                    f"host {self.machine.name}: lvs_nat_return is default, but {other} needs {through} and {rip} needs"
                    f" {gateway} as the default gateway; use lvs_nat_return policy there."
                )

    def _neighbours(self, rip: IPAddress, table: int) -> list[dict[str, Any]]:
        """The RIP's own network stays direct; any other path past the director would lose the reply (HOWTO 5.4)."""
        link = next((link for link in self.machine.links if link.address == rip and not link.is_host_route), None)
        if link is None:
            return []
        network = {"destination": str(link.network.cidr), "family": family(rip.version), "device": link.interface}
        return [{**network, "table": table}]

    def _fitting_routes(self, version: int, table: int) -> list[dict[str, Any]]:
        """The main table's routes again, with the `advmss` that leaves room for the tunnel (HOWTO 8.16)."""
        routes = []
        seen: set[tuple[Any, int]] = set()
        for route in self.machine.routes(version):
            interface = self.machine.interface(route.get("device") or "")
            if interface is None or interface["name"] in (TUNNEL_DEVICE[version][0], "lo"):
                continue
            if str(route["destination"]).startswith(("fe80:", "ff00:")) or self._is_own_vip(route["destination"]):
                continue
            # Those go on by the main table, without the smaller segments.
            gateway = str(route.get("gateway") or "")
            if route.get("onlink") or route.get("tos") or (gateway and (":" in gateway) != (version == 6)):
                continue
            # Of several to the same place the kernel takes the first.
            if (place := (route["destination"], route.get("metric") or 0)) in seen:
                continue
            seen.add(place)
            kept = ("destination", "family", "gateway", "device", "metric")
            copy = {key: route[key] for key in kept if route.get(key)}
            advmss = interface["mtu"] - TUNNEL_OVERHEAD[version] - HEADERS[version]
            routes.append({**copy, "table": table, "advmss": advmss})
        return routes

    def _is_own_vip(self, destination: Any) -> bool:
        """IPv6 gives every address a route of its own; the plan must read the same once the VIPs are there."""
        try:
            network = IPNetwork(str(destination))
        except (AddrFormatError, ValueError):
            return False  # `default`
        ours = network.ip in self._addresses or network.ip in self._floating
        return ours and network.prefixlen == full_length(network.version)


def _rule(source: IPNetwork, priority: int, table: int) -> dict[str, Any]:
    return {"family": family(source.version), "priority": priority, "from": str(source.cidr), "table": table}


def _local_route(destination: str, version: int, table: int) -> dict[str, Any]:
    return {"destination": destination, "family": family(version), "type": "local", "device": "lo", "table": table}
