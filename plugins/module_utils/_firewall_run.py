# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of `firewall`: rules are applied under a timer that undoes them, confirmed, or removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ._errors import LvsError
from ._firewall_host import BACKENDS, NFTABLES, FirewallHost, Texts, count
from ._firewall_keep import UNDO_UNIT, Keep, Record
from ._firewall_model import merged, parse
from ._ledger import Ledger

STATES = ("present", "merged", "confirmed", "absent")
UNDO_AFTER = (5, 3600)


@dataclass
class Request:
    """What one run is asked for."""

    config: Mapping[str, Any] = field(default_factory=dict)
    backend: str = "auto"
    state: str = "present"
    undo_after: int = 60
    check: bool = False
    root: str = "/"


@dataclass
class Outcome:
    """What one run found and did, or would do; texts are rules by place."""

    backend: str = ""
    confirmed: bool = True
    before: Texts = field(default_factory=dict)
    after: Texts = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    leaving: int = 0

    def result(self) -> dict[str, Any]:
        """The results of the module."""
        before, after = as_text(self.before), as_text(self.after)
        found = {
            "changed": bool(self.commands),
            "backend": self.backend,
            "confirmed": self.confirmed,
            "leaving": self.leaving,
            "before": before,
            "after": after,
            "commands": self.commands,
            "diff": [],
        }
        if before != after:
            header = {"before_header": "firewall", "after_header": "firewall"}
            found["diff"] = [{**header, "before": before, "after": after}]
        return found


def as_text(texts: Texts) -> str:
    """Rules of several places, one after the other."""
    return "".join(text if place == NFTABLES else f"# {place}\n{text}" for place, text in texts.items())


def run(request: Request, host: FirewallHost | None = None, keep: Keep | None = None) -> Outcome:
    """Carry a request out, or in check mode tell what would be done. Raises LvsError."""
    if request.state not in STATES or request.backend not in BACKENDS:
        raise LvsError(f"state {request.state!r} or backend {request.backend!r} is unknown")
    if not UNDO_AFTER[0] <= request.undo_after <= UNDO_AFTER[1]:
        raise LvsError("undo_after {} is not a number of seconds from {} to {}".format(request.undo_after, *UNDO_AFTER))
    parse(request.config if request.state in ("present", "merged") else {})
    host = host or FirewallHost(request.root)
    one = _Run(request, host, keep or Keep(host))
    with Ledger(one.lock, write=not request.check):
        if request.state == "confirmed":
            return one.confirmed()
        config, leaving = one.config()
        outcome = one.absent() if parse(config).empty else one.present(config)
        outcome.leaving = leaving
        return outcome


class _Run:
    def __init__(self, request: Request, host: FirewallHost, keep: Keep) -> None:
        self.request = request
        self.host = host
        self.keep = keep
        # The ledger's lock is for all that is remembered of this host.
        self.lock = f"{request.root.rstrip('/')}/var/lib/lvs"

    # ---- present

    def config(self) -> tuple[Mapping[str, Any], int]:
        """What is to be true, and how many entries of it only because they are now."""
        if self.request.state == "absent":
            return {}, 0
        record = self.keep.record("record")
        if self.request.state == "present" or record is None:
            return self.request.config, 0
        return merged(self.request.config, record.config)

    def present(self, config: Mapping[str, Any]) -> Outcome:
        self.keep.must_have_systemd()
        backend = self.host.resolve(self.request.backend, self.request.check)
        want = self.host.render(backend, parse(config))
        pending = self.keep.record("pending")
        if pending is None and self.keep.record("undone") is not None and not self.request.check:
            self.keep.disarm()  # the undo may be at work
        have: Texts = self.host.read()
        if pending is not None:
            same = have == pending.listing and want == pending.rendered
            if same and self.keep.undo_waits() and self._armed_again():
                # An earlier run did not get as far as to confirm. The rules stay; there is time again to confirm them.
                return Outcome(pending.backend, False, pending.rendered, pending.rendered)
            have = self._back_to_confirmed(have)
        record = self.keep.record("record") or Record()
        if pending is None and have == record.listing and want == record.rendered:
            steps = self.keep.changes(want)
            if not self.request.check:
                self.keep.forget("undone.json")
                self.keep.carry_out(steps, want)
            return Outcome(backend, True, want, want, steps)
        outcome = Outcome(backend, False, *_difference(record, have, want), self._commands(have, want))
        if not self.request.check:
            self._apply(Record(backend, want, config=config), have)
        return outcome

    def _armed_again(self) -> bool:
        """Whether the timer could be set anew; not if the undo was faster."""
        if self.request.check:
            return True
        self.keep.disarm()
        if self.keep.record("pending") is None:
            return False
        self.keep.arm(self.request.undo_after)
        return True

    def _back_to_confirmed(self, have: Texts) -> Texts:
        """What an earlier run left unconfirmed is not what the next undo may lead back to."""
        if self.request.check:
            return have
        self.keep.disarm()
        if self.keep.record("pending") is not None:
            said = self.keep.run_undo()
            if said:
                raise LvsError(f"The rules that an earlier run left unconfirmed cannot be undone: {said}")
        return self.host.read()

    def _commands(self, have: Texts, want: Texts) -> list[str]:
        lines = [f"systemd-run --unit={UNDO_UNIT} --on-active={self.request.undo_after} /bin/sh undo.sh"]
        for place in _order(have, want):
            rules = count(place, want.get(place, ""))
            if have.get(place) is not None and not rules:
                lines.append(f"remove {place}")
            else:
                words, _given = self.host.command(place, "", "")
                suffix = "" if place == NFTABLES else f", table {place.split()[2]}"
                lines.append(f"{' '.join(words).strip()}  # {rules} rules{suffix}")
        return lines

    def _apply(self, record: Record, have: Texts) -> None:
        want = record.rendered
        self.keep.forget("undone.json")
        self.keep.write_undo(have, want)
        self.keep.remember("pending", record)
        try:
            self.keep.arm(self.request.undo_after)
        except LvsError:
            self.keep.forget("pending.json", "undo.sh")
            raise
        try:
            for place in _order(have, want):
                self.host.write(place, have.get(place, ""), want.get(place, ""))
            record.listing = self._read_back(want)
            if self.keep.record("pending") is None:
                raise LvsError(f"Applying took longer than {self.request.undo_after} seconds; raise undo_after.")
            self.keep.remember("pending", record)
        except LvsError as error:
            self.keep.disarm()
            said = self.keep.run_undo()
            self.keep.forget("undo.sh")
            end = f"NOT put back: {said}" if said else "The rules are as they were before."
            raise LvsError(f"{error.message.rstrip('.')}. {end}", **error.details) from error

    def _read_back(self, want: Texts) -> dict[str, str]:
        now = self.host.read()
        for place in sorted({*now, *want}):
            there, asked = count(place, now.get(place, "")), count(place, want.get(place, ""))
            if there != asked:
                raise LvsError(
                    f"The kernel took {asked} rules for {place} and shows {there}. Something else changes them."
                )
        return now

    # ---- confirmed

    def confirmed(self) -> Outcome:
        pending, record = self.keep.record("pending"), self.keep.record("record")
        if pending is None:
            if self.keep.record("undone") is not None:
                raise LvsError(
                    "The rules were not confirmed in time and the timer has undone them; those from before are in"
                    " place. Either they cut the connection, or undo_after is too short. Run again with state=present."
                )
            return Outcome() if record is None else self._kept(record)
        if self.host.read() != pending.listing:
            if not self.request.check:
                self._back_to_confirmed({})
                self.keep.forget("undo.sh")
            raise LvsError(
                "The rules in the kernel are not those that were applied: the host was restarted, or something else"
                " changed them. Those from before are in place again. Run again with state=present."
            )
        if not self.request.check:
            if not self.keep.confirm():
                return self.confirmed()
            self.keep.disarm()
            self.keep.forget("undo.sh")
        outcome = self._kept(pending)
        outcome.commands.insert(0, f"systemctl stop {UNDO_UNIT}.timer")
        return outcome

    def _kept(self, record: Record) -> Outcome:
        """The rules come back at the next boot."""
        steps = self.keep.changes(record.rendered)
        if not self.request.check:
            self.keep.carry_out(steps, record.rendered)
        return Outcome(record.backend, True, record.rendered, record.rendered, steps)

    # ---- absent

    def absent(self) -> Outcome:
        """Nothing of ours, in no backend; this takes restrictions away and needs no undo."""
        have = self.host.read()
        applied = [self.keep.record(name) for name in ("pending", "undone")]
        commands = [f"systemctl stop {UNDO_UNIT}.timer"] if applied[0] else []
        commands += [f"remove {place}" for place in have]
        steps = self.keep.changes({})
        if not self.request.check:
            if any(applied):
                self.keep.disarm()
            self.keep.forget("pending.json", "undone.json", "undo.sh")
            # Once more: an undo that was under way has put rules back.
            for place, text in self.host.read().items():
                self.host.write(place, text, "")
            self.keep.carry_out(steps, {})
            self.keep.forget("record.json")
        return Outcome("", True, have, {}, commands + steps)


def _order(have: Texts, want: Texts) -> list[str]:
    """Places that change: what is wanted first, then what goes."""
    return [*want, *(place for place in have if place not in want)]


def _difference(record: Record, have: Texts, want: Texts) -> tuple[Texts, Texts]:
    """What to show: two texts of one kind, as the kernel writes rules otherwise than we."""
    if have == record.listing:
        return record.rendered, want
    if want == record.rendered:  # somebody changed them by hand
        return have, record.listing
    return have, want
