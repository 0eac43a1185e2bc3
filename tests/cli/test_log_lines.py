"""`MESH_LOG` on the command line: in a bulk run, each line names the account's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh_facade.testing import MockServer
from tests.cli.support import TOKEN, run, write_accounts
from tests.client.test_mesh_log import unconfigured_logging


def read_log(arguments: list[str], **options: str) -> list[str]:
    """Run a command with `MESH_LOG=debug`, and return the log lines without their times."""
    with unconfigured_logging():
        result = run(*arguments, env={"MESH_LOG": "debug"}, **options)
    lines = [line for line in result.stderr.splitlines() if " mesh_facade " in line]
    return [line.partition(" mesh_facade ")[2] for line in lines]


def test_log_lines_of_a_bulk_run_end_with_the_key(in_process: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    in_process.fails(f"{TOKEN}-0", "not-found")

    lines = read_log(["bulk", str(accounts), "-o", str(tmp_path / "balances.jsonl")])

    assert len(in_process.calls) == 1
    assert lines[0] == "DEBUG attempt 1 failed: NotFoundError (key: 'account-0')"
    assert lines[1].startswith("INFO call ended after 1 attempt and ")
    assert lines[1].endswith(" s: NotFoundError (key: 'account-0')")


def test_log_line_shows_control_characters_of_a_key_escaped(
    in_process: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    accounts.write_text(f"auth_token,broker,key\n{TOKEN},coinbase,a\x1b[31mb\n")

    lines = read_log(["bulk", str(accounts), "-o", str(tmp_path / "balances.jsonl")])

    assert len(in_process.calls) == 1
    assert [line.partition(" s: ")[2] for line in lines] == ["ok (key: 'a\\x1b[31mb')"]


def test_log_line_of_a_single_call_names_no_key(mesh: MockServer) -> None:
    lines = read_log(["get", "--broker", "coinbase"], input=TOKEN)

    assert len(mesh.calls) == 1
    assert [line.partition(" s: ")[2] for line in lines] == ["ok"]


def test_calls_after_one_attempt_and_after_several_are_logged_in_right_grammar(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh_facade.engine.retries.random.uniform", lambda _, __: 0.0)
    mesh.fails(TOKEN, "server-failure", times=1)

    twice = read_log(["get", "--broker", "coinbase"], input=TOKEN)
    once = read_log(["get", "--broker", "coinbase"], input=TOKEN)

    assert len(mesh.calls) == 3
    assert twice[-1].startswith("INFO call ended after 2 attempts and ")
    assert once[-1].startswith("INFO call ended after 1 attempt and ")
