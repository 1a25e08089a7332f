# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generic netlink: what goes out, in how many sends, and what is made of the answers."""

from __future__ import annotations

import errno
import struct

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _genl
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_ipvs import FAMILY, FakeIpvs, FakeSocket


class Recorder(FakeSocket):
    """Remembers what was sent."""

    sent: list[bytes]

    def send(self, given: bytes | bytearray) -> int:
        self.sent.append(bytes(given))
        return super().send(given)


@pytest.fixture
def recorder() -> Recorder:
    sock = Recorder(FakeIpvs())
    sock.sent = []
    return sock


def service(number: int, scheduler: str = "rr") -> bytes:
    """NEW_SERVICE for TCP 10.0.x.y:80, written by hand."""

    def attribute(kind: int, content: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(content), kind) + content + b"\0" * (-len(content) % 4)

    content = attribute(1, struct.pack("=H", 2)) + attribute(2, struct.pack("=H", 6))
    content += attribute(3, bytes([10, 0, number >> 8, number & 255])) + attribute(4, struct.pack("!H", 80))
    content += attribute(6, scheduler.encode() + b"\0") + attribute(7, struct.pack("=II", 0, 0x3D))
    content += attribute(8, struct.pack("=I", 0)) + attribute(9, b"\xff" * 4)
    return attribute(1, content)


def runs(*payloads: bytes) -> list[_genl.Run]:
    """Each as a run of its own."""
    return [_genl.Run(1, b"", [payload]) for payload in payloads]


def test_the_family_is_asked_for_by_name(recorder: Recorder) -> None:
    connection = _genl.Connection(lambda: recorder)
    assert connection.family("IPVS") == FAMILY
    assert recorder.sent == [
        bytes.fromhex("20000000") + struct.pack("=HHII", 16, 5, 1, 0) + b"\x03\x01\0\0" + b"\x09\0\x02\0IPVS\0\0\0\0"
    ]


def test_a_missing_family_has_its_own_error() -> None:
    kernel = FakeIpvs()
    kernel.loaded = False
    with pytest.raises(_genl.FamilyMissing, match="no generic netlink family IPVS"):
        _genl.Connection(kernel.socket).family("IPVS")


def test_a_thousand_requests_are_one_send_with_one_acknowledgement(recorder: Recorder) -> None:
    connection = _genl.Connection(lambda: recorder)
    result = connection.batch(FAMILY, runs(*map(service, range(1000))))
    assert result == _genl.BatchResult(1000, {})
    (sent,) = recorder.sent
    flags = [
        struct.unpack_from("=H", sent, at + 6)[0]
        for _kind, _seq, start, _end in _genl.messages(sent)
        for at in [start - 16]
    ]
    assert flags == [_genl.NLM_F_REQUEST] * 999 + [_genl.NLM_F_REQUEST | _genl.NLM_F_ACK]


def test_more_requests_than_a_send_holds_are_several_sends(recorder: Recorder) -> None:
    connection = _genl.Connection(lambda: recorder)
    result = connection.batch(FAMILY, runs(*map(service, range(2500))))
    assert result == _genl.BatchResult(2500, {})
    assert len(recorder.sent) == 3


def test_a_send_fits_into_the_send_buffer() -> None:
    class Small(Recorder):
        def getsockopt(self, level: int, option: int) -> int:
            return 40000

    sock = Small(FakeIpvs())
    sock.sent = []
    payloads = [service(number) for number in range(600)]
    assert _genl.Connection(lambda: sock).batch(FAMILY, runs(*payloads)).sent == 600
    assert len(sock.sent) == 600 * (20 + len(payloads[0])) // 20000 + 1
    assert max(map(len, sock.sent)) <= 20000


def test_a_run_is_cut_where_a_send_ends(recorder: Recorder) -> None:
    payloads = [service(number) for number in range(1700)]
    common, contents = payloads[0][:12], [payload[12:] for payload in payloads]
    apart = _genl.Connection(lambda: recorder)
    apart.batch(FAMILY, runs(*payloads))
    kernel = FakeIpvs()
    other = Recorder(kernel)
    other.sent = []
    together = _genl.Connection(lambda: other)
    assert together.batch(FAMILY, [_genl.Run(1, common, contents)]) == _genl.BatchResult(1700, {})
    assert other.sent == recorder.sent


def test_refusals_are_told_apart_by_their_sequence_number(recorder: Recorder) -> None:
    connection = _genl.Connection(lambda: recorder)
    requests = runs(service(1), service(1), service(2, "nosuch"), service(3), service(3))
    result = connection.batch(FAMILY, requests)
    assert result.failed == {1: errno.EEXIST, 2: errno.ENOENT, 4: errno.EEXIST}


def test_nothing_is_sent_after_the_send_that_held_a_refusal(recorder: Recorder) -> None:
    connection = _genl.Connection(lambda: recorder)
    result = connection.batch(FAMILY, runs(service(1), *map(service, range(1, 3000))))
    assert result == _genl.BatchResult(1000, {1: errno.EEXIST})
    assert len(recorder.sent) == 1


def test_an_empty_batch_sends_nothing(recorder: Recorder) -> None:
    assert _genl.Connection(lambda: recorder).batch(FAMILY, []) == _genl.BatchResult(0, {})
    assert recorder.sent == []


def test_lost_answers_say_that_it_is_unknown_what_failed() -> None:
    kernel = FakeIpvs()
    kernel.lose.add(0)
    connection = _genl.Connection(kernel.socket)
    with pytest.raises(_genl.RepliesLost, match="answers were lost"):
        connection.batch(FAMILY, runs(service(1)))
    assert len(kernel.table) == 1
    assert connection.batch(FAMILY, runs(service(2))).failed == {}


def test_a_tail_that_the_kernel_never_saw_is_noticed(recorder: Recorder) -> None:
    """A malformed length ends the kernel's walk silently; the missing last answer gives it away."""
    connection = _genl.Connection(lambda: recorder)
    with pytest.raises(_genl.RepliesLost):
        connection.batch(FAMILY, runs(service(1), service(2)[:-3], service(3)))


def test_answers_of_an_earlier_request_are_passed_over(recorder: Recorder) -> None:
    connection = _genl.Connection(lambda: recorder)
    stale = struct.pack("=IHHII", 36, 2, 0, 77, 1) + struct.pack("=i", -errno.EPERM) + b"\0" * 16
    recorder._queue.append(stale)
    assert connection.dump(FAMILY, 4, b"", "reading") == []


def test_an_error_in_a_dump_names_what_was_done() -> None:
    kernel = FakeIpvs()
    kernel.allowed = False
    with pytest.raises(
        _genl.GenlError, match=r"^Reading: the kernel answered EPERM \(Operation not permitted\)"
    ) as caught:
        _genl.Connection(kernel.socket).dump(FAMILY, 4, b"", "Reading")
    assert caught.value.errno == errno.EPERM


def test_an_error_at_the_end_of_a_dump_counts() -> None:
    class Failing(FakeSocket):
        def recv(self, size: int, flags: int = 0) -> bytes:
            return struct.pack("=IHHII", 20, 3, 2, 1, 1) + struct.pack("=i", -errno.ENOMEM)

    with pytest.raises(_genl.GenlError) as caught:
        _genl.Connection(lambda: Failing(FakeIpvs())).dump(FAMILY, 4, b"", "Reading")
    assert caught.value.errno == errno.ENOMEM


@pytest.mark.parametrize("data", [b"\x08\0\0\0" + b"\0" * 12, b"\xff\0\0\0" + b"\0" * 12])
def test_a_cut_off_message_is_an_error(data: bytes) -> None:
    with pytest.raises(LvsError, match="cut off"):
        list(_genl.messages(data))


@pytest.mark.parametrize("data", [b"\x02\0\x01\0", b"\x09\0\x01\0abcd"])
def test_a_malformed_attribute_is_an_error(data: bytes) -> None:
    with pytest.raises(LvsError, match="malformed"):
        list(_genl.attributes(data, 0, len(data)))


def test_attributes_lose_their_flag_bits() -> None:
    data = struct.pack("=HH", 5, 0x8001) + b"a\0\0\0" + struct.pack("=HH", 4, 0x4002)
    assert list(_genl.attributes(data, 0, len(data))) == [(1, 4, 5), (2, 12, 12)]


def test_no_socket_is_an_error_in_words() -> None:
    def refuse() -> FakeSocket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    with pytest.raises(LvsError, match="Opening a generic netlink socket failed: Address family not supported"):
        _genl.Connection(refuse)
