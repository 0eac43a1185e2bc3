"""A transport of the caller's own, as a connection of the pool."""

from __future__ import annotations

import asyncio
import errno
import time
from typing import TYPE_CHECKING

import attrs
import httpx
import pytest

from mesh_facade import MeshConnectionError, MeshTimeoutError
from mesh_facade.engine.connection import TaskTransportAdapter, ThreadTransportAdapter
from mesh_facade.engine.engine import AcceptedAnswer, CallLoop
from mesh_facade.engine.pool import ConnectionPool
from mesh_facade.engine.retries import NeverRetry, RetryBudget
from mesh_facade.engine.waiting import run_blocking
from tests.leaks import find_secrets, texts_reachable_from
from tests.operations.support import ACCEPT_ALL, build_engine
from tests.support import CLIENT_SECRET, OK, Script, response

if TYPE_CHECKING:
    from tests.conftest import Mode

REQUEST = httpx.Request("POST", "https://mesh.example", content=b"{}")


def test_transport_for_threads_sends_only_in_threads() -> None:
    connection = ThreadTransportAdapter(Script(OK))

    assert connection.send(REQUEST).status_code == 200
    with pytest.raises(NotImplementedError):
        asyncio.run(connection.send_async(REQUEST))


def test_transport_for_tasks_sends_only_in_tasks() -> None:
    connection = TaskTransportAdapter(Script(OK))

    assert asyncio.run(connection.send_async(REQUEST)).status_code == 200
    with pytest.raises(NotImplementedError):
        connection.send(REQUEST)


@pytest.mark.parametrize("connection_class", [ThreadTransportAdapter, TaskTransportAdapter])
def test_custom_transport_is_never_kept_by_the_pool(
    connection_class: type[ThreadTransportAdapter | TaskTransportAdapter],
) -> None:
    connection = connection_class(Script(OK))

    assert not connection.is_clean
    assert not connection.has_unread_data()
    assert not connection.heeds_deadline
    connection.close()  # the transport belongs to the caller, who closes it with the client


def test_request_is_not_sent_again_if_a_custom_transport_lacks_descriptors(mode: Mode) -> None:
    script = Script(OSError(errno.EMFILE, "Too many open files"), OK)
    engine = build_engine(mode, script)
    pool = ConnectionPool(engine.waiting, lambda: open_transport(mode, script), 2)
    call_loop = CallLoop(attrs.evolve(engine, pool=pool), ACCEPT_ALL, NeverRetry(RetryBudget()))

    async def call_while_another_call_has_a_connection() -> AcceptedAnswer:
        await pool.acquire(time.monotonic() + 1, must_be_new=False)
        return await call_loop.run(httpx.Request("POST", "https://mesh.example", json={}))

    run = mode.run if mode.is_async else run_blocking
    with pytest.raises(MeshConnectionError, match="too many files are open") as caught:
        run(call_while_another_call_has_a_connection())

    assert caught.value.attempts == 1
    assert len(script.requests) == 1


def open_transport(mode: Mode, script: Script) -> TaskTransportAdapter | ThreadTransportAdapter:
    if mode.is_async:
        return TaskTransportAdapter(script)
    return ThreadTransportAdapter(script)


def test_status_error_of_a_custom_transport_becomes_a_connection_error_without_secrets(
    mode: Mode,
) -> None:
    request = httpx.Request("POST", "https://mesh.example", headers={"X": CLIENT_SECRET})
    raised = httpx.HTTPStatusError("refused", request=request, response=response(500))

    with pytest.raises(MeshConnectionError, match="HTTPStatusError") as caught:
        mode.client(transport=Script(raised), max_attempts=1).read()

    assert [text for text in texts_reachable_from([caught.value]) if find_secrets(text)] == []


def test_builtin_timeout_error_of_a_custom_transport_becomes_a_timeout_error(mode: Mode) -> None:
    caller = mode.client(transport=Script(TimeoutError()), max_attempts=1)

    with pytest.raises(MeshTimeoutError, match=r"^no answer within the timeout of 10 s"):
        caller.read()


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_system_timeout_of_a_custom_transport_is_no_timeout_of_ours(
    mode: Mode, *, is_wrapped: bool
) -> None:
    error: Exception = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
    if is_wrapped:
        wrapped = httpx.ReadTimeout("timed out")
        wrapped.__cause__ = error
        error = wrapped
    caller = mode.client(transport=Script(error), max_attempts=1)

    with pytest.raises(MeshConnectionError, match=r": Connection timed out$") as caught:
        caller.read()

    assert type(caught.value) is MeshConnectionError
    assert caught.value.is_transient
