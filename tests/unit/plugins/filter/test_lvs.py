# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters' door: every filter has its documentation, and errors are those that Ansible shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.linuxvirtualserver.lvs.plugins.filter import lvs

FILTERS = lvs.FilterModule().filters()


def test_every_filter_is_documented() -> None:
    folder = Path(lvs.__file__).parent
    assert sorted(FILTERS) == sorted(path.stem for path in folder.glob("*.yml"))


def test_there_and_back() -> None:
    rules = "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1\n"
    assert FILTERS["to_ipvsadm"](FILTERS["from_ipvsadm"](rules)) == rules


def test_a_mistake_is_an_error_of_the_filter() -> None:
    with pytest.raises(AnsibleFilterError, match="line 1: 'x' is neither the number of a port"):
        FILTERS["from_ipvsadm"]("-A -t 10.0.0.1:x")
    with pytest.raises(AnsibleFilterError, match="is not an IP address"):
        FILTERS["to_ipvsadm"]([{"address": "x", "port": 80}])
