"""Retries: which failures are worth another attempt, how long to wait, and when it is enough."""

from __future__ import annotations

import datetime as dt
import email.utils
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import (
    Attempt,
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
from mesh_facade.engine.retries import CallState, Pause, RetryBudget, RetryPolicy, read_retry_after
from tests.support import OK, Script, cash_body, envelope, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode

TRANSIENT: dict[str, tuple[type[MeshError], Any]] = {
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
FINAL: dict[str, tuple[type[MeshError], Any]] = {
    "400": (BadRequestError, response(400, envelope("badRequest"))),
    "401": (AuthenticationError, response(401, b"")),
    **{str(http_status): (MeshAPIError, response(http_status, b"")) for http_status in (402, 425)},
    "badRequest with 500": (BadRequestError, response(500, envelope("badRequest"))),
    "unknown status": (MeshAPIError, response(200, envelope("ofTomorrow"))),
    "not JSON": (MeshResponseError, b"oops"),
    "wrong type": (MeshResponseError, cash_body('"1"')),
    "redirect": (MeshResponseError, response(302, b"")),
}


# --- attempts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("error_class", "answer"), TRANSIENT.values(), ids=TRANSIENT)
@pytest.mark.parametrize("max_attempts", [1, 2, 3, 5])
def test_a_transient_failure_is_attempted_max_attempts_times(
    mode: Mode, clock: Clock, error_class: type[MeshError], answer: Any, max_attempts: int
) -> None:
    script = Script(answer)

    with pytest.raises(error_class) as caught:
        mode.client(transport=script, max_attempts=max_attempts).read()

    assert type(caught.value) is error_class
    assert len(script.requests) == caught.value.attempts == max_attempts
    assert len(clock.pauses) == max_attempts - 1


@pytest.mark.parametrize(("error_class", "answer"), TRANSIENT.values(), ids=TRANSIENT)
def test_a_transient_failure_is_forgotten_once_an_attempt_succeeds(
    mode: Mode, clock: Clock, error_class: type[MeshError], answer: Any
) -> None:
    script = Script(answer, answer, OK)

    assert mode.client(transport=script).read().cash("USD")
    assert len(script.requests) == len(clock.pauses) + 1 == 3
    assert issubclass(error_class, MeshError)


@pytest.mark.parametrize(("error_class", "answer"), FINAL.values(), ids=FINAL)
def test_any_other_failure_is_final(
    mode: Mode, clock: Clock, error_class: type[MeshError], answer: Any
) -> None:
    script = Script(answer)

    with pytest.raises(error_class) as caught:
        mode.client(transport=script).read()

    assert type(caught.value) is error_class
    assert len(script.requests) == caught.value.attempts == 1
    assert clock.pauses == []


def test_the_last_failure_is_the_one_that_is_raised(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""), httpx.ReadError(""), response(404, b""))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script, max_attempts=5).read()

    assert caught.value.http_status == 404
    assert caught.value.attempts == 3
    assert len(clock.pauses) == 2


def test_each_attempt_is_told_to_on_attempt(mode: Mode, clock: Clock) -> None:
    told: list[Attempt] = []
    script = Script(response(503, b"", {"Retry-After": "2"}), httpx.ReadError(""), OK)

    mode.client(transport=script, on_attempt=told.append).read()

    assert [(each.number, each.error, each.http_status) for each in told] == [
        (1, "ServerError", 503),
        (2, "MeshConnectionError", None),
        (3, None, None),
    ]
    assert [each.pause for each in told] == [*clock.pauses, None]
    assert told[0].pause == 2
    assert all(each.elapsed >= 0 for each in told)


def test_the_last_attempt_is_told_before_its_error_is_raised(mode: Mode) -> None:
    told: list[Attempt] = []

    with pytest.raises(AuthenticationError):
        mode.client(transport=Script(response(401, b"")), on_attempt=told.append).read()

    assert [(each.number, each.error, each.pause) for each in told] == [
        (1, "AuthenticationError", None)
    ]


def test_a_sibling_with_other_options_tells_of_its_attempts_too(mode: Mode) -> None:
    told: list[Attempt] = []
    caller = mode.client(transport=Script(OK), on_attempt=told.append)

    caller.with_options(deadline=5).read()

    assert len(told) == 1


def test_what_on_attempt_raises_the_call_raises(mode: Mode) -> None:
    def fail(_: Attempt) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        mode.client(transport=Script(OK), on_attempt=fail).read()


def test_each_attempt_sends_the_same(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""), response(500, b""), OK)

    mode.client(transport=script).read()

    first, *others = script.requests
    assert others == [first, first]
    assert clock.now > 1000


def test_three_attempts_are_the_default(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""))

    with pytest.raises(ServerError):
        mode.client(transport=script).read()

    assert len(script.requests) == 3
    assert clock.pauses


# --- pauses -------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("0", 0.0), ("1.5", 1.5), (" 3 ", 3.0), ("007", 7.0)]
)
@pytest.mark.parametrize("http_status", [408, 429, 500, 503])
def test_retry_after_in_seconds_is_honoured(
    mode: Mode, clock: Clock, http_status: int, value: str, seconds: float
) -> None:
    script = Script(response(http_status, b"", {"Retry-After": value}), OK)

    mode.client(transport=script).read()

    assert clock.pauses == [seconds]


def date_in(seconds: float) -> str:
    when = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    return email.utils.format_datetime(when, usegmt=True)


def test_retry_after_as_a_date_is_honoured(mode: Mode, clock: Clock) -> None:
    script = Script(response(503, b"", {"Retry-After": date_in(20)}), OK)

    mode.client(transport=script).read()

    [pause] = clock.pauses
    assert 17 < pause <= 20


@pytest.mark.parametrize(
    "value",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "6 Nov 1994 8:49 -0000"],
)
def test_retry_after_in_the_past_is_no_wait(mode: Mode, clock: Clock, value: str) -> None:
    script = Script(response(503, b"", {"Retry-After": value}), OK)

    mode.client(transport=script).read()

    assert clock.pauses == [0.0]


@pytest.mark.parametrize(
    "value",
    [
        "-5",
        "soon",
        "",
        "1e3",
        "nan",
        "inf",
        "0x10",
        "5 s",
        "+5",
        "5,5",
        "\N{ARABIC-INDIC DIGIT FIVE}",
        "99 Xyz 9999 99:99",
    ],
)
def test_retry_after_that_is_neither_is_as_if_it_were_not_there(
    mode: Mode, clock: Clock, value: str
) -> None:
    headers = httpx.Headers([(b"Retry-After", value.encode())])
    script = Script(response(429, b"", headers))

    with pytest.raises(RateLimitError) as caught:
        mode.client(transport=script, max_attempts=2).read()

    assert caught.value.retry_after is None
    [pause] = clock.pauses
    assert 0 <= pause <= 0.5


def test_of_several_retry_after_the_longest_is_honoured(mode: Mode, clock: Clock) -> None:
    headers = [("Retry-After", value) for value in ("2", "9", "soon", "4")]

    mode.client(transport=Script(response(429, b"", headers), OK)).read()

    assert clock.pauses == [9.0]


@pytest.mark.parametrize("value", ["31", "3600", "9" * 400, "date"], ids=len)
@pytest.mark.parametrize("http_status", [408, 429, 503])
def test_retry_after_past_the_deadline_is_raised_at_once(
    mode: Mode, clock: Clock, http_status: int, value: str
) -> None:
    value = date_in(3600) if value == "date" else value
    script = Script(response(http_status, b"", {"Retry-After": value}))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script, deadline=30).read()

    assert len(script.requests) == caught.value.attempts == 1
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 30
    assert clock.pauses == []


def test_what_is_final_stays_final_whatever_retry_after_says(mode: Mode, clock: Clock) -> None:
    script = Script(response(400, envelope("badRequest"), {"Retry-After": "1"}))

    with pytest.raises(BadRequestError) as caught:
        mode.client(transport=script).read()

    assert caught.value.retry_after == 1.0
    assert clock.pauses == []


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


# --- the budget ---------------------------------------------------------------------------------


def count_requests(caller: Any, script: Script, calls: int) -> int:
    for _ in range(calls):
        with pytest.raises(ServerError):
            caller.read()
    return len(script.requests)


def test_a_server_that_fails_always_gets_a_tenth_more_than_the_calls_and_ten(
    mode: Mode, clock: Clock
) -> None:
    script = Script(response(500, b""))
    caller = mode.client(transport=script)

    assert count_requests(caller, script, 10) == 10 + 10 + 1
    assert count_requests(caller, script, 990) == 1000 + 10 + 100
    assert len(clock.pauses) == 110


def test_the_reserve_does_not_grow_beyond_ten(mode: Mode, clock: Clock) -> None:
    script = Script(*[OK] * 500, response(500, b""))
    caller = mode.client(transport=script)
    for _ in range(500):
        caller.read()

    assert count_requests(caller, script, 9) == 500 + 9 + 10
    assert len(clock.pauses) == 10


def test_the_budget_is_shared_with_clients_of_other_options(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""))
    caller = mode.client(transport=script)

    assert count_requests(caller.with_options(timeout=5), script, 9) == 9 + 10
    assert count_requests(caller, script, 5) == 19 + 5 + 1
    assert len(clock.pauses) == 11


def test_each_client_has_a_budget_of_its_own(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""))
    count_requests(mode.client(transport=script), script, 100)
    before = len(script.requests)

    assert count_requests(mode.client(transport=script), script, 1) == before + 3
    assert clock.pauses


def test_calls_that_succeed_at_last_do_so_while_few_fail(mode: Mode, clock: Clock) -> None:
    answers = [response(500, b"") if number % 100 == 0 else OK for number in range(1010)]
    caller = mode.client(transport=Script(*answers))

    for _ in range(999):
        assert caller.read()
    assert len(clock.pauses) == 11


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Sun, 22 Nov 2093 12:00:00 +0100", -3600),
        ("Sun, 22 Nov 2093 12:00:00 -0000", 0),
    ],
)
def test_a_date_is_read_in_its_own_zone_and_without_one_in_gmt(value: str, seconds: int) -> None:
    at_noon = read_retry_after(httpx.Headers({"Retry-After": "Sun, 22 Nov 2093 12:00:00 GMT"}))
    waited = read_retry_after(httpx.Headers({"Retry-After": value}))
    assert waited is not None
    assert at_noon is not None
    assert waited - at_noon == pytest.approx(seconds, abs=5)


def test_a_date_in_a_zone_beyond_all_zones_is_as_if_it_were_not_there() -> None:
    assert (
        read_retry_after(
            httpx.Headers({"Retry-After": "Mon, 01 Jan 2001 00:00:00 +99999999999999999999"})
        )
        is None
    )


def test_a_pause_that_ends_with_the_deadline_is_not_made() -> None:
    policy = RetryPolicy(RetryBudget())
    error = RateLimitError(retry_after=5.0)

    assert policy.find_pause(error, CallState(1, 3, 0, seconds_left=5.0)) is None
    assert policy.find_pause(error, CallState(1, 3, 0, seconds_left=5.1)) == Pause(5.0)
