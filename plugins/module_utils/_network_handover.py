# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that another program holds from now on: forgotten by us, in the ledger and for the boot; nothing else."""

from __future__ import annotations

import os
from typing import Any, Mapping, Sequence

from . import _files, _ledger, _network_files
from ._ledger import Ledger
from ._network_diff import item_of
from ._network_files import CONFIG, FileChange
from ._network_model import parse


def hand_over(addresses: Sequence[Mapping[str, Any]], check: bool, root: str = "/") -> dict[str, Any]:
    """What module ``vip_handover`` does: its results. The kernel is not touched."""
    wanted = {item.ident for item in parse({"addresses": [dict(address) for address in addresses]})}
    path = os.path.join(root, CONFIG.lstrip("/"))
    with Ledger(os.path.join(root, _ledger.DIRECTORY.lstrip("/")), write=not check) as ledger:
        gone = [ident for ident in ledger.entries if ident in wanted]
        forgotten = [item_of(ledger.entries[ident]) for ident in gone]
        kept = [item for item in parse(_network_files.saved_config(root) or {}) if item.ident not in gone]
        after = _network_files.contents(root, kept, [])[path]
        have = _files.read(path)
        before = None if have is None else have.decode()
        # The boot first: whatever happens between the two, it does not bring back what is not ours any more, and the
        # next run forgets the rest.
        if gone and after != before and not check:
            _network_files.write(FileChange(path, before, after))
        ledger.save(
            {
                ident: entry
                for ident, entry in ledger.entries.items()
                if ident not in gone and (after is not None or ident != f"file {path}")
            }
        )
    lines = [item.line() for item in forgotten]
    return {
        "changed": bool(gone),
        "forgotten": [f"{item.config()['address']} dev {item.config()['device']}" for item in forgotten],
        "diff": {"before": "".join(f"{line}\n" for line in lines), "after": ""},
    }
