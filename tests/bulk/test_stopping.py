"""Stopping a run early: closing its generator, break, cancellation and Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import Attempt, LinkedAccount
from mesh_facade.testing import MockServer
from tests.bulk.support import (
    CountingTransport,
    connect_to,
    make_accounts,
    only_async,
    only_sync,
    open_run,
    rate_limited,
    read_all,
    wait_until_set,
)
from tests.stopwatch import Stopwatch
from tests.support import response, threads_begun_since

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Mode, Serve


DEFAULT_CONCURRENCY = 20


@only_sync
def test_system_exit_propagates_instead_of_becoming_an_outcome(mode: Mode) -> None:
    def secret() -> str:
        raise SystemExit(3)

    caller = mode.client(transport=CountingTransport(), client_secret=secret)

    with open_run(caller, make_accounts(1)) as outcomes, pytest.raises(SystemExit):
        next(outcomes)


def count_other_tasks(mode: Mode) -> int:
    """Return how many tasks of an async run are left."""

    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    if not mode.is_async:
        return 0
    number: int = mode.run(count())
    return number


def give_time_for_more_calls(mode: Mode) -> None:
    """Wait as long as about ten calls take; lanes that are left would make calls meanwhile."""
    seconds = 0.02
    if mode.is_async:
        mode.run(asyncio.sleep(seconds))  # tasks go on only while their event loop runs
    else:
        time.sleep(seconds)


@pytest.mark.parametrize("outcome_count", [0, 1, 25])
def test_closing_the_generator_stops_all_lanes(mode: Mode, outcome_count: int) -> None:
    threads = set(threading.enumerate())
    transport = CountingTransport()

    with open_run(mode.client(transport=transport), make_accounts(100_000)) as outcomes:
        for _ in range(outcome_count):
            next(outcomes)
    sent = len(transport.tokens)
    give_time_for_more_calls(mode)

    assert threads_begun_since(threads) == set()
    assert count_other_tasks(mode) == 0
    assert transport.in_flight == 0
    assert len(transport.tokens) == sent
    if outcome_count == 0:
        assert sent == 0  # a run starts when its first outcome is asked for
    else:
        assert sent <= outcome_count + DEFAULT_CONCURRENCY


@only_sync
def test_break_out_of_the_loop_stops_all_lanes(mode: Mode) -> None:
    threads = set(threading.enumerate())

    client = mode.client(transport=CountingTransport()).client
    for _ in client.get_account_balances(make_accounts(100_000)):
        break  # nothing refers to the generator any more, so CPython closes it at once

    assert threads_begun_since(threads) == set()


def test_closing_the_generator_ends_pauses(mode: Mode) -> None:
    is_first_answered = threading.Event()
    is_pausing = threading.Event()

    def answer(token: str) -> httpx.Response:
        if token == "token-0":
            is_first_answered.set()
            return response()
        # A rate limit pauses all lanes, so it must not come before the first account's answer. In
        # asyncio this wait would block the event loop. But there the first call has been answered
        # already, because it began first and all calls take equally long.
        is_first_answered.wait(5)
        return rate_limited(60)

    def note_pause(attempt: Attempt) -> None:
        if attempt.pause is not None:
            is_pausing.set()

    transport = CountingTransport(answer)
    caller = mode.client(transport=transport, on_attempt=note_pause)
    threads = set(threading.enumerate())

    with Stopwatch() as watch, open_run(caller, make_accounts(9)) as outcomes:
        next(outcomes)
        wait_until_set(is_pausing, mode)

    assert watch.seconds < 2
    assert threads_begun_since(threads) == set()
    assert count_other_tasks(mode) == 0


@only_sync
def test_closing_the_generator_lets_calls_in_flight_end_without_retries(mode: Mode) -> None:
    ended: list[str] = []

    def answer(token: str) -> httpx.Response:
        ended.append(token)
        if token == "token-0":
            return response()
        return response(503, b"")

    def seconds(token: str) -> float:
        if token == "token-0":
            return 0.2
        return 0.5  # still in flight when the generator is closed

    transport = CountingTransport(answer, seconds)

    with open_run(mode.client(transport=transport), make_accounts(2)) as outcomes:
        next(outcomes)

    assert ended == ["token-0", "token-1"]


@only_async
def test_cancelling_the_iterating_task_cancels_its_lanes(mode: Mode, mesh: MockServer) -> None:
    mesh.answers("token-0", delay=30)
    client = connect_to(mesh, mode).client
    others_are_read = asyncio.Event()

    async def read() -> None:
        count = 0
        async for _ in client.get_account_balances(make_accounts(5)):
            count += 1
            if count == 4:
                others_are_read.set()

    async def cancel_and_count_tasks_left() -> int:
        task = asyncio.create_task(read())
        await asyncio.wait_for(others_are_read.wait(), 10)
        task.cancel()  # while it waits for the first account
        await asyncio.wait([task])
        assert task.cancelled()
        return len(asyncio.all_tasks()) - 1

    assert mode.run(cancel_and_count_tasks_left()) == 0


def test_client_can_be_used_after_a_run_was_closed(mode: Mode, serve: Serve) -> None:
    # Fewer connections than lanes: calls are stopped while they use one, and while they wait for
    # one. A connection that a stopped call did not give back would be missing afterwards.
    caller = mode.client(base_url=serve().url, max_connections=4)

    for _ in range(5):
        with open_run(caller, make_accounts(1000), concurrency=8) as outcomes:
            next(outcomes)

    outcomes_afterwards = read_all(caller, make_accounts(20))
    assert [each.error for each in outcomes_afterwards] == [None] * 20


@only_sync
@pytest.mark.parametrize("moment", ["before", "after"])
def test_ctrl_c_while_a_lane_starts_stops_all_lanes(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    start = threading.Thread.start

    def start_and_interrupt(thread: threading.Thread) -> None:
        is_third_lane = thread.name == "mesh-facade-2"
        if is_third_lane and moment == "before":
            raise KeyboardInterrupt
        start(thread)
        if is_third_lane:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start_and_interrupt)
    caller = mode.client(transport=CountingTransport())
    raised: list[BaseException] = []
    threads = set(threading.enumerate())

    def read() -> None:
        try:
            read_all(caller, make_accounts(9))
        except KeyboardInterrupt as interrupt:
            raised.append(interrupt)

    # In a thread, so that a run that never ends fails the test instead of hanging it.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(10)

    assert len(raised) == 1
    assert threads_begun_since(threads) == set()


@only_sync
def test_interrupted_run_does_not_read_accounts_that_no_lane_has_begun(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_stopping = threading.Event()

    class LateThread(threading.Thread):
        """A thread that begins its work only when another thread joins it."""

        def run(self) -> None:
            is_stopping.wait(10)
            super().run()

        def join(self, timeout: float | None = None) -> None:
            is_stopping.set()
            super().join(timeout)

    def draw() -> Iterator[LinkedAccount]:
        yield from make_accounts(3)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading, "Thread", LateThread)
    transport = CountingTransport()
    threads = set(threading.enumerate())

    with pytest.raises(KeyboardInterrupt):
        read_all(mode.client(transport=transport), draw())

    assert transport.tokens == []
    assert threads_begun_since(threads) == set()


INTERRUPTED_PROGRAM = """
import asyncio, signal, sys, threading, os
from mesh_facade import AsyncMeshClient, LinkedAccount, MeshClient

token = "a-token"
if sys.argv[2] == "waiting":
    token = "slow"

def accounts():
    while True:
        yield LinkedAccount(token, "coinbase")

def press_ctrl_c(*_):
    os.kill(os.getpid(), signal.SIGINT)

def schedule_ctrl_c():
    signal.signal(signal.SIGALRM, press_ctrl_c)
    signal.setitimer(signal.ITIMER_REAL, 0.3)

def read():
    with MeshClient(deadline=1) as mesh:
        for _ in mesh.get_account_balances(accounts()):
            pass

async def read_async():
    async with AsyncMeshClient(deadline=1) as mesh:
        async for _ in mesh.get_account_balances(accounts()):
            pass

schedule_ctrl_c()
try:
    if sys.argv[1] == "async":
        asyncio.run(read_async())
    else:
        read()
except KeyboardInterrupt:
    print("interrupted", threading.active_count())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGALRM to time Ctrl-C with")
@pytest.mark.parametrize("state", ["busy", "waiting"])
def test_ctrl_c_stops_all_lanes(mode: Mode, mesh: MockServer, state: str) -> None:
    mesh.answers("slow", delay=30)
    mode_name = "sync"
    if mode.is_async:
        mode_name = "async"

    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED_PROGRAM, mode_name, state],
        env=os.environ | mesh.environment,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )

    assert (ran.stdout, ran.stderr) == ("interrupted 1\n", "")
