"""Answers that are changed at random on the wire: a typed error, and then one's own answer."""

from __future__ import annotations

import contextlib
import gzip
import random
import re
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest

from mesh_facade import MeshError
from tests.support import cash_body, message

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve
    from tests.support import Peer

FOREIGN = 666
"""The amount in answers that are nobody's."""

PIECES = [
    *(b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\0", b"\xff\xfe", b"[", b'{"a":', b"\\ud800", b"NaN"),
    *(
        b"HTTP/1.1 ",
        b"HTTP/1.0 200 OK",
        b"100 Continue",
        b"101 Switching",
        b"204 ",
        b"304 ",
        b"999 ",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: %b\r\n" % (b"9" * 5000),
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"F" * 30 + b"\r\n",
    ),
    *(b"Content-Encoding: gzip\r\n", b"Content-Encoding: br\r\n", b"Connection: close\r\n"),
    *(b"Retry-After: 1e5\r\n", b"Retry-After: Wed, 99 Oct 99999 07:28:00 GMT\r\n"),
    *(b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"X: \xe9\r\n", b"X" * 70_000 + b": 1\r\n"),
    *(b'"status":"ok",', b"1e999999999999999999999", b"9" * 6000, b"-0"),
]


def whole(number: int) -> list[bytes]:
    """Return the ways to send an amount."""
    body = cash_body(str(number))
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    return [
        message(body),
        chunked % (len(body), body),
        b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + message(body),
        message(gzip.compress(body), "Content-Encoding: gzip"),
        message(body, "Retry-After: 1", status=429),
    ]


def mutated(number: int) -> bytes:
    """Return an answer with the amount in which something is wrong, the same at each call."""
    chance = random.Random(number)  # noqa: S311 — it chooses mutations
    answer = bytearray(chance.choice(whole(number)))
    if chance.random() < 0.3:
        answer += chance.choice(whole(FOREIGN))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        place, other = (chance.randrange(len(answer)) for _ in range(2))
        lines = [match.end() for match in re.finditer(rb"\r\n", answer)] or [0]
        piece = chance.choice(PIECES)
        match chance.randrange(6):
            case 0:
                answer[place] = chance.randrange(256)
            case 1:
                del answer[place : place + chance.choice((1, 2, 10))]
            case 2:
                answer[place:place] = piece
            case 3:
                answer[place : place + len(piece)] = piece
            case 4:
                answer[place:place] = answer[min(place, other) : max(place, other)]
            case _:
                line = chance.choice(lines)
                answer[line:line] = piece
    return bytes(answer)


def answer_changed(peer: Peer) -> None:
    """Give each odd number a changed answer, and each even one its own."""
    for seconds in chain([None], repeat(0.05)):  # who waits for more than was sent is hung up on
        peer.receive(seconds)
        number = int(peer.last.partition(b"token-")[2].partition(b'"')[0])
        peer.send(mutated(number) if number % 2 else message(cash_body(str(number))))


@pytest.mark.parametrize("block", range(4))
def test_call_after_a_mutated_answer_gets_its_own_answer(
    mode: Mode, serve: Serve, block: int
) -> None:
    mesh = mode.client(base_url=serve(answer_changed).url, max_attempts=1)

    for number in range(1000 * block + 1001, 1000 * block + 1401, 2):
        with contextlib.suppress(MeshError):
            mesh.read(f"token-{number}")
        assert mesh.read(f"token-{number + 1}").cash("USD") == number + 1
