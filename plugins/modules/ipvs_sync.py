#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_sync
short_description: Run the daemons that synchronise IPVS connections between directors
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Starts and stops the kernel's synchronisation daemons, the master, which sends the connections of this director, and
    the backup, which takes those of another (C(ipvsadm --start-daemon)).
  - The kernel cannot change a running daemon. It is stopped and started only if something that is stated differs from
    what runs; if it cannot be started, what ran before is started again.
  - The messages are not authenticated. Let them run over a network of their own.
requirements:
  - Linux with IPVS (module ip_vs, which is loaded if needed) and root (CAP_NET_ADMIN in the initial user namespace).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
attributes:
  check_mode:
    support: full
    details:
      - On a host whose ip_vs is not loaded yet the kernel's defaults count as what is there. Nothing is loaded.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  daemons:
    description:
      - The daemons, at most one of each role. Both roles may run at once.
      - Required, but with O(state=absent).
    type: list
    elements: dict
    suboptions:
      role:
        description: Which daemon it is.
        type: str
        required: true
        choices: [master, backup]
      interface:
        description:
          - Interface on which messages are sent and taken. Required, but with O(state=deleted).
          - It must be there. For a master it must be up, and have an IPv4 address if O(daemons[].group) is IPv4.
            This is looked at before a daemon that runs is stopped.
        type: str
      syncid:
        description:
          - Which directors belong together, V(0) to V(255). A backup with V(0) takes the messages of everybody.
          - The default is V(0). Use another.
        type: int
      group:
        description: Multicast group, an IPv4 or IPv6 address. The default is V(224.0.0.81). Needs Linux 4.3.
        type: str
      port:
        description: UDP port, V(1) to V(65535). The default is V(8848). Needs Linux 4.3.
        type: int
      ttl:
        description: Time to live, or hop limit, of the messages, V(1) to V(255). The default is V(1). Needs Linux 4.3.
        type: int
      maxlen:
        description:
          - Longest message in bytes, up to V(65507), or V(65487) with an IPv6 group; at least V(1) for a master and
            V(1024) for a backup. The default is the kernel's, by the interface's MTU. Needs Linux 4.3.
        type: int
  state:
    description:
      - V(merged) runs what is named. What is not stated stays as it runs, and so do daemons that are not named.
      - V(overridden) does the same and stops daemons that are not named.
      - V(deleted) stops the roles that are named.
      - V(absent) stops the roles that O(save) names, which earlier runs started, and no others.
    type: str
    choices: [merged, overridden, deleted, absent]
    default: merged
  save:
    description:
      - Path of the saved table that module M(linuxvirtualserver.lvs.boot) brings back when the host boots,
        V(/etc/lvs/ipvs.json), to keep this there as well.
    type: path
notes:
  - No daemon runs beside a service with realservers of the other address family; the kernel refuses it.
seealso:
  - module: linuxvirtualserver.lvs.ipvs_info
"""

EXAMPLES = r"""
- name: Send connections to the other director and take its own
  linuxvirtualserver.lvs.ipvs_sync:
    state: overridden
    daemons:
      - {role: master, interface: eth1, syncid: 7}
      - {role: backup, interface: eth1, syncid: 7}
    save: /etc/lvs/ipvs.json

- name: Stop sending
  linuxvirtualserver.lvs.ipvs_sync:
    state: deleted
    daemons:
      - role: master
"""

RETURN = r"""
before:
  description: The daemons that ran, in the shape of O(daemons).
  returned: success
  type: list
  elements: dict
after:
  description: The daemons that run now, or would in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - {role: master, interface: eth1, syncid: 7, group: 224.0.0.81, port: 8848, ttl: 1, maxlen: 1472}
commands:
  description: What was done, or would be in check mode, as options of C(ipvsadm).
  returned: success
  type: list
  elements: str
  sample: ["--start-daemon master --mcast-interface eth1 --syncid 7"]
notes:
  description: What else is worth knowing, such as that the file at O(save) was written.
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
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_argspec import DAEMON
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_settings_run import set_daemons


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "daemons": {"type": "list", "elements": "dict", "options": DAEMON},
            "state": {"type": "str", "choices": ["merged", "overridden", "deleted", "absent"], "default": "merged"},
            "save": {"type": "path"},
        },
        required_if=[
            *(("state", state, ["daemons"]) for state in ("merged", "overridden", "deleted")),
            ("state", "absent", ["save"]),
        ],
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = set_daemons(params["daemons"], params["state"], params["save"], module.check_mode)
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
