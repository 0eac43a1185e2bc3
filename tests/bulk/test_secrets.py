"""No token is shown by accounts and outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh_facade import LinkedAccount
from tests.bulk.support import CountingTransport, read_all

if TYPE_CHECKING:
    from tests.conftest import Mode


def test_repr_of_account_and_outcome_shows_no_token(mode: Mode) -> None:
    account = LinkedAccount("canary-0005", "coinbase", "a-key")

    [outcome] = read_all(mode.client(transport=CountingTransport()), [account])

    assert repr(account) == "LinkedAccount(broker='coinbase', key='a-key')"
    assert "a-key" in repr(outcome)
    assert "canary" not in repr(outcome)
