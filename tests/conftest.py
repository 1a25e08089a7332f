# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ansible_collections.linuxvirtualserver.lvs importable from the checkout, the way Ansible itself does it."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# A busy machine is slow; that is no failure of the code.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".collections"

if not (COLLECTIONS / "ansible_collections/linuxvirtualserver/lvs/galaxy.yml").exists():
    pytest.exit(f"{COLLECTIONS} is missing: run `make setup` first", returncode=2)

# Before anything of Ansible is imported: its configuration is read at import.
os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()


@pytest.fixture(scope="session")
def root() -> Path:
    """The collection's root directory."""
    return ROOT
