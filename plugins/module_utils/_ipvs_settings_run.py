# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over what IPVS keeps beside its table: read, compare, write the difference, verify, roll back, save."""

from __future__ import annotations

import errno
import os
from functools import partial
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, Callable, NamedTuple

from . import _ipvs_saved as saved_table
from . import _ipvs_wire as wire
from ._errors import LvsError
from ._genl import GenlError
from ._ipvs_input import Mistake, Mistakes, parse_choice, parse_integer
from ._ipvs_interface import trouble
from ._ipvs_kernel import KernelTable
from ._ipvs_reconcile import Environment
from ._ipvs_settings import (
    BACKUP,
    DEFAULT_GROUP,
    DEFAULT_PORT,
    DEFAULT_TTL,
    ROLES,
    Daemon,
    Timeouts,
    daemon_config,
    read_daemons,
    read_timeouts,
    timeouts_config,
)
from ._kernel_modules import KernelModules

MAX_TIMEOUT = 2147483  # seconds; the kernel counts in jiffies, at most 1000 of them a second, in 31 bits
MERGED, OVERRIDDEN, DELETED, ABSENT = "merged", "overridden", "deleted", "absent"
# Longer than the kernel's IFNAMSIZ allows is cut off silently.
INTERFACE_LENGTH = 15
# Bytes of a message. What is stated beyond, the kernel would correct in silence, and never show.
SHORTEST_BACKUP = 1024
LONGEST, LONGEST_IPV6 = 65507, 65487
DAEMON_OPTIONS = frozenset("role interface syncid group port ttl maxlen".split())
_STARTING = "Starting the {role} synchronisation daemon on {interface}"
_WHY = {
    errno.ENODEV: "there is no such interface",
    errno.EINVAL: "the table has realservers of another address family than their service, which cannot be "
    "synchronised; or the kernel does not take the values",
    errno.EADDRNOTAVAIL: "the interface has no address of the multicast group's family",
    errno.ENETUNREACH: "the interface is down, or has no address of the multicast group's family",
    errno.EAFNOSUPPORT: "this kernel has no IPv6 in IPVS",
    errno.EPERM: "it needs root (CAP_NET_ADMIN in the initial user namespace)",
}


class Change(NamedTuple):
    """What was found, what is there now or would be, and the lines for ipvsadm that lead there."""

    before: Any
    after: Any
    commands: list[str]


# ---- timeouts


def set_timeouts(
    stated: dict[str, Any], save: str | None = None, check: bool = False, environment: Environment | None = None
) -> dict[str, Any]:
    """What module ``ipvs_timeouts`` does; its options are documented there."""
    wanted = parse_timeouts(stated)
    environment = environment or Environment(KernelModules())
    notes: list[str] = []
    with environment.exclusive(check):
        table = _open(environment, check, notes)
        try:
            # What the kernel starts with, where it is only not loaded yet.
            before = read_timeouts(table) if table is not None else Timeouts()
            after = before._replace(**wanted)
            commands = [after.command()] if after != before else []
            if commands and table is not None and not check:
                _write_timeouts(table, wanted, after)
        finally:
            if table is not None:
                table.close()
        saved = _save(save, check, timeouts={**(_saved(save, "timeouts") or {}), **wanted})
    change = Change(timeouts_config(before), timeouts_config(after), commands)
    return _results(change, [before.command()], [after.command()], saved, save, check, notes)


def parse_timeouts(stated: dict[str, Any]) -> dict[str, int]:
    """The timeouts that are stated; 0 is what ipvsadm takes for `as it is`."""
    mistakes = Mistakes()
    wanted: dict[str, int] = {}
    for name in Timeouts._fields:
        if stated.get(name) is None:
            continue
        try:
            wanted[name] = parse_integer(stated[name], 1, MAX_TIMEOUT, name)
        except Mistake as exc:
            mistakes.add("timeouts", f"{exc} (seconds)")
    mistakes.raise_any()
    return wanted


def _write_timeouts(table: KernelTable, wanted: dict[str, int], after: Timeouts) -> None:
    payload = wire.pack(wire.TIMEOUTS, wanted)
    try:
        table.request(wire.SET_CONFIG, payload, "Setting the timeouts of IPVS")
    except GenlError as exc:
        raise LvsError(f"Setting the timeouts to {after.command()[6:]} seconds was refused: {exc.message}") from exc
    now = read_timeouts(table)
    if now != after:
        raise LvsError(
            f"The kernel accepted the timeouts {tuple(after)} but shows {tuple(now)} seconds (tcp, tcp_fin, udp)."
        )


# ---- daemons


def set_daemons(
    entries: Any,
    state: str = MERGED,
    save: str | None = None,
    check: bool = False,
    environment: Environment | None = None,
    lacking: Callable[[Daemon], str] = trouble,
) -> dict[str, Any]:
    """What module ``ipvs_sync`` does; its options are documented there."""
    if state == ABSENT:  # ours are those that were saved
        entries, state = [{"role": entry["role"]} for entry in _saved(save, "sync") or []], DELETED
    wanted = parse_daemons(entries, state)
    environment = environment or Environment(KernelModules())
    notes: list[str] = []
    with environment.exclusive(check):
        table = _open(environment, check or not wanted or state == DELETED, notes)
        try:
            before = {daemon.role: daemon for daemon in read_daemons(table)} if table is not None else {}
            after = _goal(before, wanted, state)
            stops = [role for role in before if after.get(role) != before[role]]
            starts = [role for role in ROLES if role in after and after[role] != before.get(role)]
            _check_interfaces([after[role] for role in starts], lacking)
            commands = [f"--stop-daemon {role}" for role in stops] + [after[role].command() for role in starts]
            if commands and table is not None and not check:
                after = _exchange(table, before, after, stops, starts)
        finally:
            if table is not None:
                table.close()
        kept = {} if state == OVERRIDDEN else {entry["role"]: entry for entry in _saved(save, "sync") or []}
        if state == DELETED:
            content = [entry for role, entry in kept.items() if role not in wanted]
        else:
            named = {role: {"role": role, **fields} for role, fields in wanted.items()}
            content = [entry for _role, entry in sorted({**kept, **named}.items(), reverse=True)]
        saved = _save(save, check, sync=content)
    change = Change(_configs(before), _configs(after), commands)
    return _results(change, _commands(before), _commands(after), saved, save, check, notes)


def parse_daemons(entries: Any, state: str) -> dict[str, dict[str, Any]]:
    """The stated fields of each role, or one error with every mistake."""
    mistakes = Mistakes()
    wanted: dict[str, dict[str, Any]] = {}
    for index, entry in enumerate(entries or ()):
        try:
            role, fields = _parse_daemon(entry, state)
            if role in wanted:
                raise Mistake(f"role {role} is there twice; a network namespace has one daemon of each role")
            wanted[role] = fields
        except Mistake as exc:
            mistakes.add(f"daemons[{index}]", str(exc))
    mistakes.raise_any()
    return wanted


def _parse_daemon(entry: Any, state: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(entry, dict):
        raise Mistake(f"{entry!r} is not a dictionary")
    unknown = sorted(map(str, set(entry) - DAEMON_OPTIONS))
    if unknown:
        raise Mistake(f"unknown option {', '.join(unknown)}; a daemon has {', '.join(sorted(DAEMON_OPTIONS))}")
    parse_choice(entry.get("role"), ROLES, "role")
    role = str(entry["role"])
    if state == DELETED:
        return role, {}
    fields: dict[str, Any] = {}
    interface = entry.get("interface")
    if interface is None:
        raise Mistake("interface missing")
    if (
        not isinstance(interface, str)
        or not 1 <= len(interface) <= INTERFACE_LENGTH
        or set(interface) & set("/ \n\t\0")
    ):
        raise Mistake(f"interface {interface!r} is no name of an interface")
    fields["interface"] = interface
    if entry.get("group") is not None:
        fields["group"] = _group(entry["group"])
    longest = LONGEST_IPV6 if ":" in fields.get("group", "") else LONGEST
    ranges = {"syncid": (0, 255), "port": (1, 65535), "ttl": (1, 255)}
    ranges["maxlen"] = (SHORTEST_BACKUP if role == BACKUP else 1, longest)
    for name, (low, high) in ranges.items():
        if entry.get(name) is not None:
            fields[name] = parse_integer(entry[name], low, high, name)
    return role, fields


def _group(value: Any) -> str:
    text = str(value)
    family = AF_INET6 if ":" in text else AF_INET
    try:
        packed = inet_pton(family, text)
    except (OSError, ValueError):
        raise Mistake(f"group {text!r} is not an IP address") from None
    if not (packed[0] == 0xFF if len(packed) == 16 else 224 <= packed[0] <= 239):
        raise Mistake(f"group {text} is not a multicast address")
    return inet_ntop(family, packed)  # as the kernel's is written here, to be compared with it


def _goal(before: dict[str, Daemon], wanted: dict[str, dict[str, Any]], state: str) -> dict[str, Daemon]:
    """The daemons that are to run. What is not stated is left as it runs: nothing else would justify a restart."""
    if state == DELETED:
        return {role: daemon for role, daemon in before.items() if role not in wanted}
    result = {} if state == OVERRIDDEN else dict(before)
    for role, fields in wanted.items():
        have = before.get(role)
        goal = have._replace(**fields) if have is not None else Daemon(role, **fields)
        if have is not None and (have.interface, ":" in have.group) != (goal.interface, ":" in goal.group):
            # The kernel's choice depends on both: the old length may not fit into one packet of the other.
            goal = goal._replace(maxlen=fields.get("maxlen", 0))
        result[role] = goal
    return result


def _check_interfaces(daemons: list[Daemon], lacking: Callable[[Daemon], str]) -> None:
    found = dict.fromkeys(text for text in map(lacking, daemons) if text)
    if found:
        raise LvsError(f"No synchronisation daemon was started or stopped: {'; '.join(found)}.", interfaces=list(found))


def _exchange(
    table: KernelTable, before: dict[str, Daemon], after: dict[str, Daemon], stops: list[str], starts: list[str]
) -> dict[str, Daemon]:
    """Stop and start; there is no edit. What cannot be started has what ran before started again.

    Returns what runs then, with the lengths that the kernel chose.
    """
    touched = set(stops)
    doing = ""
    try:
        for role in stops:
            doing = f"Stopping the {role} synchronisation daemon"
            _stop(table, role)
        for role in starts:
            doing = _STARTING.format(**after[role]._asdict())
            if _start(table, after[role]):
                touched.add(role)
        now = {daemon.role: daemon for daemon in read_daemons(table)}
    except GenlError as exc:
        text = _back(table, before, touched)
        why = _WHY.get(exc.errno, os.strerror(exc.errno))
        name = errno.errorcode.get(exc.errno, str(exc.errno))
        raise LvsError(f"{doing} was refused: {why} ({name}). {text}") from exc
    if set(now) != set(after) or not all(_same(now[role], after[role]) for role in after):
        text = _back(table, before, touched)
        raise LvsError(
            f"The kernel shows other synchronisation daemons than were started: {'; '.join(_commands(now)) or 'none'}. "
            "Another program starts them as well, or this kernel does not know one of the values (Linux 4.3 is the "
            f"first that knows group, port, ttl and maxlen). {text}"
        )
    return now


def _back(table: KernelTable, before: dict[str, Daemon], roles: set[str]) -> str:
    try:
        now = {daemon.role: daemon for daemon in read_daemons(table)}
        for role in roles:
            if role in now and now[role] != before.get(role):
                _stop(table, role)
                del now[role]
            if role in before and role not in now and not _start(table, before[role]):
                raise LvsError(f"another program started a {role} daemon")
    except LvsError as exc:
        lines = "; ".join(_commands(before))
        return f"Rolling back failed too ({exc.message}). What ran before: {lines or 'nothing'}"
    return "What ran before runs again." if before else "None runs, as before."


def _stop(table: KernelTable, role: str) -> None:
    payload = wire.nest(wire.COMMAND_DAEMON, wire.pack(wire.DAEMON, {"state": ROLES[role]}))
    try:
        table.request(wire.DEL_DAEMON, payload, f"Stopping the {role} synchronisation daemon")
    except GenlError as exc:
        if exc.errno != errno.ESRCH:  # it has ended by itself
            raise


def _same(have: Daemon, want: Daemon) -> bool:
    """Whether this runs what is wanted; a length of 0 leaves it to the kernel."""
    return have == want or have._replace(maxlen=0) == want


def _start(table: KernelTable, daemon: Daemon) -> bool:
    """Start a daemon; no where another program has just started one, which a look at what runs then tells apart."""
    values: dict[str, Any] = {"state": ROLES[daemon.role], "interface": daemon.interface, "syncid": daemon.syncid}
    # Kernels before 4.3 know only these three.
    if daemon.maxlen:
        values["maxlen"] = daemon.maxlen
    if daemon.group != DEFAULT_GROUP:
        six = ":" in daemon.group
        values["group6" if six else "group4"] = inet_pton(AF_INET6 if six else AF_INET, daemon.group)
    if daemon.port != DEFAULT_PORT:
        values["port"] = daemon.port
    if daemon.ttl != DEFAULT_TTL:
        values["ttl"] = daemon.ttl
    payload = wire.nest(wire.COMMAND_DAEMON, wire.pack(wire.DAEMON, values))
    try:
        table.request(wire.NEW_DAEMON, payload, f"Starting the {daemon.role} synchronisation daemon")
    except GenlError as exc:
        if exc.errno != errno.EEXIST:
            raise
        return False
    return True


def _commands(daemons: dict[str, Daemon]) -> list[str]:
    return [daemons[role].command() for role in ROLES if role in daemons]


def _configs(daemons: dict[str, Daemon]) -> list[dict[str, Any]]:
    return [daemon_config(daemons[role]) for role in ROLES if role in daemons]


# ---- both


def restore_settings(
    path: str,
    tell: Callable[[str], None],
    environment: Environment | None = None,
    lacking: Callable[[Daemon], str] = trouble,
) -> None:
    """Bring back what is saved at ``path`` beside the table, and tell what was done in lines for ipvsadm.

    What cannot be brought back does not keep the rest from it; the error comes last.
    """
    timeouts, sync = _saved(path, "timeouts"), _saved(path, "sync")
    steps: list[Callable[[], dict[str, Any]]] = []
    if timeouts:
        steps.append(lambda: set_timeouts(timeouts, environment=environment))
    if sync:
        parse_daemons(sync, MERGED)
        for entry in sync:
            steps.append(partial(set_daemons, [entry], environment=environment, lacking=lacking))
    errors: list[LvsError] = []
    for step in steps:
        try:
            for line in step()["commands"]:
                tell(line)
        except LvsError as exc:
            errors.append(exc)
    if errors:
        details = {key: value for error in errors for key, value in error.details.items()}
        raise LvsError(" ".join(error.message for error in errors), **details)


def _open(environment: Environment, check: bool, notes: list[str]) -> KernelTable | None:
    table = KernelTable.open(
        not check, environment.modules, environment.connect, environment.proc, must_exist=not check
    )
    if table is None:
        notes.append("Module ip_vs is not loaded; its defaults count as what is there.")
    return table


def _saved(path: str | None, name: str) -> Any:
    previous = saved_table.load(path) if path else None
    return previous.settings.get(name) if previous is not None else None


def _save(path: str | None, check: bool, **settings: Any) -> bool:
    if not path:
        return False
    return saved_table.keep_settings(path, settings, check)


def _results(
    change: Change, before: list[str], after: list[str], saved: bool, path: str | None, check: bool, notes: list[str]
) -> dict[str, Any]:
    if saved:
        notes = [*notes, f"{path} {'would be' if check else 'was'} written."]
    return {
        "changed": bool(change.commands) or saved,
        "before": change.before,
        "after": change.after,
        "commands": change.commands,
        "diff": {
            "before": "".join(f"{line}\n" for line in before),
            "after": "".join(f"{line}\n" for line in after),
        },
        "notes": notes,
    }
