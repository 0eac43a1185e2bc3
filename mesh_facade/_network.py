"""A network connection that heeds a call's deadline, and knows each byte that came in since.

httpx's own transport runs on it, through the interface that httpcore has for network backends:
`ThreadConnection` and `TaskConnection` each open one connection, once, and are the stream on it.
"""

import asyncio
import contextlib
import functools
import importlib
import math
import os
import re
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Awaitable
from typing import Any, Self, TypeVar

import httpcore
import httpx

# A look-up would import it when it is first made, and a fork in that moment would hang its child.
importlib.import_module("encodings.idna")

LONGEST_HOLD = 1.0
"""Seconds that a fork waits for the TLS handshakes of other threads."""

T = TypeVar("T")
_MOST_WRITTEN = 64 * 1024  # bytes at a time: each waits for no longer than is left
_MOST_HELD = 64 * 1024  # bytes of an answer; behind a larger one its connection is closed
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # Windows has no poll


class Connection:
    """What is known of a transport's connection: nothing, where the transport is the caller's."""

    get_extra_info: Any  # as httpcore's streams have it
    stack: Any  # the pool's, which it goes back to
    is_open = False
    idle_since = 0.0

    def __init__(self, transport: Any = None) -> None:
        self.transport = transport
        self.deadline_at = math.inf
        self.is_reused = False  # it was open before the current call
        self.is_clean = False
        self.received = bytearray()  # since the current call began
        self._unsent = b""

    def begin(self, deadline_at: float, stack: Any) -> Self:
        """Forget the last call."""
        self.deadline_at, self.stack = deadline_at, stack
        self.is_reused, self.is_clean = self.is_open, False
        self.received.clear()
        return self

    def judge(self, response: httpx.Response) -> None:
        """Find out whether the answer's last byte is the last that came in.

        What lies behind it would be taken for the answer to the next call, which may be another
        user's. Where that cannot be told, the connection is not used again.
        """
        framed = b"".join(re.split(rb"\n\r?\n", self.received, maxsplit=1)[1:])  # as h11 does
        lengths = response.headers.get_list("content-length")
        if "transfer-encoding" in response.headers:  # what is taken for an answer begins with HTTP/
            is_exact = not lengths and framed.endswith(b"\r\n0\r\n\r\n") and b"HTTP/" not in framed
        else:
            is_exact = lengths == [str(len(framed))]
        self.is_clean = is_exact and 0 < len(self.received) <= _MOST_HELD

    def close(self) -> None:
        """Close it without a word; a caller's transport stays as it is."""

    def _open_once(self) -> None:
        if self.is_open:  # httpcore's proxies would replace one that they find closed
            raise httpcore.ConnectError("the connection was closed")
        self.is_open = True

    def _left(self, timeout: float | None) -> float:
        """Return what is left for a wait, which drip by drip would never end."""
        left = self.deadline_at - time.monotonic()
        return left if timeout is None else min(left, timeout)

    def _hold(self, data: bytes) -> bytes:
        if len(self.received) <= _MOST_HELD:
            self.received += data
        return data

    def _join(self, data: bytes) -> bytes:
        """Keep a head until its body goes with it: one write takes half the time of two."""
        if data.endswith(b"\r\n\r\n"):
            self._unsent += data
            return b""
        data, self._unsent = self._unsent + data, b""
        return data


class ThreadConnection(Connection, httpcore.NetworkBackend, httpcore.NetworkStream):
    """A connection that a thread waits for: httpcore's own, within the deadline."""

    _stream: httpcore.NetworkStream
    kinds: Any = (
        httpx.HTTPTransport,
        httpcore.HTTPConnection,
        httpcore.HTTPProxy,
        httpcore.SOCKSProxy,
    )

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *_: Any, **__: Any
    ) -> Self:
        self._open_once()
        seconds = self._bound(timeout) / _count_addresses(host, port)  # they are tried in turn
        self._stream = httpcore.SyncBackend().connect_tcp(host, port, seconds)
        return self

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        with _handshakes:
            seconds = self._bound(timeout)
            self._stream = self._stream.start_tls(ssl_context, server_hostname, seconds)
        self.received.clear()  # a proxy's
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._hold(self._stream.read(max_bytes, self._bound(timeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        data = self._join(buffer)
        for start in range(0, len(data), _MOST_WRITTEN):
            self._stream.write(data[start : start + _MOST_WRITTEN], self._bound(timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it was never opened, or is closed
            self._stream.close()

    def _bound(self, timeout: float | None) -> float:
        """Return what is left; a socket whose time is 0 would read on for as long as it can."""
        if (left := self._left(timeout)) <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return left


class TaskConnection(
    Connection, httpcore.AsyncNetworkBackend, httpcore.AsyncNetworkStream, asyncio.Protocol
):
    """A connection that a task waits for: asyncio's own, for anyio's takes three times as long."""

    kinds: Any = (
        httpx.AsyncHTTPTransport,
        httpcore.AsyncHTTPConnection,
        httpcore.AsyncHTTPProxy,
        httpcore.AsyncSOCKSProxy,
    )
    _wire: Any = None  # asyncio's transport
    _is_over = False
    _news: asyncio.Future[None] | None = None

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *_: Any, **__: Any
    ) -> Self:
        self._open_once()
        loop, errors = asyncio.get_running_loop(), (httpcore.ConnectTimeout, httpcore.ConnectError)
        looking_up = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses: list[Any] = [each[-1] for each in await self._wait(looking_up, timeout, *errors)]
        share = self._left(timeout) / len(addresses)
        while not self._wire:
            connecting = loop.create_connection(lambda: self, *addresses.pop(0)[:2])
            try:
                await self._wait(connecting, share, *errors)
            except errors:
                if not addresses:
                    raise
        return self

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        if self._unread:  # not encrypted: it would be taken for the server's answer
            raise httpcore.ConnectError("the proxy said more than that it is connected")
        shaking = asyncio.get_running_loop().start_tls(
            self._wire,
            self,
            ssl_context,
            server_hostname=server_hostname,
            ssl_handshake_timeout=math.inf,  # the wait has a bound of its own
        )
        with _handshakes:
            errors = httpcore.ConnectTimeout, httpcore.ConnectError
            self._wire = await self._wait(shaking, timeout, *errors)
        self.received.clear()  # a proxy's
        return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._unread and not self._is_over:
            self._news = asyncio.get_running_loop().create_future()
            await self._wait(self._news, timeout, httpcore.ReadTimeout, httpcore.ReadError)
        data = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if len(data) == max_bytes:
            self._wire.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout  # it waits for nothing: asyncio sends as the peer takes it
        if data := self._join(buffer):
            self._wire.write(data)

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return self._wire.get_extra_info(info)
        if self._unread or self._is_over:
            return True
        with _Selector() as selector:  # what the event loop has not looked at yet
            selector.register(self._wire.get_extra_info("socket"), selectors.EVENT_READ)
            return bool(selector.select(0))

    def close(self) -> None:
        self._is_over = True
        if self._wire:
            self._wire.abort()

    async def aclose(self) -> None:
        self.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire, self._unread = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        self._unread += self._hold(data)
        if len(self._unread) > _MOST_HELD:
            self._wire.pause_reading()
        self._tell()

    def eof_received(self) -> None:
        self._is_over = True
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        if exc and self._news and not self._news.done():
            self._news.set_exception(exc)
        self._tell()

    def _tell(self) -> None:
        if self._news and not self._news.done():
            self._news.set_result(None)

    async def _wait(
        self, awaitable: Awaitable[T], timeout: float | None, late: Any, broken: Any
    ) -> T:
        """Wait for what asyncio does, and tell what goes wrong in httpcore's words."""
        try:
            async with asyncio.timeout(self._left(timeout)):
                return await awaitable
        except TimeoutError as error:
            raise late("it took too long") from error
        except OSError as error:
            raise broken("it failed") from error


def make_connection(
    connection_class: type[ThreadConnection | TaskConnection],
    url: httpx.URL,
    context: ssl.SSLContext | None,
    proxy: httpx.Proxy | None,
) -> Connection:
    """Make a connection to a server, through a proxy where there is one; it opens when used.

    Its transport is httpx's own, so that OpenTelemetry and tools for tests find what they look
    for. `_pool`, to which it hands its requests, is the one name that httpx does not promise.
    """
    connection = connection_class()
    transport_class, direct, tunnel, socks = connection.kinds
    transport = connection.transport = object.__new__(transport_class)
    options: dict[str, Any] = {"ssl_context": context, "network_backend": connection}
    if proxy is None:
        pool = direct(httpcore.URL(str(url)).origin, **options)
    elif proxy.url.scheme.startswith("socks5"):
        pool = socks(str(proxy.url), proxy.raw_auth, **options)
    else:
        options["proxy_headers"] = proxy.headers.raw
        pool = tunnel(str(proxy.url), proxy.raw_auth, **options)
    vars(transport)["_pool"] = pool
    return connection


def _count_addresses(host: str, port: int) -> int:
    with contextlib.suppress(OSError):  # the connect itself will say so
        return len(socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP))
    return 1


class _Handshakes:
    """Lets a fork wait until no other thread is in a TLS handshake, `LONGEST_HOLD` at most.

    A child has none of these threads, but OpenSSL's locks as they held them: its own first
    handshake would hang for ever, beyond the reach of any deadline.
    """

    def __init__(self) -> None:
        self._threads: list[int] = []
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._threads.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._changed, contextlib.suppress(ValueError):  # a child does not know it
            self._threads.remove(threading.get_ident())
            self._changed.notify_all()

    def hold(self) -> None:
        self._changed.acquire()
        self._changed.wait_for(lambda: {threading.get_ident()} >= {*self._threads}, LONGEST_HOLD)

    def go_on(self) -> None:
        self._changed.release()


_handshakes = _Handshakes()
with contextlib.suppress(AttributeError):  # where there is no fork
    os.register_at_fork(
        before=_handshakes.hold,
        after_in_parent=_handshakes.go_on,
        after_in_child=functools.partial(_Handshakes.__init__, _handshakes),
    )
