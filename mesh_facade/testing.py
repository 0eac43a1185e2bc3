"""A stand-in for Mesh: an HTTP server on this machine that follows the spec, for tests and trials.

    with StandIn() as mesh, mesh.client() as client:
        mesh.answers("a-token", cash={"USD": "158.5"})
        assert client.get_account_balance("a-token", "coinbase").cash("USD") == Decimal("158.5")

Paths, methods, key headers, checks and default answers are those of the OpenAPI document that
ships with the generated client. Needs the extra `testing`.
"""

import argparse
import asyncio
import contextlib
import functools
import importlib.resources
import json
import math
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import repeat
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl

import anyio
import attrs
import httpx
import yaml
from anyio.from_thread import start_blocking_portal
from openapi_core import Config, OpenAPI
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.templating.paths.finders import APICallPathFinder
from openapi_core.testing import MockRequest
from openapi_core.validation.request import exceptions

from mesh_facade import AsyncMeshClient, MeshClient

Amount = str | int | Decimal | None

_NOWHERE = "https://stand-in.invalid"  # a name that no host will ever have (RFC 6761)
# Validating the document takes longer than most tests, and it was done where it was generated.
_UNVALIDATED = Config(spec_validator_cls=None)  # pyright: ignore[reportArgumentType] — as its docs say
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


@attrs.frozen
class Call:
    """A request that came in; its repr shows nothing that may be a secret.

    `fields` are those of the query and the JSON body, `time` is as `time.monotonic()` counts.
    """

    method: str
    path: str
    fields: Mapping[str, Any] = attrs.field(repr=False)
    headers: httpx.Headers = attrs.field(repr=False)
    time: float = attrs.field(factory=time.monotonic)


@attrs.frozen
class _Answer:
    """What is sent back, or how that fails; no body is the spec's example for the status."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    delay: float = 0.0
    error: type[httpx.TransportError] | None = None

    def response(self) -> httpx.Response:
        body = self.body or b""
        headers = httpx.Headers({"Content-Type": "application/json"})
        headers.update({"Content-Length": str(len(body)), **self.headers})
        return httpx.Response(self.status, headers=headers, stream=httpx.ByteStream(body))

    def wire(self) -> bytes:
        response = self.response()
        start = f"HTTP/1.1 {response.status_code} {response.reason_phrase}".encode()
        lines = [b"%b: %b" % header for header in response.headers.raw]
        return b"\r\n".join([start, *lines, b"", self.body or b""])


def _write_json(value: Any) -> bytes:
    """Write JSON in which a Decimal is a number, with each of its digits."""
    text = json.dumps(value, default=lambda number: "\0" + Decimal.__str__(number))
    return re.sub(r'"\\u0000([^"]+)"', r"\1", text).encode()


def _envelope(status: str, error_type: str = "", message: str = "", **more: Any) -> bytes:
    return _write_json({**more, "status": status, "message": message, "errorType": error_type})


FAULTS: Mapping[str, _Answer] = {
    "rate-limited": _Answer(429, _envelope("tooManyRequest"), {"Retry-After": "1"}),
    "server-failure": _Answer(500, _envelope("serverFailure")),
    "server-failure-200": _Answer(200, _envelope("serverFailure")),
    "html-502": _Answer(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}),
    "unauthorized-token": _Answer(400, _envelope("badRequest", "unauthorizedToken")),
    "permission-denied": _Answer(403),
    "unknown-status": _Answer(200, _envelope("ofTomorrow", content=None)),
    "null-content": _Answer(200, _envelope("ok", content=None)),
    "not-json": _Answer(200, b"This is no JSON."),
    "redirect": _Answer(307, headers={"Location": _NOWHERE}),
    "slow": _Answer(delay=3600),
    "reset": _Answer(error=httpx.ReadError),
    "truncated": _Answer(error=httpx.RemoteProtocolError),
}


@functools.cache
def _published_document() -> dict[str, Any]:
    source = importlib.resources.files("mesh_connect_client") / "openapi.yaml"
    document: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    return document


def _check(
    spec: OpenAPI, method: str, target: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> tuple[_Answer | None, Mapping[str, bytes]]:
    """Return the refusal that a request deserves, or None, and its operation's examples."""
    path, _, query = target.partition("?")
    sent, asked = dict(headers), parse_qs(query, keep_blank_values=True)
    kind = sent.get("content-type", "")
    request = MockRequest(
        "http://localhost", method, path, args=asked, headers=sent, data=body, content_type=kind
    )
    try:
        found: Any = APICallPathFinder(spec.spec).find(request.method, request.host_url + path)
    except PathError as error:
        return _Answer(404, _envelope("notFound", message=str(error))), {}
    examples = {
        status: _write_json(media["example"])
        for status, response in found.operation.read_value()["responses"].items()
        for media in response.get("content", {}).values()
        if "example" in media
    }
    problem = next(spec.iter_request_errors(request), None)
    return (_bad_request(problem) if problem else None), examples


def _bad_request(problem: Exception) -> _Answer:
    causes = getattr(problem.__cause__, "schema_errors", ())
    reason = "; ".join(cause.message for cause in causes) or repr(problem.__cause__ or problem)
    missing = (exceptions.MissingParameterError, exceptions.MissingRequestBodyError)
    is_missing = isinstance(problem, missing) or "required" in {each.validator for each in causes}
    error_type = "missingField" if is_missing else "badRequest"
    return _Answer(400, _envelope("badRequest", error_type, reason))


class StandIn:
    """A server on `url` while entered (on a free port, if none is given); else in-process only.

    It serves all operations of the document, and keeps in `calls` what came in, refused or not.
    """

    client_id = "stand-in-client-id"
    client_secret = "stand-in-client-secret"

    def __init__(self, document: Mapping[str, Any] | None = None, *, port: int = 0) -> None:
        document = _published_document() if document is None else document
        spec = OpenAPI.from_dict({**document, "servers": [{"url": "/"}]}, config=_UNVALIDATED)
        # A check costs more than all the rest, and tests ask the same thing again and again.
        self._check = functools.lru_cache(maxsize=1024)(functools.partial(_check, spec))
        schemes: Mapping[str, Any] = document.get("components", {}).get("securitySchemes", {})
        self._keys = {
            scheme["name"]: self.client_secret if "secret" in name.lower() else self.client_id
            for name, scheme in schemes.items()
            if scheme.get("in") == "header"
        }
        self._port = port
        self._answers: dict[str, _Answer] = {}
        self._faults: dict[str, Iterator[_Answer]] = {}
        self._running = contextlib.ExitStack()
        self.calls: list[Call] = []
        self.url = _NOWHERE

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            listen = functools.partial(asyncio.start_server, backlog=1024)
            server = portal.call(listen, self._converse, "127.0.0.1", self._port)
            stack.callback(portal.call, server.close)
            self.url = "http://{}:{}".format(*server.sockets[0].getsockname())
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.url = _NOWHERE
        self._running.close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a client here."""
        names = ("MESH_CLIENT_ID", "MESH_CLIENT_SECRET", "MESH_BASE_URL")
        return dict(zip(names, (self.client_id, self.client_secret, self.url), strict=True))

    def client(self, **options: Any) -> MeshClient:
        """Return a client of this stand-in; `options` are those of MeshClient."""
        return MeshClient(**self._options(options))

    def async_client(self, **options: Any) -> AsyncMeshClient:
        """Return a client of this stand-in; `options` are those of AsyncMeshClient."""
        return AsyncMeshClient(**self._options(options))

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        keys = {"client_id": self.client_id, "client_secret": self.client_secret}
        in_process = {"transport": self.transport()} if self.url == _NOWHERE else {}
        return {**keys, "base_url": self.url, **in_process, **options}

    def transport(self) -> httpx.MockTransport:
        """Return a transport, for sync and async, that answers as the server does, at once.

        Where the network would fail, or the answer come too late, it raises httpx's error.
        """
        return httpx.MockTransport(self._respond)

    def answers(  # noqa: PLR0913 — one keyword for each thing that can be said
        self,
        token: str,
        *,
        cash: Mapping[str, Amount] | None = None,
        buying_power: Mapping[str, Amount] | None = None,
        cryptocurrency_buying_power: Mapping[str, Amount] | None = None,
        total_cash_usd: Amount = None,
        total_buying_power_usd: Amount = None,
        content: Any = ...,
        envelope: Any = ...,
        body: bytes | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Say what calls with a token get from now on, whatever was said before.

        Amounts are by currency and lose no digit, `delay` is in seconds. `content`, `envelope` and
        `body` are sent as they are. With none of these it is the spec's example for the status.

        Raises:
            ValueError: Something is no amount, or two things each make a whole body.
        """
        columns = {
            "cash": cash,
            "buyingPower": buying_power,
            "cryptocurrencyBuyingPower": cryptocurrency_buying_power,
        }
        totals = [total_cash_usd, total_buying_power_usd]
        bodies = [] if body is None else [body]
        if envelope is not ...:
            bodies.append(_write_json(envelope))
        if content is not ...:
            bodies.append(_envelope("ok", content=content))
        if any(amount is not None for amount in (*columns.values(), *totals)):
            bodies.append(_envelope("ok", content=_balance(columns, *totals)))
        if len(bodies) > 1:
            raise ValueError("give amounts, content, envelope or body: one of them")
        self._answers[token] = _Answer(status, next(iter(bodies), None), headers or {}, delay)
        self._faults.pop(token, None)

    def fails(self, token: str, fault: str, times: int | None = None) -> None:
        """Let calls with a token fail, so many times or for good; then go on as before.

        Raises:
            ValueError: There is no such fault; the message lists those there are.
        """
        if fault not in FAULTS:
            raise ValueError(f"no fault is called {fault!r}; there are: {', '.join(FAULTS)}")
        self._answers.setdefault(token, _Answer())
        self._faults[token] = repeat(FAULTS[fault], *([] if times is None else [times]))

    def _decide(self, method: str, target: str, headers: httpx.Headers, body: bytes) -> _Answer:
        path, _, query = target.partition("?")
        fields: dict[str, Any] = dict(parse_qsl(query))
        with contextlib.suppress(ValueError, TypeError):  # the check says what is wrong with it
            fields |= json.loads(body)
        self.calls.append(Call(method, path, fields, headers))
        answer, examples = self._check(method, target, tuple(headers.items()), body)
        if any(headers.get(name) != key for name, key in self._keys.items()):
            answer = _Answer(401)
        for token in fields.values():  # no document tells which one is: the one that was told of
            if answer is None and isinstance(token, str) and token in self._answers:
                answer = next(self._faults.get(token, iter(())), self._answers[token])
        answer = answer or _Answer()
        if answer.body is None:
            answer = attrs.evolve(answer, body=examples.get(str(answer.status), b""))
        return answer

    def _respond(self, request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode()
        answer = self._decide(request.method, target, request.headers, request.content)
        patience = request.extensions.get("timeout", {}).get("read") or math.inf
        if error := answer.error or (httpx.ReadTimeout if answer.delay > patience else None):
            raise error("the stand-in was told to fail", request=request)
        return answer.response()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection for as long as the client keeps it."""
        ended = (OSError, EOFError, asyncio.CancelledError)  # by the client, by the stand-in
        with contextlib.suppress(*ended), contextlib.closing(writer):
            answer = _Answer()
            while answer.error is None:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                request, *lines = head.strip().split("\r\n")
                method, target, _ = request.split(" ")
                pairs = (line.partition(":") for line in lines)
                headers = httpx.Headers([(name, value.strip()) for name, _, value in pairs])
                body = await reader.readexactly(int(headers.get("Content-Length", "0")))
                answer = self._decide(method, target, headers, body)
                await anyio.sleep(answer.delay)
                if answer.error is httpx.ReadError:
                    peer: socket.socket = writer.get_extra_info("socket")
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                else:
                    writer.write(answer.wire()[: -1 if answer.error else None])
                    await writer.drain()


def _balance(
    columns: Mapping[str, Mapping[str, Amount] | None], cash_usd: Amount, buying_power_usd: Amount
) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    for name, column in columns.items():
        for code, amount in (column or {}).items():
            rows.setdefault(code, {"currencyCode": code})[name] = _number(amount)
    return {
        "balances": list(rows.values()),
        "totalCashUsdValue": _number(cash_usd),
        "totalBuyingPowerUsdValue": _number(buying_power_usd),
    }


def _number(amount: Amount) -> Decimal | None:
    try:
        return None if amount is None else Decimal(str(amount))
    except InvalidOperation:
        raise ValueError(f"{amount!r} is no amount: give a number or None") from None


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until interrupted; a token that is named like a fault fails that way."""
    parser = argparse.ArgumentParser("python -m mesh_facade.testing", description=main.__doc__)
    parser.add_argument(
        "--port", type=int, default=0, help="where to listen (default: a free port)"
    )
    try:
        with StandIn(port=parser.parse_args(argv).port) as mesh:
            for fault in FAULTS:
                mesh.fails(fault, fault)
            for name, value in mesh.environment.items():
                print(f"export {name}={value}", flush=True)  # noqa: T201 — it is a command's output
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    except (OSError, OverflowError) as error:
        parser.error(f"--port: {error}")


if __name__ == "__main__":
    main()
