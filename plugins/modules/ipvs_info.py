#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_info
short_description: Read virtual services and their realservers from the kernel's IPVS table
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Returns the table in the shape that module M(linuxvirtualserver.lvs.ipvs) takes, and beside it the connections of
    each
    realserver, and what the kernel has counted.
  - Loads nothing. Where ip_vs is not loaded the table is empty and RV(loaded) is false.
requirements:
  - Linux and root (CAP_NET_ADMIN in the initial user namespace).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
  - linuxvirtualserver.lvs.attributes.info_module
  - linuxvirtualserver.lvs.ipvs_config.restrict
options:
  stats:
    description:
      - Whether to return what the kernel has counted, as RV(stats).
    type: bool
    default: false
seealso:
  - module: linuxvirtualserver.lvs.ipvs
"""

EXAMPLES = r"""
- name: Read the services of one VIP
  linuxvirtualserver.lvs.ipvs_info:
    restrict:
      - address: 192.168.1.110
  register: table

- name: Bring another director to the same
  linuxvirtualserver.lvs.ipvs:
    state: replaced
    config: "{{ table.config }}"
  delegate_to: director2
"""

RETURN = r"""
loaded:
  description: Whether ip_vs is loaded.
  returned: success
  type: bool
config:
  description:
    - The table as option O(linuxvirtualserver.lvs.ipvs#module:config) of module M(linuxvirtualserver.lvs.ipvs), every
      field stated, in the order of C(ipvsadm -S).
  returned: success
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      scheduler: wlc
      scheduler_flags: []
      persistence: {timeout: 300, netmask: 32, engine: null}
      one_packet: false
      realservers:
        - {address: 192.168.1.2, port: 80, forwarding: dr, weight: 1, upper_threshold: 0, lower_threshold: 0}
rules:
  description: The table as C(ipvsadm -S -n) prints it, with thresholds, one line each.
  returned: success
  type: list
  elements: str
  sample: ["-A -t 192.168.1.110:80 -s wlc -p 300", "-a -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w 1"]
connections:
  description: The connections of each realserver at this moment, active, inactive and persistent, for each service.
  returned: success
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      realservers:
        - {address: 192.168.1.2, port: 80, active: 12, inactive: 3, persistent: 0}
stats:
  description:
    - What the kernel has counted since a service or realserver was added, connections, packets and bytes in and out,
      and per second.
  returned: when O(stats=true)
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      connections: 15
      in_packets: 120
      out_packets: 0
      in_bytes: 7200
      out_bytes: 0
      realservers:
        - {address: 192.168.1.2, port: 80, connections: 15, in_packets: 120}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_argspec import RESTRICT
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_info import PARTS, gather


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "gather": {
                "type": "list",
                "elements": "str",
                "choices": list(PARTS),
                "default": ["table", "connections"],
            },
            "restrict": RESTRICT,
            "realserver": {"type": "str"},
            "client": {"type": "str"},
            "max_connections": {"type": "int", "default": 100000},
            "max_entries": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    try:
        result = gather(parts=options.pop("gather"), **options)
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
