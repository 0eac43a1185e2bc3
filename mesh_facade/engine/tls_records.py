"""Tells where TLS records end, in the bytes that a connection receives.

A connection may be used again only if nothing came in after the last answer. `tls_in_memory` passes
all bytes to OpenSSL as they come in, and OpenSSL keeps the beginning of a record to itself until
the record's end has come too. It can be the beginning of an answer, which the next call would take
for its own.
"""

_SIZE_OF_HEADER = 5  # type, version, and in the last two bytes the length of the rest (RFC 8446)
_POSITION_OF_LENGTH = 3


class RecordFollower:
    """Follows the records from the first byte of a connection's TLS on."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._bytes_to_come = 0

    @property
    def is_within_a_record(self) -> bool:
        """Whether the beginning of a record came in, and not yet its end."""
        return self._bytes_to_come > 0 or len(self._header) > 0

    def feed(self, data: bytes) -> None:
        """Take what came in."""
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
