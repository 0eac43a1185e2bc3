"""Leaving a bulk run during a long pause: the program ends, and closing the client ends pauses."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import FailedOutcome, Outcome
from tests.bulk.support import CountingTransport, make_accounts, only_sync, open_run, rate_limited
from tests.support import response

if TYPE_CHECKING:
    from tests.conftest import Caller, Mode


@only_sync
def test_run_with_the_longest_deadline_ends_while_a_call_is_in_flight(mode: Mode) -> None:
    is_over = threading.Event()
    threads: list[threading.Thread] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if b"token-0" not in request.content:
            threads.append(threading.current_thread())
            is_over.wait(5)
        return response()

    transport = httpx.MockTransport(answer)
    caller = mode.client(transport=transport, deadline=threading.TIMEOUT_MAX)

    with open_run(caller, make_accounts(2), concurrency=2) as outcomes:
        next(outcomes)
        threading.Timer(0.05, is_over.set).start()

    assert not any(thread.is_alive() for thread in threads)


PROGRAM = """
import sys
import threading

import httpx

from mesh_facade import LinkedAccount, MeshClient

BALANCE = b'{"status": "ok", "content": {"balances": []}}'
is_first_answered = threading.Event()
is_rate_limited = threading.Event()


def answer(request):
    if b"token-0" in request.content:
        is_first_answered.set()
        return httpx.Response(200, content=BALANCE)
    is_first_answered.wait()
    is_rate_limited.set()
    return httpx.Response(429, headers={"Retry-After": "60"})


def leave():
    is_rate_limited.wait()
    print("leaving", flush=True)


mesh = MeshClient("client-id", "client-secret", transport=httpx.MockTransport(answer))
run = mesh.get_account_balances([LinkedAccount(f"token-{n}", "coinbase") for n in range(3)])
if sys.argv[1] == "break":
    for outcome in run:
        leave()
        break
elif sys.argv[1] == "next":
    outcome = next(run)
    leave()
else:
    for outcome in run:
        leave()
        raise LookupError
"""
LIMIT = 1.0
"""Seconds within which a program has to end."""
TRIES = 3  # one of them must be that fast: other programs may keep the machine busy


@pytest.mark.parametrize(("way", "code"), [("break", 0), ("next", 0), ("raise", 1)])
def test_program_that_leaves_a_run_during_a_pause_ends_within_a_second(way: str, code: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    seconds: list[float] = []

    while len(seconds) < TRIES and min(seconds, default=LIMIT) >= LIMIT:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, way],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "leaving\n"
            left_at = time.monotonic()
            try:
                _, errors = program.communicate(timeout=20)
            finally:
                program.kill()  # has no effect on a program that has ended
            seconds.append(time.monotonic() - left_at)
        assert program.returncode == code
        assert ("LookupError" in errors) is (code == 1)
        assert "token" not in errors
        assert "Fatal" not in errors

    assert min(seconds) < LIMIT


class RateLimitedTransport(CountingTransport):
    """Asks each call to wait for a minute; the first one sets an event."""

    def __init__(self) -> None:
        super().__init__(self._limit)
        self.has_limited = threading.Event()

    def _limit(self, _: str) -> httpx.Response:
        self.has_limited.set()
        return rate_limited(60)


def close_during_a_run(caller: Caller, transport: RateLimitedTransport) -> list[Outcome]:
    """Close the client once a call is rate limited; return the outcomes of three accounts."""
    accounts = make_accounts(3)
    if caller.mode.is_async:

        async def collect() -> list[Outcome]:
            return [outcome async for outcome in caller.client.get_account_balances(accounts)]

        async def collect_and_close() -> list[Outcome]:
            collecting = asyncio.create_task(collect())
            await asyncio.to_thread(transport.has_limited.wait, 5)
            await caller.client.aclose()
            return await collecting

        outcomes: list[Outcome] = caller.mode.run(collect_and_close())
        return outcomes
    with ThreadPoolExecutor(1) as executor:
        collected = executor.submit(list, caller.client.get_account_balances(accounts))
        transport.has_limited.wait(5)
        caller.close()
        return list(collected.result())


def test_closing_the_client_ends_the_pauses_of_a_run(mode: Mode) -> None:
    transport = RateLimitedTransport()
    began_at = time.monotonic()

    outcomes = close_during_a_run(mode.client(transport=transport), transport)

    assert time.monotonic() - began_at < 30  # without that, the pause lasts for 60 s
    assert sorted(str(outcome.account.key) for outcome in outcomes) == ["0", "1", "2"]
    assert all(isinstance(outcome, FailedOutcome) for outcome in outcomes)


@only_sync
def test_closing_a_run_during_shutdown_waits_for_no_thread(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def answer(token: str) -> httpx.Response:
        if token != "token-0":
            may_end.wait(10)
        return response()

    before = set(threading.enumerate())

    with open_run(mode.client(transport=CountingTransport(answer)), make_accounts(2)) as outcomes:
        next(outcomes)
        monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    monkeypatch.undo()
    lanes = set(threading.enumerate()) - before

    assert any(lane.is_alive() for lane in lanes)
    may_end.set()
    for lane in lanes:
        lane.join(5)
        assert not lane.is_alive()


@only_sync
def test_garbage_collector_may_close_a_run_in_a_lane(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_collect = threading.Event()
    unraisable: list[object] = []

    def answer(token: str) -> httpx.Response:
        if token != "token-0":
            assert may_collect.wait(5)
            gc.collect()
        return response()

    def leave_a_run() -> None:
        holder: list[object] = []
        holder.append(holder)  # so that only the garbage collector can find it
        run = mode.client(transport=CountingTransport(answer)).client.get_account_balances(
            make_accounts(2)
        )
        holder.append(run)
        next(run)

    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    before = set(threading.enumerate())
    gc.disable()
    try:
        leave_a_run()
        may_collect.set()
        for lane in set(threading.enumerate()) - before:
            lane.join(5)
            assert not lane.is_alive()
    finally:
        gc.enable()

    assert unraisable == []


@only_sync
def test_run_that_is_closed_under_a_lock_which_a_lane_waits_for_does_not_hang(mode: Mode) -> None:
    lock = threading.Lock()
    first_answered = threading.Event()

    def answer(token: str) -> httpx.Response:
        if token != "token-0":
            first_answered.wait(5)
            with lock:
                return response()
        return response()

    def close_under_the_lock() -> None:
        run = caller.client.get_account_balances(make_accounts(2))
        next(run)
        with lock:
            first_answered.set()
            run.close()  # as the garbage collector may do at any moment

    caller = mode.client(transport=CountingTransport(answer), deadline=0.1)
    thread = threading.Thread(target=close_under_the_lock, daemon=True)
    thread.start()
    thread.join(5)

    assert not thread.is_alive()
