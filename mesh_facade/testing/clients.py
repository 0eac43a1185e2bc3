"""Closes the clients that a mock server has handed out."""

import asyncio
import threading
from collections.abc import Callable, Coroutine

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
        """Remember an async client, and the event loop that it was asked for in."""
        self._async_clients.append((client, _running_loop()))

    def close(self) -> None:
        """Close all clients, the async ones in their own event loops."""
        while self._async_clients:
            client, loop = self._async_clients.pop()
            _close_in_its_loop(client, loop)
        self._close_sync()

    async def aclose(self) -> None:
        """Close all clients, and wait until those of the running event loop are closed."""
        here = _running_loop()
        while self._async_clients:
            client, loop = self._async_clients.pop()
            if loop is here:
                await client.aclose()
            else:
                _close_in_its_loop(client, loop)
        self._close_sync()

    def _close_sync(self) -> None:
        while self._clients:
            self._clients.pop().close()


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
    thread = threading.Thread(target=run, args=[closing])
    thread.start()
    thread.join()
