# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands on a host and whatever is asked for: it comes true, stays, and all of it comes back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _network_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_run import Outcome, Request
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_host import FakeHost

KEYS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.eth0.forwarding",
    "net.ipv6.conf.eth0.accept_ra",
    "net.ipv4.conf.all.accept_redirects",
    "net.ipv4.conf.eth0.forwarding",
    "net.ipv4.conf.all.arp_ignore",
)


# The ledger is synced to the disk at every step; a disk in memory makes that cheap.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def some(strategy: st.SearchStrategy[Any], key: Any) -> st.SearchStrategy[list[Any]]:
    """A few of them, none with the same identity as another."""
    return st.lists(strategy, max_size=3, unique_by=key)


def fixed(**values: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({key: st.sampled_from(value) for key, value in values.items()})


sysctls = some(fixed(key=KEYS, value=("0", "1")), lambda entry: entry["key"])
addresses4 = some(
    fixed(address=("10.7.7.7/32", "10.7.7.8/32"), device=("lo", "eth0")),
    lambda entry: (entry["address"], entry["device"]),
)
addresses6 = some(
    fixed(address=("2001:db8:7::7/128", "2001:db8:7::7/64"), device=("eth0", "lvs0"), deprecated=(True, False)),
    lambda entry: entry["device"],
)
routes = some(
    fixed(
        destination=("default", "10.8.0.0/16"),
        gateway=("192.168.1.9", "192.168.1.254"),
        table=(254, 1100),
        advmss=(None, 1400),
    ),
    lambda entry: (entry["destination"], entry["table"]),
)
rules = some(
    st.fixed_dictionaries(
        {"from": st.just("10.7.7.7"), "priority": st.sampled_from((7, 8)), "table": st.sampled_from((9, 10))}
    ),
    lambda entry: entry["priority"],
)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "sysctls": draw(sysctls),
        "devices": [{"name": "lvs0", "kind": "dummy"}],
        "addresses": draw(addresses4) + draw(addresses6),
        "routes": draw(routes),
        "rules": draw(rules),
    }


class Machine:
    """A host on which some of what may be asked for can stand already."""

    def __init__(self, root: str, already: dict[str, Any]) -> None:
        self.host = FakeHost(Path(root))
        for entry in already["sysctls"]:
            self.host.settings.write(entry["key"], entry["value"])
        for entry in already["addresses"]:
            if entry["device"] != "lvs0":
                lifetime = " preferred_lft 0" if entry.get("deprecated") else ""
                self.host.batch(f"ip addr add {entry['address']} dev {entry['device']}{lifetime}")
        for entry in already["routes"]:
            advmss = f" advmss {entry['advmss']}" if entry["advmss"] else ""
            self.host.batch(
                f"ip route replace {entry['destination']} via {entry['gateway']} table {entry['table']}{advmss} proto 4"
            )
        for entry in already["rules"]:
            self.host.batch(f"ip rule add from {entry['from']} priority {entry['priority']} table {entry['table']}")
        self.host.commands.clear()

    def run(self, config: dict[str, Any], state: str = "replaced", check: bool = False) -> Outcome:
        request = Request(config, state, root=str(self.host.root), check=check)
        return _network_run.run(request, self.host.kernel())


@settings(max_examples=60)
@given(
    already=configs(),
    steps=st.lists(st.tuples(configs(), st.sampled_from(("merged", "replaced"))), min_size=1, max_size=3),
)
def test_true_then_quiet_then_back(already: dict[str, Any], steps: list[tuple[dict[str, Any], str]]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        machine = Machine(root, already)
        before = machine.host.state()
        for config, state in steps:
            stood = machine.host.state()
            checked = machine.run(config, state, check=True)
            assert machine.host.state() == stood
            done = machine.run(config, state)
            if "ip link add lvs0 type dummy" not in done.commands:
                assert done.result() == checked.result()
            assert not machine.run(config, state).changed
            assert not machine.run(config, "merged").changed
        machine.run({}, "absent")
        assert machine.host.state() == before


@settings(max_examples=60)
@given(already=configs(), first=configs(), second=configs(), at=st.integers(0, 12))
def test_a_failure_anywhere_leaves_no_trace(
    already: dict[str, Any], first: dict[str, Any], second: dict[str, Any], at: int
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        machine = Machine(root, already)
        machine.run(first)
        stood = machine.host.state()
        planned = [line for line in machine.run(second, check=True).commands if line.startswith("ip ")]
        if at >= len(planned):
            return
        machine.host.refused[planned[at].replace("-4 ", "").replace("-6 ", "").removeprefix("ip ")] = "Invalid argument"
        with pytest.raises(LvsError, match="Invalid argument"):
            machine.run(second)
        machine.host.refused.clear()
        assert machine.host.state() == stood
        machine.run(second)
        assert not machine.run(second).changed
