"""The mock server as its users see it: the answers that they choose, and the calls it records."""

import contextlib
import json
import threading
import time
from collections.abc import Generator, Mapping
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
    """A request that came in. Its repr shows neither fields nor headers: they hold secrets.

    Attributes:
        method: The HTTP method, such as `POST`.
        path: The path of the URL, without the query.
        fields: The fields of the JSON body, and those of the query that are not empty, by name.
            Where both have a name, it is the body's. A body that is not a JSON object has none.
        headers: The headers as they came in, the client's keys among them; `headers["x-client-id"]`
            finds one in upper or lower case.
        time: When it came in, in the seconds of `time.monotonic()`.
    """

    method: str
    path: str
    fields: Mapping[str, JSON] = attrs.field(repr=False)
    headers: httpx.Headers = attrs.field(repr=False)
    time: float = attrs.field(factory=time.monotonic)


@attrs.define
class _DueFault:
    """A fault that calls with a token will meet.

    Attributes:
        answer: What the server sends.
        times: How many more calls will meet it; None: all.
    """

    answer: Answer
    times: int | None


class _Plan:
    """What calls with one token get: the faults that are due, the latest first, then the answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._faults: list[_DueFault] = []

    def add_fault(self, fault: _DueFault) -> None:
        """Add a fault that comes before those that are due already."""
        self._faults.append(fault)

    def next_answer(self) -> Answer:
        """Return the answer for the next call."""
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

    Outside of them it opens no socket, and only its own clients and transports reach it.

    It serves all operations of an OpenAPI document. Paths, methods, key headers, checks of requests
    and default answers are the document's. A request with wrong keys is answered 401, one that the
    document does not allow 400 or 404, and any other as `answers` and `fails` say.

    Attributes:
        client_id: The client id that requests must carry.
        client_secret: The client secret that requests must carry.
        url: The address where it listens; no real address while it does not listen.
        calls: The requests that came in, in order; those that were refused, too.

    Args:
        document: The OpenAPI document; None for that of the generated client. It is not checked: a
            mistake in it shows at the first request at the earliest.
        port: The port to listen on; 0 for a free one. If it is taken, `with` raises OSError.
    """

    client_id = "mock-client-id"
    client_secret = "mock-client-secret"

    def __init__(self, document: Mapping[str, JSON] | None = None, *, port: int = 0) -> None:
        # Importing this takes 0.3 seconds, which most runs of pytest with the plugin save.
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
        """The environment variables that point a client of another process here."""
        return {
            "MESH_CLIENT_ID": self.client_id,
            "MESH_CLIENT_SECRET": self.client_secret,
            "MESH_BASE_URL": self.url,
        }

    def client(self, **options: Unpack[MeshClientOptions]) -> MeshClient:
        """Return a client of this mock server.

        It is closed when the `with` block of the mock server ends, unless you close it earlier.

        Args:
            options: Options of `MeshClient`. They replace those that the mock server chooses:
                `client_id`, `client_secret`, `base_url` and, while it opens no socket, `transport`.

        Raises:
            MeshConfigurationError: An option cannot be used.
        """
        chosen: MeshClientOptions = {**self._own_options(), **options}
        client = MeshClient(**chosen)
        self._clients.add(client)
        return client

    def async_client(self, **options: Unpack[AsyncMeshClientOptions]) -> AsyncMeshClient:
        """Return an async client of this mock server.

        It is closed when the `async with` block of the mock server ends, unless you close it
        earlier. After a plain `with` in the event loop of the client, the loop closes it when it
        next gets to run.

        Args:
            options: Options of `AsyncMeshClient`; see `client`.

        Raises:
            MeshConfigurationError: An option cannot be used.
        """
        chosen: AsyncMeshClientOptions = {**self._own_options(), **options}
        client = AsyncMeshClient(**chosen)
        self._clients.add_async(client)
        return client

    def _own_options(self) -> MockServerOptions:
        options = MockServerOptions(
            client_id=self.client_id, client_secret=self.client_secret, base_url=self.url
        )
        if self.url == NOWHERE:
            options["transport"] = self.transport()
        return options

    def transport(self) -> httpx.MockTransport:
        """Return a transport that answers sync and async clients in process, without waiting.

        If an answer's delay is longer than the client's read timeout, the transport raises
        `httpx.ReadTimeout` at once. A fault of the network raises the exception that httpx raises
        for it.
        """
        return httpx.MockTransport(self._respond_in_process)

    def reset(self) -> None:
        """Forget answers, faults and calls, and drop all connections.

        Clients stay open: their next call opens a new connection.
        """
        self._server.drop_connections()
        with self._lock:
            self._plans.clear()
            self.calls.clear()

    @contextlib.contextmanager
    def isolated(self) -> Generator[Self]:
        """Isolate a `with` block, such as one test, from what happens before and after it.

        `reset` is called at its start and at its end. Clients that are handed out within the block
        are closed at its end; those from before stay open.
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

        Give the amounts and totals of a balance, or a whole `content`, or a whole `body`. With
        none of them the body is the OpenAPI document's example for the status.

        In JSON, an amount of None is `null`, and so is a `content` or a `body` of None. A currency
        that is in one mapping and not in another lacks that field in its row.

        Args:
            token: The user's token. Any field of a request may hold it.
            cash: Amounts by currency, such as `{"USD": "158.5"}`; no digit is lost. If the whole
                argument is None, rows have no such field.
            buying_power: The same for the buying power.
            cryptocurrency_buying_power: The same for the buying power in cryptocurrencies.
            total_cash_usd: Mesh's own total of the cash.
            total_buying_power_usd: Mesh's own total of the buying power.
            content: The value of `content`, in an envelope with the status `ok`.
            body: The whole body: bytes are sent unchanged, anything else as JSON.
            status: The HTTP status, from 200 to 999.
            headers: Headers in addition to `Content-Type`, or in its place.
            delay: Seconds that pass before the answer.

        Raises:
            ValueError: An amount is not a number, or two arguments each make a whole body, or
                no HTTP server can send this status and these headers.
            TypeError: `content` or `body` cannot be written as JSON.
        """
        bodies: list[bytes] = []
        columns = [cash, buying_power, cryptocurrency_buying_power]
        totals = [total_cash_usd, total_buying_power_usd]
        if any(value is not None for value in [*columns, *totals]):
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
            raise ValueError("give amounts, content or body: one of them, not several")

        chosen_body = None  # the document's example
        if bodies:
            chosen_body = bodies[0]
        chosen_headers = dict(headers or {})
        check_head(status, chosen_headers)
        answer = Answer(status=status, body=chosen_body, headers=chosen_headers, delay=delay)
        with self._lock:
            self._plans[token] = _Plan(answer)

    def fails(self, token: str, fault: str, times: int | None = None) -> None:
        """Let calls with a token fail.

        The fault comes before an answer or another fault that was chosen for the token earlier.

        Args:
            token: The user's token. Any field of a request may hold it.
            fault: The name of one of `FAULTS`.
            times: How many requests fail; each attempt of a client is one. Later requests are
                answered as before. None: all requests fail, until `answers` or `reset` is called.

        Raises:
            ValueError: There is no such fault; the message lists those that there are.
        """
        if fault not in FAULTS:
            raise ValueError(f"there is no fault {fault!r}; choose one of: {', '.join(FAULTS)}")
        due = _DueFault(FAULTS[fault].answer, times)
        with self._lock:
            plan = self._plans.setdefault(token, _Plan(Answer()))
            plan.add_fault(due)

    def _respond(self, request: httpx.Request) -> tuple[Answer, bytes]:
        """Record a request, and return the answer to it and the body to send."""
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
        if not self._contract.has_right_keys(request):
            return Answer(status=401)
        problem = self._contract.find_problem(request)
        if problem is not None:
            return problem
        # The document does not say which field holds the token, so all of them are looked up.
        with self._lock:
            for value in call.fields.values():
                if isinstance(value, str) and value in self._plans:
                    return self._plans[value].next_answer()
        return Answer()

    def _respond_in_process(self, request: httpx.Request) -> httpx.Response:
        answer, body = self._respond(request)
        _raise_failure(request, answer, body)
        return httpx.Response(
            answer.status,
            headers=response_headers(answer, body),
            stream=httpx.ByteStream(body),
        )


def _read_fields(request: httpx.Request) -> dict[str, JSON]:
    """Return the fields of a request's query and JSON body."""
    query = request.url.params.multi_items()
    fields: dict[str, JSON] = {name: value for name, value in query if value}
    try:
        body = json.loads(request.content)
    except ValueError:
        return fields  # the check against the document says what is wrong with it
    if isinstance(body, dict):
        fields.update(body)
    return fields


def _raise_failure(request: httpx.Request, answer: Answer, body: bytes) -> None:
    """Raise what httpx raises where the answer is late or the connection fails."""
    seconds = answer.delay + answer.byte_interval * len(body)
    read_timeout = request.extensions.get("timeout", {}).get("read")
    if read_timeout is not None and seconds > read_timeout:
        raise httpx.ReadTimeout("the mock server's answer takes too long", request=request)
    if answer.failure is Failure.RESET:
        raise httpx.ReadError("the mock server resets the connection", request=request)
    if answer.failure is not None:
        raise httpx.RemoteProtocolError("the mock server closes the connection", request=request)
