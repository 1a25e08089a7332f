# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that describe services of an IPVS table, shared by the modules that take or name them."""

from __future__ import annotations


class ModuleDocFragment:
    """``linuxvirtualserver.lvs.ipvs_config`` is ``config``; ``...ipvs_config.restrict`` is ``restrict``.

    The argument specs that belong to them stand in ``module_utils/_ipvs_argspec.py``.
    """

    DOCUMENTATION = r"""
options:
  config:
    description:
      - The virtual services, each with its realservers.
      - A service is named by O(config[].protocol), O(config[].address) and O(config[].port), or by O(config[].fwmark)
        and O(config[].family); a realserver by its address and port. Two entries with the same name are an error.
      - What is not stated keeps the kernel's value with O(state=merged), and takes the default described below
        otherwise
        and for everything that is new.
      - All mistakes are reported at once, before anything is changed.
    type: list
    elements: dict
    suboptions:
      protocol:
        description: Protocol of the service. The default is V(tcp).
        type: str
        choices: [tcp, udp, sctp]
      address:
        description:
          - VIP, an IPv4 or IPv6 address. Names are not resolved; leading zeros, zones, prefix lengths and IPv4-mapped
            IPv6 addresses are refused.
        type: str
      port:
        description:
          - Port of the service, V(0) to V(65535).
          - V(0) stands for every port and needs O(config[].persistence).
        type: int
      fwmark:
        description:
          - Firewall mark of the service, V(1) to V(4294967295), decimal or hexadecimal with C(0x).
          - Takes the place of O(config[].protocol), O(config[].address) and O(config[].port).
        type: str
      family:
        description:
          - Address family of a service that is named by O(config[].fwmark); the same mark can be one service of each.
          - The default is V(ipv4).
        type: str
        choices: [ipv4, ipv6]
      scheduler:
        description:
          - Name of the scheduler, 1 to 15 of the characters C(a-z0-9_), such as V(rr), V(wrr), V(lc), V(wlc), V(sh) or
            V(mh).
          - The default is V(wlc). It must be one that the running kernel has; its module is loaded if needed.
        type: str
      scheduler_flags:
        description:
          - Flags of the scheduler, V(flag-1), V(flag-2), V(flag-3), or by their names, V(sh-fallback), V(sh-port),
            V(mh-fallback), V(mh-port).
          - The default is none.
        type: list
        elements: str
      persistence:
        description:
          - Send a client to the same realserver again. The default is no persistence.
          - To switch it off with O(state=merged) set O(config[].persistence.timeout) to V(0).
        type: dict
        suboptions:
          timeout:
            description:
              - How long a client stays with its realserver, in seconds, V(1) to V(2678400) (31 days). The default is
                V(300).
              - V(0) means no persistence.
            type: int
          netmask:
            description:
              - What counts as the same client, as a prefix length, V(0) to V(32) for IPv4 and V(1) to V(128) for IPv6.
                For
                IPv4 a dotted mask is accepted as well.
              - The default is the single address, V(32) or V(128).
            type: str
          engine:
            description:
              - Persistence engine, such as V(sip). V(none) means none, which is the default.
            type: str
      one_packet:
        description:
          - Schedule every packet by itself (one-packet scheduling). Only for UDP and firewall marks. The default is
            V(false).
        type: bool
      realservers:
        description:
          - The realservers of the service. With O(state=merged) those not named stay. The default is none.
        type: list
        elements: dict
        suboptions:
          address:
            description: RIP, an IPv4 or IPv6 address.
            type: str
            required: true
          port:
            description:
              - Port of the realserver, V(0) to V(65535). The default is the service's port, V(0) for a firewall mark.
              - Only V(nat) translates ports. With V(dr) and V(tun) a port that is not the service's is refused.
              - A firewall mark has none; there any port is taken, and changes nothing.
            type: int
          forwarding:
            description:
              - How packets reach the realserver, V(nat) (masquerading), V(dr) (direct routing) or V(tun) (tunneling).
              - V(local) is what some kernels report for the director itself (LocalNode).
              - The default is V(dr). Only V(tun) reaches a realserver of the other address family.
            type: str
            choices: [nat, dr, tun, local]
          weight:
            description:
              - Share of the connections, V(0) to V(2147483647). The default is V(1).
              - With V(0) the realserver gets no new connections and keeps those it has.
              - V(keep) keeps the kernel's value; a new realserver gets V(1).
            type: str
          upper_threshold:
            description:
              - Number of connections at which the realserver gets no new ones, V(0) to V(2147483647). V(0), the
                default,
                means no limit.
            type: int
          lower_threshold:
            description:
              - Number of connections below which it gets new ones again, at most
                O(config[].realservers[].upper_threshold).
              - V(0), the default, means three quarters of the upper threshold.
            type: int
          tunnel:
            description: The tunnel of a realserver with O(config[].realservers[].forwarding=tun).
            type: dict
            suboptions:
              type:
                description: Kind of the tunnel. V(gue) needs Linux 5.2, V(gre) 5.3. The default is V(ipip).
                type: str
                choices: [ipip, gue, gre]
              port:
                description: UDP port of a V(gue) tunnel, V(1) to V(65535). Required for it.
                type: int
              checksum:
                description: Checksum of a V(gue) or V(gre) tunnel. The default is V(none).
                type: str
                choices: [none, csum, remcsum, both]
      pool:
        description: Name of one of O(pools), in place of O(config[].realservers).
        type: str
"""

    RESTRICT = r"""
options:
  restrict:
    description:
      - Which services are meant. A service counts if it matches any entry, and an entry if all that it states is so.
      - A service by firewall mark is matched by O(restrict[].fwmark) only.
      - Without it every service is meant, with an empty list none.
    type: list
    elements: dict
    suboptions:
      address:
        description: VIP, or a prefix that holds it, such as V(192.168.1.0/24).
        type: str
      port:
        description: Port of the service, or two with a hyphen between them for a range, such as V(8000-8099).
        type: str
      protocol:
        description: Protocol of the service.
        type: str
        choices: [tcp, udp, sctp]
      fwmark:
        description:
          - Firewall mark of the service, decimal or hexadecimal with C(0x), or two with a hyphen between them for a
            range, such as V(0x100-0x1ff). Only O(restrict[].family) can stand beside it.
        type: str
      family:
        description: Address family of the service. The default is both.
        type: str
        choices: [ipv4, ipv6]
"""
