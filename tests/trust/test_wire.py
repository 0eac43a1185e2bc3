"""The wire: whatever a server or the network does, a call ends in time and as documented."""

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
from tests.faults.matrix import OWN_AMOUNT, SECOND_USER, THIRD_USER, Observation

MARGIN = 0.25

ERRORS: dict[Verdict, type[MeshError]] = {
    Verdict.UNREACHABLE: MeshConnectionError,
    Verdict.LATE: MeshTimeoutError,
    Verdict.UNTRUSTED: MeshTLSError,
    Verdict.UNUSABLE: MeshResponseError,
}


def test_there_are_at_least_sixty_faults_with_unique_names() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 60


# Python's own: a reset just before a handshake makes it forget a socket, unclosed.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.usefixtures("no_backoff")
def test_fault_raises_its_error_in_time_and_the_next_call_gets_its_own_answer(
    fault: Fault, observe_all: Callable[[Fault], dict[str, Observation]]
) -> None:
    problems: dict[str, list[str]] = {}
    for way, seen in observe_all(fault).items():
        found = _find_problems(fault, seen, reused="kept" in way)
        if found:
            problems[way] = found

    assert not problems


def _find_problems(fault: Fault, seen: Observation, *, reused: bool) -> list[str]:
    outcome = seen.outcome
    next_outcome = seen.next_outcome
    expected_runs = fault.expected_script_runs(reused=reused)
    is_in_time = outcome.seconds <= fault.bounds.deadline + MARGIN
    is_next_right = next_outcome.value == OWN_AMOUNT[THIRD_USER]
    checks = {
        f"has not ended after {fault.bounds.deadline} s and more": outcome.has_ended,
        f"took {outcome.seconds:.2f} s": is_in_time,
        f"server saw {seen.script_runs} attempts, not {expected_runs}": (
            seen.script_runs == expected_runs
        ),
        f"next call gave {next_outcome.value or next_outcome.error!r}": is_next_right,
    }
    if fault.verdict is Verdict.ANSWER:
        is_own = outcome.value == OWN_AMOUNT[SECOND_USER]
        checks[f"gave {outcome.value or outcome.error!r}"] = is_own
    else:
        error_class = ERRORS[fault.verdict]
        is_right_class = type(outcome.error) is error_class
        checks[f"raised {outcome.error!r}, not {error_class.__name__}"] = is_right_class
        attempts = getattr(outcome.error, "attempts", None)
        checks[f"counted {attempts} attempts, not {fault.attempts}"] = attempts == fault.attempts
    return [problem for problem, is_fine in checks.items() if not is_fine]
