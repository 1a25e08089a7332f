# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin through ansible-playbook: the inventory's variables and facts reach the plan, its result the hosts.

The facts are set by the play in the place where module lvs_facts leaves them, so no machine is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.howto import GATEWAYS, LINKS, VIP, facts, service

ANSIBLE_PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


class Lvs:
    """An inventory and a play in a directory of their own."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.root = root
        self.directory = directory
        self.services: Any = [service()]
        self.variables: dict[str, dict[str, Any]] = {"rs1": {}, "rs2": {}, "director": {}, "client": {}}
        self.seen: dict[str, Any] = {host: facts(LINKS[host], GATEWAYS.get(host, ())) for host in self.variables}
        self.options: dict[str, Any] = {}

    def inventory(self) -> dict[str, Any]:
        def hosts(*names: str) -> dict[str, Any]:
            return {name: {"test_facts": self.seen.get(name), **self.variables[name]} for name in names}

        return {
            "all": {
                "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                "children": {
                    "lvs_directors": {"hosts": hosts("director"), "vars": {"lvs_services": self.services}},
                    "lvs_realservers": {"hosts": hosts("rs1", "rs2")},
                    "lvs_clients": {"hosts": hosts("client")},
                },
            }
        }

    def play(self) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = [
            {
                "name": "Pretend that lvs_facts ran",
                "ansible.builtin.set_fact": {"lvs": "{{ test_facts }}", "cacheable": True},
                "when": "test_facts is not none",
            },
            {
                "name": "Compile the plan",
                "linuxvirtualserver.lvs.plan": self.options,
                "register": "plan",
                "run_once": True,
            },
            {
                "name": "Keep what the host got",
                "ansible.builtin.copy": {
                    "content": "{{ plan | to_json }}",
                    "dest": f"{self.directory}/plan-{{{{ inventory_hostname }}}}.json",
                    "mode": "0600",
                },
                "check_mode": False,
            },
        ]
        return [{"name": "Plan", "hosts": "all", "gather_facts": False, "tasks": tasks}]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        inventory, play = self.directory / "inventory.yml", self.directory / "play.yml"
        inventory.write_text(yaml.safe_dump(self.inventory()), encoding="utf-8")
        play.write_text(yaml.safe_dump(self.play()), encoding="utf-8")
        return subprocess.run(
            [str(ANSIBLE_PLAYBOOK), "-i", str(inventory), str(play), *arguments],
            cwd=self.directory,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(self.root / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(self.root / ".collections"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOCAL_TEMP": str(self.directory / "tmp"),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def plan(self, *arguments: str, host: str = "rs1") -> dict[str, Any]:
        """The plan as one host got it."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((self.directory / f"plan-{host}.json").read_text(encoding="utf-8"))

    def refused(self, *arguments: str) -> str:
        """What a run said that had to fail before anything was done."""
        done = self.run(*arguments)
        assert done.returncode != 0, done.stdout
        assert not list(self.directory.glob("plan-*.json"))
        return done.stdout + done.stderr


@pytest.fixture
def lvs(root: Path, tmp_path: Path) -> Lvs:
    return Lvs(root, tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--check", "--diff"]], ids=["real", "check"])
def test_every_host_gets_the_plan(lvs: Lvs, arguments: list[str]) -> None:
    plan = lvs.plan(*arguments, host="rs2")
    assert plan["changed"] is False
    assert set(plan["parts"]) == {"director", "rs1", "rs2", "client"}
    record = plan["parts"]["director"]["director"]["config"][0]
    assert (record["address"], [member["address"] for member in record["realservers"]]) == (
        VIP,
        ["192.168.1.2", "192.168.1.3"],
    )
    assert plan["parts"]["rs1"]["network"]["addresses"] == [{"address": f"{VIP}/32", "device": "lo"}]
    assert plan["probe"]["vips"] == [{"address": VIP, "director": "director", "macs": ["52:54:00:00:00:02"]}]


def test_host_variables_and_management_addresses_are_read(lvs: Lvs) -> None:
    """With ansible_host known, what is left for NAT is the inside address; templates are resolved for their host."""
    lvs.services = [service(forwarding="nat", ports=["{{ web_port }}"])]
    lvs.variables["director"] = {"web_port": 8000}
    lvs.variables["rs1"] = {"ansible_host": "10.255.0.2"}
    lvs.variables["rs2"] = {"lvs_rip": "10.1.1.{{ number }}", "number": 3}
    record = lvs.plan()["parts"]["director"]["director"]["config"][0]
    assert record["port"] == 8000
    assert [member["address"] for member in record["realservers"]] == ["10.1.1.2", "10.1.1.3"]


def test_extra_variables_are_text(lvs: Lvs) -> None:
    lvs.services = [service(ports=["{{ web_port }}"], weight="{{ web_weight }}")]
    record = lvs.plan("-e", "web_port=81 web_weight=3")["parts"]["director"]["director"]["config"][0]
    assert (record["port"], record["realservers"][0]["weight"]) == (81, 3)


def test_limit_compiles_the_whole(lvs: Lvs) -> None:
    lvs.variables["director"] = {"lvs_vip_interface": "eth1"}
    lvs.variables["rs2"] = {"lvs_rip": "192.168.1.3"}
    plan = lvs.plan("--limit", "rs1")
    assert len(plan["parts"]["director"]["director"]["config"][0]["realservers"]) == 2
    assert plan["parts"]["rs1"]["network"]["addresses"] == [{"address": f"{VIP}/32", "device": "lo"}]


def test_other_group_names(lvs: Lvs) -> None:
    lvs.options = {"directors": "lvs_clients", "clients": "nobody"}
    lvs.variables["client"] = {"lvs_services": [service(realservers=[{"host": "rs1"}])]}
    plan = lvs.plan()
    assert set(plan["parts"]) == {"client", "rs1", "rs2"}
    assert plan["parts"]["client"]["roles"] == ["director"]


def test_warnings_are_shown(lvs: Lvs) -> None:
    lvs.services = [service(realservers=[])]
    done = lvs.run()
    assert done.returncode == 0
    assert "has no realserver; clients will be refused" in " ".join((done.stdout + done.stderr).split())


def test_all_mistakes_in_one_message(lvs: Lvs) -> None:
    lvs.services = [
        service(vips=["192.168.1.110/24"], realservers=[{"host": "rs1", "weight": -1}, {"host": "rs2", "port": 8080}])
    ]
    said = lvs.refused()
    assert "The inventory has 3 mistakes; nothing was touched:" in said
    for sentence in (
        "1. service web: VIP:",
        "2. service web: realserver rs1: weight: -1",
        "3. service web: realserver rs2",
    ):
        assert sentence in said


def test_mistakes_come_before_the_machines_problems(lvs: Lvs) -> None:
    lvs.services = [service(ports=[70000])]
    lvs.seen["rs1"]["root"] = False
    said = lvs.refused()
    assert "The inventory has 1 mistake; nothing was touched:" in said
    assert "run as root" not in said


def test_all_problems_of_the_machines_in_one_message(lvs: Lvs) -> None:
    lvs.seen["rs1"].update(root=False, iproute2=False)
    lvs.seen["director"]["modules"] = {"ip_vs": "missing"}
    lvs.seen["director"]["advice"] = {"ip_vs": "install package linux-image-amd64"}
    said = lvs.refused()
    assert "The machines have 4 problems; nothing was touched:" in said
    for sentence in (
        "host director: kernel 6.1.0-uml has no ip_vs; install package linux-image-amd64.",
        "host director: the scheduler wlc is unknown to its kernel",
        "host rs1: the tasks do not run as root",
        "host rs1: the program `ip` is missing",
    ):
        assert sentence in said


def test_only_the_hosts_of_the_run_are_judged(lvs: Lvs) -> None:
    lvs.seen["rs2"]["root"] = False
    lvs.variables["director"] = {"lvs_vip_interface": "eth1"}
    lvs.variables["rs2"] = {"lvs_rip": "192.168.1.3"}
    lvs.plan("--limit", "rs1")


def test_without_preflight_the_machines_are_not_judged(lvs: Lvs) -> None:
    lvs.seen["rs1"]["root"] = False
    lvs.options = {"preflight": False}
    assert "rs1" in lvs.plan()["parts"]


def test_an_unknown_option_is_refused(lvs: Lvs) -> None:
    lvs.options = {"director": "lb"}
    assert "director" in lvs.refused()
