"""Keys and token: where they come from, when they are refused, and that nobody sees them."""

from __future__ import annotations

import asyncio
import base64
import copy
import gc
import itertools
import json
import logging
import pickle
import time
import traceback
import types
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from mesh_facade import (
    BadRequestError,
    MeshAPIError,
    MeshClient,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    ServerError,
)
from mesh_facade.credentials import Credentials
from mesh_facade.engine.redaction import redact
from tests.support import (
    CLIENT_ID,
    CLIENT_SECRET,
    KEYS,
    OK,
    TOKEN,
    Script,
    cash_body,
    envelope,
    response,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Clock, Mode, Serve

SECRETS = [CLIENT_ID, CLIENT_SECRET, TOKEN]


def spellings(secret: str) -> list[str]:
    return [
        secret,
        quote(secret, ""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
    ]


SPELLINGS = [spelling for secret in SECRETS for spelling in spellings(secret)]


def leaks(text: str) -> list[str]:
    return [spelling for spelling in SPELLINGS if spelling in text]


# --- where they come from -----------------------------------------------------------------------


def test_both_keys_travel_as_headers_of_each_request(mode: Mode) -> None:
    script = Script(OK)

    mode.client(transport=script).read()

    [sent] = script.requests
    assert (sent.headers["X-Client-Id"], sent.headers["X-Client-Secret"]) == (
        CLIENT_ID,
        CLIENT_SECRET,
    )


def test_the_keys_are_an_auth_that_httpx_itself_can_use_in_both_modes() -> None:
    script = Script(OK)
    keys = Credentials(CLIENT_ID, CLIENT_SECRET)

    async def get() -> None:
        async with httpx.AsyncClient(transport=script, auth=keys) as client:
            await client.get("https://mesh.example")

    asyncio.run(get())
    with httpx.Client(transport=script, auth=keys) as client:
        client.get("https://mesh.example")

    sent = [
        (each.headers["X-Client-Id"], each.headers["X-Client-Secret"]) for each in script.requests
    ]
    assert sent == [(CLIENT_ID, CLIENT_SECRET)] * 2


def test_keys_come_from_the_environment_as_it_is_when_the_client_is_built(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_CLIENT_ID", "id-from-outside")
    monkeypatch.setenv("MESH_CLIENT_SECRET", "secret-from-outside")
    script = Script(OK)

    caller = mode.client(client_id=None, client_secret=None, transport=script)
    monkeypatch.delenv("MESH_CLIENT_ID")
    caller.read()

    headers = script.requests[0].headers
    assert headers["X-Client-Id"] == "id-from-outside"
    assert headers["X-Client-Secret"] == "secret-from-outside"


def test_a_key_that_is_given_wins_over_the_environment(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_CLIENT_ID", "id-from-outside")
    monkeypatch.setenv("MESH_CLIENT_SECRET", "secret-from-outside")
    script = Script(OK)

    mode.client(transport=script).read()

    assert script.requests[0].headers["X-Client-Id"] == CLIENT_ID
    assert script.requests[0].headers["X-Client-Secret"] == CLIENT_SECRET


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_key_is_refused_with_what_to_do(mode: Mode, name: str, value: Any) -> None:
    match = rf"^{name} is missing: pass {name}= or set MESH_{name.upper()}$"

    with pytest.raises(MeshConfigurationError, match=match):
        mode.client(**{name: value})


@pytest.mark.parametrize("name", KEYS)
def test_an_empty_key_is_refused_whatever_the_environment_says(
    mode: Mode, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MESH_{name.upper()}", "from-outside")

    with pytest.raises(MeshConfigurationError, match=f"^{name} is missing"):
        mode.client(**{name: ""})


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize(
    "value", ["canary\n", "canary ", " canary", "can ary", "canary\r", "canäry", "canary\x7f", "\t"]
)
def test_a_key_with_a_character_that_no_key_has_is_refused_without_echo(
    mode: Mode, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MeshConfigurationError, match=f"^{name} holds ") as given:
        mode.client(**{name: value})
    monkeypatch.setenv(f"MESH_{name.upper()}", value)
    with pytest.raises(MeshConfigurationError, match=f"^{name} holds ") as found:
        mode.client(**{name: None})

    assert "can" not in str(given.value) + str(found.value)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("value", [5, b"canary", ["canary"], False])
def test_a_key_that_is_no_string_is_refused_without_echo(
    mode: Mode, name: str, value: object
) -> None:
    match = f"^{name} must be a string, not {type(value).__name__}$"

    with pytest.raises(MeshConfigurationError, match=match):
        mode.client(**{name: value})


# --- a secret that is asked for -----------------------------------------------------------------


each_callable = pytest.mark.parametrize(
    ("mode", "is_awaited"), [("sync", False), ("async", False), ("async", True)], indirect=["mode"]
)


def asked(function: Callable[[], Any], *, is_awaited: bool) -> Any:
    """Turn a function into a callable secret, of one of the two kinds that there are."""

    async def ask() -> Any:
        await asyncio.sleep(0)
        return function()

    return ask if is_awaited else function


@each_callable
def test_a_callable_secret_is_asked_for_at_each_attempt(
    mode: Mode, clock: Clock, *, is_awaited: bool
) -> None:
    script = Script(response(500), OK)
    secrets = map("secret-{}".format, itertools.count())
    secret = asked(lambda: next(secrets), is_awaited=is_awaited)
    caller = mode.client(client_secret=secret, transport=script)

    caller.read()
    caller.read()

    sent = [request.headers["X-Client-Secret"] for request in script.requests]
    assert sent == ["secret-0", "secret-1", "secret-2"]
    assert clock.pauses


@each_callable
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("canary\n", "holds a space"),
        ("", "is missing"),
        (None, "is missing"),
        (5, "must be a string, not int"),
        (b"canary", "must be a string, not bytes"),
    ],
)
def test_what_a_callable_secret_returns_is_checked(
    mode: Mode, value: Any, problem: str, *, is_awaited: bool
) -> None:
    script = Script(OK)
    secret = asked(lambda: value, is_awaited=is_awaited)
    caller = mode.client(client_secret=secret, transport=script)

    with pytest.raises(MeshConfigurationError, match=f"^client_secret {problem}") as caught:
        caller.read()

    assert "canary" not in str(caught.value)
    assert script.requests == []


@each_callable
@pytest.mark.parametrize("error_class", [RuntimeError, TimeoutError, httpx.ConnectError])
def test_what_a_callable_secret_raises_reaches_the_caller_as_it_is(
    mode: Mode, error_class: type[Exception], *, is_awaited: bool
) -> None:
    failure = error_class("the vault is sealed")
    script = Script(OK)
    outcomes: Iterator[Any] = iter([failure, "secret-1"])

    def unseal() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    secret = asked(unseal, is_awaited=is_awaited)
    caller = mode.client(client_secret=secret, transport=script, max_connections=1)

    with pytest.raises(error_class) as caught:
        caller.read()

    assert caught.value is failure
    assert script.requests == []
    assert caller.read()  # and the connection's slot is free again


@pytest.mark.parametrize(
    ("mode", "is_awaited"), [("sync", False), ("async", True)], indirect=["mode"]
)
def test_a_callable_secret_that_takes_too_long_is_a_timeout(
    mode: Mode, *, is_awaited: bool
) -> None:
    async def ask_for_ever() -> str:
        await asyncio.Event().wait()
        return CLIENT_SECRET

    def ask() -> str:
        time.sleep(0.2)
        return CLIENT_SECRET

    script = Script(OK)
    secret = ask_for_ever if is_awaited else ask
    caller = mode.client(client_secret=secret, transport=script, deadline=0.1)

    with pytest.raises(MeshTimeoutError) as caught:
        caller.read()

    assert script.requests == []
    assert caught.value.attempts == 0


def test_an_async_secret_is_refused_by_the_sync_client(serve: Serve) -> None:
    async def secret() -> str:
        return CLIENT_SECRET

    server = serve()
    any_client: Any = MeshClient
    with (
        any_client(CLIENT_ID, secret, base_url=server.url) as mesh,
        pytest.raises(MeshConfigurationError, match="only AsyncMeshClient can await"),
    ):
        mesh.get_account_balance(TOKEN, "coinbase")

    assert server.requests == []


# --- and that nobody sees them ------------------------------------------------------------------


def test_no_secret_is_in_the_repr_of_a_client(mode: Mode) -> None:
    client = mode.client(base_url="https://mesh.example").client

    assert repr(client) == f"{type(client).__name__}(base_url='https://mesh.example')"
    assert str(client) == repr(client)
    assert leaks(repr(vars(client))) == []
    assert repr(client._runner.engine.authentication) == "Credentials(…)"
    assert leaks(repr(client._runner.engine)) == []


@pytest.mark.parametrize("clone", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_cannot_leave_the_process(mode: Mode, clone: Callable[..., Any]) -> None:
    client = mode.client().client

    with pytest.raises(TypeError, match=r"pass its options, and build a client where you need it"):
        clone(client)
    with pytest.raises(TypeError, match="secrets"):
        clone(client._runner.engine.authentication)


CODE = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
    types.FrameType,
    types.TracebackType,
    asyncio.AbstractEventLoop,
)


def reachable(roots: list[Any]) -> Iterator[str]:
    """Walk over every text that objects lead to; code and what it belongs to are left out."""
    seen: dict[int, Any] = {}
    while roots:
        item = roots.pop()
        if id(item) in seen or isinstance(item, CODE):
            continue
        seen[id(item)] = item
        if isinstance(item, (bytes, bytearray)):
            yield item.decode("latin-1")
        elif isinstance(item, str):
            yield item
        elif isinstance(item, BaseException):
            roots += locals_below_the_shell(item)
            roots += [item.args, vars(item), item.__cause__, item.__context__]
        else:
            roots += gc.get_referents(item)


def locals_below_the_shell(error: BaseException) -> list[Any]:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    outside = itertools.takewhile(lambda frame: is_test(frame.f_code), frames)
    return [dict(frame.f_locals) for frame in frames[len(list(outside)) :]]


def is_test(code: types.CodeType) -> bool:
    return not code.co_filename.endswith("mesh_facade/client.py")


ECHO = {
    "message": " ".join(SPELLINGS),
    "displayMessage": SPELLINGS[0],
    "errorType": SPELLINGS[1],
    "errorHash": SPELLINGS[2],
    "errorData": {spelling: [spelling, {"deep": spelling}] for spelling in SPELLINGS},
}
ECHO_HEADERS = {"X-Request-Id": CLIENT_SECRET, "Retry-After": "3600"}
FAILURES: dict[str, tuple[type[BaseException], bytes | httpx.Response | Exception]] = {
    "refused": (MeshConnectionError, httpx.ConnectError(TOKEN)),
    "broken": (MeshConnectionError, httpx.ReadError(CLIENT_SECRET)),
    "late": (MeshTimeoutError, httpx.ReadTimeout(TOKEN)),
    "said no": (MeshAPIError, response(400, envelope("badRequest", **ECHO), ECHO_HEADERS)),
    "unknown status": (MeshAPIError, response(200, envelope(TOKEN, **ECHO), ECHO_HEADERS)),
    "failed": (ServerError, response(500, envelope("serverFailure", **ECHO), ECHO_HEADERS)),
    "HTML": (ServerError, response(502, TOKEN.encode(), ECHO_HEADERS)),
    "not JSON": (MeshResponseError, response(200, TOKEN.encode(), ECHO_HEADERS)),
    "not UTF-8": (MeshResponseError, TOKEN.encode("utf-16")),
    "redirect": (MeshResponseError, response(307, b"", {"Location": f"https://x/?{TOKEN}"})),
    "wrong amount": (MeshResponseError, cash_body(json.dumps(TOKEN))),
    "too large": (MeshResponseError, TOKEN.encode() * 100_000),
    "encoding": (MeshResponseError, response(200, OK, {"Content-Encoding": CLIENT_SECRET})),
    "a fault of the transport's own": (ZeroDivisionError, ZeroDivisionError("its own words")),
}


@pytest.mark.parametrize(("error_class", "answer"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("is_asked_for", [False, True], ids=["fixed", "asked for"])
def test_no_failure_leads_to_a_secret(
    mode: Mode, error_class: type[BaseException], answer: Any, *, is_asked_for: bool
) -> None:
    secret = (lambda: CLIENT_SECRET) if is_asked_for else CLIENT_SECRET
    caller = mode.client(client_secret=secret, transport=Script(answer), max_attempts=1)

    with pytest.raises(error_class) as caught:
        caller.read()

    error = caught.value
    if isinstance(error, MeshError):
        assert error.__cause__ is None
        assert error.__context__ is None
        assert leaks("".join(traceback.format_exception_only(error))) == []
        assert leaks(repr(error) + repr(pickle.dumps(error, 0)) + str(vars(error))) == []
    found = [text for text in reachable([error]) if leaks(text)]
    assert found == []


def test_no_refused_argument_leads_to_a_secret(mode: Mode) -> None:
    caller = mode.client(transport=Script(OK))

    for arguments in ((TOKEN, ""), (TOKEN, None), ([TOKEN], "coinbase"), (TOKEN + "\ud800", "x")):
        with pytest.raises((TypeError, ValueError)) as caught:
            caller.read(*arguments)
        assert [text for text in reachable([caught.value]) if leaks(text)] == []


def test_a_callable_secret_s_own_mesh_error_leads_to_no_secret(mode: Mode) -> None:
    def secret() -> str:
        try:
            return {"old": "old"}[CLIENT_SECRET]
        except KeyError:
            raise MeshError("the vault is sealed")  # noqa: B904 — as careless code would

    with pytest.raises(MeshError, match="the vault is sealed") as caught:
        mode.client(client_secret=secret, transport=Script(OK)).read()

    assert [text for text in reachable([caught.value]) if leaks(text)] == []


def test_no_interruption_leads_to_a_secret(mode: Mode) -> None:
    interruption = asyncio.CancelledError() if mode.is_async else KeyboardInterrupt()
    caller = mode.client(transport=Script(interruption))

    with pytest.raises(type(interruption)) as caught:
        caller.read()

    assert [text for text in reachable([caught.value]) if leaks(text)] == []


def test_a_call_on_a_closed_client_leads_to_no_secret(mode: Mode) -> None:
    caller = mode.client(transport=Script(OK))
    caller.close()

    with pytest.raises(MeshError, match="closed") as caught:
        caller.read()

    assert [text for text in reachable([caught.value]) if leaks(text)] == []


def test_a_failure_on_the_network_leads_to_no_secret(mode: Mode, serve: Serve) -> None:
    def answer_half(peer: Any) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + TOKEN.encode())

    caller = mode.client(base_url=serve(answer_half).url, max_attempts=1)

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert [text for text in reachable([caught.value]) if leaks(text)] == []


def test_what_a_server_echoes_is_struck_out_and_the_rest_stays(mode: Mode) -> None:
    said = f"key {CLIENT_SECRET} and token {json.dumps(TOKEN)} of {quote(CLIENT_ID, '')} are wrong"
    script = Script(response(401, envelope("ofTomorrow", message=said, errorData=[said, 5])))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script).read()

    expected = 'key [redacted] and token "[redacted]" of [redacted] are wrong'
    assert caught.value.message == expected
    assert caught.value.error_data == [expected, 5]
    assert str(caught.value) == "Mesh answered HTTP 401: ofTomorrow"


@pytest.mark.parametrize("brackets", ["[]", '{"":}'])
@pytest.mark.parametrize("depth", [101, 500, 900, 9_000])
def test_what_a_server_says_of_an_error_may_be_nested_however_deeply(
    mode: Mode, depth: int, brackets: str
) -> None:
    data = brackets[:-1] * depth + json.dumps(TOKEN) + brackets[-1] * depth
    body = b'{"status": "badRequest", "errorData": %b}' % data.encode()

    with pytest.raises(BadRequestError) as caught:
        mode.client(transport=Script(response(400, body))).read()

    assert [text for text in reachable([caught.value]) if leaks(text)] == []
    assert type(copy.deepcopy(caught.value)) is BadRequestError


@pytest.mark.parametrize(("depth", "innermost"), [(100, 5), (101, "[redacted]")])
def test_what_a_server_says_is_kept_down_to_its_hundredth_level(
    mode: Mode, depth: int, innermost: object
) -> None:
    said, kept = 5, innermost
    for level in range(depth):
        said, kept = [said], [kept] if level < 100 else kept
    script = Script(response(400, envelope("badRequest", errorData=said)))

    with pytest.raises(BadRequestError) as caught:
        mode.client(transport=script).read()

    assert caught.value.error_data == kept


def test_a_secret_that_was_rotated_is_struck_out_too(mode: Mode) -> None:
    script = Script(response(401, envelope(message="secret-of-today is wrong")))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(client_secret=lambda: "secret-of-today", transport=script).read()

    assert caught.value.message == "[redacted] is wrong"


def test_a_secret_so_short_that_striking_it_out_would_mangle_the_message_stays(mode: Mode) -> None:
    said = "the token is not known to us"
    script = Script(response(400, envelope("badRequest", message=said)))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(client_id="to", client_secret="us", transport=script).read("known")

    assert caught.value.message == said


@pytest.mark.parametrize(("length", "is_struck_out"), [(7, False), (8, True)])
def test_eight_characters_are_enough_to_be_struck_out(
    mode: Mode, length: int, *, is_struck_out: bool
) -> None:
    token = "abcdefghij"[:length]
    script = Script(response(400, envelope("badRequest", message=f"bad {token}")))

    with pytest.raises(MeshAPIError) as caught:
        mode.client(transport=script).read(token)

    assert caught.value.message == ("bad [redacted]" if is_struck_out else f"bad {token}")


def test_no_secret_is_in_any_log_and_failures_are_logged_as_metadata(
    mode: Mode, serve: Serve, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_and_answer(peer: Any) -> None:
        peer.receive()
        peer.answer(envelope("serverFailure", **ECHO), status=500)
        peer.answer_all()

    caller = mode.client(base_url=serve(fail_and_answer).url)

    with caplog.at_level(logging.DEBUG):
        caller.read()

    [record] = [record for record in caplog.records if record.name.startswith("mesh_facade")]
    assert record.levelno == logging.DEBUG
    fields = {name: value for name, value in vars(record).items() if name.startswith("mesh_")}
    assert fields == {
        "mesh_attempt_number": 1,
        "mesh_attempt_elapsed": 0.0,
        "mesh_attempt_error": "ServerError",
        "mesh_attempt_http_status": 500,
        "mesh_attempt_pause": clock.pauses[0],
        "mesh_attempt_key": None,
    }
    said = [record.getMessage() + repr(vars(record)) for record in caplog.records]
    assert len(said) > 10  # httpcore's, too
    assert leaks("".join(said)) == []
    assert len(clock.pauses) == 1


def test_a_secret_that_another_one_begins_with_leaves_no_rest_of_that() -> None:
    error = MeshError("short-secret, short-secret-and-more")
    redact(error, ["short-secret", "short-secret-and-more"])
    assert str(error) == "[redacted], [redacted]"


def test_the_longer_secret_comes_first_whatever_their_case() -> None:
    error = MeshAPIError("SHORT-SECRET-AND-MORE")
    redact(error, ["short-secret", "SHORT-SECRET-AND-MORE"])
    assert str(error) == "[redacted]"


def test_of_a_secret_in_base64_no_last_letter_is_left() -> None:
    encoded = base64.b64encode(b"a-secret-ofW").decode().rstrip("=")
    error = MeshAPIError(encoded)
    redact(error, ["a-secret-ofW"])
    assert str(error) == "[redacted]"


def test_a_secret_is_struck_out_whatever_the_case_of_its_escapes() -> None:
    error = MeshError("a/secret+key as a%2fsecret%2bkey and a%2Fsecret%2Bkey")
    redact(error, ["a/secret+key"])
    assert str(error) == "[redacted] as [redacted] and [redacted]"
