"""How a command ends: its exit code, and what the user should do next."""

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
_TRY_LATER = "; try again later"
_SEE_DOCTOR = "; `mesh-balance doctor` tells more"


@attrs.frozen
class Verdict:
    """The exit code for an error, and the advice that follows its message."""

    exit_code: int
    advice: str = ""


# The first class that an error belongs to decides.
_VERDICTS: Sequence[tuple[type[MeshError], Verdict]] = (
    (RateLimitError, Verdict(FAILED, _TRY_LATER)),
    (ServerError, Verdict(FAILED, _TRY_LATER)),
    (AuthenticationError, Verdict(KEYS_REFUSED, _SEE_DOCTOR)),
    (MeshConnectionError, Verdict(UNREACHABLE, _SEE_DOCTOR)),
    (MeshConfigurationError, Verdict(USAGE, _SEE_DOCTOR)),
    (MeshError, Verdict(FAILED)),
)


def judge(error: Exception) -> Verdict:
    """Return the exit code and the advice for an error that ended a command."""
    if isinstance(error, MeshAPIError) and error.reconnect_required:
        return Verdict(FAILED, _LINK_AGAIN)
    for error_class, verdict in _VERDICTS:
        if isinstance(error, error_class):
            return verdict
    return Verdict(USAGE)
