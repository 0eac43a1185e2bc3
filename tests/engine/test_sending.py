"""How a connection writes a request: its head together with the beginning of its body."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import httpx

from mesh_facade.engine.connection import HeadJoiner
from mesh_facade.engine.pool import Home
from mesh_facade.engine.slots import ThreadSlots
from mesh_facade.engine.task_connection import TaskConnection
from mesh_facade.engine.thread_connection import ThreadConnection
from tests.support import OK, Peer

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve

HEAD = b"POST / HTTP/1.1\r\nHost: mesh.example\r\n\r\n"
TIMEOUT = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), 2.0)}


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body whose length is not known beforehand."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"first"
        yield b"last\r\n\r\n"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def test_head_is_written_with_the_beginning_of_the_body() -> None:
    joiner = HeadJoiner()

    assert joiner.feed(HEAD) == b""
    assert joiner.feed(b"{}") == HEAD + b"{}"
    assert joiner.feed(b"") == b""


def test_head_without_a_body_is_written_at_the_empty_last_write() -> None:
    joiner = HeadJoiner()

    assert joiner.feed(HEAD) == b""
    assert joiner.feed(b"") == HEAD


def test_body_in_chunks_is_written_to_its_end(mode: Mode, serve: Serve) -> None:
    bodies: list[bytes] = []

    def answer(peer: Peer) -> None:
        peer.receive()
        body = b""
        while not body.endswith(b"\r\n0\r\n\r\n"):
            body += peer._file.readline()
        bodies.append(body)
        peer.answer()

    url = httpx.URL(serve(answer).url)
    request = httpx.Request(
        "POST",
        url,
        headers={"Host": "mesh.example", "Transfer-Encoding": "chunked"},
        stream=Body(),
        extensions=TIMEOUT,
    )
    connection: Any = (TaskConnection if mode.is_async else ThreadConnection)(
        url, ssl.create_default_context(), None
    )
    connection.lend_to_call(time.monotonic() + 2, Home(ThreadSlots(1)))

    async def send() -> bytes:
        response = await connection.send_async(request)
        content: bytes = await response.aread()
        connection.close()
        return content

    if mode.is_async:
        assert mode.run(send()) == OK
    else:
        assert connection.send(request).read() == OK
        connection.close()

    assert bodies == [b"5\r\nfirst\r\n8\r\nlast\r\n\r\n\r\n0\r\n\r\n"]
