"""Connections in a stack: a call takes the one that was used last, or opens a new one.

httpx's own pool does not suffice: its cost per call grows with the number of its connections, it
loses slots to cancelled calls until none is left, and a forked child writes on its parent's
sockets. A stack costs the same at any size, and its last connection is the one least likely to have
been closed by the server. Each process and each event loop has a stack and slots of its own.
"""

import math
import time
from collections import deque
from collections.abc import Callable

from mesh_facade.engine.connection import Connection
from mesh_facade.engine.waiting import Slots, StopSignal, Waiting
from mesh_facade.errors import MeshError

KEEP_IDLE = 30.0
"""Seconds after which an unused connection is closed rather than used again."""


class Home:
    """The idle connections of one process or event loop, the last used at the end."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._idle: deque[Connection] = deque()  # its methods are atomic: threads share it

    def put(self, connection: Connection) -> None:
        """Keep a connection for the next call."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def take(self) -> Connection | None:
        """Return the connection used last that is still silent; None if there is none."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.has_unread_data():
                return connection
            connection.close()  # the server has closed it, or sent what nobody asked for

    def close_idle_since_before(self, moment: float) -> None:
        """Close the connections that nobody has used since a moment."""
        while True:
            try:
                if self._idle[0].idle_since >= moment:
                    return
                connection = self._idle.popleft()
            except IndexError:
                return
            connection.close()


class ConnectionPool:
    """Lends connections to calls, at most `size` at a time, first come, first served."""

    def __init__(
        self, waiting: Waiting, open_connection: Callable[[], Connection], size: int
    ) -> None:
        self.stopped = StopSignal()
        self._waiting = waiting
        self._open_connection = open_connection
        self._size = size
        self._homes: dict[object, Home] = {}

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.stopped.is_set()

    async def acquire(self, deadline_at: float, *, must_be_new: bool) -> Connection:
        """Wait for a slot, and return a connection: a kept one, or one that opens when used.

        Raises:
            TimeoutError: No slot became free before the deadline.
            MeshError: The pool is closed.
        """
        home = self._current_home()
        await home.slots.acquire(deadline_at - time.monotonic())
        if self.is_closed:
            home.slots.release()
            raise MeshError("this client is closed")
        connection = self._take_or_open(home, must_be_new=must_be_new)
        connection.begin(deadline_at, home)
        return connection

    def _take_or_open(self, home: Home, *, must_be_new: bool) -> Connection:
        self._close_expired(home)
        if not must_be_new:
            kept = home.take()
            if kept is not None:
                return kept
        return self._open_connection()

    def release(self, connection: Connection) -> None:
        """Give back the slot, and the connection if it may be used again."""
        home = connection.home
        if connection.is_clean:
            home.put(connection)
        else:
            connection.close()
        self._close_expired(home)
        home.slots.release()

    def close(self) -> None:
        """Close what is idle now; a connection in use is closed when its call ends."""
        self.stopped.set()
        home = self._homes.get(self._waiting.current_home())
        if home is not None:
            self._close_expired(home)

    def _current_home(self) -> Home:
        key = self._waiting.current_home()
        home = self._homes.get(key)
        if home is None:
            for other in list(self._homes):
                if self._waiting.is_gone(other):
                    self._homes.pop(other, None)
            # Of two threads that get here at once, both use the home that was set first.
            home = self._homes.setdefault(key, Home(self._waiting.make_slots(self._size)))
        return home

    def _close_expired(self, home: Home) -> None:
        moment = math.inf if self.is_closed else time.monotonic() - KEEP_IDLE
        home.close_idle_since_before(moment)
