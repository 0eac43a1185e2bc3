"""Counts forks, and makes a fork wait until no other thread is in a TLS handshake.

A child must know that it is one, and use no connection of its parent: see `waiting.HomeKey`.

A child has none of its parent's threads, but it has a copy of OpenSSL's locks. If one of these
threads was in a handshake at the moment of the fork, it may have held a lock that nobody releases
in the child. Then the child's own first handshake would hang for ever, and no deadline would end
it. So a fork waits for handshakes, for a second at most.
"""

import os
import threading

LONGEST_WAIT = 1.0
"""Seconds that a fork waits for handshakes to end; then it goes on all the same."""


class ForkCounter:
    """Counts the forks between the process that imported this module and the current process."""

    def __init__(self) -> None:
        self.count = 0

    def after_fork_in_child(self) -> None:
        """Count a fork. The parent's count stays as it is."""
        self.count += 1


class HandshakeGuard:
    """Surrounds each handshake, as a context manager, and knows the threads that are in one.

    A task enters it for each step of its handshake, and is outside while it waits for the network.
    """

    def __init__(self) -> None:
        self._threads: list[int] = []
        # `with self._lock` runs in C, so Ctrl-C cannot leave the lock held. A Condition's own
        # `with` is Python code, between whose lines it could.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def __enter__(self) -> None:
        with self._lock:
            self._threads.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            # If the process forked during this handshake, the child's list is new and empty.
            if threading.get_ident() in self._threads:
                self._threads.remove(threading.get_ident())
            self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until no other thread is in a handshake, at most for `LONGEST_WAIT`.

        While it waits, further handshakes can begin, and it waits for these too. From its return
        until the end of the fork none can begin.
        """
        self._changed.acquire()
        self._changed.wait_for(self._is_free, LONGEST_WAIT)

    def after_fork_in_parent(self) -> None:
        """Let handshakes begin again."""
        self._changed.release()

    def after_fork_in_child(self) -> None:
        """Start anew: the child has none of the parent's threads."""
        self._threads = []
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def _is_free(self) -> bool:
        return all(thread == threading.get_ident() for thread in self._threads)


fork_counter = ForkCounter()
handshake_guard = HandshakeGuard()
if hasattr(os, "register_at_fork"):  # pragma: no branch — Windows has no fork
    os.register_at_fork(after_in_child=fork_counter.after_fork_in_child)
    os.register_at_fork(
        before=handshake_guard.before_fork,
        after_in_parent=handshake_guard.after_fork_in_parent,
        after_in_child=handshake_guard.after_fork_in_child,
    )
