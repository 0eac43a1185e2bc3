"""Event loops: a client works in several, one after the other or at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mesh_facade import AsyncMeshClient, MeshError
from tests.faults.observation import FIRST_USER, OWN_AMOUNT, SECOND_USER
from tests.faults.server import FaultServer
from tests.trust.support import has_amount

KEYS: dict[str, Any] = {"client_id": "client-id", "client_secret": "client-secret"}


@pytest.fixture
def collect_abandoned_loops() -> Iterator[None]:
    """Let a test leave loops with open connections behind, which only the collector can close."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("collect_abandoned_loops")
def test_client_works_in_consecutive_event_loops(fault_server: FaultServer) -> None:
    endpoint = fault_server.open()
    mesh = AsyncMeshClient(**KEYS, base_url=endpoint.url)

    async def call_twice() -> bool:
        first = await mesh.get_account_balance(FIRST_USER, "x")
        second = await mesh.get_account_balance(SECOND_USER, "x")
        first_is_right = has_amount(first, OWN_AMOUNT[FIRST_USER])
        return first_is_right and has_amount(second, OWN_AMOUNT[SECOND_USER])

    assert all(asyncio.run(call_twice()) for _ in range(20))
    asyncio.run(mesh.aclose())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("collect_abandoned_loops")
def test_client_works_in_simultaneous_event_loops(fault_server: FaultServer) -> None:
    endpoint = fault_server.open()
    mesh = AsyncMeshClient(**KEYS, base_url=endpoint.url)

    async def call_often(first: int) -> bool:
        numbers = range(first, first + 50)
        calls = (mesh.get_account_balance(f"token-{number}", "coinbase") for number in numbers)
        return all(map(has_amount, await asyncio.gather(*calls), numbers))

    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(lambda lane: asyncio.run(call_often(1000 * lane)), range(4)))


def test_alternating_event_loops_each_keep_their_connection(fault_server: FaultServer) -> None:
    endpoint = fault_server.open()
    mesh = AsyncMeshClient(**KEYS, base_url=endpoint.url)

    with asyncio.Runner() as one, asyncio.Runner() as other:
        for number in range(20):
            for runner in (one, other):
                call = mesh.get_account_balance(f"token-{number}", "coinbase")
                assert has_amount(runner.run(call), number)
        assert endpoint.connections == 2
        for runner in (one, other):
            runner.run(mesh.aclose())


def test_async_call_outside_asyncio_raises_mesh_error() -> None:
    mesh = AsyncMeshClient(**KEYS, base_url="http://127.0.0.1:1")
    call = mesh.get_account_balance(FIRST_USER, "coinbase")

    with pytest.raises(MeshError, match="asyncio"):
        call.send(None)
