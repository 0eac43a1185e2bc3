"""Outcomes: one for each account, whatever happens to the others."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from mesh_facade import (
    BadRequestError,
    LinkedAccount,
    MeshAPIError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    PermissionDeniedError,
    ServerError,
)
from mesh_facade.testing import MockServer
from tests.bulk.support import CountingTransport, connect_to, make_accounts, read_all
from tests.support import OK, Peer, Script, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode, Serve

TEN_FAULTS: dict[str, type[MeshError]] = {
    "truncated": MeshConnectionError,
    "server-failure": ServerError,
    "html-502": ServerError,
    "unauthorized-token": BadRequestError,
    "permission-denied": PermissionDeniedError,
    "unknown-status": MeshAPIError,
    "null-content": MeshResponseError,
    "not-json": MeshResponseError,
    "reset": MeshConnectionError,
    "redirect": MeshResponseError,
}


def test_each_account_gets_one_outcome_with_its_own_balance(mode: Mode, mesh: MockServer) -> None:
    for account in make_accounts(60):
        mesh.answers(account.auth_token, cash={"USD": account.key})
    caller = connect_to(mesh, mode)

    outcomes = read_all(caller, make_accounts(60), concurrency=7)

    assert {each.account.key: each.balance.cash("USD") for each in outcomes} == {
        key: Decimal(key) for key in range(60)
    }
    assert len(outcomes) == 60
    assert {(each.error, each.attempts) for each in outcomes} == {(None, 1)}
    assert all(0 < each.elapsed < 10 for each in outcomes)


def test_outcomes_come_in_order_of_completion(mode: Mode, mesh: MockServer) -> None:
    mesh.answers("token-0", delay=0.3)
    mesh.answers("token-1", delay=0.15)
    caller = connect_to(mesh, mode)

    assert [each.account.key for each in read_all(caller, make_accounts(3))] == [2, 1, 0]


def test_error_of_one_account_does_not_stop_the_others(mode: Mode, mesh: MockServer) -> None:
    for fault in TEN_FAULTS:
        mesh.fails(fault, fault)
    mesh.answers("good", cash={"USD": 1})
    tokens = [token for fault in TEN_FAULTS for token in (fault, "good")]
    caller = connect_to(mesh, mode, max_attempts=1)

    outcomes = read_all(caller, [LinkedAccount(token, "x", token) for token in tokens])

    good = [each for each in outcomes if each.account.key == "good"]
    bad = {each.account.key: each for each in outcomes if each.account.key != "good"}
    assert {type(each.error) for each in good} == {type(None)}
    assert len(good) == len(TEN_FAULTS)
    assert {key: type(each.error) for key, each in bad.items()} == TEN_FAULTS
    assert {each.balance for each in bad.values()} == {None}


@pytest.mark.parametrize(("token", "error_class"), [("", ValueError), (None, TypeError)])
def test_invalid_arguments_become_a_failed_outcome(
    mode: Mode, token: Any, error_class: type[Exception]
) -> None:
    accounts = [LinkedAccount(token, "coinbase", "bad"), LinkedAccount("token", "coinbase", "good")]

    outcomes = read_all(mode.client(transport=CountingTransport()), accounts, concurrency=1)

    bad, good = outcomes
    assert (type(bad.error), bad.balance, bad.attempts) == (error_class, None, 0)
    assert good.balance is not None


def test_outcome_counts_attempts(mode: Mode, clock: Clock) -> None:
    caller = mode.client(transport=Script(response(503, b""), OK))

    [outcome] = read_all(caller, make_accounts(1))

    assert (outcome.attempts, outcome.error) == (2, None)
    assert clock.pauses


def test_no_accounts_give_no_outcomes(mode: Mode) -> None:
    assert read_all(mode.client(transport=CountingTransport()), []) == []


def test_closed_client_gives_each_account_its_error(mode: Mode) -> None:
    caller = mode.client(transport=CountingTransport())
    caller.close()

    assert [str(each.error) for each in read_all(caller, make_accounts(2))] == [
        "this client is closed"
    ] * 2


def test_deadline_of_with_options_applies_to_a_run(mode: Mode, serve: Serve) -> None:
    caller = mode.client(base_url=serve(Peer.hold).url).with_options(deadline=0.1)

    [outcome] = read_all(caller, make_accounts(1))

    assert type(outcome.error) is MeshTimeoutError


@pytest.mark.parametrize("status", [200, 503])
def test_accounts_and_outcomes_can_be_pickled(mode: Mode, status: int) -> None:
    transport = CountingTransport(lambda _: response(status))

    [outcome] = read_all(mode.client(transport=transport, max_attempts=1), make_accounts(1))
    copied = pickle.loads(pickle.dumps(outcome))  # noqa: S301 — it was pickled here

    assert copied.account == outcome.account == LinkedAccount("token-0", "coinbase", key=0)
    assert copied.balance == outcome.balance
    assert (type(copied.error), str(copied.error)) == (type(outcome.error), str(outcome.error))
    assert (copied.attempts, copied.elapsed) == (outcome.attempts, outcome.elapsed)


def test_key_of_an_account_may_be_any_object_or_missing() -> None:
    assert LinkedAccount("token", "coinbase").key is None
    assert LinkedAccount("token", "coinbase", key=("a", 1)).key == ("a", 1)
