"""Where TLS records end, whatever the parts in which they come in."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from mesh_facade.engine.tls_records import RecordFollower, follow_records

RECORD = b"\x17\x03\x03\x00\x05hello"
EMPTY_RECORD = b"\x17\x03\x03\x00\x00"


class Tls(asyncio.BufferedProtocol):
    """Takes what comes in, as asyncio's TLS does, and notes what else it is told."""

    def __init__(self) -> None:
        self.received = b""
        self.events: list[object] = []
        self._buffer = bytearray(16 * 1024)

    def get_buffer(self, sizehint: int) -> bytearray:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self._buffer[:nbytes]

    def eof_received(self) -> bool:
        self.events.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(exc)

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


def receive(follower: RecordFollower, data: bytes) -> None:
    """Do as a transport does when data has come in."""
    buffer = follower.get_buffer(-1)
    buffer[: len(data)] = data
    follower.buffer_updated(len(data))


@pytest.mark.parametrize("size", range(1, len(RECORD) + 2))
def test_record_is_complete_only_with_its_last_byte(size: int) -> None:
    tls = Tls()
    follower = RecordFollower(tls)
    stream = RECORD + EMPTY_RECORD + RECORD
    ends = {0, len(RECORD), len(RECORD + EMPTY_RECORD), len(stream)}

    for start in range(0, len(stream), size):
        part = stream[start : start + size]
        receive(follower, part)
        assert follower.is_within_a_record == (start + len(part) not in ends)

    assert tls.received == stream


def test_other_events_are_passed_on() -> None:
    tls = Tls()
    follower = RecordFollower(tls)
    error = OSError("the connection broke")

    assert follower.eof_received() is True
    follower.pause_writing()
    follower.resume_writing()
    follower.connection_lost(error)

    assert tls.events == ["eof", "pause", "resume", error]


class Transport:
    """A transport that has a protocol."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


def test_follower_stands_between_the_transport_and_its_tls() -> None:
    transport = Transport(Tls())

    follower = follow_records(cast("asyncio.Transport", transport))

    assert follower is not None
    assert transport.protocol is follower


def test_tls_of_another_event_loop_is_left_alone() -> None:
    protocol = asyncio.Protocol()
    transport = Transport(protocol)

    assert follow_records(cast("asyncio.Transport", transport)) is None
    assert transport.protocol is protocol
