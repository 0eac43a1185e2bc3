"""No token is shown by accounts and outcomes."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest

from mesh_facade import LinkedAccount, MeshError
from tests.bulk.support import Accounts, CountingTransport, only_async, only_sync, read_all
from tests.trust.secret_search import CLIENT_ID, CLIENT_SECRET, TOKEN, leaks_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import Mode


def test_repr_of_account_and_outcome_shows_no_token(mode: Mode) -> None:
    account = LinkedAccount("canary-0005", "coinbase", "a-key")

    [outcome] = read_all(mode.client(transport=CountingTransport()), [account])

    assert repr(account) == "LinkedAccount(broker='coinbase', key='a-key')"
    assert "a-key" in repr(outcome)
    assert "canary" not in repr(outcome)


class InputError(Exception):
    """What the input raises."""


def fail_after_one_account() -> Iterator[LinkedAccount]:
    yield LinkedAccount(TOKEN, "coinbase")
    raise InputError


def interrupt_after_one_account() -> Iterator[LinkedAccount]:
    yield LinkedAccount(TOKEN, "coinbase")
    raise KeyboardInterrupt


async def fail_after_one_account_in_a_task() -> AsyncIterator[LinkedAccount]:
    yield LinkedAccount(TOKEN, "coinbase")
    raise InputError


def error_of_a_run(mode: Mode, accounts: Accounts) -> InputError:
    """Return the error with which the input of a run ends it."""
    caller = mode.client(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=CountingTransport()
    )
    with pytest.raises(InputError) as caught:
        read_all(caller, accounts)
    return caught.value


def test_error_of_the_input_leads_to_no_secret(mode: Mode) -> None:
    error = error_of_a_run(mode, fail_after_one_account())

    assert leaks_in(error) == {}
    assert "fail_after_one_account" in "".join(traceback.format_exception(error))


@only_sync
def test_interruption_of_a_run_leads_to_no_secret(mode: Mode) -> None:
    caller = mode.client(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=CountingTransport()
    )

    with pytest.raises(KeyboardInterrupt) as caught:
        read_all(caller, interrupt_after_one_account())

    assert leaks_in(caught.value) == {}


@only_async
def test_error_of_an_async_input_leads_to_no_secret(mode: Mode) -> None:
    error = error_of_a_run(mode, fail_after_one_account_in_a_task())

    assert leaks_in(error) == {}
    assert "fail_after_one_account_in_a_task" in "".join(traceback.format_exception(error))


def test_error_about_an_option_of_a_run_leads_to_no_secret(mode: Mode) -> None:
    caller = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    with pytest.raises(MeshError) as caught:
        caller.client.get_account_balances([LinkedAccount(TOKEN, "coinbase")], concurrency=0)

    assert leaks_in(caught.value) == {}


def test_error_about_a_link_payload_leads_to_no_token() -> None:
    token = {"account": {"accountId": 5}, "accessToken": TOKEN}
    payload = {"accessToken": {"brokerType": "coinbase", "accountTokens": [token]}}

    with pytest.raises(TypeError) as caught:
        LinkedAccount.from_link_payload(payload)

    del payload, token
    assert leaks_in(caught.value) == {}
