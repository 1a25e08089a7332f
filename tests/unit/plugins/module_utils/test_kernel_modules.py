# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel modules there are, from the files that say so, and loading them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules, run_program


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "lib/modules/6.1.0"
    folder.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/modules").write_text("ip_vs_rr 16384 0 - Live 0x0\nip_vs 1 1 ip_vs_rr, Live 0x0\n")
    (folder / "modules.builtin").write_text("kernel/net/ipv4/ipip.ko\n")
    (folder / "modules.dep").write_text(
        "kernel/net/netfilter/ipvs/ip_vs_sh.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz kernel/lib/gone.ko\n"
        "extra/ip-vs-new.ko:\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("ip_vs", "loaded"),
        ("ip_vs_rr", "loaded"),
        ("ipip", "builtin"),
        ("ip_vs_sh", "available"),
        ("ip_vs_new", "available"),
        ("ip_vs_s", "missing"),
        ("vs_sh", "missing"),
        ("gone", "missing"),
        ("ip_vs_rr(", "missing"),
        ("ip_vs_.*", "missing"),
    ],
)
def test_where_a_module_is(root: Path, name: str, state: str) -> None:
    assert KernelModules(str(root), "6.1.0").state(name) == state


def test_without_module_files_nobody_can_tell(root: Path) -> None:
    modules = KernelModules(str(root), "6.12.0")
    assert not modules.installed()
    assert modules.state("ip_vs_sh") == "unknown"
    assert modules.state("ip_vs") == "loaded"


def test_a_module_loaded_meanwhile_is_seen(root: Path) -> None:
    modules = KernelModules(str(root), "6.1.0")
    assert modules.state("ip_vs_sh") == "available"
    (root / "proc/modules").write_text("ip_vs_sh 1 0 - Live 0x0\n")
    assert modules.state("ip_vs_sh") == "loaded"


def test_loading_calls_modprobe_where_it_is(root: Path) -> None:
    calls: list[list[str]] = []

    def run(arguments: list[str]) -> tuple[int, str]:
        calls.append(arguments)
        return 0, ""

    modules = KernelModules(str(root), "6.1.0", run)
    assert modules.load("ip_vs") == "there is no modprobe on this system (package kmod)"
    (root / "sbin").mkdir()
    (root / "sbin/modprobe").write_text("")
    (root / "sbin/modprobe").chmod(0o755)
    assert modules.load("ip_vs") == ""
    assert calls == [["/sbin/modprobe", "ip_vs"]]


def test_why_loading_failed_is_told(root: Path) -> None:
    (root / "sbin").mkdir()
    (root / "sbin/modprobe").touch(mode=0o755)
    assert KernelModules(str(root), "6.1.0", lambda _arguments: (1, "no such module")).load("x") == "no such module"
    assert "ended with code 3" in KernelModules(str(root), "6.1.0", lambda _arguments: (3, "")).load("x")


@pytest.mark.parametrize("name", ["", "-r", "ip vs", "../x", "a" * 56, "ip_vs\n"])
def test_what_is_no_module_name_reaches_no_program(root: Path, name: str) -> None:
    def run(_arguments: list[str]) -> tuple[int, str]:
        raise AssertionError("a program was run")

    assert "is not the name of a module" in KernelModules(str(root), "6.1.0", run).load(name)


def test_a_program_runs_with_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_TEST", "x")
    code, said = run_program(["/usr/bin/env"])
    assert code == 0
    assert "LD_PRELOAD_TEST" not in said
    assert "LC_ALL=C" in said.splitlines()
    assert run_program(["/nonexistent"])[0] == 127
