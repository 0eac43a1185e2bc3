"""The wire: whatever a server or the network does, a call ends in time and as documented.

Each call is for another user, so an answer that reaches the wrong call has the wrong amount. The
first user's call comes before the fault (on kept connections only), the second user's call meets
the fault, and the third user's call comes after it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesh_facade import (
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    MeshTLSError,
)
from tests.faults.catalogue import FAULTS, Fault, Verdict
from tests.faults.matrix import OWN_AMOUNT, SECOND_USER, THIRD_USER, Observation, Outcome

MARGIN = 0.25
"""Seconds by which a call may end after its deadline."""

ERRORS: dict[Verdict, type[MeshError]] = {
    Verdict.UNREACHABLE: MeshConnectionError,
    Verdict.LATE: MeshTimeoutError,
    Verdict.UNTRUSTED: MeshTLSError,
    Verdict.UNUSABLE: MeshResponseError,
}


def test_there_are_at_least_sixty_faults_with_unique_names() -> None:
    names = {fault.name for fault in FAULTS}

    assert len(names) == len(FAULTS)
    assert len(FAULTS) >= 60


# CPython leaks the socket if the peer resets just before the TLS handshake.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
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
        problems.append(f"server saw {observation.script_runs} attempts, not {expected_runs}")
    if fault.verdict is Verdict.ANSWER:
        if outcome.value != OWN_AMOUNT[SECOND_USER]:
            problems.append(f"call {_describe(outcome)}, not {OWN_AMOUNT[SECOND_USER]}")
        return problems
    error = outcome.error
    error_class = ERRORS[fault.verdict]
    if type(error) is not error_class:
        problems.append(f"call {_describe(outcome)}, not {error_class.__name__}")
    if isinstance(error, MeshError) and error.attempts != fault.attempts:
        problems.append(f"counted {error.attempts} attempts, not {fault.attempts}")
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
