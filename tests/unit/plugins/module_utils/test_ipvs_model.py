# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services and realservers as text: ipvsadm's spelling and the shape that users write."""

from __future__ import annotations

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_model as model

V4 = bytes([192, 168, 1, 110])
V6 = bytes.fromhex("20010db8000000000000000000000110")
RS = bytes([192, 168, 1, 2])


# What ipvsadm 1.31 -S -n printed for these records on Linux 6.1.
@pytest.mark.parametrize(
    ("service", "rule"),
    [
        (model.Service(2, 6, V4, 80, 0), "-t 192.168.1.110:80 -s wlc"),
        (model.Service(2, 132, V4, 84, 0, "rr"), "--sctp-service 192.168.1.110:84 -s rr"),
        (model.Service(2, 6, V4, 82, 0, "mh", 0x10), "-t 192.168.1.110:82 -s mh -b mh-port"),
        (
            model.Service(2, 17, V4, 5060, 0, "rr", 0x5, 300, 0xFFFFFF00, "sip"),
            "-u 192.168.1.110:5060 -s rr -p 300 -M 255.255.255.0 --pe sip -o",
        ),
        (
            model.Service(10, 6, V6, 80, 0, "sh", 0x19, 300, 64),
            "-t [2001:db8::110]:80 -s sh -p 300 -M 64 -b sh-fallback,sh-port",
        ),
        (model.Service(10, 6, V6, 81, 0, "rr", 0x1, 300, 128), "-t [2001:db8::110]:81 -s rr -p 300"),
        (model.Service(2, 0, b"", 0, 1, "rr"), "-f 1 -s rr"),
        (model.Service(10, 0, b"", 0, 1, "rr", 0x1, 360, 128), "-f 1 -6 -s rr -p 360"),
        (model.Service(2, 6, V4, 80, 0, "rr", 0x38), "-t 192.168.1.110:80 -s rr -b flag-1,flag-2,flag-3"),
    ],
)
def test_a_service_as_ipvsadm_prints_it(service: model.Service, rule: str) -> None:
    assert model.service_rule(service) == rule


@pytest.mark.parametrize(
    ("destination", "rule"),
    [
        (model.Destination(2, RS, 80), "-g -w 1"),
        (model.Destination(2, RS, 8080, model.NAT, 0), "-m -w 0"),
        (model.Destination(2, RS, 80, model.LOCAL), "-g -w 1"),
        (model.Destination(2, RS, 80, model.DR, 70000, 10, 5), "-g -w 70000 -x 10 -y 5"),
        (model.Destination(2, RS, 80, model.TUN), "-i -w 1 --tun-type ipip"),
        (
            model.Destination(2, RS, 80, model.TUN, 1, 0, 0, 1, 6080, 0),
            "-i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
        ),
        (
            model.Destination(2, RS, 80, model.TUN, 1, 0, 0, 1, 6080, 2),
            "-i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
        ),
        (model.Destination(2, RS, 80, model.TUN, 1, 0, 0, 2, 0, 1), "-i -w 1 --tun-type gre --tun-csum"),
    ],
)
def test_a_realserver_as_ipvsadm_prints_it(destination: model.Destination, rule: str) -> None:
    expected = f"-t 192.168.1.110:80 -r 192.168.1.2:{destination.port} {rule}"
    assert model.destination_rule("-t 192.168.1.110:80", destination) == expected


def test_a_table_is_ordered_by_number_not_by_text() -> None:
    services = [
        model.Service(2, 0, b"", 0, 1),
        model.Service(10, 6, V6, 80, 0),
        model.Service(2, 17, V4, 53, 0),
        model.Service(2, 6, V4, 443, 0),
        model.Service(2, 6, V4, 80, 0),
        model.Service(2, 6, bytes([20, 0, 0, 1]), 80, 0),
    ]
    table = {service.key: model.Entry(service, {}) for service in services}
    assert [line.split(" -s")[0] for line in model.rules(table)] == [
        "-A -t 20.0.0.1:80",
        "-A -t 192.168.1.110:80",
        "-A -t 192.168.1.110:443",
        "-A -u 192.168.1.110:53",
        "-A -t [2001:db8::110]:80",
        "-A -f 1",
    ]


@pytest.mark.parametrize(
    ("family", "netmask", "value"),
    [(2, 0xFFFFFFFF, 32), (2, 0xFFFFFF00, 24), (2, 0, 0), (2, 0xFF00FF00, "255.0.255.0"), (10, 64, 64)],
)
def test_a_netmask_is_a_prefix_length_where_it_can_be(family: int, netmask: int, value: object) -> None:
    assert model.netmask_value(family, netmask) == value


def test_a_service_states_every_field() -> None:
    service = model.Service(2, 6, V4, 80, 0, "wlc", 0x1, 300, 0xFFFFFF00)
    destination = model.Destination(2, RS, 80, model.TUN, 1, 0, 0, 1, 6080, 1)
    assert model.entry_config(model.Entry(service, {destination.key: destination})) == {
        "protocol": "tcp",
        "address": "192.168.1.110",
        "port": 80,
        "scheduler": "wlc",
        "scheduler_flags": [],
        "persistence": {"timeout": 300, "netmask": 24, "engine": None},
        "one_packet": False,
        "realservers": [
            {
                "address": "192.168.1.2",
                "port": 80,
                "forwarding": "tun",
                "weight": 1,
                "upper_threshold": 0,
                "lower_threshold": 0,
                "tunnel": {"type": "gue", "port": 6080, "checksum": "csum"},
            }
        ],
    }


def test_local_counts_as_what_was_asked_for() -> None:
    asked = model.Destination(2, RS, 80, model.DR)
    assert model.same_destination(asked._replace(forwarding=model.LOCAL), asked)
    assert not model.same_destination(asked._replace(forwarding=model.LOCAL, weight=2), asked)
    assert not model.same_destination(asked._replace(forwarding=model.TUN), asked)
    assert not model.same_destination(asked, asked._replace(forwarding=model.LOCAL))


def test_a_service_in_words() -> None:
    assert model.describe_service((10, 17, V6, 53, 0)) == "UDP service [2001:db8::110]:53"
    assert model.describe_service((10, 0, b"", 0, 7)) == "firewall mark 7 (ipv6)"
