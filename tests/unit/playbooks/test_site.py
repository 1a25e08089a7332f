# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who does what in which order when directors change over: the play of site.yml, with every role's call only told.

What the roles do there is tested where they are; this is about nothing being taken away under a program.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.cluster import compile_plan
from tests.howto import GATEWAYS, VIP, facts, inventory, service

ROOT = Path(__file__).resolve().parents[3]
ANSIBLE_PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
STANDBY = {"mgmt0": ["10.255.0.11/24"], "eth1": ["192.168.1.11/24"], "eth2": ["10.1.1.11/24"]}
SECRET = {"lvs_failover_secret": "secret-8"}
# What a program's role leaves on a host; keepalived's only if it moves VIPs.
TRACES = {
    **{name: [f"/var/lib/lvs/{name}"] for name in ("heartbeat", "ldirectord")},
    "keepalived": ["/var/lib/lvs/keepalived", "/etc/keepalived/lvs-release"],
    "keepalived's checks": ["/var/lib/lvs/keepalived", "/etc/keepalived"],
}
# What an earlier run, without a program, had set on a director.
OURS = [{"section": "addresses", "address": f"{VIP}/32", "device": "eth1"}, {"section": "sysctls", "key": "net.a"}]


def told(task: dict[str, Any]) -> dict[str, Any]:
    """A task that says that it would have run in place of one that would change the machine."""
    kept: dict[str, Any] = {key: task[key] for key in ("name", "vars", "when") if key in task}
    for name in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
        if name in task:
            role = task[name]["name"].rpartition(".")[2]
            state = task[name].get("tasks_from") or f"{{{{ {role}_state | default('present') }}}}"
            return {**kept, "ansible.builtin.debug": {"msg": f"STEP {{{{ inventory_hostname }}}} {role} {state}"}}
    if "ansible.builtin.find" in task:
        return {**kept, "ansible.builtin.set_fact": {"lvs_programs": "{{ {'files': test_files} }}"}}
    if "ansible.builtin.wait_for" in task:
        return {**kept, "ansible.builtin.debug": {"msg": "STEP {{ inventory_hostname }} wait"}}
    if "ansible.builtin.command" in task:
        words = task["ansible.builtin.command"]["argv"]
        if "delete" in words:
            say = {"msg": f"STEP {{{{ inventory_hostname }}}} {' '.join(words)}"}
            return {**kept, "loop": task["loop"], "ansible.builtin.debug": say}
        return {**task, "ansible.builtin.command": {"argv": ["echo", "{{ hostvars[item].test_holds }}"]}}
    return task


def steps(
    directory: Path,
    common: Mapping[str, Any],
    programs: Mapping[str, list[str]] | None = None,
    ours: Mapping[str, list[dict[str, Any]]] | None = None,
    holds: str = f"3: eth1    inet {VIP}/32 scope global eth1",
    directors: tuple[str, ...] = ("director", "standby"),
) -> tuple[list[str], str]:
    """The steps in their order, and what Ansible said."""
    plan = compile_plan(
        inventory(
            [service(realservers=[{"host": "rs1"}])],
            directors=list(directors),
            variables={host: dict(common) for host in directors},
            seen={"standby": facts(STANDBY, GATEWAYS["director"][:1])},
        )
    )
    assert not plan.mistakes, plan.mistakes
    play = next(
        play
        for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
        if play["name"] == "Directors change over"
    )
    # The first task is about realservers.
    play.update(hosts="all", become=False, tasks=[told(task) for task in play["tasks"][1:]])
    hosts = {
        host: {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "preflight_plan": {"parts": plan.parts, "probe": plan.probe},
            "director_applied": {"leaving": (ours or {}).get(host, [])},
            "test_files": [{"path": path} for name in (programs or {}).get(host, []) for path in TRACES[name]],
            "test_holds": holds,
        }
        for host in directors
    }
    (directory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    (directory / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    done = subprocess.run(
        [ANSIBLE_PLAYBOOK, "--forks", "1", "-i", directory / "hosts.json", directory / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    found = re.findall(r"msg: STEP (.*)", done.stdout)
    return found, "" if done.returncode == 0 else done.stdout + done.stderr


def both(*names: str) -> list[str]:
    return [f"{host} {name}" for name in names for host in ("director", "standby")]


def test_one_director_without_programs(tmp_path: Path) -> None:
    found, said = steps(tmp_path, {}, directors=("director",), ours={"director": OURS})
    assert not said
    assert found == ["director director written", "director director announced"]


@pytest.mark.parametrize("again", [False, True], ids=["first run", "second run"])
def test_a_pair_by_keepalived(tmp_path: Path, again: bool) -> None:
    there = {host: ["keepalived"] for host in ("director", "standby") if again}
    found, said = steps(tmp_path, {"lvs_failover": "keepalived", "lvs_health": "keepalived"}, there)
    assert not said
    assert found == both("keepalived prepared", "director written", "director announced", "keepalived present")


def test_a_pair_by_heartbeat(tmp_path: Path) -> None:
    found, said = steps(tmp_path, {"lvs_failover": "heartbeat", "lvs_health": "ldirectord", **SECRET})
    assert not said
    assert found == both("ldirectord present", "director written", "director announced", "heartbeat present")


def test_a_second_director_joins_one_that_serves(tmp_path: Path) -> None:
    """keepalived takes away what it finds; so the one that serves starts it when the other one has the VIPs."""
    found, said = steps(tmp_path, {"lvs_failover": "keepalived"}, ours={"director": OURS})
    assert not said
    assert found == [
        *both("director written", "director announced"),
        "standby keepalived present",
        "director wait",
        f"director ip address delete {VIP}/32 dev eth1",
        "director keepalived present",
        # Or "drop the old way" would take the VIP away under keepalived.
        "director director relieved",
    ]


def test_a_second_director_joins_one_that_keepalived_checks_for(tmp_path: Path) -> None:
    """Its keepalived runs already, and would not take away at a reload what it finds."""
    common = {"lvs_failover": "keepalived", "lvs_health": "keepalived"}
    found, said = steps(tmp_path, common, {"director": ["keepalived's checks"]}, ours={"director": OURS})
    assert not said
    assert found[-3:-1] == [f"director ip address delete {VIP}/32 dev eth1", "director keepalived present"]


def test_a_run_that_ended_too_soon_is_finished(tmp_path: Path) -> None:
    """keepalived holds the VIP, and we have not forgotten it yet."""
    found, said = steps(tmp_path, {"lvs_failover": "keepalived"}, {"director": ["keepalived"]}, ours={"director": OURS})
    assert not said
    assert found[-3:] == [*both("keepalived present"), "director director relieved"]


@pytest.mark.parametrize("holds", ["", f"1: lo    inet {VIP}/32 scope global lo"], ids=["nowhere", "hidden"])
def test_a_second_director_that_does_not_take_over(tmp_path: Path, holds: str) -> None:
    found, said = steps(tmp_path, {"lvs_failover": "keepalived"}, ours={"director": OURS}, holds=holds)
    assert f"none of them has taken {VIP}/32 after 9 seconds, so director keeps it" in " ".join(said.split())
    assert found[-2:] == ["standby keepalived present", "director wait"]


def test_alone_and_by_keepalived(tmp_path: Path) -> None:
    found, said = steps(tmp_path, {"lvs_failover": "keepalived"}, ours={"director": OURS}, directors=("director",))
    assert not said
    assert found[2:] == ["director keepalived present", "director director relieved"]


def test_from_keepalived_to_heartbeat(tmp_path: Path) -> None:
    there = {host: ["keepalived"] for host in ("director", "standby")}
    found, said = steps(tmp_path, {"lvs_failover": "heartbeat", **SECRET}, there)
    assert not said
    assert found == both(
        "keepalived prepared", "director written", "heartbeat ready", "keepalived absent", "director announced",
        "heartbeat present",
    )  # fmt: skip


def test_back_to_one_director(tmp_path: Path) -> None:
    """The VIPs are given up right before they are set."""
    found, said = steps(tmp_path, {}, {"director": ["heartbeat", "keepalived", "ldirectord"]}, directors=("director",))
    assert not said
    assert [step.removeprefix("director ") for step in found] == [
        "keepalived prepared",
        "ldirectord present",
        "director written",
        "heartbeat absent",
        "keepalived absent",
        "director announced",
    ]


def test_health_only(tmp_path: Path) -> None:
    """The table is there before the VIPs."""
    found, said = steps(tmp_path, {"lvs_health": "keepalived"}, directors=("director",), ours={"director": OURS[1:]})
    assert not said
    assert found == ["director keepalived prepared", "director director written", "director director announced"]


# ---------------------------------------------------------------------- hosts that are lost, or left out

LEARN, ADD, CHANGE, DROP, LAST = (
    "Realservers learn the new way", "Directors add to their tables", "Directors change over",
    "Realservers drop the old way", "Directors drop the old way",
)  # fmt: skip


def phases(directory: Path, play: str = "", host: str = "", *arguments: str) -> tuple[list[str], str]:
    """The plays of site.yml, in which each host says that it took part; a host that cannot be reached from a play on.

    What is asserted between the plays is the real thing. Everyone has something to drop. The standby is a realserver,
    too.
    """
    plays = yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    everyone = ["director", "standby", "rs1", "rs2"]
    parts: dict[str, Any] = {name: {"network": {}} for name in everyone}
    for one in plays[:-1]:
        name = one["name"]
        one["become"] = False
        lost = {"ansible.builtin.ping": {}, "when": f"inventory_hostname == '{host}'"}
        lost["vars"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
        said = {"ansible.builtin.debug": {"msg": f"STEP {{{{ inventory_hostname }}}} {name}"}}
        if one is plays[0]:
            plan = {"hosts": "{{ ansible_play_hosts_all }}", "parts": parts}
            known = {"preflight_plan": plan, "director_applied": {"leaving": [1]}}
            one["tasks"] = [{"ansible.builtin.set_fact": known}, one["tasks"][-1]]
        elif name == LEARN:
            # As with the module's result, what could not be reached has one, too.
            result = {"ansible.builtin.set_fact": {"realserver_applied": {"leaving": [1]}}}
            one["tasks"] = [{**lost, "register": "realserver_applied"} if name == play else said, said, result]
        elif name == CHANGE:
            one["tasks"] = [one["tasks"][0], *([lost] if name == play else []), said, one["tasks"][-1]]
        elif name in (DROP, LAST):
            one["tasks"] = [told(task) for task in one["tasks"]]
        else:
            one["tasks"] = [*([lost] if name == play else []), said]
    hosts = {name: {"ansible_connection": "local", "ansible_python_interpreter": sys.executable} for name in everyone}
    groups = {"lvs_directors": everyone[:2], "lvs_realservers": everyone[1:]}
    inventory = {"hosts": hosts, "children": {name: {"hosts": dict.fromkeys(of)} for name, of in groups.items()}}
    (directory / "hosts.json").write_text(json.dumps({"all": inventory}), encoding="utf-8")
    (directory / "site.yml").write_text(yaml.safe_dump(plays[:-1], sort_keys=False), encoding="utf-8")
    done = subprocess.run(
        [ANSIBLE_PLAYBOOK, "--forks", "4", "-i", directory / "hosts.json", directory / "site.yml", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return sorted(set(re.findall(r"msg: STEP (.*)", done.stdout))), " ".join(done.stdout.split())


DROPPED = ["rs1 realserver settled", "rs2 realserver settled", "standby director settled"]


def test_all_hosts_take_part(tmp_path: Path) -> None:
    found, said = phases(tmp_path)
    assert set(DROPPED) < set(found), said
    assert {f"{host} {CHANGE}" for host in ("director", "standby")} < set(found)


@pytest.mark.parametrize("play", ["Directors lay the ground", ADD, CHANGE])
def test_nothing_is_dropped_while_a_director_sends_the_old_way(tmp_path: Path, play: str) -> None:
    found, said = phases(tmp_path, play, "standby")
    assert "UNREACHABLE" in said
    assert not set(DROPPED) & set(found), said
    assert f"standby {CHANGE}" not in found


def test_no_director_changes_over_to_a_realserver_that_was_lost(tmp_path: Path) -> None:
    found, said = phases(tmp_path, LEARN, "rs1")
    assert "no director changed over; what they have was added to only: rs1" in said
    assert not {f"{host} {CHANGE}" for host in ("director", "standby")} & set(found)
    assert not set(DROPPED) & set(found)


@pytest.mark.parametrize("arguments", [("--limit", "rs1,rs2"), ("--tags", "realserver")])
def test_realservers_alone_drop_nothing(tmp_path: Path, arguments: tuple[str, str]) -> None:
    found, said = phases(tmp_path, "", "", *arguments)
    assert f"rs1 {LEARN}" in found and not set(DROPPED) & set(found)
    assert "Settings from before stay on rs1, since director and standby did not change over in this run" in said


def test_who_does_not_answer_outside_the_limit_is_named_where_it_is_needed(tmp_path: Path) -> None:
    """And does not end the run before that."""
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    alive = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    web = {"name": "web", "vips": [VIP], "ports": [80], "realservers": [{"host": "rs1"}]}
    groups = {
        "lvs_directors": {"hosts": {"director": dead}, "vars": {"lvs_services": [web]}},
        "lvs_realservers": {"hosts": {"rs1": alive}},
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": groups}}), encoding="utf-8")
    done = subprocess.run(
        [ANSIBLE_PLAYBOOK, "-i", tmp_path / "hosts.json", "--limit", "rs1", "--check", ROOT / "playbooks/site.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "director director: no interface found for VIP 192.168.1.110: its addresses are not known" in said, said


def test_a_director_that_serves_drops_nothing_that_another_may_send_to(tmp_path: Path) -> None:
    """One that does not serve drops what it alone has used."""
    found, said = phases(tmp_path, "", "", "--limit", "standby")
    assert f"standby {CHANGE}" in found and "standby director settled" not in found
    assert "Settings from before stay on standby, since director did not change over in this run" in said
    found, _said = phases(tmp_path, "", "", "--limit", "director")
    assert "director director settled" in found


def test_directors_alone_need_no_realserver(tmp_path: Path) -> None:
    found, said = phases(tmp_path, "", "", "--skip-tags", "realserver")
    assert f"director {CHANGE}" in found, said


def test_the_programs_stop_before_the_table_goes() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/teardown.yml").read_text(encoding="utf-8"))
    order = [
        (task["ansible.builtin.import_role"]["name"].rpartition(".")[2], *task["vars"].values())
        for play in plays
        for task in play["tasks"]
    ]
    assert order[:4] == [
        ("heartbeat", "absent"),
        ("keepalived", "absent"),
        ("ldirectord", "absent"),
        ("director", "stopped"),
    ]
