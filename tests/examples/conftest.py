"""The example application on a database of each kind and on a mock Mesh server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet

from mesh_facade.testing import MockServer
from tests.examples.postgres import find_programs, running_postgres
from tests.examples.support import Browser, running


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start PostgreSQL once for each worker that needs it."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: no initdb on the PATH or where Debian keeps it")
    with running_postgres(programs) as url:
        yield url


def _drop_tables(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database: the test runs on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'balances.db'}"
    url: str = request.getfixturevalue("postgres_url")
    _drop_tables(url)
    return url


@pytest.fixture
def encryption_key(mesh: MockServer, database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set all of the application's variables; return the encryption key."""
    key = Fernet.generate_key().decode()
    for name, value in mesh.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BALANCES_DATABASE_URL", database_url)
    monkeypatch.setenv("BALANCES_ENCRYPTION_KEYS", key)
    return key


@pytest.fixture
def browser(encryption_key: str) -> Iterator[Browser]:  # noqa: ARG001 — the variables are set
    with running() as browser:
        yield browser
