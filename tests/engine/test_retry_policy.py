"""The retry policy and its budget, as pure functions."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from mesh_facade import (
    AuthenticationError,
    BadRequestError,
    MeshAPIError,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    MeshTLSError,
    RateLimitError,
    ServerError,
)
from mesh_facade.engine.retries import (
    CallState,
    NeverRetry,
    Pause,
    RetryBudget,
    RetryPolicy,
    is_transient,
    read_retry_after,
)


def make_state(attempts: int = 1, **changes: Any) -> CallState:
    fields: dict[str, Any] = {
        "attempts": attempts,
        "max_attempts": 3,
        "deadline_extensions": 0,
        "seconds_left": 30.0,
    }
    return CallState(**{**fields, **changes})


def count_retries(budget: RetryBudget) -> int:
    """Take all retries out of a budget; return how many there were."""
    count = 0
    while budget.take_retry():
        count += 1
    return count


def test_pause_that_ends_with_the_deadline_is_not_made() -> None:
    policy = RetryPolicy(RetryBudget())
    error = RateLimitError(retry_after=5.0)

    assert policy.claim_retry(error, CallState(1, 3, 0, seconds_left=5.0)) is None
    assert policy.claim_retry(error, CallState(1, 3, 0, seconds_left=5.1)) == Pause(5.0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MeshConnectionError("refused"), True),
        (MeshTimeoutError(), True),
        (MeshTLSError("certificate"), False),
        (RateLimitError(), True),
        (ServerError(), True),
        (MeshAPIError(http_status=408), True),
        (MeshResponseError(http_status=408), True),
        (MeshResponseError(http_status=200), False),
        (BadRequestError(http_status=400), False),
        (AuthenticationError(http_status=401), False),
        (MeshConfigurationError(), False),
        (MeshError("this client is closed"), False),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'http_status', '')}",
)
def test_transient_errors_are_those_that_may_pass(error: MeshError, *, expected: bool) -> None:
    assert is_transient(error) is expected


def test_connection_error_that_is_not_transient_is_not_retried() -> None:
    error = MeshConnectionError("the proxy refused to connect: HTTP 407")
    error.is_transient = False

    assert not is_transient(error)
    assert RetryPolicy(RetryBudget()).claim_retry(error, make_state()) is None


@pytest.mark.parametrize(("attempts", "is_retried"), [(1, True), (2, True), (3, False), (4, False)])
def test_attempts_end_at_max_attempts(attempts: int, *, is_retried: bool) -> None:
    pause = RetryPolicy(RetryBudget()).claim_retry(ServerError(), make_state(attempts))

    assert (pause is not None) is is_retried


def test_attempts_before_a_pause_of_all_lanes_do_not_count() -> None:
    policy = RetryPolicy(RetryBudget())

    assert policy.claim_retry(ServerError(), make_state(9, deadline_extensions=7)) is not None
    assert policy.claim_retry(ServerError(), make_state(10, deadline_extensions=7)) is None


@pytest.mark.parametrize(
    ("attempts", "ceiling"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0)]
)
def test_longest_backoff_doubles_up_to_eight_seconds(
    monkeypatch: pytest.MonkeyPatch, attempts: int, ceiling: float
) -> None:
    monkeypatch.setattr(random, "uniform", max)

    pause = RetryPolicy(RetryBudget()).claim_retry(
        ServerError(), make_state(attempts, max_attempts=9)
    )

    assert pause == Pause(ceiling)


def test_retry_after_replaces_the_backoff() -> None:
    policy = RetryPolicy(RetryBudget())

    assert policy.claim_retry(ServerError(retry_after=12.5), make_state()) == Pause(12.5)
    assert policy.claim_retry(RateLimitError(retry_after=0.0), make_state()) == Pause(0.0)


def test_no_retry_is_taken_from_the_budget_if_none_is_made() -> None:
    budget = RetryBudget()
    policy = RetryPolicy(budget)

    assert policy.claim_retry(BadRequestError(), make_state()) is None
    assert policy.claim_retry(ServerError(), make_state(3)) is None
    assert policy.claim_retry(ServerError(retry_after=31.0), make_state()) is None

    assert count_retries(budget) == 10


def test_empty_budget_allows_no_retry() -> None:
    budget = RetryBudget()
    count_retries(budget)

    assert RetryPolicy(budget).claim_retry(ServerError(), make_state()) is None


def test_ten_calls_pay_for_one_retry() -> None:
    budget = RetryBudget()
    policy = RetryPolicy(budget)
    count_retries(budget)

    for _ in range(9):
        policy.count_call()
    assert count_retries(budget) == 0
    policy.count_call()
    assert count_retries(budget) == 1


def test_budget_holds_at_most_ten_retries() -> None:
    budget = RetryBudget()

    for _ in range(1000):
        budget.count_call()

    assert count_retries(budget) == 10


def test_policy_of_single_calls_never_holds_attempts_back() -> None:
    assert RetryPolicy(RetryBudget()).seconds_to_hold() == 0


@pytest.mark.parametrize(
    "error", [MeshConnectionError(), RateLimitError(retry_after=0.0), ServerError()]
)
def test_never_retry_makes_no_retry_and_takes_none_from_the_budget(error: MeshError) -> None:
    budget = RetryBudget()
    policy = NeverRetry(budget)

    assert policy.claim_retry(error, make_state()) is None
    assert not policy.may_resend()
    assert count_retries(budget) == 10


def test_missing_retry_after_is_none() -> None:
    assert read_retry_after(httpx.Headers()) is None
