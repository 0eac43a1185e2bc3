"""The connection of `AsyncMeshClient`, on asyncio's transports, within the call's deadline.

Like its sibling for threads, it implements both of httpcore's interfaces: the network backend, and
the stream on the one connection that the backend opens. httpcore's own backend uses anyio's
streams, on which a call takes three times as long. See `mesh_facade/engine/__init__.py` for all
that ends a call.
"""

import asyncio
import contextlib
import math
import os
import selectors
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar, cast

import httpcore
import httpx

from mesh_facade.engine.connection import MOST_BYTES_KEPT, SocketConnection
from mesh_facade.engine.forks import handshakes
from mesh_facade.engine.nested_tls import AsyncNestedTlsStream
from mesh_facade.engine.socks import Negotiation, Step, advance, negotiate
from mesh_facade.engine.tls_records import RecordFollower, follow_records
from mesh_facade.engine.transports import TaskTransport

T = TypeVar("T")


class _ReadBuffer(asyncio.Protocol):
    """Takes what comes in on one of asyncio's transports, and keeps it until it is read.

    Each address of a host that is tried gets a buffer of its own. asyncio may report the end of
    an earlier transport late, and it must not pass for the end of the transport in use.

    Attributes:
        socket_transport: asyncio's transport on the socket; None before the connection is made.
        stream: The transport to read from and to write to: the same one, or TLS on top of it.
        unread: The bytes that came in and were not read yet.
        has_ended: Whether nothing more will come in.
        error: Why the connection broke; None if it did not, or if it was closed in order.
    """

    def __init__(self, record: Callable[[bytes], None]) -> None:
        self.socket_transport: asyncio.BaseTransport | None = None
        self.stream: asyncio.Transport | None = None
        self.unread = bytearray()
        self.has_ended = False
        self.error: Exception | None = None
        self._record = record
        self._is_paused = False
        self._arrival: asyncio.Future[None] | None = None  # a task waits for it

    async def receive(self, max_bytes: int, seconds: float) -> bytes:
        """Wait until something comes in, and return it; nothing if the connection has ended.

        An error is raised only after all that came in before it was read. It must not be lost if
        no task waits in the moment in which it occurs: an answer whose length is not given would
        then pass for complete.

        Raises:
            TimeoutError: Nothing came in for so many seconds.
            OSError: The connection broke.
        """
        if not self.unread and not self.has_ended:
            self._arrival = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(seconds):
                await self._arrival
        if not self.unread and self.error is not None:
            raise self.error
        data = bytes(self.unread[:max_bytes])
        del self.unread[:max_bytes]
        if self._is_paused and len(self.unread) <= MOST_BYTES_KEPT and self.stream is not None:
            self._is_paused = False
            self.stream.resume_reading()
        return data

    def use_tls(self, stream: asyncio.Transport) -> None:
        """Read and write through TLS from now on."""
        self.stream = stream

    def detach(self) -> asyncio.BaseTransport | None:
        """Forget the transports, so that nothing more is done with them; return the socket's."""
        socket_transport = self.socket_transport
        self.stream = None
        self.socket_transport = None
        return socket_transport

    # The methods of asyncio's protocols.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.socket_transport = transport
        self.stream = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._record(data)
        self.unread += data
        if len(self.unread) > MOST_BYTES_KEPT and self.stream is not None:
            self._is_paused = True
            self.stream.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        self.has_ended = True
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = True
        self.error = exc
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
        self._transport = TaskTransport(self, url, ssl_context, proxy)
        self._buffer = _ReadBuffer(self._keep)
        self._records: RecordFollower | None = None
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None
        self._nested: AsyncNestedTlsStream | None = None  # TLS within the buffer's TLS stream

    @property
    def is_nested(self) -> bool:
        return self._nested is not None

    async def send_async(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)

    def has_unread_data(self) -> bool:
        if self._is_closed or self._buffer.has_ended or self._buffer.unread:
            return True
        if self._records is not None and self._records.is_within_a_record:
            return True
        # Ask the socket too: data may have come that the event loop has not looked at yet.
        # Use poll where there is one (Windows has none): select fails above descriptor 1023.
        selector_class = getattr(selectors, "PollSelector", selectors.SelectSelector)
        with selector_class() as selector:
            selector.register(self._require_stream().get_extra_info("socket"), selectors.EVENT_READ)
            return bool(selector.select(0))

    def close(self) -> None:
        self._is_closed = True
        stream = self._buffer.stream
        if stream is None:
            return
        if self._loop is None or self._loop.is_closed() or self._process != os.getpid():
            self._abandon()
        else:
            stream.abort()

    def _abandon(self) -> None:
        """Close the socket without its event loop, which has ended or is another process's.

        asyncio's transports close through their event loop alone. In a forked child that would
        take the parent's sockets out of the parent's event loop. So this calls the method that the
        event loop would call in the end, which is private to asyncio.

        uvloop's transports have no such method: a loop of uvloop closes them when it is closed.
        """
        socket_transport = self._buffer.detach()
        finish = getattr(socket_transport, "_call_connection_lost", None)
        if finish is not None:
            with contextlib.suppress(Exception):  # TLS asks the event loop for a last call
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
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        first_host, first_port = self._first_hop(host, port)
        await self._connect(first_host, first_port, timeout)
        if self._socks_proxy is not None:
            await self._negotiate(negotiate(host, port, self._socks_proxy.raw_auth), timeout)
        return self

    async def _connect(self, host: str, port: int, timeout: float | None) -> None:
        """Connect to the first address of a host that answers; each has a share of the time."""
        loop = asyncio.get_running_loop()
        lookup = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        entries = await self._await_opening_step(lookup, self._time_left(timeout))
        addresses = [
            str(host_and_port[0]) for _family, _type, _protocol, _name, host_and_port in entries
        ]
        seconds = self._time_left(timeout) / len(addresses)
        for address in addresses[:-1]:
            try:
                await self._connect_to(address, port, seconds)
            except (httpcore.ConnectTimeout, httpcore.ConnectError):
                continue  # another address may answer
            return
        await self._connect_to(addresses[-1], port, seconds)

    async def _connect_to(self, address: str, port: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        buffer = _ReadBuffer(self._keep)
        connect = loop.create_connection(lambda: buffer, address, port)
        await self._await_opening_step(connect, seconds)
        self._buffer = buffer

    async def _negotiate(self, negotiation: Negotiation, timeout: float | None) -> None:
        """Send what a negotiation with a SOCKS proxy asks for, and pass it the replies.

        Raises:
            SocksRefusal: The proxy refuses, or what it sends is not SOCKS5.
            httpcore.RemoteProtocolError: It closed the connection.
            httpcore.ReadError: The connection broke.
            httpcore.ReadTimeout: A reply did not come in time.
        """
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
        self._received.clear()  # those bytes were a proxy's

    # The methods of httpcore's network streams.

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        if self._buffer.unread:  # it would be taken for a part of the server's answer
            raise httpcore.ConnectError("unencrypted bytes arrived before the TLS handshake")
        # This `with` is not async, although it surrounds an await: entering it blocks only while
        # another thread forks. Several tasks of a thread may be in it at once, for it counts the
        # handshakes of each thread.
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
        socket_transport = self._require_stream()
        handshake = asyncio.get_running_loop().start_tls(
            socket_transport,
            self._buffer,
            ssl_context,
            server_hostname=server_hostname,
            ssl_handshake_timeout=math.inf,  # the wait below has a bound of its own
        )
        stream = await self._await_opening_step(handshake, self._time_left(timeout))
        self._buffer.use_tls(cast("asyncio.Transport", stream))
        self._records = follow_records(socket_transport)

    async def _start_nested_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
    ) -> None:
        nested = AsyncNestedTlsStream(self, ssl_context, server_hostname)
        with self.recording_cause():
            await nested.shake_hands(timeout)
        self._nested = nested

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._nested is not None:
            return await self._nested.read(max_bytes, timeout)
        return await self.read_raw(max_bytes, timeout)

    async def read_raw(self, max_bytes: int, timeout: float | None) -> bytes:
        """Read from the connection itself, beneath any nested TLS."""
        try:
            return await self._buffer.receive(max_bytes, self._time_left(timeout))
        except TimeoutError as error:
            raise httpcore.ReadTimeout("nothing came in") from error
        except OSError as error:
            raise httpcore.ReadError("the connection broke") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout  # it waits for nothing: asyncio sends as the peer takes it
        data = self._head_joiner.feed(buffer)
        if not data:
            return
        if self._nested is not None:
            await self._nested.write(data)
        else:
            self.write_raw(data)

    def write_raw(self, data: bytes) -> None:
        """Write on the connection itself, beneath any nested TLS."""
        self._require_stream().write(data)

    def get_extra_info(self, info: str) -> object:
        if info == "is_readable":
            return self.has_unread_data()
        return self._require_stream().get_extra_info(info)

    async def aclose(self) -> None:
        self.close()

    def _require_stream(self) -> asyncio.Transport:
        """Return the stream; raise httpcore.ConnectError if the connection was never opened."""
        stream = self._buffer.stream
        if stream is None:
            raise httpcore.ConnectError("the connection was never opened")
        return stream

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
            except TimeoutError as error:
                raise httpcore.ConnectTimeout("connecting took too long") from error
            except (OSError, UnicodeError) as error:  # UnicodeError: no host can have that name
                raise httpcore.ConnectError("connecting failed") from error
