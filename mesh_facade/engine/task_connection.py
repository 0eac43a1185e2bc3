"""A connection that a task waits for: an `asyncio.Protocol`, within the call's deadline.

Like its sibling for threads it is httpcore's network backend and stream in one. It does not stand
on anyio's streams, as httpcore's own backend does: on those a call takes three times as long.
"""

import asyncio
import contextlib
import math
import os
import selectors
import socket
import ssl
from collections.abc import Awaitable
from typing import Self, TypeVar, cast

import httpcore
import httpx

from mesh_facade.engine.connection import MOST_BYTES_KEPT, Connection, HeadJoiner
from mesh_facade.engine.forks import handshakes
from mesh_facade.engine.nested_tls import AsyncNestedTlsStream
from mesh_facade.engine.proxies import is_socks
from mesh_facade.engine.socks import SOCKS_PORT, Negotiation, Step, advance, negotiate
from mesh_facade.engine.transports import TaskTransport

T = TypeVar("T")


class TaskConnection(
    Connection, httpcore.AsyncNetworkBackend, httpcore.AsyncNetworkStream, asyncio.Protocol
):
    """A connection for `AsyncMeshClient`."""

    def __init__(
        self, url: httpx.URL, ssl_context: ssl.SSLContext, proxy: httpx.Proxy | None
    ) -> None:
        super().__init__()
        self._transport = TaskTransport(self, url, ssl_context, proxy)
        self._stream: asyncio.Transport | None = None
        self._lowest_transport: asyncio.BaseTransport | None = None  # the stream's, under TLS
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._unread = bytearray()
        self._is_over = False  # nothing more will come in
        self._arrival: asyncio.Future[None] | None = None  # somebody waits for data
        self._head = HeadJoiner()
        self._socks_proxy = proxy if is_socks(proxy) else None
        self._is_encrypted = False
        self._nested: AsyncNestedTlsStream | None = None

    async def send_async(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)

    def has_unread_data(self) -> bool:
        if self._unread or self._is_over:
            return True
        # Ask the socket too: data may have come that the event loop has not looked at yet.
        # Windows has no poll, and select serves no descriptor above 1023: so poll where there is.
        selector_class = getattr(selectors, "PollSelector", selectors.SelectSelector)
        with selector_class() as selector:
            selector.register(self._opened.get_extra_info("socket"), selectors.EVENT_READ)
            return bool(selector.select(0))

    def close(self) -> None:
        self._is_over = True
        if self._stream is None:
            return
        if self._loop is None or self._loop.is_closed() or self._process != os.getpid():
            self._abandon()
        else:
            self._stream.abort()

    def _abandon(self) -> None:
        """Close the socket without its event loop, which has ended or is another process's.

        asyncio's transports close through their event loop alone. In a forked child that would
        take the parent's sockets out of the parent's event loop. So this calls the method that the
        event loop would call in the end, which is private to asyncio.
        """
        finish = getattr(self._lowest_transport, "_call_connection_lost", None)
        self._stream = None
        self._lowest_transport = None
        if finish is not None:
            with contextlib.suppress(Exception):  # TLS asks the event loop for a last call
                finish(None)

    # What httpcore calls on a network backend.

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> Self:
        del local_address, socket_options  # never set here
        if self.is_open:  # httpcore's proxies would replace a connection that they find closed
            raise httpcore.ConnectError("the connection was closed")
        self.is_open = True
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._process = os.getpid()
        if self._socks_proxy is None:
            await self._connect(host, port, timeout)
        else:
            proxy_url = self._socks_proxy.url
            await self._connect(proxy_url.host, proxy_url.port or SOCKS_PORT, timeout)
            await self._negotiate(negotiate(host, port, self._socks_proxy.raw_auth), timeout)
        return self

    async def _connect(self, host: str, port: int, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        looking_up = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = await self._connecting(looking_up, self._time_left(timeout))
        addresses = [(str(address[0]), int(address[1])) for *_, address in found]
        # They are tried in turn, each with a share of the time.
        seconds = self._time_left(timeout) / len(addresses)
        *others, last = addresses
        for address in others:
            try:
                await self._connect_to(address, seconds)
            except (httpcore.ConnectTimeout, httpcore.ConnectError):
                continue
            return
        await self._connect_to(last, seconds)

    async def _connect_to(self, address: tuple[str, int], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        await self._connecting(loop.create_connection(lambda: self, *address), seconds)

    async def _negotiate(self, negotiation: Negotiation, timeout: float | None) -> None:
        """Send what a negotiation asks for, and feed it the replies."""
        step: Step | None = next(negotiation)
        while step is not None:
            self.write_raw(step.request)
            reply = b""
            while len(reply) < step.reply_size:
                data = await self.read_raw(step.reply_size - len(reply), timeout)
                if not data:
                    raise httpcore.RemoteProtocolError("the proxy closed the connection")
                reply += data
            step = advance(negotiation, reply)
        self._received.clear()  # those bytes were the proxy's

    # What httpcore calls on a network stream.

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        if self._unread:  # not encrypted: it would be taken for the server's answer
            raise httpcore.ConnectError("the proxy sent more than the answer to CONNECT")
        with handshakes:
            if self._is_encrypted:
                await self._start_nested_tls(ssl_context, server_hostname, timeout)
            else:
                await self._start_tls(ssl_context, server_hostname, timeout)
        self._is_encrypted = True
        self._received.clear()  # those bytes were a proxy's
        return self

    async def _start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
    ) -> None:
        shaking_hands = asyncio.get_running_loop().start_tls(
            self._opened,
            self,
            ssl_context,
            server_hostname=server_hostname,
            ssl_handshake_timeout=math.inf,  # the wait below has a bound of its own
        )
        stream = await self._connecting(shaking_hands, self._time_left(timeout))
        self._stream = cast("asyncio.Transport", stream)

    async def _start_nested_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
    ) -> None:
        self.is_nested = True
        nested = AsyncNestedTlsStream(self, ssl_context, server_hostname)
        with self.recording_cause():
            await nested.shake_hands(timeout)
        self._nested = nested

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._nested is not None:
            return await self._nested.read(max_bytes, timeout)
        return await self.read_raw(max_bytes, timeout)

    async def read_raw(self, max_bytes: int, timeout: float | None) -> bytes:
        """Read what came in on the connection itself."""
        if not self._unread and not self._is_over:
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._within(self._arrival, self._time_left(timeout))
            except TimeoutError as error:
                raise httpcore.ReadTimeout("nothing came in") from error
            except OSError as error:
                raise httpcore.ReadError("the connection broke") from error
        data = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if len(data) == max_bytes:
            self._opened.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout  # it waits for nothing: asyncio sends as the peer takes it
        data = self._head.join(buffer)
        if not data:
            return
        if self._nested is not None:
            await self._nested.write(data)
        else:
            self.write_raw(data)

    def write_raw(self, data: bytes) -> None:
        """Write on the connection itself."""
        self._opened.write(data)

    def get_extra_info(self, info: str) -> object:
        if info == "is_readable":
            return self.has_unread_data()
        return self._opened.get_extra_info(info)

    async def aclose(self) -> None:
        self.close()

    # What asyncio calls on a protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = cast("asyncio.Transport", transport)
        self._lowest_transport = transport
        self._unread = bytearray()

    def data_received(self, data: bytes) -> None:
        self._keep(data)
        self._unread += data
        if len(self._unread) > MOST_BYTES_KEPT:
            self._opened.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        self._is_over = True
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        if exc is not None and self._arrival is not None and not self._arrival.done():
            self._arrival.set_exception(exc)
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    @property
    def _opened(self) -> asyncio.Transport:
        if self._stream is None:
            raise httpcore.ConnectError("the connection was never opened")
        return self._stream

    async def _connecting(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Wait for a step of connecting, and raise httpcore's errors if it fails."""
        with self.recording_cause():
            try:
                return await self._within(awaitable, seconds)
            except TimeoutError as error:
                raise httpcore.ConnectTimeout("connecting took too long") from error
            except OSError as error:
                raise httpcore.ConnectError("connecting failed") from error

    async def _within(self, awaitable: Awaitable[T], seconds: float) -> T:
        async with asyncio.timeout(seconds):
            return await awaitable
