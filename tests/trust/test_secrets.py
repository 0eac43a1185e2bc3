"""Secrets: no error, log record or object shows one."""

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
import ssl
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from mesh_facade import AsyncMeshClient, MeshClient, MeshError, MeshTimeoutError
from mesh_facade.engine import engine
from tests.faults.catalogue import Bounds, Fault
from tests.faults.observation import Call, ClientFactory, Observation, try_call
from tests.faults.server import SILENCE, Answer, FaultServer, Step
from tests.trust.secret_search import (
    CLIENT_ID,
    CLIENT_SECRET,
    TOKEN,
    canaries_in,
    leaks_in,
    leaks_in_logs,
)

if TYPE_CHECKING:
    from tests.conftest import Mode

BOUNDS = Bounds(timeout=0.1, deadline=0.4)


def test_search_finds_a_canary_in_each_spelling() -> None:
    secrets = (CLIENT_ID, CLIENT_SECRET, TOKEN)

    for secret in secrets:
        assert canaries_in(f"sent {secret!r}")
        assert canaries_in(urllib.parse.quote(secret, safe=""))
        assert canaries_in(json.dumps({"sent": secret}))
        for prefix in ("", ":", "::"):
            assert canaries_in(base64.b64encode(f"{prefix}{secret}".encode()).decode())
            assert canaries_in(base64.urlsafe_b64encode(f"{prefix}{secret}".encode()).decode())


def test_search_finds_locals_of_frames_and_contexts() -> None:
    namespace: dict[str, Any] = {}
    code = "def fail(token):\n try: raise KeyError(token)\n except KeyError: raise ValueError"
    exec(compile(code, "/x/mesh_facade/x.py", "exec"), namespace)  # noqa: S102 — a frame of ours

    error = try_call(namespace["fail"], TOKEN).error

    assert error
    assert any("local token" in where for where in leaks_in(error))
    assert any("__context__" in where for where in leaks_in(error))


@contextlib.contextmanager
def call_with_canaries(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    options: dict[str, Any] = {"timeout": bounds.timeout, "deadline": bounds.deadline}
    with MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url, verify=context, **options) as mesh:
        yield lambda token: mesh.get_account_balance(TOKEN + token, "coinbase").cash("USD")


@contextlib.contextmanager
def call_async_with_canaries(
    url: str, *, context: ssl.SSLContext, bounds: Bounds
) -> Iterator[Call]:
    options: dict[str, Any] = {"timeout": bounds.timeout, "deadline": bounds.deadline}
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url, verify=context, **options)
    with asyncio.Runner() as runner:
        yield lambda token: runner.run(mesh.get_account_balance(TOKEN + token, "coinbase"))
        runner.run(mesh.aclose())


@pytest.fixture
def client_factories() -> Mapping[str, ClientFactory]:
    return {"sync": call_with_canaries, "async": call_async_with_canaries}


@pytest.mark.usefixtures("no_backoff")
def test_no_fault_reveals_a_secret(
    fault: Fault,
    observe_all: Callable[[Fault], dict[str, Observation]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        met = observe_all(attrs.evolve(fault, bounds=BOUNDS))

    errors = {way: seen.outcome.error for way, seen in met.items()}
    leaks = {way: leaks_in(error) for way, error in errors.items() if error}
    assert {way: found for way, found in leaks.items() if found} == {}
    assert leaks_in_logs(caplog.records) == {}


@pytest.mark.parametrize("token", [TOKEN + "\ud800", [TOKEN], TOKEN.encode()])
def test_error_about_an_invalid_argument_does_not_quote_it(mode: Mode, token: Any) -> None:
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    error = try_call(mesh.read, token).error

    assert isinstance(error, ValueError | TypeError)
    assert leaks_in(error) == {}


def test_error_of_a_secret_function_holds_no_secret(mode: Mode) -> None:
    def current_secret() -> str:
        raise LookupError("the vault is shut")

    mesh = mode.client(client_id=CLIENT_ID, client_secret=current_secret)

    error = try_call(mesh.read, TOKEN).error

    assert isinstance(error, LookupError)
    assert leaks_in(error) == {}


def test_errors_that_cause_each_other_hold_no_secret(mode: Mode) -> None:
    def current_secret() -> str:
        failure = LookupError("the vault is shut")
        failure.__cause__ = failure
        raise failure

    mesh = mode.client(client_id=CLIENT_ID, client_secret=current_secret)

    error = try_call(mesh.read, TOKEN).error

    assert isinstance(error, LookupError)
    assert error.__cause__ is error
    error.__cause__ = None
    assert leaks_in(error) == {}


def test_exception_group_holds_no_secret(mode: Mode) -> None:
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
    assert leaks_in(error.exceptions[0]) == {}


@pytest.mark.parametrize("bad", [CLIENT_SECRET + "\n", CLIENT_SECRET + " ", "é" + CLIENT_SECRET])
def test_error_about_a_malformed_key_does_not_quote_it(mode: Mode, bad: str) -> None:
    for keys in ({"client_id": CLIENT_ID, "client_secret": bad}, {"client_id": bad}):
        with pytest.raises(MeshError) as caught:
            mode.client(**keys)

        assert canaries_in(f"{caught.value!r} {vars(caught.value)}") == set()


@pytest.mark.parametrize(
    "options",
    [
        {"client_secret": f"{CLIENT_SECRET}\n"},
        {"environment": "moon"},
        {"base_url": "ftp://nowhere"},
        {"timeout": -1},
        {"proxy": "gopher://proxy"},
    ],
    ids=str,
)
def test_error_about_an_option_leads_to_no_key(mode: Mode, options: dict[str, Any]) -> None:
    keys = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}

    with pytest.raises(MeshError) as caught:
        mode.client_class(**{**keys, **options})

    assert leaks_in(caught.value) == {}


def test_error_about_a_limit_of_a_sibling_client_leads_to_no_key(mode: Mode) -> None:
    caller = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    with pytest.raises(MeshError) as caught:
        caller.client.with_options(timeout=-1)

    assert leaks_in(caught.value) == {}


def test_call_that_is_cancelled_before_its_first_step_leads_to_no_secret() -> None:
    async def cancel_before_the_first_step() -> list[BaseException]:
        mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET)
        errors: list[BaseException] = []
        call = asyncio.create_task(mesh.get_account_balance(TOKEN, "coinbase"))
        closing = asyncio.create_task(mesh.aclose())
        call.cancel()
        closing.cancel()
        for task in (call, closing):
            try:
                await task
            except asyncio.CancelledError as error:
                errors.append(error)
        try:
            await asyncio.wait_for(mesh.get_account_balance(TOKEN, "coinbase"), 0)
        except TimeoutError as error:
            errors.append(error)
        return errors

    errors = asyncio.run(cancel_before_the_first_step())

    assert len(errors) == 3
    assert [leaks_in(error) for error in errors] == [{}, {}, {}]


def test_coroutine_that_never_begins_names_the_method(recwarn: pytest.WarningsRecorder) -> None:
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET)

    mesh.get_account_balance(TOKEN, "coinbase")

    [warning] = recwarn
    assert str(warning.message) == (
        "coroutine 'AsyncMeshClient.get_account_balance' was never awaited"
    )


def test_error_that_a_transport_keeps_leads_to_no_secret(mode: Mode) -> None:
    kept = httpx.ConnectError("down")

    def fail(_: httpx.Request) -> httpx.Response:
        raise kept

    transport = httpx.MockTransport(fail)
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=transport)

    assert try_call(mesh.read, TOKEN).error

    assert leaks_in(kept) == {}


def test_causes_and_request_of_an_error_that_a_transport_keeps_lead_to_no_secret(
    mode: Mode,
) -> None:
    kept: list[httpx.ConnectError] = []

    def fail_to_send(request: httpx.Request) -> httpx.Response:
        raise OSError(f"{request.method} failed")

    def fail(request: httpx.Request) -> httpx.Response:
        try:
            return fail_to_send(request)
        except OSError as error:
            kept.append(httpx.ConnectError("down", request=request))
            raise kept[-1] from error

    transport = httpx.MockTransport(fail)
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=transport)

    assert try_call(mesh.read, TOKEN).error

    assert [leaks_in(error) for error in kept] == [{}] * 3  # an error for each attempt


def test_cancellation_that_a_secret_function_keeps_leads_to_no_secret() -> None:
    kept: list[asyncio.CancelledError] = []

    async def wait_for_ever() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            kept.append(error)
            raise
        return CLIENT_SECRET

    async def read() -> None:
        async with AsyncMeshClient(CLIENT_ID, wait_for_ever, deadline=0.05) as mesh:
            await mesh.get_account_balance(TOKEN, "coinbase")

    with pytest.raises(MeshTimeoutError):
        asyncio.run(read())

    assert [leaks_in(error) for error in kept] == [{}]


def test_timeout_error_that_a_secret_function_keeps_leads_to_no_secret(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = TimeoutError("the vault is slow")

    def fail_late() -> str:
        monkeypatch.setattr(engine, "_has_passed", lambda _: True)
        raise kept

    mesh = mode.client(client_id=CLIENT_ID, client_secret=fail_late)

    assert type(try_call(mesh.read, TOKEN).error) is MeshTimeoutError
    assert leaks_in(kept) == {}


def test_request_of_an_error_within_a_group_is_dropped(mode: Mode) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        status_error = httpx.HTTPStatusError(
            "bad", request=request, response=httpx.Response(500, request=request)
        )
        raise ExceptionGroup("failed", [httpx.ConnectError("down", request=request), status_error])

    transport = httpx.MockTransport(respond)
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=transport)

    error = try_call(mesh.read, TOKEN).error

    assert isinstance(error, ExceptionGroup)
    connect_error, status_error = error.exceptions
    assert isinstance(status_error, httpx.HTTPStatusError)
    for stripped in (connect_error, status_error, status_error.response):
        with pytest.raises(RuntimeError):
            _ = stripped.request  # type: ignore[union-attr]


@pytest.mark.parametrize("option", ["environment", "timeout", "deadline", "max_attempts"])
def test_error_about_an_option_quotes_no_object_that_may_hold_a_secret(
    mode: Mode, option: str
) -> None:
    keys = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}

    for value in (keys, CLIENT_SECRET, f"sk_sandbox_{'0' * 8}"):
        with pytest.raises(MeshError) as caught:
            mode.client_class(**keys, **{option: value})

        assert canaries_in(str(caught.value)) == set()
        assert "sandbox_0" not in str(caught.value)


class UnclosableTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A caller's transport that fails when it is closed."""

    def close(self) -> None:
        raise OSError("cannot be closed")

    async def aclose(self) -> None:
        raise OSError("cannot be closed")


def test_error_of_a_transport_that_cannot_be_closed_leads_to_no_key() -> None:
    keys = (CLIENT_ID, CLIENT_SECRET)
    with pytest.raises(OSError, match="cannot be closed") as of_close:
        MeshClient(*keys, transport=UnclosableTransport()).close()
    with (
        pytest.raises(OSError, match="cannot be closed") as of_exit,
        MeshClient(*keys, transport=UnclosableTransport()),
    ):
        pass

    assert (leaks_in(of_close.value), leaks_in(of_exit.value)) == ({}, {})


def test_error_of_an_async_transport_that_cannot_be_closed_leads_to_no_key() -> None:
    async def enter_and_leave() -> None:
        async with AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, transport=UnclosableTransport()):
            pass

    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, transport=UnclosableTransport())
    with pytest.raises(OSError, match="cannot be closed") as of_aclose:
        asyncio.run(mesh.aclose())
    with pytest.raises(OSError, match="cannot be closed") as of_exit:
        asyncio.run(enter_and_leave())

    assert (leaks_in(of_aclose.value), leaks_in(of_exit.value)) == ({}, {})


def test_error_about_closing_outside_an_event_loop_leads_to_no_key() -> None:
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET)

    with pytest.raises(MeshError) as caught:
        mesh.aclose().send(None)

    assert leaks_in(caught.value) == {}


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy, pickle.dumps])
def test_error_about_copying_leads_to_no_key(
    mode: Mode, make_copy: Callable[[object], object]
) -> None:
    caller = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    with pytest.raises(TypeError, match="cannot be copied or pickled") as caught:
        make_copy(caller.client)

    assert leaks_in(caught.value) == {}


def test_cancelled_call_holds_no_secret(fault_server: FaultServer) -> None:
    is_asked = asyncio.Event()

    async def call_and_cancel() -> BaseException | None:
        loop = asyncio.get_running_loop()

        def stay_silent(_: Answer) -> list[Step]:
            loop.call_soon_threadsafe(is_asked.set)
            return [SILENCE]

        endpoint = fault_server.open(stay_silent)
        endpoint.start_fault()
        async with AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=endpoint.url) as mesh:
            call = asyncio.ensure_future(mesh.get_account_balance(TOKEN, "coinbase"))
            await is_asked.wait()
            call.cancel()
            await asyncio.wait([call])
            try:
                call.result()
            except asyncio.CancelledError as error:
                return error
        return None

    error = asyncio.run(call_and_cancel())

    assert error
    assert leaks_in(error) == {}


@pytest.mark.parametrize("helper", [repr, str, ascii, format, lambda mesh: repr(vars(mesh))])
def test_client_prints_no_secret(mode: Mode, helper: Callable[[Any], str]) -> None:
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
def test_copying_and_serializing_functions_get_no_secret(
    mode: Mode, helper: Callable[[Any], Any]
) -> None:
    mesh = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    for thing in (mesh.client, *vars(mesh.client).values()):
        taken = try_call(lambda _: helper(thing), "")  # noqa: B023 — called at once

        assert canaries_in(f"{taken.value!r} {taken.error!r}") == set()
