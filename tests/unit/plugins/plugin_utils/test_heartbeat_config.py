# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""heartbeat's files from the plan."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import heartbeat_config

NAMES = {"d1": "Director-One.example.org"}


def instance(name: str, group: str, preferred: str, *addresses: tuple[str, str, str]) -> dict[str, Any]:
    keys = ("address", "device", "kind")
    return {
        "name": name,
        "group": group,
        "preferred": preferred,
        "addresses": [dict(zip(keys, address, strict=True)) for address in addresses],
    }


PART: dict[str, Any] = {
    "failover": {
        "backend": "heartbeat",
        "node": "d1",
        "nodes": ["d1", "d2"],
        "secret": True,
        "failback": False,
        "fencing": None,
        "instances": [
            instance(
                "lvs_a_4", "lvs_a", "d1", ("192.168.1.110/32", "eth1", "vip"), ("10.1.1.254/24", "eth2", "inside")
            ),
            instance(
                "lvs_a_6", "lvs_a", "d1", ("2001:db8::110/128", "eth1", "vip"), ("fd00::fe/64", "eth2", "inside")
            ),
            instance("lvs_b_4", "lvs_b", "d2", ("192.168.1.113/32", "eth1", "vip")),
        ],
        "groups": [{"name": "lvs_b", "instances": ["lvs_b_4"]}, {"name": "lvs_a", "instances": ["lvs_a_4", "lvs_a_6"]}],
        "heartbeat": {
            "keepalive": 0.5,
            "warntime": 2.5,
            "deadtime": 5,
            "initdead": 30,
            "udpport": 694,
            "links": [{"ucast": "eth1", "peer": "192.168.1.11"}],
            "ping": [],
            "watchdog": "",
        },
        "sync": {
            "interface": "eth2", "syncid": 170, "maxlen": 1400, "multicast": "224.0.0.82", "port": None, "ttl": None,
            "group": "lvs_a", "both": False,
        },
    }
}  # fmt: skip


def part(**changes: Any) -> dict[str, Any]:
    """The plan's part, with some of `failover`, or of what is inside its `heartbeat`, changed."""
    changed = copy.deepcopy(PART)
    for key, value in changes.items():
        inside = changed["failover"]["heartbeat"] if key in changed["failover"]["heartbeat"] else changed["failover"]
        inside[key] = value
    return changed


def lines(text: str) -> list[str]:
    assert text.startswith(heartbeat_config.HEADER)
    return text.splitlines()[1:]


def test_ha_cf() -> None:
    assert lines(heartbeat_config.render(PART, NAMES)["ha_cf"]) == [
        "logfacility daemon",
        "udpport 694",
        "keepalive 500ms",
        "warntime 2500ms",
        "deadtime 5000ms",
        "initdead 30000ms",
        "ucast eth1 192.168.1.11",
        "auto_failback off",
        "autojoin none",
        "crm off",
        "node director-one.example.org",
        "node d2",
    ]


def test_everything_that_can_be_said() -> None:
    links = [
        {"ucast": "eth1", "peer": "fe80::11"},
        {"bcast": "eth2"},
        {"mcast": "eth3", "group": "239.0.0.43", "port": 695, "ttl": 1},
    ]
    changed = part(
        links=links, ping=["192.168.1.254", "2001:db8::fe"], watchdog="/dev/watchdog", failback=True,
        fencing=True,
    )  # fmt: skip
    texts = heartbeat_config.render(changed, fencing=["/usr/local/sbin/fence", "-v"])
    ha_cf = lines(texts["ha_cf"])
    assert ha_cf[6:10] == [
        "ucast6 eth1 fe80::11",
        "bcast eth2",
        "mcast eth3 239.0.0.43 695 1 0",
        "auto_failback on",
    ]
    assert ha_cf[14:] == [
        "watchdog /dev/watchdog",
        "deadping 5000ms",
        "ping 192.168.1.254",
        "ping6 2001:db8::fe",
        "respawn hacluster /usr/libexec/heartbeat/ipfail",
        "apiauth ipfail gid=haclient uid=hacluster",
        "stonith_host * external/lvs-fence d1 d2",
    ]
    assert json.loads(texts["resources"])["fence"] == ["/usr/local/sbin/fence", "-v"]
    single = heartbeat_config.render(changed, fencing="/usr/local/sbin/fence")
    assert json.loads(single["resources"])["fence"] == ["/usr/local/sbin/fence"]
    with pytest.raises(LvsError, match="to_heartbeat was not given it"):
        heartbeat_config.render(changed)


def test_haresources_are_the_same_on_both() -> None:
    texts = heartbeat_config.render(PART, NAMES)
    assert lines(texts["haresources"]) == [
        "director-one.example.org lvs-addresses::lvs_a lvs-sync::lvs_a",
        "d2 lvs-addresses::lvs_b",
    ]
    assert heartbeat_config.render(part(node="d2"), NAMES)["haresources"] == texts["haresources"]


def test_what_the_resource_scripts_read() -> None:
    resources = json.loads(heartbeat_config.render(PART, NAMES)["resources"])
    assert resources == {
        "nodes": {"director-one.example.org": "d1", "d2": "d2"},
        "groups": {
            "lvs_a": [
                {"address": "192.168.1.110/32", "device": "eth1", "deprecated": False},
                {"address": "10.1.1.254/24", "device": "eth2", "deprecated": False},
                {"address": "2001:db8::110/128", "device": "eth1", "deprecated": True},
                {"address": "fd00::fe/64", "device": "eth2", "deprecated": False},
            ],
            "lvs_b": [{"address": "192.168.1.113/32", "device": "eth1", "deprecated": False}],
        },
        "preferred": {"lvs_a": "director-one.example.org", "lvs_b": "d2"},
        "sync": {
            "group": "lvs_a",
            "options": [
                "--mcast-interface", "eth2", "--syncid", "170", "--sync-maxlen", "1400", "--mcast-group", "224.0.0.82",
            ],
        },
        "fence": None,
    }  # fmt: skip


@pytest.mark.parametrize("sync", [None, {"interface": "eth2", "syncid": 1, "group": None, "both": True}])
def test_daemons_that_follow_nothing_are_not_heartbeats(sync: Any) -> None:
    texts = heartbeat_config.render(part(sync=sync))
    assert "lvs-sync" not in texts["haresources"]
    assert json.loads(texts["resources"])["sync"] is None


@pytest.mark.parametrize(
    ("changed", "names", "said"),
    [
        ({"failover": None}, {}, "set lvs_failover to heartbeat"),
        (part(nodes=["d1", "d2", "d3"]), {}, "between two nodes, but the plan has 3"),
        (PART, {"d1": "same", "d2": "SAME"}, "both call themselves same"),
        (PART, {"d1": "two words"}, "two words"),
        (part(links=[]), {}, "no link"),
        (part(keepalive=0), {}, "keepalive 0 is not a time"),
        (part(deadtime="soon"), {}, "deadtime 'soon' is not a time"),
        (part(warntime=5), {}, "warntime has to be below deadtime"),
        (part(links=[{"ucast": "eth1", "peer": "192.168.1.11\nbcast eth9"}]), {}, "cannot be written"),
        (part(watchdog="/dev/watch dog"), {}, "watchdog '/dev/watch dog' cannot be written"),
        (part(instances=[instance("lvs_a_4", "lvs_a", "d9")]), {}, "prefers d9"),
        (part(groups=[{"name": "a b", "instances": ["lvs_b_4"]}]), {}, "'a b' cannot be the name of a group"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_it_cannot_say_is_refused(changed: dict[str, Any], names: dict[str, str], said: str) -> None:
    with pytest.raises(LvsError) as caught:
        heartbeat_config.render(changed, names)
    assert said in caught.value.message
