"""The pool: bounds, turns, idle connections, event loops."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import AccountBalance, AsyncMeshClient, MeshClient, MeshError, MeshTimeoutError
from mesh_facade.engine import pool
from mesh_facade.engine.connection import Connection
from mesh_facade.engine.waiting import HomeKey, ThreadWaiting, run_blocking
from tests.conftest import Mode, Serve
from tests.engine.support import answer_with_number_in_token, in_parallel
from tests.support import KEYS, TOKEN, Peer, cash_body, response

if TYPE_CHECKING:
    from tests.conftest import Clock


def test_simultaneous_first_calls_each_get_their_own_answer(mode: Mode, serve: Serve) -> None:
    server = serve(answer_with_number_in_token)
    caller = mode.client(base_url=server.url)

    for _ in range(3):
        assert [balance.cash("USD") for balance in in_parallel(caller, 40)] == list(range(40))

    assert server.connections <= 40


def test_simultaneous_first_calls_of_threads_share_one_set_of_slots() -> None:
    active: list[None] = []

    def answer(_: httpx.Request) -> httpx.Response:
        active.append(None)
        time.sleep(0.0005)  # long enough for another thread to come in, if it could
        most = len(active)
        active.pop()
        return response(200, cash_body(str(most)))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as executor:
            for _ in range(50):
                transport = httpx.MockTransport(answer)
                with MeshClient(**KEYS, transport=transport, max_connections=1) as mesh:
                    together = threading.Barrier(8)

                    def call(mesh: MeshClient, together: threading.Barrier) -> Decimal | None:
                        together.wait()
                        return mesh.get_account_balance(TOKEN, "coinbase").cash("USD")

                    calls = [executor.submit(call, mesh, together) for _ in range(8)]
                    assert [call.result() for call in calls] == [1] * 8
    finally:
        sys.setswitchinterval(interval)


def test_threads_that_make_a_home_at_once_use_the_first_one() -> None:
    connections = pool.ConnectionPool(ThreadWaiting(), Connection, 1)
    key = HomeKey(os.getpid())

    first = run_blocking(connections._get_or_make_home(key))
    second = run_blocking(connections._get_or_make_home(key))

    assert second is first


def test_max_connections_is_never_exceeded_and_waiting_calls_get_their_turn(
    mode: Mode, serve: Serve
) -> None:
    server = serve(answer_with_number_in_token)
    caller = mode.client(base_url=server.url, max_connections=3)

    assert [balance.cash("USD") for balance in in_parallel(caller, 30)] == list(range(30))
    assert server.connections <= 3


def test_no_free_connection_within_the_deadline_raises_timeout_error(
    mode: Mode, serve: Serve
) -> None:
    def answer_late(peer: Peer) -> None:
        peer.receive()
        is_asked.set()
        may_answer.wait(5)
        peer.answer()
        peer.answer_all()

    is_asked = threading.Event()
    may_answer = threading.Event()
    server = serve(answer_late)
    caller = mode.client(base_url=server.url, max_connections=1)
    hurried = caller.with_options(deadline=0.2)
    outcomes: list[Any] = []

    if mode.is_async:

        async def both() -> None:
            slow = asyncio.create_task(caller.client.get_account_balance(TOKEN, "coinbase"))
            await asyncio.to_thread(is_asked.wait, 5)
            try:
                await hurried.client.get_account_balance(TOKEN, "coinbase")
            except MeshError as error:
                outcomes.append(error)
            may_answer.set()
            outcomes.append(await slow)

        mode.run(both())
    else:
        with ThreadPoolExecutor(1) as executor:
            slow = executor.submit(caller.read)
            is_asked.wait(5)
            with pytest.raises(MeshTimeoutError) as caught:
                hurried.read()
            may_answer.set()
            outcomes += [caught.value, slow.result()]

    error, balance = outcomes
    assert type(error) is MeshTimeoutError
    assert str(error) == "no free connection within the deadline of 0.2 s"
    assert error.attempts == 0
    assert balance
    assert caller.read()
    assert (server.connections, len(server.requests)) == (1, 2)


def test_connections_idle_for_too_long_are_closed(mode: Mode, serve: Serve, clock: Clock) -> None:
    server = serve(answer_with_number_in_token)
    caller = mode.client(base_url=server.url)
    in_parallel(caller, 4)
    opened = server.connections

    clock.now += 31
    for _ in range(2 * opened):
        caller.read("token-0")

    server.wait_until_open(1)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # the first loop was closed with its connection open
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_async_client_works_in_a_second_event_loop(serve: Serve) -> None:
    server = serve()
    mesh = AsyncMeshClient(**KEYS, base_url=server.url)

    async def call() -> AccountBalance:
        return await mesh.get_account_balance(TOKEN, "coinbase")

    async def call_and_close() -> AccountBalance:
        async with mesh:
            return await call()

    assert asyncio.run(call()) == asyncio.run(call_and_close())
    assert server.connections == 2
    gc.collect()


def test_connection_idle_for_too_long_is_not_used_again(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)
    caller.read()
    monkeypatch.setattr(pool, "KEEP_IDLE", -1.0)

    caller.read()

    assert server.connections == 2


def test_cancelled_call_closes_its_connection_and_gives_its_slot_back(serve: Serve) -> None:
    def hold_first(peer: Peer) -> None:
        if peer.number == 0:
            peer.receive()
            is_asked.set()
            peer.hold()
        peer.answer_all()

    is_asked = threading.Event()
    server = serve(hold_first)

    async def cancel_and_call_again() -> AccountBalance:
        async with AsyncMeshClient(**KEYS, base_url=server.url, max_connections=1) as mesh:
            cancelled = asyncio.create_task(mesh.get_account_balance(TOKEN, "coinbase"))
            await asyncio.to_thread(is_asked.wait, 5)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            await asyncio.to_thread(server.wait_until_open, 0)
            return await mesh.get_account_balance(TOKEN, "coinbase")

    assert asyncio.run(cancel_and_call_again())
    assert server.connections == 2
