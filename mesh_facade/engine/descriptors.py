"""Whether a connection failed because this process, or the system, has too many files open.

That is a shortage on this side, and no fault of the network: it passes as soon as another
connection comes free.
"""

import contextlib
import errno
import socket

from mesh_facade.engine.failures import causes_of

_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE, getattr(errno, "WSAEMFILE", errno.EMFILE)}
_NEEDED_BY_A_LOOKUP = 4
"""Descriptors: to look up a name, the system opens its lists of hosts and servers, and a socket."""


def is_out_of_descriptors(error: Exception, cause: BaseException | None) -> bool:
    """Return True if an error, or a cause that it does not show, is a lack of descriptors."""
    for each in [*causes_of(error), *causes_of(cause)]:
        if isinstance(each, OSError) and each.errno in _TOO_MANY_OPEN:
            return True
        # The look-up of a name hides the reason: it says that there is no such name, or EBUSY.
        if isinstance(each, socket.gaierror):
            return _are_short()
        if isinstance(each, OSError) and each.errno == errno.EBUSY:
            return _are_short()
    return False


def _are_short() -> bool:
    """Return True if there are fewer descriptors left than the look-up of a name needs."""
    with contextlib.ExitStack() as opened:
        try:
            for _ in range(_NEEDED_BY_A_LOOKUP):
                opened.enter_context(socket.socket())
        except OSError as error:
            return error.errno in _TOO_MANY_OPEN
    return False


def describe_descriptor_limit() -> str:
    """Return the limit on open files, and how it is called here, in parentheses."""
    try:
        import resource  # noqa: PLC0415 — Windows has no such module
    except ImportError:
        return "(the system's limit)"
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"(ulimit -n: {limit})"
