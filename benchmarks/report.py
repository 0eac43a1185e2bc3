"""The report of `make bench`: tables in Markdown, and targets that were met or missed."""

from collections.abc import Iterable, Mapping

import attrs
from race import Race


@attrs.define
class Report:
    """The content of RESULTS.md.

    `sections` are its sections in Markdown. `targets` are the rows of the table of targets, which
    comes before them.
    """

    sections: list[str] = attrs.field(factory=list[str])
    targets: list[list[str]] = attrs.field(factory=list[list[str]])

    def add_table(
        self, title: str, columns: list[str], rows: Iterable[list[str]], note: str = ""
    ) -> None:
        """Add a section that holds a table, and a note above it."""
        parts = [f"## {title}"]
        if note:
            parts.append(note)
        parts.append(table(columns, rows))
        self.sections.append("\n\n".join(parts))

    def add_races(self, title: str, races: Mapping[str, Race], note: str = "") -> None:
        """Add a section with a row for each contender of some races."""
        rows: list[list[str]] = []
        for work, each in races.items():
            rows += [
                [work, name, f"{each.median(name):,.0f}", f"{each.ratio(name):.2f}"]
                for name in each.microseconds
            ]
        self.add_table(title, ["work", "contender", "µs a call", "ratio"], rows, note)

    def add_target(self, work: str, base: str, at_most: float, measured: float) -> None:
        """Compare a measured figure, such as a ratio, with the highest that is acceptable."""
        verdict = "**no**"
        if measured <= at_most:
            verdict = "yes"
        self.targets.append([work, base, f"{at_most:.2f}", f"{measured:.2f}", verdict])

    def targets_table(self) -> str:
        """Return the table of targets."""
        columns = ["facade's work", "compared with", "target: at most", "measured", "met"]
        return table(columns, self.targets)


def table(columns: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table whose columns but the first are aligned to the right."""
    rule = ["---"] + ["---:"] * (len(columns) - 1)
    lines = [f"| {' | '.join(cells)} |" for cells in [columns, rule, *rows]]
    return "\n".join(lines)
