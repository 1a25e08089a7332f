# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directors that stand in for one another (HOWTO 9.3, 29, 31, 33, 34): what a person wrote, read and checked.

`failover_part` makes of it what moves from one director to the other.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .health import BACKENDS as HEALTH_BACKENDS
from .health import COMMAND_WORD, PRINTABLE, Health, command, read_health
from .host_variables import INTERFACE_NAME
from .machines import Machine
from .mistakes import Mistakes

BACKENDS = ("none", "manual", "keepalived", "heartbeat")
# Programs that move the VIPs by themselves.
DAEMONS = ("keepalived", "heartbeat")
# Variables that make no sense unless all directors of a cluster have the same.
COMMON = (
    "lvs_failover", "lvs_health", "lvs_active", "lvs_failback", "lvs_failover_secret", "lvs_health_check",
)  # fmt: skip
COMMON_KEYS = {
    "lvs_vrrp": ("version", "advert", "unicast", "router_id"),
    "lvs_heartbeat": ("keepalive", "deadtime", "warntime", "initdead", "udpport"),
    "lvs_sync": ("syncid", "group", "port", "threshold", "period"),
}
# A group's name is part of names in other programs' files.
GROUP_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
SECRET = re.compile(r"[A-Za-z0-9._+=/@%^&*()\[\]:;,?~|<>-]+")
# Other characters mean something to the reader of keepalived.conf, or are beyond what VRRP 2 sends.
VRRP_SECRET = re.compile(r"[A-Za-z0-9._+=/-]{1,8}")
LEAST_WATCHDOG, LEAST_SECRET = 3, 8

VRRP_KEYS = {
    "version", "advert", "unicast", "router_id", "interface", "track_interfaces", "track_scripts", "notify", "watchdog",
}  # fmt: skip
SCRIPT_KEYS = {"name", "command", "interval", "timeout", "rise", "fall", "weight"}
HEARTBEAT_KEYS = {"keepalive", "deadtime", "warntime", "initdead", "udpport", "links", "ping", "watchdog"}
LINK_KINDS = ("ucast", "bcast", "mcast")
LINK_KEYS = {*LINK_KINDS, "group", "port", "ttl"}
FENCING_KEYS = {"command"}
SYNC_KEYS = {"interface", "syncid", "group", "port", "ttl", "maxlen", "threshold", "period"}
# The kernel's own 3 50 never tells the other director of a connection that is idle after its start (HOWTO 31.6).
THRESHOLD = "2 50"
HEARTBEAT_PORT, SYNC_PORT = 694, 8848
LONGEST_IPV6 = 65487  # bytes of a message
MAX_INT = 2**31 - 1
LONGEST_PERIOD = MAX_INT // 1000  # seconds, which a kernel of 1000 Hz counts in jiffies
# Of the script that feeds keepalived's watchdog.
LIFE_SIGN = "lvs_life_sign"


@dataclass
class Failover:
    """What a cluster's directors say about one another; made before any address is known."""

    backend: str = "none"
    health: str = "none"
    active: str | None = None
    failback: bool = False
    secret: bool = False
    common: Health = field(default_factory=lambda: Health({}))
    # By director.
    vrrp: dict[str, dict[str, Any]] = field(default_factory=dict)
    heartbeat: dict[str, dict[str, Any]] = field(default_factory=dict)
    fencing: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    sync: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    @property
    def floating(self) -> bool:
        """Whether a program moves the VIPs."""
        return self.backend in DAEMONS

    @property
    def owner(self) -> str:
        """Who writes the kernel's table."""
        return "static" if self.health == "none" else self.health


def read_failover(name: str, directors: list[Machine], mistakes: Mistakes) -> Failover:
    """The variables about failover and health of one cluster's directors."""
    for variable in COMMON:
        _same(name, variable, [machine.variables.get(variable) for machine in directors], directors, mistakes)
    for variable, keys in COMMON_KEYS.items():
        given = [machine.variables.get(variable) for machine in directors]
        if any(isinstance(value, bool) for value in given):
            _same(name, variable, given, directors, mistakes)
            continue
        for key in keys:
            values = [value.get(key) if isinstance(value, Mapping) else None for value in given]
            _same(name, f"{variable}: {key}", values, directors, mistakes)
    variables = directors[0].variables
    where = f"cluster {name}"
    backend = mistakes.choice(f"{where}: lvs_failover", variables.get("lvs_failover", "none"), BACKENDS, "keepalived")
    health = mistakes.choice(f"{where}: lvs_health", variables.get("lvs_health", "none"), HEALTH_BACKENDS, "none")
    failover = Failover(
        backend=backend,
        health=health,
        active=None if variables.get("lvs_active") is None else str(variables["lvs_active"]),
        failback=mistakes.boolean(f"{where}: lvs_failback", variables.get("lvs_failback", False)),
        common=read_health(variables.get("lvs_health_check"), f"{where}: lvs_health_check", mistakes),
    )
    for machine in directors:
        spot = f"host {machine.name}"
        failover.vrrp[machine.name] = _vrrp(machine, f"{spot}: lvs_vrrp", mistakes)
        failover.heartbeat[machine.name] = _heartbeat(machine, f"{spot}: lvs_heartbeat", mistakes)
        failover.fencing[machine.name] = _fencing(machine, f"{spot}: lvs_fencing", mistakes)
        failover.sync[machine.name] = _sync(machine, name, f"{spot}: lvs_sync", mistakes)
    failover.secret = _secret(variables.get("lvs_failover_secret"), failover, where, mistakes)
    _check_together(name, directors, failover, mistakes)
    return failover


def _same(name: str, what: str, values: list[Any], directors: list[Machine], mistakes: Mistakes) -> None:
    """Says nothing of the values: one of the variables is a secret."""
    for value, machine in zip(values, directors, strict=True):
        if value != values[0]:
            mistakes.append(
                f"directors {directors[0].name} and {machine.name} of cluster {name} have different {what}; put the"
                " variable into the directors' group."
            )


def _check_together(name: str, directors: list[Machine], failover: Failover, mistakes: Mistakes) -> None:
    """What does not go together."""
    where = f"cluster {name}"
    if failover.backend == "heartbeat" and failover.health == "keepalived":
        mistakes.append(
            f"{where}: lvs_failover heartbeat and lvs_health keepalived: the VIPs and the table would be moved by two"
            " programs that know nothing of each other; use lvs_health ldirectord, or keepalived for both."
        )
    if not failover.floating:
        return
    if not GROUP_NAME.fullmatch(name):
        mistakes.append(
            f"{where}: under lvs_failover {failover.backend} the name of lvs_cluster becomes part of names in its"
            " files; write up to 40 letters, digits, dots, hyphens and underscores."
        )
    for machine in directors:
        if not GROUP_NAME.fullmatch(machine.name):
            mistakes.append(
                f"{where}: the name of director {machine.name} becomes part of {failover.backend}'s files; write up to"
                " 40 letters, digits, dots, hyphens and underscores."
            )
    if failover.active is not None and failover.active not in {machine.name for machine in directors}:
        mistakes.append(
            f"{where}: lvs_active {failover.active} is none of its directors"
            f" ({', '.join(machine.name for machine in directors)}); name one of them, or leave it out for the first."
        )
    if failover.backend == "heartbeat":
        _check_nodes(where, len(directors), mistakes)
    else:
        _check_keepalived(where, failover, mistakes)


def _check_nodes(where: str, number: int, mistakes: Mistakes) -> None:
    if number == 1:
        mistakes.append(
            f"{where}: one director under lvs_failover heartbeat, which needs a second one to hear of; add it, or use"
            " lvs_failover keepalived, which can wait for it."
        )
    elif number > 2:
        mistakes.append(
            f"{where}: {number} directors under lvs_failover heartbeat, whose haresources know two nodes only; keep"
            " two, or use lvs_failover keepalived."
        )


def _check_keepalived(where: str, failover: Failover, mistakes: Mistakes) -> None:
    if any(failover.fencing.values()):
        mistakes.append(
            f"{where}: lvs_fencing under lvs_failover keepalived: keepalived takes the VIPs first and waits for no"
            " command, so the command could not run before; use notify of lvs_vrrp to run it beside that, watchdog of"
            " lvs_vrrp so that a director that hangs gives up by itself, or lvs_failover heartbeat."
        )
    for host, vrrp in failover.vrrp.items() if not failover.failback else ():
        for script in vrrp["track_scripts"]:
            if script["weight"]:
                mistakes.append(
                    f"host {host}: lvs_vrrp: track_scripts: weight {script['weight']} of {script['name']}: with"
                    " lvs_failback false nobody takes over from a director only because its priority is lower; leave"
                    " weight out, so that it gives up, or set lvs_failback: true."
                )


def _secret(value: Any, failover: Failover, where: str, mistakes: Mistakes) -> bool:
    """Whether there is one; it is looked at here and goes nowhere from here."""
    where = f"{where}: lvs_failover_secret"
    if value in (None, ""):
        if failover.backend == "heartbeat":
            mistakes.append(
                f"{where} is missing; heartbeat believes whoever knows it, so it needs one, the same on both directors"
                " (from a vault)."
            )
        return False
    if not isinstance(value, str) or not SECRET.fullmatch(value):
        mistakes.append(
            f"{where} must be a text of letters, digits and punctuation without blanks, quotes, #, !, $, braces and"
            " backslashes, which the programs' files do not take."
        )
        return False
    if failover.backend == "heartbeat" and len(value) < LEAST_SECRET:
        mistakes.append(
            f"{where} has less than {LEAST_SECRET} characters; whoever guesses it may tell heartbeat that the other"
            " director is dead, so choose a longer one."
        )
    versions = {vrrp["version"] for vrrp in failover.vrrp.values()}
    if failover.backend == "keepalived" and versions == {3}:
        mistakes.append(
            f"{where} with version 3 of VRRP, which has no authentication (RFC 5798); leave it out and keep the adverts"
            " on a network of their own (unicast, interface, lvs_filter), or set version of lvs_vrrp to 2."
        )
    if failover.backend == "keepalived" and 2 in versions and not VRRP_SECRET.fullmatch(value):
        mistakes.append(f"{where}: VRRP 2 takes 1 to 8 characters, letters, digits and . _ + = / -; choose another.")
    return True


# ------------------------------------------------------------------ one variable each


def _mapping(machine: Machine, name: str, known: set[str], where: str, mistakes: Mistakes) -> Mapping[str, Any]:
    raw = machine.variables.get(name)
    if raw is None or not mistakes.keys(where, raw, known):
        return {}
    return {key: value for key, value in raw.items() if value is not None}


def _vrrp(machine: Machine, where: str, mistakes: Mistakes) -> dict[str, Any]:
    raw = _mapping(machine, "lvs_vrrp", VRRP_KEYS, where, mistakes)
    version = mistakes.integer(f"{where}: version", raw.get("version", 3), 2, 3, 3)
    low, high = (1, 255) if version == 2 else (0.01, 40.95)
    advert = mistakes.seconds(f"{where}: advert", raw.get("advert", 1), low, high, 1)
    if version == 2 and not isinstance(advert, int):
        mistakes.append(f"{where}: advert {advert}: VRRP 2 counts whole seconds; round it, or use version 3.")
    elif round(advert * 100, 6) != round(advert * 100):
        mistakes.append(f"{where}: advert {advert}: VRRP 3 counts hundredths of a second; round it.")
    watchdog = mistakes.integer(f"{where}: watchdog", raw.get("watchdog", 0), 0, 3600, 0)
    if 0 < watchdog < LEAST_WATCHDOG:
        mistakes.append(
            f"{where}: watchdog {watchdog}: keepalived gives a sign of life once a second, so a director that lives"
            f" would lose its VIPs now and then; write {LEAST_WATCHDOG} or more, or 0 for none."
        )
    return {
        "version": version,
        "advert": advert,
        "unicast": mistakes.boolean(f"{where}: unicast", raw.get("unicast", True)),
        "router_id": mistakes.integer(f"{where}: router_id", raw.get("router_id", 51), 1, 255, 51),
        "interface": _interface(machine, f"{where}: interface", raw.get("interface"), mistakes),
        "track_interfaces": [
            name
            for value in _listed(raw.get("track_interfaces", []))
            if (name := _interface(machine, f"{where}: track_interfaces", value, mistakes))
        ],
        "track_scripts": _scripts(raw.get("track_scripts", []), f"{where}: track_scripts", mistakes),
        "notify": None if "notify" not in raw else command(f"{where}: notify", raw["notify"], mistakes),
        "watchdog": watchdog,
    }


def _interface(machine: Machine, where: str, value: Any, mistakes: Mistakes) -> str | None:
    if value is None:
        return None
    known = machine.facts is None or machine.interface(str(value)) is not None
    if not known or not INTERFACE_NAME.fullmatch(str(value)) or value == "lo":
        mistakes.append(f"{where}: {value!r} is no interface of it by which neighbours are reached; correct the name.")
        return None
    return str(value)


def _scripts(raw: Any, where: str, mistakes: Mistakes) -> list[dict[str, Any]]:
    scripts: list[dict[str, Any]] = []
    for index, item in enumerate(_listed(raw)):
        spot = f"{where}[{index}]"
        if not mistakes.keys(spot, item, SCRIPT_KEYS):
            continue
        name = item.get("name")
        taken = {LIFE_SIGN, *(one["name"] for one in scripts)}
        if not isinstance(name, str) or not GROUP_NAME.fullmatch(name) or name in taken:
            mistakes.append(f"{spot}: needs a name of its own, of letters, digits, dots, hyphens and underscores.")
            continue
        interval = mistakes.integer(f"{spot}: interval", item.get("interval", 2), 1, 3600, 2)
        words = command(f"{spot}: command", item.get("command"), mistakes)
        scripts.append(
            {
                "name": name,
                "command": words,
                "interval": interval,
                "timeout": mistakes.integer(f"{spot}: timeout", item.get("timeout", interval), 1, 3600, interval),
                "rise": mistakes.integer(f"{spot}: rise", item.get("rise", 1), 1, 100, 1),
                "fall": mistakes.integer(f"{spot}: fall", item.get("fall", 1), 1, 100, 1),
                # 0: a script that fails makes the director give up; else so much of its priority.
                "weight": mistakes.signed(f"{spot}: weight", item.get("weight", 0), -253, 24, 0),
            }
        )
    return scripts


def _heartbeat(machine: Machine, where: str, mistakes: Mistakes) -> dict[str, Any]:
    raw = _mapping(machine, "lvs_heartbeat", HEARTBEAT_KEYS, where, mistakes)
    times = {
        key: mistakes.seconds(f"{where}: {key}", raw.get(key, usual), 0.05, 3600, usual)
        for key, usual in (("keepalive", 1), ("warntime", 5), ("deadtime", 10), ("initdead", 30))
    }
    for smaller, greater in (("keepalive", "warntime"), ("warntime", "deadtime"), ("deadtime", "initdead")):
        if times[smaller] >= times[greater]:
            mistakes.append(
                f"{where}: {smaller} {times[smaller]} is not below {greater} {times[greater]}; a sign of life comes"
                " several times before it is missed, and a node that boots gets longer than one that runs: keepalive,"
                " warntime, deadtime, initdead, each greater than the one before."
            )
    watchdog = raw.get("watchdog", "")
    if not isinstance(watchdog, str) or (watchdog and not re.fullmatch(r"/dev/[\w/]+", watchdog)):
        mistakes.append(f"{where}: watchdog {watchdog!r} is no device; write it as in /dev/watchdog.")
        watchdog = ""
    ping = [mistakes.address(f"{where}: ping", value) for value in _listed(raw.get("ping", []))]
    return {
        **times,
        "udpport": mistakes.integer(
            f"{where}: udpport", raw.get("udpport", HEARTBEAT_PORT), 1, 65535, HEARTBEAT_PORT
        ),
        "links": _links(machine, raw["links"], f"{where}: links", mistakes) if "links" in raw else None,
        "ping": [str(address) for address in ping if address is not None],
        "watchdog": watchdog,
    }


def _links(machine: Machine, raw: Any, where: str, mistakes: Mistakes) -> list[dict[str, Any]]:
    """The links as they were written, mcast with all it needs."""
    links: list[dict[str, Any]] = []
    for index, item in enumerate(_listed(raw)):
        spot = f"{where}[{index}]"
        if not mistakes.keys(spot, item, LINK_KEYS):
            continue
        kinds = [kind for kind in LINK_KINDS if item.get(kind) is not None]
        if len(kinds) != 1:
            mistakes.append(f"{spot}: needs exactly one of ucast, bcast and mcast, with the name of an interface.")
            continue
        (kind,) = kinds
        name = _interface(machine, f"{spot}: {kind}", item[kind], mistakes)
        if kind != "mcast":
            for key in sorted({"group", "port", "ttl"} & set(item)):
                mistakes.append(f"{spot}: {key} belongs to mcast; leave it out.")
            links += [{kind: name}] if name else []
            continue
        group = str(item.get("group", "239.0.0.43"))
        if not re.fullmatch(r"(22[4-9]|23\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}", group):
            mistakes.append(f"{spot}: group {group!r} is no IPv4 multicast address (224.0.0.0 to 239.255.255.255).")
        port = mistakes.integer(f"{spot}: port", item.get("port", HEARTBEAT_PORT), 1, 65535, HEARTBEAT_PORT)
        ttl = mistakes.integer(f"{spot}: ttl", item.get("ttl", 1), 1, 255, 1)
        links += [{kind: name, "group": group, "port": port, "ttl": ttl}] if name else []
    return links


def _fencing(machine: Machine, where: str, mistakes: Mistakes) -> dict[str, Any] | None:
    """The values may hold a password, so they are not shown."""
    raw = machine.variables.get("lvs_fencing")
    if raw is None:
        return None
    value = raw.get("command") if isinstance(raw, Mapping) and set(raw) <= FENCING_KEYS else None
    words = list(value) if isinstance(value, (list, tuple)) and value else [value]
    right = all(isinstance(word, (str, int)) and PRINTABLE.fullmatch(str(word)) for word in words)
    if not right or not COMMAND_WORD.fullmatch(str(words[0])) or not str(words[0]).startswith("/"):
        mistakes.append(
            f"{where}: needs command and nothing else: the path of a program, or a list of it and its arguments, each"
            " a text of one line; no shell reads it."
        )
        return None
    return {"command": [str(word) for word in words]}


def _sync(machine: Machine, cluster: str, where: str, mistakes: Mistakes) -> dict[str, Any] | None:
    """None where it is switched off; the interface may be left to be found."""
    raw = machine.variables.get("lvs_sync", {})
    if isinstance(raw, bool):
        if not raw:
            return None
        raw = {}
    if raw is None or not mistakes.keys(where, raw, SYNC_KEYS):
        raw = {}
    raw = {key: value for key, value in raw.items() if value is not None}
    # Of the cluster's own, so that a neighbour's messages are not taken for this one's; 0 would take everybody's.
    own = 1 + zlib.crc32(cluster.encode()) % 255
    sync: dict[str, Any] = {"syncid": mistakes.integer(f"{where}: syncid", raw.get("syncid", own), 1, 255, own)}
    if name := _interface(machine, f"{where}: interface", raw.get("interface"), mistakes):
        sync["interface"] = name
    for key, low, high in (("port", 1, 65535), ("ttl", 1, 255), ("maxlen", 1024, 65507)):
        if key in raw:
            sync[key] = mistakes.integer(f"{where}: {key}", raw[key], low, high, low)
    if "group" in raw:
        group = mistakes.multicast(f"{where}: group", raw["group"])
        if group:
            sync["group"] = str(group)
        if group and group.version == 6 and sync.get("maxlen", 0) > LONGEST_IPV6:
            mistakes.append(f"{where}: maxlen {sync['maxlen']}: to an IPv6 group at most {LONGEST_IPV6}; write less.")
    sync["threshold"] = _threshold(raw.get("threshold", THRESHOLD), where, mistakes)
    sync["period"] = mistakes.integer(f"{where}: period", raw.get("period", 0), 0, LONGEST_PERIOD, 0)
    return sync


def _threshold(value: Any, where: str, mistakes: Mistakes) -> str:
    found = re.fullmatch(r"(\d+)\s+(\d+)", str(value).strip())
    first, every = map(int, found.groups()) if found else (0, 0)
    if not found or not (first < every or every == 0) or max(first, every) > MAX_INT:
        mistakes.append(
            f"{where}: threshold {value!r} is wrong; write two numbers, the first below the second, as in '2 50': a"
            " connection is told at its second packet, and again every 50 (HOWTO 31.6)."
        )
        return THRESHOLD
    return f"{first} {every}"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
