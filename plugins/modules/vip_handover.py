#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaves VIPs to the program that holds them now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vip_handover
short_description: Leave VIPs to the program that holds them now
version_added: "0.1.0"
author:
  - linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Forgets that M(linuxvirtualserver.lvs.network) had set these addresses, in its ledger and for the next boot, so that
    no later run takes them away from keepalived or heartbeat.
  - Does not touch the addresses. Both programs take away what they find of their VIPs when they start, and set it where
    it belongs; call this when they run.
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  addresses:
    description: The addresses that another program holds. Those that were never ours are passed over.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description: An address with its prefix length.
        type: str
        required: true
      device:
        description: The device that has it.
        type: str
        required: true
seealso:
  - module: linuxvirtualserver.lvs.network
"""

EXAMPLES = r"""
- name: Leave the VIP to keepalived, which runs by now
  linuxvirtualserver.lvs.vip_handover:
    addresses:
      - {address: 192.168.1.110/32, device: eth1}
"""

RETURN = r"""
forgotten:
  description: The addresses that were ours until now.
  returned: success
  type: list
  elements: str
  sample: [192.168.1.110/32 dev eth1]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_handover import hand_over


def main() -> None:
    address = {"address": {"type": "str", "required": True}, "device": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={"addresses": {"type": "list", "elements": "dict", "required": True, "options": address}},
        supports_check_mode=True,
    )
    try:
        result = hand_over(module.params["addresses"], module.check_mode)
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
