# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a lab: virtual machines and the networks between them, in a network namespace of their own.

    lvslab.py --lab DIRECTORY build            kernel and base images into the cache
    lvslab.py --lab DIRECTORY up               what is missing of the lab, until every machine answers ssh
    lvslab.py --lab DIRECTORY status           what runs
    lvslab.py --lab DIRECTORY kill MACHINE...  pull the plug of machines
    lvslab.py --lab DIRECTORY start MACHINE... start machines that are down, with the disk they had
    lvslab.py --lab DIRECTORY mend             kill and start machines that answer no ssh, and say what they said last
    lvslab.py --lab DIRECTORY --name NAME down nothing of the lab is left, the cache excepted

The lab is described in DIRECTORY/lab.json, which role lab writes. Results are JSON on standard output, progress and
errors are text on standard error. Nothing is remembered about processes: a machine's process is found by the argument
that names it, or by being inside the lab's network namespace, so a lab that crashed half-way can be taken down too.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lvslab_description import LAB_NAME, MANAGEMENT, Lab, Machine, namespace_of, read_lab
from lvslab_image import Built, LabError, build_all, kvm_works, locked, remove_tree, run, say, sweep
from lvslab_launch import Launch, as_disk, kept_launch, launch_of

CLONE_NEWNET = 0x40000000  # linux/sched.h; os.CLONE_NEWNET is there from Python 3.12 on, like os.setns
CONSOLE_LINES = 30
FIRST_FILES = ("bin", "ssh")  # what role lab makes before it writes lab.json

# A machine's process is the one with its name after one of these: user-mode-linux, qemu.
NAMING_ARGUMENTS = ("umid=", "guest=")

SECONDS_TO_SSH = 120
SECONDS_TO_SSH_EMULATED = 600
# A machine that reboots is silent for less.
SECONDS_OF_SILENCE = 60
LAST_WORDS = 3  # lines


# ---------------------------------------------------------------------------------------------- processes


def arguments_of(pid: int) -> list[str]:
    """A process's argument list; empty when it is gone or has none."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def all_pids() -> list[int]:
    """Every process of this host but this one."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]


def machine_pids(identity: str) -> list[int]:
    """The processes of one machine, by the argument that names it."""
    names = {name + identity for name in NAMING_ARGUMENTS}
    for _attempt in range(3):
        found = [pid for pid in all_pids() if not names.isdisjoint(arguments_of(pid))]
        if found:
            break
        # A process that is just becoming another program has no arguments for a moment.
        time.sleep(0.02)
    return found


def namespace_pids(namespace: str) -> list[int]:
    """The processes inside a network namespace: machines, their helpers, and whoever looks at them from there."""
    try:
        inside = os.stat(f"/run/netns/{namespace}").st_ino
    except FileNotFoundError:
        return []
    found = []
    for pid in all_pids():
        try:
            if os.stat(f"/proc/{pid}/ns/net").st_ino == inside:
                found.append(pid)
        except OSError:
            continue
    return found


def kill(pids: Sequence[int]) -> None:
    """Pull the plug."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def lab_pids(name: str) -> list[int]:
    """Every process that belongs to a lab, known or not."""
    prefixes = tuple(f"{naming}{name}." for naming in NAMING_ARGUMENTS)
    named = [pid for pid in all_pids() if any(argument.startswith(prefixes) for argument in arguments_of(pid))]
    return sorted({*named, *namespace_pids(namespace_of(name))})


def builders(directory: pathlib.Path) -> list[int]:
    """Other runs of this program that are bringing the same lab up."""
    found = []
    for pid in all_pids():
        arguments = arguments_of(pid)
        if (
            any(pathlib.PurePath(argument).name == "lvslab.py" for argument in arguments[:3])
            and str(directory) in arguments
            and {"up", "build", "start"} & set(arguments)
        ):
            found.append(pid)
    return found


# ---------------------------------------------------------------------------------------------- networks


def network_commands(lab: Lab, existing: set[str]) -> list[str]:
    """The `ip` lines for the bridges and taps that are not there yet."""
    lines = []
    for bridge in ("mgmt", *lab.networks):
        if bridge not in existing:
            # Snooping without a querier would lose neighbour discovery; a port has to forward at once.
            lines += [
                f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set {bridge} up",
            ]
            if bridge == "mgmt":
                lines.append(f"address add {MANAGEMENT[1]}/{MANAGEMENT.prefixlen} dev mgmt")
    for machine in lab.machines:
        for index, bridge in enumerate(("mgmt", *(nic.network for nic in machine.nics))):
            if machine.tap(index) not in existing:
                lines += [
                    f"tuntap add dev {machine.tap(index)} mode tap",
                    f"link set {machine.tap(index)} master {bridge} up",
                ]
    return lines


def make_networks(lab: Lab) -> bool:
    """The namespace with its bridges and taps; true when something was missing."""
    changed = False
    if not os.path.exists(f"/run/netns/{lab.namespace}"):
        run(["ip", "netns", "add", lab.namespace])
        changed = True
    inside = ["ip", "netns", "exec", lab.namespace]
    existing = {link["ifname"] for link in json.loads(run([*inside, "ip", "-json", "link", "show"]))}
    lines = network_commands(lab, existing)
    if lines:
        # The host's ends stay silent: no address, no IPv6, no multicast reports among the machines' packets.
        quiet = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip link set lo up; exec ip -batch -"
        run([*inside, "sh", "-c", quiet], text="\n".join(lines) + "\n")
    return changed or bool(lines)


@contextmanager
def inside_namespace(namespace: str) -> Iterator[None]:
    """Make sockets in the lab's network namespace."""
    setns = ctypes.CDLL(None, use_errno=True).setns
    with open("/proc/self/ns/net") as outside, open(f"/run/netns/{namespace}") as inside:
        if setns(inside.fileno(), CLONE_NEWNET) != 0:
            raise LabError(f"cannot enter network namespace {namespace}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            setns(outside.fileno(), CLONE_NEWNET)


# ---------------------------------------------------------------------------------------------- machines


def prepare(folder: pathlib.Path, launch: Launch) -> None:
    """Write a machine's folder; its disk stays unless it was layered over another image."""
    kept = kept_launch(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if kept is None or kept.image != launch.image:
        (folder / "disk.cow").unlink(missing_ok=True)
    (folder / "boot.disk").write_bytes(as_disk(launch.script))
    (folder / "launch.json").write_text(launch.as_text())


def start(lab: Lab, machine: Machine) -> None:
    """Start a machine's process from its folder and leave it running."""
    folder = lab.folder(machine)
    launch = kept_launch(folder)
    if launch is None:
        raise LabError(f"machine {machine.name} has never been started: run up first")
    remove_tree(folder / lab.identity(machine))  # a control socket of user-mode-linux, of an earlier run
    if launch.make_disk and not (folder / "disk.cow").exists():
        run(launch.make_disk)
    (folder / "console.log").unlink(missing_ok=True)
    with (folder / "console.log").open("ab") as console:
        subprocess.Popen(  # outlives this program
            launch.argv,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": "/dev/shm", "HOME": "/"},
        )


def stop(lab: Lab, machine: Machine) -> bool:
    """Pull a machine's plug, and end the ssh connections to it, which would otherwise wait for it for minutes."""
    found = bool(machine_pids(lab.identity(machine)))
    proxies = [
        pid
        for pid in namespace_pids(lab.namespace)
        if any(argument.startswith(f"TCP:{machine.address}:") for argument in arguments_of(pid))
    ]
    kill(proxies)
    deadline = time.monotonic() + 10
    while pids := machine_pids(lab.identity(machine)):
        if time.monotonic() > deadline:
            raise LabError(f"machine {machine.name}: its processes {pids} do not go away")
        kill(pids)
        time.sleep(0.02)
    return found


def answers_ssh(address: str) -> bool:
    """Whether an ssh server greets there."""
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def console_tail(lab: Lab, machine: Machine) -> str:
    """The last lines a machine wrote, without colours and empty lines."""
    try:
        text = (lab.folder(machine) / "console.log").read_text(errors="replace")
    except FileNotFoundError:
        return "(it has no console)"
    lines = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).splitlines()
    return "\n".join([line.rstrip() for line in lines if line.strip()][-CONSOLE_LINES:]) or "(it wrote nothing)"


def kernel_of(lab: Lab, machine: Machine) -> str:
    """The kernel a machine said it runs."""
    try:
        text = (lab.folder(machine) / "console.log").read_text(errors="replace")
    except FileNotFoundError:
        return ""
    said = re.findall(r"lvslab: \S+ runs kernel (\S+)", text)
    return str(said[-1]) if said else ""


def wait_for_ssh(lab: Lab, machines: Sequence[Machine]) -> None:
    """Return when all of them answer; those that do not are named with the last lines of their consoles."""
    waiting = list(machines)
    patience = SECONDS_TO_SSH if lab.backend == "uml" or kvm_works() else SECONDS_TO_SSH_EMULATED
    deadline = time.monotonic() + patience
    failed: list[tuple[Machine, str]] = []
    with inside_namespace(lab.namespace):
        while waiting and time.monotonic() < deadline:
            for machine in list(waiting):
                if not machine_pids(lab.identity(machine)):
                    failed.append((machine, "its process ended"))
                    waiting.remove(machine)
                elif answers_ssh(machine.address):
                    waiting.remove(machine)
            time.sleep(0.1)
    failed += [(machine, f"no ssh after {patience} seconds") for machine in waiting]
    if failed:
        raise LabError(
            "\n\n".join(
                f"machine {machine.name} did not come up: {why}. The end of its console:\n{console_tail(lab, machine)}"
                for machine, why in failed
            )
        )


# ---------------------------------------------------------------------------------------------- commands


def make_key(lab: Lab) -> str:
    """The lab's own ssh key; returns its public half."""
    private = lab.directory / "id_ed25519"
    public = lab.directory / "id_ed25519.pub"
    if not public.exists():
        private.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {lab.name}", "-f", str(private)])
    return public.read_text()


def build(lab: Lab) -> Built:
    """Everything the machines boot from."""
    return build_all(
        lab.cache,
        [machine.system for machine in lab.machines],
        lab.offline_packages,
        backend=lab.backend,
        allow_distribution_kernel=lab.allow_distribution_kernel,
    )


def status(lab: Lab) -> list[dict[str, object]]:
    """What runs, for people and for the inventory."""
    return [
        {
            "name": machine.name,
            "address": machine.address,
            "distribution": machine.distribution,
            "running": bool(machine_pids(lab.identity(machine))),
            "kernel": kernel_of(lab, machine),
        }
        for machine in lab.machines
    ]


def forget_machines(lab: Lab) -> bool:
    """Remove machines that are no longer described."""
    folder = lab.directory / "machines"
    described = {machine.name for machine in lab.machines}
    gone = [entry for entry in folder.iterdir() if entry.name not in described] if folder.is_dir() else []
    for entry in gone:
        kill(machine_pids(f"{lab.name}.{entry.name}"))
        remove_tree(entry)
    return bool(gone)


def up(lab: Lab) -> dict[str, object]:
    """Bring the lab to what is described: a machine that runs as described is left alone."""
    built = build(lab)
    key = make_key(lab)
    changed = forget_machines(lab) or built.changed
    changed = make_networks(lab) or changed
    started = []
    for machine in lab.machines:
        launch = launch_of(lab, machine, built, key)
        if machine_pids(lab.identity(machine)):
            if kept_launch(lab.folder(machine)) == launch:
                continue
            stop(lab, machine)
        prepare(lab.folder(machine), launch)
        start(lab, machine)
        started.append(machine.name)
    begin = time.monotonic()
    wait_for_ssh(lab, lab.machines)
    say(f"{len(lab.machines)} machines answer ssh, {time.monotonic() - begin:.1f} s after {len(started)} were started")
    return {
        "changed": changed or bool(started),
        "started": started,
        "kernel": built.described,
        "machines": status(lab),
    }


def start_again(lab: Lab, names: Sequence[str]) -> dict[str, object]:
    """Start machines that are down, with the disks they had, and wait for them."""
    chosen = choose(lab, names)
    started = [machine for machine in chosen if not machine_pids(lab.identity(machine))]
    for machine in started:
        start(lab, machine)
    wait_for_ssh(lab, chosen)
    return {"changed": bool(started), "started": [machine.name for machine in started], "machines": status(lab)}


def mend(lab: Lab) -> dict[str, object]:
    """Start machines anew that hang or have ended, with the disks they had; says what they said last."""
    silent = silent_machines(lab, SECONDS_OF_SILENCE)
    if silent:
        words = {machine.name: console_tail(lab, machine).splitlines()[-LAST_WORDS:] for machine in silent}
        told = "; ".join(f"{name}: {' | '.join(lines)}" for name, lines in words.items())
        say(f"ERROR: no answer by ssh, started anew; consoles ended with {told}")
    for machine in silent:
        stop(lab, machine)
        start(lab, machine)
    wait_for_ssh(lab, silent)
    return {"changed": bool(silent), "started": [machine.name for machine in silent], "machines": status(lab)}


def silent_machines(lab: Lab, seconds: float) -> list[Machine]:
    """Those that have not answered once in that time."""
    waiting = list(lab.machines)
    deadline = time.monotonic() + seconds
    with inside_namespace(lab.namespace):
        while (waiting := [machine for machine in waiting if not answers_ssh(machine.address)]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.5)
    return waiting


def pull_plug(lab: Lab, names: Sequence[str]) -> dict[str, object]:
    """End machines at once, as a power failure would."""
    killed = [machine.name for machine in choose(lab, names) if stop(lab, machine)]
    return {"changed": bool(killed), "killed": killed, "machines": status(lab)}


def choose(lab: Lab, names: Sequence[str]) -> list[Machine]:
    """Machines by name."""
    known = {machine.name: machine for machine in lab.machines}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise LabError(f"no such machine: {', '.join(unknown)}; the lab has {', '.join(known)}")
    return [known[name] for name in names]


def check_ours(directory: pathlib.Path) -> None:
    """Refuse to remove a directory that is no lab's: a slip of the pen in lab_directory must not cost anything."""
    if directory.is_dir() and not (directory / "lab.json").exists():
        strange = [name for name in os.listdir(directory) if name not in FIRST_FILES and ".ansible_tmp" not in name]
        if strange:
            raise LabError(
                f"{directory} is not the directory of a lab: it has no lab.json, but {', '.join(sorted(strange)[:5])}. "
                "Nothing was removed; look at lab_directory"
            )


def down(name: str, directory: pathlib.Path, cache: pathlib.Path | None) -> dict[str, object]:
    """Leave nothing of the lab: processes, namespace with its bridges and taps, files."""
    if not LAB_NAME.fullmatch(name):
        raise LabError(f"{name!r} is not the name of a lab")
    check_ours(directory)
    changed = False
    deadline = time.monotonic() + 20
    while found := [*builders(directory), *lab_pids(name)]:
        changed = True
        if time.monotonic() > deadline:
            raise LabError(f"processes {found} of lab {name} do not go away")
        kill(found)
        time.sleep(0.05)
    if os.path.exists(f"/run/netns/{namespace_of(name)}"):
        run(["ip", "netns", "delete", namespace_of(name)])
        changed = True
    if directory.exists():
        remove_tree(directory)
        changed = True
    if cache is not None:
        sweep(cache)
    return {"changed": changed}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--lab", required=True, type=pathlib.Path, metavar="DIRECTORY", help="where the lab is described")
    made.add_argument("--name", help="the lab's name, for down (default: the directory's last part)")
    made.add_argument("--cache", type=pathlib.Path, help="the cache, for down: sweeps what a broken build left there")
    made.add_argument("command", choices=("build", "up", "status", "start", "kill", "mend", "down"))
    made.add_argument("machine", nargs="*", help="for start and kill")
    return made


def command(options: argparse.Namespace) -> dict[str, object]:
    """Do what was asked."""
    directory: pathlib.Path = options.lab.absolute()
    if options.command == "down":
        return down(options.name or directory.name, directory, options.cache)
    lab = read_lab(directory)
    if options.command == "status":
        return {"changed": False, "machines": status(lab)}
    if options.command == "build":
        built = build(lab)
        return {"changed": built.changed, "kernel": built.described}
    if options.command in ("start", "kill") and not options.machine:
        raise LabError(f"{options.command}: name the machines")
    with locked(directory):
        if options.command == "start":
            return start_again(lab, options.machine)
        if options.command == "kill":
            return pull_plug(lab, options.machine)
        return mend(lab) if options.command == "mend" else up(lab)


def main() -> int:
    options = parser().parse_args()
    try:
        result = command(options)
    except LabError as exc:
        print(exc, file=sys.stderr)
        return 1
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
