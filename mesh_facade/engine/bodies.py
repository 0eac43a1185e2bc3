"""Response bodies, decompressed while they arrive and never larger than a limit.

httpx decompresses without a limit: its first decoded chunk of a small gzip bomb was 64 MiB.
"""

import zlib
from typing import Protocol

import attrs
import httpx

from mesh_facade.engine.strict_json import JSON, decode

MAX_BODY_BYTES = 1024 * 1024
"""The largest body that is read, as sent and as decompressed: a rule of ours, not of the API."""

_GZIP = 31  # zlib's `wbits` for a gzip header and trailer


@attrs.define
class Answer:
    """A response that was read to its end, or refused on the way.

    Attributes:
        http_status: The HTTP status.
        headers: The response's headers.
        content: The body, decompressed; if it was refused, the part that was read until then.
        value: The decoded JSON; None if `problem` is not empty.
        problem: Why the body cannot be used; empty if it can. The text continues a sentence about
            the answer.
    """

    http_status: int
    headers: httpx.Headers
    content: bytes
    value: JSON
    problem: str


class _Decompressor(Protocol):
    """The object that `zlib.decompressobj` returns; its class has no public name."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class BodyReader:
    """Takes a body chunk by chunk, as sent, and refuses it as soon as it is too large.

    Attributes:
        problem: Why the body is refused; empty if it is not.
        bytes_received: How many bytes were taken so far, as sent.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.problem = ""
        self._response = response
        self._content = bytearray()
        self.bytes_received = 0
        self._gzip: _Decompressor | None = None
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "gzip":
            self._gzip = zlib.decompressobj(wbits=_GZIP)
        elif encoding != "identity":
            self.problem = "its body has an encoding that was not asked for"

    def feed(self, chunk: bytes) -> bool:
        """Take a chunk as sent; return False if the body is refused, so that no more is wanted."""
        if self.problem:
            return False
        self.bytes_received += len(chunk)
        if self._gzip is None:
            self._content += chunk
        else:
            self._decompress(self._gzip, chunk)
        if max(self.bytes_received, len(self._content)) > MAX_BODY_BYTES:
            self.problem = f"its body is larger than {MAX_BODY_BYTES} bytes"
        return not self.problem

    def _decompress(self, decompressor: _Decompressor, chunk: bytes) -> None:
        # One byte more than the limit shows that the body is larger.
        max_length = MAX_BODY_BYTES - len(self._content) + 1
        try:
            self._content += decompressor.decompress(chunk, max_length)
        except zlib.error:
            self.problem = "its gzip encoding is damaged"
        if decompressor.unused_data:
            self.problem = "its body continues after the end of its gzip encoding"

    def finish(self) -> Answer:
        """Decode the body, now that it has ended or was refused."""
        if self._gzip is not None and not self._gzip.eof and not self.problem:
            self.problem = "its gzip encoding is cut off"
        content = bytes(self._content)
        value: JSON = None
        if not self.problem:
            try:
                value = decode(content)
            except UnicodeEncodeError:
                self.problem = "its body holds an escape of half a surrogate pair, such as \\ud800"
            except UnicodeDecodeError:
                self.problem = "its body is not UTF-8 text"
            except (ValueError, ArithmeticError, RecursionError):
                # The messages of these errors are not repeated, because they may quote the body.
                self.problem = (
                    "its body is not valid JSON, or JSON that not all programs read alike (a "
                    "repeated key, NaN, a number out of range, or very deep nesting)"
                )
        response = self._response
        return Answer(response.status_code, response.headers, content, value, self.problem)
