"""Timeouts and the deadline of a call."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from mesh_facade import AsyncMeshClient, MeshTimeoutError
from mesh_facade.engine.waiting import StopSignal
from tests.engine.support import HEAD_OF_LONG_ANSWER
from tests.stopwatch import Stopwatch
from tests.support import CLIENT_SECRET, KEYS, OK, TOKEN, Peer, Script, response, silent_port

if TYPE_CHECKING:
    from mesh_facade.credentials import ClientSecret
    from tests.conftest import Clock, Mode, Serve


def test_silent_server_raises_timeout_error_after_the_timeout(mode: Mode, serve: Serve) -> None:
    server = serve(lambda peer: (peer.receive(), peer.hold()))

    with pytest.raises(MeshTimeoutError, match=r"within the timeout of 0\.05 s \(ReadTimeout\)"):
        mode.client(base_url=server.url, timeout=0.05, max_attempts=1).read()
    assert len(server.requests) == 1


DRIPPED_ANSWERS: dict[str, tuple[bytes, bytes]] = {
    "head": (b"", HEAD_OF_LONG_ANSWER * 99),
    "body": (HEAD_OF_LONG_ANSWER + b"\r\n", b" " * 9999),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 999),
    "interim answers": (b"", b"HTTP/1.1 103 Early\r\n\r\n" * 999),
    "end of connection": (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 9999),
}


@pytest.mark.parametrize(("start", "drip"), DRIPPED_ANSWERS.values(), ids=DRIPPED_ANSWERS)
def test_dripping_answer_ends_at_the_deadline(
    mode: Mode, serve: Serve, start: bytes, drip: bytes
) -> None:
    def answer(peer: Peer) -> None:
        peer.receive()
        peer.send(start)
        peer.drip(drip)

    server = serve(answer)
    caller = mode.client(base_url=server.url, deadline=0.25)

    match = r"within the deadline of 0\.25 s"
    with Stopwatch() as watch, pytest.raises(MeshTimeoutError, match=match) as caught:
        caller.read()

    assert watch.elapsed > 0.2
    assert watch.seconds < 0.5
    assert caught.value.attempts == 1
    assert len(server.requests) == 1


def test_dripping_answer_on_a_kept_connection_ends_at_the_deadline(
    mode: Mode, serve: Serve
) -> None:
    def answer(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()
        peer.drip(HEAD_OF_LONG_ANSWER * 99)

    server = serve(answer)
    caller = mode.client(base_url=server.url)
    caller.read()

    with Stopwatch() as watch, pytest.raises(MeshTimeoutError):
        caller.with_options(deadline=0.3).read()

    assert watch.seconds < 0.55
    assert server.connections == 1


def test_connecting_to_an_unresponsive_port_ends_at_the_deadline(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_port() as port:

        def look_up(host: object, *_: object, **__: object) -> list[tuple[object, ...]]:
            """Find four addresses of the name, which are tried in turn, and one of an address."""
            found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            return [found] * (4 if host == "localhost" else 1)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        caller = mode.client(base_url=f"http://localhost:{port}", deadline=0.25, max_attempts=1)

        with Stopwatch() as watch, pytest.raises(MeshTimeoutError):
            caller.read()

        assert watch.seconds < 0.65


def test_slow_host_lookup_never_blocks_the_event_loop(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    is_over = threading.Event()

    def look_up(*_: object, **__: object) -> list[tuple[object, ...]]:
        threads.append(threading.get_ident())
        if threading.get_ident() != threading.main_thread().ident:
            is_over.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    async def call() -> None:
        async with AsyncMeshClient(**KEYS, base_url=f"http://localhost:{server.port}") as mesh:
            with pytest.raises(MeshTimeoutError):
                await mesh.with_options(deadline=0.2).get_account_balance(TOKEN, "coinbase")
        is_over.set()

    server = serve()
    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    with Stopwatch() as watch:
        asyncio.run(call())

    assert watch.seconds < 0.45
    assert threading.main_thread().ident not in threads


def test_secret_function_that_outlasts_the_deadline_is_named(mode: Mode, clock: Clock) -> None:
    def find_secret_slowly() -> str:
        clock.now += 31
        return "client-secret"

    script = Script()
    caller = mode.client(client_secret=find_secret_slowly, deadline=30, transport=script)

    match = r"^no client_secret within the deadline of 30 s$"
    with pytest.raises(MeshTimeoutError, match=match) as caught:
        caller.read()

    assert caught.value.attempts == 0
    assert script.requests == []


@pytest.mark.parametrize("secret", [CLIENT_SECRET, lambda: CLIENT_SECRET], ids=["text", "function"])
def test_pause_that_outlasts_the_deadline_is_told_as_a_missing_answer(
    mode: Mode, clock: Clock, monkeypatch: pytest.MonkeyPatch, secret: ClientSecret
) -> None:
    def wait_too_long(signal: StopSignal, seconds: float) -> bool:
        clock.sleep(seconds + 2)
        return signal.is_set()

    async def wait_too_long_in_task(signal: StopSignal, seconds: float) -> bool:
        return wait_too_long(signal, seconds)

    monkeypatch.setattr(StopSignal, "wait", wait_too_long)
    monkeypatch.setattr(StopSignal, "wait_in_task", wait_too_long_in_task)
    script = Script(response(503, b"", {"Retry-After": "29"}), OK)

    match = r"^no answer within the deadline of 30 s$"
    with pytest.raises(MeshTimeoutError, match=match) as caught:
        mode.client(deadline=30, transport=script, client_secret=secret).read()

    assert caught.value.attempts == 1
