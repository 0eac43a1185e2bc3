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
    PermissionDeniedError,
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

KEYS_ADVICE = "check MESH_CLIENT_ID, MESH_CLIENT_SECRET and the environment (production or sandbox)"
CONNECTION_ADVICE = "`mesh-balance doctor` tells more"
RECONNECT_ADVICE = "refresh the token, or if that fails let the user link the account again"
PERMISSION_ADVICE = "ask Mesh for the permission to read balances"
UNAUTHORIZED_ADVICE = f"Mesh refused the API keys or the user's token: {KEYS_ADVICE}"


@attrs.frozen
class Verdict:
    """The exit code for an error, and the advice that follows its message, if there is any."""

    exit_code: int
    advice: str | None = None


# The first class that an error belongs to decides.
_VERDICTS: Sequence[tuple[type[MeshError], Verdict]] = (
    (AuthenticationError, Verdict(KEYS_REFUSED, UNAUTHORIZED_ADVICE)),
    (PermissionDeniedError, Verdict(FAILED, PERMISSION_ADVICE)),
    (MeshConnectionError, Verdict(UNREACHABLE, CONNECTION_ADVICE)),
    (MeshConfigurationError, Verdict(USAGE)),
    (MeshError, Verdict(FAILED)),
)


def find_verdict(error: Exception) -> Verdict:
    """Return the exit code and the advice for an error that ended a command."""
    if isinstance(error, MeshAPIError) and error.reconnect_required:
        return Verdict(FAILED, RECONNECT_ADVICE)
    if isinstance(error, RateLimitError | ServerError):
        return Verdict(FAILED, _advise_to_wait(find_requested_wait(error)))
    for error_class, verdict in _VERDICTS:
        if isinstance(error, error_class):
            return verdict
    return Verdict(USAGE)  # ValueError, OSError, ImportError: something given cannot be used


def find_requested_wait(error: Exception) -> int | None:
    """Return how many seconds Mesh asks to wait after a 429 or a 5xx, rounded up.

    Return None for other errors, and if Mesh names no finite time above 0. (`float` reads a
    `Retry-After` of 400 digits as infinity.)
    """
    if not isinstance(error, RateLimitError | ServerError):
        return None
    seconds = error.retry_after
    if seconds is None or not 0 < seconds < math.inf:
        return None
    return math.ceil(seconds)


def _advise_to_wait(seconds: int | None) -> str:
    """Return the advice to try again, with the seconds that Mesh asks to wait, if it names any."""
    if seconds is None:
        return "try again later"
    return f"try again later (Mesh asks to wait {seconds} s)"
