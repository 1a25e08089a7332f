# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single connections as the kernel lists them in /proc/net/ip_vs_conn."""

from __future__ import annotations

import io
import socket

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_connections as connections
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_connections import Row

HEADER = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
# From a Linux 7.2.
ESTABLISHED = b"TCP 0A4E0001 E8C6 0A4E0001 0051 0A4D0002 0051 ESTABLISHED     892\n"
TIME_WAIT = b"TCP 0A4E0001 E8D6 0A4E0001 0051 0A4D0002 0051 TIME_WAIT       112\n"
TEMPLATE = b"TCP 0A4E0001 0000 0A4E0001 0051 0A4D0002 0051 ASSURED         292\n"
MARK = b"IP  0A4E0002 0000 00000007 0000 0A4D0003 0000 ASSURED         299\n"
IPV6 = (
    b"TCP fd78:0000:0000:0000:0000:0000:0000:0001 BBF0 fd78:0000:0000:0000:0000:0000:0000:0001 0050"
    b" fd77:0000:0000:0000:0000:0000:0000:0002 0050 ESTABLISHED     892\n"
)
# From what the kernel's ip_vs_conn.c writes.
MARK6 = (
    b"IP  fd78:0000:0000:0000:0000:0000:0000:0001 0000 0000:0007:0000:0000:0000:0000:0000:0000 0000"
    b" fd77:0000:0000:0000:0000:0000:0000:0002 0000 NONE             60\n"
)
IPV6_OVER_IPV4 = IPV6.replace(b" fd77:0000:0000:0000:0000:0000:0000:0002 ", b" 0A4D0002 ")
SIP = b"UDP C0A80201 0000 C0A8016E 13C4 C0A80102 13C4 NONE            270 sip a84b4c76e66710@pc33\n"
FTP_DATA = b"TCP C0A80201 0000 C0A8016E 0014 C0A80102 0014 LISTEN           90\n"

CLIENT, REALSERVER = socket.inet_aton("10.78.0.1"), (2, socket.inet_aton("10.77.0.2"), 81)
SERVICE = (2, 6, CLIENT, 81, 0)
V6 = [socket.inet_pton(socket.AF_INET6, text) for text in ("fd78::1", "fd77::2")]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (ESTABLISHED, Row(SERVICE, (2, CLIENT), 59590, REALSERVER, "ESTABLISHED", 892, "", "", False)),
        (TEMPLATE, Row(SERVICE, (2, CLIENT), 0, REALSERVER, "ASSURED", 292, "", "", True)),
        (IPV6, Row((10, 6, V6[0], 80, 0), (10, V6[0]), 48112, (10, V6[1], 80), "ESTABLISHED", 892, "", "", False)),
        (MARK6, Row((10, 0, b"", 0, 7), (10, V6[0]), 0, (10, V6[1], 0), "NONE", 60, "", "", True)),
    ],
)
def test_lines(line: bytes, row: Row) -> None:
    assert connections.parse(line) == row


def test_a_template_of_a_mark_is_of_the_service_of_that_mark() -> None:
    row = connections.parse(MARK)
    assert (row.service, row.template, row.realserver[2]) == ((2, 0, b"", 0, 7), True, 0)


def test_a_realserver_behind_a_tunnel_can_be_of_the_other_family() -> None:
    assert connections.parse(IPV6_OVER_IPV4).realserver == (2, REALSERVER[1], 80)


def test_a_persistence_engine_adds_its_name_and_what_it_knows() -> None:
    row = connections.parse(SIP)
    assert (row.template, row.engine, row.engine_data) == (True, "sip", "a84b4c76e66710@pc33")


def test_a_connection_whose_client_port_is_still_unknown_is_no_template() -> None:
    assert connections.parse(FTP_DATA).template is False


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"TCP\n",
        ESTABLISHED.replace(b"E8C6", b"E8"),
        ESTABLISHED.replace(b"E8C6", b"0xE8"),
        ESTABLISHED.replace(b"0A4D0002", b"0A4D000"),
        ESTABLISHED.replace(b"0A4D0002", b"0A4D::02"),
        ESTABLISHED.replace(b"892", b"-1"),
        ESTABLISHED.replace(b"892", b"9" * 5000),
        ESTABLISHED.replace(b"ESTABLISHED", b"\xc3\x89TABLI"),
        ESTABLISHED.replace(b"TCP", b"TCQ"),
        MARK.replace(b"IP ", b"IP_"),
    ],
)
def test_a_line_that_no_kernel_writes_is_an_error(line: bytes) -> None:
    with pytest.raises(LvsError, match="not what kernels are known to write"):
        connections.parse(line)


def test_other_protocols_are_numbers() -> None:
    assert connections.parse(ESTABLISHED.replace(b"TCP", b"IP_47")).service[1] == 47


def read(*lines: bytes, max_connections: int = 100, max_rows: int = 100, client: bytes = b"") -> connections.Summary:
    stream = io.BytesIO(HEADER + b"".join(lines))
    return connections.read(stream, lambda row: client in ("", b"", row.client[1]), max_connections, max_rows)


def test_connections_are_counted_by_state_and_templates_apart() -> None:
    result = connections.summary_results(read(TIME_WAIT, ESTABLISHED, MARK, ESTABLISHED, IPV6, TEMPLATE))
    assert (result["read"], result["truncated"]) == (6, False)
    assert [service.get("port", service.get("fwmark")) for service in result["services"]] == [81, 80, 7]
    assert result["services"][0] == {
        "protocol": "tcp",
        "address": "10.78.0.1",
        "port": 81,
        "realservers": [
            {"address": "10.77.0.2", "port": 81, "states": {"ESTABLISHED": 2, "TIME_WAIT": 1}, "templates": 1}
        ],
    }
    assert result["services"][2]["realservers"] == [{"address": "10.77.0.3", "port": 0, "states": {}, "templates": 1}]


def test_reading_ends_at_the_bound_and_says_so() -> None:
    assert read(ESTABLISHED, ESTABLISHED, max_connections=2)[:2] == (2, False)
    assert read(ESTABLISHED, ESTABLISHED, b"never looked at", max_connections=2)[:2] == (2, True)
    assert read(max_connections=0)[:2] == (0, False)


def test_single_connections_are_picked_out_up_to_a_bound() -> None:
    summary = read(MARK, ESTABLISHED, TIME_WAIT, ESTABLISHED, client=CLIENT, max_rows=2)
    result = connections.row_results(summary)
    assert (result["read"], result["matching"], result["truncated"]) == (4, 3, True)
    assert [entry["state"] for entry in result["connections"]] == ["ESTABLISHED", "TIME_WAIT"]
    assert result["connections"][0] == {
        "protocol": "tcp",
        "address": "10.78.0.1",
        "port": 81,
        "client": "10.78.0.1",
        "client_port": 59590,
        "realserver": {"address": "10.77.0.2", "port": 81},
        "state": "ESTABLISHED",
        "expires": 892,
        "engine": None,
        "engine_data": None,
        "template": False,
    }
    assert connections.row_results(read(MARK, client=CLIENT))["truncated"] is False
