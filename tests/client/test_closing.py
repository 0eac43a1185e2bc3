"""Closing a client: its connections, calls in flight, later calls."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mesh_facade import AccountBalance, AsyncMeshClient, MeshClient, MeshError
from tests.support import KEYS, OK, TOKEN, Peer, Script

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve


def test_connections_are_closed_when_the_with_block_ends(mode: Mode, serve: Serve) -> None:
    server = serve()

    if mode.is_async:

        async def block() -> None:
            async with AsyncMeshClient(**KEYS, base_url=server.url) as mesh:
                assert await mesh.get_account_balance(TOKEN, "coinbase")

        mode.run(block())
    else:
        with MeshClient(**KEYS, base_url=server.url) as mesh:
            assert mesh.get_account_balance(TOKEN, "coinbase")

    server.wait_until_open(0)


def test_closing_twice_is_allowed_and_a_later_call_raises_mesh_error(
    mode: Mode, serve: Serve
) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)
    caller.read()

    caller.close()
    caller.close()

    for closed in (caller, caller.with_options(timeout=1)):
        with pytest.raises(MeshError, match=r"^this client is closed$") as caught:
            closed.read()
        assert type(caught.value) is MeshError
    assert len(server.requests) == 1


def test_unused_client_can_be_closed(mode: Mode) -> None:
    mode.client().close()


def test_closing_a_client_closes_those_that_share_its_connections(mode: Mode) -> None:
    caller = mode.client(transport=Script(OK))

    caller.with_options(timeout=1).close()

    with pytest.raises(MeshError, match="closed"):
        caller.read()


def test_custom_transport_is_closed_with_the_client(mode: Mode) -> None:
    class Closing(Script):
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

        async def aclose(self) -> None:
            self.close()

    script = Closing(OK)
    caller = mode.client(transport=script)
    caller.read()
    assert not script.is_closed

    caller.close()
    assert script.is_closed


def test_call_in_flight_completes_after_the_client_is_closed(mode: Mode, serve: Serve) -> None:
    def answer_when_closed(peer: Peer) -> None:
        peer.receive()
        is_asked.set()
        is_closed.wait(5)
        peer.answer()
        peer.hold()

    is_asked = threading.Event()
    is_closed = threading.Event()
    server = serve(answer_when_closed)
    caller = mode.client(base_url=server.url)

    if mode.is_async:

        async def close_within() -> AccountBalance:
            call = asyncio.create_task(caller.client.get_account_balance(TOKEN, "coinbase"))
            await asyncio.to_thread(is_asked.wait, 5)
            await caller.client.aclose()
            is_closed.set()
            balance: AccountBalance = await call
            return balance

        assert mode.run(close_within())
    else:
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(caller.read)
            is_asked.wait(5)
            caller.close()
            is_closed.set()
            assert call.result()

    server.wait_until_open(0)
