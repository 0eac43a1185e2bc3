"""Attempts that the policy holds back before they begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import httpx
import pytest

from mesh_facade import MeshError
from mesh_facade.engine.engine import CallLoop
from mesh_facade.engine.retries import RetryBudget, RetryPolicy
from mesh_facade.engine.waiting import StopSignal, run_blocking
from tests.operations.support import ACCEPT_ALL, build_engine
from tests.support import OK, Script

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode, Serve


class HoldingPolicy(RetryPolicy):
    """A policy that asks for these waits before the first attempt."""

    def __init__(self, *waits: float) -> None:
        super().__init__(RetryBudget())
        self.waits = list(waits)

    def seconds_to_hold(self) -> float:
        if not self.waits:
            return 0.0
        return self.waits.pop(0)


def call(mode: Mode, script: Script, policy: RetryPolicy, stopped: StopSignal) -> int:
    """Make a call; return the number of its attempts."""
    engine = attrs.evolve(build_engine(mode, script), stop_signal=stopped)
    calling = CallLoop(engine, ACCEPT_ALL, policy).run(
        httpx.Request("POST", "https://mesh.example", json={})
    )
    if mode.is_async:
        attempts: int = mode.run(calling).attempts
        return attempts
    return run_blocking(calling).attempts


def test_held_attempt_begins_after_all_waits_and_keeps_its_deadline(
    mode: Mode, clock: Clock
) -> None:
    attempts = call(mode, Script(OK), HoldingPolicy(20.0, 25.0), StopSignal())

    assert attempts == 1
    assert clock.pauses == [20.0, 25.0]  # 45 s, longer than the deadline of 30 s


def test_attempt_is_held_if_the_hold_began_while_it_waited_for_a_connection(
    mode: Mode, clock: Clock
) -> None:
    attempts = call(mode, Script(OK), HoldingPolicy(0.0, 20.0, 20.0), StopSignal())

    assert attempts == 1
    assert clock.pauses == [20.0]


def test_held_attempt_leaves_its_idle_connection_to_later_calls(mode: Mode, serve: Serve) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)
    caller.read()
    policy = HoldingPolicy(0.0, 0.01, 0.01)
    calling = CallLoop(caller.client._runner.engine, ACCEPT_ALL, policy).run(
        httpx.Request("POST", server.url, json={})
    )

    accepted = mode.run(calling) if mode.is_async else run_blocking(calling)

    assert accepted.attempts == 1
    assert (server.connections, len(server.requests)) == (1, 2)


def test_held_attempt_raises_mesh_error_when_the_client_is_closed(mode: Mode) -> None:
    script = Script(OK)
    stopped = StopSignal()
    stopped.set()

    with pytest.raises(MeshError, match=r"^this client is closed$") as caught:
        call(mode, script, HoldingPolicy(60.0), stopped)

    assert type(caught.value) is MeshError
    assert caught.value.attempts == 0
    assert script.requests == []
