"""TLS in memory, against a server in memory."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

import httpcore
import pytest
import trustme

from mesh_facade.engine.tls_in_memory import AsyncTlsStream, TlsStream
from mesh_facade.engine.waiting import run_blocking

RUBBISH = b"\x17\x03\x03\x00\x05rubbish"


class ServerInMemory:
    """A TLS server that takes each write at once, and answers the next read."""

    def __init__(self, authority: trustme.CA) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("mesh.example").configure_cert(context)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.rubbish = b""
        self.has_ended = False
        self.refusal: Exception | None = None
        self.received = b""

    def write_raw(self, data: bytes, timeout: float | None = None) -> None:
        del timeout
        if self.refusal is not None:
            raise self.refusal
        self._incoming.write(data)
        for step in (self.tls.do_handshake, self._receive):
            try:
                step()
            except ssl.SSLError:  # it wants more, or was told of an error
                return

    def _receive(self) -> None:
        while True:
            self.received += self.tls.read(65536)

    def read_raw(self, max_bytes: int, timeout: float | None) -> bytes:
        del timeout
        data = self._outgoing.read(max_bytes)
        if data:
            return data
        if self.rubbish or self.has_ended:
            return self.rubbish
        raise httpcore.ReadTimeout("nothing came in")


class AsyncServerInMemory(ServerInMemory):
    """The same for tasks."""

    async def read(self, max_bytes: int, timeout: float | None) -> bytes:  # noqa: ASYNC109 — as the stream calls it
        return self.read_raw(max_bytes, timeout)

    async def write(self, data: bytes) -> None:
        self.write_raw(data)


class Stream:
    """A stream of either mode, used in the same way."""

    def __init__(self, *, is_async: bool) -> None:
        authority = trustme.CA()
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        self._is_async = is_async
        self.stream: Any
        if is_async:
            self.server = AsyncServerInMemory(authority)
            self.stream = AsyncTlsStream(self.server, trust, "mesh.example")
            run_blocking(self.stream.shake_hands(1.0))
        else:
            self.server = ServerInMemory(authority)  # type: ignore[assignment]
            self.stream = TlsStream(self.server, trust, "mesh.example", 1.0)

    def read(self) -> Any:
        outcome = self.stream.read(100, 1.0)
        if self._is_async:
            return run_blocking(outcome)
        return outcome

    def write(self, data: bytes) -> None:
        if self._is_async:
            run_blocking(self.stream.write(data))
        else:
            self.stream.write(data, 1.0)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def stream(request: pytest.FixtureRequest) -> Stream:
    return Stream(is_async=request.param)


def test_bytes_pass_in_both_directions(stream: Stream) -> None:
    data = bytes(range(256)) * 1000

    stream.write(data)
    stream.server.tls.write(b"answer")

    assert stream.server.received == data
    assert stream.read() == b"answer"


def test_end_of_the_connection_is_an_empty_read(stream: Stream) -> None:
    stream.server.has_ended = True

    assert stream.read() == b""


def test_farewell_of_tls_is_an_empty_read(stream: Stream) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        stream.server.tls.unwrap()

    assert stream.read() == b""


def test_bytes_that_are_not_tls_break_the_connection(stream: Stream) -> None:
    stream.server.rubbish = RUBBISH

    with pytest.raises(httpcore.ReadError) as caught:
        stream.read()

    assert isinstance(caught.value.__cause__, ssl.SSLError)


@pytest.mark.parametrize(
    ("is_async", "refusal"),
    [
        (False, httpcore.WriteError("the connection broke")),
        (False, httpcore.ReadTimeout("the deadline has passed")),
        (True, httpcore.WriteError("the connection broke")),
    ],
    ids=["closed", "too late", "async and closed"],
)
def test_error_of_tls_is_not_hidden_by_a_server_that_no_longer_listens(
    refusal: Exception, *, is_async: bool
) -> None:
    stream = Stream(is_async=is_async)
    stream.server.rubbish = RUBBISH
    stream.server.refusal = refusal

    with pytest.raises(httpcore.ReadError) as caught:
        stream.read()

    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_wait_that_takes_too_long_is_a_timeout(stream: Stream) -> None:
    with pytest.raises(httpcore.ReadTimeout):
        stream.read()


@pytest.mark.parametrize(
    ("is_async", "failure"),
    [
        (False, httpcore.WriteError),
        (False, httpcore.WriteTimeout),
        (False, httpcore.ReadTimeout),
        (True, httpcore.WriteError),
    ],
    ids=["broken", "too slow", "deadline passed", "async and closed"],
)
def test_failed_write_beneath_propagates(failure: type[Exception], *, is_async: bool) -> None:
    stream = Stream(is_async=is_async)
    stream.server.refusal = failure("not sent")

    with pytest.raises(failure, match="not sent"):
        stream.write(b"request")


def test_nothing_is_unread_after_all_was_read() -> None:
    stream = Stream(is_async=True)
    stream.server.tls.write(b"answer")

    assert stream.read() == b"answer"

    assert not stream.stream.memory.has_unread_data()


@pytest.mark.parametrize("size", [1, 5, 20, None], ids=["1 byte", "head", "half", "whole"])
def test_record_behind_an_answer_counts_as_unread_however_much_of_it_came(size: int | None) -> None:
    stream = Stream(is_async=True)
    stream.server.tls.write(b"answer")
    answer = stream.server.read_raw(65536, None)
    stream.server.tls.write(b"another answer")
    more = stream.server.read_raw(65536, None)
    memory = stream.stream.memory
    memory.feed(answer + more[:size])

    assert memory.tls.read(65536) == b"answer"
    assert memory.has_unread_data()
    with contextlib.suppress(ssl.SSLWantReadError):
        memory.tls.read(1)
    assert memory.has_unread_data()


def test_rest_of_a_record_counts_as_unread() -> None:
    stream = Stream(is_async=True)
    stream.server.tls.write(b"answer")

    stream.stream.memory.feed(stream.server.read_raw(65536, None))

    assert stream.stream.memory.tls.read(3) == b"ans"
    assert stream.stream.memory.has_unread_data()
