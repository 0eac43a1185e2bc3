"""The retry budget: a failing server gets little more than the calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mesh_facade import ServerError
from tests.support import OK, Script, response

if TYPE_CHECKING:
    from tests.conftest import Caller, Clock, Mode


def count_requests_of_failing_calls(caller: Caller, script: Script, calls: int) -> int:
    for _ in range(calls):
        with pytest.raises(ServerError):
            caller.read()
    return len(script.requests)


def test_failing_server_gets_at_most_a_tenth_more_requests_plus_ten(
    mode: Mode, clock: Clock
) -> None:
    script = Script(response(500, b""))
    caller = mode.client(transport=script)

    assert count_requests_of_failing_calls(caller, script, 10) == 10 + 10 + 1
    assert count_requests_of_failing_calls(caller, script, 990) == 1000 + 10 + 100
    assert len(clock.pauses) == 110


def test_reserve_does_not_grow_beyond_ten(mode: Mode, clock: Clock) -> None:
    script = Script(*[OK] * 500, response(500, b""))
    caller = mode.client(transport=script)
    for _ in range(500):
        caller.read()

    assert count_requests_of_failing_calls(caller, script, 9) == 500 + 9 + 10
    assert len(clock.pauses) == 10


def test_budget_is_shared_with_clients_of_with_options(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""))
    caller = mode.client(transport=script)

    assert count_requests_of_failing_calls(caller.with_options(timeout=5), script, 9) == 9 + 10
    assert count_requests_of_failing_calls(caller, script, 5) == 19 + 5 + 1
    assert len(clock.pauses) == 11


def test_each_client_has_its_own_budget(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""))
    count_requests_of_failing_calls(mode.client(transport=script), script, 100)
    before = len(script.requests)

    assert count_requests_of_failing_calls(mode.client(transport=script), script, 1) == before + 3
    assert clock.pauses


def test_all_calls_succeed_while_few_attempts_fail(mode: Mode, clock: Clock) -> None:
    answers = [response(500, b"") if number % 100 == 0 else OK for number in range(1010)]
    caller = mode.client(transport=Script(*answers))

    for _ in range(999):
        assert caller.read()
    assert len(clock.pauses) == 11
