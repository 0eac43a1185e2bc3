"""Draws the time of a call: by contender, and by the number of calls under way at once."""

import math
from collections.abc import Mapping
from html import escape

from race import Race

WIDTH = 720
ROW_HEIGHT = 24
LEFT = 150
LINES_HEIGHT = 300
COLOURS = {"facade": "#0b7285", "bare httpx": "#adb5bd"}
OTHER_COLOUR = "#dee2e6"
STYLE = "font: 12px system-ui, sans-serif; background: white"


def draw(sequential: Race, tasks: Mapping[int, Race]) -> str:
    """Return an SVG document: bars above, lines below."""
    top_of_lines = ROW_HEIGHT * (len(sequential.microseconds) + 2)
    size = f'width="{WIDTH}" height="{top_of_lines + LINES_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{STYLE}">',
        f'<rect {size} fill="white"/>',
        *bars(sequential),
        *Lines(tasks, top_of_lines).elements(),
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def text_element(x: float, y: float, text: str, anchor: str = "start") -> str:
    """Return a text; `anchor` says which end of it stands at x."""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def bars(race: Race) -> list[str]:
    """Return a bar for each contender, the fastest first."""
    names = sorted(race.microseconds, key=race.median)
    longest = race.median(names[-1])
    elements = [text_element(10, 18, "One call after another, sync: µs a call")]
    for row, name in enumerate(names, start=1):
        length = (WIDTH - LEFT - 80) * race.median(name) / longest
        y = ROW_HEIGHT * row
        colour = COLOURS.get(name, OTHER_COLOUR)
        elements += [
            text_element(LEFT - 10, y + 16, name, "end"),
            f'<rect x="{LEFT}" y="{y + 3}" width="{length:.0f}" height="18" fill="{colour}"/>',
            text_element(LEFT + length + 6, y + 16, f"{race.median(name):,.0f}"),
        ]
    return elements


class Lines:
    """A line for the facade and for httpx, by the number of tasks; both axes are logarithmic."""

    def __init__(self, tasks: Mapping[int, Race], top: float) -> None:
        self._tasks = tasks
        self._top = top
        medians = [race.median(name) for race in tasks.values() for name in COLOURS]
        self._lowest = math.log(min(medians))
        self._highest = math.log(max(medians))
        self._fewest = math.log(min(tasks))
        self._most = math.log(max(tasks))

    def _x(self, width: int) -> float:
        share = (math.log(width) - self._fewest) / (self._most - self._fewest)
        return LEFT + (WIDTH - LEFT - 120) * share

    def _y(self, median: float) -> float:
        share = (math.log(median) - self._lowest) / (self._highest - self._lowest)
        return self._top + 250 - 210 * share

    def elements(self) -> list[str]:
        """Return the title, the lines with their figures, and the numbers of tasks below."""
        title = "Many calls at once, async: µs a call, by number of tasks (logarithmic axes)"
        elements = [text_element(10, self._top + 12, title)]
        for name in COLOURS:
            elements += self._line(name)
        for width in self._tasks:
            elements.append(text_element(self._x(width), self._top + 285, f"{width:,}", "middle"))
        return elements

    def _line(self, name: str) -> list[str]:
        points: list[str] = []
        figures: list[str] = []
        for width, race in self._tasks.items():
            x = self._x(width)
            y = self._y(race.median(name))
            points.append(f"{x:.0f},{y:.0f}")
            figures.append(text_element(x, y - 8, f"{race.median(name):,.0f}", "middle"))
        last_width = max(self._tasks)
        last_y = self._y(self._tasks[last_width].median(name))
        path = " ".join(points)
        return [
            f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="3"/>',
            *figures,
            text_element(self._x(last_width) + 24, last_y + 4, name),
        ]
