# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the running kernel has a module, judged by all that a host tells, and what would bring one that it lacks."""

from __future__ import annotations

import gzip
import os
import re

from ._kernel_modules import AVAILABLE, BUILTIN, LOADED, MISSING, KernelModules

# The kernel option of a module where it is not CONFIG_ and the name in capitals.
_OPTIONS = {
    "ipip": "NET_IPIP",
    "ip6_tunnel": "IPV6_TUNNEL",
    "ip_gre": "NET_IPGRE",
    "fou": "NET_FOU",
    "xt_ipvs": "NETFILTER_XT_MATCH_IPVS",
    "8021q": "VLAN_8021Q",
    "br_netfilter": "BRIDGE_NETFILTER",
    "nlmon": "NLMON",
}
_CAP_SYS_MODULE = 16

# One is certainly told by the kernel's own files, even where nothing is known of its modules.
_SIGNS = {"ip_vs": "proc/net/ip_vs", "nf_conntrack": "proc/sys/net/netfilter/nf_conntrack_max"}


class KernelJudge:
    """The state of modules: loaded, builtin, available or missing; what cannot be known counts as missing."""

    def __init__(self, root: str = "/", modules: KernelModules | None = None) -> None:
        self._root = root
        self._modules = modules or KernelModules(root)
        self._configured: dict[str, str] | None = None

    def state(self, name: str) -> str:
        found = self._modules.state(name)
        if found in (LOADED, BUILTIN) or (found == AVAILABLE and self._may_load()):
            return found
        # A kernel without modules has no list of them, only its configuration.
        if self._has(f"sys/module/{name}") or self._has(_SIGNS.get(name, "")) or self._option(name) == "y":
            return BUILTIN
        return MISSING

    def advice(self, name: str) -> str:
        """What would bring a missing module, as the rest of a sentence."""
        if container(self._root):
            return (
                f"a container cannot load it: run `modprobe {name}` on its host, and name {name} in a file of"
                " /etc/modules-load.d there for the next boot"
            )
        option = f"CONFIG_{_option_name(name)}"
        setting = self._option(name)
        if setting == "n":
            return f"this kernel was built without {option}; boot a kernel that has it ({self._package()})"
        if not self._modules.installed():
            return (
                f"{self._modules.folder} does not exist: load {name} on the host if this is a container, reboot if the"
                f" kernel was just updated, else boot a kernel with {option} ({self._package()})"
            )
        scheduler = ""
        if name.startswith("ip_vs_") and self._modules.state("ip_vs") != MISSING:
            scheduler = "check its spelling, or "
        return f"{scheduler}install a kernel or a module package with {option} ({self._package()})"

    def _may_load(self) -> bool:
        """Not in a container that only sees the files of its host's modules."""
        if not container(self._root):
            return True
        match = re.search(r"^CapEff:\s*([0-9a-fA-F]+)", text_of(self._root, "proc/self/status"), re.MULTILINE)
        return bool(match and int(match.group(1), 16) >> _CAP_SYS_MODULE & 1)

    def _package(self) -> str:
        release = self._modules.release
        own = distribution(self._root)
        ids = [own["id"], *own["like"].split()]
        by_id = {
            "ubuntu": f"package linux-modules-extra-{release}",
            "debian": "package linux-image-amd64 or its like",
            "rhel": f"package kernel-modules-{release}",
            "fedora": f"package kernel-modules-{release}",
            "suse": "package kernel-default",
            "opensuse": "package kernel-default",
            "arch": "package linux",
            "alpine": "package linux-lts",
        }
        return next((by_id[name] for name in ids if name in by_id), "the distribution's full kernel package")

    def _has(self, path: str) -> bool:
        return bool(path) and os.path.exists(os.path.join(self._root, path))

    def _option(self, name: str) -> str:
        """y, m, n, or "" where the kernel's configuration is not known."""
        if self._configured is None:
            self._configured = self._configuration()
        if not self._configured:
            return ""
        return self._configured.get(_option_name(name), "n" if _option_name(name) in _KNOWN else "")

    def _configuration(self) -> dict[str, str]:
        release = self._modules.release
        for path in (f"boot/config-{release}", f"lib/modules/{release}/config", "proc/config.gz"):
            try:
                with open(os.path.join(self._root, path), "rb") as file:
                    raw = file.read()
                text = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode("ascii", "replace")
            except (OSError, EOFError):
                continue
            return dict(re.findall(r"^CONFIG_(\w+)=(.)", text, re.MULTILINE))
        return {}


# Options that every kernel of the last ten years could have: not being named means that they are off.
_KNOWN = frozenset(
    ["IP_VS", "NET_IPIP", "IPV6_TUNNEL", "NET_IPGRE", "NET_FOU", "NF_CONNTRACK", "DUMMY", "NETFILTER_XT_MATCH_IPVS"]
    + [f"IP_VS_{name}" for name in "RR WRR LC WLC LBLC LBLCR DH SH SED NQ FO OVF MH FTP PE_SIP".split()]
)


def distribution(root: str = "/") -> dict[str, str]:
    """The distribution's id and version, and the ids it says to be like."""
    text = text_of(root, "etc/os-release") or text_of(root, "usr/lib/os-release")
    found = {key: value.strip("\"'") for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}
    return {"id": found.get("ID", ""), "version": found.get("VERSION_ID", ""), "like": found.get("ID_LIKE", "")}


def container(root: str = "/") -> str:
    """Which kind of container this is, such as podman or docker, as systemd or the engine left it; "" if it is none."""
    kind = text_of(root, "run/systemd/container").strip()
    if kind:
        return kind
    signs = {"run/.containerenv": "podman", ".dockerenv": "docker"}
    return next((name for sign, name in signs.items() if os.path.exists(os.path.join(root, sign))), "")


def text_of(root: str, path: str) -> str:
    """The text of a file below a root; empty if there is none."""
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _option_name(name: str) -> str:
    return _OPTIONS.get(name, name.upper())
