"""When a connection is beyond doubt, where no server can be made to leave it in doubt at will."""

import ssl
import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from mesh_facade import _pool
from mesh_facade._pool import Connection, _Handshakes, _Stack

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def judged(tls: object, received: bytes = ANSWER) -> bool:
    connection = Connection(None, _Stack(None))
    connection.stream = SimpleNamespace(get_extra_info=lambda _: tls)
    connection.received += received
    connection.judge(httpx.Response(200, headers={"Content-Length": "2"}))
    return connection.is_clean


def tls_over(incoming: ssl.MemoryBIO) -> ssl.SSLObject:
    context = ssl.create_default_context()
    return context.wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="localhost")


@pytest.mark.parametrize("tls", [None, "a socket's TLS, which reads ahead no further"])
def test_a_connection_whose_answer_ended_with_its_last_byte_is_clean(tls: Any) -> None:
    assert judged(tls)


def test_tls_in_memory_that_holds_nothing_back_is_clean() -> None:
    assert judged(tls_over(ssl.MemoryBIO()))


def test_tls_in_memory_that_was_ended_is_in_doubt() -> None:
    incoming = ssl.MemoryBIO()
    incoming.write_eof()
    assert not judged(tls_over(incoming))


@pytest.mark.parametrize("received", [b"", ANSWER + b"\n", ANSWER[:-1], ANSWER + b" " * 33_000])
def test_bytes_that_do_not_end_with_the_answer_leave_it_in_doubt(received: bytes) -> None:
    assert not judged(None, received)


# --- a fork and the handshakes of other threads -------------------------------------------------


def hold_aside(handshakes: _Handshakes) -> threading.Event:
    held = threading.Event()

    def hold() -> None:
        handshakes.hold()
        handshakes.go_on()
        held.set()

    threading.Thread(target=hold).start()
    return held


def test_a_fork_waits_for_the_handshakes_under_way() -> None:
    handshakes = _Handshakes()
    handshakes.begin()
    handshakes.begin()
    held = hold_aside(handshakes)

    handshakes.end()
    assert not held.wait(0.05)

    handshakes.end()
    assert held.wait(5)


def test_a_fork_waits_for_no_handshake_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pool, "LONGEST_HOLD", 0.01)
    handshakes = _Handshakes()
    handshakes.begin()

    assert hold_aside(handshakes).wait(5)


def test_no_handshake_begins_while_a_fork_is_made() -> None:
    handshakes, begun = _Handshakes(), threading.Event()

    def begin() -> None:
        handshakes.begin()
        begun.set()

    handshakes.hold()
    threading.Thread(target=begin).start()
    assert not begun.wait(0.05)

    handshakes.go_on()
    assert begun.wait(5)


@pytest.mark.parametrize("ended", ["complete", "failed"])
def test_a_handshake_is_counted_until_it_ended(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handshakes = _Handshakes()
    monkeypatch.setattr(_pool, "_handshakes", handshakes)
    connection = Connection(None, _Stack(None))
    stream = SimpleNamespace(read=lambda: b"", write=lambda: None)

    connection.trace("connection.start_tls.started", {"timeout": 1.0})
    held = hold_aside(handshakes)
    assert not held.wait(0.05)

    connection.trace(f"connection.start_tls.{ended}", {"return_value": stream})
    assert held.wait(5)
