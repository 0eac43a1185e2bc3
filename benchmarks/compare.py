"""Compares the facade of another checkout with this one: what got faster, what got slower?

    python benchmarks/compare.py ../mesh-facade-before

Both run the benchmarks of this checkout, in turns and on the same server, with the packages of this
environment. The other checkout must know the public names that facade.py uses. The exit code is 1
if a row of this checkout took more than `--at-most` times as long as the other. The last column is
the ratio of the processor time, which other work on the machine hardly changes.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from race import FOLDER, Race, race, race_programs, running_server
from report import table
from run import START_FACADE

if TYPE_CHECKING:
    from collections.abc import Callable

BEFORE = "before"
NOW = "now"


@attrs.frozen
class Comparison:
    """Two checkouts, the server, and the number of rounds."""

    checkouts: dict[str, Path]
    url: str
    scale: float

    def _rounds(self, full: int) -> int:
        return max(4, 2 * round(full * self.scale / 2))  # even: each comes first as often

    def _race(self, set_up: str, calls: int, full_rounds: int, **options: str | int) -> Race:
        set_ups = {BEFORE: set_up, NOW: set_up}
        return race(set_ups, calls, self._rounds(full_rounds), self.checkouts, **options)

    def sync(self) -> Race:
        """One call after another, sync."""
        return self._race("facade.sync_facade", 200, 40, url=self.url)

    def tasks_1(self) -> Race:
        """One call after another, async."""
        return self._race("facade.async_facade", 200, 40, url=self.url)

    def tasks_50(self) -> Race:
        """50 tasks, bulk."""
        return self._race("facade.tasks_facade", 500, 24, url=self.url, concurrency=50)

    def tasks_200(self) -> Race:
        """200 tasks, bulk."""
        return self._race("facade.tasks_facade", 800, 20, url=self.url, concurrency=200)

    def threads_50(self) -> Race:
        """50 threads, bulk."""
        return self._race("facade.threads_facade", 500, 24, url=self.url, concurrency=50)

    def memory_60(self) -> Race:
        """A balance of 60 rows, from memory."""
        return self._race("facade.memory_facade", 200, 40, rows=60)

    def bulk_threads(self) -> Race:
        """Bulk, 1 in 20 fails, threads."""
        return self._race("facade.bulk_threads", 1000, 12, url=self.url)

    def bulk_tasks(self) -> Race:
        """Bulk, 1 in 20 fails, tasks."""
        return self._race("facade.bulk_tasks", 1000, 12, url=self.url)

    def start(self) -> Race:
        """Import, client, first request."""
        program = START_FACADE.format(url=self.url)
        programs = {BEFORE: program, NOW: program}
        result, _ = race_programs(programs, self._rounds(20), self.checkouts)
        return result


def describe(work: str, result: Race) -> list[str]:
    """Return a row of the table."""
    ratios = result.ratios(NOW, BEFORE)
    lower, _, upper = statistics.quantiles(ratios, n=4)
    return [
        work,
        f"{result.median(BEFORE):,.0f}",
        f"{result.median(NOW):,.0f}",
        f"{result.ratio(NOW):.3f}",
        f"{lower:.3f} to {upper:.3f}",
        f"{result.cpu_ratio(NOW, BEFORE):.3f}",
    ]


def main() -> int:
    """Compare, print the table, and name the rows that got slower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--scale", type=float, default=1.0, help="0.2 takes a fifth of the time")
    parser.add_argument("--at-most", type=float, default=1.05, help="the highest ratio accepted")
    arguments = parser.parse_args()
    before = arguments.before.resolve()
    if not (before / "mesh_facade").is_dir():
        parser.error(f"{before} holds no mesh_facade: name another checkout of this project")

    rows: list[list[str]] = []
    slower: list[str] = []
    with running_server([0.0]) as urls:
        checkouts = {BEFORE: before, NOW: FOLDER.parent}
        comparison = Comparison(checkouts, urls[0], arguments.scale)
        measurements: list[Callable[[], Race]] = [
            comparison.sync,
            comparison.tasks_1,
            comparison.tasks_50,
            comparison.tasks_200,
            comparison.threads_50,
            comparison.memory_60,
            comparison.bulk_threads,
            comparison.bulk_tasks,
            comparison.start,
        ]
        for measure in measurements:
            work = str(measure.__doc__).rstrip(".")
            result = measure()
            rows.append(describe(work, result))
            if result.ratio(NOW) > arguments.at_most:
                slower.append(work)

    columns = ["work", "before, µs", "now, µs", "now / before", "middle half of the rounds", "CPU"]
    print(f"\n{table(columns, rows)}\n")
    for work in slower:
        print(f"Slower than {arguments.at_most:g} times: {work}")
    if slower:
        return 1
    print(f"No row takes more than {arguments.at_most:g} times as long as before.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
