# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HOWTO's machines as the plan sees them: host variables, and facts in the shape of module `lvs_facts`.

    client ── 192.168.1.0/24 (lan), 2001:db8:1::/64 ── director, rs1, rs2 ── router .1.1.254 ── 172.16.5.0/24 ── rs3
                                                        │
                                          10.1.1.0/24 (inside), 2001:db8:2::/64

Every machine also has mgmt0 in 10.255.0.0/24, the way Ansible reaches it. What is a VIP comes with the test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_interface
from typing import Any

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import Plan, compile_plan
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.inventory import Inventory

VIP, VIP6 = "192.168.1.110", "2001:db8:1::110"
# The director's addresses on the inside, which NAT realservers use as their gateway.
DIP, DIP6 = "10.1.1.9", "2001:db8:2::9"

DIRECTOR_LINKS = {
    "mgmt0": ["10.255.0.1/24"],
    "eth1": ["192.168.1.1/24", "2001:db8:1::1/64"],
    "eth2": ["10.1.1.9/24", "2001:db8:2::9/64"],
}
LINKS: dict[str, dict[str, list[str]]] = {
    "client": {"mgmt0": ["10.255.0.254/24"], "eth1": ["192.168.1.254/24", "2001:db8:1::254/64"]},
    "director": DIRECTOR_LINKS,
    "rs1": {
        "mgmt0": ["10.255.0.2/24"],
        "eth1": ["192.168.1.2/24", "2001:db8:1::2/64"],
        "eth2": ["10.1.1.2/24", "2001:db8:2::2/64"],
    },
    "rs2": {
        "mgmt0": ["10.255.0.3/24"],
        "eth1": ["192.168.1.3/24", "2001:db8:1::3/64"],
        "eth2": ["10.1.1.3/24", "2001:db8:2::3/64"],
    },
    "rs3": {"mgmt0": ["10.255.0.4/24"], "eth1": ["172.16.5.4/24", "2001:db8:3::4/64"]},
}
# Where the machines send what is not theirs: the client's network for rs1 and rs2, the router for rs3.
GATEWAYS = {
    "director": ["192.168.1.254", "2001:db8:1::254"],
    "rs1": ["192.168.1.254", "2001:db8:1::254"],
    "rs2": ["192.168.1.254", "2001:db8:1::254"],
    "rs3": ["172.16.5.254", "2001:db8:3::fe"],
}


def facts(
    links: Mapping[str, Iterable[str]], gateways: Iterable[str] = (), mtu: int = 1500, **judgement: Any
) -> dict[str, Any]:
    """The facts of a healthy machine with these addresses by interface; the kernel's own routes come with them."""
    interfaces: list[dict[str, Any]] = [_interface("lo", ["127.0.0.1/8", "::1/128"], 0, 65536, "host")]
    routes: list[dict[str, Any]] = []
    for number, (name, addresses) in enumerate(links.items(), start=1):
        interfaces.append(_interface(name, addresses, number, mtu, "global"))
        routes += [_connected(name, address) for address in addresses if not _is_host_route(address, name)]
    routes += [_default(gateway, links) for gateway in gateways]
    healthy = {
        "kernel": "6.1.0-uml",
        "root": True,
        "net_admin": True,
        "systemd": True,
        "iproute2": True,
        "modules": {"ip_vs": "available", "ip_vs_wlc": "available", "ipip": "available", "ip6_tunnel": "available"},
        "advice": {},
    }
    return {**healthy, "interfaces": interfaces, "routes": routes, **judgement}


def _interface(name: str, addresses: Iterable[str], number: int, mtu: int, scope: str) -> dict[str, Any]:
    return {
        "name": name,
        "mac": f"52:54:00:00:00:{number:02x}",
        "mtu": mtu,
        "up": True,
        "kind": "ether",
        "addresses": [
            {
                "address": str(ip_interface(address).ip),
                "prefix": ip_interface(address).network.prefixlen,
                "family": f"ipv{ip_interface(address).version}",
                "scope": scope,
                "deprecated": False,
            }
            for address in addresses
        ],
    }


def _is_host_route(address: str, device: str) -> bool:
    """IPv4 has no route in the main table for a /32; IPv6 has one for a /128 on every device but lo."""
    return device == "lo" or address.endswith("/32")


def _connected(device: str, address: str) -> dict[str, Any]:
    network = ip_interface(address).network
    single = network.prefixlen == network.max_prefixlen
    return {
        "family": f"ipv{network.version}",
        "destination": str(network.network_address) if single else str(network),
        "gateway": None,
        "device": device,
        "protocol": "kernel",
        "scope": "link",
        "metric": None if network.version == 4 else 256,
        "source": str(ip_interface(address).ip) if network.version == 4 else None,
    }


def _default(gateway: str, links: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    address = ip_interface(gateway).ip
    device = next(
        name for name, addresses in links.items() if any(address in ip_interface(item).network for item in addresses)
    )
    return {
        "family": f"ipv{address.version}",
        "destination": "default",
        "gateway": gateway,
        "device": device,
        "protocol": "static",
        "scope": "global",
        "metric": None if address.version == 4 else 1024,
        "source": None,
    }


def plus(host: str, device: str, *addresses: str) -> dict[str, Any]:
    """The facts of a machine that has got some more addresses, as on a second run."""
    links = {name: list(own) for name, own in LINKS[host].items()}
    links.setdefault(device, []).extend(addresses)
    return facts(links, GATEWAYS.get(host, ()))


def service(**changes: Any) -> dict[str, Any]:
    """A web service by DR on rs1 and rs2, with changes."""
    return {
        "name": "web",
        "vips": [VIP],
        "ports": [80],
        "forwarding": "dr",
        "realservers": [{"host": "rs1"}, {"host": "rs2"}],
        **changes,
    }


def inventory(
    services: Any = None,
    variables: Mapping[str, Mapping[str, Any]] | None = None,
    seen: Mapping[str, Mapping[str, Any] | None] | None = None,
    groups: Mapping[str, list[str]] | None = None,
    directors: list[str] | None = None,
    realservers: list[str] | None = None,
    routers: list[str] | None = None,
) -> Inventory:
    """The HOWTO's inventory. `variables` add to a host's own, `seen` replaces a host's facts (None: it has none)."""
    directors = ["director"] if directors is None else directors
    realservers = ["rs1", "rs2", "rs3"] if realservers is None else realservers
    hosts = [*dict.fromkeys([*directors, *realservers, "client", *LINKS])]
    known: dict[str, Mapping[str, Any] | None] = {
        host: facts(LINKS[host], GATEWAYS.get(host, ())) for host in hosts if host in LINKS
    }
    known.update(seen or {})
    given: dict[str, dict[str, Any]] = {host: {} for host in hosts}
    for host in LINKS:
        given[host]["ansible_host"] = LINKS[host]["mgmt0"][0].split("/")[0]
    for host in directors:
        given[host]["lvs_services"] = [service()] if services is None else services
    for host, own in (variables or {}).items():
        given[host].update(own)
    return Inventory(
        directors=directors,
        realservers=realservers,
        clients=["client"],
        routers=routers or [],
        groups={
            "lvs_directors": directors,
            "lvs_realservers": realservers,
            "lvs_clients": ["client"],
            "all": hosts,
            **(groups or {}),
        },
        variables=given,
        facts={host: found for host, found in known.items() if found is not None},
    )


def plan_of(services: Any = None, **arguments: Any) -> Plan:
    """The plan of an inventory that is right; says what is wrong with it otherwise."""
    plan = compile_plan(inventory(services, **arguments))
    assert not plan.mistakes, "\n".join(plan.mistakes)
    return plan


def mistakes_of(services: Any = None, **arguments: Any) -> list[str]:
    """The mistakes of an inventory that must have some."""
    plan = compile_plan(inventory(services, **arguments))
    assert plan.mistakes
    return plan.mistakes
