"""Ctrl-C at a moment when a call has just got its slot: the slot is not lost."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade.engine import pool
from mesh_facade.engine.connection import Connection
from mesh_facade.engine.engine import CallLoop
from mesh_facade.engine.pool import ConnectionPool, Home
from mesh_facade.engine.retries import RetryBudget, RetryPolicy
from mesh_facade.engine.slots import ThreadSlots
from mesh_facade.engine.waiting import ThreadWaiting, run_blocking
from tests.operations.support import ACCEPT_ALL, build_engine
from tests.support import OK, Script

if TYPE_CHECKING:
    from tests.conftest import Mode


class InterruptedLock:
    """A lock; Ctrl-C comes when it is released for the first time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._was_interrupted = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if not self._was_interrupted:
            self._was_interrupted = True
            raise KeyboardInterrupt


class InterruptedConnection(Connection):
    """A connection; Ctrl-C comes when it is lent, or when it is closed."""

    def __init__(self, interrupted_method: str) -> None:
        super().__init__()
        self.is_closed = False
        self._interrupted_method = interrupted_method

    def lend_to_call(self, deadline_at: float, home: Home) -> None:
        super().lend_to_call(deadline_at, home)
        self._interrupt("lend_to_call")

    def close(self) -> None:
        self.is_closed = True
        self._interrupt("close")

    def _interrupt(self, method: str) -> None:
        if method == self._interrupted_method:
            raise KeyboardInterrupt


class InterruptedPolicy(RetryPolicy):
    """Ctrl-C comes when the second hold is asked for, which is after the connection was lent."""

    def __init__(self) -> None:
        super().__init__(RetryBudget())
        self._holds = 0

    def seconds_to_hold(self) -> float:
        self._holds += 1
        if self._holds == 2:
            raise KeyboardInterrupt
        return 0.0


def test_slot_is_not_lost_to_an_interrupt_when_it_was_just_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slots = ThreadSlots(1)
    monkeypatch.setattr(slots, "_lock", InterruptedLock())

    with pytest.raises(KeyboardInterrupt):
        run_blocking(slots.acquire(1))

    run_blocking(slots.acquire(0.2))


def test_turn_is_not_lost_to_an_interrupt_when_it_was_just_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slots = ThreadSlots(1)
    run_blocking(slots.acquire(1))
    monkeypatch.setattr(slots, "_lock", InterruptedLock())

    with pytest.raises(KeyboardInterrupt):
        run_blocking(slots.acquire(1))

    slots.release()
    run_blocking(slots.acquire(0.2))


def test_slot_is_not_lost_to_an_interrupt_while_the_connection_is_lent() -> None:
    connections = [InterruptedConnection("lend_to_call"), InterruptedConnection("lend_to_call")]
    pool = ConnectionPool(ThreadWaiting(), iter(connections).__next__, 1)

    for connection in connections:  # with the slot lost, the second would wait and time out
        with pytest.raises(KeyboardInterrupt):
            run_blocking(pool.acquire(time.monotonic() + 0.2, must_be_new=False))
        assert connection.is_closed


@pytest.mark.parametrize("lacks_descriptor", [False, True])
def test_slot_is_not_lost_to_an_interrupt_while_the_connection_is_closed(
    *, lacks_descriptor: bool
) -> None:
    pool = ConnectionPool(ThreadWaiting(), lambda: InterruptedConnection("close"), 1)
    release = pool.release_for_lack_of_descriptor if lacks_descriptor else pool.release

    for _ in range(2):
        connection = run_blocking(pool.acquire(time.monotonic() + 0.2, must_be_new=False))
        with pytest.raises(KeyboardInterrupt):
            release(connection)


def test_slot_is_not_lost_to_an_interrupt_just_before_an_attempt(mode: Mode) -> None:
    engine = build_engine(mode, Script(OK))  # it has one slot
    request = httpx.Request("POST", "https://mesh.example", json={})

    def run(policy: RetryPolicy) -> Any:
        calling = CallLoop(engine, ACCEPT_ALL, policy).run(request)
        return mode.run(calling) if mode.is_async else run_blocking(calling)

    with pytest.raises(KeyboardInterrupt):
        run(InterruptedPolicy())

    [home] = engine.pool._homes.values()
    assert home.slots._free == 1


class InterruptedSlots(ThreadSlots):
    """Slots; Ctrl-C comes when a slot was just withheld or restored, for the first time."""

    was_interrupted = False

    def withhold(self) -> bool:
        has_withheld = super().withhold()
        self._interrupt()
        return has_withheld

    def restore(self) -> bool:
        has_restored = super().restore()
        self._interrupt()
        return has_restored

    def _interrupt(self) -> None:
        if not self.was_interrupted:
            self.was_interrupted = True
            raise KeyboardInterrupt


def test_ctrl_c_during_a_shortage_of_descriptors_loses_no_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "RESTORE_AFTER", 0)
    slots = InterruptedSlots(3)
    home = Home(slots)
    run_blocking(slots.acquire(1))
    run_blocking(slots.acquire(1))

    with pytest.raises(KeyboardInterrupt):
        home.handle_shortage()  # withholds two of the three slots
    slots.was_interrupted = False
    with pytest.raises(KeyboardInterrupt):
        home.restore_slot()
    home.restore_slot()

    slots.release()
    for _ in range(3):
        run_blocking(slots.acquire(0.01))


def test_ctrl_c_while_idle_connections_make_room_loses_no_slot() -> None:
    slots = ThreadSlots(1)
    home = Home(slots)
    home.put(InterruptedConnection("close"))
    run_blocking(slots.acquire(1))

    with pytest.raises(KeyboardInterrupt):
        home.handle_shortage()

    run_blocking(slots.acquire(0.01))
