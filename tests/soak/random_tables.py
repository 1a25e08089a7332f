# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the director: leads a kernel table from one random content to the next, with ipvsadm as the judge.

    random_tables.py PATH SEED TRANSITIONS

PATH is a zipapp that holds the collection's module_utils as package `lvs`. There are three tables, each in a network
namespace of its own. The first is written by the reconciler; the second by `ipvsadm -R` from the `commands` that the
reconciler reports; the third is filled by `ipvsadm -R` from rules made here. `ipvsadm -Sn` and the thresholds must be
the same in all of them after every transition, check mode must have said the same commands and written nothing, and
a second run must write nothing.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import random
import subprocess
import sys
from typing import Any

CLONE_NEWNET = 0x40000000
NAMESPACES = ("soak-written", "soak-commands", "soak-rules")
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sh", "mh", "sed", "nq")
FLAGS = {"sh": ["sh-fallback", "sh-port", "flag-3"], "mh": ["mh-fallback", "mh-port", "flag-3"]}
PROTOCOLS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
METHODS = {"nat": "-m", "dr": "-g", "tun": "-i"}
CHECKSUMS = {"none": "--tun-nocsum", "csum": "--tun-csum", "remcsum": "--tun-remcsum"}


def run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode or done.stderr:
        raise SystemExit(f"{' '.join(command)} ends with {done.returncode}: {done.stderr}\n{text}")
    return done.stdout


def ipvsadm(namespace: str, *arguments: str, text: str = "") -> str:
    return run("ip", "netns", "exec", namespace, "ipvsadm", *arguments, text=text)


def enter(namespace: str) -> None:
    """This process makes its netlink sockets in that namespace from now on."""
    with open(f"/run/netns/{namespace}") as inside:
        if ctypes.CDLL(None, use_errno=True).setns(inside.fileno(), CLONE_NEWNET):
            raise SystemExit(os.strerror(ctypes.get_errno()))


# ---- tables as `config` describes them


def realserver(pick: random.Random, family: str, port: int, number: int) -> dict[str, Any]:
    method = pick.choice(sorted(METHODS))
    own = family if method != "tun" else pick.choice(["ipv4", "ipv6"])
    upper = pick.choice([0, 0, pick.randint(1, 50)])
    entry: dict[str, Any] = {
        "address": f"10.0.0.{number}" if own == "ipv4" else f"fd00::{number:x}",
        "port": pick.choice([port, 8080]) if method == "nat" else port,
        "forwarding": method,
        "weight": pick.choice([0, 1, 2, 7, 65535, 70000]),
        "upper_threshold": upper,
        "lower_threshold": pick.randint(0, upper),
    }
    if method == "tun":
        kind = pick.choice(["ipip", "ipip", "gue", "gre"])
        entry["tunnel"] = {"type": kind}
        if kind == "gue":
            entry["tunnel"]["port"] = pick.choice([6080, 5555])
        if kind != "ipip":
            entry["tunnel"]["checksum"] = pick.choice(sorted(CHECKSUMS) if kind == "gue" else ["none", "csum"])
    return entry


def service(pick: random.Random, name: tuple[str, ...]) -> dict[str, Any]:
    if name[0] == "fwmark":
        family, port = name[1], 0
        entry: dict[str, Any] = {"fwmark": int(name[2]), "family": family, "one_packet": pick.random() < 0.3}
    else:
        protocol, family, number, text = name
        port = int(text)
        vip = f"192.168.1.{number}" if family == "ipv4" else f"2001:db8::{number}"
        entry = {"protocol": protocol, "address": vip, "port": port}
        entry["one_packet"] = protocol == "udp" and pick.random() < 0.3
    entry["scheduler"] = pick.choice(SCHEDULERS)
    known = FLAGS.get(entry["scheduler"], ["flag-1", "flag-2", "flag-3"])
    entry["scheduler_flags"] = [flag for flag in known if pick.random() < 0.3]
    entry["persistence"] = None
    if pick.random() < 0.4 or (port == 0 and name[0] != "fwmark"):
        netmask = pick.randint(1, 32 if family == "ipv4" else 128)
        engine = "sip" if name[0] == "udp" and pick.random() < 0.3 else None
        entry["persistence"] = {"timeout": pick.randint(1, 86400), "netmask": netmask, "engine": engine}
    numbers = pick.sample(range(1, 30), pick.choice([0, 1, 3, 8, 20]))
    entry["realservers"] = [realserver(pick, family, port, number) for number in numbers]
    return entry


def table(pick: random.Random, previous: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A table of its own, or the previous one with some services gone, some made anew and some edited inside."""
    names = [
        (protocol, family, number, port)
        for protocol in PROTOCOLS
        for family in ("ipv4", "ipv6")
        for number in ("1", "2")
        for port in ("0", "80", "443")
    ] + [("fwmark", family, mark) for family in ("ipv4", "ipv6") for mark in ("1", "2")]
    if pick.random() < 0.5:
        return [service(pick, name) for name in pick.sample(names, pick.choice([0, 1, 4, 10, 25]))]
    known = {name_of(entry): entry for entry in previous}
    made: dict[tuple[str, ...], dict[str, Any]] = {
        name: service(pick, name) for name in pick.sample(names, pick.randint(0, 3))
    }
    edited: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, entry in known.items():
        if pick.random() < 0.2:
            continue
        fresh = service(pick, name)
        kept = [other for other in entry["realservers"] if pick.random() < 0.8]
        taken = {other["address"] for other in kept}
        added = [other for other in fresh["realservers"] if other["address"] not in taken]
        kept = [{**other, "weight": pick.randint(0, 9)} if pick.random() < 0.2 else other for other in kept]
        edited[name] = {**pick.choice([entry, fresh]), "realservers": kept + pick.choice([[], added])}
    edited.update(made)
    return list(edited.values())


def name_of(entry: dict[str, Any]) -> tuple[str, ...]:
    if "fwmark" in entry:
        return ("fwmark", entry["family"], str(entry["fwmark"]))
    family = "ipv6" if ":" in entry["address"] else "ipv4"
    number = entry["address"].replace(":", ".").rpartition(".")[2]
    return (entry["protocol"], family, number, str(entry["port"]))


# ---- the same for ipvsadm, not by the reconciler's own words


def place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def rules(wanted: list[dict[str, Any]]) -> str:
    lines = []
    for entry in wanted:
        if "fwmark" in entry:
            name = f"-f {entry['fwmark']}" + (" -6" if entry["family"] == "ipv6" else "")
        else:
            name = f"{PROTOCOLS[entry['protocol']]} {place(entry['address'], entry['port'])}"
        line = f"-A {name} -s {entry['scheduler']}"
        if entry["scheduler_flags"]:
            line += f" -b {','.join(entry['scheduler_flags'])}"
        if kept := entry["persistence"]:
            family = name_of(entry)[1]
            bits = kept["netmask"]
            whole = (1 << 32) - (1 << (32 - bits)) if family == "ipv4" else 0
            mask = ".".join(str(whole >> shift & 255) for shift in (24, 16, 8, 0)) if family == "ipv4" else str(bits)
            line += f" -p {kept['timeout']} -M {mask}" + (f" --pe {kept['engine']}" if kept["engine"] else "")
        lines.append(line + (" -o" if entry["one_packet"] else ""))
        lines += [f"-a {name} {destination(other)}" for other in entry["realservers"]]
    return "".join(f"{line}\n" for line in lines)


def destination(entry: dict[str, Any]) -> str:
    words = f"-r {place(entry['address'], entry['port'])} {METHODS[entry['forwarding']]} -w {entry['weight']}"
    words += f" -x {entry['upper_threshold']} -y {entry['lower_threshold']}"
    tunnel = entry.get("tunnel", {"type": "ipip"})
    if tunnel["type"] != "ipip":
        words += f" --tun-type {tunnel['type']}"
        words += f" --tun-port {tunnel['port']}" if "port" in tunnel else ""
        words += f" {CHECKSUMS[tunnel['checksum']]}"
    return words


def seen(namespace: str) -> list[str]:
    """All that ipvsadm shows of a table, without order."""
    return group(ipvsadm(namespace, "-Sn")) + group(ipvsadm(namespace, "-Ln", "--thresholds"))


def group(text: str) -> list[str]:
    """Each realserver's line with its service in front, sorted."""
    found, current = [], ""
    for line in text.splitlines():
        inner = line.startswith(("-a", "  -> "))
        current = current if inner else line
        found.append(f"{current} | {line}")
    return sorted(found)


def transition(reconcile: Any, wanted: list[dict[str, Any]], drain: int) -> None:
    written, commands, reference = NAMESPACES
    options = {"config": wanted, "state": "overridden", "allow_empty": True, "drain_timeout": drain}
    before = seen(written)
    checked = reconcile.reconcile(**options, check=True)
    if seen(written) != before:
        raise SystemExit("check mode wrote")
    real = reconcile.reconcile(**options)
    again = reconcile.reconcile(**options)
    for name in ("commands", "before", "after", "diff", "counts"):
        if checked[name] != real[name]:
            raise SystemExit(f"check mode said {name} {checked[name]}, the run {real[name]}")
    if again["changed"]:
        raise SystemExit(f"a second run changed {again['commands']}")
    ipvsadm(commands, "-R", text="".join(f"{line}\n" for line in real["commands"]))
    ipvsadm(reference, "-C")
    ipvsadm(reference, "-R", text=rules(wanted))
    expected = seen(reference)
    for namespace in (written, commands):
        if (now := seen(namespace)) != expected:
            extra = "\n".join(sorted(set(now) - set(expected)))
            missing = "\n".join(sorted(set(expected) - set(now)))
            raise SystemExit(f"{namespace}: not wanted\n{extra}\nmissing\n{missing}\ncommands {real['commands']}")


def main(path: str, seed: str, transitions: str) -> None:
    sys.path.insert(0, path)
    reconcile = importlib.import_module("lvs._ipvs_reconcile")
    pick = random.Random(seed)
    for namespace in NAMESPACES:
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")  # without an address the kernel takes no realserver
    current: list[dict[str, Any]] = []
    services = 0
    try:
        enter(NAMESPACES[0])
        for number in range(int(transitions)):
            current = table(pick, current)
            try:
                transition(reconcile, current, pick.choice([0, 0, 5]))
            except SystemExit as exc:
                raise SystemExit(f"transition {number} of seed {seed}: {exc}") from exc
            services += len(current)
    finally:
        for namespace in NAMESPACES:
            run("ip", "netns", "delete", namespace)
    print(f"{transitions} transitions, {services} services wanted in all")


if __name__ == "__main__":
    main(*sys.argv[1:4])
