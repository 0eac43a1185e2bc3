"""The retry policy and its budget, as pure functions."""

from __future__ import annotations

from mesh_facade import RateLimitError
from mesh_facade.engine.retries import CallState, Pause, RetryBudget, RetryPolicy


def test_pause_that_ends_with_the_deadline_is_not_made() -> None:
    policy = RetryPolicy(RetryBudget())
    error = RateLimitError(retry_after=5.0)

    assert policy.find_pause(error, CallState(1, 3, 0, seconds_left=5.0)) is None
    assert policy.find_pause(error, CallState(1, 3, 0, seconds_left=5.1)) == Pause(5.0)
