"""Connections in a stack: a call takes the one used last, which is the warmest, or opens one.

Each process and each event loop has its own. All that waits is a coroutine; of a pool for threads
none ever suspends, so that everything is written once for both modes.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import httpx

from mesh_facade._network import Connection
from mesh_facade._wire import Body
from mesh_facade.credentials import Credentials
from mesh_facade.errors import MeshError

Exchange = tuple[httpx.Response, Body]
KEEP_IDLE = 30.0  # seconds after which an unused connection is closed rather than used again


class _Slots:
    """A bounded number of threads at a time, first come, first served."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._turns: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def acquire(self, seconds: float) -> None:
        with self._lock:
            if self._free and seconds > 0:
                self._free -= 1
                return
            turn: Future[None] = Future()
            self._turns.append(turn)
        try:
            turn.result(seconds)
        except BaseException:
            if not turn.cancel():  # it came as the time ran out: pass it on
                self.release()
            raise

    def release(self) -> None:
        with self._lock:
            while self._turns:
                turn = self._turns.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    break
            else:
                self._free += 1


class _Stack(deque[Connection]):
    """The idle connections of one process or event loop, the warmest last, and their slots."""

    def __init__(self, slots: Any) -> None:
        super().__init__()
        self.slots = slots


class Pool:
    """Lends connections to threads, at most `size` at a time, first come, first served.

    All calls use `shared`, a caller's own transport, where there is one: nothing is then kept.
    """

    _slots_class: Callable[[int], Any] = _Slots
    _is_gone: Callable[[Any], bool] = staticmethod(lambda home: home != os.getpid())

    def __init__(self, open_connection: Callable[[], Any], size: int, shared: Any = None) -> None:
        self._open_connection: Callable[[], Connection] = open_connection
        self._size, self.shared = size, shared
        self._is_closed = False
        self._stacks: dict[object, _Stack] = {}

    async def acquire(self, deadline_at: float, *, fresh: bool) -> Connection:
        """Wait for a connection, kept or fresh; TimeoutError where none becomes free in time."""
        home = self._home()
        stack = self._stacks.get(home)
        if stack is None:
            for gone in filter(self._is_gone, [*self._stacks]):
                self._stacks.pop(gone, None)
            stack = self._stacks.setdefault(home, _Stack(self._slots_class(self._size)))
        await self._wait(stack.slots, deadline_at - time.monotonic())
        if self._is_closed:
            stack.slots.release()
            raise MeshError("this client is closed")
        return self._take(stack, fresh=fresh).begin(deadline_at, stack)

    def _take(self, stack: _Stack, *, fresh: bool) -> Connection:
        if self.shared:
            return Connection(self.shared)
        self._close_old(stack)
        with contextlib.suppress(IndexError):  # there is none, or another thread took the last
            while not fresh:
                connection = stack.pop()
                if not connection.get_extra_info("is_readable"):
                    return connection
                connection.close()
        return self._open_connection()

    def release(self, connection: Connection) -> None:
        """Give back the slot, and the connection where it is beyond doubt."""
        stack = connection.stack
        if connection.is_clean:
            connection.idle_since = time.monotonic()
            stack.append(connection)
        else:
            connection.close()
        self._close_old(stack)
        stack.slots.release()

    def _close_old(self, stack: _Stack) -> None:
        with contextlib.suppress(IndexError):  # there is none left
            while self._is_closed or stack[0].idle_since < time.monotonic() - KEEP_IDLE:
                stack.popleft().close()

    def close(self) -> None:
        """Close what is idle now; what is in use is closed once its call is done."""
        self._is_closed = True
        if stack := self._stacks.get(self._home()):
            self._close_old(stack)

    async def sign(self, request: httpx.Request, keys: Credentials, deadline_at: float) -> None:
        """Add the keys to a request; TimeoutError where they are not there in time."""
        del deadline_at  # a thread cannot be made to stop
        next(keys.auth_flow(request))

    async def exchange(self, connection: Connection, request: httpx.Request) -> Exchange:
        """Send a request, and read its answer as far as the body wants it."""
        response = connection.transport.handle_request(request)
        with contextlib.closing(response.stream):
            body = Body(response)
            all(map(body.feed, response.stream))  # until one is refused
        if not body.problem:
            connection.judge(response)
        return response, body

    async def sleep(self, seconds: float) -> None:
        """Pause between two attempts."""
        time.sleep(seconds)  # noqa: ASYNC251 — a pool for threads never suspends

    async def _wait(self, slots: Any, seconds: float) -> None:
        slots.acquire(seconds)

    def _home(self) -> object:
        return os.getpid()


class AsyncPool(Pool):
    """Lends connections to the tasks of an event loop; only how it waits differs."""

    _slots_class = asyncio.Semaphore
    _is_gone = staticmethod(lambda loop: loop.is_closed())

    async def sign(self, request: httpx.Request, keys: Credentials, deadline_at: float) -> None:
        if not keys.is_rotated:
            await super().sign(request, keys, deadline_at)
            return
        self._home()
        async with (
            asyncio.timeout(deadline_at - time.monotonic()),
            contextlib.aclosing(keys.async_auth_flow(request)) as flow,
        ):
            await anext(flow)

    async def exchange(self, connection: Connection, request: httpx.Request) -> Exchange:
        seconds = connection.deadline_at - time.monotonic()
        async with asyncio.timeout(seconds) if self.shared else contextlib.nullcontext():
            response = await connection.transport.handle_async_request(request)
            async with contextlib.aclosing(response.stream):
                body = Body(response)
                async for chunk in response.stream:
                    if not body.feed(chunk):
                        break
            if not body.problem:
                connection.judge(response)
            return response, body

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _wait(self, slots: Any, seconds: float) -> None:
        async with asyncio.timeout(seconds) if slots.locked() else contextlib.nullcontext():
            await slots.acquire()

    def _home(self) -> object:
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop()
        raise MeshError("AsyncMeshClient works in a running asyncio event loop, and nowhere else")
