# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot program as one file: complete, runnable without Ansible, the same bytes every time; and its installation."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _boot_install, _files, _zipapp
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._boot_install import BootInstall, Installed, diff
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError

SOURCES = Path(__file__).resolve().parents[4] / "plugins/module_utils"


def source(name: str) -> bytes:
    return (SOURCES / f"{name}.py").read_bytes()


def program(interpreter: str = "/usr/bin/python3") -> bytes:
    return _zipapp.build("_boot", source, interpreter)


def test_it_holds_all_that_is_imported_and_nothing_of_ansible() -> None:
    with zipfile.ZipFile(io.BytesIO(program())) as archive:
        names = set(archive.namelist())
        texts = b"".join(archive.read(name) for name in names)
    assert {"__main__.py", "lvs/__init__.py", "lvs/_boot.py", "lvs/_network_run.py", "lvs/_ipvs_kernel.py"} <= names
    assert b"ansible.module_utils" not in texts
    assert b"import ansible" not in texts


def test_same_sources_same_bytes() -> None:
    assert program() == program()
    assert program().startswith(b"#!/usr/bin/python3\n")
    assert program("/opt/python") != program()


def test_imports_inside_functions_and_of_the_package_count() -> None:
    sources = {
        "_a": b"from . import _b\ndef f():\n    from ._c import x\n",
        "_b": b"import os\nfrom json import load\n",
        "_c": b"from ._a import f\n",
    }
    assert set(_zipapp.needed("_a", lambda name: sources[name])) == {"_a", "_b", "_c"}


def test_it_runs_without_ansible(tmp_path: Path) -> None:
    path = tmp_path / "lvs.pyz"
    path.write_bytes(program(sys.executable))
    done = subprocess.run(
        [sys.executable, "-I", str(path), "nonsense"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (2, "lvs: usage: lvs.pyz boot\n")


def test_every_file_in_it_can_be_imported(tmp_path: Path) -> None:
    path = tmp_path / "lvs.pyz"
    path.write_bytes(program())
    with zipfile.ZipFile(path) as archive:
        names = [
            name[:-3].replace("/", ".")
            for name in archive.namelist()
            if name.startswith("lvs/_") and "init" not in name
        ]
    code = f"import sys; sys.path.insert(0, {str(path)!r}); import {', '.join(names)}; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "ansible" not in done.stdout


class Systemd:
    """A host whose systemctl only keeps whether the unit is enabled."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.enabled = False
        self.calls: list[str] = []
        self.failing = ""
        (root / "run/systemd/system").mkdir(parents=True)
        (root / "usr/bin").mkdir(parents=True)
        (root / "usr/bin/python3").touch()
        self.install = BootInstall(str(root), self.run)

    def run(self, arguments: Sequence[str], _given: str = "") -> tuple[int, str, str]:
        words = list(arguments[1:])
        if words[0] == "is-enabled":
            return (0, "enabled\n", "") if self.enabled else (1, "", "Failed to get unit file state")
        self.calls.append(" ".join(words))
        if self.failing and self.failing in words:
            return 1, "", "Access denied\n"
        if words[0] in ("enable", "disable"):
            self.enabled = words[0] == "enable"
        return 0, "", ""

    def go(self, state: str, interpreter_seen: str = "/usr/bin/python3") -> list[str]:
        before = self.install.read()
        after = self.install.wanted(state, lambda interpreter: f"made for {interpreter}".encode(), interpreter_seen)
        commands = self.install.commands(before, after)
        assert bool(commands) == bool(diff(before, after))
        self.install.apply(before, after)
        assert self.install.read() == after
        return commands


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    return Systemd(tmp_path)


def test_installed_once_removed_once(systemd: Systemd) -> None:
    assert systemd.go("present") == [
        "install -D lvs.pyz /usr/local/lib/lvs/lvs.pyz",
        "install -D lvs.service /etc/systemd/system/lvs.service",
        "systemctl daemon-reload",
        "systemctl enable lvs.service",
    ]
    path = systemd.root / "usr/local/lib/lvs/lvs.pyz"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    unit = (systemd.root / "etc/systemd/system/lvs.service").read_text(encoding="utf-8")
    assert "ExecStart=/usr/bin/python3 /usr/local/lib/lvs/lvs.pyz boot\n" in unit
    assert "After=network-online.target systemd-modules-load.service systemd-sysctl.service ipvsadm.service\n" in unit
    assert "ExecStop" not in unit
    assert systemd.go("present") == []
    assert systemd.calls == ["daemon-reload", "enable lvs.service"]
    assert systemd.go("absent")[0] == "systemctl disable --now lvs.service"
    assert not path.parent.exists()
    assert systemd.go("absent") == []


def test_a_changed_program_alone_is_exchanged(systemd: Systemd) -> None:
    systemd.go("present")
    (systemd.root / "usr/local/lib/lvs/lvs.pyz").write_bytes(b"old")
    assert systemd.go("present") == ["install -D lvs.pyz /usr/local/lib/lvs/lvs.pyz"]


def test_the_hosts_own_python_or_the_running_one(systemd: Systemd) -> None:
    systemd.go("present", "/opt/python3.12")
    assert (systemd.root / "usr/local/lib/lvs/lvs.pyz").read_bytes() == b"made for /usr/bin/python3"
    (systemd.root / "usr/bin/python3").unlink()
    systemd.go("present", "/opt/python3.12")
    assert (systemd.root / "usr/local/lib/lvs/lvs.pyz").read_bytes() == b"made for /opt/python3.12"


def test_a_host_without_systemd(tmp_path: Path) -> None:
    with pytest.raises(LvsError, match="systemd does not run this host"):
        BootInstall(str(tmp_path)).read()


def test_systemctl_refuses(systemd: Systemd) -> None:
    systemd.failing = "enable"
    with pytest.raises(LvsError, match=r"systemctl enable lvs\.service ended with code 1: Access denied"):
        systemd.go("present")
    systemd.failing = ""
    assert systemd.go("present") == ["systemctl enable lvs.service"]


def test_diff_is_text_lines() -> None:
    parts = diff(Installed(None, None, False), Installed(b"x", "[Unit]\n", True))
    assert [part["after_header"] for part in parts] == [
        _boot_install.PROGRAM,
        _boot_install.UNIT,
        "lvs.service enabled",
    ]
    assert all(part["after"].endswith("\n") for part in parts)


def test_the_link_that_enables_the_unit_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemctl syncs nothing: a power failure soon after the first run left the unit not enabled."""
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    _files.sync_links_of_units(str(tmp_path))
    assert synced == [str(wants), str(wants.parent)]
    _files.sync_links_of_units(str(tmp_path / "nowhere"))
