"""A server that no client waits for: answers that stand ready, on one uvloop.

    python benchmarks/server.py 0 0.02

listens on a free loopback port for each of the latencies given, in seconds, prints the ports and
serves until its input ends. What it answers depends on the path, and on a few words in the body.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any

import uvloop


def balance(rows: int) -> dict[str, object]:
    """Return an envelope as Mesh sends it."""
    codes = [f"{first}{second}D" for first in "ABCDEFGH" for second in "ABCDEFGH"]
    amounts = {"cash": 158.5, "buyingPower": 258.5, "cryptocurrencyBuyingPower": 258.5}
    content = {
        "balances": [{"currencyCode": code, **amounts} for code in ["USD", "EUR", *codes][:rows]],
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
TEMPLATE = {"name": "C", "source": "*.o\n*.so\n"}

TEN_WAYS: list[tuple[int, bytes]] = [
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


def answer(body: object, status: int = 200) -> bytes:
    """Write an answer as it goes over the wire."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


MESH = answer(balance(2))
PEERS = {
    b"POST /accounts/balance/get ": answer(PLAID),
    b"GET /v1/balance ": answer(STRIPE),
    b"POST /v1/chat/completions ": answer(OPENAI),
    b"POST /repos/an-owner/a-repository/labels ": answer(LABEL),
    b"GET /gitignore/templates/C ": answer(TEMPLATE),
}
FAILURES = [answer(body, status) for status, body in TEN_WAYS]


def choose(request: bytes) -> bytes:
    """Return the answer to a request."""
    if request.startswith(b"POST /api/"):
        _, fails, rest = request.partition(b"fails-in-way-")
        return FAILURES[int(rest[:1])] if fails else MESH
    return next(answer for start, answer in PEERS.items() if request.startswith(start))


class Connection(asyncio.Protocol):
    """Answers each request on a connection, after the latency."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        """Keep what answers are written to."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what has come in whole."""
        self._received += data
        answers: list[bytes] = []
        while (end := self._received.find(b"\r\n\r\n") + 4) > 3:
            _, _, length = self._received[:end].lower().partition(b"content-length:")
            end += int(length.partition(b"\r\n")[0] or 0)
            if len(self._received) < end:
                break
            answers.append(choose(self._received[:end]))
            self._received = self._received[end:]
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
            lambda latency=latency: Connection(latency), "127.0.0.1", 0, backlog=4096
        )
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve(map(float, sys.argv[1:])))
