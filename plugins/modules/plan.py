#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; it runs on the controller only."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Compile the inventory into one part per host of a Linux Virtual Server
version_added: 0.1.0
author:
  - The linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Reads C(lvs_services) of the directors, the C(lvs_*) variables of every host and the facts that
    M(linuxvirtualserver.lvs.lvs_facts) gathered, checks all of it, and returns what each host has to be.
  - Names every mistake of the inventory in one message, then every problem of the machines in one message; nothing is
    touched before both are empty.
  - Compiles the whole inventory also under C(--limit), so that a limited run never forgets the hosts outside it. The
    address of a host outside the limit comes from its gathered facts or from C(lvs_rip) and C(lvs_rip6).
  - Run it once per play (C(run_once)); it needs no connection and changes nothing.
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
  - linuxvirtualserver.lvs.attributes.info_module
options:
  directors:
    description: The group of the directors.
    type: str
    default: lvs_directors
  realservers:
    description: The group of the realservers this inventory manages.
    type: str
    default: lvs_realservers
  clients:
    description: The group of the clients that can prove the service. It may be empty or missing.
    type: str
    default: lvs_clients
  routers:
    description: The group of the routers between realservers and clients that this inventory manages. It may be empty
      or missing.
    type: str
    default: lvs_routers
  preflight:
    description: Whether to judge the machines of this play by their facts, too.
    type: bool
    default: true
seealso:
  - module: linuxvirtualserver.lvs.lvs_facts
  - module: linuxvirtualserver.lvs.ipvs
  - module: linuxvirtualserver.lvs.network
"""

EXAMPLES = r"""
- name: Gather what the plan needs
  linuxvirtualserver.lvs.lvs_facts:

- name: Compile the plan
  linuxvirtualserver.lvs.plan:
  register: lvs_plan
  run_once: true
"""

RETURN = r"""
parts:
  description:
    - One part per host. C(roles) lists what the host is; C(network) is what M(linuxvirtualserver.lvs.network) takes; a
      director also has C(director) with C(owner), C(groundwork) (its C(network) without the VIPs that it directs),
      C(config), C(restrict), C(additions_first), C(daemons), C(held) and C(module_options); directors and routers have
      C(firewall), which is what M(linuxvirtualserver.lvs.firewall) takes.
    - A director's C(failover) is null, or what keepalived or heartbeat move - C(backend), C(node) and C(nodes),
      C(instances) (addresses that move together, by preferred director and family, with C(priority), C(router_id),
      C(interface), C(source) and C(peers)), C(groups) of instances, C(failback), C(fencing) and C(secret) (whether
      there is one, never what it is), C(vrrp) or C(heartbeat), and C(sync).
    - A director's C(health) is null, or what keepalived or ldirectord check - C(backend) and C(services), which are the
      records of C(director.config) with C(name), C(health) (every key resolved) and C(sorry_server).
  returned: success
  type: dict
  sample:
    director:
      roles: [director]
      network: {modules: [ip_vs, ip_vs_wlc], sysctls: [], devices: [], addresses: [], routes: [], rules: []}
      director: {owner: static, config: [], restrict: [], daemons: [], held: [], module_options: {}}
      failover: null
      health: null
      firewall: {marks: [], unmarked: [], untracked: [], masquerade: [], clamps: [], filter: null}
hosts:
  description: The hosts of this play, which C(--limit) may have narrowed.
  returned: success
  type: list
  elements: str
  sample: [director, rs1, rs2, client]
probe:
  description: What a client can prove, for M(linuxvirtualserver.lvs.vip_probe), with the MAC addresses of the directors
    that may hold a VIP; C(patience) is after how many seconds one does, at most.
  returned: success
  type: dict
  sample:
    vips: [{address: 192.168.1.110, director: director, macs: ["52:54:00:00:00:01"]}]
    services: [{address: 192.168.1.110, port: 80, protocol: tcp}]
    patience: 0
"""
