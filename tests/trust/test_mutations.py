"""Answers that are mutated at random on the wire: the next call still gets its own answer."""

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
"""The amount in answers that belong to no call."""

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


def complete_answers(number: int) -> list[bytes]:
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


def mutated_answer(number: int) -> bytes:
    """Return an answer that was mutated: for each number always in the same way."""
    chance = random.Random(number)  # noqa: S311 — it chooses mutations
    answer = bytearray(chance.choice(complete_answers(number)))
    if chance.random() < 0.3:
        answer += chance.choice(complete_answers(FOREIGN))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        place = chance.randrange(len(answer))
        other_place = chance.randrange(len(answer))
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
                start = min(place, other_place)
                end = max(place, other_place)
                answer[place:place] = answer[start:end]
            case _:
                line = chance.choice(lines)
                answer[line:line] = piece
    return bytes(answer)


def answer_odd_numbers_mutated(peer: Peer) -> None:
    """Give each odd number a mutated answer, and each even one its own."""
    # A client that waits for more bytes than it was sent loses the connection.
    for seconds in chain([None], repeat(0.05)):
        peer.receive(seconds)
        number = int(peer.last_request.partition(b"token-")[2].partition(b'"')[0])
        if number % 2:
            peer.send(mutated_answer(number))
        else:
            peer.send(message(cash_body(str(number))))


@pytest.mark.parametrize("block", range(4))
def test_call_after_a_mutated_answer_gets_its_own_answer(
    mode: Mode, serve: Serve, block: int
) -> None:
    mesh = mode.client(base_url=serve(answer_odd_numbers_mutated).url, max_attempts=1)

    for number in range(1000 * block + 1001, 1000 * block + 1401, 2):
        with contextlib.suppress(MeshError):
            mesh.read(f"token-{number}")
        assert mesh.read(f"token-{number + 1}").cash("USD") == number + 1
