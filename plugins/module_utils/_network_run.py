# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of `network`: read, compare, remember, write, verify; what was done before a failure is undone."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Sequence

from . import _ledger, _network_files
from ._errors import LvsError
from ._ledger import Ledger
from ._network_check import Found, foresee, problems
from ._network_diff import Difference, Operation, compare, remembered
from ._network_files import FileChange
from ._network_kernel import Kernel, Needs, Refused
from ._network_model import Address, Item, Module, as_config, parse

STATES = ("merged", "pruned", "replaced", "absent")
DRAIN_POLL = 0.5


@dataclass
class Request:
    """What one run is asked for."""

    config: Mapping[str, Any]
    state: str = "merged"
    drain_timeout: float = 0
    persist: bool = True
    check: bool = False
    root: str = "/"


@dataclass
class Outcome:
    """What one run found and did, or would do."""

    difference: Difference
    files: list[FileChange] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.commands or self.files)

    def result(self) -> dict[str, Any]:
        """The results of the module."""
        return {
            "changed": self.changed,
            "before": as_config(self.difference.before),
            "after": as_config(self.difference.after),
            "commands": self.commands,
            "leaving": [self._leaving(item) for item in self.difference.leaving],
            "notes": self.difference.notes,
            "diff": self.diff(),
        }

    def _leaving(self, item: Item) -> dict[str, Any]:
        config = item.config()
        what = {"name": config} if isinstance(item, Module) else dict(config)
        if isinstance(item, Address) and item.address in self.connections:
            what["connections"] = self.connections[item.address]
        return {"section": item.section, **what}

    def diff(self) -> list[dict[str, str]]:
        """One difference for the running host, one for each file; the saved config only where nothing else tells it."""
        parts = []
        before = "".join(f"{item.line()}\n" for item in self.difference.before)
        after = "".join(f"{item.line()}\n" for item in self.difference.after)
        if before != after:
            parts.append({"before_header": "network", "after_header": "network", "before": before, "after": after})
        for change in self.files:
            if parts and change.path.endswith(_network_files.CONFIG):
                continue
            parts.append(
                {
                    "before_header": change.path,
                    "after_header": change.path,
                    "before": change.before or "",
                    "after": change.after or "",
                }
            )
        return parts


def run(request: Request, kernel: Kernel | None = None) -> Outcome:
    """Carry a request out, or in check mode tell what would be done. Raises LvsError."""
    if request.state not in STATES:
        raise LvsError(f"state {request.state!r} is not one of {', '.join(STATES)}")
    config = [] if request.state == "absent" else parse(request.config)
    kernel = kernel or Kernel(request.root)
    directory = os.path.join(request.root, _ledger.DIRECTORY.lstrip("/"))
    with Ledger(directory, write=not request.check) as ledger:
        return _Run(request, config, kernel, ledger).run()


class _Run:
    """The state of one run while the ledger is held."""

    def __init__(self, request: Request, config: list[Item], kernel: Kernel, ledger: Ledger) -> None:
        self.request = request
        self.config = config
        self.kernel = kernel
        self.ledger = ledger
        self.remove = request.state != "merged"
        self.entries: dict[str, dict[str, Any]] = dict(ledger.entries)
        self.before_run = dict(self.entries)
        if request.state == "pruned":
            # Neither adds nor edits: what is ours and still wanted stays as it is, so check mode after a `merged` that
            # was only foretold shows the removals and nothing twice.
            ours = remembered(self.entries)
            self.config = [ours[item.ident] for item in config if item.ident in ours]
        self.done: list[Operation] = []
        self.written: list[FileChange] = []

    def run(self) -> Outcome:
        found = self._read()
        self._judge(found)
        difference = compare(self.config, foresee(self.config, found), self.entries, self.remove)
        if not self.request.check and difference.bring:
            return self._guarded(self._bring_first, difference)
        return self._guarded(self._change, difference, [])

    def _read(self) -> Found:
        return self.kernel.read(Needs.of([*self.config, *remembered(self.entries).values()], self.entries))

    def _judge(self, found: Found) -> None:
        said = problems(self.config, found)
        if said:
            raise LvsError("This host cannot give what is wanted:\n" + "\n".join(said), problems=said)

    def _guarded(self, step: Any, *arguments: Any) -> Outcome:
        try:
            outcome: Outcome = step(*arguments)
        except LvsError as error:
            raise self._undone(error) from error
        return outcome

    # ---- the steps

    def _bring_first(self, difference: Difference) -> Outcome:
        """Modules and devices bring settings with values of their own: the rest can only be compared afterwards."""
        records = difference.records.items()
        brought = {ident: entry for ident, entry in records if entry["section"] in ("modules", "devices")}
        self._remember({**self.entries, **brought})
        self._apply(difference.bring)
        found = self._read()
        self._judge(found)
        after = compare(self.config, found, self.entries, self.remove)
        after.before = difference.before
        return self._change(after, difference.bring)

    def _change(self, difference: Difference, brought: Sequence[Operation]) -> Outcome:
        files = self._files(difference)
        outcome = Outcome(difference, files)
        outcome.commands = [operation.command() for operation in (*brought, *difference.operations)]
        if difference.drain or self.request.state != "merged":
            addresses = [item.address for item in difference.leaving if isinstance(item, Address)]
            outcome.connections = self.kernel.connections(addresses) if addresses else {}
        if self.request.check:
            return outcome
        self._remember({**self.entries, **difference.records, **self._file_records(difference, files)})
        self._apply(difference.arrive)
        outcome.warnings += self._announce(difference.arrive)
        if difference.drain:
            outcome.connections.update(self._drain(difference.drain))
        self._apply(difference.leave)
        if difference.operations or brought:
            self._verify()
        for change in files:
            self.written.append(change)
            _network_files.write(change)
        self._forget(difference)
        return outcome

    def _remember(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Before the change that they record."""
        self.ledger.save(entries)
        self.entries = dict(self.ledger.entries)

    def _apply(self, operations: Sequence[Operation]) -> None:
        kernel_operations = [operation for operation in operations if operation.verb != "announce"]
        try:
            self.kernel.apply(kernel_operations)
        except Refused as refused:
            self.done += kernel_operations[: refused.done]
            raise LvsError(refused.reason) from refused
        self.done += kernel_operations

    def _announce(self, operations: Sequence[Operation]) -> list[str]:
        told = [operation.words for operation in operations if operation.verb == "announce"]
        return self.kernel.announce([(words[0], words[1]) for words in told]) if told else []

    def _drain(self, addresses: Sequence[Address]) -> dict[str, int]:
        """Wait until nobody uses the addresses any more, at most as long as asked; what is left then."""
        end = time.monotonic() + self.request.drain_timeout
        while True:
            left = self.kernel.connections([item.address for item in addresses])
            if not any(left.values()) or time.monotonic() >= end:
                return left
            time.sleep(DRAIN_POLL)

    def _verify(self) -> None:
        left = compare(self.config, self._read(), self.entries, self.remove).operations
        if left:
            said = "; ".join(operation.command() for operation in left)
            raise LvsError(
                f"The kernel took every operation, yet this did not stay: {said}. Something else sets it back."
            )

    # ---- files

    def _ours(self, difference: Difference) -> tuple[list[Item], list[Item]]:
        """The items that are ours after this run, and those among them that follow from others."""
        kept: dict[str, Item] = {}
        follow: dict[str, Item] = {}
        entries: dict[str, Mapping[str, Any]] = {**self.entries, **difference.records}
        if not self.remove:
            wanted = {item.ident for item in self.config}
            kept.update((ident, item) for ident, item in remembered(self.entries).items() if ident not in wanted)
        kept.update((item.ident, item) for item in self.config)
        for ident, item in remembered(entries).items():
            if entries[ident].get("derived"):
                kept.pop(ident, None)
                if ident not in difference.forget:
                    follow[ident] = item
        if self.remove:
            return list(kept.values()), list(follow.values())
        # An addition leaves the saved order alone, so that `merged` before `replaced` writes nothing when both are met.
        saved = _network_files.saved_order(self.request.root)
        return sorted(kept.values(), key=lambda item: saved.get(item.ident, len(saved))), list(follow.values())

    def _wanted_files(self, difference: Difference) -> dict[str, str | None]:
        kept, follow = self._ours(difference)
        return _network_files.contents(self.request.root, kept, follow)

    def _files(self, difference: Difference) -> list[FileChange]:
        if not self.request.persist and self.request.state != "absent":
            return []
        return _network_files.changes(self._wanted_files(difference), self.entries)

    def _file_records(self, difference: Difference, files: Iterable[FileChange]) -> dict[str, dict[str, Any]]:
        if not self.request.persist:
            return {}
        return _network_files.records(self._wanted_files(difference), self.entries, files)

    def _forget(self, difference: Difference) -> None:
        """After the change: what is not ours any more."""
        gone = set(difference.forget)
        if self.request.persist or self.request.state == "absent":
            gone.update(f"file {path}" for path, content in self._wanted_files(difference).items() if content is None)
        self._remember(
            {
                ident: {key: value for key, value in entry.items() if key != "was"}
                for ident, entry in self.entries.items()
                if ident not in gone
            }
        )

    # ---- failure

    def _undone(self, error: LvsError) -> LvsError:
        """Take back what this run did, latest first; the error then says what could not be."""
        if self.request.check:
            return error
        stuck = self._take_back_files()
        stuck_items = set()
        for operation in reversed(self.done):
            try:
                self.kernel.apply(operation.undo)
            except (LvsError, Refused) as failure:
                stuck.append(f"{operation.command()} (undoing it: {getattr(failure, 'reason', failure)})")
                stuck_items.add(operation.what)
        loaded = [operation.words[0] for operation in self.done if operation.verb == "modprobe"]
        earlier = dict(self.before_run)
        earlier.update((ident, entry) for ident, entry in self.entries.items() if ident in stuck_items)
        try:
            self._remember(earlier)
        except LvsError as failure:
            stuck.append(str(failure))
        text = error.message if error.message.endswith((".", "\n")) else f"{error.message}."
        if self.done and not stuck:
            text += " What this run had done before that was undone."
        if loaded:
            text += f" Loaded and left so: {', '.join(loaded)}."
        if stuck:
            text += " NOT undone: " + "; ".join(stuck) + "."
        return LvsError(text, not_undone=stuck, **error.details)

    def _take_back_files(self) -> list[str]:
        stuck = []
        for change in reversed(self.written):
            try:
                _network_files.write(FileChange(change.path, change.after, change.before))
            except LvsError as failure:
                stuck.append(str(failure))
        return stuck
