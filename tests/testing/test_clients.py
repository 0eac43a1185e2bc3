"""Clients that the mock server hands out."""

from __future__ import annotations

import asyncio
import gc
from decimal import Decimal

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from mesh_facade import AsyncMeshClient, AuthenticationError, MeshClient, MeshError, RateLimitError
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


def test_clients_are_closed_when_the_server_ends() -> None:
    with MockServer() as mesh:
        client = mesh.client()
        client.get_account_balance("a-token", "coinbase")
        closed = mesh.client()
        closed.close()

    with pytest.raises(MeshError, match="closed"):
        client.get_account_balance("a-token", "coinbase")


def test_async_clients_are_closed_at_the_end_of_async_with() -> None:
    async def read() -> None:
        async with MockServer() as mesh:
            client = mesh.async_client()
            await client.get_account_balance("a-token", "coinbase")
        with pytest.raises(MeshError, match="closed"):
            await client.get_account_balance("a-token", "coinbase")

    asyncio.run(read())
    gc.collect()  # a connection that is still open is a ResourceWarning


def test_async_clients_are_closed_by_their_own_event_loop_after_a_plain_with() -> None:
    async def read() -> None:
        with MockServer() as mesh:
            client = mesh.async_client()
            await client.get_account_balance("a-token", "coinbase")
        await asyncio.sleep(0)
        with pytest.raises(MeshError, match="closed"):
            await client.get_account_balance("a-token", "coinbase")

    asyncio.run(read())
    gc.collect()


def test_async_clients_of_an_event_loop_in_another_thread_are_closed_there() -> None:
    async def read(mesh: MockServer) -> AsyncMeshClient:
        client = mesh.async_client()
        await client.get_account_balance("a-token", "coinbase")
        return client

    async def stop(mesh: MockServer) -> None:
        async with mesh:
            return

    with start_blocking_portal() as portal:
        with MockServer() as mesh:
            first = portal.call(read, mesh)
        second = portal.call(read, mesh)
        asyncio.run(stop(mesh))
        for client in (first, second):
            with pytest.raises(MeshError, match="closed"):
                portal.call(client.get_account_balance, "a-token", "coinbase")


def test_async_clients_of_an_unknown_or_closed_event_loop_are_closed() -> None:
    async def open_client(mesh: MockServer) -> AsyncMeshClient:
        return mesh.async_client()

    with MockServer() as mesh:
        clients = [mesh.async_client(), asyncio.run(open_client(mesh))]

    for client in clients:
        with pytest.raises(MeshError, match="closed"):
            asyncio.run(client.get_account_balance("a-token", "coinbase"))


class CannotBeClosed(httpx.MockTransport):
    def __init__(self) -> None:
        super().__init__(lambda _: httpx.Response(500))

    def close(self) -> None:
        raise OSError("cannot be closed")

    async def aclose(self) -> None:
        raise OSError("cannot be closed")


@pytest.mark.parametrize("entered_async", [True, False])
def test_a_client_that_cannot_be_closed_leaves_no_other_open(*, entered_async: bool) -> None:
    def open_clients(mesh: MockServer) -> None:
        sync_clients.append(mesh.client())
        mesh.client(transport=CannotBeClosed())
        sync_clients.append(mesh.client())
        async_clients.append(mesh.async_client())
        mesh.async_client(transport=CannotBeClosed())
        async_clients.append(mesh.async_client())

    async def run_async() -> None:
        async with MockServer() as mesh:
            open_clients(mesh)

    def run() -> None:
        if entered_async:
            asyncio.run(run_async())
            return
        with MockServer() as mesh:
            open_clients(mesh)

    sync_clients: list[MeshClient] = []
    async_clients: list[AsyncMeshClient] = []

    with pytest.raises(OSError, match="cannot be closed"):
        run()

    for client in sync_clients:
        with pytest.raises(MeshError, match="closed"):
            client.get_account_balance("a-token", "coinbase")
    for async_client in async_clients:
        with pytest.raises(MeshError, match="closed"):
            asyncio.run(async_client.get_account_balance("a-token", "coinbase"))


def test_an_isolated_block_closes_its_own_clients_only(mesh_in_process: MockServer) -> None:
    before = mesh_in_process.client()
    with mesh_in_process.isolated():
        within = mesh_in_process.client()

    before.get_account_balance("a-token", "coinbase")
    with pytest.raises(MeshError, match="closed"):
        within.get_account_balance("a-token", "coinbase")


def test_async_clients_of_an_event_loop_that_does_not_run_at_the_moment_are_closed_in_it() -> None:
    async def read(mesh: MockServer) -> AsyncMeshClient:
        client = mesh.async_client()
        await client.get_account_balance("a-token", "coinbase")
        return client

    with asyncio.Runner() as runner:
        with MockServer() as mesh:
            client = runner.run(read(mesh))
        with pytest.raises(MeshError, match="closed"):
            runner.run(client.get_account_balance("a-token", "coinbase"))
