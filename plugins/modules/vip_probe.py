#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the neighbours who has a VIP, and tries services."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vip_probe
short_description: Find out who answers for a VIP on this host's networks
version_added: "0.1.0"
author:
  - linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Asks for every VIP by ARP, or by neighbour solicitation for IPv6, and collects every MAC address that answers. More
    than the active director's is the ARP problem of the LVS-HOWTO (chapter 6).
  - It asks itself, with raw packets, so that neither the neighbour cache nor its entries have a part in it.
  - Run it on a client or a router of the VIP's network. A host that holds the VIP, or reaches it through a router, has
    nobody to ask; it says so.
  - Also tries services, as a client does. An LVS cannot be tried from its own director or realservers.
  - Needs root, or the capability C(CAP_NET_RAW).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
  - linuxvirtualserver.lvs.attributes.info_module
options:
  vips:
    description: The addresses to ask for, IPv4 and IPv6.
    type: list
    elements: str
    default: []
  interface:
    description:
      - The interface to ask on. Left out, the one of the route to the VIP.
    type: str
  count:
    description: How often each question is sent, 1 to 100.
    type: int
    default: 3
  timeout:
    description:
      - Seconds to wait after the last question, and for each service. More than 0, at most 60.
      - The whole time is waited, since only so a second answer is noticed.
    type: float
    default: 2
  services:
    description: Services to try once each, all at the same time.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The address, above all a VIP.
        type: str
        required: true
      port:
        description: The port, 1 to 65535.
        type: int
        required: true
      protocol:
        description:
          - With V(tcp) a connection is opened and closed. With V(udp) one datagram is sent, and only an answer counts.
        type: str
        choices: [tcp, udp]
        default: tcp
      payload:
        description: What the datagram holds.
        type: str
        default: ""
"""

EXAMPLES = r"""
- name: Only the director may answer for the VIP
  linuxvirtualserver.lvs.vip_probe:
    vips: [192.168.1.110, "2001:db8::110"]
    services:
      - {address: 192.168.1.110, port: 80}
  register: probe

- name: Nobody else does
  ansible.builtin.assert:
    that: probe.results | map(attribute='macs') | flatten | unique | length == 1
"""

RETURN = r"""
results:
  description: One entry per VIP, in the order asked.
  returned: success
  type: list
  elements: dict
  contains:
    vip:
      description: The VIP.
      returned: success
      type: str
    interface:
      description: The interface asked on.
      returned: success
      type: str
    on_link:
      description: Whether the VIP is on a network of this host, so that it could be asked for.
      returned: success
      type: bool
    reason:
      description: Why it could not be asked for.
      returned: success
      type: str
    macs:
      description: The MAC addresses that answered, the first one first.
      returned: success
      type: list
      elements: str
  sample:
    - {vip: 192.168.1.110, interface: eth1, on_link: true, reason: "", macs: ["52:54:00:12:34:56"]}
services:
  description: The services of the input with C(reachable) and C(error), which is empty if it is reachable.
  returned: success
  type: list
  elements: dict
  sample:
    - {address: 192.168.1.110, port: 80, protocol: tcp, payload: "", reachable: false, error: Connection refused}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_kernel import Kernel
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._vip_probe import (
    check_limits,
    try_services,
    who_answers,
)

SERVICE = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
    "payload": {"type": "str", "default": ""},
}


def main() -> None:
    """Ask and try."""
    module = AnsibleModule(
        argument_spec={
            "vips": {"type": "list", "elements": "str", "default": []},
            "interface": {"type": "str"},
            "count": {"type": "int", "default": 3},
            "timeout": {"type": "float", "default": 2},
            "services": {"type": "list", "elements": "dict", "default": [], "options": SERVICE},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        check_limits(params["count"], params["timeout"], params["services"])
        results = who_answers(
            params["vips"], params["interface"] or "", params["count"], params["timeout"], Kernel().ip
        )
        services = try_services(params["services"], params["timeout"])
    except LvsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(changed=False, results=results, services=services)


if __name__ == "__main__":
    main()
