"""A signal that ends pauses."""

import asyncio
import time

from mesh_facade.engine.waiting import StopSignal


def test_pause_of_a_task_that_begins_after_the_signal_ends_at_once() -> None:
    signal = StopSignal()
    signal.set()
    began_at = time.monotonic()

    assert asyncio.run(signal.wait_in_task(60))

    assert time.monotonic() - began_at < 5
