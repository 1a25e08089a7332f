# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module ipvs_info returns, over the fake kernel and a fake /proc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._genl import Connection
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_info import (
    DEFAULT_PARTS,
    PARTS,
    Machine,
    gather,
)
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_lock import Lock
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import Environment, reconcile
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_ipvs import FakeIpvs

HEADER = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
LINE = "TCP CB007107 C4EC C0A8016E {port:04X} 0A00000{realserver} {port:04X} ESTABLISHED     892\n"
WEB = {"protocol": "tcp", "address": "192.168.1.110", "port": 80}
FROM_KERNEL = ("connections", "stats", "rates", "timeouts", "daemons")


class Host:
    """A machine on which ip_vs is loaded."""

    def __init__(self, root: Path) -> None:
        self.kernel = FakeIpvs()
        self.root = root
        self.strangers: dict[Any, str] = {}
        self.modules = KernelModules(str(root), "6.1.0", lambda _arguments: (1, ""))
        self.put("proc/net/ip_vs", "")

    def put(self, path: str, content: str) -> None:
        """Write a file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content, encoding="utf-8")

    def connect(self) -> Connection:
        """A connection to the kernel."""
        return Connection(self.kernel.socket)

    def add(self, *ports: int, **options: Any) -> None:
        """Put services into the table."""
        service = {"address": "192.168.1.110", "realservers": [{"address": "10.0.0.1"}], **options}
        environment = Environment(
            self.modules,
            self.connect,
            str(self.root / "proc/net/ip_vs"),
            lock=Lock(str(self.root / "run")),
            strangers=lambda _keys: {},
            drained=str(self.root / "drained.json"),
        )
        reconcile([{**service, "port": port} for port in ports], environment=environment)

    def gather(self, *parts: str, **options: Any) -> dict[str, Any]:
        """What the module would return."""
        machine = Machine(self.modules, self.connect, str(self.root), lambda _keys: self.strangers)
        return gather(parts=parts or DEFAULT_PARTS, machine=machine, **options)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_by_default_the_table_and_the_connections(host: Host) -> None:
    host.add(80, 81)
    for svc in host.kernel.table.values():
        for dest in svc.dests.values():
            dest.active, dest.inactive, dest.persistent = 3, 2, 1
    result = host.gather(restrict=[{"port": 80}])
    assert list(result) == ["loaded", "config", "rules", "strangers", "connections", "notes"]
    assert (result["loaded"], result["notes"], result["strangers"]) == (True, [], [])
    assert [service["port"] for service in result["config"]] == [80]
    assert result["rules"] == ["-A -t 192.168.1.110:80 -s wlc", "-a -t 192.168.1.110:80 -r 10.0.0.1:80 -g -w 1"]
    assert result["connections"] == [
        {**WEB, "realservers": [{"address": "10.0.0.1", "port": 80, "active": 3, "inactive": 2, "persistent": 1}]}
    ]


def test_what_was_counted_and_what_is_counted_per_second(host: Host) -> None:
    host.add(80)
    result = host.gather("stats", "rates")
    numbers = ("connections", "in_packets", "out_packets", "in_bytes", "out_bytes")
    place = {"address": "10.0.0.1", "port": 80}
    for part, first in (("stats", 1), ("rates", 6)):
        counted = {name: first + index << 33 for index, name in enumerate(numbers)}
        assert result[part] == [{**WEB, **counted, "realservers": [{**place, **counted}]}]
    assert "config" not in result


def test_kernels_before_4_1_count_with_32_bits(host: Host) -> None:
    host.add(80)
    host.kernel.stats64 = False
    result = host.gather("stats", "rates")
    for counted in (result["stats"][0], result["stats"][0]["realservers"][0]):
        assert (counted["connections"], counted["in_bytes"]) == (1, 4 << 33)
    assert result["rates"][0]["realservers"][0]["out_bytes"] == 10


def test_services_of_somebody_else_are_named(host: Host) -> None:
    host.add(80, 81)
    host.strangers = {key: "kube-proxy: …" for key in host.kernel.table if key[3] == 80}
    assert host.gather("table")["strangers"] == [{**WEB, "whose": "kube-proxy: …"}]


def test_single_connections_by_service_realserver_and_client(host: Host) -> None:
    host.put(
        "proc/net/ip_vs_conn", HEADER + "".join(LINE.format(port=p, realserver=r) for p in (80, 81) for r in (1, 2))
    )

    def ports(**options: Any) -> tuple[int, list[tuple[str, int]]]:
        states = host.gather("states", **options)["states"]
        return states["read"], [
            (place["address"], place["port"]) for service in states["services"] for place in service["realservers"]
        ]

    assert ports() == (4, [("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.1", 81), ("10.0.0.2", 81)])
    assert ports(restrict=[{"port": 80}], realserver="10.0.0.2") == (4, [("10.0.0.2", 80)])
    assert ports(client="203.0.113.0/24", realserver="10.0.0.0/31")[1] == [("10.0.0.1", 80), ("10.0.0.1", 81)]
    assert ports(client="203.0.113.8")[1] == []
    assert ports(client="fd00::/8")[1] == []
    result = host.gather("states", "entries", max_entries=1, max_connections=3)
    assert (result["states"]["read"], result["states"]["truncated"]) == (3, True)
    assert result["entries"]["matching"] == 3
    assert [entry["client_port"] for entry in result["entries"]["connections"]] == [50412]


def test_the_kernels_sysctls(host: Host) -> None:
    values = {"conn_reuse_mode": "1\n", "conn_lfactor": "-2\n", "sync_threshold": "3\t50\n", "est_cpulist": "\n"}
    for name, text in values.items():
        host.put(f"proc/sys/net/ipv4/vs/{name}", text)
    assert host.gather("sysctls")["sysctls"] == {
        "conn_lfactor": -2,
        "conn_reuse_mode": 1,
        "est_cpulist": "",
        "sync_threshold": "3 50",
    }


def test_capabilities_look_at_the_table(host: Host) -> None:
    host.add(80, scheduler="sh")
    found = host.gather("capabilities", restrict=[])["capabilities"]
    assert (found["bound_schedulers"], found["may_read"], found["kernel"]) == (["sh"], True, "6.1.0")
    host.kernel.dest_family = host.kernel.stats64 = False
    found = host.gather("capabilities")["capabilities"]
    assert found["destination_family"] is found["stats64"] is found["tunnel_checksum"] is False


def test_a_bare_host_has_nothing_and_nothing_is_loaded(host: Host) -> None:
    host.kernel.loaded = False
    (host.root / "proc/net/ip_vs").unlink()
    result = host.gather(*PARTS)
    capabilities = result.pop("capabilities")
    assert result == {
        "loaded": False,
        "config": [],
        "rules": [],
        "strangers": [],
        "connections": [],
        "stats": [],
        "rates": [],
        "states": {"read": 0, "truncated": False, "services": []},
        "entries": {"read": 0, "matching": 0, "truncated": False, "connections": []},
        "timeouts": None,
        "daemons": [],
        "sysctls": {},
        "notes": [],
    }
    assert capabilities["schedulers"] == {}
    assert host.kernel.sends == 0


def test_without_the_right_to_read_the_table_only_the_table_is_an_error(host: Host) -> None:
    host.add(80)
    host.put("proc/net/ip_vs_conn", HEADER + LINE.format(port=80, realserver=1))
    host.kernel.allowed = False
    with pytest.raises(LvsError, match="CAP_NET_ADMIN"):
        host.gather()
    result = host.gather(*(part for part in PARTS if part != "table"))
    assert list(result) == ["loaded", "states", "entries", "sysctls", "capabilities", "notes"]
    assert result["loaded"] is True
    assert result["states"]["read"] == 1
    assert result["capabilities"]["may_read"] is result["capabilities"]["may_write"] is False
    (note,) = result["notes"]
    assert note.startswith(f"Not read: {', '.join(FROM_KERNEL)}. ")
    assert "CAP_NET_ADMIN" in note


def test_without_netlink_the_rest_is_still_read(host: Host) -> None:
    def refused() -> Any:
        raise OSError(97, "Address family not supported by protocol")

    machine = Machine(host.modules, lambda: Connection(refused), str(host.root))
    with pytest.raises(LvsError, match="generic netlink socket"):
        gather(machine=machine)
    result = gather(parts=["connections", "states"], machine=machine)
    assert result["loaded"] is True
    assert result["states"]["read"] == 0
    assert "generic netlink socket" in result["notes"][0]


def test_a_list_of_connections_that_cannot_be_understood_is_said(host: Host) -> None:
    host.add(80)
    host.put("proc/net/ip_vs_conn", HEADER + "something new\n")
    result = host.gather("table", "states", "entries")
    assert len(result["config"]) == 1
    assert "states" not in result
    assert result["notes"] == [
        "Not read: states, entries. A line of /proc/net/ip_vs_conn is not what kernels are known to write: "
        "'something new'."
    ]


def test_all_mistakes_of_the_options_in_one_message(host: Host) -> None:
    with pytest.raises(LvsError) as caught:
        host.gather(realserver="10.0.0.1/24", client="nobody", max_connections=-1, max_entries=-1)
    assert len(caught.value.details["mistakes"]) == 4
