"""A server that misbehaves on demand: raw asyncio on loopback, with one misbehaviour for each port.

A fault is a short script: steps that send bytes, wait, or end the connection. This module runs the
scripts. Nothing in it depends on the client that is tested.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import itertools
import json
import re
import socket
import ssl
import struct
import threading
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Self, TypeVar

import attrs
import trustme

T = TypeVar("T")

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
_CORK_OPTION: int | None = getattr(socket, "TCP_CORK", None)
"""The option that holds bytes back until a packet is complete. Only Linux has it."""
_SHARE_PORT_OPTION: int = getattr(socket, "SO_REUSEPORT", socket.SO_REUSEADDR)
"""The option with which several sockets share a port. Windows has only SO_REUSEADDR."""
_BACKLOG = 1024
_LONGEST_WAIT = 5.0
"""Seconds to wait for scripts to end, for a TLS shutdown, and for coroutines of other threads."""


class Ending(enum.Enum):
    """A step of a script that ends the connection, or waits until the client ends it."""

    CLOSE = "closes the connection"
    RESET = "resets the connection"
    SILENCE = "says nothing until the client has left"


# Short names, because most scripts of the catalogue end with one of them.
CLOSE = Ending.CLOSE
RESET = Ending.RESET
SILENCE = Ending.SILENCE


@attrs.frozen
class Drip:
    """Bytes sent one at a time."""

    data: bytes
    interval: float = 0.05


@attrs.frozen
class OnePacket:
    """Pieces sent in one packet. With TLS, each piece is a record of its own.

    Only Linux can be made to use one packet; other systems may split the pieces into several.
    """

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
    def amount(self) -> int:
        """The amount of the user who asks: the number at the end of the token, or 0."""
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
        return _envelope(self.amount)

    @property
    def for_another_user(self) -> bytes:
        """A complete answer that would be right for another user."""
        return _with_length(_envelope(self.amount + 1_000_000))

    @property
    def with_length(self) -> bytes:
        """The right answer, with a Content-Length."""
        return _with_length(self.body)

    @property
    def chunked(self) -> bytes:
        """The right answer in three chunks."""
        return head("Transfer-Encoding: chunked") + self.chunked_body

    @property
    def chunked_body(self) -> bytes:
        """The body of the right answer in three chunks."""
        third = len(self.body) // 3
        parts = (self.body[:third], self.body[third : 2 * third], self.body[2 * third :], b"")
        return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def head(*headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    """Return the head of an answer: the status line, Content-Type, and these headers."""
    return "\r\n".join([status, "Content-Type: application/json", *headers, "", ""]).encode()


def _envelope(amount: int) -> bytes:
    rows = [{"currencyCode": "USD", "cash": amount, "buyingPower": None}]
    content = {"balances": rows, "totalCashUsdValue": amount}
    return json.dumps({"status": "ok", "message": "", "content": content}).encode()


def _with_length(body: bytes) -> bytes:
    return head(f"Content-Length: {len(body)}") + body


Step = bytes | Drip | OnePacket | Unencrypted | Endless | Pause | Ending
"""One step of a script. Plain bytes are sent as they are."""
Script = Callable[[Answer], Sequence[Step]]
"""Returns the steps for a request. After the last step, the server waits for the next request."""


class Stage(enum.Enum):
    """When a fault happens, as seen by a client that connects and sends a request."""

    NOT_LISTENING = "connections are refused"
    NOT_ACCEPTING = "connections are never accepted"
    ON_CONNECTION = "as soon as there is a connection, before any TLS"
    ON_FIRST_BYTE = "at a request's first byte"
    AFTER_REQUEST = "after a request"


def _bind_to(port: int) -> socket.socket:
    """Bind a socket to a port that other sockets can share only with the same option.

    This uses SO_REUSEPORT, because few servers set it. Most servers set SO_REUSEADDR: if this used
    that, they could take the port while nobody listens on it.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, _SHARE_PORT_OPTION, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _listen_on(port: int) -> socket.socket:
    listener = _bind_to(port)
    listener.setblocking(False)  # noqa: FBT003 — the standard library's signature
    listener.listen(_BACKLOG)
    return listener


def fill_backlog(port: int) -> list[socket.socket]:
    """Return connections that fill the queue of a listener whose backlog is 0.

    While they are open, the system neither accepts nor refuses a further connection. Such a queue
    holds one connection on Linux. The others are attempts that wait, so that it is filled on a
    system whose queue is a little longer, too.
    """
    fillers: list[socket.socket] = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)  # noqa: FBT003 — the standard library's signature
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    return fillers


class Endpoint:
    """A port that gives right answers, except while a fault is on: then it runs its script.

    Attributes:
        port: The port on 127.0.0.1 at which it listens.
        script_runs: How often the script has run.
        received: All bytes that were read from clients, decrypted. A script at the first byte reads
            no more than that byte, unless it stays silent.
        connections: How many connections have been accepted.
    """

    def __init__(self, loop_thread: LoopThread, script: Script, stage: Stage) -> None:
        self._loop_thread = loop_thread
        self._script = script
        self._stage = stage
        self._is_faulty = False
        self._running_scripts = 0
        self._script_ended = threading.Condition()
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
        self._loop_thread.run(self._start_accepting())
        return self

    def start_fault(self) -> None:
        """Run the script from now on.

        If the fault happens before a request can be sent, the open connections are dropped, so that
        clients must connect again.
        """
        self._loop_thread.run(self._start_fault())

    def end_fault(self) -> None:
        """Give right answers from now on."""
        self._loop_thread.run(self._end_fault())

    def wait_for_scripts(self) -> None:
        """Wait until no script is running; raise TimeoutError if one does not end."""
        with self._script_ended:
            have_ended = self._script_ended.wait_for(self._has_no_running_script, _LONGEST_WAIT)
        if not have_ended:
            raise TimeoutError(f"a script is still running after {_LONGEST_WAIT} s")

    def _has_no_running_script(self) -> bool:
        return self._running_scripts == 0

    def close(self) -> None:
        """Drop every connection and stop listening."""
        self._loop_thread.run(self._close())

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
        if self._stage is Stage.NOT_LISTENING:
            await self._stop_accepting()
            self._listener.close()  # the reservation keeps the port
        elif self._stage is Stage.NOT_ACCEPTING:
            await self._stop_accepting()
            self._listener.listen(0)
            self._fillers.extend(fill_backlog(self.port))
        if self._stage in {Stage.NOT_LISTENING, Stage.NOT_ACCEPTING, Stage.ON_CONNECTION}:
            await self._drop_connections()

    async def _end_fault(self) -> None:
        self._is_faulty = False
        if self._is_closed:
            return
        self._close_fillers()
        if self._stage is Stage.NOT_LISTENING:
            self._listener = _listen_on(self.port)
        elif self._stage is Stage.NOT_ACCEPTING:
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
        except (BlockingIOError, ConnectionError):  # the client has closed the connection already
            return
        connection.setblocking(False)  # noqa: FBT003 — the standard library's signature
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        task = asyncio.ensure_future(self._serve_connection(connection))
        self._connection_tasks.add(task)
        task.add_done_callback(functools.partial(self._forget_task, connection))

    def _forget_task(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._connection_tasks.discard(task)
        if task.cancelled():
            # If it was cancelled before it began, nobody else closes the connection.
            connection.close()

    async def _serve_connection(self, connection: socket.socket) -> None:
        """Serve one connection until the client or the script ends it."""
        starts_with_script = self._is_faulty and self._stage is Stage.ON_CONNECTION
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**20)
        protocol = asyncio.StreamReaderProtocol(reader)
        context: ssl.SSLContext | None = None
        shutdown_timeout: float | None = None
        if self._context and not starts_with_script:
            context = self._context
            shutdown_timeout = _LONGEST_WAIT
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=context,
                ssl_shutdown_timeout=shutdown_timeout,
            )
        except OSError:  # the handshake failed
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._serve_requests(reader, writer, starts_with_script=starts_with_script)
        except asyncio.CancelledError:
            transport.abort()
            raise
        finally:
            writer.close()

    async def _serve_requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        starts_with_script: bool,
    ) -> None:
        """Run the script first if asked to, then answer requests until either side has left."""
        is_open = True
        try:
            if starts_with_script:
                is_open = await self._run_script(Answer(b""), reader, writer)
            while is_open:
                is_open = await self._serve_request(reader, writer)
        except (OSError, EOFError):
            return  # the client has left

    async def _serve_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a request; return True if the connection stays open for another one."""
        request = await reader.readexactly(1)
        self.received += request
        if self._is_faulty and self._stage is Stage.ON_FIRST_BYTE:
            return await self._run_script(Answer(request), reader, writer)
        request += await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", request)
        if length:
            request += await reader.readexactly(int(length[1]))
        self.received += request[1:]
        if self._is_faulty:
            return await self._run_script(Answer(request), reader, writer)
        writer.write(Answer(request).with_length)
        await writer.drain()
        return True

    async def _run_script(
        self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Run the script once; return True if it leaves the connection open."""
        self.script_runs += 1
        with self._script_ended:
            self._running_scripts += 1
        try:
            for step in self._script(answer):
                match step:
                    case Ending.CLOSE:
                        return False
                    case Ending.RESET:
                        raw = _socket_of(writer)
                        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                        writer.transport.abort()
                        return False
                    case Ending.SILENCE:
                        while not reader.at_eof():
                            self.received += await reader.read(2**16)
                    case Pause():
                        await asyncio.sleep(step.seconds)
                    case OnePacket():
                        _write_one_packet(step.pieces, writer)
                    case Unencrypted():
                        _write_unencrypted(step.data, writer)
                    case _:
                        await self._send(step, reader, writer)
        finally:
            with self._script_ended:
                self._running_scripts -= 1
                self._script_ended.notify_all()
        return True

    async def _send(
        self,
        step: bytes | Drip | Endless,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send bytes, in parts if the step asks for that; raise EOFError if the client left."""
        interval = 0.0
        parts: Iterable[bytes]
        if isinstance(step, Drip):
            interval = step.interval
            parts = [bytes([byte]) for byte in step.data]
        elif isinstance(step, Endless):
            interval = step.interval
            parts = itertools.repeat(step.data)
        else:
            parts = [step]
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(interval)
            if reader.at_eof() or writer.is_closing():
                raise EOFError


def _socket_of(writer: asyncio.StreamWriter) -> TransportSocket:
    """Return the socket beneath a connection, which knows nothing of TLS.

    asyncio lets its users set options of that socket, but not write to it.
    """
    raw: TransportSocket = writer.get_extra_info("socket")
    return raw


def _write_one_packet(pieces: Sequence[bytes], writer: asyncio.StreamWriter) -> None:
    raw = _socket_of(writer)
    if _CORK_OPTION is not None:
        raw.setsockopt(socket.IPPROTO_TCP, _CORK_OPTION, 1)
    for piece in pieces:
        writer.write(piece)
    if _CORK_OPTION is not None:
        raw.setsockopt(socket.IPPROTO_TCP, _CORK_OPTION, 0)


def _write_unencrypted(data: bytes, writer: asyncio.StreamWriter) -> None:
    # `writer` would encrypt the data. A duplicate of its socket does not, and can write.
    with _socket_of(writer).dup() as duplicate:
        duplicate.sendall(data)


class LoopThread:
    """An event loop in a background thread, which runs the coroutines of other threads."""

    def __init__(self) -> None:
        # The default event loop of Windows lacks `add_reader`.
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_exception_handler(_report_unexpected_error)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the loop and wait for the thread to end."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, wait for it and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_LONGEST_WAIT)


def _report_unexpected_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Let asyncio log an error of the loop, unless a client has only broken a connection off."""
    if not isinstance(context.get("exception"), ConnectionError | TimeoutError | ssl.SSLError):
        loop.default_exception_handler(context)


def _answer_rightly(answer: Answer) -> Sequence[Step]:
    return [answer.with_length]


class FaultServer:
    """Endpoints on an event loop in a background thread, and the authority of their certificates.

    Attributes:
        authority: Signs the endpoints' certificates.
        client_context: An SSL context for clients, which trusts that authority alone.
    """

    def __init__(self) -> None:
        self._loop_thread = LoopThread()
        self._endpoints: list[Endpoint] = []
        self.authority = trustme.CA()
        self.client_context = ssl.create_default_context()
        self.authority.configure_trust(self.client_context)

    def __enter__(self) -> Self:
        self._loop_thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close_endpoints()
        self._loop_thread.stop()

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
        script: Script = _answer_rightly,
        *,
        stage: Stage = Stage.AFTER_REQUEST,
        tls: bool | ssl.SSLContext = False,
    ) -> Endpoint:
        """Open a port, whose fault is not on yet.

        Args:
            script: The fault. By default, it gives right answers.
            stage: When the fault happens.
            tls: False for plain HTTP, True for TLS with a certificate signed by `authority`, or an
                SSL context to use instead.
        """
        context: ssl.SSLContext | None = None
        if isinstance(tls, ssl.SSLContext):
            context = tls
        elif tls:
            context = self.server_context
        endpoint = Endpoint(self._loop_thread, script, stage).start(context)
        self._endpoints.append(endpoint)
        return endpoint
