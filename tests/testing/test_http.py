"""HTTP as the mock server speaks it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mesh_facade.testing import MockServer
from mesh_facade.testing.answers import Answer
from mesh_facade.testing.http_server import HTTPServer
from tests.testing.support import BODY, KEYS, PATH, Either


def test_a_connection_is_kept_for_many_requests(mesh: MockServer) -> None:
    body = json.dumps(BODY)
    lines = [f"POST {PATH} HTTP/1.1", "Host: here", f"content-length:{len(body)}"]
    lines += ["Content-Type: application/json", *(f"{n}:  {v} " for n, v in KEYS.items()), ""]
    request = "\r\n".join([*lines, body]).encode()

    with socket.create_connection(("127.0.0.1", httpx.URL(mesh.url).port)) as connection:
        for _ in range(2):
            connection.sendall(request[:50])
            connection.sendall(request[50:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(mesh.calls) == 2


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # without Host
        (b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: br\r\n\r\n", 501),
        (b"GET http://here:port/ HTTP/1.1\r\nHost: here\r\n\r\n", 400),
    ],
)
def test_malformed_http_is_answered_with_its_status_and_ends_only_its_own_connection(
    mesh: MockServer, caplog: pytest.LogCaptureFixture, sent: bytes, status: int
) -> None:
    with connect(mesh) as connection:
        connection.sendall(sent)
        answer = read_to_end(connection)

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in answer.lower()
    assert httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code == 200
    assert caplog.records == []


def test_a_malformed_head_request_is_answered_without_a_body(
    mesh: MockServer, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(mesh) as connection:
        connection.sendall(b"HEAD http://here:port/ HTTP/1.1\r\nHost: here\r\n\r\n")
        answer = read_to_end(connection)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\n")
    assert caplog.records == []


def test_dropping_connections_drops_those_that_wait_to_be_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths: list[str] = []
    are_dropped = threading.Event()

    def drop_connections() -> None:
        server.drop_connections()
        are_dropped.set()

    with contextlib.ExitStack() as stack:

        def let_others_wait(request: httpx.Request) -> tuple[Answer, bytes]:
            """Keep the event loop busy until others wait, and the connections are to be dropped."""
            paths.append(request.url.path)
            if request.url.path == "/first":
                for _ in range(5):
                    request_path(b"/waiting")
                drop_connections_next()
            return Answer(), b""

        def request_path(path: bytes) -> None:
            connection = socket.create_connection(("127.0.0.1", httpx.URL(url).port))
            stack.enter_context(connection)
            connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: here\r\n\r\n")

        def drop_connections_next() -> None:
            loop = asyncio.get_running_loop()
            call_soon_threadsafe = loop.call_soon_threadsafe
            is_scheduled = threading.Event()

            def schedule(*arguments: Any, **options: Any) -> asyncio.Handle:
                handle = call_soon_threadsafe(*arguments, **options)
                is_scheduled.set()
                return handle

            monkeypatch.setattr(loop, "call_soon_threadsafe", schedule)
            thread = threading.Thread(target=drop_connections)
            stack.callback(thread.join)
            thread.start()
            assert is_scheduled.wait(10)

        server = HTTPServer(let_others_wait)
        url = server.start(0)
        stack.callback(server.stop)
        request_path(b"/first")
        assert are_dropped.wait(10)

        assert httpx.get(url + "/after").status_code == 200
        assert paths == ["/first", "/after"]


def test_a_refused_client_that_stays_connected_is_disconnected(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh_facade.testing.http_server._DRAIN_SECONDS", 0.05)

    with connect(mesh) as connection:
        connection.sendall(b"hello\r\n\r\n")
        answer = read_to_end(connection)
        with pytest.raises(ConnectionError):
            send_for_five_seconds(connection)

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_chunked_request_is_read(mesh: MockServer) -> None:
    def chunks() -> Iterator[bytes]:
        for byte in json.dumps(BODY).encode():
            yield bytes([byte])

    headers = {**KEYS, "Content-Type": "application/json"}

    answer = httpx.post(mesh.url + PATH, content=chunks(), headers=headers)

    assert answer.status_code == 200
    (call,) = mesh.calls
    assert call.fields == BODY
    assert call.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in call.headers


def test_a_client_that_expects_100_continue_gets_it_before_it_sends_the_body(
    mesh: MockServer,
) -> None:
    head, body = request("Expect: 100-continue")

    with connect(mesh) as connection:
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 \r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_pipelined_requests_are_answered_in_order(mesh: MockServer) -> None:
    mesh.fails("a-token", "locked", times=1)
    mesh.fails("a-token", "conflict", times=1)
    one = b"".join(request())
    last = b"".join(request("Connection: close"))

    with connect(mesh) as connection:
        connection.sendall(one + one + last)
        answers = read_to_end(connection)

    statuses = re.findall(rb"HTTP/1.1 (\d+)", answers)
    assert statuses == [b"409", b"423", b"200"]


def test_a_request_of_http_1_0_is_answered_and_its_connection_closed(mesh: MockServer) -> None:
    head, body = request(version="HTTP/1.0")

    with connect(mesh) as connection:
        connection.sendall(head + body)
        answer = read_to_end(connection)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer


def test_a_request_with_a_whole_url_is_answered_by_its_path(mesh: MockServer) -> None:
    head, body = request(target=f"http://mesh.example{PATH}?a=1")

    with connect(mesh) as connection:
        connection.sendall(head + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")

    assert [call.path for call in mesh.calls] == [PATH]


def test_an_answer_to_head_has_no_body(mesh: MockServer) -> None:
    with httpx.Client(headers=KEYS) as client:
        answers = [client.head(mesh.url + PATH) for _ in range(2)]

    assert [(answer.status_code, answer.content) for answer in answers] == [(404, b"")] * 2


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_may_not_have_a_body_has_none(either: Either, status: int) -> None:
    mesh, client = either
    mesh.answers("a-token", body=b"not sent", status=status)

    answers = [client.post(PATH, json=BODY) for _ in range(2)]

    assert [(answer.status_code, answer.content) for answer in answers] == [(status, b"")] * 2


def test_an_answer_that_drips_arrives_whole() -> None:
    server = HTTPServer(lambda _: (Answer(byte_interval=0.01), b"drops"))
    url = server.start(0)
    try:
        assert httpx.get(url).content == b"drops"
    finally:
        server.stop()


def test_a_client_that_leaves_in_the_middle_of_a_request_does_no_harm(
    mesh: MockServer, caplog: pytest.LogCaptureFixture
) -> None:
    head, _ = request()
    with connect(mesh) as connection:
        connection.sendall(head)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code == 200
    assert len(mesh.calls) == 1
    assert caplog.records == []


def connect(mesh: MockServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", httpx.URL(mesh.url).port), timeout=5)


def send_for_five_seconds(connection: socket.socket) -> None:
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        connection.sendall(b"more")
        time.sleep(0.01)


def read_to_end(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as file:
        return file.read()


def request(*lines: str, target: str = PATH, version: str = "HTTP/1.1") -> tuple[bytes, bytes]:
    """Return the head and the body of a request that is accepted."""
    body = json.dumps(BODY).encode()
    keys = [f"{name}: {value}" for name, value in KEYS.items()]
    head = [
        f"POST {target} {version}",
        "Host: here",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        *keys,
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode(), body
