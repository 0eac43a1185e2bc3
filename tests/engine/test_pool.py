"""The pool: bounds, turns, idle connections, event loops."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import AccountBalance, AsyncMeshClient, MeshClient, MeshTimeoutError
from mesh_facade.engine import pool
from mesh_facade.engine.connection import Connection
from mesh_facade.engine.slots import Slots
from mesh_facade.engine.waiting import ThreadWaiting, run_blocking
from tests.conftest import Mode, Serve
from tests.engine.support import answer_with_number_in_token, in_parallel
from tests.support import KEYS, TOKEN, Peer, cash_body, response

if TYPE_CHECKING:
    from tests.conftest import Clock

USUAL_CASH = Decimal("158.5")
"""The cash in the usual answer of the server, `tests.support.OK`."""


# --- simultaneous first calls ---------------------------------------------------------------------


def test_simultaneous_first_calls_each_get_their_own_answer(mode: Mode, serve: Serve) -> None:
    server = serve(answer_with_number_in_token)
    caller = mode.client(base_url=server.url)

    for _ in range(3):  # the first round opens connections, and the others use them again
        assert [balance.cash("USD") for balance in in_parallel(caller, 40)] == list(range(40))

    assert server.connections <= 40


class InFlightCounter:
    """Answers each request with a balance whose amount is the number of requests in flight."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0

    def answer(self, _: httpx.Request) -> httpx.Response:
        with self._lock:
            self._in_flight += 1
        time.sleep(0.0005)  # long enough for the request of another thread to arrive
        with self._lock:
            in_flight = self._in_flight
            self._in_flight -= 1
        return response(200, cash_body(str(in_flight)))


@pytest.fixture
def _frequent_thread_switches() -> Iterator[None]:
    """Let Python switch threads as often as it can, so that races between threads show."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_frequent_thread_switches")
def test_simultaneous_first_calls_of_threads_share_one_set_of_slots() -> None:
    with ThreadPoolExecutor(8) as executor:
        for _ in range(50):  # a race need not show at the first attempt
            transport = httpx.MockTransport(InFlightCounter().answer)
            with MeshClient(**KEYS, transport=transport, max_connections=1) as mesh:
                requests_in_flight = _call_from_eight_threads(mesh, executor)

            assert requests_in_flight == [1] * 8


def _call_from_eight_threads(
    mesh: MeshClient, executor: ThreadPoolExecutor
) -> list[Decimal | None]:
    """Make eight calls at the same moment; return the amounts of their answers."""
    barrier = threading.Barrier(8)

    def call() -> Decimal | None:
        barrier.wait()
        return mesh.get_account_balance(TOKEN, "coinbase").cash("USD")

    calls = [executor.submit(call) for _ in range(8)]
    return [each.result() for each in calls]


class MeetingWaiting(ThreadWaiting):
    """Holds each thread that makes slots until a second one makes some too."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def make_slots(self, size: int) -> Slots:
        self._barrier.wait(5)
        return super().make_slots(size)


def test_two_threads_that_both_make_slots_for_the_first_call_use_the_same_ones() -> None:
    connections = pool.ConnectionPool(MeetingWaiting(), Connection, size=2)

    def acquire() -> Connection:
        return run_blocking(connections.acquire(time.monotonic() + 5, must_be_new=False))

    with ThreadPoolExecutor(2) as executor:
        first_call = executor.submit(acquire)
        second_call = executor.submit(acquire)
        first = first_call.result()
        second = second_call.result()

    assert second.home is first.home


# --- at most max_connections ----------------------------------------------------------------------


def test_max_connections_is_never_exceeded_and_waiting_calls_get_their_turn(
    mode: Mode, serve: Serve
) -> None:
    server = serve(answer_with_number_in_token)
    caller = mode.client(base_url=server.url, max_connections=3)

    assert [balance.cash("USD") for balance in in_parallel(caller, 30)] == list(range(30))
    assert server.connections <= 3


class LateAnswer:
    """Holds back the first answer on a connection until the test lets it go."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def serve(self, peer: Peer) -> None:
        peer.receive()
        self.is_asked.set()
        self.may_answer.wait(5)
        peer.answer()
        peer.answer_all()


def test_thread_without_a_free_connection_at_its_deadline_raises_timeout_error(
    serve: Serve,
) -> None:
    late_answer = LateAnswer()
    server = serve(late_answer.serve)

    with (
        MeshClient(**KEYS, base_url=server.url, max_connections=1) as mesh,
        ThreadPoolExecutor(1) as executor,
    ):
        slow_call = executor.submit(mesh.get_account_balance, TOKEN, "coinbase")
        assert late_answer.is_asked.wait(5)
        with pytest.raises(MeshTimeoutError) as caught:
            mesh.with_options(deadline=0.2).get_account_balance(TOKEN, "coinbase")
        late_answer.may_answer.set()
        slow_balance = slow_call.result()
        next_balance = mesh.get_account_balance(TOKEN, "coinbase")

    _check_no_free_connection(caught.value)
    assert slow_balance.cash("USD") == USUAL_CASH
    assert next_balance.cash("USD") == USUAL_CASH
    assert server.connections == 1
    assert len(server.requests) == 2


def test_task_without_a_free_connection_at_its_deadline_raises_timeout_error(
    serve: Serve,
) -> None:
    late_answer = LateAnswer()
    server = serve(late_answer.serve)

    async def run_out_of_time() -> None:
        async with AsyncMeshClient(**KEYS, base_url=server.url, max_connections=1) as mesh:
            slow_call = asyncio.create_task(mesh.get_account_balance(TOKEN, "coinbase"))
            assert await asyncio.to_thread(late_answer.is_asked.wait, 5)
            with pytest.raises(MeshTimeoutError) as caught:
                await mesh.with_options(deadline=0.2).get_account_balance(TOKEN, "coinbase")
            late_answer.may_answer.set()
            slow_balance = await slow_call
            next_balance = await mesh.get_account_balance(TOKEN, "coinbase")

        _check_no_free_connection(caught.value)
        assert slow_balance.cash("USD") == USUAL_CASH
        assert next_balance.cash("USD") == USUAL_CASH

    asyncio.run(run_out_of_time())

    assert server.connections == 1
    assert len(server.requests) == 2


def _check_no_free_connection(error: MeshTimeoutError) -> None:
    assert type(error) is MeshTimeoutError
    assert str(error) == "no free connection within the deadline of 0.2 s"
    assert error.attempts == 0


def test_cancelled_call_closes_its_connection_and_gives_its_slot_back(serve: Serve) -> None:
    is_asked = threading.Event()

    def hold_first_connection(peer: Peer) -> None:
        if peer.number == 0:
            peer.receive()
            is_asked.set()
            peer.hold()
        peer.answer_all()

    server = serve(hold_first_connection)

    async def cancel_and_call_again() -> AccountBalance:
        async with AsyncMeshClient(**KEYS, base_url=server.url, max_connections=1) as mesh:
            cancelled_call = asyncio.create_task(mesh.get_account_balance(TOKEN, "coinbase"))
            assert await asyncio.to_thread(is_asked.wait, 5)
            cancelled_call.cancel()
            await asyncio.wait([cancelled_call])
            await asyncio.to_thread(server.wait_until_open, 0)
            return await mesh.get_account_balance(TOKEN, "coinbase")

    balance = asyncio.run(cancel_and_call_again())

    assert balance.cash("USD") == USUAL_CASH
    assert server.connections == 2


# --- idle connections -----------------------------------------------------------------------------


def test_connections_idle_for_too_long_are_closed(mode: Mode, serve: Serve, clock: Clock) -> None:
    barrier = threading.Barrier(4)

    def answer_four_requests_at_once(peer: Peer) -> None:
        if peer.number < 4:
            peer.receive()
            barrier.wait(5)
            peer.answer()
        peer.answer_all()

    server = serve(answer_four_requests_at_once)
    caller = mode.client(base_url=server.url)
    in_parallel(caller, 4)
    server.wait_until_open(4)

    clock.now += pool.KEEP_IDLE + 1
    caller.read()

    server.wait_until_open(1)


def test_connection_idle_for_too_long_is_not_used_again(
    mode: Mode, serve: Serve, clock: Clock
) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)
    caller.read()

    clock.now += pool.KEEP_IDLE + 1
    caller.read()

    assert server.connections == 2


# --- event loops ----------------------------------------------------------------------------------


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

    first_balance = asyncio.run(call())
    second_balance = asyncio.run(call_and_close())

    assert second_balance == first_balance
    assert server.connections == 2
    gc.collect()  # so that the warnings come here, where they are ignored, and not in another test
