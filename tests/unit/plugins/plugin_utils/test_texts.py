# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs' texts: what becomes of them, what is left out, what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import (
    configure_text,
    ipvsadm_text,
    keepalived_text,
    ldirectord_text,
    piranha_text,
)

RULES = """\
-A -t 192.168.1.110:80 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 192.168.1.110:80 -r 192.168.1.2:80 -g -w 70000 -x 9 -y 3
-A -u 192.168.1.110:5060 -s rr -p 60 --pe sip
-a -u 192.168.1.110:5060 -r 10.1.1.2:5061 -m -w 1
-A --sctp-service [2001:db8::110]:9 -s wlc
-a --sctp-service [2001:db8::110]:9 -r [2001:db8::2]:9 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a --sctp-service [2001:db8::110]:9 -r 10.1.1.3:9 -i -w 1 --tun-type ipip
-A -f 7 -s rr -o
-A -f 7 -6 -s mh
"""

KEEPALIVED = """\
global_defs { router_id LVS }
virtual_server_group web {
  192.168.1.110-111 80   ! two
  fwmark 5
}
virtual_server group web {
    delay_loop 6
    lb_algo wrr
    lb_kind DR
    persistence_timeout 50
    persistence_granularity 255.255.255.0
    protocol TCP
    sorry_server 127.0.0.1 80
    real_server 192.168.1.2 80 {
        weight 3
        uthreshold 90
        HTTP_GET {
          url { path / status_code 200 }
        }
    }
    real_server 192.168.1.3 80 { lvs_method TUN type gue port 6080 csum
    }
}
virtual_server 2001:db8::110 53 {
    lvs_sched sh
    sh-port
    protocol UDP
    ops
    real_server 2001:db8::2 5353
}
"""

LDIRECTORD = """\
checktimeout=3   # seconds
virtual=192.168.6.240:80
        real=192.168.6.2->192.168.6.4:80 gate 5
        real=192.168.6.9:8080 masq
        fallback=127.0.0.1:80 gate
        scheduler=wlc
        persistent=600
        netmask=255.255.255.0
        protocol=tcp
virtual6=3
        real6=[2001:db8::2]:80 ipip 2
        protocol=fwm
"""

CONFIGURE = """\
LVS_TYPE=VS_NAT
VIP=eth0:110 192.168.1.110 255.255.255.255 192.168.1.110
DIRECTOR_GW=192.168.1.254
SERVICE=t telnet rr realserver1:23,2 10.1.1.3:1023   # two
SERVICE=u 53 wlc realserver1
"""

PIRANHA = """\
serial_no = 3
network = direct
virtual web {
     active = 1
     address = 10.0.0.1 eth0:1
     port = 80
     protocol = tcp
     scheduler = wlc
     persistent = 300
     pmask = 255.255.255.255
     load_monitor = none
     send = "GET / HTTP/1.0\\r\\n"
     server one {
         address = 192.168.1.2
         active = 1
         weight = 4
     }
     server two {
         address = 192.168.1.3
         active = 0
         weight = 1
     }
}
virtual old {
     active = 0
}
"""


def lines(config: Any) -> list[str]:
    return ipvsadm_text.render(config).splitlines()


def test_ipvsadm_there_and_back() -> None:
    config = ipvsadm_text.parse(RULES)
    text = ipvsadm_text.render(config)
    assert sorted(text.splitlines()) == sorted(RULES.splitlines())
    assert ipvsadm_text.parse(text) == config


def test_ipvsadm_as_people_write_it() -> None:
    text = """
    # the web
    /sbin/ipvsadm --add-service --tcp-service=10.0.0.1:http --scheduler rr --persistent
    ipvsadm -a -t 10.0.0.1:http -r 10.0.0.2 -m
    -a -t 10.0.0.1:80 -r 10.0.0.3:8080 --masquerading --weight 4
    -e -t 10.0.0.1:80 -r 10.0.0.3:8080 --masquerading --weight 5
    -E -t 10.0.0.1:80 -s wlc -b
    -A -t 10.0.0.9:80
    -D -t 10.0.0.9:80
    --set 900 120 300
    """
    result = ipvsadm_text.parse(text, report=True)
    assert lines(result["config"]) == [
        "-A -t 10.0.0.1:80 -s wlc",
        "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1",
        "-a -t 10.0.0.1:80 -r 10.0.0.3:8080 -m -w 5",
    ]
    assert result["ignored"] == ["line 10: --set: that is for module ipvs_timeouts"]
    assert ipvsadm_text.parse("-A -t 10.0.0.1:80\n-C\n") == []
    assert ipvsadm_text.parse("-A -t 10.0.0.1:80 -p")[0]["persistence"]["timeout"] == 360
    tunnel = ["-A -f 9 -s wlc", "-a -f 9 -r 10.0.0.2:0 -i -w 1 --tun-type gre --tun-csum --tun-remcsum"]
    assert lines(ipvsadm_text.parse("\n".join(tunnel))) == tunnel
    marks = ["-A -f 1 -s wlc", "-a -f 1 -r 10.0.0.2:80 -g -w 1"]  # ipvsadm rewrites ports of addresses only
    assert lines(ipvsadm_text.parse("\n".join(marks))) == marks


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-a -t 10.0.0.1:80 -r 10.0.0.2", "line 1: there is no such service before this line"),
        ("-A -t www.example.com:80", "names are not resolved, use ipvsadm -S -n"),
        ("-A -t 10.0.0.1:80 -t 10.0.0.2:80", "names two services"),
        ("-A -t 10.0.0.1:80\n-A -t 10.0.0.1:80", "line 2: the service exists already"),
        ("-A -t 10.0.0.1:80 --nonsense 3", "is no option of ipvsadm that is known here"),
        ("-L -n", "is no command of ipvsadm that changes the table"),
        ("-A -t '10.0.0.1:80", "quotes do not match"),
        ("-A -t 010.0.0.1:80", "is not an address"),
        ("-A -t 10.0.0.1:0", "port 0 (every port) needs persistence"),
        ("-A -t 10.0.0.1:80 -s", "-s has no value"),
    ],
)
def test_what_ipvsadm_would_not_take(text: str, why: str) -> None:
    with pytest.raises(LvsError) as caught:
        ipvsadm_text.parse(text)
    assert why in caught.value.message


def test_keepalived() -> None:
    result = keepalived_text.parse(KEEPALIVED, report=True)
    web = "-s wrr -p 50 -M 255.255.255.0"
    assert lines(result["config"]) == [
        *(
            line
            for number in (110, 111)
            for line in (
                f"-A -t 192.168.1.{number}:80 {web}",
                f"-a -t 192.168.1.{number}:80 -r 192.168.1.2:80 -g -w 3 -x 90 -y 0",
                f"-a -t 192.168.1.{number}:80 -r 192.168.1.3:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
            )
        ),
        "-A -u [2001:db8::110]:53 -s sh -o -b sh-port",
        "-a -u [2001:db8::110]:53 -r [2001:db8::2]:5353 -m -w 1",
        f"-A -f 5 {web}",
        "-a -f 5 -r 192.168.1.2:0 -g -w 3 -x 90 -y 0",
        "-a -f 5 -r 192.168.1.3:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    ]
    assert "line 13: sorry_server: not part of the table" in result["ignored"]
    assert "line 17: HTTP_GET: a health check" in result["ignored"]


def test_what_keepalived_means_by_what_is_not_said() -> None:
    """udp, the weight of the virtual server, the family of a mark's realservers; a brace may have its own line."""
    text = """
virtual_server 10.0.0.1 53
{
    lvs_method DR
    weight 7
    real_server 10.0.0.2 53
    {
        weight 5
    }
    real_server 10.0.0.3 53 {
    }
}
virtual_server fwmark 3 {
    real_server 2001:db8::2 8080 {
    }
}
"""
    result = keepalived_text.parse(text, report=True)
    assert lines(result["config"]) == [
        "-A -u 10.0.0.1:53 -s wlc",
        "-a -u 10.0.0.1:53 -r 10.0.0.2:53 -g -w 5",
        "-a -u 10.0.0.1:53 -r 10.0.0.3:53 -g -w 7",
        "-A -f 3 -6 -s wlc",
        "-a -f 3 -6 -r [2001:db8::2]:8080 -m -w 1",
    ]
    assert result["ignored"] == ["line 2: no protocol is stated, so it is udp"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("virtual_server 10.0.0.1 80 {", "ends in line 1 inside a block"),
        ("}", "a block ends that did not begin"),
        ("include other.conf", "line 1: include is not followed"),
        ("$VIP=10.0.0.1", "is not followed"),
        ("virtual_server group web {\n}", "there is no virtual_server_group web"),
        ("virtual_server www 80 {\n}", "names no virtual server"),
        ("virtual_server 10.0.0.1 80 {\nlvs_method FAST\n}", "is none of NAT, DR, TUN"),
        ("{" * 40, "more than 32 blocks"),
        ("virtual_server 10.0.0.1 80 {\ninclude rs.conf\n}", "line 2: include is not followed"),
        ("virtual_server 10.0.0.1 80 {\nreal_server 10.0.0.2 80 {\n@main weight 3\n}\n}", "line 3: @main is not"),
    ],
)
def test_what_keepalived_would_not_take(text: str, why: str) -> None:
    with pytest.raises(LvsError) as caught:
        keepalived_text.parse(text)
    assert why in caught.value.message


def test_ldirectord() -> None:
    result = ldirectord_text.parse(LDIRECTORD, report=True)
    assert lines(result["config"]) == [
        "-A -t 192.168.6.240:80 -s wlc -p 600 -M 255.255.255.0",
        "-a -t 192.168.6.240:80 -r 192.168.6.2:80 -g -w 5",
        "-a -t 192.168.6.240:80 -r 192.168.6.3:80 -g -w 5",
        "-a -t 192.168.6.240:80 -r 192.168.6.4:80 -g -w 5",
        "-a -t 192.168.6.240:80 -r 192.168.6.9:8080 -m -w 1",
        "-A -f 3 -6 -s wrr",
        "-a -f 3 -6 -r [2001:db8::2]:80 -i -w 2 --tun-type ipip",
    ]
    assert "line 1: checktimeout: not part of the table" in result["ignored"]


def test_what_ldirectord_means_by_lines_together() -> None:
    """DNS is by UDP, a netmask counts with persistence only, and one-packet scheduling with UDP only."""
    text = """
virtual=10.0.0.1:domain
    real=10.0.1.1 gate
    netmask=255.255.255.0
    ops=yes
virtual=10.0.0.2:80
    ops=yes
    netmask=255.255.255.0
    persistent=60
"""
    assert lines(ldirectord_text.parse(text)) == [
        "-A -t 10.0.0.2:80 -s wrr -p 60 -M 255.255.255.0",
        "-A -u 10.0.0.1:53 -s wrr -o",
        "-a -u 10.0.0.1:53 -r 10.0.1.1:53 -g -w 1",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("virtual=www:80\n", "neither an address with a port nor a firewall mark"),
        ("  real=10.0.0.2 gate\n", "belongs to no virtual service"),
        ("virtual=1\n real=10.0.0.2:80 fast\n", "has none of gate, masq, ipip"),
        ("virtual=1\n real=10.0.0.2->10.9.0.2 gate\n", "more than 4096 addresses"),
        ("virtual=1\n real=10.0.0.2->10.0.0.1 gate\n", "ends before it begins"),
    ],
)
def test_what_ldirectord_would_not_take(text: str, why: str) -> None:
    with pytest.raises(LvsError) as caught:
        ldirectord_text.parse(text)
    assert why in caught.value.message


def test_the_configure_script() -> None:
    result = configure_text.parse(CONFIGURE, {"realserver1": "10.1.1.2"}, report=True)
    assert lines(result["config"]) == [
        "-A -t 192.168.1.110:23 -s rr",
        "-a -t 192.168.1.110:23 -r 10.1.1.2:23 -m -w 2",
        "-a -t 192.168.1.110:23 -r 10.1.1.3:1023 -m -w 1",
        "-A -u 192.168.1.110:53 -s wlc",
        "-a -u 192.168.1.110:53 -r 10.1.1.2:53 -m -w 1",
    ]
    assert result["ignored"] == ["line 3: DIRECTOR_GW: not part of the table"]
    with pytest.raises(LvsError, match="'realserver1' is a name; give its address in hosts"):
        configure_text.parse(CONFIGURE)


def test_piranha() -> None:
    result = piranha_text.parse(PIRANHA, report=True)
    assert lines(result["config"]) == [
        "-A -t 10.0.0.1:80 -s wlc -p 300",
        "-a -t 10.0.0.1:80 -r 192.168.1.2:80 -g -w 4",
    ]
    assert "line 18: server two: not active" in result["ignored"]
    assert "line 24: virtual old: not active" in result["ignored"]


def test_a_weight_that_only_a_kernel_knows_is_no_text() -> None:
    entry = {"address": "10.0.0.1", "port": 80, "realservers": [{"address": "10.0.0.2", "weight": "keep"}]}
    with pytest.raises(LvsError, match="weight keep, which only a kernel can fill in"):
        ipvsadm_text.render([entry])
