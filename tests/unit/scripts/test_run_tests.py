# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate counts what was run, and never calls nothing a success."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pytest

from scripts import run_tests
from scripts.run_tests import Count, Step

PASSED = "<testcase/>"
FAILED = "<testcase><failure/></testcase>"
BROKEN = "<testcase><error/></testcase>"
SKIPPED = "<testcase><skipped/></testcase>"


def figures(count: Count) -> tuple[int, int, int]:
    """Passed, failed, skipped."""
    return count.passed, count.failed, count.skipped


@pytest.fixture(autouse=True)
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_tests, "BUILD", tmp_path)
    return tmp_path


def reporting(build: Path, cases: str, code: int = 0, itself: bool = False) -> Step:
    """A step that writes these cases as its report."""
    program = f"echo '<testsuite>{cases}</testsuite>' > {build}/report.xml; exit {code}"
    return Step("tests", ["sh", "-c", program], 1, junit="*.xml", counts_itself=itself)


@pytest.mark.parametrize(
    ("cases", "code", "expected"),
    [
        (PASSED * 3, 0, (3, 0, 0)),
        (PASSED + FAILED + BROKEN, 1, (1, 2, 0)),
        (PASSED + SKIPPED, 0, (1, 0, 1)),
        (PASSED, 2, (1, 1, 0)),  # it ends badly without naming a failed test
        ("", 0, (0, 1, 0)),  # nothing ran
        ("<testcase>", 0, (0, 1, 0)),  # the report breaks off
        (SKIPPED, 0, (0, 1, 1)),  # nothing but skips is nothing
    ],
)
def test_reports_are_counted(build: Path, cases: str, code: int, expected: tuple[int, int, int]) -> None:
    assert figures(run_tests.run(reporting(build, cases, code))) == expected


def test_an_exit_code_may_count_beside_the_report(build: Path) -> None:
    assert figures(run_tests.run(reporting(build, PASSED, 0, itself=True))) == (2, 0, 0)
    assert figures(run_tests.run(reporting(build, PASSED, 1, itself=True))) == (1, 1, 0)


def test_a_report_of_an_earlier_run_is_not_counted(build: Path) -> None:
    (build / "old.xml").write_text(f"<testsuite>{PASSED}</testsuite>", encoding="utf-8")
    assert figures(run_tests.run(Step("tests", ["true"], 1, junit="*.xml"))) == (0, 1, 0)


def test_a_step_without_report_is_one_test() -> None:
    assert figures(run_tests.run(Step("lint", ["true"], 1))) == (1, 0, 0)
    assert figures(run_tests.run(Step("lint", ["false"], 1))) == (0, 1, 0)


def test_a_step_that_hangs_is_ended_with_its_children() -> None:
    start = time.monotonic()
    assert figures(run_tests.run(Step("hangs", ["sh", "-c", "sleep 60 & wait"], 0.01))) == (0, 1, 0)
    assert time.monotonic() - start < 10


def test_what_needs_a_failed_step_counts_as_failed(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def part(_args: argparse.Namespace) -> list[Step]:
        return [
            Step("lab up", ["false"], 1, frame=True),
            Step("scenario", ["touch", f"{build}/ran"], 1),
        ]

    monkeypatch.setitem(run_tests.PARTS, "lab", part)
    monkeypatch.setitem(run_tests.AFTER, "lab", Step("lab down", ["touch", f"{build}/down"], 1, frame=True))
    assert figures(run_tests.run_part("lab", argparse.Namespace(keep=False))) == (0, 2, 0)
    assert not (build / "ran").exists()
    assert (build / "down").exists()


def test_what_failed_is_named_with_its_reason(build: Path) -> None:
    cases = '<testcase name="test_vip"><failure message="assert 0&#10;  == 4">long</failure></testcase>'
    assert run_tests.run(reporting(build, cases, 1)).failures == ["report: test_vip: assert 0 == 4"]


def test_a_step_that_fails_is_named_with_its_last_complaint(capfd: pytest.CaptureFixture[str]) -> None:
    program = "printf 'first\n\033[31m[ERROR]: no VIP\033[0m\nrecap\n'; exit 2"
    count = run_tests.run(Step("converge", ["sh", "-c", program], 1))
    assert count.failures == ["converge: exit code 2: [ERROR]: no VIP"]
    assert "first\n" in capfd.readouterr().out


def test_the_ground_is_cleared_after_a_failure_only_and_what_was_found_is_told() -> None:
    clearing = (["sh", "-c", "echo ERROR: a hangs"], ["true"])
    assert run_tests.run(Step("dr", ["true"], 1, when_failed=clearing)).failures == []
    assert run_tests.run(Step("dr", ["false"], 1, when_failed=clearing)).failures == [
        "dr: exit code 1: ",
        "dr, afterwards: exit code 0: ERROR: a hangs",
    ]


@pytest.mark.parametrize("code", [0, 3])
def test_what_ran_beside_others_is_shown_and_counts(build: Path, capfd: pytest.CaptureFixture[str], code: int) -> None:
    program = f"sleep 0.2; echo up; echo '<testsuite>{PASSED}</testsuite>' > {build}/report.xml; exit {code}"
    last = Step("up", ["sh", "-c", program], 1, junit="*.xml", counts_itself=True)
    (build / "report.xml").write_text(f"<testsuite>{PASSED * 5}</testsuite>", encoding="utf-8")  # of an earlier run
    beside = run_tests.Beside("lab", [Step("fresh", ["echo", "two words"], 1), last], niceness=1)
    run_tests.run(Step("another", ["true"], 1, before=beside.start))
    assert beside.process is not None
    beside.process.wait(10)
    assert figures(run_tests.run(beside.step)) == ((1, 1, 0) if code else (2, 0, 0))
    assert [line for line in capfd.readouterr().out.splitlines() if line in ("two words", "up")] == ["two words", "up"]
    beside.stop()


def test_what_runs_beside_others_is_ended_if_it_is_not_done() -> None:
    beside = run_tests.Beside("lab", [Step("up", ["sleep", "60"], 1)])
    beside.stop()
    beside.start()
    beside.stop()
    assert beside.process is not None
    assert beside.process.returncode == -15


def test_the_emulated_scenario_runs_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_tests, "lab_steps", lambda _args: [Step("lab", ["true"], 1)])

    def names(*scenarios: str) -> list[str]:
        arguments = argparse.Namespace(scenario=list(scenarios), beside=[])
        return [step.name for step in run_tests.molecule(arguments)]

    both = ["molecule, dr, prepare", "molecule, dr"]
    assert names("dr") == ["lab", *both]
    assert names("dr", "stock") == ["lab", *both, "molecule, stock"]
    assert names("stock") == ["molecule, stock"]

    arguments = argparse.Namespace(scenario=["container_dr", "dr", "stock"], beside=[])
    assert [step.name for step in run_tests.molecule(arguments) if step.before] == ["molecule, dr, prepare"]
