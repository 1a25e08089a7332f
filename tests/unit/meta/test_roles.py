# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every role keeps to: one description of its variables, said three times without a difference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent for path in ROOT.glob("roles/*/tasks"))

for_each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def options(role: Path) -> dict[str, dict[str, Any]]:
    """Every option of every entry point."""
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    assert "main" in specs or specs, "no entry point"
    merged: dict[str, dict[str, Any]] = {}
    for entry_point in specs.values():
        assert entry_point["short_description"]
        merged.update(entry_point.get("options") or {})
    return merged


def defaults(role: Path) -> dict[str, Any]:
    path = role / "defaults/main.yml"
    return load(path) if path.exists() else {}


def test_there_are_roles() -> None:
    assert ROLES


@for_each_role
def test_defaults_equal_argument_specs(role: Path) -> None:
    wanted = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert defaults(role) == wanted


@for_each_role
def test_no_task_writes_over_a_variable_of_the_role(role: Path) -> None:
    """What a task registers, or a fact that it sets, wins over vars and defaults for the rest of the run."""
    own = role / "vars/main.yml"
    named = {*defaults(role), *(load(own) if own.exists() else ())}
    written = set()
    for path in role.glob("tasks/*.yml"):
        text = path.read_text(encoding="utf-8")
        written |= set(re.findall(r"^\s+register: (\w+)", text, re.MULTILINE))
        for facts in re.findall(r"^(\s+)ansible\.builtin\.set_fact:\n((?:\1  .*\n)+)", text, re.MULTILINE):
            written |= set(re.findall(rf"^{facts[0]}  (\w+):", facts[1], re.MULTILINE))
    assert written & named == set()


@for_each_role
def test_an_option_is_required_or_has_a_default(role: Path) -> None:
    for name, option in options(role).items():
        assert option.get("required", False) != ("default" in option), name


@for_each_role
def test_variables_carry_the_name_of_the_role(role: Path) -> None:
    """lvs_ is the plan's input and the same for all roles."""
    for name in options(role):
        assert re.match(rf"({role.name}|lvs)_", name), name


@for_each_role
def test_readme_names_every_variable(role: Path) -> None:
    readme = (role / "README.md").read_text(encoding="utf-8")
    assert readme.startswith((f"# {role.name}\n", f"# Role {role.name}\n"))
    missing = [name for name in options(role) if f"`{name}`" not in readme]
    assert not missing


@for_each_role
def test_readme_names_no_variable_that_is_gone(role: Path) -> None:
    readme = (role / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(rf"`({role.name}_\w+)`", readme))
    tasks = "".join(path.read_text(encoding="utf-8") for path in role.glob("tasks/*.yml"))
    # Beside options, what the role leaves for later tasks of the play.
    gone = [name for name in named - set(options(role)) if not re.search(rf"\b{name}:|: {name}\b", tasks)]
    assert not gone


@for_each_role
def test_a_playbook_or_scenario_uses_the_role(role: Path) -> None:
    users = [*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("molecule/**/*.yml")]
    name = re.compile(rf"linuxvirtualserver\.lvs\.{role.name}\b")
    assert any(name.search(path.read_text(encoding="utf-8")) for path in users)
