"""The example application: accounts are linked, balances are read, kept and shown."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Engine, Numeric, Text, event
from sqlalchemy.dialects import postgresql, sqlite

from examples.balances import app, store, tokens
from mesh_facade import AccountBalance, MeshTimeoutError
from mesh_facade.testing import MockServer
from tests.examples.support import (
    Browser,
    account_token,
    cash_of,
    payload,
    running,
)


@contextlib.contextmanager
def other_process(encryption_key: str, database_url: str) -> Iterator[store.Store]:
    """Yield a store of its own for the database, as another process would have."""
    other_store = store.Store(database_url, tokens.TokenCipher(encryption_key))
    try:
        yield other_store
    finally:
        other_store.close()


def balance_of(mesh: MockServer, usd: str) -> AccountBalance:
    """Return a balance whose cash and total are equal."""
    mesh.answers("another-token", cash={"USD": usd}, total_cash_usd=usd)
    with mesh.client() as client:
        return client.get_account_balance("another-token", "coinbase")


# --- linking --------------------------------------------------------------------------------------


def test_each_account_of_a_payload_is_linked(browser: Browser) -> None:
    linked = payload(account_token(account_id="a-1"), account_token(account_id="a-2"))

    answer = browser.http.post("/accounts", json=linked)

    assert (answer.status_code, answer.json()) == (201, {"linked": 2})
    assert [account["account_id"] for account in browser.accounts()] == ["a-1", "a-2"]


def test_a_linked_account_has_no_balance_until_it_is_read(browser: Browser) -> None:
    browser.link()

    [account] = browser.accounts()

    assert (account["balances"], account["read_at"]) == ([], None)
    assert "Coinbase · Main The balance has not been read yet." in browser.text()


def test_the_page_says_when_no_account_is_linked(browser: Browser) -> None:
    assert "No account is linked yet." in browser.text()


def test_the_same_account_at_another_broker_is_another_account(browser: Browser) -> None:
    browser.link(brokerType="coinbase")
    browser.link(brokerType="kraken")

    assert [account["broker"] for account in browser.accounts()] == ["coinbase", "kraken"]


def test_the_time_when_tokens_expire_is_kept(browser: Browser) -> None:
    browser.link(expiresInSeconds=3600)

    [account] = browser.accounts()

    left = datetime.fromisoformat(account["tokens_expire_at"]) - datetime.now(UTC)
    assert timedelta(seconds=3500) < left <= timedelta(seconds=3600)


@pytest.mark.parametrize("seconds", [None, "3600", 0, -1, 10**30, 1.5, True])
def test_an_unusable_lifetime_is_not_kept(seconds: Any) -> None:
    [account] = tokens.read_link_payload(payload(expiresInSeconds=seconds))

    assert account.lifetime is None


@pytest.mark.parametrize("name", [None, "", " ", 7, "two\nlines", "nul\0"])
def test_an_unusable_name_is_replaced_by_what_identifies_the_account(name: Any) -> None:
    account = account_token()
    account["account"]["accountName"] = name

    [linked] = tokens.read_link_payload(payload(account, brokerName=name))

    assert linked.name == "coinbase · account-1"


def test_a_payload_without_a_refresh_token_is_taken_in() -> None:
    [account] = tokens.read_link_payload(payload(account_token(refreshToken=None)))

    assert account.auth_token == "token-canary-1"


def test_the_refresh_token_is_not_stored(
    browser: Browser, encryption_key: str, database_url: str
) -> None:
    browser.link("token-canary-1")

    with other_process(encryption_key, database_url) as other_store:
        [account] = other_store.accounts()
    assert Fernet(encryption_key).decrypt(account.encrypted_token) == b"token-canary-1"


def test_a_token_that_utf_8_cannot_encode_is_taken_in(browser: Browser) -> None:
    body = json.dumps(payload(account_token("half-a-pair-\ud800")))

    answer = browser.http.post(
        "/accounts", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.json() == {"linked": 1}
    assert browser.read()[0]["last_error"] is not None


MALFORMED = [
    ({}, "accessToken is missing"),
    ([], "payload must be a mapping"),
    (None, "body: Field required"),
    ({"delayedAuth": {"refreshToken": "canary"}}, "no access token yet, but delayedAuth"),
    (payload(account_token(token="")), "accessToken.accountTokens[0].accessToken is empty"),
    (payload(account_token(account={})), "accountTokens[0].account.accountId is missing"),
    (payload(account_token(account_id="canary\0")), "accountId must be at most 255 printable"),
    (payload(account_token(account_id="canary" * 50)), "accountId must be at most 255 printable"),
    (payload(brokerType="canary\n"), "accessToken.brokerType must be at most 255 printable"),
    (payload(account_token(), "canary"), "accountTokens[1] must be an object, not str"),
]


@pytest.mark.parametrize(("body", "reason"), MALFORMED)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_malformed_payload_is_answered_with_422_that_names_the_field(
    browser: Browser, body: Any, reason: str
) -> None:
    answer = browser.http.post("/accounts", json=body)

    assert answer.status_code == 422
    assert reason in answer.json()["detail"]
    assert "canary" not in answer.text
    assert browser.accounts() == []


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        ("application/json", '{"accessToken": "canary', "body: JSON decode error"),
        ("text/plain", '{"accessToken": "canary"}', "payload must be a mapping"),
        ("application/x-www-form-urlencoded", "accessToken=canary", "payload must be a mapping"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_body_that_is_not_json_is_answered_with_422(
    browser: Browser, content_type: str, body: str, reason: str
) -> None:
    headers = {"Content-Type": content_type}

    answer = browser.http.post("/accounts", content=body, headers=headers)

    assert answer.status_code == 422
    assert reason in answer.json()["detail"]
    assert "canary" not in answer.text


# --- reading --------------------------------------------------------------------------------------


def test_balances_are_read_and_returned_as_json(browser: Browser, mesh: MockServer) -> None:
    mesh.answers(
        "token-canary-1",
        cash={"USD": "158.50", "EUR": "-102.88", "CHF": None},
        buying_power={"USD": "258.5"},
        total_cash_usd="10",
    )
    browser.link()
    before = datetime.now(UTC)

    [account] = browser.read()

    assert before <= datetime.fromisoformat(account.pop("read_at")) <= datetime.now(UTC)
    nothing = {"buying_power": None, "cryptocurrency_buying_power": None}
    assert account == {
        "id": 1,
        "name": "Coinbase · Main",
        "broker": "coinbase",
        "account_id": "account-1",
        "reconnect_required": False,
        "last_error": None,
        "tokens_expire_at": None,
        "total_cash_usd": "10",
        "total_buying_power_usd": None,
        "balances": [
            {"currency": "USD", "cash": "158.50", **nothing, "buying_power": "258.5"},
            {"currency": "EUR", "cash": "-102.88", **nothing},
            {"currency": "CHF", "cash": None, **nothing},
        ],
    }


def test_balances_are_shown_on_the_page(browser: Browser, mesh: MockServer) -> None:
    mesh.answers("token-canary-1", cash={"USD": "1158.50", "CHF": None}, total_cash_usd="-2")
    browser.link()

    answer = browser.http.post("/")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    text = browser.text()
    assert re.search(r"Read on \d\d \w+ \d{4} at \d\d:\d\d:\d\d UTC", text)
    assert "USD 1,158.50 unknown unknown CHF unknown unknown unknown" in text
    assert "Total in USD, as Mesh reports it -2 unknown" in text


@pytest.mark.parametrize(
    "amount", ["12345678901234567.89", "-0.000000000000000001", "1E+308", "0", "158.50"]
)
def test_amounts_keep_each_digit(browser: Browser, mesh: MockServer, amount: str) -> None:
    mesh.answers("token-canary-1", cash={"USD": amount}, total_cash_usd=amount)
    browser.link()

    [account] = browser.read()

    expected = {"1E+308": f"1{'0' * 308}"}.get(amount, amount)
    assert cash_of(account) == {"USD": expected}
    assert account["total_cash_usd"] == expected
    assert cash_of(browser.accounts()[0]) == {"USD": expected}


def test_a_new_balance_takes_the_place_of_the_last_one(browser: Browser, mesh: MockServer) -> None:
    mesh.answers("token-canary-1", cash={"USD": "1", "EUR": "2"})
    browser.link()
    browser.read()
    mesh.answers("token-canary-1", cash={"EUR": "3"})

    [account] = browser.read()

    assert cash_of(account) == {"EUR": "3"}


def test_totals_and_rows_are_always_of_the_same_balance(
    browser: Browser, mesh: MockServer, encryption_key: str, database_url: str
) -> None:
    """A new balance is stored before each SELECT of the page."""
    browser.link()
    new_balances = [balance_of(mesh, usd) for usd in ("1", "2", "3")]

    with other_process(encryption_key, database_url) as other_store:
        [account] = other_store.readable_accounts()

        def store_new_balance(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("SELECT"):
                other_store.record_balance(account.key, new_balances.pop(0))

        event.listen(Engine, "before_cursor_execute", store_new_balance)
        try:
            [shown] = browser.accounts()
        finally:
            event.remove(Engine, "before_cursor_execute", store_new_balance)

    assert shown["total_cash_usd"] is not None
    assert cash_of(shown) == {"USD": shown["total_cash_usd"]}


def test_an_unprintable_currency_code_is_stored_with_escapes(
    browser: Browser, mesh: MockServer
) -> None:
    mesh.answers("token-canary-1", cash={"US\0D": "7", "€": "8"})
    browser.link()

    [account] = browser.read()

    assert cash_of(account) == {"US\\x00D": "7", "€": "8"}


def test_all_accounts_are_read_with_one_client(browser: Browser, mesh: MockServer) -> None:
    for number in range(30):
        browser.link(f"token-{number:02}", f"account-{number:02}")
        mesh.answers(f"token-{number:02}", cash={"USD": number})

    accounts = browser.read()

    assert [cash_of(account)["USD"] for account in accounts] == [str(n) for n in range(30)]
    assert len(mesh.calls) == 30


def test_concurrent_readings_do_not_double_rows(browser: Browser, mesh: MockServer) -> None:
    for number in range(5):
        browser.link(f"token-{number}", f"account-{number}")
        mesh.answers(f"token-{number}", cash={"USD": "1", "EUR": "2"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: browser.read(), range(16)))

    assert len(mesh.calls) == 16 * 5
    for accounts in [*answers, browser.accounts()]:
        for account in accounts:
            assert [row["currency"] for row in account["balances"]] in ([], ["USD", "EUR"])
    assert all(cash_of(account) == {"USD": "1", "EUR": "2"} for account in browser.accounts())


def test_concurrent_payloads_for_one_account_link_it_once(browser: Browser) -> None:
    first = payload(account_token(account_id="a-1"), account_token(account_id="a-2"))
    second = payload(account_token(account_id="a-2"), account_token(account_id="a-1"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda body: browser.http.post("/accounts", json=body), [first, second] * 8)
        )

    assert {answer.status_code for answer in answers} == {201}
    assert [account["account_id"] for account in browser.accounts()] == ["a-1", "a-2"]


# --- failures -------------------------------------------------------------------------------------


def test_an_account_whose_token_is_dead_must_be_linked_again(
    browser: Browser, mesh: MockServer
) -> None:
    mesh.answers("token-canary-1", cash={"USD": "7"})
    browser.link()
    [before] = browser.read()
    mesh.fails("token-canary-1", "unauthorized-token")

    [account] = browser.read()

    assert account["reconnect_required"] is True
    assert account["last_error"] == "BadRequestError"
    assert cash_of(account) == {"USD": "7"}
    assert account["read_at"] == before["read_at"]
    assert "Coinbase · Main Link this account again." in browser.text()


def test_only_the_account_whose_token_is_dead_is_marked(browser: Browser, mesh: MockServer) -> None:
    mesh.fails("token-1", "unauthorized-token")
    browser.link("token-1", "account-1")
    browser.link("token-2", "account-2")

    accounts = browser.read()

    assert [account["reconnect_required"] for account in accounts] == [True, False]
    assert browser.page().count("Link this account again.") == 1


def test_a_dead_token_is_not_sent_again(browser: Browser, mesh: MockServer) -> None:
    mesh.fails("token-canary-1", "unauthorized-token")
    browser.link()
    browser.read()

    browser.read()

    assert len(mesh.calls) == 1


def test_a_new_payload_for_the_same_account_mends_it(browser: Browser, mesh: MockServer) -> None:
    mesh.fails("token-canary-1", "unauthorized-token")
    browser.link("token-canary-1")
    browser.read()
    mesh.answers("token-canary-2", cash={"USD": "8"})

    browser.link("token-canary-2")

    [account] = browser.accounts()
    assert (account["reconnect_required"], account["last_error"]) == (False, None)
    assert "Link this account again." not in browser.page()
    assert cash_of(browser.read()[0]) == {"USD": "8"}


@pytest.mark.parametrize(
    ("fault_name", "error"),
    [("server-failure", "ServerError"), ("null-content", "MeshResponseError")],
)
def test_another_failure_keeps_the_last_balance_and_shows_the_error_class(
    browser: Browser, mesh: MockServer, fault_name: str, error: str
) -> None:
    mesh.answers("token-canary-1", cash={"USD": "7"})
    browser.link()
    [before] = browser.read()
    mesh.fails("token-canary-1", fault_name)

    [account] = browser.read()

    assert account == before | {"last_error": error}
    assert f"The last attempt to read the balance failed: {error} ." in browser.text()
    assert "Link this account again." not in browser.page()


def test_a_balance_after_a_failure_clears_the_error(browser: Browser, mesh: MockServer) -> None:
    mesh.fails("token-canary-1", "null-content", times=1)
    browser.link()
    assert browser.read()[0]["last_error"] == "MeshResponseError"

    [account] = browser.read()

    assert account["last_error"] is None
    assert "failed" not in browser.page()


@pytest.mark.usefixtures("encryption_key")
@pytest.mark.parametrize("count", [2, 50])
def test_refused_client_keys_are_noted_on_each_account(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setenv("MESH_CLIENT_SECRET", "not-the-secret")
    with running() as browser:
        for number in range(count):
            browser.link(f"token-{number}", f"account-{number}")

        accounts = browser.read()

    assert [account["last_error"] for account in accounts] == ["AuthenticationError"] * count
    assert not any(account["reconnect_required"] for account in accounts)


REFUSE_TO_STORE_ACCOUNT_1 = """
    CREATE TRIGGER refuse BEFORE UPDATE ON accounts WHEN OLD.id = 1
    BEGIN SELECT RAISE(ABORT, 'value-canary'); END
"""


def refuse_to_store_account_1(database_url: str) -> None:
    with contextlib.closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as database:
        database.execute(REFUSE_TO_STORE_ACCOUNT_1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_failure_of_the_database_for_one_account_stops_no_other(
    browser: Browser, mesh: MockServer, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        browser.link(f"token-{number}", f"account-{number}")
        mesh.answers(f"token-{number}", cash={"USD": "7"})
    refuse_to_store_account_1(database_url)

    refused, stored = browser.read()

    assert (cash_of(refused), cash_of(stored)) == ({}, {"USD": "7"})
    [record] = [record for record in caplog.records if record.name == app.__name__]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "Account 1 could not be stored: IntegrityError"
    assert "value-canary" not in caplog.text


@pytest.mark.usefixtures("encryption_key")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_failure_of_the_database_leaves_refused_client_keys_noted_on_the_others(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("MESH_CLIENT_SECRET", "not-the-secret")
    with running() as browser:
        for number in range(50):
            browser.link(f"token-{number}", f"account-{number}")
        refuse_to_store_account_1(database_url)

        accounts = browser.read()

    errors = [account["last_error"] for account in accounts]
    assert errors == [None] + ["AuthenticationError"] * 49


ALIVE = {"status": "ok", "content": {"balances": [{"currencyCode": "USD", "cash": 7}]}}
DEAD = {"status": "badRequest", "errorType": "unauthorizedToken"}


@pytest.mark.parametrize("body", [ALIVE, DEAD])
def test_an_outcome_of_the_old_tokens_does_not_touch_an_account_linked_anew(
    browser: Browser, mesh: MockServer, body: dict[str, Any]
) -> None:
    browser.link("token-canary-1")
    mesh.answers("token-canary-2", cash={"USD": "8"})
    mesh.answers("token-canary-1", body=body, delay=1.0)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(browser.read)
        while not mesh.calls:
            time.sleep(0.01)
        browser.link("token-canary-2")
        [account] = reading.result()

    assert (account["reconnect_required"], account["last_error"]) == (False, None)
    assert account["balances"] == []
    assert cash_of(browser.read()[0]) == {"USD": "8"}


def test_a_balance_read_after_all_with_the_same_token_unmarks_the_account(
    browser: Browser, mesh: MockServer, encryption_key: str, database_url: str
) -> None:
    """Of two readings at a time, Mesh may refuse the token to the first one only."""
    browser.link()
    with other_process(encryption_key, database_url) as other_store:
        [read_twice] = other_store.readable_accounts()
        mesh.fails("token-canary-1", "unauthorized-token", times=1)
        assert browser.read()[0]["reconnect_required"] is True
        with mesh.client() as client:
            balance = client.get_account_balance(read_twice.auth_token, read_twice.broker)

        other_store.record_balance(read_twice.key, balance)

    [account] = browser.accounts()
    assert (account["reconnect_required"], account["last_error"]) == (False, None)


def test_another_error_does_not_unmark_an_account_whose_token_is_dead(
    browser: Browser, mesh: MockServer, encryption_key: str, database_url: str
) -> None:
    """Of two readings at a time, the first one finds the token dead; the second one times out."""
    browser.link()
    mesh.fails("token-canary-1", "unauthorized-token")
    with other_process(encryption_key, database_url) as other_store:
        [read_twice] = other_store.readable_accounts()
        [before] = browser.read()

        other_store.record_error(read_twice.key, MeshTimeoutError("no answer"))

    [account] = browser.accounts()
    assert (account["reconnect_required"], account["last_error"]) == (True, "BadRequestError")
    assert account == before


# --- removing -------------------------------------------------------------------------------------


def remove(browser: Browser, name: str) -> None:
    """Press the button beside the account's name."""
    [number] = re.findall(f'<h2 id="account-([0-9]+)">{name}</h2>', browser.page())
    path = f"/accounts/{number}/remove"
    assert f'action="{path}"><button' in browser.page()
    answer = browser.http.post(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_removed_account_is_gone_and_the_others_stay(
    browser: Browser, mesh: MockServer, encryption_key: str, database_url: str
) -> None:
    browser.link("token-1", "account-1", brokerName="First")
    browser.link("token-2", "account-2", brokerName="Second")
    mesh.answers("token-1", cash={"USD": "1"})
    mesh.answers("token-2", cash={"USD": "2"})
    browser.read()

    remove(browser, "First · Main")

    [account] = browser.accounts()
    assert (account["account_id"], cash_of(account)) == ("account-2", {"USD": "2"})
    with other_process(encryption_key, database_url) as other_store:
        [left] = other_store.readable_accounts()
    assert left.auth_token == "token-2"


@pytest.mark.parametrize("number", ["0", "-1", str(2**31), str(2**63), "first"])
def test_number_that_no_account_can_have_is_refused(browser: Browser, number: str) -> None:
    assert browser.http.post(f"/accounts/{number}/remove").status_code == 422


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_row_of_a_removed_account_is_left_in_sqlite(
    browser: Browser, mesh: MockServer, database_url: str
) -> None:
    """PostgreSQL would refuse to leave one."""
    mesh.answers("token-canary-1", cash={"USD": "1"})
    browser.link()
    browser.read()

    remove(browser, "Coinbase · Main")

    with contextlib.closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as database:
        assert database.execute("SELECT * FROM balance_rows").fetchall() == []


def test_removing_an_account_twice_is_no_error(browser: Browser) -> None:
    browser.link()
    remove(browser, "Coinbase · Main")

    assert browser.http.post("/accounts/1/remove").status_code == 303
    assert browser.accounts() == []


def test_an_outcome_of_a_removed_account_does_not_touch_the_next_account(
    browser: Browser, mesh: MockServer, encryption_key: str, database_url: str
) -> None:
    browser.link("token-1", "account-1")
    with other_process(encryption_key, database_url) as other_store:
        [removed] = other_store.readable_accounts()
        remove(browser, "Coinbase · Main")
        browser.link("token-2", "account-2")

        other_store.record_balance(removed.key, balance_of(mesh, "7"))

    [account] = browser.accounts()
    assert (account["account_id"], account["balances"]) == ("account-2", [])
    assert account["read_at"] is None


# --- the page and the browser -------------------------------------------------------------------


def test_names_and_currencies_are_escaped_on_the_page(browser: Browser, mesh: MockServer) -> None:
    mesh.answers("token-canary-1", cash={"<script>1</script>": "1"})
    browser.link(brokerName="<script>alert('broker')</script>")
    browser.read()

    page = browser.page()

    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;broker&#39;)&lt;/script&gt;" in page
    assert "&lt;script&gt;1&lt;/script&gt;" in page


def test_each_answer_forbids_scripts_and_caches(browser: Browser) -> None:
    for path in ("/", "/balances"):
        headers = browser.http.get(path).headers

        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/balances/read", "/accounts", "/accounts/1/remove"])
def test_a_form_of_another_site_is_refused(browser: Browser, path: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}

    answer = browser.http.post(path, json=payload(), headers=headers)

    assert (answer.status_code, answer.text) == (403, "This request came from another site.")
    assert browser.accounts() == []


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_pages_own_button_is_accepted(browser: Browser, site: str) -> None:
    assert browser.http.post("/", headers={"Sec-Fetch-Site": site}).status_code == 303


def test_another_host_name_for_this_machine_is_refused(browser: Browser) -> None:
    answer = browser.http.get("/balances", headers={"Host": "attacker.example"})

    assert (answer.status_code, answer.text) == (400, "Invalid host header")


# --- the columns, without a database --------------------------------------------------------------


def test_each_kind_of_database_has_a_driver_and_an_insert() -> None:
    assert store.DRIVERS.keys() == store.INSERTS.keys()


def test_an_amount_is_text_in_sqlite() -> None:
    dialect = sqlite.dialect()

    assert isinstance(store.Amount().load_dialect_impl(dialect), Text)
    assert store.Amount().process_bind_param(Decimal("1E+2"), dialect) == "100"


def test_an_amount_is_numeric_in_postgresql() -> None:
    dialect = postgresql.dialect()
    amount = Decimal("12345678901234567.89")

    column = store.Amount().load_dialect_impl(dialect)

    assert isinstance(column, Numeric)
    assert (column.precision, column.scale) == (None, None)
    assert store.Amount().process_bind_param(amount, dialect) is amount


def test_a_time_is_in_utc_whatever_the_database_gives() -> None:
    moment = datetime(2026, 6, 12, 20, 30, tzinfo=UTC)
    column = store.UTCTime()

    for given in (moment.replace(tzinfo=None), moment.astimezone(timezone(timedelta(hours=9)))):
        read = column.process_result_value(given, sqlite.dialect())
        assert (read, read and read.tzinfo) == (moment, UTC)
    assert column.process_result_value(None, sqlite.dialect()) is None
