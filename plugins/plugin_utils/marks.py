# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packets get which firewall mark: rules, the order they are asked in, which of them contradict (HOWTO 18)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .addresses import IPNetwork
from .machines import family

# Lowest and highest port, both included.
Ports = tuple[int, int]


@dataclass(frozen=True)
class MarkRule:
    """Packets to `targets` (VIPs and networks of VIPs), narrowed by what else is given; an empty tuple is no limit."""

    targets: tuple[IPNetwork, ...]
    protocols: tuple[str, ...] = ()
    ports: tuple[Ports, ...] = ()
    sources: tuple[IPNetwork, ...] = ()
    interface: str | None = None

    @property
    def limited(self) -> bool:
        """Whether it is about some clients only."""
        return bool(self.sources) or self.interface is not None

    def meets(self, other: MarkRule) -> bool:
        """Whether one packet can match both."""
        return (
            _share(self.targets, other.targets)
            and (not self.protocols or not other.protocols or bool(set(self.protocols) & set(other.protocols)))
            and (not self.ports or not other.ports or any(_common(a, b) for a in self.ports for b in other.ports))
            and (not self.sources or not other.sources or _share(self.sources, other.sources))
            and (self.interface is None or other.interface is None or self.interface == other.interface)
        )

    def within(self, other: MarkRule) -> bool:
        """Whether it is about some of the other's clients only; such a rule is asked first."""
        if other.interface is not None and self.interface != other.interface:
            return False
        if other.sources and not (
            self.sources and all(any(mine in theirs for theirs in other.sources) for mine in self.sources)
        ):
            return False
        return (self.interface, self._clients()) != (other.interface, other._clients())

    def _clients(self) -> float:
        """How many addresses clients can have."""
        return sum(network.size for network in self.sources) if self.sources else float("inf")

    @property
    def order(self) -> tuple[bool, float]:
        """Sorted by it, a rule stands in front of every rule that it lies within."""
        return (self.interface is None, self._clients())

    def compiled(self, mark: int) -> list[dict[str, Any]]:
        """The entries of `marks` of module ``firewall``, one per family and protocol."""
        return [{"mark": mark, **selection} for selection in self.selections(with_clients=True)]

    def selections(self, with_clients: bool) -> list[dict[str, Any]]:
        """What it matches, in the words of module ``firewall``."""
        found: list[dict[str, Any]] = []
        for version in (4, 6):
            targets = [str(target.cidr) for target in self.targets if target.version == version]
            sources = [str(source.cidr) for source in self.sources if source.version == version]
            if not targets or (self.sources and not sources):
                continue
            for protocol in self.protocols or (None,):
                selection: dict[str, Any] = {"family": family(version), "destinations": targets}
                if protocol:
                    selection["protocol"] = protocol
                    selection["ports"] = port_texts(self.ports)
                if with_clients:
                    selection["sources"] = sources
                    if self.interface:
                        selection["interface"] = self.interface
                found.append(selection)
        return found


def port_texts(ports: Iterable[Ports]) -> list[str]:
    """Ports as text, a range with a hyphen."""
    return [str(low) if low == high else f"{low}-{high}" for low, high in ports]


def contradictions(rules: Sequence[tuple[str, int, MarkRule]]) -> list[str]:
    """Pairs of (service, mark, rule) that want to mark one packet differently."""
    found = []
    for position, (name, mark, rule) in enumerate(rules):
        for other_name, other_mark, other in rules[position + 1 :]:
            if mark == other_mark or not rule.meets(other) or rule.within(other) or other.within(rule):
                continue
            found.append(
                f"services {name} (fwmark {mark}) and {other_name} (fwmark {other_mark}) would mark the same packets"
                f" {_about(rule, other)}; a packet has one mark (HOWTO 18.9). Give them different VIPs, ports or"
                " clients (sources, interface)."
            )
    return found


def _about(rule: MarkRule, other: MarkRule) -> str:
    shared = next(
        (max(a, b, key=lambda network: network.prefixlen) for a in rule.targets for b in other.targets if _meet(a, b)),
    )
    return f"to {shared.cidr}"


def _meet(one: IPNetwork, other: IPNetwork) -> bool:
    return bool(one.version == other.version and (one in other or other in one))


def _share(ones: Iterable[IPNetwork], others: Sequence[IPNetwork]) -> bool:
    return any(_meet(one, other) for one in ones for other in others)


def _common(one: Ports, other: Ports) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
