# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever health part a plan holds: its ldirectord.cf says the same table, and ldirectord can read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import (
    ipvsadm_text,
    ldirectord_config,
    ldirectord_text,
)

PROGRAM = shutil.which("ldirectord") or "/usr/sbin/ldirectord"
PREFIX = {"ipv4": "10.0.0.", "ipv6": "fd00::"}
STOPPED = 3  # what `ldirectord FILE status` ends with if the file can be read and no daemon runs on it

texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs", "Cc"]), max_size=20)
paths = st.text("abcXYZ019/?&=%._~:;,'()[]{}|^`@!$*+-", max_size=12).filter(lambda text: "://" not in text)
names = st.text("abcABC019.-", min_size=1, max_size=12)


@st.composite
def healths(draw: st.DrawFn, family: str, protocol: str) -> dict[str, Any]:
    kinds = ["http", "https", "smtp", "dns", "external", "none"]
    kinds += ["tcp"] if protocol != "udp" else []
    kinds += ["ping"] if family == "ipv4" else []
    kind = draw(st.sampled_from(kinds))
    health: dict[str, Any] = {
        "type": kind,
        "interval": draw(st.integers(1, 60)),
        "timeout": draw(st.one_of(st.none(), st.integers(1, 60))),
        "retries": draw(st.integers(0, 9)),
        "on_failure": draw(st.sampled_from(["remove", "quiesce"])),
    }
    if kind in ("http", "https"):
        health["path"] = "/" + draw(paths)
        health["contains"] = draw(st.one_of(st.none(), texts))
        health["host"] = draw(st.one_of(st.none(), names))
        health["status"] = draw(st.lists(st.integers(200, 299), max_size=3))
    if kind == "dns":
        health["query"] = draw(names)
    if kind == "external":
        health["command"] = draw(st.sampled_from(["/bin/true", ["/bin/true"]]))
    if kind in ("tcp", "http", "https", "smtp", "dns"):
        health["port"] = draw(st.integers(1, 65535))
    return health


@st.composite
def services(draw: st.DrawFn, number: int) -> dict[str, Any]:
    family = draw(st.sampled_from(sorted(PREFIX)))
    protocol = draw(st.sampled_from(["tcp", "udp", "fwmark"]))
    port = 0 if protocol == "fwmark" else draw(st.sampled_from([0, 53, 80, 8080]))
    mask = draw(st.integers(1, 32 if family == "ipv4" else 128))
    persistence = draw(st.sampled_from([{"timeout": 60}, {"timeout": 300, "netmask": mask}]))
    scheduler = draw(st.sampled_from(["rr", "wlc", "sh", "mh"]))
    entry: dict[str, Any] = {
        "name": draw(texts) or "x",
        "scheduler": scheduler,
        "persistence": persistence if draw(st.booleans()) or (not port and protocol != "fwmark") else None,
        "one_packet": protocol == "udp" and draw(st.booleans()),
        "health": draw(healths(family, protocol)),
    }
    if scheduler in ("sh", "mh"):
        entry["scheduler_flags"] = draw(st.sets(st.sampled_from([f"{scheduler}-port", f"{scheduler}-fallback"])))
        entry["scheduler_flags"] = sorted(entry["scheduler_flags"])
    if protocol == "fwmark":
        entry.update(fwmark=number + 1, family=family)
    else:
        entry.update(protocol=protocol, address=f"{PREFIX[family]}{100 + number}", port=port)
    entry["realservers"] = []
    for last in draw(st.sets(st.integers(1, 9), max_size=4)):
        method = draw(st.sampled_from(["nat", "dr", "tun"]))
        upper = draw(st.integers(0, 50))
        entry["realservers"].append(
            {
                "address": f"{PREFIX[family]}{last}",
                "port": draw(st.integers(0, 65535)) if method == "nat" else port,
                "forwarding": method,
                "weight": draw(st.integers(0, 65535)),
                "upper_threshold": upper,
                "lower_threshold": draw(st.integers(0, upper)),
            }
        )
    if draw(st.booleans()):
        entry["sorry_server"] = {"address": f"{PREFIX[family]}99", "port": port, "forwarding": "dr"}
    return entry


@st.composite
def parts(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(0, 4))
    found = [draw(services(number)) for number in range(count)]
    return {"health": {"backend": "ldirectord", "services": found}}


def table(part: dict[str, Any]) -> list[dict[str, Any]]:
    other = ("name", "health", "sorry_server")
    return [
        {key: value for key, value in service.items() if key not in other} for service in part["health"]["services"]
    ]


@settings(max_examples=200, deadline=None)
@given(part=parts())
def test_the_same_table(part: dict[str, Any]) -> None:
    text = ldirectord_config.render(part)
    assert ipvsadm_text.render(ldirectord_text.parse(text)) == ipvsadm_text.render(table(part))


# Twenty, for each starts a Perl program that loads half of its library.
@pytest.mark.skipif(not Path(PROGRAM).exists(), reason="ldirectord is not installed (Debian package ldirectord)")
@settings(max_examples=20, deadline=None)
@given(part=parts())
def test_ldirectord_can_read_it(part: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "random.cf")
        path.write_text(ldirectord_config.render(part), encoding="utf-8")
        command = [PROGRAM, str(path), "status"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    # It complains of a machine without a system log, too.
    assert (done.returncode, re.sub("setlogsock.*\n", "", done.stderr)) == (STOPPED, ""), done.stdout
