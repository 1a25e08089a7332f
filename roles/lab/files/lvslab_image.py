# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build what a lab's machines boot from: a kernel, and one base image for each distribution, kept in a cache.

The cache holds (KEY is a hash of everything that goes into the thing, so a changed recipe builds a new one):

    kernel-uml-SUITE-KEY/    a folder to chroot into: the user-mode-linux program, its libc and its kernel modules
    root-DISTRIBUTION-KEY/   a Debian root file system as mmdebstrap leaves it
    image-DISTRIBUTION-KEY/  disk.img, the ext4 base image the machines' own disks are layered over; for qemu also
                             vmlinuz and initrd.img
    NAME.tmp                 half built; the next build (or the end of a lab) removes it
"""

from __future__ import annotations

import ctypes
import dataclasses
import fcntl
import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

FILES = pathlib.Path(__file__).resolve().parent
GUEST_FILES = FILES / "guest"
KERNEL_CONFIG = FILES / "uml.config"

# The kernel source of this suite knows seccomp=on: a system call costs half of what the ptrace way takes.
KERNEL_SOURCE_SUITE = "forky"

DISTRIBUTIONS = ("bookworm", "trixie")

# What a base image is made of: a distribution, and packages besides those that all have.
System = tuple[str, tuple[str, ...]]

# What a machine has from the start. Nothing of LVS: installing that is the business of the roles under test.
PACKAGES = (
    "conntrack",
    "dbus",
    "ethtool",
    "iproute2",
    "iptables",
    "iputils-arping",
    "iputils-ping",
    "kmod",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "strace",
    "systemd",
    "systemd-sysv",
    "tcpdump",
    "udev",
)

# The stock kernel for virtual machines, with what makes its initrd.
QEMU_KERNEL_PACKAGES = ("initramfs-tools", "linux-image-cloud-amd64")

# Units that wait for hardware, tidy up in the background or serve a person at a keyboard. They cost a boot in
# user-mode-linux most of its time. Without udev no unit may wait for a .device unit.
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty.target",
    "ldconfig.service",
    "modprobe@.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-machine-id-commit.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-timesyncd.service",
    "systemd-udev-load-credentials.service",
    "systemd-udev-settle.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd-varlink.socket",
    "systemd-udevd.service",
    "systemd-update-done.service",
)

PR_SET_PDEATHSIG = 1  # linux/prctl.h
KVM_CREATE_VM = 0xAE01  # linux/kvm.h

DISK_SIZE = "3G"  # sparse: a machine's disk takes what it writes

UNUSED_SECONDS = 30 * 24 * 3600


class LabError(Exception):
    """Something the person at the keyboard has to know; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class UmlKernel:
    """A user-mode-linux kernel: the folder to run it in, beside its modules."""

    folder: pathlib.Path
    version: str
    seccomp: bool
    described: str


@dataclasses.dataclass(frozen=True)
class Built:
    """What a build leaves: for each system a folder with disk.img, and the kernel, unless it is qemu's."""

    images: dict[System, pathlib.Path]
    uml: UmlKernel | None
    kvm: bool
    described: str
    changed: bool


@dataclasses.dataclass(frozen=True)
class AptSource:
    """One archive the host's own apt knows: where it is, which release of it, which components."""

    uri: str
    codename: str
    components: tuple[str, ...]


def say(text: str) -> None:
    """Tell the person what happens now (standard output belongs to the result)."""
    print(text, file=sys.stderr, flush=True)


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends: a killed build leaves no workers behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(argv: Sequence[str], *, text: str | None = None, timeout: float = 120) -> str:
    """Run a program to its end and return what it printed; its failure is a LabError with its last lines."""
    try:
        done = subprocess.run(
            argv,
            input=text or "",
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout,
            preexec_fn=die_with_parent,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError as exc:
        raise LabError(f"{argv[0]}: no such program on this host; install the packages of role lab") from exc
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"{' '.join(argv)}: not done after {timeout:.0f} seconds") from exc
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise LabError(f"{' '.join(argv)}: exit status {done.returncode}\n{last}")
    return done.stdout


def run_contained(argv: Sequence[str], timeout: float) -> str:
    """The same in a process namespace of its own: when it goes, everything it started goes with it."""
    return run(
        ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "--", *argv],
        timeout=timeout,
    )


def digest(*parts: object) -> str:
    """A short name for a recipe."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def locked(folder: pathlib.Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder; without waiting, tell whether it was to be had."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


# ---------------------------------------------------------------------------------------------- the package archive


def apt_sources(listing: str) -> list[AptSource]:
    """Read `apt-get indextargets --format ...` of the host: Debian's own archives, components gathered."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in listing.splitlines():
        fields = line.split("|")
        if len(fields) != 4:
            continue
        uri, codename, component, origin = fields
        if origin != "Debian" or not codename:
            continue
        found.setdefault((uri, codename), []).append(component)
    return [AptSource(uri, codename, tuple(dict.fromkeys(parts))) for (uri, codename), parts in found.items()]


def host_sources() -> list[AptSource]:
    """The archives of the host's own apt; its lists must have been fetched once."""
    listing = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)|$(CODENAME)|$(COMPONENT)|$(ORIGIN)",
            "Created-By: Packages",
        ]
    )
    sources = apt_sources(listing)
    if not any(is_main(source) for source in sources):
        raise LabError(
            "this host's apt knows no Debian archive to build machines from: "
            "configure one in /etc/apt/sources.list.d and run apt-get update"
        )
    return sources


def is_main(source: AptSource) -> bool:
    """Whether this is the archive of a release itself (bookworm), not of its updates (bookworm-security)."""
    return re.fullmatch(r"[a-z]+", source.codename) is not None


def sources_for(suite: str, sources: Sequence[AptSource], *, updates: bool) -> list[str]:
    """The host's archives, asked for another release: lines for sources.list."""
    lines = []
    for source in sources:
        _release, dash, kind = source.codename.partition("-")
        if kind not in (("", "updates", "security") if updates else ("",)):
            continue
        line = f"deb {source.uri} {suite}{dash}{kind} {' '.join(source.components)}"
        if line not in lines:
            lines.append(line)
    return lines


def mmdebstrap(target: pathlib.Path, suite: str, sources: Sequence[str], options: Sequence[str]) -> None:
    """Unpack or install a Debian into a folder. An archive copied some time ago may have outlived its Valid-Until."""
    run_contained(
        [
            "mmdebstrap",
            "--format=directory",
            "--mode=root",
            '--aptopt=Acquire::Check-Valid-Until "false"',
            '--aptopt=Acquire::Languages "none"',
            *options,
            suite,
            str(target),
            *sources,
        ],
        timeout=1200,
    )


# ---------------------------------------------------------------------------------------------- the cache


def in_cache(cache: pathlib.Path, name: str, build: Callable[[pathlib.Path], None]) -> tuple[pathlib.Path, bool]:
    """Return the cached folder, built first where there is none yet; a folder appears only when it is complete."""
    folder = cache / name
    if folder.is_dir():
        os.utime(folder)  # tells forget_unused that somebody uses it
        return folder, False
    half = cache / f"{name}.tmp"
    remove_tree(half)
    half.mkdir(mode=0o755)
    build(half)
    half.rename(folder)
    return folder, True


def remove_tree(folder: pathlib.Path) -> None:
    """Remove a folder, whether it is there or not."""
    if folder.exists():
        shutil.rmtree(folder)


def forget_unused(cache: pathlib.Path) -> None:
    """Remove what no lab was built from for a month: changed recipes leave their predecessors behind."""
    for pattern in ("kernel-*", "root-*", "image-*"):
        for folder in cache.glob(pattern):
            if time.time() - folder.stat().st_mtime > UNUSED_SECONDS:
                remove_tree(folder)


def sweep(cache: pathlib.Path) -> None:
    """Remove what an interrupted build left half done, unless a build is running now."""
    if not cache.is_dir():
        return
    with locked(cache, wait=False) as mine:
        if mine:
            for half in cache.glob("*.tmp"):
                remove_tree(half)


# ---------------------------------------------------------------------------------------------- kernel and modules


def libraries_of(program: pathlib.Path, tree: pathlib.Path) -> list[pathlib.Path]:
    """The shared libraries a program needs, and theirs, and the loader; all of them are somewhere in the tree."""
    # Not named in the program: the loader, and what libc loads when a thread is cancelled, as at a guest's reboot.
    unnamed = ("ld-linux-x86-64.so.2", "libgcc_s.so.1")
    found = {name: next(path for path in tree.rglob(name) if path.is_file()) for name in unnamed}
    todo = [program]
    while todo:
        for name in re.findall(r"^\s+NEEDED\s+(\S+)$", run(["objdump", "-p", str(todo.pop())]), re.MULTILINE):
            if name not in found:
                found[name] = next(path for path in tree.rglob(name) if path.is_file())
                todo.append(found[name])
    return [found[name] for name in sorted(found)]


def install_program(folder: pathlib.Path, program: pathlib.Path, libraries: pathlib.Path) -> None:
    """Put the kernel and the libraries it needs where its machines are chrooted to."""
    root = folder / "root"
    # /machine and /image are where a machine's own folder and its base image are bound when it starts.
    for name in ("dev", "proc", "tmp", "machine", "image", "usr/bin", "lib64"):
        (root / name).mkdir(parents=True)
    (root / "lib").symlink_to("lib64")
    shutil.copy2(program, root / "usr/bin/linux.uml")
    for library in libraries_of(program, libraries):
        shutil.copy2(library, root / "lib64" / library.name)


def install_modules(source: pathlib.Path, folder: pathlib.Path, version: str) -> None:
    """Copy kernel modules without their debugging symbols (a guest reads all of a module to load it)."""
    target = folder / "modules/lib/modules" / version
    shutil.copytree(source, target, symlinks=True)
    modules = [str(path) for path in target.rglob("*.ko")]
    for start in range(0, len(modules), 200):
        run(["strip", "--strip-debug", *modules[start : start + 200]])
    run(["depmod", "--basedir", str(folder / "modules"), version])


def not_honoured(wanted: str, config: str) -> list[str]:
    """The lines of a configuration fragment that a complete configuration contradicts, or does not know."""
    made = set(config.splitlines())
    names = {line.partition("=")[0] for line in made if line.startswith("CONFIG_")}
    lost = []
    for line in wanted.splitlines():
        off = re.fullmatch(r"# (CONFIG_\w+) is not set", line)
        # What a configuration does not mention is off.
        if (off and off[1] in names) or (line.startswith("CONFIG_") and line not in made):
            lost.append(line)
    return lost


def configure(source: pathlib.Path) -> None:
    """Make the kernel's configuration: user-mode-linux's own defaults with our fragment over them."""
    make = ["make", "--silent", "-C", str(source), "ARCH=um"]
    run([*make, "defconfig"])
    merge = [str(source / "scripts/kconfig/merge_config.sh"), "-m", "-O", str(source)]
    run([*merge, str(source / ".config"), str(KERNEL_CONFIG)])
    run([*make, "olddefconfig"])
    lost = not_honoured(KERNEL_CONFIG.read_text(), (source / ".config").read_text())
    if lost:
        raise LabError(
            f"this kernel source does not honour these lines of {KERNEL_CONFIG.name}: {', '.join(lost)}. "
            "Its options have changed: correct or remove them there (make ARCH=um menuconfig shows what they need)"
        )


def compile_kernel(folder: pathlib.Path, source: pathlib.Path) -> str:
    """Configure, compile and install a kernel with the host's own compiler; returns its version."""
    configure(source)
    make = ["make", "--silent", "-C", str(source), "ARCH=um"]
    run_contained([*make, f"-j{len(os.sched_getaffinity(0))}", "linux", "modules"], timeout=5400)
    run([*make, "modules_install", f"INSTALL_MOD_PATH={folder / 'modules'}", "INSTALL_MOD_STRIP=1"])
    version = run([*make, "kernelrelease"]).strip()
    (folder / "modules/lib/modules" / version / "build").unlink()  # leads to the source, which goes away
    run(["strip", str(source / "linux")])
    (loader,) = pathlib.Path("/usr/lib").glob("*/ld-linux-x86-64.so.2")
    install_program(folder, source / "linux", loader.parent)
    return version


def described_kernel(folder: pathlib.Path) -> UmlKernel:
    """A kernel of the cache: what is built, and what its file `version` says of it."""
    version, origin = (folder / "version").read_text().splitlines()
    seccomp = tuple(int(part) for part in version.split(".")[:2]) >= (6, 16)
    way = "seccomp" if seccomp else "ptrace"
    return UmlKernel(folder, version, seccomp, f"user-mode-linux {version}, {origin} ({way})")


def build_own_kernel(cache: pathlib.Path, sources: Sequence[AptSource], suite: str) -> tuple[UmlKernel, bool]:
    """A kernel built from one Debian release's source with what the lab needs; once, for it takes minutes."""
    lines = sources_for(suite, sources, updates=False)

    def build(folder: pathlib.Path) -> None:
        say(f"fetching the kernel source of Debian {suite}")
        unpacked, source = folder / "unpacked", folder / "source"
        mmdebstrap(unpacked, suite, lines, ["--variant=extract", "--include=linux-source"])
        (archive,) = (unpacked / "usr/src").glob("linux-source-*.tar.xz")
        (changelog,) = (unpacked / "usr/share/doc").glob("linux-source-*/changelog.Debian.gz")
        with gzip.open(changelog, "rt") as file:
            origin = re.sub(r"^(\S+) \((\S+)\).*\n", r"built from \1 \2", file.readline()) + f" of Debian {suite}"
        source.mkdir()
        # A third of the source drives displays.
        run(
            [
                *("tar", "--extract", "--xz", "--strip-components=1", "--exclude=*/drivers/gpu/drm/*.[ch]"),
                *("--directory", str(source), "--file", str(archive)),
            ],
            timeout=600,
        )
        remove_tree(unpacked)
        say("building the machines' kernel from it: about ten minutes, once")
        version = compile_kernel(folder, source)
        remove_tree(source)
        (folder / "version").write_text(f"{version}\n{origin}\n")

    key = digest("own kernel", 1, lines, KERNEL_CONFIG.read_text())
    folder, changed = in_cache(cache, f"kernel-uml-{suite}-{key}", build)
    return described_kernel(folder), changed


def fetch_kernel(cache: pathlib.Path, sources: Sequence[AptSource], suite: str) -> tuple[UmlKernel, bool]:
    """The user-mode-linux program of one Debian release with the libc it needs."""
    lines = sources_for(suite, sources, updates=False)

    def build(folder: pathlib.Path) -> None:
        say(f"fetching the user-mode-linux kernel of Debian {suite}")
        unpacked = folder / "unpacked"
        mmdebstrap(unpacked, suite, lines, ["--variant=extract", "--include=user-mode-linux"])
        (version,) = os.listdir(unpacked / "usr/lib/uml/modules")
        install_program(folder, unpacked / "usr/bin/linux.uml", unpacked)
        install_modules(unpacked / "usr/lib/uml/modules" / version, folder, version)
        remove_tree(unpacked)
        (folder / "version").write_text(f"{version}\npackage user-mode-linux of Debian {suite}, without nftables\n")

    folder, changed = in_cache(cache, f"kernel-uml-{suite}-{digest('kernel', 5, lines)}", build)
    return described_kernel(folder), changed


def uml_kernel(
    cache: pathlib.Path, sources: Sequence[AptSource], allow_distribution_kernel: bool
) -> tuple[UmlKernel, bool]:
    """Our own kernel; the distribution's only where the user said so: it is slower and has no nftables."""
    try:
        return build_own_kernel(cache, sources, KERNEL_SOURCE_SUITE)
    except LabError as exc:
        if not allow_distribution_kernel:
            raise LabError(
                f"the lab's kernel could not be built from linux-source of Debian {KERNEL_SOURCE_SUITE}. Where this "
                f"host's package archive does not offer that suite: make it do so (and upgrade debian-archive-keyring "
                f"if a signature is not known), or set lab_allow_distribution_kernel: true to boot the kernel of this "
                f"host's own release, which is slower and has no nftables.\n{exc}"
            ) from exc
        own = next(source.codename for source in sources if is_main(source))
        say(f"no kernel of our own ({exc}): taking the slower one of Debian {own}, as allowed")
        return fetch_kernel(cache, sources, own)


# ---------------------------------------------------------------------------------------------- base images


def build_root(
    cache: pathlib.Path,
    sources: Sequence[AptSource],
    distribution: str,
    packages: Sequence[str],
    offline_packages: Sequence[str],
) -> tuple[pathlib.Path, bool]:
    """A bare Debian with package lists, and the .deb files of the offline packages ready to be installed."""
    lines = sources_for(distribution, sources, updates=True)
    options = [
        "--variant=minbase",
        "--include=" + ",".join(packages),
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        # The lists and the downloaded packages are what makes apt-get work in a guest without a network.
        "--skip=cleanup/apt,cleanup/reproducible",
        '--customize-hook=APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get clean',
    ]
    if offline_packages:
        names = " ".join(offline_packages)
        options.append(
            '--customize-hook=APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get install --yes --download-only '
            f"--no-install-recommends {names}"
        )
    # apt's own digest of the lists takes seconds to make in a guest, and nothing here.
    options.append('--customize-hook=chroot "$1" apt-cache gencaches')

    def build(folder: pathlib.Path) -> None:
        say(f"installing a bare Debian {distribution}")
        mmdebstrap(folder, distribution, lines, options)

    return in_cache(cache, f"root-{distribution}-{digest('root', 2, lines, options)}", build)


def dress_root(root: pathlib.Path, guest_files: pathlib.Path) -> None:
    """Add to a bare Debian what makes it a machine of the lab: boot unit, test responder, masked units."""
    units = root / "etc/systemd/system"
    for unit in MASKED_UNITS:
        link = units / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    # Started over D-Bus when somebody asks for it (shutdown does), not at boot.
    (root / "usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service").unlink(missing_ok=True)
    shutil.copy2(guest_files / "lvs-responder.py", root / "usr/local/sbin/lvs-responder")
    shutil.copy2(guest_files / "lvslab-boot", root / "usr/local/sbin/lvslab-boot")
    for program in ("lvs-responder", "lvslab-boot"):
        (root / "usr/local/sbin" / program).chmod(0o755)
    for unit in ("lvs-responder.service", "lvslab-boot.service"):
        shutil.copy2(guest_files / unit, units / unit)
        (units / unit).chmod(0o644)
    wants = units / "sysinit.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "lvslab-boot.service").symlink_to("/etc/systemd/system/lvslab-boot.service")
    for name, text in {
        "etc/hostname": "lvslab\n",
        "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
        "etc/fstab": "# The root file system is mounted by the kernel.\n",
        # Any valid identity here keeps systemd from thinking this is an installation's first boot; each machine
        # is given one of its own on the kernel's command line.
        "etc/machine-id": digest("machine-id", 1) + digest("machine-id", 2) + digest("machine-id", 3)[:8] + "\n",
        "etc/default/locale": "LANG=C.UTF-8\n",
    }.items():
        (root / name).unlink(missing_ok=True)
        (root / name).write_text(text)
    (root / "var/lib/apt/periodic").mkdir(exist_ok=True)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("# The lab has no name service.\n")


def build_image(
    cache: pathlib.Path, root: pathlib.Path, distribution: str, kernel: UmlKernel | None
) -> tuple[pathlib.Path, bool]:
    """The ext4 base image: the bare Debian, dressed, with the kernel's modules. Made without mounting anything.

    Without a kernel from elsewhere the distribution's own, installed in the root, is put beside the image for qemu.
    """
    guest = {path.name: path.read_text() for path in sorted(GUEST_FILES.iterdir()) if path.is_file()}
    # The kernel's description as well as its key: built again, it may be of a newer source.
    modules_of = [kernel.folder.name, kernel.described] if kernel else []
    key = digest("image", 6, root.name, modules_of, guest, MASKED_UNITS, DISK_SIZE)

    def build(folder: pathlib.Path) -> None:
        say(f"making the base image of {distribution}")
        tree = folder / "tree"
        run(["cp", "--archive", "--reflink=auto", str(root), str(tree)], timeout=300)
        dress_root(tree, GUEST_FILES)
        if kernel:
            modules = tree / "usr/lib/modules"
            shutil.copytree(kernel.folder / "modules/lib/modules", modules, symlinks=True, dirs_exist_ok=True)
        else:
            for name in ("vmlinuz", "initrd.img"):
                (found,) = (tree / "boot").glob(f"{name}-*")
                shutil.copy2(found, folder / name)
        disk = folder / "disk.img"
        run(["truncate", "--size", DISK_SIZE, str(disk)])
        run(["mkfs.ext4", "-q", "-F", "-L", "lvslab", "-m", "0", "-d", str(tree), str(disk)], timeout=300)
        remove_tree(tree)

    return in_cache(cache, f"image-{distribution}-{key}", build)


def kvm_works() -> bool:
    """Whether this host can make virtual machines that the processor runs.

    The device alone says nothing: some hosts that are virtual machines themselves have one that stops at the first
    instruction it does not know.
    """
    flags = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    if not flags or {"vmx", "svm"}.isdisjoint(flags.group(1).split()):
        return False
    try:
        with open("/dev/kvm", "rb+", buffering=0) as device:
            os.close(fcntl.ioctl(device, KVM_CREATE_VM, 0))
    except OSError:
        return False
    return True


def build_all(
    cache: pathlib.Path,
    systems: Iterable[System],
    offline_packages: Sequence[str],
    *,
    backend: str,
    allow_distribution_kernel: bool = False,
) -> Built:
    """Everything the machines boot from; what is already in the cache is taken from there."""
    with locked(cache):
        for half in cache.glob("*.tmp"):
            remove_tree(half)
        sources = host_sources()
        kernel, changed = None, False
        packages: tuple[str, ...] = PACKAGES
        kvm = backend == "qemu" and kvm_works()
        described = f"the distributions' own kernels in QEMU, {'with KVM' if kvm else 'emulated: there is no KVM here'}"
        if backend == "uml":
            kernel, changed = uml_kernel(cache, sources, allow_distribution_kernel)
            described = kernel.described
        else:
            packages += QEMU_KERNEL_PACKAGES
        images = {}
        for system in sorted(set(systems)):
            distribution, more = system
            root, new_root = build_root(cache, sources, distribution, packages + more, sorted(set(offline_packages)))
            images[system], new_image = build_image(cache, root, distribution, kernel)
            changed = changed or new_root or new_image
        forget_unused(cache)
        return Built(images, kernel, kvm, described, changed)
