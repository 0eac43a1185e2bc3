"""How a command ends: its exit code, and what the user should do next."""

import math
from collections.abc import Sequence

import attrs

from mesh_facade import (
    AuthenticationError,
    MeshAPIError,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    RateLimitError,
    ServerError,
)

FAILED = 1
USAGE = 2
KEYS_REFUSED = 3
UNREACHABLE = 4
INTERRUPTED = 130

REPORTED_ERRORS = (MeshError, ValueError, OSError, ImportError)
"""The errors that a command reports in one line; any other is a fault of ours, with a traceback."""

_LINK_AGAIN = "; let the user link the account again"
_SEE_DOCTOR = "; `mesh-balance doctor` tells more"


@attrs.frozen
class Verdict:
    """The exit code for an error, and the advice that follows its message."""

    exit_code: int
    advice: str = ""


# The first class that an error belongs to decides.
_VERDICTS: Sequence[tuple[type[MeshError], Verdict]] = (
    (AuthenticationError, Verdict(KEYS_REFUSED, _SEE_DOCTOR)),
    (MeshConnectionError, Verdict(UNREACHABLE, _SEE_DOCTOR)),
    (MeshConfigurationError, Verdict(USAGE, _SEE_DOCTOR)),
    (MeshError, Verdict(FAILED)),
)


def judge(error: Exception) -> Verdict:
    """Return the exit code and the advice for an error that ended a command."""
    if isinstance(error, MeshAPIError) and error.reconnect_required:
        return Verdict(FAILED, _LINK_AGAIN)
    if isinstance(error, RateLimitError | ServerError):
        return Verdict(FAILED, _advise_to_wait(error.retry_after))
    for error_class, verdict in _VERDICTS:
        if isinstance(error, error_class):
            return verdict
    return Verdict(USAGE)


def may_mean_refused_keys(error: Exception | None) -> bool:
    """Return True for a 401 that may be about the API keys rather than about a user's token."""
    return error is not None and judge(error).exit_code == KEYS_REFUSED


def _advise_to_wait(retry_after: float | None) -> str:
    """Return the advice to try again, with the seconds that Mesh asks to wait, if it names any."""
    advice = "; try again later"
    if retry_after is not None and 0 < retry_after < math.inf:
        advice += f" (Mesh asks to wait {math.ceil(retry_after)} s)"
    return advice
