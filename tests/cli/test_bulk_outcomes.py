"""`mesh-balance bulk`: the outcomes of a run, and how a run ends."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from mesh_facade.testing import MockServer
from tests.cli.support import TOKEN, read_lines, run, write_accounts


def test_bulk_writes_one_outcome_per_account(in_process: MockServer, tmp_path: Path) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 5), tmp_path / "balances.jsonl"
    in_process.answers(f"{TOKEN}-1", cash={"USD": "12345678901234567.89"})
    in_process.fails(f"{TOKEN}-2", "unauthorized-token")

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 1
    assert result.stderr == f"1 of 5 accounts failed: see {output}\n"
    told = {line["key"]: line for line in read_lines(output)}
    assert sorted(told) == [f"account-{number}" for number in range(5)]
    assert told["account-1"]["rows"][0]["cash"] == "12345678901234567.89"
    assert told["account-1"]["error"] is None
    assert (told["account-2"]["error"], told["account-2"]["rows"]) == ("BadRequestError", None)
    assert told["account-2"]["error_type"] == "unauthorizedToken"
    assert (output.stat().st_mode & 0o777) == 0o600
    assert TOKEN not in output.read_text()


def test_bulk_reads_json_lines_and_writes_csv(in_process: MockServer, tmp_path: Path) -> None:
    accounts, output = tmp_path / "accounts.jsonl", tmp_path / "balances.csv"
    records = [{"auth_token": f"{TOKEN}-{number}", "broker": "coinbase"} for number in range(3)]
    accounts.write_text("".join(json.dumps(record) + "\n" for record in records))
    in_process.answers(f"{TOKEN}-1", cash={"USD": "1.50"}, total_cash_usd="1.50")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0

    with output.open(newline="") as file:
        told = {line["key"]: line for line in csv.DictReader(file)}
    assert sorted(told) == ["1", "2", "3"]
    assert told["2"]["total_cash_usd"] == "1.50"
    assert json.loads(told["2"]["rows"])[0]["cash"] == "1.50"
    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(in_process.calls) == 3


def test_refused_keys_end_the_run_and_are_not_written_as_outcomes(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 50), tmp_path / "balances.jsonl"
    right = os.environ["MESH_CLIENT_SECRET"]
    monkeypatch.setenv("MESH_CLIENT_SECRET", "another-secret")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 3
    assert output.read_text() == ""

    monkeypatch.setenv("MESH_CLIENT_SECRET", right)
    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(read_lines(output)) == 50
    assert len(in_process.calls) < 100


def test_run_that_reaches_mesh_for_no_account_exits_with_code_four(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 3), tmp_path / "balances.jsonl"
    for number in range(3):
        in_process.fails(f"{TOKEN}-{number}", "reset")
    monkeypatch.setattr("mesh_facade._retry.random.uniform", lambda _, __: 0.0)

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 4
    assert {line["error"] for line in read_lines(output)} == {"MeshConnectionError"}


def test_progress_is_shown_on_a_terminal(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 3), tmp_path / "balances.jsonl"

    result = run("bulk", str(accounts), "-o", str(output), env={"FORCE_COLOR": "1"})

    assert mesh.calls
    assert "3/3" in result.stderr
    assert "0 failed" in result.stderr
