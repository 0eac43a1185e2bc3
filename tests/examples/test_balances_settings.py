"""The example application's variables: what is missing or wrong is one clear error."""

from __future__ import annotations

import asyncio
import traceback

import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI

from examples.balances.app import create_app, lifespan
from examples.balances.store import DEFAULT_URL
from examples.balances.tokens import SettingsError, TokenCipher
from mesh_facade import MeshConfigurationError
from mesh_facade.testing import MockServer
from tests.docs.pages import ROOT
from tests.examples.support import cash_of, running

MAKE_A_KEY = "Fernet.generate_key().decode())"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_encryption_key_is_an_error_that_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("BALANCES_ENCRYPTION_KEYS", raising=False)
    if value is not None:
        monkeypatch.setenv("BALANCES_ENCRYPTION_KEYS", value)

    with pytest.raises(SettingsError) as caught:
        create_app()

    assert str(caught.value) == (
        "BALANCES_ENCRYPTION_KEYS is missing: make one with: python -c "
        '"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
    )


def test_the_command_that_the_error_names_makes_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        TokenCipher("")
    command = str(caught.value).split('"')[1]

    exec(command, {})  # noqa: S102 — it is our own

    TokenCipher(capsys.readouterr().out)


@pytest.mark.parametrize("wrong", ["canary", "canary" * 10, "", "canäry"])
def test_a_malformed_encryption_key_is_an_error_that_does_not_quote_it(wrong: str) -> None:
    keys = f"{Fernet.generate_key().decode()},{wrong}"

    with pytest.raises(SettingsError) as caught:
        TokenCipher(keys)

    assert "BALANCES_ENCRYPTION_KEYS: key 2 is not a Fernet key; make one" in str(caught.value)
    text = "".join(traceback.format_exception(caught.value))
    assert all(key not in text for key in keys.split(",") if key)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://user:canary@host/db", "names an unknown kind of database, 'mysql'"),
        ("canary", "is not a database URL"),
        ("", "is not a database URL"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("postgresql://user:p@ss:canary@host/db", "is not a database URL"),
        ("postgresql://user:canary", "is not a database URL"),
        ("postgresql://user:password@host:canary/db", "is not a database URL"),
        ("sqlite://user:canary@host/file.db", "is not a database URL"),
    ],
)
def test_an_unusable_database_url_is_an_error_that_names_the_kinds(
    monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    monkeypatch.setenv("BALANCES_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    monkeypatch.setenv("BALANCES_DATABASE_URL", url)

    with pytest.raises(SettingsError) as caught:
        create_app()

    assert f"BALANCES_DATABASE_URL {reason}" in str(caught.value)
    assert "use sqlite:///file.db or postgresql://user:password@host/database" in str(caught.value)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_git_ignores_the_files_of_the_default_database() -> None:
    file = DEFAULT_URL.removeprefix("sqlite:///")
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert f"{file}*" in ignored  # SQLite writes a journal beside it


def start_and_stop(app: FastAPI) -> None:
    """Run the application's lifespan in this thread, so that its error reaches the test."""

    async def start() -> None:
        async with lifespan(app):
            pass

    asyncio.run(start())


def test_missing_mesh_keys_stop_the_start(
    encryption_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del encryption_key
    monkeypatch.delenv("MESH_CLIENT_SECRET")
    app = create_app()

    with pytest.raises(MeshConfigurationError, match="client_secret"):
        start_and_stop(app)


# --- rotation -----------------------------------------------------------------------------------


def test_tokens_survive_the_rotation_of_the_encryption_key(
    encryption_key: str, mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh.answers("token-canary-1", cash={"USD": "7"})
    with running() as browser:
        browser.link()
    newer = Fernet.generate_key().decode()

    monkeypatch.setenv("BALANCES_ENCRYPTION_KEYS", f"{newer}, {encryption_key}")
    with running() as browser:
        assert cash_of(browser.read()[0]) == {"USD": "7"}
    monkeypatch.setenv("BALANCES_ENCRYPTION_KEYS", newer)
    with running() as browser:
        assert cash_of(browser.read()[0]) == {"USD": "7"}


def test_a_key_that_is_still_needed_and_missing_stops_the_start(
    encryption_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del encryption_key
    with running() as browser:
        browser.link()
    monkeypatch.setenv("BALANCES_ENCRYPTION_KEYS", Fernet.generate_key().decode())

    with pytest.raises(SettingsError, match="no key in BALANCES_ENCRYPTION_KEYS decrypts"):
        start_and_stop(create_app())


def test_rotation_leaves_tokens_that_another_process_stored_meanwhile(
    encryption_key: str, mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Fernet.generate_key().decode()
    mesh.answers("token-canary-2", cash={"USD": "8"})
    with running() as browser:
        browser.link("token-canary-1")
        real_encrypt = TokenCipher.encrypt

        def encrypt_after_a_payload(cipher: TokenCipher, auth_token: str) -> str:
            monkeypatch.setattr(TokenCipher, "encrypt", real_encrypt)
            browser.link("token-canary-2")
            return real_encrypt(cipher, auth_token)

        monkeypatch.setenv("BALANCES_ENCRYPTION_KEYS", f"{newer},{encryption_key}")
        app = create_app()
        monkeypatch.setattr(TokenCipher, "encrypt", encrypt_after_a_payload)
        start_and_stop(app)

        assert cash_of(browser.read()[0]) == {"USD": "8"}


def test_only_tokens_of_an_older_key_need_rotation() -> None:
    older = Fernet.generate_key().decode()
    newer = Fernet.generate_key().decode()
    encrypted = TokenCipher(older).encrypt("a")

    cipher = TokenCipher(f"{newer},{older}")

    assert cipher.needs_rotation(encrypted)
    assert cipher.decrypt(encrypted) == "a"
    assert not cipher.needs_rotation(cipher.encrypt("a"))
