"""The end of an answer: whether a connection is clean, so that another call may use it."""

from __future__ import annotations

import math
import re

import httpx
import pytest

from mesh_facade.engine.connection import Connection
from mesh_facade.engine.pool import Home
from mesh_facade.engine.slots import ThreadSlots

EMPTY_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


def is_clean_after(received: bytes, status: int = 200, content_size: int | None = None) -> bool:
    """Return True if a connection is clean after these bytes.

    Without `content_size`, all that follows the first head was read as content.
    """
    head, *rest = re.split(rb"\n\r?\n", received, maxsplit=1)
    lines = [line.partition(b": ") for line in head.splitlines()[1:]]
    if content_size is None:
        content_size = len(b"".join(rest))
    connection = Connection()
    connection.lend_to_call(math.inf, Home(ThreadSlots(1)))
    connection._keep(received)
    connection.record_cleanliness(
        httpx.Response(status, headers=[(name, value) for name, _, value in lines]), content_size
    )
    return connection.is_clean


def build_answer(*lines: str, body: bytes = b"{}") -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    "received",
    [
        build_answer("Content-Length: 2"),
        build_answer("Content-Length: 0", body=b""),
        build_answer("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    ],
)
def test_connection_is_clean_if_its_last_byte_ended_the_answer(received: bytes) -> None:
    assert is_clean_after(received)


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}" + build_answer("Content-Length: 2"),
        build_answer("Content-Length: 2", body=b"{}\n"),
        build_answer("Content-Length: 2", body=b"{"),
        build_answer("Content-Length: 2", body=b"{}" + build_answer("Content-Length: 2")),
        build_answer("Content-Length: 02"),
        build_answer("Content-Length: 2", "Content-Length: 2"),
        build_answer("Content-Length: 70000", body=b" " * 70_000),
        build_answer("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n"),
        build_answer("Transfer-Encoding: chunked", body=b"0\r\n\r\n\n"),
        build_answer("Transfer-Encoding: chunked", body=b"0\r\n\r\n" + EMPTY_CHUNKED),
        build_answer("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"),
        build_answer("Connection: close"),
    ],
)
def test_connection_is_not_clean_if_other_bytes_may_follow_the_answer(received: bytes) -> None:
    assert not is_clean_after(received)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize(
    "received",
    [
        build_answer("Content-Length: 2"),
        build_answer("Content-Length: 0", body=b""),
        build_answer("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
    ],
)
def test_connection_is_not_clean_after_a_status_without_content(
    received: bytes, status: int
) -> None:
    assert not is_clean_after(received, status, content_size=0)


def test_connection_is_not_clean_if_the_content_that_came_in_was_not_read() -> None:
    assert not is_clean_after(build_answer("Content-Length: 2"), content_size=0)
