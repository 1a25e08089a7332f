# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the director: what is stated, what is kept and what is read back, in a network namespace of its own.

    table_states.py PATH CASE

PATH is a zipapp that holds the collection's module_utils as package `lvs`; the cases are the functions below. Tables
are filled by `ipvsadm -R`, and what they should become is what `ipvsadm` shows after it was given other rules.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

CLONE_NEWNET = 0x40000000
OWN = "10.2.0.9"  # an address of this namespace: LocalNode
WEB = "-t 10.9.0.1:80"
RULES = f"""\
-A {WEB} -s sh -b sh-port -p 600 -M 255.255.255.0
-a {WEB} -r 10.2.0.1:80 -g -w 5 -x 9 -y 8
-a {WEB} -r 10.2.0.2:80 -i -w 70000 --tun-type gue --tun-port 6080 --tun-csum
-a {WEB} -r 10.2.0.3:8080 -m -w 0
-a {WEB} -r {OWN}:80 -g -w 2
-A -t [fd09::1]:0 -s mh -b mh-fallback,mh-port -p 60 -M 64
-a -t [fd09::1]:0 -r 10.2.0.4:0 -i -w 3 --tun-type gre --tun-nocsum
-A -u 10.9.0.1:5060 -s rr -p 300 -M 0.0.0.0 --pe sip
-A -u 10.9.0.2:53 -s wlc -o
-A --sctp-service 10.9.0.1:80 -s nq
-A -f 7 -s wrr
-a -f 7 -r 10.2.0.1:80 -g -w 3
-A -f 7 -6 -s lc
-a -f 7 -6 -r [fd02::1]:0 -g -w 4
"""
# Fields that are stated under `merged`, and which lines of the rules become which.
MERGED: list[tuple[dict[str, Any], dict[int, str]]] = [
    ({}, {}),
    ({"scheduler": "rr", "scheduler_flags": []}, {0: f"-A {WEB} -s rr -p 600 -M 255.255.255.0"}),
    ({"persistence": {"timeout": 60}}, {0: f"-A {WEB} -s sh -b sh-port -p 60 -M 255.255.255.0"}),
    ({"persistence": {"timeout": 0}}, {0: f"-A {WEB} -s sh -b sh-port"}),
    (
        {"realservers": [{"address": "10.2.0.1", "weight": 70001}, {"address": "10.2.0.2", "upper_threshold": 3}]},
        {
            1: f"-a {WEB} -r 10.2.0.1:80 -g -w 70001 -x 9 -y 8",
            2: f"-a {WEB} -r 10.2.0.2:80 -i -w 70000 -x 3 -y 0 --tun-type gue --tun-port 6080 --tun-csum",
        },
    ),
    (
        {"realservers": [{"address": "10.2.0.2", "forwarding": "dr"}]},
        {2: f"-a {WEB} -r 10.2.0.2:80 -g -w 70000"},
    ),
]


def demand(condition: bool, text: object) -> None:
    if not condition:
        raise SystemExit(str(text))


def run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    demand(not done.returncode and not done.stderr, f"{' '.join(command)}: {done.returncode} {done.stderr}\n{text}")
    return done.stdout


def seen() -> list[str]:
    """All that ipvsadm shows, each realserver with its service in front, without order."""
    found = []
    for arguments in (["-Sn"], ["-Ln", "--thresholds"]):
        service = ""
        for line in run("ipvsadm", *arguments).splitlines():
            service = service if line.startswith(("-a", "  -> ")) else line
            found.append(f"{service} | {line}")
    return sorted(found)


def filled(rules: str) -> list[str]:
    run("ipvsadm", "-C")
    run("ipvsadm", "-R", text=rules)
    return seen()


def equal(rules: str, what: object) -> None:
    """Compare what is there with what ipvsadm makes of these rules."""
    now, expected = seen(), filled(rules)
    extra, missing = sorted(set(now) - set(expected)), sorted(set(expected) - set(now))
    demand(now == expected, f"{what}: not wanted {extra}, missing {missing}")


def merged(engine: Any, _info: Any) -> None:
    """What is not stated keeps its value."""
    lines = RULES.splitlines()
    for stated, changes in MERGED:
        filled(RULES)
        engine.reconcile([{"address": "10.9.0.1", "port": 80, **stated}], "merged")
        demand(not engine.reconcile([{"address": "10.9.0.1", "port": 80, **stated}], "merged")["changed"], stated)
        equal("".join(f"{changes.get(number, line)}\n" for number, line in enumerate(lines)), stated)


def replaced(engine: Any, _info: Any) -> None:
    """What is not stated takes its default, and other services stay."""
    filled(RULES)
    realservers = [{"address": "10.2.0.1"}, {"address": "10.2.0.2"}]
    engine.reconcile([{"address": "10.9.0.1", "port": 80, "realservers": realservers}], "replaced")
    own = [f"-A {WEB} -s wlc", f"-a {WEB} -r 10.2.0.1:80 -g -w 1", f"-a {WEB} -r 10.2.0.2:80 -g -w 1"]
    equal("\n".join(own + RULES.splitlines()[5:]) + "\n", "replaced")


def returned(engine: Any, info: Any) -> None:
    """What info returns is what leads back, whoever wrote the table, and writes nothing where it stands."""
    filled(RULES)
    config = info.gather()["config"]
    for state in ("merged", "replaced", "overridden"):
        again = engine.reconcile(config, state)
        demand(not again["changed"], f"{state}: {again['commands']}")
    run("ipvsadm", "-C")
    engine.reconcile(config, "overridden")
    equal(RULES, "after ipvsadm -C")
    run("ipvsadm", "-C")
    run("ipvsadm", "-R", text="-A -t 10.9.0.1:80 -p\n")
    (service,) = info.gather()["config"]
    demand(service["persistence"]["timeout"] == 360, f"-p without a number is {service['persistence']}")
    # ipvsadm has no name for both checksums at once, so it is not asked about them.
    tunnel = {"type": "gue", "port": 6080, "checksum": "both"}
    realserver = {"address": "10.2.0.1", "forwarding": "tun", "tunnel": tunnel}
    engine.reconcile([{"address": "10.9.0.1", "port": 80, "realservers": [realserver]}], "overridden")
    (service,) = info.gather()["config"]
    demand(service["realservers"][0]["tunnel"] == tunnel, service)


def main(path: str, case: str) -> None:
    sys.path.insert(0, path)
    engine, info = (importlib.import_module(f"lvs.{name}") for name in ("_ipvs_reconcile", "_ipvs_info"))
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise SystemExit(os.strerror(ctypes.get_errno()))
    run("ip", "link", "set", "lo", "up")
    run("ip", "addr", "add", f"{OWN}/32", "dev", "lo")
    cases: dict[str, Callable[[Any, Any], None]] = {"merged": merged, "replaced": replaced, "returned": returned}
    cases[case](engine, info)
    print(f"{case}: passed")


if __name__ == "__main__":
    main(*sys.argv[1:3])
