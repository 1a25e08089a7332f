# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run over the IPVS table takes, beside others doing the same.

Usage, as root on a machine whose kernel has IPVS and that has ipvsadm:

    ipvs_bench.py PATH [--sizes 10x10 100x100 1000x100 10000x10] [--repeat 3]
    ipvs_bench.py --print-config [--sizes 100x100]

PATH is the collection's folder plugins/module_utils, or a zipapp that holds it as package `lvs`. A size is services x
realservers; every service has realservers of its own, but in a size that ends with `shared`, whose services share one
pool. Every case runs in a network namespace and a process of its own, because deleted realservers linger for minutes
and slow down whoever adds the next ones. One line a figure: name, value, unit. Of several repetitions the fastest
counts, for all sides alike; tables of more than 20000 records are written once by ipvsadm. Where they are installed,
keepalived (start and reload, without health checks) and pyroute2 (up to 20000 records) take part, once each. With
--print-config it only prints the table of the first size, as JSON in the shape of option `config`.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import importlib.util
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
TIMEOUT_SECONDS = 900
SIZES = ("10x10", "100x100", "1000x100", "10000x10", "1000x100shared")
LARGE = 20000  # records
PEER_SECONDS = 120  # how long keepalived may take; what takes longer is shown as inf


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


class Size(NamedTuple):
    """A table of the bench."""

    services: int
    realservers: int
    shared: bool = False

    @classmethod
    def parse(cls, text: str) -> Size:
        """``100x100`` or ``1000x100shared``."""
        numbers = text.removesuffix("shared")
        services, _x, realservers = numbers.partition("x")
        return cls(int(services), int(realservers), numbers != text)

    @property
    def records(self) -> int:
        """Services and realservers together."""
        return self.services * (self.realservers + 1)

    def __str__(self) -> str:
        return f"{self.services}x{self.realservers}{'shared' * self.shared}"


def config(size: Size) -> list[dict[str, Any]]:
    """The rules of the bench as `config`."""

    def place(base: int, number: int) -> str:
        return f"{base + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"

    return [
        {
            "protocol": "tcp",
            "address": f"10.{place(0, number)}",
            "port": 80,
            "scheduler": "wlc",
            "realservers": [
                {
                    "address": f"11.{place(0, other if size.shared else number * size.realservers + other)}",
                    "port": 80,
                    "forwarding": "dr",
                    "weight": 1,
                }
                for other in range(size.realservers)
            ],
        }
        for number in range(size.services)
    ]


def rules(wanted: list[dict[str, Any]]) -> bytes:
    """The same rules for `ipvsadm -R`."""
    lines = []
    for service in wanted:
        name = f"-t {service['address']}:{service['port']}"
        lines.append(f"-A {name} -s {service['scheduler']}")
        lines += [
            f"-a {name} -r {other['address']}:{other['port']} -g -w {other['weight']}"
            for other in service["realservers"]
        ]
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
        except BaseException:
            traceback.print_exc()
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


def parsed(engine: Any, wanted: list[dict[str, Any]]) -> Any:
    """The request that leads to this table and nothing else."""
    return engine.Request(engine.parse(wanted, None, keep=False)[0], "overridden", lambda key: True)


def ours(engine: Any, size: Size) -> dict[str, float]:
    """An empty table filled, then the same again, then one weight changed."""
    wanted = config(size)
    input_seconds, request = timed(lambda: parsed(engine, wanted))
    fill_seconds, first = timed(lambda: engine.run(request))
    again_seconds, second = timed(lambda: engine.run(request))
    demand(not second.operations, "the second run wrote something")
    wanted[-1]["realservers"][-1]["weight"] = 7
    changed = parsed(engine, wanted)
    weight_seconds, third = timed(lambda: engine.run(changed))
    demand(len(third.operations) == 1, "one changed weight was not one operation")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report_seconds, _report = timed(lambda: engine.report(first, full=False))
    demand(sorted(ipvsadm("-Sn").splitlines()) == sorted(rules(wanted).splitlines()), "ipvsadm -Sn shows another table")
    return {
        "input": input_seconds,
        "ours_fill": fill_seconds,
        "ours_unchanged": again_seconds,
        "ours_one_weight": weight_seconds,
        "results": report_seconds,
        "memory": memory,
    }


def replay(engine: Any, size: Size) -> dict[str, float]:
    """The same messages, packed before the clock starts: what the kernel itself takes."""
    kernel = importlib.import_module("lvs._ipvs_kernel")
    diff = importlib.import_module("lvs._ipvs_diff")
    genl = importlib.import_module("lvs._genl")
    want = diff.target(parsed(engine, config(size)).wanted, {}, "replaced", lambda key: False)
    requests = [
        (command, common + content)
        for command, common, contents in kernel._requests(diff.difference({}, want, list(want)).operations())
        for content in contents
    ]
    connection = genl.Connection()
    family = connection.family("IPVS")
    sends = []
    for start in range(0, len(requests), 1000):
        part = requests[start : start + 1000]
        messages = [
            genl.HEADER.pack(20 + len(payload), family, 5 if number == len(part) else 1, number, 0, command, 1)
            + payload
            for number, (command, payload) in enumerate(part, 1)
        ]
        sends.append(b"".join(messages))
    sock = connection._socket

    def send() -> None:
        for data in sends:
            sock.send(data)
            demand(struct.unpack_from("=i", sock.recv(1 << 16), 16)[0] == 0, "the kernel refused a message")

    seconds, _nothing = timed(send)
    demand(len(ipvsadm("-Sn").splitlines()) == size.records, "the replay did not make the table")
    return {"replay": seconds}


def theirs(size: Size) -> dict[str, float]:
    """The same rules restored into an empty table by ipvsadm, then saved."""
    text = rules(config(size))
    restore_seconds, _nothing = timed(lambda: ipvsadm("-R", text=text))
    save_seconds, saved = timed(lambda: ipvsadm("-Sn"))
    demand(sorted(saved.splitlines()) == sorted(text.splitlines()), "ipvsadm -R did not make the table")
    return {"ipvsadm_R": restore_seconds, "ipvsadm_S": save_seconds}


def keepalived_text(wanted: list[dict[str, Any]]) -> str:
    """The same rules as virtual servers without health checks."""
    parts = ["global_defs {\n  lvs_flush\n}\n"]
    for service in wanted:
        parts.append(f"virtual_server {service['address']} {service['port']} {{\n  lvs_sched wlc\n  lvs_method DR\n")
        parts.append("  protocol TCP\n")
        parts += [
            f"  real_server {other['address']} {other['port']} {{\n    weight {other['weight']}\n  }}\n"
            for other in service["realservers"]
        ]
        parts.append("}\n")
    return "".join(parts)


def shown_within(seconds: float, condition: Callable[[str], bool], start: float) -> float:
    """How long after ``start`` the kernel's table fulfils a condition; without end where it does not."""
    while time.perf_counter() - start < seconds:
        if condition(Path("/proc/net/ip_vs").read_text()):
            return time.perf_counter() - start
        time.sleep(0.02)
    return float("inf")


def keepalived(size: Size) -> dict[str, float]:
    """keepalived starts with the same table, then reloads it with one other weight; no health checks."""
    wanted = config(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keepalived.conf")
        path.write_text(keepalived_text(wanted))
        # Process files of its own, so that no other keepalived of this machine is taken for this one.
        pids = [f"--pid={folder}/main", f"--checkers_pid={folder}/checkers"]
        before = time.perf_counter()
        daemon = subprocess.Popen(
            ["/usr/sbin/keepalived", "--dont-fork", "--check", f"--use-file={path}", *pids],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            start = shown_within(PEER_SECONDS, lambda text: text.count("\n") == size.records + 3, before)
            reload = float("inf")
            if start < PEER_SECONDS:
                wanted[-1]["realservers"][-1]["weight"] = 7
                path.write_text(keepalived_text(wanted))
                before = time.perf_counter()
                daemon.send_signal(signal.SIGHUP)
                reload = shown_within(PEER_SECONDS, lambda text: " Route   7 " in text, before)
        finally:
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
    return {"keepalived_start": start, "keepalived_reload_one_weight": reload}


def pyroute2(size: Size) -> dict[str, float]:
    """The same rules added by pyroute2, one call each; its import is not counted."""
    library = importlib.import_module("pyroute2")
    wanted = config(size)

    def fill() -> None:
        with library.IPVS() as ipvs:
            for service in wanted:
                named = {"addr": service["address"], "port": service["port"], "protocol": socket.IPPROTO_TCP}
                virtual = library.IPVSService(**named, sched_name="wlc")
                ipvs.service("add", service=virtual)
                for other in service["realservers"]:
                    real = {"addr": other["address"], "port": other["port"], "weight": other["weight"], "fwd_method": 3}
                    ipvs.dest("add", service=virtual, dest=library.IPVSDest(**real))

    seconds, _nothing = timed(fill)
    demand(sorted(ipvsadm("-Sn").splitlines()) == sorted(rules(wanted).splitlines()), "pyroute2 made another table")
    return {"pyroute2": seconds}


def loop(rounds: int = 100) -> dict[str, float]:
    """One process of ipvsadm for each of some rules, as a loop over a command task does it: seconds a rule."""
    ipvsadm("-A", "-t", "10.0.0.1:80")
    seconds, _nothing = timed(
        lambda: [ipvsadm("-a", "-t", "10.0.0.1:80", "-r", f"11.0.0.{number + 1}") for number in range(rounds)]
    )
    return {"per_rule": seconds / rounds}


def flushed(engine: Any, size: Size) -> dict[str, float]:
    """Filled, emptied by somebody, filled again: those who were deleted linger in the kernel and are looked through."""
    request = parsed(engine, config(size))
    text = rules(config(size))
    engine.run(request)
    ipvsadm("-C")
    again, _nothing = timed(lambda: engine.run(request))
    for line in [line for line in text.decode().splitlines() if line.startswith("-A")][: size.services // 10]:
        ipvsadm("-D", *line.split()[1:3])
    part, _nothing = timed(lambda: engine.run(request))
    ipvsadm("-C")
    restored, _nothing = timed(lambda: ipvsadm("-R", text=text))
    return {"ours_after_flush": again, "ours_after_part": part, "ipvsadm_R_after_flush": restored}


def demand(condition: bool, text: str) -> None:
    """A figure of something else than it is called is worse than none."""
    if not condition:
        raise SystemExit(text)


def best_of(rounds: int, case: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The fastest of some rounds."""
    results = [in_namespace(case) for _round in range(rounds)]
    return {name: min(result[name] for result in results) for name in results[0]}


def show(name: str, value: float, unit: str) -> None:
    """One figure."""
    print(f"{name} {value:.2f} {unit}", flush=True)


def measure(engine: Any, size: Size, repeat: int) -> None:
    """All cases of one size."""
    large = size.records > LARGE
    found = best_of(repeat, lambda: replay(engine, size))
    found |= best_of(repeat, lambda: ours(engine, size))
    found |= best_of(1 if large else repeat, lambda: theirs(size))
    if Path("/usr/sbin/keepalived").exists():
        found |= best_of(1, lambda: keepalived(size))
    if importlib.util.find_spec("pyroute2") and not large:
        found |= best_of(1, lambda: pyroute2(size))
    memory = found.pop("memory")
    for name, seconds in found.items():
        show(f"{name}_{size}", seconds * 1000, "ms")
    show(f"memory_{size}", memory, "MiB")
    show(f"fill_faster_than_ipvsadm_R_{size}", found["ipvsadm_R"] / found["ours_fill"], "times")
    show(f"fill_against_replay_{size}", found["ours_fill"] / found["replay"], "times")
    show(f"unchanged_against_ipvsadm_S_{size}", found["ours_unchanged"] / found["ipvsadm_S"], "times")


def main() -> None:
    """Run the cases and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder plugins/module_utils, or a zipapp")
    parser.add_argument("--print-config", action="store_true", help="measure nothing, print the table")
    parser.add_argument("--sizes", type=Size.parse, nargs="+", default=[Size.parse(text) for text in SIZES])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.print_config:
        print(json.dumps(config(arguments.sizes[0])))
        return
    if arguments.path is None:
        parser.error("name the folder plugins/module_utils or a zipapp")
    import_seconds, engine = timed(lambda: load(arguments.path))
    show("module_utils_import", import_seconds * 1000, "ms")
    for size in arguments.sizes:
        measure(engine, size, arguments.repeat)
    show("ipvsadm_process_per_rule", best_of(arguments.repeat, loop)["per_rule"] * 1000, "ms")
    flush = Size(100, 100)
    for name, seconds in best_of(1, lambda: flushed(engine, flush)).items():
        show(f"{name}_{flush}", seconds * 1000, "ms")


if __name__ == "__main__":
    main()
