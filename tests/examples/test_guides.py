"""The guides about the example and about tokens: their quotes and snippets do as they say."""

from __future__ import annotations

import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mesh_facade import AuthenticationError, MeshTimeoutError
from mesh_facade.testing import MockServer
from tests.docs.pages import DOCS, ROOT, blocks

GUIDES = DOCS / "guides"
EXAMPLE = ROOT / "examples" / "balances"


QUOTES = blocks(GUIDES / "web.md", "py")


def test_the_web_guide_quotes_the_example() -> None:
    assert len(QUOTES) == 8


@pytest.mark.parametrize("quote", QUOTES)
def test_each_quote_in_the_web_guide_is_equal_to_the_example(quote: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in EXAMPLE.glob("*.py")]
    method = textwrap.indent(quote, "    ", predicate=str.strip)

    assert any(quote in source or method in source for source in sources)


def test_the_picture_is_small() -> None:
    assert 0 < (GUIDES / "balances.png").stat().st_size < 150_000


# --- the snippets of the tokens guide -------------------------------------------------------------


class Accounts:
    """What the guide leaves to the application: its database, and Mesh's answers to a refresh."""

    def __init__(self, guide: dict[str, Any], **life: float) -> None:
        self._guide = guide
        expire_at: datetime | None = None
        if life:
            expire_at = datetime.now(UTC) + timedelta(**life)
        self.stored = guide["Tokens"]("coinbase", "token-0", "refresh-0", expire_at)
        self.refreshed: list[str] = []
        self.is_refused = False
        self.is_lost = False

    def load(self, account_id: str) -> Any:
        assert account_id == "account-1"
        return self.stored

    def save(self, account_id: str, tokens: Any) -> None:
        assert account_id == "account-1"
        self.stored = tokens

    def refresh(self, tokens: Any) -> Any:
        self.refreshed.append(tokens.refresh_token)
        if self.is_lost:
            raise MeshTimeoutError("no answer")
        if self.is_refused:
            raise self._guide["RefreshRefused"]
        number = len(self.refreshed)
        expire_at = datetime.now(UTC) + timedelta(hours=1)
        return self._guide["Tokens"](
            tokens.broker, f"token-{number}", f"refresh-{number}", expire_at
        )


@pytest.fixture
def guide(mesh: MockServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, value in mesh.environment.items():
        monkeypatch.setenv(name, value)
    namespace: dict[str, Any] = {"__name__": __name__}  # dataclasses look their module up
    for block in blocks(GUIDES / "tokens.md", "python"):
        exec(block, namespace)  # noqa: S102 — it is our own
    mesh.calls.clear()
    return namespace


def keeper_of(guide: dict[str, Any], accounts: Accounts) -> Any:
    return guide["TokenKeeper"](accounts.load, accounts.save, accounts.refresh)


def read(guide: dict[str, Any], mesh: MockServer, accounts: Accounts) -> Any:
    with mesh.client() as client:
        keeper = keeper_of(guide, accounts)
        return guide["read_balance"](client, keeper, "account-1")


def test_tokens_that_outlast_the_margin_are_used_as_they_are(guide: dict[str, Any]) -> None:
    accounts = Accounts(guide, minutes=6)

    assert keeper_of(guide, accounts).usable("account-1").auth_token == "token-0"
    assert accounts.refreshed == []


def test_tokens_that_expire_within_the_margin_are_refreshed_and_saved(
    guide: dict[str, Any],
) -> None:
    accounts = Accounts(guide, minutes=4)

    assert keeper_of(guide, accounts).usable("account-1").auth_token == "token-1"
    assert accounts.stored.auth_token == "token-1"


def test_threads_that_need_fresh_tokens_refresh_once(guide: dict[str, Any]) -> None:
    accounts = Accounts(guide, minutes=-1)
    keeper = keeper_of(guide, accounts)
    start = threading.Barrier(8)

    def use(_: int) -> str:
        start.wait()
        token: str = keeper.usable("account-1").auth_token
        return token

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(8))) == ["token-1"] * 8
    assert accounts.refreshed == ["refresh-0"]


def test_a_refresh_without_an_answer_is_never_sent_again(guide: dict[str, Any]) -> None:
    accounts = Accounts(guide, minutes=4)
    accounts.is_lost = True
    keeper = keeper_of(guide, accounts)

    used = [keeper.usable("account-1").auth_token for _ in range(2)]
    accounts.stored = replace(accounts.stored, expire_at=datetime.now(UTC))

    assert used == ["token-0", "token-0"]
    with pytest.raises(guide["RefreshRefused"]):
        keeper.usable("account-1")
    assert accounts.refreshed == ["refresh-0"]


def test_a_failed_refresh_of_an_expired_token_raises_its_error(guide: dict[str, Any]) -> None:
    accounts = Accounts(guide, minutes=-1)
    accounts.is_lost = True
    keeper = keeper_of(guide, accounts)

    with pytest.raises(MeshTimeoutError):
        keeper.usable("account-1")
    with pytest.raises(guide["RefreshRefused"]):
        keeper.usable("account-1")
    assert accounts.refreshed == ["refresh-0"]


def test_a_refresh_that_mesh_refuses_leaves_the_old_token_until_it_expires(
    guide: dict[str, Any],
) -> None:
    accounts = Accounts(guide, minutes=4)
    accounts.is_refused = True

    assert keeper_of(guide, accounts).usable("account-1").auth_token == "token-0"
    assert accounts.refreshed == ["refresh-0"]


def test_tokens_without_a_time_are_used_until_mesh_refuses_them(
    guide: dict[str, Any], mesh: MockServer
) -> None:
    accounts = Accounts(guide)
    mesh.answers("token-0", cash={"USD": "6"})
    mesh.answers("token-1", cash={"USD": "7"})

    assert str(read(guide, mesh, accounts).cash("USD")) == "6"
    mesh.fails("token-0", "unauthorized-token")
    assert str(read(guide, mesh, accounts).cash("USD")) == "7"
    assert accounts.refreshed == ["refresh-0"]


def test_a_thread_whose_token_was_replaced_meanwhile_takes_the_new_one(
    guide: dict[str, Any],
) -> None:
    accounts = Accounts(guide, hours=1)
    keeper = keeper_of(guide, accounts)
    refused = accounts.stored
    keeper.replace("account-1", refused)

    assert keeper.replace("account-1", refused).auth_token == "token-1"
    assert accounts.refreshed == ["refresh-0"]


def test_a_dead_token_is_refreshed_once_and_the_balance_read(
    guide: dict[str, Any], mesh: MockServer
) -> None:
    accounts = Accounts(guide, hours=1)
    mesh.fails("token-0", "unauthorized-token")
    mesh.answers("token-1", cash={"USD": "7"})

    assert str(read(guide, mesh, accounts).cash("USD")) == "7"
    assert accounts.refreshed == ["refresh-0"]


def test_a_refused_refresh_means_that_the_account_must_be_linked_again(
    guide: dict[str, Any], mesh: MockServer
) -> None:
    accounts = Accounts(guide, hours=1)
    accounts.is_refused = True
    mesh.fails("token-0", "unauthorized-token")

    with pytest.raises(guide["LinkAgain"], match="account-1"):
        read(guide, mesh, accounts)
    assert accounts.refreshed == ["refresh-0"]


def test_a_token_that_is_dead_after_its_refresh_means_that_the_account_must_be_linked_again(
    guide: dict[str, Any], mesh: MockServer
) -> None:
    accounts = Accounts(guide, hours=1)
    mesh.fails("token-0", "unauthorized-token")
    mesh.fails("token-1", "unauthorized-token")

    with pytest.raises(guide["LinkAgain"], match="account-1"):
        read(guide, mesh, accounts)
    assert accounts.refreshed == ["refresh-0"]


def test_an_authentication_error_without_reconnect_required_refreshes_nothing(
    guide: dict[str, Any], mesh: MockServer
) -> None:
    accounts = Accounts(guide, hours=1)
    mesh.answers("token-0", status=401, body=b"")

    with pytest.raises(AuthenticationError):
        read(guide, mesh, accounts)
    assert accounts.refreshed == []


def test_the_tokens_of_the_guide_hide_in_their_repr(guide: dict[str, Any]) -> None:
    stored = Accounts(guide, hours=1).stored

    assert "token-0" not in repr(stored)
    assert "refresh-0" not in repr(stored)
