# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the figures of ipvs_bench.py over the size of the table, both axes logarithmic.

Usage: plot.py BENCH.TXT FIGURES.SVG
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 720, 460, 70
SIDES = {
    "ipvsadm_R": ("ipvsadm -R, from empty", "#b03030"),
    "ipvsadm_S": ("ipvsadm -S", "#c09030"),
    "ours_fill": ("module ipvs, from empty", "#2050a0"),
    "ours_unchanged": ("module ipvs, unchanged", "#50a0d0"),
    "replay": ("the kernel alone, from empty", "#808080"),
}


def points(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """(records, milliseconds, size) of each side."""
    found: dict[str, list[tuple[float, float, str]]] = {side: [] for side in SIDES}
    for match in re.finditer(r"^(\w+)_(\d+)x(\d+) ([0-9.]+) ms$", text, re.MULTILINE):
        side, services, realservers, value = match.groups()
        if side in found:
            records = int(services) * (int(realservers) + 1)
            found[side].append((records, float(value), f"{services}x{realservers}"))
    return {side: sorted(values) for side, values in found.items() if values}


def draw(sides: dict[str, list[tuple[float, float, str]]]) -> str:
    """The picture."""
    records = [point[0] for values in sides.values() for point in values]
    times = [point[1] for values in sides.values() for point in values]
    left, right = math.floor(math.log10(min(records))), math.ceil(math.log10(max(records)))
    bottom, top = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def x(value: float) -> float:
        return MARGIN + (math.log10(value) - left) / (right - left) * (WIDTH - 2 * MARGIN)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (math.log10(value) - bottom) / (top - bottom) * (HEIGHT - 2 * MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for power in range(left, right + 1):
        at = x(10**power)
        parts.append(f'<path d="M{at:.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#dddddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(bottom, top + 1):
        at = y(10**power)
        parts.append(f'<path d="M{MARGIN} {at:.1f}H{WIDTH - MARGIN}" stroke="#dddddd"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:,g} ms</text>')
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 18}" text-anchor="middle">services and realservers in the table</text>'
    )
    for number, (side, values) in enumerate(sides.items()):
        label, colour = SIDES[side]
        line = " ".join(f"{x(size):.1f},{y(time):.1f}" for size, time, _name in values)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for size, time, name in values:
            title = f"<title>{name}: {time:g} ms</title>"
            parts.append(f'<circle cx="{x(size):.1f}" cy="{y(time):.1f}" r="3" fill="{colour}">{title}</circle>')
        across, down = MARGIN + number // 3 * 250, 20 + number % 3 * 15
        parts.append(f'<text x="{across}" y="{down}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(points(Path(sys.argv[1]).read_text())))
