#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_snapshot
short_description: Take a snapshot of a director's IPVS state and bring it back
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Writes the table with all thresholds, the timeouts and the synchronisation daemons to a file, and leads the kernel
    back to it, by writing what differs. Nothing is flushed, and connections of what is equal are not disturbed.
  - The file is what option O(linuxvirtualserver.lvs.ipvs#module:src) of module M(linuxvirtualserver.lvs.ipvs) takes.
  - Connections are not part of it.
requirements:
  - Linux with IPVS and root (CAP_NET_ADMIN in the initial user namespace).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
  - linuxvirtualserver.lvs.ipvs_config.restrict
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description: Path of the file on the managed host. It is readable for root only.
    type: path
    required: true
  state:
    description:
      - V(taken) writes the file, if it would not be the same.
      - V(restored) brings back what is in it. Services that are not in it are deleted, as far as O(restrict) named them
        when it was taken, and so are daemons.
    type: str
    choices: [taken, restored]
    default: taken
  restrict:
    description:
      - With O(state=taken), which services belong to the snapshot. Without it all of them.
  drain_timeout:
    description:
      - With O(state=restored), how many seconds to wait for active connections of realservers that leave.
    type: int
    default: 0
seealso:
  - module: linuxvirtualserver.lvs.ipvs
"""

EXAMPLES = r"""
- name: Remember how it was
  linuxvirtualserver.lvs.ipvs_snapshot:
    path: /var/lib/lvs/before.json

- name: Lead back to it
  linuxvirtualserver.lvs.ipvs_snapshot:
    path: /var/lib/lvs/before.json
    state: restored
"""

RETURN = r"""
commands:
  description: What was written to the kernel, or would be in check mode, as lines for C(ipvsadm).
  returned: success
  type: list
  elements: str
  sample: ["-a -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w 1", "--set 900 120 300"]
notes:
  description: What else is worth knowing.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_argspec import RESTRICT
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_snapshot import bring_back, take


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["taken", "restored"], "default": "taken"},
            "restrict": RESTRICT,
            "drain_timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        if params["state"] == "taken":
            result = take(params["path"], params["restrict"], module.check_mode)
        else:
            result = bring_back(params["path"], params["drain_timeout"], module.check_mode)
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
