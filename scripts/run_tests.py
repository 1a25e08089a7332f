#!/usr/bin/env python
# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's gate: runs the parts asked for, streams what they print, names what failed and why, and ends with one
line `N passed, N failed`.

A part is a list of steps. A step that leaves a JUnit report counts the tests in it; any other step is one test, by its
exit code. A step that reports no test at all, or that fails without naming a failed test, counts as one failure.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
RESULTS = BUILD / "results"
COPY = BUILD / "ansible_collections/linuxvirtualserver/lvs"
COMPLAINT = re.compile(r"\[ERROR\]: |^\S*(Error|ERROR): ")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
REASON = 300  # characters of a failure's reason in the closing list
PACKAGE = "ansible_collections.linuxvirtualserver.lvs.plugins"
# A machine that hangs or has ended would fail every scenario after the one that it happened in.
LAB = "/var/lib/lvs-lab/molecule"
MEND = ["/usr/bin/python3", "-B", f"{LAB}/bin/lvslab.py", "--lab", LAB, "mend"]
# The scenario on emulated machines, in a lab of its own: it runs beside the others, in what time they leave.
EMULATED = "stock"


@dataclass(frozen=True)
class Step:
    """One command of the gate."""

    name: str
    command: list[str]
    minutes: float
    junit: str = ""  # glob below build/ of the reports that the command writes
    counts_itself: bool = False  # the exit code is a test of its own, beside those in the reports
    # No test, but what the tests need: counts only when it fails, and then the part's later steps cannot run.
    frame: bool = False
    directory: Path = ROOT
    # Commands that clear the ground for the next step; what they complain about is part of the failure.
    when_failed: tuple[list[str], ...] = ()
    before: Callable[[], None] | None = None  # what begins with it
    begun: bool = False  # it runs already, and its report may be there


@dataclass
class Count:
    """Tests seen so far."""

    passed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)  # one line each: which test, and the reason it gave

    @property
    def failed(self) -> int:
        return len(self.failures)

    def __iadd__(self, other: Count) -> Count:
        self.passed += other.passed
        self.skipped += other.skipped
        self.failures += other.failures
        return self

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def existing(*paths: str) -> list[str]:
    return [path for path in paths if any((ROOT / path).rglob("test_*.py"))]


def lint(_args: argparse.Namespace) -> list[Step]:
    # Programs and test suites with modules of their own beside them, each checked where it runs: names may repeat.
    programs = [*ROOT.glob("roles/*/files/**/*.py"), *ROOT.glob("molecule/**/*.py")]
    settings = ["--config-file", str(ROOT / "pyproject.toml")]
    checks = [
        Step(
            f"mypy, {directory.relative_to(ROOT)}",
            ["mypy", *settings, *sorted(path.name for path in programs if path.parent == directory)],
            5,
            directory=directory,
        )
        for directory in sorted({path.parent for path in programs})
    ]
    return [
        Step("copy of the tree", ["scripts/copy_tree.py"], 2, frame=True),
        Step("ruff", ["ruff", "check", "--output-format", "concise", "."], 2),
        Step("mypy, plugins", ["mypy", "--package", PACKAGE], 5),
        Step("mypy, scripts and tests", ["mypy", "scripts", "tests", "bench"], 5),
        *checks,
        Step("yamllint", ["yamllint", "--strict", "."], 2),
        Step("ansible-lint", ["ansible-lint", "--offline"], 10),
        Step("plugin documentation", ["antsibull-docs", "lint-collection-docs", "--plugin-docs", str(COPY)], 5),
        Step("changelog", ["antsibull-changelog", "lint"], 2),
        Step("artefact", ["scripts/check_artefact.sh"], 5),
    ]


def sanity(_args: argparse.Namespace) -> list[Step]:
    reports = f"{COPY.relative_to(BUILD)}/tests/output/junit/*.xml"
    return [
        Step("copy of the tree", ["scripts/copy_tree.py"], 2, frame=True),
        Step("ansible-test sanity", ["scripts/sanity.py"], 15, junit=reports),
    ]


def unit(_args: argparse.Namespace) -> list[Step]:
    tests = existing("tests/unit", "tests/property", "tests/netns")
    report = RESULTS / "unit.xml"
    return [Step("pytest", ["pytest", f"--junitxml={report}", *tests], 20, junit="results/unit.xml")]


def molecule(args: argparse.Namespace) -> list[Step]:
    scenarios = args.scenario or sorted(
        path.parent.name for path in ROOT.glob("molecule/*/molecule.yml") if path.parent.name != "default"
    )
    lab = args.beside[:1]
    first = [lab[0].step] if lab else lab_steps(args)
    steps = [step for name in scenarios if name != EMULATED for step in scenario_steps(name)]
    if EMULATED not in scenarios:
        return [*first, *steps]
    if not steps:
        return [emulated_step()]
    beside = Beside("emulated", [emulated_step()], niceness=19)
    args.beside.append(beside)
    # Not while containers are made: both install packages on this host, and want the cache of images.
    begin = next((place for place, step in enumerate(steps) if "container_" not in step.name), 0)
    steps[begin] = replace(steps[begin], before=beside.start)
    return [*first, *steps, beside.step]


def lab_steps(args: argparse.Namespace) -> list[Step]:
    """One lab for all: scenario `default` boots it, the others use it in turn."""
    # A run that was killed leaves molecule believing in a lab that is gone.
    fresh = Step("molecule, nothing left of an earlier lab", ["molecule", "destroy"], 5, frame=True)
    # The first time ever it compiles the machines' kernel.
    return [*([] if args.keep else [fresh]), Step("molecule, lab up", ["molecule", "create"], 30, frame=True)]


class Beside:
    """Steps that run while others do, one after the other; `step` shows what they printed and counts like the last."""

    def __init__(self, name: str, steps: Sequence[Step], niceness: int = 0) -> None:
        self.log, self.code, self.pid = (BUILD / f"{name}.{what}" for what in ("log", "code", "pid"))
        words = " && ".join(shlex.join(step.command) for step in steps)
        self.script = f"{words}; echo $? > {shlex.quote(str(self.code))}"
        self.niceness = niceness
        self.last = steps[-1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.code.write_text("1", encoding="utf-8")
        remove_reports(self.last)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                ["nice", "-n", str(self.niceness), "sh", "-c", self.script],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid.write_text(str(self.process.pid), encoding="utf-8")
        threading.Thread(target=self.process.wait, daemon=True).start()  # or tail takes what has ended for alive

    @property
    def step(self) -> Step:
        """To be run when it has begun."""
        show = 'tail --pid="$(cat "$0")" -n +1 -f "$1"; exit "$(cat "$2")"'
        files = [str(path) for path in (self.pid, self.log, self.code)]
        return replace(self.last, command=["sh", "-c", show, *files], begun=True)

    def stop(self) -> None:
        """End it, if it is not done; what is up by then is taken down like any lab."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


def scenario_steps(name: str) -> list[Step]:
    """A scenario with its report; prepare is forced, for molecule remembers only that some scenario was prepared."""
    chosen = ["--scenario-name", name]
    return [
        Step(f"molecule, {name}, prepare", ["molecule", "prepare", "--force", *chosen], 10, when_failed=(MEND,)),
        Step(
            f"molecule, {name}",
            ["molecule", "test", "--destroy", "never", *chosen],
            25,
            junit=f"results/molecule-{name}.xml",
            counts_itself=True,
            when_failed=(MEND, ["molecule", "cleanup", *chosen]),
        ),
    ]


def emulated_step() -> Step:
    """The scenario that has a lab of its own, from its first step to its last."""
    command = ["molecule", "test", "--scenario-name", EMULATED]
    report = f"results/molecule-{EMULATED}.xml"
    return Step(f"molecule, {EMULATED}", command, 40, junit=report, counts_itself=True)


def soak(_args: argparse.Namespace) -> list[Step]:
    report = RESULTS / "soak.xml"
    return [
        Step("soak, lab up", soak_lab("up"), 30, frame=True),
        Step("soak", ["pytest", "-rA", f"--junitxml={report}", "tests/soak"], 180, junit="results/soak.xml"),
    ]


def soak_lab(direction: str) -> list[str]:
    """The scenarios' machines, in a lab of the soak's own."""
    return [
        "ansible-playbook",
        f"playbooks/lab_{direction}.yml",
        "-e",
        "@molecule/shared/lab.yml",
        "-e",
        "lab_name=soak",
    ]


PARTS = {"lint": lint, "sanity": sanity, "unit": unit, "molecule": molecule, "soak": soak}
# Runs only when it is asked for: longer than a gate should take.
ON_DEMAND = {"soak"}
# What leaves nothing behind after a part, whatever became of it.
AFTER = {
    "molecule": Step("molecule, lab down", ["molecule", "destroy"], 5, frame=True),
    "soak": Step("soak, lab down", soak_lab("down"), 5, frame=True),
}


def read_reports(paths: Iterable[Path]) -> Count:
    count = Count()
    for path in paths:
        try:
            report = ElementTree.parse(path)
        except ElementTree.ParseError:  # its writer was ended half-way
            count.failures.append(f"{path.name}: cut off")
            continue
        for case in report.iter("testcase"):
            if (trouble := next((one for one in case if one.tag in ("failure", "error")), None)) is not None:
                reason = " ".join((trouble.get("message") or trouble.text or "").split())
                count.failures.append(f"{path.stem}: {case.get('name')}: {reason[:REASON]}")
            elif case.find("skipped") is not None:
                count.skipped += 1
            else:
                count.passed += 1
    return count


def execute(command: Sequence[str], minutes: float, directory: Path = ROOT) -> tuple[int, str]:
    """The command's exit code, and what looks like its last complaint; what it prints is passed on.

    A command that takes too long is ended with everything it started.
    """
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    complaints = [""]

    def pass_on() -> None:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if COMPLAINT.search(line):
                complaints[0] = COLOUR.sub("", line).strip()[:REASON]

    reader = threading.Thread(target=pass_on, daemon=True)
    reader.start()
    try:
        code = process.wait(minutes * 60)
    except subprocess.TimeoutExpired:
        code, complaints[0] = 124, f"not done after {minutes:g} minutes, ended"
        print(f"{' '.join(command)}: {complaints[0]}", flush=True)
    finally:
        if process.poll() is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(process.pid, number)
                try:
                    process.wait(20)
                    break
                except subprocess.TimeoutExpired:
                    continue
        reader.join(5)  # what a step leaves running may hold its output open
    return code, complaints[0]


def remove_reports(step: Step) -> None:
    for path in BUILD.glob(step.junit) if step.junit else []:
        path.unlink()


def run(step: Step) -> Count:
    if not step.begun:
        remove_reports(step)
    if step.before:
        step.before()
    print(f"\n==== {step.name}", flush=True)
    start = time.monotonic()
    code, complaint = execute(step.command, step.minutes, step.directory)
    count = Count()
    if step.junit:
        count += read_reports(BUILD.glob(step.junit))
        if count.passed + count.failed == 0:
            count.failures.append(f"{step.name}: no test ran, exit code {code}: {complaint}")
    if code and (step.counts_itself or not count.failed):
        count.failures.append(f"{step.name}: exit code {code}: {complaint}")
    elif not code and not step.frame and (step.counts_itself or not step.junit):
        count.passed += 1
    for clearing in step.when_failed if count.failed else ():
        code_then, complaint = execute(clearing, step.minutes)
        if complaint:
            count.failures.append(f"{step.name}, afterwards: exit code {code_then}: {complaint}")
    print(f"==== {step.name}: {count}, exit code {code}, {time.monotonic() - start:.0f} s", flush=True)
    return count


def run_part(name: str, args: argparse.Namespace) -> Count:
    count = Count()
    steps = PARTS[name](args)
    try:
        for position, step in enumerate(steps):
            result = run(step)
            count += result
            if result.failed and step.frame:
                rest = steps[position + 1 :]
                print(f"{name}: without it these cannot run: {', '.join(left.name for left in rest)}", flush=True)
                count.failures += [f"{left.name}: not run, {step.name} failed" for left in rest]
                break
    finally:
        if name == "molecule":
            stop_beside(args)
        if name in AFTER and not args.keep:
            count += run(AFTER[name])
    return count


def stop_beside(args: argparse.Namespace) -> None:
    for beside in args.beside:
        beside.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="*", help=f"what to run: {', '.join(PARTS)}; all but soak by default")
    parser.add_argument("--scenario", action="append", default=[], help="only this molecule scenario; may be repeated")
    parser.add_argument("--keep", action="store_true", help="use the lab that is up, if any, and leave it running")
    args = parser.parse_args()
    wanted = args.part or [name for name in PARTS if name not in ON_DEMAND]
    args.beside = []
    for name in wanted:
        if name not in PARTS:
            parser.error(f"no part {name}: {', '.join(PARTS)}")
    # Ended from outside, it takes the lab down like after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    RESULTS.mkdir(parents=True, exist_ok=True)

    total, lines = Count(), []
    # Parts that need no lab use one core, and the lab's kernel takes minutes to compile.
    if "molecule" in wanted[1:] and args.scenario != [EMULATED]:
        args.beside.append(Beside("lab", lab_steps(args)))
        args.beside[0].start()
    try:
        for name in wanted:
            start = time.monotonic()
            count = run_part(name, args)
            total += count
            lines.append(f"{name:<10} {count}, {time.monotonic() - start:.0f} s")
    except BaseException:  # ended before the part began that takes the lab down
        if args.beside:
            stop_beside(args)
            if not args.keep:
                run(AFTER["molecule"])
        raise
    closing = f"{total.passed} passed, {total.failed} failed"
    (RESULTS / "closing-line.txt").write_text(closing + "\n", encoding="utf-8")
    print("", *(f"FAILED {failure}" for failure in total.failures), *lines, closing, sep="\n", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
