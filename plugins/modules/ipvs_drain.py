#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_drain
short_description: Take realservers out of service and bring them back
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Takes the weight from one or many realservers, in one or all of their services, and waits until their connections
    have ended. Connections go on meanwhile; new ones go to other realservers.
  - The weight is remembered on the host before it is taken, over a reboot, too. Until O(state=restored) gives it back,
    module M(linuxvirtualserver.lvs.ipvs) leaves the realserver at weight 0, or what O(ramp) has given it by now,
    whatever it is asked for. A weight that it is asked for, other than that, is the one that comes back.
  - An interrupted run is resumed by running it again.
  - While it waits, a line every few seconds tells how many connections are left, and one after each step of
    O(ramp) the weights.
  - Clients with a persistence template still reach a drained realserver, unless the director's sysctl
    C(net.ipv4.vs.expire_quiescent_template) is 1.
requirements:
  - Linux with IPVS and root (CAP_NET_ADMIN in the initial user namespace).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
  - linuxvirtualserver.lvs.ipvs_config.restrict
attributes:
  check_mode:
    support: full
    details:
      - Nothing is waited for. RV(finished) tells whether there is something to wait for now.
  diff_mode:
    support: full
    details:
      - The difference is shown in the spelling of C(ipvsadm -S -n), with thresholds.
  idempotent:
    support: full
options:
  realservers:
    description:
      - The realservers. It is an error if no service has one of them, unless O(then) or O(on_timeout) is V(delete).
        Then an earlier run may have deleted it, which RV(notes) says.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description: RIP, an IPv4 or IPv6 address.
        type: str
        required: true
      port:
        description: Port of the realserver, V(0) to V(65535). The default is every port that it is known by.
        type: int
  restrict:
    description:
      - The services from which to take the realservers. Without it all of them.
  state:
    description:
      - V(drained) takes the weight and waits.
      - V(restored) gives the remembered weight back. Where none is remembered and the weight is V(0), it stays, which
        RV(notes) says; that is an error where it is so in every service.
    type: str
    choices: [drained, restored]
    default: drained
  timeout:
    description:
      - How long to wait for connections to end, in seconds, V(0) to V(604800). V(0) does not wait, and then it is no
        failure that some are left.
      - Clients that are just connecting are kept with their realserver meanwhile, for three seconds at most, as module
        M(linuxvirtualserver.lvs.ipvs) does it.
    type: int
    default: 60
  slice:
    description:
      - Which part of O(timeout) this call waits for. The action plugin cuts it into slices, to show between them how
        far it is; nobody else needs this.
    type: dict
    suboptions:
      waited:
        description: Seconds of O(timeout) that earlier calls have waited, V(0) to V(604800).
        type: int
        default: 0
      at_most:
        description:
          - Seconds that this call waits at most, V(0) to V(604800). The default is all that is left. As long as more is
            left, O(on_timeout) does nothing.
        type: int
  wait_for:
    description:
      - What to wait for. UDP has no active connections, so for services by UDP and by firewall mark V(active) means
        V(inactive) as well.
    type: list
    elements: str
    choices: [active, inactive, persistent]
    default: [active]
  then:
    description: Whether the realservers stay in the table with weight 0 or are deleted when nothing is left.
    type: str
    choices: [keep, delete]
    default: keep
  on_timeout:
    description:
      - What to do if something is left when the time is over. V(fail) leaves the realservers at weight 0 and says who
        has how many connections.
    type: str
    choices: [fail, keep, delete]
    default: fail
  ramp:
    description: Give the weight back step by step (slow start).
    type: dict
    suboptions:
      steps:
        description: Number of equal steps, V(1) to V(100).
        type: int
        default: 5
      interval:
        description: Seconds between two steps, V(0) to V(604800).
        type: int
        default: 30
      at_most:
        description:
          - How many steps this run takes, V(1) to V(100), to look at the realservers before the next run goes on.
            RV(finished) tells whether that was the last one. The default is all.
        type: int
  weight:
    description: With O(state=restored), the weight to give in place of the remembered one, V(0) to V(2147483647).
    type: int
  allow_empty:
    description: Says that it is meant if a service is left without any realserver that has weight.
    type: bool
    default: false
  save:
    description:
      - If realservers are deleted, path of the saved table from which they are deleted as well, such as
        V(/etc/lvs/ipvs.json).
    type: path
seealso:
  - module: linuxvirtualserver.lvs.ipvs
"""

EXAMPLES = r"""
- name: Take a realserver out of all services before an update, with five minutes for its connections
  linuxvirtualserver.lvs.ipvs_drain:
    realservers:
      - address: 192.168.1.2
    timeout: 300

- name: Bring it back, in five steps of ten seconds
  linuxvirtualserver.lvs.ipvs_drain:
    realservers:
      - address: 192.168.1.2
    state: restored
    ramp:
      steps: 5
      interval: 10

- name: Take it out of one service for good
  linuxvirtualserver.lvs.ipvs_drain:
    realservers:
      - address: 192.168.1.2
        port: 80
    restrict:
      - address: 192.168.1.110
        port: 80
    then: delete
    on_timeout: delete
    save: /etc/lvs/ipvs.json
"""

RETURN = r"""
before:
  description: The services that change as they were, in the shape of O(linuxvirtualserver.lvs.ipvs#module:config).
  returned: success
  type: list
  elements: dict
after:
  description: The same as they are now, or would be in check mode.
  returned: success
  type: list
  elements: dict
realservers:
  description: Each realserver of each service, with its connections and its weight at the end, and the weight that it
    gets back.
  returned: success, and when time was over
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      realserver: {address: 192.168.1.2, port: 80}
      weight: 0
      remembered_weight: 1
      active: 0
      inactive: 3
      persistent: 0
finished:
  description: Whether nothing was left to wait for, and no step of O(ramp) to take.
  returned: success, and when time was over
  type: bool
waited:
  description: How long it took, in seconds.
  returned: success
  type: float
commands:
  description: What was written, or would be in check mode, in order, as lines for C(ipvsadm -R).
  returned: success
  type: list
  elements: str
  sample: ["-e -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w 0"]
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
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_argspec import DRAIN, RESTRICT
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_drain import Wish, drain


def main() -> None:
    module = AnsibleModule(argument_spec={**DRAIN, "restrict": RESTRICT}, supports_check_mode=True)
    params = dict(module.params)
    ramp = params.pop("ramp") or {"steps": 1, "interval": 0}
    part = params.pop("slice") or {"waited": 0, "at_most": None}
    params.update(waited=part["waited"], at_once=part["at_most"])
    try:
        result = drain(Wish(**{**params, **ramp, "wait_for": tuple(params["wait_for"])}, check=module.check_mode))
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
