"""Whether something failed because this process, or the system, has too many files open.

That is a shortage on this side and no fault of the network. A call that lacks a descriptor for a
new connection can wait until the connection of another call comes free.
"""

import contextlib
import errno
import socket
from types import ModuleType

from mesh_facade.engine.failures import error_and_causes

resource: ModuleType | None
try:  # now, because to import it takes a descriptor too
    import resource
except ImportError:  # pragma: no cover — Windows has no such module
    resource = None

_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE, getattr(errno, "WSAEMFILE", errno.EMFILE)}
_NEEDED_BY_A_LOOKUP = 4
"""An upper bound of the descriptors that the look-up of a name has open at a time.

It opens at most three: one or two sockets, and a file such as `/etc/hosts`.
"""


def is_out_of_descriptors(error: Exception, cause: BaseException | None) -> bool:
    """Return True if an error means that no descriptor was left.

    Args:
        error: The error that was raised; its causes count too.
        cause: A further cause that the connection knows of.
    """
    for each in [*error_and_causes(error), *error_and_causes(cause)]:
        if isinstance(each, OSError) and each.errno in _TOO_MANY_OPEN:
            return True
        # The look-up of a name hides a lack of descriptors: it reports that there is no such name,
        # or EBUSY.
        if isinstance(each, socket.gaierror):
            return _few_are_left()
        if isinstance(each, OSError) and each.errno == errno.EBUSY:
            return _few_are_left()
    return False


def _few_are_left() -> bool:
    """Return True if fewer descriptors are left than the look-up of a name may need."""
    with contextlib.ExitStack() as opened:
        try:
            for _ in range(_NEEDED_BY_A_LOOKUP):
                opened.enter_context(socket.socket())
        except OSError as error:
            return error.errno in _TOO_MANY_OPEN
    return False


def describe_descriptor_limit() -> str:
    """Return the limit on open files, in parentheses, as the user of this system knows it."""
    if resource is None:
        return "(the system's limit)"
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return "(the system's limit)"
    return f"(ulimit -n: {limit})"
