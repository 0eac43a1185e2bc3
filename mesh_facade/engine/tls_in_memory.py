"""TLS in memory: it takes and returns encrypted bytes, which a stream beneath receives and sends.

Two kinds of connections need it:

- Those of tasks, for all TLS. asyncio's own TLS passes all received bytes to OpenSSL at once, and
  does not show what is left there after an answer; neither does uvloop's. What is left may
  be the beginning of another answer. Here every byte passes through `TlsInMemory.feed`.
- Those of threads, for TLS within TLS: the connection to the server, within the connection to an
  `https://` proxy. Python's sockets cannot do that. httpcore's stream for it bounds each read of
  the socket, but not the handshake as a whole: a proxy that sends a byte a second could hold a
  call beyond its deadline.

The stream beneath ends each wait at the call's deadline.
"""

import contextlib
import functools
import ssl
from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

import httpcore

from mesh_facade.engine.forks import handshake_guard
from mesh_facade.engine.tls_records import RecordFollower

T = TypeVar("T")

_READ_SIZE = 16 * 1024  # about one record of TLS


class RawStream(Protocol):
    """The stream beneath a `TlsStream`: the connection to the proxy.

    `ThreadConnection` implements it. httpcore calls `ThreadConnection.read` and `write`, which go
    through the TLS, so the methods that go beneath it are named `read_raw` and `write_raw`.
    """

    def read_raw(self, max_bytes: int, timeout: float | None) -> bytes: ...

    def write_raw(self, data: bytes, timeout: float | None) -> None: ...


class AsyncRawStream(Protocol):
    """The stream beneath an `AsyncTlsStream`: the socket's, or that of the TLS to the proxy."""

    async def read(self, max_bytes: int, timeout: float | None) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


class TlsInMemory:
    """What both streams share: TLS between two buffers."""

    def __init__(self, ssl_context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = ssl_context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self._records = RecordFollower()

    def has_unread_data(self) -> bool:
        """Return True if something that was fed was not read, or is no complete record yet."""
        return (
            self._incoming.pending > 0 or self.tls.pending() > 0 or self._records.is_within_a_record
        )

    def feed(self, data: bytes) -> None:
        """Take received bytes; empty bytes mean that the connection has ended."""
        if data:
            self._records.feed(data)
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def take_outgoing(self) -> bytes:
        """Return what is to be sent."""
        return self._outgoing.read()


@contextlib.contextmanager
def _handshake_errors() -> Generator[None]:
    """Turn errors of TLS, and timeouts of reading, into httpcore's errors of connecting."""
    try:
        yield
    except ssl.SSLError as error:
        raise httpcore.ConnectError("the handshake failed") from error
    except httpcore.ReadTimeout as error:
        raise httpcore.ConnectTimeout("the handshake took too long") from error


@contextlib.contextmanager
def _read_and_write_errors() -> Generator[None]:
    """Turn errors of TLS into httpcore's error of a connection that breaks.

    It is a ReadError for writes too: after a WriteError, httpcore would still read an answer.
    """
    try:
        yield
    except ssl.SSLError as error:
        raise httpcore.ReadError("the connection broke") from error


class TlsStream:
    """TLS on a connection of a thread. Its constructor verifies the server, and agrees on keys.

    Only `ThreadConnection` uses it. httpcore is given the `ThreadConnection`, never this object.

    Args:
        raw: The connection to the proxy.
        ssl_context: Verifies the server.
        server_hostname: The name that the server's certificate must have.
        timeout: Seconds that one wait of the handshake may take.

    Raises:
        httpcore.ConnectError: The server's certificate was refused; or the server rejected the
            handshake, ended the connection, or does not speak TLS.
        httpcore.ConnectTimeout: A wait of the handshake took too long.
        httpcore.ReadError: The connection broke while it was read from.
        httpcore.WriteError: The connection broke while it was written to.
        httpcore.WriteTimeout: The proxy took nothing for too long.
    """

    def __init__(
        self,
        raw: RawStream,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None,
        timeout: float | None,
    ) -> None:
        self._raw = raw
        self._memory = TlsInMemory(ssl_context, server_hostname)
        with _handshake_errors():
            self._run(self._memory.tls.do_handshake, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for bytes, and return them; none if the connection has ended.

        Raises:
            httpcore.ReadError: The connection broke, or what came in is not TLS.
            httpcore.ReadTimeout: Nothing came in for too long, or the deadline has passed.
            httpcore.WriteError: The connection broke when TLS had a reply to send.
            httpcore.WriteTimeout: The proxy did not take that reply in time.
        """
        with _read_and_write_errors():
            try:
                return self._run(lambda: self._memory.tls.read(max_bytes), timeout)
            except ssl.SSLEOFError:
                # The peer ended the connection without close_notify. In that case, an SSLSocket
                # returns no bytes too.
                return b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes.

        Raises:
            httpcore.ReadError: TLS cannot be used any more.
            httpcore.ReadTimeout: The deadline has passed.
            httpcore.WriteError: The connection broke.
            httpcore.WriteTimeout: The proxy took nothing for too long.
        """
        rest = memoryview(buffer)
        with _read_and_write_errors():
            while rest:
                written = self._run(functools.partial(self._memory.tls.write, rest), timeout)
                rest = rest[written:]

    def _run(self, operation: Callable[[], T], timeout: float | None) -> T:
        """Run an operation of TLS until it has all that it needs from the server.

        Raises:
            ssl.SSLError: The server was refused, or what it sent is not TLS.
            httpcore.NetworkError: The connection to the proxy broke.
            httpcore.TimeoutException: A wait took too long.
        """
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._flush(timeout)
            except ssl.SSLError:
                # OpenSSL may have an alert to send, which tells the server why. If that fails, the
                # error of TLS is still the one to raise.
                with contextlib.suppress(httpcore.NetworkError, httpcore.TimeoutException):
                    self._flush(timeout)
                raise
            else:
                self._flush(timeout)
                return result
            self._memory.feed(self._raw.read_raw(_READ_SIZE, timeout))

    def _flush(self, timeout: float | None) -> None:
        data = self._memory.take_outgoing()
        if data:
            self._raw.write_raw(data, timeout)


class AsyncTlsStream:
    """TLS on a connection of a task; its handshake is a step of its own.

    Attributes:
        memory: TLS between the two buffers.
    """

    def __init__(
        self, raw: AsyncRawStream, ssl_context: ssl.SSLContext, server_hostname: str | None
    ) -> None:
        self._raw = raw
        self.memory = TlsInMemory(ssl_context, server_hostname)

    async def shake_hands(self, timeout: float | None) -> None:
        """Verify the server, and agree with it on keys.

        Raises:
            httpcore.ConnectError: The server's certificate was refused; or the server rejected the
                handshake, ended the connection, or does not speak TLS.
            httpcore.ConnectTimeout: A wait of the handshake took too long.
            httpcore.ReadError: The connection broke in the handshake.
            httpcore.WriteError: The connection was closed in the handshake; with uvloop only.
        """
        with _handshake_errors():
            await self._run(self._continue_handshake, timeout)

    def _continue_handshake(self) -> None:
        with handshake_guard:  # a fork waits until this step is over
            self.memory.tls.do_handshake()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for bytes, and return them; none if the connection has ended.

        Raises:
            httpcore.ReadError: The connection broke, or what came in is not TLS.
            httpcore.ReadTimeout: Nothing came in for too long.
            httpcore.WriteError: The connection was closed when TLS had a reply to send (with uvloop
                only).
        """
        with _read_and_write_errors():
            try:
                return await self._run(lambda: self.memory.tls.read(max_bytes), timeout)
            except ssl.SSLEOFError:
                # The peer ended the connection without close_notify. In that case, an SSLSocket
                # returns no bytes too.
                return b""

    async def write(self, data: bytes) -> None:
        """Send bytes; the stream beneath holds them until the peer takes them, so this never waits.

        Raises:
            httpcore.ReadError: TLS cannot be used any more.
            httpcore.WriteError: The connection has been closed; with uvloop only, because asyncio's
                own transports drop the bytes.
        """
        rest = memoryview(data)
        with _read_and_write_errors():
            while rest:
                written = await self._run(functools.partial(self.memory.tls.write, rest), None)
                rest = rest[written:]

    async def _run(self, operation: Callable[[], T], timeout: float | None) -> T:
        """Run an operation of TLS until it has all that it needs from the server.

        Raises the same as `TlsStream._run`.
        """
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError:
                # OpenSSL may have an alert to send, which tells the server why. If that fails, the
                # error of TLS is still the one to raise.
                with contextlib.suppress(httpcore.NetworkError):
                    await self._flush()
                raise
            else:
                await self._flush()
                return result
            self.memory.feed(await self._raw.read(_READ_SIZE, timeout))

    async def _flush(self) -> None:
        data = self.memory.take_outgoing()
        if data:
            await self._raw.write(data)
