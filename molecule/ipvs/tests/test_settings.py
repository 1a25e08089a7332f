# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeouts and synchronisation daemons, as ipvsadm shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab import Lab

Module = Callable[..., dict[str, Any]]


def test_timeouts(lab: Lab, module: Module) -> None:
    before = lab.run("director", "ipvsadm -Ln --timeout")
    assert module("director", "ipvs_timeouts", check=True, tcp=1200)["after"]["tcp"] == 1200
    assert lab.run("director", "ipvsadm -Ln --timeout") == before
    result = module("director", "ipvs_timeouts", tcp=1200, udp=77)
    assert "1200 120 77" in lab.run("director", "ipvsadm -Ln --timeout")
    assert not module("director", "ipvs_timeouts", tcp=1200, udp=77)["changed"]
    module("director", "ipvs_timeouts", **result["before"])
    assert lab.run("director", "ipvsadm -Ln --timeout") == before


def threads(lab: Lab) -> list[str]:
    """The kernel's threads of the daemons."""
    return sorted(line for line in lab.run("director", "ps -eo pid,comm").splitlines() if " ipvs-" in line)


def test_synchronisation_daemons(lab: Lab, module: Module) -> None:
    interface = lab.run("director", "ip -o -4 addr show | awk '/192.168.1.1\\// {print $2}'").strip()
    both = [{"role": role, "interface": interface, "syncid": 7} for role in ("master", "backup")]
    assert (
        "interface nosuch0 does not exist"
        in module("director", "ipvs_sync", daemons=[{**both[0], "interface": "nosuch0"}])["msg"]
    )
    assert module("director", "ipvs_sync", daemons=both)["changed"]
    shown = lab.run("director", "ipvsadm -Ln --daemon")
    assert f"master sync daemon (mcast={interface}, syncid=7" in shown
    assert f"backup sync daemon (mcast={interface}, syncid=7" in shown
    running = threads(lab)
    assert not module("director", "ipvs_sync", daemons=both, state="overridden")["changed"]
    assert threads(lab) == running
    result = module("director", "ipvs_sync", daemons=[{**both[0], "ttl": 3, "port": 8850}])
    assert [command.split()[0] for command in result["commands"]] == ["--stop-daemon", "--start-daemon"]
    assert "8850" in lab.run("director", "ipvsadm -Ln --daemon")
    assert [line for line in threads(lab) if "ipvs-b" in line] == [line for line in running if "ipvs-b" in line]
    mixed = {"address": "10.9.0.1", "port": 80, "realservers": [{"address": "2001:db8:1::2", "forwarding": "tun"}]}
    refused = module("director", "ipvs", config=[mixed])
    assert "only while no connection synchronisation daemon runs" in refused["msg"]
    assert refused["rolled_back"]
    assert module("director", "ipvs_sync", daemons=[], state="overridden")["after"] == []
    assert lab.run("director", "ipvsadm -Ln --daemon").strip() == ""


def test_a_snapshot_leads_back(lab: Lab, module: Module) -> None:
    def state() -> str:
        return lab.run("director", "ipvsadm -Sn; ipvsadm -Ln --thresholds; ipvsadm -Ln --timeout; ipvsadm -Ln --daemon")

    path = "/root/before.json"
    lab.run("director", f"rm -f {path}")
    interface = lab.run("director", "ip -o -4 addr show | awk '/192.168.1.1\\// {print $2}'").strip()
    before = state()
    assert module("director", "ipvs_snapshot", path=path)["changed"]
    assert not module("director", "ipvs_snapshot", path=path)["changed"]
    lab.run(
        "director",
        "ipvsadm -e -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w 7 -x 9;"
        " ipvsadm -d -u 192.168.1.110:80 -r 192.168.1.3:80;"
        f" ipvsadm -A -t 10.9.0.1:80; ipvsadm --set 1 2 3; ipvsadm --start-daemon master --mcast-interface {interface}",
    )
    assert state() != before
    result = module("director", "ipvs_snapshot", path=path, state="restored")
    assert len(result["commands"]) == 5, result["commands"]
    assert state() == before
    assert not module("director", "ipvs_snapshot", path=path, state="restored")["changed"]
