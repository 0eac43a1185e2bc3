"""When a connection is beyond doubt, and what a fork waits for."""

import asyncio
import inspect
import math
import re
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest

from mesh_facade.engine import forks, pool
from mesh_facade.engine.connection import Connection
from mesh_facade.engine.forks import HandshakeGuard
from mesh_facade.engine.pool import Home
from mesh_facade.engine.task_connection import TaskConnection
from mesh_facade.engine.thread_connection import ThreadConnection
from mesh_facade.engine.waiting import ThreadSlots
from tests.conftest import Mode, Serve
from tests.support import OK, Peer

EMPTY_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


# --- is the answer's last byte the last that came in? -------------------------------------------


def judged(received: bytes) -> bool:
    head = re.split(rb"\n\r?\n", received)[0]
    lines = [line.partition(b": ") for line in head.splitlines()[1:]]
    connection = Connection()
    connection.begin(math.inf, Home(ThreadSlots(1)))
    connection._keep(received)
    connection.check_end_of(
        httpx.Response(200, headers=[(name, value) for name, _, value in lines])
    )
    return connection.is_clean


def framed(*lines: str, body: bytes = b"{}") -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    "received",
    [
        framed("Content-Length: 2"),
        framed("Content-Length: 0", body=b""),
        framed("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    ],
)
def test_a_connection_whose_answer_ended_with_its_last_byte_is_clean(received: bytes) -> None:
    assert judged(received)


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}" + framed("Content-Length: 2"),
        framed("Content-Length: 2", body=b"{}\n"),
        framed("Content-Length: 2", body=b"{"),
        framed("Content-Length: 2", body=b"{}" + framed("Content-Length: 2")),
        framed("Content-Length: 02"),
        framed("Content-Length: 2", "Content-Length: 2"),
        framed("Content-Length: 70000", body=b" " * 70_000),
        framed("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n"),
        framed("Transfer-Encoding: chunked", body=b"0\r\n\r\n\n"),
        framed("Transfer-Encoding: chunked", body=b"0\r\n\r\n" + EMPTY_CHUNKED),
        framed("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"),
        framed("Connection: close"),
    ],
)
def test_bytes_that_do_not_end_with_the_answer_leave_it_in_doubt(received: bytes) -> None:
    assert not judged(received)


# --- it opens once --------------------------------------------------------------------------------


@pytest.mark.parametrize("connection_class", [ThreadConnection, TaskConnection])
def test_a_connection_that_was_closed_says_so_at_once_and_does_not_open_again(
    connection_class: Any, serve: Serve
) -> None:
    server = serve()
    connection = connection_class(httpx.URL(server.url), ssl.create_default_context(), None)

    async def open_it() -> None:
        connection.begin(time.monotonic() + 5, Home(ThreadSlots(1)))
        opening = connection.connect_tcp("127.0.0.1", server.port)
        if inspect.isawaitable(opening):
            await opening

    async def open_and_close_it() -> None:
        await open_it()
        assert not connection.get_extra_info("is_readable")
        connection.close()
        assert connection.get_extra_info("is_readable")
        with pytest.raises(httpcore.ConnectError, match="was closed"):
            await open_it()
        await asyncio.sleep(0)  # asyncio closes then

    asyncio.run(open_and_close_it())


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)
    caller.read()
    monkeypatch.setattr(pool, "KEEP_IDLE", -1.0)

    caller.read()

    assert server.connections == 2


def test_a_large_request_is_written_in_pieces_that_each_heed_the_deadline() -> None:
    written: list[tuple[bytes, float]] = []

    class Stream(httpcore.NetworkStream):
        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            written.append((buffer, timeout or 0))
            time.sleep(0.01)

    url = httpx.URL("https://mesh.example")
    connection = ThreadConnection(url, ssl.create_default_context(), None)
    connection._stream = Stream()
    connection.begin(time.monotonic() + 60, Home(ThreadSlots(1)))
    request = bytes(range(256)) * 1000

    connection.write(b"head")
    connection.write(request, 30.0)
    connection.deadline_at -= 59
    connection.write(request, 30.0)

    pieces, waits = zip(*written, strict=True)
    assert b"".join(pieces).endswith(request)
    assert max(map(len, pieces)) < len(request) / 3
    assert waits[-1] < waits[-2] < 1


def test_what_a_proxy_says_behind_its_answer_is_not_taken_for_the_server_s() -> None:
    async def start_tls() -> None:
        context = ssl.create_default_context()
        connection = TaskConnection(httpx.URL("https://mesh.example"), context, None)
        connection._unread = bytearray(b"HTTP/1.1 200 OK")
        await connection.start_tls(context)

    with pytest.raises(httpcore.ConnectError, match="the proxy sent more"):
        asyncio.run(start_tls())


def test_a_connection_is_not_used_again_where_the_server_says_that_it_will_close_it(
    mode: Mode, serve: Serve
) -> None:
    def say_so(peer: Peer) -> None:
        peer.receive()
        peer.answer(OK, "Connection: close")
        peer.hold()

    server = serve(say_so)
    caller = mode.client(base_url=server.url, max_attempts=1)

    for _ in range(3):
        caller.read()

    assert server.connections == 3


# --- what httpx does not promise ----------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request],
)
def test_the_transports_of_httpx_hand_requests_to_their_pool_and_use_nothing_else(
    method: Any,
) -> None:
    used = set(inspect.getclosurevars(method).unbound)

    assert "_pool" in used
    assert not {name for name in used if name.startswith("_")} - {"_pool"}


def test_what_patches_httpx_s_transports_sees_our_calls(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[httpx.URL] = []

    def answer(_: object, request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, content=OK)

    async def answer_async(_: object, request: httpx.Request) -> httpx.Response:
        return answer(_, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer_async)
    caller = mode.client(base_url="https://mesh.example")

    for _ in range(2):
        caller.read()

    assert [url.host for url in seen] == ["mesh.example"] * 2


# --- a fork and the handshakes of other threads -------------------------------------------------


def aside(run: Callable[[], object]) -> threading.Event:
    """Run something in a thread of its own; return what tells that it is done."""
    done = threading.Event()

    def run_and_tell() -> None:
        run()
        done.set()

    threading.Thread(target=run_and_tell).start()
    return done


def fork(handshakes: HandshakeGuard) -> None:
    handshakes.before_fork()
    handshakes.after_fork_in_parent()


def shake(handshakes: HandshakeGuard, within: Callable[[], object] = lambda: None) -> None:
    with handshakes:
        within()


def test_a_fork_waits_for_the_handshakes_under_way() -> None:
    handshakes = HandshakeGuard()
    with handshakes:
        with handshakes:
            held = aside(lambda: fork(handshakes))
        assert not held.wait(0.05)

    assert held.wait(5)


def test_a_fork_does_not_wait_for_handshakes_of_its_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "LONGEST_WAIT", 60)
    handshakes = HandshakeGuard()

    assert aside(lambda: shake(handshakes, lambda: fork(handshakes))).wait(5)


def test_a_child_knows_nothing_of_the_handshakes_of_its_parent() -> None:
    handshakes = HandshakeGuard()
    with handshakes:
        handshakes.after_fork_in_child()
        assert aside(lambda: fork(handshakes)).wait(5)

    assert aside(lambda: fork(handshakes)).wait(5)


def test_a_handshake_that_fails_is_over() -> None:
    handshakes = HandshakeGuard()
    with pytest.raises(OSError, match="cut off"), handshakes:
        raise OSError("cut off")

    assert aside(lambda: fork(handshakes)).wait(5)


def test_a_fork_waits_for_no_handshake_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "LONGEST_WAIT", 0.01)
    handshakes = HandshakeGuard()
    with handshakes:
        assert aside(lambda: fork(handshakes)).wait(5)


def test_no_handshake_begins_while_a_fork_is_made() -> None:
    handshakes = HandshakeGuard()
    handshakes.before_fork()
    begun = aside(lambda: shake(handshakes))
    assert not begun.wait(0.05)

    handshakes.after_fork_in_parent()
    assert begun.wait(5)
