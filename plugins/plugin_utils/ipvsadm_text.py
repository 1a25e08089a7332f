# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of ``ipvsadm -S`` and what people feed to ``ipvsadm -R``."""

from __future__ import annotations

import shlex
from typing import Any

from ..module_utils import _ipvs_model as model
from ..module_utils._errors import LvsError
from ..module_utils._ipvs_diff import REPLACED, target
from ..module_utils._ipvs_input import parse as parse_config
from .texts import Reading, WrongError, address_and_port, is_address, number

COMMANDS = {
    "-A": "add", "--add-service": "add", "-E": "edit", "--edit-service": "edit", "-D": "delete",
    "--delete-service": "delete", "-a": "add server", "--add-server": "add server", "-e": "edit server",
    "--edit-server": "edit server", "-d": "delete server", "--delete-server": "delete server",
    "-C": "clear", "--clear": "clear",
}  # fmt: skip
ELSEWHERE = {"--set": "ipvs_timeouts", "--start-daemon": "ipvs_sync", "--stop-daemon": "ipvs_sync"}
SERVICES = {
    "-t": "tcp", "--tcp-service": "tcp", "-u": "udp", "--udp-service": "udp", "--sctp-service": "sctp",
    "-f": "fwmark", "--fwmark-service": "fwmark",
}  # fmt: skip
VALUES = {
    "-s": "scheduler", "--scheduler": "scheduler", "-M": "netmask", "--netmask": "netmask", "--pe": "engine",
    "-b": "flags", "--sched-flags": "flags", "-r": "server", "--real-server": "server", "-w": "weight",
    "--weight": "weight", "-x": "upper_threshold", "--u-threshold": "upper_threshold", "-y": "lower_threshold",
    "--l-threshold": "lower_threshold", "--tun-type": "type", "--tun-port": "port",
}  # fmt: skip
SWITCHES = {
    "-g": ("forwarding", "dr"), "--gatewaying": ("forwarding", "dr"), "-i": ("forwarding", "tun"),
    "--ipip": ("forwarding", "tun"), "-m": ("forwarding", "nat"), "--masquerading": ("forwarding", "nat"),
    "-o": ("one_packet", True), "--ops": ("one_packet", True), "-6": ("ipv6", True), "--ipv6": ("ipv6", True),
    "--tun-nocsum": ("checksum", "none"), "--tun-csum": ("checksum", "csum"), "--tun-remcsum": ("checksum", "remcsum"),
}  # fmt: skip
# ipvsadm -S prints an empty list where it has no name for the flags of a scheduler; the next word is an option then.
MAY_BE_EMPTY = ("-b", "--sched-flags", "-p", "--persistent")
DEFAULT_TIMEOUT = 360  # seconds, by ipvsadm's code; its manual says 300


def render(config: list[dict[str, Any]]) -> str:
    """The config as ``ipvsadm -S -n`` prints it, with thresholds, ready for ``ipvsadm -R``."""
    wanted, _none = parse_config(config, None, keep=False)
    kept = [endpoint for service in wanted for endpoint in service.keep_weights]
    if kept:
        raise LvsError(
            f"realserver {model.endpoint(*kept[0])} has weight keep, which only a kernel can fill in: state a number."
        )
    return "".join(f"{line}\n" for line in model.rules(target(wanted, {}, REPLACED, lambda key: False)))


def parse(text: str, report: bool = False) -> Any:
    """The services that these lines lead to, carried out in order from an empty table."""
    reading = Reading()
    for line, content in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(content, comments=True)
            if words[:1] and words[0].rpartition("/")[2] == "ipvsadm":
                words = words[1:]
            if words:
                _carry_out(reading, line, words)
        except WrongError as exc:
            reading.wrong(line, exc)
        except ValueError as exc:
            reading.wrong(line, f"quotes do not match ({exc})")
    return reading.result(report)


def _carry_out(reading: Reading, line: int, words: list[str]) -> None:
    command = COMMANDS.get(words[0])
    if words[0] in ELSEWHERE:
        reading.ignore(line, f"{words[0]}: that is for module {ELSEWHERE[words[0]]}")
        return
    if command is None:
        raise WrongError(f"{words[0]!r} is no command of ipvsadm that changes the table")
    if command == "clear":
        reading.services.clear()
        return
    options = _options(words[1:])
    name, key = _service(options)
    if command == "add":
        if key in reading.services:
            raise WrongError("the service exists already")
        reading.services[key] = {**name, **_service_fields(options), "realservers": []}
        return
    if key not in reading.services:
        raise WrongError("there is no such service before this line")
    entry = reading.services[key]
    if command == "delete":
        del reading.services[key]
    elif command == "edit":
        reading.services[key] = {**name, **_service_fields(options), "realservers": entry["realservers"]}
    else:
        _server(entry, command, options)


def _options(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word in SWITCHES:
            key, value = SWITCHES[word]
            # The kernel keeps the two checksums as a bit each.
            found[key] = "both" if {value, found.get(key)} == {"csum", "remcsum"} else value
            continue
        follows = words[position] if position < len(words) else None
        if word in MAY_BE_EMPTY and (follows is None or follows.startswith("-")):
            found["persistent" if "p" in word.lstrip("-")[:1] else "flags"] = ""
            continue
        if follows is None:
            raise WrongError(f"{word} has no value, or is no option of ipvsadm")
        if word in SERVICES:
            if "service" in found:
                raise WrongError("names two services")
            found["service"] = (SERVICES[word], follows)
        elif word in ("-p", "--persistent"):
            found["persistent"] = follows
        elif word in VALUES:
            found[VALUES[word]] = follows
        else:
            raise WrongError(f"{word!r} is no option of ipvsadm that is known here")
        position += 1
    return found


def _service(options: dict[str, Any]) -> tuple[dict[str, Any], tuple[Any, ...]]:
    if "service" not in options:
        raise WrongError("names no service")
    protocol, text = options["service"]
    if protocol == "fwmark":
        family = "ipv6" if options.get("ipv6") else "ipv4"
        name = {"fwmark": number(text, "fwmark"), "family": family}
    else:
        address, port = address_and_port(text, protocol)
        name = {"protocol": protocol, "address": _address(address), "port": port or 0}
    return name, tuple(name.values())


def _address(text: str) -> str:
    if not is_address(text):
        raise WrongError(f"{text!r} is not an address; names are not resolved, use ipvsadm -S -n")
    return text


def _service_fields(options: dict[str, Any]) -> dict[str, Any]:
    persistence = None
    if "persistent" in options:
        timeout = options["persistent"]
        persistence = {"timeout": number(timeout, "timeout") if timeout else DEFAULT_TIMEOUT}
        if "netmask" in options:
            persistence["netmask"] = options["netmask"]
        if "engine" in options:
            persistence["engine"] = options["engine"]
    return {
        "scheduler": options.get("scheduler", "wlc"),
        "scheduler_flags": [flag for flag in options.get("flags", "").split(",") if flag],
        "persistence": persistence,
        "one_packet": options.get("one_packet", False),
    }


def _server(entry: dict[str, Any], command: str, options: dict[str, Any]) -> None:
    if "server" not in options:
        raise WrongError("names no realserver")
    address, port = address_and_port(options["server"], entry.get("protocol", "tcp"))
    place = {"address": _address(address), "port": entry.get("port", 0) if port is None else port}
    others = [other for other in entry["realservers"] if (other["address"], other["port"]) != tuple(place.values())]
    known = len(others) != len(entry["realservers"])
    if known is (command == "add server"):
        raise WrongError("the realserver exists already" if known else "there is no such realserver before this line")
    entry["realservers"] = others
    if command == "delete server":
        return
    forwarding = options.get("forwarding", "dr")
    record: dict[str, Any] = {**place, "forwarding": forwarding, "weight": number(options.get("weight", "1"), "weight")}
    for name in ("upper_threshold", "lower_threshold"):
        record[name] = number(options.get(name, "0"), name)
    if forwarding == "tun" and options.get("type", "ipip") != "ipip":
        record["tunnel"] = {name: options[name] for name in ("type", "checksum") if name in options}
        if "port" in options:
            record["tunnel"]["port"] = number(options["port"], "port")
    entry["realservers"].append(record)
