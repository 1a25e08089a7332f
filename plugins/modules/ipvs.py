#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs
short_description: Manage virtual services and their realservers in the kernel's IPVS table
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Brings many virtual services with their realservers to what is described, in one call.
  - Reads the table, compares, and writes only the difference, in place. Nothing is flushed, nothing is deleted and
    added
    again, and a second run writes nothing. Connections of what stays are not disturbed.
  - Adds and edits first, then takes the weight from what leaves, then deletes.
  - Runs on one host wait for each other. A realserver that module M(linuxvirtualserver.lvs.ipvs_drain) drains keeps
    weight 0 until that module restores it; the weight stated here is what it then gets.
  - What was written is read again to verify it. If the kernel refuses anything, what had been written before is rolled
    back.
  - Speaks to the kernel by generic netlink, without ipvsadm. Needs nothing but Python on the managed host.
requirements:
  - Linux with IPVS (module ip_vs, which is loaded if needed) and root (CAP_NET_ADMIN in the initial user namespace).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
  - linuxvirtualserver.lvs.ipvs_config
  - linuxvirtualserver.lvs.ipvs_config.restrict
attributes:
  check_mode:
    support: full
    details:
      - On a host whose ip_vs is not loaded yet the table counts as empty, which RV(notes) says. Nothing is loaded.
  diff_mode:
    support: full
    details:
      - The difference is shown in the spelling of C(ipvsadm -S -n), with thresholds, of the services that change.
  idempotent:
    support: full
options:
  config:
    description:
      - Exactly one of O(config) and O(src) is given.
  src:
    description:
      - Path of a file on the managed host that holds the services instead of O(config), in the format that O(save)
        writes. A JSON object with C(version) 1, C(config), and, if wanted, C(pools) and C(restrict), which mean the
        same as the options. O(restrict) takes the place of the file's.
      - For large tables. Ansible itself takes about 20 seconds to carry and check 100000 realservers in O(config).
    type: path
  pools:
    description:
      - Realservers that many services share, a list of realservers by name; a service names one as
        O(config[].pool). The entries are those of O(config[].realservers).
      - A realserver without a port has that of each service.
    type: dict
  state:
    description:
      - V(merged) adds and edits what is stated. Fields that are not stated keep the kernel's value, and so do services
        and
        realservers that are not named.
      - V(replaced) makes the named services exactly what is stated, with defaults for the rest. Other services stay.
      - V(overridden) does the same and deletes all other services that are ours; see O(restrict) and O(save).
      - V(deleted) deletes the named services with all of their realservers. Everything but their names is ignored.
    type: str
    choices: [merged, replaced, overridden, deleted]
    default: merged
  restrict:
    description:
      - Which services are ours. What matches no entry is never touched, and naming it in O(config) is an error. What
        O(save) holds is ours, too, whatever matches.
      - A service is ours if it matches any entry, and it matches an entry if all that the entry states is so.
        A service by firewall mark is matched by O(restrict[].fwmark) only.
      - With O(state=overridden) all that is ours and not named is deleted. Without O(restrict) and O(save) the whole
        table
        is ours; without O(restrict) but with O(save) those services are that were saved there before.
      - An empty list says that nothing but what is named, or was saved, is ours.
      - Services that kube-proxy, kube-router or docker swarm made are never deleted by O(state=overridden), whatever
        is stated here; RV(notes) names them. Name one in O(config) to change it.
  save:
    description:
      - Path of a file that remembers the table that is wanted of what is ours, such as V(/etc/lvs/ipvs.json). It is
        written after the table, as one step, readable for root only, and only if that changes it.
      - Services saved before are ours with O(state=overridden).
      - Module M(linuxvirtualserver.lvs.boot) brings the table saved at V(/etc/lvs/ipvs.json) back when the host boots.
      - When nothing is left to save, the file is removed.
    type: path
  drain_timeout:
    description:
      - How long to wait for realservers that leave, in seconds. Their weight is set to 0, and they are deleted as soon
        as none of them has an active connection, or when the time is over.
      - UDP has no active connections. Inactive connections and persistence templates are not waited for.
      - For the first three seconds at most the setting C(net.ipv4.vs.expire_nodest_conn) is off if it was on. With it
        the kernel sends the repeated SYN of a client whose realserver has lost its weight to another realserver, which
        then resets the connection if the first one was only slow. A run that is killed within this time leaves it off.
      - With V(0) they are deleted at once.
    type: int
    default: 0
  return:
    description:
      - Which services RV(before) and RV(after) hold, V(touched) for those that change, V(full) for the whole table.
      - With V(touched) and more than 5000 writes, or more than 5000 services and realservers in what changes, the
        results hold only the first of them, and RV(truncated) is true.
    type: str
    choices: [touched, full]
    default: touched
  guard:
    description:
      - Limits for what one run may take away. Beyond them the run fails before anything is changed, also in check
        mode, and says which services it is about. What is not stated is not limited.
    type: dict
    suboptions:
      weight_percent:
        description:
          - How much of its weight a service must keep, in percent of the sum of its realservers' weights before the
            run, V(0) to V(100). Services that are deleted do not count here.
        type: int
      deleted_services:
        description: How many services may be deleted, V(0) or more.
        type: int
  allow_empty:
    description:
      - Says that O(state=overridden) with an empty O(config) is meant. It deletes every service that is ours.
    type: bool
    default: false
seealso:
  - module: linuxvirtualserver.lvs.ipvs_info
  - name: ipvs-sysctl
    description: The kernel's settings that decide what happens to the connections of realservers that leave.
    link: https://docs.kernel.org/networking/ipvs-sysctl.html
"""

EXAMPLES = r"""
- name: A web service by direct routing
  linuxvirtualserver.lvs.ipvs:
    state: replaced
    config:
      - address: 192.168.1.110
        port: 80
        scheduler: wlc
        realservers:
          - address: 192.168.1.2
          - address: 192.168.1.3
            weight: 2

- name: Take new connections from one realserver and leave all else as it is
  linuxvirtualserver.lvs.ipvs:
    config:
      - address: 192.168.1.110
        port: 80
        realservers:
          - address: 192.168.1.2
            weight: 0

- name: All services of one prefix, as a whole, back after a reboot, with time for those that leave
  linuxvirtualserver.lvs.ipvs:
    state: overridden
    restrict:
      - address: 192.168.1.0/24
      - fwmark: 1
    save: /etc/lvs/ipvs.json
    drain_timeout: 300
    config:
      - protocol: udp
        address: 192.168.1.110
        port: 53
        scheduler: rr
        realservers:
          - address: 10.1.1.2
            port: 5353
            forwarding: nat
            weight: keep
      - fwmark: 1
        persistence:
          timeout: 600
          netmask: 24
        realservers:
          - address: 192.168.1.4
            forwarding: tun

- name: Services on the same realservers, with limits for accidents
  linuxvirtualserver.lvs.ipvs:
    state: overridden
    restrict:
      - address: 192.168.8.0/22
    guard:
      weight_percent: 50
      deleted_services: 10
    pools:
      web:
        - address: 10.1.1.2
        - address: 10.1.1.3
    config:
      - {address: 192.168.8.1, port: 80, pool: web}
      - {address: 192.168.8.2, port: 80, pool: web}

- name: A large table from a file on the director
  linuxvirtualserver.lvs.ipvs:
    state: overridden
    src: /etc/lvs/table.json

- name: Delete a service
  linuxvirtualserver.lvs.ipvs:
    state: deleted
    config:
      - address: 2001:db8::110
        port: 80
"""

RETURN = r"""
before:
  description: The services that change, or the whole table with O(return=full), as they were, in the shape of
    O(config).
  returned: success
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      scheduler: wlc
      scheduler_flags: []
      persistence: null
      one_packet: false
      realservers:
        - {address: 192.168.1.2, port: 80, forwarding: dr, weight: 1, upper_threshold: 0, lower_threshold: 0}
after:
  description: The same as they are now, or would be in check mode.
  returned: success
  type: list
  elements: dict
commands:
  description: What was written, or would be in check mode, in order, as lines for C(ipvsadm -R).
  returned: success
  type: list
  elements: str
  sample: ["-e -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w 0"]
counts:
  description: How many writes there were, or would be, of each kind.
  returned: success
  type: dict
  sample:
    services_added: 1
    services_edited: 0
    services_deleted: 0
    realservers_added: 2
    realservers_edited: 0
    realservers_deleted: 0
truncated:
  description:
    - Whether RV(before), RV(after), RV(commands), RV(leaving) and the diff were cut, as described at O(return).
      RV(counts) never is.
  returned: success
  type: bool
leaving:
  description: The realservers that leave, with the connections that they had when they were deleted, or have in check
    mode.
  returned: success
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      realserver: {address: 192.168.1.2, port: 80}
      active: 0
      inactive: 3
      persistent: 0
notes:
  description: What else is worth knowing, such as that ip_vs is not loaded yet, that the file at O(save) was
    written, that services of others were left alone, or that realservers are drained.
  returned: success
  type: list
  elements: str
mistakes:
  description: Every mistake found in the input.
  returned: when the input is wrong
  type: list
  elements: str
failures:
  description: What the kernel refused, and why.
  returned: when the kernel refused something
  type: list
  elements: dict
rolled_back:
  description: Whether everything that had been written before a failure was rolled back.
  returned: when writing failed
  type: bool
rollback_commands:
  description: What would be left to do to bring back what stood there before, as lines for C(ipvsadm -R).
  returned: when writing failed
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_argspec import CONFIG, GUARD, RESTRICT
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import reconcile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "config": CONFIG,
            "src": {"type": "path"},
            "pools": {"type": "dict"},
            "state": {
                "type": "str",
                "choices": ["merged", "replaced", "overridden", "deleted"],
                "default": "merged",
            },
            "restrict": RESTRICT,
            "save": {"type": "path"},
            "drain_timeout": {"type": "int", "default": 0},
            "return": {"type": "str", "choices": ["touched", "full"], "default": "touched"},
            "allow_empty": {"type": "bool", "default": False},
            "guard": GUARD,
        },
        mutually_exclusive=[("config", "src"), ("pools", "src")],
        required_one_of=[("config", "src")],
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = reconcile(
            config=params["config"],
            state=params["state"],
            restrict=params["restrict"],
            save=params["save"],
            drain_timeout=params["drain_timeout"],
            allow_empty=params["allow_empty"],
            full=params["return"] == "full",
            check=module.check_mode,
            pools=params["pools"],
            src=params["src"],
            guard=params["guard"],
        )
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
