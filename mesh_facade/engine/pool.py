"""Connections in a stack: a call takes the one that was used last, or opens a new one.

httpx's own pool does not suffice: its cost per call grows with the number of its connections, it
loses slots to cancelled calls until none is left, and a forked child writes on its parent's
sockets. A stack costs the same at any size, and its last connection is the one least likely to have
been closed by the server. Each process and each event loop has a stack and slots of its own.

A kept connection is used again if its last answer ended cleanly (`Connection.check_end_of`), if it
has been idle for less than `KEEP_IDLE`, and if nothing came in since (`Home.take`). An attempt that
follows a fault or a timeout on a kept connection takes none of them.

Two threads cannot get one connection: taking it from the stack removes it, and removing from a
deque is atomic. See `mesh_facade/engine/__init__.py` for what happens to the connection of a
cancelled call.
"""

import math
import time
from collections import deque
from collections.abc import Callable

from mesh_facade.engine.connection import Connection
from mesh_facade.engine.slots import Slots
from mesh_facade.engine.waiting import EndOfLoop, HomeKey, StopSignal, Waiting
from mesh_facade.errors import MeshError

KEEP_IDLE = 30.0
"""Seconds after which an unused connection is closed rather than used again.

No timer does that: the next call does, when it takes or gives back a connection.
"""
RESTORE_AFTER = 1.0
"""Seconds without a shortage of descriptors after which slots come back into use.

No timer does that either: each connection that is given back then restores one slot.
"""


class Home:
    """The slots and the idle connections of one process or event loop.

    Idle connections stand in the order of their last use, the latest at the end.
    """

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.end_of_loop: EndOfLoop | None = None
        # Threads share it without a lock: to append and to pop are atomic, so only one thread gets
        # a connection.
        self._idle: deque[Connection] = deque()
        self._is_over = False
        self._short_at: float | None = None  # when descriptors last ran short

    def put(self, connection: Connection) -> None:
        """Keep a connection for the next call."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def take(self) -> Connection | None:
        """Return the connection used last that has nothing to read; None if there is none.

        Those used later that have something to read are closed.
        """
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.has_unread_data():
                return connection
            connection.close()  # the server has closed it, or sent what nobody asked for

    def close_idle_since_before(self, moment: float) -> int:
        """Close the connections that have been idle since before a moment; return how many."""
        closed = 0
        while True:
            try:
                if self._idle[0].idle_since >= moment:
                    return closed
                connection = self._idle.popleft()
            except IndexError:
                return closed  # none is left
            if connection.idle_since >= moment:  # another thread has taken the one that was first
                self._idle.appendleft(connection)
                return closed
            connection.close()
            closed += 1

    def close_expired(self) -> None:
        """Close the connections that have been idle for too long; all of them after `end`."""
        moment = time.monotonic() - KEEP_IDLE
        if self._is_over:
            moment = math.inf
        self.close_idle_since_before(moment)

    def end(self) -> None:
        """Close all idle connections, and keep none from now on.

        The event loop ends, or the pool is closed.
        """
        self._is_over = True
        self.close_expired()

    def make_room(self) -> bool:
        """Make room for a call that could not open its connection: too many files are open.

        The call loses its slot. If other calls are under way, that slot is taken out of use, and
        all free slots with it. That leaves a slot for each connection now open, and the call can
        wait for its turn to get one of these. If no other call is under way, the idle connections
        are closed.

        Return True if the call may try again, False if there is nothing to wait for.
        """
        if self.slots.withhold():
            self._short_at = time.monotonic()
            return True
        closed = self.close_idle_since_before(math.inf)
        self.slots.release()
        return closed > 0

    def restore_slot(self) -> None:
        """Bring back a slot that `make_room` took out of use, if that was long enough ago."""
        short_at = self._short_at  # read once: another thread may set it to None meanwhile
        if short_at is None or time.monotonic() < short_at + RESTORE_AFTER:
            return
        # Forgotten first, and remembered again if a slot came back, for there may be more of them.
        # The other way round, a shortage that begins in between would be forgotten, and its slots
        # with it.
        self._short_at = None
        if self.slots.restore():
            self._short_at = short_at


class ConnectionPool:
    """Lends connections to calls, at most `size` at a time, first come, first served."""

    def __init__(
        self, waiting: Waiting, open_connection: Callable[[], Connection], size: int
    ) -> None:
        self.stopped = StopSignal()
        self.size = size
        self._waiting = waiting
        self._open_connection = open_connection
        self._homes: dict[HomeKey, Home] = {}

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.stopped.is_set()

    async def acquire(self, deadline_at: float, *, must_be_new: bool) -> Connection:
        """Wait for a slot, and return a connection: a kept one, or one that opens when used.

        Raises:
            TimeoutError: No slot became free before the deadline.
            MeshError: The pool is closed, or an async client is used outside of an event loop.
        """
        key = self._waiting.current_home_key()
        home = self._homes.get(key)
        if home is None:
            home = await self._make_home(key)
        await home.slots.acquire(deadline_at - time.monotonic())
        try:
            connection = self._take_or_open(home, must_be_new=must_be_new)
            connection.begin(deadline_at, home)
        except BaseException:  # KeyboardInterrupt too: a lost slot would be lost for good
            home.slots.release()
            raise
        return connection

    def _take_or_open(self, home: Home, *, must_be_new: bool) -> Connection:
        if self.is_closed:
            raise MeshError("this client is closed")
        home.close_expired()
        if not must_be_new:
            kept = home.take()
            if kept is not None:
                return kept
        return self._open_connection()

    def release(self, connection: Connection) -> None:
        """Give back the slot, and keep the connection if it may be used again.

        The engine calls this however an attempt ends. A call that was cancelled, or whose answer
        broke off, left its connection unclean: that is closed. A kept connection on which nothing
        was sent this time is still clean.
        """
        home = connection.home
        try:
            if connection.is_clean and not self.is_closed:
                home.put(connection)
            else:
                connection.close()
            home.close_expired()
            home.restore_slot()
        finally:
            home.slots.release()

    def release_for_lack_of_descriptor(self, connection: Connection) -> bool:
        """Give back a connection that could not be opened because too many files are open.

        Return True if the call may try again, False if there is nothing to wait for.
        """
        connection.close()
        return connection.home.make_room()

    def close(self) -> None:
        """Close the idle connections; one that is in use is closed when its call ends.

        Idle connections of other event loops are closed when these loops end.
        """
        self.stopped.set()
        self._close_homes_that_are_gone()
        home = self._homes.get(self._waiting.current_home_key())
        if home is None:
            return
        home.end()
        if home.end_of_loop is not None:
            home.end_of_loop.close_now()

    async def _make_home(self, key: HomeKey) -> Home:
        self._close_homes_that_are_gone()
        home = Home(self._waiting.make_slots(self.size))
        # Of two threads that get here at once, both use the home that was set first.
        first = self._homes.setdefault(key, home)
        if first is home:
            home.end_of_loop = await self._waiting.call_at_end(home.end)
        return first

    def _close_homes_that_are_gone(self) -> None:
        for key in list(self._homes):
            if key.is_gone():
                home = self._homes.pop(key, None)
                if home is not None:
                    home.end()
