#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_realserver
short_description: Manage one realserver of a virtual service in the kernel's IPVS table
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Adds, edits or deletes one realserver of one service, which must exist, and leaves the others alone.
  - The same engine as module M(linuxvirtualserver.lvs.ipvs), which does many services with their realservers in one
    call and is much faster for more than a few. Module M(linuxvirtualserver.lvs.ipvs_drain) takes a realserver out of
    all of its services and brings it back.
requirements:
  - Linux with IPVS and root (CAP_NET_ADMIN in the initial user namespace).
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
      - V(present) adds the realserver, or edits in place what is stated. What is not stated keeps the kernel's value,
        and takes its default in a new realserver.
      - V(absent) deletes the realserver; see O(drain_timeout). Nothing is to be done where the service does not exist.
    type: str
    choices: [present, absent]
    default: present
  service:
    description: The service, by protocol, address and port or by firewall mark.
    type: dict
    required: true
    suboptions:
      protocol:
        description: Protocol of the service. The default is V(tcp).
        type: str
        choices: [tcp, udp, sctp]
      address:
        description: VIP, an IPv4 or IPv6 address.
        type: str
      port:
        description: Port of the service, V(0) to V(65535). V(0) stands for every port and needs persistence.
        type: int
      fwmark:
        description:
          - Firewall mark of the service, V(1) to V(4294967295), decimal or hexadecimal with C(0x).
          - Takes the place of O(service.protocol), O(service.address) and O(service.port).
        type: str
      family:
        description: Address family of a service that is named by O(service.fwmark). The default is V(ipv4).
        type: str
        choices: [ipv4, ipv6]
  address:
    description: RIP, an IPv4 or IPv6 address.
    type: str
    required: true
  port:
    description: Port of the realserver, V(0) to V(65535). The default is the service's port.
    type: int
  forwarding:
    description:
      - How packets reach the realserver. The default is V(dr). V(local) is what some kernels report for the director.
    type: str
    choices: [nat, dr, tun, local]
  weight:
    description:
      - Share of the connections, V(0) to V(2147483647). The default is V(1). With V(0) the realserver gets no new
        connections and keeps those it has. V(keep) keeps the kernel's value.
    type: str
  upper_threshold:
    description: Number of connections at which the realserver gets no new ones. V(0), the default, means no limit.
    type: int
  lower_threshold:
    description:
      - Number of connections below which it gets new ones again, at most O(upper_threshold). V(0), the default, means
        three quarters of it.
    type: int
  tunnel:
    description: The tunnel of a realserver with O(forwarding=tun).
    type: dict
    suboptions:
      type:
        description: Kind of the tunnel. The default is V(ipip).
        type: str
        choices: [ipip, gue, gre]
      port:
        description: UDP port of a V(gue) tunnel, V(1) to V(65535). Required for it.
        type: int
      checksum:
        description: Checksum of a V(gue) or V(gre) tunnel. The default is V(none).
        type: str
        choices: [none, csum, remcsum, both]
  drain_timeout:
    description:
      - With O(state=absent), how many seconds to wait, at weight 0, for active connections to end.
    type: int
    default: 0
  save:
    description:
      - Path of a file that remembers the table for the next boot, such as V(/etc/lvs/ipvs.json); see
        O(linuxvirtualserver.lvs.ipvs#module:save). What this module changes is changed there as well.
    type: path
seealso:
  - module: linuxvirtualserver.lvs.ipvs
  - module: linuxvirtualserver.lvs.ipvs_service
  - module: linuxvirtualserver.lvs.ipvs_drain
"""

EXAMPLES = r"""
- name: A realserver by NAT with more weight than the others
  linuxvirtualserver.lvs.ipvs_realserver:
    service:
      address: 192.168.1.110
      port: 80
    address: 10.1.1.2
    port: 8080
    forwarding: nat
    weight: 3

- name: Delete it, with a minute for its connections
  linuxvirtualserver.lvs.ipvs_realserver:
    service:
      address: 192.168.1.110
      port: 80
    address: 10.1.1.2
    port: 8080
    state: absent
    drain_timeout: 60
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
  sample: ["-a -t 192.168.1.110:80 -r 10.1.1.2:8080 -m -w 3"]
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
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_argspec import REALSERVER, SERVICE_NAME
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import reconcile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **REALSERVER,
            "service": {"type": "dict", "required": True, "options": SERVICE_NAME},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "drain_timeout": {"type": "int", "default": 0},
            "save": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    realserver = {name: params[name] for name in REALSERVER}
    try:
        result = reconcile(
            [{**params["service"], "realservers": [realserver]}],
            "attached" if params["state"] == "present" else "detached",
            save=params["save"],
            drain_timeout=params["drain_timeout"],
            check=module.check_mode,
        )
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
