"""Event loops that have ended, and forked children: whose connections are whose."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mesh_facade import AsyncMeshClient
from mesh_facade.engine.task_connection import TaskConnection
from tests.conftest import Serve
from tests.support import KEYS, TOKEN, Server

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def run_and_close_hard(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine as older programs do: nothing is told that the event loop ends."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


@pytest.fixture(autouse=True)
def _resource_warnings_are_errors() -> Iterator[None]:
    """Fail if a connection is left to the garbage collector."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    texts = [str(warning.message) for warning in caught]
    # A call makes asynchronous generators; one that is made this late is what a test is about.
    assert [text for text in texts if "shutdown_asyncgens" not in text] == []


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def server(request: pytest.FixtureRequest, serve: Serve) -> tuple[Server, dict[str, Any]]:
    if not request.param:
        server = serve()
        return server, {"base_url": server.url}
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    server = serve(tls=context)
    return server, {"base_url": server.url, "verify": trust}


async def call(mesh: AsyncMeshClient) -> None:
    await mesh.get_account_balance(TOKEN, "coinbase")


async def call_and_close(mesh: AsyncMeshClient) -> None:
    async with mesh:
        await call(mesh)


def test_asyncio_run_closes_the_connections_of_its_loop(
    server: tuple[Server, dict[str, Any]],
) -> None:
    mesh = AsyncMeshClient(**KEYS, **server[1])

    asyncio.run(call(mesh))

    server[0].wait_until_open(0)


@pytest.mark.parametrize("run", [asyncio.run, run_and_close_hard])
def test_next_loop_closes_the_connections_of_one_that_is_gone(
    server: tuple[Server, dict[str, Any]], run: Run
) -> None:
    mesh = AsyncMeshClient(**KEYS, **server[1])
    run(call(mesh))

    async def call_again() -> None:
        await call(mesh)
        await asyncio.to_thread(server[0].wait_until_open, 1)
        await mesh.aclose()

    run(call_again())
    server[0].wait_until_open(0)
    assert server[0].connections == 2


@pytest.mark.parametrize("run", [asyncio.run, run_and_close_hard])
def test_aclose_closes_the_connections_of_a_loop_that_is_gone(
    server: tuple[Server, dict[str, Any]], run: Run
) -> None:
    mesh = AsyncMeshClient(**KEYS, **server[1])
    run(call(mesh))

    run(mesh.aclose())

    server[0].wait_until_open(0)


def test_connection_that_comes_back_while_its_loop_ends_is_closed(serve: Serve) -> None:
    server = serve()
    mesh = AsyncMeshClient(**KEYS, base_url=server.url)

    async def call_after_the_generators_have_ended() -> None:
        await call(mesh)
        await asyncio.get_running_loop().shutdown_asyncgens()
        await call(mesh)
        await asyncio.to_thread(server.wait_until_open, 0)

    asyncio.run(call_after_the_generators_have_ended())
    assert server.connections == 2


def test_closing_a_client_leaves_nothing_to_the_end_of_its_loop(serve: Serve) -> None:
    server = serve()

    async def call_and_close_and_look() -> list[Any]:
        await call_and_close(AsyncMeshClient(**KEYS, base_url=server.url))
        generators = asyncio.get_running_loop()._asyncgens  # type: ignore[attr-defined]
        return [generator for generator in generators if generator.ag_frame is not None]

    assert asyncio.run(call_and_close_and_look()) == []


def test_connection_closed_twice_after_its_loop_has_ended_stays_closed(serve: Serve) -> None:
    server = serve()
    mesh = AsyncMeshClient(**KEYS, base_url=server.url)
    kept: list[TaskConnection] = []

    async def call_and_take() -> None:
        await call(mesh)
        [home] = mesh._runner.engine.pool._homes.values()
        connection = home.take()
        assert isinstance(connection, TaskConnection)
        kept.append(connection)

    run_and_close_hard(call_and_take())
    kept[0].close()
    kept[0].close()

    assert kept[0].get_extra_info("is_readable")
    server.wait_until_open(0)


def test_event_loop_whose_transports_close_themselves_is_left_alone(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    mesh = AsyncMeshClient(**KEYS, base_url=server.url)
    transports: list[asyncio.Transport] = []
    abandon = TaskConnection._abandon

    def as_on_another_loop(connection: TaskConnection, transport: asyncio.Transport) -> None:
        transports.append(transport)
        abandon(connection, asyncio.Transport())  # it has no method that is private to asyncio

    monkeypatch.setattr(TaskConnection, "_abandon", as_on_another_loop)
    run_and_close_hard(call(mesh))

    asyncio.run(mesh.aclose())

    [transport] = transports
    transport._call_connection_lost(None)  # type: ignore[attr-defined]
    server.wait_until_open(0)


# --- forks ----------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def open_sockets() -> int:
    """Return how many sockets this process has open (Linux)."""
    count = 0
    for path in Path("/proc/self/fd").iterdir():
        try:
            target = path.readlink()
        except OSError:  # the descriptor of this listing
            continue
        if target.name.startswith("socket:"):
            count += 1
    return count


def wait_for_child(child: int) -> int:
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1


@needs_fork
@pytest.mark.skipif(sys.platform != "linux", reason="it counts descriptors in /proc")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # it is what is tested
@pytest.mark.parametrize("uses_the_same_loop", [True, False])
@pytest.mark.parametrize("has_the_id_of_its_parent", [True, False])
def test_async_child_of_a_fork_keeps_no_connection_of_its_parent(
    server: tuple[Server, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    uses_the_same_loop: bool,
    has_the_id_of_its_parent: bool,
) -> None:
    if has_the_id_of_its_parent:  # in containers, both can be process 1
        monkeypatch.setattr(os, "getpid", lambda: 1)
    mesh = AsyncMeshClient(**KEYS, **server[1])
    with asyncio.Runner() as runner:
        runner.run(call(mesh))
        before = open_sockets()
        child = os.fork()
        if child == 0:  # pragma: no cover — measured in the parent alone
            code = 1
            try:
                if uses_the_same_loop:
                    # Its own call would need the selector that it shares with its parent.
                    runner.run(mesh.aclose())
                else:
                    asyncio.run(call_and_close(mesh))
                # A second event loop, which is closed again, has no sockets left.
                code = 0 if open_sockets() == before - 1 else 3
            finally:
                os._exit(code)
        assert wait_for_child(child) == 0
        runner.run(call(mesh))  # on the same connection: the child has not touched it
        runner.run(mesh.aclose())

    assert server[0].connections == (1 if uses_the_same_loop else 2)
