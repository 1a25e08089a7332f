# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the firewall is kept on the host: records, the undo with its timer, and the unit that loads it at boot."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping

from . import _files
from . import _firewall_iptables as iptables
from . import _firewall_nft as nft
from ._errors import LvsError
from ._firewall_host import NFTABLES, FirewallHost, Texts
from ._firewall_model import FAMILIES

DIRECTORY = "/var/lib/lvs/firewall"
UNDO = f"{DIRECTORY}/undo.sh"
RECORD = f"{DIRECTORY}/record.json"
UNDO_UNIT = "lvs-firewall-undo"
UNIT_NAME = "lvs-firewall.service"
UNIT = f"/etc/systemd/system/{UNIT_NAME}"
RULES = {
    NFTABLES: "/etc/lvs/firewall.nft",
    "ipv4": "/etc/lvs/firewall-ipv4.rules",
    "ipv6": "/etc/lvs/firewall-ipv6.rules",
}
VERSION = 1
# The undo itself takes a moment; nobody may touch the rules meanwhile.
PATIENCE = 30.0

# Programs whose start empties all tables.
_OTHERS = "nftables.service netfilter-persistent.service firewalld.service ufw.service"
_UNIT_TEXT = """\
# Managed by the Ansible module linuxvirtualserver.lvs.firewall: what is changed by hand here is lost.
[Unit]
Description=Linux Virtual Server: packet filter
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
# Their start empties all tables: this one comes after it, and again when they are restarted or reloaded.
After=systemd-modules-load.service local-fs.target {others}
PartOf={others}
ReloadPropagatedFrom={others}

[Service]
Type=oneshot
RemainAfterExit=yes
{starts}
{reloads}
# Stopping it changes nothing: taking the rules away is the work of the module.

[Install]
WantedBy=sysinit.target {others}
"""
_UNDO_TEXT = """\
#!/bin/sh
# Written by the Ansible module linuxvirtualserver.lvs.firewall; run by {unit}.timer unless the rules are confirmed.
# Puts the rules of ours back that were there before.
cd {directory} || exit 1
# Whoever renames this file first has decided: this one, or the confirmation.
mv pending.json undone.json 2>/dev/null || exit 0
status=0
{steps}rm -f undo.sh
exit $status
"""


@dataclass
class Record:
    """What was applied, and what the kernel then showed."""

    backend: str = ""
    rendered: dict[str, str] = field(default_factory=dict)
    listing: dict[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


class Keep:
    """The files and units of ours on one host."""

    def __init__(self, host: FirewallHost, sleep: Callable[[float], None] = time.sleep) -> None:
        self._host = host
        self._sleep = sleep

    def _below(self, path: str) -> str:
        return os.path.join(self._host.root, path.lstrip("/"))

    # ---- records

    def record(self, name: str) -> Record | None:
        """record.json, what is confirmed; pending.json, what is not yet; undone.json, what the timer took back."""
        path = self._below(f"{DIRECTORY}/{name}.json")
        content = _files.read(path)
        if content is None:
            return None
        try:
            found = json.loads(content)
            if found["version"] != VERSION:
                raise ValueError(f"version {found['version']}, not {VERSION}")
            texts = (dict(found[name]) for name in ("rendered", "listing", "config"))
            return Record(str(found["backend"]), *texts)
        except (ValueError, KeyError, TypeError) as error:
            raise LvsError(
                f"{path} cannot be understood ({error}). Remove it; the next run then applies the rules anew."
            ) from error

    def remember(self, name: str, record: Record) -> None:
        content = {"version": VERSION, **vars(record)}
        path = self._below(f"{DIRECTORY}/{name}.json")
        _files.write(path, json.dumps(content, indent=1).encode() + b"\n", 0o600, 0o700)

    def forget(self, *names: str) -> None:
        """Files below the directory; it goes with the last of them, the one above by whoever holds the lock."""
        directory = self._below(DIRECTORY)
        for name in names:
            _files.remove(f"{directory}/{name}", directory)

    def confirm(self) -> bool:
        """Make what is pending the record; False if the undo was faster."""
        try:
            os.rename(self._below(f"{DIRECTORY}/pending.json"), self._below(f"{DIRECTORY}/record.json"))
        except FileNotFoundError:
            return False
        return True

    # ---- the undo

    def systemctl(self, *words: str) -> tuple[int, str]:
        program = self._host.program("systemctl") or "systemctl"
        code, said, complaint = self._host.run([program, *words], "")
        return code, (said + complaint).strip()

    def must_have_systemd(self) -> None:
        if not os.path.isdir(self._below("/run/systemd/system")):
            raise LvsError(
                "systemd does not run this host, so no timer could undo rules that cut the connection, and nothing"
                " would load them at boot. Run a container with systemd in it, or leave the packet filter to its host."
            )

    def write_undo(self, have: Texts, want: Texts) -> None:
        """The script that leads back to ``have``; what was there comes before what was not goes."""
        places = sorted({**have, **want}, key=lambda place: place not in have)
        steps = "".join(self._host.shell(place, have.get(place, ""), want.get(place, "")) for place in places)
        text = _UNDO_TEXT.format(unit=UNDO_UNIT, directory=self._below(DIRECTORY), steps=steps)
        _files.write(self._below(UNDO), text.encode(), 0o700, 0o700)

    def run_undo(self) -> str:
        """Go back now; what went wrong with it."""
        code, said, complaint = self._host.run(["/bin/sh", self._below(UNDO)], "")
        self.forget("undone.json")
        return "" if code == 0 else (said + complaint).strip() or f"code {code}"

    def undo_waits(self) -> bool:
        return self.systemctl("is-active", f"{UNDO_UNIT}.timer")[1] == "active"

    def arm(self, seconds: int) -> None:
        """A timer of systemd's, which outlives this run and its connection."""
        words = [
            "--quiet", "--collect", f"--unit={UNDO_UNIT}", f"--on-active={seconds}",
            "--timer-property=AccuracySec=1s", "/bin/sh", self._below(UNDO),
        ]  # fmt: skip
        code, said, complaint = self._host.run([self._host.program("systemd-run") or "systemd-run", *words], "")
        if code != 0:
            raise LvsError(
                f"The timer that would undo the rules cannot be started, so they were not applied: {said + complaint}"
            )

    def disarm(self) -> None:
        """Stop the timer. An undo that runs already is never cut short."""
        self.systemctl("stop", f"{UNDO_UNIT}.timer")
        end = PATIENCE
        while self.systemctl("is-active", f"{UNDO_UNIT}.service")[1] in ("active", "activating") and end > 0:
            self._sleep(0.2)
            end -= 0.2

    # ---- the next boot

    def files(self, rendered: Texts) -> dict[str, str | None]:
        """Every file for the next boot with its content; None for one that shall not be."""
        wanted: dict[str, str | None] = dict.fromkeys((*RULES.values(), UNIT))
        starts = []
        if NFTABLES in rendered:
            wanted[RULES[NFTABLES]] = nft.REMOVE + rendered[NFTABLES]
            starts.append(f"{self._host.program('nft')} -f {RULES[NFTABLES]}")
        for family in FAMILIES:
            places = [place for place in rendered if f" {family} " in place]
            if places:
                path = RULES[family]
                wanted[path] = "".join(iptables.whole(place.split()[2], rendered[place]) for place in places)
                program = self._host.iptables(places[0].split()[0], family, "-restore")
                starts.append(f"{program} --noflush --wait=10 {path}")
            for place in places:
                for jump in iptables.jumps(rendered[place]):
                    starts.append(f"/bin/sh -c '{self._host.shell_jump(place, jump)}'")
        if starts:
            wanted[UNIT] = _UNIT_TEXT.format(
                others=_OTHERS,
                starts="\n".join(f"ExecStart={line}" for line in starts),
                reloads="\n".join(f"ExecReload={line}" for line in starts),
            )
        return wanted

    def changes(self, rendered: Texts) -> list[str]:
        """What has to be done for the next boot, as a person would type it."""
        wanted = self.files(rendered)
        have = {path: _files.read(self._below(path)) for path in wanted}
        differing = [path for path, text in wanted.items() if have[path] != (None if text is None else text.encode())]
        steps = []
        if wanted[UNIT] is None and have[UNIT] is not None:
            steps.append(f"systemctl disable --now {UNIT_NAME}")
        steps += [f"rm {path}" for path in differing if wanted[path] is None]
        steps += [f"install -D {os.path.basename(path)} {path}" for path in differing if wanted[path] is not None]
        if UNIT in differing:
            steps.append("systemctl daemon-reload")
        if wanted[UNIT] is not None:
            if UNIT in differing or self.systemctl("is-enabled", UNIT_NAME)[1] != "enabled":
                # Again, not only once: links of an older text go.
                steps.append(f"systemctl reenable {UNIT_NAME}")
            if have[UNIT] is None or self.systemctl("is-active", UNIT_NAME)[1] != "active":
                steps.append(f"systemctl start {UNIT_NAME}")
        return steps

    def carry_out(self, steps: list[str], rendered: Texts) -> None:
        """Do it."""
        wanted = self.files(rendered)
        for step in steps:
            words = step.split()
            content = wanted.get(words[-1])
            if words[0] == "systemctl":
                code, said = self.systemctl(*words[1:])
                if code != 0:
                    raise LvsError(f"{step} ended with code {code}: {said}")
                _files.sync_links_of_units(self._below("/"))
            elif content is None:
                _files.remove(self._below(words[-1]), *([self._below("/etc/lvs")] if words[-1] != UNIT else []))
            else:
                _files.write(self._below(words[-1]), content.encode(), 0o644)
