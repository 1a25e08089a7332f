#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan and the doctor have to know of one host, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lvs_facts
short_description: Gather what the plan of a Linux Virtual Server has to know of a host
version_added: "0.1.0"
author:
  - linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Returns C(ansible_facts.lvs) with the kernel, the rights, the programs, the interfaces, the routes of the main
    table, and what rules of others use of the packet filter.
  - It runs C(ip) five times, lists the packet filter's rules where it is in use, and reads a few files. Nothing is
    loaded and nothing is changed.
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
  - linuxvirtualserver.lvs.attributes.info_module
  - linuxvirtualserver.lvs.attributes.facts_module
options:
  schedulers:
    description:
      - IPVS schedulers whose modules to judge, such as V(wlc) for C(ip_vs_wlc).
    type: list
    elements: str
    default: []
  modules:
    description:
      - Other kernel modules to judge. C(ip_vs) always is.
    type: list
    elements: str
    default: []
seealso:
  - module: linuxvirtualserver.lvs.plan
"""

EXAMPLES = r"""
- name: Gather what the plan needs
  linuxvirtualserver.lvs.lvs_facts:
    schedulers: [wlc, sh]
    modules: [ipip, ip6_tunnel]

- name: Refuse a kernel that has no IPVS
  ansible.builtin.fail:
    msg: "{{ ansible_facts.lvs.advice.ip_vs }}"
  when: ansible_facts.lvs.modules.ip_vs == 'missing'
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    lvs:
      description: All of them, under one name.
      returned: success
      type: dict
      contains:
        kernel:
          description: The release of the running kernel.
          returned: success
          type: str
          sample: 6.1.0-50-cloud-amd64
        distribution:
          description: C(id) and C(version) of the distribution, as in C(os-release).
          returned: success
          type: dict
          sample: {id: debian, version: "12"}
        machine:
          description: The hardware's architecture.
          returned: success
          type: str
          sample: x86_64
        memory:
          description: The main memory in bytes. V(0) if it is not known.
          returned: success
          type: int
          sample: 1073741824
        min_free_pages:
          description: How many free pages the kernel keeps in reserve. V(0) if it is not known.
          returned: success
          type: int
          sample: 11264
        director_files:
          description: Files of this collection by which the host is, or was, set up as a director.
          returned: success
          type: list
          elements: str
          sample: []
        root:
          description: Whether the module ran as root.
          returned: success
          type: bool
        net_admin:
          description: Whether it may change the network and the IPVS table, that is CAP_NET_ADMIN in the initial user
            namespace.
          returned: success
          type: bool
        user_namespace:
          description: Whether user ids are translated, as in an unprivileged container.
          returned: success
          type: bool
        container:
          description: The kind of container this is, such as V(podman), V(docker) or V(lxc). Empty if it is none.
          returned: success
          type: str
          sample: ""
        systemd:
          description: Whether systemd runs the host.
          returned: success
          type: bool
        read_only_sysctls:
          description: Where C(/proc/sys) is mounted read-only, as in containers without privileges, the settings of the
            network with their values, by file below C(/proc/sys). Elsewhere empty.
          returned: success
          type: dict
          sample: {}
        iproute2:
          description: Whether C(ip) with JSON output is there. If not, there are no interfaces and no routes.
          returned: success
          type: bool
        modules:
          description:
            - For each asked module V(loaded), V(builtin), V(available) or V(missing).
            - One of which nothing can be known, and one that a container could load only with privileges that it does
              not have, is V(missing).
          returned: success
          type: dict
          sample: {ip_vs: available, ip_vs_wlc: available}
        advice:
          description: For each missing module what would bring it.
          returned: success
          type: dict
          sample: {}
        interfaces:
          description:
            - Every interface with C(name), C(mac), C(mtu) in bytes, C(up), C(kind) and C(addresses).
            - An address has C(address), C(prefix), C(family), C(scope) and C(deprecated).
          returned: success
          type: list
          elements: dict
          sample:
            - name: eth0
              mac: 52:54:00:12:34:56
              mtu: 1500
              up: true
              kind: ether
              addresses:
                - {address: 192.168.1.2, prefix: 24, family: ipv4, scope: global, deprecated: false}
        routes:
          description:
            - The unicast routes of the main table with C(family), C(destination), C(gateway), C(device), C(protocol),
              C(scope), C(metric), C(source), C(onlink) (the gateway need not be in a network of the host's) and C(tos).
              What a route does not have is null. Of several next hops the first is shown.
          returned: success
          type: list
          elements: dict
          sample:
            - family: ipv4
              destination: default
              gateway: 192.168.1.254
              device: eth0
              protocol: boot
              scope: global
              metric: 0
              source: null
              onlink: false
              tos: null
        firewall:
          description:
            - Whether M(linuxvirtualserver.lvs.firewall) can use C(nftables), and C(nft) or C(legacy) of C(iptables).
            - C(marks) are the fwmarks that rules of others set or match, with C(mark), C(mask) and C(where). Of a range
              both ends are listed. Not seen are marks that programs set on their own sockets, and those that a rule
              computes.
            - C(ours) is whether rules of that module are there.
          returned: success
          type: dict
          sample:
            nftables: true
            iptables: {nft: true, legacy: false}
            marks:
              - {mark: 1, mask: 4294967295, where: nft table ip foo chain bar}
              - {mark: 32, mask: 255, where: iptables mangle PREROUTING}
              - {mark: 2, mask: 4294967295, where: ip rule 100}
            ours: false
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._facts import gather
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_kernel import Kernel


def main() -> None:
    """Gather and return."""
    module = AnsibleModule(
        argument_spec={
            "schedulers": {"type": "list", "elements": "str", "default": []},
            "modules": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = [*module.params["modules"], *(f"ip_vs_{name}" for name in module.params["schedulers"])]
    kernel = Kernel()
    facts, missed = gather(kernel.ip, [name.replace("-", "_") for name in wanted], kernel.root)
    for sentence in missed:
        module.warn(sentence)
    module.exit_json(changed=False, ansible_facts={"lvs": facts})


if __name__ == "__main__":
    main()
