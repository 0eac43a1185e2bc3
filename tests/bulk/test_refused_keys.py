"""When refused keys end a run, and when a 401 is only an outcome."""

from __future__ import annotations

import asyncio
import threading
import traceback
from typing import TYPE_CHECKING

import httpx

from mesh_facade import AuthenticationError, LinkedAccount
from tests.bulk.support import (
    CountingTransport,
    make_accounts,
    only_async,
    open_run,
    read_all,
    take_until_error,
)
from tests.support import response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Mode


def unauthorized(_: str = "") -> httpx.Response:
    return response(401, b"")


def test_refused_keys_end_the_run_after_the_calls_in_flight(mode: Mode) -> None:
    transport = CountingTransport(unauthorized)

    with open_run(mode.client(transport=transport), make_accounts(2000)) as outcomes:
        keys, error = take_until_error(outcomes, AuthenticationError)

    assert sorted(keys) == list(range(len(transport.tokens)))
    assert 20 <= len(keys) <= 40
    assert (type(error), getattr(error, "http_status", None)) == (AuthenticationError, 401)


def test_keys_that_are_refused_later_end_the_run(mode: Mode) -> None:
    are_accepted_keys_read = threading.Event()

    def answer(token: str) -> httpx.Response:
        if int(token[6:]) < 30:
            return response()
        if not mode.is_async:  # tasks end in the order in which they began
            are_accepted_keys_read.wait(5)
        return unauthorized()

    caller = mode.client(transport=CountingTransport(answer))

    with open_run(caller, make_accounts(2000), concurrency=3) as outcomes:
        keys = [next(outcomes).account.key for _ in range(30)]
        are_accepted_keys_read.set()
        refused, _ = take_until_error(outcomes, AuthenticationError)
        keys += refused

    assert set(range(35)) <= set(keys)
    assert len(keys) <= 38


def test_single_401_is_an_outcome_and_does_not_end_the_run(mode: Mode) -> None:
    transport = CountingTransport(
        lambda token: unauthorized() if token == "token-2" else response()
    )

    outcomes = read_all(mode.client(transport=transport), make_accounts(50))

    assert {each.account.key: type(each.error) for each in outcomes if each.error} == {
        2: AuthenticationError
    }
    assert len(outcomes) == 50


def test_four_refused_accounts_do_not_end_the_run(mode: Mode) -> None:
    outcomes = read_all(
        mode.client(transport=CountingTransport(unauthorized)), make_accounts(4), concurrency=1
    )

    assert [type(each.error) for each in outcomes] == [AuthenticationError] * 4


def test_success_resets_the_count_of_refusals(mode: Mode) -> None:
    transport = CountingTransport(
        lambda token: response() if int(token[6:]) % 5 == 4 else unauthorized()
    )

    outcomes = read_all(mode.client(transport=transport), make_accounts(50), concurrency=1)

    assert len(outcomes) == 50


def test_repeated_refusals_of_one_account_do_not_end_the_run(mode: Mode) -> None:
    accounts = [LinkedAccount("token", "coinbase", "mine")] * 50

    assert len(read_all(mode.client(transport=CountingTransport(unauthorized)), accounts)) == 50


def test_network_failures_neither_reset_nor_increase_the_count_of_refusals(mode: Mode) -> None:
    def answer(token: str) -> httpx.Response:
        if int(token[6:]) % 2:
            raise httpx.ConnectError("")
        return unauthorized()

    transport = CountingTransport(answer)
    caller = mode.client(transport=transport, max_attempts=1)

    with open_run(caller, make_accounts(100), concurrency=1) as outcomes:
        keys, _ = take_until_error(outcomes, AuthenticationError)

    assert keys == list(range(9))


def test_accounts_that_cannot_be_sent_do_not_reset_the_count_of_refusals(mode: Mode) -> None:
    accounts = [
        LinkedAccount("" if key % 2 else f"token-{key}", "coinbase", key) for key in range(100)
    ]
    caller = mode.client(transport=CountingTransport(unauthorized))

    with open_run(caller, accounts, concurrency=1) as outcomes:
        keys, _ = take_until_error(outcomes, AuthenticationError)

    assert keys == list(range(9))


def test_refused_keys_are_raised_even_if_all_accounts_were_drawn(mode: Mode) -> None:
    transport = CountingTransport(unauthorized, seconds=lambda _: 0.2)

    with open_run(mode.client(transport=transport), make_accounts(5), concurrency=5) as outcomes:
        keys, _ = take_until_error(outcomes, AuthenticationError)

    assert sorted(keys) == [0, 1, 2, 3, 4]


def test_expired_user_tokens_do_not_end_the_run(mode: Mode) -> None:
    body = b'{"errorType": "unauthorizedToken"}'

    outcomes = read_all(
        mode.client(transport=CountingTransport(lambda _: response(401, body))), make_accounts(30)
    )

    assert {type(each.error) for each in outcomes} == {AuthenticationError}
    assert len(outcomes) == 30


def test_traceback_of_refused_keys_holds_no_token(mode: Mode) -> None:
    transport = CountingTransport(unauthorized)
    accounts = [LinkedAccount(f"canary-{number}", "coinbase") for number in range(5)]
    with open_run(mode.client(transport=transport), accounts, concurrency=5) as outcomes:
        _, error = take_until_error(outcomes, AuthenticationError)

    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if "mesh_facade" in frame.f_code.co_filename]
    known = [repr(value) for frame in own for value in frame.f_locals.values()]
    assert own
    assert "canary" not in "".join(known)
    assert error.__context__ is None


@only_async
def test_run_that_ends_early_does_not_wait_for_its_input(mode: Mode) -> None:
    async def five_and_then_none_for_ever() -> AsyncIterator[LinkedAccount]:
        for account in make_accounts(5):
            yield account
        await asyncio.Event().wait()

    client = mode.client(transport=CountingTransport(unauthorized))

    with open_run(client, five_and_then_none_for_ever(), concurrency=5) as outcomes:
        keys, _ = take_until_error(outcomes, AuthenticationError)

    assert sorted(keys) == [0, 1, 2, 3, 4]


def test_unhashable_key_of_a_refused_account_does_no_harm(mode: Mode) -> None:
    accounts = [LinkedAccount("a-token", "coinbase", {"row": 1})]

    [outcome] = read_all(mode.client(transport=CountingTransport(unauthorized)), accounts)

    assert outcome.account.key == {"row": 1}
    assert isinstance(outcome.error, AuthenticationError)
