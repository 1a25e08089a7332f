# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a host from what iproute2 6.1 really prints, and what a refused batch is told as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _network_kernel
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_diff import Operation
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_kernel import (
    Kernel,
    Needs,
    Refused,
    Settings,
    proc_forms,
    run_program,
)
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_model import Route, parse

# Printed by `ip -j -d addr show`, `ip -j -N -4 route show table all` and the like in a namespace; shortened.
ADDRESSES = """[
{"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"addr_info":[
 {"family":"inet","local":"127.0.0.1","prefixlen":8,"valid_life_time":4294967295,"preferred_life_time":4294967295},
 {"family":"inet6","local":"2001:db8::110","prefixlen":128,"nodad":true,"deprecated":true,
  "valid_life_time":4294967295,"preferred_life_time":0}]},
{"ifname":"v0","flags":["BROADCAST"],"linkinfo":{"info_kind":"veth"},"addr_info":[
 {"family":"inet6","local":"2001:db8::7","prefixlen":64,"dadfailed":true,"tentative":true,
  "valid_life_time":4294967295,"preferred_life_time":4294967295}, {}]}]"""
ROUTES4 = """[
{"dst":"default","gateway":"10.9.0.2","dev":"v0","table":"1100","flags":[],"metrics":[{"advmss":1440}]},
{"type":"2","dst":"default","dev":"lo","table":"100","scope":"254","flags":[]},
{"dst":"10.20.0.0/16","gateway":"10.9.0.3","dev":"v0","protocol":"4","prefsrc":"10.9.0.1","metric":5,"flags":["onlink"],
 "metrics":[{"mtu":1400}]},
{"type":"6","dst":"10.66.0.0/16","flags":[]},
{"dst":"10.77.0.0/16","flags":[],"nexthops":[{"gateway":"10.9.0.4","dev":"v0","weight":2,"flags":[]},
 {"gateway":"10.9.0.5","dev":"v0","weight":1,"flags":[]}]},
{"dst":"10.88.0.0/16","via":{"family":"inet6","host":"fe80::1"},"dev":"v0","flags":[]},
{"type":"3","dst":"10.9.0.255","dev":"v0","table":"255","protocol":"2","scope":"253","prefsrc":"10.9.0.1","flags":[]},
{"dst":"10.99.0.0/16","tos":"0x10","dev":"v0","flags":[]}]"""
RULES = """[{"priority":0,"src":"all","table":"255"},
{"priority":997,"src":"all","dst":"10.3.0.0","dstlen":16,"fwmark":"0x10","fwmask":"0xf0","iif":"v0","table":"100"},
{"priority":998,"src":"all","fwmark":"0x1","table":"100"},
{"priority":999,"src":"all","table":"254","suppress_prefixlen":0},
{"priority":1000,"src":"10.1.0.0","srclen":16,"table":"1100"},
{"priority":32766,"src":"all","table":"254"}]"""


def kernel_with(root: Path, answers: dict[str, tuple[int, str, str]]) -> Kernel:
    def run(arguments: Sequence[str], _given: str = "") -> tuple[int, str, str]:
        return next(answer for sign, answer in answers.items() if sign in " ".join(arguments))

    return Kernel(str(root), run)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    answers = {"addr": (0, ADDRESSES, ""), "-4 route": (0, ROUTES4, ""), "-4 rule": (0, RULES, "")}
    return kernel_with(tmp_path, answers)


def test_devices_and_addresses(kernel: Kernel) -> None:
    found = kernel.read(Needs())
    assert (found.devices["v0"].kind, found.devices["v0"].up, found.devices["lo"].up) == ("veth", False, True)
    vip = found.addresses["address 2001:db8::110 lo"]
    assert (vip.prefix, vip.deprecated, vip.nodad) == (128, True, True)
    assert found.clashed == {"address 2001:db8::7 v0"}
    assert found.routes == {}


def test_routes_and_how_to_make_them_again(kernel: Kernel) -> None:
    found = kernel.read(Needs(routes={"ipv4"}))
    words = {ident.split()[4] + ident.split()[3]: " ".join(words) for ident, words in found.route_words.items()}
    assert words == {
        "default1100": "default via 10.9.0.2 dev v0 table 1100 advmss 1440",
        "default100": "local default dev lo table 100 scope 254",
        "10.20.0.0/16254": "10.20.0.0/16 via 10.9.0.3 dev v0 onlink proto 4 src 10.9.0.1 metric 5 mtu 1400",
        "10.66.0.0/16254": "blackhole 10.66.0.0/16",
        "10.77.0.0/16254": "10.77.0.0/16 nexthop via 10.9.0.4 dev v0 weight 2 nexthop via 10.9.0.5 dev v0 weight 1",
        "10.88.0.0/16254": "10.88.0.0/16 via inet6 fe80::1 dev v0",
    }
    assert found.routes["route ipv4 table 1100 default metric 0"] == Route(
        "default", "ipv4", 1100, 0, "10.9.0.2", "v0", 1440
    )
    assert found.routes["route ipv4 table 100 default metric 0"].type == "local"


def test_rules_that_say_more_are_somebody_elses(kernel: Kernel) -> None:
    found = kernel.read(Needs(rules={"ipv4"}))
    lines = {rule.line() for rules in found.rules.values() for rule in rules}
    assert "rule ipv4 priority 999 from all table 254 suppress_prefixlength 0" in lines
    assert "rule ipv4 priority 1000 from 10.1.0.0/16 table 1100" in lines
    assert "rule ipv4 priority 998 from all fwmark 1 table 100" in lines
    assert not any("997" in line for line in lines)


def test_only_what_is_needed_is_read() -> None:
    items = parse(
        {
            "modules": ["ip_vs"],
            "sysctls": [
                {"key": "net.ipv4.conf.tunl0.rp_filter", "value": 2},
                {"key": "net.ipv4.vs.conntrack", "value": 1},
            ],
            "devices": [{"name": "tunl0"}],
            "rules": [{"from": "::1", "priority": 1, "table": 1}],
        }
    )
    needs = Needs.of(items, {"x": {"moved": {"net.ipv4.conf.all.forwarding": "0"}}})
    assert needs.modules == {"ip_vs", "ipip"}
    assert "net.ipv4.conf.all.rp_filter" in needs.sysctls
    assert "net.ipv4.conf.all.forwarding" in needs.sysctls
    assert (needs.routes, needs.rules) == (set(), {"ipv6"})


def test_no_iproute2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_network_kernel, "_PROGRAMS", ("/nonexistent",))
    with pytest.raises(LvsError, match="ip is not on this host: install iproute2"):
        run_program(["ip", "-j", "addr"])


@pytest.mark.parametrize("said", ["1: lo: <LOOPBACK>", ""])
def test_an_ip_without_json(tmp_path: Path, said: str) -> None:
    kernel = kernel_with(tmp_path, {"addr": (0, said, "")})
    if said:
        with pytest.raises(LvsError, match="too old"):
            kernel.ip("addr", "show")
    else:
        assert kernel.ip("addr", "show") == []


def test_ip_fails(tmp_path: Path) -> None:
    kernel = kernel_with(tmp_path, {"addr": (2, "", "Cannot open netlink socket\n")})
    with pytest.raises(LvsError, match="ended with code 2: Cannot open netlink socket"):
        kernel.ip("addr", "show")


def operation(*words: str, family: str = "ipv4") -> Operation:
    return Operation("ip", words, "something", family)


@pytest.mark.parametrize(
    ("complaint", "done", "reason"),
    [
        ("Error: Nexthop has invalid gateway.\nCommand failed -:2\n", 1, "ip -4 c d: .*gateway.* reaches directly"),
        ("RTNETLINK answers: Operation not permitted\nCommand failed -:1\n", 0, "ip -4 a b: .*CAP_NET_ADMIN"),
        ("", 0, "ip -4 a b: code 1"),
    ],
)
def test_a_refused_batch(tmp_path: Path, complaint: str, done: int, reason: str) -> None:
    kernel = kernel_with(tmp_path, {"-4 -batch -": (1, "", complaint)})
    with pytest.raises(Refused, match=reason) as caught:
        kernel.apply([operation("a", "b"), operation("c", "d")])
    assert caught.value.done == done


def test_batches_are_one_per_family_in_order(tmp_path: Path) -> None:
    calls = []

    def run(arguments: Sequence[str], given: str = "") -> tuple[int, str, str]:
        calls.append((" ".join(arguments), given))
        return (1, "", "Command failed -:1") if "e" in given else (0, "", "")

    operations = [operation("a"), operation("b"), operation("c", family="ipv6"), operation("d"), operation("e")]
    with pytest.raises(Refused) as caught:
        Kernel(str(tmp_path), run).apply([*operations[:4], operation("e", family="")])
    assert calls == [
        ("ip -4 -batch -", "a\nb\n"),
        ("ip -6 -batch -", "c\n"),
        ("ip -4 -batch -", "d\n"),
        ("ip -batch -", "e\n"),
    ]
    assert caught.value.done == 4


def test_settings_are_files(tmp_path: Path) -> None:
    folder = tmp_path / "net/ipv4/conf/eth0.100"
    folder.mkdir(parents=True)
    (tmp_path / "net/ipv4/conf/all").mkdir()
    (folder / "rp_filter").write_text("0\n", encoding="utf-8")
    settings = Settings(str(tmp_path))
    assert settings.interfaces() == ("eth0.100",)
    settings.write("net.ipv4.conf.eth0/100.rp_filter", "2")
    assert settings.read("net.ipv4.conf.eth0/100.rp_filter") == "2"
    assert settings.read("net.ipv4.conf.eth1.rp_filter") is None


def test_addresses_as_proc_prints_them() -> None:
    """On a little-endian machine."""
    assert proc_forms("192.168.1.110") == ["6E01A8C0", "0000000000000000FFFF00006E01A8C0"]
    assert proc_forms("2001:db8::110") == ["B80D0120000000000000000010010000"]


def test_connections_that_can_still_carry_data(tmp_path: Path) -> None:
    folder = tmp_path / "proc/net"
    folder.mkdir(parents=True)
    states = ["01", "02", "04", "06", "08", "0A"]
    lines = [f"   {n}: 6E01A8C0:0050 FE01A8C0:9C40 {state} 0:0" for n, state in enumerate(states)]
    (folder / "tcp").write_text("\n".join(["head", *lines]), encoding="ascii")
    six = ["   0: 0000000000000000FFFF00006E01A8C0:0050 0:0 01 0", "   1: B80D0120000000000000000010010000:1 0:0 01 0"]
    (folder / "tcp6").write_text("\n".join(["head", *six]), encoding="ascii")
    counted = Kernel(str(tmp_path)).connections(["192.168.1.110", "2001:db8::110", "10.0.0.1"])
    assert counted == {"192.168.1.110": 4, "2001:db8::110": 1, "10.0.0.1": 0}
    (folder / "tcp6").unlink()
    assert Kernel(str(tmp_path)).connections(["192.168.1.110"]) == {"192.168.1.110": 3}


def test_tentative(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    lines = (
        "20010db8000000000000000000000110 02 40 00 c0     eth0\n20010db8000000000000000000000111 02 40 00 80     eth0\n"
    )
    (tmp_path / "proc/net/if_inet6").write_text(lines, encoding="ascii")
    kernel = Kernel(str(tmp_path))
    assert [kernel.tentative(address) for address in ("2001:db8::110", "2001:db8::111", "10.0.0.1")] == [
        True,
        False,
        False,
    ]
    assert not Kernel(str(tmp_path / "none")).tentative("2001:db8::110")
