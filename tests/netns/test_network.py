# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module `network` against the running kernel: what is true afterwards, and that all of it comes back."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _network_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_kernel import Kernel
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_run import Outcome, Request

CONFIG: dict[str, Any] = {
    "sysctls": [
        {"key": "net.ipv4.conf.all.arp_ignore", "value": "1"},
        {"key": "net.ipv4.conf.all.accept_redirects", "value": "1"},
        {"key": "net.ipv4.conf.eth0/1.rp_filter", "value": "2"},
        {"key": "net.ipv4.ip_forward", "value": "1"},
        {"key": "net.ipv6.conf.all.forwarding", "value": "1"},
        {"key": "net.ipv4.ip_local_port_range", "value": "20000 30000"},
    ],
    "devices": [{"name": "eth1"}],
    "addresses": [
        {"address": "192.168.1.110", "device": "lo"},
        {"address": "192.168.1.111/32", "device": "eth0.1", "announce": True},
        {"address": "2001:db8:1::110/128", "device": "lo", "nodad": True, "deprecated": True},
        {"address": "2001:db8:1::7/128", "device": "eth0.1", "deprecated": True},
    ],
    "routes": [
        {"destination": "default", "gateway": "192.168.1.253"},
        {
            "destination": "default",
            "gateway": "192.168.1.253",
            "table": 1100,
            "advmss": 1440,
            "source": "192.168.1.110",
        },
        {"destination": "default", "gateway": "2001:db8:1::fd", "table": 1100, "advmss": 1400},
        {"destination": "default", "family": "ipv4", "type": "local", "device": "lo", "table": 100},
        {"destination": "192.168.3.0/29", "type": "local", "device": "lo"},
        {"destination": "2001:db8:9::/125", "type": "local", "device": "lo"},
        {"destination": "10.66.0.0/16", "type": "blackhole"},
        {"destination": "10.67.0.0/16", "device": "eth0.1", "metric": 7},
    ],
    "rules": [
        {"from": "192.168.1.110/32", "priority": 1100, "table": 1100},
        {"from": "2001:db8:1::110/128", "priority": 1100, "table": 1100},
        {"family": "ipv4", "priority": 999, "table": 254, "suppress_prefixlength": 0},
        {"family": "ipv4", "fwmark": 1, "priority": 998, "table": 100},
        {"family": "ipv6", "fwmark": 1, "iif": "eth0.1", "priority": 998, "table": 100},
    ],
}


def ip(command: str) -> str:
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True, timeout=20).stdout


def snapshot() -> dict[str, Any]:
    """Everything of the namespace that the module can change."""
    settings = {}
    for folder in ("/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"):
        for path in Path(folder).glob("*/*"):
            if path.is_file() and path.name in (
                "forwarding", "accept_redirects", "arp_ignore", "rp_filter", "accept_ra", "send_redirects"
            ):  # fmt: skip
                settings[str(path)] = path.read_text(encoding="ascii")
    return {
        "settings": settings,
        "ports": Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii"),
        "addr": sorted(ip("-o addr").replace("tentative", "").split("\n")),
        "route4": sorted(ip("-N -4 route show table all").splitlines()),
        "route6": sorted(ip("-N -6 route show table all").splitlines()),
        "rule4": ip("-N -4 rule"),
        "rule6": ip("-N -6 rule"),
    }


@pytest.fixture
def host(namespace: None) -> None:
    """A VLAN-like name with a dot, a peer that is up, a default gateway with attributes."""
    ip("link add eth0.1 type veth peer name peer")
    ip("link add eth1 type veth peer name peer1")
    # Without link-local addresses the kernel has nothing of its own to add later.
    for device in ("eth0.1", "peer", "eth1", "peer1"):
        ip(f"link set {device} addrgenmode none")
    ip("link set eth0.1 up")
    ip("link set peer up")
    ip("addr add 192.168.1.2/24 dev eth0.1")
    ip("-6 addr add 2001:db8:1::2/64 dev eth0.1 nodad")
    ip("route add default via 192.168.1.254 dev eth0.1 proto static src 192.168.1.2 mtu 1400")
    ip("-6 addr add 2001:db8:1::7/64 dev eth0.1 nodad")


def run(root: Path, config: dict[str, Any], state: str = "replaced", **more: Any) -> Outcome:
    return _network_run.run(Request(config, state, root=str(root), **more), Kernel())


def settled() -> dict[str, Any]:
    """A snapshot after the kernel's own work on new links is done."""
    end = time.monotonic() + 4
    while "tentative" in ip("-6 addr") and time.monotonic() < end:
        time.sleep(0.1)
    return snapshot()


@pytest.mark.usefixtures("host")
def test_do_again_undo(tmp_path: Path) -> None:
    before = settled()
    checked = run(tmp_path, CONFIG, check=True)
    assert snapshot() == before
    done = run(tmp_path, CONFIG)
    assert done.result() == checked.result()
    assert done.warnings == []
    assert "2001:db8:1::110/128 scope global nodad deprecated" in ip("-6 addr show dev lo")
    assert "advmss 1440" in ip("route show table 1100")
    assert "via 192.168.1.253" in ip("route show default")
    assert "from all lookup main suppress_prefixlength 0" in ip("rule")
    there = snapshot()
    assert not run(tmp_path, CONFIG).changed
    assert not run(tmp_path, CONFIG, "merged").changed
    assert not run(tmp_path, done.result()["after"]).commands
    assert snapshot() == there
    gone = run(tmp_path, {}, "absent")
    assert gone.difference.notes == []
    assert snapshot() == before
    assert not run(tmp_path, {}, "absent").changed


@pytest.mark.usefixtures("host")
def test_step_by_step_and_back(tmp_path: Path) -> None:
    """A rolling change: the new way beside the old one, then the old one goes."""
    before = settled()
    run(tmp_path, {"addresses": CONFIG["addresses"][:1], "routes": CONFIG["routes"][:2], "rules": CONFIG["rules"][:1]})
    rule = {**CONFIG["rules"][0], "table": 1101}
    route = {**CONFIG["routes"][1], "advmss": 1300}
    edited = run(tmp_path, {"rules": [rule], "routes": [route]}, "merged")
    assert [line.split()[2:4] for line in edited.commands] == [["route", "replace"], ["rule", "add"], ["rule", "del"]]
    assert ip("rule").count("192.168.1.110") == 1
    assert "192.168.1.110" in ip("addr show dev lo")
    run(tmp_path, {"rules": [rule]})
    assert "192.168.1.110" not in ip("addr show dev lo")
    run(tmp_path, {}, "absent")
    assert snapshot() == before


@pytest.mark.usefixtures("host")
def test_a_refused_route_leaves_nothing_behind(tmp_path: Path) -> None:
    before = settled()
    broken = {**CONFIG, "routes": [*CONFIG["routes"], {"destination": "10.99.0.0/16", "gateway": "203.0.113.1"}]}
    with pytest.raises(LvsError, match=r"10\.99\.0\.0/16.*reaches directly.*was undone"):
        run(tmp_path, broken)
    assert snapshot() == before
    assert not (tmp_path / "var/lib/lvs").exists()
    with pytest.raises(LvsError, match=r"hop_limit=70000: the kernel does not take"):
        run(tmp_path, {**CONFIG, "sysctls": [{"key": "net.ipv6.conf.all.hop_limit", "value": "70000"}]})
    assert snapshot() == before


@pytest.mark.usefixtures("host")
def test_an_address_that_failed_duplicate_detection_is_added_again(tmp_path: Path) -> None:
    ip("-6 addr add 2001:db8:1::99/64 dev peer nodad")
    ip("-6 addr add 2001:db8:1::99/64 dev eth0.1")
    end = time.monotonic() + 5
    while "dadfailed" not in ip("-6 addr show dev eth0.1"):
        assert time.monotonic() < end
        time.sleep(0.1)
    run(tmp_path, {"addresses": [{"address": "2001:db8:1::99/64", "device": "eth0.1", "nodad": True}]})
    shown = next(line for line in ip("-6 -o addr show dev eth0.1").splitlines() if "::99/" in line)
    assert "dadfailed" not in shown
    assert "tentative" not in shown


@pytest.mark.usefixtures("namespace")
def test_a_real_connection_is_waited_for(tmp_path: Path) -> None:
    run(tmp_path, {"addresses": [{"address": "192.168.1.110", "device": "lo"}]})
    with socket.create_server(("192.168.1.110", 8080)) as server:
        client = socket.create_connection(("192.168.1.110", 8080))
        accepted, _address = server.accept()
        assert Kernel().connections(["192.168.1.110"]) == {"192.168.1.110": 2}

        def hang_up() -> None:
            client.close()
            accepted.close()

        timer = threading.Timer(1.0, hang_up)
        timer.start()
        start = time.monotonic()
        gone = run(tmp_path, {}, "absent", drain_timeout=15).result()
        timer.join()
    assert 0.9 < time.monotonic() - start < 5
    assert gone["leaving"][0]["connections"] == 0
    assert "192.168.1.110" not in ip("addr")
