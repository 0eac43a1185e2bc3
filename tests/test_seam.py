"""The seam: the generated operation runs as it is, and the facade follows wherever it goes."""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import generate
import httpx
import import_spec
import pytest
import yaml
from mesh_connect_client import Client
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import BalanceBrokerBaseRequest

import mesh_facade
from mesh_facade import MeshResponseError, ServerError, client
from mesh_facade.credentials import Credentials
from mesh_facade.engine.connection import CallerTaskTransport, CallerThreadTransport
from mesh_facade.engine.engine import Caller, Engine
from mesh_facade.engine.httpx_clients import AsyncEngineClient, EngineClient
from mesh_facade.engine.pool import ConnectionPool
from mesh_facade.engine.retries import NeverRetry, RetryBudget, RetryPolicy
from mesh_facade.engine.waiting import TaskWaiting, ThreadWaiting, Waiting, run_blocking
from mesh_facade.operations import envelope
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE
from mesh_facade.operations.wire_names import WireNames
from tests.support import (
    CLIENT_ID,
    CLIENT_SECRET,
    OK,
    Peer,
    Script,
    cash_body,
    response,
    silent_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Clock, Mode, Serve

ROOT = Path(__file__).parents[1]
SPEC: Any = yaml.safe_load((ROOT / "openapi/mesh.yaml").read_text(encoding="utf-8"))
PACKAGE = ROOT / "mesh_facade"
EXTRAS = {"cli", "testing", "dask", "pytest_plugin"}
CORE = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if not {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts} & EXTRAS
)


# --- the generated operation is in the path of every call ---------------------------------------


def test_the_generated_operation_runs_exactly_once_for_each_call(
    mode: Mode, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "asyncio_detailed" if mode.is_async else "sync_detailed"
    generated = getattr(get_account_balance, name)
    runs: list[Any] = []

    def count(**arguments: Any) -> Any:
        runs.append(arguments)
        return generated(**arguments)

    monkeypatch.setattr(get_account_balance, name, count)
    script = Script(OK, response(500, b""), OK)
    caller = mode.client(transport=script)

    caller.read()
    assert len(runs) == len(script.requests) == 1
    caller.read()
    assert (len(runs), len(script.requests)) == (2, 3)
    caller.with_options(timeout=1).read()
    assert (len(runs), len(script.requests)) == (3, 4)
    assert {frozenset(arguments) for arguments in runs} == {frozenset({"client", "body"})}
    assert len(clock.pauses) == 1


def test_the_generated_operation_calls_request_on_the_httpx_client_that_it_is_given(
    mode: Mode,
) -> None:
    """What the engine relies on; the newest generator and httpx are held against it weekly."""
    seen: list[tuple[str, Any]] = []

    class Sync(httpx.Client):
        def request(self, method: str, url: Any, **options: Any) -> httpx.Response:
            seen.append((method, {"url": url, **options}))
            return httpx.Response(200, content=OK)

    class Async(httpx.AsyncClient):
        async def request(self, method: str, url: Any, **options: Any) -> httpx.Response:
            seen.append((method, {"url": url, **options}))
            return httpx.Response(200, content=OK)

    generated = Client(base_url="https://mesh.example")
    body = BalanceBrokerBaseRequest("a-token", "coinbase")
    transport = httpx.MockTransport(lambda _: httpx.Response(500))
    if mode.is_async:
        generated.set_async_httpx_client(Async(transport=transport))
        answer = mode.run(get_account_balance.asyncio_detailed(client=generated, body=body))
    else:
        generated.set_httpx_client(Sync(transport=transport))
        answer = get_account_balance.sync_detailed(client=generated, body=body)

    [(path, item)] = SPEC["paths"].items()
    [method] = item
    assert seen == [
        (
            method,
            {
                "url": path,
                "json": {"authToken": "a-token", "type": "coinbase"},
                "headers": {"Content-Type": "application/json"},
            },
        )
    ]
    assert answer.content == OK
    assert answer.parsed.content.total_cash_usd_value == 10


def test_the_engines_are_httpx_clients_that_accept_a_request_to_send(mode: Mode) -> None:
    script = Script(OK)
    caller = Caller(engine_on(mode, script), lambda _: None, retrying())
    request = httpx.Request("POST", "https://mesh.example/x", json={})

    if mode.is_async:
        answer = mode.run(AsyncEngineClient(caller).send(request))
    else:
        answer = EngineClient(caller).send(request)

    assert issubclass(EngineClient, httpx.Client)
    assert issubclass(AsyncEngineClient, httpx.AsyncClient)
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.content == OK


def test_a_2xx_reaches_the_generated_parser_as_200(mode: Mode) -> None:
    assert mode.client(transport=Script(response(206))).read().cash("USD")


def test_the_coroutines_of_the_sync_client_never_suspend() -> None:
    with pytest.raises(RuntimeError, match="has suspended"):
        run_blocking(asyncio.sleep(0))


# --- which handwritten code knows the wire ------------------------------------------------------


def modules_imported_by(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_only_operations_the_clients_and_the_names_import_generated_code() -> None:
    importing = {
        path.relative_to(PACKAGE).parts[0]
        for path in CORE
        if any(name.split(".")[0] == generate.PACKAGE for name in modules_imported_by(path))
    }

    assert len(CORE) >= 10
    assert importing == {"__init__.py", "operations", "client.py"}


def literals(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are not documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose and isinstance(node.value, str):
            yield node.value


def test_no_path_method_or_wire_name_stands_in_handwritten_code() -> None:
    properties = {
        name
        for schema in SPEC["components"]["schemas"].values()
        for name in schema.get("properties", ())
    }
    headers = {scheme["name"] for scheme in SPEC["components"]["securitySchemes"].values()}
    # A name without capitals is Python's spelling too: there it may well stand.
    names = {name for name in properties if name != name.lower()} | headers | set(SPEC["paths"])
    names |= {method for item in SPEC["paths"].values() for method in item}
    servers = {server["url"].removeprefix("https://") for server in SPEC["servers"]}

    # The payload of Link is not a call: its fields are read where it is handed over.
    modules = [path for path in CORE if path.name != "link_payload.py"]
    said = {text: path.name for path in modules for text in literals(path)}

    assert "authToken" in names
    assert {text for text in said if text in names or text.lower() in {"post", "get"}} == set()
    assert {
        text for text in said if "/api/" in text or any(host in text for host in servers)
    } == set()


# --- a regenerated client takes the facade along ------------------------------------------------

FOLLOW = """
import json, sys
from decimal import Decimal
import httpx
from mesh_facade import MeshClient

def answer(request):
    sent.append([request.method, request.url.path, json.loads(request.content)])
    return httpx.Response(200, text=sys.argv[1])

sent = []
with MeshClient("an-id", "a-secret", transport=httpx.MockTransport(answer)) as mesh:
    balance = mesh.get_account_balance("a-token", "coinbase")
print(json.dumps({"sent": sent, "balance": balance.to_dict()}))
"""


def test_the_facade_follows_another_path_method_and_spelling_without_an_edit(
    tmp_path: Path,
) -> None:
    spec = (ROOT / "openapi/mesh.yaml").read_text(encoding="utf-8")
    overlay = (ROOT / "openapi/overlay.yaml").read_text(encoding="utf-8")
    renamed = {
        "/api/v1/balance/get": "/api/v2/balances/read",
        "    post:": "    put:",
        "authToken": "AuthToken",
        "cash:": "Cash:",
        "currencyCode": "CurrencyCode",
        "totalCashUsdValue": "TotalCashUsdValue",
        "content:\n          allOf": "Content:\n          allOf",
        "properties.content": "properties.Content",
    }
    for old, new in renamed.items():
        assert old in spec + overlay
        spec, overlay = spec.replace(old, new), overlay.replace(old, new)
    (tmp_path / "mesh.yaml").write_text(spec, encoding="utf-8")
    (tmp_path / "overlay.yaml").write_text(overlay, encoding="utf-8")
    generate.generate(tmp_path / "mesh.yaml", tmp_path / "overlay.yaml", tmp_path / "generated")

    answer = (
        '{"status": "ok", "Content": {"TotalCashUsdValue": 0.10, '
        '"balances": [{"CurrencyCode": "USD", "Cash": 1.50, "buyingPower": 2}]}}'
    )
    path = os.pathsep.join([str(tmp_path / "generated"), str(ROOT)])
    run = subprocess.run(
        [sys.executable, "-c", FOLLOW, answer],
        env={"PYTHONPATH": path, "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.stderr == ""
    assert json.loads(run.stdout) == {
        "sent": [["PUT", "/api/v2/balances/read", {"AuthToken": "a-token", "type": "coinbase"}]],
        "balance": {
            "rows": [
                {
                    "currency": "USD",
                    "cash": "1.50",
                    "buying_power": "2",
                    "cryptocurrency_buying_power": None,
                }
            ],
            "total_cash_usd": "0.10",
            "total_buying_power_usd": None,
        },
    }


# --- a second operation goes through import, generation and engine ------------------------------


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Import and generate the portfolio operation, beside the client that is installed."""
    folder = tmp_path_factory.mktemp("portfolio")
    source = Path(__file__).with_name("portfolio.yaml")
    imported = [str(source), "--output", str(folder / "spec.yaml"), "--all"]
    assert import_spec.main(imported) == 0
    generate.generate(folder / "spec.yaml", None, folder / "generated")
    (folder / "generated" / generate.PACKAGE).rename(folder / "portfolio_client")
    sys.path.insert(0, str(folder))
    try:
        package = importlib.import_module("portfolio_client")
        operation = importlib.import_module("portfolio_client.api.balance.get_portfolio")
        yield lambda: (package.Client(base_url="https://x"), operation)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.startswith("portfolio_client")]:
            del sys.modules[name]


def find_portfolio_problem(envelope: Any) -> str | None:
    content = envelope.get("content")
    has_rows = isinstance(content, dict) and isinstance(content.get("fiatBalances"), list)
    return None if has_rows else "it holds no portfolio"


def engine_on(mode: Mode, script: Script) -> Engine:
    waiting: Waiting = TaskWaiting() if mode.is_async else ThreadWaiting()
    transport = CallerTaskTransport(script) if mode.is_async else CallerThreadTransport(script)
    pool = ConnectionPool(waiting, lambda: transport, 1)
    return Engine(
        base_url="https://mesh.example",
        waiting=waiting,
        pool=pool,
        authentication=Credentials(CLIENT_ID, CLIENT_SECRET),
        user_agent="a-test",
        timeout=1.0,
        deadline=30.0,
        max_attempts=3,
        stopped=pool.stopped,
    )


def read_portfolio(mode: Mode, portfolio: Any, script: Script, policy: RetryPolicy) -> Any:
    def judge(answer: Any) -> Any:
        return envelope.judge(answer, find_portfolio_problem)

    caller = Caller(engine_on(mode, script), judge, policy)
    client, operation = portfolio()
    if mode.is_async:
        client.set_async_httpx_client(AsyncEngineClient(caller))
        return mode.run(operation.asyncio_detailed(client=client, user_id="user 1&2"))
    client.set_httpx_client(EngineClient(caller))
    return operation.sync_detailed(client=client, user_id="user 1&2")


def retrying() -> RetryPolicy:
    return RetryPolicy(RetryBudget())


PORTFOLIO = (
    b'{"status": "ok", "content": {"fiatBalances": '
    b'[{"symbol": "EUR", "cash": 12345678901234567.89, "buyingPower": 0.10}]}}'
)


def test_a_second_operation_runs_on_the_same_engine(mode: Mode, portfolio: Any) -> None:
    script = Script(PORTFOLIO)

    answer = read_portfolio(mode, portfolio, script, retrying())

    [sent] = script.requests
    assert sent.method == "GET"
    assert sent.url == httpx.URL(
        "https://mesh.example/api/v1/balance/portfolio", params={"UserId": "user 1&2"}
    )
    assert sent.headers["X-Client-Secret"] == CLIENT_SECRET
    [row] = answer.parsed.content.fiat_balances
    assert (row.symbol, row.cash, row.buying_power) == (
        "EUR",
        Decimal("12345678901234567.89"),
        Decimal("0.10"),
    )


def test_a_second_operation_has_the_same_errors_and_its_own_check(
    mode: Mode, portfolio: Any, clock: Clock
) -> None:
    with pytest.raises(MeshResponseError, match="it holds no portfolio"):
        read_portfolio(mode, portfolio, Script(cash_body("1")), retrying())
    with pytest.raises(ServerError) as caught:
        read_portfolio(mode, portfolio, Script(response(500, b"")), retrying())

    assert caught.value.attempts == 3
    assert len(clock.pauses) == 2


@pytest.mark.parametrize("failure", [response(500, b""), response(429, b""), httpx.ReadError("")])
def test_an_operation_that_is_unsafe_to_repeat_is_never_sent_twice(
    mode: Mode, portfolio: Any, clock: Clock, failure: Any
) -> None:
    script = Script(failure, PORTFOLIO)

    with pytest.raises(mesh_facade.MeshError) as caught:
        read_portfolio(mode, portfolio, script, NeverRetry(RetryBudget()))

    assert len(script.requests) == caught.value.attempts == 1
    assert clock.pauses == []


def test_an_operation_that_is_unsafe_to_repeat_gets_no_free_try(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_once(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()

    server = serve(answer_once)
    caller = mode.client(base_url=server.url)
    caller.read()
    operation = attrs.evolve(GET_ACCOUNT_BALANCE, is_safe_to_repeat=False)
    monkeypatch.setattr(client, "GET_ACCOUNT_BALANCE", operation)

    with pytest.raises(mesh_facade.MeshConnectionError):
        caller.read()

    assert (server.connections, len(server.requests)) == (1, 2)


# --- what the pool relies on in httpx and httpcore ----------------------------------------------


def traced(url: httpx.URL | str, trace: Any, mode: Mode) -> bytes:
    """Send a request through one of httpx's own transports, with a trace."""
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), 5.0)
    request = httpx.Request("GET", url, extensions={"trace": trace, "timeout": timeout})
    if not mode.is_async:
        with httpx.HTTPTransport() as transport:
            return b"".join(transport.handle_request(request).stream)  # type: ignore[arg-type]

    async def send() -> bytes:
        async with httpx.AsyncHTTPTransport() as transport:
            answer = await transport.handle_async_request(request)
            return b"".join([chunk async for chunk in answer.stream])  # type: ignore[union-attr]

    body: bytes = mode.run(send())
    return body


def tracing(mode: Mode, trace: Any) -> Any:
    async def trace_async(event: str, info: dict[str, Any]) -> None:
        trace(event, info)

    return trace_async if mode.is_async else trace


def test_trace_tells_of_the_connection_and_the_start_of_a_request(mode: Mode, serve: Serve) -> None:
    events: list[str] = []
    server = serve()

    traced(server.url, tracing(mode, lambda event, _: events.append(event)), mode)

    assert events[:3] == [
        "connection.connect_tcp.started",
        "connection.connect_tcp.complete",
        "http11.send_request_headers.started",
    ]


def test_a_timeout_that_the_trace_changes_is_the_one_that_counts(mode: Mode) -> None:
    seen: list[float] = []

    def trace(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            seen.append(info["timeout"])
            info["timeout"] = 0.05

    with silent_port() as port, pytest.raises(httpx.ConnectTimeout):
        traced(f"http://127.0.0.1:{port}", tracing(mode, trace), mode)

    assert seen == [5.0]


def test_the_read_of_a_new_connection_can_be_replaced(mode: Mode, serve: Serve) -> None:
    arguments: list[Any] = []

    def trace(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            read = info["return_value"].read

            def replaced(max_bytes: int, timeout: float) -> Any:
                arguments.append((max_bytes, timeout))
                return read(max_bytes, timeout)

            info["return_value"].read = replaced

    assert traced(serve().url, tracing(mode, trace), mode) == OK
    assert arguments
    assert {timeout for _, timeout in arguments} == {5.0}


def test_wire_names_are_read_off_a_model_and_guessed_where_it_lacks_one() -> None:
    names = WireNames(BalanceBrokerBaseRequest)
    assert (names["auth_token"], names["type_"]) == ("authToken", "type")
    assert names["error_of_tomorrow"] == "errorOfTomorrow"
