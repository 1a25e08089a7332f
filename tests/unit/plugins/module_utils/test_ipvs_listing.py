# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's own text as a witness: what it shows, what it cannot show, and what is not believed."""

from __future__ import annotations

import io
import socket

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_listing as listing
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_model import (
    IPV4,
    IPV6,
    LOCAL,
    NAT,
    TUN,
    Destination,
    Entry,
    Service,
    ServiceKey,
)

HEADINGS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
"""
TEXT = (
    HEADINGS
    + """\
TCP  C0A8016E:0050 rr  \n\
  -> C0A80103:0050      Masq    0      12         3         \n\
  -> C0A80102:1F90      Route   999999 0          0         \n\
UDP  [2001:0db8:0001:0000:0000:0000:0000:0110]:0035 wlc  \n\
  -> [2001:0db8:0001:0000:0000:0000:0000:0002]:0035      Tunnel  1      0          0         \n\
TCP  C0A8016E:01BB wlc  \n\
SCTP  C0A8016E:0051 wlc ops  \n\
FWM  00000001 wlc  \n\
"""
)


def as_wanted(text: str, wanted: list[Entry]) -> set[ServiceKey]:
    return listing.as_wanted(io.BytesIO(text.encode()), wanted)


def packed(text: str) -> tuple[int, bytes]:
    family = IPV6 if ":" in text else IPV4
    return family, socket.inet_pton(family, text)


def entry(vip: str, port: int, *realservers: Destination, protocol: int = 6, scheduler: str = "wlc") -> Entry:
    family, address = packed(vip)
    service = Service(family, protocol, address, port, 0, scheduler)
    return Entry(service, {realserver.key: realserver for realserver in realservers})


def realserver(address: str, port: int, forwarding: int, weight: int) -> Destination:
    return Destination(*packed(address), port, forwarding, weight)


ROUTED = Destination(*packed("192.168.1.2"), 8080, weight=999999)
QUIESCED = realserver("192.168.1.3", 80, NAT, 0)
WEB = entry("192.168.1.110", 80, ROUTED, QUIESCED, scheduler="rr")
DNS = entry("2001:db8:1::110", 53, realserver("2001:db8:1::2", 53, TUN, 1), protocol=17)
EMPTY = entry("192.168.1.110", 443)


def test_services_are_found_with_their_realservers_in_any_order() -> None:
    assert as_wanted(TEXT, [WEB, DNS, EMPTY]) == {WEB.service.key, DNS.service.key, EMPTY.service.key}


@pytest.mark.parametrize(
    "other",
    [
        WEB._replace(destinations={ROUTED.key: ROUTED}),
        WEB._replace(service=WEB.service._replace(scheduler="wlc")),
        WEB._replace(destinations={one.key: one for one in (ROUTED, QUIESCED._replace(weight=1))}),
        WEB._replace(destinations={one.key: one for one in (ROUTED, QUIESCED._replace(forwarding=LOCAL))}),
        WEB._replace(destinations={one.key: one for one in (ROUTED, QUIESCED._replace(port=81))}),
        EMPTY._replace(destinations={ROUTED.key: ROUTED}),
        entry("192.168.1.111", 80),
    ],
)
def test_what_is_shown_otherwise_is_not_found(other: Entry) -> None:
    assert as_wanted(TEXT, [other]) == set()


@pytest.mark.parametrize(
    "unseen",
    [
        WEB._replace(destinations={one.key: one for one in (ROUTED, QUIESCED._replace(upper_threshold=5))}),
        WEB._replace(destinations={one.key: one for one in (QUIESCED, ROUTED._replace(weight=1000000))}),
        DNS._replace(
            destinations={key: one._replace(tunnel_type=2) for key, one in DNS.destinations.items()}
        ),
        EMPTY._replace(service=EMPTY.service._replace(flags=8)),
        EMPTY._replace(service=EMPTY.service._replace(engine="sip")),
        entry("192.168.1.110", 81, protocol=132)._replace(
            service=Service(*packed("192.168.1.110")[:1], 132, packed("192.168.1.110")[1], 81, 0, flags=4)
        ),
        Entry(Service(IPV4, 0, b"", 0, 1), {}),
    ],
)
def test_what_the_text_cannot_tell_is_not_found(unseen: Entry) -> None:
    assert as_wanted(TEXT, [unseen]) == set()


@pytest.mark.parametrize("text", ["", HEADINGS, TEXT.replace("Weight", "Mass"), TEXT[: len(HEADINGS) + 30]])
def test_another_kernels_text_is_not_believed(text: str) -> None:
    assert as_wanted(text, [WEB]) == set()
