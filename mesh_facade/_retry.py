"""When a failed attempt is worth another one, and how long to wait before it."""

import contextlib
import datetime as dt
import email.utils
import itertools
import random
import re
from collections import deque

import httpx

from mesh_facade.errors import (
    MeshConnectionError,
    MeshError,
    MeshTLSError,
    RateLimitError,
    ServerError,
)

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 8.0


class Budget:
    """Keeps retries from multiplying the load on a server that fails most calls.

    Ten calls pay for one retry, and ten retries are held in reserve: a server gets at most 1.1 x
    the calls + 10. Without a lock: a fork could leave it held.
    """

    def __init__(self) -> None:
        self._calls = itertools.count(1)
        self._tokens = deque(range(10), maxlen=10)

    def deposit(self) -> None:
        """Count a call."""
        if next(self._calls) % 10 == 0:
            self._tokens.append(0)

    def withdraw(self) -> bool:
        """Take a retry out; return whether there was one."""
        with contextlib.suppress(IndexError):
            self._tokens.pop()
            return True
        return False


def find_pause(
    error: MeshError, max_attempts: int, remaining: float, budget: Budget | None
) -> float | None:
    """Return the seconds to wait before the next attempt; None: the error stands.

    An operation without a budget must not be sent twice.
    """
    if budget is None or not is_transient(error) or error.attempts >= max_attempts:
        return None
    pause: float | None = getattr(error, "retry_after", None)
    if pause is None:  # full jitter: callers that failed together do not come back together
        ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (error.attempts - 1))
        pause = random.uniform(0, ceiling)  # noqa: S311 — no secret depends on it
    return pause if pause < remaining and budget.withdraw() else None


def is_transient(error: MeshError) -> bool:
    """Whether the same call may succeed a moment later."""
    timed_out = getattr(error, "http_status", 0) == httpx.codes.REQUEST_TIMEOUT
    kinds = (MeshConnectionError, RateLimitError, ServerError)
    return timed_out or (isinstance(error, kinds) and not isinstance(error, MeshTLSError))


def retry_after(headers: httpx.Headers) -> float | None:
    """Read `Retry-After`, in seconds or as a date; of several, the longest wait."""
    waits = [_seconds(value.strip()) for value in headers.get_list("retry-after")]
    return max((wait for wait in waits if wait is not None), default=None)


def _seconds(value: str) -> float | None:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    with contextlib.suppress(ValueError, OverflowError):  # neither: as if it were not there
        date = email.utils.parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=dt.UTC)
        return max(0.0, (date - dt.datetime.now(dt.UTC)).total_seconds())
    return None
