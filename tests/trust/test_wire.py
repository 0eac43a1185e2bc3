"""The wire: whatever a server or the network does, a call ends in time and as documented.

Each call is for another user, so an answer that reaches the wrong call has the wrong amount. The
first user's call comes before the fault (on kept connections only), the second user's call meets
the fault, and the third user's call comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from mesh_facade import (
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    MeshTLSError,
)
from tests.faults.catalogue import FAULTS, Bounds, Fault, Verdict
from tests.faults.observation import (
    FIRST_USER,
    OWN_AMOUNT,
    SECOND_USER,
    THIRD_USER,
    Call,
    Observation,
    ObservationError,
    Outcome,
    observe,
)
from tests.faults.server import FaultServer

MARGIN = 0.25
"""Seconds by which a call may end after its deadline."""

ERRORS: dict[Verdict, type[MeshError]] = {
    Verdict.NO_ANSWER: MeshConnectionError,
    Verdict.LATE: MeshTimeoutError,
    Verdict.UNTRUSTED: MeshTLSError,
    Verdict.BAD_ANSWER: MeshResponseError,
}


def test_there_are_at_least_sixty_faults_with_unique_names() -> None:
    names = {fault.name for fault in FAULTS}

    assert len(names) == len(FAULTS)
    assert len(FAULTS) >= 60


@pytest.mark.usefixtures("no_backoff")
def test_each_fault_ends_in_time_as_documented_and_the_next_call_gets_its_own_answer(
    fault: Fault, observe_all: Callable[[Fault], dict[str, Observation]]
) -> None:
    problems: dict[str, list[str]] = {}
    for client_and_connection, observation in observe_all(fault).items():
        problems_here = [
            *_find_problems_of_faulty_call(fault, observation),
            *_find_problems_of_next_call(observation),
        ]
        if problems_here:
            problems[client_and_connection] = problems_here

    assert not problems


def _find_problems_of_faulty_call(fault: Fault, observation: Observation) -> list[str]:
    problems: list[str] = []
    outcome = observation.outcome
    if not outcome.has_ended:
        problems.append(f"has not ended long after its deadline of {fault.bounds.deadline} s")
    if outcome.seconds > fault.bounds.deadline + MARGIN:
        problems.append(f"took {outcome.seconds:.2f} s")
    expected_runs = fault.expected_script_runs(reused=observation.reused)
    if observation.script_runs != expected_runs:
        problems.append(
            f"server ran the script {observation.script_runs} times, not {expected_runs}"
        )
    if fault.verdict is Verdict.ANSWER:
        if outcome.value != OWN_AMOUNT[SECOND_USER]:
            problems.append(f"call {_describe(outcome)}, not {OWN_AMOUNT[SECOND_USER]}")
        return problems
    error = outcome.error
    error_class = ERRORS[fault.verdict]
    if type(error) is not error_class:
        problems.append(f"call {_describe(outcome)}, not {error_class.__name__}")
    if isinstance(error, MeshError) and error.attempts != fault.attempts:
        problems.append(f"error.attempts is {error.attempts}, not {fault.attempts}")
    return problems


def _find_problems_of_next_call(observation: Observation) -> list[str]:
    outcome = observation.next_outcome
    if outcome.value == OWN_AMOUNT[THIRD_USER]:
        return []
    return [f"next call {_describe(outcome)}, not {OWN_AMOUNT[THIRD_USER]}"]


def _describe(outcome: Outcome) -> str:
    if not outcome.has_ended:
        return "has not ended"
    if outcome.error is not None:
        return f"raised {outcome.error!r}"
    return f"gave {outcome.value}"


# --- the observation itself ---------------------------------------------------------------------


class FakeClient:
    """A client factory whose calls give the right amount, except for users with an error."""

    def __init__(
        self, errors: dict[str, BaseException], closing_error: Exception | None = None
    ) -> None:
        self.errors = errors
        self.closing_error = closing_error

    @contextlib.contextmanager
    def __call__(self, url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
        del url, context, bounds
        yield self._call
        if self.closing_error is not None:
            raise self.closing_error

    def _call(self, token: str) -> int:
        if token in self.errors:
            raise self.errors[token]
        return OWN_AMOUNT[token]


def test_failed_call_before_the_fault_is_reported_as_such_at_once(
    fault_server: FaultServer,
) -> None:
    client = FakeClient({FIRST_USER: MeshConnectionError("not ready")})
    began_at = time.monotonic()

    with pytest.raises(ObservationError, match=r"something else .* failed: .*not ready"):
        observe(fault_server, client, FAULTS[0], reused=True, tls=False)

    assert time.monotonic() - began_at < FAULTS[0].bounds.deadline


def test_client_that_cannot_be_closed_is_reported_as_such(fault_server: FaultServer) -> None:
    client = FakeClient({}, closing_error=MeshConnectionError("not closed"))

    with pytest.raises(ObservationError, match="not closed"):
        observe(fault_server, client, FAULTS[0], reused=True, tls=False)


def test_call_that_leaks_a_cancellation_has_ended_with_that_error(
    fault_server: FaultServer,
) -> None:
    leaked = asyncio.CancelledError()

    observation = observe(
        fault_server, FakeClient({SECOND_USER: leaked}), FAULTS[0], reused=True, tls=False
    )

    assert observation.outcome.has_ended
    assert observation.outcome.error is leaked
    assert observation.next_outcome.value == OWN_AMOUNT[THIRD_USER]
