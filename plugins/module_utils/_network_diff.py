# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted x what was found x what we remember: the operations, in order, each with its way back; pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Iterable, Mapping

from . import _sysctl_effects as effects
from ._network_check import CREATED, PRESENT, Found
from ._network_model import SECTIONS, Address, Device, Item, Module, Route, Rule, Sysctl, parse, same_route

Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Operation:
    """One change of the running host: ``verb`` is modprobe, sysctl (key, value), ip or announce (address, device)."""

    verb: str
    words: tuple[str, ...]
    what: str
    family: str = ""
    undo: tuple[Operation, ...] = ()

    def command(self) -> str:
        """The change as a person would type it."""
        if self.verb == "sysctl":
            return f"sysctl -w {self.words[0]}={self.words[1]!s}".replace("\t", " ")
        if self.verb == "announce":
            address, device = self.words
            if ":" in address:
                return f"ndsend {address} {device}"
            return f"arping -U -c 3 -I {device} {address}"
        family = {"ipv4": "-4 ", "ipv6": "-6 "}.get(self.family, "")
        return f"{self.verb} {family}{' '.join(self.words)}"


@dataclass
class Difference:
    """All that one run would do, before any of it is done."""

    bring: list[Operation] = field(default_factory=list)  # modules and devices; the host is read again after them
    arrive: list[Operation] = field(default_factory=list)
    leave: list[Operation] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the ledger, to be saved before the change
    forget: list[str] = field(default_factory=list)  # of the ledger, to go after the change
    leaving: list[Item] = field(default_factory=list)  # ours, but not wanted (any more)
    drain: list[Address] = field(default_factory=list)  # the addresses that go
    before: list[Item] = field(default_factory=list)
    after: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def operations(self) -> list[Operation]:
        return [*self.bring, *self.arrive, *self.leave]


def item_of(entry: Mapping[str, Any]) -> Item:
    """The wanted item that a ledger entry remembers."""
    return parse({str(entry["section"]): [entry["want"]]}, "ledger")[0]


def remembered(entries: Entries) -> dict[str, Item]:
    """Our items of the ledger, by identity."""
    return {ident: item_of(entry) for ident, entry in entries.items() if entry.get("section") in SECTIONS}


def derived(want: Iterable[Item], entries: Entries, found: Found, keep: bool) -> list[Sysctl]:
    """Settings that follow from wanted ones: accept_ra=2 before IPv6 forwarding. ``keep``: what we remember counts."""
    kept = {ident: item for ident, item in remembered(entries).items() if not entries[ident].get("derived")}
    wanted = [*(kept.values() if keep else ()), *want]
    stated = {item.key: item.value for item in wanted if isinstance(item, Sysctl)}
    forwarding = any(stated.get(key, "0") != "0" for key in effects.FORWARD_IPV6)
    # Nobody advertises routes on a tunnel or dummy device of ours.
    devices = {item.name for item in (*want, *kept.values()) if isinstance(item, Device)}
    interfaces = [name for name in found.interfaces if name not in devices]
    values = dict(found.sysctls)
    for entry in entries.values():
        # What counts is the value without us: one that leaves in this run is back by then.
        if entry.get("section") == "sysctls" and values.get(entry["want"]["key"]) is not None:
            values[entry["want"]["key"]] = str(entry["before"])
    needed = effects.router_advertisements(forwarding, values, interfaces)
    return [Sysctl(key, value) for key, value in needed.items() if key not in stated]


def compare(config: list[Item], found: Found, entries: Entries, remove: bool) -> Difference:
    """The difference between the host and a config. ``remove``: what is ours and not in the config goes."""
    extra = derived(config, entries, found, keep=not remove)
    return _Comparison(config, extra, found, entries).run(remove)


class _Comparison:
    """One comparison; a method for each kind of item and direction."""

    def __init__(self, config: list[Item], extra: list[Sysctl], found: Found, entries: Entries) -> None:
        # Forwarding moves other settings, and what follows from a setting has to stand before it.
        sysctls = {item.key: item for item in config if isinstance(item, Sysctl)}
        others = [item for item in config if not isinstance(item, Sysctl)]
        self.want: list[Item] = [*extra, *(sysctls[key] for key in effects.in_order(sysctls)), *others]
        self.wanted = {item.ident: item for item in self.want}
        self.derived = {item.ident for item in extra}
        self.found = found
        self.entries = entries
        self.ours = remembered(entries)
        self.now = dict(found.sysctls)
        self.result = Difference()

    def run(self, remove: bool) -> Difference:
        gone = {ident: item for ident, item in self.ours.items() if ident not in self.wanted}
        self.result.leaving = [item for ident, item in gone.items() if not self.entries[ident].get("derived")]
        self._of(Module, self.want, self._module)
        self._of(Device, self.want, self._create)
        self._of(Sysctl, self.want, self._sysctl)
        self._of(Device, self.want, self._device)
        self._of(Address, self.want, self._address)
        self._of(Route, self.want, self._route)
        self._of(Rule, self.want, self._rule)
        if remove:
            self.result.forget = list(gone)
            leaving = list(gone.values())
            self._of(Address, leaving, self._address_leaves)
            self._of(Rule, leaving, self._rule_leaves)
            self._of(Route, leaving, self._route_leaves)
            self._of(Device, leaving, self._device_leaves)
            self._sysctls_leave([item for item in leaving if isinstance(item, Sysctl)])
            self._of(Device, leaving, self._device_goes)
            self._of(Module, leaving, self._module_leaves)
        return self.result

    @staticmethod
    def _of(kind: type, items: Iterable[Item], treat: Any) -> None:
        for item in items:
            if isinstance(item, kind):
                treat(item)

    def _record(self, item: Item, before: Any, moved: Mapping[str, str] | None = None) -> None:
        """Remember what is wanted now; what stood there before is remembered once, the first time."""
        earlier = self.entries.get(item.ident)
        entry: dict[str, Any] = {
            "section": item.section,
            "want": item.config(),
            "before": earlier["before"] if earlier else before,
        }
        # A run that ended half-way may have left any of these; the run that ends well forgets them.
        wants = [*earlier.get("was", ()), earlier["want"]] if earlier else []
        was = [want for number, want in enumerate(wants) if want != entry["want"] and want not in wants[:number]]
        if was:
            entry["was"] = was
        moves = {**(moved or {}), **((earlier or {}).get("moved") or {})}
        if moves:
            entry["moved"] = moves
        if item.ident in self.derived:
            entry["derived"] = True
        self.result.records[item.ident] = entry

    def _set_by_us(self, item: Item) -> list[Any]:
        """The forms of an item that we have set, the last one first."""
        entry = self.entries[item.ident]
        return [item, *(item_of({"section": entry["section"], "want": want}) for want in entry.get("was", ()))]

    def _show(self, before: Iterable[Item], after: Iterable[Item]) -> None:
        self.result.before += before
        self.result.after += after

    # ---- modules

    def _module(self, item: Module) -> None:
        there = self.found.modules.get(item.name) in PRESENT
        self._record(item, None)
        if not there:
            self.result.bring.append(Operation("modprobe", (item.name,), item.ident))
        self._show([item] if there else [], [item])

    def _module_leaves(self, item: Module) -> None:
        # It may have got other users since: it stays loaded, only the next boot does not load it for us.
        there = self.found.modules.get(item.name) in PRESENT
        self._show([item] if there else [], [item] if there else [])

    # ---- sysctls

    def _original(self, key: str) -> str | None:
        """What a setting was before us: an entry of its own knows, or that of the setting which moved it."""
        own = self.entries.get(Sysctl(key, "").ident)
        if own:
            return str(own["before"])
        for entry in self.entries.values():
            if key in (entry.get("moved") or {}):
                return str(entry["moved"][key])
        return self.found.sysctls.get(key)

    def _write(self, key: str, value: str) -> dict[str, str]:
        """Note that a setting gets a value; returns what the kernel moves by that, with the values from before.

        Also what keeps its value this time: the way back may move it.
        """
        self.now[key] = value
        moved = {}
        for name, moved_value in effects.moves(key, value, self.found.interfaces).items():
            have = self.now.get(name)
            if have is not None:
                moved[name] = have
                self.now[name] = moved_value
        return moved

    def _sysctl(self, item: Sysctl) -> None:
        before = self.found.sysctls.get(item.key)
        have = self.now.get(item.key)
        moved: dict[str, str] = {}
        if have != item.value:
            moved = self._write(item.key, item.value)
            self.result.arrive.append(self._sysctl_operation(item.key, item.value, have, moved))
        originals = {key: str(self._original(key)) for key in moved}
        if originals:
            general = ", ".join(key for key in originals if not effects.interface_of(key))
            also = f"{general} and forwarding of the interfaces" if general else "forwarding of the interfaces"
            self.result.notes.append(f"{item.key} also moves {also}; all of it goes back with it.")
        original = self._original(item.key)
        if original is not None:
            self._record(item, original, originals)
        self._show([Sysctl(item.key, before)] if before is not None else [], [item])

    @staticmethod
    def _sysctl_operation(key: str, value: str, have: str | None, moved: Mapping[str, str]) -> Operation:
        ident = Sysctl(key, value).ident
        back = [] if have is None else [(key, have), *moved.items()]
        undo = tuple(Operation("sysctl", pair, f"sysctl {pair[0]}") for pair in back)
        return Operation("sysctl", (key, value), ident, undo=undo)

    def _put_back(self, key: str, value: str) -> None:
        have = self.now.get(key)
        if have is None or have == value:
            return
        moved = self._write(key, value)
        self.result.leave.append(self._sysctl_operation(key, value, have, moved))

    def _sysctls_leave(self, leaving: list[Sysctl]) -> None:
        by_key = {item.key: item for item in leaving}
        for key in effects.in_order(by_key):
            entry = self.entries[by_key[key].ident]
            self._put_back(key, str(entry["before"]))
            for name, value in (entry.get("moved") or {}).items():
                # One of our own goes back by its own entry, or stays wanted.
                if Sysctl(name, "").ident not in {**self.ours, **self.wanted}:
                    self._put_back(name, str(value))
        for item in self.want:
            if isinstance(item, Sysctl):
                self._put_back(item.key, item.value)
        for key in by_key:
            before, after = self.found.sysctls.get(key), self.now.get(key)
            self._show(
                [Sysctl(key, before)] if before is not None else [], [Sysctl(key, after)] if after is not None else []
            )

    # ---- devices

    def _create(self, item: Device) -> None:
        have = self.found.devices.get(item.name)
        self._record(item, {"there": have is not None, "up": have is not None and have.up})
        if have is None and item.kind in CREATED and item.name not in effects.FALLBACK_DEVICES:
            self.result.bring.append(self._make(item))

    @staticmethod
    def _make(item: Device) -> Operation:
        undo = Operation("ip", ("link", "del", item.name), item.ident)
        words = ("link", "add", item.name, "type", item.kind)
        return Operation("ip", words, item.ident, undo=(undo,))

    def _switch(self, item: Device, up: bool) -> Operation:
        words = ("link", "set", item.name, "up" if up else "down")
        back = ("link", "set", item.name, "down" if up else "up")
        return Operation("ip", words, item.ident, undo=(Operation("ip", back, item.ident),))

    def _device(self, item: Device) -> None:
        have = self.found.devices.get(item.name)
        if have is None or not have.up:
            self.result.arrive.append(self._switch(item, True))
        self._show([item] if have and have.up else [], [item])

    def _device_leaves(self, item: Device) -> None:
        have = self.found.devices.get(item.name)
        before = self.entries[item.ident]["before"] or {}
        if have and have.up and not before.get("up"):
            self.result.leave.append(self._switch(item, False))
        self._show([item] if have and have.up else [], [item] if have and have.up and before.get("up") else [])

    def _device_goes(self, item: Device) -> None:
        """Last of all, since the settings of the device go back before."""
        before = self.entries[item.ident]["before"] or {}
        made = not before.get("there") and item.kind in CREATED and item.name not in effects.FALLBACK_DEVICES
        if made and item.name in self.found.devices:
            undo = (self._make(item),)
            self.result.leave.append(Operation("ip", ("link", "del", item.name), item.ident, undo=undo))

    # ---- addresses

    @staticmethod
    def _address_operation(verb: str, item: Address, undo: tuple[Operation, ...] = ()) -> Operation:
        words = ["addr", verb, f"{item.address}/{item.prefix}", "dev", item.device]
        if verb != "del" and item.nodad:
            words.append("nodad")
        if verb == "change":
            words += ["valid_lft", "forever", "preferred_lft", "0" if item.deprecated else "forever"]
        elif verb == "add" and item.deprecated:
            words += ["preferred_lft", "0"]
        return Operation("ip", tuple(words), item.ident, item.family, undo)

    def _add(self, item: Address) -> Operation:
        return self._address_operation("add", item, (self._address_operation("del", item),))

    def _del(self, item: Address) -> Operation:
        return self._address_operation("del", item, (self._address_operation("add", item),))

    def _edit(self, old: Address, new: Address) -> list[Operation]:
        """From one form of an address to the other; a prefix length or a failed detection needs it taken off."""
        if old.prefix != new.prefix or old.ident in self.found.clashed:
            return [self._del(old), self._add(new)]
        if old.deprecated != new.deprecated:
            kept = replace(new, nodad=old.nodad or new.nodad)
            return [self._address_operation("change", kept, (self._address_operation("change", old),))]
        return []

    def _address(self, item: Address) -> None:
        have = self.found.addresses.get(item.ident)
        before = None if have is None else {"prefix": have.prefix, "deprecated": have.deprecated, "nodad": have.nodad}
        self._record(item, before)
        operations = [self._add(item)] if have is None else self._edit(have, item)
        if item.announce and any(operation.words[1] == "add" for operation in operations):
            operations.append(Operation("announce", (item.address, item.device), item.ident))
        self.result.arrive += operations
        shown = [] if have is None else [replace(have, announce=item.announce, nodad=item.nodad)]
        self._show(shown, [item])

    def _address_leaves(self, item: Address) -> None:
        found = self.found.addresses.get(item.ident)
        if found is None:
            return
        have = replace(found, announce=item.announce)
        before = self.entries[item.ident]["before"]
        if before is None:
            self.result.drain.append(have)
            self.result.leave.append(self._del(have))
            self._show([have], [])
            return
        old = Address(item.address, before["prefix"], item.device, before["nodad"], before["deprecated"])
        self.result.leave += self._edit(have, old)
        self._show([have], [old])

    # ---- routes

    @staticmethod
    def _route_operation(verb: str, item: Route, words: Iterable[str], undo: tuple[Operation, ...] = ()) -> Operation:
        return Operation("ip", ("route", verb, *words), item.ident, item.family, undo)

    def _route(self, item: Route) -> None:
        have = self.found.routes.get(item.ident)
        words = self.found.route_words.get(item.ident, ())
        self._record(item, None if have is None else {"words": list(words), "route": have.config()})
        if have is None:
            undo = self._route_operation("del", item, item.words())
            self.result.arrive.append(self._route_operation("add", item, item.words(), (undo,)))
            self._show([], [item])
        elif same_route(item, have, self.ours.get(item.ident)):
            self._show([have], [have])
        else:
            undo = self._route_operation("replace", item, words)
            self.result.arrive.append(self._route_operation("replace", item, item.words(), (undo,)))
            self._show([have], [item])

    def _route_leaves(self, item: Route) -> None:
        have = self.found.routes.get(item.ident)
        words = self.found.route_words.get(item.ident, ())
        before = self.entries[item.ident]["before"]
        shown: list[Item] = [] if have is None else [have]
        after = shown
        if before is None and have is not None and any(same_route(ours, have, ours) for ours in self._set_by_us(item)):
            undo = self._route_operation("add", item, words)
            self.result.leave.append(self._route_operation("del", item, words, (undo,)))
            self._show(shown, [])
            return
        if before is None and have is not None:
            self.result.notes.append(f"{have.line()} stays: it is not what we had set ({item.line()}).")
        if before is not None and tuple(before["words"]) != words:
            old = tuple(str(word) for word in before["words"])
            device = old[old.index("dev") + 1] if "dev" in old else ""
            if device and device not in self.found.devices:
                self.result.notes.append(f"{item.ident}: what stood there before cannot come back, {device} is gone.")
            else:
                back = "del" if have is None else "replace"
                undo = self._route_operation(back, item, words or old)
                self.result.leave.append(self._route_operation("replace", item, old, (undo,)))
                after = parse({"routes": [before["route"]]}, "ledger")
        self._show(shown, after)

    # ---- rules

    @staticmethod
    def _rule_operation(verb: str, item: Rule) -> Operation:
        back = Operation("ip", ("rule", "del" if verb == "add" else "add", *item.words()), item.ident, item.family)
        return Operation("ip", ("rule", verb, *item.words()), item.ident, item.family, (back,))

    def _exchange(self, have: list[Rule], new: list[Rule]) -> list[Operation]:
        """First what comes, then what goes, so that no packet meets the priority without a rule."""
        comes = [self._rule_operation("add", rule) for rule in new if rule not in have]
        return comes + [self._rule_operation("del", rule) for rule in have if rule not in new]

    def _rule(self, item: Rule) -> None:
        have = self.found.rules.get(item.ident, [])
        self._record(item, [rule.config() for rule in have])
        self.result.arrive += self._exchange(have, [item])
        self._show(have, [item])

    def _rule_leaves(self, item: Rule) -> None:
        have = self.found.rules.get(item.ident, [])
        before = {"rules": self.entries[item.ident]["before"]}
        old = [rule for rule in parse(before, "ledger") if isinstance(rule, Rule)]
        # A rule that is neither ours nor from before is somebody else's.
        strange = [rule for rule in have if rule not in self._set_by_us(item) and rule not in old]
        self.result.leave += self._exchange(have, [*old, *strange])
        self._show(have, [*old, *strange])
