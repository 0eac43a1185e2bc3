"""Secrets cannot be reached from a client or from an error."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import traceback
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import (
    MeshAPIError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    ServerError,
)
from tests.engine.support import ScriptedAnswer
from tests.leaks import ECHOED_FIELDS, ECHOED_HEADERS, find_secrets, texts_reachable_from
from tests.support import CLIENT_SECRET, OK, TOKEN, Peer, Script, cash_body, envelope, response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Mode, Serve


def test_repr_of_a_client_shows_no_secret(mode: Mode) -> None:
    client = mode.client(base_url="https://mesh.example").client

    assert repr(client) == f"{type(client).__name__}(base_url='https://mesh.example')"
    assert str(client) == repr(client)
    assert find_secrets(repr(vars(client))) == []
    assert repr(client._runner.engine.authentication) == "Credentials(…)"
    assert find_secrets(repr(client._runner.engine)) == []


@pytest.mark.parametrize("clone", [pickle.dumps, copy.copy, copy.deepcopy])
def test_client_cannot_be_copied_or_pickled(mode: Mode, clone: Callable[[object], object]) -> None:
    client = mode.client().client

    with pytest.raises(TypeError, match=r"pass its options, and build a client where you need it"):
        clone(client)
    with pytest.raises(TypeError, match="secrets"):
        clone(client._runner.engine.authentication)


FAILURES: dict[str, tuple[type[BaseException], ScriptedAnswer]] = {
    "refused": (MeshConnectionError, httpx.ConnectError(TOKEN)),
    "broken": (MeshConnectionError, httpx.ReadError(CLIENT_SECRET)),
    "late": (MeshTimeoutError, httpx.ReadTimeout(TOKEN)),
    "error": (
        MeshAPIError,
        response(400, envelope("badRequest", **ECHOED_FIELDS), ECHOED_HEADERS),
    ),
    "unknown status": (
        MeshAPIError,
        response(200, envelope(TOKEN, **ECHOED_FIELDS), ECHOED_HEADERS),
    ),
    "failed": (
        ServerError,
        response(500, envelope("serverFailure", **ECHOED_FIELDS), ECHOED_HEADERS),
    ),
    "HTML": (ServerError, response(502, TOKEN.encode(), ECHOED_HEADERS)),
    "not JSON": (MeshResponseError, response(200, TOKEN.encode(), ECHOED_HEADERS)),
    "not UTF-8": (MeshResponseError, TOKEN.encode("utf-16")),
    "redirect": (MeshResponseError, response(307, b"", {"Location": f"https://x/?{TOKEN}"})),
    "wrong amount": (MeshResponseError, cash_body(json.dumps(TOKEN))),
    "too large": (MeshResponseError, TOKEN.encode() * 100_000),
    "encoding": (MeshResponseError, response(200, OK, {"Content-Encoding": CLIENT_SECRET})),
    "an error of the transport": (ZeroDivisionError, ZeroDivisionError("its own words")),
}


@pytest.mark.parametrize(("error_class", "answer"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("is_function", [False, True], ids=["fixed", "function"])
def test_secret_cannot_be_reached_from_any_failure(
    mode: Mode, error_class: type[BaseException], answer: ScriptedAnswer, *, is_function: bool
) -> None:
    secret: str | Callable[[], str] = CLIENT_SECRET
    if is_function:
        secret = lambda: CLIENT_SECRET  # noqa: E731 — the shortest secret function
    caller = mode.client(client_secret=secret, transport=Script(answer), max_attempts=1)

    with pytest.raises(error_class) as caught:
        caller.read()

    error = caught.value
    if isinstance(error, MeshError):
        assert error.__cause__ is None
        assert error.__context__ is None
        assert find_secrets("".join(traceback.format_exception_only(error))) == []
        assert find_secrets(repr(error) + repr(pickle.dumps(error, 0)) + str(vars(error))) == []
    found = [text for text in texts_reachable_from([error]) if find_secrets(text)]
    assert found == []


def test_secret_cannot_be_reached_from_an_invalid_argument_error(mode: Mode) -> None:
    caller = mode.client(transport=Script(OK))

    for arguments in ((TOKEN, ""), (TOKEN, None), ([TOKEN], "coinbase"), (TOKEN + "\ud800", "x")):
        with pytest.raises((TypeError, ValueError)) as caught:
            caller.read(*arguments)
        assert [text for text in texts_reachable_from([caught.value]) if find_secrets(text)] == []


def test_secret_cannot_be_reached_from_a_mesh_error_of_the_secret_function(mode: Mode) -> None:
    def secret() -> str:
        try:
            return {"old": "old"}[CLIENT_SECRET]
        except KeyError:
            raise MeshError("the vault is sealed")  # noqa: B904 — as careless code would

    with pytest.raises(MeshError, match="the vault is sealed") as caught:
        mode.client(client_secret=secret, transport=Script(OK)).read()

    assert [text for text in texts_reachable_from([caught.value]) if find_secrets(text)] == []


def test_secret_cannot_be_reached_from_an_interruption(mode: Mode) -> None:
    interruption = asyncio.CancelledError() if mode.is_async else KeyboardInterrupt()
    caller = mode.client(transport=Script(interruption))

    with pytest.raises(type(interruption)) as caught:
        caller.read()

    assert [text for text in texts_reachable_from([caught.value]) if find_secrets(text)] == []


def test_secret_cannot_be_reached_from_a_call_on_a_closed_client(mode: Mode) -> None:
    caller = mode.client(transport=Script(OK))
    caller.close()

    with pytest.raises(MeshError, match="closed") as caught:
        caller.read()

    assert [text for text in texts_reachable_from([caught.value]) if find_secrets(text)] == []


def test_secret_cannot_be_reached_from_a_network_failure(mode: Mode, serve: Serve) -> None:
    def answer_half(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + TOKEN.encode())

    caller = mode.client(base_url=serve(answer_half).url, max_attempts=1)

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert [text for text in texts_reachable_from([caught.value]) if find_secrets(text)] == []
