"""The connection of `AsyncMeshClient`: it suspends the task, at most until the call's deadline.

Like its sibling for threads, it implements both of httpcore's interfaces: the network backend, and
the stream on the one connection that the backend opens. Beneath, it uses asyncio's transports:
httpcore's own backend uses anyio's streams, on which a call takes three times as long. See
`mesh_facade/engine/__init__.py` for all that ends a call.

It reads and writes in layers: at the bottom a `_SocketStream`; on it an `AsyncTlsStream`, if the
server or the proxy speaks TLS; on that a second one, if both do.
"""

import asyncio
import contextlib
import os
import selectors
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self, TypeVar, cast

import httpcore
import httpx

from mesh_facade.engine.connection import SocketConnection, format_address
from mesh_facade.engine.socks import Negotiation, Step, advance, negotiate
from mesh_facade.engine.tls_in_memory import AsyncRawStream, AsyncTlsStream
from mesh_facade.engine.transports import TaskTransport
from mesh_facade.engine.waiting import HomeKey, TaskWaiting

if TYPE_CHECKING:
    from mesh_facade.engine.pool import Home

T = TypeVar("T")

_RECEIVE_BUFFER_SIZE = 16 * 1024  # bytes; most answers are smaller
_PAUSE_ABOVE = 64 * 1024  # bytes; asyncio stops reading while more than this are unread


class _SocketStream(asyncio.BufferedProtocol):
    """Reads and writes on a socket, through one of asyncio's transports.

    asyncio writes received bytes into `_buffer`. This class moves them to `unread`, where they stay
    until they are read. (With an `asyncio.Protocol`, asyncio would allocate 256 KiB for each
    piece.)

    Each address of a host that is tried gets a stream of its own: asyncio may report the end of an
    earlier transport late, and that must not pass for the end of the transport in use.

    Args:
        time_left: Returns the seconds that a wait may take: its timeout, or less if the call's
            deadline is near.

    Attributes:
        transport: asyncio's transport on the socket; None before the connection is made, and after
            it was abandoned.
        unread: The bytes that came in and were not read yet.
    """

    def __init__(self, time_left: Callable[[float | None], float]) -> None:
        self.transport: asyncio.Transport | None = None
        self.unread = bytearray()
        self._time_left = time_left
        self._buffer = memoryview(bytearray(_RECEIVE_BUFFER_SIZE))
        self._has_ended = False
        self._error: Exception | None = None
        self._is_paused = False
        self._arrival: asyncio.Future[None] | None = None  # a task waits for it

    async def read(self, max_bytes: int, timeout: float | None) -> bytes:
        """Wait until something comes in, and return it; nothing if the connection has ended.

        Bytes that came in before an error are returned first. The error is raised when they have
        been read. If it were lost, an answer without a Content-Length would look complete.

        Raises:
            httpcore.ReadTimeout: Nothing came in for too long.
            httpcore.ReadError: The connection broke.
        """
        if not self.unread and not self._has_ended:
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._time_left(timeout)):
                    await self._arrival
            except TimeoutError as error:
                raise httpcore.ReadTimeout("nothing came in") from error
        if not self.unread and self._error is not None:
            raise httpcore.ReadError("the connection broke") from self._error
        data = bytes(self.unread[:max_bytes])
        del self.unread[:max_bytes]
        if self._is_paused and len(self.unread) <= _PAUSE_ABOVE and self.transport is not None:
            self._is_paused = False
            self.transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; asyncio holds them until the peer takes them, so this never waits.

        Raises:
            httpcore.ConnectError: The connection is not open.
            httpcore.WriteError: It has been closed.
        """
        try:
            self.require_transport().write(data)
        except RuntimeError as error:
            # From uvloop, if the transport is closed. asyncio's own transports do not raise then.
            raise httpcore.WriteError("the connection is closed") from error

    def has_unread_data(self) -> bool:
        """Return True if asyncio has reported something that was not read, or the end."""
        return bool(self.unread) or self._has_ended

    def is_readable(self) -> bool:
        """Return True if the socket has something that asyncio has not reported yet.

        On Windows it can miss bytes: asyncio may have taken them off the socket already, and not
        have reported them yet.

        Raises:
            httpcore.ConnectError: The connection is not open.
        """
        transport = self.require_transport()
        if transport.is_closing():
            return True
        # Use poll where there is one (Windows has none): select fails above descriptor 1023.
        selector_class = getattr(selectors, "PollSelector", selectors.SelectSelector)
        with selector_class() as selector:
            selector.register(transport.get_extra_info("socket"), selectors.EVENT_READ)
            return bool(selector.select(0))

    def require_transport(self) -> asyncio.Transport:
        """Return the transport; raise httpcore.ConnectError if the connection is not open."""
        if self.transport is None:
            raise httpcore.ConnectError("the connection is not open")
        return self.transport

    # The methods of asyncio's protocols.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.unread += self._buffer[:nbytes]
        if len(self.unread) > _PAUSE_ABOVE and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        self._has_ended = True
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended = True
        self._error = exc
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class TaskConnection(SocketConnection, httpcore.AsyncNetworkBackend, httpcore.AsyncNetworkStream):
    """A connection for `AsyncMeshClient`."""

    def __init__(
        self, url: httpx.URL, ssl_context: ssl.SSLContext, proxy: httpx.Proxy | None
    ) -> None:
        super().__init__(proxy)
        self._httpx_transport = TaskTransport(self, url, ssl_context, proxy)
        self._socket_stream = _SocketStream(self._time_left)  # replaced on connecting
        self._tls: AsyncTlsStream | None = None  # the upper one, if there are two
        self._is_nested = False
        self._is_closed = False
        self._has_written = False  # since it was lent
        self._home_key: HomeKey | None = None  # of the process and event loop that opened it

    @property
    def is_nested(self) -> bool:
        return self._is_nested

    def lend_to_call(self, deadline_at: float, home: "Home") -> None:
        super().lend_to_call(deadline_at, home)
        self._has_written = False

    async def send_async(self, request: httpx.Request) -> httpx.Response:
        return await self._httpx_transport.handle_async_request(request)

    def has_unread_data(self) -> bool:
        return (
            self._is_closed or self._has_unread_reported_data() or self._socket_stream.is_readable()
        )

    def _has_unread_reported_data(self) -> bool:
        """Return True if something that asyncio has reported was not read."""
        if self._tls is not None and self._tls.memory.has_unread_data():
            return True
        return self._socket_stream.has_unread_data()

    def close(self) -> None:
        self._is_closed = True
        transport = self._socket_stream.transport
        if transport is None:
            return
        if self._home_key is None or self._home_key.is_gone():
            self._abandon(transport)
        else:
            transport.abort()

    def _abandon(self, transport: asyncio.Transport) -> None:
        """Close the socket without its event loop, which has ended or is another process's.

        asyncio closes a transport by asking its event loop. In a forked child, the copy of the
        parent's event loop shares the parent's epoll. Asking it would make the parent's event loop
        miss what comes in on its sockets. So this calls the method that the event
        loop would call in the end, which is private to asyncio.

        uvloop's transports have no such method: a loop of uvloop closes them when it is closed.
        """
        self._socket_stream.transport = None
        finish = getattr(transport, "_call_connection_lost", None)
        if finish is not None:
            with contextlib.suppress(Exception):  # it is asyncio's own, and may change
                finish(None)

    # The methods of httpcore's network backends.

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> Self:
        del local_address, socket_options  # never set here
        self._begin_opening()
        self._home_key = TaskWaiting().current_home_key()
        first_host, first_port = self._first_hop(host, port)
        await self._connect(first_host, first_port, timeout)
        if self._socks_proxy is not None:
            negotiation = negotiate(host, port, self._socks_proxy.raw_auth)
            await self._negotiate(negotiation, timeout)
        return self

    async def _connect(self, host: str, port: int, timeout: float | None) -> None:
        """Try the addresses of a host in turn, and connect to the first that answers.

        Each of them has a share of the time.
        """
        addresses = await self._look_up(host, port, timeout)
        seconds = self._time_left(timeout) / len(addresses)
        for address in addresses[:-1]:
            try:
                await self._connect_to(address, port, seconds)
            except (httpcore.ConnectTimeout, httpcore.ConnectError):
                continue  # another address may answer
            return
        await self._connect_to(addresses[-1], port, seconds)

    async def _look_up(self, host: str, port: int, timeout: float | None) -> list[str]:
        """Return the addresses of a host."""
        loop = asyncio.get_running_loop()
        lookup = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = await self._await_opening_step(lookup, self._time_left(timeout))
        return [format_address(address) for *_, address in found]

    async def _connect_to(self, address: str, port: int, seconds: float) -> None:
        stream = _SocketStream(self._time_left)
        await self._await_opening_step(_open_transport(stream, address, port), seconds)
        self._socket_stream = stream

    async def _negotiate(self, negotiation: Negotiation, timeout: float | None) -> None:
        """Send what a negotiation with a SOCKS proxy asks for, and pass it the replies.

        Raises:
            SocksRefusal: The proxy refuses, or what it sends is not SOCKS5.
            httpcore.RemoteProtocolError: It closed the connection.
            httpcore.ReadError: The connection broke.
            httpcore.WriteError: It has been closed (with uvloop only).
            httpcore.ReadTimeout: A reply did not come in time.
        """
        step: Step | None = next(negotiation)
        while step is not None:
            await self._socket_stream.write(step.request)
            reply = b""
            while len(reply) < step.reply_size:
                data = await self._socket_stream.read(step.reply_size - len(reply), timeout)
                if not data:
                    raise httpcore.RemoteProtocolError("the proxy closed the connection")
                reply += data
            step = advance(negotiation, reply)

    # The methods of httpcore's network streams.

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        if self._tls is None and self._socket_stream.unread:
            raise httpcore.ConnectError("unencrypted bytes arrived before the TLS handshake")
        tls = AsyncTlsStream(self._upper_stream(), ssl_context, server_hostname)
        with self.recording_cause():
            await tls.shake_hands(timeout)
        self._is_nested = self._tls is not None
        self._tls = tls
        self._received.clear()  # those bytes were a proxy's
        return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._upper_stream().read(max_bytes, timeout)
        self._keep(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout  # unused: asyncio holds the bytes until the peer takes them
        data = self._head_joiner.feed(buffer)
        if not data:
            return
        # The event loop has run since the connection was taken from the pool, because httpcore
        # acquires a lock, which yields to the event loop even if the lock is free. So something may
        # have come in, and would be read as the answer to this request.
        if self.is_reused and not self._has_written and self._has_unread_reported_data():
            # Not a WriteError: after one, httpcore reads an answer all the same.
            raise httpcore.ReadError("something came in before the request was sent")
        self._has_written = True
        await self._upper_stream().write(data)

    def get_extra_info(self, info: str) -> object:
        if info == "is_readable":
            return self.has_unread_data()
        if info == "ssl_object" and self._tls is not None:
            return self._tls.memory.tls
        return self._socket_stream.require_transport().get_extra_info(info)

    async def aclose(self) -> None:
        self.close()

    def _upper_stream(self) -> AsyncRawStream:
        """Return the stream that httpcore's bytes go through."""
        if self._tls is None:
            return self._socket_stream
        return self._tls

    async def _await_opening_step(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Wait for a step of opening the connection.

        Raises:
            httpcore.ConnectTimeout: It took too long.
            httpcore.ConnectError: It failed.
        """
        with self.recording_cause():
            try:
                async with asyncio.timeout(seconds):
                    return await awaitable
            except (OSError, UnicodeError) as error:  # UnicodeError: no host can have that name
                # The TimeoutError of `asyncio.timeout` has no errno. One with an errno is the
                # system's own (ETIMEDOUT), and means that connecting failed.
                if isinstance(error, TimeoutError) and error.errno is None:
                    raise httpcore.ConnectTimeout("connecting took too long") from error
                raise httpcore.ConnectError("connecting failed") from error


async def _open_transport(stream: _SocketStream, address: str, port: int) -> None:
    """Connect to an address, and give the stream its transport.

    Raises:
        OSError: It failed. asyncio replaces `strerror` with a text that names the address. This
            function restores the system's reason, such as "Connection refused".
    """
    try:
        await asyncio.get_running_loop().create_connection(lambda: stream, address, port)
    except OSError as error:
        # On Windows, asyncio keeps the system's reason, and `os.strerror` does not know it.
        if error.errno is not None and str(error.strerror).startswith("Connect call failed"):
            error.strerror = os.strerror(error.errno)
        raise
