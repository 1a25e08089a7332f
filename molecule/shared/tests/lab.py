# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as the tests see it: machines to run commands on, plays to run over them, packets to count."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import testinfra
import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
LAB = pathlib.Path("/var/lib/lvs-lab") / os.environ.get("LVS_LAB", "molecule")
# Scenarios with this before their name put the cluster of the one without it into containers.
CONTAINERS = "container_"
TRAFFIC = "python3 /root/traffic.py"
# Seconds to wait for an answer, and for one that is not to come.
PATIENCE, LITTLE_PATIENCE = 10, 3
Answer = list[str] | None


@dataclass
class Play:
    """What one ansible-playbook run did."""

    code: int
    output: str
    results: list[dict[str, Any]]

    def changes(self) -> dict[tuple[str, str], list[str]]:
        """Host and task of every change, with the commands it stands for."""
        return {(line["host"], line["task"]): line.get("commands", []) for line in self.results if line.get("changed")}


@dataclass
class Lab:
    """The machines of the lab under one scenario's inventory."""

    scenario: str
    inventory: pathlib.Path = field(init=False)
    variables: dict[str, Any] = field(init=False)
    _hosts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inventory = ROOT / "molecule" / self.cluster / "inventory.yml"
        self.variables = yaml.safe_load(self.inventory.read_text())["all"]["children"]["lvs_directors"]["vars"]

    @property
    def cluster(self) -> str:
        """The scenario whose inventory this is: the method, in `dr`, `nat`, `tun`."""
        return self.scenario.removeprefix(CONTAINERS)

    @property
    def contained(self) -> bool:
        return self.scenario.startswith(CONTAINERS)

    @property
    def machines(self) -> pathlib.Path:
        """The inventory that says how to get into them."""
        return LAB / ("containers.yml" if self.contained else "hosts.yml")

    @property
    def services(self) -> list[dict[str, Any]]:
        return self.variables["lvs_services"]

    def service(self, name: str) -> dict[str, Any]:
        return next(service for service in self.services if service["name"] == name)

    @property
    def realservers(self) -> list[str]:
        return [entry["host"] for entry in self.service("web")["realservers"]]

    # ------------------------------------------------------------------ machines

    def host(self, name: str) -> Any:
        if name not in self._hosts:
            self._hosts[name] = testinfra.get_host(f"ansible://{name}?ansible_inventory={self.machines}")
        return self._hosts[name]

    def run(self, name: str, command: str, check: bool = True) -> str:
        result = self.host(name).run(command)
        if check and result.rc != 0:
            raise AssertionError(f"{name}: {command}\nends with {result.rc}: {result.stdout}{result.stderr}")
        return str(result.stdout)

    def put(self, name: str, source: pathlib.Path, target: str) -> None:
        self.run(name, f"printf %s {shlex.quote(source.read_text())} > {target}")

    def mac(self, name: str, interface: str) -> str:
        return self.run(name, f"cat /sys/class/net/{interface}/address").strip()

    def control(self, *arguments: str) -> str:
        """The lab's own program: `status` of all machines as JSON, `kill` a machine's process, `start` it again."""
        program = ["/usr/bin/python3", str(LAB / "bin/lvslab.py"), "--lab", str(LAB)]
        if self.contained:
            program = [sys.executable, str(HERE.parent / "containers.py")]
        command = [*program, *arguments]
        return subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE, text=True).stdout

    def wait(self, name: str, command: str = "true", seconds: float = 60) -> None:
        """Until the command succeeds there; bounded."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                if self.host(name).run(command).rc == 0:
                    return
            time.sleep(1)
        raise AssertionError(f"{name}: {command!r} did not succeed within {seconds:g} s")

    # ------------------------------------------------------------------ plays

    def play(self, playbook: str, *options: str, services: list[dict[str, Any]] | None = None) -> Play:
        record = ROOT / "build" / f"record-{LAB.name}-{self.scenario}.jsonl"
        record.parent.mkdir(exist_ok=True)
        record.unlink(missing_ok=True)
        command = [
            "ansible-playbook",
            *("-i", str(self.machines), "-i", str(self.inventory), *options),
            str(ROOT / "playbooks" / playbook),
        ]
        if services is not None:
            command += ["-e", json.dumps({"lvs_services": services})]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "LVS_RECORD": str(record),
        }
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            stdin=subprocess.DEVNULL,
        )
        lines = record.read_text().splitlines() if record.exists() else []
        return Play(done.returncode, done.stdout + done.stderr, [json.loads(line) for line in lines])

    def converge(self, *options: str, services: list[dict[str, Any]] | None = None) -> Play:
        play = self.play("site.yml", *options, services=services)
        if play.code != 0:
            raise AssertionError(play.output)
        return play

    # ------------------------------------------------------------------ traffic

    def ask(
        self, protocol: str, address: str, port: int, count: int, source: str = "", patience: int = PATIENCE
    ) -> list[Answer]:
        """As many requests, from an address of the client's if it is given."""
        return json.loads(self.run("client", f"{TRAFFIC} {protocol} {address} {port} {count} '{source}' {patience}"))

    def upload(self, address: str, port: int, size: int) -> Answer:
        return json.loads(self.run("client", f"{TRAFFIC} upload {address} {port} {size}"))

    @contextlib.contextmanager
    def background(self, what: str, address: str, port: int) -> Iterator[list[Any]]:
        """Traffic while the block runs; the list holds its result afterwards."""
        name = f"/tmp/{what}-{address}-{port}"
        stop, output = f"{name}.stop", f"{name}.json"
        self.run("client", f"rm -f {stop} {output}")
        self.run("client", f"nohup {TRAFFIC} {what} {address} {port} {stop} > {output} 2>&1 < /dev/null & sleep 1")
        result: list[Any] = []
        try:
            yield result
        finally:
            self.run("client", f"touch {stop}")
            self.wait("client", f"test -s {output}", seconds=PATIENCE + 10)
            result.append(json.loads(self.run("client", f"cat {output}")))

    @contextlib.contextmanager
    def capture(self, name: str, interface: str, expression: str, options: str = "-nn") -> Iterator[list[str]]:
        """tcpdump's lines while the block runs; the list holds them afterwards."""
        output = f"/tmp/capture-{interface}.txt"
        self.run(
            name,
            f"rm -f {output}; nohup timeout 60 tcpdump -l {options} -i {interface} {shlex.quote(expression)}"
            f" > {output} 2> {output}.err < /dev/null & echo $! > {output}.pid",
        )
        self.wait(name, f"grep -q 'listening on' {output}.err", seconds=20)
        lines: list[str] = []
        try:
            yield lines
        finally:
            time.sleep(0.5)
            self.run(name, f"pkill -INT -P $(cat {output}.pid) tcpdump; sleep 0.5", check=False)
            lines += [line for line in self.run(name, f"cat {output}").splitlines() if line]


def shares(answers: Sequence[Answer]) -> dict[str, int]:
    """How many requests each realserver answered; the unanswered ones under `lost`."""
    return dict(Counter(answer[0] if answer else "lost" for answer in answers))


def expect_shares(answers: Sequence[Answer], expected: dict[str, int]) -> None:
    if shares(answers) != expected:
        raise AssertionError(f"expected {expected}, got {shares(answers)}")
