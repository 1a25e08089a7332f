# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much one run may take away: the services it deletes, and the weight it leaves to a service."""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple

from . import _ipvs_model as model
from ._errors import LvsError
from ._ipvs_input import Mistake, Mistakes, parse_integer
from ._ipvs_model import Entry, ServiceKey, Table

SHOWN = 10


class Guard(NamedTuple):
    """The limits; None where nothing was stated."""

    weight_percent: int | None = None
    deleted_services: int | None = None

    def check(self, have: Table, want: Table, keys: Iterable[ServiceKey]) -> None:
        """Raise an error that names every service which a change of ``keys`` would hurt beyond the limits."""
        deleted: list[ServiceKey] = []
        weakened: list[str] = []
        for key in keys:
            if key not in have:
                continue
            if key not in want:
                deleted.append(key)
            elif self.weight_percent is not None:
                before, after = _weight(have[key]), _weight(want[key])
                if after < before and after * 100 < before * self.weight_percent:
                    weakened.append(f"{model.describe_service(key)} would have weight {after} of {before}")
        reasons = []
        if self.deleted_services is not None and len(deleted) > self.deleted_services:
            names = [model.describe_service(key) for key in deleted]
            reasons.append(
                f"{len(deleted)} services would be deleted, {self.deleted_services} may be: {_some(names, ', ')}."
            )
        if weakened:
            reasons.append(
                f"Less than {self.weight_percent} percent of the weight would stay: {_some(weakened, '; ')}."
            )
        if reasons:
            raise LvsError(
                f"The guard refuses this change; nothing was changed. {' '.join(reasons)} "
                "If it is meant, run once without guard or with other limits.",
                guard={"deleted_services": len(deleted), "weakened_services": len(weakened)},
            )


def parse_guard(stated: dict[str, Any] | None) -> Guard:
    """The option ``guard``."""
    mistakes = Mistakes()
    values: dict[str, int] = {}
    for name, high in (("weight_percent", 100), ("deleted_services", 10**9)):
        value = (stated or {}).get(name)
        if value is None:
            continue
        try:
            values[name] = parse_integer(value, 0, high, name)
        except Mistake as exc:
            mistakes.add("guard", str(exc))
    mistakes.raise_any()
    return Guard(**values)


def _weight(entry: Entry) -> int:
    return sum(destination.weight for destination in entry.destinations.values())


def _some(texts: list[str], between: str) -> str:
    more = len(texts) - SHOWN
    return between.join(texts[:SHOWN]) + (f" and {more} more" if more > 0 else "")
