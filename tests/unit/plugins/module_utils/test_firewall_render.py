# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the packet filter: what is taken as input, and the texts they become."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _firewall_iptables, _firewall_nft
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_model import parse

VIP, VIP6 = "192.168.1.110/32", "2001:db8:1::110/128"
TCP: dict[str, Any] = {"family": "ipv4", "protocol": "tcp", "destinations": [VIP]}
CONFIG: dict[str, Any] = {
    "marks": [
        {**TCP, "mark": 1, "ports": ["80", "443"]},
        {**TCP, "mark": 2, "ports": ["443"], "destinations": [VIP, "192.168.1.111"]},
        {**TCP, "mark": 3, "ports": ["1024-65535"], "sources": ["10.0.0.0/8"], "interface": "eth1"},
        {"mark": 4, "family": "ipv6", "destinations": ["2001:db8:2::/64"]},
    ],
    "untracked": [{**TCP, "ports": ["80"]}, {"family": "ipv6", "protocol": "udp", "destinations": [VIP6]}],
    "masquerade": [
        {"family": "ipv4", "protocol": "tcp", "vip": "192.168.1.110", "port": 80},
        {"family": "ipv6", "vip": VIP6},
    ],
    "clamps": [{"family": "ipv4", "sources": [VIP], "mss": 1440}, {"family": "ipv6", "sources": [VIP6], "mss": 1400}],
    "filter": {
        "ssh_ports": [22],
        "accept": [
            {**TCP, "ports": ["80"]},
            {"protocol": "tcp", "ports": ["9100"], "sources": ["10.0.0.5"]},
            {"protocol": "udp", "interface": "eth1"},
        ],
        "peers": ["192.168.1.12", "2001:db8:1::12"],
        "forward": {"realservers": ["10.1.1.2", "10.1.1.3"]},
    },
}

NFT = """\
table inet lvs {
	chain untracked {
		type filter hook prerouting priority raw; policy accept;
		ip daddr . meta l4proto . th dport { 192.168.1.110 . tcp . 80 } notrack
		ip6 daddr 2001:db8:1::110 meta l4proto udp notrack
	}

	chain marks {
		type filter hook prerouting priority mangle; policy accept;
		meta mark set ip daddr . meta l4proto . th dport map { 192.168.1.110 . tcp . 80 : 1, 192.168.1.110 . tcp . 443 : 1, 192.168.1.111 . tcp . 443 : 2 } accept
		iifname "eth1" ip saddr 10.0.0.0/8 ip daddr 192.168.1.110 tcp dport 1024-65535 meta mark set 3 accept
		ip6 daddr 2001:db8:2::/64 meta mark set 4 accept
	}

	chain clamps {
		type filter hook forward priority mangle; policy accept;
		ip saddr 192.168.1.110 tcp flags & (syn | rst) == syn tcp option maxseg size set 1440
		ip6 saddr 2001:db8:1::110 tcp flags & (syn | rst) == syn tcp option maxseg size set 1400
	}

	chain translated {
		type nat hook postrouting priority srcnat; policy accept;
		meta nfproto ipv4 meta l4proto tcp ct original ip daddr 192.168.1.110 ct original proto-dst 80 ct reply ip saddr != 192.168.1.110 masquerade
		meta nfproto ipv6 ct original ip6 daddr 2001:db8:1::110 ct reply ip6 saddr != 2001:db8:1::110 masquerade
	}

	chain input {
		type filter hook input priority filter; policy accept;
		iifname "lo" accept
		ip daddr . meta l4proto . th dport { 192.168.1.110 . tcp . 80 } accept
		ip saddr 10.0.0.5 tcp dport 9100 accept
		iifname "eth1" meta l4proto udp accept
		ct state established,related accept
		icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request, echo-reply } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, echo-reply, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept
		meta nfproto ipv4 meta l4proto igmp accept
		meta nfproto ipv4 udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		tcp dport 22 accept
		ip saddr 192.168.1.12 meta l4proto 112 accept
		ip saddr 192.168.1.12 udp dport { 694, 8848 } accept
		ip6 saddr 2001:db8:1::12 meta l4proto 112 accept
		ip6 saddr 2001:db8:1::12 udp dport { 694, 8848 } accept
		ip6 saddr fe80::/10 ip6 daddr ff02::12 meta l4proto 112 accept
		counter drop
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr { 10.1.1.2, 10.1.1.3 } accept
		ct state established,related accept
		icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request, echo-reply } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, echo-reply, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept
		counter drop
	}
}
"""  # noqa: E501  # a golden text: a broken line would be another rule

ICMP = [f"-p icmp -m icmp --icmp-type {number} -j ACCEPT" for number in (3, 11, 12, 8, 0)]
ICMPV6 = [
    f"-p icmpv6 -m icmp6 --icmpv6-type {number} -j ACCEPT"
    for number in (1, 2, 3, 4, 128, 129, 133, 134, 135, 136, 130, 131, 132, 143)
]
STATE = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
IPTABLES = {
    ("ipv4", "raw"): """\
:LVS-PREROUTING
-A PREROUTING -j LVS-PREROUTING
-A LVS-PREROUTING -d 192.168.1.110/32 -p tcp -m tcp --dport 80 -j CT --notrack
""",
    ("ipv6", "raw"): """\
:LVS-PREROUTING
-A PREROUTING -j LVS-PREROUTING
-A LVS-PREROUTING -d 2001:db8:1::110/128 -p udp -j CT --notrack
""",
    ("ipv4", "mangle"): """\
:LVS-MARK-1
:LVS-MARK-2
:LVS-MARK-3
:LVS-PREROUTING
:LVS-FORWARD
-A PREROUTING -j LVS-PREROUTING
-A FORWARD -j LVS-FORWARD
-A LVS-MARK-1 -j MARK --set-mark 1
-A LVS-MARK-2 -j MARK --set-mark 2
-A LVS-MARK-3 -j MARK --set-mark 3
-A LVS-PREROUTING -d 192.168.1.110/32 -p tcp -m multiport --dports 80,443 -g LVS-MARK-1
-A LVS-PREROUTING -d 192.168.1.110/32 -p tcp -m tcp --dport 443 -g LVS-MARK-2
-A LVS-PREROUTING -d 192.168.1.111/32 -p tcp -m tcp --dport 443 -g LVS-MARK-2
-A LVS-PREROUTING -s 10.0.0.0/8 -d 192.168.1.110/32 -i eth1 -p tcp -m tcp --dport 1024:65535 -g LVS-MARK-3
-A LVS-FORWARD -s 192.168.1.110/32 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1440
""",
    ("ipv6", "mangle"): """\
:LVS-MARK-4
:LVS-PREROUTING
:LVS-FORWARD
-A PREROUTING -j LVS-PREROUTING
-A FORWARD -j LVS-FORWARD
-A LVS-MARK-4 -j MARK --set-mark 4
-A LVS-PREROUTING -d 2001:db8:2::/64 -g LVS-MARK-4
-A LVS-FORWARD -s 2001:db8:1::110/128 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400
""",
    ("ipv4", "nat"): """\
:LVS-POSTROUTING
-A POSTROUTING -j LVS-POSTROUTING
-A LVS-POSTROUTING -m ipvs --vproto tcp --vaddr 192.168.1.110/32 --vport 80 --vmethod masq -j MASQUERADE
""",
    ("ipv6", "nat"): """\
:LVS-POSTROUTING
-A POSTROUTING -j LVS-POSTROUTING
-A LVS-POSTROUTING -m ipvs --vaddr 2001:db8:1::110/128 --vmethod masq -j MASQUERADE
""",
}


def test_nft() -> None:
    assert _firewall_nft.render(parse(CONFIG)) == NFT
    assert _firewall_nft.rule_count(NFT) == 31


def test_iptables() -> None:
    found = _firewall_iptables.render(parse(CONFIG))
    for place, text in IPTABLES.items():
        assert found.pop(place) == text
    assert set(found) == {("ipv4", "filter"), ("ipv6", "filter")}


def test_tunnels_and_what_else_may_pass() -> None:
    through = {"protocol": "tcp", "ports": ["22"], "destinations": ["10.1.1.2"]}
    accept = [{"protocol": "ipip", "sources": ["192.168.1.12"]}, {"family": "ipv6", "protocol": "ipv6"}]
    rules = parse({"filter": {"ssh_ports": ["22"], "accept": accept, "forward": {"accept": [through]}}})
    nft = _firewall_nft.render(rules)
    assert "\t\tip saddr 192.168.1.12 meta l4proto 4 accept\n\t\tmeta nfproto ipv6 meta l4proto 41 accept\n" in nft
    forward = nft.partition("chain forward {\n")[2].splitlines()
    assert forward[1] == "\t\tip daddr . meta l4proto . th dport { 10.1.1.2 . tcp . 22 } accept"
    iptables = _firewall_iptables.render(rules)
    assert "-A LVS-INPUT -s 192.168.1.12/32 -p 4 -j ACCEPT\n" in iptables["ipv4", "filter"]
    assert "-A LVS-INPUT -p 41 -j ACCEPT\n" in iptables["ipv6", "filter"]
    first = "-d 10.1.1.2/32 -p tcp -m tcp --dport 22 -j ACCEPT"
    assert f"-A LVS-FORWARD {first}\n-A LVS-FORWARD {STATE}\n" in iptables["ipv4", "filter"]
    with pytest.raises(LvsError, match="ports with ipip, which has none"):
        parse({"filter": {"accept": [{"protocol": "ipip", "ports": ["1"]}]}})
    with pytest.raises(LvsError, match="protocol 'ipip' is not one of tcp, udp, sctp"):
        parse({"marks": [{"mark": 1, "family": "ipv4", "protocol": "ipip", "destinations": ["10.1.1.2"]}]})


@pytest.mark.parametrize(
    ("family", "services", "icmp", "peers", "forward"),
    [
        (
            "ipv4",
            [
                "-d 192.168.1.110/32 -p tcp -m tcp --dport 80 -j ACCEPT",
                "-s 10.0.0.5/32 -p tcp -m tcp --dport 9100 -j ACCEPT",
            ],
            [*ICMP, "-p igmp -j ACCEPT", "-p udp -m udp --sport 67 --dport 68 -j ACCEPT"],
            [
                "-s 192.168.1.12/32 -p 112 -j ACCEPT",
                "-s 192.168.1.12/32 -p udp -m multiport --dports 694,8848 -j ACCEPT",
            ],
            ["-s 10.1.1.2/32 -j ACCEPT", "-s 10.1.1.3/32 -j ACCEPT", STATE, *ICMP],
        ),
        (
            "ipv6",
            [],
            [*ICMPV6, "-s fe80::/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT"],
            [
                "-s 2001:db8:1::12/128 -p 112 -j ACCEPT",
                "-s 2001:db8:1::12/128 -p udp -m multiport --dports 694,8848 -j ACCEPT",
                "-s fe80::/10 -d ff02::12/128 -p 112 -j ACCEPT",
            ],
            [STATE, *ICMPV6],
        ),
    ],
)  # fmt: skip
def test_iptables_filter(
    family: str, services: list[str], icmp: list[str], peers: list[str], forward: list[str]
) -> None:
    text = _firewall_iptables.render(parse(CONFIG))[(family, "filter")]
    accepted = [*services, "-i eth1 -p udp -j ACCEPT", STATE, *icmp, "-p tcp -m tcp --dport 22 -j ACCEPT", *peers]
    lines = ["-i lo -j ACCEPT", *accepted, "-j DROP"]
    assert text.splitlines() == [
        ":LVS-INPUT",
        ":LVS-FORWARD",
        "-A INPUT -j LVS-INPUT",
        "-A FORWARD -j LVS-FORWARD",
        *(f"-A LVS-INPUT {line}" for line in lines),
        *(f"-A LVS-FORWARD {line}" for line in [*forward, "-j DROP"]),
    ]


def test_families_and_chains_without_rules_are_left_out() -> None:
    rules = parse({"clamps": CONFIG["clamps"][:1]})
    assert list(_firewall_iptables.render(rules)) == [("ipv4", "mangle")]
    assert _firewall_nft.render(rules).count("chain") == 1
    open_forward = parse({"filter": {"ssh_ports": ["22"], "forward": None}})
    assert "forward" not in _firewall_nft.render(open_forward)
    assert "FORWARD" not in "".join(_firewall_iptables.render(open_forward).values())


def test_a_rule_holds_as_many_ports_as_fit() -> None:
    ports = [str(port) for port in range(1, 60, 2)] + ["100-200"]
    text = _firewall_iptables.render(parse({"untracked": [{**TCP, "ports": ports}]}))[("ipv4", "raw")]
    groups = [line.split("--dports ")[1].split()[0].split(",") for line in text.splitlines() if "--dports" in line]
    assert len(groups) == 3
    assert all(sum(2 if ":" in port else 1 for port in group) <= 15 for group in groups)
    assert [port for group in groups for port in group] == [port.replace("-", ":") for port in ports]


@pytest.mark.parametrize("section", ["marks", "untracked", "masquerade", "clamps"])
def test_no_rules(section: str) -> None:
    assert parse({}).empty
    assert parse({section: [], "filter": None}).empty
    assert not parse({section: CONFIG[section]}).empty
    assert not parse({"filter": {}}).empty


def test_overlaps_become_one() -> None:
    one = parse({"untracked": [{**TCP, "destinations": ["10.0.0.0/8", "10.1.0.0/16"], "ports": ["80-90", 85, "91"]}]})
    assert (one.untracked[0].destinations, one.untracked[0].ports) == (("10.0.0.0/8",), ((80, 90), (91, 91)))


@pytest.mark.parametrize(
    ("config", "mistake"),
    [
        ({"mark": []}, "config: mark is not known here"),
        ({"marks": {"mark": 1}}, r"config: marks \{.*\} is not a list"),
        ({"marks": [7]}, r"config\.marks\[0\]: 7 is not a dictionary"),
        ({"marks": [{**TCP, "mark": -1}]}, r"config\.marks\[0\]: mark -1 is not a number from 0 to 4294967295"),
        ({"marks": [{**TCP, "mark": 1, "port": 80}]}, r"marks\[0\]: port is not known here; known are mark, family"),
        ({"marks": [{"mark": 1, "destinations": [VIP]}]}, "family None is not one of ipv4, ipv6"),
        ({"marks": [{**TCP, "mark": 1, "interface": "eth+"}]}, "interface 'eth\\+' is not the name"),
        ({"marks": [{**TCP, "mark": 1, "interface": 'a" drop'}]}, "is not the name of an interface"),
        ({"untracked": [{**TCP, "destinations": []}]}, "destinations is empty"),
        ({"untracked": [{**TCP, "destinations": ["192.168.1.1/24"]}]}, "has host bits set"),
        ({"untracked": [{**TCP, "destinations": [VIP6]}]}, "is not of family ipv4"),
        ({"untracked": [{**TCP, "destinations": [1]}]}, "destinations 1 is not an address"),
        ({"untracked": [{**TCP, "ports": ["0"]}]}, "ports '0' is not a port"),
        ({"untracked": [{**TCP, "ports": ["90-80"]}]}, "ports '90-80' is not a port"),
        ({"untracked": [{**TCP, "ports": ["80\n"]}]}, "is not a port"),
        ({"untracked": [{"family": "ipv4", "destinations": [VIP], "ports": ["80"]}]}, "ports need a protocol"),
        ({"untracked": [{**TCP, "protocol": "icmp"}]}, "protocol 'icmp' is not one of tcp, udp, sctp"),
        ({"masquerade": [{"family": "ipv4", "vip": "x"}]}, "vip 'x' is not an address"),
        ({"masquerade": [{"family": "ipv4", "vip": "10.0.0.1", "port": 80}]}, "a port needs a protocol"),
        ({"clamps": [{"family": "ipv4", "sources": [VIP], "mss": 100}]}, "mss 100 is not a number from 536 to 65495"),
        ({"clamps": [{"family": "ipv4", "sources": [], "mss": 1440}]}, "sources is empty"),
        ({"filter": []}, r"config\.filter: \[\] is not a dictionary"),
        ({"filter": {"accept": [{"sources": ["10.0.0.1", "::1"]}]}}, "addresses of both families"),
        ({"filter": {"forward": {"realserver": []}}}, r"config\.filter\.forward: realserver is not known"),
        ({"filter": {"peers": ["rs1"]}}, r"config\.filter: peers 'rs1' is not an address"),
    ],
)
def test_mistakes(config: dict[str, Any], mistake: str) -> None:
    with pytest.raises(LvsError, match=mistake) as caught:
        parse(config)
    assert len(caught.value.details["mistakes"]) == 1


def test_all_mistakes_in_one_message() -> None:
    with pytest.raises(LvsError) as caught:
        parse({"marks": [{"mark": -1}], "clamps": [{"mss": 1}], "x": 1})
    assert len(caught.value.details["mistakes"]) == 7
    assert caught.value.message == "\n".join(caught.value.details["mistakes"])


# ---- texts for iptables-restore


SAVED = """\
# Generated by iptables-save
*mangle
:PREROUTING ACCEPT [5:300]
:DOCKER - [0:0]
:LVS-PREROUTING - [0:0]
-A PREROUTING -j LVS-PREROUTING
-A PREROUTING -j DOCKER
-A DOCKER -p tcp -j RETURN
-A LVS-PREROUTING -d 10.0.0.1/32 -g LVS-MARK-1
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m comment --comment "not LVS-" -j ACCEPT
COMMIT
"""


def test_ours_among_all() -> None:
    assert _firewall_iptables.saved(SAVED) == {
        "mangle": ":LVS-PREROUTING\n-A PREROUTING -j LVS-PREROUTING\n-A LVS-PREROUTING -d 10.0.0.1/32 -g LVS-MARK-1\n"
    }


def test_from_one_text_to_another() -> None:
    have = ":LVS-A\n:LVS-B\n-A INPUT -j LVS-A\n-A INPUT -j LVS-A\n-A FORWARD -j LVS-B\n-A LVS-B -j DROP\n"
    want = ":LVS-A\n:LVS-C\n-A INPUT -j LVS-A\n-A OUTPUT -j LVS-C\n-A LVS-C -j ACCEPT\n"
    assert _firewall_iptables.restore("filter", have, want).splitlines() == [
        "*filter",
        ":LVS-A - [0:0]",
        ":LVS-C - [0:0]",
        "-A LVS-C -j ACCEPT",
        "-I OUTPUT 1 -j LVS-C",
        "-D INPUT -j LVS-A",
        "-D FORWARD -j LVS-B",
        "-F LVS-B",
        "-X LVS-B",
        "COMMIT",
    ]
    assert _firewall_iptables.restore("filter", want, "").splitlines() == [
        "*filter", "-D INPUT -j LVS-A", "-D OUTPUT -j LVS-C",
        "-F LVS-A", "-F LVS-C", "-X LVS-A", "-X LVS-C", "COMMIT",
    ]  # fmt: skip
