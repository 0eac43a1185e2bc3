"""Bodies: the limit, and the encodings that are read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import MeshResponseError
from tests.stopwatch import Stopwatch
from tests.support import OK, Peer, Script, response

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve

LIMIT = 1024 * 1024


def pad_to_size(size: int) -> bytes:
    return OK + b" " * (size - len(OK))


def test_body_of_exactly_the_limit_is_read(mode: Mode) -> None:
    assert mode.client(transport=Script(pad_to_size(LIMIT))).read()
    zipped = response(200, gzip.compress(pad_to_size(LIMIT)), {"Content-Encoding": "gzip"})
    assert mode.client(transport=Script(zipped)).read()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_body_over_the_limit_raises_response_error(mode: Mode, encoding: str) -> None:
    body = pad_to_size(LIMIT + 1)
    if encoding == "gzip":
        body = gzip.compress(body)
    script = Script(response(200, body, {"Content-Encoding": encoding}))

    with pytest.raises(MeshResponseError, match="its body is larger than 1048576 bytes"):
        mode.client(transport=script).read()

    assert len(script.requests) == 1


class RepeatingStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of one chunk many times over; counts how many were taken."""

    def __init__(self, chunk: bytes, count: int, start: bytes = b"") -> None:
        self._chunk = chunk
        self._count = count
        self._start = start
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        yield self._start
        while self.taken < self._count:
            self.taken += 1
            yield self._chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


class StreamingTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    def __init__(self, stream: RepeatingStream, headers: dict[str, str] | None = None) -> None:
        self._answer = httpx.Response(200, headers=headers, stream=stream)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        del request
        return self._answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def test_endless_body_is_refused_while_it_is_read(mode: Mode) -> None:
    stream = RepeatingStream(b" " * 65536, 10**6)

    with pytest.raises(MeshResponseError, match="larger than"):
        mode.client(transport=StreamingTransport(stream)).read()

    assert stream.taken == 17


def test_endless_gzip_that_decompresses_to_nothing_is_refused(mode: Mode) -> None:
    empty_block = b"\0\0\0\xff\xff"  # a stored block without content
    stream = RepeatingStream(empty_block * 10_000, 10**6, start=gzip.compress(b"")[:10])

    with pytest.raises(MeshResponseError, match="larger than"):
        mode.client(transport=StreamingTransport(stream, {"Content-Encoding": "gzip"})).read()

    assert stream.taken < 100


def test_gzip_bomb_is_refused_before_it_is_decompressed(mode: Mode, serve: Serve) -> None:
    squeeze = zlib.compressobj(wbits=31)
    bomb = b"".join(squeeze.compress(bytes(2**20)) for _ in range(100)) + squeeze.flush()

    def answer(peer: Peer) -> None:
        peer.receive()
        peer.answer(bomb, "Content-Encoding: gzip")

    caller = mode.client(base_url=serve(answer).url)

    with Stopwatch() as watch, pytest.raises(MeshResponseError, match="larger than"):
        caller.read()

    assert watch.seconds < 0.5


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip ", "identity", "Identity"])
def test_gzip_and_identity_encodings_are_read(mode: Mode, encoding: str) -> None:
    body = OK
    if "gzip" in encoding.lower():
        body = gzip.compress(OK)

    assert (
        mode.client(transport=Script(response(200, body, {"Content-Encoding": encoding}))).read()
        == mode.client(transport=Script(OK)).read()
    )


def test_gzip_in_one_byte_chunks_is_read(mode: Mode, serve: Serve) -> None:
    body = gzip.compress(OK)

    def answer(peer: Peer) -> None:
        while True:
            peer.receive()
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            peer.send(head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")

    server = serve(answer)
    caller = mode.client(base_url=server.url)

    assert caller.read() == caller.read()
    assert server.connections == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "x-gzip", "gzip;q=1"])
def test_unrequested_encoding_raises_response_error(mode: Mode, encoding: str) -> None:
    script = Script(response(200, OK, {"Content-Encoding": encoding}))

    with pytest.raises(MeshResponseError, match="its body has an encoding that was not asked for"):
        mode.client(transport=script).read()


@pytest.mark.parametrize(
    "body",
    {
        "is plain": OK,
        "is empty": b"",
        "is cut off": gzip.compress(OK)[:-1],
        "lacks its checksum": gzip.compress(OK)[:-8],
        "has a wrong checksum": gzip.compress(OK)[:-8] + bytes(8),
        "has more behind it": gzip.compress(OK) + b"x",
        "is two": gzip.compress(OK) + gzip.compress(b" "),
        "is zlib": zlib.compress(OK),
    }.items(),
    ids=lambda item: item[0],
)
def test_malformed_gzip_raises_response_error(mode: Mode, body: tuple[str, bytes]) -> None:
    script = Script(response(200, body[1], {"Content-Encoding": "gzip"}))

    with pytest.raises(MeshResponseError, match="its gzip encoding"):
        mode.client(transport=script).read()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (gzip.compress(OK)[:-8] + bytes(8), "its gzip encoding is damaged"),
        (gzip.compress(OK) + b"x", "its body continues after the end of its gzip encoding"),
    ],
    ids=["damaged", "goes on"],
)
def test_error_says_what_is_wrong_with_the_gzip_encoding(
    mode: Mode, body: bytes, problem: str
) -> None:
    script = Script(response(200, body, {"Content-Encoding": "gzip"}))

    with pytest.raises(MeshResponseError) as caught:
        mode.client(transport=script).read()

    assert str(caught.value).endswith(f"cannot be used: {problem}")


def test_refused_body_closes_its_connection_and_the_next_call_succeeds(
    mode: Mode, serve: Serve
) -> None:
    def answer(peer: Peer) -> None:
        peer.receive()
        if peer.number == 0:
            peer.answer(bytes(3 * LIMIT))
        peer.answer()
        peer.answer_all()

    server = serve(answer)
    caller = mode.client(base_url=server.url)

    with pytest.raises(MeshResponseError, match="larger than"):
        caller.read()
    assert caller.read()
    assert server.connections == 2
