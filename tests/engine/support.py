"""Answers and calls that the tests of the engine share."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx

from mesh_facade import AccountBalance, MeshError
from tests.support import Peer, cash_body

if TYPE_CHECKING:
    from tests.conftest import Caller

ScriptedAnswer = bytes | httpx.Response | BaseException
"""What a `Script` takes: a body, an answer, or an error to raise."""

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n0\r\n%b\r\n"


def in_parallel(caller: Caller, calls: int) -> list[Any]:
    """Make calls at the same time, each with its own token; return their balances or errors."""
    if caller.mode.is_async:

        async def gather() -> list[Any]:
            tasks = (
                caller.client.get_account_balance(f"token-{n}", "coinbase") for n in range(calls)
            )
            return await asyncio.gather(*tasks, return_exceptions=True)

        outcomes: list[Any] = caller.mode.run(gather())
        return outcomes

    def call(number: int) -> AccountBalance | MeshError:
        try:
            return caller.read(f"token-{number}")
        except MeshError as error:
            return error

    with ThreadPoolExecutor(calls) as executor:
        return list(executor.map(call, range(calls)))


def answer_with_number_in_token(peer: Peer) -> None:
    """Answer each request with the number in its token."""
    while True:
        peer.receive()
        peer.answer(
            cash_body(json.loads(peer.last_request.partition(b"\r\n\r\n")[2])["authToken"][6:])
        )


HEAD_OF_LONG_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n"
