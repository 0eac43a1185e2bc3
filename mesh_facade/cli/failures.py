"""The cause of a failure, as `bulk` counts it and an output file stores it."""

from typing import Self

import attrs

from mesh_facade import MeshAPIError
from mesh_facade.cli.terminal import one_line

_UNREACHABLE_ERRORS = ("MeshConnectionError", "MeshTimeoutError", "MeshTLSError")


def _one_line_or_none(text: str | None) -> str | None:
    """Return a text on one line; None if there is none, or an empty one."""
    if text is None:
        return None
    return one_line(text) or None


@attrs.frozen
class Failure:
    """The cause of a failed outcome.

    Attributes:
        error: The name of the error's class.
        error_type: Mesh's error type on one line, such as `unauthorizedToken`; None if Mesh sent
            none or an empty one.
    """

    error: str = attrs.field(converter=one_line)  # an output file may hold anything
    error_type: str | None = attrs.field(default=None, converter=_one_line_or_none)

    @classmethod
    def from_error(cls, error: Exception) -> Self:
        """Return the failure that describes an error."""
        error_type = None
        if isinstance(error, MeshAPIError):
            error_type = error.error_type
        return cls(type(error).__name__, error_type)

    @property
    def is_unreachable(self) -> bool:
        """True if a request was sent, but no complete answer came."""
        return self.error in _UNREACHABLE_ERRORS

    @property
    def is_dead_token(self) -> bool:
        """True if Mesh said that the user's token is the reason."""
        # Only MeshAPIError knows which error types mean a dead token, so ask one.
        return MeshAPIError(error_type=self.error_type).reconnect_required

    @property
    def may_mean_refused_keys(self) -> bool:
        """True for a 401 that may be about the API keys rather than about a user's token."""
        return self.error == "AuthenticationError" and not self.is_dead_token

    @property
    def is_bad_request(self) -> bool:
        """True for a 400 that is not about the user's token."""
        return self.error == "BadRequestError" and not self.is_dead_token

    @property
    def is_missing_permission(self) -> bool:
        """True for a 403 that is not about the user's token."""
        return self.error == "PermissionDeniedError" and not self.is_dead_token

    def __str__(self) -> str:
        """Return the error and Mesh's reason: "BadRequestError (unauthorizedToken)"."""
        if self.error_type is None:
            return self.error
        return f"{self.error} ({self.error_type})"
