# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors from playbooks to plugin_utils, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import (
    configure_text,
    heartbeat_config,
    ipvsadm_text,
    keepalived_config,
    keepalived_text,
    ldirectord_config,
    ldirectord_text,
    piranha_text,
    preflight,
    relay,
    staying,
    switch,
)


def explained(convert: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with its errors as Ansible wants them."""

    def call(value: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return convert(value, *arguments, **options)
        except LvsError as exc:
            raise AnsibleFilterError(exc.message) from exc

    return call


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "failover_relay": relay.render,
            "failover_switch": explained(switch.plan_switch),
            "failover_unsynchronised": switch.unsynchronised,
            "from_ipvsadm": explained(ipvsadm_text.parse),
            "from_keepalived": explained(keepalived_text.parse),
            "from_ldirectord": explained(ldirectord_text.parse),
            "from_lvs_conf": explained(configure_text.parse),
            "from_piranha": explained(piranha_text.parse),
            "proof_mistakes": preflight.proof_mistakes,
            "staying_realservers": staying.staying_realservers,
            "to_heartbeat": explained(heartbeat_config.render),
            "to_ipvsadm": explained(ipvsadm_text.render),
            "to_keepalived": explained(keepalived_config.render),
            "to_ldirectord": explained(ldirectord_config.render),
            "wanted_schedulers": preflight.wanted_schedulers,
        }
