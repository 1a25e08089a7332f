# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles the plan on the controller; plugins/modules/plan.py documents it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.addresses import NETADDR_MISSING
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import compile_plan
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.inventory import Inventory
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.preflight import problems

VARIABLES = ("ansible_host", "ansible_port")


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _result, arguments = self.validate_argument_spec(
            argument_spec={
                "directors": {"type": "str", "default": "lvs_directors"},
                "realservers": {"type": "str", "default": "lvs_realservers"},
                "clients": {"type": "str", "default": "lvs_clients"},
                "routers": {"type": "str", "default": "lvs_routers"},
                "preflight": {"type": "bool", "default": True},
            }
        )
        if NETADDR_MISSING:
            raise AnsibleActionFail(NETADDR_MISSING)
        if task_vars is None:
            raise AnsibleActionFail("the plan needs the inventory's variables, but none reached it")
        inventory = self._inventory(arguments, task_vars)
        plan = compile_plan(inventory)
        if plan.mistakes:
            raise AnsibleActionFail(_message("The inventory has", "mistake", plan.mistakes))
        if arguments["preflight"]:
            found = problems(plan.parts, inventory.facts, task_vars["ansible_play_hosts_all"])
            if found:
                raise AnsibleActionFail(_message("The machines have", "problem", found))
        hosts = task_vars["ansible_play_hosts_all"]
        result.update(changed=False, parts=plan.parts, hosts=hosts, probe=plan.probe, warnings=plan.warnings)
        return result

    @staticmethod
    def _inventory(arguments: Mapping[str, str], task_vars: Mapping[str, Any]) -> Inventory:
        groups: Mapping[str, list[str]] = task_vars["groups"]
        hostvars = task_vars["hostvars"]
        members = {name: groups.get(arguments[name], []) for name in ("directors", "realservers", "clients", "routers")}
        ours = {host for hosts in members.values() for host in hosts}
        variables: dict[str, dict[str, Any]] = {host: {} for host in groups.get("all", [])}
        facts = {}
        for host in ours:
            known = hostvars[host]
            variables[host] = {key: known[key] for key in known if key in VARIABLES or key.startswith("lvs_")}
            if found := known.get("ansible_facts", {}).get("lvs"):
                facts[host] = found
        return Inventory(groups=groups, variables=variables, facts=facts, **members)


def _message(what: str, noun: str, sentences: list[str]) -> str:
    """All of them in one message: nobody wants to meet his mistakes one run at a time."""
    count = f"{len(sentences)} {noun}{'s' if len(sentences) > 1 else ''}"
    lines = "".join(f"\n  {number}. {sentence}" for number, sentence in enumerate(sentences, start=1))
    return f"{what} {count}; nothing was touched:{lines}"
