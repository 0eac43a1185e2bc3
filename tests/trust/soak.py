"""A soak test: 100,000 calls, one in ten with a fault, must not increase memory or descriptors.

Run by `make soak`; `python -m tests.trust.soak [CALLS]` makes another number of calls.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from mesh_facade import AccountBalance, AsyncMeshClient, MeshClient, MeshError
from tests.faults.catalogue import FAULTS, QUICK_BOUNDS, Verdict
from tests.faults.server import Answer, FaultServer, Stage

CALLS = 100_000
LANES = 8
GROWTH = 2.0  # MiB
KEYS: dict[str, Any] = {"client_id": "client-id", "client_secret": "client-secret"}

_SCRIPTS = [
    fault.script
    for fault in FAULTS
    if fault.stage is Stage.AFTER_REQUEST and fault.bounds is QUICK_BOUNDS and fault.tls is None
    if fault.verdict is not Verdict.ANSWER and not fault.name.startswith(("endless", "countless"))
]


def is_at_fault(number: int) -> bool:
    return number % 10 == 7


def serve(pipe: Connection) -> None:
    """Answer in a process of its own, so that only the client's memory is measured."""

    def behave(answer: Answer) -> Sequence[Any]:
        if not is_at_fault(answer.amount):
            return [answer.with_length]
        return _SCRIPTS[answer.amount // 10 % len(_SCRIPTS)](answer)

    with FaultServer() as server:
        endpoint = server.open(behave)
        endpoint.start_fault()
        pipe.send(endpoint.url)
        pipe.recv()


@attrs.define
class Tally:
    """Counts how calls ended."""

    answers: int = 0
    errors: int = 0
    wrong: int = 0
    lock: Any = attrs.field(factory=threading.Lock, repr=False)

    def count(self, number: int, outcome: AccountBalance | MeshError) -> None:
        is_own = not isinstance(outcome, MeshError) and outcome.cash("USD") == number
        is_error = isinstance(outcome, MeshError)
        with self.lock:
            self.errors += is_error
            self.answers += is_own
            self.wrong += is_error != is_at_fault(number) or not (is_error or is_own)


def call_sync(mesh: MeshClient, numbers: range, tally: Tally) -> None:
    def run(lane: int) -> None:
        for number in numbers[lane::LANES]:
            try:
                tally.count(number, mesh.get_account_balance(f"token-{number}", "coinbase"))
            except MeshError as error:
                tally.count(number, error)

    with ThreadPoolExecutor(LANES) as executor:
        list(executor.map(run, range(LANES)))


async def call_async(mesh: AsyncMeshClient, numbers: range, tally: Tally) -> None:
    async def run(lane: int) -> None:
        for number in numbers[lane::LANES]:
            try:
                tally.count(number, await mesh.get_account_balance(f"token-{number}", "coinbase"))
            except MeshError as error:
                tally.count(number, error)

    await asyncio.gather(*map(run, range(LANES)))


def measure() -> tuple[float, int]:
    """Return the memory in use, in MiB, and how many descriptors are open."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20, len([*Path("/proc/self/fd").iterdir()])


def soak(calls: int, run: Callable[[range, Tally], None]) -> Iterator[str]:
    """Make the calls; print the figures, and yield a text for each problem."""
    tally = Tally()
    warm_up = calls // 5
    run(range(warm_up), tally)
    before = measure()
    start = time.monotonic()
    run(range(warm_up, calls), tally)
    seconds = time.monotonic() - start
    after = measure()
    growth = after[0] - before[0]
    sys.stdout.write(
        f"{tally}: {(calls - warm_up) / seconds:.0f} calls/s; memory {before[0]:.1f} to "
        f"{after[0]:.1f} MiB; descriptors {before[1]} to {after[1]}\n"
    )
    if tally.wrong:
        yield f"{tally.wrong} calls ended in the wrong way"
    if growth > GROWTH:
        yield f"memory has grown by {growth:.1f} MiB"
    if after[1] > before[1] + LANES:  # kept connections come and go with the faults
        yield f"{after[1] - before[1]} more descriptors are open"


def main(calls: int = CALLS) -> int:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=[theirs])
    process.start()
    url = ours.recv()
    with MeshClient(**KEYS, base_url=url) as mesh:
        problems = list(soak(calls // 2, lambda *parts: call_sync(mesh, *parts)))
    with asyncio.Runner() as runner:
        client = AsyncMeshClient(**KEYS, base_url=url)
        problems += soak(calls // 2, lambda *parts: runner.run(call_async(client, *parts)))
        runner.run(client.aclose())
    ours.send(None)
    process.join()
    sys.stdout.writelines(f"error: {problem}\n" for problem in problems)
    return bool(problems)


if __name__ == "__main__":
    os.environ.pop("MESH_BASE_URL", None)
    with mock.patch.object(random, "uniform", min):  # pauses would only make it longer
        raise SystemExit(main(*map(int, sys.argv[1:])))
