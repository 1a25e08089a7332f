# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever table stands there and whatever is asked for: the result is what was asked, and failure leaves no trace."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._genl import Connection
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_info import Machine, gather
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_lock import Lock
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import (
    Environment,
    reconcile,
)
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_ipvs import FakeIpvs

ROOT = TemporaryDirectory()  # of a machine on which ip_vs is loaded
Path(ROOT.name, "proc/net").mkdir(parents=True)
Path(ROOT.name, "proc/net/ip_vs").touch()

SCHEDULERS = ("rr", "wrr", "wlc", "sh", "mh")
PORTS = (0, 80, 443)


def environment(kernel: FakeIpvs) -> Environment:
    """The fake kernel as the machine, with all modules there and no time passing."""
    modules = KernelModules(root="/nonexistent", release="6.1.0", run=lambda _arguments: (0, ""))
    return Environment(
        modules,
        lambda: Connection(kernel.socket),
        proc="/",
        sleep=lambda _seconds: None,
        lock=Lock("/nonexistent/lvs"),
        strangers=lambda _keys: {},
        drained="/nonexistent/drained.json",
    )


def realservers(family: str, port: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Realservers that a service of this family and port can have; few addresses, so that tables overlap."""
    prefix = {"ipv4": "10.0.0.", "ipv6": "fd00::"}

    @st.composite
    def one(draw: st.DrawFn) -> dict[str, Any]:
        forwarding = draw(st.sampled_from(["nat", "dr", "tun"]))
        own = family if forwarding != "tun" else draw(st.sampled_from(["ipv4", "ipv6"]))
        upper = draw(st.integers(0, 50))
        entry: dict[str, Any] = {
            "address": prefix[own] + str(draw(st.integers(1, 4))),
            "port": draw(st.sampled_from([port, 8080])) if forwarding == "nat" else port,
            "forwarding": forwarding,
            "weight": draw(st.sampled_from([0, 1, 7, 70000])),
            "upper_threshold": upper,
            "lower_threshold": draw(st.integers(0, upper)),
        }
        if forwarding == "tun":
            kind = draw(st.sampled_from(["ipip", "gue", "gre"]))
            entry["tunnel"] = {"type": kind}
            if kind == "gue":
                entry["tunnel"]["port"] = 6080
            if kind != "ipip":
                entry["tunnel"]["checksum"] = draw(st.sampled_from(["none", "csum", "remcsum", "both"]))
        return entry

    return st.lists(one(), max_size=4, unique_by=lambda entry: (entry["address"], entry["port"]))


@st.composite
def services(draw: st.DrawFn) -> dict[str, Any]:
    """One complete service as ipvs_info would return it."""
    family = draw(st.sampled_from(["ipv4", "ipv6"]))
    if draw(st.booleans()):
        port = 0
        name: dict[str, Any] = {"fwmark": draw(st.integers(1, 3)), "family": family}
        one_packet = draw(st.booleans())
    else:
        protocol = draw(st.sampled_from(["tcp", "udp", "sctp"]))
        port = draw(st.sampled_from(PORTS))
        vip = {"ipv4": "192.168.1.", "ipv6": "2001:db8::"}[family] + str(draw(st.integers(1, 3)))
        name = {"protocol": protocol, "address": vip, "port": port}
        one_packet = draw(st.booleans()) if protocol == "udp" else False
    persistence = None
    if draw(st.booleans()) or ("fwmark" not in name and port == 0):
        netmask: Any = draw(st.integers(0, 32) if family == "ipv4" else st.integers(1, 128))
        if family == "ipv4" and draw(st.booleans()):
            netmask = "255.0.255.0"
        timeout = draw(st.integers(1, 2678400))
        persistence = {"timeout": timeout, "netmask": netmask, "engine": draw(st.sampled_from([None, "sip"]))}
    scheduler = draw(st.sampled_from(SCHEDULERS))
    flags = {"sh": ["sh-fallback", "sh-port", "flag-3"], "mh": ["mh-fallback", "mh-port", "flag-3"]}
    known = flags.get(scheduler, ["flag-1", "flag-2", "flag-3"])
    return {
        **name,
        "scheduler": scheduler,
        "scheduler_flags": [flag for flag in known if draw(st.booleans())],
        "persistence": persistence,
        "one_packet": one_packet,
        "realservers": draw(realservers(family, port)),
    }


def service_name(service: dict[str, Any]) -> tuple[Any, ...]:
    """What tells services apart."""
    return tuple(service.get(key) for key in ("protocol", "address", "port", "fwmark", "family"))


tables = st.lists(services(), max_size=5, unique_by=service_name)


def canonical(table: list[dict[str, Any]]) -> Any:
    """A table without order."""
    return {
        service_name(service): {
            **service,
            "realservers": {(entry["address"], entry["port"]): entry for entry in service["realservers"]},
        }
        for service in table
    }


def filled(table: list[dict[str, Any]]) -> FakeIpvs:
    """A kernel that has this table."""
    kernel = FakeIpvs()
    reconcile(table, "overridden", allow_empty=True, environment=environment(kernel))
    kernel.writes.clear()
    kernel.sends = 0
    return kernel


def content(kernel: FakeIpvs) -> Any:
    """What the kernel has, as ipvs_info tells."""
    there = environment(kernel)
    machine = Machine(there.modules, there.connect, ROOT.name, there.strangers)
    return canonical(gather(machine=machine)["config"])


@given(tables)
def test_what_is_written_is_what_is_read(table: list[dict[str, Any]]) -> None:
    assert content(filled(table)) == canonical(table)


@given(tables, tables)
def test_overridden_leads_from_any_table_to_any_other_and_then_writes_nothing(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    kernel = filled(before)
    checked = reconcile(after, "overridden", allow_empty=True, check=True, environment=environment(kernel))
    assert not kernel.writes
    first = reconcile(after, "overridden", allow_empty=True, environment=environment(kernel))
    assert content(kernel) == canonical(after)
    assert {key: checked[key] for key in ("changed", "before", "after", "commands", "diff")} == {
        key: first[key] for key in ("changed", "before", "after", "commands", "diff")
    }
    assert len(kernel.writes) == len(first["commands"])
    kernel.writes.clear()
    second = reconcile(after, "overridden", allow_empty=True, environment=environment(kernel))
    assert not kernel.writes
    assert second["changed"] is False
    assert second["commands"] == second["before"] == second["after"] == []


@given(
    tables,
    tables,
    st.sampled_from(["merged", "replaced", "overridden", "deleted", "detached"]),
    st.sampled_from([0, 30]),
    st.booleans(),
)
def test_check_mode_says_what_the_run_does(
    before: list[dict[str, Any]], after: list[dict[str, Any]], state: str, drain: int, full: bool
) -> None:
    kernel = filled(before)
    results: list[Any] = []
    for check in (True, False):
        try:
            results.append(
                reconcile(
                    after,
                    state,
                    allow_empty=True,
                    drain_timeout=drain,
                    full=full,
                    check=check,
                    environment=environment(kernel),
                )
            )
        except LvsError as exc:  # what the kernel's values make wrong
            results.append(exc.message)
    assert results[0] == results[1]


@given(tables, tables)
def test_replaced_touches_only_what_is_named(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    kernel = filled(before)
    reconcile(after, "replaced", environment=environment(kernel))
    assert content(kernel) == {**canonical(before), **canonical(after)}


@given(tables, tables)
def test_merged_keeps_what_is_not_named(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    # Under merged "no persistence" is said with a timeout of 0, and "no engine" with its name.
    stated = []
    for service in after:
        persistence = service["persistence"] or {"timeout": 0}
        stated.append({**service, "persistence": {**persistence, "engine": persistence.get("engine") or "none"}})
    kernel = filled(before)
    reconcile(stated, "merged", environment=environment(kernel))
    old, new, now = canonical(before), canonical(after), content(kernel)
    assert set(now) == {*old, *new}
    for name, service in now.items():
        if name not in new:
            assert service == old[name]
            continue
        kept = old.get(name, {"realservers": {}})["realservers"]
        assert service == {**new[name], "realservers": {**kept, **new[name]["realservers"]}}


@given(tables)
def test_merging_names_alone_changes_nothing(table: list[dict[str, Any]]) -> None:
    kernel = filled(table)
    names = [
        {
            **{key: service[key] for key in ("protocol", "address", "port", "fwmark", "family") if key in service},
            "realservers": [{"address": entry["address"], "port": entry["port"]} for entry in service["realservers"]],
        }
        for service in table
    ]
    assert reconcile(names, "merged", environment=environment(kernel))["changed"] is False
    assert not kernel.writes


@given(tables, st.sampled_from(["weight", "upper_threshold"]))
def test_one_stated_field_is_the_only_one_that_changes(table: list[dict[str, Any]], name: str) -> None:
    kernel = filled(table)
    value = {"weight": 3, "upper_threshold": 1000}[name]
    stated = [
        {
            **{key: service[key] for key in ("protocol", "address", "port", "fwmark", "family") if key in service},
            "realservers": [
                {"address": entry["address"], "port": entry["port"], name: value} for entry in service["realservers"]
            ],
        }
        for service in table
    ]
    reconcile(stated, "merged", environment=environment(kernel))
    expected = canonical(table)
    for service in expected.values():
        for entry in service["realservers"].values():
            entry[name] = value
    assert content(kernel) == expected


@given(tables, tables)
def test_keep_keeps_every_weight(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    kernel = filled(before)
    kept = [
        {**service, "realservers": [{**entry, "weight": "keep"} for entry in service["realservers"]]}
        for service in after
    ]
    reconcile(kept, "overridden", allow_empty=True, environment=environment(kernel))
    old, expected = canonical(before), canonical(after)
    for name, service in expected.items():
        for key, entry in service["realservers"].items():
            there = old.get(name, {"realservers": {}})["realservers"].get(key)
            entry["weight"] = there["weight"] if there else 1
    assert content(kernel) == expected


@given(tables, tables, st.randoms(use_true_random=False), st.sampled_from([0, 30]))
def test_a_refusal_anywhere_leaves_the_table_as_it_was(
    before: list[dict[str, Any]], after: list[dict[str, Any]], chance: random.Random, drain: int
) -> None:
    kernel = filled(before)
    planned = reconcile(
        after, "overridden", allow_empty=True, drain_timeout=drain, check=True, environment=environment(kernel)
    )["commands"]
    if not planned:
        return
    kernel.refuse = {chance.randrange(len(planned)): errno.EINVAL}
    try:
        reconcile(after, "overridden", allow_empty=True, drain_timeout=drain, environment=environment(kernel))
    except LvsError as exc:
        assert exc.details["rolled_back"] is True
        assert exc.details["rollback_commands"] == []
    else:
        raise AssertionError("the refusal went unnoticed")
    assert content(kernel) == canonical(before)


@given(tables, tables, st.randoms(use_true_random=False))
def test_lost_answers_and_busy_kernels_are_got_over(
    before: list[dict[str, Any]], after: list[dict[str, Any]], chance: random.Random
) -> None:
    kernel = filled(before)
    kernel.lose = {chance.randrange(1, 12), chance.randrange(1, 12)}
    kernel.refuse = {chance.randrange(10): errno.EBUSY}
    reconcile(after, "overridden", allow_empty=True, environment=environment(kernel))
    kernel.lose = set()
    assert content(kernel) == canonical(after)


@settings(max_examples=50)
@given(tables, tables, tables)
def test_only_what_is_ours_is_overridden(
    foreign: list[dict[str, Any]], before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    restrict: list[dict[str, Any]] = [{"address": "192.168.1.0/24"}, {"fwmark": 1}]

    def is_ours(service: dict[str, Any]) -> bool:
        return str(service.get("address", "")).startswith("192.168.1.") or service.get("fwmark") == 1

    foreign = [service for service in foreign if not is_ours(service)]
    kernel = filled([*foreign, *filter(is_ours, before)])
    wanted = [*filter(is_ours, after)]
    reconcile(wanted, "overridden", restrict=restrict, allow_empty=True, environment=environment(kernel))
    assert content(kernel) == canonical([*foreign, *wanted])
