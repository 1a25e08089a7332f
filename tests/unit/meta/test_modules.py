# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module and module_utils file of the collection keeps to."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.plugin_docs import read_docstring
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(ROOT.glob("plugins/modules/*.py"))
MODULE_UTILS = sorted(ROOT.glob("plugins/module_utils/*.py"))
COLLECTION = "linuxvirtualserver.lvs"

# A module with an action plugin beside it only carries the documentation: the work is done on the controller.
REMOTE = [path for path in MODULES if not (ROOT / "plugins/action" / path.name).exists()]

for_each_module = pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)


def documentation(module: Path) -> dict[str, Any]:
    """DOCUMENTATION with the fragments merged in."""
    document, *_rest = get_docstring(str(module), fragment_loader, collection_name=COLLECTION, plugin_type="module")
    assert isinstance(document, dict), "no DOCUMENTATION"
    return document


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_are_modules() -> None:
    assert MODULES
    assert MODULE_UTILS


def test_action_group_is_complete() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
    assert runtime["action_groups"]["lvs"] == [path.stem for path in MODULES]


@for_each_module
def test_documentation(module: Path) -> None:
    document = documentation(module)
    assert document["module"] == module.stem
    assert document["version_added"] == "0.1.0"
    assert document["short_description"][0].isupper()
    assert not document["short_description"].endswith(".")
    for attribute in ("check_mode", "diff_mode"):
        assert document["attributes"][attribute]["support"] in {"full", "partial", "none", "N/A"}
        assert document["attributes"][attribute]["description"]
    if document["attributes"]["check_mode"]["support"] != "full":
        assert document["attributes"]["check_mode"].get("details"), "say what check mode does not do"


@for_each_module
def test_examples_are_named_tasks_that_use_the_full_name(module: Path) -> None:
    examples = yaml.safe_load(read_docstring(str(module), verbose=False, ignore_errors=False)["plainexamples"])
    used = set()
    for task in examples:
        assert task["name"][0].isupper()
        used.update(task)
    assert f"{COLLECTION}.{module.stem}" in used


@for_each_module
def test_return_values_are_described(module: Path) -> None:
    returned = read_docstring(str(module), verbose=False, ignore_errors=False)["returndocs"]
    assert returned
    for name, value in returned.items():
        assert value["description"], name
        assert value["type"], name
        assert value["returned"], name


@pytest.mark.parametrize("module", REMOTE, ids=lambda path: path.stem)
def test_main_is_short_and_offers_check_mode(module: Path) -> None:
    mains = [node for node in tree(module).body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert len(mains) == 1
    assert mains[0].end_lineno is not None
    assert mains[0].end_lineno - mains[0].lineno < 40
    keywords = [word for node in ast.walk(tree(module)) if isinstance(node, ast.Call) for word in node.keywords]
    offered = [word.value for word in keywords if word.arg == "supports_check_mode"]
    assert [value.value for value in offered if isinstance(value, ast.Constant)] == [True]


@pytest.mark.parametrize("path", MODULE_UTILS, ids=lambda path: path.stem)
def test_module_utils_are_private_and_stand_alone(path: Path) -> None:
    """The boot unit runs them on the managed host, where there is no Ansible."""
    assert path.stem.startswith("_")
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        assert not [name for name in names if name.split(".")[0] in {"ansible", "ansible_collections"}]


@pytest.mark.parametrize("path", [*MODULES, *MODULE_UTILS], ids=lambda path: path.stem)
def test_managed_hosts_need_only_the_standard_library_of_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert not [node for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)], "python -O drops assert"
