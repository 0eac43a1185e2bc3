"""A mock of Mesh: an HTTP server on this machine that follows the spec, for tests and trials.

    with MockServer() as mesh, mesh.client() as client:
        mesh.answers("a-token", cash={"USD": "158.5"})
        assert client.get_account_balance("a-token", "coinbase").cash("USD") == Decimal("158.5")

Paths, methods, key headers, checks and default answers are those of the OpenAPI document that
ships with the generated client. Needs the extra `testing`.
"""

import asyncio
import contextlib
import functools
import importlib.resources
import json
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import chain, repeat
from typing import Any, Self

import anyio
import attrs
import httpx
import yaml
from anyio.from_thread import start_blocking_portal
from openapi_core import Config, OpenAPI
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.templating.paths.finders import APICallPathFinder
from openapi_core.testing import MockRequest

from mesh_facade import AsyncMeshClient, MeshClient

Amount = str | int | Decimal | None
Amounts = Mapping[str, Amount] | None

_SOURCE = importlib.resources.files("mesh_connect_client").joinpath("openapi.yaml")
_DOCUMENT: Mapping[str, Any] = yaml.safe_load(_SOURCE.read_bytes())
# Validating the document takes longer than most tests, and it was done where it was generated.
_UNVALIDATED = Config(spec_validator_cls=None)  # pyright: ignore[reportArgumentType] — as its docs say
_NOWHERE = "https://mock-server.invalid"  # a name that no host will ever have (RFC 6761)


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


def _write(value: Any) -> bytes:
    """Write JSON in which a Decimal is a number, with each of its digits."""
    text = json.dumps(value, default=lambda number: "\0" + Decimal.__str__(number))
    return re.sub(r'"\\u0000([^"]+)"', r"\1", text).encode()


def _envelope(status: str, error_type: str = "", message: str = "", **more: Any) -> bytes:
    return _write({**more, "status": status, "message": message, "errorType": error_type})


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


class MockServer:
    """A server on `url` while entered (on a free port, if none is given); else in-process only.

    It serves all operations of the document, and keeps in `calls` what came in, refused or not.
    """

    client_id = "mock-client-id"
    client_secret = "mock-client-secret"

    def __init__(self, document: Mapping[str, Any] = _DOCUMENT, *, port: int = 0) -> None:
        self._spec = OpenAPI.from_dict({**document, "servers": [{"url": "/"}]}, config=_UNVALIDATED)
        schemes: Mapping[str, Any] = document.get("components", {}).get("securitySchemes", {})
        self._keys = {
            scheme["name"].lower(): self.client_secret
            if "secret" in name.lower()
            else self.client_id
            for name, scheme in schemes.items()
            if scheme.get("in") == "header"
        }
        self._told: dict[str, Iterator[_Answer]] = {}
        self._port, self._server = port, contextlib.ExitStack()
        self.url = _NOWHERE
        self.calls: list[Call] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            listen = functools.partial(asyncio.start_server, backlog=1024)  # many lanes at once
            server = portal.call(listen, self._converse, "127.0.0.1", self._port)
            stack.callback(portal.call, server.close)
            self.url = "http://{}:{}".format(*server.sockets[0].getsockname())
            self._server = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.url = _NOWHERE
        self._server.close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a client here."""
        keys = {"MESH_CLIENT_ID": self.client_id, "MESH_CLIENT_SECRET": self.client_secret}
        return {**keys, "MESH_BASE_URL": self.url}

    def client(self, **options: Any) -> MeshClient:
        """Return a client of this mock server; `options` are those of MeshClient."""
        return MeshClient(**self._options() | options)

    def async_client(self, **options: Any) -> AsyncMeshClient:
        """Return a client of this mock server; `options` are those of AsyncMeshClient."""
        return AsyncMeshClient(**self._options() | options)

    def _options(self) -> dict[str, Any]:
        keys = {"client_id": self.client_id, "client_secret": self.client_secret}
        transport = self.transport() if self.url == _NOWHERE else None
        return {**keys, "base_url": self.url, "transport": transport}

    def transport(self) -> httpx.MockTransport:
        """Return a transport, for sync and async, that answers as the server does, at once.

        Where the network would fail, or the answer come too late, it raises httpx's error.
        """
        return httpx.MockTransport(self._respond)

    def answers(  # noqa: PLR0913 — one keyword for each thing that can be said
        self,
        token: str,
        *,
        cash: Amounts = None,
        buying_power: Amounts = None,
        cryptocurrency_buying_power: Amounts = None,
        total_cash_usd: Amount = None,
        total_buying_power_usd: Amount = None,
        content: Any = ...,
        body: Any = ...,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Say what calls with a token get from now on, whatever was said before.

        Amounts are by currency and lose no digit, `delay` is in seconds. `content` and `body` are
        sent as they are, the latter as JSON unless it is bytes. With none of these it is the spec's
        example for the status.

        Raises:
            ValueError: Something is no amount, or two things each make a whole body.
        """
        amounts = [cash, buying_power, cryptocurrency_buying_power]
        totals = [total_cash_usd, total_buying_power_usd]
        bodies = [] if body is ... else [body if isinstance(body, bytes) else _write(body)]
        if any(each is not None for each in (*amounts, *totals)):
            bodies.append(_envelope("ok", content=_balance(amounts, totals)))
        if content is not ...:
            bodies.append(_envelope("ok", content=content))
        if len(bodies) > 1:
            raise ValueError("give amounts, content or body: one of them")
        answer = _Answer(status, next(iter(bodies), None), headers or {}, delay)
        self._told[token] = repeat(answer)

    def fails(self, token: str, fault: str, times: int | None = None) -> None:
        """Let calls with a token fail, so many times or for good; then go on as before.

        Raises:
            ValueError: There is no such fault; the message lists those there are.
        """
        if fault not in FAULTS:
            raise ValueError(f"no fault is called {fault!r}; there are: {', '.join(FAULTS)}")
        failures = repeat(FAULTS[fault], *([] if times is None else [times]))
        self._told[token] = chain(failures, self._told.get(token, repeat(_Answer())))

    def _decide(self, request: httpx.Request) -> tuple[_Answer, httpx.Response]:
        """Return the answer to a request, and what it looks like where nothing fails."""
        method, path, body = request.method, request.url.path, request.content
        headers: dict[str, Any] = dict(request.headers)
        query: Any = request.url.params.multi_items()
        fields: dict[str, Any] = {name: value for name, value in query if value}
        with contextlib.suppress(ValueError, TypeError):  # the check says what is wrong with it
            fields |= json.loads(body)
        self.calls.append(Call(method, path, fields, request.headers))
        tokens = [each for each in fields.values() if isinstance(each, str) and each in self._told]
        kind = headers.get("content-type", "")
        asked = MockRequest(
            _NOWHERE, method, path, args=query, headers=headers, data=body, content_type=kind
        )
        if not self._keys.items() <= headers.items():
            answer = _Answer(401)
        elif problem := next(self._spec.iter_request_errors(asked), None):
            answer = _refuse(problem)
        else:  # no document says which field is the token: it is the one that was told of
            answer = next(self._told[tokens[0]]) if tokens else _Answer()
        sent = self._find_example(asked, answer.status) if answer.body is None else answer.body
        lines = httpx.Headers({"Content-Type": "application/json"})
        lines["Content-Length"] = str(len(sent))
        lines.update(answer.headers)
        return answer, httpx.Response(answer.status, headers=lines, stream=httpx.ByteStream(sent))

    def _find_example(self, asked: MockRequest, status: int) -> bytes:
        with contextlib.suppress(PathError, KeyError, StopIteration):
            url = asked.host_url + asked.path
            found: Any = APICallPathFinder(self._spec.spec).find(asked.method, url)
            media = found.operation.read_value()["responses"][str(status)]["content"].values()
            return _write(next(each["example"] for each in media))
        return b""

    def _respond(self, request: httpx.Request) -> httpx.Response:
        answer, response = self._decide(request)
        patience = request.extensions.get("timeout", {}).get("read")
        is_late = patience is not None and answer.delay > patience
        if error := httpx.ReadTimeout if is_late else answer.error:
            raise error("the mock server was told to fail", request=request)
        return response

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection for as long as the client keeps it."""
        ended = (OSError, EOFError, asyncio.CancelledError)  # by the client, by the mock server
        is_no_http = (ValueError, asyncio.LimitOverrunError)
        with contextlib.suppress(*ended, *is_no_http), contextlib.closing(writer):
            answer = _Answer()
            while not answer.error:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                start, *lines = head.strip().split("\r\n")
                method, target, _ = start.split(" ")
                pairs = (line.partition(":") for line in lines)
                headers = httpx.Headers([(name, value.strip()) for name, _, value in pairs])
                body = await reader.readexactly(int(headers.get("Content-Length", "0")))
                request = httpx.Request(method, self.url + target, headers=headers, content=body)
                answer, response = self._decide(request)
                await anyio.sleep(answer.delay)
                if answer.error is httpx.ReadError:
                    peer: socket.socket = writer.get_extra_info("socket")
                    no_time = struct.pack("ii", 1, 0)  # to send what is left, so it is a reset
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
                else:
                    start = f"HTTP/1.1 {response.status_code} {response.reason_phrase}"
                    lines = [f"{name}: {value}" for name, value in response.headers.items()]
                    head = "\r\n".join([start, *lines, "\r\n"])
                    sent = head.encode() + b"".join(response.iter_raw())
                    writer.write(sent[:-1] if answer.error else sent)
                    await writer.drain()


def _refuse(problem: Exception) -> _Answer:
    if isinstance(problem, PathError):
        return _Answer(404, _envelope("notFound", message=str(problem)))
    causes = getattr(problem.__cause__, "schema_errors", ())
    reason = "; ".join(cause.message for cause in causes) or repr(problem.__cause__ or problem)
    is_missing = "required" in reason.lower()  # so openapi-core says of whatever is missing
    error_type = "missingField" if is_missing else "badRequest"
    return _Answer(400, _envelope("badRequest", error_type, reason))


def _balance(columns: Sequence[Amounts], totals: Sequence[Amount]) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    names = ("cash", "buyingPower", "cryptocurrencyBuyingPower")
    for name, column in zip(names, columns, strict=True):
        for code, amount in (column or {}).items():
            rows.setdefault(code, {"currencyCode": code})[name] = _number(amount)
    cash, power = map(_number, totals)
    balances = [*rows.values()]
    return {"balances": balances, "totalCashUsdValue": cash, "totalBuyingPowerUsdValue": power}


def _number(amount: Amount) -> Decimal | None:
    try:
        return None if amount is None else Decimal(str(amount))
    except InvalidOperation:
        raise ValueError(f"{amount!r} is no amount: give a number or None") from None
