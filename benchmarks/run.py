"""Compares the facade with HTTP libraries and with clients of other services; writes RESULTS.md.

A figure is the median of a contender's rounds. A ratio is the median of the ratios of all rounds:
whatever slows the machine down for a while slows down both contenders of a round.
"""

import argparse
import contextlib
import datetime as dt
import os
import platform
from importlib import metadata
from pathlib import Path

import chart
from race import FOLDER, Contender, Race, race, race_programs, running_server, server_limit
from report import Report

LATENCIES = [0.0, 0.02, 0.1]
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
ASYNC = {
    "bare httpx": "libraries.async_httpx",
    "bare httpx2": "libraries.async_httpx2",
    "generated": "facade.async_generated",
    "facade": "facade.async_facade",
    "pyreqwest": "libraries.async_pyreqwest",
    "pyqwest": "libraries.async_pyqwest",
}
TASKS = {"bare httpx": "libraries.tasks_httpx", "facade": "facade.tasks_facade"}
ALL_TASKS = {
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
{versions}. Rounds: {scale:g} of the full number.

Each contender runs in a process of its own, and they take turns. A figure is the median of the
contender's rounds. A ratio is the median, over the rounds, of the contender's time divided by the
time of the first contender in its block: lower is faster. Everything is switched on in the facade:
keys, retries, deadline, size limits, Decimals and checks. The server is one process on uvloop; it
answered {limit:,.0f} requests a second when they came in hundreds, so no client waited for it."""

NOT_THE_SAME_WORK = """\
Two comparisons of earlier reports are gone, because they did not compare the same work. githubkit's
GET sends no body and receives two short texts; its POST, which sends and receives a JSON body as a
call to Mesh does, stays. Decoding was compared with `json.loads` and the generated `from_dict`,
which read amounts as floats and check nothing. The target now compares whole calls, from their
arguments to their results, with the generated operation that reads exact numbers (Decimals). The
generated operation with floats stays in the table."""

WHAT_IS_POSSIBLE = """\
The rows of pyreqwest and pyqwest, two HTTP libraries written in Rust, and of `http.client` and a
plain socket show what is possible: they send the same request and decode the answer, with none of
the facade's checks, limits, retries or deadline."""


class Bench:
    """All measurements. Each adds its section to the report; `scale` shortens them."""

    def __init__(self, urls: list[str], scale: float, report: Report) -> None:
        self._urls = urls
        self._url = urls[0]
        self._scale = scale
        self._report = report

    def _rounds(self, full: int) -> int:
        return max(3, round(full * self._scale))

    def one_after_another(self) -> Race:
        """Measure one call after another."""
        sync = race(SYNC, 200, self._rounds(25), url=self._url)
        tasks = race(ASYNC, 200, self._rounds(25), url=self._url)
        races = {"sync": sync, "async": tasks}
        self._report.add_races("One call after another", races, WHAT_IS_POSSIBLE)
        targets = {"bare httpx": 0.80, "bare httpx2": 1.00}
        targets |= {"plaid": 0.65, "githubkit": 0.65, "openai": 0.65, "stripe": 0.65}
        for base, at_most in targets.items():
            measured = sync.ratio("facade", base)
            self._report.add_target("one call after another, sync", base, at_most, measured)
        for base, at_most in {"bare httpx": 0.90, "bare httpx2": 1.00}.items():
            measured = tasks.ratio("facade", base)
            self._report.add_target("one call after another, async", base, at_most, measured)
        return sync

    def at_once(self) -> dict[int, Race]:
        """Measure many calls at once, and how their cost grows with the connections."""
        tasks = {
            10: self._race_tasks(TASKS, 10, calls=500, full_rounds=11),
            50: self._race_tasks(ALL_TASKS, 50, calls=500, full_rounds=11),
            200: self._race_tasks(ALL_TASKS, 200, calls=800, full_rounds=7),
            1000: self._race_tasks(TASKS, 1000, calls=2000, full_rounds=3),
        }
        threads = race(THREADS, 500, self._rounds(11), url=self._url, concurrency=50)
        races = {f"{width} tasks": each for width, each in tasks.items()}
        races["50 threads"] = threads
        self._report.add_races("Many calls at once", races)
        add_target = self._report.add_target
        for base, at_most in {"bare httpx": 0.25, "bare httpx2": 1.00}.items():
            add_target("50 at once, async bulk", base, at_most, tasks[50].ratio("facade", base))
        for base, at_most in {"bare httpx": 0.20, "bare httpx2": 1.00}.items():
            add_target("200 at once, async bulk", base, at_most, tasks[200].ratio("facade", base))
        for base, at_most in {"bare httpx": 0.75, "bare httpx2": 1.00}.items():
            add_target("50 threads, sync bulk", base, at_most, threads.ratio("facade", base))
        growth = tasks[1000].median("facade") / tasks[10].median("facade")
        add_target("1,000 at once", "10 at once", 2.0, growth)
        return tasks

    def _race_tasks(
        self, set_ups: dict[str, str], width: int, *, calls: int, full_rounds: int
    ) -> Race:
        rounds = self._rounds(full_rounds)
        return race(set_ups, calls, rounds, url=self._url, concurrency=width)

    def latencies(self) -> None:
        """Measure with a server that takes its time."""
        sync = {"bare httpx": SYNC["bare httpx"], "facade": SYNC["facade"]}
        rounds = self._rounds(5)
        races: dict[str, Race] = {}
        for latency, url in zip(LATENCIES, self._urls, strict=True):
            if latency == 0:
                continue
            server = f"{latency * 1000:.0f} ms"
            races[f"one after another, {server}"] = race(sync, 10, rounds, url=url)
            for width in (50, 200):
                result = race(TASKS, 4 * width, rounds, url=url, concurrency=width)
                races[f"{width} tasks, {server}"] = result
        self._report.add_races("With a server that takes its time", races)

    def growth(self) -> None:
        """Show that the cost of a call does not grow with the number of calls."""
        sync = {"bare httpx": SYNC["bare httpx"], "facade": SYNC["facade"]}
        numbers = [100, 1000, round(10_000 * min(1, self._scale))]
        races: dict[str, Race] = {}
        for calls in numbers:
            races[f"{calls:,} calls, sync"] = race(sync, calls, 3, url=self._url)
        for calls in numbers:
            races[f"{calls:,} calls, 10 tasks"] = race(
                TASKS, calls, 3, url=self._url, concurrency=10
            )
        self._report.add_races("Cost of a call by the number of calls", races)

    def in_memory(self) -> None:
        """Measure a call without a network, by the number of rows in the balance."""
        rounds = self._rounds(15)
        races: dict[int, Race] = {}
        for rows in (2, 10, 60):
            races[rows] = race(IN_MEMORY, 6000 // (rows + 20), rounds, rows=rows)
        further_row: list[str] = []
        for name in IN_MEMORY:
            microseconds = (races[60].median(name) - races[2].median(name)) / 58
            further_row.append(f"{name}: {microseconds:.1f} µs")
        note = f"{NOT_THE_SAME_WORK}\n\nA further row costs: {', '.join(further_row)}."
        named = {f"{rows} rows": each for rows, each in races.items()}
        self._report.add_races("Answers from memory", named, note)
        measured = races[60].ratio("facade", "generated, exact")
        work = "a balance of 60 rows, from memory"
        self._report.add_target(work, "generated, exact", 1.0, measured)

    def start(self) -> None:
        """Measure the way from a new process to its first answer."""
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
        self._report.add_target(work, "bare httpx", 1.5, starts.ratio("facade"))

    def bulk_memory(self) -> None:
        """Measure the memory of bulk runs in which one account in twenty fails, in ten ways."""
        small = 1000
        large = round(100_000 * min(1, self._scale))
        rows: list[list[str]] = []
        for name, set_up in BULK.items():
            peaks: dict[int, float] = {}
            for count in (small, large):
                with contextlib.closing(Contender(set_up, {"url": self._url})) as contender:
                    sample = contender.run(count)
                peaks[count] = sample.peak_kib / 1024
                work = f"{count:,} accounts, {name}"
                rows.append([work, f"{sample.seconds:,.1f}", f"{peaks[count]:,.1f}"])
                print(*rows[-1], flush=True)
            work = f"MiB more for {large:,} accounts, {name}"
            self._report.add_target(work, f"{small:,} accounts", 20, peaks[large] - peaks[small])
        columns = ["run", "seconds", "MiB at most"]
        self._report.add_table("Memory of bulk runs", columns, rows)


def introduction(limit: float, scale: float) -> str:
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
        limit=limit,
    )


def main() -> None:
    """Run all races; print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="0.2 takes a fifth of the time")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    arguments = parser.parse_args()

    report = Report()
    with running_server(LATENCIES) as urls:
        limit = server_limit(urls[0])
        bench = Bench(urls, arguments.scale, report)
        sequential = bench.one_after_another()
        tasks = bench.at_once()
        bench.latencies()
        bench.growth()
        bench.in_memory()
        bench.start()
        bench.bulk_memory()

    targets = report.targets_table()
    print(f"\n{targets}")
    parts = [introduction(limit, arguments.scale), f"## Targets\n\n{targets}"]
    parts += ["![The time of a call](chart.svg)", *report.sections]
    (arguments.output / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    drawn = chart.draw(sequential, tasks)
    (arguments.output / "chart.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
