"""Lets an HTTP client meet a fault, and records what happened."""

from __future__ import annotations

import functools
import queue
import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import attrs

from tests.faults.catalogue import Bounds, Fault
from tests.faults.server import Endpoint, FaultServer
from tests.stopwatch import Stopwatch

Call = Callable[[str], Any]
"""Returns the amount of the user whose token it gets."""


class ClientFactory(Protocol):
    """Builds a client, and gives a function that makes a call with it.

    `context` trusts the server. `bounds` are the seconds that the client shall allow; a client that
    has no such limit may ignore it.
    """

    def __call__(
        self, url: str, *, context: ssl.SSLContext, bounds: Bounds
    ) -> AbstractContextManager[Call]: ...


@attrs.frozen
class Outcome:
    """The result of a call: a value or an error, or neither if it had not ended in time.

    `seconds` leaves out the time during which the machine stood still.
    """

    value: Any = None
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


# The tokens of three users. The server answers with the number at the end.
FIRST_USER = "auth-token-000011"
SECOND_USER = "auth-token-000022"
THIRD_USER = "auth-token-000033"
OWN_AMOUNT = {FIRST_USER: 11, SECOND_USER: 22, THIRD_USER: 33}

_PATIENCE = 2.0
"""Seconds that a client may take longer than its bounds before it counts as hanging."""


def observe(
    server: FaultServer, factory: ClientFactory, fault: Fault, *, reused: bool, tls: bool
) -> Observation:
    """Let a client meet a fault, on a kept connection if `reused`, else on a new one."""
    endpoint = server.open(fault.script, stage=fault.stage, tls=tls)
    build = functools.partial(
        factory, endpoint.url, context=server.client_context, bounds=fault.bounds
    )
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    run = functools.partial(_make_calls, endpoint, build, outcomes, reused=reused)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    longest = fault.bounds.deadline + _PATIENCE
    outcome = _take(outcomes, longest)
    next_outcome = outcome
    if outcome.has_ended:
        next_outcome = _take(outcomes, longest)
    script_runs = endpoint.script_runs
    endpoint.close()
    thread.join(_PATIENCE)
    return Observation(reused, outcome, script_runs, next_outcome)


def _take(outcomes: queue.SimpleQueue[Outcome], seconds: float) -> Outcome:
    """Return the next outcome, or one of a call that has not ended."""
    try:
        return outcomes.get(timeout=seconds)
    except queue.Empty:
        return Outcome(has_ended=False)


def _make_calls(
    endpoint: Endpoint,
    build: Callable[[], AbstractContextManager[Call]],
    outcomes: queue.SimpleQueue[Outcome],
    *,
    reused: bool,
) -> None:
    """Call before the fault if `reused`, during it and after it; put the last two outcomes."""
    with build() as call:
        if reused:
            first_outcome = try_call(call, FIRST_USER)
            if first_outcome.error:
                outcomes.put(first_outcome)
                return
        endpoint.start_fault()
        outcomes.put(try_call(call, SECOND_USER))
        endpoint.wait_for_scripts()
        endpoint.end_fault()
        outcomes.put(try_call(call, THIRD_USER))


def try_call(call: Call, token: str) -> Outcome:
    """Make a call and return its outcome."""
    value: Any = None
    error: Exception | None = None
    with Stopwatch() as watch:
        try:
            value = call(token)
        except Exception as raised:  # noqa: BLE001 — the tests judge whatever the client raised
            error = raised
    return Outcome(value, error, watch.seconds)
