# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes every task result of a play as one JSON line into the file that LVS_RECORD names: what the tests read."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: record
type: aggregate
short_description: Record task results for the tests
description: Writes host, task, state and the module's C(commands) of every task as one JSON line.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"

    def _write(self, result: Any, state: str) -> None:
        kept = ("changed", "commands", "leaving", "msg", "notes")
        line = {
            "host": result._host.get_name(),
            "task": result.task_name,
            "action": result._task.action,
            "state": state,
            "time": time.strftime("%H:%M:%S", time.gmtime()),
            **{key: result._result[key] for key in kept if key in result._result},
        }
        with open(os.environ["LVS_RECORD"], "a", encoding="utf-8") as record:
            record.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write(result, "unreachable")
