# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger on the disk: durable, private, held by one run at a time, gone with its last entry."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _files
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ledger import Ledger

ENTRY = {"section": "sysctls", "want": {"key": "net.x", "value": "1"}, "before": "0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var/lib/lvs"


def test_saved_and_read_again(folder: Path) -> None:
    with Ledger(str(folder)) as ledger:
        assert ledger.entries == {}
        assert ledger.save({"a": ENTRY})
        assert not ledger.save({"a": ENTRY})
    with Ledger(str(folder)) as ledger:
        assert ledger.entries == {"a": ENTRY}
        assert not ledger.save({"a": ENTRY})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ledger.json").stat().st_mode) == 0o600
    assert os.listdir(folder) == ["ledger.json"]


def test_nothing_is_left_without_entries(folder: Path) -> None:
    with Ledger(str(folder)) as ledger:
        ledger.save({"a": ENTRY})
    with Ledger(str(folder)) as ledger:
        ledger.save({})
    assert not folder.exists()


def test_check_mode_makes_nothing(folder: Path) -> None:
    with Ledger(str(folder), write=False) as ledger:
        assert not ledger.save({"a": ENTRY})
    assert not folder.exists()
    with Ledger(str(folder)) as ledger:
        ledger.save({"a": ENTRY})
    with Ledger(str(folder), write=False) as ledger:
        ledger.save({})
    assert json.loads((folder / "ledger.json").read_text(encoding="utf-8"))["entries"] == {"a": ENTRY}


def test_a_second_run_waits_and_says_so(folder: Path) -> None:
    with Ledger(str(folder)) as ledger:
        ledger.save({"a": ENTRY})
        with pytest.raises(LvsError, match=r"Another run has held .* for 0\.2 seconds"):
            Ledger(str(folder), patience=0.2).__enter__()


def test_a_waiting_run_survives_that_the_first_removes_the_directory(folder: Path) -> None:
    seen = []

    def second() -> None:
        with Ledger(str(folder), patience=10) as ledger:
            ledger.save({"b": ENTRY})
            seen.append(dict(ledger.entries))

    with Ledger(str(folder)) as ledger:
        ledger.save({"a": ENTRY})
        waiting = threading.Thread(target=second)
        waiting.start()
        ledger.save({})
    waiting.join(15)
    assert seen == [{"b": ENTRY}]
    assert (folder / "ledger.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "entries": [1]}'])
def test_a_broken_ledger_is_not_overwritten(folder: Path, content: str) -> None:
    folder.mkdir(parents=True)
    (folder / "ledger.json").write_text(content, encoding="utf-8")
    with pytest.raises(LvsError, match="cannot be understood"), Ledger(str(folder)):
        pass
    assert (folder / "ledger.json").read_text(encoding="utf-8") == content


def test_a_newer_ledger_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "ledger.json").write_text('{"version": 2, "entries": {}}', encoding="utf-8")
    with pytest.raises(LvsError, match="is of version 2"), Ledger(str(folder)):
        pass


def test_a_crash_while_writing_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(str(folder)) as ledger:
        ledger.save({"a": ENTRY})

    def crash(_old: str, _new: str) -> None:
        raise OSError(28, "No space left on device")

    with Ledger(str(folder)) as ledger:
        monkeypatch.setattr(_files.os, "replace", crash)  # type: ignore[attr-defined]  # the module's own os
        with pytest.raises(LvsError, match="cannot be written: No space left on device"):
            ledger.save({"a": ENTRY, "b": ENTRY})
    monkeypatch.undo()
    assert os.listdir(folder) == ["ledger.json"]
    with Ledger(str(folder)) as ledger:
        assert list(ledger.entries) == ["a"]
