# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan promises to clients: who answers for a VIP, and that its services do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .addresses import IPAddress
from .machines import Machine
from .services import FTP_CONTROL, Service


def promise(
    probe: dict[str, Any],
    directors: Sequence[Machine],
    service: Service,
    vip: IPAddress,
    devices: Mapping[str, str],
    known: set[Any],
) -> None:
    """What a client can see: who answers for the VIP, any director that may hold it, and that its TCP ports do.

    ``known`` is what `probe` has already: VIPs, and VIPs with ports.
    """
    interfaces = [machine.interface(devices[machine.name]) for machine in directors if machine.name in devices]
    macs = list(dict.fromkeys(str(interface["mac"]) for interface in interfaces if interface))
    if not service.vip_less and vip not in known:
        known.add(vip)
        names = " or ".join(machine.name for machine in directors)
        probe["vips"].append({"address": str(vip), "director": names, "macs": macs})
    if all(entry.weight == 0 for entry in service.entries):
        return
    for port in _probed_ports(service, vip):
        if (vip, port) not in known:
            known.add((vip, port))
            probe["services"].append({"address": str(vip), "port": port, "protocol": "tcp"})


def _probed_ports(service: Service, vip: IPAddress) -> Iterable[int]:
    """The TCP ports of a VIP that every client can ask; a range is not one, nor is what only some clients reach."""
    for rule in service.wanted:
        if "tcp" not in rule.protocols or rule.limited or not any(vip in target for target in rule.targets):
            continue
        if service.ftp:
            yield FTP_CONTROL
        else:
            yield from (low for low, high in rule.ports if low == high)
