"""A function as `client_secret`, sync or async."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from mesh_facade import MeshClient, MeshConfigurationError, MeshTimeoutError
from tests.support import CLIENT_ID, CLIENT_SECRET, OK, TOKEN, Script, response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Clock, Mode, Serve

each_kind_of_function = pytest.mark.parametrize(
    ("mode", "is_awaited"), [("sync", False), ("async", False), ("async", True)], indirect=["mode"]
)


def make_secret_function(
    function: Callable[[], object], *, is_awaited: bool
) -> Callable[[], object]:
    """Return the function, or an async function that returns the same."""

    async def ask() -> object:
        await asyncio.sleep(0)
        return function()

    if is_awaited:
        return ask
    return function


@each_kind_of_function
def test_secret_function_is_called_at_each_attempt(
    mode: Mode, clock: Clock, *, is_awaited: bool
) -> None:
    script = Script(response(500), OK)
    numbers = itertools.count()
    secret = make_secret_function(lambda: f"secret-{next(numbers)}", is_awaited=is_awaited)
    caller = mode.client(client_secret=secret, transport=script)

    caller.read()
    caller.read()

    sent = [request.headers["X-Client-Secret"] for request in script.requests]
    assert sent == ["secret-0", "secret-1", "secret-2"]
    assert clock.pauses


@each_kind_of_function
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
def test_invalid_value_of_a_secret_function_raises_configuration_error(
    mode: Mode, value: Any, problem: str, *, is_awaited: bool
) -> None:
    script = Script(OK)
    secret = make_secret_function(lambda: value, is_awaited=is_awaited)
    caller = mode.client(client_secret=secret, transport=script)

    with pytest.raises(MeshConfigurationError, match=f"^client_secret {problem}") as caught:
        caller.read()

    assert "canary" not in str(caught.value)
    assert script.requests == []


@each_kind_of_function
@pytest.mark.parametrize("value", ["", None])
def test_error_for_a_missing_secret_names_the_function(
    mode: Mode, value: object, *, is_awaited: bool
) -> None:
    secret = make_secret_function(lambda: value, is_awaited=is_awaited)
    caller = mode.client(client_secret=secret, transport=Script(OK))

    with pytest.raises(MeshConfigurationError, match="your function returned None or an empty"):
        caller.read()


@each_kind_of_function
@pytest.mark.parametrize("error_class", [RuntimeError, TimeoutError, httpx.ConnectError])
def test_error_of_a_secret_function_propagates_unchanged(
    mode: Mode, error_class: type[Exception], *, is_awaited: bool
) -> None:
    failure = error_class("the vault is sealed")
    script = Script(OK)
    outcomes: Iterator[Exception | str] = iter([failure, "secret-1"])

    def unseal() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    secret = make_secret_function(unseal, is_awaited=is_awaited)
    caller = mode.client(client_secret=secret, transport=script, max_connections=1)

    with pytest.raises(error_class) as caught:
        caller.read()

    assert caught.value is failure
    assert script.requests == []
    assert caller.read()  # the slot of the connection is free again


@pytest.mark.parametrize(
    ("mode", "is_awaited"), [("sync", False), ("async", True)], indirect=["mode"]
)
def test_slow_secret_function_raises_timeout_error(mode: Mode, *, is_awaited: bool) -> None:
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


def test_coroutine_that_a_secret_function_returns_is_refused(mode: Mode) -> None:
    async def fetch() -> str:
        return CLIENT_SECRET

    async def forget_to_await() -> Any:
        return fetch()

    secret = forget_to_await if mode.is_async else fetch
    script = Script(OK)

    with pytest.raises(MeshConfigurationError, match="await the coroutine in your function"):
        mode.client(client_secret=secret, transport=script).read()

    assert script.requests == []


def test_sync_client_refuses_an_async_secret_function(serve: Serve) -> None:
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


def test_coroutine_in_place_of_an_async_function_is_refused(mode: Mode) -> None:
    async def secret() -> str:
        return CLIENT_SECRET  # pragma: no cover — it is never awaited

    with pytest.raises(MeshConfigurationError, match="pass the async function itself"):
        mode.client(client_secret=secret())


def test_coroutine_in_place_of_the_client_id_is_refused(mode: Mode) -> None:
    async def find_id() -> str:
        return CLIENT_ID  # pragma: no cover — it is never awaited

    with pytest.raises(MeshConfigurationError, match=r"^client_id is a coroutine: pass a string$"):
        mode.client(client_id=cast("str", find_id()))
