"""Retries: which failures are retried, how often, and after which pause."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import (
    AuthenticationError,
    BadRequestError,
    MeshAPIError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    RateLimitError,
    ServerError,
)
from tests.engine.support import ScriptedAnswer
from tests.stopwatch import Stopwatch
from tests.support import OK, Script, cash_body, envelope, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode


def test_pause_takes_real_time(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 0.05)
    caller = mode.client(transport=Script(response(500, b""), OK))

    with Stopwatch() as watch:
        caller.read()

    assert watch.elapsed >= 0.05
    assert watch.seconds < 0.5


TRANSIENT_FAILURES: dict[str, tuple[type[MeshError], ScriptedAnswer]] = {
    "refused": (MeshConnectionError, httpx.ConnectError("")),
    "reset": (MeshConnectionError, httpx.ReadError("")),
    "write failed": (MeshConnectionError, httpx.WriteError("")),
    "truncated": (MeshConnectionError, httpx.RemoteProtocolError("")),
    "proxy": (MeshConnectionError, httpx.ProxyError("")),
    "read timeout": (MeshTimeoutError, httpx.ReadTimeout("")),
    "connect timeout": (MeshTimeoutError, httpx.ConnectTimeout("")),
    "429": (RateLimitError, response(429, b"")),
    "tooManyRequest": (RateLimitError, response(200, envelope("tooManyRequest"))),
    "500": (ServerError, response(500, b"")),
    "503": (ServerError, response(503, b"<html>")),
    "520": (ServerError, response(520, b"")),
    "999": (ServerError, response(999, b"")),
    "serverFailure with 200": (ServerError, response(200, envelope("serverFailure"))),
    "serverFailure with 400": (ServerError, response(400, envelope("serverFailure"))),
    "408": (MeshAPIError, response(408, b"")),
}


FINAL_FAILURES: dict[str, tuple[type[MeshError], ScriptedAnswer]] = {
    "400": (BadRequestError, response(400, envelope("badRequest"))),
    "401": (AuthenticationError, response(401, b"")),
    **{str(http_status): (MeshAPIError, response(http_status, b"")) for http_status in (402, 425)},
    "badRequest with 500": (BadRequestError, response(500, envelope("badRequest"))),
    "unknown status": (MeshAPIError, response(200, envelope("ofTomorrow"))),
    "not JSON": (MeshResponseError, b"oops"),
    "wrong type": (MeshResponseError, cash_body('"1"')),
    "redirect": (MeshResponseError, response(302, b"")),
}


@pytest.mark.parametrize(
    ("error_class", "answer"), TRANSIENT_FAILURES.values(), ids=TRANSIENT_FAILURES
)
@pytest.mark.parametrize("max_attempts", [1, 2, 3, 5])
def test_transient_failure_is_attempted_max_attempts_times(
    mode: Mode,
    clock: Clock,
    error_class: type[MeshError],
    answer: ScriptedAnswer,
    max_attempts: int,
) -> None:
    script = Script(answer)

    with pytest.raises(error_class) as caught:
        mode.client(transport=script, max_attempts=max_attempts).read()

    assert type(caught.value) is error_class
    assert len(script.requests) == caught.value.attempts == max_attempts
    assert len(clock.pauses) == max_attempts - 1


@pytest.mark.parametrize(
    ("error_class", "answer"), TRANSIENT_FAILURES.values(), ids=TRANSIENT_FAILURES
)
def test_retry_that_succeeds_returns_the_balance(
    mode: Mode, clock: Clock, error_class: type[MeshError], answer: ScriptedAnswer
) -> None:
    script = Script(answer, answer, OK)

    assert mode.client(transport=script).read().cash("USD")
    assert len(script.requests) == len(clock.pauses) + 1 == 3
    assert issubclass(error_class, MeshError)


@pytest.mark.parametrize(("error_class", "answer"), FINAL_FAILURES.values(), ids=FINAL_FAILURES)
def test_final_failure_is_not_retried(
    mode: Mode, clock: Clock, error_class: type[MeshError], answer: ScriptedAnswer
) -> None:
    script = Script(answer)

    with pytest.raises(error_class) as caught:
        mode.client(transport=script).read()

    assert type(caught.value) is error_class
    assert len(script.requests) == caught.value.attempts == 1
    assert clock.pauses == []


def test_last_failure_is_raised(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""), httpx.ReadError(""), response(404, b""))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script, max_attempts=5).read()

    assert caught.value.http_status == 404
    assert caught.value.attempts == 3
    assert len(clock.pauses) == 2


def test_each_attempt_sends_the_same_request(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""), response(500, b""), OK)

    mode.client(transport=script).read()

    first, *others = script.requests
    assert others == [first, first]
    assert clock.now > 1000


def test_default_is_three_attempts(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""))

    with pytest.raises(ServerError):
        mode.client(transport=script).read()

    assert len(script.requests) == 3
    assert clock.pauses


def test_backoff_is_full_jitter_that_doubles_up_to_eight_seconds(mode: Mode, clock: Clock) -> None:
    ceilings = [0.5, 1, 2, 4, 8, 8]
    for _ in range(300):
        caller = mode.client(transport=Script(response(500, b"")), max_attempts=7, deadline=60)
        with pytest.raises(ServerError):
            caller.read()

    for nth, ceiling in enumerate(ceilings):
        pauses = clock.pauses[nth :: len(ceilings)]
        assert len(pauses) == 300
        assert all(0 <= pause <= ceiling for pause in pauses)
        assert min(pauses) < 0.05 * ceiling  # else the chance is 0.95 ** 300
        assert max(pauses) > 0.95 * ceiling
        assert 0.4 * ceiling < sum(pauses) / 300 < 0.6 * ceiling


def test_no_pause_lasts_past_the_deadline(mode: Mode, clock: Clock) -> None:
    for deadline in (0.01, 0.1, 0.3, 1.0, 3.0):
        for _ in range(30):
            caller = mode.client(
                transport=Script(response(500, b"")), max_attempts=20, deadline=deadline
            )
            started = clock.now
            with pytest.raises(ServerError):
                caller.read()
            assert clock.now < started + deadline
