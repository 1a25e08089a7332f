# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter of a host: which programs it has, what of ours is in the kernel, writing it there.

What is ours is a mapping from places to texts. A place is `nftables`, or backend, family and table of iptables as in
`iptables-nft ipv4 mangle`. What is not there has no place.
"""

from __future__ import annotations

import os
import re
from typing import Mapping

from . import _firewall_iptables as iptables
from . import _firewall_nft as nft
from ._errors import LvsError
from ._firewall_model import FAMILIES, Rules
from ._kernel_advice import KernelJudge
from ._kernel_modules import BUILTIN, LOADED, MISSING
from ._network_kernel import Run, run_program

NFTABLES, NFT, LEGACY = "nftables", "iptables-nft", "iptables-legacy"
BACKENDS = ("auto", NFTABLES, "iptables", NFT, LEGACY)
Texts = Mapping[str, str]

_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
_NAMES = {"ipv4": "iptables", "ipv6": "ip6tables"}
# In the same network namespace as this process.
_LEGACY_TABLES = {"ipv4": "proc/net/ip_tables_names", "ipv6": "proc/net/ip6_tables_names"}
_LINE = re.compile(r"(?:line:? |stdin:)(\d+)")


class FirewallHost:
    """Reading loads no kernel module: what is not loaded holds no rules of ours."""

    def __init__(self, root: str = "/", run: Run = run_program, judge: KernelJudge | None = None) -> None:
        self.root = root
        self.run = run
        self._judge = judge or KernelJudge(root)

    # ---- programs

    def program(self, name: str) -> str:
        """The whole path of a program; nothing where it is not installed."""
        paths = (f"{folder}/{name}" for folder in _FOLDERS)
        return next((path for path in paths if os.access(os.path.join(self.root, path.lstrip("/")), os.X_OK)), "")

    def iptables(self, backend: str, family: str, verb: str = "") -> str:
        """The program of a variant, such as ip6tables-legacy-save."""
        name, variant = _NAMES[family], backend[len("iptables") :]
        found = self.program(f"{name}{variant}{verb}")
        return found or (self.program(f"{name}{verb}") if self.alternative() == backend else "")

    def alternative(self) -> str:
        """Which variant `iptables` is on this host."""
        path = self.program("iptables")
        if not path:
            return ""
        _code, said, _complaint = self.run([path, "--version"], "")
        return NFT if "nf_tables" in said else LEGACY

    def _ready(self, module: str) -> bool:
        """Whether it is in the kernel now."""
        return self._judge.state(module) in (LOADED, BUILTIN)

    def lacks(self, backend: str) -> str:
        """Why a backend cannot be used; nothing if it can. This may load its modules."""
        name = "nft" if backend == NFTABLES else backend
        package = "nftables" if backend == NFTABLES else "iptables"
        path = self.program("nft") if backend == NFTABLES else self.iptables(backend, "ipv4")
        if not path:
            return f"the program {name} is not installed (package {package})"
        if backend == LEGACY:
            # Asking would make a table.
            has = self._knows_legacy()
            return "" if has else "the kernel has no module ip_tables; in a container its host has to load modules"
        if backend == NFTABLES:
            words, given = [path, "-c", "-f", "-"], f"table {nft.TABLE} {{\n}}\n"
        else:
            words, given = [path, "-t", "filter", "-S"], ""
        code, _said, complaint = self.run(words, given)
        if code == 0:
            return ""
        if re.search("not permitted|Permission denied|must be root", complaint):
            return f"{name} may not change the kernel's rules: run as root, in a container with CAP_NET_ADMIN"
        return f"the kernel does not take its rules ({_first(complaint)}); in a container its host has to load modules"

    def _knows_legacy(self) -> bool:
        there = os.path.exists(os.path.join(self.root, _LEGACY_TABLES["ipv4"]))
        return there or self._judge.state("ip_tables") != MISSING

    def usable(self, backend: str) -> bool:
        """The same without loading anything, so a module that could be loaded is trusted."""
        path = self.program("nft") if backend == NFTABLES else self.iptables(backend, "ipv4")
        if not path or (backend != LEGACY and self._judge.state("nf_tables") == MISSING):
            return False
        if backend == LEGACY or self._ready("nf_tables"):
            return not self.lacks(backend)
        # A part of nf_tables without a module of its own; only the kernel's configuration tells.
        configured = self._judge.state("net") == BUILTIN
        return backend != NFTABLES or not configured or self._judge.state("nf_tables_inet") == BUILTIN

    def resolve(self, backend: str, check: bool = False) -> str:
        """The backend to use. In check mode a bare host is one whose packages are not installed yet."""
        if backend == "iptables":
            backend = self.alternative() or NFT
        if backend != "auto":
            reason = self.lacks(backend)
            bare = check and "is not installed" in reason
            if reason and not bare:
                raise LvsError(f"Backend {backend} cannot be used: {reason}.")
            return backend
        tried = list(dict.fromkeys([NFTABLES, self.alternative() or NFT, LEGACY]))
        reasons = {name: self.lacks(name) for name in tried}
        for name, reason in reasons.items():
            if not reason:
                return name
        if check and all("is not installed" in reason for reason in reasons.values()):
            return NFTABLES
        said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise LvsError(f"No backend for the packet filter can be used. {said}.")

    def has_ipv6(self) -> bool:
        return os.path.isdir(os.path.join(self.root, "proc/sys/net/ipv6"))

    # ---- rules

    def render(self, backend: str, rules: Rules) -> dict[str, str]:
        """The rules as they are given to a backend."""
        if backend == NFTABLES:
            return {NFTABLES: nft.render(rules)}
        found = iptables.render(rules)
        # Without IPv6 in the kernel no packet of it comes by.
        return {
            f"{backend} {family} {table}": text
            for (family, table), text in found.items()
            if family == "ipv4" or self.has_ipv6()
        }

    def read(self) -> dict[str, str]:
        """What is ours in the kernel, in every backend."""
        found = {}
        if self.program("nft") and self._ready("nf_tables"):
            code, said, complaint = self.run([self.program("nft"), "-s", "list", "table", *nft.TABLE.split()], "")
            if code == 0:
                found[NFTABLES] = said
            elif "No such file" not in complaint and "not supported" not in complaint:
                raise LvsError(f"nft cannot list table {nft.TABLE}: {_first(complaint)}.")
        for backend in (NFT, LEGACY):
            for family in FAMILIES:
                ours = iptables.saved(self.saved(backend, family))
                found.update((f"{backend} {family} {table}", text) for table, text in ours.items())
        return found

    def saved(self, backend: str, family: str) -> str:
        """All tables of a variant of iptables, also those of others."""
        program = self.iptables(backend, family, "-save") if self._holds(backend, family) else ""
        if not program:
            return ""
        code, said, complaint = self.run([program], "")
        if code != 0:
            # What it printed until then may lack ours.
            raise LvsError(f"{os.path.basename(program)} cannot show the rules: {_first(complaint)}.")
        return said

    def ruleset(self) -> tuple[int, str]:
        """Everything of nftables as JSON, also what is not ours."""
        if not (self.program("nft") and self._ready("nf_tables")):
            return 0, ""
        code, said, _complaint = self.run([self.program("nft"), "-j", "list", "ruleset"], "")
        return code, said

    def _holds(self, backend: str, family: str) -> bool:
        if backend == NFT:
            return self._ready("nf_tables")
        try:
            with open(os.path.join(self.root, _LEGACY_TABLES[family]), encoding="ascii") as stream:
                return bool(stream.read().strip())
        except OSError:
            return False

    def write(self, place: str, have: str, want: str) -> None:
        """Bring one place from one text to another, in one step; raises LvsError and leaves it as it was."""
        words, given = self.command(place, have, want)
        code, _said, complaint = self.run(words, given)
        if code == 0:
            return
        said = " ".join(line.strip() for line in complaint.splitlines() if line.strip() and "Try `" not in line)
        number = _LINE.search(complaint)
        lines = given.splitlines()
        at = int(number.group(1)) if number else 0
        line = f" Line {at}: {lines[at - 1].strip()}" if 0 < at <= len(lines) else ""
        raise LvsError(f"The kernel refused the rules of {place}: {said}{line}{self._advice(complaint + line)}")

    @staticmethod
    def _advice(said: str) -> str:
        if "ipvs" in said:
            return ". This rule needs kernel module xt_ipvs (CONFIG_NETFILTER_XT_MATCH_IPVS)"
        if re.search("Table does not exist|No such file or directory|not supported|missing kernel module", said):
            return ". A part of netfilter is missing in the kernel; in a container its host has to load the module"
        return ""

    def command(self, place: str, have: str, want: str) -> tuple[list[str], str]:
        """The program that does it, and what it is given."""
        if place == NFTABLES:
            return [self.program("nft"), "-f", "-"], nft.REMOVE + want
        backend, family, table = place.split()
        program = self.iptables(backend, family, "-restore")
        return [program, "--noflush", "--wait=10"], iptables.restore(table, have, want)

    # ---- the same for a shell, which has to work whatever is there

    def shell(self, place: str, want: str, other: str = "") -> str:
        """Lines that make ``want`` true where something between ``want`` and ``other`` is."""
        if place == NFTABLES:
            return _given(f"{self.program('nft')} -f -", nft.REMOVE + want)
        backend, family, table = place.split()
        gone = [name for name in iptables.chains(other) if name not in iptables.chains(want)]
        program = f"{self.iptables(backend, family)} --wait=10 -t {table}"
        lines = [_given(
            f"{self.iptables(backend, family, '-restore')} --noflush --wait=10", iptables.whole(table, want, gone)
        )]  # fmt: skip
        lines += [self.shell_jump(place, jump) + " || status=1\n" for jump in iptables.jumps(want)]
        for jump in iptables.jumps(other):
            if jump not in iptables.jumps(want):
                lines.append(f"while {program} -D {jump} 2>/dev/null; do :; done\n")
        lines += [f"{program} -X {name}\n" for name in gone]
        return "".join(lines)

    def shell_jump(self, place: str, jump: str) -> str:
        """A jump where it is missing."""
        backend, family, table = place.split()
        program = f"{self.iptables(backend, family)} --wait=10 -t {table}"
        return f"{program} -C {jump} 2>/dev/null || {program} -I {jump}"


def count(place: str, text: str) -> int:
    """How many rules a text has."""
    return nft.rule_count(text) if place == NFTABLES else len(iptables.rules(text)) + len(iptables.jumps(text))


def _given(command: str, text: str) -> str:
    return f"{command} <<'END' || status=1\n{text}END\n"


def _first(complaint: str) -> str:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else "it says nothing"
