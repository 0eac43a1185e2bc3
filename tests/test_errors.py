"""The errors: what they tell, and that they survive copying and pickling."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import mesh_facade
from mesh_facade import (
    BadRequestError,
    MeshAPIError,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    RateLimitError,
)
from tests.support import OK, Script, envelope, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode

CLASSES: list[type[MeshError]] = [
    value
    for value in vars(mesh_facade).values()
    if isinstance(value, type) and issubclass(value, MeshError)
]
CLONES = [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]  # noqa: S301 — our own


def fail(mode: Mode, *answers: bytes | httpx.Response | Exception, **options: Any) -> Any:
    """Return the error that a call ends with."""
    options = {"max_attempts": 1, **options}
    with pytest.raises(MeshError) as caught:
        mode.client(transport=Script(*answers), **options).read()
    return caught.value


def test_a_refusal_tells_all_that_mesh_said(mode: Mode) -> None:
    body = envelope(
        "badRequest",
        errorType="missingField",
        message="No type",
        displayMessage="Please choose",
        errorHash="7dcbb73d",
        errorData={"limit": 1.5, "fields": ["type"]},
        teamCode="P4",
    )
    headers = {"Retry-After": "7", "X-Request-Id": "request-1", "CF-Ray": "ray-1"}

    error = fail(mode, response(400, body, headers))

    assert type(error) is BadRequestError
    assert vars(error) == {
        "attempts": 1,
        "http_status": 400,
        "status": "badRequest",
        "error_type": "missingField",
        "message": "No type",
        "display_message": "Please choose",
        "error_hash": "7dcbb73d",
        "error_data": {"limit": Decimal("1.5"), "fields": ["type"]},
        "team_code": "P4",
        "retry_after": 7.0,
        "request_id": "request-1",
    }
    assert str(error) == "Mesh answered HTTP 400: badRequest: missingField"


def test_a_refusal_without_an_envelope_tells_the_http_status(mode: Mode) -> None:
    error = fail(mode, response(403, b"<html>", {"CF-Ray": "ray-1"}))

    assert str(error) == "Mesh answered HTTP 403"
    assert error.http_status == 403
    assert error.request_id == "ray-1"
    fields = ("status", "error_type", "message", "display_message", "error_hash", "error_data")
    assert [getattr(error, name) for name in (*fields, "retry_after")] == [None] * 7


@pytest.mark.parametrize("wrong", [5, True, ["text"], {"a": "b"}])
def test_a_field_of_the_wrong_type_in_a_refusal_is_as_if_it_were_not_there(
    mode: Mode, wrong: object
) -> None:
    fields = ("errorType", "message", "displayMessage", "errorHash")

    error = fail(mode, response(400, envelope("badRequest", **dict.fromkeys(fields, wrong))))

    assert str(error) == "Mesh answered HTTP 400: badRequest"
    assert error.error_type is error.message is error.display_message is error.error_hash is None
    assert not error.reconnect_required


@pytest.mark.parametrize(
    ("http_status", "error_type", "is_required"),
    [
        (400, "unauthorizedToken", True),
        (401, "unauthorizedToken", True),
        (200, "unauthorizedToken", True),
        (401, "", False),
        (401, None, False),
        (400, "missingField", False),
    ],
)
def test_a_dead_user_token_is_told_from_wrong_client_keys(
    mode: Mode, http_status: int, error_type: str | None, *, is_required: bool
) -> None:
    error = fail(mode, response(http_status, envelope("badRequest", errorType=error_type)))

    assert error.reconnect_required is is_required


def test_an_answer_that_cannot_be_used_tells_its_http_status_and_why(mode: Mode) -> None:
    error = fail(mode, response(200, b"oops", {"X-Request-Id": "request-1"}))

    assert type(error) is MeshResponseError
    assert str(error) == (
        "Mesh's answer (HTTP 200) cannot be used: "
        "its body is not JSON, or not JSON that all readers agree about"
    )
    assert (error.http_status, error.request_id, error.attempts) == (200, "request-1", 1)


def test_attempts_are_those_that_were_made(mode: Mode, clock: Clock) -> None:
    error = fail(mode, httpx.ReadError("cut"), max_attempts=3)

    assert error.attempts == 3
    assert len(clock.pauses) == 2


def test_nothing_that_was_never_sent_counts_as_an_attempt(mode: Mode) -> None:
    caller = mode.client(transport=Script(OK))
    caller.close()
    with pytest.raises(MeshError) as caught:
        caller.read()

    assert caught.value.attempts == 0
    with pytest.raises(MeshConfigurationError) as refused:
        mode.client(client_id="")
    assert refused.value.attempts == 0


def test_a_connection_error_says_what_failed_without_others_words(mode: Mode) -> None:
    cause = ConnectionRefusedError(111, "Connection refused")
    error = httpx.ConnectError("to 10.0.0.1 with a body")
    error.__cause__ = cause

    failure = fail(mode, error)

    assert type(failure) is MeshConnectionError
    assert str(failure) == "the connection failed (ConnectError): Connection refused"


@pytest.mark.parametrize("clone", CLONES)
@pytest.mark.parametrize("error_class", CLASSES)
def test_every_error_survives_copying_and_pickling(
    error_class: type[MeshError], clone: Any
) -> None:
    error = error_class("what happened")
    error.attempts = 3
    if isinstance(error, MeshAPIError):
        error.status, error.error_data = "locked", [Decimal("0.10")]

    again = clone(error)

    assert type(again) is error_class
    assert again.args == ("what happened",)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("clone", CLONES)
def test_an_error_that_was_raised_survives_copying_and_pickling(mode: Mode, clone: Any) -> None:
    error = fail(mode, response(429, envelope("tooManyRequest"), {"Retry-After": "60"}))

    again = clone(error)

    assert type(again) is RateLimitError
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_configuration_error_is_a_value_error_too() -> None:
    assert issubclass(MeshConfigurationError, ValueError)
