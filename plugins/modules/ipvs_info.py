#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_info
short_description: Read virtual services, their realservers and their connections from the kernel's IPVS
version_added: "0.1.0"
author: linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Returns the table in the shape that module M(linuxvirtualserver.lvs.ipvs) takes, and beside it the connections of
    each realserver.
  - All else is returned only if O(gather) names it.
  - Loads nothing. Where ip_vs is not loaded the table is empty and RV(loaded) is false.
  - A part that cannot be read is left out, and RV(notes) says why. Only if the table itself cannot be read the module
    fails, unless O(gather) does not name it.
  - It reads the network namespace that it runs in.
requirements:
  - Linux. The parts V(states), V(entries), V(sysctls) and V(capabilities) need no rights, the others root
    (CAP_NET_ADMIN in the initial user namespace).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
  - linuxvirtualserver.lvs.attributes.info_module
  - linuxvirtualserver.lvs.ipvs_config.restrict
options:
  gather:
    description:
      - The parts to return. They replace the default, they do not add to it.
      - V(table) is RV(config), RV(rules) and RV(strangers); every other part is the result of the same name.
      - V(connections), V(stats) and V(rates) ask the kernel once more for the realservers of each service. V(states)
        and V(entries) read the kernel's list of all single connections, see O(max_connections).
    type: list
    elements: str
    choices: [table, connections, stats, rates, states, entries, timeouts, daemons, sysctls, capabilities]
    default: [table, connections]
  realserver:
    description:
      - Only single connections to this realserver, an address or a prefix such as V(10.0.0.0/8). For RV(states) and
        RV(entries).
    type: str
  client:
    description:
      - Only single connections of this client, an address or a prefix. For RV(states) and RV(entries).
    type: str
  max_connections:
    description:
      - How many lines of C(/proc/net/ip_vs_conn) to read at most. A director under load has millions; 100000 take
        about a second.
    type: int
    default: 100000
  max_entries:
    description:
      - How many single connections to return at most.
    type: int
    default: 100
notes:
  - RV(states) and RV(entries) are no snapshot. The kernel lists connections while they come and go, and one whose table
    of connections grows meanwhile may leave out some and repeat others. RV(connections) is exact.
seealso:
  - module: linuxvirtualserver.lvs.ipvs
  - module: linuxvirtualserver.lvs.lvs_facts
"""

EXAMPLES = r"""
- name: Read the services of one VIP
  linuxvirtualserver.lvs.ipvs_info:
    restrict:
      - address: 192.168.1.110
  register: table

- name: Bring another director to the same
  linuxvirtualserver.lvs.ipvs:
    state: replaced
    config: "{{ table.config }}"
  delegate_to: director2

- name: Count the connections to a realserver by TCP state
  linuxvirtualserver.lvs.ipvs_info:
    gather: [states]
    realserver: 192.168.1.2
  register: traffic

- name: Look at some connections of one client
  linuxvirtualserver.lvs.ipvs_info:
    gather: [entries]
    client: 203.0.113.7
    max_entries: 20

- name: Read what was counted and the rates
  linuxvirtualserver.lvs.ipvs_info:
    gather: [stats, rates]

- name: See what this kernel can do
  linuxvirtualserver.lvs.ipvs_info:
    gather: [capabilities]
  register: kernel

- name: Refuse a kernel without scheduler mh
  ansible.builtin.assert:
    that: "'mh' in kernel.capabilities.schedulers"
"""

RETURN = r"""
loaded:
  description: Whether ip_vs is loaded.
  returned: success
  type: bool
notes:
  description: What could not be read, and why.
  returned: success
  type: list
  elements: str
config:
  description:
    - The table as option O(linuxvirtualserver.lvs.ipvs#module:config) of module M(linuxvirtualserver.lvs.ipvs), every
      field stated, in the order of C(ipvsadm -S).
  returned: when O(gather) names V(table)
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      scheduler: wlc
      scheduler_flags: []
      persistence: {timeout: 300, netmask: 32, engine: null}
      one_packet: false
      realservers:
        - {address: 192.168.1.2, port: 80, forwarding: dr, weight: 1, upper_threshold: 0, lower_threshold: 0}
rules:
  description: The table as C(ipvsadm -S -n) prints it, with thresholds, one line each.
  returned: when O(gather) names V(table)
  type: list
  elements: str
  sample: ["-A -t 192.168.1.110:80 -s wlc -p 300", "-a -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w 1"]
strangers:
  description:
    - The services that somebody else made, and how that is known.
    - Those of kube-proxy and kube-router are known by the device that holds their VIPs, C(kube-ipvs0) or
      C(kube-dummy-if), and where it holds any, by a port from 30000 to 32767. Those of docker swarm are known by a
      firewall mark from 256, and only where the network namespace is one that Docker shows in C(/run/docker/netns).
    - Services of keepalived, ldirectord or a person cannot be told apart.
    - Beware that kube-proxy deletes every service that it does not know, unless its option C(--ipvs-exclude-cidrs)
      holds the VIP.
  returned: when O(gather) names V(table)
  type: list
  elements: dict
  sample:
    - {protocol: tcp, address: 10.96.0.1, port: 443, whose: "kube-proxy: the VIP is on device kube-ipvs0"}
connections:
  description:
    - The connections of each realserver at this moment, active, inactive and persistent, for each service.
    - Active are those of TCP and SCTP that are established. Persistent are the templates of persistence.
  returned: when O(gather) names V(connections)
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      realservers:
        - {address: 192.168.1.2, port: 80, active: 12, inactive: 3, persistent: 0}
stats:
  description:
    - What the kernel has counted since a service or realserver was added or its counters were set to zero, connections,
      and packets and bytes in and out.
    - Kernels before 4.1 count connections and packets with 32 bits, which wrap.
  returned: when O(gather) names V(stats)
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      connections: 15
      in_packets: 120
      out_packets: 0
      in_bytes: 7200
      out_bytes: 0
      realservers:
        - address: 192.168.1.2
          port: 80
          connections: 15
          in_packets: 120
          out_packets: 0
          in_bytes: 7200
          out_bytes: 0
rates:
  description:
    - The same per second, as the kernel estimates it over the last seconds, with the same keys as RV(stats).
    - All are zero where C(net.ipv4.vs.run_estimation) is off.
  returned: when O(gather) names V(rates)
  type: list
  elements: dict
  sample:
    - protocol: tcp
      address: 192.168.1.110
      port: 80
      connections: 1
      in_packets: 12
      out_packets: 0
      in_bytes: 720
      out_bytes: 0
      realservers:
        - address: 192.168.1.2
          port: 80
          connections: 1
          in_packets: 12
          out_packets: 0
          in_bytes: 720
          out_bytes: 0
states:
  description: How many single connections each realserver has in which state, of those that were read.
  returned: when O(gather) names V(states)
  type: dict
  contains:
    read:
      description: How many lines were read, of whatever service.
      type: int
      returned: success
      sample: 1500
    truncated:
      description: Whether there were more than O(max_connections).
      type: bool
      returned: success
    services:
      description:
        - What the clients addressed. A connection that reached a service by its firewall mark, or one for all ports,
          stands with the address and the port that its client used, and O(restrict) sees it so; only the templates of
          the former stand with their mark.
        - RV(states.services[].realservers[].states) is the number of connections by state, as C(ipvsadm -L -c) names
          it.
        - RV(states.services[].realservers[].templates) is the number of persistence templates, which are no
          connections. They have port 0 where they are for all ports.
      type: list
      elements: dict
      returned: success
      contains:
        realservers:
          description: The realservers.
          type: list
          elements: dict
          returned: success
          contains:
            states:
              description: Connections by state.
              type: dict
              returned: success
              sample: {ESTABLISHED: 12, FIN_WAIT: 3}
            templates:
              description: Persistence templates.
              type: int
              returned: success
              sample: 1
  sample:
    read: 1500
    truncated: false
    services:
      - protocol: tcp
        address: 192.168.1.110
        port: 80
        realservers:
          - {address: 192.168.1.2, port: 80, states: {ESTABLISHED: 12, FIN_WAIT: 3}, templates: 0}
entries:
  description: Single connections, the first that the kernel lists.
  returned: when O(gather) names V(entries)
  type: dict
  contains:
    read:
      description: How many lines were read, of whatever service.
      type: int
      returned: success
      sample: 1500
    matching:
      description: How many of them are meant by O(restrict), O(realserver) and O(client).
      type: int
      returned: success
      sample: 15
    truncated:
      description: Whether there were more than O(max_connections) or O(max_entries).
      type: bool
      returned: success
    connections:
      description:
        - Each with the service as the client addressed it, the client, the realserver, the state, the seconds until it
          expires (C(expires)), whether it is a persistence template (C(template)), and what its persistence engine
          knows it by (C(engine) and C(engine_data)).
      type: list
      elements: dict
      returned: success
      sample:
        - protocol: tcp
          address: 192.168.1.110
          port: 80
          client: 203.0.113.7
          client_port: 50412
          realserver: {address: 192.168.1.2, port: 80}
          state: ESTABLISHED
          expires: 899
          engine: null
          engine_data: null
          template: false
timeouts:
  description:
    - How many seconds the kernel remembers a silent connection, by option of module
      M(linuxvirtualserver.lvs.ipvs_timeouts). Null where ip_vs is not loaded.
  returned: when O(gather) names V(timeouts)
  type: dict
  sample: {tcp: 900, tcp_fin: 120, udp: 300}
daemons:
  description: The daemons that synchronise connections, by option of module M(linuxvirtualserver.lvs.ipvs_sync).
  returned: when O(gather) names V(daemons)
  type: list
  elements: dict
  sample:
    - {role: master, interface: eth1, syncid: 1, group: 224.0.0.81, port: 8848, ttl: 1, maxlen: 1460}
sysctls:
  description:
    - What is in C(/proc/sys/net/ipv4/vs), by name. Kernels differ in what they have, and many hide it within a user
      namespace.
  returned: when O(gather) names V(sysctls)
  type: dict
  sample: {conn_reuse_mode: 1, expire_nodest_conn: 0, sync_threshold: "3 50"}
capabilities:
  description: What this kernel's IPVS can do, and what the module may do with it.
  returned: when O(gather) names V(capabilities)
  type: dict
  contains:
    kernel:
      description: The release of the running kernel.
      type: str
      returned: success
      sample: 6.12.43-amd64
    version:
      description: The version of ip_vs. Null where it is not loaded.
      type: str
      returned: success
      sample: 1.2.1
    connection_buckets:
      description:
        - The size of the hash table of connections. Null where ip_vs is not loaded. Kernels that resize it have none
          before the first service.
      type: int
      returned: success
      sample: 4096
    schedulers:
      description: The schedulers that there are, each V(loaded), V(builtin) or V(available) as a module.
      type: dict
      returned: success
      sample: {rr: available, wlc: loaded}
    engines:
      description: The persistence engines that there are, alike.
      type: dict
      returned: success
      sample: {sip: available}
    bound_schedulers:
      description: The schedulers that services use now.
      type: list
      elements: str
      returned: success
      sample: [wlc]
    bound_engines:
      description: The persistence engines that services use now.
      type: list
      elements: str
      returned: success
      sample: []
    tunnels:
      description:
        - The kinds of tunnel. V(gue) came with Linux 5.2 and V(gre) with 5.3. This is told by the kernel's release, and
          by what it says of a realserver where there is one; so a distribution's kernel of a lower number may be able
          to do more.
      type: list
      elements: str
      returned: success
      sample: [ipip, gue, gre]
    tunnel_checksum:
      description: Whether tunnels can have a checksum, told in the same way. Linux 5.3 and later.
      type: bool
      returned: success
    destination_family:
      description:
        - Whether a realserver can be of another address family than its service, told in the same way. Linux 3.18 and
          later.
      type: bool
      returned: success
    stats64:
      description: Whether all counters have 64 bits, told in the same way. Linux 4.1 and later.
      type: bool
      returned: success
    may_read:
      description:
        - Whether the module may read the table. It tried, unless ip_vs is not loaded; then this is
          RV(capabilities.net_admin).
      type: bool
      returned: success
    may_write:
      description: Whether it may write the table. The kernel asks for the same right.
      type: bool
      returned: success
    net_admin:
      description: Whether it has CAP_NET_ADMIN in the initial user namespace.
      type: bool
      returned: success
    user_namespace:
      description: Whether user ids are translated, as in an unprivileged container.
      type: bool
      returned: success
    network_namespace:
      description: The network namespace, its C(id) (inode number) and the C(name) that C(ip netns) has for it, or null.
      type: dict
      returned: success
      sample: {id: 4026531840, name: null}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_argspec import RESTRICT
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_info import PARTS, gather


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "gather": {
                "type": "list",
                "elements": "str",
                "choices": list(PARTS),
                "default": ["table", "connections"],
            },
            "restrict": RESTRICT,
            "realserver": {"type": "str"},
            "client": {"type": "str"},
            "max_connections": {"type": "int", "default": 100000},
            "max_entries": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    try:
        result = gather(parts=options.pop("gather"), **options)
    except LvsError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
