"""TLS within TLS, for threads: the server's connection within that to an `https://` proxy.

Python's sockets cannot do that. httpcore's stream for it bounds each read of the socket, but not
the handshake as a whole: a proxy that sends a byte a second could hold a call beyond its deadline.
Here each wait gets what is left of the deadline.
"""

import ssl
from collections.abc import Callable
from typing import TypeVar

import httpcore

T = TypeVar("T")

_BYTES_READ = 16 * 1024  # about one record of TLS


class NestedTlsStream(httpcore.NetworkStream):
    """A TLS stream on another stream.

    Args:
        outer: The stream that the encrypted bytes go through.
        ssl_context: Verifies the server.
        server_hostname: The name in its certificate.
        time_left: Returns the seconds that a wait may take, given its timeout; raises if none are
            left.
    """

    def __init__(
        self,
        outer: httpcore.NetworkStream,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None,
        time_left: Callable[[float | None], float],
    ) -> None:
        self._outer = outer
        self._time_left = time_left
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = ssl_context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )

    def shake_hands(self, timeout: float | None) -> None:
        """Agree with the server on keys, and verify it.

        Raises:
            httpcore.ConnectError: The server or this side refuses.
            httpcore.ConnectTimeout: A wait took too long.
        """
        try:
            self._run(self._tls.do_handshake, timeout)
        except ssl.SSLError as error:
            raise httpcore.ConnectError(str(error)) from error
        except httpcore.ReadTimeout as error:
            raise httpcore.ConnectTimeout(str(error)) from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._run(lambda: self._tls.read(max_bytes), timeout)
        except ssl.SSLEOFError:  # the connection ended without a word: so do sockets report it
            return b""
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = buffer
        try:
            while rest:
                piece = rest
                written = self._run(lambda: self._tls.write(piece), timeout)  # noqa: B023 — runs now
                rest = rest[written:]
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._outer.close()

    def get_extra_info(self, info: str) -> object:
        if info == "ssl_object":
            return self._tls
        return self._outer.get_extra_info(info)

    def _run(self, operation: Callable[[], T], timeout: float | None) -> T:
        """Run an operation of TLS until it has all that it needs from the peer."""
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                pass
            finally:
                self._flush(timeout)
            data = self._outer.read(_BYTES_READ, self._time_left(timeout))
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self, timeout: float | None) -> None:
        """Send what TLS has to say."""
        data = self._outgoing.read()
        if data:
            self._outer.write(data, self._time_left(timeout))
