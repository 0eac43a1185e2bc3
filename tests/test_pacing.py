"""Pacing: the decisions of a bulk run, as pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh_facade import RateLimitError, ServerError, pacing
from mesh_facade.engine.retries import CallState, Pause, RetryBudget

if TYPE_CHECKING:
    from tests.conftest import Clock


def test_other_failures_are_retried_as_in_a_single_call(clock: Clock) -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=None)
    state = CallState(1, 3, 0, seconds_left=10.0)

    paused = policy.find_pause(RateLimitError(retry_after=11.0), state)
    retried = policy.find_pause(ServerError(), state)

    assert paused == Pause(11.0, extends_deadline=True)
    assert policy.seconds_to_hold() == 11.0
    assert retried is not None
    assert retried.seconds <= 0.5
    assert not retried.extends_deadline
    assert clock.pauses == []
