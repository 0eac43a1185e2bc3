"""Errors: their texts and fields, and that they survive copying and pickling."""

from __future__ import annotations

import copy
import errno
import os
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

ERROR_CLASSES: list[type[MeshError]] = [
    value
    for value in vars(mesh_facade).values()
    if isinstance(value, type) and issubclass(value, MeshError)
]
CLONE_FUNCTIONS = [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]  # noqa: S301 — our own


def call_and_catch(mode: Mode, *answers: bytes | httpx.Response | Exception, **options: Any) -> Any:
    """Return the error that a call ends with."""
    options = {"max_attempts": 1, **options}
    with pytest.raises(MeshError) as caught:
        mode.client(transport=Script(*answers), **options).read()
    return caught.value


def test_api_error_has_all_fields_of_the_envelope(mode: Mode) -> None:
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

    error = call_and_catch(mode, response(400, body, headers))

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


def test_api_error_without_an_envelope_has_the_http_status(mode: Mode) -> None:
    error = call_and_catch(mode, response(403, b"<html>", {"CF-Ray": "ray-1"}))

    assert str(error) == "Mesh answered HTTP 403"
    assert error.http_status == 403
    assert error.request_id == "ray-1"
    fields = ("status", "error_type", "message", "display_message", "error_hash", "error_data")
    assert [getattr(error, name) for name in (*fields, "retry_after")] == [None] * 7


@pytest.mark.parametrize("wrong", [5, True, ["text"], {"a": "b"}])
def test_malformed_field_of_an_error_envelope_is_ignored(mode: Mode, wrong: object) -> None:
    fields = ("errorType", "message", "displayMessage", "errorHash")

    error = call_and_catch(
        mode, response(400, envelope("badRequest", **dict.fromkeys(fields, wrong)))
    )

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
def test_reconnect_required_tells_a_dead_user_token_from_refused_keys(
    mode: Mode, http_status: int, error_type: str | None, *, is_required: bool
) -> None:
    error = call_and_catch(
        mode, response(http_status, envelope("badRequest", errorType=error_type))
    )

    assert error.reconnect_required is is_required


def test_response_error_has_the_http_status_and_the_reason(mode: Mode) -> None:
    error = call_and_catch(mode, response(200, b"oops", {"X-Request-Id": "request-1"}))

    assert type(error) is MeshResponseError
    assert str(error) == (
        "Mesh's answer (HTTP 200) cannot be used: its body is not valid JSON, or JSON that not all "
        "programs read alike (a repeated key, NaN, a number out of range, or very deep nesting)"
    )
    assert (error.http_status, error.request_id, error.attempts) == (200, "request-1", 1)


def test_error_counts_attempts(mode: Mode, clock: Clock) -> None:
    error = call_and_catch(mode, httpx.ReadError("cut"), max_attempts=3)

    assert error.attempts == 3
    assert len(clock.pauses) == 2


def test_error_before_a_request_is_sent_has_zero_attempts(mode: Mode) -> None:
    caller = mode.client(transport=Script(OK))
    caller.close()
    with pytest.raises(MeshError) as caught:
        caller.read()

    assert caught.value.attempts == 0
    with pytest.raises(MeshConfigurationError) as refused:
        mode.client(client_id="")
    assert refused.value.attempts == 0


def test_connection_error_does_not_repeat_the_text_of_httpx(mode: Mode) -> None:
    cause = ConnectionRefusedError(111, "Connection refused")
    error = httpx.ConnectError("to 10.0.0.1 with a body")
    error.__cause__ = cause

    failure = call_and_catch(mode, error)

    assert type(failure) is MeshConnectionError
    assert str(failure) == "the connection failed (ConnectError): Connection refused"


@pytest.mark.skipif(os.name == "nt", reason="Windows has another number for this error")
def test_refused_connection_has_the_same_text_in_both_modes(mode: Mode) -> None:
    with pytest.raises(MeshConnectionError) as caught:
        mode.client(base_url="http://127.0.0.1:1", max_attempts=1).read()

    assert (
        str(caught.value)
        == f"the connection failed (ConnectError): {os.strerror(errno.ECONNREFUSED)}"
    )


@pytest.mark.parametrize("clone", CLONE_FUNCTIONS)
@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_each_error_class_survives_copying_and_pickling(
    error_class: type[MeshError], clone: Any
) -> None:
    error = error_class("what happened")
    error.attempts = 3
    if isinstance(error, MeshAPIError):
        error.status = "locked"
        error.error_data = [Decimal("0.10")]

    again = clone(error)

    assert type(again) is error_class
    assert again.args == ("what happened",)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("clone", CLONE_FUNCTIONS)
def test_raised_error_survives_copying_and_pickling(mode: Mode, clone: Any) -> None:
    error = call_and_catch(mode, response(429, envelope("tooManyRequest"), {"Retry-After": "60"}))

    again = clone(error)

    assert type(again) is RateLimitError
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_configuration_error_is_a_value_error() -> None:
    assert issubclass(MeshConfigurationError, ValueError)


def test_team_code_is_kept_in_the_error_and_its_copies(mode: Mode) -> None:
    error = call_and_catch(mode, response(403, envelope("permissionDenied", teamCode="P4")))

    assert error.team_code == "P4"
    assert [clone(error).team_code for clone in CLONE_FUNCTIONS] == ["P4"] * len(CLONE_FUNCTIONS)
    assert "P4" not in str(error)


@pytest.mark.parametrize("team_code", [7, True, ["P4"], {"code": "P4"}, None])
def test_malformed_team_code_of_an_error_is_none(mode: Mode, team_code: object) -> None:
    error = call_and_catch(mode, response(403, envelope("permissionDenied", teamCode=team_code)))

    assert error.team_code is None


def test_team_code_is_none_if_mesh_sends_none(mode: Mode) -> None:
    error = call_and_catch(mode, response(403, envelope("permissionDenied")))

    assert error.team_code is None


def test_free_text_of_mesh_is_in_its_fields_and_not_in_the_text_of_the_error(mode: Mode) -> None:
    body = envelope("badRequest", message="Jane Doe", displayMessage="Dear Jane Doe")

    error = call_and_catch(mode, response(400, body))

    assert str(error) == "Mesh answered HTTP 400: badRequest"
    assert error.message == "Jane Doe"
    assert error.display_message == "Dear Jane Doe"
