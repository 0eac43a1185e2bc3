"""A server that misbehaves on demand: raw asyncio on loopback, with one misbehaviour for each port.

A fault is a short script: the bytes that go over the wire, and when. This module runs the scripts.
Nothing in this package depends on the client that is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import itertools
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Self, TypeVar

import attrs
import trustme

T = TypeVar("T")

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
# Linux alone can hold bytes back until a packet is complete.
_CORK = getattr(socket, "TCP_CORK", socket.TCP_NODELAY)
_SHARED_PORT = getattr(socket, "SO_REUSEPORT", socket.SO_REUSEADDR)  # Windows lacks the former
_BACKLOG = 1024
_SETTLING = 5.0
"""Seconds that a script, a handshake or a command of the tests may take to end."""


class Step(enum.Enum):
    """What a script does apart from sending bytes.

    After the last step of a script, the server waits for the next request.
    """

    CLOSE = "closes the connection"
    RESET = "resets the connection"
    SILENCE = "says nothing until the client has left"


CLOSE = Step.CLOSE
RESET = Step.RESET
SILENCE = Step.SILENCE


@attrs.frozen
class Drip:
    """Bytes sent one at a time."""

    data: bytes
    interval: float = 0.05


@attrs.frozen
class OnePacket:
    """Pieces sent in one packet. With TLS, each piece is a record of its own."""

    pieces: Sequence[bytes]


@attrs.frozen
class Unencrypted:
    """Bytes written to the connection without TLS, although the connection uses TLS."""

    data: bytes


@attrs.frozen
class Endless:
    """Bytes sent again and again until the client has left."""

    data: bytes
    interval: float = 0.0


@attrs.frozen
class Pause:
    """A pause, in which the client can process the bytes that were sent before."""

    seconds: float = 0.02


@attrs.frozen
class Answer:
    """The right answer to a request. Scripts send it in part, or changed."""

    request: bytes

    @property
    def number(self) -> int:
        """The amount of the user who asks: the digits at the end of the token."""
        _, _, body = self.request.partition(b"\r\n\r\n")
        if not body:
            return 0
        digits = re.search(r"\d+$", json.loads(body)["authToken"])
        if digits is None:
            return 0
        return int(digits[0])

    @property
    def body(self) -> bytes:
        """An envelope with the user's own amount."""
        return _envelope(self.number)

    @property
    def other_users(self) -> bytes:
        """A complete answer that would be right for another user."""
        return _with_length(_envelope(self.number + 1_000_000))

    @property
    def whole(self) -> bytes:
        """The right answer, with its length."""
        return _with_length(self.body)

    @property
    def chunked(self) -> bytes:
        """The right answer in three chunks."""
        return head("Transfer-Encoding: chunked") + self.chunks

    @property
    def chunks(self) -> bytes:
        """The body of the right answer in three chunks."""
        third = len(self.body) // 3
        parts = (self.body[:third], self.body[third : 2 * third], self.body[2 * third :], b"")
        return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def head(*headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    """Write the head of an answer with these headers and no others."""
    return "\r\n".join([status, "Content-Type: application/json", *headers, "", ""]).encode()


def _envelope(number: int) -> bytes:
    rows = [{"currencyCode": "USD", "cash": number, "buyingPower": None}]
    content = {"balances": rows, "totalCashUsdValue": number}
    return json.dumps({"status": "ok", "message": "", "content": content}).encode()


def _with_length(body: bytes) -> bytes:
    return head(f"Content-Length: {len(body)}") + body


Action = bytes | Step | Drip | OnePacket | Unencrypted | Endless | Pause
"""One entry of a script."""
Script = Callable[[Answer], Sequence[Action]]


class Stage(enum.Enum):
    """When a fault happens."""

    LISTEN = "nobody listens"
    BACKLOG = "connections are never accepted"
    ACCEPT = "as soon as there is a connection, before any TLS"
    REQUEST_STARTS = "at a request's first byte"
    REQUEST = "after a request"


def _bind_to(port: int) -> socket.socket:
    """Bind a socket so that only sockets of this module can be bound to the same port.

    With SO_REUSEADDR any other server could take the port while nobody listens on it.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, _SHARED_PORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _listen_on(port: int) -> socket.socket:
    listener = _bind_to(port)
    listener.setblocking(False)  # noqa: FBT003 — the standard library's signature
    listener.listen(_BACKLOG)
    return listener


class Endpoint:
    """A port that gives right answers, except while a fault is on: then it runs its script.

    Attributes:
        port: The port on 127.0.0.1 at which it listens.
        script_runs: How often the script has run.
        received: All bytes that clients have sent, decrypted.
        connections: How many connections have been accepted.
    """

    def __init__(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any], script: Script, stage: Stage
    ) -> None:
        self._run = run
        self._script = script
        self._stage = stage
        self._is_faulty = False
        self._running_scripts = 0
        self._connection_tasks: set[asyncio.Task[None]] = set()
        self._fillers: list[socket.socket] = []
        self._is_accepting = False
        self._is_closed = False
        self._context: ssl.SSLContext | None = None
        self._listener = _listen_on(0)
        self.port: int = self._listener.getsockname()[1]
        # Bound as well, but never listening: it keeps the port while the listener is closed.
        self._reservation = _bind_to(self.port)
        self.script_runs = 0
        self.connections = 0
        self.received = bytearray()

    @property
    def url(self) -> str:
        """The base URL for clients."""
        scheme = "https" if self._context else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def start(self, context: ssl.SSLContext | None) -> Self:
        """Accept connections, with TLS if there is a context."""
        self._context = context
        self._run(self._start_accepting())
        return self

    def start_fault(self) -> None:
        """Run the script from now on."""
        self._run(self._start_fault())

    def end_fault(self) -> None:
        """Give right answers from now on."""
        self._run(self._end_fault())

    def wait_for_scripts(self) -> None:
        """Wait until no script is running."""
        give_up_at = time.monotonic() + _SETTLING
        while self._running_scripts and time.monotonic() < give_up_at:
            time.sleep(0.001)

    def close(self) -> None:
        """Drop every connection and stop listening."""
        self._run(self._close())

    async def _start_accepting(self) -> None:
        if not self._is_accepting:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
            self._is_accepting = True

    async def _stop_accepting(self) -> None:
        if self._is_accepting:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._is_accepting = False

    async def _start_fault(self) -> None:
        self._is_faulty = True
        if self._stage is Stage.LISTEN:
            await self._stop_accepting()
            self._listener.close()  # the reservation keeps the port
        elif self._stage is Stage.BACKLOG:
            await self._stop_accepting()
            self._listener.listen(0)
            self._fill_backlog()
        if self._stage in {Stage.LISTEN, Stage.BACKLOG, Stage.ACCEPT}:
            await self._drop_connections()

    def _fill_backlog(self) -> None:
        for _ in range(3):  # the kernel drops what does not fit into the queue
            filler = socket.socket()
            filler.setblocking(False)  # noqa: FBT003 — the standard library's signature
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    async def _end_fault(self) -> None:
        self._is_faulty = False
        if self._is_closed:
            return
        self._close_fillers()
        if self._stage is Stage.LISTEN:
            self._listener = _listen_on(self.port)
        elif self._stage is Stage.BACKLOG:
            self._listener.listen(_BACKLOG)
        await self._start_accepting()

    async def _close(self) -> None:
        self._is_closed = True
        await self._stop_accepting()
        self._listener.close()
        self._reservation.close()
        self._close_fillers()
        await self._drop_connections()

    def _close_fillers(self) -> None:
        while self._fillers:
            self._fillers.pop().close()

    async def _drop_connections(self) -> None:
        tasks = set(self._connection_tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has closed the connection already
            return
        connection.setblocking(False)  # noqa: FBT003 — the standard library's signature
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        task = asyncio.ensure_future(self._serve_connection(connection))
        self._connection_tasks.add(task)
        task.add_done_callback(functools.partial(self._forget_task, connection))

    def _forget_task(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._connection_tasks.discard(task)
        if task.cancelled():  # perhaps before its first step, which takes the connection over
            connection.close()

    async def _serve_connection(self, connection: socket.socket) -> None:
        """Serve one connection until the client or the script ends it."""
        is_faulty = self._is_faulty and self._stage is Stage.ACCEPT
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**20)
        protocol = asyncio.StreamReaderProtocol(reader)
        context = self._context
        if is_faulty:
            context = None
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=context,
                ssl_shutdown_timeout=_SETTLING if context else None,
            )
        except OSError:  # the handshake failed
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            with contextlib.suppress(OSError, EOFError):
                is_kept = True
                if is_faulty:
                    is_kept = await self._run_script(Answer(b""), reader, writer)
                while is_kept:
                    is_kept = await self._serve_request(reader, writer)
        except asyncio.CancelledError:
            transport.abort()
            raise
        finally:
            writer.close()

    async def _serve_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a request; return True if the connection stays open for another one."""
        request = await reader.readexactly(1)
        self.received += request
        if self._is_faulty and self._stage is Stage.REQUEST_STARTS:
            return await self._run_script(Answer(request), reader, writer)
        request += await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", request)
        if length:
            request += await reader.readexactly(int(length[1]))
        self.received += request[1:]
        if self._is_faulty:
            return await self._run_script(Answer(request), reader, writer)
        writer.write(Answer(request).whole)
        await writer.drain()
        return True

    async def _run_script(
        self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Run the script once; return True if it leaves the connection open."""
        self.script_runs += 1
        self._running_scripts += 1
        try:
            raw: socket.socket = writer.get_extra_info("socket")
            for action in self._script(answer):
                match action:
                    case Step.CLOSE:
                        return False
                    case Step.RESET:
                        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                        writer.transport.abort()
                        return False
                    case Step.SILENCE:
                        while await reader.read(2**16):
                            pass
                    case Pause():
                        await asyncio.sleep(action.seconds)
                    case OnePacket():
                        raw.setsockopt(socket.IPPROTO_TCP, _CORK, 1)
                        for piece in action.pieces:
                            writer.write(piece)
                        raw.setsockopt(socket.IPPROTO_TCP, _CORK, 0)
                    case Unencrypted():
                        os.write(raw.fileno(), action.data)
                    case _:
                        await self._send(action, reader, writer)
        finally:
            self._running_scripts -= 1
        return True

    async def _send(
        self,
        action: bytes | Drip | Endless,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send bytes, in parts if the action asks for that; raise EOFError if the client left."""
        interval = 0.0
        parts: Iterable[bytes]
        if isinstance(action, Drip):
            interval = action.interval
            parts = [bytes([byte]) for byte in action.data]
        elif isinstance(action, Endless):
            interval = action.interval
            parts = itertools.repeat(action.data)
        else:
            parts = [action]
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(interval)
            if reader.at_eof() or writer.is_closing():
                raise EOFError


class FaultServer:
    """Endpoints on an event loop in a background thread, and the authority of their certificates.

    Attributes:
        authority: Signs the endpoints' certificates.
        client_context: An SSL context for clients, which trusts that authority alone.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._endpoints: list[Endpoint] = []
        self.authority = trustme.CA()
        self.client_context = ssl.create_default_context()
        self.authority.configure_trust(self.client_context)

    def __enter__(self) -> Self:
        # Clients that break a connection off are expected here: asyncio must not report them.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close_endpoints()
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def close_endpoints(self) -> None:
        """Close the ports that were opened."""
        while self._endpoints:
            self._endpoints.pop().close()

    @functools.cached_property
    def server_context(self) -> ssl.SSLContext:
        """A context for endpoints, with a certificate for 127.0.0.1 and localhost."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        return context

    def open(
        self,
        script: Script = lambda answer: [answer.whole],
        *,
        stage: Stage = Stage.REQUEST,
        tls: bool | ssl.SSLContext = False,
    ) -> Endpoint:
        """Open a port, whose fault is not on yet.

        `tls` is True for a right certificate, or the SSL context of a server with another one.
        """
        context: ssl.SSLContext | None = None
        if isinstance(tls, ssl.SSLContext):
            context = tls
        elif tls:
            context = self.server_context
        endpoint = Endpoint(self._run, script, stage).start(context)
        self._endpoints.append(endpoint)
        return endpoint

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_SETTLING)
