# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the readers of other programs' texts are given, they raise nothing but their own error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.linuxvirtualserver.lvs.plugins.module_utils._errors import LvsError
from ansible_collections.linuxvirtualserver.lvs.plugins.plugin_utils import (
    configure_text,
    ipvsadm_text,
    keepalived_text,
    ldirectord_text,
    piranha_text,
)
from ansible_collections.linuxvirtualserver.lvs.tests.unit.plugins.plugin_utils import test_texts as samples

READERS: dict[str, tuple[Callable[..., Any], str]] = {
    "ipvsadm": (ipvsadm_text.parse, samples.RULES),
    "keepalived": (keepalived_text.parse, samples.KEEPALIVED),
    "ldirectord": (ldirectord_text.parse, samples.LDIRECTORD),
    "configure": (configure_text.parse, samples.CONFIGURE),
    "piranha": (piranha_text.parse, samples.PIRANHA),
}
PIECES = [
    "{",
    "}",
    "\n",
    " ",
    "=",
    ":",
    "-",
    ",",
    "#",
    '"',
    "'",
    "\\",
    "->",
    "\u0663",
    "\0",
    "99999999999",
    "[::1]",
    "%",
    "real=",
]


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    """A good text with pieces cut out, put in, doubled or moved."""
    for _round in range(draw(st.integers(1, 6))):
        first = draw(st.integers(0, len(text)))
        last = min(len(text), first + draw(st.integers(0, 30)))
        piece = draw(
            st.one_of(st.just(""), st.sampled_from(PIECES), st.text(max_size=5), st.just(text[first:last] * 2))
        )
        text = text[:first] + piece + text[last:]
    return text


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_nothing_but_its_own_error(name: str, data: st.DataObject) -> None:
    read, sample = READERS[name]
    text = data.draw(mutated(sample))
    try:
        config = read(text)
    except LvsError as exc:
        assert exc.message.startswith("The text cannot be read")
    else:
        assert ipvsadm_text.parse(ipvsadm_text.render(config)) == config
