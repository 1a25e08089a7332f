# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which realservers are drained on this host, and the weight that each gets back."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, NamedTuple, Tuple

from . import _files
from . import _ipvs_model as model
from ._errors import LvsError
from ._ipvs_input import parse
from ._ipvs_model import DestinationKey, ServiceKey

# Beside the ledger: it must outlive a reboot, or the boot would give a drained realserver its weight back.
PATH = "/var/lib/lvs/drained.json"
VERSION = 1


class Drained(NamedTuple):
    """What is remembered of one drained realserver."""

    weight: int  # what it had, and gets back
    since: float  # seconds since 1970


Memory = Dict[Tuple[ServiceKey, DestinationKey], Drained]


def load(path: str = PATH) -> Memory:
    """What is remembered; nothing where the file does not exist."""
    text = _files.read(path)
    if text is None:
        return {}
    try:
        content = json.loads(text.decode("utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r}")
        return dict(_entry(row) for row in content["drained"])
    except (ValueError, KeyError, TypeError, LvsError) as exc:
        raise LvsError(
            f"Reading {path}, which remembers the weights of drained realservers, failed: {exc}. Remove it, and set "
            "the weights of realservers that are drained by hand."
        ) from exc


def store(memory: Memory, path: str = PATH) -> None:
    """Remember this, as one step; with nothing to remember the file goes."""
    if not memory:
        _files.remove(path, os.path.dirname(path))
        return
    rows = [
        {
            "service": model.service_name(service),
            "realserver": model.destination_name(place),
            "weight": drained.weight,
            "since": drained.since,
        }
        for (service, place), drained in sorted(memory.items())
    ]
    text = json.dumps({"version": VERSION, "drained": rows}, indent=1, sort_keys=True) + "\n"
    _files.write(path, text.encode("utf-8"), 0o600)


def _entry(row: dict[str, Any]) -> tuple[tuple[ServiceKey, DestinationKey], Drained]:
    wanted, _none = parse([{**row["service"], "realservers": [row["realserver"]]}], None, keep=True)
    (destination,) = wanted[0].destinations or []
    return (wanted[0].key, destination.key), Drained(int(row["weight"]), float(row["since"]))
