# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A director's part as keepalived.conf: what is written, what is refused, and that keepalived takes it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import ipvsadm_text, keepalived_text
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.failover_part import PREFERRED
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils.keepalived_config import render

KEEPALIVED = shutil.which("keepalived", path="/usr/sbin:/usr/bin:/usr/local/sbin")
# keepalived asks whether the interfaces of its instances exist here.
INTERFACE = next(
    (
        name
        for _index, name in socket.if_nameindex()
        if int(Path(f"/sys/class/net/{name}/flags").read_text(), 16) & 0x1000  # multicast
    ),
    "lo",
)

CHECK: dict[str, Any] = {
    "type": "tcp", "port": None, "interval": 5, "timeout": 3, "retries": 1, "path": "/", "host": None, "status": [200],
    "contains": None, "digest": None, "query": None, "query_type": "A", "command": None, "on_failure": "remove",
    "quorum": 1,
}  # fmt: skip
SERVICE: dict[str, Any] = {
    "name": "web",
    "protocol": "tcp",
    "address": "192.168.1.110",
    "port": 80,
    "scheduler": "wlc",
    "scheduler_flags": [],
    "one_packet": False,
    "realservers": [
        {"address": "192.168.1.2", "port": 80, "forwarding": "dr", "weight": 1},
        {"address": "192.168.1.3", "port": 8080, "forwarding": "nat", "weight": 3, "upper_threshold": 9},
    ],
    "health": CHECK,
    "sorry_server": None,
}
SIX: dict[str, Any] = {
    **SERVICE,
    "address": "2001:db8::110",
    "realservers": [{"address": "2001:db8::2", "port": 80, "forwarding": "dr", "weight": 1}],
}
FOUR_INSTANCE: dict[str, Any] = {
    "name": "lvs_lvs_4",
    "family": "ipv4",
    "group": "lvs_lvs",
    "router_id": 51,
    "preferred": "lvs1",
    "priority": 150,
    "interface": INTERFACE,
    "source": "192.168.1.11",
    "peers": ["192.168.1.12"],
    "addresses": [
        {"address": "192.168.1.110/32", "device": INTERFACE, "kind": "vip"},
        {"address": "10.1.1.9/24", "device": INTERFACE, "kind": "inside"},
    ],
}
SIX_INSTANCE: dict[str, Any] = {
    **FOUR_INSTANCE,
    "name": "lvs_lvs_6",
    "family": "ipv6",
    "router_id": 52,
    "source": "2001:db8::11",
    "peers": ["2001:db8::12"],
    "addresses": [
        {"address": "2001:db8::110/128", "device": INTERFACE, "kind": "vip"},
        {"address": "2001:db8:1::9/64", "device": INTERFACE, "kind": "inside"},
    ],
}
VRRP: dict[str, Any] = {
    "version": 3,
    "advert": 0.1,
    "unicast": True,
    "track_interfaces": [],
    "track_scripts": [],
    "notify": None,
    "watchdog": 0,
}
FAILOVER: dict[str, Any] = {
    "backend": "keepalived",
    "node": "lvs1",
    "secret": False,
    "failback": False,
    "fencing": None,
    "instances": [FOUR_INSTANCE, SIX_INSTANCE],
    "groups": [{"name": "lvs_lvs", "instances": ["lvs_lvs_4", "lvs_lvs_6"]}],
    "nodes": ["lvs1", "lvs2"],
    "vrrp": VRRP,
    "heartbeat": None,
    "sync": None,
}


def health(**changes: Any) -> dict[str, Any]:
    """A part with one service, whose check differs so from the default."""
    return {"failover": None, "health": {"backend": "keepalived", "services": [service(health={**CHECK, **changes})]}}


def service(**changes: Any) -> dict[str, Any]:
    return deepcopy({**SERVICE, **changes})


def services(*records: dict[str, Any]) -> dict[str, Any]:
    return {"failover": None, "health": {"backend": "keepalived", "services": list(records)}}


def failover(vrrp: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    changes["vrrp"] = {**VRRP, **(vrrp or {})}
    return {"failover": deepcopy({**FAILOVER, **changes}), "health": None}


def server(**changes: Any) -> dict[str, Any]:
    return {**SERVICE["realservers"][0], **changes}


SCRIPTS = [{"name": "router", "command": ["/bin/true", "a"], "interval": 2, "timeout": 1, "rise": 2, "fall": 3}]
EXAMPLES: dict[str, dict[str, Any]] = {
    "both halves": {**failover(), "health": services(SERVICE, SIX)["health"]},
    "nothing": {"failover": None, "health": None},
    "other backends": {"failover": {"backend": "heartbeat"}, "health": {"backend": "ldirectord"}},
    "one instance": failover(instances=[FOUR_INSTANCE]),
    "multicast": failover({"unicast": False}),
    "failback": failover(failback=True),
    "version 2": failover({"version": 2, "advert": 1}, secret=True),
    "watched": failover(
        {"watchdog": 3, "track_scripts": SCRIPTS, "track_interfaces": [INTERFACE, "lo"], "notify": "/bin/true x"}
    ),
    "watched inside": failover(
        {"track_interfaces": ["lo"]},
        instances=[
            {**item, "addresses": [item["addresses"][0], {**item["addresses"][1], "device": "lo"}]}
            for item in (FOUR_INSTANCE, SIX_INSTANCE)
        ],
    ),
    "watched, one instance": failover({"watchdog": 3, "track_interfaces": ["lo"]}, instances=[FOUR_INSTANCE]),
    "active/active": failover(
        {"watchdog": 5},
        instances=[FOUR_INSTANCE, {**FOUR_INSTANCE, "name": "lvs_b_4", "group": "lvs_b", "router_id": 53}],
    ),
    "hundreds of VIPs": failover(
        instances=[
            {
                **FOUR_INSTANCE,
                "addresses": [
                    {"address": f"192.168.{n // 250}.{n % 250 + 1}/32", "device": INTERFACE, "kind": "vip"}
                    for n in range(500)
                ],
            }
        ]
    ),
    "sync": failover(
        sync={
            "interface": "lo", "syncid": 7, "maxlen": 1400, "port": 8849, "ttl": 2, "multicast": "224.0.0.90",
            "group": "lvs_lvs", "both": False,
        }
    ),
    "sync, both roles": failover(sync={"interface": "lo", "syncid": 7, "group": None, "both": True}),
    "alone": failover(instances=[{**FOUR_INSTANCE, "peers": []}]),
    "no check": health(type="none"),
    "http": health(
        type="http", path='/a b#c!d$e{f}"\u00e4?x=1', host="www.example.org", status=[200, 301],
        contains='It works!"\\^{}',
        digest="9b3a0c85a887a256d6939da88aabd8cd",
        port=8000, interval=0.5, timeout=0.25,
    ),
    "https": health(type="https", host="www.example.org"),
    "smtp": health(type="smtp", host="lvs.example.org", port=25),
    "dns": health(type="dns", query="example.org", query_type="SOA", port=53),
    "udp": services(service(protocol="udp", one_packet=True, health={**CHECK, "type": "udp"})),
    "ping": health(type="ping"),
    "external": health(type="external", command=["/bin/true", "--x=1"], timeout=0.4),
    "quiesce, quorum": health(on_failure="quiesce", quorum=2, retries=0),
    "sorry server": services(
        service(sorry_server={"address": "192.168.1.9", "port": 80, "forwarding": "dr"}),
        {**SIX, "sorry_server": {"address": "2001:db8::9", "port": 80, "forwarding": "tun"}},
    ),
    "marks": services(
        {
            "name": "four", "fwmark": "7", "family": "ipv4", "scheduler": "rr",
            "persistence": {"timeout": 60, "netmask": 24},
            "realservers": [server(port=0)], "health": {**CHECK, "type": "http"},
        },
        {
            "name": "six", "fwmark": "7", "family": "ipv6", "scheduler": "rr",
            "persistence": {"timeout": 60, "netmask": 64},
            "realservers": [server(address="2001:db8::2", port=0)], "health": {**CHECK, "type": "ping"},
        },
    ),
    "every port": services(
        service(port=0, persistence={"timeout": 300}, realservers=[server(port=0)], health={**CHECK, "port": 80})
    ),
    "schedulers": services(
        service(scheduler="sh", scheduler_flags=["sh-port", "sh-fallback"]),
        service(scheduler="mh", scheduler_flags=["mh-port"], port=81, realservers=[server(port=81)]),
        service(
            scheduler="rr", protocol="udp", persistence={"timeout": 60, "engine": "sip"},
            health={**CHECK, "type": "none"},
        ),
    ),
    "tunnels": services(
        service(
            realservers=[
                server(forwarding="tun"),
                server(
                    forwarding="tun", address="2001:db8::3", tunnel={"type": "gue", "port": 6080, "checksum": "remcsum"}
                ),
                server(forwarding="tun", address="10.1.1.4", tunnel={"type": "gre", "checksum": "csum"}),
            ]
        )
    ),
    "drained": services(service(realservers=[server(weight=0)])),
    "no realserver": services(service(realservers=[]), SIX),
}  # fmt: skip
# keepalived cannot be told that no realserver is to get connections without remarking upon it.
HARMLESS = re.compile("exceeds total weight of real servers 0, reducing quorum to 0|hysteresis 0 >= quorum 0")


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.skipif(KEEPALIVED is None, reason="keepalived is not installed: apt-get install keepalived")
def test_keepalived_takes_every_example(name: str, tmp_path: Path) -> None:
    if name in ("multicast", "alone") and INTERFACE == "lo":
        pytest.skip("no interface here is for multicast")
    secret = tmp_path / "secret.conf"
    secret.write_text("authentication {\n auth_type PASS\n auth_pass secret_1\n}\n")
    config = tmp_path / "keepalived.conf"
    config.write_text(render(EXAMPLES[name], str(secret)))
    assert KEEPALIVED is not None
    command = [KEEPALIVED, "-t", "-f", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if not HARMLESS.search(line)]
    assert (said, done.returncode) == ([], 5 if name == "drained" else 0)


@pytest.mark.parametrize("name", EXAMPLES)
def test_table_reads_back(name: str) -> None:
    wanted = [
        {key: value for key, value in record.items() if key not in ("name", "health", "sorry_server")}
        for record in (EXAMPLES[name]["health"] or {}).get("services", [])
        if record["realservers"]
    ]
    assert ipvsadm_text.render(keepalived_text.parse(render(EXAMPLES[name]))) == ipvsadm_text.render(wanted)


def statements(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_failback_preempts() -> None:
    assert "nopreempt" in statements(render(failover()))
    text = statements(render(failover(failback=True)))
    assert "nopreempt" not in text and "state MASTER" not in text
    assert "preempt_delay 60" in text


def test_one_address_in_the_advert() -> None:
    text = render(EXAMPLES["hundreds of VIPs"])
    advertised = re.search(r"virtual_ipaddress \{(.*?)\}", text, re.DOTALL)
    excluded = re.search(r"virtual_ipaddress_excluded \{(.*?)\}", text, re.DOTALL)
    assert advertised and excluded
    assert (len(advertised[1].split("\n")) - 2, len(excluded[1].split("\n")) - 2) == (1, 499)


def test_six_is_deprecated_and_not_asked_for() -> None:
    text = statements(render(failover()))
    assert f"2001:db8::110/128 dev {INTERFACE} preferred_lft 0" in text
    assert f"2001:db8:1::9/64 dev {INTERFACE}" in text
    assert f"192.168.1.110/32 dev {INTERFACE}" in text
    assert "nodad" not in " ".join(text)


def test_secret_is_included_where_version_2_has_a_place_for_it() -> None:
    text = render(failover({"version": 2, "advert": 1}, secret=True), "/secret")
    four, six = text.split("vrrp_instance ")[1:]
    assert "include /secret" in four and "version 2" in four
    assert "include" not in six and "version 3" in six
    assert "include" not in render(failover(secret=True))


def test_groups_move_together_and_one_alone_is_no_group() -> None:
    assert "vrrp_sync_group lvs_lvs {" in statements(render(failover()))
    alone = render(EXAMPLES["watched, one instance"])
    assert "sync_group" not in alone
    assert re.search(r"vrrp_instance .*track_interface .*track_script {\n *lvs_life_sign", alone, re.DOTALL)


@pytest.mark.parametrize("name", ["watched, one instance", "active/active"])
def test_whatever_is_moved_can_be_told_to_stand_by(name: str) -> None:
    text = render(EXAMPLES[name])
    groups = {item["group"] for item in EXAMPLES[name]["failover"]["instances"]}
    assert len(re.findall(r"    track_file {\n *lvs_standby", text)) == len(groups)
    assert "track_file lvs_standby {" in statements(text)


def test_one_life_sign_for_two_groups() -> None:
    text = render(EXAMPLES["active/active"])
    assert text.count("lvs_life_sign") == 2  # its definition, and whoever watches it
    assert "WATCHDOG_USEC=5000000" in text
    assert "lvs_life_sign" not in render(failover())


def test_sync_daemon_follows_an_instance_unless_the_director_runs_both() -> None:
    assert (
        "lvs_sync_daemon lo inst lvs_lvs_4 id 7 maxlen 1400 port 8849 ttl 2 group 224.0.0.90"
        in statements(render(EXAMPLES["sync"]))
    )
    assert "lvs_sync_daemon" not in render(EXAMPLES["sync, both roles"])


def test_numbers_as_keepalived_counts() -> None:
    assert "advert_int 0.01" in statements(render(failover({"advert": 0.01})))
    assert "advert_int 1" in statements(render(failover({"advert": 1.0})))
    text = statements(render(health(interval=0.5, timeout=0.25, retries=0)))
    assert {"delay_loop 0.5", "connect_timeout 0.25", "retry 0", "delay_before_retry 0.5"} <= set(text)


def test_check_of_another_port() -> None:
    text = statements(render(health(port=8000)))
    assert text.count("connect_port 8000") == 2
    assert text.count("connect_port 80") == 0
    assert "connect_port 80" in statements(render(EXAMPLES["marks"]))


def test_external_check_is_told_what_ldirectord_tells() -> None:
    text = statements(render(EXAMPLES["external"]))
    assert 'misc_path "/bin/true --x=1 192.168.1.110 80 192.168.1.2 80"' in text
    assert "misc_timeout 1" in text


def test_a_service_without_weight_is_reloaded() -> None:
    """keepalived's own check before a reload would refuse it, and with it whatever else has changed."""
    assert "reload_check_config" not in statements(render(EXAMPLES["http"]))


def test_path_and_pattern_hold_nothing_that_means_something_to_keepalived() -> None:
    text = statements(render(EXAMPLES["http"]))
    assert "path /a%20b%23c%21d%24e%7Bf%7D%22%C3%A4?x=1" in text
    assert 'regex "It[ ]works......"' in text


def test_comment_is_one_line() -> None:
    text = render(services(service(name="web\n}\u00e4")))
    assert "# web???" in statements(text)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (services(service(scheduler="none")), "service web: keepalived knows no scheduler none"),
        (services(service(realservers=[server(weight="keep")])), "service web: weight keep"),
        (services(service(realservers=[server(forwarding="local")])), "service web: keepalived cannot forward by"),
        (
            services(service(realservers=[server(forwarding="tun", tunnel={"type": "gre", "checksum": "both"})])),
            "service web: keepalived sets one kind of tunnel checksum",
        ),
        (
            services(service(realservers=[], sorry_server={"address": "192.168.1.9", "port": 80, "forwarding": "dr"})),
            "service web: keepalived puts a sorry server in only",
        ),
        (
            services(service(port=0, persistence={"timeout": 9}, realservers=[server(port=0)])),
            "service web: health: the realservers of this service have no port",
        ),
        (health(type="dns", query_type="PTR"), "service web: health: keepalived asks for A, NS"),
        (health(type="dns", query="a b"), "service web: health: 'a b' cannot be written"),
        (health(type="external", command=["/bin/sh", "a b"]), "service web: health: 'a b' cannot be written"),
        (failover({"notify": '/bin/"x"'}), "lvs_vrrp: notify: '/bin/\"x\"' cannot be written"),
        (failover(node="lvs1 {"), "director: 'lvs1 {' cannot be written"),
    ],
)
def test_what_keepalived_cannot_say_is_refused(part: dict[str, Any], message: str) -> None:
    with pytest.raises(LvsError) as error:
        render(part)
    assert error.value.message.startswith(message)


def test_the_role_knows_the_priority_of_who_is_preferred() -> None:
    variables = Path(__file__).resolve().parents[4] / "roles/keepalived/vars/main.yml"
    assert f"\n__keepalived_preferred: {PREFERRED}\n" in variables.read_text(encoding="utf-8")
