# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of `network` over a host in memory: order, what is given back, what a failure leaves behind."""

from __future__ import annotations

import errno
import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _files, _network_run
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._network_run import Outcome, Request
from ansible_collections.linuxvirtualserver.lvs.tests.unit.fake_host import FakeHost

VIP = {"address": "192.168.1.110/32", "device": "lo"}
ARP = [
    {"key": "net.ipv4.conf.all.arp_ignore", "value": "1"},
    {"key": "net.ipv4.conf.all.arp_announce", "value": "2"},
]
TUN: dict[str, Any] = {
    "modules": ["ip_vs", "ipip"],
    "sysctls": [
        *ARP,
        {"key": "net.ipv4.conf.tunl0.rp_filter", "value": 2},
        {"key": "net.ipv4.vs.conntrack", "value": 1},
    ],
    "devices": [{"name": "tunl0", "kind": "ipip"}],
    "addresses": [{"address": "192.168.1.110", "device": "tunl0"}],
    "routes": [{"destination": "default", "gateway": "192.168.1.254", "device": "eth0", "table": 1100, "advmss": 1440}],
    "rules": [{"from": "192.168.1.110/32", "priority": 1100, "table": 1100}],
}
DIRECTOR: dict[str, Any] = {
    "sysctls": [
        {"key": "net.ipv4.conf.all.accept_redirects", "value": "0"},
        {"key": "net.ipv4.ip_forward", "value": "1"},
        {"key": "net.ipv6.conf.all.forwarding", "value": "1"},
    ],
    "addresses": [
        {"address": "2001:db8:1::110", "device": "eth0", "nodad": True, "deprecated": True, "announce": True}
    ],
}


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def run(host: FakeHost, config: dict[str, Any] | None = None, state: str = "replaced", **more: Any) -> Outcome:
    return _network_run.run(Request(config or {}, state, root=str(host.root), **more), host.kernel())


def ledger(host: FakeHost) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((host.root / "var/lib/lvs/ledger.json").read_text(encoding="utf-8"))["entries"]
    return found


# ---- once, again, back


@pytest.mark.parametrize("config", [TUN, DIRECTOR], ids=["tun", "director"])
def test_do_again_undo_again(host: FakeHost, config: dict[str, Any]) -> None:
    before = host.state()
    checked = run(host, config, check=True)
    assert host.state() == before
    assert host.commands == []
    done = run(host, config)
    assert done.changed
    assert done.result() == checked.result()
    there = host.state()
    assert there != before
    host.commands.clear()
    host.settings.written.clear()
    assert not run(host, config).changed
    assert not run(host, config, "merged").changed
    assert host.commands == host.settings.written == []
    assert host.state() == there
    gone = run(host, state="absent")
    assert gone.changed
    after = host.state()
    for brought in ("tunl0", "vs.conntrack"):
        # What came with a module stays with it.
        after["settings"] = {key: value for key, value in after["settings"].items() if brought not in key}
    after["links"].pop("tunl0", None)
    assert after == before
    assert not run(host, state="absent").changed
    assert not (host.root / "var/lib/lvs").exists()
    assert not (host.root / "etc/lvs").exists()


def test_order_in(host: FakeHost) -> None:
    """No VIP before the ARP settings, no rule before the table it leads to (HOWTO 6.2)."""
    assert run(host, TUN).commands == [
        "modprobe ip_vs",
        "modprobe ipip",
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "sysctl -w net.ipv4.conf.tunl0.rp_filter=2",
        "sysctl -w net.ipv4.vs.conntrack=1",
        "ip link set tunl0 up",
        "ip -4 addr add 192.168.1.110/32 dev tunl0",
        "ip -4 route add default via 192.168.1.254 dev eth0 table 1100 advmss 1440",
        "ip -4 rule add priority 1100 from 192.168.1.110 table 1100",
    ]


def test_order_out(host: FakeHost) -> None:
    run(host, TUN)
    assert run(host, state="absent").commands == [
        "ip -4 addr del 192.168.1.110/32 dev tunl0",
        "ip -4 rule del priority 1100 from 192.168.1.110 table 1100",
        "ip -4 route del default via 192.168.1.254 dev eth0 table 1100 advmss 1440",
        "ip link set tunl0 down",
        "sysctl -w net.ipv4.conf.all.arp_ignore=0",
        "sysctl -w net.ipv4.conf.all.arp_announce=0",
        "sysctl -w net.ipv4.conf.tunl0.rp_filter=0",
        "sysctl -w net.ipv4.vs.conntrack=0",
    ]


def test_results_have_the_shape_of_the_input(host: FakeHost) -> None:
    result = run(host, TUN).result()
    assert result["before"]["addresses"] == []
    assert result["after"]["rules"] == [{"family": "ipv4", "priority": 1100, "from": "192.168.1.110", "table": 1100}]
    assert result["after"]["modules"] == ["ip_vs", "ipip"]
    again = run(host, result["after"])
    assert not again.changed
    assert again.result()["before"] == again.result()["after"] == result["after"]


def test_diff_shows_the_host_and_every_file(host: FakeHost) -> None:
    parts = {part["after_header"].rsplit("/", 1)[-1]: part for part in run(host, TUN).diff()}
    # The saved config says the same once more, so it is not shown.
    assert set(parts) == {"network", "lvs.conf", "90-lvs.conf"}
    assert "+" not in parts["network"]["before"]
    assert "net.ipv4.conf.all.arp_ignore = 0\n" in parts["network"]["before"]
    assert "address 192.168.1.110/32 dev tunl0\n" in parts["network"]["after"]
    assert parts["lvs.conf"]["after"].splitlines()[1:] == ["ip_vs", "ipip"]
    assert "-net.ipv4.conf.tunl0.rp_filter = 2\n" in parts["90-lvs.conf"]["after"]
    assert run(host, TUN).diff() == []


# ---- states


def test_merged_adds_and_tells_what_replaced_would_remove(host: FakeHost) -> None:
    run(host, TUN)
    other = {"addresses": [VIP]}
    merged = run(host, other, "merged")
    assert merged.commands == ["ip -4 addr add 192.168.1.110/32 dev lo"]
    left = merged.result()["leaving"]
    assert {"section": "modules", "name": "ipip"} in left
    assert {"section": "sysctls", **ARP[0]} in left
    assert len(left) == 10
    # The boot brings both back until `replaced` forgets the old.
    saved = json.loads((host.root / "etc/lvs/network.json").read_text(encoding="utf-8"))["config"]
    assert [entry["device"] for entry in saved["addresses"]] == ["tunl0", "lo"]
    replaced = run(host, other)
    assert [line for line in replaced.commands if "addr" in line] == ["ip -4 addr del 192.168.1.110/32 dev tunl0"]
    assert not (host.root / "etc/modules-load.d/lvs.conf").exists()
    assert host.settings.values["net.ipv4.conf.all.arp_ignore"] == "0"


def test_merged_of_a_part_that_is_met_writes_nothing(host: FakeHost) -> None:
    """A director lays the ground with `merged` before its table, and puts the whole in place with `replaced` after."""
    part = {"addresses": [{"address": "10.1.1.1/24", "device": "eth0"}]}
    whole = {"addresses": [*part["addresses"], VIP]}
    run(host, {"addresses": [VIP]})
    assert run(host, part, "merged").changed
    assert run(host, whole).changed
    for config, state in ((part, "merged"), (whole, "replaced")):
        again = run(host, config, state)
        assert (again.changed, again.files) == (False, [])


def test_pruned_is_the_second_half_and_check_mode_foretells_both(host: FakeHost) -> None:
    run(host, TUN)
    other = {"sysctls": [{**ARP[0], "value": "2"}], "addresses": [VIP]}
    foretold = [run(host, other, state, check=True) for state in ("merged", "pruned")]
    done = [run(host, other, state) for state in ("merged", "pruned")]
    assert [outcome.commands for outcome in done] == [outcome.commands for outcome in foretold]
    assert done[1].commands != []
    assert not any(" add " in line for line in done[1].commands)
    assert not run(host, other).changed


def test_merged_edits_in_place(host: FakeHost) -> None:
    run(host, TUN)
    route = {**TUN["routes"][0], "advmss": 1400}
    rule = {**TUN["rules"][0], "table": 1101}
    merged = run(host, {"routes": [route], "rules": [rule]}, "merged")
    assert merged.commands == [
        "ip -4 route replace default via 192.168.1.254 dev eth0 table 1100 advmss 1400",
        "ip -4 rule add priority 1100 from 192.168.1.110 table 1101",
        "ip -4 rule del priority 1100 from 192.168.1.110 table 1100",
    ]
    assert not run(host, {"routes": [route], "rules": [rule]}, "merged").changed


def test_an_attribute_that_is_no_longer_stated_goes(host: FakeHost) -> None:
    run(host, TUN)
    route = {key: value for key, value in TUN["routes"][0].items() if key != "advmss"}
    changed = run(host, {**TUN, "routes": [route]})
    assert changed.commands == ["ip -4 route replace default via 192.168.1.254 dev eth0 table 1100"]


def test_a_route_that_states_less_leaves_the_rest_alone(host: FakeHost) -> None:
    host.batch("ip route replace default via 192.168.1.254 dev eth0 src 192.168.1.2 advmss 1300")
    host.commands.clear()
    assert run(host, {"routes": [{"destination": "default", "gateway": "192.168.1.254"}]}).commands == []
    run(host, state="absent")
    assert host.commands == []


def test_what_stood_there_before_is_used_and_stays(host: FakeHost) -> None:
    host.batch("ip addr add 192.168.1.110/32 dev lo")
    host.batch("ip rule add priority 1100 from 192.168.1.110 table 1100")
    host.batch("ip link add other type dummy")
    host.batch("ip link set other up")
    host.settings.values["net.ipv4.conf.all.arp_ignore"] = "1"
    before = host.state()
    config = {
        "sysctls": ARP[:1],
        "devices": [{"name": "other"}],
        "addresses": [VIP],
        "rules": TUN["rules"],
        "routes": [{"destination": "default", "gateway": "192.168.1.254", "device": "eth0"}],
    }
    assert run(host, config).commands == []
    assert run(host, state="absent").commands == []
    assert host.state() == before


def test_a_replaced_default_route_comes_back_whole(host: FakeHost) -> None:
    host.batch("ip route replace default via 192.168.1.254 dev eth0 proto 3 src 192.168.1.2 mtu 1400")
    before = host.state()
    run(host, {"routes": [{"destination": "default", "gateway": "192.168.1.9"}]})
    assert host.state() != before
    # A second edit does not change what stood there before us.
    run(host, {"routes": [{"destination": "default", "gateway": "192.168.1.8"}]})
    gone = run(host, state="absent")
    assert host.state() == before
    assert gone.result()["after"]["routes"][0]["gateway"] == "192.168.1.254"


def test_somebody_elses_route_is_not_deleted(host: FakeHost) -> None:
    run(host, TUN)
    host.batch("ip route replace default via 192.168.1.77 dev eth0 table 1100")
    gone = run(host, state="absent")
    assert not any("route" in line for line in gone.commands)
    assert "stays" in gone.difference.notes[0]


def test_a_route_over_a_device_that_went_cannot_come_back(host: FakeHost) -> None:
    host.batch("ip link add dsl0 type dummy")
    host.batch("ip link set dsl0 up")
    host.batch("ip route replace default dev dsl0")
    run(host, {"routes": [{"destination": "default", "gateway": "192.168.1.9"}]})
    host.batch("ip link del dsl0")
    gone = run(host, state="absent")
    assert gone.commands == []
    assert "dsl0 is gone" in gone.difference.notes[0]


def test_a_device_of_ours_is_made_and_goes(host: FakeHost) -> None:
    before = host.state()
    config = {
        "sysctls": [
            {"key": "net.ipv4.conf.lvs0.rp_filter", "value": "2"},
            {"key": "net.ipv6.conf.all.forwarding", "value": 1},
        ],
        "devices": [{"name": "lvs0", "kind": "dummy"}],
        "addresses": [{"address": "10.9.9.9/24", "device": "lvs0"}],
    }
    checked = run(host, config, check=True)
    done = run(host, config)
    assert done.commands == checked.commands
    assert done.commands[0] == "ip link add lvs0 type dummy"
    assert not any("lvs0.accept_ra" in line for line in done.commands)
    gone = run(host, state="absent")
    assert gone.commands[-1] == "ip link del lvs0"
    assert host.state() == before


def test_ipv6_prefix_length_is_exchanged(host: FakeHost) -> None:
    """The kernel takes an IPv6 address once per device."""
    host.batch("ip addr add 2001:db8:1::110/64 dev eth0 nodad")
    before = host.state()
    config = {"addresses": [{"address": "2001:db8:1::110/128", "device": "eth0"}]}
    assert run(host, config).commands == [
        "ip -6 addr del 2001:db8:1::110/64 dev eth0",
        "ip -6 addr add 2001:db8:1::110/128 dev eth0",
    ]
    run(host, state="absent")
    assert host.state() == before


def test_ipv6_deprecated_is_edited_in_place(host: FakeHost) -> None:
    host.batch("ip addr add 2001:db8:1::110/128 dev eth0 nodad")
    before = host.state()
    config = {"addresses": [{"address": "2001:db8:1::110/128", "device": "eth0", "deprecated": True}]}
    done = run(host, config)
    assert done.commands == ["ip -6 addr change 2001:db8:1::110/128 dev eth0 nodad valid_lft forever preferred_lft 0"]
    assert not run(host, config).changed
    run(host, state="absent")
    assert host.state() == before


def test_announced_when_added_only(host: FakeHost) -> None:
    run(host, DIRECTOR)
    assert host.announced == [("2001:db8:1::110", "eth0")]
    run(host, DIRECTOR)
    assert len(host.announced) == 1


def test_a_failed_announcement_is_a_warning(host: FakeHost) -> None:
    host.batch("ip link add deaf0 type dummy")
    done = run(host, {"addresses": [{"address": "192.168.1.110", "device": "deaf0", "announce": True}]})
    assert done.warnings == ["192.168.1.110 could not be announced"]


# ---- settings that move others


def test_forwarding_and_all_that_it_moves_come_back(host: FakeHost) -> None:
    host.settings.values["net.ipv4.conf.all.accept_redirects"] = "0"
    host.settings.values["net.ipv4.conf.eth0.forwarding"] = "1"
    host.settings.values["net.ipv6.conf.eth0.forwarding"] = "1"
    before = host.state()
    run(host, {"sysctls": DIRECTOR["sysctls"][1:]})
    assert host.settings.values["net.ipv4.conf.lo.forwarding"] == "1"
    run(host, state="absent")
    assert host.state() == before


def test_accept_ra_stands_before_ipv6_forwarding(host: FakeHost) -> None:
    done = run(host, {"sysctls": DIRECTOR["sysctls"][2:]})
    assert done.commands == [
        "sysctl -w net.ipv6.conf.default.accept_ra=2",
        "sysctl -w net.ipv6.conf.eth0.accept_ra=2",
        "sysctl -w net.ipv6.conf.all.forwarding=1",
    ]
    # It follows from the config, so it is kept for the boot but is no part of the saved config.
    assert "accept_ra = 2" in (host.root / "etc/sysctl.d/90-lvs.conf").read_text(encoding="utf-8")
    assert "accept_ra" not in (host.root / "etc/lvs/network.json").read_text(encoding="utf-8")
    assert run(host, {}).commands == [
        "sysctl -w net.ipv6.conf.all.forwarding=0",
        "sysctl -w net.ipv6.conf.default.accept_ra=1",
        "sysctl -w net.ipv6.conf.eth0.accept_ra=1",
    ]


def test_a_wanted_setting_survives_what_another_moves(host: FakeHost) -> None:
    redirects = {"key": "net.ipv4.conf.all.accept_redirects", "value": "1"}
    forward = {"key": "net.ipv4.ip_forward", "value": "1"}
    run(host, {"sysctls": [redirects, forward]})
    assert host.settings.values["net.ipv4.conf.all.accept_redirects"] == "1"
    host.settings.values["net.ipv4.conf.all.accept_redirects"] = "0"
    run(host, {"sysctls": [redirects, forward]})
    run(host, {"sysctls": [{**redirects, "value": "0"}]})
    assert host.settings.values["net.ipv4.ip_forward"] == "0"
    assert host.settings.values["net.ipv4.conf.all.accept_redirects"] == "0"
    run(host, state="absent")
    assert host.settings.values["net.ipv4.conf.all.accept_redirects"] == "1"


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_value_is_remembered_whoever_moved_it(host: FakeHost, first: int) -> None:
    """A setting that forwarding moved and that is wanted later goes back to what it was before both."""
    before = host.state()
    both = DIRECTOR["sysctls"][:2]
    run(host, {"sysctls": [both[first]]})
    run(host, {"sysctls": both})
    run(host, {"sysctls": [both[1 - first]]})
    run(host, state="absent")
    assert host.state() == before


def test_drift_is_corrected_and_the_first_value_kept(host: FakeHost) -> None:
    run(host, {"sysctls": ARP})
    host.settings.values["net.ipv4.conf.all.arp_ignore"] = "8"
    assert run(host, {"sysctls": ARP}).commands == ["sysctl -w net.ipv4.conf.all.arp_ignore=1"]
    run(host, state="absent")
    assert host.settings.values["net.ipv4.conf.all.arp_ignore"] == "0"


# ---- refusals before anything is touched


def test_everything_that_the_host_cannot_give_in_one_message(host: FakeHost) -> None:
    before = host.state()
    config = {
        "modules": ["ip_vs_nonsense"],
        "sysctls": [
            {"key": "net.ipv4.conf.all.nonsense", "value": "1"},
            {"key": "net.ipv4.conf.eth9.rp_filter", "value": "1"},
            {"key": "net.ipv4.conf.tunl0.rp_filter", "value": "1"},
            {"key": "net.ipv4.vs.conntrack", "value": "1"},
        ],
        "devices": [
            {"name": "tunl0", "kind": "ipip"},
            {"name": "eth0", "kind": "ipip"},
            {"name": "nope", "kind": "weird"},
        ],
        "addresses": [{"address": "192.168.1.110", "device": "eth8"}],
        "routes": [{"destination": "10.0.0.0/8", "device": "eth7"}],
    }
    host.links["eth0"]["kind"] = "veth"
    for check in (True, False):
        with pytest.raises(LvsError) as caught:
            run(host, config, check=check)
        said = caught.value.message
        for part in (
            "kernel module ip_vs_nonsense",
            "net.ipv4.conf.all.nonsense",
            "no device eth9",
            "net.ipv4.conf.tunl0.rp_filter",
            "add ip_vs to modules",
            "add it to modules",
            "eth0: is of kind veth, not ipip",
            "device nope",
            "no device eth8",
            "no device eth7",
        ):
            assert part in said
    after = host.state()
    assert after == before
    assert host.commands == []


def test_a_setting_that_the_device_will_not_have(host: FakeHost) -> None:
    """tunl0 is not there yet, but `all` already tells that no device has such a setting."""
    config = {**TUN, "sysctls": [{"key": "net.ipv4.conf.tunl0.nonsense", "value": "1"}]}
    with pytest.raises(LvsError, match=r"not even net\.ipv4\.conf\.all\.nonsense"):
        run(host, config, check=True)


def test_a_device_that_does_not_come_with_its_module(host: FakeHost) -> None:
    host.batch("ip link add x type dummy")
    (host.root / "proc/modules").write_text("ipip 1 0 - Live 0x0\n", encoding="utf-8")
    with pytest.raises(LvsError, match="fb_tunnels_only_for_init_net"):
        run(host, {"modules": ["ipip"], "devices": [{"name": "tunl0", "kind": "ipip"}]})


def test_unknown_state(host: FakeHost) -> None:
    with pytest.raises(LvsError, match="gathered"):
        run(host, {}, "gathered")


# ---- failures half-way


@pytest.mark.parametrize("refused", ["addr add", "route add", "rule add", "link set"])
def test_a_refused_operation_leaves_nothing_behind(host: FakeHost, refused: str) -> None:
    before = host.state()
    host.refused[refused] = "Operation not permitted"
    with pytest.raises(LvsError, match=r"(?s)CAP_NET_ADMIN.*was undone\. Loaded and left so: ip_vs, ipip\.") as caught:
        run(host, TUN)
    assert f"ip {refused}" in caught.value.message.replace("-4 ", "")
    assert caught.value.details["not_undone"] == []
    after = host.state()
    after["settings"] = {
        key: value for key, value in after["settings"].items() if "tunl0" not in key and ".vs." not in key
    }
    del after["links"]["tunl0"]
    assert after == before
    host.refused.clear()
    assert run(host, TUN).changed


def test_a_refused_value_is_taken_back(host: FakeHost) -> None:
    host.settings.refused["net.ipv4.conf.all.arp_announce"] = errno.EINVAL
    before = host.state()
    with pytest.raises(LvsError, match=r"arp_announce=2: the kernel does not take this value.*undone"):
        run(host, {"sysctls": ARP, "addresses": [VIP]})
    assert host.state() == before


def test_a_module_that_does_not_load(host: FakeHost) -> None:
    before = host.state()
    host.refused["ipip"] = "Exec format error"
    with pytest.raises(LvsError, match=r"modprobe ipip: Exec format error.*Loaded and left so: ip_vs\."):
        run(host, TUN)
    after = host.state()
    del after["settings"]["net.ipv4.vs.conntrack"]
    assert after == before


def test_a_setting_that_does_not_keep_its_value(host: FakeHost) -> None:
    host.settings.deaf.add("net.ipv4.conf.all.arp_ignore")
    before = host.state()
    with pytest.raises(LvsError, match=r"did not stay: sysctl -w net\.ipv4\.conf\.all\.arp_ignore=1"):
        run(host, {"sysctls": ARP, "addresses": [VIP]})
    assert host.state() == before


def test_what_cannot_be_undone_is_named_and_remembered(host: FakeHost) -> None:
    host.refused["route add"] = "Nexthop has invalid gateway"
    host.refused["addr del"] = "Device or resource busy"
    with pytest.raises(
        LvsError, match=r"reaches directly.*NOT undone: ip -4 addr add 192\.168\.1\.110/32 dev tunl0"
    ) as caught:
        run(host, TUN)
    assert len(caught.value.details["not_undone"]) == 1
    assert list(ledger(host)) == ["address 192.168.1.110/32 tunl0"]
    host.refused.clear()
    assert run(host, state="absent").commands == ["ip -4 addr del 192.168.1.110/32 dev tunl0"]


def test_a_failing_removal_puts_everything_back(host: FakeHost) -> None:
    run(host, {**TUN, "sysctls": [*TUN["sysctls"], DIRECTOR["sysctls"][1]]})
    there = host.state()
    host.settings.refused["net.ipv4.vs.conntrack"] = errno.EPERM
    with pytest.raises(LvsError, match="undone"):
        run(host, state="absent")
    assert host.state() == there
    host.settings.refused.clear()
    assert run(host, state="absent").changed


def test_a_file_that_cannot_be_written_takes_everything_back(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    before = host.state()
    write = _files.write

    def full(path: str, content: bytes, *modes: int) -> None:
        if path.endswith("network.json"):
            raise LvsError(f"{path} cannot be written: No space left on device")
        write(path, content, *modes)

    monkeypatch.setattr(_files, "write", full)
    with pytest.raises(LvsError, match=r"network\.json cannot be written.*undone"):
        run(host, {"sysctls": ARP})
    assert host.state() == before


def test_a_crash_loses_no_value_from_before(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is on the disk before the first write; the next run goes on from there."""
    before = host.state()
    host.settings.values["net.ipv4.conf.all.arp_ignore"] = "8"

    def crash(_key: str, _value: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(host.settings, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            run(host, {"sysctls": ARP})
    assert ledger(host)["sysctl net.ipv4.conf.all.arp_ignore"]["before"] == "8"
    host.settings.values["net.ipv4.conf.all.arp_ignore"] = "1"  # it had been written when the power went
    run(host, {"sysctls": ARP})
    run(host, state="absent")
    assert host.settings.values["net.ipv4.conf.all.arp_ignore"] == "8"
    host.settings.values["net.ipv4.conf.all.arp_ignore"] = "0"
    assert host.state() == before


@pytest.mark.parametrize("written", [False, True])
def test_what_a_crashed_change_left_is_still_ours(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """The ledger knows the new form before the kernel has it: either may be there when everything is to go."""

    def wanted(gateway: str, table: int) -> dict[str, Any]:
        return {
            "routes": [{"destination": "default", "gateway": gateway, "device": "eth0", "table": 1100}],
            "rules": [{"from": "192.168.1.2", "priority": 1601, "table": table}],
        }

    before = host.state()
    run(host, wanted("192.168.1.9", 1101))

    def crash(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if written:
            patched.setattr(_network_run._Run, "_verify", crash)
        else:
            patched.setattr(_network_run._Run, "_apply", crash)
        with pytest.raises(KeyboardInterrupt):
            run(host, wanted("192.168.1.10", 1102))
    assert "was" in str(ledger(host))
    run(host, state="absent")
    assert host.state() == before


def test_the_forms_of_before_are_forgotten_when_all_is_well(host: FakeHost) -> None:
    for gateway in ("192.168.1.9", "192.168.1.10"):
        run(host, {"routes": [{"destination": "default", "gateway": gateway, "device": "eth0", "table": 1100}]})
    assert "was" not in str(ledger(host))


# ---- files


def test_files_keep_what_stood_there_before(host: FakeHost) -> None:
    path = host.root / "etc/sysctl.d/90-lvs.conf"
    path.parent.mkdir(parents=True)
    path.write_text("# by hand\n", encoding="utf-8")
    run(host, {"sysctls": ARP})
    assert "arp_ignore" in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE((host.root / "etc/lvs/network.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((host.root / "var/lib/lvs").stat().st_mode) == 0o700
    run(host, state="absent")
    assert path.read_text(encoding="utf-8") == "# by hand\n"


def test_without_persist_no_file_is_written(host: FakeHost) -> None:
    run(host, TUN, persist=False)
    assert not (host.root / "etc").exists()
    run(host, TUN)
    written = host.state()["files"]
    run(host, {}, persist=False)
    assert {path: text for path, text in host.state()["files"].items() if path.startswith("etc")} == {
        path: text for path, text in written.items() if path.startswith("etc")
    }
    run(host, state="absent", persist=False)
    assert not any(path.startswith("etc") for path in host.state()["files"])


def test_after_a_reboot_the_same_call_brings_it_back(host: FakeHost) -> None:
    before = host.state()
    run(host, TUN)
    host.lose_power()
    assert run(host, TUN).commands[:2] == ["modprobe ip_vs", "modprobe ipip"]
    run(host, state="absent")
    assert host.state()["files"] == before["files"]


# ---- drain


def test_an_address_waits_for_its_connections(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    run(host, {"addresses": [VIP]})
    lines = [
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        "   0: 6E01A8C0:0050 FE01A8C0:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1",
        "   1: 6E01A8C0:0050 FE01A8C0:9C41 06 00000000:00000000 00:00000000 00000000     0        0 1 1",
        "   2: 0201A8C0:0016 FE01A8C0:9C42 01 00000000:00000000 00:00000000 00000000     0        0 1 1",
    ]
    tcp = host.root / "proc/net/tcp"
    tcp.write_text("\n".join(lines) + "\n", encoding="ascii")
    clock = [0.0]
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds
        if clock[0] >= 2:
            tcp.write_text(lines[0] + "\n", encoding="ascii")

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", sleep)
    checked = run(host, state="absent", drain_timeout=30, check=True).result()
    assert checked["leaving"][0]["connections"] == 1
    assert waited == []
    gone = run(host, state="absent", drain_timeout=30).result()
    assert clock[0] == 2
    assert gone["leaving"][0]["connections"] == 0


def test_the_drain_ends_when_its_time_is_over(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    run(host, {"addresses": [VIP]})
    line = "   0: 6E01A8C0:0050 FE01A8C0:9C40 01 0:0 0:0 0 0 0 1 1\n"
    (host.root / "proc/net/tcp").write_text("head\n" + line * 3, encoding="ascii")
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    gone = run(host, state="absent", drain_timeout=5)
    assert clock[0] == 5
    assert gone.result()["leaving"][0]["connections"] == 3
    assert gone.commands == ["ip -4 addr del 192.168.1.110/32 dev lo"]
