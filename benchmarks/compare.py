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
from collections.abc import Iterator
from pathlib import Path

import attrs
from race import FOLDER, Race, race, race_programs, running_server
from report import table
from run import START_FACADE

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

    def races(self) -> Iterator[tuple[str, Race]]:
        """Run one race after another; yield its name in the table, and its result."""
        sync = self._race("facade.sync_facade", 200, 40, url=self.url)
        yield "one call after another, sync", sync
        one_task = self._race("facade.async_facade", 200, 40, url=self.url)
        yield "one call after another, async", one_task
        for tasks in (50, 200):
            result = self._race("facade.tasks_facade", 800, 24, url=self.url, concurrency=tasks)
            yield f"bulk, {tasks} tasks", result
        threads = self._race("facade.threads_facade", 500, 24, url=self.url, concurrency=50)
        yield "bulk, 50 threads", threads
        for rows in (2, 60):
            result = self._race("facade.memory_facade", 200, 40, rows=rows)
            yield f"a balance of {rows} rows, from memory", result
        bulk_threads = self._race("facade.bulk_threads", 1000, 12, url=self.url)
        yield "bulk, threads, 1 account in 20 fails", bulk_threads
        bulk_tasks = self._race("facade.bulk_tasks", 1000, 12, url=self.url)
        yield "bulk, tasks, 1 account in 20 fails", bulk_tasks
        yield "import, client, first request", self._race_starts()

    def _race_starts(self) -> Race:
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        for work, result in comparison.races():
            rows.append(describe(work, result))
            if result.ratio(NOW) > arguments.at_most:
                slower.append(work)

    columns = ["work", "before, µs", "now, µs", "now / before", "middle half of the rounds", "CPU"]
    print(f"\n{table(columns, rows)}\n")
    for work in slower:
        print(f"More than {arguments.at_most:g} times as long as before: {work}")
    if slower:
        return 1
    print(f"No row takes more than {arguments.at_most:g} times as long as before.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
