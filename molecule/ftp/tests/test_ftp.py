# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory listing needs a second connection: in active and passive mode, by every method, in both families."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import CLIENTS
from lab import Lab

VIPS = {
    "nat": ["192.168.1.110", "2001:db8:1::110"],
    "dr": ["192.168.1.111", "2001:db8:1::111"],
    "tun": ["192.168.1.112", "2001:db8:1::112"],
}
MODES = ("passive", "active")


def ftp(lab: Lab, vip: str, mode: str, port: int = 21, source: str = "") -> dict[str, Any]:
    said: dict[str, Any] = json.loads(lab.run("client", f"python3 /root/ftp_list.py {vip} {port} {mode} {source}"))
    return said


def expect_listing(lab: Lab, vip: str, modes: Sequence[str] = MODES, source: str = "") -> str:
    """The listing is of the realserver that the control connection is with."""
    name = ""
    for mode in modes:
        said = ftp(lab, vip, mode, source=source)
        if said.get("names") != [said.get("banner")]:
            raise AssertionError(f"{vip} {mode}: {said}")
        name = str(said["banner"])
    return name


@pytest.mark.parametrize(("method", "vip"), [(method, vip) for method, vips in VIPS.items() for vip in vips])
def test_listing(lab: Lab, method: str, vip: str) -> None:
    served = {expect_listing(lab, vip)}
    if method == "nat":
        # Without persistence the next connection is the other realserver's turn.
        served.add(expect_listing(lab, vip, ["passive"]))
        assert served == {"rs1", "rs2"}


def test_nat_without_its_helper(lab: Lab) -> None:
    """Sabotage: on a port that ip_vs_ftp does not look at the client gets the realserver's own address (HOWTO 5.24)."""
    service = "-t 192.168.1.110:2121"
    lab.run("director", f"ipvsadm -A {service} -s rr; ipvsadm -a {service} -r 10.1.1.2:21 -m")
    try:
        for mode in MODES:
            said = ftp(lab, VIPS["nat"][0], mode, port=2121)
            assert said.get("banner") == "rs1" and str(said.get("error")).startswith("data:"), said
    finally:
        lab.run("director", f"ipvsadm -D {service}")


def test_dr_without_the_marks_of_the_data_connections(lab: Lab) -> None:
    """Sabotage: only the control connection is marked, and data connections go astray (HOWTO 15, 18.7)."""
    rules = lab.run("director", "nft -s list table inet lvs")
    only = rules.replace("{ 20-21, 30000-30009 }", "21")
    assert only != rules
    lab.run("director", f"nft -f - <<'end'\nflush table inet lvs\ndelete table inet lvs\n{only}\nend")
    try:
        for mode in MODES:
            said = ftp(lab, VIPS["dr"][0], mode)
            assert str(said.get("error")).startswith("data:"), said
    finally:
        lab.run("director", f"nft -f - <<'end'\ndelete table inet lvs\n{rules}\nend")
    expect_listing(lab, VIPS["dr"][0])


def test_tun_without_every_port(lab: Lab) -> None:
    """Sabotage: the port of the control connection alone, as a beginner would write it (HOWTO 15.2)."""
    saved = lab.run("director", "ipvsadm -Sn")
    vip = VIPS["tun"][0]
    lines = [line for line in saved.splitlines() if f" {vip}:0 " in line]
    lab.run("director", f"ipvsadm -D -t {vip}:0")
    for line in lines:
        plain = line.split(" -p ")[0].replace(":0 ", ":21 ")
        lab.run("director", f"ipvsadm {plain.replace(':0', ':21')}")
    try:
        said = ftp(lab, vip, "passive")
        assert str(said.get("error")).startswith("data:"), said
    finally:
        lab.run("director", f"ipvsadm -D -t {vip}:21")
        for line in lines:
            lab.run("director", f"ipvsadm {line}")
    expect_listing(lab, vip)


def test_every_realserver_has_its_clients(lab: Lab) -> None:
    """Another client comes to the next realserver, with both its connections."""
    for method, realservers in (("dr", {"rs1", "rs2"}), ("tun", {"rs2", "rs3"})):
        served = {expect_listing(lab, VIPS[method][0], source=source) for source in CLIENTS}
        assert served == realservers


def test_again_after_a_reboot(lab: Lab) -> None:
    boot = lab.run("director", "cat /proc/sys/kernel/random/boot_id").strip()
    lab.run("director", "systemctl reboot", check=False)
    lab.wait("director", f"! grep -q {boot} /proc/sys/kernel/random/boot_id")
    lab.wait("director", "systemctl is-active lvs.service")
    for vips in VIPS.values():
        for vip in vips:
            expect_listing(lab, vip)
    assert lab.converge().changes() == {}
