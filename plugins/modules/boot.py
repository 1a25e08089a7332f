#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the host bring its saved network and IPVS table back at boot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: boot
short_description: Bring the saved network and IPVS table of a host back at boot
version_added: "0.1.0"
author:
  - linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Installs C(/usr/local/lib/lvs/lvs.pyz), one file with the code of this collection's modules, which needs nothing
    but Python 3.8 on the host, and the systemd unit C(lvs.service), which runs C(lvs.pyz boot) at every boot.
  - At boot it puts C(/etc/lvs/ipvs.json) in place, saved by M(linuxvirtualserver.lvs.ipvs) with its option C(save),
    and then C(/etc/lvs/network.json), saved by M(linuxvirtualserver.lvs.network). A file that is not there is no
    mistake. It writes only what is missing, so starting the unit again changes nothing.
  - The unit runs after C(network-online.target). If a device or a gateway is not there yet, it tries again for 30
    seconds; then it leaves out what still cannot be had, such as routes over a device that is down, puts the rest in
    place, and fails with one line per failure in the journal. C(systemctl restart lvs.service) tries again.
  - Stopping the unit changes nothing.
  - The unit is enabled, not started.
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Of the program the checksum is shown.
  idempotent:
    support: full
options:
  state:
    description:
      - V(absent) disables the unit and removes it, the program and its directory. The saved files belong to the
        modules that saved them.
    type: str
    choices: [present, absent]
    default: present
notes:
  - On a host without systemd it fails, in check mode, too.
seealso:
  - module: linuxvirtualserver.lvs.network
  - module: linuxvirtualserver.lvs.ipvs
"""

EXAMPLES = r"""
- name: Bring the LVS back at every boot
  linuxvirtualserver.lvs.boot:

- name: Do not bring it back any more
  linuxvirtualserver.lvs.boot:
    state: absent
"""

RETURN = r"""
before:
  description: What was there.
  returned: success
  type: dict
  contains: &contains
    program:
      description: The SHA-256 of the program, or null.
      returned: success
      type: str
    unit:
      description: The text of the unit, or null.
      returned: success
      type: str
    enabled:
      description: Whether the unit runs at boot.
      returned: success
      type: bool
after:
  description: What is there now, or would be (check mode).
  returned: success
  type: dict
  contains: *contains
commands:
  description: What was done, as a person would type it.
  returned: success
  type: list
  elements: str
  sample:
    - install -D lvs.pyz /usr/local/lib/lvs/lvs.pyz
    - install -D lvs.service /etc/systemd/system/lvs.service
    - systemctl daemon-reload
    - systemctl enable lvs.service
"""

import pkgutil
import sys

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _boot
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._boot_install import BootInstall, diff
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._zipapp import build


def _source(name: str) -> bytes:
    """A file of module_utils as Ansible sent it along: importing _boot made it send all that _boot needs."""
    content = pkgutil.get_data(str(_boot.__package__), f"{name}.py")
    if content is None:
        raise LvsError(f"Ansible did not send {name}.py of this collection along; the program cannot be made.")
    return content


def main() -> None:
    """Compare what is there with what shall be; write the difference."""
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}},
        supports_check_mode=True,
    )
    install = BootInstall()
    try:
        before = install.read()
        after = install.wanted(
            module.params["state"], lambda interpreter: build("_boot", _source, interpreter), sys.executable
        )
        if not module.check_mode:
            install.apply(before, after)
    except LvsError as error:
        module.fail_json(msg=error.message, **error.details)
    commands = install.commands(before, after)
    module.exit_json(
        changed=bool(commands),
        before=before.result(),
        after=after.result(),
        commands=commands,
        diff=diff(before, after),
    )


if __name__ == "__main__":
    main()
