# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over what IPVS keeps beside its table: read, compare, write the difference, verify, roll back, save."""

from __future__ import annotations

import errno
import os
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, NamedTuple

from . import _ipvs_saved as saved_table
from . import _ipvs_wire as wire
from ._errors import LvsError
from ._genl import GenlError
from ._ipvs_input import Mistake, Mistakes, parse_choice, parse_integer
from ._ipvs_kernel import KernelTable
from ._ipvs_reconcile import Environment
from ._ipvs_settings import (
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
MERGED, OVERRIDDEN, DELETED = "merged", "overridden", "deleted"
# Longer than the kernel's IFNAMSIZ allows is cut off silently.
INTERFACE_LENGTH = 15
DAEMON_OPTIONS = frozenset("role interface syncid group port ttl maxlen".split())
_STARTING = "Starting the {role} synchronisation daemon on {interface}"
_WHY = {
    errno.ENODEV: "there is no such interface",
    errno.EINVAL: "the table has realservers of another address family than their service, which cannot be "
    "synchronised; or the kernel does not take the values",
    errno.EEXIST: "another program started one meanwhile",
    errno.EADDRNOTAVAIL: "the interface has no address of the multicast group's family",
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
    return _results(change, saved, save, check, notes)


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
    folder: str = "/sys/class/net",
) -> dict[str, Any]:
    """What module ``ipvs_sync`` does; its options are documented there."""
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
            _check_interfaces([after[role] for role in starts], folder)
            commands = [f"--stop-daemon {role}" for role in stops] + [after[role].command() for role in starts]
            if commands and table is not None and not check:
                _exchange(table, before, after, stops, starts)
                after = {daemon.role: daemon for daemon in read_daemons(table)}
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
    return _results(change, saved, save, check, notes)


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
    unknown = sorted(set(entry) - DAEMON_OPTIONS)
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
    if not isinstance(interface, str) or not 1 <= len(interface) <= INTERFACE_LENGTH or set(interface) & set("/ \n\t"):
        raise Mistake(f"interface {interface!r} is no name of an interface")
    fields["interface"] = interface
    for name, low, high in (("syncid", 0, 255), ("port", 1, 65535), ("ttl", 1, 255), ("maxlen", 1, 65507)):
        if entry.get(name) is not None:
            fields[name] = parse_integer(entry[name], low, high, name)
    if entry.get("group") is not None:
        fields["group"] = _group(entry["group"])
    return role, fields


def _group(value: Any) -> str:
    text = str(value)
    try:
        packed = inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        raise Mistake(f"group {text!r} is not an IP address") from None
    if not (packed[0] == 0xFF if len(packed) == 16 else 224 <= packed[0] <= 239):
        raise Mistake(f"group {text} is not a multicast address")
    return text.lower()


def _goal(before: dict[str, Daemon], wanted: dict[str, dict[str, Any]], state: str) -> dict[str, Daemon]:
    """The daemons that are to run. What is not stated is left as it runs: nothing else would justify a restart."""
    if state == DELETED:
        return {role: daemon for role, daemon in before.items() if role not in wanted}
    result = {} if state == OVERRIDDEN else dict(before)
    for role, fields in wanted.items():
        result[role] = before[role]._replace(**fields) if role in before else Daemon(role, **fields)
    return result


def _check_interfaces(daemons: list[Daemon], folder: str) -> None:
    if not os.path.isdir(folder):
        return  # the kernel will say
    missing = sorted({d.interface for d in daemons if not os.path.exists(os.path.join(folder, d.interface))})
    if missing:
        raise LvsError(
            f"No synchronisation daemon can start: interface {', '.join(missing)} does not exist; nothing was changed.",
            missing=missing,
        )


def _exchange(
    table: KernelTable, before: dict[str, Daemon], after: dict[str, Daemon], stops: list[str], starts: list[str]
) -> None:
    """Stop and start; there is no edit. What cannot be started has what ran before started again."""
    done: list[str] = []
    try:
        for role in stops:
            _stop(table, role)
            done.append(role)
        for role in starts:
            _start(table, after[role])
            done.append(role)
    except GenlError as exc:
        text = _back(table, before, {*done, *stops})
        role = next((role for role in starts if role not in done), "")
        doing = _STARTING.format(**after[role]._asdict()) if role else "Stopping the synchronisation daemon"
        why = _WHY.get(exc.errno, os.strerror(exc.errno))
        name = errno.errorcode.get(exc.errno, str(exc.errno))
        raise LvsError(f"{doing} was refused: {why} ({name}). {text}") from exc


def _back(table: KernelTable, before: dict[str, Daemon], roles: set[str]) -> str:
    try:
        now = {daemon.role: daemon for daemon in read_daemons(table)}
        for role in roles:
            if role in now and now[role] != before.get(role):
                _stop(table, role)
                del now[role]
            if role in before and role not in now:
                _start(table, before[role])
    except LvsError as exc:
        lines = "; ".join(daemon.command() for daemon in before.values())
        return f"Rolling back failed too ({exc.message}). What ran before: {lines or 'nothing'}"
    return "What ran before runs again."


def _stop(table: KernelTable, role: str) -> None:
    payload = wire.nest(wire.COMMAND_DAEMON, wire.pack(wire.DAEMON, {"state": ROLES[role]}))
    try:
        table.request(wire.DEL_DAEMON, payload, f"Stopping the {role} synchronisation daemon")
    except GenlError as exc:
        if exc.errno != errno.ESRCH:  # it has ended by itself
            raise


def _start(table: KernelTable, daemon: Daemon) -> None:
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
    table.request(wire.NEW_DAEMON, payload, f"Starting the {daemon.role} synchronisation daemon")


def _configs(daemons: dict[str, Daemon]) -> list[dict[str, Any]]:
    return [daemon_config(daemons[role]) for role in ROLES if role in daemons]


# ---- both


def restore_settings(path: str, environment: Environment | None = None) -> list[str]:
    """Bring back what is saved at ``path`` beside the table; the lines for ipvsadm that say what was done."""
    commands: list[str] = []
    timeouts, sync = _saved(path, "timeouts"), _saved(path, "sync")
    if timeouts:
        commands += set_timeouts(timeouts, environment=environment)["commands"]
    if sync:
        commands += set_daemons(sync, environment=environment)["commands"]
    return commands


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


def _results(change: Change, saved: bool, path: str | None, check: bool, notes: list[str]) -> dict[str, Any]:
    def text(value: Any) -> str:
        rows = value if isinstance(value, list) else [value]
        lines = [" ".join(f"{name}={content}" for name, content in row.items()) for row in rows]
        return "".join(f"{line}\n" for line in lines)

    if saved:
        notes = [*notes, f"{path} {'would be' if check else 'was'} written."]
    return {
        "changed": bool(change.commands) or saved,
        "before": change.before,
        "after": change.after,
        "commands": change.commands,
        "diff": {"before": text(change.before), "after": text(change.after)},
        "notes": notes,
    }
