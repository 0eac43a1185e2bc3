"""Lets contenders race: each in a process of its own, taking turns: A B C, A B C."""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

FOLDER = Path(__file__).parent


@attrs.frozen
class Race:
    """What the contenders of a race took: microseconds a call, by contender, a figure a round."""

    rounds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the microseconds that a contender takes for a call."""
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, base: str | None = None) -> float:
        """Return how many times as long one contender takes as another, or as the first."""
        base = base or next(iter(self.rounds))
        pairs = zip(self.rounds[name], self.rounds[base], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


class Contender:
    """A contender in a process of its own."""

    def __init__(self, work: str, name: str, options: dict[str, Any]) -> None:
        self.work, self.name = work, name
        command = [sys.executable, str(FOLDER / "contenders.py"), work, name, json.dumps(options)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, calls: int) -> tuple[float, int]:
        """Return the seconds that so many calls took, and the most memory in KiB so far."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().split()
        if not said:
            raise SystemExit(f"error: {self.name} failed at the work {self.work!r}: see above")
        return float(said[0]), int(said[1])

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


def race(work: str, names: Iterable[str], calls: int, rounds: int, **options: Any) -> Race:
    """Let contenders take turns, so many calls at a time; the first of them is the base."""
    with contextlib.ExitStack() as stack:
        contenders = {
            name: stack.enter_context(contextlib.closing(Contender(work, name, options)))
            for name in names
        }
        for contender in contenders.values():  # opens the connections, fills the caches
            contender.run(max(options.get("concurrency", 1), calls // 10))
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, contender in contenders.items():
                taken[name].append(contender.run(calls)[0] / calls * 1e6)
    result = Race(taken)
    said = ", ".join(f"{name} {result.median(name):,.0f}" for name in taken)
    print(f"{work} {options}: {said} µs a call", flush=True)
    return result


def race_programs(programs: Mapping[str, str], rounds: int) -> tuple[Race, dict[str, int]]:
    """Let whole programs take turns; return also the most memory in KiB that each held."""
    taken: dict[str, list[float]] = {name: [] for name in programs}
    peaks: dict[str, int] = {}
    for _ in range(rounds + 1):
        for name, program in programs.items():
            began_at = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-c", program])
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"error: the program of {name} failed")
            taken[name].append((time.perf_counter() - began_at) * 1e6)
            peaks[name] = usage.ru_maxrss
    result = Race({name: figures[1:] for name, figures in taken.items()})  # caches are full now
    said = ", ".join(f"{name} {result.median(name) / 1000:,.0f}" for name in programs)
    print(f"programs: {said} ms", flush=True)
    return result, peaks


@contextlib.contextmanager
def running_server(latencies: Iterable[float]) -> Iterator[list[str]]:
    """Start the server; yield its URLs, one for each latency in seconds."""
    command = [sys.executable, str(FOLDER / "server.py"), *map(str, latencies)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        yield [f"http://127.0.0.1:{port}" for port in json.loads(server.stdout.readline())]
    finally:
        server.communicate()


def server_limit(url: str) -> float:
    """Return how many requests a second the server answers where they come in hundreds."""
    head = b"POST /api/v1/balance/get HTTP/1.1\r\nContent-Length: 10\r\n\r\n"
    batch = (head + b'{"key": 1}') * 100
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + b'{"key": 1}')
        size = len(connection.recv(65536)) * 100
        best = 0.0
        for _ in range(100):
            began_at, left = time.perf_counter(), size
            connection.sendall(batch)
            while left:
                left -= len(connection.recv(65536))
            best = max(best, 100 / (time.perf_counter() - began_at))
    return best
