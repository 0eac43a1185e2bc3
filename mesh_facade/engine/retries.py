"""Whether a failed attempt is followed by another one, and how long to wait before it.

`RetryPolicy.claim_retry` decides that, after each attempt that failed (`engine.CallLoop`).

Sending a request again because the server had closed an idle connection is not a retry: it counts
neither as an attempt nor against the budget. It is bounded all the same:

- It happens only if nothing came back. The second connection is a new one, so this normally
  happens at most once in an attempt. (If no file descriptor is free for a new connection, the
  request goes out on another idle one, which may be dead too.)
- Each resend uses up an idle connection, and a connection is kept only after a complete answer. So
  a server gets at most one resend for each answer that it gave.

A resend costs no retry, because a server that closes idle connections is not failing.
`RetryPolicy.may_resend` can forbid it.
"""

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
_MOST_DOUBLINGS = 10  # enough to reach `LONGEST_BACKOFF`, and no float overflows

_HTTP_REQUEST_TIMEOUT = 408


class RetryBudget:
    """Keeps retries from multiplying the load on a server that fails most calls.

    Ten calls pay for one retry, and ten retries are held in reserve. So n
    calls make at most 1.1 · n + 10 requests. Two kinds of requests are not counted: resends
    after an idle connection was found dead (the head of this module says what bounds them), and
    retries after a `Pause` with `extends_deadline`. (The policy that returns such a pause may call
    `take_retry` all the same.)

    There is no lock, because a fork could leave it held. None is needed: `next` on a count, and
    `append` and `pop` on a deque, are atomic. Each None in the deque is a retry that may be taken.
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
        extends_deadline: Whether the call's deadline is put off by as much. The attempt before such
            a pause does not count towards `max_attempts`. This is for policies that pace a whole
            run of calls, such as one that makes all of them wait for a `Retry-After`.
    """

    seconds: float
    extends_deadline: bool = False


@attrs.frozen
class CallState:
    """How far a call has come when one of its attempts has failed.

    Attributes:
        attempts: How many have been made.
        max_attempts: How many counted attempts it may make. An attempt that is followed by a pause
            that extends the deadline is not counted.
        deadline_extensions: How many of the pauses between attempts extended the deadline.
        seconds_left: Seconds until its deadline.
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
        """Return how many seconds an attempt must wait before it begins; 0 if it may begin now.

        The call's deadline is put off by as much. This is for policies that pace a whole run of
        calls. This class never makes an attempt wait.
        """
        return 0.0

    def claim_retry(self, error: MeshError, state: CallState) -> Pause | None:
        """Decide whether another attempt follows; if so, take a retry from the budget.

        Return the pause before it. The pause ends before the call's deadline, unless it extends the
        deadline. Return None if no attempt follows, so that the error is raised.
        """
        counted_attempts = state.attempts - state.deadline_extensions
        if counted_attempts >= state.max_attempts or not is_transient(error):
            return None
        seconds = _seconds_before_retry(error, counted_attempts)
        if seconds >= state.seconds_left:
            return None
        is_paid_for = self.budget.take_retry()
        if not is_paid_for:
            return None
        return Pause(seconds)

    def may_resend(self) -> bool:
        """Return True if a request may be sent again after an idle connection was found dead.

        The request may have reached the server all the same. The head of this module says why a
        resend costs no retry.
        """
        return True


class NeverRetry(RetryPolicy):
    """For operations that change something: their requests are never sent twice."""

    def claim_retry(self, error: MeshError, state: CallState) -> Pause | None:
        del error, state  # they make no difference
        return None

    def may_resend(self) -> bool:
        return False


def _seconds_before_retry(error: MeshError, counted_attempts: int) -> float:
    if isinstance(error, MeshAPIError) and error.retry_after is not None:
        return error.retry_after
    # Full jitter: callers that failed together do not come back together.
    doublings = min(counted_attempts - 1, _MOST_DOUBLINGS)
    ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**doublings)
    return random.uniform(0, ceiling)  # noqa: S311 — no secret depends on it


def is_transient(error: MeshError) -> bool:
    """Return True if the same call may succeed a moment later."""
    if isinstance(error, MeshConnectionError):
        return error.is_transient
    if isinstance(error, (RateLimitError, ServerError)):
        return True
    # Mesh's `judge` makes each HTTP 408 a MeshAPIError. MeshResponseError is listed for projects
    # that use this engine with a judge of their own.
    if isinstance(error, (MeshAPIError, MeshResponseError)):
        return error.http_status == _HTTP_REQUEST_TIMEOUT
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
    """Return the seconds to wait that a number or a date asks for; None if it is neither."""
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
