"""Connections: one httpx transport each, kept in a stack, and kept only when beyond doubt.

A call takes the connection used last, which is the warmest, or opens one: the cost does not grow
with their number. Each process and each event loop has its own. All that waits is a coroutine; of
a pool for threads none ever suspends, so that everything is written once for both modes.
"""

import asyncio
import contextlib
import functools
import importlib
import inspect
import math
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx

from mesh_facade._wire import Body
from mesh_facade.errors import MeshError

# A look-up would import it when it is first made, and a fork in that moment would hang its child.
importlib.import_module("encodings.idna")

KEEP_IDLE = 30.0
"""Seconds after which an unused connection is closed rather than used again."""

LONGEST_HOLD = 1.0
"""Seconds that a fork waits for TLS handshakes."""

_LARGEST_JUDGED = 32 * 1024  # bytes; asyncio may hold back what lies behind a larger answer


class Connection:
    """A transport with at most one network connection, and what the current answer brought in."""

    def __init__(self, transport: Any, stack: "_Stack") -> None:
        self.transport = transport
        self.stack = stack
        self.stream: Any = None
        self.deadline_at = math.inf
        self.idle_since = 0.0
        self.is_reused = False
        self.is_clean = False
        self.received = bytearray()
        self._starts = False
        self._unsent = b""  # the head, until the body goes with it

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Follow httpcore's `trace` extension: what is connected, and when a request starts."""
        match event.partition(".")[2]:
            case "connect_tcp.started":  # it tries each address for as long as it is given
                info["timeout"] = min(info["timeout"], self._left() / _count_addresses(info))
            case "start_tls.started":
                info["timeout"] = min(info["timeout"], self._left())
                _handshakes.begin()
            case "start_tls.failed":
                _handshakes.end()
            case "start_tls.complete":
                _handshakes.end()
                self._watch(info["return_value"])
            case "connect_tcp.complete":
                self.is_reused = False
                self._watch(info["return_value"])
            case "send_request_headers.started":
                self.received.clear()
                self._starts = True
            case _:
                pass

    async def trace_async(self, event: str, info: dict[str, Any]) -> None:
        """Do the same where httpcore awaits it; asyncio bounds what it connects, in one thread."""
        if event.endswith("start_tls.complete"):
            self._watch(info["return_value"])
        elif not event.endswith(("connect_tcp.started", "start_tls.started", "start_tls.failed")):
            self.trace(event, info)

    def _left(self) -> float:
        left = self.deadline_at - time.monotonic()
        if left <= 0:  # a server that never pauses keeps every single wait short
            raise httpx.ReadTimeout("the deadline has passed")
        return left

    def _watch(self, stream: Any) -> None:
        """Record what is read, join head and body, and let nothing outlast the deadline.

        Each wait ends in time, as drop by drop they would not. One write takes half the time of
        two, and wakes the server once.
        """
        read, write = stream.read, stream.write

        def record(data: bytes) -> bytes:
            if len(self.received) <= _LARGEST_JUDGED:
                self.received += data
            return data

        def read_sync(max_bytes: int, timeout: float) -> bytes:
            return record(read(max_bytes, min(timeout, self._left())))

        async def read_async(max_bytes: int, timeout: float) -> bytes:  # noqa: ASYNC109 — httpcore's
            return record(await read(max_bytes, min(timeout, self._left())))

        def write_joined(data: bytes, timeout: float) -> Any:
            if self._starts:
                self._unsent, data = data, b""
            elif self._unsent:
                self._unsent, data = b"", self._unsent + data
            self._starts = False
            return write(data, min(timeout, self._left()))

        stream.read = read_async if inspect.iscoroutinefunction(read) else read_sync
        stream.write = write_joined
        self.stream = stream

    def judge(self, response: httpx.Response) -> None:
        """Find out whether the answer's last byte is the last that came in.

        What lies behind it would be taken for the answer to the next call, which may be another
        user's. Where that cannot be told, the connection is not used again.
        """
        _, _, framed = bytes(self.received).partition(b"\r\n\r\n")
        lengths = response.headers.get_list("content-length")
        if "transfer-encoding" in response.headers:
            is_exact = not lengths and _is_one_chunked_body(framed)
        else:
            is_exact = lengths == [str(len(framed))]
        is_whole = 0 < len(self.received) <= _LARGEST_JUDGED
        self.is_clean = is_whole and is_exact and self._is_drained()

    def _is_drained(self) -> bool:
        """Whether asyncio's TLS holds nothing back; a socket is looked at before its next use."""
        tls = self.stream.get_extra_info("ssl_object")
        if not isinstance(tls, ssl.SSLObject):
            return True
        try:
            tls.read(1)
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:  # it has been closed
            return False
        return False


def _is_one_chunked_body(framed: bytes) -> bool:
    position, size = 0, -1
    while size:
        line_end = framed.find(b"\r\n", position)
        try:
            size = int(framed[position:line_end].partition(b";")[0], 16)
        except ValueError:  # trailers too: they are rare, and the price is a new connection
            return False
        position = line_end + size + 4
    return position == len(framed)


def _count_addresses(info: dict[str, Any]) -> int:
    """Count what a connect will try in turn, each for as long as it is given."""
    with contextlib.suppress(OSError):  # the connect itself will say so
        return len(
            socket.getaddrinfo(info.get("host"), info.get("port", 0), proto=socket.IPPROTO_TCP)
        )
    return 1


class _Handshakes:
    """Lets a fork wait until no other thread is in a TLS handshake, `LONGEST_HOLD` at most.

    A child has none of these threads, but OpenSSL's locks as they held them: its own first
    handshake would hang for ever, beyond the reach of any deadline.
    """

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        with self._changed:
            self._count += 1

    def end(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def hold(self) -> None:
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._count, LONGEST_HOLD)

    def go_on(self) -> None:
        self._changed.release()


_handshakes = _Handshakes()
with contextlib.suppress(AttributeError):  # where there is no fork
    os.register_at_fork(
        before=_handshakes.hold,
        after_in_parent=_handshakes.go_on,
        after_in_child=functools.partial(_Handshakes.__init__, _handshakes),
    )


class _Stack(deque[Connection]):
    """The idle connections of one process or event loop, the warmest last, and their slots."""

    def __init__(self, slots: Any) -> None:
        super().__init__()
        self.slots = slots


class Pool:
    """Lends connections to threads, at most `size` at a time, first come, first served.

    Args:
        open_transport: Makes a transport for one connection.
        size: How many connections there may be.
        shared: A caller's own transport: all calls use it, and nothing is kept or dropped.
    """

    def __init__(self, open_transport: Callable[[], Any], size: int, shared: Any = None) -> None:
        self._open_transport = open_transport
        self._size = size
        self._shared = shared
        self._is_closed = False
        self._stacks: dict[object, _Stack] = {}

    async def acquire(self, deadline_at: float, *, fresh: bool) -> Connection:
        """Wait for a connection, kept or fresh; TimeoutError where none becomes free in time."""
        home = self._home()
        stack = self._stacks.get(home)
        if stack is None:  # what a child or another loop finds here belongs to others
            stack = self._stacks.setdefault(home, _Stack(self._make_slots()))
            self._stacks = {home: stack}
        await self._wait(stack.slots, deadline_at - time.monotonic())
        if self._is_closed:
            stack.slots.release()
            raise MeshError("this client is closed")
        connection = None
        if not fresh:
            with contextlib.suppress(IndexError):
                connection = stack.pop()
                connection.is_reused = True
        connection = connection or Connection(self._shared or self._open_transport(), stack)
        connection.deadline_at, connection.is_clean = deadline_at, False
        return connection

    async def release(self, connection: Connection) -> None:
        """Give back the slot, and the connection where it is beyond doubt."""
        stack, now = connection.stack, time.monotonic()
        unwanted: Connection | None = connection
        if connection.is_clean and not self._is_closed:
            connection.idle_since = now
            stack.append(connection)
            unwanted = None
            with contextlib.suppress(IndexError):  # one a call: the oldest lies at the bottom
                unwanted = stack.popleft() if stack[0].idle_since < now - KEEP_IDLE else None
        try:
            if unwanted and unwanted.transport is not self._shared:
                await self._close(unwanted.transport)
                if unwanted.stream:  # a transport that was cut short may have left it open
                    await self._close(unwanted.stream)
        finally:
            stack.slots.release()

    async def close(self) -> None:
        """Close what is idle now; what is in use is closed once its call is done."""
        self._is_closed = True
        stack = self._stacks.get(self._home())
        while stack:
            await self._close(stack.pop().transport)
        if self._shared:
            await self._close(self._shared)

    def follow(self, connection: Connection) -> dict[str, Any]:
        """Return the request extension that lets a connection follow what happens on it."""
        return {} if connection.transport is self._shared else {"trace": connection.trace}

    # What waits. `AsyncPool` does the same where waiting means `await`.

    def bound(self, deadline_at: float) -> AbstractAsyncContextManager[Any]:
        """Return what raises TimeoutError at the deadline; for threads, each wait does."""
        return contextlib.nullcontext(deadline_at)

    async def sign(self, request: httpx.Request, auth: httpx.Auth) -> None:
        """Add the keys to a request."""
        next(auth.sync_auth_flow(request))

    async def exchange(
        self, connection: Connection, request: httpx.Request
    ) -> tuple[httpx.Response, Body]:
        """Send a request, and read its answer as far as the body wants it."""
        response = connection.transport.handle_request(request)
        body = Body(response)
        if all(map(body.feed, response.stream)):
            response.stream.close()
            connection.judge(response)
        return response, body

    async def sleep(self, seconds: float) -> None:
        """Pause between two attempts."""
        time.sleep(seconds)  # noqa: ASYNC251 — a pool for threads never suspends

    async def _close(self, closable: Any) -> None:
        with contextlib.suppress(Exception):  # it is thrown away whatever it says
            closable.close()

    async def _wait(self, slots: Any, seconds: float) -> None:
        slots.acquire(seconds)

    def _make_slots(self) -> Any:
        return _Slots(self._size)

    def _home(self) -> object:
        return os.getpid()


class AsyncPool(Pool):
    """Lends connections to the tasks of an event loop; only how it waits differs."""

    def follow(self, connection: Connection) -> dict[str, Any]:
        return {} if connection.transport is self._shared else {"trace": connection.trace_async}

    def bound(self, deadline_at: float) -> AbstractAsyncContextManager[Any]:
        self._home()
        return asyncio.timeout(deadline_at - time.monotonic())

    async def sign(self, request: httpx.Request, auth: httpx.Auth) -> None:
        async with contextlib.aclosing(auth.async_auth_flow(request)) as flow:
            await anext(flow)

    async def exchange(
        self, connection: Connection, request: httpx.Request
    ) -> tuple[httpx.Response, Body]:
        response = await connection.transport.handle_async_request(request)
        body = Body(response)
        async for chunk in response.stream:
            if not body.feed(chunk):
                return response, body
        await response.stream.aclose()
        connection.judge(response)
        return response, body

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _close(self, closable: Any) -> None:
        with contextlib.suppress(Exception):
            await asyncio.shield(closable.aclose())  # a second cancellation must not cut it short

    async def _wait(self, slots: Any, seconds: float) -> None:
        del seconds  # `bound` ends it
        await slots.acquire()

    def _make_slots(self) -> Any:
        return asyncio.Semaphore(self._size)

    def _home(self) -> object:
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop()
        raise MeshError("AsyncMeshClient works in a running asyncio event loop, and nowhere else")


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
