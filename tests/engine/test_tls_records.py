"""Where TLS records end, whatever the parts in which they come in."""

from __future__ import annotations

import pytest

from mesh_facade.engine.tls_records import RecordFollower

RECORD = b"\x17\x03\x03\x00\x05hello"
EMPTY_RECORD = b"\x17\x03\x03\x00\x00"


@pytest.mark.parametrize("size", range(1, len(RECORD) + 2))
def test_record_is_complete_only_with_its_last_byte(size: int) -> None:
    follower = RecordFollower()
    stream = RECORD + EMPTY_RECORD + RECORD
    ends = {0, len(RECORD), len(RECORD + EMPTY_RECORD), len(stream)}

    for start in range(0, len(stream), size):
        part = stream[start : start + size]
        follower.feed(part)
        assert follower.is_within_a_record == (start + len(part) not in ends)
