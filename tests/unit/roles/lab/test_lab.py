# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's programs, as far as they work without root: descriptions, command lines, the archive, the cache."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import pathlib
import re
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

FILES = pathlib.Path(__file__).resolve().parents[4] / "roles/lab/files"
sys.path.insert(0, str(FILES))

lvslab = importlib.import_module("lvslab")
lvslab_description = importlib.import_module("lvslab_description")
lvslab_image = importlib.import_module("lvslab_image")
lvslab_launch = importlib.import_module("lvslab_launch")
lvslab_machine = importlib.import_module("lvslab_machine")

DIRECTORY = pathlib.Path("/var/lib/lvs-lab/test")

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos")


def described(**changes: Any) -> dict[str, Any]:
    machine = {
        "name": "rs1",
        "distribution": "trixie",
        "nics": [{"network": "lan", "addresses": ["192.168.1.2/24", "2001:db8:1::2/64"]}, {"network": "lan"}],
        "routes": [
            {"destination": "default", "gateway": "192.168.1.254"},
            {"destination": "default", "gateway": "2001:db8:1::254"},
            {"destination": "172.16.5.0/24", "gateway": "192.168.1.253"},
        ],
        "sysctls": {"net.ipv4.ip_forward": 1},
        "responder": True,
    }
    return {
        "name": "test",
        "cache": "/var/cache/lvs-lab",
        "backend": "uml",
        "networks": [{"name": "lan"}],
        "machines": [{**machine, **changes}],
        "offline_packages": ["ipvsadm"],
    }


def lab(**changes: Any) -> Any:
    return lvslab_description.parse_lab(described(**changes), DIRECTORY)


def test_every_mistake_of_a_description_is_in_one_message() -> None:
    wrong = described(
        name="RS one",
        distribution="slink",
        packages=["podman; reboot"],
        memory=64,
        nics=[{"network": "wan", "addresses": ["192.168.1.2", "10.255.0.7/24"]}],
        routes=[{"destination": "2001:db8::/64", "gateway": "192.168.1.1"}, {"destination": "there", "gateway": "x"}],
    )
    wrong["networks"] = [{"name": "mgmt"}]
    wrong["machines"].append(wrong["machines"][0])
    wrong["backend"] = "vax"
    with pytest.raises(lvslab_image.LabError) as raised:
        lvslab_description.parse_lab(wrong, DIRECTORY)
    for part in (
        "'vax'",
        "machine RS one: described twice",
        "machine RS one: the name must be",
        "network mgmt: the name is taken",
        "'slink'",
        "'podman; reboot' is not the name of a Debian package",
        "64 MiB",
        "'wan' is not among",
        "'192.168.1.2' is not an address with a prefix length",
        "10.255.0.7/24 lies in the management network",
        "two families",
        "'there' via 'x'",
    ):
        assert part in str(raised.value)


def test_a_lab_without_machines_is_refused() -> None:
    with pytest.raises(lvslab_image.LabError, match="no machine is described"):
        lvslab_description.parse_lab({"name": "x", "cache": "/x", "machines": []}, DIRECTORY)


def test_boot_script_is_shell_and_configures_everything() -> None:
    script = lvslab_launch.boot_script(lab().machines[0], "ssh-ed25519 AAAA it's a key\n")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    lines = script.splitlines()
    for line in (
        "link set nic0 name mgmt0",
        "link set nic1 name eth1",
        "link set nic2 name eth2",
        "address add 10.255.0.11/24 dev mgmt0",
        "address add 192.168.1.2/24 dev eth1",
        "address add 2001:db8:1::2/64 dev eth1 nodad",
        "route add 0.0.0.0/0 via 192.168.1.254",
        "route add ::/0 via 2001:db8:1::254",
        "route add 172.16.5.0/24 via 192.168.1.253",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
    ):
        assert line in lines
    assert not any("10.255" in line for line in lines if line.startswith("route"))


def test_configuration_disk_is_whole_sectors_a_shell_can_read(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(lvslab_launch.as_disk("echo one\necho two\n"))
    assert disk.stat().st_size % 4096 == 0
    assert subprocess.run(["sh", str(disk)], capture_output=True, text=True, check=True).stdout == "one\ntwo\n"


def built(**kernel: Any) -> Any:
    uml = lvslab_image.UmlKernel(pathlib.Path("/k"), "7.2.7", True, "") if not kernel else None
    return lvslab_image.Built({("trixie", ()): pathlib.Path("/i")}, uml, bool(kernel.get("kvm")), "", False)


def test_machine_is_named_once_in_its_command_line_under_both_backends() -> None:
    for made in (built(), built(kvm=False), built(kvm=True)):
        launch = lvslab_launch.launch_of(lab(), lab().machines[0], made, "key")
        named = [argument for argument in launch.argv if argument in ("umid=test.rs1", "guest=test.rs1")]
        assert len(named) == 1
        assert launch.argv[:4] == ["ip", "netns", "exec", "lvslab-test"]
        assert any("systemd.wants=lvs-responder.service" in argument for argument in launch.argv)
        macs = [mac for mac in (f"02:4c:56:53:00:0{nic}" for nic in range(4)) if mac in " ".join(launch.argv)]
        assert len(macs) == 3


def test_seccomp_is_asked_of_the_kernel_that_has_it_only() -> None:
    for seccomp in (True, False):
        kernel = lvslab_image.UmlKernel(pathlib.Path("/k"), "x", seccomp, "")
        arguments = lvslab_launch.uml_command(lab(), lab().machines[0], kernel, pathlib.Path("/i"))
        assert ("seccomp=on" in arguments) is seccomp


def test_networks_are_completed_not_made_anew() -> None:
    everything = lvslab.network_commands(lab(), set())
    assert "tuntap add dev rs1-0 mode tap" in everything
    assert "link set rs1-1 master lan up" in everything
    some = lvslab.network_commands(lab(), {"lo", "mgmt", "lan", "rs1-0", "rs1-1"})
    assert some == ["tuntap add dev rs1-2 mode tap", "link set rs1-2 master lan up"]
    assert lvslab.network_commands(lab(), {"mgmt", "lan", "rs1-0", "rs1-1", "rs1-2"}) == []


def test_longest_names_fit_a_kernel_interface() -> None:
    machine = lab(name="abcdefghijkl").machines[0]
    assert len(machine.tap(12)) <= 15


LISTING = """\
http://one/debian/|bookworm|main|Debian
http://one/debian/|bookworm|contrib|Debian
http://one/debian/|bookworm-updates|main|Debian
http://two/debian-security/|bookworm-security|main|Debian
http://one/debian/|bookworm-backports|main|Debian Backports
http://three/|stable|main|Somebody Else
garbage
"""


def test_another_release_comes_from_the_archives_the_host_uses() -> None:
    sources = lvslab_image.apt_sources(LISTING)
    assert lvslab_image.sources_for("trixie", sources, updates=True) == [
        "deb http://one/debian/ trixie main contrib",
        "deb http://one/debian/ trixie-updates main",
        "deb http://two/debian-security/ trixie-security main",
    ]
    assert lvslab_image.sources_for("forky", sources, updates=False) == ["deb http://one/debian/ forky main contrib"]


def test_cache_keeps_what_is_complete_only(tmp_path: pathlib.Path) -> None:
    def broken(folder: pathlib.Path) -> None:
        (folder / "half").write_text("x")
        raise lvslab_image.LabError("no")

    with pytest.raises(lvslab_image.LabError):
        lvslab_image.in_cache(tmp_path, "thing", broken)
    assert not (tmp_path / "thing").exists()
    folder, changed = lvslab_image.in_cache(tmp_path, "thing", lambda path: (path / "whole").touch())
    assert changed
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert lvslab_image.in_cache(tmp_path, "thing", broken) == (folder, False)


def test_sweep_leaves_a_running_build_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / "thing.tmp").mkdir()
    with lvslab_image.locked(tmp_path):
        lvslab_image.sweep(tmp_path)
        assert (tmp_path / "thing.tmp").exists()
    lvslab_image.sweep(tmp_path)
    assert not (tmp_path / "thing.tmp").exists()


def test_kernel_that_cannot_be_built_is_an_error_unless_the_distributions_is_allowed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def build(cache: pathlib.Path, sources: Any, suite: str) -> tuple[Any, bool]:
        asked.append(suite)
        raise lvslab_image.LabError("404")

    def fetch(cache: pathlib.Path, sources: Any, suite: str) -> tuple[Any, bool]:
        asked.append(suite)
        return lvslab_image.UmlKernel(tmp_path, "6.1.1", False, suite), True

    monkeypatch.setattr(lvslab_image, "build_own_kernel", build)
    monkeypatch.setattr(lvslab_image, "fetch_kernel", fetch)
    sources = lvslab_image.apt_sources(LISTING)
    with pytest.raises(lvslab_image.LabError, match="lab_allow_distribution_kernel"):
        lvslab_image.uml_kernel(tmp_path, sources, False)
    kernel, _fast = lvslab_image.uml_kernel(tmp_path, sources, True)
    assert kernel.described == "bookworm"
    assert asked == ["forky", "forky", "bookworm"]


def test_machines_with_packages_of_their_own_have_an_image_of_their_own(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def root(_cache: Any, _sources: Any, distribution: str, packages: Any, _offline: Any) -> tuple[str, bool]:
        return f"{distribution} {'with' if 'podman' in packages else 'without'} podman", False

    monkeypatch.setattr(lvslab_image, "host_sources", list)
    monkeypatch.setattr(lvslab_image, "uml_kernel", lambda *_: (lvslab_image.UmlKernel(tmp_path, "7", True, ""), False))
    monkeypatch.setattr(lvslab_image, "build_root", root)
    monkeypatch.setattr(lvslab_image, "build_image", lambda _cache, root, _distribution, _kernel: (root, False))
    machines = (*lab().machines, *lab(packages=["podman"]).machines, *lab().machines)
    built = lvslab_image.build_all(tmp_path, [machine.system for machine in machines], [], backend="uml")
    assert [built.images[machine.system] for machine in machines] == [
        "trixie without podman",
        "trixie with podman",
        "trixie without podman",
    ]


def test_lines_a_kernel_source_does_not_honour_are_found() -> None:
    wanted = "# Why.\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n# CONFIG_D is not set\nCONFIG_E=m\n"
    made = "# CONFIG_D is not set\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_CC=y\nCONFIG_E=m\n"
    assert lvslab_image.not_honoured(wanted, made) == []
    made = "CONFIG_A=m\nCONFIG_C=y\n# CONFIG_E is not set\n"
    assert lvslab_image.not_honoured(wanted, made) == [
        "CONFIG_A=y",
        "CONFIG_B=m",
        "# CONFIG_C is not set",
        "CONFIG_E=m",
    ]


def test_fragment_says_each_thing_once_and_in_a_form_that_is_checked() -> None:
    lines = lvslab_image.KERNEL_CONFIG.read_text().splitlines()
    settings = [line for line in lines if "CONFIG_" in line]
    # A line of any other form (CONFIG_X=n, say) would be merged, but not be found in what comes of it.
    checked = re.compile(r'CONFIG_\w+=([ym]|".*")|# CONFIG_\w+ is not set')
    assert [line for line in settings if not checked.fullmatch(line)] == []
    names = re.findall(r"CONFIG_\w+", "\n".join(settings))
    assert len(names) == len(set(names))


def test_what_lvs_uses_is_modules_with_every_scheduler() -> None:
    settings = set(lvslab_image.KERNEL_CONFIG.read_text().splitlines())
    for name in (*SCHEDULERS, "FTP", "PE_SIP"):
        assert f"CONFIG_IP_VS_{name.upper()}=m" in settings
    for name in ("IP_VS", "NET_IPIP", "NF_CONNTRACK", "NF_TABLES", "IP_NF_IPTABLES", "IP_NF_MANGLE", "NLMON"):
        assert f"CONFIG_{name}=m" in settings


def test_kernel_is_built_once_and_again_when_the_fragment_changes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(target: pathlib.Path, suite: str, lines: Any, options: Any) -> None:
        assert suite == "forky"
        assert "--include=linux-source" in options
        (target / "usr/src").mkdir(parents=True)
        (target / "usr/share/doc/linux-source-9.9").mkdir(parents=True)
        (tmp_path / "source").mkdir(exist_ok=True)
        (tmp_path / "source/Makefile").touch()
        archive = target / "usr/src/linux-source-9.9.tar.xz"
        subprocess.run(["tar", "-cJf", str(archive), "-C", str(tmp_path), "source"], check=True)
        with gzip.open(target / "usr/share/doc/linux-source-9.9/changelog.Debian.gz", "wt") as file:
            file.write("linux (9.9.1-2) unstable; urgency=medium\n\n  * And more.\n")

    def compiled(folder: pathlib.Path, source: pathlib.Path) -> str:
        assert (source / "Makefile").exists()
        (folder / "root").mkdir()
        return "9.9.1-lvslab"

    monkeypatch.setattr(lvslab_image, "mmdebstrap", unpack)
    monkeypatch.setattr(lvslab_image, "compile_kernel", compiled)
    sources = lvslab_image.apt_sources(LISTING)
    (tmp_path / "cache").mkdir()
    kernel, changed = lvslab_image.build_own_kernel(tmp_path / "cache", sources, "forky")
    assert changed
    assert (kernel.version, kernel.seccomp) == ("9.9.1-lvslab", True)
    assert kernel.described == "user-mode-linux 9.9.1-lvslab, built from linux 9.9.1-2 of Debian forky (seccomp)"
    assert sorted(path.name for path in kernel.folder.iterdir()) == ["root", "version"]
    assert lvslab_image.build_own_kernel(tmp_path / "cache", sources, "forky") == (kernel, False)
    other = tmp_path / "uml.config"
    other.write_text("CONFIG_IP_VS=m\n")
    monkeypatch.setattr(lvslab_image, "KERNEL_CONFIG", other)
    assert lvslab_image.build_own_kernel(tmp_path / "cache", sources, "forky")[1]


def test_process_is_found_by_its_name_and_only_that() -> None:
    argv = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"]
    with (
        subprocess.Popen([*argv, "umid=unit-test.rs1"], stdout=subprocess.PIPE) as one,
        subprocess.Popen([*argv, "umid=unit-test.rs10"], stdout=subprocess.PIPE) as ten,
    ):
        try:
            assert one.stdout and ten.stdout and one.stdout.readline() and ten.stdout.readline()
            assert lvslab.machine_pids("unit-test.rs1") == [one.pid]
            assert lvslab.lab_pids("unit-test") == sorted([one.pid, ten.pid])
            assert lvslab.lab_pids("unit") == []
        finally:
            lvslab.kill([one.pid, ten.pid])
    assert lvslab.machine_pids("unit-test.rs1") == []


def test_console_ending_in_a_reboot_is_told_from_one_that_halted(tmp_path: pathlib.Path) -> None:
    console = tmp_path / "console.log"
    console.write_text("reboot: Restarting system\n\nFailed to exec kernel: No such file or directory\n\n")
    assert lvslab_machine.rebooting(console)
    with console.open("a") as file:
        file.write("boot again " * 100 + "\nreboot: System halted\n")
    assert not lvslab_machine.rebooting(console)


def test_directory_that_is_no_labs_is_not_removed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ssh").mkdir()
    lvslab.check_ours(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(lvslab_image.LabError, match=r"thesis\.tex"):
        lvslab.down("unit-test-lab", tmp_path, None)
    assert (tmp_path / "thesis.tex").exists()
    (tmp_path / "lab.json").touch()
    lvslab.check_ours(tmp_path)


@pytest.mark.parametrize("name", ["", "a/b", "A", "x.y"])
def test_lab_names_that_would_lead_astray_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    with pytest.raises(lvslab_image.LabError, match="not the name of a lab"):
        lvslab.down(name, tmp_path, None)
    with pytest.raises(lvslab_image.LabError, match="lab_name"):
        lvslab_description.parse_lab({**described(), "name": name}, DIRECTORY)


@pytest.fixture(scope="module")
def responder() -> Any:
    spec = importlib.util.spec_from_file_location("lvs_responder", FILES / "guest/lvs-responder.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(responder: Any, log: Any, request: bytes) -> bytes:
    """What the responder says over TCP to one request."""
    data = b""
    with (
        responder.bound(socket.AF_INET, socket.SOCK_STREAM, 0) as server,
        socket.create_connection(("127.0.0.1", server.getsockname()[1]), timeout=5) as client,
    ):
        connection, _address = server.accept()
        worker = threading.Thread(target=responder.serve_connection, args=(connection, log))
        worker.start()
        client.sendall(request)
        while piece := client.recv(4096):
            data += piece
        worker.join()
    return data


def test_responder_says_who_where_and_how_much(responder: Any, tmp_path: pathlib.Path) -> None:
    log = responder.Log(str(tmp_path / "log"))
    name = socket.gethostname().encode()
    assert answer(responder, log, b"GET / HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n" + name + b" 127.0.0.1 127.0.0.1\n")
    post = b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000
    assert answer(responder, log, post).endswith(name + b" 100000\n")
    logged = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[:2] + line.split()[3:4] for line in logged] == [["tcp", "127.0.0.1", "127.0.0.1"]] * 2


@pytest.mark.parametrize("address", ["127.0.0.1", "127.7.7.7"])
def test_datagram_is_answered_from_the_address_it_came_to(responder: Any, tmp_path: pathlib.Path, address: str) -> None:
    log = responder.Log(str(tmp_path / "log"))
    with (
        responder.bound(socket.AF_INET, socket.SOCK_DGRAM, 0) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(5)
        # A connected socket takes answers from that address only.
        client.connect((address, server.getsockname()[1]))
        client.send(b"?")
        responder.serve_datagram(server, log)
        assert client.recv(200).split()[1:] == [client.getsockname()[0].encode(), address.encode()]
