"""Tells where TLS records end, on the way from a socket to asyncio's TLS.

A connection may be used again only if nothing came in after the last answer. asyncio hands all that
comes in to OpenSSL at once, and OpenSSL keeps the beginning of a record until its end has come too.
Neither the socket nor asyncio shows it then. But it can be the beginning of an answer, which the
next call would take for its own.

In threads this is not needed: OpenSSL reads no further than to the end of a record there, so the
socket shows what came after it.
"""

import asyncio

_SIZE_OF_HEADER = 5  # type, version, and in the last two bytes the length of the rest (RFC 8446)
_POSITION_OF_LENGTH = 3


class RecordFollower(asyncio.BufferedProtocol):
    """Passes all that comes in on to asyncio's TLS, and notes whether a record is incomplete."""

    def __init__(self, tls: asyncio.BufferedProtocol) -> None:
        self._tls = tls
        self._buffer: memoryview
        self._header = bytearray()
        self._bytes_to_come = 0

    @property
    def is_within_a_record(self) -> bool:
        """Whether the beginning of a record came in, and not yet its end."""
        return self._bytes_to_come > 0 or len(self._header) > 0

    def get_buffer(self, sizehint: int) -> memoryview:
        self._buffer = memoryview(self._tls.get_buffer(sizehint))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._follow(self._buffer[:nbytes])
        self._tls.buffer_updated(nbytes)

    def _follow(self, data: memoryview) -> None:
        position = 0
        while position < len(data):
            if self._bytes_to_come > 0:
                taken = min(self._bytes_to_come, len(data) - position)
                self._bytes_to_come -= taken
            else:
                taken = min(_SIZE_OF_HEADER - len(self._header), len(data) - position)
                self._header += data[position : position + taken]
                if len(self._header) == _SIZE_OF_HEADER:
                    self._bytes_to_come = int.from_bytes(self._header[_POSITION_OF_LENGTH:], "big")
                    self._header.clear()
            position += taken

    # The rest is passed on as it is.

    def eof_received(self) -> bool | None:
        return self._tls.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tls.connection_lost(exc)

    def pause_writing(self) -> None:
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        self._tls.resume_writing()


def follow_records(socket_transport: asyncio.Transport) -> RecordFollower | None:
    """Put a follower between a transport and its TLS; None if the TLS is not asyncio's.

    uvloop has a TLS of its own, with which this does not work.
    """
    tls = socket_transport.get_protocol()
    if not isinstance(tls, asyncio.BufferedProtocol):
        return None
    follower = RecordFollower(tls)
    socket_transport.set_protocol(follower)
    return follower
