"""The example application's secrets are in no log, error, repr, page or database column."""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.exc import SQLAlchemyError

from examples.balances import tokens
from examples.balances.app import create_app
from examples.balances.store import Store
from mesh_facade.testing import MockServer
from tests.examples.support import Browser, account_token, payload

CANARIES = ["AuthCanary/1+", "RefreshCanary/2+", "TokenIdCanary/3+"]
PAYLOAD = payload(
    account_token(CANARIES[0], refreshToken=CANARIES[1], tokenId=CANARIES[2]),
)
FAULTS = ["server-failure", "null-content", "not-json", "unauthorized-token"]


@pytest.fixture
def secrets(encryption_key: str, mesh: MockServer) -> list[str]:
    return [*CANARIES, encryption_key, mesh.client_secret]


def found_in(text: str, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets if secret in text]


def database_text(url: str) -> str:
    """Return all that is stored: the whole file, or each row of each table."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        files = sorted(path.parent.glob("balances.db*"))
        return "".join(file.read_bytes().decode("latin-1") for file in files)
    rows: list[str] = []
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables.fetchall():
            name = sql.Identifier(table)
            query = sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(name)
            rows += [row for (row,) in connection.execute(query)]
    return "\n".join(rows)


def test_no_secret_is_in_the_database(
    browser: Browser, secrets: list[str], database_url: str
) -> None:
    browser.http.post("/accounts", json=PAYLOAD)
    browser.read()

    text = database_text(database_url)

    assert "account-1" in text  # the dump holds what was stored
    assert found_in(text, secrets) == []


def test_no_secret_is_on_a_page(browser: Browser, mesh: MockServer, secrets: list[str]) -> None:
    answers = [browser.http.post("/accounts", json=PAYLOAD)]
    for fault_name in FAULTS:
        mesh.fails(CANARIES[0], fault_name, times=3)
        answers.append(browser.http.post("/balances/read"))
        answers.append(browser.http.get("/"))
        answers.append(browser.http.get("/balances"))

    texts = [f"{answer.headers} {answer.url} {answer.text}" for answer in answers]

    assert [found_in(text, secrets) for text in texts] == [[]] * len(answers)


def break_database(url: str) -> None:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).write_bytes(b"This is no database." * 500)
    else:
        with psycopg.connect(url) as connection:
            connection.execute("DROP TABLE balance_rows; DROP TABLE accounts")


def wait_for(text: str, caplog: pytest.LogCaptureFixture) -> None:
    limit = time.monotonic() + 10
    while text not in caplog.text:
        assert time.monotonic() < limit, caplog.text
        time.sleep(0.01)


def test_no_secret_is_in_a_log(
    browser: Browser,
    mesh: MockServer,
    secrets: list[str],
    database_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "httpcore")  # its DEBUG prints headers: see the guide
    browser.http.post("/accounts", json=PAYLOAD)
    for fault_name in FAULTS:
        mesh.fails(CANARIES[0], fault_name, times=3)
        browser.read()
    browser.http.post("/accounts", json=payload("malformed"))
    break_database(database_url)
    failed = browser.http.post("/accounts", json=PAYLOAD)

    assert (failed.status_code, failed.text) == (500, "Internal Server Error")
    wait_for("sqlalchemy.exc", caplog)  # the failure is logged after it was answered
    assert found_in(caplog.text, secrets) == []
    records = "\n".join(repr(vars(record)) for record in caplog.records)
    assert found_in(records, secrets) == []


def test_no_secret_is_in_an_error_of_the_database(secrets: list[str], database_url: str) -> None:
    store: Store = create_app().state.store
    accounts = tokens.read_link_payload(PAYLOAD)

    with pytest.raises(SQLAlchemyError, match="accounts") as caught:
        store.link(accounts)  # there is no table yet
    store.close()

    error = caught.value
    text = "".join(traceback.format_exception(error)) + repr(error)
    assert "hide_parameters" in text
    assert found_in(text, secrets) == []
    assert database_url not in text


def test_no_secret_is_in_a_repr(secrets: list[str]) -> None:
    [account] = tokens.read_link_payload(PAYLOAD)
    app = create_app()
    store: Store = app.state.store
    cipher = tokens.TokenCipher(secrets[3])
    store.open()
    store.link([account])
    accounts = [*store.accounts(), *store.readable_accounts()]
    store.close()

    text = repr([account, app, store, cipher, *accounts])

    assert "LinkedAccount(" in text
    assert found_in(text, secrets) == []


def test_the_example_uses_public_names_only() -> None:
    folder = Path(tokens.__file__).parent
    for path in folder.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        imports = [line for line in source.splitlines() if "import" in line and "mesh_" in line]
        for line in imports:
            assert line.startswith(("from mesh_facade import", "from mesh_facade.testing import"))
