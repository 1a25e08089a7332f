# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls module ipvs_drain again and again while it waits, and says each time how far it is."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# How long one call waits, in seconds; then a line is shown.
SLICE = 5
DEFAULT_TIMEOUT, DEFAULT_INTERVAL = 60, 30

display = Display()


class ActionModule(ActionBase):
    """The module does the work; the time is cut into slices here."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run slices until nothing is left to wait for or the time is over."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            timeout = int(arguments.get("timeout", DEFAULT_TIMEOUT))
        except (TypeError, ValueError):
            timeout = 0  # the module refuses it
        if self._task.check_mode:
            return self._execute_module(module_args=arguments, task_vars=task_vars)
        if arguments.get("state") == "restored" and _steps(arguments):
            return self._ramp(arguments, task_vars)
        if arguments.get("state") == "restored" or timeout <= SLICE:
            return self._execute_module(module_args=arguments, task_vars=task_vars)
        end = time.monotonic() + timeout
        results: list[dict[str, Any]] = []
        while True:
            remaining = int(end - time.monotonic())
            last = remaining <= SLICE
            part = {**arguments, "slice": {"waited": timeout - max(1, remaining), "at_most": SLICE}}
            results.append(self._execute_module(module_args=part, task_vars=task_vars))
            if last or results[-1].get("failed") or results[-1].get("finished"):
                return _together(results)
            display.display(f"{_host(task_vars)}: {_left(results[-1])}; {remaining - SLICE} seconds to go")

    def _ramp(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """One step a call, with the time between them spent here."""
        ramp = arguments["ramp"]
        started = time.monotonic()
        results: list[dict[str, Any]] = []
        while True:
            part = {**arguments, "ramp": {**ramp, "at_most": 1}}
            results.append(self._execute_module(module_args=part, task_vars=task_vars))
            if results[-1].get("failed") or results[-1].get("finished", True):
                return {**_together(results), "waited": round(time.monotonic() - started, 1)}
            display.display(f"{_host(task_vars)}: {_weights(results[-1])}")
            time.sleep(float(ramp.get("interval", DEFAULT_INTERVAL)))


def _steps(arguments: dict[str, Any]) -> bool:
    """Whether there are steps to show; what is wrong about them the module says."""
    ramp = arguments.get("ramp")
    if not isinstance(ramp, dict) or ramp.get("at_most") is not None:
        return False
    try:
        return int(ramp.get("interval", DEFAULT_INTERVAL)) > 0
    except (TypeError, ValueError):
        return False


def _service(row: dict[str, Any]) -> str:
    return f"fwmark {row['fwmark']}" if "fwmark" in row else f"{row['address']} port {row['port']}"


def _weights(result: dict[str, Any]) -> str:
    """The weights of a step, and where they lead."""
    return "; ".join(
        f"{row['realserver']['address']} of {_service(row)} has weight {row['weight']}"
        + (f" of {row['remembered_weight']}" if row["remembered_weight"] is not None else "")
        for row in result.get("realservers", ())
    )


def _host(task_vars: dict[str, Any] | None) -> str:
    return str((task_vars or {}).get("inventory_hostname", "director"))


def _left(result: dict[str, Any]) -> str:
    """Who still has connections."""
    texts = []
    for row in result.get("realservers", ()):
        counts = [f"{row[name]} {name}" for name in ("active", "inactive", "persistent") if row[name]]
        if counts:
            texts.append(f"{row['realserver']['address']} of {_service(row)} has {', '.join(counts)}")
    return "; ".join(texts) or "no connections are left"


def _together(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One result of all calls."""
    last = results[-1]
    if len(results) == 1:
        return last
    result = {**last, "changed": any(entry.get("changed") for entry in results)}
    result["commands"] = [command for entry in results for command in entry.get("commands", ())]
    result["waited"] = round(sum(entry.get("waited", 0) for entry in results), 1)
    changing = [entry for entry in results if "before" in entry and "after" in entry]
    before, after = _span([(_by_name(entry["before"]), _by_name(entry["after"])) for entry in changing])
    if changing:
        result.update(before=before, after=after)
    diffs = [entry["diff"] for entry in changing if "diff" in entry]
    if diffs:
        old, new = _span([(_by_rule(diff["before"]), _by_rule(diff["after"])) for diff in diffs])
        result["diff"] = {**diffs[-1], "before": "".join(old), "after": "".join(new)}
    return result


def _span(steps: list[tuple[dict[Any, Any], dict[Any, Any]]]) -> tuple[list[Any], list[Any]]:
    """From how each service was first to how it was last; a step tells of those only that it changed."""
    first: dict[Any, Any] = {}
    last: dict[Any, Any] = {}
    for before, after in steps:
        for name in [*before, *(name for name in after if name not in before)]:
            first.setdefault(name, before.get(name))
            last[name] = after.get(name)
    return [one for one in first.values() if one is not None], [one for one in last.values() if one is not None]


def _by_name(config: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    names = ("protocol", "address", "port", "fwmark", "family")
    return {tuple(service.get(name) for name in names): service for service in config}


def _by_rule(rules: str) -> dict[str, str]:
    """The lines for ipvsadm -R of each service, by what names it."""
    found: dict[str, str] = {}
    name = ""
    for line in rules.splitlines(keepends=True):
        if line.startswith("-A "):
            name = line.partition(" -s ")[0]
        found[name] = found.get(name, "") + line
    return found
