"""`Retry-After`: seconds or a date, honoured within the deadline."""

from __future__ import annotations

import datetime as dt
import email.utils
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import BadRequestError, MeshAPIError, RateLimitError
from mesh_facade.engine.retries import read_retry_after
from tests.support import OK, Script, envelope, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode


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


def format_date_in(seconds: float) -> str:
    when = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    return email.utils.format_datetime(when, usegmt=True)


def test_retry_after_as_a_date_is_honoured(mode: Mode, clock: Clock) -> None:
    script = Script(response(503, b"", {"Retry-After": format_date_in(20)}), OK)

    mode.client(transport=script).read()

    [pause] = clock.pauses
    assert 17 < pause <= 20


@pytest.mark.parametrize(
    "value",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "6 Nov 1994 8:49 -0000"],
)
def test_retry_after_in_the_past_means_no_pause(mode: Mode, clock: Clock, value: str) -> None:
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
def test_malformed_retry_after_is_ignored(mode: Mode, clock: Clock, value: str) -> None:
    headers = httpx.Headers([(b"Retry-After", value.encode())])
    script = Script(response(429, b"", headers))

    with pytest.raises(RateLimitError) as caught:
        mode.client(transport=script, max_attempts=2).read()

    assert caught.value.retry_after is None
    [pause] = clock.pauses
    assert 0 <= pause <= 0.5


def test_longest_of_several_retry_after_is_honoured(mode: Mode, clock: Clock) -> None:
    headers = [("Retry-After", value) for value in ("2", "9", "soon", "4")]

    mode.client(transport=Script(response(429, b"", headers), OK)).read()

    assert clock.pauses == [9.0]


@pytest.mark.parametrize("value", ["31", "3600", "9" * 400, "date"], ids=len)
@pytest.mark.parametrize("http_status", [408, 429, 503])
def test_retry_after_past_the_deadline_raises_at_once(
    mode: Mode, clock: Clock, http_status: int, value: str
) -> None:
    if value == "date":
        value = format_date_in(3600)
    script = Script(response(http_status, b"", {"Retry-After": value}))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script, deadline=30).read()

    assert len(script.requests) == caught.value.attempts == 1
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 30
    assert clock.pauses == []


def test_final_failure_with_retry_after_is_not_retried(mode: Mode, clock: Clock) -> None:
    script = Script(response(400, envelope("badRequest"), {"Retry-After": "1"}))

    with pytest.raises(BadRequestError) as caught:
        mode.client(transport=script).read()

    assert caught.value.retry_after == 1.0
    assert clock.pauses == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Sun, 22 Nov 2093 12:00:00 +0100", -3600),
        ("Sun, 22 Nov 2093 12:00:00 -0000", 0),
    ],
)
def test_date_is_read_in_its_own_zone_or_in_gmt(value: str, seconds: int) -> None:
    at_noon = read_retry_after(httpx.Headers({"Retry-After": "Sun, 22 Nov 2093 12:00:00 GMT"}))
    waited = read_retry_after(httpx.Headers({"Retry-After": value}))
    assert waited is not None
    assert at_noon is not None
    assert waited - at_noon == pytest.approx(seconds, abs=5)


def test_date_in_an_impossible_zone_is_ignored() -> None:
    assert (
        read_retry_after(
            httpx.Headers({"Retry-After": "Mon, 01 Jan 2001 00:00:00 +99999999999999999999"})
        )
        is None
    )
