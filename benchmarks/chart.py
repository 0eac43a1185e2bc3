"""Draws what a call costs: by contender, and by how many are under way at once."""

import math
from collections.abc import Mapping
from html import escape

from race import Race

WIDTH, ROW, LEFT = 720, 24, 150
COLOURS = {"facade": "#0b7285", "bare httpx": "#adb5bd"}
STYLE = "font: 12px system-ui, sans-serif; background: white"


def draw(sequential: Race, tasks: Mapping[int, Race]) -> str:
    """Return an SVG document: bars above, lines below."""
    bars = _bars(sequential)
    top = ROW * (len(sequential.rounds) + 2)
    height = top + 300
    lines = _lines(tasks, top)
    size = f'width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{STYLE}">'
    parts = [head, f'<rect {size} fill="white"/>', *bars, *lines, "</svg>", ""]
    return "\n".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _bars(race: Race) -> list[str]:
    names = sorted(race.rounds, key=race.median)
    longest = race.median(names[-1])
    drawn = [_text(10, 18, "One call after another, sync: µs a call")]
    for row, name in enumerate(names, start=1):
        length = (WIDTH - LEFT - 80) * race.median(name) / longest
        y, colour = ROW * row, COLOURS.get(name, "#dee2e6")
        drawn += [
            _text(LEFT - 10, y + 16, name, "end"),
            f'<rect x="{LEFT}" y="{y + 3}" width="{length:.0f}" height="18" fill="{colour}"/>',
            _text(LEFT + length + 6, y + 16, f"{race.median(name):,.0f}"),
        ]
    return drawn


def _lines(tasks: Mapping[int, Race], top: float) -> list[str]:
    drawn = [
        _text(10, top + 12, "Many at once, async: µs a call, by how many (both axes logarithmic)")
    ]
    medians = [race.median(name) for race in tasks.values() for name in race.rounds]
    low, high = math.log(min(medians)), math.log(max(medians))
    first, last = math.log(min(tasks)), math.log(max(tasks))

    def place(width: int, median: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 120) * (math.log(width) - first) / (last - first)
        return x, top + 250 - 210 * (math.log(median) - low) / (high - low)

    for name in ("bare httpx", "facade"):
        points = [place(width, race.median(name)) for width, race in tasks.items()]
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="3"/>'
        )
        drawn += [
            _text(x, y - 8, f"{race.median(name):,.0f}", "middle")
            for (x, y), race in zip(points, tasks.values(), strict=True)
        ]
        drawn.append(_text(points[-1][0] + 24, points[-1][1] + 4, name))
    drawn += [_text(place(width, 1)[0], top + 285, f"{width:,}", "middle") for width in tasks]
    return drawn
