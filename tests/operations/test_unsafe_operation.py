"""An operation that is unsafe to repeat is never sent twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import httpx
import pytest

import mesh_facade
from mesh_facade import MeshError, bulk, client
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE
from tests.bulk.support import make_accounts, rate_limited, read_all
from tests.engine.support import ScriptedAnswer
from tests.support import OK, Peer, Script, envelope, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode, Serve

FAILURES: dict[str, ScriptedAnswer] = {
    "refused": httpx.ConnectError(""),
    "reset": httpx.ReadError(""),
    "write failed": httpx.WriteError(""),
    "truncated": httpx.RemoteProtocolError(""),
    "read timeout": httpx.ReadTimeout(""),
    "connect timeout": httpx.ConnectTimeout(""),
    "408": response(408, b""),
    "429": response(429, b""),
    "429 with Retry-After": rate_limited(0),
    "500": response(500, b""),
    "503 with Retry-After": response(503, b"", {"Retry-After": "0"}),
    "serverFailure": response(200, envelope("serverFailure")),
}


@pytest.fixture
def _balance_is_unsafe_to_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients take reading a balance for something that changes the account."""
    operation = attrs.evolve(GET_ACCOUNT_BALANCE, is_safe_to_repeat=False)
    monkeypatch.setattr(client, "GET_ACCOUNT_BALANCE", operation)
    monkeypatch.setattr(bulk, "GET_ACCOUNT_BALANCE", operation)


@pytest.mark.usefixtures("_balance_is_unsafe_to_repeat")
def test_unsafe_operation_is_not_sent_again_on_a_new_connection(mode: Mode, serve: Serve) -> None:
    def answer_once(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()

    server = serve(answer_once)
    caller = mode.client(base_url=server.url)
    caller.read()

    with pytest.raises(mesh_facade.MeshConnectionError):
        caller.read()

    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.usefixtures("_balance_is_unsafe_to_repeat")
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_unsafe_operation_is_not_repeated_after_any_failure(
    mode: Mode, clock: Clock, failure: ScriptedAnswer
) -> None:
    script = Script(failure, OK)

    with pytest.raises(MeshError) as caught:
        mode.client(transport=script, max_attempts=9).read()

    assert caught.value.attempts == 1
    assert len(script.requests) == 1
    assert clock.pauses == []


@pytest.mark.usefixtures("_balance_is_unsafe_to_repeat")
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_unsafe_operation_is_not_repeated_in_a_bulk_run(
    mode: Mode, clock: Clock, failure: ScriptedAnswer
) -> None:
    script = Script(failure, OK)

    first, second = read_all(mode.client(transport=script), make_accounts(2), concurrency=1)

    assert isinstance(first.error, MeshError)
    assert first.attempts == 1
    assert second.balance is not None
    assert len(script.requests) == 2
    assert clock.pauses == []


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_safe_operation_is_repeated_after_each_of_these_failures(
    mode: Mode, clock: Clock, failure: ScriptedAnswer
) -> None:
    script = Script(failure, OK)

    mode.client(transport=script).read()

    assert len(script.requests) == 2
    assert len(clock.pauses) == 1
