"""`max_pause`: how long a bulk run may pause in all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from mesh_facade import LinkedAccount, MeshConfigurationError, RateLimitError
from tests.bulk.support import CountingTransport, make_accounts, rate_limited, read_all
from tests.support import OK, Script, response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Clock, Mode


@pytest.mark.parametrize("max_pause", [0, -1, math.nan, math.inf, True, "5", [1]])
def test_invalid_max_pause_raises_before_accounts_are_drawn(mode: Mode, max_pause: Any) -> None:
    drawn: list[LinkedAccount] = []

    def draw() -> Iterator[LinkedAccount]:
        for account in make_accounts(1):
            drawn.append(account)
            yield account

    with pytest.raises(MeshConfigurationError, match=r"^max_pause must be a number of seconds"):
        mode.client().client.get_account_balances(draw(), max_pause=max_pause)

    assert drawn == []


def test_rate_limit_becomes_the_outcome_when_max_pause_is_used_up(mode: Mode, clock: Clock) -> None:
    script = Script(rate_limited(10))

    [outcome] = read_all(mode.client(transport=script), make_accounts(1), max_pause=25)

    assert type(outcome.error) is RateLimitError
    assert outcome.error.retry_after == 10
    assert outcome.attempts == 3
    assert clock.pauses == [10.0, 10.0]


def test_max_pause_bounds_the_sum_over_all_accounts(mode: Mode, clock: Clock) -> None:
    script = Script(rate_limited(20), OK, rate_limited(20), OK)
    caller = mode.client(transport=script)

    outcomes = read_all(caller, make_accounts(3), concurrency=1, max_pause=30)

    assert [type(each.error) for each in outcomes] == [type(None), RateLimitError, type(None)]
    assert [each.attempts for each in outcomes] == [2, 1, 1]
    assert clock.pauses == [20.0]


def test_max_pause_may_be_used_to_its_last_second(mode: Mode, clock: Clock) -> None:
    script = Script(rate_limited(20), rate_limited(10), OK)

    [outcome] = read_all(mode.client(transport=script), make_accounts(1), max_pause=30)

    assert (outcome.error, outcome.attempts) == (None, 3)
    assert clock.pauses == [20.0, 10.0]


def test_max_pause_of_one_run_leaves_the_next_run_its_own(mode: Mode, clock: Clock) -> None:
    script = Script(rate_limited(20), OK, rate_limited(20), OK)
    caller = mode.client(transport=script)

    for _ in range(2):
        [outcome] = read_all(caller, make_accounts(1), max_pause=30)
        assert outcome.error is None

    assert clock.pauses == [20.0, 20.0]


def test_run_without_max_pause_pauses_as_often_as_needed(mode: Mode, clock: Clock) -> None:
    answers = [rate_limited(200), OK] * 5

    outcomes = read_all(mode.client(transport=Script(*answers)), make_accounts(5), concurrency=1)

    assert [each.error for each in outcomes] == [None] * 5
    assert clock.pauses == [200.0] * 5


def test_backoff_without_retry_after_does_not_count_towards_max_pause(
    mode: Mode, clock: Clock
) -> None:
    transport = CountingTransport(lambda _: response(503, b""))

    [outcome] = read_all(mode.client(transport=transport), make_accounts(1), max_pause=0.001)

    assert outcome.attempts == 3
    assert len(clock.pauses) == 2
