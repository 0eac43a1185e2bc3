"""Compares the facade with bare httpx and with clients of its kind; writes RESULTS.md.

A figure is the median of a contender's rounds. A ratio is the median of the rounds' own ratios, so
that whatever slows the machine down for a while slows down both.
"""

import argparse
import contextlib
import datetime as dt
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import attrs
import chart
from race import FOLDER, Contender, Race, race, race_programs, running_server, server_limit

LATENCIES = [0.0, 0.02, 0.1]
BOTH = ["bare httpx", "facade"]
PEERS = ["plaid", "githubkit get", "githubkit post", "openai", "stripe"]
PACKAGES = ["mesh-facade", "httpx", "plaid-python", "githubkit", "openai", "stripe", "uvloop"]

START = {
    "bare httpx": """
import httpx
httpx.Client().post("{url}/api/v1/balance/get", json={{"authToken": "t", "type": "x"}}).json()
""",
    # With the certificates, which httpx reads in any case, and we only for https.
    "facade": """
import httpx, mesh_facade
mesh = mesh_facade.MeshClient("id", "secret", base_url="{url}", verify=httpx.create_ssl_context())
mesh.get_account_balance("t", "x")
""",
}


@attrs.define
class Report:
    """What was measured, as Markdown, and what was promised of it."""

    parts: list[str] = attrs.field(factory=list[str])
    targets: list[list[str]] = attrs.field(factory=list[list[str]])

    def add(self, title: str, head: str, rows: Iterable[Iterable[str]]) -> None:
        """Add a table."""
        self.parts.append(f"## {title}\n\n{table(head, rows)}")

    def add_races(self, title: str, races: dict[str, Race]) -> None:
        """Add a table of races."""
        rows = [
            [work, name, f"{each.median(name):,.0f}", f"{each.ratio(name):.2f}"]
            for work, each in races.items()
            for name in each.rounds
        ]
        self.add(title, "work | contender | µs a call | ratio", rows)

    def promise(self, work: str, against: str, at_most: float, ratio: float) -> None:
        """Compare a ratio with what it may be at most."""
        verdict = "yes" if ratio <= at_most else "**no**"
        self.targets.append([work, against, f"{at_most:.2f}", f"{ratio:.2f}", verdict])


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    columns = head.split(" | ")
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Bench:
    """All measurements, each of which adds to the report; `scale` shortens them."""

    def __init__(self, urls: list[str], scale: float, report: Report) -> None:
        self._urls = urls
        self._url = urls[0]
        self._scale = scale
        self._report = report

    def _rounds(self, full: int) -> int:
        return max(3, round(full * self._scale))

    def sequential(self) -> Race:
        """Measure one call after another."""
        names = ["bare httpx", "raw socket", "http client", "generated", "facade", *PEERS]
        sync = race("sync", names, 200, self._rounds(25), url=self._url)
        names = ["bare httpx", "generated", "facade"]
        tasks = race("async", names, 200, self._rounds(25), url=self._url)
        self._report.add_races("One call after another", {"sync": sync, "async": tasks})
        promise = self._report.promise
        promise("one call after another, sync", "bare httpx", 0.80, sync.ratio("facade"))
        promise("one call after another, async", "bare httpx", 0.90, tasks.ratio("facade"))
        for peer in PEERS:
            promise("one call after another, sync", peer, 0.65, sync.ratio("facade", peer))
        return sync

    def at_once(self) -> dict[int, Race]:
        """Measure many calls at once, and how their cost grows with the connections."""
        plan = {10: (500, 11), 50: (500, 11), 200: (800, 7), 1000: (2000, 3)}
        tasks = {
            width: race("tasks", BOTH, calls, self._rounds(full), url=self._url, concurrency=width)
            for width, (calls, full) in plan.items()
        }
        generated = race(
            "tasks", [*BOTH, "generated"], 500, self._rounds(5), url=self._url, concurrency=50
        )
        threads = race("threads", BOTH, 500, self._rounds(11), url=self._url, concurrency=50)
        races = {f"{width} tasks": each for width, each in tasks.items()}
        races |= {"50 tasks, with generated": generated, "50 threads": threads}
        self._report.add_races("At once", races)
        promise = self._report.promise
        promise("50 at once, async bulk", "bare httpx", 0.25, tasks[50].ratio("facade"))
        promise("200 at once, async bulk", "bare httpx", 0.20, tasks[200].ratio("facade"))
        promise("50 threads, sync bulk", "bare httpx", 0.75, threads.ratio("facade"))
        growth = tasks[1000].median("facade") / tasks[10].median("facade")
        promise("1,000 at once", "10 at once", 2.0, growth)
        return tasks

    def latencies(self) -> None:
        """Measure with a server that takes its time."""
        races: dict[str, Race] = {}
        for latency, url in list(zip(LATENCIES, self._urls, strict=True))[1:]:
            where = f"{latency * 1000:.0f} ms"
            races[f"sequential, {where}"] = race("sync", BOTH, 10, self._rounds(5), url=url)
            for width in (50, 200):
                races[f"{width} tasks, {where}"] = race(
                    "tasks", BOTH, 4 * width, self._rounds(5), url=url, concurrency=width
                )
        self._report.add_races("With latency of the server", races)

    def calls(self) -> None:
        """Measure how the cost of a call grows with their number: not at all."""
        races = {
            f"{calls:,} calls, {work}": race(work, BOTH, calls, 3, url=self._url, **options)
            for work, options in (("sync", {}), ("tasks", {"concurrency": 10}))
            for calls in (100, 1000, round(10_000 * min(1, self._scale)))
        }
        self._report.add_races("Growth with the number of calls", races)

    def decoding(self) -> None:
        """Measure what lies between the bytes and the balance."""
        names = ["generated", "decimals", "unchecked", "facade"]
        races = {
            rows: race("decode", names, 20_000 // rows, self._rounds(15), rows=rows)
            for rows in (2, 10, 60)
        }
        self._report.add_races("Decoding", {f"{rows} rows": each for rows, each in races.items()})
        ratio = races[60].ratio("facade")
        self._report.promise("decoding 60 rows", "json.loads + generated from_dict", 1.5, ratio)

    def start(self) -> None:
        """Measure the way from a new process to its first answer."""
        programs = {name: program.format(url=self._url) for name, program in START.items()}
        starts, peaks = race_programs(programs, self._rounds(15))
        rows = [
            [
                name,
                f"{starts.median(name) / 1000:,.0f}",
                f"{starts.ratio(name):.2f}",
                f"{peaks[name] / 1024:,.1f}",
            ]
            for name in programs
        ]
        self._report.add("Import, client, first request", "contender | ms | ratio | MiB", rows)
        promise = self._report.promise
        promise("import, client, first request", "bare httpx", 1.5, starts.ratio("facade"))

    def memory(self) -> None:
        """Measure bulk runs of which one in twenty accounts fails, in ten ways."""
        rows: list[list[str]] = []
        for is_async in (False, True):
            peaks: list[float] = []
            for count in (1000, round(100_000 * min(1, self._scale))):
                options = {"url": self._url, "is_async": is_async}
                with contextlib.closing(Contender("memory", "facade", options)) as contender:
                    seconds, peak = contender.run(count)
                peaks.append(peak / 1024)
                mode = "tasks" if is_async else "threads"
                rows.append([f"{count:,} accounts, {mode}", f"{seconds:,.1f}", f"{peaks[-1]:,.1f}"])
                print(*rows[-1], flush=True)
            self._report.promise(
                f"MiB more for {count:,} accounts", "1,000", 20, peaks[1] - peaks[0]
            )
        self._report.add("Memory of bulk runs", "run | seconds | MiB at most", rows)


def main() -> None:
    """Run all races; print and write what they gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="0.2: about a fifth of the time")
    parser.add_argument("--output", type=Path, default=FOLDER, help="where RESULTS.md is written")
    arguments = parser.parse_args()
    report = Report()
    with running_server(LATENCIES) as urls:
        limit = server_limit(urls[0])
        bench = Bench(urls, arguments.scale, report)
        sequential, tasks = bench.sequential(), bench.at_once()
        bench.latencies()
        bench.calls()
        bench.decoding()
        bench.start()
        bench.memory()
    promised = table("work | against | at most | measured | kept", report.targets)
    print(f"\n{promised}")
    parts = [describe(limit, arguments.scale), f"## What was promised\n\n{promised}"]
    parts += ["![What a call costs](chart.svg)", *report.parts]
    (arguments.output / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    drawn = chart.draw(sequential, tasks)
    (arguments.output / "chart.svg").write_text(drawn, encoding="utf-8")


def describe(limit: float, scale: float) -> str:
    """Say what was measured, when, where and with which versions."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"""# Results of `make bench`

Measured on {dt.datetime.now(dt.UTC):%Y-%m-%d}, with Python {platform.python_version()} on \
{platform.system()} {platform.machine()}, {os.cpu_count()} cores (load {load}); {versions}.
The share of the full number of rounds was {scale:g}.

Each contender runs in a process of its own, and they take turns. A figure is the median of its
rounds; a ratio, the median of the rounds' own ratios to the first contender of the table's block.
In the facade everything is on: keys, retries, deadline, limits, Decimals, checks. The server, one
process on uvloop, answered {limit:,.0f} requests a second where they came in hundreds, so no client
waited for it."""


if __name__ == "__main__":
    main()
