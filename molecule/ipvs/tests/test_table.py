# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table in a real kernel, by programs on the director in network namespaces of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab import Lab


def test_any_table_leads_to_any_other(program: Callable[..., str]) -> None:
    """Every attribute, states of every kind; `ipvsadm -Sn` and the thresholds are the judge."""
    print(program("random_tables.py", "1", "40"))


@pytest.mark.parametrize("case", ["merged", "replaced", "returned"])
def test_what_is_stated_and_what_is_kept(program: Callable[..., str], whole_package: str, case: str) -> None:
    assert f"{case}: passed" in program("table_states.py", case, package=whole_package)


@pytest.mark.parametrize("case", ["writes", "refused", "together", "killed", "flushed"])
def test_what_goes_wrong_in_the_middle(program: Callable[..., str], case: str) -> None:
    output = program("table_faults.py", case)
    print(output)
    assert f"{case}: passed" in output


def test_without_the_privilege_it_says_so(lab: Lab) -> None:
    code = "from lvs._ipvs_reconcile import reconcile; reconcile([{'address': '10.9.0.1', 'port': 80}])"
    script = f'PYTHONPATH=/usr/local/lib/lvs/lvs.pyz exec python3 -c "{code}" 2>&1'
    lab.run("director", f"cat > /root/unprivileged.sh <<'END'\n{script}\nEND")
    output = lab.run(
        "director", "setpriv --bounding-set=-net_admin --inh-caps=-net_admin sh /root/unprivileged.sh", False
    )
    assert "is not allowed: the kernel answered EPERM" in output
    assert "10.9.0.1" not in lab.run("director", "ipvsadm -Sn")


def test_an_unknown_scheduler_is_named_before_anything_is_written(
    lab: Lab, module: Callable[..., dict[str, Any]]
) -> None:
    before = lab.run("director", "ipvsadm -Sn")
    config = [{"address": "10.9.0.1", "port": 80}, {"address": "10.9.0.2", "port": 80, "scheduler": "nosuch"}]
    result = module("director", "ipvs", config=config)
    assert "scheduler nosuch of TCP service 10.9.0.2:80: module ip_vs_nosuch is neither built in nor" in result["msg"]
    assert lab.run("director", "ipvsadm -Sn") == before


def test_check_mode_on_a_machine_without_ip_vs_loads_nothing(lab: Lab, module: Callable[..., dict[str, Any]]) -> None:
    assert "ip_vs" not in lab.run("rs1", "cut -d' ' -f1 /proc/modules")
    result = module("rs1", "ipvs", check=True, config=[{"address": "10.9.0.1", "port": 80}])
    assert result["changed"]
    assert "Module ip_vs is not loaded; the table counts as empty. A real run loads it." in result["notes"]
    assert "ip_vs" not in lab.run("rs1", "cut -d' ' -f1 /proc/modules")
