"""Connections: when they are used again, and how requests are written."""

from __future__ import annotations

import asyncio
import errno
import inspect
import math
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar, cast

import httpcore
import httpx
import pytest

from mesh_facade import AsyncMeshClient, MeshError
from mesh_facade.engine.pool import Home
from mesh_facade.engine.slots import ThreadSlots
from mesh_facade.engine.task_connection import TaskConnection
from mesh_facade.engine.thread_connection import ThreadConnection
from tests.conftest import Clock, Mode, Serve
from tests.engine.support import CHUNKED
from tests.stopwatch import Stopwatch
from tests.support import KEYS, OK, TOKEN, Peer, cash_body, message

T = TypeVar("T")


async def finish(step: Awaitable[T] | T) -> T:
    """Await a step of a connection for tasks; a connection for threads has finished it already."""
    if inspect.isawaitable(step):
        return await step
    return step


def test_consecutive_calls_use_one_connection(mode: Mode, serve: Serve) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)

    for _ in range(5):
        caller.read()
    caller.with_options(timeout=5).read()

    assert (server.connections, len(server.requests)) == (1, 6)


def test_connection_is_used_again_after_a_complete_error_answer(mode: Mode, serve: Serve) -> None:
    def refuse_then_answer(peer: Peer) -> None:
        peer.receive()
        peer.answer(b"<html>", status=403)
        peer.answer_all()

    server = serve(refuse_then_answer)
    caller = mode.client(base_url=server.url)

    with pytest.raises(MeshError):
        caller.read()
    assert caller.read()
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "connections"),
    {
        "by length": (message(), 1),
        "by chunks": (CHUNKED % (len(OK), OK, b""), 1),
        "by chunks with trailers": (CHUNKED % (len(OK), OK, b"A: b\r\n"), 3),
        "announced closing": (message(OK, "Connection: close"), 3),
        "after an interim answer": (b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + message(), 3),
        "with another answer behind it": (message() + message(cash_body("666")), 3),
        "with a stray line behind it": (message() + b"\r\n", 3),
        "by chunks with another answer": (CHUNKED % (len(OK), OK, b"") + message(), 3),
    }.values(),
    ids=str,
)
def test_connection_is_kept_only_if_its_last_byte_ended_the_answer(
    mode: Mode, serve: Serve, answer: bytes, connections: int
) -> None:
    def answer_all(peer: Peer) -> None:
        while True:
            peer.receive()
            peer.send(answer)

    server = serve(answer_all)
    caller = mode.client(base_url=server.url)

    for _ in range(3):
        assert str(caller.read().cash("USD")) == "158.5"

    assert server.connections == connections


def test_answer_that_ends_with_the_connection_is_read(mode: Mode, serve: Serve) -> None:
    def answer_and_close(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + OK)

    server = serve(answer_and_close)
    caller = mode.client(base_url=server.url)

    assert caller.read() == caller.read()
    assert server.connections == 2


def test_unsolicited_answer_is_never_given_to_the_next_call(mode: Mode, serve: Serve) -> None:
    is_asked_for = threading.Event()
    is_sent = threading.Event()

    def answer_twice(peer: Peer) -> None:
        peer.receive()
        peer.answer(cash_body(str(peer.number)))
        is_asked_for.wait(5)
        peer.answer(cash_body("666"))
        is_sent.set()
        peer.answer_all()

    server = serve(answer_twice)
    caller = mode.client(base_url=server.url)

    assert caller.read().cash("USD") == 0
    is_asked_for.set()
    is_sent.wait(5)

    assert caller.read().cash("USD") == 1
    assert server.connections == 2


def test_answer_with_more_framing_than_is_recorded_closes_its_connection(
    mode: Mode, serve: Serve
) -> None:
    empty_line_chunk = b"1;" + b"x" * 60_000 + b"\r\n \r\n"

    def answer(peer: Peer) -> None:
        while True:
            peer.receive()
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            peer.send(head + empty_line_chunk * 40 + b"%x\r\n%b\r\n0\r\n\r\n" % (len(OK), OK))

    server = serve(answer)
    caller = mode.client(base_url=server.url)

    assert caller.read() == caller.read()
    assert server.connections == 2


def test_request_reaches_the_server_in_one_piece(mode: Mode, serve: Serve) -> None:
    pieces: list[bytes] = []

    def record_and_answer(peer: Peer) -> None:
        while True:
            pieces.append(peer._file.peek())
            peer.receive()
            peer.answer()

    server = serve(record_and_answer)
    caller = mode.client(base_url=server.url)
    caller.read()
    caller.read()

    assert pieces[:2] == server.requests
    assert all(piece.endswith(b"}") for piece in pieces[:2])


@pytest.mark.parametrize("connection_class", [ThreadConnection, TaskConnection])
def test_closed_connection_is_readable_and_does_not_open_again(
    connection_class: type[ThreadConnection | TaskConnection], serve: Serve
) -> None:
    server = serve()
    connection = connection_class(httpx.URL(server.url), ssl.create_default_context(), None)

    async def open_it() -> None:
        connection.lend_to_call(time.monotonic() + 5, Home(ThreadSlots(1)))
        await finish(connection.connect_tcp("127.0.0.1", server.port))

    async def open_and_close_it() -> None:
        await open_it()
        assert not connection.get_extra_info("is_readable")
        connection.close()
        assert connection.get_extra_info("is_readable")
        with pytest.raises(httpcore.ConnectError, match="was closed"):
            await open_it()
        await asyncio.sleep(0)  # asyncio closes then

    asyncio.run(open_and_close_it())


def test_large_request_is_written_in_pieces_within_the_deadline(clock: Clock) -> None:
    written: list[tuple[bytes, float]] = []

    class Stream(httpcore.NetworkStream):
        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            written.append((buffer, timeout or 0))
            clock.now += 0.001

    url = httpx.URL("https://mesh.example")
    connection = ThreadConnection(url, ssl.create_default_context(), None)
    connection._stream = Stream()
    connection.lend_to_call(clock.now + 60, Home(ThreadSlots(1)))
    request = bytes(range(256)) * 1000

    connection.write(b"head")
    connection.write(request, 30.0)
    connection.deadline_at -= 59
    connection.write(request, 30.0)

    pieces = [piece for piece, _ in written]
    waits = [wait for _, wait in written]
    assert b"".join(pieces).endswith(request)
    assert max(map(len, pieces)) < len(request) / 3
    assert waits[-1] < waits[-2] < 1


def test_write_to_a_server_that_reads_slowly_ends_at_the_deadline() -> None:
    def read_slowly() -> None:
        with listener.accept()[0] as connected:
            while not is_over.wait(0.1):
                connected.recv(4096)

    is_over = threading.Event()
    connection = ThreadConnection(httpx.URL("http://127.0.0.1"), ssl.create_default_context(), None)
    connection.lend_to_call(time.monotonic() + 0.3, Home(ThreadSlots(1)))
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as executor:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        executor.submit(read_slowly)
        connection.connect_tcp("127.0.0.1", listener.getsockname()[1])
        connected = cast("socket.socket", connection.get_extra_info("socket"))
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)

        with Stopwatch() as watch, pytest.raises(httpcore.TimeoutException):
            connection.write(bytes(400_000))

        is_over.set()
        connection.close()
    assert watch.seconds < 0.8


@pytest.mark.parametrize("connection_class", [ThreadConnection, TaskConnection])
def test_reset_between_two_reads_is_not_taken_for_the_end_of_the_answer(
    connection_class: type[ThreadConnection | TaskConnection], serve: Serve
) -> None:
    may_reset = threading.Event()
    has_reset = threading.Event()

    def send_and_reset(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n{")
        may_reset.wait(5)
        peer.reset()
        has_reset.set()

    async def read_around_the_reset() -> bytes:
        connection.lend_to_call(time.monotonic() + 5, Home(ThreadSlots(1)))
        await finish(connection.connect_tcp("127.0.0.1", server.port))
        received = await finish(connection.read(1))
        may_reset.set()
        has_reset.wait(5)
        for _ in range(5):  # the event loop sees the reset while no task reads
            await asyncio.sleep(0)
        received += await finish(connection.read(65_536))
        with pytest.raises(httpcore.ReadError):
            await finish(connection.read(65_536))
        connection.close()
        return received

    server = serve(send_and_reset)
    connection = connection_class(httpx.URL(server.url), ssl.create_default_context(), None)

    assert asyncio.run(read_around_the_reset()) == b"HTTP/1.1 200 OK\r\n\r\n{"


class PausedTransport(asyncio.Transport):
    """Notes whether asyncio was asked to stop reading."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


def test_no_more_is_read_from_the_socket_while_a_task_does_not_read() -> None:
    connection = TaskConnection(httpx.URL("http://127.0.0.1"), ssl.create_default_context(), None)
    stream = connection._socket_stream
    transport = PausedTransport()
    stream.connection_made(transport)

    received = 0
    while not transport.is_paused and received < 1_000_000:
        size = len(stream.get_buffer(-1))
        stream.buffer_updated(size)
        received += size
    was_paused = transport.is_paused
    data = asyncio.run(connection.read(received, 5))

    assert was_paused
    assert received < 200_000
    assert len(data) == received
    assert not transport.is_paused


def test_timeout_that_the_system_reports_is_no_timeout_of_ours() -> None:
    connection = TaskConnection(httpx.URL("http://127.0.0.1"), ssl.create_default_context(), None)
    error = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
    connection._socket_stream.connection_lost(error)

    with pytest.raises(httpcore.ReadError) as caught:
        asyncio.run(connection.read(1, 5))

    assert caught.value.__cause__ is error


def test_system_timeout_of_a_connect_is_no_timeout_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    async def connect() -> None:
        async def create_connection(*_: object) -> None:
            raise error

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "create_connection", create_connection)
        await TaskConnection(url, ssl.create_default_context(), None).connect_tcp("127.0.0.1", 1, 5)

    url = httpx.URL("http://127.0.0.1")

    with pytest.raises(httpcore.ConnectError) as caught:
        asyncio.run(connect())

    assert caught.value.__cause__ is error


def test_system_timeout_of_a_connect_in_a_thread_is_no_timeout_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    def create_connection(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(socket, "create_connection", create_connection)
    connection = ThreadConnection(httpx.URL("http://127.0.0.1"), ssl.create_default_context(), None)

    with pytest.raises(httpcore.ConnectError) as caught:
        connection.connect_tcp("127.0.0.1", 1, 5)

    assert caught.value.__cause__ is error
    assert connection.cause_of_failed_opening is error


class _LostSocket:
    """A socket whose peer the system has given up."""

    error = TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    def setsockopt(self, *_: object) -> None:
        pass

    def settimeout(self, _: float | None) -> None:
        pass

    def recv(self, _: int) -> bytes:
        raise self.error

    def send(self, _: bytes) -> int:
        raise self.error

    def close(self) -> None:
        pass


class _LostHandshake:
    """A context of TLS whose handshake the system gives up."""

    def wrap_socket(self, *_: object, **__: object) -> NoReturn:
        raise _LostSocket.error


@pytest.mark.parametrize(
    ("use", "error_class"),
    [
        (lambda connection: connection.read_raw(1, 5), httpcore.ReadError),
        (lambda connection: connection.write_raw(b"head", 5), httpcore.WriteError),
        (
            lambda connection: connection.start_tls(cast("ssl.SSLContext", _LostHandshake())),
            httpcore.ConnectError,
        ),
    ],
    ids=["read", "write", "handshake"],
)
def test_system_timeout_of_an_open_connection_in_a_thread_is_no_timeout_of_ours(
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[ThreadConnection], object],
    error_class: type[httpcore.NetworkError],
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: _LostSocket())
    connection = ThreadConnection(httpx.URL("http://127.0.0.1"), ssl.create_default_context(), None)
    connection.connect_tcp("127.0.0.1", 1, 5)

    with pytest.raises(error_class) as caught:
        use(connection)

    assert caught.value.__cause__ is _LostSocket.error


def test_write_on_a_connection_that_its_event_loop_has_closed_raises_write_error() -> None:
    class ClosedTransport(asyncio.Transport):
        """As uvloop's transports do."""

        def write(self, data: object) -> None:
            del data
            raise RuntimeError("the handler is closed")

    connection = TaskConnection(httpx.URL("http://127.0.0.1"), ssl.create_default_context(), None)
    connection._socket_stream.connection_made(ClosedTransport())

    with pytest.raises(httpcore.WriteError):
        asyncio.run(connection.write(b"head and body"))


def test_bytes_that_come_just_before_a_request_are_not_taken_for_its_answer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()

    async def call_twice() -> list[str]:
        async with AsyncMeshClient(**KEYS, base_url=server.url) as mesh:
            await mesh.get_account_balance(TOKEN, "coinbase")
            [home] = mesh._runner.engine.pool._homes.values()
            connection = home.take()
            assert isinstance(connection, TaskConnection)
            home.put(connection)
            lend_to_call = connection.lend_to_call

            def receive_a_stray_answer(deadline_at: float, home: Home) -> None:
                lend_to_call(deadline_at, home)
                connection._socket_stream.unread += message(cash_body("666"))

            monkeypatch.setattr(connection, "lend_to_call", receive_a_stray_answer)
            balance = await mesh.get_account_balance(TOKEN, "coinbase")
            return [str(balance["USD"].cash)]

    assert asyncio.run(call_twice()) == ["158.5"]
    assert server.connections == 2


def test_idle_connection_that_asyncio_is_closing_is_not_used_again(serve: Serve) -> None:
    server = serve()
    connection = TaskConnection(httpx.URL(server.url), ssl.create_default_context(), None)

    async def connect_and_close() -> list[bool]:
        connection.lend_to_call(time.monotonic() + 5, Home(ThreadSlots(1)))
        await connection.connect_tcp("127.0.0.1", server.port)
        before = connection.has_unread_data()
        connection._socket_stream.require_transport().close()
        return [before, connection.has_unread_data()]

    assert asyncio.run(connect_and_close()) == [False, True]


def test_unencrypted_bytes_before_the_tls_handshake_raise_connect_error() -> None:
    async def start_tls() -> None:
        context = ssl.create_default_context()
        connection = TaskConnection(httpx.URL("https://mesh.example"), context, None)
        connection._socket_stream.unread += b"HTTP/1.1 200 OK"
        await connection.start_tls(context)

    with pytest.raises(httpcore.ConnectError, match="unencrypted bytes arrived"):
        asyncio.run(start_tls())


def test_connection_that_the_server_announced_to_close_is_not_used_again(
    mode: Mode, serve: Serve
) -> None:
    def announce_closing(peer: Peer) -> None:
        peer.receive()
        peer.answer(OK, "Connection: close")
        peer.hold()

    server = serve(announce_closing)
    caller = mode.client(base_url=server.url, max_attempts=1)

    for _ in range(3):
        caller.read()

    assert server.connections == 3


@pytest.mark.parametrize("connection_class", [ThreadConnection, TaskConnection])
def test_connection_that_was_never_opened_raises_connect_error(
    connection_class: type[ThreadConnection | TaskConnection],
) -> None:
    url = httpx.URL("https://mesh.example")
    connection = connection_class(url, ssl.create_default_context(), None)

    async def write() -> None:
        await finish(connection.write(b"head and body"))

    with pytest.raises(httpcore.ConnectError, match="is not open"):
        asyncio.run(write())


class BrokenStream(httpcore.NetworkStream):
    """Takes no bytes."""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del buffer, timeout
        raise httpcore.WriteError("broken pipe")


def test_answer_is_not_read_after_a_failed_write_on_a_used_connection() -> None:
    connection = ThreadConnection(httpx.URL("http://127.0.0.1"), ssl.create_default_context(), None)
    connection._stream = BrokenStream()
    connection.lend_to_call(math.inf, Home(ThreadSlots(1)))

    with pytest.raises(httpcore.WriteError):  # a server may answer before it has read all
        connection.write(b"POST / HTTP/1.1\r\n\r\n{}")
    connection.has_begun_opening = True
    connection.lend_to_call(math.inf, Home(ThreadSlots(1)))
    with pytest.raises(httpcore.ReadError, match="could not be sent"):
        connection.write(b"POST / HTTP/1.1\r\n\r\n{}")
