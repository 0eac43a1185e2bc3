"""What the command line's tests share: running it, in this process or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

from mesh_facade import (
    AccountBalance,
    FailedOutcome,
    LinkedAccount,
    Outcome,
    SuccessfulOutcome,
    cli,
)
from mesh_facade.cli import bulk

TOKEN = "a-token-that-nobody-else-may-see"
RETRY_HINT = "to read the failed accounts again, add --retry-failed\n"
DEAD_TOKEN_HINT = (
    "1 dead token: refresh the token, or if that fails let the user link the account again\n"
)
ONE_DEAD_TOKEN = f"failures: 1 BadRequestError (unauthorizedToken)\n{DEAD_TOKEN_HINT}"
KEYS_ARE_REFUSED = (
    "so Mesh probably refuses the API keys: check MESH_CLIENT_ID, MESH_CLIENT_SECRET and the "
    "environment (production or sandbox), then "
)
KEYS_MAY_BE_REFUSED = (
    "Mesh accepted API keys before, so the keys or the users' tokens are no longer valid: "
    "check MESH_CLIENT_ID, MESH_CLIENT_SECRET and the environment (production or sandbox), or "
    "refresh the tokens, then "
)
TOKENS_MAY_BE_REFUSED = (
    "got HTTP 401, probably because of the user's token (Mesh accepted the API keys for other "
    "accounts in this run): refresh the token\n"
)
REFUSED_EARLIER = (
    "got HTTP 401 in an earlier run, because of that run's API keys or the user's token: read "
    "such accounts again before you refresh their tokens\n"
)
PROGRAM = [sys.executable, "-m", "mesh_facade.cli"]


class ScriptedClient:
    """Takes the place of `AsyncMeshClient`: yields given outcomes, without a request."""

    def __init__(self, outcomes: list[Outcome], error: Exception | None = None) -> None:
        self._outcomes = outcomes
        self._error = error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get_account_balances(
        self, _accounts: object, *, concurrency: int, max_pause: float | None
    ) -> AsyncIterator[Outcome]:
        assert (concurrency, max_pause) == (20, None)
        for outcome in self._outcomes:
            yield outcome
        if self._error is not None:
            raise self._error


def make_outcome(number: int, error: Exception | None) -> Outcome:
    account = LinkedAccount(f"{TOKEN}-{number}", "coinbase", f"account-{number}")
    if error is None:
        return SuccessfulOutcome(account, AccountBalance((), None, None), None, 1, 0.1)
    return FailedOutcome(account, None, error, 1, 0.1)


def script(
    monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], error: Exception | None = None
) -> None:
    """Let the next runs of `bulk` yield these outcomes, and then raise an error if one is given."""
    monkeypatch.setattr(bulk, "AsyncMeshClient", lambda **_: ScriptedClient(outcomes, error))


def skipped_on_windows(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(sys.platform == "win32", reason=reason)


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), **options)


def write_accounts(path: Path, count: int) -> Path:
    lines = [f"{TOKEN}-{number},coinbase,account-{number}" for number in range(count)]
    path.write_text("\n".join(["auth_token,broker,key", *lines, ""]))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def bulk_process(accounts: Path, output: Path) -> subprocess.Popen[str]:
    command = [*PROGRAM, "bulk", str(accounts), "-o", str(output), "--concurrency", "5"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_lines(output: Path, count: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if output.exists() and output.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"{output} has not {count} lines after 20 s")
