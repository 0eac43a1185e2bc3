"""Reports of attempts and calls, to the caller's `on_attempt` function and to the log."""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

import attrs

from mesh_facade.errors import MeshError

current_account_key: ContextVar[object] = ContextVar("mesh_facade_key", default=None)
"""The `key` of the account that the current call reads, for reports; None outside of bulk runs."""

_logger = logging.getLogger("mesh_facade")


@attrs.frozen
class Attempt:
    """An attempt that has ended, as `on_attempt` and the log report it. It holds no secret.

    Attributes:
        number: 1 for the first attempt of a call.
        elapsed: Seconds that it took, including the opening of a new connection, but not the wait
            for a free one.
        error: The name of the error's class; None if the answer was accepted.
        http_status: The HTTP status of an answer that was not accepted; None if the answer was
            accepted, or none came.
        pause: Seconds until the next attempt; None if this was the last.
        key: In a bulk run, the `key` of the account; else None.
    """

    number: int
    elapsed: float
    error: str | None
    http_status: int | None
    pause: float | None
    key: object = None


OnAttempt: TypeAlias = Callable[[Attempt], object]


def report(attempt: Attempt, on_attempt: OnAttempt | None) -> None:
    """Log an attempt if it failed, and call the caller's function.

    Exceptions raised by that function propagate to the caller.
    """
    if attempt.error is not None and _logger.isEnabledFor(logging.DEBUG):
        _logger.debug(
            "attempt %d failed: %s",
            attempt.number,
            attempt.error,
            extra={
                "mesh_attempt_number": attempt.number,
                "mesh_attempt_elapsed": attempt.elapsed,
                "mesh_attempt_error": attempt.error,
                "mesh_attempt_http_status": attempt.http_status,
                "mesh_attempt_pause": attempt.pause,
                "mesh_attempt_key": attempt.key,
            },
        )
    if on_attempt is not None:
        on_attempt(attempt)


def logs_calls() -> bool:
    """Return True if the log takes the records of `log_call`."""
    return _logger.isEnabledFor(logging.INFO)


def log_call(attempts: int, elapsed: float, error: MeshError | None) -> None:
    """Log a call that has ended, without anything that it sent or received."""
    error_name = None
    outcome = "ok"
    if error is not None:
        error_name = type(error).__name__
        outcome = error_name
    noun = "attempts"
    if attempts == 1:
        noun = "attempt"
    _logger.info(
        "call ended after %d %s and %.3f s: %s",
        attempts,
        noun,
        elapsed,
        outcome,
        extra={
            "mesh_call_attempts": attempts,
            "mesh_call_elapsed": elapsed,
            "mesh_call_error": error_name,
            "mesh_call_http_status": getattr(error, "http_status", None),
            "mesh_call_key": current_account_key.get(),
        },
    )
