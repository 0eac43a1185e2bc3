"""Measures how long a block takes, on a machine that may be busy with other programs."""

from __future__ import annotations

import threading
import time
from typing import Self

TICK = 0.01
"""Seconds that the watching thread sleeps at a time."""
ORDINARY_LATENESS = 0.02
"""Seconds by which a sleep may be late without counting as a standstill."""


class Stopwatch:
    """Measures a block, and how long the machine stood still meanwhile.

    A thread sleeps for a hundredth of a second again and again. By as much as one of these sleeps
    is late, the timers in the block may be late as well, whatever the code does.

    Attributes:
        elapsed: Seconds that the block took.
        standstill: Seconds of these during which the machine gave this process no time.
    """

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.standstill = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._began_at = 0.0

    @property
    def seconds(self) -> float:
        """Seconds that the block took while the machine was not standing still."""
        return self.elapsed - self.standstill

    def __enter__(self) -> Self:
        self._thread.start()
        self._began_at = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.elapsed = time.monotonic() - self._began_at
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            began_at = time.monotonic()
            is_over = self._is_over.wait(TICK)
            lateness = time.monotonic() - began_at - TICK
            if lateness > ORDINARY_LATENESS:
                self.standstill += lateness
            if is_over:
                return
