"""Engines on a scripted transport, and the class of a result, for the tests of operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesh_facade import MeshClient, MeshError
from mesh_facade.credentials import Credentials
from mesh_facade.engine.connection import TaskTransportAdapter, ThreadTransportAdapter
from mesh_facade.engine.engine import Engine
from mesh_facade.engine.pool import ConnectionPool
from mesh_facade.engine.retries import RetryBudget, RetryPolicy
from mesh_facade.engine.waiting import TaskWaiting, ThreadWaiting, Waiting
from tests.support import CLIENT_ID, CLIENT_SECRET, KEYS, Script, response

if TYPE_CHECKING:
    from mesh_facade.engine.bodies import Answer
    from tests.conftest import Mode


def build_engine(mode: Mode, script: Script) -> Engine:
    waiting: Waiting = TaskWaiting() if mode.is_async else ThreadWaiting()
    transport = TaskTransportAdapter(script) if mode.is_async else ThreadTransportAdapter(script)
    pool = ConnectionPool(waiting, lambda: transport, 1)
    return Engine(
        base_url="https://mesh.example",
        waiting=waiting,
        pool=pool,
        authentication=Credentials(CLIENT_ID, CLIENT_SECRET),
        user_agent="a-test",
        timeout=1.0,
        deadline=30.0,
        max_attempts=3,
        stop_signal=pool.stop_signal,
    )


def build_retry_policy() -> RetryPolicy:
    return RetryPolicy(RetryBudget())


def class_of_result(status: int, body: bytes) -> type[Any]:
    """Return the class of the balance or error that one attempt ends with."""
    with MeshClient(**KEYS, transport=Script(response(status, body)), max_attempts=1) as mesh:
        try:
            return type(mesh.get_account_balance("a-token", "coinbase"))
        except MeshError as error:
            return type(error) if vars(error).get("http_status") == status else MeshError


class _AcceptAll:
    def judge(self, answer: Answer) -> MeshError | None:
        del answer
        return None


ACCEPT_ALL = _AcceptAll()
"""A judge that accepts every answer."""
