# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine is started with: its command line under each backend, and the disk that configures it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import uuid

from lvslab_description import MANAGEMENT, Lab, Machine
from lvslab_image import Built, UmlKernel

MACHINE_PROGRAM = pathlib.Path(__file__).resolve().parent / "lvslab_machine.py"


def boot_script(machine: Machine, authorized_key: str) -> str:
    """The shell script a machine configures itself with at every boot: name, key, interfaces, routes, sysctls."""
    names = ["mgmt0"] + [f"eth{index}" for index in range(1, len(machine.nics) + 1)]
    batch = []
    # By way of a name of no one's, because the kernel may have called the second interface eth1 already.
    for index, name in enumerate(names):
        batch += [f"link set nic{index} name {name}", f"link set {name} up"]
    batch.append(f"address add {machine.address}/{MANAGEMENT.prefixlen} dev mgmt0")
    for name, nic in zip(names[1:], machine.nics, strict=True):
        for address in nic.addresses:
            batch.append(f"address add {address} dev {name}" + (" nodad" if ":" in address else ""))
    for route in machine.routes:
        everywhere = "::/0" if ":" in route.gateway else "0.0.0.0/0"
        destination = everywhere if route.destination == "default" else route.destination
        batch.append(f"route add {destination} via {route.gateway}")
    lines = [
        "#!/bin/sh",
        f"# Configuration of {machine.name}, written by the lab's host.",
        "exec >/dev/console 2>&1",
        f"echo {machine.name} >/etc/hostname",
        f"echo {machine.name} >/proc/sys/kernel/hostname",
        "cat >/etc/hosts <<end",
        "127.0.0.1 localhost",
        f"127.0.1.1 {machine.name}",
        "::1 localhost ip6-localhost ip6-loopback",
        "end",
        "[ -d /root/.ssh ] || mkdir -m 700 /root/.ssh",
        f"echo {shlex.quote(authorized_key.strip())} >/root/.ssh/authorized_keys",
        "interface() {",
        "    for path in /sys/class/net/*; do",
        '        read -r mac <"$path/address"',
        '        if [ "$mac" = "$1" ]; then echo "link set ${path##*/} name $2"; fi',
        "    done",
        "}",
        "{",
        *(f"    interface {machine.mac(index)} nic{index}" for index in range(len(names))),
        "    cat <<end",
        *batch,
        "end",
        "} | ip -force -batch -",
        *(
            f"echo {shlex.quote(value)} >/proc/sys/{shlex.quote(key.replace('.', '/'))}"
            for key, value in machine.sysctls
        ),
        # The package lists of the image count as just fetched: there is no network to fetch others from.
        ": >/var/lib/apt/periodic/update-success-stamp",
        "read -r _ _ kernel _ </proc/version",
        f'echo "lvslab: {machine.name} runs kernel $kernel"',
        "exit 0",
    ]
    return "\n".join(lines) + "\n"


def as_disk(script: str) -> bytes:
    """The script as the content of a block device: whole sectors, and what follows the script is empty lines."""
    data = script.encode()
    return data + b"\n" * (-len(data) % 4096)


@dataclasses.dataclass
class Launch:
    """How a machine is started, and what with; a difference means it has to be started anew."""

    argv: list[str]
    image: str  # the base image the machine's own disk is layered over
    make_disk: list[str]  # how to make that disk; user-mode-linux makes it itself
    script: str

    def as_text(self) -> str:
        """The form it is kept in beside the machine."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def kept_launch(folder: pathlib.Path) -> Launch | None:
    """How a machine was started last."""
    try:
        return Launch(**json.loads((folder / "launch.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def launch_of(lab: Lab, machine: Machine, built: Built, authorized_key: str) -> Launch:
    """How this machine is to be started: a process inside the lab's network namespace."""
    inside = ["ip", "netns", "exec", lab.namespace]
    image = built.images[machine.system]
    script = boot_script(machine, authorized_key)
    if built.uml is not None:
        argv = [*inside, *uml_command(lab, machine, built.uml, image)]
        return Launch(argv, str(image / "disk.img"), [], script)
    disk = str(lab.folder(machine) / "disk.cow")
    make_disk = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image / "disk.img"), disk]
    return Launch([*inside, *qemu_command(lab, machine, image, built.kvm)], str(image / "disk.img"), make_disk, script)


def systemd_arguments(lab: Lab, machine: Machine) -> list[str]:
    """What systemd reads from the kernel's command line."""
    arguments = ["systemd.machine_id=" + uuid.uuid5(uuid.NAMESPACE_DNS, lab.identity(machine)).hex]
    if machine.responder:
        arguments.append("systemd.wants=lvs-responder.service")
    return arguments


def uml_command(lab: Lab, machine: Machine, kernel: UmlKernel, image: pathlib.Path) -> list[str]:
    """The machine as a user-mode-linux process; /machine and /image are what lvslab_machine.py binds there."""
    return [
        *("/usr/bin/python3", "-B", str(MACHINE_PROGRAM)),
        *(str(kernel.folder / "root"), str(lab.folder(machine)), str(image)),
        f"umid={lab.identity(machine)}",
        "uml_dir=/machine/",
        f"mem={machine.memory}M",
        "root=/dev/ubda",
        "rw",
        "ubd0=/machine/disk.cow,/image/disk.img",
        "ubd1r=/machine/boot.disk",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        # gro=1: without it packets larger than the link, which senders make for speed, are lost on the tap.
        *(
            f"vec{index}:transport=tap,ifname={machine.tap(index)},depth=64,gro=1,mac={machine.mac(index)}"
            for index in range(len(machine.nics) + 1)
        ),
        *(["seccomp=on"] if kernel.seccomp else []),
        *systemd_arguments(lab, machine),
    ]


def qemu_command(lab: Lab, machine: Machine, image: pathlib.Path, kvm: bool) -> list[str]:
    """The machine as a QEMU process with the stock kernel of its distribution."""
    folder = lab.folder(machine)
    kernel_arguments = ["root=/dev/vda", "rw", "console=ttyS0", "net.ifnames=0", *systemd_arguments(lab, machine)]
    argv = [
        *("qemu-system-x86_64", "-name", f"guest={lab.identity(machine)}"),
        *("-accel", "kvm" if kvm else "tcg", "-cpu", "host" if kvm else "max", "-m", str(machine.memory)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img"), "-append"),
        " ".join(kernel_arguments),
        *("-drive", f"file={folder / 'disk.cow'},format=qcow2,if=virtio,cache=writeback"),
        *("-drive", f"file={folder / 'boot.disk'},format=raw,if=virtio,readonly=on"),
        *("-device", "virtio-rng-pci"),
    ]
    for index in range(len(machine.nics) + 1):
        tap = machine.tap(index)
        argv += ["-netdev", f"tap,id=net{index},ifname={tap},script=no,downscript=no"]
        argv += ["-device", f"virtio-net-pci,netdev=net{index},mac={machine.mac(index)},romfile="]
    return argv
