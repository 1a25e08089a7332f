# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a host, and what would bring a module that its kernel lacks."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _facts, _ipvs_capabilities, _ipvs_saved
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_advice import (
    KernelJudge,
    container,
    distribution,
)
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules

RELEASE = "6.1.0"


def put(root: Path, path: str, content: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content, encoding="utf-8")


def judge(root: Path) -> KernelJudge:
    return KernelJudge(str(root), KernelModules(str(root), RELEASE, lambda _arguments: (1, "")))


def test_states(tmp_path: Path) -> None:
    put(tmp_path, "proc/modules", "ip_vs 1 0 - Live 0x0\n")
    put(tmp_path, f"lib/modules/{RELEASE}/modules.dep", "kernel/net/netfilter/ipvs/ip_vs_wlc.ko.xz:\n")
    put(tmp_path, f"lib/modules/{RELEASE}/modules.builtin", "kernel/net/ipv4/ipip.ko\n")
    states = {name: judge(tmp_path).state(name) for name in ("ip_vs", "ip_vs_wlc", "ipip", "ip_vs_nonsense")}
    assert states == {"ip_vs": "loaded", "ip_vs_wlc": "available", "ipip": "builtin", "ip_vs_nonsense": "missing"}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("sys/module/ip_vs/version", ""),
        ("proc/net/ip_vs", ""),
        (f"boot/config-{RELEASE}", "CONFIG_IP_VS=y\n"),
    ],
)
def test_a_kernel_without_modules_tells_in_other_ways(tmp_path: Path, path: str, content: str) -> None:
    assert judge(tmp_path).state("ip_vs") == "missing"
    put(tmp_path, path, content)
    assert judge(tmp_path).state("ip_vs") == "builtin"


def test_the_kernels_own_configuration_is_packed(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_IP_VS=m\nCONFIG_IP_VS_WLC=y\n"))
    assert judge(tmp_path).state("ip_vs_wlc") == "builtin"
    assert judge(tmp_path).state("ip_vs") == "missing"
    assert "built without CONFIG_NET_IPIP" in judge(tmp_path).advice("ipip")


@pytest.mark.parametrize(
    ("release", "package"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", f"linux-modules-extra-{RELEASE}"),
        ("ID=debian\n", "linux-image-amd64"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', f"kernel-modules-{RELEASE}"),
        ("ID=other\n", "full kernel package"),
    ],
)
def test_advice_names_the_package(tmp_path: Path, release: str, package: str) -> None:
    put(tmp_path, "etc/os-release", release)
    put(tmp_path, f"lib/modules/{RELEASE}/modules.dep", "kernel/net/netfilter/ipvs/ip_vs.ko:\n")
    advice = judge(tmp_path).advice("ip_vs_wlc")
    assert advice.startswith("check its spelling, or install")
    assert package in advice
    assert not advice.endswith(".")


def test_advice_where_a_container_is_possible(tmp_path: Path) -> None:
    advice = judge(tmp_path).advice("ip_vs")
    assert "load ip_vs on the host if this is a container" in advice


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("run/systemd/container", "lxc\n", "lxc"),
        ("run/.containerenv", "", "podman"),
        (".dockerenv", "", "docker"),
        ("etc/hostname", "rs1\n", ""),
    ],
)
def test_kind_of_container(tmp_path: Path, path: str, content: str, kind: str) -> None:
    put(tmp_path, path, content)
    assert container(str(tmp_path)) == kind


@pytest.mark.parametrize(
    ("capabilities", "state"), [("00000000800415fb", "missing"), ("000001ffffffffff", "available")]
)
def test_a_container_loads_modules_only_with_privileges(tmp_path: Path, capabilities: str, state: str) -> None:
    put(tmp_path, "run/systemd/container", "podman\n")
    put(tmp_path, "proc/modules", "ip_vs 1 0 - Live 0x0\n")
    put(tmp_path, "proc/self/status", f"CapEff:\t{capabilities}\n")
    put(tmp_path, f"lib/modules/{RELEASE}/modules.dep", "net/ip_vs.ko:\nnet/ip_vs_wlc.ko: net/ip_vs.ko\n")
    assert judge(tmp_path).state("ip_vs") == "loaded"
    assert judge(tmp_path).state("ip_vs_wlc") == state


def test_advice_in_a_container_is_for_its_host(tmp_path: Path) -> None:
    put(tmp_path, "run/systemd/container", "podman\n")
    assert judge(tmp_path).advice("ip_vs_wlc") == (
        "a container cannot load it: run `modprobe ip_vs_wlc` on its host, and name ip_vs_wlc in a file of"
        " /etc/modules-load.d there for the next boot"
    )


def test_settings_of_a_read_only_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their values by file, whoever reads them; nothing where they can be written."""
    put(tmp_path, "proc/sys/net/ipv4/ip_forward", "0\n")
    put(tmp_path, "proc/sys/net/ipv4/vs/sync_threshold", "3\t50\n")
    assert _facts.read_only_sysctls(str(tmp_path)) == {}
    assert _facts.read_only_sysctls(str(tmp_path / "nowhere")) == {}
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_flag=os.ST_RDONLY | os.ST_NOSUID))
    assert _facts.read_only_sysctls(str(tmp_path)) == {"net/ipv4/ip_forward": "0", "net/ipv4/vs/sync_threshold": "3 50"}


def test_distribution_has_two_places(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/os-release", 'ID=debian\nVERSION_ID="12"\n')
    assert distribution(str(tmp_path)) == {"id": "debian", "version": "12", "like": ""}
    assert distribution("/nonexistent") == {"id": "", "version": "", "like": ""}


@pytest.mark.parametrize(
    ("capabilities", "uid_map", "expected"),
    [
        ("000001ffffffffff", "         0          0 4294967295\n", True),
        ("0000000000001000", "         0          0 4294967295\n", True),
        ("000001ffffffefff", "         0          0 4294967295\n", False),
        ("000001ffffffffff", "         0       1000          1\n", False),
        ("0000000000000000", "", False),
    ],
)
def test_net_admin(tmp_path: Path, capabilities: str, uid_map: str, expected: bool) -> None:
    """In a user namespace root has the capability, and the kernel still refuses the IPVS table."""
    put(tmp_path, "proc/self/status", f"Name:\tx\nCapEff:\t{capabilities}\n")
    put(tmp_path, "proc/self/uid_map", uid_map)
    assert _ipvs_capabilities.net_admin(str(tmp_path)) is expected


def read_ip(*words: str) -> list[dict[str, Any]]:
    if "addr" in words:
        info = {
            "family": "inet6",
            "local": "2001:db8::110",
            "prefixlen": 128,
            "scope": "global",
            "preferred_life_time": 0,
        }
        return [
            {
                "ifname": "eth0",
                "address": "52:54:00:12:34:56",
                "mtu": 1500,
                "flags": ["UP"],
                "link_type": "ether",
                "addr_info": [info, {}],
            },
            {"ifname": "tunl0", "mtu": 1480, "flags": [], "link_type": "ipip", "linkinfo": {"info_kind": "ipip"}},
        ]
    if "-6" in words:
        return [
            {"dst": "default", "nexthops": [{"gateway": "fe80::1", "dev": "eth0"}], "protocol": "ra", "metric": 100}
        ]
    return [
        {"dst": "default", "gateway": "192.168.1.254", "dev": "eth0"},
        {"dst": "10.0.0.0/8", "type": "blackhole"},
        {"dst": "10.1.1.0/24", "dev": "eth0", "protocol": "kernel", "scope": "link", "prefsrc": "10.1.1.2"},
    ]


def test_gathered(tmp_path: Path) -> None:
    put(tmp_path, "etc/os-release", "ID=debian\nVERSION_ID=12\n")
    facts, missed = _facts.gather(read_ip, ["ipip"], str(tmp_path))
    assert missed == []
    assert facts["distribution"] == {"id": "debian", "version": "12"}
    assert set(facts["modules"]) == set(facts["advice"]) == {"ip_vs", "ipip"}
    assert (facts["systemd"], facts["iproute2"]) == (False, True)
    eth0, tunl0 = facts["interfaces"]
    assert eth0 == {
        "name": "eth0",
        "mac": "52:54:00:12:34:56",
        "mtu": 1500,
        "up": True,
        "kind": "ether",
        "addresses": [
            {"address": "2001:db8::110", "prefix": 128, "family": "ipv6", "scope": "global", "deprecated": True}
        ],
    }
    assert (tunl0["kind"], tunl0["up"], tunl0["addresses"]) == ("ipip", False, [])
    assert [(route["family"], route["destination"], route["gateway"]) for route in facts["routes"]] == [
        ("ipv4", "default", "192.168.1.254"),
        ("ipv4", "10.1.1.0/24", None),
        ("ipv6", "default", "fe80::1"),
    ]
    assert facts["routes"][1]["source"] == "10.1.1.2"


def test_without_iproute2(tmp_path: Path) -> None:
    def missing(*_words: str) -> list[dict[str, Any]]:
        raise LvsError("The program ip is not on this host")

    facts, missed = _facts.gather(missing, [], str(tmp_path))
    assert (facts["iproute2"], facts["interfaces"], facts["routes"]) == (False, [], [])
    assert missed == ["Interfaces and routes are not known: The program ip is not on this host"]


def test_what_a_director_is_set_up_with(tmp_path: Path) -> None:
    def seen() -> Any:
        return _facts.gather(lambda *_words: [], [], str(tmp_path))[0]["director_files"]

    assert seen() == []
    (tmp_path / "var/lib/lvs/keepalived").mkdir(parents=True)
    assert seen() == ["/var/lib/lvs/keepalived"]
    saved = tmp_path / "etc/lvs/ipvs.json"
    saved.parent.mkdir(parents=True)
    for settings, found in (({"timeouts": {"tcp": 60}}, False), ({"sync": [{"role": "master"}]}, True)):
        saved.write_text(_ipvs_saved.render([], [], settings))
        assert ("/etc/lvs/ipvs.json" in seen()) is found
    saved.write_text("what is this?")
    assert "/etc/lvs/ipvs.json" in seen()


def test_memory(tmp_path: Path) -> None:
    assert _facts.memory(str(tmp_path)) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:         248912 kB\nMemFree:           12000 kB\n")
    assert _facts.memory(str(tmp_path)) == 248912 * 1024


def test_reserve_of_memory(tmp_path: Path) -> None:
    assert _facts.min_free_pages(str(tmp_path)) == 0
    reserve = tmp_path / "proc/sys/vm/min_free_kbytes"
    reserve.parent.mkdir(parents=True)
    reserve.write_text("2048\n")
    assert _facts.min_free_pages(str(tmp_path)) == 2048 * 1024 // os.sysconf("SC_PAGE_SIZE")
