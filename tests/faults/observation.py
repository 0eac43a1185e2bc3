"""Lets an HTTP client meet a fault, and records what happened."""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from tests.faults.catalogue import Bounds, Fault
from tests.faults.server import Endpoint, FaultServer
from tests.stopwatch import Stopwatch

Call = Callable[[str], object]
"""A function that gets the token of a user, and returns the amount of that user's balance."""


class ClientFactory(Protocol):
    """Builds a client, and gives a function that makes a call with it.

    `context` is for TLS, and trusts the certificate of the fault server. `bounds` holds the
    client's timeout and deadline; a client that has no deadline ignores that one.
    """

    def __call__(
        self, url: str, *, context: ssl.SSLContext, bounds: Bounds
    ) -> AbstractContextManager[Call]: ...


@attrs.frozen
class Outcome:
    """The result of a call: a value or an error, or neither if it had not ended in time.

    `seconds` does not count time in which this process got no processor time (see
    tests/stopwatch.py).
    """

    value: object = None
    error: BaseException | None = None
    seconds: float = 0.0
    has_ended: bool = True


@attrs.frozen
class Observation:
    """What happened in the call that met a fault, and in the next one with the same client.

    Attributes:
        reused: True if the call that met the fault used a kept connection.
        outcome: The outcome of the call that met the fault.
        script_runs: How often the server ran the script of the fault.
        next_outcome: The outcome of the next call, for which the fault was off again.
    """

    reused: bool
    outcome: Outcome
    script_runs: int
    next_outcome: Outcome


class ObservationError(Exception):
    """Something failed that is no part of the observed calls, so nothing was observed."""


# The tokens of three users. The server answers with the number at the end.
FIRST_USER = "auth-token-000011"
SECOND_USER = "auth-token-000022"
THIRD_USER = "auth-token-000033"
OWN_AMOUNT = {FIRST_USER: 11, SECOND_USER: 22, THIRD_USER: 33}

_MOST_CALLS_BEFORE = 5
"""How often a client may call before the fault, until it has got an answer."""
_PATIENCE = 2.0
"""Seconds that a client may take longer than its bounds before it counts as hanging."""

_Outcomes = queue.SimpleQueue[Outcome | BaseException]
"""The outcomes of the two observed calls. An exception says that something else failed."""


def observe(
    server: FaultServer, factory: ClientFactory, fault: Fault, *, reused: bool, tls: bool
) -> Observation:
    """Let a client meet a fault, on a kept connection if `reused`, else on a new one.

    Raise ObservationError if the client cannot be built or closed, or if the call before the fault
    fails.
    """
    endpoint = server.open(fault.script, stage=fault.stage, tls=tls)

    def build() -> AbstractContextManager[Call]:
        return factory(endpoint.url, context=server.client_context, bounds=fault.bounds)

    outcomes = _Outcomes()
    thread = threading.Thread(
        target=_make_calls, args=(endpoint, build, outcomes), kwargs={"reused": reused}, daemon=True
    )
    thread.start()
    longest = fault.bounds.deadline + _PATIENCE
    outcome = _take(outcomes, longest)
    # While the call that met the fault has not ended, the thread cannot make the next one.
    next_outcome = Outcome(has_ended=False)
    if outcome.has_ended:
        next_outcome = _take(outcomes, longest)
    script_runs = endpoint.script_runs
    endpoint.close()
    thread.join(_PATIENCE)
    if next_outcome.has_ended and not outcomes.empty():
        _take(outcomes, 0)  # raises the error with which closing the client failed
    return Observation(reused, outcome, script_runs, next_outcome)


def _take(outcomes: _Outcomes, seconds: float) -> Outcome:
    """Return the next outcome, or one of a call that has not ended.

    Raise ObservationError if something else than an observed call failed.
    """
    try:
        outcome = outcomes.get(timeout=seconds)
    except queue.Empty:
        return Outcome(has_ended=False)
    if isinstance(outcome, BaseException):
        raise ObservationError(
            f"something else than the two observed calls failed: {outcome!r}"
        ) from outcome
    return outcome


def _make_calls(
    endpoint: Endpoint,
    build: Callable[[], AbstractContextManager[Call]],
    outcomes: _Outcomes,
    *,
    reused: bool,
) -> None:
    """Call before the fault if `reused`, during it and after it; put the last two outcomes.

    If anything else fails, put its exception.
    """
    try:
        with build() as call:
            if reused:
                _call_until_answered(call)
            endpoint.start_fault()
            outcomes.put(try_call(call, SECOND_USER))
            endpoint.wait_for_scripts()
            endpoint.end_fault()
            outcomes.put(try_call(call, THIRD_USER))
    except BaseException as error:  # noqa: BLE001 — `observe` raises it
        outcomes.put(error)


def _call_until_answered(call: Call) -> None:
    """Call before the fault; on a busy machine, an answer may take longer than a client waits."""
    for _ in range(_MOST_CALLS_BEFORE - 1):
        if try_call(call, FIRST_USER).error is None:
            return
    call(FIRST_USER)


def try_call(call: Call, token: str) -> Outcome:
    """Make a call and return its outcome."""
    value: object = None
    error: BaseException | None = None
    with Stopwatch() as watch:
        try:
            value = call(token)
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 — the tests judge it
            error = raised
    return Outcome(value, error, watch.seconds)
