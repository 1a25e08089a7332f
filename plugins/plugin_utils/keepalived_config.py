# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A director's part of the plan as keepalived.conf: who holds the VIPs (VRRP), and the table with its health checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..module_utils import _ipvs_model as model
from ..module_utils._errors import LvsError
from ..module_utils._ipvs_diff import REPLACED, target
from ..module_utils._ipvs_input import parse as parse_config
from .failover import LIFE_SIGN
from .health import KEEPALIVED_SCHEDULERS, USUAL_PORTS

HEADER = "# Managed by the Ansible role linuxvirtualserver.lvs.keepalived: what is changed by hand here is lost."
SECRET_FILE = "/etc/keepalived/lvs-secret.conf"
# What keepalived takes as it stands. Its reader gives a meaning to quotes, backslashes, braces, $, #, ! and, at the
# beginning of a word, @ and ~; what it makes of an escaped one differs from statement to statement and by version.
PLAIN = re.compile(r"[A-Za-z0-9_./:%+,=@?*-]+", re.ASCII)
WORD = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)
METHODS = {"nat": "NAT", "dr": "DR", "tun": "TUN"}
CHECKS = {
    "tcp": "TCP_CHECK", "http": "HTTP_GET", "https": "SSL_GET", "smtp": "SMTP_CHECK", "dns": "DNS_CHECK",
    "udp": "UDP_CHECK", "ping": "PING_CHECK", "external": "MISC_CHECK",
}  # fmt: skip
DNS_TYPES = ("A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA")
SYNC_OPTIONS = {"id": "syncid", "maxlen": "maxlen", "port": "port", "ttl": "ttl", "group": "multicast"}
# What is written into this file is added to the priorities of this director, and below -253 it gives its VIPs up and
# takes none; failover.yml writes it. It is gone after a boot.
STANDBY, STANDBY_FILE = "lvs_standby", "/run/lvs-standby"

# A director that comes back learns of the connections and what the realservers do before it takes VIPs from another.
SECONDS_TO_LEARN = 60

Lines = Iterator[str]


def render(part: Mapping[str, Any], secret_file: str = SECRET_FILE) -> str:
    """keepalived.conf for a director. What stands in ``secret_file`` is no business of this text."""
    failover, health = _mine(part.get("failover")), _mine(part.get("health"))
    lines = [HEADER, *_global(failover, health)]
    if health:
        # Time to take a large table away when it is stopped; after 5 seconds, the default, it would leave the rest.
        lines.append("child_wait_time 60")
    if failover:
        lines += _failover(failover, secret_file)
    for record in health["services"] if health else ():
        lines += _virtual_server(record)
    return "".join(f"{line}\n" for line in lines)


def _mine(section: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return section if section and section["backend"] == "keepalived" else None


def _block(head: str, inside: Iterable[str]) -> Lines:
    yield f"{head} {{"
    yield from (f"    {line}" for line in inside)
    yield "}"


def _number(value: Any) -> str:
    """Seconds as keepalived reads them: no exponent, no more digits than it counts."""
    return f"{float(value):.6f}".rstrip("0").rstrip(".")


def _plain(value: Any, where: str) -> str:
    """A text that keepalived's reader leaves as it is."""
    text = str(value)
    if PLAIN.fullmatch(text):
        return text
    raise LvsError(
        f"{where}: {text!r} cannot be written into keepalived.conf; use letters, digits and _./:%+,=@?*- only, and a"
        " script of your own for a command that needs more."
    )


def _word(value: Any, where: str) -> str:
    text = str(value)
    if WORD.fullmatch(text):
        return text
    raise LvsError(f"{where}: {text!r} cannot be written into keepalived.conf; use letters, digits and . : _ - only.")


def _command(value: Any, where: str) -> str:
    """A program with its arguments, given as a list or as one text."""
    words = value.split() if isinstance(value, str) else value
    return " ".join(_plain(word, where) for word in words)


# ---------------------------------------------------------------------- global


def _global(failover: Mapping[str, Any] | None, health: Mapping[str, Any] | None) -> Lines:
    yield from _block("global_defs", _settings(failover, health))


def _settings(failover: Mapping[str, Any] | None, health: Mapping[str, Any] | None) -> Lines:
    # Commands run as root, but only such that nobody else can write.
    yield "enable_script_security"
    yield "script_user root"
    # Not reload_check_config: it refuses services whose realservers all have weight 0, which role keepalived lets pass.
    if health:
        # Started by another unit than the role's: at its end our services only, never the table of others.
        yield "lvs_flush_on_stop VS"
    if not failover:
        return
    yield f"router_id {_word(failover['node'], 'director')}"
    # Ahead of others when the processor is busy, but no real-time process, which could starve the machine and is killed
    # by the kernel when it computes for 10 ms, as with hundreds of VIPs.
    yield "vrrp_priority -20"
    yield "vrrp_no_swap"
    # Neighbours learn of the new place at once, again a second later, and every half minute whoever missed it.
    yield "vrrp_garp_master_delay 1"
    yield "vrrp_garp_master_refresh 30"
    # When two masters meet again, the one that stays speaks last.
    yield "vrrp_higher_prio_send_advert true"
    # While one director has the new VIPs and the other has not, they still hear each other.
    yield "vrrp_skip_check_adv_addr true"
    sync = failover.get("sync")
    if sync and not sync["both"]:  # both at once are not keepalived's
        yield _sync_daemon(failover, sync)


def _sync_daemon(failover: Mapping[str, Any], sync: Mapping[str, Any]) -> str:
    """A director sends or receives, as the instance is master or backup."""
    instance = next(item["name"] for item in failover["instances"] if item["group"] == sync["group"])
    words = ["lvs_sync_daemon", _word(sync["interface"], "lvs_sync: interface"), "inst", instance]
    for option, key in SYNC_OPTIONS.items():
        if sync.get(key):
            words += [option, _word(sync[key], f"lvs_sync: {key}")]
    return " ".join(words)


# ---------------------------------------------------------------------- VRRP


def _failover(failover: Mapping[str, Any], secret_file: str) -> Lines:
    vrrp = failover["vrrp"]
    for script in vrrp.get("track_scripts") or ():
        yield from _block(f"vrrp_script {_word(script['name'], 'lvs_vrrp: track_scripts')}", _script(script))
    if vrrp.get("watchdog"):
        yield from _block(f"vrrp_script {LIFE_SIGN}", _life_sign(vrrp["watchdog"]))
    yield from _block(f"track_file {STANDBY}", (f'file "{STANDBY_FILE}"', "weight 1", "init_file 0"))
    watched = dict.fromkeys(item["group"] for item in failover["instances"])
    for number, name in enumerate(watched):
        members = [item for item in failover["instances"] if item["group"] == name]
        around = [*_tracking(vrrp, members, first=number == 0), *_notify(vrrp)]
        if len(members) > 1:
            inside = [*_block("group", (_word(item["name"], "instance") for item in members)), *around]
            yield from _block(f"vrrp_sync_group {_word(name, 'instance group')}", inside)
            around = []  # a group of one instance is none to keepalived
        for item in members:
            inside = [*_instance(item, failover, secret_file), *around]
            yield from _block(f"vrrp_instance {_word(item['name'], 'instance')}", inside)


def _script(script: Mapping[str, Any]) -> Lines:
    where = f"lvs_vrrp: track_scripts: {script['name']}"
    yield f'script "{_command(script["command"], where)}"'
    for key in ("interval", "timeout", "rise", "fall", "weight"):
        if script.get(key) is not None:
            yield f"{key} {_number(script[key])}"


def _life_sign(seconds: float) -> Lines:
    """Told to systemd by the process that sends adverts; when it stays away for so long, systemd kills all of them."""
    # keepalived hands no environment on. A sign that fails costs a point of priority, too little for the peer to take
    # over; weight 0 would be a fault.
    sign = f"WATCHDOG=1 WATCHDOG_USEC={round(float(seconds) * 1_000_000)}"
    yield f'script "/usr/bin/env NOTIFY_SOCKET=/run/systemd/notify systemd-notify {sign}"'
    yield "interval 1"
    yield "timeout 10"
    yield "weight -1"


def _tracking(vrrp: Mapping[str, Any], members: Iterable[Mapping[str, Any]], first: bool) -> Lines:
    # Its own interface is tracked by every instance anyway, and must not be named again.
    own = {item["interface"] for item in members}
    named = [name for name in vrrp.get("track_interfaces") or () if name not in own]
    interfaces = [_word(name, "lvs_vrrp: track_interfaces") for name in named]
    scripts = [_word(script["name"], "lvs_vrrp: track_scripts") for script in vrrp.get("track_scripts") or ()]
    if vrrp.get("watchdog") and first:
        scripts.append(LIFE_SIGN)  # one sign is enough
    if interfaces:
        yield from _block("track_interface", interfaces)
    if scripts:
        yield from _block("track_script", scripts)
    yield from _block("track_file", [STANDBY])


def _notify(vrrp: Mapping[str, Any]) -> Lines:
    if vrrp.get("notify"):
        yield f'notify "{_command(vrrp["notify"], "lvs_vrrp: notify")}"'


def _instance(item: Mapping[str, Any], failover: Mapping[str, Any], secret_file: str) -> Lines:
    vrrp = failover["vrrp"]
    version = 3 if item["family"] == "ipv6" else vrrp["version"]  # VRRP 2 knows nothing of IPv6
    # Also where the preferred director is to take over: only the owner of an address (priority 255) begins as master.
    yield "state BACKUP"
    if not failover["failback"]:
        yield "nopreempt"
    else:
        yield f"preempt_delay {SECONDS_TO_LEARN}"
    yield f"interface {_word(item['interface'], 'instance')}"
    yield f"virtual_router_id {item['router_id']}"
    yield f"priority {item['priority']}"
    yield f"version {version}"
    yield f"advert_int {_number(vrrp['advert'])}"
    if failover.get("secret") and version == 2:
        yield f"include {secret_file}"
    if vrrp["unicast"] and item["peers"]:
        yield f"unicast_src_ip {item['source']}"
        # The peers are neighbours: what a router has passed on (TTL below 255) is not theirs.
        yield "unicast_ttl 255"
        yield from _block("unicast_peer", (f"{peer} min_ttl 255 max_ttl 255" for peer in item["peers"]))
    elif item["source"]:
        yield f"mcast_src_ip {item['source']}"
    # One address in the advert, which is small then, however many there are.
    addresses = [_address(entry) for entry in item["addresses"]]
    yield from _block("virtual_ipaddress", addresses[:1])
    if addresses[1:]:
        yield from _block("virtual_ipaddress_excluded", addresses[1:])


def _address(entry: Mapping[str, Any]) -> str:
    words = [entry["address"], "dev", _word(entry["device"], f"address {entry['address']}")]
    if ":" in entry["address"] and entry["kind"] == "vip":
        # Or tunnels of IPVS and the director's own traffic would leave from the VIP. It is there at once, as keepalived
        # asks nobody whether they have it (its word -nodad, of all things, makes it ask).
        words += ["preferred_lft", "0"]
    return " ".join(words)


# ---------------------------------------------------------------------- the table


def _virtual_server(record: Mapping[str, Any]) -> Lines:
    where = f"service {record.get('name', '')}"
    service = _normal(record, where)
    yield f"# {re.sub(r'[^A-Za-z0-9 ./:_-]', '?', str(record.get('name', '')))}"
    sorry = record.get("sorry_server")
    if not service["realservers"]:
        # keepalived takes no virtual server without a real one; clients are refused by the director itself.
        if sorry:
            raise LvsError(f"{where}: keepalived puts a sorry server in only where there are realservers to miss.")
        yield "# has no realserver"
        return
    if "fwmark" in service:
        head = f"virtual_server fwmark {service['fwmark']}"
    else:
        head = f"virtual_server {service['address']} {service['port']}"
    health = record.get("health") or {"type": "none"}
    inside = [*_service(service, where), *_pace(health)]
    if sorry:
        inside += _sorry_server(sorry)
    for server in service["realservers"]:
        name = f"real_server {server['address']} {server['port']}"
        inside += _block(name, _real_server(server, service, health, where))
    yield from _block(head, inside)


def _normal(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The record with every field stated."""
    own = {key: value for key, value in record.items() if key not in ("name", "health", "sorry_server")}
    if any(server.get("weight") == "keep" for server in own.get("realservers", ())):
        raise LvsError(f"{where}: weight keep has no meaning where keepalived writes the table; write a number.")
    wanted, _none = parse_config([own], None, keep=False)
    return model.table_config(target(wanted, {}, REPLACED, lambda key: False))[0]


def _service(service: Mapping[str, Any], where: str) -> Lines:
    if service["scheduler"] not in KEEPALIVED_SCHEDULERS:
        known = ", ".join(KEEPALIVED_SCHEDULERS)
        raise LvsError(f"{where}: keepalived knows no scheduler {service['scheduler']}; it has {known}.")
    if "fwmark" in service:
        yield f"ip_family {'inet6' if service['family'] == 'ipv6' else 'inet'}"
    else:
        yield f"protocol {service['protocol'].upper()}"
    yield f"lvs_sched {service['scheduler']}"
    yield from service["scheduler_flags"]
    if service["one_packet"]:
        yield "ops"
    if persistence := service["persistence"]:
        yield f"persistence_timeout {persistence['timeout']}"
        six = ":" in service.get("address", "") or service.get("family") == "ipv6"
        if mask := _mask(persistence["netmask"], six):
            yield f"persistence_granularity {mask}"
        if persistence["engine"]:
            yield f"persistence_engine {persistence['engine']}"


def _mask(netmask: int | str, six: bool) -> str:
    """As keepalived reads it: dotted for IPv4, a length for IPv6; empty where it is the whole address."""
    if six:
        return "" if netmask == 128 else str(netmask)
    if isinstance(netmask, str):
        return netmask
    return "" if netmask == 32 else model.dotted((0xFFFFFFFF << (32 - netmask)) & 0xFFFFFFFF)


def _pace(health: Mapping[str, Any]) -> Lines:
    """How often, how long, how many times: for every check of the service."""
    if health["type"] != "none":
        yield f"delay_loop {_number(health['interval'])}"
        yield f"connect_timeout {_number(health['timeout'])}"
        # A failure is looked into soon, not after another whole interval.
        yield f"delay_before_retry {_number(min(1, float(health['interval'])))}"
        if health["on_failure"] == "quiesce":
            yield "inhibit_on_failure"
    if health.get("quorum", 1) != 1:
        yield f"quorum {health['quorum']}"


def _sorry_server(sorry: Mapping[str, Any]) -> Lines:
    yield f"sorry_server {sorry['address']} {sorry['port']}"
    yield f"sorry_server_lvs_method {METHODS[sorry['forwarding']]}"


def _real_server(
    server: Mapping[str, Any], service: Mapping[str, Any], health: Mapping[str, Any], where: str
) -> Lines:
    yield f"weight {server['weight']}"
    yield f"lvs_method {' '.join(_method(server, where))}"
    for option, key in (("uthreshold", "upper_threshold"), ("lthreshold", "lower_threshold")):
        if server[key]:
            yield f"{option} {server[key]}"
    if health["type"] != "none":
        # Here and not at the service, where keepalived takes no 0.
        retries = f"retry {health['retries']}"
        yield from _block(CHECKS[health["type"]], [retries, *_check(server, service, health, f"{where}: health")])


def _method(server: Mapping[str, Any], where: str) -> Lines:
    if server["forwarding"] not in METHODS:
        raise LvsError(f"{where}: keepalived cannot forward by {server['forwarding']}; use {', '.join(METHODS)}.")
    yield METHODS[server["forwarding"]]
    tunnel = server.get("tunnel", {"type": "ipip"})
    if tunnel["type"] == "ipip":
        return
    if tunnel["checksum"] == "both":
        raise LvsError(f"{where}: keepalived sets one kind of tunnel checksum, not both.")
    yield f"type {tunnel['type']}"
    if tunnel["type"] == "gue":
        yield f"port {tunnel['port']}"
    yield {"none": "nocsum"}.get(tunnel["checksum"], tunnel["checksum"])


def _check(server: Mapping[str, Any], service: Mapping[str, Any], health: Mapping[str, Any], where: str) -> Lines:
    kind = health["type"]
    if kind == "external":
        # The arguments that ldirectord gives, but for its brackets around IPv6 addresses.
        named = (service.get("fwmark", service.get("address")), service.get("port", 0))
        words = [*_listed(health["command"]), *named, server["address"], health.get("port") or server["port"]]
        yield f'misc_path "{_command(words, where)}"'
        yield f"misc_timeout {max(1, round(float(health['timeout'])))}"
        return
    if kind != "ping":
        port = health.get("port") or server["port"] or USUAL_PORTS.get(kind)
        if not port:
            raise LvsError(f"{where}: the realservers of this service have no port of their own; say which in port.")
        if port != server["port"]:
            yield f"connect_port {port}"
    if kind in ("http", "https"):
        if kind == "https" and health.get("host"):
            yield "enable_sni"
        yield from _block("url", _url(health, where))
    elif kind == "dns":
        if health["query_type"] not in DNS_TYPES:
            raise LvsError(f"{where}: keepalived asks for {', '.join(DNS_TYPES)}, not for {health['query_type']}.")
        yield f"type {health['query_type']}"
        yield f"name {_word(health.get('query') or '.', where)}"
    elif kind == "smtp" and health.get("host"):
        yield f"helo_name {_word(health['host'], where)}"


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)


def _url(health: Mapping[str, Any], where: str) -> Lines:
    yield f"path {_path(health['path'])}"
    if health.get("host"):
        yield f"virtualhost {_word(health['host'], where)}"
    if health.get("digest"):
        yield f"digest {_word(health['digest'], where)}"
    yield f"status_code {' '.join(str(code) for code in health['status'])}"
    if health.get("contains"):
        yield f'regex "{_regex(health["contains"])}"'


def _path(path: str) -> str:
    """Whatever has a meaning to keepalived's reader as a server is told of it anyway: percent and two digits."""
    return "".join(
        chr(byte) if _alphanumeric(byte) or chr(byte) in "/._-~%?&=+,;:@()*[]" else f"%{byte:02X}"
        for byte in path.encode()
    )


def _regex(text: str) -> str:
    """A pattern for the text as it stands, without backslashes, which keepalived's versions read differently.

    A character that can be written in no other way stands for any.
    """
    return "".join(_pattern(byte) for byte in text.encode())


def _pattern(byte: int) -> str:
    char = chr(byte)
    if _alphanumeric(byte) or char in "/:,;=%&<>_-":
        return char
    return f"[{char}]" if char in ".*+?()| [" else "."


def _alphanumeric(byte: int) -> bool:
    return byte < 128 and chr(byte).isalnum()
