"""Slots limit how many calls of a client run at once. Waiting calls get them in order of arrival.

A call holds a slot for as long as it has a connection. `pool` acquires and releases slots. The wait
for a slot ends at the call's deadline, or when the call is cancelled: see
`mesh_facade/engine/__init__.py`.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future
from typing import Generic, TypeVar

TurnT = TypeVar("TurnT")


class Slots(ABC):
    """A bounded number of calls at a time, first come, first served."""

    @abstractmethod
    async def acquire(self, seconds: float) -> None:
        """Wait for a slot; raise TimeoutError if none becomes free within `seconds`."""

    @abstractmethod
    def release(self) -> None:
        """Give a slot back."""

    @abstractmethod
    def withhold(self) -> bool:
        """Take the caller's own slot and all free slots out of use.

        A call does this in place of `release` if it found no file descriptor
        (`Home.handle_shortage`).
        Afterwards there are only the slots that other calls hold, and none is free. If no other
        call holds one, return False, and change nothing.
        """

    @abstractmethod
    def restore(self) -> bool:
        """Bring one withheld slot back into use; return False if there is none."""


class _CountedSlots(Slots, Generic[TurnT]):
    """What slots for threads and slots for tasks share: how they are counted and handed on.

    A call that waits has a turn, which is a future. Turns stand in the order of arrival. A call
    that is cancelled, or out of time, gives its turn up; if the slot has come already, it passes
    the slot on, so that none is lost.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._in_use = 0
        self._withheld = 0
        self._turns: deque[TurnT] = deque()
        self._lock = threading.Lock()

    async def acquire(self, seconds: float) -> None:
        has_slot = False
        turn: TurnT | None = None
        try:
            with self._lock:
                # If no time is left, no slot is taken: the wait below raises TimeoutError.
                if self._free > 0 and seconds > 0:
                    self._free -= 1
                    self._in_use += 1
                    # Ctrl-C may come before the return: then the `except` block gives it back.
                    has_slot = True
                    return
                turn = self._make_turn()
                self._turns.append(turn)
            await self._wait_for(turn, seconds)
        except BaseException:
            if turn is not None:
                has_slot = self._give_up(turn)  # True if the slot had come already
            if has_slot:
                self.release()
            raise

    def release(self) -> None:
        with self._lock:
            self._hand_on()

    def withhold(self) -> bool:
        with self._lock:
            if self._in_use == 1:  # only the caller's own
                return False
            self._in_use -= 1
            self._withheld += 1 + self._free
            self._free = 0
            return True

    def restore(self) -> bool:
        with self._lock:
            if self._withheld == 0:
                return False
            self._withheld -= 1
            self._in_use += 1  # as `_hand_on` expects it
            self._hand_on()
            return True

    def _hand_on(self) -> None:
        """Pass a slot, which must count as in use, to the call that has waited longest.

        If no call waits, it counts as free from then on.
        """
        while self._turns:
            if self._grant(self._turns.popleft()):
                return
        self._in_use -= 1
        self._free += 1

    @abstractmethod
    def _make_turn(self) -> TurnT:
        """Make the future that a call waits for."""

    @abstractmethod
    async def _wait_for(self, turn: TurnT, seconds: float) -> None:
        """Wait until a turn has come; raise TimeoutError if that takes longer than `seconds`."""

    @abstractmethod
    def _grant(self, turn: TurnT) -> bool:
        """Tell a call that its turn has come; return False if it has stopped waiting."""

    @abstractmethod
    def _give_up(self, turn: TurnT) -> bool:
        """Stop waiting; return True if the turn had come already."""


class ThreadSlots(_CountedSlots[Future[None]]):
    """Slots for threads."""

    def _make_turn(self) -> Future[None]:
        return Future()

    async def _wait_for(self, turn: Future[None], seconds: float) -> None:
        turn.result(seconds)  # blocks the thread: `waiting.run_blocking` runs this coroutine

    def _grant(self, turn: Future[None]) -> bool:
        if not turn.set_running_or_notify_cancel():  # the call has given up
            return False
        turn.set_result(None)
        return True

    def _give_up(self, turn: Future[None]) -> bool:
        return not turn.cancel()  # `cancel` returns False if the turn has come


class TaskSlots(_CountedSlots[asyncio.Future[None]]):
    """Slots for the tasks of one event loop."""

    def _make_turn(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    async def _wait_for(self, turn: asyncio.Future[None], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            await turn

    def _grant(self, turn: asyncio.Future[None]) -> bool:
        if turn.done():
            return False
        turn.set_result(None)
        return True

    def _give_up(self, turn: asyncio.Future[None]) -> bool:
        # `cancel` returns False in two cases: the turn has come, or it was cancelled together with
        # the task. `cancelled` tells them apart.
        turn.cancel()
        return not turn.cancelled()
