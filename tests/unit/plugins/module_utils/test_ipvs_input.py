# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users write: every spelling that is accepted, every mistake that is refused, all of them at once."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_model as model
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_diff import MERGED, REPLACED, target
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_input import (
    names_only,
    parse,
    parse_restrict,
)

V4 = bytes([192, 168, 1, 110])


def one(keep: bool = False, **service: Any) -> Any:
    """The only service of a config."""
    ((wanted,), _restrict) = parse([service], None, keep)
    return wanted


def mistakes(config: Any, restrict: Any = None, keep: bool = False) -> list[str]:
    """What is wrong with a config for a kernel that has nothing yet."""
    with pytest.raises(LvsError) as caught:
        wanted, _restrict = parse(config, restrict, keep)
        target(wanted, {}, MERGED if keep else REPLACED, lambda key: False)
    found: list[str] = caught.value.details["mistakes"]
    assert all(text in caught.value.message for text in found)
    return found


def test_what_is_not_stated_has_the_documented_default() -> None:
    wanted = one(address="192.168.1.110", port=80, realservers=[{"address": "10.0.0.1"}])
    assert wanted.plain == model.Service(2, 6, V4, 80, 0, "wlc", 0, 0, 0xFFFFFFFF, "")
    assert wanted.destinations[0].plain == model.Destination(2, bytes([10, 0, 0, 1]), 80, model.DR, 1, 0, 0, 0, 0, 0)
    assert wanted.stated == {}
    assert wanted.destinations[0].stated == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2001:DB8:0:0:0::0001", "2001:db8::1"),
        ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
        ("FD00::A", "fd00::a"),
        ("192.168.1.110", "192.168.1.110"),
    ],
)
def test_an_address_has_one_spelling(text: str, shown: str) -> None:
    assert model.address_text(*one(address=text, port=80).key[0:3:2]) == shown


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("010.0.0.1", "leading zeros"),
        ("10.0.0.01", "leading zeros"),
        ("10.9", "not an IP address"),
        ("www.example.org", "names are not resolved"),
        ("0x7f000001", "not an IP address"),
        ("١٠.0.0.1", "not an IP address"),
        ("10.0.0.1\n-C", "not an IP address"),
        ("10.0.0.1\0", "not an IP address"),
        ("-t", "not an IP address"),
        ("", "not an IP address"),
        (" 10.0.0.1", "not an IP address"),
        ("fe80::1%eth0", "has a zone"),
        ("::ffff:10.0.0.1", "IPv4-mapped"),
        ("10.0.0.1/24", "prefix length"),
        ("[fd00::1]", "not an IPv6 address"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.81", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("ff02::1", "multicast"),
        (17, "not an IP address"),
        (["10.0.0.1"], "not an IP address"),
    ],
)
def test_what_is_no_usable_address_is_refused(address: Any, why: str) -> None:
    (text,) = mistakes([{"address": address, "port": 80}])
    assert text.startswith("config[0]: ")
    assert why in text
    (text,) = mistakes([{"address": "10.0.0.9", "port": 80, "realservers": [{"address": address}]}])
    assert text.startswith("config[0].realservers[0]: ")
    assert why in text


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("port", 65536, "outside of 0 to 65535"),
        ("port", -1, "outside of 0 to 65535"),
        ("port", "http", "not a whole number"),
        ("port", True, "not a number"),
        ("port", 80.0, "not a whole number"),
        ("protocol", "icmp", "none of tcp, udp, sctp"),
        ("protocol", ["tcp"], "none of"),
        ("family", "ipv6", "not of family ipv6"),
        ("scheduler", "wlc; reboot", "no such name"),
        ("scheduler", "ROUND", "no such name"),
        ("scheduler", "abcdefghijklmnop", "no such name"),
        ("scheduler", "", "no such name"),
        ("scheduler_flags", ["flag-4"], "none of flag-1"),
        ("scheduler_flags", "flag-1", "is not a list"),
        ("one_packet", "maybe", "not a boolean"),
        ("one_packet", True, "UDP"),
        ("persistence", 300, "not a dictionary"),
        ("persistence", {"timeout": 2678401}, "outside of 0 to 2678400"),
        ("persistence", {"netmask": 33}, "outside of 0 to 32"),
        ("persistence", {"netmask": "255.255"}, "neither a prefix length nor a dotted mask"),
        ("persistence", {"engine": "../x"}, "no such name"),
        ("persistence", {"seconds": 300}, "unknown option seconds"),
        ("realservers", {"address": "10.0.0.1"}, "is not a list"),
        ("weight", 1, "unknown option weight"),
        ("fwmark", 1, "a firewall mark has no"),
    ],
)
def test_a_wrong_field_of_a_service_is_refused(name: str, value: Any, why: str) -> None:
    (text,) = mistakes([{"address": "192.168.1.110", "port": 80, name: value}])
    assert text.startswith("config[0]")
    assert why in text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"port": 8080}, "its port must be the service's, 80"),
        ({"port": 8080, "forwarding": "tun"}, "its port must be the service's, 80"),
        ({"forwarding": "masq"}, "none of nat, local, tun, dr"),
        ({"weight": -1}, "outside of 0 to 2147483647"),
        ({"weight": 2147483648}, "outside of 0 to 2147483647"),
        ({"weight": "many"}, "not a whole number"),
        ({"upper_threshold": 5, "lower_threshold": 6}, "above upper_threshold 5"),
        ({"lower_threshold": 6}, "above upper_threshold 0"),
        ({"address": "fd00::1"}, "needs forwarding tun"),
        ({"address": "fd00::1", "forwarding": "nat"}, "an IPv6 realserver of an IPv4 service needs forwarding tun"),
        ({"tunnel": {"type": "ipip"}}, "tunnel is for forwarding tun only"),
        ({"forwarding": "tun", "tunnel": {"type": "gue"}}, "a gue tunnel needs a port"),
        ({"forwarding": "tun", "tunnel": {"type": "gre", "port": 1}}, "for type gue only"),
        ({"forwarding": "tun", "tunnel": {"type": "ipip", "checksum": "csum"}}, "ipip tunnel has no checksum"),
        ({"forwarding": "tun", "tunnel": {"type": "vxlan"}}, "none of ipip, gue, gre"),
        ({"host": "rs1"}, "unknown option host"),
        ({"address": None}, "address missing"),
    ],
)
def test_a_wrong_field_of_a_realserver_is_refused(fields: dict[str, Any], why: str) -> None:
    entry = {"address": "10.0.0.1", **fields}
    (text,) = mistakes([{"address": "192.168.1.110", "port": 80, "realservers": [entry]}])
    assert text.startswith("config[0].realservers[0]: ")
    assert why in text


def test_every_mistake_is_named_in_one_message() -> None:
    found = mistakes(
        [
            {"address": "10.0.0.300", "port": 80},
            {"port": 80},
            {
                "address": "192.168.1.110",
                "port": 80,
                "realservers": [{"address": "x"}, {"address": "10.0.0.1", "port": 1}],
            },
            {"address": "192.168.1.110", "port": 80, "protocol": "tcp"},
            {"address": "2001:DB8::1", "port": 80},
            {"address": "2001:db8:0::1", "port": 80},
        ],
        restrict=[{}, {"address": "192.168.1.110"}],
    )
    assert [text.split(": ")[0] for text in found] == [
        "restrict[0]",
        "config[0]",
        "config[1]",
        "config[2].realservers[0]",
        "config[5]",
        "config[4]",
        "config[2].realservers[1]",
    ]


def test_a_name_with_a_mistake_beside_it_still_counts_as_taken_only_when_right() -> None:
    found = mistakes([{"address": "10.0.0.1", "port": 80}, {"address": "10.0.0.1", "port": "80", "protocol": "tcp"}])
    assert found == ["config[1]: TCP service 10.0.0.1:80 is the same as config[0]"]


def test_realservers_that_are_the_same_after_normalising_are_refused() -> None:
    found = mistakes(
        [
            {
                "address": "2001:db8::1",
                "port": 80,
                "realservers": [{"address": "fd00::1"}, {"address": "FD00:0::1", "port": 80}],
            }
        ]
    )
    assert found == ["config[0].realservers[1]: [fd00::1]:80 is the same as config[0].realservers[0]"]


def test_the_same_mark_may_be_one_service_of_each_family() -> None:
    wanted, _none = parse([{"fwmark": 1}, {"fwmark": "0x1", "family": "ipv6"}], None, False)
    assert [service.key for service in wanted] == [(2, 0, b"", 0, 1), (10, 0, b"", 0, 1)]
    assert mistakes([{"fwmark": 1}, {"fwmark": "0x1", "family": "ipv4"}])
    assert mistakes([{"fwmark": 0}]) == ["config[0]: fwmark 0 is outside of 1 to 4294967295"]


def test_a_realserver_of_a_mark_has_port_0_unless_another_is_stated() -> None:
    assert one(fwmark=1, realservers=[{"address": "10.0.0.1"}]).destinations[0].plain.port == 0
    assert one(fwmark=1, realservers=[{"address": "10.0.0.1", "port": 80, "forwarding": "nat"}])
    for forwarding in ("dr", "tun"):  # `ipvsadm -a -f 1 -r 10.0.0.1:80 -g` keeps the port as well
        entry = {"address": "10.0.0.1", "port": 80, "forwarding": forwarding}
        assert one(fwmark=1, realservers=[entry]).destinations[0].plain.port == 80


def test_a_pool_is_judged_for_marks_and_for_port_0_apart() -> None:
    pools = {"web": [{"address": "10.0.0.2", "port": 80}]}
    every_port = {"address": "10.0.0.1", "port": 0, "persistence": {}, "pool": "web"}
    with pytest.raises(LvsError, match="must be the service's, 0"):
        wanted, _restrict = parse([{"fwmark": 1, "pool": "web"}, every_port], None, keep=False, pools=pools)
        target(wanted, {}, REPLACED, lambda key: False)


def test_port_0_needs_persistence() -> None:
    assert mistakes([{"address": "10.0.0.1", "port": 0}]) == ["config[0]: port 0 (every port) needs persistence"]
    assert one(address="10.0.0.1", port=0, persistence={}).plain.timeout == 300


@pytest.mark.parametrize(
    ("netmask", "meant"),
    [
        (24, 0xFFFFFF00),
        ("24", 0xFFFFFF00),
        ("255.255.255.0", 0xFFFFFF00),
        (0, 0),
        ("255.0.255.0", 0xFF00FF00),
        (32, 2**32 - 1),
    ],
)
def test_an_ipv4_netmask_is_a_prefix_length_or_dotted(netmask: Any, meant: int) -> None:
    assert one(address="10.0.0.1", port=80, persistence={"netmask": netmask}).plain.netmask == meant


def test_an_ipv6_netmask_is_a_prefix_length() -> None:
    assert one(address="fd00::1", port=80, persistence={"netmask": "64"}).plain.netmask == 64
    assert mistakes([{"address": "fd00::1", "port": 80, "persistence": {"netmask": 0}}])


def test_numbers_may_come_as_strings() -> None:
    wanted = one(address="10.0.0.1", port="80", realservers=[{"address": "10.0.0.2", "weight": "0", "port": "80"}])
    assert wanted.destinations[0].plain.weight == 0


def test_scheduler_flags_by_the_names_of_their_scheduler() -> None:
    assert one(address="10.0.0.1", port=80, scheduler="sh", scheduler_flags=["sh-port", "flag-1"]).plain.flags == 0x18
    assert mistakes([{"address": "10.0.0.1", "port": 80, "scheduler": "rr", "scheduler_flags": ["sh-port"]}])


def test_a_record_is_not_judged_by_defaults_while_the_kernel_may_know_better() -> None:
    """Under merged the realserver on port 8080 may be nat already."""
    assert one(keep=True, address="10.0.0.1", port=80, realservers=[{"address": "10.0.0.2", "port": 8080}])
    assert mistakes(
        [{"address": "10.0.0.1", "port": 80, "realservers": [{"address": "10.0.0.2", "port": 1, "forwarding": "dr"}]}],
        keep=True,
    )


def test_a_tunnel_of_which_a_part_is_stated_says_nothing_of_the_rest() -> None:
    def stated(**tunnel: Any) -> Any:
        realservers = [{"address": "10.0.0.2", "tunnel": tunnel}]
        return one(keep=True, address="10.0.0.1", port=80, realservers=realservers).destinations[0].stated

    assert stated(port=6081) == {"tunnel_port": 6081}
    assert stated(checksum="remcsum") == {"tunnel_flags": 2}
    assert stated(type="gue") == {"tunnel_type": 1}
    assert stated(type="gre") == {"tunnel_type": 2, "tunnel_port": 0}
    assert stated(type="ipip") == {"tunnel_type": 0, "tunnel_port": 0, "tunnel_flags": 0}


def test_only_names() -> None:
    config = [{"fwmark": 1, "pool": "web", "realservers": [{"address": "10.0.0.1", "port": 8080, "weight": -1}, 7]}, 8]
    assert names_only(config, realservers=False) == [{"fwmark": 1}, 8]
    assert names_only(config, realservers=True) == [
        {"fwmark": 1, "realservers": [{"address": "10.0.0.1", "port": 8080}, 7]},
        8,
    ]
    assert names_only("web", realservers=True) == "web"


@pytest.mark.parametrize("config", [{"address": "10.0.0.1"}, "10.0.0.1", [1], [None]])
def test_a_config_of_another_shape_is_refused(config: Any) -> None:
    assert mistakes(config)


KEYS = {
    "web": (2, 6, V4, 80, 0),
    "dns": (2, 17, V4, 53, 0),
    "other": (2, 6, bytes([10, 0, 0, 1]), 80, 0),
    "six": (10, 6, bytes.fromhex("20010db8000000000000000000000110"), 80, 0),
    "mark": (2, 0, b"", 0, 7),
    "mark6": (10, 0, b"", 0, 7),
}


@pytest.mark.parametrize(
    ("entry", "matched"),
    [
        ({"address": "192.168.1.110"}, {"web", "dns"}),
        ({"address": "192.168.1.0/24", "port": 80}, {"web"}),
        ({"address": "0.0.0.0/0"}, {"web", "dns", "other"}),
        ({"address": "::/0"}, {"six"}),
        ({"address": "2001:db8::/32"}, {"six"}),
        ({"port": 80}, {"web", "other", "six"}),
        ({"protocol": "udp"}, {"dns"}),
        ({"protocol": "tcp", "port": 53}, set()),
        ({"fwmark": 7}, {"mark", "mark6"}),
        ({"fwmark": "0x8"}, set()),
        ({"fwmark": "1-0xff", "family": "ipv6"}, {"mark6"}),
        ({"fwmark": "8-4294967295"}, set()),
        ({"port": "53-80", "family": "ipv4"}, {"web", "dns", "other"}),
    ],
)
def test_restrict_matches_by_all_that_it_states(entry: dict[str, Any], matched: set[str]) -> None:
    (restriction,) = parse_restrict([entry])
    assert {name for name, key in KEYS.items() if restriction.matches(key)} == matched


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "names nothing"),
        ({"port": None}, "names nothing"),
        ({"address": "192.168.1.110/24"}, "bits set behind its prefix length"),
        ({"address": "192.168.1.0/33"}, "outside of 0 to 32"),
        ({"address": "192.168.1.0/x"}, "not a whole number"),
        ({"fwmark": 1, "port": 80}, "fwmark stands alone"),
        ({"port": "90-80"}, "ends before it begins"),
        ({"port": "80-"}, "not a whole number"),
        ({"port": "-80"}, "not a whole number"),
        ({"fwmark": "1-2-3"}, "not a whole number"),
        ({"address": "10.0.0.1", "family": "ipv6"}, "is not of family ipv6"),
        ({"vip": "10.0.0.1"}, "unknown option vip"),
    ],
)
def test_a_wrong_restrict_is_refused(entry: dict[str, Any], why: str) -> None:
    with pytest.raises(LvsError, match=r"restrict\[0\]") as caught:
        parse_restrict([entry])
    assert why in caught.value.message


def test_naming_what_is_not_ours_is_a_mistake() -> None:
    found = mistakes([{"address": "10.0.0.1", "port": 80}], restrict=[{"address": "192.168.1.0/24"}])
    assert found == ["config[0]: TCP service 10.0.0.1:80 matches no entry of restrict, so it is not ours to change"]


# ---- pools


def test_a_pool_is_read_once_for_services_of_one_port() -> None:
    config = [{"address": f"10.1.0.{number}", "port": 80, "pool": "web"} for number in (1, 2)]
    first, second = parse(config, None, keep=False, pools={"web": [{"address": "10.0.0.1"}]})[0]
    assert first.plain_destinations is second.plain_destinations
    assert [key[2] for key in first.plain_destinations] == [80]


@pytest.mark.parametrize(
    ("pools", "entry", "why"),
    [
        ({}, {"pool": "web"}, "config[0]: pool 'web' is none of pools"),
        ({"app": []}, {"pool": "web"}, "config[0]: pool 'web' is none of pools: app"),
        ([], {"pool": "web"}, "pools: is not a dictionary of lists"),
        ({"web": "x"}, {"pool": "web"}, "pools.web: is not a list of realservers"),
        (
            {"web": [{"address": "x"}]},
            {"pool": "web"},
            "pools.web[0]: 'x' is not an IP address (names are not resolved)",
        ),
        (
            {"web": []},
            {"pool": "web", "realservers": []},
            "config[0]: has both realservers and a pool; name one of them",
        ),
        (
            {"web": [{"address": "10.0.0.1"}, {"address": "10.0.0.1", "port": 80}]},
            {"pool": "web"},
            "pools.web[1]: 10.0.0.1:80 is the same as pools.web[0]",
        ),
    ],
)
def test_what_is_wrong_with_a_pool_is_said_once(pools: Any, entry: dict[str, Any], why: str) -> None:
    config = [{"address": "10.1.0.1", "port": 80, **entry}, {"address": "10.1.0.2", "port": 80, "realservers": []}]
    with pytest.raises(LvsError) as caught:
        parse(config, None, keep=False, pools=pools)
    assert caught.value.details["mistakes"].count(why) == 1
