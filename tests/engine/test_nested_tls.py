"""TLS within TLS, against a server in memory."""

from __future__ import annotations

import ssl
from typing import Any

import httpcore
import pytest
import trustme

from mesh_facade.engine.nested_tls import AsyncNestedTlsStream, NestedTlsStream
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

    async def read_raw(self, max_bytes: int, timeout: float | None) -> bytes:  # type: ignore[override]  # noqa: ASYNC109 — as the stream calls it
        return super().read_raw(max_bytes, timeout)


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
            self.stream = AsyncNestedTlsStream(self.server, trust, "mesh.example")  # type: ignore[arg-type]
            run_blocking(self.stream.shake_hands(1.0))
        else:
            self.server = ServerInMemory(authority)  # type: ignore[assignment]
            self.stream = NestedTlsStream(self.server, trust, "mesh.example", 1.0)

    def read(self) -> Any:
        outcome = self.stream.read(100, 1.0)
        if self._is_async:
            return run_blocking(outcome)
        return outcome

    def write(self, data: bytes) -> None:
        written = self.stream.write(data, 1.0)
        if self._is_async:
            run_blocking(written)


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
    "refusal",
    [
        httpcore.WriteError("the connection broke"),
        httpcore.ReadTimeout("the deadline has passed"),
    ],
    ids=["closed", "too late"],
)
def test_error_of_tls_is_not_hidden_by_a_server_that_no_longer_listens(
    refusal: Exception,
) -> None:
    stream = Stream(is_async=False)
    stream.server.rubbish = RUBBISH
    stream.server.refusal = refusal

    with pytest.raises(httpcore.ReadError) as caught:
        stream.read()

    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_wait_that_takes_too_long_is_a_timeout(stream: Stream) -> None:
    with pytest.raises(httpcore.ReadTimeout):
        stream.read()
