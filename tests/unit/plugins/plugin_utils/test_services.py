# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written in lvs_services: every way to get it wrong has one sentence; text from extra variables is read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.mistakes import Mistakes
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.services import Service, read_services
from tests.howto import VIP, VIP6, service


def read(raw: Any) -> tuple[list[Service], Mistakes]:
    mistakes = Mistakes()
    return read_services(raw, "cluster lvs", mistakes), mistakes


def read_one(**changes: Any) -> Service:
    services, mistakes = read([service(**changes)])
    assert not mistakes
    return services[0]


def mistake(**changes: Any) -> str:
    """The one mistake of a service."""
    _services, mistakes = read([service(**changes)])
    assert len(mistakes) == 1, mistakes
    return mistakes[0]


def line(**changes: Any) -> dict[str, Any]:
    return {"realservers": [{"host": "rs1", **changes}]}


# ------------------------------------------------------------------ what is right


def test_defaults() -> None:
    web = read_one()
    assert (web.protocols, web.scheduler, web.scheduler_flags) == (("tcp",), "wlc", ())
    assert (web.persistence, web.one_packet) == (None, False)
    first = web.entries[0]
    assert (first.kind, first.value, first.weight, first.port) == ("host", "rs1", 1, None)
    assert (first.forwarding, first.upper_threshold, first.lower_threshold) == ("dr", 0, 0)


def test_no_services_is_not_a_mistake_here() -> None:
    assert read(None) == ([], [])
    assert read([]) == ([], [])


def test_addresses_are_normalised() -> None:
    web = read_one(vips=["192.168.1.110/32", "2001:DB8:1:0::110"])
    assert [str(vip) for vip in web.vips] == [VIP, VIP6]


def test_one_value_may_stand_without_its_list() -> None:
    web = read_one(vips=VIP, ports=80, protocol="udp")
    assert (len(web.vips), web.ports, web.protocols) == (1, (80,), ("udp",))


def test_ports_by_name_and_as_text() -> None:
    assert read_one(ports=["http", "443"]).ports == (80, 443)


def test_text_of_digits_is_a_number() -> None:
    web = read_one(
        persistence={"timeout": "300", "netmask": "24"},
        one_packet="no",
        **line(weight="3", port="80", upper_threshold="10", lower_threshold="5"),
    )
    assert web.persistence == {"timeout": 300, "netmask": 24}
    entry = web.entries[0]
    assert (entry.weight, entry.port, entry.upper_threshold, entry.lower_threshold) == (3, 80, 10, 5)


def test_weight_zero_and_keep_are_values() -> None:
    web = read_one(realservers=[{"host": "rs1", "weight": 0}, {"host": "rs2", "weight": "keep"}])
    assert [entry.weight for entry in web.entries] == [0, "keep"]


def test_a_realserver_takes_what_the_service_says_and_can_differ() -> None:
    web = read_one(forwarding="tun", weight=5, realservers=[{"host": "rs1"}, {"host": "rs2", "forwarding": "nat"}])
    assert [(entry.forwarding, entry.weight) for entry in web.entries] == [("tun", 5), ("nat", 5)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, None),
        (False, None),
        (True, {"timeout": 360}),
        (600, {"timeout": 600}),
        ("600", {"timeout": 600}),
        ({"netmask": "255.255.255.0"}, {"timeout": 360, "netmask": 24}),
        ({"timeout": 1, "engine": "sip"}, {"timeout": 1, "engine": "sip"}),
        ({"engine": "none"}, {"timeout": 360}),
    ],
)
def test_persistence(written: Any, meant: Any) -> None:
    assert read_one(persistence=written).persistence == meant


def test_each_family_has_its_netmask() -> None:
    masks = {"netmask": 24, "netmask6": "64"}
    assert read_one(vips=[VIP, VIP6], persistence=masks).persistence == {"timeout": 360, "netmask": 24, "netmask6": 64}


def test_every_port_with_persistence() -> None:
    assert read_one(ports=[0], persistence=True).ports == (0,)


def test_a_scheduler_of_a_newer_kernel_is_the_kernels_to_judge() -> None:
    assert read_one(scheduler="brand_new").scheduler == "brand_new"


def test_flags_of_a_scheduler() -> None:
    assert read_one(scheduler="mh", scheduler_flags=["mh-port", "flag-1"]).scheduler_flags == ("mh-port", "flag-1")


# ------------------------------------------------------------------ what is wrong: object, reason, cure in one sentence

SERVICE_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"vips": None}, "service web: needs vips, a list of addresses"),
    (
        {"vips": ["www.example.com"]},
        r"service web: VIP: 'www.example.com' is not an IPv4 .* names are not resolved, write the address",
    ),
    ({"vips": ["192.168.1.300"]}, r"service web: VIP: '192.168.1.300' is not an IPv4"),
    ({"vips": [3232235886]}, r"service web: VIP: 3232235886 is not an IPv4"),
    ({"vips": ["fe80::1%eth0"]}, r"service web: VIP: 'fe80::1%eth0' is not an IPv4"),
    ({"vips": ["192.168.1.110/24"]}, r"VIP: 192.168.1.110/24 has a prefix shorter .* write 192.168.1.110 .*HOWTO 4.7"),
    ({"vips": ["2001:db8:1::110/64"]}, r"VIP: 2001:db8:1::110/64 has a prefix shorter .* write 2001:db8:1::110 "),
    ({"vips": ["192.168.110"]}, r"VIP: '192.168.110' is not an IPv4 or IPv6 address"),
    ({"vips": ["192.168/32"]}, r"VIP: '192.168/32' is not an IPv4 or IPv6 address"),
    ({"vips": ["192.168.01.110"]}, r"VIP: 192.168.01.110 has a leading zero, .* write it without"),
    ({"vips": ["127.0.0.1"]}, r"VIP: 127.0.0.1 is not a unicast address .* LocalNode, name the director as host"),
    ({"vips": ["224.0.0.18"]}, r"VIP: 224.0.0.18 is not a unicast address .* choose one of your network"),
    ({"vips": ["255.255.255.255"]}, r"VIP: 255.255.255.255 is not a unicast address"),
    ({"vips": ["0.0.0.0"]}, r"VIP: 0.0.0.0 is not a unicast address"),
    ({"vips": ["::"]}, r"VIP: :: is not a unicast address"),
    ({"vips": ["fe80::1"]}, r"VIP: fe80::1 is not a unicast address"),
    ({"vips": ["ff02::1"]}, r"VIP: ff02::1 is not a unicast address"),
    ({"vips": ["::ffff:192.168.1.110"]}, r"is an IPv4-mapped IPv6 address; write 192.168.1.110"),
    ({"vips": [VIP6, "2001:0db8:1::0110"]}, r"service web: VIP 2001:db8:1::110 is listed twice; once is enough"),
    ({"protocol": "icmp"}, r"service web: protocol: 'icmp' is unknown; choose one of tcp, udp, sctp"),
    ({"protocol": []}, r"service web: protocol is empty; choose of tcp, udp, sctp"),
    ({"protocol": ["tcp", "tcp"]}, r"service web: protocol tcp is listed twice; once is enough"),
    ({"ports": None}, r"service web: needs ports, a list of port numbers"),
    ({"ports": []}, r"service web: needs ports, a list of port numbers"),
    ({"ports": [65536]}, r"service web: port: 65536 is not an integer from 0 to 65535"),
    ({"ports": [-1]}, r"service web: port: -1 is not an integer from 0 to 65535"),
    ({"ports": [True]}, r"service web: port: True is not an integer"),
    ({"ports": [80.0]}, r"service web: port: 80.0 is not an integer"),
    ({"ports": ["no such service"]}, r"port 'no such service' is no number and no service name .* write the number"),
    ({"ports": ["\0"]}, r"service web: port '\\x00' is no number and no service name"),
    ({"ports": ["\ud800"]}, r"service web: port '\\ud800' is no number and no service name"),
    ({"ports": ["²"]}, r"service web: port: '²' is not an integer"),
    ({"ports": [80, "http"]}, r"service web: port 80 is listed twice; once is enough"),
    ({"ports": [0]}, r"service web: port 0 \(every port\) needs persistence \(HOWTO 21\)"),
    ({"scheduler": "WRR"}, r"service web: scheduler 'WRR' cannot be a name; write .* lower-case"),
    ({"scheduler": ["wrr"]}, r"service web: scheduler \['wrr'\] cannot be a name"),
    ({"scheduler": "a" * 16}, r"service web: scheduler 'a+' cannot be a name; write 1 to 15"),
    (
        {"scheduler_flags": ["sh-port"]},
        r"service web: scheduler_flags of wlc: 'sh-port' is unknown; choose one of flag-1",
    ),
    ({"scheduler_flags": [{}]}, r"service web: scheduler_flags of wlc: {} is unknown"),
    ({"persistence": 0}, r"service web: persistence timeout: 0 is not an integer from 1 to 2678400"),
    ({"persistence": 2678401}, r"persistence timeout: 2678401 is not an integer from 1 to 2678400"),
    ({"persistence": "soon"}, r"persistence timeout: 'soon' is not an integer"),
    (
        {"persistence": {"mask": 24}},
        r"service web: persistence: unknown 'mask'; known are engine, netmask, netmask6, timeout",
    ),
    ({"persistence": {"netmask": 33}}, r"persistence netmask: 33 is not an integer from 1 to 32"),
    ({"persistence": {"netmask6": 129}}, r"persistence netmask6: 129 is not an integer from 1 to 128"),
    (
        {"persistence": {"netmask": "255.0.255.0"}},
        r"netmask: '255.0.255.0' is not a netmask; write the prefix length",
    ),
    ({"persistence": {"engine": "S/P"}}, r"service web: persistence engine 'S/P' cannot be a name"),
    ({"one_packet": "maybe"}, r"service web: one_packet: 'maybe' is not a boolean; write true or false"),
    ({"one_packet": True}, r"service web: one_packet works for udp only; write protocol: udp"),
    (
        {"forwarding": "direct", "realservers": [{"host": "rs1"}]},
        r"forwarding: 'direct' is unknown; choose one of dr, nat",
    ),
    ({"sheduler": "rr"}, r"lvs_services\[0\]: unknown 'sheduler'; known are .*scheduler"),
    ({"realservers": {"host": "rs1"}}, r"service web: realservers must be a list, got dict"),
    ({"realservers": ["rs1"]}, r"service web: realservers\[0\]: expected a mapping, got str 'rs1'"),
    ({"realservers": [{}]}, r"service web: realservers\[0\]: needs exactly one of host, group, address"),
    (line(address="10.0.0.1"), r"service web: realservers\[0\]: needs exactly one of host, group, address"),
    (line(wieght=3), r"service web: realservers\[0\]: unknown 'wieght'; known are .*weight"),
    (
        line(unmanaged=True),
        r"realserver rs1: only a realserver given by its address can be unmanaged; give its address",
    ),
    (line(unmanaged="perhaps"), r"realserver rs1: unmanaged: 'perhaps' is not a boolean"),
    ({"realservers": [{"address": "rs9.example.com"}]}, r"service web: realserver: 'rs9.example.com' is not an IPv4"),
    (line(weight=-1), r"service web: realserver rs1: weight: -1 is not an integer from 0 to 2147483647"),
    (line(weight=2**31), r"realserver rs1: weight: 2147483648 is not an integer from 0 to 2147483647"),
    (line(weight="heavy"), r"realserver rs1: weight: 'heavy' is not an integer"),
    (line(forwarding="masq"), r"realserver rs1: forwarding: 'masq' is unknown; choose one of dr, nat, tun"),
    (line(port=8080), r"realserver rs1: port 8080 differs .*dr cannot rewrite ports.*HOWTO 10.* use nat"),
    (line(port=8080, forwarding="tun"), r"realserver rs1: port 8080 differs .*tun cannot rewrite ports"),
    (line(port="x", forwarding="nat"), r"realserver rs1: port: 'x' is not an integer from 0 to 65535"),
    (line(port="x"), r"realserver rs1: port: 'x' is not an integer from 0 to 65535"),
    (line(upper_threshold=-1), r"realserver rs1: upper_threshold: -1 is not an integer"),
    (line(lower_threshold="x"), r"realserver rs1: lower_threshold: 'x' is not an integer"),
    (
        line(upper_threshold=5, lower_threshold=6),
        r"lower_threshold 6 is above upper_threshold 5; .* must not be the greater",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), SERVICE_MISTAKES, ids=[text for _changes, text in SERVICE_MISTAKES])
def test_mistake_of_a_service(changes: dict[str, Any], sentence: str) -> None:
    said = mistake(**changes)
    assert re.search(sentence, said)
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("web", r"cluster lvs: lvs_services must be a list of services, got str\."),
        ({"name": "web"}, r"cluster lvs: lvs_services must be a list of services, got dict\."),
        (["web"], r"cluster lvs: lvs_services\[0\]: expected a mapping, got str 'web'\."),
        ([{**service(), "name": None}], r"cluster lvs: lvs_services\[0\]: needs a name, a text of your choice\."),
        ([{**service(), "name": 5}], r"cluster lvs: lvs_services\[0\]: needs a name, a text of your choice\."),
        ([service(), service()], r"lvs_services\[1\]: the name 'web' is used twice; give each service its own\."),
    ],
)
def test_mistake_of_the_list(raw: Any, sentence: str) -> None:
    _services, mistakes = read(raw)
    assert len(mistakes) == 1
    assert re.search(sentence, mistakes[0])


def test_all_mistakes_are_collected() -> None:
    _services, mistakes = read(
        [service(vips=["nowhere"], ports=[99999], scheduler="?", **line(weight=-5, forwarding="x")), "second"]
    )
    assert len(mistakes) == 6
