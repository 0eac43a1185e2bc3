"""A transport of the caller's own: its streams, its errors, its failures."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import MeshConnectionError, MeshError
from tests.support import OK, Script

if TYPE_CHECKING:
    from tests.conftest import Mode


class WatchedStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Yields chunks, raises those that are errors, and records whether it was closed."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    "chunks",
    [(OK,), (b"x" * 2**20, b"y", b"z"), (b"{", httpx.ReadError("gone"))],
    ids=["whole", "too large", "broken"],
)
def test_response_stream_is_always_closed(
    mode: Mode, chunks: tuple[bytes | Exception, ...]
) -> None:
    stream = WatchedStream(*chunks)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))

    with contextlib.suppress(MeshError):
        mode.client(transport=transport, max_attempts=1).read()

    assert stream.is_closed


def test_any_httpx_error_becomes_a_connection_error(mode: Mode) -> None:
    caller = mode.client(transport=Script(httpx.DecodingError("canary")), max_attempts=1)

    with pytest.raises(MeshConnectionError, match=r"the connection failed \(DecodingError\)$"):
        caller.read()


def test_error_that_is_its_own_cause_becomes_a_connection_error(mode: Mode) -> None:
    failure = OSError(5, "a circle")
    failure.__cause__ = failure
    caller = mode.client(transport=Script(failure), max_attempts=1)

    with pytest.raises(MeshConnectionError, match="a circle"):
        caller.read()
