"""How the mock server starts, serves many clients and ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from mesh_facade.testing import MockServer
from mesh_facade.testing.answers import Answer
from mesh_facade.testing.http_server import HTTPServer
from tests.stopwatch import Stopwatch
from tests.support import port_for_a_program, threads_begun_since
from tests.testing.support import BODY, KEYS, PATH, PORT_IS_TAKEN


def test_many_clients_are_served_at_once(mesh: MockServer) -> None:
    mesh.answers("a-token", delay=0.2)

    async def post_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(headers=KEYS) as client:
            posts = (client.post(mesh.url + PATH, json=BODY) for _ in range(50))
            return await asyncio.gather(*posts)

    start = time.monotonic()
    answers = asyncio.run(post_all())

    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - start < 50 * 0.2 / 2


def test_it_closes_at_once_with_idle_and_waiting_clients_and_leaves_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = set(threading.enumerate())
    port = port_for_a_program()
    with httpx.Client(headers=KEYS) as client:
        with contextlib.ExitStack() as server:
            mesh = server.enter_context(MockServer(port=port))
            client.post(mesh.url + PATH, json=BODY)
            mesh.fails("a-token", "slow")
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(mesh.url + PATH, json=BODY, headers=KEYS, timeout=0.05)
            with Stopwatch() as watch:
                server.close()
        assert watch.seconds < 1
        assert threads_begun_since(threads) == set()
        with pytest.raises(httpx.ConnectError):
            client.post(f"http://127.0.0.1:{port}{PATH}", json=BODY)
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_it_can_be_entered_again_and_keeps_answers_and_calls() -> None:
    mesh = MockServer()
    mesh.answers("a-token", status=503)
    for _ in range(2):
        with mesh:
            assert httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code == 503
        assert mesh.url == "https://mock-server.invalid"
    assert len(mesh.calls) == 2


def test_a_taken_port_raises_os_error_and_leaves_no_thread(mesh: MockServer) -> None:
    threads = set(threading.enumerate())
    port = httpx.URL(mesh.url).port
    assert port

    with pytest.raises(OSError, match=PORT_IS_TAKEN), MockServer(port=port):
        pass  # pragma: no cover — it cannot be entered

    assert threads_begun_since(threads) == set()


def test_two_hundred_connections_are_open_at_once(mesh: MockServer) -> None:
    url = httpx.URL(mesh.url)
    with contextlib.ExitStack() as stack:
        connections: list[socket.socket] = []
        for _ in range(200):
            connection = socket.create_connection((url.host, url.port), timeout=5)
            connections.append(stack.enter_context(connection))
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        answers = [connection.recv(65536) for connection in connections]

    assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 401 ")] == []
    assert len(mesh.calls) == 200


def test_a_client_that_left_before_it_was_accepted_is_forgotten() -> None:
    server = HTTPServer(lambda _: (Answer(), b""))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)  # noqa: FBT003 — the standard library's signature
        server._accept(listener)

    assert server._serving_tasks == set()


class CountingServer(HTTPServer):
    """Counts how often it tries to accept a connection."""

    def __init__(self) -> None:
        super().__init__(lambda _: (Answer(), b"served"))
        self.tries = 0

    def _accept(self, listener: socket.socket) -> None:
        self.tries += 1
        super()._accept(listener)


@contextlib.contextmanager
def no_free_descriptor() -> Iterator[None]:
    """Let this process open no more files."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def wait_for_tries(server: CountingServer, count: int) -> None:
    limit = time.monotonic() + 5
    while server.tries < count:
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_it_pauses_between_its_tries_to_accept_until_a_descriptor_is_free() -> None:
    server = CountingServer()
    url = httpx.URL(server.start(0))
    try:
        with socket.socket() as connection:
            with no_free_descriptor():
                connection.connect((url.host, url.port))
                wait_for_tries(server, 1)
                began_at = time.monotonic()
                wait_for_tries(server, 3)
                elapsed = time.monotonic() - began_at
            connection.settimeout(5)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            answer = connection.recv(65536)
    finally:
        server.stop()

    assert answer.endswith(b"served")
    assert elapsed > 0.15


def test_it_can_be_stopped_while_no_descriptor_is_free(caplog: pytest.LogCaptureFixture) -> None:
    threads = set(threading.enumerate())
    server = CountingServer()
    url = httpx.URL(server.start(0))
    with socket.socket() as connection, no_free_descriptor():
        connection.connect((url.host, url.port))
        wait_for_tries(server, 1)
        server.stop()

    assert threads_begun_since(threads) == set()
    assert caplog.records == []


def test_it_refuses_to_be_started_twice_and_goes_on_serving() -> None:
    with MockServer() as mesh:
        with pytest.raises(RuntimeError, match="stop it before you start it again"), mesh:
            pass  # pragma: no cover — it cannot be entered
        status = httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code
        url = mesh.url

    assert status == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """An event loop that reports no readable sockets, as the default one on Windows."""

    def add_reader(self, *_: object) -> None:
        raise NotImplementedError


def test_it_serves_where_the_default_event_loop_reports_no_readable_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asyncio.events.new_event_loop", LoopWithoutReaders)

    with MockServer() as mesh:
        assert httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code == 200


def test_it_serves_a_client_in_the_event_loop_that_started_it() -> None:
    async def read() -> int:
        with MockServer() as mesh:
            async with httpx.AsyncClient(headers=KEYS) as client:
                return (await client.post(mesh.url + PATH, json=BODY)).status_code

    assert asyncio.run(read()) == 200


def test_resetting_forgets_answers_and_calls_and_drops_connections() -> None:
    with MockServer() as mesh, httpx.Client(base_url=mesh.url, headers=KEYS) as client:
        mesh.answers("a-token", status=503)
        with client.stream("POST", PATH, json=BODY) as answer:
            answer.read()
            connection = answer.extensions["network_stream"].get_extra_info("socket")
            mesh.reset()
            connection.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert mesh.calls == []
        assert client.post(PATH, json=BODY).status_code == 200


def test_it_ends_without_a_warning_while_clients_still_connect_and_call(
    recwarn: pytest.WarningsRecorder,
) -> None:
    for _ in range(5):
        with MockServer() as mesh:
            url = httpx.URL(mesh.url)
            mesh.answers("a-token", body=b" " * 8_000_000)
            is_over = threading.Event()
            threads = [threading.Thread(target=call_until, args=[is_over, url]) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.05)
        is_over.set()
        for thread in threads:
            thread.join(10)
    gc.collect()

    assert [str(warning.message) for warning in recwarn] == []


def call_until(is_over: threading.Event, url: httpx.URL) -> None:
    while not is_over.is_set():
        with (
            contextlib.suppress(OSError),
            socket.create_connection((url.host, url.port), timeout=5) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            connection.recv(100)
