# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ipvs_info returns is what ipvs takes; and whatever the kernel says, the answer is a result or an LvsError."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _genl, _ipvs_connections
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_wire as wire
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._genl import Connection
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_info import PARTS, Machine, gather
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import reconcile
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules
from ansible_collections.linuxvirtualserver.lvs.tests.property.test_reconcile import (
    ROOT,
    content,
    environment,
    filled,
    tables,
)
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_ipvs import (
    Dest,
    FakeIpvs,
    FakeSocket,
    RefusedError,
    Svc,
    parse,
    put,
)


@given(tables)
def test_config_is_the_input_that_makes_the_same_table(table: list[dict[str, Any]]) -> None:
    kernel = filled(table)
    machine = Machine(KernelModules(root="/nonexistent", release="6.1.0"), lambda: Connection(kernel.socket), ROOT.name)
    config = gather(machine=machine)["config"]
    again = reconcile(config, "overridden", allow_empty=True, environment=environment(kernel))
    assert (again["changed"], again["commands"]) == (False, [])
    copy = filled(config)
    assert copy.table == kernel.table
    assert content(copy) == content(kernel)


# ---- lines of /proc/net/ip_vs_conn

FIELDS = st.one_of(
    st.sampled_from([b"TCP", b"IP", b"IP_47", b"0A4E0001", b"0050", b"0000", b"NONE", b"ESTABLISHED", b"892", b"::"]),
    st.just(b"fd78:0000:0000:0000:0000:0000:0000:0001"),
    st.binary(max_size=45),
)


@given(st.one_of(st.binary(max_size=200), st.lists(FIELDS, max_size=13).map(b" ".join)))
def test_any_line_is_a_connection_or_an_error_in_words(line: bytes) -> None:
    with contextlib.suppress(LvsError):
        summary = _ipvs_connections.read(io.BytesIO(line), lambda row: True, 5, 5)
        _ipvs_connections.summary_results(summary)
        _ipvs_connections.row_results(summary)


WORDS = st.integers(0, 0xFFFFFFFF).map(lambda number: b"%08X" % number)
SIXES = st.binary(min_size=16, max_size=16).map(lambda packed: packed.hex(":", 2).encode())
PORTS = st.integers(0, 0xFFFF).map(lambda number: b"%04X" % number)


@given(
    st.sampled_from([b"TCP", b"UDP", b"IP ", b"SCTP"]),
    st.sampled_from([WORDS, SIXES]),
    st.sampled_from([WORDS, SIXES]),
    st.data(),
)
def test_every_line_that_the_kernel_writes_is_understood(protocol: bytes, own: Any, other: Any, data: Any) -> None:
    client, vip, realserver = data.draw(own), data.draw(own), data.draw(other)
    ports = [data.draw(PORTS) for _place in range(3)]
    state = data.draw(st.sampled_from([b"NONE", b"ASSURED", b"ESTABLISHED", b"ERR!"]))
    line = b"%-3s %s %s %s %s %s %s %-11s %7u\n" % (
        protocol, client, ports[0], vip, ports[1], realserver, ports[2], state, data.draw(st.integers(0, 10**7))
    )  # fmt: skip
    row = _ipvs_connections.parse(line)
    assert (row.client_port, row.realserver[2]) == (int(ports[0], 16), int(ports[2], 16))
    assert row.template == (ports[0] == b"0000" and state in (b"NONE", b"ASSURED"))
    summary = _ipvs_connections.read(io.BytesIO(line), lambda row: True, 5, 5)
    assert len(_ipvs_connections.summary_results(summary)["services"]) == 1
    assert len(_ipvs_connections.row_results(summary)["connections"]) == 1


# ---- netlink


class GarblingSocket(FakeSocket):
    """Changes some bytes of some answers, cuts them or lengthens them."""

    def __init__(self, kernel: FakeIpvs, data: Any) -> None:
        super().__init__(kernel)
        self._data = data
        self._left = 3

    def recv(self, size: int, flags: int = 0) -> bytes:
        """The next answer, perhaps garbled."""
        answer = bytearray(super().recv(size, flags))
        if self._left and self._data.draw(st.booleans()):
            self._left -= 1
            kind = self._data.draw(st.sampled_from(["change", "change", "number", "cut", "lengthen"]))
            place = self._data.draw(st.integers(0, len(answer) - 1))
            if kind == "change":
                answer[place] = self._data.draw(st.integers(0, 255))
            elif kind == "number":
                answer[place & ~3 : (place & ~3) + 4] = self._data.draw(st.binary(min_size=4, max_size=4))
            elif kind == "cut":
                del answer[place:]
            else:
                answer += self._data.draw(st.binary(min_size=1, max_size=40))
        return bytes(answer)


def garbled(record: bytes, data: Any) -> bytes:
    """The record with one attribute of it, or of one inside it, taken away, renumbered or with other content."""
    attributes = list(parse(record).items())
    place = data.draw(st.integers(0, len(attributes) - 1))
    number, inside = attributes[place]
    kind = data.draw(st.sampled_from(["inside", "content", "content", "number", "gone"]))
    if kind == "inside":
        with contextlib.suppress(RefusedError):
            if parse(inside):
                inside = garbled(inside, data)
    elif kind == "content":
        inside = data.draw(st.binary(max_size=len(inside) + 3))
    elif kind == "number":
        number = data.draw(st.integers(0, 20))
    attributes[place : place + 1] = [] if kind == "gone" else [(number, inside)]
    return b"".join(put(*attribute) for attribute in attributes)


class GarblingKernel(FakeIpvs):
    """Answers with well-formed attributes that mean nothing."""

    data: Any = None

    def _fill_service(self, svc: Svc) -> bytes:
        return self._garbled(1, super()._fill_service(svc))

    def _fill_dest(self, dest: Dest) -> bytes:
        return self._garbled(2, super()._fill_dest(dest))

    def _garbled(self, number: int, record: bytes) -> bytes:
        inside = parse(record)[number]
        for _change in range(self.data.draw(st.integers(0, 2))):
            inside = garbled(inside, self.data) or inside
        return put(number, inside)


@given(tables, st.data())
def test_answers_that_mean_nothing_are_results_or_errors_in_words(table: list[dict[str, Any]], data: Any) -> None:
    kernel = GarblingKernel()
    kernel.table, kernel.data = filled(table).table, data
    modules = KernelModules(root="/nonexistent", release="6.1.0")
    machine = Machine(modules, lambda: Connection(kernel.socket), ROOT.name)
    parts = data.draw(st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=3, unique=True))
    with contextlib.suppress(LvsError):
        gather(parts=parts, machine=machine)


@given(tables, st.data())
def test_garbled_answers_of_the_kernel_are_results_or_errors_in_words(table: list[dict[str, Any]], data: Any) -> None:
    kernel = filled(table)
    modules = KernelModules(root="/nonexistent", release="6.1.0")
    machine = Machine(modules, lambda: Connection(lambda: GarblingSocket(kernel, data)), ROOT.name)
    parts = data.draw(st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=3, unique=True))
    with contextlib.suppress(LvsError):
        gather(parts=parts, machine=machine)


ATTRIBUTES = st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=24)), max_size=12).map(
    lambda found: b"".join(put(number, content) for number, content in found)
)
READ = [
    (wire.SERVICE, [attribute.name for attribute in wire.SERVICE]),
    (wire.DESTINATION, [attribute.name for attribute in wire.DESTINATION]),
    (wire.DESTINATION, ["address", "port", "family"]),
    (wire.DAEMON, [attribute.name for attribute in wire.DAEMON]),
    (wire.STATS64, list(wire.STATS_NAMES)),
]


@given(st.sampled_from(READ), st.lists(st.one_of(st.binary(max_size=120), ATTRIBUTES), min_size=1, max_size=4))
def test_any_record_is_read_or_refused_in_words(what: Any, records: list[bytes]) -> None:
    table, names = what
    reader = wire.Reader(table, tuple(names), (0,) * len(names))
    for record in [*records, *records]:  # the second time by what was learnt
        with contextlib.suppress(LvsError):
            assert len(reader(record, 0, len(record))) == len(names)
        with contextlib.suppress(LvsError):
            reader.cutter.rows(memoryview(record))


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_and_attributes_or_an_error_in_words(data: bytes) -> None:
    for walk in (lambda: _genl.messages(data), lambda: _genl.attributes(data, 0, len(data))):
        with contextlib.suppress(LvsError):
            for found in walk():
                assert found[-1] <= len(data)
