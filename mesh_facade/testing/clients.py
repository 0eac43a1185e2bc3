"""Closes the clients that a mock server has handed out."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

from mesh_facade import AsyncMeshClient, MeshClient

_PATIENCE = 5.0  # seconds for an event loop in another thread to close a client

# An event loop holds its tasks by weak references only, so these would be lost.
_closing_tasks: set[asyncio.Task[None]] = set()


class HandedOutClients:
    """Clients that are closed together. Clients may also have been closed before."""

    def __init__(self) -> None:
        self._clients: list[MeshClient] = []
        self._async_clients: list[tuple[AsyncMeshClient, asyncio.AbstractEventLoop | None]] = []

    def add(self, client: MeshClient) -> None:
        """Remember a sync client."""
        self._clients.append(client)

    def add_async(self, client: AsyncMeshClient) -> None:
        """Remember an async client, and the event loop that is running now, if any."""
        self._async_clients.append((client, _running_loop()))

    def close(self) -> None:
        """Close all clients, the async ones in their own event loops.

        If closing one of them fails, the others are closed all the same.
        """
        with contextlib.ExitStack() as closing:
            while self._clients:
                closing.callback(self._clients.pop().close)
            while self._async_clients:
                client, loop = self._async_clients.pop()
                closing.callback(_close_in_its_loop, client, loop)

    async def aclose(self) -> None:
        """Close all clients, and wait until those of the running event loop are closed.

        If closing one of them fails, the others are closed all the same.
        """
        here = _running_loop()
        async with contextlib.AsyncExitStack() as closing:
            while self._clients:
                closing.callback(self._clients.pop().close)
            while self._async_clients:
                client, loop = self._async_clients.pop()
                if loop is here:
                    closing.push_async_callback(client.aclose)
                else:
                    closing.callback(_close_in_its_loop, client, loop)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _close_in_its_loop(client: AsyncMeshClient, loop: asyncio.AbstractEventLoop | None) -> None:
    """Close an async client in its event loop, or in a new one if that is unknown or closed.

    If the event loop runs in this thread, this function returns before the client is closed:
    waiting would stop the loop. `async with` waits.
    """
    if loop is None or loop.is_closed():
        _run_in_thread(asyncio.run, client.aclose())
    elif loop is _running_loop():
        task = loop.create_task(client.aclose())
        _closing_tasks.add(task)
        task.add_done_callback(_closing_tasks.discard)
    elif loop.is_running():
        asyncio.run_coroutine_threadsafe(client.aclose(), loop).result(_PATIENCE)
    else:
        _run_in_thread(loop.run_until_complete, client.aclose())


def _run_in_thread(
    run: Callable[[Coroutine[None, None, None]], None], closing: Coroutine[None, None, None]
) -> None:
    """Run a coroutine in a thread of its own: this one may be running an event loop."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(run, closing).result()
