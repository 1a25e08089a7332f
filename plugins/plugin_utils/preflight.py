# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can these machines do what the plan asks (facts against parts, before the first write), and did they (the proof)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_model import normal_value
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._sysctl_effects import path as sysctl_path

# What ldirectord's processes share, and what each has of its own, one for every service (measured: docs/failover.md).
LDIRECTORD_SHARED_MIB = 30
LDIRECTORD_PROCESS_MIB = 3
MIB = 1 << 20


def problems(
    parts: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Mapping[str, Any]], hosts: Iterable[str]
) -> list[str]:
    """What forbids to start, one sentence each, for the hosts of this run."""
    found = []
    for host in hosts:
        if host not in parts:
            continue
        if host not in facts:
            found.append(f"host {host}: did not answer, or its facts could not be read.")
            continue
        found += [f"host {host}: {sentence}" for sentence in _of_host(parts[host], facts[host])]
    return found


def _of_host(part: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    found = []
    if not facts["root"]:
        found.append("the tasks do not run as root; connect as root or let Ansible become root (become: true).")
    elif not facts["net_admin"]:
        found.append(
            "root there lacks CAP_NET_ADMIN (a container?), without which no address, route or IPVS table can be"
            " changed; run it privileged, or with --cap-add NET_ADMIN in the initial user namespace."
        )
    found += _unwritable(part.get("network", {}), facts)
    if not facts["iproute2"]:
        found.append("the program `ip` is missing; install package iproute2.")
    if "network" in part and not facts["systemd"]:
        found.append("systemd does not run there, so nothing would bring the LVS back after a reboot.")
    if "director" not in part["roles"] and (left := facts.get("director_files")):
        found.append(
            f"it was set up as a director ({', '.join(left)}) and is in the directors' group no more, so nothing would"
            " take its table and its VIPs away; put it back, run teardown.yml --limit with its name, then take it out."
        )
    found += _marks_of_others(part.get("firewall", {}), facts.get("firewall", {}))
    found += _short_of_memory(part.get("health") or {}, facts.get("memory", 0))
    for module in part.get("network", {}).get("modules", []):
        if facts["modules"].get(module, "missing") == "missing":
            advice = facts.get("advice", {}).get(module) or "install the kernel package that has it"
            found.append(f"{_lacking(module, facts)}; {advice}.")
    return found


def _lacking(module: str, facts: Mapping[str, Any]) -> str:
    if facts.get("container"):
        return f"kernel module {module} is not loaded"
    if module.startswith("ip_vs_") and not module.startswith("ip_vs_pe_"):
        return f"the scheduler {module[len('ip_vs_') :]} is unknown to its kernel (no module {module})"
    return f"kernel {facts['kernel']} has no {module}"


def _unwritable(network: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Settings to change where none can be."""
    seen = facts.get("read_only_sysctls")
    if not seen:
        return []
    wrong = [
        f"{item['key']}={item['value']}"
        for item in network.get("sysctls", [])
        if seen.get(sysctl_path(item["key"])) != normal_value(item["value"])
    ]
    if not wrong:
        return []
    return [
        "/proc/sys is read-only there (a container?), and these settings are not as they should be:"
        f" {', '.join(wrong)}; start the container with them (podman and docker: --sysctl KEY=VALUE), or so that it can"
        " write them (podman: --security-opt unmask=/proc/sys; docker: --privileged)."
    ]


def _marks_of_others(ours: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Marks that we would set and somebody else's rules use already."""
    found = []
    for mark in dict.fromkeys(entry["mark"] for entry in ours.get("marks", [])):
        places = [
            other["where"]
            for other in seen.get("marks", [])
            if other["mark"] & other["mask"] and (mark & other["mask"]) == (other["mark"] & other["mask"])
        ]
        if places:
            found.append(
                f"fwmark {mark} is used there already, by {', '.join(dict.fromkeys(places))}; give the service another"
                " fwmark, or take that rule away."
            )
    return found


def _short_of_memory(health: Mapping[str, Any], memory: int) -> list[str]:
    """Services that ldirectord would check until the kernel ends it for lack of memory, again and again."""
    services = len(health["services"]) if health.get("backend") == "ldirectord" else 0
    needed = LDIRECTORD_SHARED_MIB + services * LDIRECTORD_PROCESS_MIB
    if not memory or not services or needed * MIB < memory:
        return []
    return [
        f"ldirectord checks each of its {services} services by a process of its own, which takes some {needed} MiB; the"
        f" memory there is {memory // MIB} MiB. Let one service with a fwmark stand for several VIPs and ports, or set"
        " lvs_health to keepalived or none."
    ]


def wanted_schedulers(services: Any) -> list[str]:
    """The schedulers named in ``lvs_services``, for the fact gathering; whatever is no list of mappings names none."""
    if not isinstance(services, list):
        return []
    return sorted({str(item.get("scheduler", "wlc")) for item in services if isinstance(item, Mapping)})


def proof_mistakes(probe: Mapping[str, Any], result: Mapping[str, Any], client: str) -> list[str]:
    """What a client saw, module ``vip_probe``'s result, against what the plan promises: one sentence a difference."""
    found = []
    expected = {item["address"]: item for item in probe["vips"]}
    for answer in result["results"]:
        item = expected[answer["vip"]]
        if not answer["on_link"] or not item["macs"]:
            continue
        strangers = sorted(set(answer["macs"]) - set(item["macs"]))
        if strangers:
            found.append(
                f"client {client}: VIP {answer['vip']} is answered by {', '.join(strangers)}, which is not director"
                f" {item['director']} ({', '.join(item['macs'])}): the ARP problem (HOWTO 6)."
            )
        elif not answer["macs"]:
            found.append(f"client {client}: nobody answers for VIP {answer['vip']} on {answer['interface']}.")
    for service in result["services"]:
        if not service["reachable"]:
            found.append(
                f"client {client}: {service['protocol']} {service['address']} port {service['port']} does not answer:"
                f" {service['error']}."
            )
    return found
