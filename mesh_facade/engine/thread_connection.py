"""The connection of `MeshClient`: it blocks the thread, at most until the call's deadline.

It implements both of httpcore's interfaces: the network backend, and the stream on the one
connection that the backend opens. Beneath, it uses httpcore's own stream. So every connect,
handshake, read and write of a call passes through here, whether a proxy is in between or not, and
none waits for longer than is left until the deadline. Only the system's look-up of a host's name
cannot be cut short. See `mesh_facade/engine/__init__.py` for all that ends a call.
"""

import contextlib
import importlib
import socket
import ssl
from typing import Self

import httpcore
import httpx

from mesh_facade.engine.connection import MOST_BYTES_WRITTEN, SocketConnection, format_address
from mesh_facade.engine.forks import handshake_guard
from mesh_facade.engine.socks import Negotiation, Step, advance, negotiate
from mesh_facade.engine.tls_in_memory import TlsStream
from mesh_facade.engine.transports import ThreadTransport

# The first look-up of a name would import this. If the process forked in that moment, the child
# would wait for ever for the import to end.
importlib.import_module("encodings.idna")


class ThreadConnection(SocketConnection, httpcore.NetworkBackend, httpcore.NetworkStream):
    """A connection for `MeshClient`."""

    def __init__(
        self, url: httpx.URL, ssl_context: ssl.SSLContext, proxy: httpx.Proxy | None
    ) -> None:
        super().__init__(proxy)
        self._httpx_transport = ThreadTransport(self, url, ssl_context, proxy)
        self._is_encrypted = False
        self._stream: httpcore.NetworkStream | None = None
        self._nested: TlsStream | None = None  # TLS within the TLS of `_stream`

    @property
    def is_nested(self) -> bool:
        return self._nested is not None

    def send(self, request: httpx.Request) -> httpx.Response:
        return self._httpx_transport.handle_request(request)

    def has_unread_data(self) -> bool:
        # A socket that this side has closed counts as readable too.
        return bool(self._require_stream().get_extra_info("is_readable"))

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(Exception):  # it is closed already, or the peer has gone
                self._stream.close()

    # The methods of httpcore's network backends.

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> Self:
        del local_address, socket_options  # never set here
        self._begin_opening()
        first_host, first_port = self._first_hop(host, port)
        self._connect(first_host, first_port, timeout)
        if self._socks_proxy is not None:
            negotiation = negotiate(host, port, self._socks_proxy.raw_auth)
            self._negotiate(negotiation, timeout)
        return self

    def _connect(self, host: str, port: int, timeout: float | None) -> None:
        """Try the addresses of a host in turn, and connect to the first that answers.

        After the look-up, the addresses share the time equally: `timeout`, or what is left until
        the deadline if that is less.
        """
        with self.recording_cause():
            addresses = _look_up(host, port)
        seconds = self._require_time_left(timeout) / len(addresses)
        for address in addresses[:-1]:
            try:
                self._connect_to(address, port, seconds)
            except (httpcore.ConnectTimeout, httpcore.ConnectError):
                continue  # another address may answer
            return
        self._connect_to(addresses[-1], port, seconds)

    def _connect_to(self, address: str, port: int, seconds: float) -> None:
        with self.recording_cause():
            try:
                self._stream = httpcore.SyncBackend().connect_tcp(address, port, seconds)
            except httpcore.ConnectTimeout as error:
                _raise_if_from_system(error, httpcore.ConnectError)
                raise

    def _negotiate(self, negotiation: Negotiation, timeout: float | None) -> None:
        """Send what a negotiation with a SOCKS proxy asks for, and pass it the replies.

        Raises:
            SocksRefusal: The proxy refuses, or what it sends is not SOCKS5.
            httpcore.RemoteProtocolError: It closed the connection.
            httpcore.ReadError: The connection broke.
            httpcore.ReadTimeout: A reply did not come in time.
            httpcore.WriteError: The connection broke while it was written to.
            httpcore.WriteTimeout: The proxy took nothing for too long.
        """
        step: Step | None = next(negotiation)
        while step is not None:
            self.write_raw(step.request, timeout)
            reply = b""
            while len(reply) < step.reply_size:
                data = self.read_raw(step.reply_size - len(reply), timeout)
                if not data:
                    raise httpcore.RemoteProtocolError("the proxy closed the connection")
                reply += data
            step = advance(negotiation, reply)

    # The methods of httpcore's network streams.

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        with handshake_guard, self.recording_cause():
            if self._is_encrypted:
                self._nested = TlsStream(self, ssl_context, server_hostname, timeout)
            else:
                seconds = self._require_time_left(timeout)
                try:
                    self._stream = self._require_stream().start_tls(
                        ssl_context, server_hostname, seconds
                    )
                except httpcore.ConnectTimeout as error:
                    _raise_if_from_system(error, httpcore.ConnectError)
                    raise
        self._is_encrypted = True
        self._received.clear()  # those bytes were a proxy's
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._nested is not None:
            data = self._nested.read(max_bytes, timeout)
        else:
            data = self.read_raw(max_bytes, timeout)
        self._keep(data)
        return data

    def read_raw(self, max_bytes: int, timeout: float | None) -> bytes:
        """Read from the connection itself, beneath any nested TLS."""
        try:
            return self._require_stream().read(max_bytes, self._require_time_left(timeout))
        except httpcore.ReadTimeout as error:
            _raise_if_from_system(error, httpcore.ReadError)
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        data = self._head_joiner.feed(buffer)
        try:
            if self._nested is not None:
                self._nested.write(data, timeout)
            else:
                self.write_raw(data, timeout)
        except httpcore.WriteError as error:
            if not self.is_reused:
                raise
            # After a WriteError, httpcore reads an answer all the same. On a connection that was
            # used before, that may be an answer that nobody asked for.
            raise httpcore.ReadError("the request could not be sent") from error

    def write_raw(self, data: bytes, timeout: float | None) -> None:
        """Write on the connection itself, beneath any nested TLS."""
        for start in range(0, len(data), MOST_BYTES_WRITTEN):
            try:
                self._require_stream().write(
                    data[start : start + MOST_BYTES_WRITTEN], self._require_time_left(timeout)
                )
            except httpcore.WriteTimeout as error:
                _raise_if_from_system(error, httpcore.WriteError)
                raise

    def get_extra_info(self, info: str) -> object:
        return self._require_stream().get_extra_info(info)

    def _require_stream(self) -> httpcore.NetworkStream:
        """Return the stream; raise httpcore.ConnectError if the connection is not open."""
        if self._stream is None:
            raise httpcore.ConnectError("the connection is not open")
        return self._stream

    def _require_time_left(self, timeout: float | None) -> float:
        """Return the seconds that a wait may take.

        Always more than 0: a timeout of 0 would make the socket non-blocking.

        Raises:
            httpcore.ReadTimeout: The deadline has passed.
        """
        left = self._time_left(timeout)
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return left


def _raise_if_from_system(
    error: httpcore.TimeoutException, error_class: type[httpcore.NetworkError]
) -> None:
    """Raise the given class of error if the system has reported a timeout (ETIMEDOUT).

    Python raises TimeoutError in two cases. If a wait of ours took too long, it has no errno. If
    the system gave the connection up, it has one. httpcore does not tell the two apart.
    """
    cause = error.__cause__
    if isinstance(cause, TimeoutError) and cause.errno is not None:
        raise error_class("the system gave the connection up") from cause


def _look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host.

    Raises:
        httpcore.ConnectError: The host is unknown, or no host can have that name.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError("the host's name could not be looked up") from error
    return [format_address(address) for *_, address in found]
