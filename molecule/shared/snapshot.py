# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a lab machine: takes down everything the collection might change there, or compares it with the last time.

`snapshot.py take` writes the state; `snapshot.py compare` prints every difference and ends with 1 if there is one.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from typing import Any

# Not below /run: the scenarios reboot the machine in between.
STATE = pathlib.Path("/var/tmp/snapshot.json")
FOLDERS = (
    "/etc/lvs", "/var/lib/lvs", "/usr/local/lib", "/etc/sysctl.d", "/etc/modules-load.d", "/etc/modprobe.d",
    "/etc/systemd/system",
)  # fmt: skip
# Their packages stay, and bring files of their own here: only ours count.
PROGRAMS = ("/etc/keepalived", "/etc/ha.d", "/usr/lib/stonith/plugins/external")
OURS = re.compile(r"Managed by the Ansible role|lvs_heartbeat|^1 sha1 ", re.MULTILINE)
# Packages stay, and with them the links that enable their units: ipvsadm's, and that of cluster-glue, which comes with
# heartbeat.
OF_PACKAGES = ("ipvsadm.service", "logd.service")
# These live on by themselves: how long an address is valid, what the kernel counts.
TRANSIENT = ("valid_life_time", "preferred_life_time", "expires", "flags", "age", "metrics")


def ip(*arguments: str) -> list[Any]:
    text = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, check=True).stdout
    return json.loads(text or "[]")


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in TRANSIENT}
    return [plain(item) for item in value] if isinstance(value, list) else value


def sysctls() -> dict[str, str]:
    found = {}
    for root in ("/proc/sys/net/ipv4", "/proc/sys/net/ipv6"):
        for path in pathlib.Path(root).rglob("*"):
            if path.is_file() and ("/conf/" in str(path) or path.name == "ip_forward"):
                try:
                    found[str(path)] = path.read_text().strip()
                except OSError:
                    continue  # write-only or secret keys
    return found


def read(path: pathlib.Path) -> str:
    return path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else ""


def left() -> list[str]:
    """What is ours in the folders of other programs."""
    return sorted(
        str(path)
        for folder in PROGRAMS
        for path in pathlib.Path(folder).rglob("*")
        if path.name.startswith("lvs") or OURS.search(str(path.readlink()) if path.is_symlink() else read(path))
    )


def filters() -> list[str]:
    """Every rule of every packet filter; asking must not load one that is not there."""
    found = subprocess.run(["nft", "-s", "list", "ruleset"], capture_output=True, text=True, check=False).stdout
    for name in ("ip", "ip6"):
        if pathlib.Path(f"/proc/net/{name}_tables_names").exists():
            saved = subprocess.run([f"{name}tables-legacy-save"], capture_output=True, text=True, check=True).stdout
            found += "".join(line + "\n" for line in saved.splitlines() if line.startswith("-A"))
    return found.splitlines()


def state() -> dict[str, Any]:
    links = ip("addr")
    table = pathlib.Path("/proc/net/ip_vs")
    return {
        "addresses": {link["ifname"]: plain(link["addr_info"]) for link in links if link["addr_info"]},
        "up": sorted(link["ifname"] for link in links if "UP" in link["flags"]),
        "rules": [plain(ip(family, "rule")) for family in ("-4", "-6")],
        "routes": [sorted(map(str, plain(ip(family, "route", "show", "table", "all")))) for family in ("-4", "-6")],
        # The last two columns of a realserver's line count connections.
        "table": [line.split()[:4] for line in table.read_text().splitlines()[3:]] if table.exists() else [],
        "files": sorted(
            f"{path} {read(path)}"
            for folder in FOLDERS
            for path in pathlib.Path(folder).rglob("*")
            if path.name not in OF_PACKAGES
        )
        + [folder for folder in FOLDERS if pathlib.Path(folder).is_dir()],
        "programs": left(),
        "filters": filters(),
        "sysctls": sysctls(),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = []
    for name, old in before.items():
        new = after[name]
        if name == "sysctls":
            # A device that comes with its module stays (nobody unloads modules) until a reboot; its keys are no setting
            # of the host's.
            found += [f"{key}: {old[key]} -> {new[key]}" for key in old if key in new and old[key] != new[key]]
        elif isinstance(old, list):
            found += [f"{name}: gone: {item}" for item in old if item not in new]
            found += [f"{name}: left behind: {item}" for item in new if item not in old]
        elif old != new:
            found.append(f"{name}:\n  before {json.dumps(old)}\n  now    {json.dumps(new)}")
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["take"]:
        STATE.write_text(json.dumps(state()))
    elif sys.argv[1:] == ["compare"]:
        found = differences(json.loads(STATE.read_text()), state())
        print("\n".join(found))
        sys.exit(bool(found))
    else:
        sys.exit("usage: snapshot.py take|compare")
