"""How calls wait, in threads and in tasks. Apart from this, the engine is the same for both.

The engine is written once, as coroutines, and waits only through a `Waiting`. `ThreadWaiting`
blocks where `TaskWaiting` awaits. So a coroutine that waits through a `ThreadWaiting` never
suspends: `run_blocking` runs it to its end with one `send`, without an event loop. That saves a
second copy of every decision, and costs less than a microsecond a call.

See `mesh_facade/engine/__init__.py` for who ends a call at its deadline, and for what happens to
the connection of a cancelled call.
"""

import asyncio
import contextlib
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import NamedTuple, Protocol, TypeVar, cast

import httpx

from mesh_facade.engine.bodies import Answer, BodyReader
from mesh_facade.engine.connection import Connection
from mesh_facade.engine.forks import fork_counter
from mesh_facade.engine.slots import Slots, TaskSlots, ThreadSlots
from mesh_facade.errors import MeshError

T = TypeVar("T")


def run_blocking(coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine that never suspends, and return its result.

    Raises:
        RuntimeError: It has suspended.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    coroutine.close()
    raise RuntimeError("a coroutine that must not suspend has suspended")


class Authentication(Protocol):
    """Signs requests: an `httpx.Auth` that can also return the secrets that it has added.

    Attributes:
        has_secret_function: Whether a function of the caller's, sync or async, returns the secret.
    """

    has_secret_function: bool

    def auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]: ...

    def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]: ...

    def secrets_in(self, request: httpx.Request) -> list[str]: ...


class StopSignal:
    """Ends pauses early, in whatever threads and event loops they are.

    Setting a signal also sets its children, but not its parent. A parent refers to its children
    weakly, because it usually outlives them: a client has one signal, and each of its runs of many
    calls has another, which would otherwise be kept for as long as the client.
    """

    def __init__(self, parent: "StopSignal | None" = None) -> None:
        self._is_set = False
        self._children: set[weakref.ref[StopSignal]] = set()
        # A thread waits for a lock of its own that `set` releases. A `threading.Event` would have
        # one lock for all threads: a fork could leave it held, and the child would hang.
        self._waiting_threads: set[threading.Lock] = set()
        self._waiting_tasks: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}
        if parent is not None:
            parent.add_child(self)

    def add_child(self, child: "StopSignal") -> None:
        """Register a child, which is set together with this signal.

        If this signal is set already, set the child at once.
        """
        # When the child is gone, `discard` removes the reference.
        self._children.add(weakref.ref(child, self._children.discard))
        if self.is_set():
            child.set()

    def set(self) -> None:
        """End all pauses, those under way and those to come."""
        self._is_set = True
        # Other threads may add to these sets meanwhile. `copy` is atomic. A waiter that adds itself
        # after the copy sees that `_is_set` is True, and does not wait.
        for lock in self._waiting_threads.copy():
            with contextlib.suppress(RuntimeError):  # released already
                lock.release()
        for future, loop in self._waiting_tasks.copy().items():
            with contextlib.suppress(RuntimeError):  # that event loop is closed
                loop.call_soon_threadsafe(_wake, future)
        for reference in self._children.copy():
            child = reference()
            if child is not None:
                child.set()

    def is_set(self) -> bool:
        """Return True if `set` was called."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Block for so many seconds, or until `set` is called; return True if it was called."""
        lock = threading.Lock()
        lock.acquire()
        self._waiting_threads.add(lock)
        try:
            if not self._is_set:
                lock.acquire(timeout=max(0.0, seconds))  # -1 would mean forever
        finally:
            self._waiting_threads.discard(lock)
        return self._is_set

    async def wait_in_task(self, seconds: float) -> bool:
        """Do as `wait` does, but suspend the task instead of blocking the thread."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting_tasks[future] = loop
        timer = loop.call_later(seconds, _wake, future)
        try:
            if not self._is_set:
                await future
        finally:
            timer.cancel()
            del self._waiting_tasks[future]
        return self._is_set


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class EndOfLoop:
    """Calls a function when the running event loop ends.

    asyncio has no such hook. But before `asyncio.run` closes a loop, it ends the asynchronous
    generators that have begun in it (`loop.shutdown_asyncgens`). So this begins one, whose end
    calls the function.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._generator = self._wait_for_end(close)

    async def begin(self) -> None:
        """Begin the generator, so that the running event loop ends it before it is closed."""
        await anext(self._generator)

    def close_now(self) -> None:
        """Call the function now instead of at the end of the loop."""
        run_blocking(self._generator.aclose())

    @staticmethod
    async def _wait_for_end(close: Callable[[], None]) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            close()


class HomeKey(NamedTuple):
    """The key of a `pool.Home`: one process and, for tasks, one event loop of it.

    A NamedTuple, because each call creates and hashes one.

    Attributes:
        process: The id of the process. A fork that Python does not notice changes only this.
        forks: How many forks led to the process. Two processes may have the same id: in containers,
            for example, both a parent and its child can be process 1.
        loop: The event loop; None for connections of threads. A forked child has a copy of its
            parent's loop.
    """

    process: int
    forks: int
    loop: asyncio.AbstractEventLoop | None = None

    def is_gone(self) -> bool:
        """Return True if the key is of another process, or if its event loop is closed."""
        if (self.process, self.forks) != (os.getpid(), fork_counter.count):
            return True
        return self.loop is not None and self.loop.is_closed()


class Waiting(ABC):
    """The steps of a call that differ between threads and asyncio."""

    @abstractmethod
    def current_home_key(self) -> HomeKey:
        """Return the key of the current process and, for tasks, of the running event loop.

        Raises:
            MeshError: No event loop is running (only for tasks).
        """

    @abstractmethod
    def make_slots(self, size: int) -> Slots:
        """Make slots for the calls of one process or event loop."""

    @abstractmethod
    async def call_at_end(self, close: Callable[[], None]) -> EndOfLoop | None:
        """For tasks, arrange that `close` is called when the running event loop ends.

        Return an object that can call it earlier. For threads, do nothing and return None.
        """

    @abstractmethod
    async def sign(
        self, request: httpx.Request, authentication: Authentication, seconds: float
    ) -> None:
        """Add the keys to a request.

        Exceptions of the caller's secret function propagate, so a TimeoutError may also be its own.

        Raises:
            TimeoutError: The caller's async secret function did not return within `seconds`.
            MeshError: The secret function, sync or async, returned something that cannot be an API
                key. Or an async client is used outside of an event loop.
        """

    @abstractmethod
    async def send_and_read(
        self, connection: Connection, request: httpx.Request, seconds: float
    ) -> Answer:
        """Send a request, and read its answer until the body has ended or is refused.

        `seconds` bounds only a caller's async transport. Our own connections end their waits at the
        deadline themselves.

        Raises:
            httpx.HTTPError: No answer came, or it broke off.
            OSError: The same, from a caller's transport; a TimeoutError if it took longer than
                `seconds`.
        """

    @abstractmethod
    async def pause(self, seconds: float, stop: StopSignal) -> bool:
        """Pause; return True if the signal ended it."""


class ThreadWaiting(Waiting):
    """Waits by blocking the thread."""

    def current_home_key(self) -> HomeKey:
        return HomeKey(os.getpid(), fork_counter.count)

    def make_slots(self, size: int) -> Slots:
        return ThreadSlots(size)

    async def call_at_end(self, close: Callable[[], None]) -> EndOfLoop | None:
        del close  # a process closes all of its sockets when it ends
        return None

    async def sign(
        self, request: httpx.Request, authentication: Authentication, seconds: float
    ) -> None:
        del seconds  # a thread cannot be made to stop
        next(authentication.auth_flow(request))

    async def send_and_read(
        self, connection: Connection, request: httpx.Request, seconds: float
    ) -> Answer:
        del seconds  # our connections end at the deadline, a caller's transport by its timeouts
        response = connection.send(request)
        stream = cast("httpx.SyncByteStream", response.stream)
        with contextlib.closing(stream):
            body = BodyReader(response)
            for chunk in stream:
                if not body.feed(chunk):
                    break
        if not body.problem:
            connection.record_cleanliness(response, body.bytes_received)
        return body.finish()

    async def pause(self, seconds: float, stop: StopSignal) -> bool:
        return stop.wait(seconds)


class TaskWaiting(Waiting):
    """Waits by suspending the task."""

    def current_home_key(self) -> HomeKey:
        return HomeKey(os.getpid(), fork_counter.count, _require_running_loop())

    def make_slots(self, size: int) -> Slots:
        return TaskSlots(size)

    async def call_at_end(self, close: Callable[[], None]) -> EndOfLoop | None:
        end_of_loop = EndOfLoop(close)
        await end_of_loop.begin()
        return end_of_loop

    async def sign(
        self, request: httpx.Request, authentication: Authentication, seconds: float
    ) -> None:
        if not authentication.has_secret_function:
            next(authentication.auth_flow(request))
            return
        _require_running_loop()  # without one, asyncio.timeout would raise a less helpful error
        async with (
            asyncio.timeout(seconds),
            contextlib.aclosing(authentication.async_auth_flow(request)) as flow,
        ):
            await anext(flow)

    async def send_and_read(
        self, connection: Connection, request: httpx.Request, seconds: float
    ) -> Answer:
        if connection.heeds_deadline:
            # `asyncio.timeout` is not needed here, and would add a tenth to the time of a call.
            return await self._send_and_read(connection, request)
        async with asyncio.timeout(seconds):
            return await self._send_and_read(connection, request)

    async def _send_and_read(self, connection: Connection, request: httpx.Request) -> Answer:
        response = await connection.send_async(request)
        stream = cast("httpx.AsyncByteStream", response.stream)
        async with contextlib.aclosing(stream):
            body = BodyReader(response)
            async for chunk in stream:
                if not body.feed(chunk):
                    break
        if not body.problem:
            connection.record_cleanliness(response, body.bytes_received)
        return body.finish()

    async def pause(self, seconds: float, stop: StopSignal) -> bool:
        return await stop.wait_in_task(seconds)


def _require_running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop; raise MeshError if there is none."""
    loop: asyncio.AbstractEventLoop | None
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None:  # raised here, so that the RuntimeError is not its context
        raise MeshError("AsyncMeshClient works only in a running asyncio event loop")
    return loop
