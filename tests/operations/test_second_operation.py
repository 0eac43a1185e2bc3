"""A second operation goes through import, generation and the same engine."""

from __future__ import annotations

import importlib
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import generate
import httpx
import import_spec
import pytest

from mesh_facade import MeshError, MeshResponseError, ServerError
from mesh_facade.engine.bodies import Answer
from mesh_facade.engine.engine import CallLoop
from mesh_facade.engine.httpx_clients import AsyncEngineClient, EngineClient
from mesh_facade.engine.retries import NeverRetry, RetryBudget, RetryPolicy
from mesh_facade.engine.strict_json import JSONObject
from mesh_facade.operations import envelope
from tests.engine.support import ScriptedAnswer
from tests.operations.support import build_engine, build_retry_policy
from tests.support import CLIENT_SECRET, Script, cash_body, response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Clock, Mode


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Import and generate the portfolio operation, beside the client that is installed."""
    folder = tmp_path_factory.mktemp("portfolio")
    source = Path(__file__).parents[1] / "portfolio.yaml"
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


def find_portfolio_problem(envelope: JSONObject) -> str | None:
    content = envelope.get("content")
    if isinstance(content, dict) and isinstance(content.get("fiatBalances"), list):
        return None
    return "it holds no portfolio"


class PortfolioJudge:
    def judge(self, answer: Answer) -> MeshError | None:
        return envelope.judge(answer, find_portfolio_problem)


def read_portfolio(mode: Mode, portfolio: Any, script: Script, policy: RetryPolicy) -> Any:
    call_loop = CallLoop(build_engine(mode, script), PortfolioJudge(), policy)
    client, operation = portfolio()
    if mode.is_async:
        client.set_async_httpx_client(AsyncEngineClient(call_loop))
        return mode.run(operation.asyncio_detailed(client=client, user_id="user 1&2"))
    client.set_httpx_client(EngineClient(call_loop))
    return operation.sync_detailed(client=client, user_id="user 1&2")


PORTFOLIO = (
    b'{"status": "ok", "content": {"fiatBalances": '
    b'[{"symbol": "EUR", "cash": 12345678901234567.89, "buyingPower": 0.10}]}}'
)


def test_second_operation_runs_on_the_same_engine(mode: Mode, portfolio: Any) -> None:
    script = Script(PORTFOLIO)

    answer = read_portfolio(mode, portfolio, script, build_retry_policy())

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


def test_second_operation_has_the_same_errors_and_its_own_check(
    mode: Mode, portfolio: Any, clock: Clock
) -> None:
    with pytest.raises(MeshResponseError, match="it holds no portfolio"):
        read_portfolio(mode, portfolio, Script(cash_body("1")), build_retry_policy())
    with pytest.raises(ServerError) as caught:
        read_portfolio(mode, portfolio, Script(response(500, b"")), build_retry_policy())

    assert caught.value.attempts == 3
    assert len(clock.pauses) == 2


@pytest.mark.parametrize("failure", [response(500, b""), response(429, b""), httpx.ReadError("")])
def test_operation_that_is_unsafe_to_repeat_is_never_sent_twice(
    mode: Mode, portfolio: Any, clock: Clock, failure: ScriptedAnswer
) -> None:
    script = Script(failure, PORTFOLIO)

    with pytest.raises(MeshError) as caught:
        read_portfolio(mode, portfolio, script, NeverRetry(RetryBudget()))

    assert len(script.requests) == caught.value.attempts == 1
    assert clock.pauses == []
