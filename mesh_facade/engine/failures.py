"""Turns a failure of the connection into one of our errors.

The texts of other libraries are not repeated: they may quote what was sent.
"""

import ssl
from collections.abc import Iterator

import httpx

from mesh_facade.errors import MeshConnectionError, MeshTimeoutError, MeshTLSError

# Exactly these: the other kinds of SSLError mean that the connection was cut off.
_TLS_REFUSALS = (ssl.SSLError, ssl.SSLCertVerificationError)


def connection_error(error: Exception, timeout: float) -> MeshConnectionError:
    """Return the error for a failure that httpx, or a transport of the caller's, has raised."""
    kind = type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return MeshTimeoutError(f"no answer within the timeout of {timeout:g} s ({kind})")
    error_class = MeshConnectionError
    reason = ""
    for cause in causes_of(error):
        if isinstance(cause, OSError) and cause.strerror:
            reason = f": {cause.strerror}"
        if type(cause) in _TLS_REFUSALS:
            error_class = MeshTLSError
    return error_class(f"the connection failed ({kind}){reason}")


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes; they can lead to each other in circles.

    Contexts are left out: there may stand an error that the caller is just handling.
    """
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__
