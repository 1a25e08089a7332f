# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module `firewall` against the running kernel: every kind of rule in every backend, and everybody else's untouched.

systemd is in the place of a timer that the test fires by hand; the undo script is the real one.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _firewall_foreign, _firewall_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_host import FirewallHost
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_keep import UNDO_UNIT, UNIT_NAME
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_model import parse
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_run import Outcome, Request
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._kernel_advice import KernelJudge
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_kernel import Kernel, run_program
from ansible_collections.linuxvirtualserver.lvs.tests.netns.conftest import Neighbour

BACKENDS = ("nftables", "iptables-nft", "iptables-legacy")
VIP, VIP6 = "192.168.1.110/32", "2001:db8:1::110/128"
CONFIG: dict[str, Any] = {
    "marks": [
        {"mark": 1, "family": "ipv4", "protocol": "tcp", "destinations": [VIP], "ports": ["80", "443", "1024-65535"],
         "sources": ["10.0.0.0/8", "172.16.0.0/12"], "interface": "eth1"},
        {"mark": 2, "family": "ipv4", "protocol": "tcp", "destinations": [VIP], "ports": ["80", "443"]},
        {"mark": 3, "family": "ipv4", "protocol": "udp", "destinations": [VIP], "ports": ["80"]},
        {"mark": 4294967295, "family": "ipv6", "destinations": ["2001:db8:2::/64"]},
    ],
    "untracked": [
        {"family": "ipv4", "protocol": "tcp", "destinations": [VIP, "192.168.1.111"], "ports": ["80"]},
        {"family": "ipv6", "protocol": "sctp", "destinations": [VIP6], "ports": ["9", "100-200"]},
    ],
    "clamps": [
        {"family": "ipv4", "sources": [VIP], "mss": 1440},
        {"family": "ipv6", "sources": [VIP6], "mss": 1400},
    ],
    "filter": {
        "ssh_ports": [22, 2222],
        "accept": [
            {"family": "ipv4", "protocol": "tcp", "destinations": [VIP], "ports": ["80", "443"]},
            {"protocol": "tcp", "ports": ["9100"], "sources": ["10.0.0.0/8"]},
            {"protocol": "udp"},
            {"interface": "eth1"},
            {"protocol": "ipip", "sources": ["192.168.1.12"]},
            {"family": "ipv6", "protocol": "ipv6"},
        ],
        "peers": ["192.168.1.12", "2001:db8:1::12"],
        "forward": {
            "realservers": ["10.1.1.2", "2001:db8:2::2"],
            "accept": [{"family": "ipv4", "protocol": "tcp", "ports": ["22"], "destinations": ["10.1.1.2"]}],
        },
    },
}  # fmt: skip
# The match for IPVS needs its module, which the machine that runs this may not have; nftables does without.
MASQUERADE = [
    {"family": "ipv4", "protocol": "tcp", "vip": "192.168.1.110", "port": 80},
    {"family": "ipv6", "vip": "2001:db8:1::/64"},
]
FOREIGN = "\n".join((
    "table inet theirs {",
    "\tchain prerouting {",
    "\t\ttype filter hook prerouting priority mangle; policy accept;",
    "\t\ttcp dport 8080 meta mark set meta mark & 0xffffff00 | 0x00000007",
    "\t}",
    "}",
    "",
))


class Machine:
    """The namespace of the test with files of its own, and a systemd that does as it is told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.timer: list[str] = []
        self.enabled = self.started = False
        (root / "run/systemd/system").mkdir(parents=True)
        for name in ("usr/sbin", "proc", "usr/bin"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).symlink_to(f"/{name}")

    def run(self, words: Sequence[str], given: str = "") -> tuple[int, str, str]:
        name = words[0].rpartition("/")[2]
        if name == "systemd-run":
            assert not self.timer
            self.timer = list(words[words.index("/bin/sh") :])
            return 0, "", ""
        if name == "systemctl":
            return self.systemctl(*words[1:])
        return run_program(words, given)

    def systemctl(self, verb: str, *words: str) -> tuple[int, str, str]:
        unit = words[-1] if words else ""
        if verb == "is-active":
            active = {f"{UNDO_UNIT}.timer": bool(self.timer), UNIT_NAME: self.started}.get(unit, False)
            return 0, "active" if active else "inactive", ""
        if verb == "is-enabled":
            return 0, "enabled" if self.enabled else "disabled", ""
        if verb == "stop" and unit.endswith(".timer"):
            self.timer = []
        self.enabled = {"reenable": True, "disable": False}.get(verb, self.enabled)
        self.started = {"start": True, "disable": False}.get(verb, self.started)
        return 0, "", ""

    def host(self) -> FirewallHost:
        return FirewallHost(str(self.root), self.run, KernelJudge())

    def firewall(self, config: dict[str, Any] | None = None, state: str = "present", **more: Any) -> Outcome:
        return _firewall_run.run(Request(config or {}, state=state, root=str(self.root), **more), self.host())

    def keep(self, config: dict[str, Any], backend: str) -> Outcome:
        done = self.firewall(config, backend=backend)
        assert not done.confirmed
        return self.firewall(state="confirmed")

    def fire(self) -> None:
        words, self.timer = self.timer, []
        subprocess.run(words, check=True, timeout=30)

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for at in ("etc", "var") for path in (self.root / at).rglob("*"))


@pytest.fixture
def machine(namespace: None, tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def out(command: str, given: str = "") -> str:
    done = subprocess.run(command.split(), input=given, check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def usable(machine: Machine, backend: str) -> str:
    reason = machine.host().lacks(backend)
    if reason:
        pytest.skip(f"{backend}: {reason}")
    return backend


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, machine: Machine) -> str:
    return usable(machine, str(request.param))


def foreign(backend: str) -> None:
    """Rules of somebody else in the same tables."""
    if backend == "nftables":
        out("nft -f -", FOREIGN)
        return
    for program in (backend, backend.replace("ip", "ip6", 1)):
        out(f"{program} -t mangle -N THEIRS")
        out(f"{program} -t mangle -A THEIRS -p tcp --dport 8080 -j MARK --set-xmark 7/0xff")
        out(f"{program} -t mangle -A PREROUTING -j THEIRS")
        out(f"{program} -A INPUT -s {'2001:db8::7' if '6' in program else '10.9.9.9'} -m mark --mark 9 -j ACCEPT")


def everything(backend: str) -> str:
    """All rules there are, without chains that are there by default."""
    if backend == "nftables":
        return out("nft -s list ruleset")
    texts = [out(f"{program}-save") for program in (backend, backend.replace("ip", "ip6", 1))]
    return "".join(line + "\n" for text in texts for line in text.splitlines() if line.startswith(("-", ":LVS", ":TH")))


def config_for(backend: str) -> dict[str, Any]:
    return {**CONFIG, "masquerade": MASQUERADE} if backend == "nftables" else CONFIG


def test_apply_confirm_again_remove(machine: Machine, backend: str) -> None:
    foreign(backend)
    before = everything(backend)
    config = config_for(backend)
    assert machine.firewall(config, backend=backend, check=True).result()["changed"]
    assert everything(backend) == before
    assert machine.files() == []
    done = machine.firewall(config, backend=backend)
    assert (done.backend, done.confirmed, bool(machine.timer)) == (backend, False, True)
    kept = machine.firewall(state="confirmed").result()
    assert (kept["changed"], kept["confirmed"], machine.timer) == (True, True, [])
    there = everything(backend)
    for line in before.splitlines():
        assert line in there
    again = machine.firewall(config, backend=backend).result()
    assert (again["changed"], again["confirmed"], again["diff"]) == (False, True, [])
    assert not machine.firewall(state="confirmed").result()["changed"]
    assert machine.enabled
    assert everything(backend) == there
    gone = machine.firewall({})
    assert gone.commands[0].startswith("remove")
    assert everything(backend) == before
    assert machine.files() == ["etc/systemd", "etc/systemd/system", "var/lib"]
    assert not machine.firewall(state="absent").commands


def test_other_rules_take_their_place(machine: Machine, backend: str) -> None:
    machine.keep(config_for(backend), backend)
    smaller = {"marks": CONFIG["marks"][1:2], "clamps": CONFIG["clamps"][:1]}
    done = machine.keep(smaller, backend)
    there = everything(backend)
    assert "192.168.1.12" not in there
    assert there.count("1440") == 1
    assert not machine.firewall(smaller, backend=backend).commands
    assert done.after == machine.host().render(backend, parse(smaller))


def test_old_rules_stay_until_the_second_step(machine: Machine, backend: str) -> None:
    old = {"marks": CONFIG["marks"][1:2], "clamps": CONFIG["clamps"][:1]}
    new = {"marks": [{**CONFIG["marks"][1], "mark": 77}], "filter": CONFIG["filter"]}
    assert machine.firewall(old, "merged", backend=backend).leaving == 0
    machine.firewall(state="confirmed")
    both = machine.firewall(new, "merged", backend=backend)
    assert both.leaving == 2
    machine.firewall(state="confirmed")
    there = everything(backend)
    # What is new is asked first: nftables then needs no second rule for the same packets.
    if backend == "nftables":
        assert "0x0000004d" in there and "0x00000002" not in there
    else:
        assert 0 < there.find("-g LVS-MARK-77") < there.find("-g LVS-MARK-2")
    assert "1440" in there
    assert not machine.firewall(new, "merged", backend=backend).commands
    machine.keep(new, backend)
    assert "1440" not in everything(backend)
    done = machine.firewall(new, "merged", backend=backend)
    assert (done.commands, done.leaving) == ([], 0)
    # What has become an ordinary service is free of the old mark at once.
    plain = {key: value for key, value in CONFIG["marks"][1].items() if key != "mark"}
    assert machine.firewall({"unmarked": [plain]}, "merged", backend=backend).leaving == 1
    there = everything(backend)
    if backend == "nftables":
        assert "0x0000004d" not in there
    else:
        assert there.index("-g LVS-MARK-0") < there.index("-g LVS-MARK-77")
    # A filter is not kept where none shall be.
    assert machine.firewall({}, "merged", backend=backend).leaving == 1
    assert "9100" not in everything(backend)


def test_what_is_not_confirmed_is_undone(machine: Machine, backend: str) -> None:
    foreign(backend)
    machine.keep({"clamps": CONFIG["clamps"]}, backend)
    before, files = everything(backend), machine.files()
    machine.firewall(config_for(backend), backend=backend)
    assert everything(backend) != before
    machine.fire()
    assert everything(backend) == before
    with pytest.raises(LvsError, match="not confirmed in time"):
        machine.firewall(state="confirmed")
    assert machine.firewall(config_for(backend), backend=backend).commands
    machine.fire()
    assert not machine.firewall({"clamps": CONFIG["clamps"]}, backend=backend).commands
    assert machine.files() == files


def test_the_first_rules_are_undone(machine: Machine, backend: str) -> None:
    foreign(backend)
    before = everything(backend)
    machine.firewall(config_for(backend), backend=backend)
    machine.fire()
    assert everything(backend) == before


def test_an_interrupted_run_is_resumed(machine: Machine, backend: str) -> None:
    machine.firewall(CONFIG, backend=backend)
    there = everything(backend)
    resumed = machine.firewall(CONFIG, backend=backend)
    assert (resumed.result()["changed"], resumed.confirmed, bool(machine.timer)) == (False, False, True)
    assert everything(backend) == there
    # Something else is asked for: the unconfirmed rules go first, so that the undo leads back to before them.
    machine.firewall({"clamps": CONFIG["clamps"]}, backend=backend)
    machine.fire()
    assert "LVS-" not in everything(backend)
    assert "inet lvs" not in everything(backend)


def test_drift_is_repaired_and_shown(machine: Machine, backend: str) -> None:
    machine.keep(CONFIG, backend)
    there = everything(backend)
    out("nft add rule inet lvs input tcp dport 23 accept" if backend == "nftables" else f"{backend} -F LVS-INPUT")
    repaired = machine.firewall(CONFIG, backend=backend).result()
    assert repaired["diff"][0]["before"] != repaired["diff"][0]["after"]
    assert ("tcp dport 23" in repaired["before"]) == (backend == "nftables")
    machine.firewall(state="confirmed")
    assert everything(backend) == there


def test_a_change_of_backend_leaves_one(machine: Machine) -> None:
    for backend in (usable(machine, name) for name in (*BACKENDS, "nftables")):
        machine.keep(CONFIG, backend)
        assert {place.split()[0] for place in machine.host().read()} == {backend}
    machine.firewall(CONFIG, backend="iptables-legacy")
    machine.fire()
    assert set(machine.host().read()) == {"nftables"}


def test_a_refused_rule_leaves_what_was_there(machine: Machine, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.keep({"clamps": CONFIG["clamps"]}, backend)
    before = everything(backend)
    render = FirewallHost.render

    def broken(self: FirewallHost, name: str, rules: Any) -> dict[str, str]:
        found = render(self, name, rules)
        last = list(found)[-1]
        bad = "\tchain x {\n\t\tjump nowhere\n\t}\n}\n" if name == "nftables" else "-A LVS-INPUT -j NOWHERE\n"
        return {**found, last: (found[last][:-2] if name == "nftables" else found[last]) + bad}

    monkeypatch.setattr(FirewallHost, "render", broken)
    with pytest.raises(LvsError, match=r"(?i)nowhere.*as they were before"):
        machine.firewall(CONFIG, backend=backend)
    assert everything(backend) == before
    assert machine.timer == []
    monkeypatch.setattr(FirewallHost, "render", render)
    assert not machine.firewall({"clamps": CONFIG["clamps"]}, backend=backend).commands


def test_masquerading_by_iptables(machine: Machine, backend: str) -> None:
    config = {"masquerade": MASQUERADE}
    try:
        machine.firewall(config, backend=backend)
    except LvsError as error:
        assert "xt_ipvs" in error.message
        assert "LVS-" not in everything(backend)
        pytest.skip("this kernel has no xt_ipvs; what was seen is that the message says so")
    assert "masquerade" in everything(backend).lower()


def test_what_boot_loads(machine: Machine, backend: str) -> None:
    """The lines of the unit, after somebody emptied everything."""
    machine.keep(config_for(backend), backend)
    there = machine.host().read()
    unit = (machine.root / "etc/systemd/system/lvs-firewall.service").read_text(encoding="utf-8")
    lines = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
    for line in [*lines, *lines]:
        subprocess.run(line.replace("/etc/lvs/", f"{machine.root}/etc/lvs/"), shell=True, check=True, timeout=30)
    assert machine.host().read() == there
    machine.host().write(*next((place, text, "") for place, text in there.items()))
    for line in lines:
        subprocess.run(line.replace("/etc/lvs/", f"{machine.root}/etc/lvs/"), shell=True, check=True, timeout=30)
    assert machine.host().read() == there
    if shutil.which("systemd-analyze"):
        path = machine.root / "lvs-firewall.service"
        path.write_text(unit, encoding="utf-8")
        said = subprocess.run(
            ["systemd-analyze", "verify", str(path)], check=False, capture_output=True, text=True, timeout=60
        )
        assert "lvs-firewall" not in said.stderr.replace(f"{path}: /", "")


def test_a_thousand_services(machine: Machine, backend: str) -> None:
    """In one transaction; the second run writes nothing."""
    addresses = [f"10.7.{number // 250}.{number % 250 + 1}/32" for number in range(1000)]
    services = [{"family": "ipv4", "protocol": "tcp", "destinations": [one], "ports": ["80"]} for one in addresses]
    config = {
        "marks": [{**service, "mark": number} for number, service in enumerate(services, start=1)],
        "untracked": services,
        "filter": {"ssh_ports": [22], "accept": services},
    }
    start = time.monotonic()
    machine.keep(config, backend)
    assert not machine.firewall(config, backend=backend).commands
    assert time.monotonic() - start < 60
    assert everything(backend).count("10.7.3.250") == 3


def test_marks_of_others(machine: Machine, backend: str) -> None:
    foreign(backend)
    machine.keep(CONFIG, backend)
    out("ip rule add fwmark 0x20/0xff table 100 priority 77")
    out("ip -6 rule add fwmark 1 table 100 priority 78")
    found = _firewall_foreign.gather(machine.host(), Kernel().ip, {"rule ipv6 priority 78 from all fwmark 1": {}})
    marks = [(one["mark"], one["mask"]) for one in found["marks"]]
    assert (7, 0xFF) in marks
    assert (0x20, 0xFF) in marks
    assert not {1, 2, 3, 4294967295}.intersection(mark for mark, _mask in marks)
    assert ((9, 0xFFFFFFFF) in marks) == (backend != "nftables")
    assert "ip rule 77" in [one["where"] for one in found["marks"]]
    json.dumps(found)


# ---- packets


def connects(address: str, port: int, source: Neighbour) -> bool:
    code = f"import socket; socket.create_connection(('{address}', {port}), 1)"
    words = ["nsenter", "-t", source.pid, "-n", "python3", "-c", code]
    return subprocess.run(words, check=False, capture_output=True, timeout=20).returncode == 0


def test_packets_meet_the_filter(neighbours: list[Neighbour], tmp_path: Path) -> None:
    """Planned ports are open and nothing else, for both families, in each backend; neighbours are still found."""
    machine = Machine(tmp_path)
    config = {
        "filter": {
            "ssh_ports": [22],
            "accept": [{"protocol": "tcp", "ports": ["80"]}],
            # The bridge lies in the same namespace, and with br_netfilter its frames pass the forward hook.
            "forward": None,
        }
    }
    servers = [socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
               for port in (22, 80, 8080)]  # fmt: skip
    try:
        for backend in (name for name in BACKENDS if not machine.host().lacks(name)):
            machine.keep(config, backend)
            for address in ("192.168.1.1", "2001:db8:1::1"):
                out("ip neigh flush dev eth1")
                seen = [connects(address, port, neighbours[0]) for port in (22, 80, 8080)]
                assert seen == [True, True, False], (backend, address)
        machine.firewall({})
        assert connects("192.168.1.1", 8080, neighbours[0])
    finally:
        for server in servers:
            server.close()


def test_the_first_mark_stays(neighbours: list[Neighbour], tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    one = {"family": "ipv4", "protocol": "udp", "destinations": ["192.168.1.1"]}
    config = {"marks": [{**one, "mark": 1, "sources": ["192.168.1.2"]}, {**one, "mark": 2, "ports": ["9", "10"]}]}
    counter = "table inet seen {{ chain c {{ type filter hook input priority 0; meta mark {} counter; }}; }}"
    for backend in (name for name in BACKENDS if not machine.host().lacks(name)):
        machine.keep(config, backend)
        for mark, sender, port in ((1, 0, 9), (2, 1, 9), (2, 1, 10), (0, 1, 11)):
            out("nft -f -", counter.format(mark))
            code = f"import socket; socket.socket(2, 2).sendto(b'x', ('192.168.1.1', {port}))"
            subprocess.run(["nsenter", "-t", neighbours[sender].pid, "-n", "python3", "-c", code], check=True)
            assert "packets 1" in out("nft list table inet seen"), (backend, mark, port)
            out("nft delete table inet seen")
