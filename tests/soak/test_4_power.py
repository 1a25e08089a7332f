# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every machine of the cluster goes down at once: it comes back without Ansible."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.linuxvirtualserver.lvs.tests.soak.cluster import Soak, expect_shares

VIPS = ("192.168.1.110", "2001:db8:1::110")


def reboot(lab: Soak, names: list[str]) -> None:
    """All of them in order."""
    boots = {name: lab.run(name, "cat /proc/sys/kernel/random/boot_id").strip() for name in names}
    for name in names:
        lab.run(name, "systemctl reboot", check=False)
    for name, boot in boots.items():
        lab.wait(name, f"! grep -q {boot} /proc/sys/kernel/random/boot_id")


def power_failure(lab: Soak, names: list[str]) -> None:
    lab.control("kill", *names)
    lab.control("start", *names)


@pytest.mark.parametrize("how", [reboot, power_failure])
@pytest.mark.parametrize("method", ["dr", "nat", "tun"])
def test_all_at_once(lab: Soak, method: str, how: Callable[[Soak, list[str]], None]) -> None:
    services = lab.by(method)
    lab.converge(services=services)
    table = lab.run("director", "ipvsadm -Sn")
    how(lab, ["client", *lab.managed])
    for name in lab.managed:
        lab.wait(name, "systemctl is-active lvs.service")
    for name in lab.realservers:
        lab.wait(name, "ss -Hlnu sport = :8080 | grep -q .")  # the last that the responder opens
    assert lab.run("director", "ipvsadm -Sn") == table
    for vip in VIPS:
        for protocol in ("tcp", "udp"):
            expect_shares(lab.ask(protocol, vip, 80, 4), dict.fromkeys(lab.realservers, 2))
    assert lab.converge(services=services).changes() == {}


def test_nothing_of_it_is_left(lab: Soak) -> None:
    lab.teardown()
    assert lab.leftovers() == {}
