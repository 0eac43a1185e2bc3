"""Whether a failed attempt is followed by another one, and how long to wait before it."""

import datetime as dt
import email.utils
import itertools
import random
import re
from collections import deque

import attrs
import httpx

from mesh_facade.errors import (
    MeshAPIError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    RateLimitError,
    ServerError,
)

FIRST_BACKOFF = 0.5
"""Seconds: the longest pause before the second attempt; it doubles with each further one."""
LONGEST_BACKOFF = 8.0
"""Seconds: no backoff is longer. A `Retry-After` can be."""


_REQUEST_TIMEOUT = 408


class RetryBudget:
    """Keeps retries from multiplying the load on a server that fails most calls.

    Ten calls pay for one retry, and ten retries are held in reserve: a server gets at most 1.1
    times the calls plus 10. Counter and deque are atomic; a lock could be left held by a fork.
    """

    _RESERVE = 10
    _CALLS_PER_RETRY = 10

    def __init__(self) -> None:
        self._call_numbers = itertools.count(1)
        self._retries = deque([None] * self._RESERVE, maxlen=self._RESERVE)

    def count_call(self) -> None:
        """Count a call; every tenth adds a retry, up to the reserve."""
        if next(self._call_numbers) % self._CALLS_PER_RETRY == 0:
            self._retries.append(None)

    def take_retry(self) -> bool:
        """Take a retry out; return False if there is none."""
        try:
            self._retries.pop()
        except IndexError:
            return False
        return True


@attrs.frozen
class Pause:
    """The wait before the next attempt.

    Attributes:
        seconds: How long it is.
        extends_deadline: The call's deadline is put off by as much.
    """

    seconds: float
    extends_deadline: bool = False


@attrs.frozen
class CallState:
    """How far a call has come when one of its attempts has failed.

    Attributes:
        attempts: How many have been made.
        max_attempts: How many it may make, without those that a pause of all lanes followed.
        deadline_extensions: How many pauses have put off its deadline.
        seconds_left: How far away its deadline is.
    """

    attempts: int
    max_attempts: int
    deadline_extensions: int
    seconds_left: float


class RetryPolicy:
    """Decides about retries; all calls of a client share its budget."""

    def __init__(self, budget: RetryBudget) -> None:
        self.budget = budget

    def count_call(self) -> None:
        """Count a call before its first attempt."""
        self.budget.count_call()

    def seconds_to_hold(self) -> float:
        """Return how long no attempt may begin; the deadline of a call that waits is put off."""
        return 0.0

    def find_pause(self, error: MeshError, state: CallState) -> Pause | None:
        """Return the wait before the next attempt; None if the error stands."""
        counted_attempts = state.attempts - state.deadline_extensions
        if counted_attempts >= state.max_attempts or not is_transient(error):
            return None
        seconds = _seconds_before_retry(error, counted_attempts)
        if seconds >= state.seconds_left or not self.budget.take_retry():
            return None
        return Pause(seconds)

    def may_reopen(self) -> bool:
        """Return True if a request may be sent again after a kept connection was found dead."""
        return True


class NeverRetry(RetryPolicy):
    """For operations that change something: they are never sent twice."""

    def find_pause(self, error: MeshError, state: CallState) -> Pause | None:
        del error, state
        return None

    def may_reopen(self) -> bool:
        return False


def _seconds_before_retry(error: MeshError, attempts: int) -> float:
    if isinstance(error, MeshAPIError) and error.retry_after is not None:
        return error.retry_after
    # Full jitter: callers that failed together do not come back together.
    ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (attempts - 1))
    return random.uniform(0, ceiling)  # noqa: S311 — no secret depends on it


def is_transient(error: MeshError) -> bool:
    """Return True if the same call may succeed a moment later."""
    if isinstance(error, MeshConnectionError):
        return error.is_transient
    if isinstance(error, (RateLimitError, ServerError)):
        return True
    if isinstance(error, (MeshAPIError, MeshResponseError)):
        return error.http_status == _REQUEST_TIMEOUT
    return False


def read_retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds that `Retry-After` asks to wait; of several values, the longest."""
    longest: float | None = None
    for value in headers.get_list("retry-after"):
        seconds = _parse_retry_after(value.strip())
        if seconds is not None and (longest is None or seconds > longest):
            longest = seconds
    return longest


def _parse_retry_after(value: str) -> float | None:
    """Return the seconds that a value means, a number or a date; None if it is neither."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=dt.UTC)
        seconds = (date - dt.datetime.now(dt.UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)
