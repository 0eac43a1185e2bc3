"""The types that users see: checked by the type checkers, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, ItemsView, Mapping
from decimal import Decimal
from typing import Any, assert_type

import httpx

from mesh_facade import (
    AccountBalance,
    AsyncMeshClient,
    Attempt,
    AuthenticationError,
    BrokerType,
    CurrencyBalance,
    FailedOutcome,
    LinkedAccount,
    MeshAPIError,
    MeshClient,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    MeshTLSError,
    Outcome,
    RateLimitError,
    ServerError,
    SuccessfulOutcome,
)


def read_one(mesh: MeshClient) -> None:
    assert_type(mesh.get_account_balance("a-token", "coinbase"), AccountBalance)
    assert_type(mesh.get_account_balance("a-token", BrokerType.COINBASE), AccountBalance)
    assert_type(mesh.get_account_balance(auth_token="a-token", broker="x"), AccountBalance)
    assert_type(mesh.with_options(timeout=1, deadline=2.5, max_attempts=1), MeshClient)
    assert_type(mesh.close(), None)
    with mesh as same:
        assert_type(same, MeshClient)


async def read_one_async(mesh: AsyncMeshClient) -> None:
    assert_type(await mesh.get_account_balance("a-token", BrokerType.COINBASE), AccountBalance)
    assert_type(mesh.with_options(timeout=1), AsyncMeshClient)
    assert_type(await mesh.aclose(), None)
    async with mesh as same:
        assert_type(same, AsyncMeshClient)


def read_many(mesh: MeshClient, feed: AsyncIterator[LinkedAccount]) -> None:
    accounts = [LinkedAccount("a-token", "coinbase"), LinkedAccount("a-token", "x", key=1)]
    outcomes = mesh.get_account_balances(accounts, concurrency=5)
    assert_type(outcomes, Generator[Outcome, None, None])
    for outcome in outcomes:
        assert_type(outcome.account, LinkedAccount)
        assert_type(outcome.balance, AccountBalance | None)
        assert_type(outcome.error, Exception | None)
        assert_type(outcome.attempts, int)
        assert_type(outcome.elapsed, float)
        if outcome.error is None:
            assert_type(outcome, SuccessfulOutcome)
            assert_type(outcome.balance, AccountBalance)
            assert_type(outcome.balance.cash("USD"), Decimal | None)
        else:
            assert_type(outcome, FailedOutcome)
            assert_type(outcome.error, Exception)
            assert_type(outcome.balance, None)
    assert_type(mesh.get_account_balances(accounts, max_pause=60), Generator[Outcome, None, None])
    mesh.get_account_balances(accounts, max_pause=None)
    mesh.get_account_balances(feed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] — sync


async def read_many_async(mesh: AsyncMeshClient, feed: AsyncIterator[LinkedAccount]) -> None:
    outcomes = mesh.get_account_balances(feed, concurrency=5)
    assert_type(outcomes, AsyncGenerator[Outcome, None])
    async for outcome in outcomes:
        if outcome.error is None:
            assert_type(outcome.balance, AccountBalance)
        else:
            assert_type(outcome.error, Exception)
    mesh.get_account_balances(feed, max_pause=0.5)
    mesh.get_account_balances([LinkedAccount("a-token", "coinbase")])


def read_balance(balance: AccountBalance) -> None:
    mapping: Mapping[str, CurrencyBalance] = balance
    assert_type(mapping["USD"], CurrencyBalance)
    assert_type(balance["USD"], CurrencyBalance)
    assert_type(balance.get("USD"), CurrencyBalance | None)
    assert_type(balance.items(), ItemsView[str, CurrencyBalance])
    assert_type(list(balance), list[str])
    assert_type(balance.rows, tuple[CurrencyBalance, ...])
    assert_type(balance.total_cash_usd, Decimal | None)
    assert_type(balance.total_buying_power_usd, Decimal | None)
    assert_type(balance.cash("USD"), Decimal | None)
    assert_type(balance.buying_power("USD"), Decimal | None)
    assert_type(balance.cryptocurrency_buying_power("USD"), Decimal | None)
    assert_type(balance.raw, dict[str, Any])
    assert_type(balance.to_dict(), dict[str, Any])
    assert_type(balance.to_records(), list[dict[str, Any]])
    assert_type(balance.request_id, str | None)
    assert_type({balance: 1}, dict[AccountBalance, int])


def read_link_payload(payload: Mapping[str, object]) -> None:
    assert_type(LinkedAccount.from_link_payload(payload), list[LinkedAccount])
    assert_type(LinkedAccount("a-token", "coinbase").key, Any)


def read_row(row: CurrencyBalance) -> None:
    assert_type(row.currency, str | None)
    assert_type(row.cash, Decimal | None)
    assert_type(row.buying_power, Decimal | None)
    assert_type(row.cryptocurrency_buying_power, Decimal | None)


def build_clients(http: httpx.BaseTransport, async_http: httpx.AsyncBaseTransport) -> None:
    def secret() -> str:
        return ""

    async def async_secret() -> str:
        return ""

    assert_type(MeshClient(), MeshClient)
    MeshClient("id", "secret", environment="sandbox", base_url=httpx.URL("https://x"))
    MeshClient("id", secret, timeout=1, deadline=2, max_attempts=1, max_connections=1)
    MeshClient(proxy=httpx.Proxy("http://x"), verify=httpx.create_ssl_context())
    MeshClient(transport=http)
    AsyncMeshClient("id", secret)
    AsyncMeshClient("id", async_secret, transport=async_http)

    MeshClient("id", async_secret)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] — sync
    MeshClient(transport=async_http)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] — sync
    AsyncMeshClient(transport=http)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] — async
    MeshClient(timeout=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] — always bound


def observe(attempt: Attempt) -> None:
    assert_type(attempt.number, int)
    assert_type(attempt.elapsed, float)
    assert_type(attempt.error, str | None)
    assert_type(attempt.http_status, int | None)
    assert_type(attempt.pause, float | None)
    assert_type(attempt.key, object)
    MeshClient(on_attempt=observe)
    attempts: list[Attempt] = []
    AsyncMeshClient(on_attempt=attempts.append)


def handle_error(error: MeshError) -> None:
    assert_type(error.attempts, int)
    if isinstance(error, MeshAPIError):
        assert_type(error.http_status, int)
        assert_type(error.status, str | None)
        assert_type(error.error_type, str | None)
        assert_type(error.message, str | None)
        assert_type(error.display_message, str | None)
        assert_type(error.error_hash, str | None)
        assert_type(error.error_data, Any)
        assert_type(error.retry_after, float | None)
        assert_type(error.request_id, str | None)
        assert_type(error.team_code, str | None)
        assert_type(error.reconnect_required, bool)
    if isinstance(error, MeshResponseError):
        assert_type(error.http_status, int)
        assert_type(error.request_id, str | None)


def use_error_classes() -> None:
    refusals: list[type[MeshAPIError]] = [AuthenticationError, RateLimitError, ServerError]
    connection: list[type[MeshConnectionError]] = [MeshTimeoutError, MeshTLSError]
    value_errors: list[type[ValueError]] = [MeshConfigurationError]
    print(refusals, connection, value_errors)  # noqa: T201 — so that they are used
