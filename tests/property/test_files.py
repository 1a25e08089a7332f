# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands in the files on a director, and in the options of the modules: a result or an LvsError."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_drained as drained
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils import _ipvs_settings_run as run_file
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_input import parse, parse_restrict
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_reconcile import Environment, reconcile
from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._ipvs_snapshot import bring_back
from ansible_collections.linuxvirtualserver.lvs.tests.property.test_reconcile import ROOT, environment, filled

NAMES = (
    "protocol address port fwmark family scheduler scheduler_flags persistence one_packet realservers pool forwarding "
    "weight upper_threshold lower_threshold tunnel type checksum timeout netmask engine role interface syncid group "
    "ttl maxlen tcp udp tcp_fin"
).split()
WORDS = ["10.0.0.1", "fd00::1", "tcp", "1-5", "0x1", "::ffff:1.2.3.4", "255.255.255.0", "tun", "keep", "gue", "web"]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**70), st.floats(), st.text(max_size=6), st.sampled_from(WORDS)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=2)), inner, max_size=5),
    ),
    max_leaves=20,
)
WEB: dict[str, Any] = {"address": "10.1.1.1", "port": 80, "realservers": [{"address": "10.0.0.2"}]}
SAVED: dict[str, Any] = {
    "version": 1, "restrict": [{"port": 80}], "config": [WEB], "pools": {}, "timeouts": {"tcp": 5}, "sync": [],
}  # fmt: skip
DRAINED = {"service": {"address": "10.1.1.1", "port": 80}, "realserver": WEB["realservers"][0], "weight": 1, "since": 1}
FILE = Path(ROOT.name, "file.json")


def director() -> Environment:
    return environment(filled([WEB]))


@given(VALUES, VALUES, VALUES, st.booleans())
def test_options(first: Any, second: Any, third: Any, keep: bool) -> None:
    calls = (
        lambda: parse(first, second, keep, third),
        lambda: parse([first], [second], keep, {"web": third}),
        lambda: parse([{**WEB, "realservers": [first]}], None, keep),
        lambda: parse_restrict([first]),
        lambda: run_file.parse_daemons([first, second], "merged"),
    )
    for call in calls:
        with contextlib.suppress(LvsError):
            call()


@settings(deadline=None)
@given(st.sampled_from(sorted(SAVED)), st.one_of(VALUES, VALUES.map(lambda value: [value])))
def test_a_saved_table(name: str, value: Any) -> None:
    FILE.write_text(json.dumps({**SAVED, name: value}))
    path, there, daemon = str(FILE), director(), {"role": "master", "interface": "eth0"}
    calls = (
        lambda: reconcile(None, "overridden", src=path, allow_empty=True, check=True, environment=there),
        lambda: reconcile([], "merged", save=path, check=True, environment=there),
        lambda: bring_back(path, check=True, environment=there, lacking=lambda _daemon: ""),
        lambda: run_file.restore_settings(path, lambda _line: None, there, lambda _daemon: ""),
        lambda: run_file.set_timeouts({"tcp": 5}, path, check=True, environment=there),
        lambda: run_file.set_daemons([daemon], "merged", path, True, there, lambda _daemon: ""),
    )
    for call in calls:
        with contextlib.suppress(LvsError):
            call()


@settings(deadline=None)
@given(st.sampled_from(["drained", *sorted(DRAINED)]), VALUES)
def test_the_memory_of_drained_realservers(name: str, value: Any) -> None:
    rows = value if name == "drained" else [{**DRAINED, name: value}]
    FILE.write_text(json.dumps({"version": 1, "drained": rows}))
    with contextlib.suppress(LvsError):
        assert all(0 <= entry.weight < 2**31 for entry in drained.load(str(FILE)).values())
        reconcile([{**WEB, "realservers": []}], environment=director()._replace(drained=str(FILE)))


def test_files_that_are_nested_too_deep() -> None:
    FILE.write_text("[" * 100000)
    for load in (drained.load, lambda path: reconcile(None, src=path, environment=director())):
        with contextlib.suppress(LvsError):
            load(str(FILE))
            raise AssertionError("it was taken")
