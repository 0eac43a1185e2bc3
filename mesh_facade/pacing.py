"""The decisions of a bulk run: when its lanes pause, and when it ends early.

A lane is a thread or a task that reads accounts (see `bulk`).
"""

import threading
import time

from mesh_facade.engine.retries import CallState, Pause, RetryBudget, RetryPolicy
from mesh_facade.errors import (
    AuthenticationError,
    MeshAPIError,
    MeshError,
    MeshResponseError,
    RateLimitError,
)

MOST_PAUSES = 10
"""How many pauses one account may cause: a rule of ours, not of Mesh."""
LONGEST_PAUSE = 300.0
"""Seconds: a longer `Retry-After` is not waited for. A rule of ours, not of Mesh."""
MIN_REFUSALS = 5
"""A run ends early only after at least so many accounts in a row were refused."""


class BulkRetryPolicy(RetryPolicy):
    """Retries of a bulk run.

    If Mesh answers 429 with a `Retry-After`, all lanes pause: no attempt of the run begins before
    the pause is over. A pause puts off the deadlines of the calls that wait for it, and uses up
    none of their attempts. The retry after a pause is not taken from the retry budget either,
    unless the pause lasts 0 seconds: nothing slows such retries down, so the budget limits them.

    The account fails without a pause if the `Retry-After` is longer than `LONGEST_PAUSE`, if the
    account has caused `MOST_PAUSES` already, if the run would pause longer than `max_pause` in all,
    or if the pause would last 0 seconds and the budget is empty. Other failures are retried as in a
    single call.
    """

    def __init__(self, budget: RetryBudget, max_pause: float | None) -> None:
        super().__init__(budget)
        self._pause_left = max_pause  # seconds that the run may still pause; None: no bound
        self._resume_at = 0.0  # when the pause of all lanes is over
        self._lock = threading.Lock()  # lanes can be threads

    def seconds_to_hold(self) -> float:
        return max(0.0, self._resume_at - time.monotonic())

    def claim_retry(self, error: MeshError, state: CallState) -> Pause | None:
        if not isinstance(error, RateLimitError) or error.retry_after is None:
            return super().claim_retry(error, state)
        if error.retry_after > LONGEST_PAUSE or state.deadline_extensions >= MOST_PAUSES:
            return None
        if not self._try_to_hold_all_lanes(error.retry_after):
            return None
        seconds = self.seconds_to_hold()  # another lane may have asked for a longer pause
        if error.retry_after == 0 and seconds == 0:
            # No wait slows such retries down, so the budget limits them.
            is_paid_for = self.budget.take_retry()
            if not is_paid_for:
                return None
        return Pause(seconds, extends_deadline=True)

    def _try_to_hold_all_lanes(self, seconds: float) -> bool:
        """Pause all lanes for so many seconds from now; return False if `max_pause` forbids it."""
        with self._lock:
            now = time.monotonic()
            held_until = max(self._resume_at, now)
            resume_at = max(held_until, now + seconds)
            added = resume_at - held_until  # overlapping pauses count once
            if self._pause_left is not None:
                if added > self._pause_left:
                    return False
                self._pause_left -= added
            self._resume_at = resume_at
            return True


class KeyRefusalDetector:
    """Notices when the API keys are evidently refused, rather than one user's token.

    A 401 without `reconnect_required` can be about the keys or about the token: Mesh does not
    document which. Only several such answers in a row, for different accounts, are evidence: as
    many as `concurrency` says, but at least `MIN_REFUSALS`. Any other answer begins the count anew:
    in doubt, the run goes on. An account without an answer, because the network failed or its token
    could not be sent, does not change the count.
    """

    def __init__(self, concurrency: int) -> None:
        self._needed = max(MIN_REFUSALS, concurrency)
        self._refused_in_a_row: set[int] = set()  # hashes of accounts, which show no token

    def record(self, auth_token: str, broker: str, error: Exception | None) -> bool:
        """Count an account's outcome; return True if the keys are evidently refused."""
        if isinstance(error, AuthenticationError) and not error.reconnect_required:
            self._refused_in_a_row.add(hash((auth_token, broker)))
        elif error is None or isinstance(error, (MeshAPIError, MeshResponseError)):
            self._refused_in_a_row.clear()  # another answer
        return len(self._refused_in_a_row) >= self._needed
