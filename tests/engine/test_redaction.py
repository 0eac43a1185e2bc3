"""Redaction: secrets that a server echoes are removed from errors."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import traceback
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from mesh_facade import BadRequestError, MeshAPIError, MeshError
from mesh_facade.engine.redaction import redact
from tests.leaks import find_secrets, texts_reachable_from
from tests.support import CLIENT_ID, CLIENT_SECRET, OK, TOKEN, Script, envelope, response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Mode


def test_echoed_secrets_are_redacted_and_other_text_is_kept(mode: Mode) -> None:
    text = f"key {CLIENT_SECRET} and token {json.dumps(TOKEN)} of {quote(CLIENT_ID, '')} are wrong"
    script = Script(response(401, envelope("ofTomorrow", message=text, errorData=[text, 5])))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script).read()

    expected = 'key [redacted] and token "[redacted]" of [redacted] are wrong'
    assert caught.value.message == expected
    assert caught.value.error_data == [expected, 5]
    assert str(caught.value) == "Mesh answered HTTP 401: ofTomorrow"


def test_text_that_is_a_short_token_without_its_spaces_is_kept(mode: Mode) -> None:
    script = Script(response(401, envelope("ofTomorrow", message="abandoned", errorType="AB")))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script).read(auth_token="ab      ")

    assert (caught.value.message, caught.value.error_type) == ("abandoned", "AB")


@pytest.mark.parametrize("brackets", ["[]", '{"":}'])
@pytest.mark.parametrize("depth", [101, 500, 900, 9_000])
def test_deeply_nested_error_data_holds_no_secret(mode: Mode, depth: int, brackets: str) -> None:
    data = brackets[:-1] * depth + json.dumps(TOKEN) + brackets[-1] * depth
    body = b'{"status": "badRequest", "errorData": %b}' % data.encode()

    with pytest.raises(BadRequestError) as caught:
        mode.client(transport=Script(response(400, body))).read()

    assert [text for text in texts_reachable_from([caught.value]) if find_secrets(text)] == []
    assert type(copy.deepcopy(caught.value)) is BadRequestError


def nest_in_list(value: object) -> object:
    return [value]


def nest_in_object(value: object) -> object:
    return {"inner": value}


@pytest.mark.parametrize("nest", [nest_in_list, nest_in_object])
@pytest.mark.parametrize(("depth", "innermost"), [(100, 5), (101, "[redacted]")])
def test_error_data_is_kept_down_to_its_hundredth_level(
    mode: Mode, nest: Callable[[object], object], depth: int, innermost: object
) -> None:
    sent: object = 5
    for _ in range(depth):
        sent = nest(sent)
    kept: object = innermost
    for _ in range(100):
        kept = nest(kept)
    script = Script(response(400, envelope("badRequest", errorData=sent)))

    with pytest.raises(BadRequestError) as caught:
        mode.client(transport=script).read()

    assert caught.value.error_data == kept


def test_secret_of_a_secret_function_is_redacted(mode: Mode) -> None:
    script = Script(response(401, envelope(message="secret-of-today is wrong")))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(client_secret=lambda: "secret-of-today", transport=script).read()

    assert caught.value.message == "[redacted] is wrong"


def test_short_secrets_are_not_redacted(mode: Mode) -> None:
    text = "the token is not known to us"
    script = Script(response(400, envelope("badRequest", message=text)))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(client_id="to", client_secret="us", transport=script).read("known")

    assert caught.value.message == text


@pytest.mark.parametrize(
    ("token", "message"), [("abcdefg", "bad abcdefg"), ("abcdefgh", "bad [redacted]")]
)
def test_secrets_of_eight_or_more_characters_are_redacted(
    mode: Mode, token: str, message: str
) -> None:
    script = Script(response(400, envelope("badRequest", message=f"bad {token}")))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script).read(token)

    assert caught.value.message == message


def test_secret_that_begins_with_another_is_redacted_whole() -> None:
    error = MeshError("short-secret, short-secret-and-more")
    redact(error, ["short-secret", "short-secret-and-more"])
    assert str(error) == "[redacted], [redacted]"


def test_longer_secret_is_redacted_first_regardless_of_case() -> None:
    error = MeshAPIError("SHORT-SECRET-AND-MORE")
    redact(error, ["short-secret", "SHORT-SECRET-AND-MORE"])
    assert str(error) == "[redacted]"


def test_base64_of_a_secret_is_redacted_to_its_last_letter() -> None:
    encoded = base64.b64encode(b"a-secret-ofW").decode().rstrip("=")
    error = MeshAPIError(encoded)
    redact(error, ["a-secret-ofW"])
    assert str(error) == "[redacted]"


def test_url_escapes_are_redacted_in_upper_and_lower_case() -> None:
    error = MeshError("a/secret+key as a%2fsecret%2bkey and a%2Fsecret%2Bkey")
    redact(error, ["a/secret+key"])
    assert str(error) == "[redacted] as [redacted] and [redacted]"


def test_secrets_within_lists_and_tuples_are_redacted() -> None:
    error = MeshAPIError("text", error_data=[("a-secret-value", 1), ["in a-secret-value"]])
    redact(error, ["a-secret-value"])
    assert error.error_data == [("[redacted]", 1), ["in [redacted]"]]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("a-secret-with-???>>>", "[redacted]="),
        ("i:a-secret-with-???>>>", "aT[redacted]=="),
        ("id:a-secret-with-???>>>", "aWQ6[redacted]="),
        ("ids:a-secret-with-???>>>", "aWRzO[redacted]"),
        ("id:a-secret-with-???>>>||", "aWQ6[redacted]8fA=="),
        ("id:a-secret-with-???>>>!!!", "aWQ6[redacted]hISE="),
    ],
)
def test_secret_within_a_longer_base64_text_is_redacted(text: str, redacted: str) -> None:
    encoded = base64.b64encode(text.encode()).decode()
    url_safe = base64.urlsafe_b64encode(text.encode()).decode()
    error = MeshError(f"{encoded} and {url_safe}")

    redact(error, ["a-secret-with-???>>>"])

    assert str(error) == f"{redacted} and {redacted}"


def test_secret_without_its_spaces_is_redacted_within_a_longer_base64_text() -> None:
    error = MeshError(base64.b64encode(b"id:a-secret-with-spaces!").decode())

    redact(error, [" a-secret-with-spaces  "])

    assert str(error) == "aWQ6[redacted]h"


def test_secret_that_is_echoed_as_a_number_is_redacted(mode: Mode) -> None:
    body = b'{"status": "badRequest", "errorData": {"token": 123456789012, "other": 987654321.5}}'

    with pytest.raises(BadRequestError) as caught:
        mode.client(transport=Script(response(400, body))).read("123456789012")

    assert caught.value.error_data == {"token": "[redacted]", "other": Decimal("987654321.5")}


def test_error_that_the_caller_is_handling_keeps_its_frames(mode: Mode) -> None:
    def fail_with_a_local_variable() -> None:
        of_caller = "kept"
        raise LookupError(of_caller)

    script = Script(OK)
    caller = mode.client(transport=script, on_attempt=raise_key_error)
    handled: BaseException | None = None
    with contextlib.suppress(LookupError):
        try:
            fail_with_a_local_variable()
        except LookupError as error:
            handled = error
            caller.read()

    assert handled is not None
    assert len(script.requests) == 1
    innermost = [frame for frame, _ in traceback.walk_tb(handled.__traceback__)][-1]
    assert innermost.f_locals == {"of_caller": "kept"}


def raise_key_error(_: object) -> None:
    raise KeyError("of on_attempt")


# --- frames of errors that a function of the caller's raises --------------------------------------


class EqualError(Exception):
    """An error that equals every other object."""

    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = Exception.__hash__


def raise_value_error(request: httpx.Request) -> None:
    """Fail in a frame that holds a request, whose headers and body are secret."""
    raise ValueError(request.method)


def raising_because_of_another(error: BaseException) -> httpx.MockTransport:
    """Return a transport that raises an error whose cause leads to a request."""

    def respond(request: httpx.Request) -> httpx.Response:
        try:
            raise_value_error(request)
        except ValueError as value_error:
            raise error from value_error
        raise AssertionError

    return httpx.MockTransport(respond)


def locals_of_innermost_frame(error: BaseException | None) -> dict[str, object]:
    assert isinstance(error, ValueError)
    innermost = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    assert innermost.f_code.co_name == "raise_value_error"
    return dict(innermost.f_locals)


def test_error_that_is_raised_again_while_the_caller_handles_it_leads_to_no_secret(
    mode: Mode,
) -> None:
    handled = LookupError("of the caller")
    caller = mode.client(transport=raising_because_of_another(handled))

    try:
        raise handled
    except LookupError:
        with pytest.raises(LookupError) as caught:
            caller.read()

    assert caught.value is handled
    assert locals_of_innermost_frame(handled.__cause__) == {}


def test_error_that_is_raised_again_while_the_caller_handles_another_leads_to_no_secret(
    mode: Mode,
) -> None:
    cause = LookupError("of the caller")
    caller = mode.client(transport=raising_because_of_another(cause))

    try:
        raise RuntimeError from cause  # noqa: TRY301 — a caller may do so
    except RuntimeError:
        with pytest.raises(LookupError) as caught:
            caller.read()

    assert caught.value is cause
    assert locals_of_innermost_frame(cause.__cause__) == {}


def test_error_that_equals_another_leads_to_no_secret(mode: Mode) -> None:
    caller = mode.client(transport=raising_because_of_another(EqualError()))

    with pytest.raises(EqualError) as caught:
        caller.read()

    assert locals_of_innermost_frame(caught.value.__cause__) == {}
