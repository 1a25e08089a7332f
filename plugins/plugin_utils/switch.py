# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deliberate switch: who gives up, who takes over, and what speaks against it, by what each director says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..module_utils._errors import LvsError

State = Mapping[str, Any]
Service = tuple[Any, ...]
# Each failure of a director leaves about one such connection for each client that was answered at that moment.
FEW = 10


def plan_switch(states: Mapping[str, State | None], to: str = "", synchronised: bool = True) -> dict[str, Any]:
    """Who holds VIPs (``holders``), who is to (``to``), who gives up (``givers``), and the ``mistakes``.

    ``states`` has every director of the cluster, in the inventory's order: None for one that does not answer, else
    ``program``, ``running``, ``unfit`` (a reason, or empty), ``addresses`` and ``held`` (texts), ``config`` and
    ``daemons`` as module ipvs_info returns them.
    """
    if to and to not in states:
        raise LvsError(f"lvs_failover_to {to} is no director of this cluster, which has {', '.join(states)}.")
    known = {name: state for name, state in states.items() if state is not None}
    holders = [name for name, state in known.items() if state["held"]]
    to = to or next((name for name in (*known, *states) if name not in holders), "")
    givers = [name for name in holders if name != to]
    mistakes = [*_who(known, holders, to)]
    if to and not mistakes and givers:
        mistakes += [*_fit(to, known[to])]
        for giver in givers:
            mistakes += [*_table(giver, known[giver], to, known[to])]
            if synchronised:
                mistakes += [*_daemons(giver, known[giver], to, known[to])]
    return {"to": to, "holders": holders, "givers": givers, "mistakes": mistakes}


def _who(known: Mapping[str, State], holders: list[str], to: str) -> Iterator[str]:
    if not to:
        yield f"every director holds VIPs ({', '.join(holders)}); say with lvs_failover_to who is to have them all."
        return
    if to not in known:
        yield f"{to} does not answer, so it cannot be looked at; VIPs are moved to a director that was looked at only."
        return
    if not holders:
        yield (
            f"no director holds the VIPs, so there is nothing to move; see `systemctl status {known[to]['program']}` on"
            f" {', '.join(known)}."
        )
    seen: dict[str, str] = {}
    for name in holders:
        for address in known[name]["held"]:
            if address in seen:
                yield (
                    f"{seen[address]} and {name} both hold {address}: they do not hear each other; mend the network"
                    " between them first."
                )
                return
            seen[address] = name


def _fit(to: str, state: State) -> Iterator[str]:
    if not state["running"]:
        program = state["program"]
        yield f"{program} does not run on {to}, so it would not take the VIPs; see `journalctl -u {program}`."
    elif state["unfit"]:
        yield f"{to} would not take the VIPs: {state['unfit']}."


def _table(giver: str, old: State, to: str, new: State) -> Iterator[str]:
    """Every service that leaves, with every realserver that lives, is at the other end, too."""
    moving = {address.partition("/")[0] for address in old["held"]}
    there = {service_key(record): record for record in new["config"]}
    for record in old["config"]:
        if "fwmark" not in record and record["address"] not in moving:
            continue
        name = _named(record)
        if (twin := there.get(service_key(record))) is None:
            yield f"{to} has no service {name}, which {giver} has; run site.yml, or wait for the health checks of {to}."
            continue
        living = _living(twin)
        if missing := sorted(_living(record) - living):
            servers = ", ".join(address for address, _port in missing)
            yield f"{to} does not send to {servers} for service {name}, as {giver} does; see its health checks there."


def service_key(record: State) -> Service:
    if "fwmark" in record:
        return ("fwmark", int(str(record["fwmark"]), 0), record.get("family", "ipv4"))
    return (record["protocol"], record["address"], record["port"])


def _named(record: State) -> str:
    return " ".join(str(part) for part in service_key(record))


def _living(record: State) -> set[tuple[str, int]]:
    return {(server["address"], server["port"]) for server in record["realservers"] if server["weight"]}


def _daemons(giver: str, old: State, to: str, new: State) -> Iterator[str]:
    sending = next((daemon for daemon in old["daemons"] if daemon["role"] == "master"), None)
    taking = next((daemon for daemon in new["daemons"] if daemon["role"] == "backup"), None)
    if sending is None:
        yield f"{giver} runs no synchronisation daemon as master, so all its connections would break; run site.yml."
    elif taking is None:
        yield f"{to} runs no synchronisation daemon as backup, so it knows none of the connections; run site.yml."
    elif sending["syncid"] != taking["syncid"]:
        yield (
            f"the synchronisation daemons have different numbers ({giver} {sending['syncid']}, {to}"
            f" {taking['syncid']}), so one does not take what the other sends; run site.yml."
        )


def unsynchronised(sent: Sequence[State], taken: Sequence[State], share: float = 0.0) -> list[str]:
    """What is established on one director and unknown to another, by realserver; a share of all may be missing.

    Both are looks, some seconds apart, at ``states`` of module ipvs_info. Connections come and go meanwhile, and are
    told to the other late: the least that one ever had stayed all the time, and has to be known to the other once.
    A connection whose end another director saw stays established here until it expires, so FEW are always allowed
    to be missing, unless the share is 0.
    """
    found: list[str] = []
    total = missing = 0
    here = [dict(_established(look)) for look in sent]
    there = [dict(_established(look)) for look in taken]
    for server in here[0]:
        stayed = min(look.get(server, 0) for look in here)
        known = max((look.get(server, 0) for look in there), default=0)
        total += stayed
        if known < stayed:
            missing += stayed - known
            found.append(f"{server}: {known} of {stayed}")
    return found if missing > (max(FEW, total * share) if share else 0) else []


def _established(states: State) -> Iterator[tuple[str, int]]:
    for service in states["services"]:
        for server in service["realservers"]:
            count = server["states"].get("ESTABLISHED", 0)
            if count:
                yield f"{_named(service)} {server['address']} {server['port']}", count
