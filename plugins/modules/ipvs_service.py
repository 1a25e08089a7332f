#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_service
short_description: Manage one virtual service of the kernel's IPVS table
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Adds, edits or deletes one virtual service and leaves its realservers alone; those are added by module
    M(linuxvirtualserver.lvs.ipvs_realserver).
  - The same engine as module M(linuxvirtualserver.lvs.ipvs), which does many services with their realservers in one
    call and is much faster for more than a few.
requirements:
  - Linux with IPVS (module ip_vs, which is loaded if needed) and root (CAP_NET_ADMIN in the initial user namespace).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The difference is shown in the spelling of C(ipvsadm -S -n), with thresholds.
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) adds the service, or edits in place what is stated. What is not stated keeps the kernel's value, and
        takes its default in a new service.
      - V(absent) deletes the service with all of its realservers.
    type: str
    choices: [present, absent]
    default: present
  protocol:
    description: Protocol of the service. The default is V(tcp).
    type: str
    choices: [tcp, udp, sctp]
  address:
    description: VIP, an IPv4 or IPv6 address.
    type: str
  port:
    description: Port of the service, V(0) to V(65535). V(0) stands for every port and needs O(persistence).
    type: int
  fwmark:
    description:
      - Firewall mark of the service, V(1) to V(4294967295), decimal or hexadecimal with C(0x).
      - Takes the place of O(protocol), O(address) and O(port).
    type: str
  family:
    description: Address family of a service that is named by O(fwmark). The default is V(ipv4).
    type: str
    choices: [ipv4, ipv6]
  scheduler:
    description: Name of the scheduler, such as V(rr) or V(wlc). The default is V(wlc).
    type: str
  scheduler_flags:
    description:
      - Flags of the scheduler, V(flag-1), V(flag-2), V(flag-3), or by their names, V(sh-fallback), V(sh-port),
        V(mh-fallback), V(mh-port). The default is none.
    type: list
    elements: str
  persistence:
    description: Send a client to the same realserver again. The default is no persistence.
    type: dict
    suboptions:
      timeout:
        description:
          - How long, in seconds, V(1) to V(2678400). The default is V(300). V(0) switches persistence off.
        type: int
      netmask:
        description: What counts as the same client, a prefix length or a dotted mask. The default is one address.
        type: str
      engine:
        description: Persistence engine, such as V(sip). V(none) means none, which is the default.
        type: str
  one_packet:
    description: Schedule every packet by itself. Only for UDP and firewall marks. The default is V(false).
    type: bool
  save:
    description:
      - Path of a file that remembers the table for the next boot, such as V(/etc/lvs/ipvs.json); see
        O(linuxvirtualserver.lvs.ipvs#module:save). What this module changes is changed there as well.
    type: path
seealso:
  - module: linuxvirtualserver.lvs.ipvs
  - module: linuxvirtualserver.lvs.ipvs_realserver
"""

EXAMPLES = r"""
- name: A service without realservers
  linuxvirtualserver.lvs.ipvs_service:
    address: 192.168.1.110
    port: 80
    scheduler: wrr

- name: Delete a service by firewall mark
  linuxvirtualserver.lvs.ipvs_service:
    fwmark: 1
    family: ipv6
    state: absent
"""

RETURN = r"""
before:
  description: The service with its realservers as it was, in the shape of O(linuxvirtualserver.lvs.ipvs#module:config),
    if it changes.
  returned: success
  type: list
  elements: dict
after:
  description: The same as it is now, or would be in check mode.
  returned: success
  type: list
  elements: dict
commands:
  description: What was written, or would be in check mode, in order, as lines for C(ipvsadm -R).
  returned: success
  type: list
  elements: str
  sample: ["-A -t 192.168.1.110:80 -s wrr"]
notes:
  description: What else is worth knowing.
  returned: success
  type: list
  elements: str
mistakes:
  description: Every mistake found in the input.
  returned: when the input is wrong
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_argspec import SERVICE_FIELDS, SERVICE_NAME
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import reconcile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SERVICE_NAME,
            **SERVICE_FIELDS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "save": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = reconcile(
            [{name: params[name] for name in (*SERVICE_NAME, *SERVICE_FIELDS)}],
            "merged" if params["state"] == "present" else "deleted",
            save=params["save"],
            check=module.check_mode,
        )
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
