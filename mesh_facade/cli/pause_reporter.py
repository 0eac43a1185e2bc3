"""Prints a line when a bulk run begins a long pause, so that it does not seem to hang."""

import math
import time

from mesh_facade import Attempt, RateLimitError
from mesh_facade.cli.terminal import print_message

SHORTEST_REPORTED_PAUSE = 5.0
"""Seconds: a shorter pause is over before anybody wonders."""
_TOLERANCE = 1.0
"""Seconds: a pause that ends less than this after the reported one counts as the same pause.

Many accounts may get a 429 at almost the same time. Together they begin one pause.
"""


class PauseReporter:
    """A client's `on_attempt` function, which reports the long pauses of a run.

    After a 429 with a `Retry-After` all accounts pause, so one line is enough for all of them.
    (After a 429 without one, only one account pauses, and for less than `SHORTEST_REPORTED_PAUSE`.)
    """

    def __init__(self) -> None:
        self._reported_until = 0.0  # when the last reported pause ends

    def __call__(self, attempt: Attempt) -> None:
        """Print a line if this attempt begins a long pause of the run, or makes it longer."""
        if attempt.error != RateLimitError.__name__ or attempt.pause is None:
            return
        if attempt.pause < SHORTEST_REPORTED_PAUSE:
            return
        pauses_until = time.monotonic() + attempt.pause
        if pauses_until < self._reported_until + _TOLERANCE:
            return
        self._reported_until = pauses_until
        print_message(f"Mesh asks to wait: the run pauses for {math.ceil(attempt.pause)} s")
