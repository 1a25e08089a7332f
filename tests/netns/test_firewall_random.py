# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever valid config is given, nft and iptables take what it is rendered to."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _firewall_iptables, _firewall_nft
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._firewall_model import parse

# Few values, so that they overlap, touch and repeat.
NETWORKS = {
    "ipv4": ("10.0.0.0/8", "10.1.0.0/16", "10.1.0.1/32", "10.1.0.2", "192.168.1.110/32", "0.0.0.0/0"),
    "ipv6": ("2001:db8::/32", "2001:db8::1/128", "2001:db8::2", "fe80::/10", "::/0"),
}
PORTS = ("1", "80", "443", "79-81", "82", "1024-65535", "65535", *(str(port) for port in range(100, 160, 3)))
families = st.sampled_from(("ipv4", "ipv6"))
ports = st.lists(st.sampled_from(PORTS), max_size=25)
protocols = st.sampled_from(("tcp", "udp", "sctp"))
interfaces = st.sampled_from((None, "eth0", "bond0.100", "a@b:c-d_e"))


def networks(family: str, smallest: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(NETWORKS[family]), min_size=smallest, max_size=3)


@st.composite
def matches(draw: st.DrawFn, needed: int = 1, sources: bool = True) -> dict[str, Any]:
    family = draw(families)
    entry: dict[str, Any] = {"family": family, "destinations": draw(networks(family, needed))}
    if draw(st.booleans()):
        entry.update(protocol=draw(protocols), ports=draw(ports))
    if sources:
        entry.update(sources=draw(networks(family)), interface=draw(interfaces))
    return entry


@st.composite
def marks(draw: st.DrawFn) -> dict[str, Any]:
    return {**draw(matches()), "mark": draw(st.sampled_from((1, 2, 2**32 - 1)))}


@st.composite
def masquerades(draw: st.DrawFn) -> dict[str, Any]:
    family = draw(families)
    entry = {"family": family, "vip": draw(st.sampled_from(NETWORKS[family]))}
    return {**entry, **draw(st.sampled_from(({}, {"protocol": "udp"}, {"protocol": "tcp", "port": 80})))}


@st.composite
def clamps(draw: st.DrawFn) -> dict[str, Any]:
    family = draw(families)
    return {"family": family, "sources": draw(networks(family, 1)), "mss": draw(st.sampled_from((536, 1440, 65495)))}


both = st.fixed_dictionaries({"interface": interfaces}, optional={"protocol": protocols})
everywhere = st.sampled_from(("ipv4", "ipv6")).flatmap(networks)
filters = st.fixed_dictionaries(
    {
        "ssh_ports": ports,
        "accept": st.lists(st.one_of(matches(needed=0), both), max_size=4),
        "peers": everywhere,
        "forward": st.one_of(st.none(), st.fixed_dictionaries({"realservers": everywhere})),
    }
)
configs = st.fixed_dictionaries(
    {
        "marks": st.lists(marks(), max_size=5),
        "untracked": st.lists(matches(sources=False), max_size=3),
        "masquerade": st.lists(masquerades(), max_size=2),
        "clamps": st.lists(clamps(), max_size=2),
        "filter": st.one_of(st.none(), filters),
    }
)
# The namespace stays the same for all examples; nothing is written into it.
bounded = settings(max_examples=80, suppress_health_check=list(HealthCheck))


def taken(command: str, text: str) -> None:
    done = subprocess.run(command.split(), input=text, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{text}"


@pytest.mark.skipif(not shutil.which("nft"), reason="nft is not installed")
@pytest.mark.usefixtures("namespace")
@bounded
@given(config=configs)
def test_nft_takes_it(config: dict[str, Any]) -> None:
    taken("nft -c -f -", _firewall_nft.REMOVE + _firewall_nft.render(parse(config)))


@pytest.mark.parametrize("variant", ["nft", "legacy"])
@pytest.mark.usefixtures("namespace")
@settings(bounded, max_examples=30)
@given(config=configs)
def test_iptables_takes_it(variant: str, config: dict[str, Any]) -> None:
    """All but masquerading, for whose match the kernel may have no module."""
    for family, program in (("ipv4", "iptables"), ("ipv6", "ip6tables")):
        if not shutil.which(f"{program}-{variant}-restore"):
            pytest.skip(f"{program}-{variant} is not installed")
        rendered = _firewall_iptables.render(parse({**config, "masquerade": []}))
        texts = [_firewall_iptables.restore(table, "", text) for (of, table), text in rendered.items() if of == family]
        taken(f"{program}-{variant}-restore --test --noflush", "".join(texts))
