"""Cancellation: cancelled and timed out calls cost no slot and no descriptor."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mesh_facade import AccountBalance, AsyncMeshClient, MeshTimeoutError
from tests.faults.server import SILENCE, Endpoint, FaultServer, Pause, Step
from tests.trust.support import count_descriptors, has_amount

KEYS: dict[str, Any] = {"client_id": "client-id", "client_secret": "client-secret"}
POOL = 10


async def _interrupt_at_random(
    call: Callable[[int], Awaitable[AccountBalance]], count: int, longest: float
) -> dict[str, int]:
    """Make calls, and cancel or time out as many of them, each at a moment of its own."""
    chance = random.Random(5)  # noqa: S311 — the same choices at each run
    counted = {"answered": 0, "cancelled": 0, "timed out": 0}
    lanes = asyncio.Semaphore(POOL + 2)

    async def run(number: int) -> None:
        async with lanes:
            task = asyncio.ensure_future(call(number))
            seconds = chance.uniform(0, longest)
            last_digit = number % 10
            if last_digit < 4:
                asyncio.get_running_loop().call_later(seconds, task.cancel)
            timeout = seconds
            if last_digit < 4 or last_digit == 9:
                timeout = None
            try:
                balance = await asyncio.wait_for(task, timeout)
            except TimeoutError:
                counted["timed out"] += 1
            except asyncio.CancelledError:
                counted["cancelled"] += 1
            else:
                assert has_amount(balance, number)
                counted["answered"] += 1

    numbers = itertools.count()
    while counted["cancelled"] + counted["timed out"] < count:
        await asyncio.gather(*map(run, itertools.islice(numbers, 500)))
    return counted


@pytest.mark.parametrize(
    ("tls", "count", "longest"), [(False, 5000, 0.01), (True, 1000, 0.03)], ids=["plain", "tls"]
)
def test_cancellations_cost_neither_slots_nor_descriptors(
    fault_server: FaultServer, *, tls: bool, count: int, longest: float
) -> None:
    waits: list[Step] = [Pause(0.002)]
    endpoint = fault_server.open(lambda answer: [waits[-1], answer.with_length], tls=tls)
    endpoint.start_fault()

    async def run() -> tuple[dict[str, int], int]:
        options: dict[str, Any] = {"max_connections": POOL, "verify": fault_server.client_context}
        async with AsyncMeshClient(**KEYS, base_url=endpoint.url, **options) as mesh:

            async def call(number: int) -> AccountBalance:
                return await mesh.get_account_balance(f"token-{number}", "coinbase")

            before = count_descriptors()
            counted = await _interrupt_at_random(call, count, longest)
            balances = await asyncio.gather(*map(call, range(20)))
            assert all(map(has_amount, balances, range(20)))
            waits.append(SILENCE)
            await _check_that_each_slot_works(mesh, endpoint)
            return counted, count_descriptors() - before

    counted, descriptors = asyncio.run(run())

    assert counted["cancelled"] + counted["timed out"] >= count
    assert min(counted.values()) > count / 20
    assert descriptors <= 2 * POOL  # both ends of each connection are in this process


async def _check_that_each_slot_works(mesh: AsyncMeshClient, endpoint: Endpoint) -> None:
    """Let as many calls as there are slots wait for an answer, and a few more for a slot."""
    patient = mesh.with_options(deadline=1.0, max_attempts=1)
    hurried = mesh.with_options(deadline=0.1, max_attempts=1)
    calls = [
        (patient if number < POOL else hurried).get_account_balance(f"last-{number}", "coinbase")
        for number in range(2 * POOL)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [MeshTimeoutError] * 2 * POOL
    arrived = {number for number in range(2 * POOL) if b'"last-%d"' % number in endpoint.received}
    assert arrived == set(range(POOL))
