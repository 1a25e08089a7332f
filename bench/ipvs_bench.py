# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run over the IPVS table takes, beside ipvsadm doing the same.

Usage, as root on a machine whose kernel has IPVS and that has ipvsadm:

    ipvs_bench.py PATH [--services 100] [--realservers 100] [--repeat 3]
    ipvs_bench.py --print-config

PATH is the collection's folder plugins/module_utils, or a zipapp that holds it as package `lvs`. Every case runs in a
network namespace of its own, because deleted realservers linger for minutes and slow down whoever adds the next ones.
One line a figure: name, value, unit. Of several repetitions the fastest counts, for both sides alike.
With --print-config it only prints the table that it would write, as JSON in the shape of option `config`.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
TIMEOUT_SECONDS = 900


def load(path: Path) -> Any:
    """The module that reconciles, from a folder or a zipapp."""
    if path.is_dir():
        spec = importlib.util.spec_from_loader("lvs", loader=None, is_package=True)
        if spec is None:
            raise SystemExit(f"cannot make a package of {path}")
        package = importlib.util.module_from_spec(spec)
        package.__path__ = [str(path)]
        sys.modules["lvs"] = package
    else:
        sys.path.insert(0, str(path))
    return importlib.import_module("lvs._ipvs_reconcile")


def config(services: int, realservers: int) -> list[dict[str, Any]]:
    """The rules of the bench as `config`."""
    return [
        {
            "protocol": "tcp",
            "address": f"10.1.{number // 250}.{number % 250 + 1}",
            "port": 80,
            "scheduler": "wlc",
            "realservers": [
                {"address": f"10.2.{other // 250}.{other % 250 + 1}", "port": 80, "forwarding": "dr", "weight": 1}
                for other in range(realservers)
            ],
        }
        for number in range(services)
    ]


def rules(wanted: list[dict[str, Any]]) -> bytes:
    """The same rules for `ipvsadm -R`."""
    lines = []
    for service in wanted:
        name = f"-t {service['address']}:{service['port']}"
        lines.append(f"-A {name} -s {service['scheduler']}")
        lines += [f"-a {name} -r {other['address']}:{other['port']} -g -w 1" for other in service["realservers"]]
    return "".join(f"{line}\n" for line in lines).encode()


def in_namespace(case: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Run a case in a child process with a network namespace of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            if hasattr(os, "unshare"):
                os.unshare(CLONE_NEWNET)
            else:
                import ctypes

                if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "unshare")
            loopback_up()  # without one address the kernel takes no realserver at all
            text = "".join(f"{name} {value!r}\n" for name, value in case().items())
            os.write(writer, text.encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    _pid, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"{getattr(case, '__name__', case)} failed; see above")
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}


def loopback_up() -> None:
    """Switch lo on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """How long an action took, and its result."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def ipvsadm(*arguments: str, text: bytes = b"") -> bytes:
    """Run ipvsadm; its output."""
    done = subprocess.run(
        ["/usr/sbin/ipvsadm", *arguments], input=text, stdout=subprocess.PIPE, timeout=TIMEOUT_SECONDS, check=True
    )
    return done.stdout


def ours(reconcile: Any, wanted: list[dict[str, Any]]) -> dict[str, float]:
    """An empty table filled, then the same again, then one weight changed."""
    input_seconds, parsed = timed(lambda: reconcile.parse(wanted, None, keep=False)[0])
    request = reconcile.Request(parsed, "overridden", lambda key: True)
    apply_seconds, first = timed(lambda: reconcile.run(request))
    again_seconds, second = timed(lambda: reconcile.run(request))
    if sorted(ipvsadm("-Sn").splitlines()) != sorted(rules(wanted).splitlines()):
        raise SystemExit("ipvsadm -Sn does not show the table that was asked for")
    if second.operations:
        raise SystemExit("the second run wrote something")
    wanted[-1]["realservers"][-1]["weight"] = 7
    parsed = reconcile.parse(wanted, None, keep=False)[0]
    weight_seconds, third = timed(lambda: reconcile.run(request._replace(wanted=parsed)))
    if len(third.operations) != 1:
        raise SystemExit("one changed weight was not one operation")
    report_seconds, _report = timed(lambda: reconcile.report(first, full=False))
    return {
        "input": input_seconds,
        "apply": apply_seconds,
        "again": again_seconds,
        "weight": weight_seconds,
        "report": report_seconds,
    }


def theirs(wanted: list[dict[str, Any]]) -> dict[str, float]:
    """The same rules restored into an empty table, then saved."""
    text = rules(wanted)
    restore_seconds, _nothing = timed(lambda: ipvsadm("-R", text=text))
    save_seconds, saved = timed(lambda: ipvsadm("-Sn"))
    if sorted(saved.splitlines()) != sorted(text.splitlines()):
        raise SystemExit("ipvsadm -R did not make the table that was asked for")
    return {"restore": restore_seconds, "save": save_seconds}


def main() -> None:
    """Run the cases and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder plugins/module_utils, or a zipapp")
    parser.add_argument("--print-config", action="store_true", help="measure nothing, print the table")
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--realservers", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.print_config:
        print(json.dumps(config(arguments.services, arguments.realservers)))
        return
    if arguments.path is None:
        parser.error("name the folder plugins/module_utils or a zipapp")
    import_seconds, reconcile = timed(lambda: load(arguments.path))
    best: dict[str, float] = {"import": import_seconds}
    for _round in range(arguments.repeat):
        for case in (
            lambda: theirs(config(arguments.services, arguments.realservers)),
            lambda: ours(reconcile, config(arguments.services, arguments.realservers)),
        ):
            for name, value in in_namespace(case).items():
                best[name] = min(value, best.get(name, value))
    print(f"ipvs_services {arguments.services} count")
    print(f"ipvs_realservers_per_service {arguments.realservers} count")
    for name, figure in (
        ("import", "ipvs_module_utils_import"),
        ("input", "ipvs_input_check"),
        ("apply", "ipvs_reconcile_empty_table"),
        ("restore", "ipvsadm_restore_empty_table"),
        ("again", "ipvs_reconcile_unchanged"),
        ("save", "ipvsadm_save"),
        ("weight", "ipvs_reconcile_one_weight"),
        ("report", "ipvs_results"),
    ):
        print(f"{figure} {best[name] * 1000:.1f} ms")
    print(f"ipvs_reconcile_faster_than_restore {best['restore'] / best['apply']:.1f} times")
    print(f"ipvs_unchanged_against_save {best['again'] / best['save']:.2f} times")


if __name__ == "__main__":
    main()
