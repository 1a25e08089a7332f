# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What heartbeat runs to move a director's part, by the name under which it is called:

    lvs-addresses GROUP start|stop|status   addresses of a group, set at once and announced to the neighbours
    lvs-sync GROUP start|stop|status        IPVS synchronisation: master where the group is, else backup
    lvs-fence reset|off|... [NODE]          the user's fencing command, as a STONITH plugin

and before heartbeat starts, after it has ended, and when the list has changed:

    lvs_heartbeat.py release                give up every address that was set here; synchronisation as backup
    lvs_heartbeat.py wait SECONDS           until ldirectord, if it runs, has found a realserver for every service
    lvs_heartbeat.py reload                 bring what is held here to what the list says now; prints what it did
    lvs_heartbeat.py restart SECONDS        restart heartbeat, and wait until it has agreed with the other node
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

LIST = "/etc/ha.d/lvs.json"
LDIRECTORD = "/etc/ha.d/ldirectord.cf"
# One file for each group that is held here, with the addresses set for it: the list may change meanwhile.
HELD = "/run/lvs-heartbeat"
# It is there while the synchronisation daemon is one of ours.
SYNCS = "/run/lvs-heartbeat.sync"
# Its presence means that heartbeat is about to take over from a director that served without it.
ADOPT = "/run/lvs-heartbeat.adopt"
MODULES = "/usr/local/lib/lvs/lvs.pyz"
RESOURCE_MANAGER = "/usr/share/heartbeat/ResourceManager"
PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
# Seconds after the first announcement: a switch or a neighbour may lose one, or learn from a dying node after it.
AGAIN = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
ARPHRD_ETHER = 1
TIMEOUT = 60
# Of the user's fencing command: machines take their time to die. Until it ends with 0, nothing is taken over.
FENCING_TIMEOUT = 300

Address = Mapping[str, Any]  # address with prefix length, device, deprecated


def say(text: str) -> None:
    """For heartbeat's log, or the journal."""
    sys.stderr.write(f"lvs: {text}\n")


def run(arguments: Sequence[str], given: str = "", seconds: int = TIMEOUT) -> tuple[int, str, str]:
    """A program's exit code, output and complaints; one that is not there ends with 127."""
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            list(arguments), input=given, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        return 127, "", f"{arguments[0]} is not installed"
    except subprocess.TimeoutExpired:  # its text has the arguments, which may be a password
        return 1, "", f"not done after {seconds} seconds, ended"
    except OSError as error:
        return 1, "", str(error)
    return done.returncode, done.stdout, done.stderr


def read(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def listed() -> dict[str, Any]:
    """The list that the role wrote."""
    return read(LIST) or {"groups": {}, "sync": None, "fence": None, "nodes": {}}


# ---- addresses


def key(address: Address) -> tuple[str, str]:
    return str(address["address"]), str(address["device"])


def present() -> set[tuple[str, str]]:
    """Every address of this host, with its device."""
    code, text, complaint = run(["ip", "-json", "address", "show"])
    if code:
        raise SystemExit(f"ip address show ended with {code}: {complaint.strip()}")
    return {
        (f"{entry['local']}/{entry['prefixlen']}", link["ifname"])
        for link in json.loads(text or "[]")
        for entry in link.get("addr_info", [])
        if "local" in entry
    }


def held() -> dict[str, list[Address]]:
    """The groups that are held here, with what was set for them."""
    with suppress(FileNotFoundError):
        return {name: read(os.path.join(HELD, name)) or [] for name in sorted(os.listdir(HELD))}
    return {}


def hold(group: str, addresses: Iterable[Address]) -> None:
    os.makedirs(HELD, exist_ok=True)
    with open(os.path.join(HELD, group), "w", encoding="utf-8") as file:
        json.dump(list(addresses), file)


def change(lines: Sequence[str]) -> None:
    """All in one process, and on past what fails: hundreds of addresses take as long as a few processes."""
    if lines:
        code, _text, complaint = run(["ip", "-force", "-batch", "-"], "".join(f"{line}\n" for line in lines))
        if code:
            say(f"ip -batch: {' '.join(complaint.split())}")


def adding(address: Address) -> str:
    """Not checked for duplicates: it was the other node's a moment ago. Deprecated is no source of own traffic."""
    where = f"address replace {address['address']} dev {address['device']}"
    if ":" not in str(address["address"]):
        return where
    return f"{where} nodad valid_lft forever" + (" preferred_lft 0" if address.get("deprecated") else "")


def start(group: str) -> int:
    """Set what is missing, tell the neighbours of all; a failure only if nothing of it could be set."""
    wanted = listed()["groups"].get(group, [])
    before = held().get(group, [])
    hold(group, [*wanted, *(old for old in before if key(old) not in set(map(key, wanted)))])
    there = present()
    change([adding(address) for address in wanted if key(address) not in there])
    there = present()
    good = [address for address in wanted if key(address) in there]
    for address in wanted:
        if address not in good:
            say(f"{address['address']} could not be set on {address['device']}")
    announce(good)
    return 0 if good or not wanted else 1


def stop(group: str) -> int:
    """Take away what is there of it, old and new; done if nothing is left."""
    mine = {key(address) for address in [*listed()["groups"].get(group, []), *held().get(group, [])]}
    change([f"address delete {address} dev {device}" for address, device in sorted(mine & present())])
    left = mine & present()
    for address, device in sorted(left):
        say(f"{address} is still on {device}")
    if not left:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(HELD, group))
    return 1 if left else 0


def is_up(group: str) -> bool:
    wanted = {key(address) for address in listed()["groups"].get(group, [])}
    return bool(wanted) and wanted <= present()


def addresses(group: str, action: str) -> int:
    if action == "start":
        return start(group)
    if action == "stop":
        return stop(group)
    running = is_up(group)
    if running:
        # heartbeat asks when it takes a group, and then does not start what runs: a director that has kept its VIPs
        # while the other one had them, too, is not the one that the neighbours know.
        announce(listed()["groups"][group])
    return status(running)


def status(running: bool) -> int:
    """In words, too: heartbeat reads them."""
    print("running" if running else "stopped")
    return 0 if running else 3


# ---- announcements


def announce(targets: Sequence[Address]) -> None:
    """Once now, and again for a while in a process of its own, for which nobody waits."""
    try:
        frames = every_frame(targets)
    except ImportError:
        say(f"{MODULES} is missing, so neighbours learn of the addresses by asking only")
        return
    send(frames)
    if not frames or os.fork():
        return
    os.setsid()
    os.closerange(0, 256)
    for number in (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY):
        os.open(os.devnull, number)
    begin = time.monotonic()
    for seconds in AGAIN:
        time.sleep(max(0.0, begin + seconds - time.monotonic()))
        # Not one word about an address that has been given up meanwhile.
        there = present()
        send({place: frames[place] for place in frames if place in there})
    os._exit(0)


def every_frame(targets: Sequence[Address]) -> dict[tuple[str, str], list[bytes]]:
    """The frames that tell of each address, by address and device."""
    sys.path.insert(0, MODULES)
    from lvs import _neighbour_frames  # type: ignore[import-not-found]  # role director installs it on the host

    macs: dict[str, bytes | None] = {}
    frames = {}
    for address, device in map(key, targets):
        if device not in macs:
            macs[device] = hardware(device)
        mac = macs[device]
        if mac:
            frames[address, device] = _neighbour_frames.is_at(address.partition("/")[0], mac)
    return frames


def link(device: str) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        found.bind((device, 0))
    except OSError:
        found.close()
        raise
    return found


def hardware(device: str) -> bytes | None:
    """The device's MAC address; none if it is no Ethernet."""
    try:
        with link(device) as opened:
            name = opened.getsockname()
    except OSError as error:
        say(f"{device} takes no announcements: {error.strerror}")
        return None
    return bytes(name[4][:6]) if name[3] == ARPHRD_ETHER else None


def send(frames: Mapping[tuple[str, str], Sequence[bytes]]) -> None:
    with ExitStack() as stack:
        links: dict[str, socket.socket] = {}
        for (_address, device), each in frames.items():
            with suppress(OSError):  # the device may be down or gone; a later round tries again
                if device not in links:
                    links[device] = stack.enter_context(link(device))
                for frame in each:
                    links[device].send(frame)


# ---- synchronisation


SHOWN = {"mcast": "--mcast-interface", "maxlen": "--sync-maxlen", "group": "--mcast-group", "port": "--mcast-port"}


def daemons() -> dict[str, dict[str, str]]:
    """The options of the daemons that run, by role."""
    _code, text, _complaint = run(["ipvsadm", "-L", "--daemon"])
    found = {}
    for role, inside in re.findall(r"^(master|backup) sync daemon \((.*)\)", text, re.MULTILINE):
        pairs = dict(re.findall(r"(\w+)=([^,\s]+)", inside))
        found[role] = {SHOWN.get(name, f"--{'mcast-' if name == 'ttl' else ''}{name}"): pairs[name] for name in pairs}
    return found


def follow(role: str) -> int:
    """One daemon, of this role: the new one before the old one ends, so that nothing is lost between them."""
    options = (listed()["sync"] or {}).get("options", [])
    wanted = dict(zip(options[::2], options[1::2], strict=True))
    there = daemons()
    steps: list[list[str]] = []
    if role in there and any(there[role].get(name) != value for name, value in wanted.items()):
        steps.append(["--stop-daemon", role])
        del there[role]
    if role not in there:
        steps.append(["--start-daemon", role, *options])
    steps += [["--stop-daemon", other] for other in there if other != role]
    for step in steps:
        code, _text, complaint = run(["ipvsadm", *step])
        if code:
            say(f"ipvsadm {' '.join(step)}: {' '.join(complaint.split())}")
            return 1
    with open(SYNCS, "w", encoding="utf-8"):
        return 0


def follow_list() -> int:
    """The daemon that the list asks for now; where it asks for none, ours ends."""
    if wanted := listed()["sync"]:
        return follow("master" if wanted["group"] in held() else "backup")
    if not os.path.exists(SYNCS):
        return 0
    os.unlink(SYNCS)
    there = list(daemons())
    # Two are not ours: role director has started them, as several directors are active now.
    return run(["ipvsadm", "--stop-daemon", *there])[0] if len(there) == 1 else 0


def sync(group: str, action: str) -> int:
    if (listed()["sync"] or {}).get("group") != group:
        return status(False) if action == "status" else 0
    if action == "status":
        return status(set(daemons()) == {"master"})
    return follow("master" if action == "start" else "backup")


# ---- fencing


def fence(arguments: Sequence[str]) -> int:
    """A STONITH plugin of cluster-glue's kind `external`."""
    action, node = arguments[0], arguments[1] if len(arguments) > 1 else ""
    config = listed()
    if action in ("reset", "off"):
        names = {name.lower(): host for name, host in (config.get("nodes") or {}).items()}
        command = [*(config["fence"] or ["false"]), names.get(node.lower(), node)]
        code, text, complaint = run(command, seconds=FENCING_TIMEOUT)
        # Its arguments may have a password.
        say(f"{command[0]} {command[-1]} ended with {code}: {' '.join((text + complaint).split())}")
        return code
    if action == "gethosts":
        print("\n".join(config.get("nodes") or {}))
    elif action == "getconfignames":
        print("hostlist")
    elif action.startswith("getinfo-"):
        print("lvs-fence" if action != "getinfo-xml" else "<parameters></parameters>")
    elif action not in ("status", "on"):
        return 1
    return 0


# ---- around heartbeat


def release() -> int:
    """Nothing is held here while heartbeat does not run: it may have died with everything still set."""
    groups = {*listed()["groups"], *held()}
    if os.path.exists(ADOPT):
        os.unlink(ADOPT)
        groups -= adopted()
    results = [stop(group) for group in sorted(groups)]
    results.append(follow("backup") if listed()["sync"] else follow_list())
    return max(results, default=0)


def adopted() -> set[str]:
    """The groups that are here already and shall be: they stay through heartbeat's first start."""
    there = present()
    mine = set()
    for group, wanted in listed()["groups"].items():
        found = [address for address in wanted if key(address) in there]
        if found and (listed().get("preferred") or {}).get(group) == os.uname().nodename.lower():
            hold(group, found)
            mine.add(group)
    return mine


def wait(seconds: int) -> int:
    """Until ldirectord has found a realserver for every service: after a boot it has asked none yet.

    A node that takes the VIPs before has its clients served by the sorry servers, or by nobody.
    """
    if run(["systemctl", "is-active", "ldirectord.service"])[0]:
        return 0
    wanted = checked()
    end = time.monotonic() + seconds
    while missing := sorted(dict(wanted).keys() - dict(wanted & alive()).keys()):
        if time.monotonic() > end:
            say(f"in {seconds} seconds ldirectord has found no realserver for {', '.join(missing)}")
            return 1
        time.sleep(0.5)
    return 0


def checked() -> set[tuple[str, str]]:
    """The services that ldirectord checks, with their realservers, as ipvsadm writes both."""
    text = ""
    with suppress(FileNotFoundError), open(LDIRECTORD, encoding="utf-8") as file:
        text = file.read()
    found = set()
    for six, name, lines in re.findall(r"^virtual(6?) = (\S+)\n((?: .*\n)*)", text, re.MULTILINE):
        option = {"tcp": "-t", "udp": "-u", "fwm": "-f"}[re.findall(r"^ +protocol = (\w+)", lines, re.MULTILINE)[0]]
        service = f"{option} {name}{' -6' if six and option == '-f' else ''}"
        # Without those that the plan gives no weight.
        servers = re.findall(r"^ +real6? = (\S+) \w+ (?!0\b)", lines, re.MULTILINE)
        found |= {(service, server) for server in servers}
    return found


def alive() -> set[tuple[str, str]]:
    """The services and realservers in the table, but for those of weight 0."""
    _code, text, _complaint = run(["ipvsadm", "-S", "-n"])
    return set(re.findall(r"^-a (-[tuf] \S+(?: -6)?) -r (\S+)(?!.* -w 0\b)", text, re.MULTILINE))


def reload() -> int:
    """What is held follows the list at once; a new group comes up where heartbeat would have started it."""
    groups = listed()["groups"]
    result = 0
    had = held()
    # What goes from one group to another stays.
    kept = {key(address) for group in had for address in groups.get(group, [])}
    for group, before in had.items():
        wanted = groups.get(group, [])
        gone = {key(address) for address in before} - kept
        there = present()
        new = [address for address in wanted if key(address) not in there]
        for address, device in sorted(gone & there):
            print(f"- {address} dev {device}")
        for address in new:
            print(f"+ {address['address']} dev {address['device']}")
        change([f"address delete {address} dev {device}" for address, device in sorted(gone & there)])
        if group not in groups:
            hold(group, [address for address in before if key(address) not in kept])
            result = max(result, stop(group))
        elif new or set(map(key, before)) != set(map(key, wanted)):
            hold(group, wanted)
            result = max(result, start(group))
    for group in sorted(set(groups) - set(held())):
        if belongs_here(group):
            print(f"+ {group}")
            result = max(result, run([RESOURCE_MANAGER, "takegroup", f"lvs-addresses::{group}"])[0])
    before_sync = daemons()
    result = max(result, follow_list())
    if (now := daemons()) != before_sync:
        print(f"synchronisation: {' and '.join(sorted(now)) or 'none'}")
    return result


def belongs_here(group: str) -> bool:
    """Whether heartbeat holds here what that group's node prefers to have."""
    _code, text, _complaint = run(["cl_status", "rscstatus"])
    here = (listed().get("preferred") or {}).get(group) == os.uname().nodename.lower()
    return text.strip() in ("all", "local" if here else "foreign")


def restart(seconds: int) -> int:
    """Until the other node can give up what it has: a node that has just started takes nothing yet."""
    code, _text, complaint = run(["systemctl", "restart", "heartbeat.service"], seconds=seconds)
    if code:
        say(f"systemctl restart heartbeat.service: {' '.join(complaint.split())}")
        return code
    for _second in range(seconds):
        if run(["cl_status", "rscstatus"])[1].strip() in ("all", "local", "foreign", "none"):
            return 0
        time.sleep(1)
    say(f"heartbeat was restarted, and has not agreed with the other node in {seconds} seconds")
    return 1


def main(arguments: Sequence[str]) -> int:
    name, rest = os.path.basename(arguments[0]), list(arguments[1:])
    if name == "lvs-fence" and rest:
        return fence(rest)
    if name in ("lvs-addresses", "lvs-sync") and len(rest) == 2 and rest[1] in ("start", "stop", "status"):
        return (addresses if name == "lvs-addresses" else sync)(rest[0], rest[1])
    if rest in (["release"], ["reload"]):
        return release() if rest == ["release"] else reload()
    if len(rest) == 2 and rest[0] in ("restart", "wait") and rest[1].isdecimal():
        return (restart if rest[0] == "restart" else wait)(int(rest[1]))
    say("usage: lvs-addresses|lvs-sync GROUP start|stop|status, lvs_heartbeat.py release|reload|restart|wait [SECONDS]")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
