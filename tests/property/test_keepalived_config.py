# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the table and its checks: keepalived.conf holds the same table, and no text gets out of its place."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import ipvsadm_text, keepalived_text
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.health import KEEPALIVED_SCHEDULERS
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.keepalived_config import CHECKS, DNS_TYPES, render

# Ordinary text, and what means something to keepalived's reader.
TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \n{}\"'\\$#!@~")), max_size=20)
NUMBERS = {
    "ipv4": st.integers(2**24, 2**28 - 1).map(lambda value: str(ipaddress.IPv4Address(value))),
    "ipv6": st.integers(2**124, 2**125).map(lambda value: str(ipaddress.IPv6Address(value))),
}


@st.composite
def checks(draw: st.DrawFn) -> dict[str, Any]:
    """The keys that the plan resolves for a service."""
    return {
        "type": draw(st.sampled_from(["none", *CHECKS])),
        "port": draw(st.integers(1, 65535)),
        "interval": draw(st.floats(0.1, 3600)),
        "timeout": draw(st.floats(0.1, 60)),
        "retries": draw(st.integers(0, 9)),
        "path": "/" + draw(TEXTS),
        "host": draw(st.sampled_from([None, "www.example.org"])),
        "status": draw(st.lists(st.integers(100, 599), min_size=1, max_size=3)),
        "contains": draw(st.one_of(st.none(), TEXTS)),
        "digest": draw(st.sampled_from([None, "0" * 32])),
        "query": draw(st.sampled_from([None, "example.org"])),
        "query_type": draw(st.sampled_from(DNS_TYPES)),
        "command": draw(st.sampled_from(["/bin/true", ["/bin/true", "--a=1"]])),
        "on_failure": draw(st.sampled_from(["remove", "quiesce"])),
        "quorum": draw(st.integers(1, 9)),
    }


@st.composite
def realservers(draw: st.DrawFn, family: str, port: int) -> dict[str, Any]:
    forwarding = draw(st.sampled_from(["dr", "nat", "tun"]))
    server: dict[str, Any] = {
        "address": draw(NUMBERS[family]),
        "port": draw(st.integers(1, 65535)) if forwarding == "nat" and port else port,
        "forwarding": forwarding,
        "weight": draw(st.integers(0, 2**31 - 1)),
        "upper_threshold": draw(st.integers(5, 9)),
        "lower_threshold": draw(st.integers(0, 4)),
    }
    if forwarding == "tun":
        kind = draw(st.sampled_from(["ipip", "gue", "gre"]))
        server["tunnel"] = {"type": kind}
        if kind != "ipip":
            server["tunnel"]["checksum"] = draw(st.sampled_from(["none", "csum"]))
        if kind == "gue":
            server["tunnel"]["port"] = draw(st.integers(1, 65535))
    return server


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    """One service of the plan."""
    family = draw(st.sampled_from(["ipv4", "ipv6"]))
    persistence = draw(
        st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {"timeout": st.integers(1, 2678400), "netmask": st.integers(1, 32 if family == "ipv4" else 128)}
            ),
        )
    )
    record: dict[str, Any] = {
        "scheduler": draw(st.sampled_from(KEEPALIVED_SCHEDULERS)),
        "scheduler_flags": draw(st.sampled_from([[], ["flag-1"], ["flag-1", "flag-3"]])),
        "one_packet": False,
        "persistence": persistence,
    }
    port = draw(st.integers(0 if persistence else 1, 65535))
    if draw(st.booleans()):
        record |= {"fwmark": draw(st.integers(1, 2**32 - 1)), "family": family}
        port = 0
    else:
        protocol = draw(st.sampled_from(["tcp", "udp", "sctp"]))
        record |= {"protocol": protocol, "address": draw(NUMBERS[family]), "port": port}
        record["one_packet"] = protocol == "udp" and draw(st.booleans())
    servers = draw(st.lists(realservers(family, port), min_size=1, max_size=3, unique_by=lambda one: one["address"]))
    sorry = {"address": draw(NUMBERS[family]), "port": port, "forwarding": draw(st.sampled_from(["dr", "nat", "tun"]))}
    return {
        **record,
        "name": draw(TEXTS),
        "realservers": servers,
        "health": draw(checks()),
        "sorry_server": draw(st.sampled_from([None, sorry])),
    }


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(key) for key in ("fwmark", "family", "protocol", "address", "port"))


@settings(max_examples=100, deadline=None)
@given(st.lists(records(), max_size=4, unique_by=_key))
def test_the_same_table_comes_back(services: list[dict[str, Any]]) -> None:
    text = render({"failover": None, "health": {"backend": "keepalived", "services": services}})
    own = ("name", "health", "sorry_server")
    config = [{key: value for key, value in record.items() if key not in own} for record in services]
    assert ipvsadm_text.render(keepalived_text.parse(text)) == ipvsadm_text.render(config)
    assert text.isascii() and not set(text) & set("'\\$!")
