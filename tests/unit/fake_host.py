# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in memory: an `ip` that understands the words this collection uses, /proc/sys with its side effects, modprobe.

It is written from what iproute2 and the kernel do and shares no code with the collection, so that a mistake there does
not find its mirror image here.
"""

from __future__ import annotations

import errno
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_modules import KernelModules
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_kernel import Kernel

RELEASE = "6.1.0"
AVAILABLE = ("ip_vs", "ip_vs_wlc", "ipip", "ip6_tunnel", "dummy")
IPV4 = {"forwarding": "0", "accept_redirects": "1", "arp_ignore": "0", "arp_announce": "0", "rp_filter": "0"}
IPV6 = {"forwarding": "0", "accept_ra": "1"}
BROUGHT = {"ipip": ("tunl0", "ipip"), "ip6_tunnel": ("ip6tnl0", "ip6tnl")}
TYPES = {"unicast": 1, "local": 2, "blackhole": 6, "unreachable": 7, "prohibit": 8}
ROUTE_WORDS = ("via", "dev", "table", "metric", "src", "advmss", "proto", "scope", "mtu")


class RefusedError(Exception):
    """What `ip` says when the kernel refuses."""


class FakeSettings:
    """/proc/sys/net."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {"net.ipv4.ip_forward": "0"}
        self.written: list[str] = []
        self.refused: dict[str, int] = {}
        self.deaf: set[str] = set()  # settings that take a value and do not keep it
        for name in ("all", "default"):
            self.add(name)

    def add(self, name: str) -> None:
        name = name.replace(".", "/")
        for family, words in (("ipv4", IPV4), ("ipv6", IPV6)):
            for word, value in words.items():
                default = self.values.get(f"net.{family}.conf.default.{word}", value)
                self.values.setdefault(f"net.{family}.conf.{name}.{word}", default)

    def drop(self, name: str) -> None:
        for key in [key for key in self.values if f".conf.{name}." in key]:
            del self.values[key]

    def interfaces(self) -> tuple[str, ...]:
        names = {key.split(".")[3] for key in self.values if ".ipv4.conf." in key}
        return tuple(sorted(name.replace("/", ".") for name in names - {"all", "default"}))

    def read(self, key: str) -> str | None:
        return self.values.get(key)

    def write(self, key: str, value: str) -> None:
        if key in self.refused:
            raise OSError(self.refused[key], "refused")
        if key not in self.values:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.written.append(f"{key}={value}")
        if self.values[key] == value or key in self.deaf:
            return
        self.values[key] = value
        if key in ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"):
            self.values["net.ipv4.ip_forward"] = self.values["net.ipv4.conf.all.forwarding"] = value
            self.values["net.ipv4.conf.all.accept_redirects"] = "0" if value == "1" else "1"
            self._everywhere("ipv4", value)
        if key == "net.ipv6.conf.all.forwarding":
            self._everywhere("ipv6", value)

    def _everywhere(self, family: str, value: str) -> None:
        for name in ("default", *self.interfaces()):
            self.values[f"net.{family}.conf.{name.replace('.', '/')}.forwarding"] = value


class FakeHost:
    """One machine with eth0 (192.168.1.2/24, 2001:db8:1::2/64) and a default gateway."""

    def __init__(
        self, root: Path, available: Sequence[str] = ("ip_vs", "ip_vs_wlc", "ipip", "ip6_tunnel", "dummy")
    ) -> None:
        self.root = root
        self.available = available
        self.settings = FakeSettings()
        self.links: dict[str, dict[str, Any]] = {}
        self.addresses: list[dict[str, Any]] = []
        self.routes: list[dict[str, Any]] = []
        self.rules: list[dict[str, Any]] = []
        self.commands: list[str] = []
        self.refused: dict[str, str] = {}
        self.announced: list[tuple[str, str]] = []
        for folder in ("proc", "proc/net", f"lib/modules/{RELEASE}", "usr/sbin"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "proc/modules").write_text("", encoding="utf-8")
        dep = "".join(f"kernel/net/{name}.ko:\n" for name in available)
        (root / f"lib/modules/{RELEASE}/modules.dep").write_text(dep, encoding="utf-8")
        (root / "usr/sbin/modprobe").touch(0o755)
        self._link("lo", "", up=True)
        self._link("eth0", "", up=True)
        self.batch("ip addr add 192.168.1.2/24 dev eth0")
        self.batch("ip addr add 2001:db8:1::2/64 dev eth0 nodad")
        self.batch("ip route add default via 192.168.1.254 dev eth0 proto 3")
        self.rules += [{"family": "-4", "priority": 32766, "src": "all", "table": "254"}]
        self.commands.clear()

    def kernel(self) -> Kernel:
        modules = KernelModules(str(self.root), RELEASE, self.modprobe)
        return Kernel(str(self.root), self.run, modules, self.settings, self._announce)  # type: ignore[arg-type]  # a fake

    def state(self) -> dict[str, Any]:
        """Everything that a run can change, comparable."""
        return {
            "settings": dict(self.settings.values),
            "links": {name: link["up"] for name, link in self.links.items()},
            "addresses": sorted(json.dumps(entry, sort_keys=True) for entry in self.addresses),
            "routes": sorted(json.dumps(entry, sort_keys=True) for entry in self.routes),
            "rules": sorted(json.dumps(entry, sort_keys=True) for entry in self.rules),
            "files": {
                str(path.relative_to(self.root)): path.read_text(encoding="utf-8")
                for folder in ("etc", "var")
                for path in sorted((self.root / folder).rglob("*"))
                if path.is_file()
            },
        }

    def lose_power(self) -> None:
        """What is only in the kernel goes; files stay; the system comes up as it was made."""
        fresh = FakeHost(self.root, self.available)
        for name in ("settings", "links", "addresses", "routes", "rules"):
            setattr(self, name, getattr(fresh, name))

    # ---- programs

    def modprobe(self, arguments: list[str]) -> tuple[int, str]:
        name = arguments[-1]
        self.commands.append(f"modprobe {name}")
        if name in self.refused:
            return 1, self.refused[name]
        with open(self.root / "proc/modules", "a", encoding="utf-8") as file:
            file.write(f"{name} 1 0 - Live 0x0\n")
        if name in BROUGHT:
            self._link(*BROUGHT[name], up=False)
        if name == "ip_vs":
            self.settings.values.setdefault("net.ipv4.vs.conntrack", "0")
        return 0, ""

    def run(self, arguments: Sequence[str], given: str = "") -> tuple[int, str, str]:
        words = list(arguments[1:])
        if "-batch" in words:
            return self._batch(words, given)
        family = next((word for word in words if word in ("-4", "-6")), "")
        words = [word for word in words if not word.startswith("-")]
        if words[0] == "route":
            return 0, json.dumps([self._route_json(entry) for entry in self.routes if entry["family"] == family]), ""
        if words[0] == "rule":
            shown = [
                {k: v for k, v in rule.items() if k != "family"} for rule in self.rules if rule["family"] == family
            ]
            return 0, json.dumps(shown), ""
        return 0, json.dumps([self._link_json(name) for name in self.links]), ""

    def batch(self, line: str) -> None:
        code, _said, complaint = self._batch([], line.removeprefix("ip "))
        assert code == 0, complaint

    def _batch(self, words: list[str], given: str) -> tuple[int, str, str]:
        self.family = "-6" if "-6" in words else "-4"
        for number, line in enumerate(given.splitlines(), start=1):
            self.commands.append(f"ip {line}")
            try:
                for text, reason in self.refused.items():
                    if text in line:
                        raise RefusedError(reason)
                self._one(line.split())
            except RefusedError as refused:
                return 1, "", f"RTNETLINK answers: {refused}\nCommand failed -:{number}\n"
        return 0, "", ""

    def _one(self, words: list[str]) -> None:
        treat = {"link": self._do_link, "addr": self._do_addr, "route": self._do_route, "rule": self._do_rule}
        treat[words[0]](words[1], words[2:])

    # ---- ip link

    def _link(self, name: str, kind: str, up: bool) -> None:
        self.links.setdefault(name, {"kind": kind, "up": up})
        self.settings.add(name)

    def _do_link(self, verb: str, words: list[str]) -> None:
        if verb == "add":
            self._link(words[0], words[2], up=False)
            return
        self._device(words[0])
        if verb == "del":
            del self.links[words[0]]
            self.settings.drop(words[0])
            self.addresses = [entry for entry in self.addresses if entry["dev"] != words[0]]
        else:
            self.links[words[0]]["up"] = words[1] == "up"

    def _device(self, name: str) -> dict[str, Any]:
        if name not in self.links:
            raise RefusedError(f'Cannot find device "{name}"')
        return self.links[name]

    def _link_json(self, name: str) -> dict[str, Any]:
        link = self.links[name]
        shown = {"ifname": name, "flags": ["UP"] if link["up"] else [], "mtu": 1500, "link_type": "ether"}
        if link["kind"]:
            shown["linkinfo"] = {"info_kind": link["kind"]}
        shown["addr_info"] = [
            {
                "family": "inet6" if ":" in entry["local"] else "inet",
                "local": entry["local"],
                "prefixlen": entry["prefixlen"],
                "valid_life_time": 4294967295,
                "preferred_life_time": 0 if entry["deprecated"] else 4294967295,
                **({"nodad": True} if entry["nodad"] else {}),
            }
            for entry in self.addresses
            if entry["dev"] == name
        ]
        return shown

    # ---- ip addr

    def _do_addr(self, verb: str, words: list[str]) -> None:
        local, prefix = words[0].split("/")
        device = words[words.index("dev") + 1]
        self._device(device)
        have = [
            entry
            for entry in self.addresses
            if (entry["dev"], entry["local"]) == (device, local) and (":" in local or entry["prefixlen"] == int(prefix))
        ]
        if verb == "add" and have:
            raise RefusedError("File exists")
        if verb != "add" and not have:
            raise RefusedError("Cannot assign requested address")
        if verb != "add":
            self.addresses.remove(have[0])
        if verb != "del":
            deprecated = "preferred_lft" in words and words[words.index("preferred_lft") + 1] == "0"
            self.addresses.append(
                {
                    "dev": device,
                    "local": local,
                    "prefixlen": int(prefix),
                    "deprecated": deprecated,
                    "nodad": "nodad" in words,
                }
            )

    # ---- ip route

    def _do_route(self, verb: str, words: list[str]) -> None:
        kind = words.pop(0) if words[0] in TYPES else "unicast"
        entry: dict[str, Any] = {"type": kind, "dst": words.pop(0)}
        while words:
            word, value = words[0], words[1]
            if word not in ROUTE_WORDS:
                raise RefusedError(f"either to is duplicate, or {word!r} is garbage")
            entry[word] = value
            del words[:2]
        entry["family"] = "-6" if ":" in entry["dst"] + entry.get("via", "") else "-4"
        entry["table"] = str(entry.get("table", "254"))
        entry["metric"] = str(entry.get("metric", "1024" if entry["family"] == "-6" else "0"))
        key = ("family", "table", "dst", "metric")
        have = [old for old in self.routes if all(old[word] == entry[word] for word in key)]
        if verb == "del":
            if not have:
                raise RefusedError("No such process")
            self.routes.remove(have[0])
            return
        if verb == "add" and have:
            raise RefusedError("File exists")
        self._reach(entry)
        for old in have:
            self.routes.remove(old)
        self.routes.append(entry)

    def _reach(self, entry: dict[str, Any]) -> None:
        if "dev" in entry and not self._device(entry["dev"])["up"]:
            raise RefusedError("Network is down")
        if "via" in entry:
            target = ipaddress.ip_address(entry["via"])
            near = [
                address["dev"]
                for address in self.addresses
                if target in ipaddress.ip_interface(f"{address['local']}/{address['prefixlen']}").network
            ]
            if not near:
                raise RefusedError("Nexthop has invalid gateway")
            entry.setdefault("dev", near[0])

    @staticmethod
    def _route_json(entry: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {"dst": entry["dst"], "flags": []}
        if entry["type"] != "unicast":
            shown["type"] = str(TYPES[entry["type"]])
        if entry["table"] != "254":
            shown["table"] = entry["table"]
        for word, key in (
            ("via", "gateway"),
            ("dev", "dev"),
            ("src", "prefsrc"),
            ("proto", "protocol"),
            ("scope", "scope"),
        ):
            if word in entry:
                shown[key] = entry[word]
        if entry["metric"] != "0":
            shown["metric"] = int(entry["metric"])
        metrics = {word: int(entry[word]) for word in ("advmss", "mtu") if word in entry}
        if metrics:
            shown["metrics"] = [metrics]
        return shown

    # ---- ip rule

    def _do_rule(self, verb: str, words: list[str]) -> None:
        entry: dict[str, Any] = {"src": "all"}
        while words:
            word, value = words[0], words[1]
            if word in ("from", "to") and value != "all":
                address, _slash, length = value.partition("/")
                entry["src" if word == "from" else "dst"] = address
                if length:
                    entry["srclen" if word == "from" else "dstlen"] = int(length)
            elif word == "priority":
                entry["priority"] = int(value)
            elif word == "fwmark":
                entry["fwmark"] = hex(int(value))
            elif word == "suppress_prefixlength":
                entry["suppress_prefixlen"] = int(value)
            elif word in ("table", "iif"):
                entry[word] = value
            del words[:2]
        entry["family"] = self.family
        if verb == "add":
            if entry in self.rules:
                raise RefusedError("File exists")
            self.rules.append(entry)
        elif entry in self.rules:
            self.rules.remove(entry)
        else:
            raise RefusedError("No such file or directory")

    def _announce(self, targets: Sequence[tuple[str, str]], _tentative: Any) -> list[str]:
        self.announced += targets
        return [f"{address} could not be announced" for address, device in targets if device == "deaf0"]
