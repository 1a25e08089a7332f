# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of operations, and what of a record changes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_diff as diff
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_model as model
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_input import parse


def table(*services: dict[str, Any]) -> model.Table:
    """A table from config."""
    wanted, _none = parse(list(services), None, keep=False)
    return diff.target(wanted, {}, diff.REPLACED, lambda _key: False)


def service(port: int = 80, *realservers: str, **fields: Any) -> dict[str, Any]:
    """A service of 192.168.1.110 with realservers of these addresses."""
    return {"address": "192.168.1.110", "port": port, "realservers": [{"address": rs} for rs in realservers], **fields}


def commands(have: model.Table, want: model.Table, drain: bool = False) -> list[str]:
    """The difference as ipvsadm lines."""
    keys = list({**have, **want})
    return [operation.command() for operation in diff.difference(have, want, keys, drain).operations()]


def test_grow_comes_before_shrink_over_all_services() -> None:
    have = table(service(80, "10.0.0.1", "10.0.0.2"), service(81, "10.0.0.1"))
    want = table(service(80, "10.0.0.2", "10.0.0.3", scheduler="rr"), service(82, "10.0.0.4"))
    assert commands(have, want) == [
        "-E -t 192.168.1.110:80 -s rr",
        "-a -t 192.168.1.110:80 -r 10.0.0.3:80 -g -w 1",
        "-A -t 192.168.1.110:82 -s wlc",
        "-a -t 192.168.1.110:82 -r 10.0.0.4:82 -g -w 1",
        "-d -t 192.168.1.110:80 -r 10.0.0.1:80",
        "-D -t 192.168.1.110:81",
    ]


def test_what_leaves_loses_its_weight_first_when_it_drains() -> None:
    have = table(service(80, "10.0.0.1", "10.0.0.2"), service(81, "10.0.0.1"))
    want = table(service(80, "10.0.0.2"))
    assert commands(have, want, drain=True) == [
        "-e -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 0",
        "-e -t 192.168.1.110:81 -r 10.0.0.1:81 -g -w 0",
        "-d -t 192.168.1.110:80 -r 10.0.0.1:80",
        "-D -t 192.168.1.110:81",
    ]


def test_a_weight_that_is_0_already_is_not_written_again() -> None:
    entry = {"address": "10.0.0.1", "weight": 0}
    have = table({"address": "192.168.1.110", "port": 80, "realservers": [entry]})
    assert commands(have, table(service(80)), drain=True) == ["-d -t 192.168.1.110:80 -r 10.0.0.1:80"]


def test_equal_tables_have_no_difference() -> None:
    have = table(service(80, "10.0.0.1"))
    difference = diff.difference(have, table(service(80, "10.0.0.1")), list(have))
    assert not difference
    assert difference.operations() == []


def test_a_realserver_that_the_kernel_calls_local_is_left_alone() -> None:
    have = table(service(80, "10.0.0.1"))
    entry = next(iter(have.values()))
    for key, destination in entry.destinations.items():
        entry.destinations[key] = destination._replace(forwarding=model.LOCAL)
    assert commands(have, table(service(80, "10.0.0.1"))) == []


def merged(have: model.Table, *stated: dict[str, Any]) -> list[str]:
    """What merging does to a table."""
    wanted, _none = parse(list(stated), None, keep=True)
    want = diff.target(wanted, have, diff.MERGED, lambda _key: False)
    keys = diff.touched(wanted, have, diff.MERGED, lambda _key: False)
    return [operation.command() for operation in diff.difference(have, want, keys).operations()]


FULL = {
    "address": "192.168.1.110",
    "port": 80,
    "scheduler": "sh",
    "scheduler_flags": ["sh-port"],
    "persistence": {"timeout": 600, "netmask": 24, "engine": "sip"},
    "realservers": [
        {"address": "10.0.0.1", "weight": 5, "upper_threshold": 9, "lower_threshold": 8},
        {"address": "10.0.0.2", "forwarding": "tun", "tunnel": {"type": "gue", "port": 6080}},
        {"address": "10.0.0.3", "forwarding": "nat", "port": 8080},
    ],
}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"scheduler": "mh"}, ["-E {} -s mh -p 600 -M 255.255.255.0 --pe sip -b mh-port"]),
        ({"scheduler_flags": []}, ["-E {} -s sh -p 600 -M 255.255.255.0 --pe sip"]),
        ({"persistence": {"timeout": 60}}, ["-E {} -s sh -p 60 -M 255.255.255.0 --pe sip -b sh-port"]),
        ({"persistence": {"engine": "none"}}, ["-E {} -s sh -p 600 -M 255.255.255.0 -b sh-port"]),
        ({"persistence": {"timeout": 0}}, ["-E {} -s sh -b sh-port"]),
        ({"persistence": {}}, []),
        ({"realservers": [{"address": "10.0.0.1", "weight": 0}]}, ["-e {} -r 10.0.0.1:80 -g -w 0 -x 9 -y 8"]),
        (
            {"realservers": [{"address": "10.0.0.1", "upper_threshold": 20}]},
            ["-e {} -r 10.0.0.1:80 -g -w 5 -x 20 -y 8"],
        ),
        ({"realservers": [{"address": "10.0.0.1", "weight": "keep"}]}, []),
        ({"realservers": [{"address": "10.0.0.9", "weight": "keep"}]}, ["-a {} -r 10.0.0.9:80 -g -w 1"]),
        ({"realservers": [{"address": "10.0.0.2", "forwarding": "dr"}]}, ["-e {} -r 10.0.0.2:80 -g -w 1"]),
        ({"realservers": [{"address": "10.0.0.3", "port": 8080, "weight": 3}]}, ["-e {} -r 10.0.0.3:8080 -m -w 3"]),
        ({"realservers": []}, []),
        ({}, []),
    ],
)
def test_merged_changes_only_what_is_stated(stated: dict[str, Any], expected: list[str]) -> None:
    lines = [line.format("-t 192.168.1.110:80") for line in expected]
    assert merged(table(FULL), {"address": "192.168.1.110", "port": 80, **stated}) == lines


def test_persistence_switched_on_under_merged_has_the_default_timeout() -> None:
    assert merged(table(service()), service(persistence={})) == ["-E -t 192.168.1.110:80 -s wlc -p 300"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"address": "10.0.0.9", "port": 8080}, "its port must be the service's, 80"),
        ({"address": "10.0.0.3", "port": 8080, "forwarding": "dr"}, "its port must be the service's, 80"),
        ({"address": "10.0.0.1", "upper_threshold": 1}, "lower_threshold 8 is above upper_threshold 1"),
        ({"address": "10.0.0.1", "tunnel": {"type": "gre"}}, "tunnel is for forwarding tun only"),
    ],
)
def test_a_record_that_the_kernels_values_make_wrong_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(LvsError, match=r"config\[0\]\.realservers\[0\]") as caught:
        merged(table(FULL), {"address": "192.168.1.110", "port": 80, "realservers": [fields]})
    assert why in caught.value.message


def test_a_service_that_the_kernels_values_make_wrong_is_refused() -> None:
    have = table({"address": "192.168.1.110", "port": 0, "persistence": {}})
    with pytest.raises(LvsError, match=r"config\[0\]: port 0"):
        merged(have, {"address": "192.168.1.110", "port": 0, "persistence": {"timeout": 0}})
    with pytest.raises(LvsError, match="one_packet is for UDP"):
        merged(table(service()), service(one_packet=True))


def test_what_the_kernel_has_already_is_not_this_runs_mistake() -> None:
    """Other programs write records that would be refused here; they can still be edited and drained."""
    (entry,) = table(service(80, "10.0.0.1")).values()
    (odd,) = (destination._replace(port=8080) for destination in entry.destinations.values())
    odd_service = entry.service._replace(flags=model.ONE_PACKET)
    have = {entry.service.key: model.Entry(odd_service, {odd.key: odd})}
    edit = service(80) | {"realservers": [{"address": "10.0.0.1", "port": 8080, "weight": 0}]}
    assert merged(have, edit) == ["-e -t 192.168.1.110:80 -r 10.0.0.1:8080 -g -w 0"]
    with pytest.raises(LvsError, match="port 9 with"):
        merged(have, service(80) | {"realservers": [{"address": "10.0.0.1", "port": 9}]})


def test_keep_keeps_the_weight_when_all_else_is_replaced() -> None:
    wanted, _none = parse(
        [
            service(80)
            | {"realservers": [{"address": "10.0.0.1", "weight": "keep"}, {"address": "10.0.0.9", "weight": "keep"}]}
        ],
        None,
        keep=False,
    )
    have = table(FULL)
    want = diff.target(wanted, have, diff.REPLACED, lambda _key: False)
    lines = [operation.command() for operation in diff.difference(have, want, list(want)).grow]
    assert lines == [
        "-E -t 192.168.1.110:80 -s wlc",
        "-e -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 5",
        "-a -t 192.168.1.110:80 -r 10.0.0.9:80 -g -w 1",
    ]


def test_only_what_is_ours_leaves_under_overridden() -> None:
    have = table(service(80), service(81), service(82))
    wanted, _none = parse([service(80)], None, keep=False)
    assert [key[3] for key in diff.touched(wanted, have, diff.OVERRIDDEN, lambda key: key[3] == 82)] == [80, 82]
    assert [key[3] for key in diff.touched(wanted, have, diff.REPLACED, lambda _key: True)] == [80]
    assert diff.target(wanted, have, diff.DELETED, lambda _key: True) == {}


def test_an_operation_in_words() -> None:
    entry = next(iter(table(service(80, "10.0.0.1")).values()))
    destination = next(iter(entry.destinations.values()))
    operation = diff.Operation(diff.DEL_DESTINATION, entry.service, destination)
    assert operation.describe() == "deleting realserver 10.0.0.1:80 of TCP service 192.168.1.110:80"
    assert diff.Operation(diff.ADD_SERVICE, entry.service).describe() == "adding TCP service 192.168.1.110:80"
