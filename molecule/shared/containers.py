# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's client, director, rs1 and rs2 as systemd containers, each with an IPVS table of its own.

    containers.py up | down | status | kill NAME... | start NAME...

They run on this machine where its kernel has ip_vs, else on the lab's machine `podman`, whose remote this machine's
podman is then. Networks and addresses are those of lab.yml. `up` leaves an inventory beside the lab's, containers.yml.
As into machines, the way in is ssh: podman's connection plugin comes with no package smaller than all of Ansible's
collections together, and runs several programs in the container for each task.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

SHARED = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(SHARED.parent.parent / "roles/lab/files"))
# A program of its own, which pytest's settings do not reach: only now can the lab's files be imported (E402).
from lvslab import answers_ssh, inside_namespace  # noqa: E402  # found by the path set above
from lvslab_description import MANAGEMENT, namespace_of  # noqa: E402  # found by the path set above
from lvslab_image import (  # noqa: E402  # found by the path set above
    GUEST_FILES,
    MASKED_UNITS,
    PACKAGES,
    build_root,
    digest,
    dress_root,
    host_sources,
    in_cache,
    locked,
    remove_tree,
)

NAMES = ("client", "director", "rs1", "rs2")
FIRST_HOST = 101  # behind the lab's machines on the management network
PREFIX = "lvs-"  # of everything podman is told to make
# What nobody can load inside a container. nlmon counts what the tests send to the kernel.
MODULES = ("ip_vs", "ip_vs_rr", "ip_vs_wrr", "nlmon", "overlay")
LAB = pathlib.Path("/var/lib/lvs-lab") / os.environ.get("LVS_LAB", "molecule")
SOCKET = LAB / "podman.sock"
TUNNEL = LAB / "ssh/podman.tunnel"
SECONDS_TO_SSH = 60


def run(words: list[str], check: bool = True, archive: pathlib.Path | None = None) -> str:
    """What a program said; its failure ends this one with what it complained about."""
    with contextlib.ExitStack() as stack:
        given: Any = stack.enter_context(archive.open("rb")) if archive else subprocess.DEVNULL
        done = subprocess.run(words, stdin=given, capture_output=True, text=True, check=False, timeout=300)
    if check and done.returncode != 0:
        sys.exit(f"{shlex.join(words)}: exit status {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def succeeds(words: list[str]) -> bool:
    """Whether a program ends well; what it starts and leaves running keeps nothing of ours open."""
    try:
        return subprocess.run(words, stdin=-3, stdout=-3, stderr=-3, check=False, timeout=60).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


@dataclass(frozen=True)
class ContainerHost:
    """Where the containers run. Without words for ssh it is this machine."""

    variables: Mapping[str, Any]  # how Ansible gets in
    ssh: tuple[str, ...] = ()

    def podman(self, *words: str, check: bool = True) -> str:
        remote = ["--url", f"unix://{SOCKET}"] if self.ssh else []
        return run(["podman", *remote, *words], check=check)

    def shell(self, words: str, archive: pathlib.Path | None = None) -> str:
        return run([*(self.ssh or ("sh", "-c")), words], archive=archive)

    def connect(self) -> None:
        """The host's podman listens at a socket here."""
        if not self.ssh or succeeds([*self.ssh, "-O", "check"]):
            return
        self.shell("systemctl start podman.socket")
        options = ["-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindUnlink=yes"]
        forward = ["-M", "-f", "-N", "-L", f"{SOCKET}:/run/podman/podman.sock"]
        if not succeeds([*self.ssh[:-1], *options, *forward, self.ssh[-1]]):
            sys.exit(f"no way to podman on {self.ssh[-1]}: is machine podman of the lab up?")

    def disconnect(self) -> None:
        if self.ssh:
            succeeds([*self.ssh, "-O", "exit"])
            SOCKET.unlink(missing_ok=True)

    def management(self) -> list[str]:
        """What makes the network that Ansible comes by: the lab's own, or one between this machine and containers."""
        if self.ssh:
            return ["--driver", "macvlan", "--opt", "parent=mgmt0"]
        return ["--gateway", str(MANAGEMENT[1])]

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        with inside_namespace(namespace_of(LAB.name)) if self.ssh else contextlib.nullcontext():
            yield


def container_host() -> ContainerHost:
    """This machine, if its kernel has ip_vs, else the lab's machine `podman`."""
    lab = yaml.safe_load((LAB / "hosts.yml").read_text())["lab"]
    variables = {key: str(value).replace("%%", "%") for key, value in lab["vars"].items()}
    key = variables["ansible_ssh_private_key_file"]
    if succeeds(["modprobe", "ip_vs"]):
        options = f"-o UserKnownHostsFile={LAB}/known_hosts -o StrictHostKeyChecking=no -o LogLevel=ERROR"
        return ContainerHost({**lab["vars"], "ansible_ssh_common_args": options})
    address = lab["hosts"]["podman"]["ansible_host"]
    words = ["ssh", "-F", "none", "-i", key, *shlex.split(variables["ansible_ssh_common_args"])]
    return ContainerHost(lab["vars"], (*words, "-S", str(TUNNEL), f"root@{address}"))


# ---------------------------------------------------------------------------------------------- images


def dress(tree: pathlib.Path) -> None:
    """What makes a bare Debian a machine of the lab, but for what configures it from a disk: podman does that."""
    dress_root(tree, GUEST_FILES)
    units = tree / "etc/systemd/system"
    for path in ("lvslab-boot.service", "sysinit.target.wants/lvslab-boot.service"):
        (units / path).unlink()
    # One image for all: the host name decides.
    drop_in = units / "lvs-responder.service.d/container.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Unit]\nConditionHost=rs*\n")
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "lvs-responder.service").symlink_to("../lvs-responder.service")


def image(cache: pathlib.Path, distribution: str, offline_packages: list[str]) -> tuple[str, pathlib.Path]:
    """A name for the image and its archive in the lab's cache, made of the root file system that machines have."""
    guest = {path.name: path.read_text() for path in sorted(GUEST_FILES.iterdir()) if path.is_file()}
    with locked(cache):
        root, _new = build_root(cache, host_sources(), distribution, PACKAGES, sorted(set(offline_packages)))
        key = digest("container", 1, root.name, guest, MASKED_UNITS)

        def build(folder: pathlib.Path) -> None:
            tree = folder / "tree"
            run(["cp", "--archive", "--reflink=auto", str(root), str(tree)])
            dress(tree)
            # srcpkgcache.bin only saves apt time when its lists change.
            left_out = ["--exclude=./dev/*", "--exclude=./var/cache/apt/srcpkgcache.bin"]
            archive = ["--file", str(folder / "image.tar.gz"), "--use-compress-program=gzip -1"]
            run(["tar", "--create", "--numeric-owner", *left_out, *archive, "--directory", str(tree), "."])
            remove_tree(tree)

        folder, _new = in_cache(cache, f"image-container-{distribution}-{key}", build)
    return f"localhost/{PREFIX}{distribution}:{key}", folder / "image.tar.gz"


# ---------------------------------------------------------------------------------------------- containers


def described() -> tuple[list[dict[str, Any]], dict[str, list[str]], list[str]]:
    """Of lab.yml: the machines that become containers, each network's prefixes, the offline packages."""
    lab = yaml.safe_load((SHARED / "lab.yml").read_text())
    machines = [machine for machine in lab["lab_machines"] if machine["name"] in NAMES]
    used = {nic["network"] for machine in machines for nic in machine["nics"]}
    networks = {item["name"]: [item["ipv4"], item["ipv6"]] for item in lab["lab_networks"] if item["name"] in used}
    return machines, networks, lab["lab_offline_packages"]


def address(name: str) -> str:
    return str(MANAGEMENT[FIRST_HOST + NAMES.index(name)])


def network_words(machine: Mapping[str, Any]) -> list[str]:
    """A container's interfaces, named as in the lab, with hardware addresses that a restart does not change."""
    nics = [("mgmt", "mgmt0", [address(machine["name"])])]
    for number, nic in enumerate(machine["nics"], start=1):
        nics.append((nic["network"], f"eth{number}", [each.partition("/")[0] for each in nic["addresses"]]))
    words = []
    for number, (network, interface, addresses) in enumerate(nics):
        mac = f"02:4c:56:43:{NAMES.index(machine['name']):02x}:{number:02x}"
        options = [f"interface_name={interface}", f"mac={mac}", *(f"ip={each}" for each in addresses)]
        words += ["--network", f"{PREFIX}{network}:{','.join(options)}"]
    return words


def wait_for_ssh(host: ContainerHost, names: tuple[str, ...]) -> None:
    waiting = set(names)
    end = time.monotonic() + SECONDS_TO_SSH
    with host.network():
        while waiting := {name for name in waiting if not answers_ssh(address(name))}:
            if time.monotonic() > end:
                sys.exit(f"no ssh after {SECONDS_TO_SSH} seconds: {', '.join(sorted(waiting))}")
            time.sleep(0.2)


def up(host: ContainerHost) -> None:
    """Four containers that nobody has used before."""
    write_inventory(host)
    host.shell(f"modprobe --all {' '.join(MODULES)}")
    clear(host)
    machines, networks, offline_packages = described()
    cache = pathlib.Path(json.loads((LAB / "lab.json").read_text())["cache"])
    images = {}
    for distribution in sorted({machine["distribution"] for machine in machines}):
        name, archive = image(cache, distribution, offline_packages)
        # Not by the remote, which takes eight times as long.
        host.shell(f"podman image exists {name} || podman import --quiet - {name}", archive)
        images[distribution] = name
    plain = ["network", "create", "--internal", "--disable-dns"]
    host.podman(*plain, *host.management(), "--subnet", str(MANAGEMENT), f"{PREFIX}mgmt")
    for name, subnets in networks.items():
        host.podman(*plain, "--ipv6", *(f"--subnet={subnet}" for subnet in subnets), f"{PREFIX}{name}")
    key = "/root/.ssh/authorized_keys"
    own_key = key if host.ssh else LAB / "id_ed25519.pub"
    for machine in machines:
        host.podman(
            *("run", "--detach", "--privileged", "--systemd=always", "--restart=always"),
            *("--name", PREFIX + machine["name"], "--hostname", machine["name"], "--volume", f"{own_key}:{key}:ro"),
            *network_words(machine),
            *(images[machine["distribution"]], "/sbin/init"),
        )
    wait_for_ssh(host, NAMES)


def write_inventory(host: ContainerHost) -> None:
    """Before anything is made: where it is, there is something to remove."""
    hosts = {name: {"ansible_host": address(name)} for name in NAMES}
    inventory = yaml.safe_dump({"lab": {"vars": dict(host.variables), "hosts": hosts}}, sort_keys=False)
    (LAB / "containers.yml").write_text(inventory)


def clear(host: ContainerHost) -> None:
    """No container and no network of ours, whatever a run before left behind."""
    host.connect()
    of_ours = ["--all", "--filter", f"name=^{PREFIX}", "--format={{.Names}}"]
    if names := host.podman("ps", *of_ours).split():
        host.podman("rm", "--force", "--time=0", *names)
    networks = host.podman("network", "ls", "--format={{.Name}}").split()
    if ours := [name for name in networks if name.startswith(PREFIX)]:
        host.podman("network", "rm", *ours)


def down(host: ContainerHost) -> None:
    clear(host)
    if not host.ssh:  # the lab's machine takes its images along
        images = host.podman("images", "--format={{.Repository}}:{{.Tag}}").split()
        if ours := [name for name in images if name.startswith(f"localhost/{PREFIX}")]:
            host.podman("rmi", *ours)
    (LAB / "containers.yml").unlink(missing_ok=True)
    host.disconnect()


def status(host: ContainerHost) -> dict[str, Any]:
    kernel = host.shell("uname -r").strip()
    machines, _networks, _packages = described()
    return {
        "machines": [
            {"name": item["name"], "distribution": f"container of {item['distribution']}", "kernel": kernel}
            for item in machines
        ]
    }


def main() -> None:
    what, *names = sys.argv[1:]
    host = container_host()
    if what == "up":
        up(host)
    elif what == "down":
        down(host)
    elif what == "status":
        print(json.dumps(status(host)))
    elif what == "kill":
        host.podman("kill", *(PREFIX + name for name in names))
    elif what == "start":
        host.podman("start", *(PREFIX + name for name in names))
        wait_for_ssh(host, tuple(names))
    else:
        sys.exit(f"{what}: neither up, down, status, kill nor start")


if __name__ == "__main__":
    main()
