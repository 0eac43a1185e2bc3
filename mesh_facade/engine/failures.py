"""Turns a failure of the connection into one of our errors.

Our errors do not repeat the texts of other libraries, because these may quote what was sent. They
repeat only the reason in an OSError (`strerror`), such as "Connection refused".
"""

import re
import ssl
from collections.abc import Iterator

import httpx

from mesh_facade.engine.socks import SocksRefusal
from mesh_facade.errors import MeshConnectionError, MeshTimeoutError, MeshTLSError

# Compared by exact type: another subclass, such as SSLEOFError, means that the connection was cut.
_TLS_REFUSALS = (ssl.SSLError, ssl.SSLCertVerificationError)
_FIRST_SERVER_ERROR = 500
_TRANSIENT_STATUSES = {408, 429}  # a proxy that is slow or busy


def connection_error(
    error: Exception, cause: BaseException | None, timeout: float
) -> MeshConnectionError:
    """Return the error for a failure that httpx, or a transport of the caller's, has raised.

    Args:
        error: The failure; its causes count too.
        cause: A further cause that the connection knows of.
        timeout: The seconds that one network wait may take, for the text.
    """
    refusal = _refusal_of_a_proxy(error)
    if refusal is not None:
        return refusal
    kind = type(error).__name__
    is_timeout = isinstance(error, (httpx.TimeoutException, TimeoutError))
    if is_timeout and not _is_from_system(error):
        return MeshTimeoutError(f"no answer within the timeout of {timeout:g} s ({kind})")
    error_class = MeshConnectionError
    reason = ""
    for each in [*error_and_causes(error), *error_and_causes(cause)]:
        if isinstance(each, OSError) and each.strerror:
            reason = f": {each.strerror}"
        if isinstance(each, UnicodeError):
            reason = ": a label of the host's name is empty or too long"
        if type(each) in _TLS_REFUSALS:
            error_class = MeshTLSError
    return error_class(f"the connection failed ({kind}){reason}")


def _is_from_system(error: Exception) -> bool:
    """Return True if the system has given the connection up (ETIMEDOUT): no wait was too long.

    Our own connections tell the two apart themselves. A caller's transport may not.
    """
    return any(
        isinstance(each, TimeoutError) and each.errno is not None
        for each in error_and_causes(error)
    )


def _refusal_of_a_proxy(error: Exception) -> MeshConnectionError | None:
    """Return the error for a proxy that refused to connect; None if that is not what happened."""
    if not isinstance(error, httpx.ProxyError):
        return None
    cause = error.__cause__
    # The status of the answer to CONNECT stands at the beginning of httpcore's text, nowhere else.
    match = re.match(r"([1-9]\d\d)\b", str(error))
    if isinstance(cause, SocksRefusal):
        reason = cause.reason
        is_transient = cause.is_transient
    elif match is not None:
        status = int(match[1])
        reason = f"HTTP {status}"
        is_transient = status >= _FIRST_SERVER_ERROR or status in _TRANSIENT_STATUSES
    else:
        return None
    text = f"the proxy refused to connect: {reason}"
    return MeshConnectionError(text, is_transient=is_transient)


def error_and_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, if there is one, and its causes.

    Causes can lead to each other in circles. Contexts are left out, because an error that the
    caller is handling is the context of all that happens meanwhile.
    """
    seen: set[int] = set()  # ids, because a class of errors may define `__eq__`
    cause = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__
