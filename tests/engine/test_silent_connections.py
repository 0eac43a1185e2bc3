"""Kept connections that have gone silent: a failover, or a NAT that forgot them.

The server's end says nothing any more, neither that it has closed nor that it never existed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mesh_facade import MeshTimeoutError
from mesh_facade.engine.connection import Connection
from mesh_facade.engine.pool import Home
from mesh_facade.engine.slots import ThreadSlots
from tests.conftest import Caller, Mode, Serve
from tests.stopwatch import Stopwatch
from tests.support import TOKEN, Peer, Server

KEPT = 4
TIMEOUT = 0.5


class Failover:
    """A server whose first connections answer once, all at the same time, and then fall silent.

    Connections that come later answer every request.
    """

    def __init__(self) -> None:
        self.asked_while_silent = 0
        self._all_are_there = threading.Barrier(KEPT)

    def handle(self, peer: Peer) -> None:
        if peer.number >= KEPT:
            peer.answer_all()
        peer.receive()
        self._all_are_there.wait(5)
        peer.answer()
        peer.receive()
        self.asked_while_silent += 1
        peer.hold()


def fill_pool(caller: Caller) -> None:
    """Make so many calls at once that each needs a connection of its own."""
    if not caller.mode.is_async:
        with ThreadPoolExecutor(KEPT) as threads:
            list(threads.map(lambda _: caller.read(), range(KEPT)))
        return

    async def call_all() -> None:
        calls = [caller.client.get_account_balance(TOKEN, "coinbase") for _ in range(KEPT)]
        await asyncio.gather(*calls)

    caller.mode.run(call_all())


def silent_pool(mode: Mode, serve: Serve, **options: Any) -> tuple[Caller, Failover, Server]:
    failover = Failover()
    server = serve(failover.handle)
    caller = mode.client(base_url=server.url, **options)
    fill_pool(caller)
    assert server.connections == KEPT
    return caller.with_options(timeout=TIMEOUT), failover, server


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh_facade.engine.retries.FIRST_BACKOFF", 0.0)


def test_call_on_silent_connections_takes_one_timeout(mode: Mode, serve: Serve) -> None:
    caller, failover, server = silent_pool(mode, serve)

    with Stopwatch() as watch:
        assert caller.read()

    assert watch.elapsed >= TIMEOUT
    assert watch.seconds < TIMEOUT + 0.4
    assert failover.asked_while_silent == 1
    assert server.connections == KEPT + 1


def test_other_connections_kept_since_before_are_dropped(mode: Mode, serve: Serve) -> None:
    caller, failover, server = silent_pool(mode, serve)

    caller.read()
    server.wait_until_open(1)
    caller.read()

    assert failover.asked_while_silent == 1
    assert server.connections == KEPT + 1


def test_connections_are_dropped_even_if_no_retry_follows(mode: Mode, serve: Serve) -> None:
    caller, failover, server = silent_pool(mode, serve, max_attempts=1)

    with pytest.raises(MeshTimeoutError):
        caller.read()
    server.wait_until_open(0)

    assert caller.read()
    assert failover.asked_while_silent == 1


def test_connection_that_the_server_reset_makes_the_others_suspect(
    mode: Mode, serve: Serve
) -> None:
    all_are_there = threading.Barrier(2)

    def handle(peer: Peer) -> None:
        if peer.number >= 2:
            peer.answer_all()
        peer.receive()
        all_are_there.wait(5)
        peer.answer()
        peer.receive()
        peer.reset()

    server = serve(handle)
    caller = mode.client(base_url=server.url)
    if mode.is_async:

        async def call_both() -> None:
            calls = [caller.client.get_account_balance(TOKEN, "coinbase") for _ in range(2)]
            await asyncio.gather(*calls)

        mode.run(call_both())
    else:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: caller.read(), range(2)))

    caller.read()

    server.wait_until_open(1)
    assert (server.connections, len(server.requests)) == (3, 4)


# --- which connections are dropped --------------------------------------------------------------


class Idle(Connection):
    """A connection that records that it was closed."""

    was_closed = False

    def close(self) -> None:
        self.was_closed = True


def test_connection_released_after_the_attempt_began_is_not_dropped() -> None:
    home = Home(ThreadSlots(2))
    before = Idle()
    home.put(before)
    attempt_began_at = time.monotonic()
    after = Idle()
    home.put(after)

    assert home.close_released_before(attempt_began_at) == 1

    assert before.was_closed
    assert not after.was_closed
    assert home.take() is after


def test_connection_released_while_another_thread_drops_is_not_dropped() -> None:
    home = Home(ThreadSlots(2))
    old = Idle()
    new = Idle()
    home.put(old)
    moment = time.monotonic()

    class FasterThread(type(home._idle)):  # type: ignore[misc]
        """Between the look at a connection and its removal, another thread exchanges it."""

        def popleft(self) -> Connection:
            self.pop()
            home.put(new)
            return super().popleft()  # type: ignore[no-any-return]

    home._idle = FasterThread(home._idle)

    assert home.close_released_before(moment) == 0
    assert not new.was_closed
    assert home.take() is new


def test_connection_taken_while_another_thread_drops_is_not_dropped() -> None:
    home = Home(ThreadSlots(2))
    old = Idle()
    home.put(old)

    class FasterThread(type(home._idle)):  # type: ignore[misc]
        """Between the look at the only connection and its removal, another thread takes it."""

        def popleft(self) -> Connection:
            self.pop()
            return super().popleft()  # type: ignore[no-any-return]

    home._idle = FasterThread(home._idle)

    assert home.close_all_idle() == 0
    assert not old.was_closed


def test_no_connection_stays_in_a_pool_that_another_thread_closes_meanwhile() -> None:
    home = Home(ThreadSlots(2))
    old = Idle()
    new = Idle()
    home.put(old)
    moment = time.monotonic()
    home.put(new)

    class FasterThread(type(home._idle)):  # type: ignore[misc]
        """Between the look at a connection and its removal, another thread closes the pool.

        It closes `old`, and then finds nothing more, because this thread has just taken `new`.
        """

        def popleft(self) -> Connection:
            removed: Connection = super().popleft()
            if removed is old:
                removed.close()
                removed = super().popleft()
                home.close()
            return removed

    home._idle = FasterThread(home._idle)

    assert home.close_released_before(moment) == 1
    assert (old.was_closed, new.was_closed) == (True, True)
