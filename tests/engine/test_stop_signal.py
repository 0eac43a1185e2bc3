"""The stop signal: ends pauses early, in threads and in tasks."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time

from mesh_facade.engine.waiting import StopSignal

LONG = 60.0
"""Seconds: a pause that only the signal can end in time."""


def test_wait_returns_false_when_the_time_is_over() -> None:
    assert not StopSignal().wait(0.001)
    assert not asyncio.run(StopSignal().wait_in_task(0.001))


def test_wait_returns_at_once_if_the_signal_was_set_before() -> None:
    signal = StopSignal()
    signal.set()
    began_at = time.monotonic()

    assert signal.is_set()
    assert signal.wait(LONG)
    assert asyncio.run(signal.wait_in_task(LONG))
    assert time.monotonic() - began_at < LONG / 2


def test_pause_of_a_task_that_begins_after_the_signal_ends_at_once() -> None:
    signal = StopSignal()
    signal.set()
    began_at = time.monotonic()

    assert asyncio.run(signal.wait_in_task(LONG))

    assert time.monotonic() - began_at < 5


def test_set_ends_the_wait_of_a_thread() -> None:
    signal = StopSignal()
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(signal.wait(LONG)))
    thread.start()

    signal.set()
    thread.join(5)

    assert results == [True]


def test_set_in_another_thread_ends_the_wait_of_each_task() -> None:
    signal = StopSignal()

    async def wait_in_three_tasks() -> list[bool]:
        tasks = [asyncio.create_task(signal.wait_in_task(LONG)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.to_thread(signal.set)
        return await asyncio.wait_for(asyncio.gather(*tasks), 5)

    assert asyncio.run(wait_in_three_tasks()) == [True] * 3


def test_cancelled_wait_is_forgotten() -> None:
    signal = StopSignal()

    async def wait_and_cancel() -> None:
        task = asyncio.create_task(signal.wait_in_task(LONG))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(wait_and_cancel())
    signal.set()

    assert signal.is_set()


def test_set_ignores_tasks_of_a_closed_event_loop() -> None:
    signal = StopSignal()
    loop = asyncio.new_event_loop()
    waiting = signal.wait_in_task(LONG)
    task = loop.create_task(waiting)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    signal.set()

    assert signal.is_set()
    task._log_destroy_pending = False  # asyncio would warn of the task that was never ended
    waiting.close()


def test_signal_is_set_along_with_its_parent() -> None:
    parent = StopSignal()
    child = StopSignal(parent)
    grandchild = StopSignal(child)

    parent.set()

    assert child.is_set()
    assert grandchild.is_set()


def test_signal_of_a_parent_that_is_set_is_set_at_once() -> None:
    parent = StopSignal()
    parent.set()

    assert StopSignal(parent).is_set()


def test_parent_is_not_set_along_with_its_child() -> None:
    parent = StopSignal()
    child = StopSignal(parent)

    child.set()

    assert not parent.is_set()


def test_signal_that_nobody_holds_any_more_is_forgotten() -> None:
    parent = StopSignal()
    children = [StopSignal(parent) for _ in range(3)]
    kept = children.pop()

    children.clear()
    gc.collect()
    parent.set()

    assert kept.is_set()
    assert len(parent._children) == 1


def test_signal_that_is_forgotten_while_its_parent_is_set_does_no_harm() -> None:
    parent = StopSignal()
    siblings: list[StopSignal] = []
    were_set: list[str] = []

    class DropsItsSibling(StopSignal):
        def set(self) -> None:
            siblings[:] = [self]
            were_set.append("one of them")

    siblings.extend(DropsItsSibling(parent) for _ in range(2))
    parent.set()

    assert were_set == ["one of them"]


def test_threads_can_add_signals_while_another_sets_their_parent() -> None:
    parent = StopSignal()
    children = [StopSignal(parent) for _ in range(20_000)]
    has_begun = threading.Event()
    is_over = threading.Event()

    def add_signals() -> None:
        while not is_over.is_set():
            has_begun.set()
            children.append(StopSignal(parent))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=add_signals)
    thread.start()
    try:
        has_begun.wait(5)
        parent.set()
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(interval)

    assert all(child.is_set() for child in children)
