"""Retries: `Retry-After` is honoured within the deadline, and retries stay within their budget."""

from __future__ import annotations

import datetime as dt
import email.utils
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import MeshError, RateLimitError, ServerError
from tests.faults.observation import try_call
from tests.faults.server import Answer

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode

GOOD = Answer(b"").body
DEADLINE = 30.0


class Script:
    """A handler that answers with these statuses in turn, and then with the last one for ever."""

    def __init__(self, *answers: int | tuple[int, list[str]]) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self, _: httpx.Request) -> httpx.Response:
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        status = answer
        waits: list[str] = []
        if isinstance(answer, tuple):
            status = answer[0]
            waits = answer[1]
        headers = [(b"Retry-After", wait.encode()) for wait in waits]
        return httpx.Response(status, headers=headers, content=GOOD if status == 200 else b"")


@pytest.mark.parametrize("status", [429, 503, 500])
@pytest.mark.parametrize(
    ("waits", "pause"),
    [
        (["0"], 0.0),
        (["2"], 2.0),
        (["1.5"], 1.5),
        (["007"], 7.0),
        (["29"], 29.0),
        (["1", "3", "2"], 3.0),
        (["soon", "3"], 3.0),
        (["Wed, 21 Oct 2015 07:28:00 GMT"], 0.0),
        (["Wed, 21 Oct 2015 07:28:00"], 0.0),
    ],
)
def test_pause_is_as_long_as_retry_after_asks(
    mode: Mode, clock: Clock, status: int, waits: list[str], pause: float
) -> None:
    script = Script((status, waits), 200)
    mesh = mode.client(transport=httpx.MockTransport(script), deadline=DEADLINE)

    mesh.read()

    assert clock.pauses == [pause]


@pytest.mark.parametrize(
    "wait", ["30", "31", "3600", "1" * 30, "9" * 400, "Wed, 21 Oct 9999 07:28:00 GMT"]
)
def test_retry_after_past_the_deadline_ends_the_call_at_once(
    mode: Mode, clock: Clock, wait: str
) -> None:
    script = Script((429, [wait]), 200)
    mesh = mode.client(transport=httpx.MockTransport(script), deadline=DEADLINE)

    error = try_call(mesh.read, "token").error

    assert isinstance(error, RateLimitError)
    assert (error.retry_after or 0) >= DEADLINE
    assert (error.attempts, script.calls, clock.pauses) == (1, 1, [])


def test_retry_after_as_a_date_is_a_pause_until_then(mode: Mode, clock: Clock) -> None:
    then = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=20)
    script = Script((429, [email.utils.format_datetime(then, usegmt=True)]), 200)
    mesh = mode.client(transport=httpx.MockTransport(script), deadline=DEADLINE)

    mesh.read()

    (pause,) = clock.pauses
    assert 10 < pause <= 20


@pytest.mark.parametrize(
    "wait",
    [
        *("", "-1", "-0.5", "1e3", "inf", "nan", "0x10", "1_000", "+5", "5s", "soon", "1,5"),
        *("\u0665", "Wed, 99 Oct 2015 07:28:00 GMT", "2015-10-21"),
        *("Wed, 21 Oct 2015 99:28:00 GMT", "21", " " * 5 + "x", "1." * 500),
    ],
)
def test_malformed_retry_after_is_ignored(mode: Mode, clock: Clock, wait: str) -> None:
    script = Script((429, [wait]), 200)
    mesh = mode.client(transport=httpx.MockTransport(script), deadline=DEADLINE)

    mesh.read()

    (pause,) = clock.pauses
    assert pause == 21.0 if wait == "21" else 0 <= pause <= 0.5


@pytest.mark.parametrize("wait", ["0", "1", "10", "14.9", "15", "29.9", "30", "-3", "never"])
def test_no_pause_reaches_past_the_deadline(mode: Mode, clock: Clock, wait: str) -> None:
    mesh = mode.client(
        transport=httpx.MockTransport(Script((503, [wait]))), deadline=DEADLINE, max_attempts=9
    )

    error = try_call(mesh.read, "token").error

    assert isinstance(error, ServerError)
    assert sum(clock.pauses) < DEADLINE


def test_failing_server_gets_at_most_a_tenth_more_requests(mode: Mode, clock: Clock) -> None:
    script = Script(503)
    mesh = mode.client(transport=httpx.MockTransport(script))

    errors = [try_call(mesh.read, "token").error for _ in range(1000)]

    assert all(isinstance(error, ServerError) for error in errors)
    assert sum(getattr(error, "attempts", 0) for error in errors) == script.calls <= 1110
    assert clock.pauses


def test_clients_of_with_options_share_the_budget(mode: Mode, clock: Clock) -> None:
    script = Script(503)
    mesh = mode.client(transport=httpx.MockTransport(script))
    others = [mesh, mesh.with_options(timeout=5), mesh.with_options(max_attempts=9)]

    for call in range(999):
        assert isinstance(try_call(others[call % 3].read, "token").error, MeshError)

    assert script.calls <= 999 * 1.1 + 10
    assert clock.pauses


def test_all_calls_succeed_if_one_attempt_in_a_hundred_fails(mode: Mode, clock: Clock) -> None:
    script = Script(*([503] + [200] * 99) * 11)
    mesh = mode.client(transport=httpx.MockTransport(script))

    errors = [try_call(mesh.read, "token").error for _ in range(1000)]

    assert not any(errors)
    assert len(clock.pauses) == script.calls - 1000 > 9
