# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The slices of a drain: what each is asked for, what is shown between them, what comes out of all."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.linuxvirtualserver.lvs.plugins.action import ipvs_drain as action


def answer(finished: bool, **fields: Any) -> dict[str, Any]:
    row = {"address": "192.168.1.110", "port": 80, "realserver": {"address": "10.0.0.1"}}
    counts = {"active": 0 if finished else 2, "inactive": 0, "persistent": 0}
    return {
        "changed": False,
        "finished": finished,
        "commands": [],
        "waited": 5.0,
        "realservers": [{**row, **counts}],
        **fields,
    }


class Host:
    """Answers the module's calls, and lets each take its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.sleeps: list[float] = []
        self.time = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.time)
        monkeypatch.setattr(time, "sleep", self.sleeps.append)
        monkeypatch.setattr(action.display, "display", self.shown.append)
        monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})

    def run(self, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        plugin: Any = action.ActionModule.__new__(action.ActionModule)
        plugin._task = SimpleNamespace(args=arguments, check_mode=check_mode)
        plugin._execute_module = self._call
        result: dict[str, Any] = plugin.run(None, {"inventory_hostname": "director"})
        return result

    def _call(self, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(module_args)
        part = module_args.get("slice")
        self.time += min(part["at_most"], module_args.get("timeout", 60) - part["waited"]) if part else 0
        return self.answers.pop(0)


def test_what_is_left_is_shown_between_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, answer(False, changed=True, commands=["-e 1"]), answer(False), answer(True))
    result = host.run(realservers=[], timeout=60)
    assert [call["slice"] for call in host.calls] == [{"waited": n, "at_most": 5} for n in (0, 5, 10)]
    assert {call["timeout"] for call in host.calls} == {60}
    assert host.shown == [
        "director: 10.0.0.1 of 192.168.1.110 port 80 has 2 active; 55 seconds to go",
        "director: 10.0.0.1 of 192.168.1.110 port 80 has 2 active; 50 seconds to go",
    ]
    assert result["changed"]
    assert result["finished"]
    assert result["waited"] == 15.0
    assert result["commands"] == ["-e 1"]


def test_the_last_slice_does_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, answer(False), answer(False), {"failed": True, "msg": "connections are left"})
    result = host.run(realservers=[], timeout=12, on_timeout="fail")
    assert [call["slice"]["waited"] for call in host.calls] == [0, 5, 10]
    assert {(call["timeout"], call["on_timeout"]) for call in host.calls} == {(12, "fail")}, "the module decides"
    assert result["failed"]


def test_the_weights_are_shown_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"fwmark": 1, "realserver": {"address": "10.0.0.1"}, "weight": 3, "remembered_weight": 10}
    step = {"finished": False, "changed": True, "realservers": [row], "commands": ["-e 3"]}
    host = Host(monkeypatch, step, {**step, "finished": True, "commands": ["-e 10"]})
    result = host.run(state="restored", ramp={"steps": 2, "interval": 7})
    assert [call["ramp"] for call in host.calls] == [{"steps": 2, "interval": 7, "at_most": 1}] * 2
    assert host.shown == ["director: 10.0.0.1 of fwmark 1 has weight 3 of 10"]
    assert host.sleeps == [7]
    assert result["commands"] == ["-e 3", "-e 10"]


def test_before_and_after_span_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call tells only of the services that it changed."""

    def step(before: dict[int, int], after: dict[int, int], finished: bool) -> dict[str, Any]:
        sides = {"before": before, "after": after}
        configs = {
            side: [{"fwmark": mark, "family": "ipv4", "weight": weight} for mark, weight in weights.items()]
            for side, weights in sides.items()
        }
        rules = {
            side: "".join(f"-A -f {mark} -s rr\n-a -f {mark} -r 10.0.0.1 -w {w}\n" for mark, w in weights.items())
            for side, weights in sides.items()
        }
        return answer(finished, changed=True, **configs, diff=rules, weight=1, remembered_weight=None)

    steps = [step({1: 0, 2: 0}, {1: 1, 2: 2}, False), step({2: 2}, {2: 4}, True)]
    for one in steps:
        one["realservers"] = []
    host = Host(monkeypatch, *steps)
    result = host.run(state="restored", ramp={"steps": 2, "interval": 7})
    for side, weights in (("before", [0, 0]), ("after", [1, 4])):
        assert [service["weight"] for service in result[side]] == weights
        assert [line[-1] for line in result["diff"][side].splitlines() if " -w " in line] == [str(w) for w in weights]


@pytest.mark.parametrize("ramp", [{"interval": 0}, {"interval": "soon"}, {"at_most": 1}, "no"])
def test_steps_without_time_between_them_are_one_call(monkeypatch: pytest.MonkeyPatch, ramp: Any) -> None:
    host = Host(monkeypatch, answer(True))
    host.run(state="restored", ramp=ramp)
    assert host.calls == [{"state": "restored", "ramp": ramp}]


def test_a_failure_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, {"failed": True, "msg": "no"})
    assert host.run(realservers=[])["msg"] == "no"


@pytest.mark.parametrize(
    ("check_mode", "arguments"),
    [(True, {}), (False, {"state": "restored"}), (False, {"timeout": 5}), (False, {"timeout": "soon"})],
)
def test_what_does_not_wait_is_one_call(
    monkeypatch: pytest.MonkeyPatch, check_mode: bool, arguments: dict[str, Any]
) -> None:
    host = Host(monkeypatch, answer(True))
    host.run(check_mode, **arguments)
    assert host.calls == [arguments]
