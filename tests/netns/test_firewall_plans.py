# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter of every scenario's plan is loaded into the running kernel, by every backend that there is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_host import FirewallHost
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_model import parse
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import compile_plan
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.inventory import Inventory
from ansible_collections.linuxvirtualserver.lvs.tests.howto import GATEWAYS, LINKS, facts

ROOT = Path(__file__).resolve().parents[2]
INVENTORIES = sorted(ROOT.glob("molecule/*/inventory.yml"))
# The HOWTO's machines, and the scenarios' second director.
MACHINES = {
    **LINKS,
    "director2": {
        "mgmt0": ["10.255.0.8/24"],
        "eth1": ["192.168.1.8/24", "2001:db8:1::8/64"],
        "eth2": ["10.1.1.8/24", "2001:db8:2::8/64"],
    },
}
GROUPS = ("directors", "realservers", "clients", "routers")


def management(host: str) -> str:
    return MACHINES[host]["mgmt0"][0].partition("/")[0] if host in MACHINES else ""


def plans(path: Path) -> dict[str, Any]:
    """The packet filters of a scenario's hosts, on the HOWTO's machines."""
    children = yaml.safe_load(path.read_text(encoding="utf-8"))["all"]["children"]
    members = {name: list((children.get(f"lvs_{name}") or {}).get("hosts") or {}) for name in GROUPS}
    variables: dict[str, dict[str, Any]] = {}
    for group in children.values():
        for host, own in (group.get("hosts") or {}).items():
            known = variables.setdefault(host, {"ansible_host": management(host)})
            known.update({**(group.get("vars") or {}), **(own or {})})
    seen = {host: facts(MACHINES[host], GATEWAYS.get(host, ())) for host in variables if host in MACHINES}
    plan = compile_plan(Inventory(groups=members, variables=variables, facts=seen, **members))
    assert not plan.mistakes, plan.mistakes
    return {host: part["firewall"] for host, part in plan.parts.items() if "firewall" in part}


@pytest.mark.parametrize("path", INVENTORIES, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("backend", ["nftables", "iptables-nft", "iptables-legacy"])
def test_the_kernel_takes_every_plan(namespace: None, backend: str, path: Path) -> None:
    host = FirewallHost()
    if reason := host.lacks(backend):
        pytest.skip(f"{backend}: {reason}")
    for config in plans(path).values():
        if backend != "nftables":  # the match for IPVS needs a module that the build machine may not have
            config = {**config, "masquerade": []}
        for place, text in host.render(backend, parse(config)).items():
            words, given = host.command(place, "", text)
            done = subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=30)
            assert done.returncode == 0, done.stderr + given


def test_scenarios_have_rules_to_load() -> None:
    kinds = {kind for path in INVENTORIES for config in plans(path).values() for kind, rules in config.items() if rules}
    assert {"marks", "filter", "masquerade", "clamps", "untracked"} <= kinds
