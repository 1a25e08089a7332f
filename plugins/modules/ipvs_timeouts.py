#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_timeouts
short_description: Set how long IPVS remembers silent connections
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Sets the connection timeouts of the director (C(ipvsadm --set)). They hold for connections that are scheduled or
    change their state afterwards.
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
  tcp:
    description: Timeout of an established TCP connection in seconds, V(1) to V(2147483). The kernel starts with 900.
    type: int
  tcp_fin:
    description: Timeout of a TCP connection after a FIN, in seconds, V(1) to V(2147483). The kernel starts with 120.
    type: int
  udp:
    description: Timeout of UDP in seconds, V(1) to V(2147483). The kernel starts with 300.
    type: int
  save:
    description:
      - Path of the saved table that module M(linuxvirtualserver.lvs.boot) brings back when the host boots,
        V(/etc/lvs/ipvs.json), to keep this there as well.
    type: path
notes:
  - What is not stated stays as it is; at least one timeout is to be stated.
seealso:
  - module: linuxvirtualserver.lvs.ipvs_info
"""

EXAMPLES = r"""
- name: Keep idle connections for two hours, also after a reboot
  linuxvirtualserver.lvs.ipvs_timeouts:
    tcp: 7200
    save: /etc/lvs/ipvs.json
"""

RETURN = r"""
before:
  description: The timeouts as they were, in seconds.
  returned: success
  type: dict
  sample: {tcp: 900, tcp_fin: 120, udp: 300}
after:
  description: The timeouts as they are now, or would be in check mode.
  returned: success
  type: dict
  sample: {tcp: 7200, tcp_fin: 120, udp: 300}
commands:
  description: What was done, or would be in check mode, as options of C(ipvsadm).
  returned: success
  type: list
  elements: str
  sample: ["--set 7200 120 300"]
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
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_settings_run import set_timeouts


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "tcp": {"type": "int"},
            "tcp_fin": {"type": "int"},
            "udp": {"type": "int"},
            "save": {"type": "path"},
        },
        required_one_of=[("tcp", "tcp_fin", "udp")],
        supports_check_mode=True,
    )
    stated = dict(module.params)
    save = stated.pop("save")
    try:
        result = set_timeouts(stated, save, module.check_mode)
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
