#!/usr/bin/python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's packet filter around IPVS: marks, untracked traffic, masquerading, segment sizes, what may come in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Rules of the packet filter around IPVS, undone by themselves unless confirmed
version_added: "0.1.0"
author:
  - linuxvirtualserver.lvs contributors (@linuxvirtualserver)
description:
  - Marks packets for fwmark services (LVS-HOWTO 18), keeps LVS-DR and LVS-Tun out of connection tracking (22), gives
    what IPVS has translated the director's address (5.26), lowers the segment size of replies (8.15), and lets in what
    is planned and nothing else (22.7).
  - With nftables all rules are one table C(inet lvs), replaced in one transaction; with iptables they are chains named
    C(LVS-*) in C(raw), C(mangle), C(nat) and C(filter), replaced in one step for each family and table, with a jump in
    front of each built-in chain they need. Nothing else is touched.
  - V(present) starts a systemd timer that undoes the change, then applies it. V(confirmed), in a task after
    C(meta=reset_connection), stops the timer and keeps the rules for the next boot. Rules that cut the connection
    are so gone after O(undo_after) seconds.
  - What the last run applied, and how the kernel showed it, is remembered in C(/var/lib/lvs/firewall). While both are
    as they were, nothing is written; rules that were changed by hand are repaired.
  - If applying fails, the rules from before are still there, or put back, and the message names the refused line.
  - Kept for the next boot are C(/etc/lvs/firewall.nft), or C(/etc/lvs/firewall-ipv4.rules) and
    C(/etc/lvs/firewall-ipv6.rules), and C(lvs-firewall.service), which loads them before the network is up, after
    nftables, netfilter-persistent, firewalld and ufw, and again when one of these is restarted or reloaded.
  - A O(config) without any rule is the same as V(absent).
extends_documentation_fragment:
  - linuxvirtualserver.lvs.attributes
attributes:
  check_mode:
    support: full
    details:
      - On a host without the backend's programs V(auto) counts as V(nftables).
  diff_mode:
    support: full
    details:
      - Rules as they were given to the backend before and now. Of rules that were changed by hand, as the kernel shows
        them.
  idempotent:
    support: full
options:
  config:
    description:
      - The rules. A section that is left out is empty.
      - Required for O(state=present) and O(state=merged).
      - A network is in CIDR form; an address alone is one. Ports are numbers or ranges such as V(1024-65535).
    type: dict
    suboptions:
      marks:
        description: Packets that get a mark when they come in, in this order; the first match wins.
        type: list
        elements: dict
        default: []
        suboptions:
          mark:
            description: The fwmark, 1 to 4294967295. It replaces the packet's whole mark. 0 takes a mark away.
            type: int
            required: true
          family: &family
            description: The family of the addresses.
            type: str
            choices: [ipv4, ipv6]
            required: true
          protocol: &protocol
            description: Left out, any.
            type: str
            choices: [tcp, udp, sctp]
          destinations: &destinations
            description: VIPs or networks of them.
            type: list
            elements: str
            required: true
          ports: &ports
            description: Destination ports, 1 to 65535, which need a protocol. Empty, all.
            type: list
            elements: str
            default: []
          sources: &sources
            description: Clients. Empty, all.
            type: list
            elements: str
            default: []
          interface: &interface
            description: The interface the packet comes in by, without wildcards. Left out, any.
            type: str
      unmarked:
        description:
          - Packets of services that are chosen by address and port. With O(state=merged) no mark that only stays for
            the time being touches them; otherwise it says nothing.
        type: list
        elements: dict
        default: []
        suboptions:
          family: *family
          protocol: *protocol
          destinations: *destinations
          ports: *ports
      untracked:
        description: Packets to VIPs that connection tracking shall not see, since it would see one side of them only.
        type: list
        elements: dict
        default: []
        suboptions:
          family: *family
          protocol: *protocol
          destinations: *destinations
          ports: *ports
      masquerade:
        description:
          - VIPs whose packets to realservers, translated by IPVS with the method nat, leave with the director's own
            address, so that realservers with another gateway answer it. Needs C(net.ipv4.vs.conntrack=1).
          - With nftables, which has no match for IPVS, a realserver whose address lies in a network given as
            O(config.masquerade[].vip) gets no masquerading, nor does a service that schedules every packet for itself.
          - iptables needs the kernel module C(xt_ipvs).
        type: list
        elements: dict
        default: []
        suboptions:
          family: *family
          protocol: *protocol
          vip:
            description: The VIP, or a network of them.
            type: str
            required: true
          port:
            description: Its port, 1 to 65535, which needs a protocol; 0 is every one.
            type: int
            default: 0
      clamps:
        description: Sources whose forwarded SYN segments announce no larger segment size than this; it is only lowered.
        type: list
        elements: dict
        default: []
        suboptions:
          family: *family
          sources:
            description: VIPs, whose replies clients will answer through a tunnel.
            type: list
            elements: str
            required: true
          mss:
            description: The segment size in bytes, 536 to 65495.
            type: int
            required: true
      filter:
        description:
          - What may come in, the rest is dropped and counted. Left out, there are no filter rules.
          - Always let in are the loopback interface, established connections and what is related to them, ICMP and
            ICMPv6 errors, echo, neighbour and router discovery, IGMP and MLD, and replies to DHCP clients.
          - A packet that is let in here may still be dropped by rules of others.
        type: dict
        suboptions:
          ssh_ports:
            description: TCP ports for Ansible and other guests.
            type: list
            elements: str
            default: []
          accept:
            description: Services, let in before any look at the state of a connection.
            type: list
            elements: dict
            default: []
            suboptions: &accepted
              family:
                description: Left out, that of the addresses; without addresses, both.
                type: str
                choices: [ipv4, ipv6]
              protocol:
                description: >-
                  Left out, every protocol. V(ipip) and V(ipv6) are tunnels, for what they carry (4 and 41), and have no
                  ports.
                type: str
                choices: [tcp, udp, sctp, ipip, ipv6]
              destinations:
                description: Where the packets go. Empty, anywhere.
                type: list
                elements: str
                default: []
              ports: *ports
              sources: *sources
              interface: *interface
          peers:
            description:
              - Other directors, from which VRRP, heartbeat (UDP 694) and the synchronisation of IPVS (UDP 8848) are
                let in.
              - With an IPv6 peer VRRP to C(ff02::12) is let in from every link-local address, as it has no other
                source. Synchronisation by IPv6 multicast also needs the peer's link-local address here.
            type: list
            elements: str
            default: []
          forward:
            description:
              - What this host may forward; what is established or related, and ICMP, always passes, the rest is
                dropped and counted. Left out, forwarding is left alone.
              - Where C(br_netfilter) is loaded, frames that a bridge of this host passes on count as forwarded.
            type: dict
            suboptions:
              realservers:
                description: Addresses whose packets may pass.
                type: list
                elements: str
                default: []
              accept:
                description: What else may pass.
                type: list
                elements: dict
                default: []
                suboptions: *accepted
  backend:
    description:
      - V(auto) is V(nftables) where C(nft) is installed and the kernel takes a table of family C(inet), else the
        variant of iptables that works.
      - V(iptables) is the variant that C(iptables) is on the host.
      - When the backend changes, the new rules are in before the old ones go.
    type: str
    choices: [auto, nftables, iptables, iptables-nft, iptables-legacy]
    default: auto
  state:
    description:
      - V(present) applies the rules under a timer that undoes them. If an earlier run ended before they were confirmed,
        they are left as they are and the timer starts anew.
      - V(merged) does the same, but what an earlier run applied and O(config) no longer has stays, after what is new; a
        filter stays only where there shall be one. RV(leaving) counts it. It is the first step of a change in which
        marks go when no service needs them any more.
      - V(confirmed) stops the timer and keeps the rules. It fails if they were undone, or are not those that were
        applied.
      - V(absent) removes every rule of ours, of all backends, the files, the unit and the timer, at once.
    type: str
    choices: [present, merged, confirmed, absent]
    default: present
  undo_after:
    description: Seconds until rules that are not confirmed are undone, 5 to 3600.
    type: int
    default: 60
notes:
  - Needs systemd, and C(nft) or C(iptables) of the backend, and root or the capability C(CAP_NET_ADMIN).
  - When a program that empties all tables is started for the first time after this one, such as nftables.service, the
    rules are gone until the next run or boot.
seealso:
  - module: linuxvirtualserver.lvs.network
  - module: linuxvirtualserver.lvs.lvs_facts
"""

EXAMPLES = r"""
- name: Ports 80 and 443 are one fwmark service, and nothing else comes in but ssh
  linuxvirtualserver.lvs.firewall:
    config:
      marks:
        - {mark: 1, family: ipv4, protocol: tcp, destinations: [192.168.1.110], ports: ["80", "443"]}
      filter:
        ssh_ports: ["22"]
        accept:
          - {family: ipv4, protocol: tcp, destinations: [192.168.1.110], ports: ["80", "443"]}
  register: applied

- name: Come in by a new connection
  ansible.builtin.meta: reset_connection

- name: Keep the rules
  linuxvirtualserver.lvs.firewall:
    state: confirmed
  when: applied is changed or not applied.confirmed

- name: Take all rules away
  linuxvirtualserver.lvs.firewall:
    state: absent
"""

RETURN = r"""
backend:
  description: The backend that was used; empty where there are no rules.
  returned: success
  type: str
  sample: nftables
confirmed:
  description: Whether there is nothing that a timer will undo. V(false) after rules were applied, until V(confirmed).
  returned: success
  type: bool
leaving:
  description: How many entries stand there that O(config) does not have, with O(state=merged).
  returned: success
  type: int
  sample: 0
before:
  description: The rules of ours that were there.
  returned: success
  type: str
after:
  description: The rules that are there now, or would be (check mode).
  returned: success
  type: str
commands:
  description: What was done, as a person would type it.
  returned: success
  type: list
  elements: str
  sample:
    - "systemd-run --unit=lvs-firewall-undo --on-active=60 /bin/sh undo.sh"
    - "/usr/sbin/nft -f -  # 12 rules"
mistakes:
  description: Every mistake of O(config).
  returned: failure before anything was touched
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _firewall_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError

_TEXTS: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
_NEEDED: dict[str, Any] = {"type": "list", "elements": "str", "required": True}
_TEXT: dict[str, Any] = {"type": "str"}
_NUMBER: dict[str, Any] = {"type": "int", "required": True}
_OPEN: dict[str, Any] = {"type": "str", "choices": ["ipv4", "ipv6"]}
_FAMILY = {**_OPEN, "required": True}
_PROTOCOL: dict[str, Any] = {"type": "str", "choices": ["tcp", "udp", "sctp"]}


def _entries(**options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


_UNTRACKED = {"family": _FAMILY, "protocol": _PROTOCOL, "destinations": _NEEDED, "ports": _TEXTS}
_ACCEPTED = _entries(
    family=_OPEN,
    protocol={"type": "str", "choices": ["tcp", "udp", "sctp", "ipip", "ipv6"]},
    destinations=_TEXTS,
    ports=_TEXTS,
    sources=_TEXTS,
    interface=_TEXT,
)
_FILTER = {
    "ssh_ports": _TEXTS,
    "accept": _ACCEPTED,
    "peers": _TEXTS,
    "forward": {"type": "dict", "options": {"realservers": _TEXTS, "accept": _ACCEPTED}},
}
_CONFIG = {
    "marks": _entries(mark=_NUMBER, sources=_TEXTS, interface=_TEXT, **_UNTRACKED),
    "unmarked": _entries(**_UNTRACKED),
    "untracked": _entries(**_UNTRACKED),
    "masquerade": _entries(
        family=_FAMILY, protocol=_PROTOCOL, vip={"type": "str", "required": True}, port={"type": "int", "default": 0}
    ),
    "clamps": _entries(family=_FAMILY, sources=_NEEDED, mss=_NUMBER),
    "filter": {"type": "dict", "options": _FILTER},
}
ARGUMENTS = {
    "config": {"type": "dict", "options": _CONFIG},
    "backend": {
        "type": "str",
        "choices": ["auto", "nftables", "iptables", "iptables-nft", "iptables-legacy"],
        "default": "auto",
    },
    "state": {"type": "str", "choices": ["present", "merged", "confirmed", "absent"], "default": "present"},
    "undo_after": {"type": "int", "default": 60},
}


def main() -> None:
    """Read, compare, apply under a timer; or confirm; or remove."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", state, ["config"]) for state in ("present", "merged")],
        supports_check_mode=True,
    )
    request = _firewall_run.Request(
        config=module.params["config"] or {},
        backend=module.params["backend"],
        state=module.params["state"],
        undo_after=module.params["undo_after"],
        check=module.check_mode,
    )
    try:
        outcome = _firewall_run.run(request)
    except LvsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**outcome.result())


if __name__ == "__main__":
    main()
