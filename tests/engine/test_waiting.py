"""How calls wait: slots, and coroutines that must not suspend."""

from __future__ import annotations

import asyncio
import concurrent.futures

import httpx
import pytest

from mesh_facade import AsyncMeshClient, MeshError
from mesh_facade.engine.slots import ThreadSlots
from mesh_facade.engine.waiting import run_blocking
from tests.support import KEYS, TOKEN


def test_slot_that_arrives_just_after_the_timeout_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give_just_after_the_time_ran_out(_: object, __: float) -> None:
        slots.release()
        raise TimeoutError

    slots = ThreadSlots(1)
    run_blocking(slots.acquire(1))
    monkeypatch.setattr(concurrent.futures.Future, "result", give_just_after_the_time_ran_out)
    with pytest.raises(TimeoutError):
        run_blocking(slots.acquire(1))
    monkeypatch.undo()

    run_blocking(slots.acquire(1))
    with pytest.raises(TimeoutError):
        run_blocking(slots.acquire(0))


def test_released_slot_skips_a_waiter_that_gave_up() -> None:
    slots = ThreadSlots(1)
    run_blocking(slots.acquire(1))
    with pytest.raises(TimeoutError):
        run_blocking(slots.acquire(0))

    slots.release()

    run_blocking(slots.acquire(1))


def test_async_client_outside_an_event_loop_raises_mesh_error() -> None:
    call = AsyncMeshClient(**KEYS).get_account_balance(TOKEN, "coinbase")

    with pytest.raises(MeshError, match="works only in a running asyncio event loop"):
        call.send(None)


def test_async_client_closed_outside_an_event_loop_raises_mesh_error_and_is_closed() -> None:
    mesh = AsyncMeshClient(**KEYS)

    with pytest.raises(MeshError, match="works only in a running asyncio event loop"):
        mesh.aclose().send(None)

    with pytest.raises(MeshError, match="this client is closed"):
        asyncio.run(mesh.get_account_balance(TOKEN, "coinbase"))


def test_custom_transport_is_closed_outside_an_event_loop_too() -> None:
    class Transport(httpx.AsyncBaseTransport):
        was_closed = False

        async def aclose(self) -> None:
            self.was_closed = True

    transport = Transport()
    mesh = AsyncMeshClient(**KEYS, transport=transport)

    with pytest.raises(MeshError):
        mesh.aclose().send(None)

    assert transport.was_closed


def test_run_blocking_raises_if_a_coroutine_suspends() -> None:
    with pytest.raises(RuntimeError, match="has suspended"):
        run_blocking(asyncio.sleep(0))
