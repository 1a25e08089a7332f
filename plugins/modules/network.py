#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's kernel modules, sysctls, tunnel devices, VIPs, routes and rules in one ordered call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network
short_description: Kernel modules, sysctls, tunnel devices, VIPs, routes and rules of one host, in one ordered call
version_added: "0.1.0"
author:
  - linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Makes everything true that a director or a realserver needs of its network, in the order in which no packet meets a
    half-built host (LVS-HOWTO 6.2) - kernel modules, sysctls, devices, addresses, routes, rules. On the way out the
    addresses go first, then rules, routes, devices and sysctls.
  - Reads the host, compares, writes the difference and reads again. A second run writes nothing.
  - Checks the whole O(config), and whether this host has the modules, settings and devices that it names, before
    anything is touched, and says everything that is wrong in one message.
  - Remembers in C(/var/lib/lvs/ledger.json) what it set and what stood there before, before it changes it. What is not
    wanted any more gets back what stood there before. An address, route or rule that stood there before and is wanted
    is used as it is, and stays when it is not wanted any more. When the first run of this module finds the settings
    made by other means, these count as what stood there before.
  - If an operation fails, everything that this run had changed is undone; the message names what could not be.
  - Keeps everything for the next boot in C(/etc/modules-load.d/lvs.conf), C(/etc/sysctl.d/90-lvs.conf) and
    C(/etc/lvs/network.json); the last is what M(linuxvirtualserver.lvs.boot) puts in place at boot.
  - Needs iproute2 with JSON and numeric output (C(ip -j -N)), and root or the capability C(CAP_NET_ADMIN).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
attributes:
  check_mode:
    support: full
    details:
      - What comes with a kernel module that is not loaded yet (C(tunl0), C(net.ipv4.vs.*)) counts as not set.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  config:
    description:
      - What the host's network shall have. A section that is left out is empty.
      - Required unless O(state=absent).
    type: dict
    suboptions:
      modules:
        description:
          - Kernel modules, loaded now and at every boot.
          - A module that is not wanted any more is not loaded at the next boot, but stays loaded now, since it may
            have got other users.
        type: list
        elements: str
        default: []
      sysctls:
        description:
          - Settings below C(net), written in this order, only that forwarding is written first, since it moves other
            settings.
          - Setting C(net.ipv4.ip_forward) also changes C(net.ipv4.conf.all.accept_redirects) and C(forwarding) of
            every interface; all of that goes back with it.
          - Before C(net.ipv6.conf.all.forwarding) every interface with C(accept_ra=1) gets C(accept_ra=2), or the host
            would lose the routes that it learned from router advertisements.
        type: list
        elements: dict
        default: []
        suboptions:
          key:
            description: The setting, such as C(net.ipv4.conf.all.arp_ignore). A dot in an interface's name is written
              as a slash.
            type: str
            required: true
          value:
            description: The value as the kernel shows it.
            type: str
            required: true
      devices:
        description:
          - Devices that shall be up.
          - C(tunl0) and C(ip6tnl0) appear with the modules C(ipip) and C(ip6_tunnel), which O(config.modules) has to
            name.
          - A device of kind V(dummy) is made if it is missing.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The name of the device.
            type: str
            required: true
          kind:
            description: Its kind as C(ip -d link) shows it; left out, any.
            type: str
      addresses:
        description: Addresses, above all VIPs.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description:
              - An address with its prefix length. Without one it is 32 or 128.
              - On C(lo) no other length is accepted, since it would make the whole network local (LVS-HOWTO 6.2).
            type: str
            required: true
          device:
            description: The device that has it.
            type: str
            required: true
          nodad:
            description:
              - IPv6 only. Add it without duplicate address detection; a VIP is on several hosts by design.
              - It matters when the address is added and is not compared afterwards.
            type: bool
            default: false
          deprecated:
            description: IPv6 only. Never choose it as the source of an own connection (C(preferred_lft 0)).
            type: bool
            default: false
          announce:
            description:
              - Tell the neighbours, three times, when the address was added, by gratuitous ARP or an unsolicited
                neighbour advertisement, so that they forget who had it before. Also done at boot.
              - A failure to tell is a warning.
            type: bool
            default: false
      routes:
        description:
          - Routes. Family, table, destination and metric name a route; it is replaced in place if something else of it
            differs.
          - What is not stated is any value, unless an earlier call had stated it.
        type: list
        elements: dict
        default: []
        suboptions:
          destination:
            description: V(default), a network in CIDR form or an address.
            type: str
            required: true
          family:
            description: Needed where neither destination nor gateway tells it.
            type: str
            choices: [ipv4, ipv6]
          gateway:
            description: The next hop.
            type: str
          device:
            description: The device it leaves by; needed without a gateway.
            type: str
          table:
            description: Number of the routing table, 1 to 4294967295. 254 is the main table.
            type: int
            default: 254
          metric:
            description: Its metric; 0 is the kernel's default, which is 1024 for IPv6.
            type: int
            default: 0
          advmss:
            description: The segment size in bytes that TCP tells its peers over this route (LVS-HOWTO 8.16). 0 is the
              kernel's.
            type: int
          source:
            description: The address that own connections over this route come from.
            type: str
          type:
            description: What happens to a packet; V(local) takes in what is for another address, as a director without
              VIP does.
            type: str
            choices: [unicast, local, blackhole, unreachable, prohibit]
            default: unicast
      rules:
        description: Policy routing rules. Family, priority and what they match name a rule.
        type: list
        elements: dict
        default: []
        suboptions:
          family:
            description: Needed where neither O(config.rules[].from) nor O(config.rules[].to) tells it.
            type: str
            choices: [ipv4, ipv6]
          priority:
            description: 1 to 32765. Lower is asked first.
            type: int
            required: true
          from:
            description: The source, an address or a network.
            type: str
            default: all
          to:
            description: The destination, an address or a network.
            type: str
          fwmark:
            description: The firewall's mark, 1 to 4294967295.
            type: int
          iif:
            description: The interface the packet came in by.
            type: str
          table:
            description: Number of the table to look into.
            type: int
            required: true
          suppress_prefixlength:
            description: Ignore routes of the table that are as short as this or shorter; 0 ignores its default route.
            type: int
  state:
    description:
      - V(merged) adds and edits, and removes nothing; RV(leaving) lists what V(replaced) would remove. It is the first
        step of a change in which every host learns the new way before any forgets the old.
      - V(pruned) is the second step, it removes what this module set and O(config) no longer has, and adds nothing.
      - V(replaced) makes exactly O(config) true among what this module set on this host in earlier calls, and gives
        the rest back. What it never set is not touched.
      - V(absent) gives everything back.
    type: str
    choices: [merged, pruned, replaced, absent]
    default: merged
  drain_timeout:
    description:
      - Seconds to wait before addresses go, until no TCP connection that can still carry data uses them on this host.
        They go when the time is over, whatever is left.
      - On a realserver these are the LVS connections; a director forwards without connections of its own.
    type: int
    default: 0
  persist:
    description:
      - Whether to write the files for the next boot. V(false) leaves them as they are; O(state=absent) removes them in
        any case.
    type: bool
    default: true
notes:
  - It works in the network namespace that Ansible's connection leads into; the ledger and the files belong to the file
    system.
  - Programs that manage the same interfaces may remove addresses, routes and rules that they do not know; for
    systemd-networkd set C(ManageForeignRoutes=no) and C(ManageForeignRoutingPolicyRules=no).
  - Removing an IPv4 address with a prefix length below 32 takes other addresses of the same network with it unless
    C(promote_secondaries) is set; give VIPs the prefix length 32.
seealso:
  - module: linuxvirtualserver.lvs.boot
  - module: linuxvirtualserver.lvs.plan
  - module: linuxvirtualserver.lvs.vip_probe
"""

EXAMPLES = r"""
- name: A realserver for LVS-DR holds the VIP and keeps quiet about it
  linuxvirtualserver.lvs.network:
    state: replaced
    config:
      sysctls:
        - {key: net.ipv4.conf.all.arp_ignore, value: "1"}
        - {key: net.ipv4.conf.all.arp_announce, value: "2"}
      addresses:
        - {address: 192.168.1.110/32, device: lo}
        - {address: "2001:db8::110/128", device: lo, nodad: true, deprecated: true}

- name: A realserver for LVS-Tun
  linuxvirtualserver.lvs.network:
    state: replaced
    config:
      modules: [ipip]
      sysctls:
        - {key: net.ipv4.conf.all.arp_ignore, value: "1"}
        - {key: net.ipv4.conf.all.arp_announce, value: "2"}
        - {key: net.ipv4.conf.tunl0.rp_filter, value: "2"}
      devices:
        - {name: tunl0, kind: ipip}
      addresses:
        - {address: 192.168.1.110/32, device: tunl0}

- name: The replies of a realserver for LVS-NAT go back through the director
  linuxvirtualserver.lvs.network:
    config:
      routes:
        - {destination: default, gateway: 10.1.1.9, device: eth1, table: 1101}
      rules:
        - {from: 10.1.1.2/32, priority: 1601, table: 1101}

- name: Take the VIP away when its connections are done, one minute at most, and give the host back
  linuxvirtualserver.lvs.network:
    state: absent
    drain_timeout: 60
"""

RETURN = r"""
before:
  description: What there was of the things that O(config) names and of those that leave, in the shape of O(config).
  returned: success
  type: dict
  sample: {modules: [], sysctls: [{key: net.ipv4.conf.all.arp_ignore, value: "0"}], devices: [], addresses: [], routes:
    [],
           rules: []}
after:
  description: What there is of them now, or would be (check mode), in the shape of O(config).
  returned: success
  type: dict
  sample: {modules: [], sysctls: [{key: net.ipv4.conf.all.arp_ignore, value: "1"}], devices: [], addresses: [], routes:
    [],
           rules: []}
commands:
  description: What was done, as a person would type it, in this order.
  returned: success
  type: list
  elements: str
  sample:
    - sysctl -w net.ipv4.conf.all.arp_ignore=1
    - ip -4 addr add 192.168.1.110/32 dev lo
leaving:
  description:
    - What this module set earlier and O(config) does not have. With V(merged) it is still there; else it is gone.
    - Each entry has the keys of its section of O(config) (a module has C(name)) and C(section). An address that goes
      also has C(connections), the TCP connections that still used it.
  returned: success
  type: list
  elements: dict
  sample: [{section: addresses, address: 192.168.1.110/32, device: lo, nodad: false, deprecated: false, announce: false,
            connections: 0}]
notes:
  description: What else is worth knowing of this run, such as settings that moved with another.
  returned: success
  type: list
  elements: str
not_undone:
  description: What a failed run could not take back.
  returned: failure
  type: list
  elements: str
problems:
  description: Everything that this host cannot give.
  returned: failure before anything was touched
  type: list
  elements: str
mistakes:
  description: Every mistake of O(config).
  returned: failure before anything was touched
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _network_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError


def _entries(**options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def _text(**more: Any) -> dict[str, Any]:
    return {"type": "str", **more}


_FAMILY: dict[str, Any] = {"type": "str", "choices": ["ipv4", "ipv6"]}
_NUMBER: dict[str, Any] = {"type": "int"}
_FLAG: dict[str, Any] = {"type": "bool", "default": False}
_CONFIG = {
    "modules": {"type": "list", "elements": "str", "default": []},
    "sysctls": _entries(key=_text(required=True, no_log=False), value=_text(required=True)),
    "devices": _entries(name=_text(required=True), kind=_text()),
    "addresses": _entries(
        address=_text(required=True),
        device=_text(required=True),
        nodad=_FLAG,
        deprecated=_FLAG,
        announce=_FLAG,
    ),
    "routes": _entries(
        destination=_text(required=True),
        family=_FAMILY,
        gateway=_text(),
        device=_text(),
        table={"type": "int", "default": 254},
        metric={"type": "int", "default": 0},
        advmss=_NUMBER,
        source=_text(),
        type=_text(choices=["unicast", "local", "blackhole", "unreachable", "prohibit"], default="unicast"),
    ),
    "rules": _entries(
        **{
            "family": _FAMILY,
            "priority": {"type": "int", "required": True},
            "from": _text(default="all"),
            "to": _text(),
            "fwmark": _NUMBER,
            "iif": _text(),
            "table": {"type": "int", "required": True},
            "suppress_prefixlength": _NUMBER,
        }
    ),
}
ARGUMENTS = {
    "config": {"type": "dict", "options": _CONFIG},
    "state": {"type": "str", "choices": ["merged", "pruned", "replaced", "absent"], "default": "merged"},
    "drain_timeout": {"type": "int", "default": 0},
    "persist": {"type": "bool", "default": True},
}


def main() -> None:
    """Read, compare, write, verify."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", state, ["config"]) for state in ("merged", "pruned", "replaced")],
        supports_check_mode=True,
    )
    request = _network_run.Request(
        config=module.params["config"] or {},
        state=module.params["state"],
        drain_timeout=module.params["drain_timeout"],
        persist=module.params["persist"],
        check=module.check_mode,
    )
    try:
        outcome = _network_run.run(request)
    except LvsError as error:
        module.fail_json(msg=error.message, **error.details)
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(**outcome.result())


if __name__ == "__main__":
    main()
