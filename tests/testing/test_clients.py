"""Clients that the mock server hands out."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from mesh_facade import AuthenticationError, MeshClient, RateLimitError
from mesh_facade.testing import MockServer


@pytest.mark.parametrize("entered", [True, False])
def test_sync_and_async_clients_read_the_same_balance(entered: bool) -> None:  # noqa: FBT001 — a parameter of pytest
    async def read(mesh: MockServer) -> object:
        async with mesh.async_client() as client:
            return await client.get_account_balance("a-token", "coinbase")

    mesh = MockServer()
    mesh.answers("a-token", cash={"USD": "158.5"})
    if entered:
        with mesh, mesh.client() as client:
            balance = client.get_account_balance("a-token", "coinbase")
            again = asyncio.run(read(mesh))
    else:
        with mesh.client() as client:
            balance = client.get_account_balance("a-token", "coinbase")
            again = asyncio.run(read(mesh))

    assert balance.cash("USD") == Decimal("158.5")
    assert balance == again
    assert len(mesh.calls) == 2


def test_client_options_override_the_defaults_of_the_mock_server(mesh: MockServer) -> None:
    mesh.fails("a-token", "rate-limited", times=1)
    with mesh.client(max_attempts=1) as client, pytest.raises(RateLimitError) as caught:
        client.get_account_balance("a-token", "coinbase")
    assert caught.value.retry_after == 1

    with mesh.client(client_secret="wrong") as client, pytest.raises(AuthenticationError):
        client.get_account_balance("a-token", "coinbase")


def test_the_environment_variables_point_a_client_at_the_mock_server(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in mesh.environment.items():
        monkeypatch.setenv(name, value)

    with MeshClient() as client:
        assert client.get_account_balance("a-token", "coinbase").cash("USD") == Decimal("158.5")
