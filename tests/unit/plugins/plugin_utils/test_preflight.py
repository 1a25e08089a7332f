# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts against parts before the first write, and the client's proof after it: one sentence for each difference."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import preflight
from tests.howto import LINKS, VIP, VIP6, facts, plan_of, service

MAC, STRANGER = "52:54:00:00:00:02", "52:54:00:00:00:99"


def problems(host: str = "director", **judgement: Any) -> list[str]:
    return preflight.problems(plan_of().parts, {host: facts(LINKS[host], **judgement)}, [host])


def test_healthy_machines_have_no_problems() -> None:
    for host in ("director", "rs1", "rs3", "client"):
        assert problems(host) == []


def test_hosts_that_have_no_part_are_not_judged() -> None:
    assert preflight.problems(plan_of().parts, {}, ["bystander"]) == []


def test_a_host_that_did_not_answer() -> None:
    found = preflight.problems(plan_of().parts, {}, ["rs1"])
    assert found == ["host rs1: did not answer, or its facts could not be read."]


@pytest.mark.parametrize(
    ("judgement", "sentence"),
    [
        (
            {"root": False, "net_admin": False},
            "host director: the tasks do not run as root; connect as root or let Ansible become root (become: true).",
        ),
        (
            {"net_admin": False},
            "host director: root there lacks CAP_NET_ADMIN (a container?), without which no address, route or IPVS"
            " table can be changed; run it privileged, or with --cap-add NET_ADMIN in the initial user namespace.",
        ),
        ({"iproute2": False}, "host director: the program `ip` is missing; install package iproute2."),
        (
            {"systemd": False},
            "host director: systemd does not run there, so nothing would bring the LVS back after a reboot.",
        ),
        (
            {
                "modules": {"ip_vs": "missing", "ip_vs_wlc": "builtin"},
                "advice": {"ip_vs": "install package linux-image-amd64, or set CONFIG_IP_VS=m"},
            },
            "host director: kernel 6.1.0-uml has no ip_vs; install package linux-image-amd64, or set CONFIG_IP_VS=m.",
        ),
        (
            {"modules": {"ip_vs": "loaded"}},
            "host director: the scheduler wlc is unknown to its kernel (no module ip_vs_wlc); install the kernel"
            " package that has it.",
        ),
    ],
)
def test_problem_of_a_machine(judgement: dict[str, Any], sentence: str) -> None:
    assert problems(**judgement) == [sentence]


def test_settings_that_a_container_cannot_write() -> None:
    """Only those that differ; one that comes with a module or a device does so, too."""
    wanted = {item["key"]: str(item["value"]) for item in plan_of().parts["rs1"]["network"]["sysctls"]}
    seen = {key.replace(".", "/"): value for key, value in wanted.items()}
    assert problems("rs1", read_only_sysctls=seen) == []
    del seen["net/ipv4/conf/all/arp_announce"]
    (sentence,) = problems("rs1", read_only_sysctls={**seen, "net/ipv4/conf/all/arp_ignore": "0"})
    assert "not as they should be: net.ipv4.conf.all.arp_ignore=1, net.ipv4.conf.all.arp_announce=2;" in sentence
    assert "--sysctl KEY=VALUE" in sentence


def test_modules_that_a_containers_host_has_to_load() -> None:
    modules = {"ip_vs": "loaded", "ip_vs_wlc": "missing"}
    found = problems(container="podman", modules=modules, advice={"ip_vs_wlc": "load it on the host"})
    assert found == ["host director: kernel module ip_vs_wlc is not loaded; load it on the host."]


def test_a_missing_engine_is_no_scheduler() -> None:
    parts = plan_of([service(protocol="udp", persistence={"engine": "sip"})]).parts
    found = preflight.problems(parts, {"director": facts(LINKS["director"])}, ["director"])
    assert found == ["host director: kernel 6.1.0-uml has no ip_vs_pe_sip; install the kernel package that has it."]


def test_a_missing_tunnel_module() -> None:
    parts = plan_of([service(forwarding="tun", realservers=[{"host": "rs3"}])]).parts
    found = preflight.problems(parts, {"rs3": facts(LINKS["rs3"], modules={"ip_vs": "loaded"})}, ["rs3"])
    assert found == ["host rs3: kernel 6.1.0-uml has no ipip; install the kernel package that has it."]


def test_a_director_that_left_its_group_with_everything() -> None:
    left = facts(LINKS["rs1"], director_files=["/etc/lvs/ipvs.json"])
    found = preflight.problems(plan_of().parts, {"rs1": left}, ["rs1"])
    assert len(found) == 1 and "set up as a director (/etc/lvs/ipvs.json)" in found[0]
    there = facts(LINKS["director"], director_files=["/etc/lvs/ipvs.json"])
    assert preflight.problems(plan_of().parts, {"director": there}, ["director"]) == []


@pytest.mark.parametrize(
    ("health", "memory", "refused"),
    [
        ("ldirectord", 61 << 20, False),
        ("ldirectord", 60 << 20, True),
        ("ldirectord", 0, False),  # not known
        ("keepalived", 60 << 20, False),
    ],
)
def test_memory_for_a_process_of_each_service(health: str, memory: int, refused: bool) -> None:
    parts = plan_of([service(ports=list(range(80, 90)))], variables={"director": {"lvs_health": health}}).parts
    found = preflight.problems(parts, {"director": facts(LINKS["director"], memory=memory)}, ["director"])
    assert len(found) == refused, found
    if refused:
        assert "each of its 10 services" in found[0] and "memory there is 60 MiB" in found[0]


def test_a_client_needs_no_systemd() -> None:
    assert problems("client", systemd=False) == []


def test_every_problem_of_every_machine() -> None:
    sick = facts(LINKS["rs1"], net_admin=False, iproute2=False, systemd=False)
    found = preflight.problems(plan_of().parts, {"rs1": sick}, ["director", "rs1"])
    assert len(found) == 4
    assert [sentence.split(":")[0] for sentence in found] == ["host director", "host rs1", "host rs1", "host rs1"]


# ------------------------------------------------------------------ schedulers


@pytest.mark.parametrize(
    ("services", "names"),
    [
        ([], []),
        ([{"scheduler": "rr"}, {"scheduler": "wrr"}, {"scheduler": "rr"}, {}], ["rr", "wlc", "wrr"]),
        ([None, "web", 5, ["rr"], {"scheduler": "sh"}], ["sh"]),
        ("web", []),
        (None, []),
        ({"scheduler": "rr"}, []),
    ],
)
def test_wanted_schedulers(services: Any, names: list[str]) -> None:
    assert preflight.wanted_schedulers(services) == names


# ------------------------------------------------------------------ the proof from a client

PROMISED = {
    "vips": [{"address": VIP, "director": "director", "macs": [MAC]}],
    "services": [{"address": VIP, "port": 80, "protocol": "tcp"}],
}


def seen(macs: list[str], on_link: bool = True, error: str = "") -> dict[str, Any]:
    return {
        "results": [{"vip": VIP, "interface": "eth1", "on_link": on_link, "macs": macs}],
        "services": [{"address": VIP, "port": 80, "protocol": "tcp", "reachable": not error, "error": error or None}],
    }


def test_what_was_promised_is_seen() -> None:
    assert preflight.proof_mistakes(PROMISED, seen([MAC]), "client") == []


def test_somebody_else_answers_too() -> None:
    assert preflight.proof_mistakes(PROMISED, seen([MAC, STRANGER]), "client") == [
        f"client client: VIP {VIP} is answered by {STRANGER}, which is not director director ({MAC}): the ARP problem"
        " (HOWTO 6)."
    ]


def test_nobody_answers() -> None:
    assert preflight.proof_mistakes(PROMISED, seen([]), "client") == [
        f"client client: nobody answers for VIP {VIP} on eth1."
    ]


def test_behind_a_router_nobody_is_asked() -> None:
    assert preflight.proof_mistakes(PROMISED, seen([], on_link=False), "client") == []


def test_a_director_whose_mac_is_not_known_proves_nothing() -> None:
    promised = {**PROMISED, "vips": [{"address": VIP, "director": "director", "macs": []}]}
    assert preflight.proof_mistakes(promised, seen([STRANGER]), "client") == []


def test_a_service_that_does_not_answer() -> None:
    assert preflight.proof_mistakes(PROMISED, seen([MAC], error="connection refused"), "client") == [
        f"client client: tcp {VIP} port 80 does not answer: connection refused."
    ]


def test_the_plan_promises_what_a_client_can_check() -> None:
    udp = service(name="dns", protocol=["udp", "tcp"], ports=[53])
    drained = service(name="old", ports=[8080], realservers=[{"host": "rs1", "weight": 0}])
    plan = plan_of([service(vips=[VIP, VIP6]), udp, drained])
    assert plan.probe == {
        "vips": [
            {"address": VIP, "director": "director", "macs": [MAC]},
            {"address": VIP6, "director": "director", "macs": [MAC]},
        ],
        "services": [
            {"address": VIP, "port": 80, "protocol": "tcp"},
            {"address": VIP6, "port": 80, "protocol": "tcp"},
            {"address": VIP, "port": 53, "protocol": "tcp"},
        ],
        "patience": 0,
    }
