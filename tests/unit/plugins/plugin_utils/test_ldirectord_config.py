# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ldirectord.cf from the plan: its text, what is refused, and that ldirectord itself can read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import ldirectord_config, ldirectord_text

PROGRAM = shutil.which("ldirectord") or "/usr/sbin/ldirectord"
needs_ldirectord = pytest.mark.skipif(
    not Path(PROGRAM).exists(), reason="ldirectord is not installed (Debian package ldirectord)"
)
STOPPED = 3  # what `ldirectord FILE status` ends with if the file can be read and no daemon runs on it


def service(**changes: Any) -> dict[str, Any]:
    health = {"type": "tcp", "interval": 5, "timeout": 3, "retries": 1, **changes.pop("health", {})}
    return {
        "name": "web",
        "protocol": "tcp",
        "address": "192.168.1.110",
        "port": 80,
        "scheduler": "wlc",
        "realservers": [{"address": "192.168.1.2", "port": 80, "forwarding": "dr", "weight": 2}],
        "health": health,
        **changes,
    }


def six(**changes: Any) -> dict[str, Any]:
    realservers = [{"address": "2001:db8::2", "port": 80, "forwarding": "dr"}]
    return service(**{"address": "2001:db8::110", "realservers": realservers, **changes})


def part(*services: dict[str, Any]) -> dict[str, Any]:
    return {"health": {"backend": "ldirectord", "services": list(services)}}


def lines(*services: dict[str, Any]) -> list[str]:
    text = ldirectord_config.render(part(*services))
    return text[len(ldirectord_config.HEADER) :].strip().splitlines()


def refusal(entry: dict[str, Any]) -> str:
    with pytest.raises(LvsError) as caught:
        ldirectord_config.render(part(entry))
    return str(caught.value.message)


def accepted(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = folder / "test.cf"
    path.write_text(text, encoding="utf-8")
    return subprocess.run([PROGRAM, str(path), "status"], capture_output=True, text=True, check=False, timeout=30)


EVERYTHING = part(
    service(
        scheduler="sh",
        scheduler_flags=["sh-port", "sh-fallback"],
        persistence={"timeout": 300, "netmask": 24},
        realservers=[
            {"address": "192.168.1.2", "weight": 2, "port": 80, "upper_threshold": 20, "lower_threshold": 10},
            {"address": "192.168.1.3", "weight": 0, "port": 8080, "forwarding": "nat"},
            {"address": "192.168.1.4", "port": 80, "forwarding": "tun"},
        ],
        health={
            "type": "http",
            "path": "/health?deep=1",
            "host": "www.example.org",
            "contains": 'all "well" #1 (ü)',
            "status": [200],
            "on_failure": "quiesce",
        },
        sorry_server={"address": "192.168.1.9", "port": 80, "forwarding": "dr"},
    ),
    six(
        name="six",
        persistence={"timeout": 60, "netmask": 64},
        health={"type": "https", "port": 8443},
        sorry_server={"address": "2001:db8::9", "forwarding": "nat"},
    ),
    service(name="mail", port=25, realservers=[{"address": "192.168.1.2", "port": 25}], health={"type": "smtp"}),
    six(
        name="names",
        protocol="udp",
        port=53,
        one_packet=True,
        realservers=[{"address": "2001:db8::2", "port": 53}],
        health={"type": "dns", "query": "www.example.org", "contains": "192.168.1.7"},
    ),
    service(name="pinged", address="192.168.1.111", health={"type": "ping"}),
    service(name="own", address="192.168.1.112", health={"type": "external", "command": ["/usr/local/bin/check"]}),
    service(name="unchecked", address="192.168.1.113", realservers=[], health={"type": "none"}),
    service(
        name="all ports",
        address="192.168.1.114",
        port=0,
        persistence={"timeout": 60},
        realservers=[{"address": "192.168.1.2", "port": 0}],
        health={"port": 80},
    ),
    {
        "name": "mark",
        "fwmark": 7,
        "family": "ipv6",
        "realservers": [{"address": "2001:db8::2", "port": 0}],
        "health": {"type": "http"},
        "sorry_server": {"address": "2001:db8::9", "port": None, "forwarding": "dr"},
    },
)


def test_a_service() -> None:
    assert lines(service()) == [
        "virtual = 192.168.1.110:80",
        "    real = 192.168.1.2:80 gate 2",
        "    protocol = tcp",
        "    scheduler = wlc",
        "    servicename = web",
        "    checktype = connect",
        r'    receive = "(?:tcp 192\.168\.1\.110:80)?"',
        "    checkinterval = 5",
        "    checktimeout = 3",
        "    negotiatetimeout = 3",
        "    failurecount = 2",
        "    quiescent = no",
    ]


def test_a_check_of_a_page() -> None:
    health = {"type": "http", "path": "/up", "host": "www.example.org", "contains": "100% (#1)", "port": 8080}
    text = lines(service(health=health, sorry_server={"address": "192.168.1.9", "port": 80, "forwarding": "nat"}))
    assert text[2] == "    fallback = 192.168.1.9:80 masq"
    assert text[6:13] == [
        "    checktype = negotiate",
        "    service = http",
        "    checkport = 8080",
        '    request = "/up"',
        r'    receive = "(?:tcp 192\.168\.1\.110:80)?100\% \(\x231\)"',
        '    virtualhost = "www.example.org"',
        "    checkinterval = 5",
    ]


def test_checks_of_two_services_never_look_the_same() -> None:
    """ldirectord would take them for one check, and count each of its failures once for every service."""
    for health in ({}, {"type": "http"}, {"type": "ping"}, {"type": "external", "command": "/bin/true"}):
        text = lines(service(health=health), service(health=health, address="192.168.1.111", name="other"))
        receive = [line for line in text if line.startswith("    receive")]
        assert len(set(receive)) == 2


def test_the_table_reads_back() -> None:
    text = ldirectord_config.render(EVERYTHING)
    config = ldirectord_text.parse(text)
    assert len(config) == len(EVERYTHING["health"]["services"])
    web = next(entry for entry in config if (entry.get("address"), entry.get("port")) == ("192.168.1.110", 80))
    assert web["scheduler_flags"] == ["sh-fallback", "sh-port"]
    assert web["realservers"][0]["upper_threshold"] == 20
    assert web["realservers"][0]["lower_threshold"] == 10


@needs_ldirectord
def test_ldirectord_reads_it(tmp_path: Path) -> None:
    done = accepted(tmp_path, ldirectord_config.render(EVERYTHING))
    # It complains of a machine without a system log, too.
    assert (done.returncode, re.sub("setlogsock.*\n", "", done.stderr)) == (STOPPED, ""), done.stdout


@needs_ldirectord
def test_ldirectord_tells_a_mistake(tmp_path: Path) -> None:
    """The check that the role relies on can fail."""
    text = ldirectord_config.render(EVERYTHING).replace("checktype = ping", "checktype = pong")
    done = accepted(tmp_path, text)
    assert done.returncode not in (0, STOPPED)
    assert "checktype must be" in done.stderr


@pytest.mark.skipif(not shutil.which("perl"), reason="perl is not installed")
@pytest.mark.parametrize("text", ['say "hi"', "a.b*c", "#1 $x @y", "grüße", "\ttab", "back\\slash", "(?:x)|y", "a/b"])
def test_a_text_is_matched_as_it_is(text: str) -> None:
    program = 'my ($pattern, $there) = @ARGV; exit($there =~ /^before ${pattern} after$/ ? 0 : 1)'
    pattern = ldirectord_config.regex(text)
    assert "#" not in pattern and '"' not in pattern
    for there, wanted in ((f"before {text} after", 0), (f"before {text[:-1]} after", 1)):
        assert subprocess.run(["perl", "-e", program, pattern, there], check=False).returncode == wanted


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (service(protocol="sctp"), "not sctp"),
        (service(persistence={"timeout": 60, "engine": "sip"}), "persistence engine (sip)"),
        (service(scheduler="a2"), "letters a-z only"),
        (service(protocol="udp"), "TCP services only"),
        (service(protocol="udp", health={"type": "udp"}), "is a ping"),
        (six(health={"type": "ping"}), "cannot ping IPv6"),
        (service(health={"type": "http", "status": [200, 301]}), "200 to 299"),
        (service(health={"type": "http", "path": "/a b"}), "health.path '/a b'"),
        (service(health={"type": "http", "host": "two words"}), "no name of a host"),
        (service(health={"type": "http", "contains": "a\nb"}), "more than one line"),
        (service(health={"digest": "0" * 32}), "no digests"),
        (service(health={"quorum": 2}), "no quorum"),
        (service(health={"interval": 0.5}), "health.interval 0.5 is not a whole number of seconds"),
        (service(health={"timeout": 0}), "health.timeout 0"),
        (service(health={"retries": True}), "health.retries True"),
        (service(health={"on_failure": "panic"}), "on_failure panic"),
        (service(health={"type": "smtp", "host": "a"}), "not with health.host"),
        (service(health={"type": "dns"}), "health.query"),
        (service(health={"type": "dns", "query": "a", "query_type": "AAAA"}), "query_type AAAA"),
        (service(health={"type": "external", "command": ["/bin/true", "x"]}), "one program"),
        (service(health={"type": "external", "command": "true"}), "no absolute path"),
        (service(health={"type": "external", "command": "/bin/true", "port": 81}), "the realserver's own port"),
        (service(health={"type": "telepathy"}), "no health type telepathy"),
        (service(health={"speed": 1}), "health has speed"),
        (service(port=0, persistence={"timeout": 9}, realservers=[{"address": "10.0.0.2", "port": 0}]), "told where"),
        (service(realservers=[{"address": "2001:db8::2", "port": 80, "forwarding": "tun"}]), "another family"),
        (service(sorry_server={"address": "2001:db8::2", "port": 80, "forwarding": "tun"}), "another family"),
        (
            service(realservers=[{"address": "10.0.0.2", "port": 80, "forwarding": "tun", "tunnel": {"type": "gre"}}]),
            "IPIP tunnels",
        ),
        ({"name": "m", "fwmark": 3, "one_packet": True, "realservers": []}, "one_packet for udp only"),
        (service(port=70000), "70000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_it_cannot_say_is_refused(entry: dict[str, Any], said: str) -> None:
    message = refusal(entry)
    assert said in message
    assert f"service {entry['name']}: " in message


def test_every_refusal_comes_at_once() -> None:
    with pytest.raises(LvsError) as caught:
        ldirectord_config.render(part(service(protocol="sctp"), service(name="b", health={"quorum": 2})))
    assert len(caught.value.details["mistakes"]) == 2


def test_a_plan_without_ldirectord() -> None:
    with pytest.raises(LvsError, match="set lvs_health to ldirectord"):
        ldirectord_config.render({"health": None})
