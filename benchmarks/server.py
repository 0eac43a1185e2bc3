"""A server that no client waits for: it has its answers ready, and runs on uvloop.

    python benchmarks/server.py 0 0.02

listens on a free loopback port for each of the latencies given, in seconds, prints the ports and
serves until its input ends. Its answer depends on the path, and on a few words in the body.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from functools import partial
from typing import cast

import uvloop


def balance(rows: int) -> dict[str, object]:
    """Return an envelope as Mesh sends it."""
    made_up = [f"{first}{second}D" for first in "ABCDEFGH" for second in "ABCDEFGH"]
    codes = ["USD", "EUR", *made_up]
    amounts = {"cash": 158.5, "buyingPower": 258.5, "cryptocurrencyBuyingPower": 258.5}
    content = {
        "balances": [{"currencyCode": code, **amounts} for code in codes[:rows]],
        "totalCashUsdValue": 10.0,
        "totalBuyingPowerUsdValue": 10.0,
    }
    texts = {"message": "", "displayMessage": None, "errorHash": None, "errorType": ""}
    return {"content": content, "status": "ok", **texts}


PLAID = {
    "accounts": [
        {
            "account_id": "an-account",
            "balances": {
                "available": 100.0,
                "current": 110.0,
                "limit": None,
                "iso_currency_code": "USD",
                "unofficial_currency_code": None,
            },
            "mask": "0000",
            "name": "Checking",
            "official_name": None,
            "type": "depository",
            "subtype": "checking",
        }
    ],
    "item": {
        "item_id": "an-item",
        "webhook": None,
        "error": None,
        "available_products": [],
        "billed_products": [],
        "consent_expiration_time": None,
        "update_type": "background",
    },
    "request_id": "a-request",
}
STRIPE = {
    "object": "balance",
    "available": [{"amount": 15850, "currency": "usd", "source_types": {"card": 15850}}],
    "pending": [{"amount": 1000, "currency": "usd", "source_types": {"card": 1000}}],
    "livemode": False,
}
OPENAI = {
    "id": "a-completion",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "a-model",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "158.5"},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
}
LABEL = {
    "id": 1,
    "node_id": "a-node",
    "url": "https://localhost/label",
    "name": "balance",
    "description": None,
    "color": "0b7285",
    "default": False,
    "archived_at": None,
    "archived_by": None,
}

WAYS_TO_FAIL: list[tuple[int, bytes]] = [
    (200, b'{"status": "ok", "content": null}'),
    (200, b'{"status": "ofTomorrow"}'),
    (200, b'{"status": "ok", "content": {"balances": [{"cash": "1.50"}]}}'),
    (200, b"This is no JSON."),
    (302, b""),
    (400, b'{"status": "badRequest", "errorType": "unauthorizedToken"}'),
    (403, b""),
    (404, b"<html>"),
    (409, b'{"status": "conflict"}'),
    (451, b""),
]


def answer(status: int, body: bytes) -> bytes:
    """Return an answer as it goes over the wire."""
    head = f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def success(body: object) -> bytes:
    """Return an answer of status 200 with a JSON body."""
    return answer(200, json.dumps(body).encode())


def balance_body(rows: int) -> bytes:
    """Return the body of a balance with a number of rows."""
    return json.dumps(balance(rows)).encode()


MESH = success(balance(2))
PEERS = {
    b"POST /accounts/balance/get ": success(PLAID),
    b"GET /v1/balance ": success(STRIPE),
    b"POST /v1/chat/completions ": success(OPENAI),
    b"POST /repos/an-owner/a-repository/labels ": success(LABEL),
}
FAILURES = [answer(status, body) for status, body in WAYS_TO_FAIL]


def choose_answer(request: bytes) -> bytes:
    """Return the answer to a request."""
    if request.startswith(b"POST /api/"):
        _, fails, rest = request.partition(b"fails-in-way-")
        if fails:
            return FAILURES[int(rest[:1])]
        return MESH
    for start, peer_answer in PEERS.items():
        if request.startswith(start):
            return peer_answer
    raise ValueError(f"no answer is ready for {request[:80]!r}")


def request_length(received: bytes) -> int | None:
    """Return the length of the first request with its body, or None while it is incomplete."""
    end_of_head = received.find(b"\r\n\r\n")
    if end_of_head < 0:
        return None
    length = end_of_head + 4
    for line in received[:end_of_head].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length += int(line.partition(b":")[2])
    if len(received) < length:
        return None
    return length


class Connection(asyncio.Protocol):
    """Answers each request on a connection, after the latency."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, to which the answers are written."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete."""
        self._received += data
        answers: list[bytes] = []
        while True:
            length = request_length(self._received)
            if length is None:
                break
            answers.append(choose_answer(self._received[:length]))
            self._received = self._received[length:]
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._write, answers)
        else:
            self._write(answers)

    def _write(self, answers: list[bytes]) -> None:
        if answers and not self._transport.is_closing():
            self._transport.write(b"".join(answers))


async def serve(latencies: Iterable[float]) -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()
    ports: list[int] = []
    for latency in latencies:
        server = await loop.create_server(
            partial(Connection, latency), "127.0.0.1", 0, backlog=4096
        )
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve(map(float, sys.argv[1:])))
