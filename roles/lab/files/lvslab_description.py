# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a lab is: its description as role lab writes it, checked, and the names and addresses that follow from it."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import pathlib
import re
from collections.abc import Iterator, Sequence

from lvslab_image import DISTRIBUTIONS, LabError, System

MANAGEMENT = ipaddress.IPv4Network("10.255.0.0/24")
FIRST_HOST = 11  # the namespace itself is 1

BACKENDS = ("uml", "qemu")

# Debian policy 5.6.7
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")

# Kernel interface names hold 15 bytes; a tap is called MACHINE-INDEX.
NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclasses.dataclass(frozen=True)
class Nic:
    """One data interface of a machine: eth1, eth2 ... in the order of the description."""

    network: str
    addresses: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Route:
    """One route of a machine."""

    destination: str
    gateway: str


@dataclasses.dataclass(frozen=True)
class Machine:
    """One machine as described; its index gives it its management address."""

    name: str
    index: int
    distribution: str
    packages: tuple[str, ...]
    memory: int
    nics: tuple[Nic, ...]
    routes: tuple[Route, ...]
    sysctls: tuple[tuple[str, str], ...]
    responder: bool

    @property
    def system(self) -> System:
        """What its base image holds."""
        return self.distribution, self.packages

    @property
    def address(self) -> str:
        """Where it is managed."""
        return str(MANAGEMENT[FIRST_HOST + self.index])

    def mac(self, nic: int) -> str:
        """The hardware address of an interface (0 is the management one); locally administered."""
        return f"02:4c:56:53:{self.index:02x}:{nic:02x}"

    def tap(self, nic: int) -> str:
        """The host's end of an interface."""
        return f"{self.name}-{nic}"


@dataclasses.dataclass(frozen=True)
class Lab:
    """A described lab."""

    name: str
    directory: pathlib.Path
    cache: pathlib.Path
    backend: str
    networks: tuple[str, ...]
    machines: tuple[Machine, ...]
    offline_packages: tuple[str, ...]
    allow_distribution_kernel: bool

    @property
    def namespace(self) -> str:
        """The network namespace everything of this lab lives in."""
        return namespace_of(self.name)

    def folder(self, machine: Machine) -> pathlib.Path:
        """A machine's own folder: its disk, its configuration, its console."""
        return self.directory / "machines" / machine.name

    def identity(self, machine: Machine) -> str:
        """What a machine's process is known by among all processes of the host."""
        return f"{self.name}.{machine.name}"


def namespace_of(name: str) -> str:
    """The network namespace of the lab with this name."""
    return f"lvslab-{name}"


def read_lab(directory: pathlib.Path) -> Lab:
    """Read and check DIRECTORY/lab.json; every mistake of it is in one message."""
    path = directory / "lab.json"
    try:
        described = json.loads(path.read_text())
    except FileNotFoundError as exc:
        raise LabError(f"{path}: no lab is described there; bring one up with playbook lab_up") from exc
    except ValueError as exc:
        raise LabError(f"{path}: not JSON: {exc}") from exc
    return parse_lab(described, directory)


def parse_lab(described: dict[str, object], directory: pathlib.Path) -> Lab:
    """The lab a description means, or all of its mistakes."""
    wrong: list[str] = []
    if not LAB_NAME.fullmatch(str(described.get("name", ""))):
        wrong.append(f"lab_name {described.get('name')!r} must be 1 to 40 of a-z, 0-9 and -, a letter first")
    backend = str(described.get("backend", "uml"))
    if backend not in BACKENDS:
        wrong.append(f"lab_backend {backend!r} is none of {', '.join(BACKENDS)}")
    networks = tuple(str(network["name"]) for network in _dicts(described.get("networks")))
    machines = tuple(_machine(index, entry) for index, entry in enumerate(_dicts(described.get("machines"))))
    for kind, names in (("network", networks), ("machine", tuple(machine.name for machine in machines))):
        wrong += [f"{kind} {name}: described twice" for name in sorted({n for n in names if names.count(n) > 1})]
        wrong += [
            f"{kind} {name}: the name must be 1 to 12 of a-z, 0-9 and -, a letter first"
            for name in names
            if not NAME.fullmatch(name)
        ]
    if "mgmt" in networks:
        wrong.append("network mgmt: the name is taken by the management network, which every machine has")
    if not machines:
        wrong.append("lab_machines: no machine is described")
    if len(machines) > MANAGEMENT.num_addresses - FIRST_HOST - 1:
        wrong.append(f"lab_machines: more than {MANAGEMENT.num_addresses - FIRST_HOST - 1} machines")
    for machine in machines:
        wrong += [f"machine {machine.name}: {mistake}" for mistake in _mistakes(machine, networks)]
    if wrong:
        raise LabError("the lab's description has mistakes:\n- " + "\n- ".join(wrong))
    return Lab(
        name=str(described["name"]),
        directory=directory,
        cache=pathlib.Path(str(described["cache"])),
        backend=backend,
        networks=networks,
        machines=machines,
        offline_packages=tuple(str(name) for name in _list(described.get("offline_packages"))),
        allow_distribution_kernel=bool(described.get("allow_distribution_kernel", False)),
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[dict[str, object]]:
    return [entry for entry in _list(value) if isinstance(entry, dict)]


def _machine(index: int, entry: dict[str, object]) -> Machine:
    sysctls = entry.get("sysctls")
    return Machine(
        name=str(entry.get("name", "")),
        index=index,
        distribution=str(entry.get("distribution", "bookworm")),
        packages=tuple(sorted({str(name) for name in _list(entry.get("packages"))})),
        memory=int(str(entry.get("memory", 256))),
        nics=tuple(
            Nic(str(nic.get("network", "")), tuple(str(address) for address in _list(nic.get("addresses"))))
            for nic in _dicts(entry.get("nics"))
        ),
        routes=tuple(
            Route(str(route.get("destination", "")), str(route.get("gateway", "")))
            for route in _dicts(entry.get("routes"))
        ),
        sysctls=tuple((str(key), str(value)) for key, value in sysctls.items()) if isinstance(sysctls, dict) else (),
        responder=bool(entry.get("responder", False)),
    )


def _mistakes(machine: Machine, networks: Sequence[str]) -> Iterator[str]:
    if machine.distribution not in DISTRIBUTIONS:
        yield f"distribution {machine.distribution!r} is none of {', '.join(DISTRIBUTIONS)}"
    misnamed = [name for name in machine.packages if not PACKAGE.fullmatch(name)]
    yield from (f"package {name!r} is not the name of a Debian package" for name in misnamed)
    if machine.memory < 160:
        yield f"memory {machine.memory} MiB is too little to boot; 256 is good"
    for nic in machine.nics:
        if nic.network not in networks:
            yield f"network {nic.network!r} is not among lab_networks"
        for address in nic.addresses:
            try:
                interface = ipaddress.ip_interface(address if "/" in address else "")
            except ValueError:
                yield f"address {address!r} is not an address with a prefix length, as in 192.168.1.2/24"
                continue
            if interface.version == 4 and interface in MANAGEMENT:
                yield f"address {address} lies in the management network {MANAGEMENT}"
    for route in machine.routes:
        try:
            gateway = ipaddress.ip_address(route.gateway)
            if route.destination != "default" and ipaddress.ip_network(route.destination).version != gateway.version:
                yield f"route to {route.destination} via {route.gateway}: two families"
        except ValueError as exc:
            yield f"route to {route.destination!r} via {route.gateway!r}: {exc}"
