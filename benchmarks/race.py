"""Lets contenders race: each in a process of its own, taking turns."""

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

import attrs

FOLDER = Path(__file__).parent

Option = str | int


@attrs.frozen
class Race:
    """The microseconds that each contender took for a call, one figure for each round.

    `cpu_microseconds` holds the processor time alone, which other work on the machine hardly
    changes.
    """

    microseconds: dict[str, list[float]]
    cpu_microseconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median of the microseconds that a contender took for a call."""
        return statistics.median(self.microseconds[name])

    def ratios(self, name: str, base: str) -> list[float]:
        """Return the time of `name` divided by the time of `base`, for each round."""
        return divide_pairwise(self.microseconds[name], self.microseconds[base])

    def cpu_ratio(self, name: str, base: str) -> float:
        """Return the median of the rounds' ratios, as `ratio`, but of processor time."""
        ratios = divide_pairwise(self.cpu_microseconds[name], self.cpu_microseconds[base])
        return statistics.median(ratios)

    def ratio(self, name: str, base: str | None = None) -> float:
        """Return the median, over the rounds, of the time of `name` divided by that of `base`.

        `base` is the first contender unless another is named.
        """
        if base is None:
            base = next(iter(self.microseconds))
        return statistics.median(self.ratios(name, base))


def divide_pairwise(ours: list[float], theirs: list[float]) -> list[float]:
    """Divide the figure of each round by the other contender's figure of the same round."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


@attrs.frozen
class Sample:
    """The duration of some calls, and the most memory that the process has held so far."""

    seconds: float
    cpu_seconds: float
    peak_kib: int


class Contender:
    """A contender in a process of its own; see contender.py.

    `set_up` names the function that sets it up, such as `libraries.sync_httpx`, and `options` are
    that function's arguments.
    """

    def __init__(
        self, set_up: str, options: Mapping[str, Option], checkout: Path | None = None
    ) -> None:
        self._set_up = set_up
        module, function = set_up.split(".")
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "contender.py"), module, function, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment_of(checkout),
        )

    def run(self, calls: int) -> Sample:
        """Let it make a number of calls.

        Raises:
            SystemExit: It has ended. Its traceback is on the standard error stream.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(f"{calls}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            printed = []  # the contender has ended, so there is nothing to read
        else:
            printed = self._process.stdout.readline().split()
        if not printed:
            raise SystemExit(f"error: the contender {self._set_up} failed: see above")
        seconds, cpu_seconds, peak_kib = printed
        return Sample(float(seconds), float(cpu_seconds), int(peak_kib))

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


def environment_of(checkout: Path | None) -> dict[str, str]:
    """Return the environment of a process that imports this project from a checkout."""
    environment = dict(os.environ)
    if checkout is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(checkout), str(checkout / "generated")])
        environment["MEASURED_CHECKOUT"] = str(checkout)
    return environment


def race(
    set_ups: Mapping[str, str],
    calls: int,
    rounds: int,
    checkouts: Mapping[str, Path] | None = None,
    **options: Option,
) -> Race:
    """Let contenders take turns, a number of calls at a time.

    `set_ups` maps a contender's name to the function that sets it up, such as
    `libraries.sync_httpx`; `checkouts` maps it to the checkout that it imports this project from.
    Every second round runs in the opposite order, so that no contender gains by its place.
    """
    if checkouts is None:
        checkouts = {}
    with contextlib.ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for name, set_up in set_ups.items():
            contender = Contender(set_up, options, checkouts.get(name))
            stack.callback(contender.close)
            contenders[name] = contender
        # The first calls open the connections and fill the caches.
        first_calls = max(int(options.get("concurrency", 1)), calls // 10)
        for contender in contenders.values():
            contender.run(first_calls)
        microseconds: dict[str, list[float]] = {name: [] for name in contenders}
        cpu_microseconds: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(rounds):
            for name in order_of_round(number, contenders):
                sample = contenders[name].run(calls)
                microseconds[name].append(sample.seconds / calls * 1e6)
                cpu_microseconds[name].append(sample.cpu_seconds / calls * 1e6)
    result = Race(microseconds, cpu_microseconds)
    shown = [f"{name}={value}" for name, value in options.items() if name != "url"]
    print_medians(" ".join([*set_ups.values(), *shown]), result)
    return result


def order_of_round(number: int, names: Iterable[str]) -> list[str]:
    """Return the contenders in the order of a round: every second round is reversed."""
    order = list(names)
    if number % 2:
        order.reverse()
    return order


def race_programs(
    programs: Mapping[str, str], rounds: int, checkouts: Mapping[str, Path] | None = None
) -> tuple[Race, dict[str, int]]:
    """Let whole programs take turns; return also the most memory in KiB that each held.

    Every second round runs in the opposite order, as in `race`.
    """
    if checkouts is None:
        checkouts = {}
    microseconds: dict[str, list[float]] = {name: [] for name in programs}
    cpu_microseconds: dict[str, list[float]] = {name: [] for name in programs}
    peaks = dict.fromkeys(programs, 0)
    for number in range(rounds + 1):
        for name in order_of_round(number, programs):
            began_at = time.perf_counter()
            # Without -P, Python would import from the current folder first: it may be a checkout.
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", programs[name]],
                env=environment_of(checkouts.get(name)),
            )
            # Unlike Popen.wait, wait4 also returns the process's processor time and memory.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"error: the program of {name} failed: see above")
            microseconds[name].append((time.perf_counter() - began_at) * 1e6)
            cpu_microseconds[name].append((usage.ru_utime + usage.ru_stime) * 1e6)
            peaks[name] = max(peaks[name], usage.ru_maxrss)
    for figures in [*microseconds.values(), *cpu_microseconds.values()]:
        del figures[0]  # the first round filled the caches of the operating system
    result = Race(microseconds, cpu_microseconds)
    print_medians("a program's whole life", result)
    return result, peaks


def print_medians(title: str, result: Race) -> None:
    """Print the medians of a race."""
    medians = [f"{name} {result.median(name):,.0f}" for name in result.microseconds]
    print(f"{title}:\n  {', '.join(medians)} µs", flush=True)


@contextlib.contextmanager
def running_server(latencies: Iterable[float]) -> Iterator[list[str]]:
    """Start the server; yield its URLs, one for each latency in seconds.

    Raises:
        SystemExit: It did not start. Its traceback is on the standard error stream.
    """
    arguments = [str(latency) for latency in latencies]
    command = [sys.executable, str(FOLDER / "server.py"), *arguments]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        printed = server.stdout.readline()
        if not printed:
            raise SystemExit("error: the benchmark server did not start: see above")
        ports = json.loads(printed)
        yield [f"http://127.0.0.1:{port}" for port in ports]
    finally:
        server.communicate()


def measure_server_speed(url: str) -> float:
    """Return the most requests a second that the server answered, in the fastest of 100 batches.

    A batch is 100 requests that are sent at once, over one connection.
    """
    body = b'{"key": 1}'
    request = b"POST /api/v1/balance/get HTTP/1.1\r\nContent-Length: 10\r\n\r\n" + body
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request)
        answer_size = len(connection.recv(65536))
        best = 0.0
        for _ in range(100):
            began_at = time.perf_counter()
            connection.sendall(request * 100)
            missing = answer_size * 100
            while missing:
                received = connection.recv(65536)
                if not received:
                    raise SystemExit("error: the benchmark server closed the connection: see above")
                missing -= len(received)
            best = max(best, 100 / (time.perf_counter() - began_at))
    return best
