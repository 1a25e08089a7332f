# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""heartbeat's ha.cf and haresources, and the list that our resource scripts read, from a director's part of the plan.

The secret is in none of them; the fencing command, which may have a password, is in the list alone.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils._errors import LvsError

HEADER = "# Managed by the Ansible role linuxvirtualserver.lvs.heartbeat: what is changed by hand here is lost.\n"
# haresources moves everything between exactly two nodes.
NODES = 2
TIMES = ("keepalive", "warntime", "deadtime", "initdead")
# Names of nodes and groups become words of files that a shell reads.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
WORD = re.compile(r"[A-Za-z0-9_.:%/-]+")
IPFAIL = "/usr/libexec/heartbeat/ipfail"
SYNC_OPTIONS = {
    "interface": "--mcast-interface", "syncid": "--syncid", "maxlen": "--sync-maxlen", "multicast": "--mcast-group",
    "port": "--mcast-port", "ttl": "--mcast-ttl",
}  # fmt: skip


def render(
    part: Mapping[str, Any], names: Mapping[str, str] | None = None, fencing: str | Sequence[str] = ()
) -> dict[str, str]:
    """The texts, by key: ``ha_cf``, ``haresources``, ``resources``.

    ``names`` says what inventory hosts call themselves (``uname -n``) where that is another name; ``fencing`` is the
    program that cuts the other director off, or a list of it and its arguments.
    """
    failover = part.get("failover") or {}
    if failover.get("backend") != "heartbeat":
        raise LvsError("This host's part of the plan has no failover backend heartbeat: set lvs_failover to heartbeat.")
    nodes = {str(node): str((names or {}).get(node, node)).lower() for node in failover["nodes"]}
    _check_nodes(nodes, failover)
    return {
        "ha_cf": HEADER + "".join(f"{line}\n" for line in _ha_cf(failover, list(nodes.values()))),
        "haresources": HEADER + "".join(f"{line}\n" for line in _haresources(failover, nodes)),
        "resources": json.dumps(_resources(failover, nodes, fencing), indent=2, sort_keys=True) + "\n",
    }


def _check_nodes(nodes: Mapping[str, str], failover: Mapping[str, Any]) -> None:
    if len(nodes) != NODES:
        raise LvsError(
            f"heartbeat moves VIPs between two nodes, but the plan has {len(nodes)} ({', '.join(nodes)}): take others"
            " out of the directors' group, or set lvs_failover to keepalived."
        )
    for host, name in nodes.items():
        if not NAME.fullmatch(name):
            raise LvsError(f"{host} calls itself {name!r} (uname -n), which cannot be the name of a heartbeat node.")
    if len(set(nodes.values())) != NODES:
        raise LvsError(
            f"{' and '.join(nodes)} both call themselves {next(iter(nodes.values()))} (uname -n; case does not count):"
            " heartbeat tells nodes apart by that name, so give one of them another."
        )
    for instance in failover["instances"]:
        if instance["preferred"] not in nodes:
            raise LvsError(f"{instance['name']} prefers {instance['preferred']}, which is no node of the plan's.")


def _word(value: Any, what: str) -> str:
    if not WORD.fullmatch(str(value)):
        raise LvsError(f"{what} {value!r} cannot be written into heartbeat's files: use letters, digits, _ . : % / -")
    return str(value)


def _milliseconds(settings: Mapping[str, Any], key: str) -> int:
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or round(value * 1000) < 1:
        raise LvsError(f"lvs_heartbeat: {key} {value!r} is not a time of at least 0.001 seconds.")
    return round(value * 1000)


def _ha_cf(failover: Mapping[str, Any], nodes: list[str]) -> Iterator[str]:
    settings = failover["heartbeat"]
    times = {key: _milliseconds(settings, key) for key in TIMES}
    for smaller, greater in itertools.pairwise(TIMES):
        if times[smaller] >= times[greater]:
            raise LvsError(f"lvs_heartbeat: {smaller} has to be below {greater}, or heartbeat loses nodes that live.")
    yield "logfacility daemon"
    # Before the links, or they take heartbeat's own default.
    yield f"udpport {int(settings['udpport'])}"
    for key, value in times.items():
        yield f"{key} {value}ms"
    for link in settings["links"]:
        yield _link(link)
    if not settings["links"]:
        raise LvsError("lvs_heartbeat: heartbeat has no link to the other node: name one in links.")
    yield f"auto_failback {'on' if failover['failback'] else 'off'}"
    yield "autojoin none"
    yield "crm off"
    for name in nodes:
        yield f"node {name}"
    if settings.get("watchdog"):
        yield f"watchdog {_word(settings['watchdog'], 'watchdog')}"
    if settings.get("ping"):
        yield f"deadping {times['deadtime']}ms"
        for address in settings["ping"]:
            yield f"{'ping6' if ':' in str(address) else 'ping'} {_word(address, 'ping')}"
        # Gives the resources up where the other node reaches more of these.
        yield f"respawn hacluster {IPFAIL}"
        yield "apiauth ipfail gid=haclient uid=hacluster"
    if failover.get("fencing"):
        yield "stonith_host * external/lvs-fence " + " ".join(nodes)


def _link(link: Mapping[str, Any]) -> str:
    if device := link.get("mcast"):
        values = (link["group"], link["port"], link["ttl"])
        return " ".join(["mcast", _word(device, "mcast"), *(_word(value, "mcast") for value in values), "0"])
    if device := link.get("bcast"):
        return f"bcast {_word(device, 'bcast')}"
    kind = "ucast6" if ":" in str(link["peer"]) else "ucast"
    return f"{kind} {_word(link['ucast'], 'ucast')} {_word(link['peer'], 'peer')}"


def _groups(failover: Mapping[str, Any]) -> Iterable[tuple[str, list[Mapping[str, Any]]]]:
    """Each group with its instances, in the same order on all nodes."""
    by_name = {instance["name"]: instance for instance in failover["instances"]}
    for group in sorted(failover["groups"], key=lambda group: str(group["name"])):
        if not NAME.fullmatch(str(group["name"])):
            raise LvsError(f"{group['name']!r} cannot be the name of a group in haresources.")
        yield group["name"], [by_name[name] for name in group["instances"]]


def _haresources(failover: Mapping[str, Any], nodes: Mapping[str, str]) -> Iterator[str]:
    sync = failover.get("sync") or {}
    for name, instances in _groups(failover):
        (preferred,) = {instance["preferred"] for instance in instances}
        # The addresses first: whoever asks need not wait for the daemons. A group is released in the opposite order.
        line = f"{nodes[preferred]} lvs-addresses::{name}"
        yield f"{line} lvs-sync::{name}" if name == sync.get("group") else line


def _resources(failover: Mapping[str, Any], nodes: Mapping[str, str], fencing: str | Sequence[str]) -> dict[str, Any]:
    """What our resource scripts read."""
    groups = {
        name: [
            {
                "address": address["address"],
                "device": address["device"],
                # Traffic of the director itself must not leave from an IPv6 VIP; IPVS tunnels would.
                "deprecated": ":" in address["address"] and address["kind"] == "vip",
            }
            for instance in instances
            for address in instance["addresses"]
        ]
        for name, instances in _groups(failover)
    }
    sync = failover.get("sync") or {}
    following = sync.get("group")
    options = [
        word
        for key, option in SYNC_OPTIONS.items()
        if sync.get(key) is not None
        for word in (option, _word(sync[key], f"lvs_sync: {key}"))
    ]
    command = [fencing] if isinstance(fencing, str) else [str(word) for word in fencing]
    if failover.get("fencing") and not command:
        raise LvsError("The plan has a fencing command, but to_heartbeat was not given it: name it with fencing.")
    return {
        "nodes": {name: host for host, name in nodes.items()},
        "groups": groups,
        "preferred": {name: nodes[instances[0]["preferred"]] for name, instances in _groups(failover)},
        "sync": {"group": following, "options": options} if following else None,
        "fence": command if failover.get("fencing") else None,
    }
