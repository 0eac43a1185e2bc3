"""Secrets: three canaries, and no surface of any error, log or object on which one is found."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import dataclasses
import functools
import json
import logging
import pickle
import random
import ssl
import string
import time
import types
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from mesh_facade import AsyncMeshClient, BadRequestError, MeshAPIError, MeshClient, MeshError
from tests.faults.catalogue import Bounds, Fault
from tests.faults.matrix import Call, ClientFactory, Observation, try_call
from tests.faults.server import CLOSE, SILENCE, Answer, FaultServer, Step, head
from tests.support import Script, envelope, response

if TYPE_CHECKING:
    from tests.conftest import Mode

CLIENT_ID = 'Id/CanaryOne?&"1"'
CLIENT_SECRET = 'Secret/CanaryTwo+%"2"'
TOKEN = 'Token/CanaryThree é✓ +"3" '
BOUNDS = Bounds(0.05, 0.3)
WORDS = ("CanaryOne", "CanaryTwo", "CanaryThree")  # what all spellings but base64 have in common


def _base64_cores(word: str) -> set[str]:
    """Return what base64 makes of a word, wherever in the encoded text it starts."""
    encoded = (
        base64.b64encode(b" " * shift + word.encode() + b"  ").decode() for shift in range(3)
    )
    return {text[4:12] for text in encoded}


MARKS = frozenset(WORDS).union(*map(_base64_cores, WORDS))


def canaries_in(text: str) -> set[str]:
    return {mark for mark in MARKS if mark in text}


# --- whatever can be reached from an error ------------------------------------------------------


def everything_in(found: object, *, seen: set[int] | None = None) -> Iterator[object]:
    """Go through an object and all it holds, but not to the code that it is made of."""
    seen = set() if seen is None else seen
    code = (type, types.ModuleType, types.TracebackType, types.FrameType, types.CodeType)
    if id(found) in seen or isinstance(found, code):
        return
    seen.add(id(found))
    yield found
    for part in _parts(found):
        yield from everything_in(part, seen=seen)


def _parts(found: object) -> Iterator[object]:
    if isinstance(found, Mapping):
        yield from [*found.keys(), *found.values()]
    elif isinstance(found, (list, tuple, set, frozenset)):
        yield from found
    elif isinstance(found, types.FunctionType):
        yield from [cell.cell_contents for cell in found.__closure__ or ()]
        return
    elif isinstance(found, functools.partial):
        yield from (found.func, found.args, found.keywords)
    yield getattr(found, "__self__", None)
    yield from vars(found).values() if hasattr(found, "__dict__") else ()
    for slot in {slot for base in type(found).__mro__ for slot in getattr(base, "__slots__", ())}:
        yield getattr(found, slot, None)
    for frame in (getattr(found, name, None) for name in ("cr_frame", "gi_frame", "ag_frame")):
        yield dict(frame.f_locals) if frame else None


def frames_of_ours(error: BaseException) -> Iterator[types.FrameType]:
    """Walk the traceback from our shell downwards: generated and httpx frames too."""
    step, is_ours = error.__traceback__, False
    while step is not None:
        is_ours = is_ours or "/mesh_facade/" in step.tb_frame.f_code.co_filename
        if is_ours:
            yield step.tb_frame
        step = step.tb_next


def surfaces(error: BaseException) -> Iterator[tuple[str, str]]:
    """Show all that an error says and leads to."""
    for name, text in (("str", str(error)), ("repr", repr(error)), ("args", repr(error.args))):
        yield name, text
    yield "attributes", repr(vars(error))
    yield "notes", repr(getattr(error, "__notes__", None))
    if isinstance(error, MeshError):
        yield "pickle", pickle.dumps(error, protocol=0).decode("latin-1")
        yield "unpickled", repr(vars(pickle.loads(pickle.dumps(error))))  # noqa: S301 — our own
        yield "copies", repr([vars(copy.copy(error)), vars(copy.deepcopy(error))])
    for frame in frames_of_ours(error):
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        for name, value in frame.f_locals.items():
            for thing in everything_in(value):
                if isinstance(thing, (str, bytes, bytearray)):
                    yield f"local {name} of {where}", str(thing)
                elif not isinstance(thing, BaseException):
                    yield f"local {name} of {where}", repr(thing)
    for name in ("__cause__", "__context__"):
        if (other := getattr(error, name)) is not None:
            yield from ((f"{name}: {where}", text) for where, text in surfaces(other))


def leaks(error: BaseException) -> dict[str, set[str]]:
    return {where: found for where, text in surfaces(error) if (found := canaries_in(text))}


def leaks_in_logs(records: list[logging.LogRecord]) -> dict[str, set[str]]:
    texts = ((record.name, f"{record.getMessage()} {vars(record)!r}") for record in records)
    return {name: found for name, text in texts if (found := canaries_in(text))}


def test_the_search_finds_a_canary_in_each_of_its_spellings() -> None:
    secrets = (CLIENT_ID, CLIENT_SECRET, TOKEN)

    for secret in secrets:
        assert canaries_in(f"said {secret!r}")
        assert canaries_in(urllib.parse.quote(secret, safe=""))
        assert canaries_in(json.dumps({"said": secret}))
        for prefix in ("", ":", "::"):
            assert canaries_in(base64.b64encode(f"{prefix}{secret}".encode()).decode())
            assert canaries_in(base64.urlsafe_b64encode(f"{prefix}{secret}".encode()).decode())


def test_the_search_finds_what_a_frame_holds_and_what_a_context_leads_to() -> None:
    namespace: dict[str, Any] = {}
    code = "def fail(token):\n try: raise KeyError(token)\n except KeyError: raise ValueError"
    exec(compile(code, "/x/mesh_facade/x.py", "exec"), namespace)  # noqa: S102 — a frame of ours

    error = try_call(namespace["fail"], TOKEN).error

    assert error
    assert any("local token" in where for where in leaks(error))
    assert any("__context__" in where for where in leaks(error))


# --- every fault --------------------------------------------------------------------------------


@contextlib.contextmanager
def sync_canaries(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    options: dict[str, Any] = {"timeout": bounds.timeout, "deadline": bounds.deadline}
    with MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url, verify=context, **options) as mesh:
        yield lambda token: mesh.get_account_balance(TOKEN + token, "coinbase").cash("USD")


@contextlib.contextmanager
def async_canaries(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    options: dict[str, Any] = {"timeout": bounds.timeout, "deadline": bounds.deadline}
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url, verify=context, **options)
    with asyncio.Runner() as runner:
        yield lambda token: runner.run(mesh.get_account_balance(TOKEN + token, "coinbase"))
        runner.run(mesh.aclose())


@pytest.fixture
def client_factories() -> Mapping[str, ClientFactory]:
    return {"sync": sync_canaries, "async": async_canaries}


# Python's own: a reset just before a handshake makes it forget a socket, unclosed.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.usefixtures("no_backoff")
def test_no_fault_brings_a_canary_to_light(
    fault: Fault,
    expose_to: Callable[[Fault], dict[str, Observation]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        met = expose_to(attrs.evolve(fault, bounds=BOUNDS))

    errors = {way: seen.outcome.error for way, seen in met.items()}
    assert {way: found for way, error in errors.items() if error and (found := leaks(error))} == {}
    assert leaks_in_logs(caplog.records) == {}


# --- servers that echo --------------------------------------------------------------------------


def _spellings(sent: str) -> dict[str, str]:
    raw = sent.encode()
    return {
        "plain": sent,
        "quoted": urllib.parse.quote(sent, safe=""),
        "quoted for a form": urllib.parse.quote_plus(sent),
        "escaped": json.dumps(sent),
        "base64": base64.b64encode(raw).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode(),
    }


def _echo(status: int, says: str) -> Callable[[Answer], list[bytes]]:
    def script(_: Answer) -> list[bytes]:
        secrets = (CLIENT_ID, CLIENT_SECRET, TOKEN + "22")
        said = [f"{way}: {text}" for secret in secrets for way, text in _spellings(secret).items()]
        text = f"You sent {', '.join(said)}"
        envelope: dict[str, Any] = {
            "status": says,
            "errorType": text,
            "message": text,
            "displayMessage": text,
        }
        envelope |= {"errorHash": text, "errorData": {text: [text, {"deeper": text}]}}
        body = json.dumps(envelope).encode()
        headers = (f"Content-Length: {len(body)}", f"CF-Ray: {CLIENT_SECRET}")
        return [head(*headers, status=f"HTTP/1.1 {status} Said") + body]

    return script


@pytest.mark.parametrize("http_status", [200, 400, 401, 403, 429, 500, 599])
@pytest.mark.parametrize("says", ["badRequest", "serverFailure", "ofTomorrow", "ok", TOKEN + "22"])
def test_an_echo_is_struck_out_of_everything_that_the_error_says(
    mode: Mode, fault_server: FaultServer, http_status: int, says: str
) -> None:
    endpoint = fault_server.open(_echo(http_status, says))
    endpoint.fall_ill()
    mesh = mode.client(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, base_url=endpoint.url, max_attempts=1
    )

    error = try_call(mesh.read, TOKEN + "22").error

    assert isinstance(error, MeshError)
    assert leaks(error) == {}
    if isinstance(error, MeshAPIError):
        assert "[redacted]" in str(error.message)


def test_an_echo_in_what_is_no_http_shows_neither_in_the_error_nor_in_our_log(
    mode: Mode, fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = fault_server.open(lambda answer: [answer.request, CLOSE])
    endpoint.fall_ill()
    keys: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    mesh = mode.client(**keys, base_url=endpoint.url, max_attempts=1)

    with caplog.at_level(logging.DEBUG):
        error = try_call(mesh.read, TOKEN).error

    assert error
    assert leaks(error) == {}
    ours = [record for record in caplog.records if record.name.startswith("mesh_facade")]
    assert ours
    assert leaks_in_logs(ours) == {}


def test_a_secret_of_a_few_letters_is_not_struck_out_of_every_word(
    mode: Mode, fault_server: FaultServer
) -> None:
    body = b'{"status": "badRequest", "message": "a bad broker"}'
    endpoint = fault_server.open(
        lambda _: [head(f"Content-Length: {len(body)}", status="HTTP/1.1 400 Bad Request") + body]
    )
    endpoint.fall_ill()
    mesh = mode.client(client_secret="a", base_url=endpoint.url)

    error = try_call(mesh.read, "b").error

    assert isinstance(error, BadRequestError)
    assert error.message == "a bad broker"


# --- what is no answer --------------------------------------------------------------------------


@pytest.mark.parametrize("token", [TOKEN + "\ud800", [TOKEN], TOKEN.encode()])
def test_an_argument_that_cannot_be_sent_is_refused_without_a_word_about_it(
    mode: Mode, token: Any
) -> None:
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    error = try_call(mesh.read, token).error

    assert isinstance(error, ValueError | TypeError)
    assert leaks(error) == {}


def test_a_secret_function_that_fails_takes_no_secret_along(mode: Mode) -> None:
    def current_secret() -> str:
        raise LookupError("the vault is shut")

    mesh = mode.client(client_id=CLIENT_ID, client_secret=current_secret)

    error = try_call(mesh.read, TOKEN).error

    assert isinstance(error, LookupError)
    assert leaks(error) == {}


def test_errors_that_cause_each_other_take_no_secret_along(mode: Mode) -> None:
    def current_secret() -> str:
        failure = LookupError("the vault is shut")
        failure.__cause__ = failure
        raise failure

    mesh = mode.client(client_id=CLIENT_ID, client_secret=current_secret)

    error = try_call(mesh.read, TOKEN).error

    assert isinstance(error, LookupError)
    assert error.__cause__ is error
    error.__cause__ = None
    assert leaks(error) == {}


def test_errors_that_come_together_take_no_secret_along(mode: Mode) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        def look(where: httpx.Request) -> None:
            raise LookupError(f"not there: {where.url}")

        try:
            look(request)
        except LookupError as error:
            raise ExceptionGroup("failed", [error]) from None

    transport = httpx.MockTransport(respond)
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=transport)

    error = try_call(mesh.read, TOKEN).error

    assert isinstance(error, ExceptionGroup)
    assert leaks(error.exceptions[0]) == {}


@pytest.mark.parametrize("length", [100, 300, 3000])
def test_a_long_secret_is_struck_out_however_often_it_is_said(mode: Mode, length: int) -> None:
    chance = random.Random(length)  # noqa: S311 — the same at each run
    token = "".join(chance.choices(string.ascii_letters, k=length)) + "+/CanaryThree"
    said = f"{token} {token}, {token[:-20]} and {urllib.parse.quote(token, '').lower()} {token}"
    refusal = response(400, envelope("badRequest", message=said))
    mesh = mode.client(transport=Script(refusal), max_attempts=1)

    error = try_call(mesh.read, token).error

    assert "[redacted]" in str(error.message)
    assert "anarythree" not in str(error).lower()


def test_to_strike_out_a_very_long_token_keeps_the_deadline(mode: Mode) -> None:
    token = TOKEN + "x" * 1_000_000
    refusal = response(400, envelope("badRequest", message=f"no such token: {token}"))
    mesh = mode.client(transport=Script(refusal), deadline=1, max_attempts=1)
    began_at = time.monotonic()

    error = try_call(mesh.read, token).error

    assert time.monotonic() - began_at < 3  # to compile it as a pattern took 4.5
    assert isinstance(error, MeshError)
    assert "CanaryThree" not in str(error)


@pytest.mark.parametrize("bad", [CLIENT_SECRET + "\n", CLIENT_SECRET + " ", "é" + CLIENT_SECRET])
def test_a_malformed_key_is_refused_without_echoing_it(mode: Mode, bad: str) -> None:
    for keys in ({"client_id": CLIENT_ID, "client_secret": bad}, {"client_id": bad}):
        with pytest.raises(MeshError) as caught:
            mode.client(**keys)

        assert canaries_in(f"{caught.value!r} {vars(caught.value)}") == set()


def test_a_cancelled_call_takes_no_secret_along(fault_server: FaultServer) -> None:
    struck = asyncio.Event()

    async def call_and_cancel() -> BaseException | None:
        loop = asyncio.get_running_loop()

        def say_nothing(_: Answer) -> list[Step]:
            loop.call_soon_threadsafe(struck.set)
            return [SILENCE]

        endpoint = fault_server.open(say_nothing)
        endpoint.fall_ill()
        async with AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=endpoint.url) as mesh:
            call = asyncio.ensure_future(mesh.get_account_balance(TOKEN, "coinbase"))
            await struck.wait()
            call.cancel()
            await asyncio.wait([call])
            try:
                call.result()
            except asyncio.CancelledError as error:
                return error
        return None

    error = asyncio.run(call_and_cancel())

    assert error
    assert leaks(error) == {}


# --- the client itself --------------------------------------------------------------------------


@pytest.mark.parametrize("helper", [repr, str, ascii, format, lambda mesh: repr(vars(mesh))])
def test_a_client_prints_no_secret(mode: Mode, helper: Callable[[Any], str]) -> None:
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    assert canaries_in(helper(mesh.client)) == set()


@pytest.mark.parametrize(
    "helper",
    [
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        functools.partial(pickle.dumps, protocol=0),
        attrs.asdict,
        attrs.astuple,
        dataclasses.asdict,
        json.dumps,
    ],
)
def test_helpers_that_take_objects_apart_get_no_secret(
    mode: Mode, helper: Callable[[Any], Any]
) -> None:
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    for thing in (mesh.client, *vars(mesh.client).values()):
        taken = try_call(lambda _: helper(thing), "")  # noqa: B023 — called at once

        assert canaries_in(f"{taken.value!r} {taken.error!r}") == set()
