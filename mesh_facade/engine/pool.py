"""Connections in a stack: a call takes the one that was used last, or opens a new one.

httpx's own pool does not suffice: its cost per call grows with the number of its connections, it
loses slots to cancelled calls until none is left, and a forked child writes on its parent's
sockets. A stack costs the same at any size, and its last connection is the one least likely to have
been closed by the server. Each process and each event loop has a `Home`: a stack and slots of its
own.

An idle connection is used again if its last answer ended cleanly
(`Connection.record_cleanliness`), if it was released less than `KEEP_IDLE` ago, and if nothing came
in since (`Home.take`). But after a fault or a timeout on a reused connection, `engine.CallLoop`
closes all that were idle when the attempt began. If the retry policy lets it send the request
again, it does so on a new connection, unless no descriptor is free for one.

Two threads cannot get one connection: taking it from the stack removes it, removing from a deque is
atomic, and only the thread that removed it puts it back, once. See `mesh_facade/engine/__init__.py`
for what happens to the connection of a cancelled call.
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
"""Seconds after its release during which a connection may be used again; later, it is closed.

This is checked when a connection is acquired or released; there is no timer.
"""
RESTORE_AFTER = 1.0
"""Seconds after the last shortage of descriptors until the slots that it withheld are restored.

There is no timer for this either: after that time, each release of a connection restores one slot.
"""


class Home:
    """The slots and the idle connections of one process or event loop.

    Idle connections stand in the order of their release, the latest at the end.
    """

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.end_of_loop: EndOfLoop | None = None
        # Threads share it without a lock: appending and popping are atomic, so no two threads get
        # the same connection.
        self._idle: deque[Connection] = deque()
        self._is_closed = False
        self._short_at: float | None = None  # when descriptors last ran short

    def put(self, connection: Connection) -> None:
        """Keep a connection for the next call."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def take(self) -> Connection | None:
        """Return the most recently released idle connection, or None.

        Connections with unread data are closed on the way: the server has closed them, or has sent
        something that nobody asked for.
        """
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.has_unread_data():
                return connection
            connection.close()

    def close_released_before(self, moment: float) -> int:
        """Close the connections that have been idle since before a moment; return how many."""
        closed = 0
        while True:
            try:
                oldest = self._idle[0]
            except IndexError:
                return closed
            if oldest.idle_since >= moment:
                return closed
            try:
                connection = self._idle.popleft()
            except IndexError:  # another thread has taken the last one meanwhile
                return closed
            if connection.idle_since >= moment:  # another thread has taken `oldest` meanwhile
                self._idle.appendleft(connection)
                # `close` may have run while this connection was out of the deque, and missed it.
                if self._is_closed:
                    return closed + self.close_all_idle()
                return closed
            connection.close()
            closed += 1

    def close_expired(self) -> None:
        """Close the connections that have been idle too long; after `close`, close all of them."""
        if self._is_closed:
            self.close_all_idle()
        else:
            self.close_released_before(time.monotonic() - KEEP_IDLE)

    def close_all_idle(self) -> int:
        """Close all idle connections; return how many."""
        return self.close_released_before(math.inf)

    def close(self) -> None:
        """Close all idle connections now, and each connection that is released later.

        This is called when the pool is closed, when the event loop ends, when the loop is found
        closed, and, in a forked child, for the homes of its parent.
        """
        self._is_closed = True
        self.close_all_idle()

    def handle_shortage(self) -> bool:
        """Prepare for another try of a call that could not open its connection.

        Too many files are open. If other calls hold connections, the slot of this call and every
        free slot are withheld, so that no more connections can be opened. The call then waits for
        one of theirs to be released. If no other call holds a connection, the idle connections are
        closed instead, and the slot is released.

        Return True if the call may try again, False if there is nothing to wait for.
        """
        # Set this before `withhold`. In the other order, Ctrl-C between the two would leave slots
        # withheld for good, because `restore_slot` does nothing until a shortage is recorded. A
        # recorded shortage without a withheld slot does no harm.
        self._short_at = time.monotonic()
        if self.slots.withhold():
            return True
        try:
            closed = self.close_all_idle()
        except BaseException:  # Ctrl-C: nothing else would ever give the slot back
            self.slots.release()
            raise
        if closed > 0:
            self.slots.release()
            return True
        # No connection was idle. But another thread may have taken the last idle one after the
        # first `withhold`: then it holds a slot, and there is a connection to wait for.
        if self.slots.withhold():
            return True
        self.slots.release()
        return False

    def restore_slot(self) -> None:
        """Restore a slot that a shortage has withheld, if the last shortage was long enough ago."""
        if self._short_at is None or time.monotonic() < self._short_at + RESTORE_AFTER:
            return
        self.slots.restore()


class ConnectionPool:
    """Lends connections to calls, first come, first served: `size` in each process or event loop.

    (A call that found no descriptor for a connection goes back to the end of the queue.)
    """

    def __init__(
        self, waiting: Waiting, make_connection: Callable[[], Connection], size: int
    ) -> None:
        self.stop_signal = StopSignal()
        self.size = size
        self._waiting = waiting
        self._make_connection = make_connection
        self._homes: dict[HomeKey, Home] = {}

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.stop_signal.is_set()

    async def acquire(self, deadline_at: float, *, must_be_new: bool) -> Connection:
        """Wait for a slot, and return a connection: an idle one, or one that opens when used.

        Raises:
            TimeoutError: No slot became free before the deadline.
            MeshError: The pool is closed, or an async client is used outside of an event loop.
        """
        key = self._waiting.current_home_key()
        home = self._homes.get(key)
        if home is None:
            home = await self._get_or_make_home(key)
        await home.slots.acquire(deadline_at - time.monotonic())
        connection: Connection | None = None
        try:
            connection = self._take_or_make(home, must_be_new=must_be_new)
            connection.lend_to_call(deadline_at, home)
        except BaseException:  # Ctrl-C too: nothing else would ever give the slot back
            home.slots.release()  # first: Ctrl-C in `close` would lose it
            if connection is not None:
                connection.close()
            raise
        return connection

    def _take_or_make(self, home: Home, *, must_be_new: bool) -> Connection:
        if self.is_closed:
            raise MeshError("this client is closed")
        home.close_expired()
        if not must_be_new:
            idle = home.take()
            if idle is not None:
                return idle
        return self._make_connection()

    def release(self, connection: Connection) -> None:
        """Give back a call's slot and its connection, which is kept if it may be used again.

        This is called after every attempt. The connection is closed unless its last answer was read
        completely: a cancelled call, or an answer that broke off, leaves it unclean. A reused
        connection on which nothing was sent this time is still clean.
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
        `Home.handle_shortage` says what the call waits for.
        """
        try:
            connection.close()
        finally:  # Ctrl-C in `close` must not lose the slot
            may_try_again = connection.home.handle_shortage()
        return may_try_again

    def close(self) -> None:
        """Close the idle connections; one that is in use is closed when its call ends.

        Idle connections of other event loops are closed when these loops end.

        Raises:
            MeshError: The pool of an async client is closed outside of an event loop. It lends no
                connection from then on, but its idle connections stay open until their event loops
                end.
        """
        self.stop_signal.set()
        self._close_homes_that_are_gone()
        home = self._homes.get(self._waiting.current_home_key())
        if home is None:
            return
        home.close()
        if home.end_of_loop is not None:
            # The hook at the end of the event loop (see `EndOfLoop`) is no longer needed. Ending it
            # calls `home.close` once more, which does nothing.
            home.end_of_loop.close_now()

    async def _get_or_make_home(self, key: HomeKey) -> Home:
        self._close_homes_that_are_gone()
        new_home = Home(self._waiting.make_slots(self.size))
        # If two threads get here at once, both use the home that was set first.
        home = self._homes.setdefault(key, new_home)
        if home is new_home:
            home.end_of_loop = await self._waiting.call_at_end(home.close)
        return home

    def _close_homes_that_are_gone(self) -> None:
        for key in list(self._homes):
            if key.is_gone():
                home = self._homes.pop(key, None)
                if home is not None:
                    home.close()
