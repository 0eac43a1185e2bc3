"""Pauses for a `Retry-After`: all lanes wait, and the account is attempted again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import RateLimitError, pacing
from tests.bulk.support import CountingTransport, make_accounts, rate_limited, read_all
from tests.support import OK, Script, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode


class RateLimitingTransport(CountingTransport):
    """Answers 429 from the call number `first` on, until its `Retry-After` is over."""

    def __init__(self, first: int, retry_after: float) -> None:
        super().__init__(self._limit)
        self.first = first
        self.retry_after = retry_after
        self.opens_at = 0.0
        self.limited: list[str] = []

    def _limit(self, token: str) -> httpx.Response:
        now = time.monotonic()
        if len(self.tokens) >= self.first and not self.opens_at:
            self.opens_at = now + self.retry_after
        if now < self.opens_at:
            self.limited.append(token)
            return rate_limited(self.retry_after)
        return response()


def test_rate_limit_pauses_all_lanes_once(mode: Mode) -> None:
    transport = RateLimitingTransport(30, 0.3)
    began_at = time.monotonic()

    outcomes = read_all(mode.client(transport=transport), make_accounts(100), concurrency=8)

    assert Counter(each.account.key for each in outcomes) == Counter(range(100))
    assert {(each.error, each.attempts) for each in outcomes} <= {(None, 1), (None, 2)}
    assert 1 <= len(transport.limited) <= 8
    assert len(transport.tokens) == 100 + len(transport.limited)
    assert 0.3 <= time.monotonic() - began_at < 5
    paused = [each.elapsed for each in outcomes if each.elapsed >= 0.3]
    assert len(paused) >= len(transport.limited)


def test_pauses_do_not_use_the_retry_budget(mode: Mode) -> None:
    limited: set[str] = set()

    def answer(token: str) -> httpx.Response:
        if token in limited:
            return response()
        limited.add(token)
        return rate_limited(0.001)

    outcomes = read_all(
        mode.client(transport=CountingTransport(answer), max_attempts=1), make_accounts(40)
    )

    assert {(each.error, each.attempts) for each in outcomes} == {(None, 2)}


def test_rate_limit_without_retry_after_is_retried_as_in_a_single_call(
    mode: Mode, clock: Clock
) -> None:
    caller = mode.client(transport=Script(response(429, b"")))

    [outcome] = read_all(caller, make_accounts(1))

    assert (type(outcome.error), outcome.attempts) == (RateLimitError, 3)
    assert len(clock.pauses) == 2


def test_attempts_are_counted_across_pauses(mode: Mode) -> None:
    script = Script(response(503, b"", {"Retry-After": "0"}), rate_limited(0), OK)

    [outcome] = read_all(mode.client(transport=script), make_accounts(1))

    assert (outcome.error, outcome.attempts) == (None, 3)


def test_endless_rate_limit_becomes_the_outcome_after_ten_pauses(mode: Mode) -> None:
    script = Script(rate_limited(0))

    [outcome] = read_all(mode.client(transport=script), make_accounts(1))

    assert (type(outcome.error), outcome.attempts) == (RateLimitError, 11)
    assert len(script.requests) == pacing.MOST_PAUSES + 1 == 11


@pytest.mark.parametrize("retry_after", [0, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_pauses_without_length_use_the_retry_budget(mode: Mode, retry_after: object) -> None:
    transport = CountingTransport(lambda _: rate_limited(retry_after))

    outcomes = read_all(mode.client(transport=transport), make_accounts(100))

    assert {type(each.error) for each in outcomes} == {RateLimitError}
    assert len(transport.tokens) <= 1.1 * 100 + 10


def test_retry_after_of_more_than_300_seconds_becomes_the_outcome(mode: Mode) -> None:
    script = Script(rate_limited(301), rate_limited(300.5), OK)

    outcomes = read_all(mode.client(transport=script), make_accounts(3), concurrency=1)

    assert [getattr(each.error, "retry_after", None) for each in outcomes] == [301, 300.5, None]
    assert pacing.LONGEST_PAUSE == 300


def test_retry_waits_for_the_end_of_a_pause(mode: Mode) -> None:
    answered_at: list[float] = []
    is_limited = threading.Event()

    def answer(token: str) -> httpx.Response:
        if token == "token-1":
            is_limited.wait(5)
        answered_at.append(time.monotonic())
        if len(answered_at) > 2:
            return response()
        if token == "token-0":
            is_limited.set()
            return rate_limited(0.3)
        return response(503, b"", {"Retry-After": "0"})

    transport = CountingTransport(answer, lambda token: 0.05 if token == "token-1" else 0)
    outcomes = read_all(mode.client(transport=transport), make_accounts(2))

    assert {each.error for each in outcomes} == {None}
    assert min(answered_at[2:]) - answered_at[0] >= 0.3


def test_lane_that_waits_for_a_connection_keeps_the_pause_of_all_lanes(mode: Mode) -> None:
    began_at: list[float] = []
    limited_at: list[float] = []

    def begin(token: str) -> float:
        began_at.append(time.monotonic())
        return 0.02 if token == "token-0" else 0.2

    def answer(_: str) -> httpx.Response:
        if limited_at:
            return response()
        limited_at.append(time.monotonic())
        return rate_limited(0.6)

    caller = mode.client(transport=CountingTransport(answer, begin), max_connections=2)
    outcomes = read_all(caller, make_accounts(10), concurrency=10)

    assert {each.error for each in outcomes} == {None}
    seconds_after_the_limit = [began - limited_at[0] for began in began_at]
    assert [each for each in seconds_after_the_limit if 0.1 < each < 0.6] == []
