"""Pacing: the decisions of a bulk run, as pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mesh_facade import (
    AuthenticationError,
    BadRequestError,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    RateLimitError,
    ServerError,
    pacing,
)
from mesh_facade.engine.retries import CallState, Pause, RetryBudget

if TYPE_CHECKING:
    from tests.conftest import Clock

REFUSED = AuthenticationError(http_status=401)
DEAD_TOKEN = AuthenticationError(http_status=401, error_type="unauthorizedToken")


def make_state(deadline_extensions: int = 0) -> CallState:
    return CallState(1 + deadline_extensions, 3, deadline_extensions, seconds_left=10.0)


def test_other_failures_are_retried_as_in_a_single_call(clock: Clock) -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=None)
    state = CallState(1, 3, 0, seconds_left=10.0)

    paused = policy.claim_retry(RateLimitError(retry_after=11.0), state)
    retried = policy.claim_retry(ServerError(), state)

    assert paused == Pause(11.0, extends_deadline=True)
    assert policy.seconds_to_hold() == 11.0
    assert retried is not None
    assert retried.seconds <= 0.5
    assert not retried.extends_deadline
    assert clock.pauses == []


def test_attempts_are_held_back_until_the_pause_is_over(clock: Clock) -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=None)
    assert policy.seconds_to_hold() == 0

    policy.claim_retry(RateLimitError(retry_after=5.0), make_state())

    assert policy.seconds_to_hold() == 5
    clock.now += 2
    assert policy.seconds_to_hold() == 3
    clock.now += 4
    assert policy.seconds_to_hold() == 0


def test_server_error_with_retry_after_does_not_pause_all_lanes() -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=None)

    pause = policy.claim_retry(ServerError(retry_after=5.0), make_state())

    assert pause == Pause(5.0)
    assert policy.seconds_to_hold() == 0


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("retry_after", "is_paused"), [(300.0, True), (300.5, False)])
def test_longest_pause_is_300_seconds(retry_after: float, *, is_paused: bool) -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=None)

    pause = policy.claim_retry(RateLimitError(retry_after=retry_after), make_state())

    assert (pause is not None) is is_paused
    assert policy.seconds_to_hold() == (retry_after if is_paused else 0)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("extensions", "is_paused"), [(9, True), (10, False), (11, False)])
def test_account_is_paused_for_at_most_ten_times(extensions: int, *, is_paused: bool) -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=None)

    pause = policy.claim_retry(RateLimitError(retry_after=1.0), make_state(extensions))

    assert (pause is not None) is is_paused


@pytest.mark.usefixtures("clock")
def test_shorter_pause_during_a_longer_one_lasts_as_long_as_that() -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=None)

    policy.claim_retry(RateLimitError(retry_after=20.0), make_state())
    pause = policy.claim_retry(RateLimitError(retry_after=5.0), make_state())

    assert pause == Pause(20.0, extends_deadline=True)


@pytest.mark.usefixtures("clock")
def test_overlapping_pauses_count_once_towards_max_pause() -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=20.0)

    for _ in range(8):
        assert policy.claim_retry(RateLimitError(retry_after=20.0), make_state()) is not None
    assert policy.claim_retry(RateLimitError(retry_after=20.5), make_state()) is None


def test_max_pause_bounds_the_sum_of_pauses(clock: Clock) -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=50.0)
    lasted = 0.0

    for _ in range(20):
        pause = policy.claim_retry(RateLimitError(retry_after=15.0), make_state())
        if pause is not None:
            lasted += pause.seconds
            clock.now += pause.seconds

    assert lasted == 45.0


def test_pause_without_length_takes_from_the_retry_budget_unless_lanes_pause_already(
    clock: Clock,
) -> None:
    budget = RetryBudget()
    policy = pacing.BulkRetryPolicy(budget, max_pause=None)
    at_once = RateLimitError(retry_after=0.0)
    while budget.take_retry():
        pass

    assert policy.claim_retry(at_once, make_state()) is None
    policy.claim_retry(RateLimitError(retry_after=5.0), make_state())
    assert policy.claim_retry(at_once, make_state()) == Pause(5.0, extends_deadline=True)
    assert clock.pauses == []


def test_pause_that_max_pause_forbids_holds_no_lane_back(clock: Clock) -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=10.0)

    assert policy.claim_retry(RateLimitError(retry_after=11.0), make_state()) is None
    assert policy.seconds_to_hold() == 0
    clock.now += 100
    assert policy.claim_retry(RateLimitError(retry_after=10.0), make_state()) is not None


@pytest.mark.parametrize(("concurrency", "needed"), [(1, 5), (5, 5), (6, 6), (20, 20)])
def test_refusals_in_a_row_end_a_run_after_as_many_as_lanes_but_at_least_five(
    concurrency: int, needed: int
) -> None:
    detector = pacing.KeyRefusalDetector(concurrency)

    ended = [detector.record(f"token-{account}", "coinbase", REFUSED) for account in range(needed)]

    assert ended == [False] * (needed - 1) + [True]


@pytest.mark.parametrize(
    ("error", "resets"),
    [
        (None, True),
        (ServerError(), True),
        (BadRequestError(), True),
        (DEAD_TOKEN, True),
        (MeshResponseError(), True),
        (ValueError(), False),  # nothing was sent
        (MeshConfigurationError(), False),
        (MeshConnectionError(), False),
        (MeshTimeoutError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_answer_of_mesh_resets_the_count_of_refusals_and_a_missing_answer_does_not(
    error: Exception | None, *, resets: bool
) -> None:
    detector = pacing.KeyRefusalDetector(1)

    for account in range(4):
        detector.record(f"token-{account}", "coinbase", REFUSED)
    detector.record("another token", "coinbase", error)

    assert detector.record("the fifth token", "coinbase", REFUSED) is not resets


def test_refusals_of_one_account_count_once() -> None:
    detector = pacing.KeyRefusalDetector(1)

    assert not any(detector.record("the same token", "coinbase", REFUSED) for _ in range(50))


def test_refused_keys_hold_no_account() -> None:
    detector = pacing.KeyRefusalDetector(1)

    detector.record("canary-account", "coinbase", MeshError())
    detector.record("canary-account", "coinbase", REFUSED)

    assert "canary" not in repr(vars(detector))
