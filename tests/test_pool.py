"""When a connection is beyond doubt, where no server can be made to leave it in doubt at will."""

import ssl
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from mesh_facade._pool import Connection, _Stack

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
