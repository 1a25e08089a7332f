# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What IPVS can do here, by what the kernel showed, by its release and by its modules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_capabilities import (
    Seen,
    capabilities,
    network_namespace,
    release_at_least,
)
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules


def put(root: Path, path: str, content: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content, encoding="utf-8")


def modules(root: Path, release: str) -> KernelModules:
    return KernelModules(str(root), release, lambda _arguments: (1, ""))


def test_modules_of_all_kinds_are_found(tmp_path: Path) -> None:
    folder = "kernel/net/netfilter/ipvs"
    names = ("ip_vs", "ip_vs_rr", "ip_vs_own", "ip_vs_ftp", "ip_vs_pe_sip", "ip_vs_pe_own")
    put(tmp_path, "lib/modules/6.1.0/modules.dep", "".join(f"{folder}/{name}.ko.xz:\n" for name in names))
    put(tmp_path, "lib/modules/6.1.0/modules.builtin", f"{folder}/ip_vs_wlc.ko\n")
    put(
        tmp_path, "proc/modules", "ip_vs_rr 1 0 - Live 0x0\nip_vs_foreign 1 0 - Live 0x0\nnf_conntrack 1 0 - Live 0x0\n"
    )
    found = capabilities(modules(tmp_path, "6.1.0"), str(tmp_path), Seen())
    assert found["schedulers"] == {"foreign": "loaded", "own": "available", "rr": "loaded", "wlc": "builtin"}
    assert found["engines"] == {"own": "available", "sip": "available"}
    assert found["version"] is None
    assert found["may_read"] is found["may_write"] is False


def test_what_the_kernel_shows_counts_more_than_its_release(tmp_path: Path) -> None:
    put(tmp_path, "proc/net/ip_vs", "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port\n")
    shown = frozenset({"family", "tunnel_type", "tunnel_flags"})
    seen = Seen(True, frozenset({"wlc", "none"}), frozenset({"sip", ""}), frozenset({"stats64"}), shown)
    found = capabilities(modules(tmp_path, "3.10.0"), str(tmp_path), seen)
    assert (found["version"], found["connection_buckets"]) == ("1.2.1", 4096)
    assert (found["bound_schedulers"], found["bound_engines"]) == (["wlc"], ["sip"])
    assert found["tunnels"] == ["ipip", "gue"]
    assert found["tunnel_checksum"] is found["destination_family"] is found["stats64"] is found["may_read"] is True


@pytest.mark.parametrize(
    ("release", "tunnels", "checksum", "family", "stats64"),
    [
        ("3.10.0-1160.el7.x86_64", ["ipip"], False, False, False),
        ("4.19.0-27-amd64", ["ipip"], False, True, True),
        ("5.2.21", ["ipip", "gue"], False, True, True),
        ("5.3", ["ipip", "gue", "gre"], True, True, True),
        ("10.0.1", ["ipip", "gue", "gre"], True, True, True),
    ],
)
def test_by_release(
    tmp_path: Path, release: str, tunnels: list[str], checksum: bool, family: bool, stats64: bool
) -> None:
    found = capabilities(modules(tmp_path, release), str(tmp_path), Seen())
    assert found["tunnels"] == tunnels
    assert [found[name] for name in ("tunnel_checksum", "destination_family", "stats64")] == [checksum, family, stats64]


def test_a_release_without_a_number_is_none() -> None:
    assert release_at_least("custom", (2, 2)) is False


def test_the_network_namespace_and_its_name(tmp_path: Path) -> None:
    assert network_namespace(str(tmp_path)) == {"id": None, "name": None}
    put(tmp_path, "proc/self/ns/net", "")
    put(tmp_path, "run/netns/another", "")
    number = os.stat(tmp_path / "proc/self/ns/net").st_ino
    assert network_namespace(str(tmp_path)) == {"id": number, "name": None}
    (tmp_path / "run/netns/lvs").hardlink_to(tmp_path / "proc/self/ns/net")
    assert network_namespace(str(tmp_path)) == {"id": number, "name": "lvs"}
