"""What a connection does before it is opened, and which addresses of a host it tries."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import socket
import ssl
import time
from typing import Any

import httpcore
import httpx
import pytest

from mesh_facade import AsyncMeshClient, MeshClient
from mesh_facade.engine import thread_connection
from mesh_facade.engine.connection import Connection, format_address
from mesh_facade.engine.failures import connection_error
from mesh_facade.engine.pool import ConnectionPool, Home
from mesh_facade.engine.slots import ThreadSlots
from mesh_facade.engine.task_connection import TaskConnection
from mesh_facade.engine.thread_connection import ThreadConnection
from mesh_facade.engine.waiting import HomeKey, ThreadWaiting, run_blocking
from tests.conftest import Mode, Serve
from tests.support import KEYS, TOKEN


@pytest.mark.parametrize("connection_class", [ThreadConnection, TaskConnection])
def test_connection_that_was_never_opened_says_so_and_can_be_closed(connection_class: Any) -> None:
    url = httpx.URL("https://mesh.example")
    connection = connection_class(url, ssl.create_default_context(), None)

    with pytest.raises(httpcore.ConnectError, match="is not open"):
        connection.get_extra_info("socket")
    connection.close()


def test_connection_of_neither_mode_cannot_send() -> None:
    request = httpx.Request("GET", "https://mesh.example")

    with pytest.raises(NotImplementedError):
        Connection().send(request)
    with pytest.raises(NotImplementedError):
        run_blocking(Connection().send_async(request))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["first", "second"])
def test_addresses_of_a_host_are_tried_in_turn(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch, order: list[int]
) -> None:
    server = serve()
    look_up = socket.getaddrinfo

    def look_up_two(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        """Find two addresses; nobody listens on the other."""
        found = [*look_up(host, port)[:1], *look_up("127.0.0.2", port)[:1]]
        return [found[number] for number in order]

    monkeypatch.setattr(socket, "getaddrinfo", look_up_two)

    assert mode.client(base_url=server.url, max_attempts=1).read()

    assert server.connections == 1


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 443), "127.0.0.1"),
        (("::1", 443, 0, 0), "::1"),
        (("fe80::1", 443, 0, 2), "fe80::1%2"),
    ],
)
def test_address_that_is_valid_on_one_network_only_names_the_interface(
    address: tuple[object, ...], text: str
) -> None:
    assert format_address(address) == text


def test_end_of_a_transport_that_came_too_late_does_not_end_the_next_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *place, **_: look_up(*place[:2])[:1] * 2)

    async def call() -> None:
        loop = asyncio.get_running_loop()
        create_connection = loop.create_connection
        attempts = itertools.count(1)

        async def create_first_too_late(*arguments: Any) -> Any:
            created = await create_connection(*arguments)
            if next(attempts) == 1:
                created[0].close()
                raise TimeoutError
            return created

        monkeypatch.setattr(loop, "create_connection", create_first_too_late)
        async with AsyncMeshClient(**KEYS, base_url=server.url, max_attempts=1) as mesh:
            assert await mesh.get_account_balance(TOKEN, "coinbase")

    asyncio.run(call())

    assert server.connections == 2


def test_two_threads_that_find_a_home_gone_close_it_once() -> None:
    class KeyOfHomeThatIsGone(HomeKey):
        """While one thread finds a home gone, another removes it."""

        def is_gone(self) -> bool:
            pool._homes.pop(self, None)
            return True

    class Waiting(ThreadWaiting):
        def current_home_key(self) -> HomeKey:
            return KeyOfHomeThatIsGone(os.getpid(), 0)

    pool = ConnectionPool(Waiting(), Connection, 1)
    run_blocking(pool.acquire(float("inf"), must_be_new=False))
    assert pool._homes

    pool.close()

    assert not pool._homes


@pytest.mark.parametrize("connection_class", [ThreadConnection, TaskConnection])
def test_connection_is_not_opened_after_the_deadline(connection_class: Any) -> None:
    connection = connection_class(
        httpx.URL("http://127.0.0.1:1"), ssl.create_default_context(), None
    )
    connection.lend_to_call(time.monotonic() - 1, Home(ThreadSlots(1)))

    async def open_it() -> None:
        opening = connection.connect_tcp("127.0.0.1", 1)
        if inspect.isawaitable(opening):
            await opening

    with pytest.raises(httpcore.TimeoutException):
        asyncio.run(open_it())


def test_connecting_gets_the_time_that_the_name_look_up_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    class Backend:
        def connect_tcp(self, _host: str, _port: int, timeout: float) -> None:
            waits.append(timeout)
            raise httpcore.ConnectError("refused")

    def look_up_slowly(_host: str, _port: int) -> list[str]:
        connection.deadline_at -= 20
        return ["192.0.2.1", "192.0.2.2"]

    connection = ThreadConnection(
        httpx.URL("https://mesh.example"), ssl.create_default_context(), None
    )
    connection.lend_to_call(time.monotonic() + 30, Home(ThreadSlots(1)))
    monkeypatch.setattr(httpcore, "SyncBackend", Backend)
    monkeypatch.setattr(thread_connection, "_look_up", look_up_slowly)

    with pytest.raises(httpcore.ConnectError, match="refused"):
        connection.connect_tcp("mesh.example", 443, timeout=30.0)

    assert waits == [pytest.approx(5, abs=0.5), pytest.approx(5, abs=0.5)]


@pytest.mark.parametrize("connection_class", [ThreadConnection, TaskConnection])
@pytest.mark.parametrize("host", ["mesh..example", f"{'m' * 64}.example"])
def test_name_that_no_host_can_have_fails_like_an_unknown_host(
    connection_class: Any, host: str
) -> None:
    url = httpx.URL("https://mesh.example")
    connection = connection_class(url, ssl.create_default_context(), None)
    connection.lend_to_call(time.monotonic() + 5, Home(ThreadSlots(1)))

    async def open_it() -> None:
        opening = connection.connect_tcp(host, 443)
        if inspect.isawaitable(opening):
            await opening

    with pytest.raises(httpcore.ConnectError) as caught:
        asyncio.run(open_it())

    error = connection_error(caught.value, connection.cause_of_failed_opening, 10.0)
    assert str(error) == (
        "the connection failed (ConnectError): a label of the host's name is empty or too long"
    )


def test_thread_looks_a_host_up_once_per_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    hosts: list[object] = []

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        hosts.append(host)
        return look_up("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    with MeshClient(**KEYS, base_url=serve().url.replace("127.0.0.1", "localhost")) as mesh:
        assert mesh.get_account_balance(TOKEN, "coinbase")

    assert hosts.count("localhost") == 1


def test_cause_of_an_address_that_refused_does_not_explain_a_later_step() -> None:
    connection = Connection()
    with pytest.raises(httpcore.ConnectError), connection.recording_cause():
        raise httpcore.ConnectError("no socket") from OSError("too many open files")
    assert isinstance(connection.cause_of_failed_opening, OSError)

    with connection.recording_cause():
        pass

    assert connection.cause_of_failed_opening is None


def test_slot_is_given_back_if_no_connection_can_be_made() -> None:
    def fail() -> Connection:
        raise MemoryError

    pool = ConnectionPool(ThreadWaiting(), fail, 1)

    for _ in range(2):  # with the slot lost, the second would wait for it and time out
        with pytest.raises(MemoryError):
            run_blocking(pool.acquire(time.monotonic() + 0.2, must_be_new=False))
