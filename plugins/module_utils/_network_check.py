# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found on a host, and whether it can give what `network` wants of it; pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Iterable

from . import _sysctl_effects as effects
from ._network_model import Address, Device, Item, Module, Route, Rule, Sysctl

PRESENT = ("loaded", "builtin")
# Devices that we make ourselves; every other one has to be there, or comes with its module.
CREATED = ("dummy",)


@dataclass
class Found:
    """One reading of the host; of sysctls, routes and rules only what was asked for."""

    modules: dict[str, str] = field(default_factory=dict)  # name: loaded, builtin, available, missing
    advice: dict[str, str] = field(default_factory=dict)  # what would bring a missing module
    sysctls: dict[str, str | None] = field(default_factory=dict)  # None: the kernel has no such setting
    interfaces: tuple[str, ...] = ()
    missing_families: frozenset[str] = frozenset()  # net.ipv6 where IPv6 is switched off
    devices: dict[str, Device] = field(default_factory=dict)
    addresses: dict[str, Address] = field(default_factory=dict)  # by identity
    clashed: frozenset[str] = frozenset()  # addresses that failed duplicate address detection
    routes: dict[str, Route] = field(default_factory=dict)
    route_words: dict[str, tuple[str, ...]] = field(default_factory=dict)  # how to make the route again, whole
    rules: dict[str, list[Rule]] = field(default_factory=dict)


def arriving(want: Iterable[Item], found: Found) -> dict[str, Device]:
    """The wanted devices that are not there yet but will be, made by us or by their module."""
    modules = {item.name for item in want if isinstance(item, Module)}
    coming = {}
    for item in want:
        if not isinstance(item, Device) or item.name in found.devices:
            continue
        kind = effects.FALLBACK_DEVICES.get(item.name, item.kind)
        module = effects.DEVICE_MODULE.get(kind, "")
        state = found.modules.get(module, "missing")
        by_module = item.name in effects.FALLBACK_DEVICES and module in modules and state not in (*PRESENT, "missing")
        by_us = item.name not in effects.FALLBACK_DEVICES and kind in CREATED and state != "missing"
        if by_module or by_us:
            coming[item.name] = Device(item.name, kind, up=False)
    return coming


def foresee(want: list[Item], found: Found) -> Found:
    """The host as it will be once the modules are loaded; settings that come with them are still unknown (None)."""
    by_module = {name: device for name, device in arriving(want, found).items() if name in effects.FALLBACK_DEVICES}
    return replace(found, devices={**found.devices, **by_module})


def problems(want: list[Item], found: Found) -> list[str]:
    """Everything that this host cannot give, one sentence each; nothing of it depends on what we would change."""
    coming = arriving(want, found)
    devices = {**found.devices, **coming}
    unloaded = {item.name for item in want if isinstance(item, Module) and found.modules.get(item.name) not in PRESENT}
    said: list[str] = []
    for item in want:
        if isinstance(item, Module) and found.modules.get(item.name) == "missing":
            advice = found.advice.get(item.name, "")
            said.append(f"kernel module {item.name}: not loaded, and not to be had here{advice and '; ' + advice}.")
        elif isinstance(item, Sysctl) and found.sysctls.get(item.key) is None:
            said += _setting(item.key, found, coming, unloaded)
        elif isinstance(item, Device):
            said += _device(item, devices)
        elif isinstance(item, (Address, Route)) and item.device and item.device not in devices:
            known = ", ".join(sorted(found.devices)) or "none"
            said.append(f"{item.line()}: this host has no device {item.device}; it has {known}.")
    return said


def _setting(key: str, found: Found, coming: dict[str, Device], unloaded: set[str]) -> list[str]:
    interface = effects.interface_of(key)
    if interface and interface in coming:
        # The device's own settings come with it; `all` already tells whether the kernel knows the last word.
        general = key.replace(f".{effects.escaped(interface)}.", ".all.")
        if found.sysctls.get(general) is not None or ".neigh." in key:
            return []
        return [f"{key}: the running kernel has no such setting (not even {general})."]
    for prefix, module in effects.BROUGHT_BY.items():
        if key.startswith(prefix):
            if module in unloaded or (module == "nf_conntrack" and unloaded):
                return []
            if found.modules.get(module, "missing") not in PRESENT:
                return [f"{key}: comes with kernel module {module}, which is not loaded; add {module} to modules."]
    if interface and interface not in found.devices:
        return [f"{key}: this host has no device {interface}."]
    if key.startswith("net.ipv6.") and "net.ipv6" in found.missing_families:
        return [f"{key}: the running kernel has no such setting; IPv6 may be switched off (ipv6.disable=1)."]
    return [f"{key}: the running kernel has no such setting."]


def _device(item: Device, devices: dict[str, Device]) -> list[str]:
    have = devices.get(item.name)
    if have is None:
        kind = effects.FALLBACK_DEVICES.get(item.name, item.kind)
        module = effects.DEVICE_MODULE.get(kind)
        cure = f"; it comes with kernel module {module}: add it to modules" if module else ""
        if module and item.name in effects.FALLBACK_DEVICES:
            cure += " (in a container or namespace look at net.core.fb_tunnels_only_for_init_net)"
        return [f"device {item.name}: this host has no such device{cure}."]
    if item.kind and have.kind and have.kind != item.kind:
        return [f"device {item.name}: is of kind {have.kind}, not {item.kind}."]
    return []
