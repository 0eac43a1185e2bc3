"""The mock server of the test kit: tests set its answers and faults, and read the calls it got."""

import contextlib
import json
import threading
from collections.abc import Generator, Mapping
from time import monotonic
from types import EllipsisType
from typing import TYPE_CHECKING, Self, Unpack

import attrs
import httpx

from mesh_facade import AsyncMeshClient, MeshClient
from mesh_facade.testing.answers import (
    JSON,
    NOWHERE,
    Amount,
    Amounts,
    Answer,
    Failure,
    balance_content,
    check_head,
    envelope_with_content,
    write_json,
)
from mesh_facade.testing.client_options import (
    AsyncMeshClientOptions,
    MeshClientOptions,
    MockServerOptions,
)
from mesh_facade.testing.clients import HandedOutClients
from mesh_facade.testing.faults import FAULTS
from mesh_facade.testing.http_server import HTTPServer, has_no_body, response_headers

if TYPE_CHECKING:
    from mesh_facade.testing.contract import Contract


@attrs.frozen
class Call:
    """A request that the mock server received.

    The repr shows neither fields nor headers, because they hold secrets.

    Attributes:
        method: The HTTP method, such as `POST`.
        path: The path of the URL, without the query.
        fields: The fields of the JSON body and the non-empty fields of the query, by name. A field
            of the body takes precedence over a field of the query with the same name. A body that
            is not a JSON object has no fields.
        headers: The headers of the request, including the client's keys. Their names are
            case-insensitive: `headers["x-client-id"]`.
        time: When the server received the request: a value of `time.monotonic()`.
    """

    method: str
    path: str
    fields: Mapping[str, JSON] = attrs.field(repr=False)
    headers: httpx.Headers = attrs.field(repr=False)
    time: float = attrs.field(factory=monotonic)


@attrs.define
class _PlannedFault:
    """A fault that is planned for the calls with one token.

    Attributes:
        answer: The answer that carries out the fault.
        times: How many more calls get this answer; None for all.
    """

    answer: Answer
    times: int | None


class _Plan:
    """The answers to the calls with one token.

    The fault that was added last comes first. After all faults comes the answer.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._faults: list[_PlannedFault] = []

    def add_fault(self, fault: _PlannedFault) -> None:
        """Add a fault that comes before those that were added earlier."""
        self._faults.append(fault)

    def next_answer(self) -> Answer:
        """Return the answer to the next call, and count that call."""
        while self._faults:
            fault = self._faults[-1]
            if fault.times is None:
                return fault.answer
            if fault.times > 0:
                fault.times -= 1
                return fault.answer
            self._faults.pop()
        return self._answer


class MockServer:
    """A mock of Mesh. Inside `with` or `async with`, it listens on a port of this machine.

    Without `with`, it opens no socket: only the clients and transports that it returns reach it, in
    process.

    It serves all operations of an OpenAPI document, which defines the paths, methods, key headers,
    checks of requests and default answers. The answer to a request is:

    - 401 if its keys are wrong,
    - 404 or 400 if the document does not allow it,
    - otherwise the answer or fault that `answers` or `fails` set for its token, and by default the
      example in the document.

    Attributes:
        client_id: The client id that requests must carry.
        client_secret: The client secret that requests must carry.
        url: The base URL of the server while it listens; otherwise a URL that no host answers.
        calls: The requests that the server received, in order, including those that it refused.

    Args:
        document: The OpenAPI document; None for the one that ships with the generated client. A
            document is not validated, so a mistake in it usually shows up only at a request.
        port: The port to listen on; 0 for a free one. If it is taken, `with` raises OSError.
    """

    client_id = "mock-client-id"
    client_secret = "mock-client-secret"

    def __init__(self, document: Mapping[str, JSON] | None = None, *, port: int = 0) -> None:
        # Importing this takes 0.3 seconds. The pytest plugin imports the mock server in every run
        # of pytest, and most runs never make one.
        from mesh_facade.testing import contract  # noqa: PLC0415

        if document is None:
            document = contract.load_document()
        self._contract: Contract = contract.Contract(
            document, client_id=self.client_id, client_secret=self.client_secret
        )
        self._port = port
        self._server = HTTPServer(self._respond)
        self._clients = HandedOutClients()
        self._plans: dict[str, _Plan] = {}
        self._lock = threading.Lock()  # in-process clients may call from many threads
        self.url = NOWHERE
        self.calls: list[Call] = []

    def __enter__(self) -> Self:
        self.url = self._server.start(self._port)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._clients.close()
        finally:
            self._stop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._clients.aclose()
        finally:
            self._stop()

    def _stop(self) -> None:
        self.url = NOWHERE
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that make a client in another process call this server."""
        return {
            "MESH_CLIENT_ID": self.client_id,
            "MESH_CLIENT_SECRET": self.client_secret,
            "MESH_BASE_URL": self.url,
        }

    def client(self, **options: Unpack[MeshClientOptions]) -> MeshClient:
        """Return a client of this mock server.

        The client is closed when the `with` block of the mock server ends, unless you close it
        earlier.

        Args:
            options: Options of `MeshClient`. They override the options that the mock server sets:
                `client_id`, `client_secret`, `base_url` and, while it does not listen, `transport`.

        Raises:
            MeshConfigurationError: An option cannot be used.
        """
        chosen: MeshClientOptions = {**self._client_options(), **options}
        client = MeshClient(**chosen)
        self._clients.add(client)
        return client

    def async_client(self, **options: Unpack[AsyncMeshClientOptions]) -> AsyncMeshClient:
        """Return an async client of this mock server.

        The client is closed when the `async with` block of the mock server ends, unless you close
        it earlier. A plain `with` block that ends inside the client's event loop cannot wait for
        that: it schedules the closing, and the loop closes the client soon afterwards.

        Args:
            options: Options of `AsyncMeshClient`; see `client`.

        Raises:
            MeshConfigurationError: An option cannot be used.
        """
        chosen: AsyncMeshClientOptions = {**self._client_options(), **options}
        client = AsyncMeshClient(**chosen)
        self._clients.add_async(client)
        return client

    def _client_options(self) -> MockServerOptions:
        """Return the options that make a client call this server."""
        options = MockServerOptions(
            client_id=self.client_id, client_secret=self.client_secret, base_url=self.url
        )
        if self.url == NOWHERE:
            options["transport"] = self.transport()
        return options

    def transport(self) -> httpx.MockTransport:
        """Return a transport that answers sync and async clients in process, without waiting.

        Delays are not waited for. If the whole answer, from the request to its last byte, would
        take longer than the client's read timeout, the transport raises `httpx.ReadTimeout` at
        once. (Over a network, that timeout bounds each wait for data, not the whole answer.) For a
        network fault, the transport raises the exception that httpx would raise.
        """
        return httpx.MockTransport(self._respond_in_process)

    def reset(self) -> None:
        """Forget answers, faults and calls, and drop all connections.

        A request that the server has not read yet is dropped with its connection, so it is not
        recorded later. Clients stay open: their next call opens a new connection.
        """
        self._server.drop_connections()
        with self._lock:
            self._plans.clear()
            self.calls.clear()

    @contextlib.contextmanager
    def isolated(self) -> Generator[Self]:
        """Isolate a `with` block, such as one test, from what happens before and after it.

        `reset` is called at the start and at the end of the block. Clients that `client` and
        `async_client` return inside the block are closed at its end; earlier clients stay open.
        """
        earlier = self._clients
        self._clients = HandedOutClients()
        self.reset()
        try:
            yield self
        finally:
            try:
                self._clients.close()
            finally:
                self._clients = earlier
                self.reset()

    def answers(  # noqa: PLR0913 — one keyword for each part of an answer
        self,
        token: str,
        *,
        cash: Amounts = None,
        buying_power: Amounts = None,
        cryptocurrency_buying_power: Amounts = None,
        total_cash_usd: Amount = None,
        total_buying_power_usd: Amount = None,
        content: JSON | EllipsisType = ...,
        body: JSON | bytes | EllipsisType = ...,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Set the answer to all calls with a token; it replaces earlier answers and faults.

        Choose the body in one of three ways: give the amounts and totals of a balance, or the whole
        `content`, or the whole `body`. By default, the body is the example that the OpenAPI
        document has for the status.

        `cash`, `buying_power` and `cryptocurrency_buying_power` map currencies to amounts. The
        balance has one row for each currency that any of the three contains. A row has the field
        for `cash` only if `cash` contains its currency; the same goes for the other two. An amount
        of None is sent as `null`. A total that is not given, or is None, is sent as `null`, too.

        Args:
            token: The user's token. Any field of a request may hold it.
            cash: Amounts by currency, such as `{"USD": "158.5"}`; no digit is lost.
            buying_power: The buying power by currency, in the same form.
            cryptocurrency_buying_power: The buying power in cryptocurrencies, in the same form.
            total_cash_usd: The total of the cash that Mesh computes.
            total_buying_power_usd: The total of the buying power that Mesh computes.
            content: The value of `content`, in an envelope with the status `ok`; None becomes
                `null`. The default `...` means that it is not given.
            body: The whole body: bytes are sent unchanged, anything else as JSON, None as `null`.
                The default `...` means that it is not given.
            status: The HTTP status, from 200 to 999.
            headers: Headers to add; a `Content-Type` replaces the default one.
            delay: Seconds that pass before the answer.

        Raises:
            ValueError: An amount cannot be read as a number (`"NaN"` can, and is sent as `NaN`),
                the body is given in more than one way, or no HTTP server can send this status and
                these headers.
            TypeError: `content` or `body` cannot be written as JSON.
        """
        bodies: list[bytes] = []
        amounts = [cash, buying_power, cryptocurrency_buying_power]
        totals = [total_cash_usd, total_buying_power_usd]
        if any(value is not None for value in [*amounts, *totals]):
            balance = balance_content(
                cash=cash,
                buying_power=buying_power,
                cryptocurrency_buying_power=cryptocurrency_buying_power,
                total_cash_usd=total_cash_usd,
                total_buying_power_usd=total_buying_power_usd,
            )
            bodies.append(envelope_with_content(balance))
        if not isinstance(content, EllipsisType):
            bodies.append(envelope_with_content(content))
        if isinstance(body, bytes):
            bodies.append(body)
        elif not isinstance(body, EllipsisType):
            bodies.append(write_json(body).encode())
        if len(bodies) > 1:
            raise ValueError(
                "the body is given more than once: give amounts, content or body, but only one of "
                "them"
            )

        chosen_body = None  # stands for the document's example
        if bodies:
            chosen_body = bodies[0]
        chosen_headers = dict(headers or {})
        check_head(status, chosen_headers)
        answer = Answer(status=status, body=chosen_body, headers=chosen_headers, delay=delay)
        with self._lock:
            self._plans[token] = _Plan(answer)

    def fails(self, token: str, fault: str, times: int | None = None) -> None:
        """Make calls with a token fail.

        The fault takes precedence over earlier answers and faults of the token.

        Args:
            token: The user's token. Any field of a request may hold it.
            fault: The name of one of `FAULTS`.
            times: How many requests fail; each attempt of a client is one request. Later requests
                get the answer or fault that was set before. None for all requests, until `answers`
                or `reset` is called.

        Raises:
            ValueError: No fault has this name; the message lists the names.
        """
        if fault not in FAULTS:
            raise ValueError(f"there is no fault {fault!r}; choose one of: {', '.join(FAULTS)}")
        planned = _PlannedFault(FAULTS[fault].answer, times)
        with self._lock:
            plan = self._plans.setdefault(token, _Plan(Answer()))
            plan.add_fault(planned)

    def _respond(self, request: httpx.Request) -> tuple[Answer, bytes]:
        """Record a request; return the answer, and the body to send, which may be an example."""
        call = Call(request.method, request.url.path, _read_fields(request), request.headers)
        with self._lock:
            self.calls.append(call)
        answer = self._choose_answer(request, call)
        if has_no_body(request, answer.status):
            return answer, b""
        if answer.body is None:
            return answer, self._contract.find_example(request, answer.status)
        return answer, answer.body

    def _choose_answer(self, request: httpx.Request, call: Call) -> Answer:
        """Return the refusal of a request, or the answer that is planned for its token."""
        if not self._contract.has_right_keys(request):
            return Answer(status=401)
        refusal = self._contract.find_refusal(request)
        if refusal is not None:
            return refusal
        # The document does not say which field holds the token, so all of them are looked up.
        with self._lock:
            for value in call.fields.values():
                if isinstance(value, str) and value in self._plans:
                    return self._plans[value].next_answer()
        return Answer()

    def _respond_in_process(self, request: httpx.Request) -> httpx.Response:
        """Return the response to a request, or raise the exception that httpx would raise.

        Raises:
            httpx.TransportError: The answer takes too long, or the connection is to fail.
        """
        answer, body = self._respond(request)
        _raise_timeout_or_broken_connection(request, answer, body)
        return httpx.Response(
            answer.status,
            headers=response_headers(answer, body),
            stream=httpx.ByteStream(body),
        )


def _read_fields(request: httpx.Request) -> dict[str, JSON]:
    """Return the fields of a request's query and JSON body, as `Call.fields` describes them."""
    query = request.url.params.multi_items()
    fields: dict[str, JSON] = {name: value for name, value in query if value}
    try:
        body = json.loads(request.content)
    except (ValueError, RecursionError):
        return fields  # the contract refuses a body that must be JSON and is not
    if isinstance(body, dict):
        fields.update(body)
    return fields


def _raise_timeout_or_broken_connection(
    request: httpx.Request, answer: Answer, body: bytes
) -> None:
    """Raise ReadTimeout if the answer takes too long, or the error of a connection that breaks.

    Over a network, the read timeout does not end an answer that is sent byte by byte: each byte
    arrives in time, and only the client's deadline ends the call. In process nothing waits, so the
    time of the whole answer is compared with the read timeout instead.

    Raises:
        httpx.ReadTimeout: The whole answer takes longer than the read timeout.
        httpx.ReadError: The connection is to be reset.
        httpx.RemoteProtocolError: The connection is to be closed before the end of the answer.
    """
    seconds = answer.delay + answer.byte_interval * len(body)
    read_timeout = request.extensions.get("timeout", {}).get("read")
    if read_timeout is not None and seconds > read_timeout:
        raise httpx.ReadTimeout("the mock server's answer takes too long", request=request)
    if answer.failure is Failure.RESET:
        raise httpx.ReadError("the mock server resets the connection", request=request)
    if answer.failure is not None:
        raise httpx.RemoteProtocolError("the mock server closes the connection", request=request)
