# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of ldirectord.cf from a director's part of the plan; what ldirectord cannot say is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..module_utils import _ipvs_model as model
from ..module_utils._errors import LvsError
from ..module_utils._ipvs_diff import REPLACED, target
from ..module_utils._ipvs_input import parse
from .health import USUAL_PORTS

# fork: a process for each service, or one realserver that hangs delays the checks of all others.
# readdquiescent: a realserver that is not in the table stays out of it until its first check, when reloading, too.
# cleanstop: stopping or updating the daemon leaves the table; taking the services away is the role's work.
HEADER = """\
# Managed by the Ansible role linuxvirtualserver.lvs.ldirectord: what is changed by hand here is lost.
logfile = "daemon"
fork = yes
readdquiescent = yes
cleanstop = no
autoreload = no
"""

METHODS = {"dr": "gate", "local": "gate", "nat": "masq", "tun": "ipip"}
HEALTH_KEYS = frozenset(
    "type port interval timeout retries path host status contains digest query query_type command on_failure"
    " quorum".split()
)
SCHEDULER = re.compile("[a-z]+")
PLAIN = re.compile("[A-Za-z0-9 _:/=]")
# What ldirectord cuts a line or a value at, and what is no printable ASCII, is written as bytes.
BYTES = re.compile(r'[^ -~]|["#]')
WORD = re.compile(r"[!$-~]+")  # printable, without blank, quote and #
HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]+")
SHOWN_MISTAKES = 20


class Refused(Exception):
    """One thing that ldirectord cannot say."""


def render(part: Mapping[str, Any]) -> str:
    """The whole file for a director's part of the plan (``health``); every refusal in one error."""
    health = part.get("health") or {}
    if health.get("backend") != "ldirectord":
        raise LvsError("This host's part of the plan has no health backend ldirectord: set lvs_health to ldirectord.")
    blocks: list[str] = []
    refusals: list[str] = []
    for number, service in enumerate(health.get("services") or []):
        name = str(service.get("name") or f"number {number}")
        try:
            blocks.append("".join(f"{line}\n" for line in _virtual(name, service)))
        except Refused as refused:
            refusals.append(f"service {name}: {refused}")
        except LvsError as error:
            refusals += [f"service {name}: {text}" for text in error.details.get("mistakes", [error.message])]
    refusals = list(dict.fromkeys(refusals))
    if refusals:
        shown = " ".join(f"({number}) {text}" for number, text in enumerate(refusals[:SHOWN_MISTAKES], 1))
        raise LvsError(
            f"ldirectord cannot do what the plan asks for. {shown} Change this, or set lvs_health to keepalived.",
            mistakes=refusals,
        )
    return "\n".join([HEADER, *blocks])


def _virtual(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    record = {key: value for key, value in given.items() if key not in ("name", "health", "sorry_server")}
    wanted, _none = parse([record], None, keep=False)
    ((key, entry),) = target(wanted, {}, REPLACED, lambda _key: False).items()
    service, six = entry.service, "6" if key[0] == model.IPV6 else ""
    _refuse_service(service)
    health = given.get("health") or {}
    if unknown := sorted(set(health) - HEALTH_KEYS):
        raise Refused(f"health has {', '.join(unknown)}, which is not known here")
    destinations = [entry.destinations[key] for key in sorted(entry.destinations)]
    yield f"virtual{six} = {_virtual_name(service)}"
    for destination in destinations:
        yield f"    real{six} = {_real(service, destination)}"
    if sorry := given.get("sorry_server"):
        yield f"    fallback{six} = {_fallback(service, sorry)}"
    yield f"    protocol = {'fwm' if service.fwmark else model.PROTOCOL_NAMES[service.protocol]}"
    yield f"    scheduler = {service.scheduler}"
    if flags := model.scheduler_flag_list(service):
        yield f"    schedflags = {','.join(flags)}"
    if service.flags & model.PERSISTENT:
        yield f"    persistent = {service.timeout}"
        if service.netmask != model.FULL_NETMASK[service.family]:
            yield f"    netmask = {service.netmask if six else model.dotted(service.netmask)}"
    if service.flags & model.ONE_PACKET:
        yield "    ops = yes"
    yield f"    servicename = {_comment(name)}"
    for line in _check(service, destinations, health):
        yield f"    {line}"


def _refuse_service(service: model.Service) -> None:
    if not service.fwmark and service.protocol == model.PROTOCOLS["sctp"]:
        raise Refused("it knows tcp and udp, not sctp")
    if service.engine:
        raise Refused(f"it cannot set the persistence engine ({service.engine})")
    if service.fwmark and service.flags & model.ONE_PACKET:
        raise Refused("it knows one_packet for udp only, not for a firewall mark")
    if not SCHEDULER.fullmatch(service.scheduler):
        raise Refused(f"it takes the letters a-z only for the name of a scheduler, not {service.scheduler}")


def _virtual_name(service: model.Service) -> str:
    return str(service.fwmark) if service.fwmark else model.endpoint(service.family, service.address, service.port)


def _real(service: model.Service, destination: model.Destination) -> str:
    where = model.endpoint(destination.family, destination.address, destination.port)
    if destination.family != service.family:
        raise Refused(f"realserver {where} is of another family than the service, which it does not know")
    if destination.tunnel_type or destination.tunnel_flags:
        raise Refused(f"realserver {where}: it knows IPIP tunnels only, without checksum")
    words = [where, METHODS[model.FORWARDING_NAMES[destination.forwarding]], str(destination.weight)]
    if destination.lower_threshold:
        words.append(f"l:{destination.lower_threshold}")
    if destination.upper_threshold:
        words.append(f"u:{destination.upper_threshold}")
    return " ".join(words)


def _fallback(service: model.Service, sorry: Mapping[str, Any]) -> str:
    """The sorry server; it has no check, and no weight but 1."""
    port = sorry.get("port")
    record = {"address": sorry.get("address"), "forwarding": sorry.get("forwarding") or "dr"}
    record["port"] = service.port if port is None else port
    # As a realserver of a service that differs in nothing that matters here.
    entry = {**model.service_name(service), "persistence": {"timeout": 60}, "realservers": [record]}
    wanted, _none = parse([entry], None, keep=False)
    (judged,) = target(wanted, {}, REPLACED, lambda key: False).values()
    (destination,) = judged.destinations.values()
    return _real(service, destination).rpartition(" ")[0]


def _comment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9 _.:-]", "_", text)


def regex(text: str) -> str:
    """A Perl regular expression for this very text."""
    return "".join(map(_literal, text))


def _literal(character: str) -> str:
    if PLAIN.fullmatch(character):
        return character
    if BYTES.fullmatch(character):
        return "".join(f"\\x{byte:02x}" for byte in character.encode())
    return f"\\{character}"


def _check(
    service: model.Service, destinations: list[model.Destination], health: Mapping[str, Any]
) -> Iterator[str]:
    kind = str(health.get("type") or "tcp")
    build = KINDS.get(kind)
    if build is None:
        raise Refused(REFUSED_KINDS.get(kind, f"it knows no health type {kind}"))
    if _whole(health, "quorum", 1, 1) != 1:
        raise Refused(f"it knows no quorum (health.quorum {health['quorum']})")
    if health.get("digest"):
        raise Refused("it compares no digests; use health.contains")
    yield from build(service, destinations, health)
    if kind == "none":
        return
    timeout = _whole(health, "timeout", 3, 1)
    yield f"checkinterval = {_whole(health, 'interval', 5, 1)}"
    yield f"checktimeout = {timeout}"
    yield f"negotiatetimeout = {timeout}"
    yield f"failurecount = {_whole(health, 'retries', 1, 0) + 1}"
    on_failure = health.get("on_failure") or "remove"
    if on_failure not in ("remove", "quiesce"):
        raise Refused(f"health.on_failure {on_failure} is neither remove nor quiesce")
    yield f"quiescent = {'yes' if on_failure == 'quiesce' else 'no'}"


def _whole(health: Mapping[str, Any], key: str, default: int, least: int) -> int:
    value = health.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < least:
        unit = " of seconds" if key in ("interval", "timeout") else ""
        raise Refused(f"health.{key} {value!r} is not a whole number{unit} from {least} up, and it takes no others")
    return int(value)


def _receive(service: model.Service, text: str = "") -> str:
    """What an answer has to contain, behind something optional that names the service.

    ldirectord takes two services' checks for one if they look the same, and then counts each failure twice.
    """
    kind = "fwmark" if service.fwmark else model.PROTOCOL_NAMES[service.protocol]
    return f'receive = "(?:{regex(f"{kind} {_virtual_name(service)}")})?{regex(text)}"'


def _port(destinations: list[model.Destination], health: Mapping[str, Any], kind: str) -> Iterator[str]:
    port = health.get("port")
    if port is not None:
        yield f"checkport = {_whole(health, 'port', 0, 1)}"
    elif kind not in USUAL_PORTS and any(not destination.port for destination in destinations):
        raise Refused(f"health.port is missing: where a realserver's own port is 0, {kind} has to be told where to ask")


def _tcp(service: model.Service, destinations: list[model.Destination], health: Mapping[str, Any]) -> Iterator[str]:
    if service.protocol == model.PROTOCOLS["udp"]:
        raise Refused("it can connect to TCP services only; for udp use health type dns, ping or external")
    yield "checktype = connect"
    yield from _port(destinations, health, "tcp")
    yield _receive(service)


def _negotiate(kind: str, destinations: list[model.Destination], health: Mapping[str, Any]) -> Iterator[str]:
    yield "checktype = negotiate"
    yield f"service = {kind}"
    yield from _port(destinations, health, kind)


def _http(service: model.Service, destinations: list[model.Destination], health: Mapping[str, Any]) -> Iterator[str]:
    status = health.get("status") or [200]
    if not all(isinstance(code, int) and 200 <= code <= 299 for code in status):
        raise Refused(f"an answer counts as good if its status is 200 to 299, not {status}; use health.contains")
    path = str(health.get("path") or "/")
    if not WORD.fullmatch(path) or not path.startswith("/") or "://" in path:
        raise Refused(f"health.path {path!r} begins with no /, or has a blank, a quote, # or :// in it; encode it by %")
    yield from _negotiate(str(health["type"]), destinations, health)
    yield f'request = "{path}"'
    yield _receive(service, _contained(health))
    if host := health.get("host"):
        if not HOST.fullmatch(str(host)):
            raise Refused(f"health.host {host!r} is no name of a host")
        yield f'virtualhost = "{host}"'


def _contained(health: Mapping[str, Any]) -> str:
    text = str(health.get("contains") or "")
    if "\n" in text or "\r" in text:
        raise Refused("health.contains has more than one line")
    return text


def _smtp(service: model.Service, destinations: list[model.Destination], health: Mapping[str, Any]) -> Iterator[str]:
    if health.get("host"):
        raise Refused("it greets a mail server with its own name, not with health.host")
    yield from _negotiate("smtp", destinations, health)
    yield _receive(service)


def _dns(service: model.Service, destinations: list[model.Destination], health: Mapping[str, Any]) -> Iterator[str]:
    query, kind = health.get("query"), str(health.get("query_type") or "A").upper()
    if not query or not HOST.fullmatch(str(query)):
        raise Refused("health.query has to name what to ask the name servers for")
    if kind not in ("A", "PTR"):
        raise Refused(f"it asks for A records (and PTR, for an address), not for health.query_type {kind}")
    yield from _negotiate("dns", destinations, health)
    yield f'request = "{query}"'
    yield _receive(service, _contained(health))


def _ping(service: model.Service, _destinations: list[model.Destination], _health: Mapping[str, Any]) -> Iterator[str]:
    if service.family == model.IPV6:
        raise Refused("it cannot ping IPv6 addresses; use health type external")
    yield "checktype = ping"
    yield _receive(service)


def _external(
    service: model.Service, destinations: list[model.Destination], health: Mapping[str, Any]
) -> Iterator[str]:
    command = health.get("command")
    words = [command] if isinstance(command, str) else list(command or ())
    if len(words) != 1:
        raise Refused("health.command is one program: it gets VIP or mark, port, realserver and its port, nothing else")
    if not str(words[0]).startswith("/") or not WORD.fullmatch(str(words[0])):
        raise Refused(f"health.command {words[0]!r} is no absolute path, or has a blank, a quote or # in it")
    if health.get("port") is not None and any(health["port"] != destination.port for destination in destinations):
        raise Refused("an external check is given the realserver's own port, not health.port")
    yield "checktype = external"
    yield f"checkcommand = {words[0]}"
    yield _receive(service)


def _none(_service: model.Service, _destinations: list[model.Destination], _health: Mapping[str, Any]) -> Iterator[str]:
    yield "checktype = on"


Build = Callable[[model.Service, "list[model.Destination]", Mapping[str, Any]], Iterator[str]]
KINDS: dict[str, Build] = {
    "tcp": _tcp,
    "http": _http,
    "https": _http,
    "smtp": _smtp,
    "dns": _dns,
    "ping": _ping,
    "external": _external,
    "none": _none,
}
REFUSED_KINDS = {"udp": "what it calls a check of udp is a ping; use health type dns, ping or external"}
