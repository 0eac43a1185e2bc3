"""Compares the facade with HTTP libraries and with clients of other services; writes RESULTS.md.

A figure is the median of a contender's rounds. A ratio is the median of the ratios of all rounds:
whatever slows the machine down for a while slows down both contenders of a round.
"""

import argparse
import contextlib
import datetime as dt
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import chart
from race import FOLDER, Contender, Race, measure_server_speed, race, race_programs, running_server
from report import Report

LATENCIES = [0.0, 0.02, 0.1]
"""Seconds that the server waits before it answers. Most measurements use the first."""
PACKAGES = [
    "mesh-facade",
    "httpx",
    "httpx2",
    "pyreqwest",
    "pyqwest",
    "plaid-python",
    "githubkit",
    "openai",
    "stripe",
    "uvloop",
]

SYNC = {
    "bare httpx": "libraries.sync_httpx",
    "bare httpx2": "libraries.sync_httpx2",
    "generated": "facade.sync_generated",
    "facade": "facade.sync_facade",
    "plaid": "peers.sync_plaid",
    "githubkit": "peers.sync_githubkit",
    "openai": "peers.sync_openai",
    "stripe": "peers.sync_stripe",
    "pyreqwest": "libraries.sync_pyreqwest",
    "pyqwest": "libraries.sync_pyqwest",
    "http.client": "libraries.sync_http_client",
    "a socket": "libraries.sync_socket",
}
SYNC_PAIR = {"bare httpx": SYNC["bare httpx"], "facade": SYNC["facade"]}
ASYNC = {
    "bare httpx": "libraries.async_httpx",
    "bare httpx2": "libraries.async_httpx2",
    "generated": "facade.async_generated",
    "facade": "facade.async_facade",
    "pyreqwest": "libraries.async_pyreqwest",
    "pyqwest": "libraries.async_pyqwest",
}
TASKS_PAIR = {"bare httpx": "libraries.tasks_httpx", "facade": "facade.tasks_facade"}
TASKS = {
    "bare httpx": "libraries.tasks_httpx",
    "bare httpx2": "libraries.tasks_httpx2",
    "generated": "facade.tasks_generated",
    "facade": "facade.tasks_facade",
    "pyreqwest": "libraries.tasks_pyreqwest",
    "pyqwest": "libraries.tasks_pyqwest",
}
THREADS = {
    "bare httpx": "libraries.threads_httpx",
    "bare httpx2": "libraries.threads_httpx2",
    "facade": "facade.threads_facade",
    "pyreqwest": "libraries.threads_pyreqwest",
    "pyqwest": "libraries.threads_pyqwest",
}
IN_MEMORY = {
    "generated, exact": "facade.memory_generated_decimals",
    "generated": "facade.memory_generated",
    "facade": "facade.memory_facade",
}
BULK = {"threads": "facade.bulk_threads", "tasks": "facade.bulk_tasks"}

START_HTTPX = """
import httpx
client = httpx.Client()
client.post("{url}/api/v1/balance/get", json={{"authToken": "t", "type": "x"}}).json()
"""
# httpx reads the certificates in any case, the facade only for https: here, both do.
START_FACADE = """
import httpx, mesh_facade
mesh = mesh_facade.MeshClient("id", "secret", base_url="{url}", verify=httpx.create_ssl_context())
mesh.get_account_balance("t", "x")
"""

INTRODUCTION = """\
# Results of `make bench`

Measured on {date}, with Python {python} on {system} {machine}, {cores} cores (load {load}); \
{versions}. Rounds: {scale:.0%} of the full number.

Each contender runs in a process of its own, and they take turns. A figure is the median of the
contender's rounds. A ratio is the median, over the rounds, of the contender's time divided by the
time of the first contender in its block: lower is faster. Everything is switched on in the facade:
keys, retries, deadline, size limits, Decimals and checks. The server is one process on uvloop. To
requests that were sent in batches of 100 over one connection, it gave {server_speed:,.0f} answers \
a second."""

NOT_THE_SAME_WORK = """\
Earlier reports had two comparisons that did not compare the same work. The first was githubkit's
GET, which sends no body and receives two short texts. (Its POST sends and receives a JSON body, as
a call to Mesh does, and is in the table "One call after another".) The second was decoding alone,
against `json.loads` and the generated `from_dict`, which read amounts as floats and check nothing.
Now the target of this section compares whole calls, from their arguments to their results, with the
generated operation that reads exact numbers (Decimals). The table also has the generated operation
with floats."""

NO_MEMORY_TARGET = """\
At this scale there are only the small runs, so the growth of memory is not compared with its
target."""

WHAT_IS_POSSIBLE = """\
The rows of pyreqwest and pyqwest, two HTTP libraries written in Rust, and of `http.client` and a
plain socket show what is possible: they send the same request and decode the answer, with none of
the facade's checks, limits, retries or deadline."""


class Bench:
    """All measurements. Each method adds its section and its targets to the report.

    `urls` are the server's URLs by its latency in seconds. `scale` is the part of the full number
    of rounds that is run.
    """

    def __init__(self, urls: Mapping[float, str], scale: float, report: Report) -> None:
        self._urls = urls
        self._url = urls[0.0]
        self._scale = scale
        self._report = report

    def measure_sequential_calls(self) -> Race:
        """Measure one call after another; return the race of the sync clients."""
        sync_race = race(SYNC, 200, self._rounds(25), url=self._url)
        async_race = race(ASYNC, 200, self._rounds(25), url=self._url)
        races = {"sync": sync_race, "async": async_race}
        self._report.add_races("One call after another", races, WHAT_IS_POSSIBLE)
        self._add_targets(
            "one call after another, sync",
            sync_race,
            {
                "bare httpx": 0.80,
                "bare httpx2": 1.00,
                "plaid": 0.65,
                "githubkit": 0.65,
                "openai": 0.65,
                "stripe": 0.65,
            },
        )
        self._add_targets(
            "one call after another, async", async_race, {"bare httpx": 0.90, "bare httpx2": 1.00}
        )
        return sync_race

    def measure_simultaneous_calls(self) -> dict[int, Race]:
        """Measure many calls at once; return the races of the async clients by their tasks."""
        races_by_tasks = {
            10: self._race_tasks(TASKS_PAIR, 10, calls=500, full_rounds=11),
            50: self._race_tasks(TASKS, 50, calls=500, full_rounds=11),
            200: self._race_tasks(TASKS, 200, calls=800, full_rounds=7),
            1000: self._race_tasks(TASKS_PAIR, 1000, calls=2000, full_rounds=3),
        }
        thread_race = race(THREADS, 500, self._rounds(11), url=self._url, concurrency=50)
        races = {f"{tasks} tasks": result for tasks, result in races_by_tasks.items()}
        races["50 threads"] = thread_race
        self._report.add_races("Many calls at once", races)
        self._add_targets(
            "50 at once, async bulk", races_by_tasks[50], {"bare httpx": 0.25, "bare httpx2": 1.00}
        )
        self._add_targets(
            "200 at once, async bulk",
            races_by_tasks[200],
            {"bare httpx": 0.20, "bare httpx2": 1.00},
        )
        self._add_targets(
            "50 threads, sync bulk", thread_race, {"bare httpx": 0.75, "bare httpx2": 1.00}
        )
        growth = races_by_tasks[1000].median("facade") / races_by_tasks[10].median("facade")
        self._report.add_target("1,000 at once", "10 at once", 2.0, growth)
        return races_by_tasks

    def measure_latencies(self) -> None:
        """Measure calls by the latency of the server."""
        rounds = self._rounds(5)
        races: dict[str, Race] = {}
        for latency, url in self._urls.items():
            if latency == 0:
                continue
            server = f"{latency * 1000:.0f} ms"
            races[f"one after another, {server}"] = race(SYNC_PAIR, 10, rounds, url=url)
            for tasks in (50, 200):
                result = race(TASKS_PAIR, 4 * tasks, rounds, url=url, concurrency=tasks)
                races[f"{tasks} tasks, {server}"] = result
        self._report.add_races("With server latency", races)

    def measure_call_counts(self) -> None:
        """Measure the cost of a call by the number of calls."""
        counts = [100, 1000]
        largest = round(10_000 * min(1, self._scale))
        if largest > counts[-1]:  # else it would be measured twice
            counts.append(largest)
        races: dict[str, Race] = {}
        for calls in counts:
            races[f"{calls:,} calls, sync"] = race(SYNC_PAIR, calls, 3, url=self._url)
        for calls in counts:
            races[f"{calls:,} calls, 10 tasks"] = race(
                TASKS_PAIR, calls, 3, url=self._url, concurrency=10
            )
        self._report.add_races("Cost of a call by the number of calls", races)

    def measure_answers_from_memory(self) -> None:
        """Measure a call without a network, by the number of rows in the balance."""
        rounds = self._rounds(15)
        fewest = 2
        most = 60
        races_by_rows: dict[int, Race] = {}
        for rows in (fewest, 10, most):
            calls = 6000 // (rows + 20)  # a larger balance takes longer: fewer calls
            races_by_rows[rows] = race(IN_MEMORY, calls, rounds, rows=rows)
        costs: list[str] = []
        for name in IN_MEMORY:
            difference = races_by_rows[most].median(name) - races_by_rows[fewest].median(name)
            costs.append(f"{name}: {difference / (most - fewest):.1f} µs")
        note = f"{NOT_THE_SAME_WORK}\n\nA further row costs: {', '.join(costs)}."
        races = {f"{rows} rows": result for rows, result in races_by_rows.items()}
        self._report.add_races("Answers from memory", races, note)
        self._add_targets(
            f"a balance of {most} rows, from memory",
            races_by_rows[most],
            {"generated, exact": 1.0},
        )

    def measure_start(self) -> None:
        """Measure the time and the memory from a new process to its first answer."""
        programs = {
            "bare httpx": START_HTTPX.format(url=self._url),
            "facade": START_FACADE.format(url=self._url),
        }
        starts, peaks = race_programs(programs, self._rounds(15))
        rows: list[list[str]] = []
        for name in programs:
            milliseconds = f"{starts.median(name) / 1000:,.0f}"
            mebibytes = f"{peaks[name] / 1024:,.1f}"
            rows.append([name, milliseconds, f"{starts.ratio(name):.2f}", mebibytes])
        work = "import, client, first request"
        self._report.add_table(work.capitalize(), ["contender", "ms", "ratio", "MiB"], rows)
        self._add_targets(work, starts, {"bare httpx": 1.5})

    def measure_bulk_memory(self) -> None:
        """Measure the memory of bulk runs in which one account in twenty fails, in ten ways."""
        small = 1000
        large = round(100_000 * min(1, self._scale))
        sizes = [small]
        note = NO_MEMORY_TARGET
        if large > small:
            sizes.append(large)
            note = ""
        rows: list[list[str]] = []
        for name, set_up in BULK.items():
            peaks: dict[int, float] = {}
            for accounts in sizes:
                with contextlib.closing(Contender(set_up, {"url": self._url})) as contender:
                    sample = contender.run(accounts)
                peaks[accounts] = sample.peak_kib / 1024
                title = f"{accounts:,} accounts, {name}"
                rows.append([title, f"{sample.seconds:,.1f}", f"{peaks[accounts]:,.1f}"])
                print(*rows[-1], flush=True)
            if large > small:
                growth = peaks[large] - peaks[small]
                work = f"MiB more for {large:,} accounts, {name}"
                self._report.add_target(work, f"{small:,} accounts", 20, growth)
        columns = ["run", "seconds", "MiB at most"]
        self._report.add_table("Memory of bulk runs", columns, rows, note)

    def _rounds(self, full: int) -> int:
        return max(3, round(full * self._scale))

    def _race_tasks(
        self, set_ups: dict[str, str], tasks: int, *, calls: int, full_rounds: int
    ) -> Race:
        rounds = self._rounds(full_rounds)
        return race(set_ups, calls, rounds, url=self._url, concurrency=tasks)

    def _add_targets(self, work: str, result: Race, targets: Mapping[str, float]) -> None:
        """Compare the facade with contenders of a race.

        `targets` are the highest acceptable ratios of the facade's time to theirs.
        """
        for base, at_most in targets.items():
            self._report.add_target(work, base, at_most, result.ratio("facade", base))


def format_introduction(server_speed: float, scale: float) -> str:
    """Return what was measured, when, where and with which versions."""
    return INTRODUCTION.format(
        date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        python=platform.python_version(),
        system=platform.system(),
        machine=platform.machine(),
        cores=os.cpu_count(),
        load=", ".join(f"{average:.1f}" for average in os.getloadavg()),
        versions=", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES),
        scale=scale,
        server_speed=server_speed,
    )


def main() -> None:
    """Run all races; print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="0.2 takes a fifth of the time")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)

    report = Report()
    with running_server(LATENCIES) as urls:
        server_speed = measure_server_speed(urls[0])
        urls_by_latency = dict(zip(LATENCIES, urls, strict=True))
        bench = Bench(urls_by_latency, arguments.scale, report)
        sync_race = bench.measure_sequential_calls()
        races_by_tasks = bench.measure_simultaneous_calls()
        bench.measure_latencies()
        bench.measure_call_counts()
        bench.measure_answers_from_memory()
        bench.measure_start()
        bench.measure_bulk_memory()

    targets = report.targets_table()
    print(f"\n{targets}")
    parts = [format_introduction(server_speed, arguments.scale), f"## Targets\n\n{targets}"]
    parts += ["![The time of a call](chart.svg)", *report.sections]
    (arguments.output / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    drawn = chart.draw(sync_race, races_by_tasks)
    (arguments.output / "chart.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
