# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the readers of other programs' texts share: services as they are found, what is left out, what is wrong."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..module_utils import _ipvs_model as model
from ..module_utils._errors import LvsError
from ..module_utils._ipvs_diff import REPLACED, target
from ..module_utils._ipvs_input import parse

MAX_RANGE = 4096  # addresses in one range
MAX_DEPTH = 32  # blocks inside blocks
SHOWN_MISTAKES = 50
PROTOCOL_WORDS = {"tcp": "tcp", "udp": "udp", "sctp": "sctp"}


class WrongError(Exception):
    """One thing in a text that cannot be understood."""


@dataclass
class Reading:
    """Services as ``config`` describes them, in the order in which they were found."""

    services: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    def ignore(self, line: int, what: str) -> None:
        """Note what has no place in the table."""
        self.ignored.append(f"line {line}: {what}")

    def wrong(self, line: int, what: object) -> None:
        """Note what cannot be understood."""
        self.mistakes.append(f"line {line}: {what}")

    def result(self, report: bool) -> Any:
        """The config, every field stated, with ``report`` beside what was left out; or one error with every mistake."""
        if not self.mistakes:
            config = list(self.services.values())
            for entry in config:
                self._rewrite_ports(entry)
            try:
                wanted, _none = parse(config, None, keep=False)
                config = model.table_config(target(wanted, {}, REPLACED, lambda key: False))
            except LvsError as exc:
                self.mistakes += exc.details.get("mistakes", [exc.message])
        if self.mistakes:
            shown = " ".join(f"({number}) {text}" for number, text in enumerate(self.mistakes[:SHOWN_MISTAKES], 1))
            raise LvsError(f"The text cannot be read: {shown}", mistakes=self.mistakes)
        return {"config": config, "ignored": self.ignored} if report else config

    def _rewrite_ports(self, entry: dict[str, Any]) -> None:
        """What ipvsadm does: only NAT translates ports, so one by DR or Tun has the service's, if that has one."""
        if "fwmark" not in entry:
            for other in entry["realservers"]:
                self.rewrite_port(other, entry["port"])

    def rewrite_port(self, realserver: dict[str, Any], port: int) -> None:
        """Give a realserver by DR or Tun the port of its service."""
        if realserver.get("forwarding", "dr") in ("dr", "tun") and realserver.get("port", port) != port:
            self.ignored.append(
                f"realserver {realserver['address']}: port {realserver['port']} becomes {port}, "
                "as packets are not rewritten"
            )
            realserver["port"] = port


def address_and_port(text: str, protocol: str = "tcp") -> tuple[str, int | None]:
    """``192.168.1.110:80``, ``[2001:db8::110]:80`` or a bare address."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]{1,45})\](?::(\S{1,32}))?", text)
    if match:
        return match[1], None if match[2] is None else port_number(match[2], protocol)
    if text.count(":") > 1:
        return text, None
    address, colon, port = text.partition(":")
    return address, port_number(port, protocol) if colon else None


def port_number(text: str, protocol: str = "tcp") -> int:
    """A port by number, or by its name in this machine's list of services."""
    if re.fullmatch(r"[0-9]{1,5}", text):
        return int(text)
    try:
        return socket.getservbyname(text, protocol if protocol != "sctp" else "tcp")
    except (OSError, UnicodeError, ValueError):
        raise WrongError(f"{text!r} is neither the number of a port nor the name of a service known here") from None


def number(text: str, what: str) -> int:
    """A whole number."""
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise WrongError(f"{what} {text!r} is not a number")
    return int(text)


def is_address(text: str) -> bool:
    """Whether this is an address and no name."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def address_range(first: str, last: str) -> list[str]:
    """All addresses from one to the other; ``last`` may be its last part only."""
    family = socket.AF_INET6 if ":" in first else socket.AF_INET
    if not is_address(last):
        separator = ":" if family == socket.AF_INET6 else "."
        last = first.rpartition(separator)[0] + separator + last
    try:
        low, high = (int.from_bytes(socket.inet_pton(family, text), "big") for text in (first, last))
    except (OSError, ValueError):
        raise WrongError(f"{first} to {last} is no range of addresses") from None
    if not 0 <= high - low < MAX_RANGE:
        raise WrongError(f"{first} to {last} ends before it begins or has more than {MAX_RANGE} addresses")
    size = 16 if family == socket.AF_INET6 else 4
    return [socket.inet_ntop(family, value.to_bytes(size, "big")) for value in range(low, high + 1)]


@dataclass
class Statement:
    """One line of a text in blocks: its words, and the statements of the block that it opens."""

    line: int
    words: list[str]
    block: list[Statement] | None = None

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0]


def blocks(text: str, comments: str) -> list[Statement]:
    """A text of lines and blocks in braces. ``comments`` are the characters that begin a comment."""
    top: list[Statement] = []
    open_blocks = [top]
    line = 0
    for line, content in enumerate(text.splitlines(), 1):
        words: list[str] = []
        for word in [*_words(content, comments), "\n"]:
            if word == "{":
                last = open_blocks[-1][-1] if open_blocks[-1] else None
                if len(open_blocks) > MAX_DEPTH:
                    raise LvsError(
                        f"The text cannot be read: line {line}: more than {MAX_DEPTH} blocks inside each other."
                    )
                inner: list[Statement] = []
                if not words and last is not None and last.block is None:
                    last.block = inner  # a brace on the line after its name
                else:
                    open_blocks[-1].append(Statement(line, words or [""], inner))
                open_blocks.append(inner)
                words = []
            elif word in ("}", "\n"):
                if words:
                    open_blocks[-1].append(Statement(line, words))
                    words = []
                if word == "}" and len(open_blocks) == 1:
                    raise LvsError(f"The text cannot be read: line {line}: a block ends that did not begin.")
                if word == "}":
                    open_blocks.pop()
            else:
                words.append(word)
    if len(open_blocks) > 1:
        raise LvsError(f"The text cannot be read: it ends in line {line} inside a block.")
    return top


def _words(content: str, comments: str) -> Iterator[str]:
    for match in re.finditer(r'"([^"]*)"?|([{}])|([^\s{}"]+)', content):
        quoted, brace, word = match.groups()
        if word is not None and word[0] in comments:
            return
        yield quoted if quoted is not None else brace or word
