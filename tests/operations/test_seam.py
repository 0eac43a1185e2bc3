"""The seam: the generated operation runs unmodified, once per call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from mesh_connect_client import Client
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import BalanceBrokerBaseRequest

from mesh_facade.engine.engine import CallLoop
from mesh_facade.engine.httpx_clients import AsyncEngineClient, EngineClient
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE
from mesh_facade.operations.runner import Runner
from tests.operations.support import ACCEPT_ALL, build_engine, build_retry_policy
from tests.support import OK, Script, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode

ROOT = Path(__file__).parents[2]
SPEC: Any = yaml.safe_load((ROOT / "openapi/mesh.yaml").read_text(encoding="utf-8"))


def test_generated_operation_runs_exactly_once_per_call(
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


def test_generated_operation_calls_request_on_the_given_httpx_client(
    mode: Mode,
) -> None:
    """The engine relies on this; a weekly job runs it with the newest generator and httpx."""
    seen: list[tuple[str, dict[str, object]]] = []

    class Sync(httpx.Client):
        def request(self, method: str, url: str, **options: object) -> httpx.Response:
            seen.append((method, {"url": url, **options}))
            return httpx.Response(200, content=OK)

    class Async(httpx.AsyncClient):
        async def request(self, method: str, url: str, **options: object) -> httpx.Response:
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

    [(path, method)] = [
        (path, method)
        for path, methods in SPEC["paths"].items()
        for method, operation in methods.items()
        if operation["operationId"] == "getAccountBalance"
    ]
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


def test_engine_clients_are_httpx_clients_that_send_requests(mode: Mode) -> None:
    script = Script(OK)
    call_loop = CallLoop(build_engine(mode, script), ACCEPT_ALL, build_retry_policy())
    request = httpx.Request("POST", "https://mesh.example/x", json={})

    if mode.is_async:
        answer = mode.run(AsyncEngineClient(call_loop).send(request))
    else:
        answer = EngineClient(call_loop).send(request)

    assert issubclass(EngineClient, httpx.Client)
    assert issubclass(AsyncEngineClient, httpx.AsyncClient)
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.content == OK


def test_any_2xx_reaches_the_generated_parser_as_200(mode: Mode) -> None:
    assert mode.client(transport=Script(response(206))).read().cash("USD")


def test_base_runner_leaves_the_engine_to_its_subclasses(mode: Mode) -> None:
    runner = Runner(build_engine(mode, Script(OK)), build_retry_policy())

    with pytest.raises(NotImplementedError):
        runner._client(GET_ACCOUNT_BALANCE)
