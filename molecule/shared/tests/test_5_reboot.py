# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Director and realserver come back without Ansible: after a reboot in order, and after their process was killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab import Lab, expect_shares
from test_4_converge import netlink_writes

VIPS = ["192.168.1.110", "2001:db8:1::110"]


def reboot(lab: Lab, name: str) -> None:
    # systemd's own start: a container has its host's boot_id.
    started = "$(systemctl show --property=UserspaceTimestampMonotonic,UserspaceTimestamp)"
    before = lab.run(name, f'echo "{started}"').strip()
    lab.run(name, "systemctl reboot", check=False)
    lab.wait(name, f'now="{started}" && [ "$now" ] && [ "$now" != "{before}" ]')


def kill(lab: Lab, name: str) -> None:
    lab.control("kill", name)
    lab.control("start", name)


@pytest.mark.parametrize("how", [reboot, kill])
@pytest.mark.parametrize("who", ["director", "realserver"])
def test_comes_back_without_ansible(lab: Lab, how: Callable[[Lab, str], None], who: str) -> None:
    name = "director" if who == "director" else lab.realservers[-1]
    before = lab.run("director", "ipvsadm -Sn")
    how(lab, name)
    lab.wait(name, "systemctl is-active lvs.service")
    assert lab.run("director", "ipvsadm -Sn") == before
    for vip in VIPS:
        for protocol in ("tcp", "udp"):
            answers = lab.ask(protocol, vip, 80, 2 * len(lab.realservers))
            expect_shares(answers, dict.fromkeys(lab.realservers, 2))


def test_second_converge_changes_and_writes_nothing(lab: Lab) -> None:
    """Also after what has happened to the machines: they came back just as they were."""
    machines = ["director", *lab.realservers]
    with netlink_writes(lab, machines) as writes:
        play = lab.converge()
    assert play.changes() == {}
    assert writes == dict.fromkeys(machines, 0)
