"""Closing: calls in flight end, later calls are refused, nothing stays open."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mesh_facade import AccountBalance, AsyncMeshClient, MeshError
from tests.faults.observation import FIRST_USER, OWN_AMOUNT, SECOND_USER, THIRD_USER, try_call
from tests.faults.server import Answer, FaultServer, Pause
from tests.trust.support import count_descriptors, has_amount

if TYPE_CHECKING:
    from tests.conftest import Mode

KEYS: dict[str, Any] = {"client_id": "client-id", "client_secret": "client-secret"}


def test_closing_lets_a_call_in_flight_end_and_refuses_the_next(
    mode: Mode, fault_server: FaultServer
) -> None:
    mesh: Any = None
    called = threading.Event()

    def answer_late(answer: Answer) -> list[bytes | Pause]:
        called.set()
        return [Pause(0.05), answer.with_length]

    endpoint = fault_server.open(answer_late)
    endpoint.start_fault()
    mesh = mode.client(**KEYS, base_url=endpoint.url).client

    async def call_and_close() -> AccountBalance:
        call = asyncio.ensure_future(mesh.get_account_balance(FIRST_USER, "coinbase"))
        await asyncio.to_thread(called.wait, 5)
        await mesh.aclose()
        balance: AccountBalance = await call
        return balance

    if mode.is_async:
        balance = mode.run(call_and_close())
    else:
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(mesh.get_account_balance, FIRST_USER, "coinbase")
            called.wait(5)
            mesh.close()
            balance = call.result()

    assert has_amount(balance, OWN_AMOUNT[FIRST_USER])
    error = try_call(
        lambda token: mode.run(mesh.get_account_balance(token, "x")), SECOND_USER
    ).error
    assert isinstance(error, MeshError)
    assert "closed" in str(error)


def test_call_that_waits_for_a_connection_is_refused_when_the_client_is_closed(
    fault_server: FaultServer,
) -> None:
    endpoint = fault_server.open(lambda answer: [Pause(0.05), answer.with_length])
    endpoint.start_fault()

    async def run() -> list[Any]:
        mesh = AsyncMeshClient(**KEYS, base_url=endpoint.url, max_connections=1)
        calls = [
            asyncio.ensure_future(mesh.get_account_balance(token, "coinbase"))
            for token in (FIRST_USER, SECOND_USER, THIRD_USER)
        ]
        while not endpoint.script_runs:  # noqa: ASYNC110 — the server is in another thread
            await asyncio.sleep(0.001)
        await mesh.aclose()
        return await asyncio.gather(*calls, return_exceptions=True)

    first, *others = asyncio.run(run())

    assert has_amount(first, OWN_AMOUNT[FIRST_USER])
    assert [type(other) for other in others] == [MeshError, MeshError]


def test_closing_twice_is_allowed_and_leaves_no_descriptor_open(
    mode: Mode, fault_server: FaultServer
) -> None:
    endpoint = fault_server.open()
    before = count_descriptors()
    mesh = mode.client(**KEYS, base_url=endpoint.url)
    mesh.read(FIRST_USER)

    mesh.close()
    mesh.close()

    end = time.monotonic() + 5
    while count_descriptors() > before + mode.is_async * 3 and time.monotonic() < end:
        time.sleep(0.001)  # the server closes its end in its own time
    assert count_descriptors() <= before + mode.is_async * 3  # those of the loop itself
    assert isinstance(try_call(mesh.read, SECOND_USER).error, MeshError)


def test_closing_one_of_two_siblings_closes_both(mode: Mode, fault_server: FaultServer) -> None:
    endpoint = fault_server.open()
    mesh = mode.client(**KEYS, base_url=endpoint.url)
    sibling = mesh.with_options(timeout=5)
    mesh.read(FIRST_USER)

    sibling.close()

    assert isinstance(try_call(mesh.read, SECOND_USER).error, MeshError)
    assert endpoint.connections == 1
