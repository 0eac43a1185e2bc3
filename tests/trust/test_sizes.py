"""Sizes: oversized answers are refused, in little time and memory."""

from __future__ import annotations

import functools
import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from mesh_facade import MeshResponseError
from tests.faults.observation import FIRST_USER, OWN_AMOUNT, SECOND_USER, Outcome, try_call
from tests.faults.server import Answer, Endless, Endpoint, FaultServer, head

if TYPE_CHECKING:
    from tests.conftest import Caller, Mode

MIB = 1024 * 1024
LIMIT = MIB
Script = Callable[[Answer], Sequence["bytes | Endless"]]


@functools.cache
def _bomb(wbits: int) -> bytes:
    """Pack 200 MiB of spaces into less than the limit."""
    packer = zlib.compressobj(1, zlib.DEFLATED, wbits)
    packed = [packer.compress(b" " * MIB) for _ in range(200)]
    bomb = b"".join([*packed, packer.flush()])
    assert len(bomb) < LIMIT
    return bomb


def _send(body: bytes, *headers: str) -> Script:
    return lambda _: [head(f"Content-Length: {len(body)}", *headers) + body]


def _chunk(size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b" " * size)


GZIP = 31  # as the `wbits` of zlib
RAW = -15
ZLIB = 15
TOO_MUCH: dict[str, Callable[[], Script]] = {
    "a gzip bomb": lambda: _send(_bomb(GZIP), "Content-Encoding: gzip"),
    "a gzip bomb in chunks": lambda: (
        lambda _: [
            head("Transfer-Encoding: chunked", "Content-Encoding: gzip"),
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(_bomb(GZIP)), _bomb(GZIP)),
        ]
    ),
    "a bomb in many gzip members": lambda: _send(
        gzip.compress(b" " * MIB) * 100, "Content-Encoding: gzip"
    ),
    "a bomb packed twice": lambda: _send(
        gzip.compress(_bomb(GZIP)), "Content-Encoding: gzip, gzip"
    ),
    "a deflate bomb": lambda: _send(_bomb(ZLIB), "Content-Encoding: deflate"),
    "a raw deflate bomb": lambda: _send(_bomb(RAW), "Content-Encoding: deflate"),
    "brotli": lambda: _send(_bomb(RAW), "Content-Encoding: br"),
    "zstd": lambda: _send(b"\x28\xb5\x2f\xfd" + _bomb(RAW), "Content-Encoding: zstd"),
    "gzip under another name": lambda: _send(_bomb(GZIP), "Content-Encoding: x-gzip"),
    "an encoding that nobody knows": lambda: _send(b"{}", "Content-Encoding: rot13"),
    "500 MB": lambda: lambda _: [head(f"Content-Length: {500 * MIB}"), Endless(b" " * 65536)],
    "chunks without end": lambda: (
        lambda _: [head("Transfer-Encoding: chunked"), Endless(_chunk(4096))]
    ),
    "small chunks without end": lambda: (
        lambda _: [head("Transfer-Encoding: chunked"), Endless(_chunk(64) * 64)]
    ),
    "one chunk of 500 MB": lambda: (
        lambda _: [head("Transfer-Encoding: chunked"), b"1f400000\r\n", Endless(b" " * 65536)]
    ),
    "gzip without end": lambda: (
        lambda _: [
            head("Transfer-Encoding: chunked", "Content-Encoding: gzip"),
            Endless(b"%x\r\n%b\r\n" % (len(gzip.compress(b"")), gzip.compress(b""))),
        ]
    ),
    "a body without length or end": lambda: lambda _: [head(), Endless(b" " * 65536)],
    "one byte over the limit": lambda: _send(b" " * (LIMIT + 1)),
    "one byte over the limit, packed": lambda: _send(
        gzip.compress(b" " * (LIMIT + 1)), "Content-Encoding: gzip"
    ),
}


def _open_faulty(server: FaultServer, script: Script) -> Endpoint:
    endpoint = server.open(script)
    endpoint.start_fault()
    return endpoint


def _measure(mesh: Caller) -> tuple[Outcome, int]:
    """Make a call; return its outcome and the peak of its memory."""
    tracemalloc.start()
    try:
        outcome = try_call(mesh.read, FIRST_USER)
        return outcome, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("script", TOO_MUCH.values(), ids=TOO_MUCH)
def test_oversized_answer_is_refused_within_a_second_and_16_mib(
    mode: Mode, fault_server: FaultServer, script: Callable[[], Script]
) -> None:
    endpoint = _open_faulty(fault_server, script())
    mesh = mode.client(base_url=endpoint.url)

    outcome, memory = _measure(mesh)

    assert type(outcome.error) is MeshResponseError
    assert (outcome.error.attempts, endpoint.script_runs) == (1, 1)
    assert memory < 16 * MIB
    start = time.thread_time()  # time of the processor, so other programs do not count
    assert try_call(mesh.read, FIRST_USER).error  # again, without the slow measuring of memory
    assert time.thread_time() - start < 1
    endpoint.end_fault()
    assert mesh.read(SECOND_USER).cash("USD") == OWN_AMOUNT[SECOND_USER]


def _fill(answer: Answer) -> bytes:
    return answer.body.ljust(LIMIT)


PACKED_BODIES: dict[str, Script] = {
    "plain": lambda a: [head(f"Content-Length: {LIMIT}") + _fill(a)],
    "gzip": lambda a: _send(gzip.compress(_fill(a)), "Content-Encoding: gzip")(a),
    "GZIP": lambda a: _send(gzip.compress(a.body), "Content-Encoding: GZIP")(a),
    "identity": lambda a: _send(a.body, "Content-Encoding: identity")(a),
}


@pytest.mark.parametrize("script", PACKED_BODIES.values(), ids=PACKED_BODIES)
def test_answer_of_exactly_the_limit_is_read(
    mode: Mode, fault_server: FaultServer, script: Script
) -> None:
    mesh = mode.client(base_url=_open_faulty(fault_server, script).url)

    assert mesh.read(FIRST_USER).cash("USD") == OWN_AMOUNT[FIRST_USER]
    assert mesh.read(SECOND_USER).cash("USD") == OWN_AMOUNT[SECOND_USER]


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda packed: packed[:-9],
    "without its checksum": lambda packed: packed[:-8],
    "with another checksum": lambda packed: packed[:-8] + bytes(8),
    "with something behind it": lambda packed: packed + b"x",
    "with a second answer behind it": lambda packed: packed + packed,
    "not packed at all": gzip.decompress,
    "empty": lambda _: b"",
    "changed in the middle": lambda packed: packed[:40] + bytes([packed[40] ^ 255]) + packed[41:],
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_damaged_gzip_raises_response_error(
    mode: Mode, fault_server: FaultServer, damage: Callable[[bytes], bytes]
) -> None:
    endpoint = _open_faulty(
        fault_server,
        lambda a: _send(damage(gzip.compress(a.body)), "Content-Encoding: gzip")(a),
    )
    mesh = mode.client(base_url=endpoint.url)

    error = try_call(mesh.read, FIRST_USER).error

    assert type(error) is MeshResponseError
    assert error.attempts == 1


def test_only_gzip_is_requested(mode: Mode, fault_server: FaultServer) -> None:
    endpoint = fault_server.open()

    mode.client(base_url=endpoint.url).read(FIRST_USER)

    _, *lines = endpoint.received.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    assert [line for line in lines if b"encoding" in line] == [b"accept-encoding: gzip"]
