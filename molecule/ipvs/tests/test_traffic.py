# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single objects, draining and edits while packets of a client flow."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from typing import Any

from lab import TRAFFIC, Lab, shares

VIP = "192.168.1.110"
WEB = {"address": VIP, "port": 80}
RIPS = {"rs1": "192.168.1.2", "rs2": "192.168.1.3"}
Module = Callable[..., dict[str, Any]]


def holder(lab: Lab) -> str:
    """The realserver that has the client's open connection."""
    lines = [line.split() for line in lab.run("director", "ipvsadm -Lnc").splitlines() if " ESTABLISHED " in line]
    (rip,) = {line[5].rpartition(":")[0] for line in lines if line[4] == f"{VIP}:80"}
    return next(name for name, address in RIPS.items() if address == rip)


def weights(lab: Lab) -> dict[str, str]:
    """Each realserver's weight in the web service, by ipvsadm."""
    words = [line.split() for line in lab.run("director", "ipvsadm -Sn").splitlines()]
    return {line[4].rpartition(":")[0]: line[-1] for line in words if line[:3] == ["-a", "-t", f"{VIP}:80"]}


def test_draining_while_a_connection_is_open(lab: Lab, module: Module) -> None:
    with lab.background("hold", VIP, 80) as held:
        server = holder(lab)
        other = next(name for name in RIPS if name != server)
        who = {"realservers": [{"address": RIPS[server]}], "restrict": [WEB | {"protocol": "tcp"}]}
        result = module("director", "ipvs_drain", timeout=4, **who)
        assert "connections are left at" in result["msg"]
        assert result["realservers"][0]["active"] == 1
        assert weights(lab)[RIPS[server]] == "0"
        assert shares(lab.ask("tcp", VIP, 80, 6)) == {other: 6}
        # What the plan says does not undo a drain.
        realservers = [{"address": address, "weight": 3} for address in RIPS.values()]
        planned = module("director", "ipvs", config=[{**WEB, "realservers": realservers}])
        assert planned["notes"][0].startswith("Drained, so kept at weight 0")
        assert weights(lab) == {RIPS[server]: "0", RIPS[other]: "3"}
    assert held[0][0] == server, "the open connection did not survive"
    again = module("director", "ipvs_drain", timeout=30, **who)
    assert again["finished"]
    assert not again["changed"]
    result = module("director", "ipvs_drain", state="restored", ramp={"steps": 3, "interval": 1}, **who)
    assert [command.split()[-1] for command in result["commands"]] == ["1", "2", "3"]
    assert weights(lab) == dict.fromkeys(RIPS.values(), "3")
    assert set(shares(lab.ask("tcp", VIP, 80, 6))) == set(RIPS)
    assert not module("director", "ipvs_drain", state="restored", **who)["changed"]


def test_a_realserver_that_leaves_ends_its_handshakes(lab: Lab, module: Module) -> None:
    """A slow handshake is waited for like a connection, and the client's repeated SYN goes where its first went: to
    another realserver it would go with this setting, which every director has, and the connection would be reset.
    """
    table = module("director", "ipvs_info", restrict=[WEB])["config"]
    _leaves, stays = RIPS.values()
    start = time.monotonic()
    module("director", "ipvs", config=[{**WEB, "realservers": [{"address": stays, "weight": 0}]}])
    # The client begins about two seconds before the realserver's weight goes, however slowly a module starts.
    pause = max(0.0, time.monotonic() - start - 2.5)
    setting = "/proc/sys/net/ipv4/vs/expire_nodest_conn"
    before = lab.run("director", f"cat {setting}; echo 1 > {setting}").strip()
    # SYNs after 0, 1, 3 and 7 seconds: one while the module holds the setting off, and none from then to the answer.
    # Linux since 6.5 repeats every second at first.
    repeats = "/proc/sys/net/ipv4/tcp_syn_linear_timeouts"
    linear = lab.run("client", f"cat {repeats}; echo 0 > {repeats}").strip()
    # Not of answers to ARP: a neighbour that is late with them is given up.
    slow = (
        "tc qdisc add dev eth1 root handle 1: prio bands 4",
        "tc qdisc add dev eth1 parent 1:4 netem delay 5500ms",
        "tc filter add dev eth1 parent 1: protocol ip u32 match ip sport 80 0xffff flowid 1:4",
    )
    for name in RIPS:
        lab.run(name, " && ".join(slow))
    try:
        upload = shlex.quote(f"sleep {pause:.1f}; {TRAFFIC} upload {VIP} 80 1000")
        lab.run("client", f"nohup sh -c {upload} > /tmp/far.json 2>&1 < /dev/null &")
        config = [{**WEB, "realservers": [{"address": stays, "weight": 1}]}]
        result = module("director", "ipvs", state="replaced", drain_timeout=30, config=config)
        lab.wait("client", "test -s /tmp/far.json", seconds=30)
        assert lab.run("director", f"cat {setting}; echo {before} > {setting}").strip() == "1"
        assert json.loads(lab.run("client", "cat /tmp/far.json")), "the client was cut off"
        assert weights(lab) == {stays: "1"}, result
    finally:
        for name in RIPS:
            lab.run(name, "tc qdisc del dev eth1 root")
        lab.run("client", f"echo {linear} > {repeats}")
        restored = module("director", "ipvs", state="replaced", config=table)
    assert restored["changed"]


def test_an_open_connection_survives_every_edit_in_place(lab: Lab, module: Module) -> None:
    table = module("director", "ipvs_info", restrict=[WEB])["config"]
    edits: list[dict[str, Any]] = [
        {"scheduler": "wlc"},
        {"scheduler": "sh", "scheduler_flags": ["sh-port"]},
        {"persistence": {"timeout": 60, "netmask": 24}},
        {"persistence": {"timeout": 0}, "scheduler": "rr", "scheduler_flags": []},
        {"realservers": [{"address": address, "weight": 9, "upper_threshold": 50} for address in RIPS.values()]},
        {"realservers": [{"address": "192.168.1.77", "weight": 0}]},
    ]
    with lab.background("hold", VIP, 80) as held:
        server = holder(lab)
        for edit in edits:
            result = module("director", "ipvs", config=[{**WEB, **edit}])
            assert result["changed"], edit
            assert holder(lab) == server
        assert module("director", "ipvs", state="replaced", config=table)["changed"]
        assert holder(lab) == server
    assert held[0][0] == server
    assert module("director", "ipvs_info", restrict=[WEB])["config"] == table


def test_single_objects(lab: Lab, module: Module) -> None:
    name = {"address": "192.168.1.111", "port": 8443, "protocol": "sctp"}
    assert "does not exist" in module("director", "ipvs_realserver", service=name, address="192.168.1.2")["msg"]
    assert module("director", "ipvs_service", scheduler="wrr", **name)["changed"]
    options = {"service": name, "address": "192.168.1.2", "forwarding": "tun", "weight": 70000, "upper_threshold": 9}
    assert module("director", "ipvs_realserver", check=True, **options)["changed"]
    assert module("director", "ipvs_realserver", **options)["changed"]
    assert not module("director", "ipvs_realserver", **options)["changed"]
    rules = lab.run("director", "ipvsadm -Sn")
    assert "-A --sctp-service 192.168.1.111:8443 -s wrr" in rules
    assert "-a --sctp-service 192.168.1.111:8443 -r 192.168.1.2:8443 -i -w 70000 --tun-type ipip" in rules
    assert module("director", "ipvs_realserver", service=name, address="192.168.1.2", state="absent")["changed"]
    assert module("director", "ipvs_service", state="absent", **name)["changed"]
    assert "8443" not in lab.run("director", "ipvsadm -Sn")
