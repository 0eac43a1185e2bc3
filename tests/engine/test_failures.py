"""Failures of the network become connection errors."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, NoReturn

import pytest

from mesh_facade import MeshConnectionError
from tests.engine.support import CHUNKED
from tests.support import OK, Peer, message, refusing_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Clock, Mode, Serve


def test_error_that_the_caller_is_handling_does_not_change_the_failure(mode: Mode) -> None:
    caller = mode.client(base_url="http://127.0.0.1:1", max_attempts=1)

    def read_while_handling_an_error() -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(caller.read)
            raise ssl.SSLError(1, "of the caller's own")

    with pytest.raises(MeshConnectionError) as caught:
        read_while_handling_an_error()

    assert type(caught.value) is MeshConnectionError
    assert "own" not in str(caught.value)


def test_refused_connection_raises_connection_error(mode: Mode) -> None:
    with refusing_port() as port, pytest.raises(MeshConnectionError) as caught:
        mode.client(base_url=f"http://127.0.0.1:{port}", max_attempts=1).read()

    assert type(caught.value) is MeshConnectionError


def test_unknown_host_raises_connection_error(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    caller = mode.client(base_url="https://mesh.invalid", max_attempts=1)

    with pytest.raises(MeshConnectionError, match="Name or service not known") as caught:
        caller.read()

    assert type(caught.value) is MeshConnectionError


BROKEN_ANSWERS: dict[str, tuple[bytes, Callable[[Peer], None]]] = {
    "closed before an answer": (b"", Peer.close),
    "reset before an answer": (b"", Peer.reset),
    "closed within the head": (message()[:20], Peer.close),
    "closed within the body": (message()[:-5], Peer.close),
    "reset within the body": (message()[:-5], Peer.reset),
    "closed within a chunk": ((CHUNKED % (99, OK, b""))[:80], Peer.close),
    "garbage": (b"\0\1\2\3\r\n\r\n", Peer.close),
    "another protocol": (b"SSH-2.0-OpenSSH\r\n", Peer.close),
    "a body that is no chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        Peer.close,
    ),
}


@pytest.mark.parametrize(("data", "end"), BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
def test_broken_answer_is_retried_and_then_raises_connection_error(
    mode: Mode, serve: Serve, clock: Clock, data: bytes, end: Callable[[Peer], None]
) -> None:
    def answer_third(peer: Peer) -> None:
        peer.receive()
        if peer.number % 3 < 2:
            peer.send(data)
            end(peer)
        else:
            peer.answer()

    server = serve(answer_third)
    caller = mode.client(base_url=server.url)

    assert str(caller.read().cash("USD")) == "158.5"
    with pytest.raises(MeshConnectionError) as caught:
        caller.with_options(max_attempts=2).read()

    assert type(caught.value) is MeshConnectionError
    assert (len(server.requests), len(clock.pauses)) == (5, 3)
