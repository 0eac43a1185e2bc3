"""`mesh-balance bulk`: the outcomes of a run, and how a run ends."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mesh_facade import AsyncMeshClient, AuthenticationError, MeshTimeoutError
from mesh_facade.testing import MockServer
from tests.cli.support import (
    DEAD_TOKEN_HINT,
    KEYS_ARE_REFUSED,
    KEYS_MAY_BE_REFUSED,
    ONE_DEAD_TOKEN,
    RETRY_HINT,
    TOKEN,
    TOKENS_MAY_BE_REFUSED,
    make_outcome,
    read_lines,
    run,
    script,
    skipped_on_windows,
    write_accounts,
)


def test_bulk_writes_one_outcome_per_account(in_process: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 5)
    output = tmp_path / "balances.jsonl"
    in_process.answers(f"{TOKEN}-1", cash={"USD": "12345678901234567.89"})
    in_process.fails(f"{TOKEN}-2", "unauthorized-token")

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 1
    assert result.stderr == (
        f"5 accounts: 4 read, 1 failed: {output}\n{ONE_DEAD_TOKEN}{RETRY_HINT}"
    )
    outcome_by_key = {line["key"]: line for line in read_lines(output)}
    assert sorted(outcome_by_key) == [f"account-{number}" for number in range(5)]
    assert outcome_by_key["account-1"]["rows"][0]["cash"] == "12345678901234567.89"
    assert outcome_by_key["account-1"]["error"] is None
    assert (outcome_by_key["account-2"]["error"], outcome_by_key["account-2"]["rows"]) == (
        "BadRequestError",
        None,
    )
    assert outcome_by_key["account-2"]["error_type"] == "unauthorizedToken"
    assert TOKEN not in output.read_text()


@skipped_on_windows("Windows files have no mode for owner, group and others")
def test_new_output_can_be_read_by_its_owner_alone(in_process: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"

    run("bulk", str(accounts), "-o", str(output))

    assert (output.stat().st_mode & 0o777) == 0o600
    assert len(in_process.calls) == 1


def test_bulk_reads_json_lines_and_writes_csv(in_process: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.jsonl"
    output = tmp_path / "balances.csv"
    records = [{"auth_token": f"{TOKEN}-{number}", "broker": "coinbase"} for number in range(3)]
    accounts.write_text("".join(json.dumps(record) + "\n" for record in records))
    in_process.answers(f"{TOKEN}-1", cash={"USD": "1.50"}, total_cash_usd="1.50")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0

    with output.open(newline="") as file:
        outcome_by_key = {line["key"]: line for line in csv.DictReader(file)}
    assert sorted(outcome_by_key) == ["1", "2", "3"]
    assert outcome_by_key["2"]["total_cash_usd"] == "1.50"
    assert json.loads(outcome_by_key["2"]["rows"])[0]["cash"] == "1.50"
    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(in_process.calls) == 3


def test_refused_keys_end_the_run_and_are_not_written_as_outcomes(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 50)
    output = tmp_path / "balances.jsonl"
    right_secret = os.environ["MESH_CLIENT_SECRET"]
    monkeypatch.setenv("MESH_CLIENT_SECRET", "another-secret")

    result = run("bulk", str(accounts), "-o", str(output))
    assert result.exit_code == 3
    assert result.stderr == (
        f"error: too many answers in a row were HTTP 401, {KEYS_ARE_REFUSED}run the same command "
        "again\n"
    )
    assert output.read_text() == ""

    monkeypatch.setenv("MESH_CLIENT_SECRET", right_secret)
    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(read_lines(output)) == 50
    assert len(in_process.calls) < 100


def test_run_that_reaches_mesh_for_no_account_exits_with_code_four(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    for number in range(3):
        in_process.fails(f"{TOKEN}-{number}", "reset")
    monkeypatch.setattr("mesh_facade.engine.retries.random.uniform", lambda _, __: 0.0)

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 4
    assert result.stderr == (
        f"3 accounts: 0 read, 3 failed: {output}\nfailures: 3 MeshConnectionError\n"
        f"Mesh could not be reached: `mesh-balance doctor` tells more\n{RETRY_HINT}"
    )
    assert {line["error"] for line in read_lines(output)} == {"MeshConnectionError"}
    calls = len(in_process.calls)
    again = run("bulk", str(accounts), "-o", str(output))
    assert (again.exit_code, len(in_process.calls)) == (1, calls)
    assert "could not be reached" not in again.stderr


def test_each_account_that_is_read_at_a_time_has_a_connection(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, accounts would fail because they waited too long for a connection."""
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    options: dict[str, Any] = {}

    def build_client(**given: Any) -> AsyncMeshClient:
        options.update(given)
        return AsyncMeshClient(**given)

    monkeypatch.setattr("mesh_facade.cli.bulk.AsyncMeshClient", build_client)

    result = run("bulk", str(accounts), "--concurrency", "300")

    assert (result.exit_code, len(mesh.calls)) == (0, 1)
    assert options["max_connections"] == 300


def test_progress_is_shown_on_a_terminal(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"

    result = run("bulk", str(accounts), "-o", str(output), env={"FORCE_COLOR": "1"})

    assert mesh.calls
    assert "3/3" in result.stderr
    assert "0 failed" in result.stderr


def test_progress_bar_of_a_resumed_run_begins_with_the_failures_of_earlier_runs(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    mesh.fails(f"{TOKEN}-0", "unauthorized-token")
    run("bulk", str(accounts), "-o", str(output))
    write_accounts(accounts, 4)

    result = run("bulk", str(accounts), "-o", str(output), env={"FORCE_COLOR": "1"})

    assert "3/4" in result.stderr
    assert "1 failed" in result.stderr
    assert "0 failed" not in result.stderr


def test_progress_bar_counts_unauthorized_answers_that_are_held_back(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    for number in range(3):
        mesh.fails(f"{TOKEN}-{number}", "unauthorized-keys")

    result = run("bulk", str(accounts), "-o", str(output), env={"FORCE_COLOR": "1"})

    assert mesh.calls
    assert "3/3" in result.stderr
    assert "3 failed" in result.stderr.split("3 accounts: ")[0]


@pytest.mark.usefixtures("mesh")
@pytest.mark.parametrize("refused", [(0,), (2,), (4,), (0, 1, 3, 4)])
def test_unauthorized_answer_is_an_outcome_where_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: tuple[int, ...]
) -> None:
    """Such an answer may be about one token, so the client decides when the keys are refused."""
    outcomes = [
        make_outcome(number, AuthenticationError("HTTP 401") if number in refused else None)
        for number in range(5)
    ]
    script(monkeypatch, outcomes)
    accounts = write_accounts(tmp_path / "accounts.csv", 5)
    output = tmp_path / "balances.jsonl"

    result = run("bulk", str(accounts), "-o", str(output))

    errors = {line["key"]: line["error"] for line in read_lines(output)}
    refused_accounts = "1 account"
    if len(refused) > 1:
        refused_accounts = f"{len(refused)} accounts"
    assert result.exit_code == 1
    assert result.stderr == (
        f"5 accounts: {5 - len(refused)} read, {len(refused)} failed: {output}\n"
        f"failures: {len(refused)} AuthenticationError\n"
        f"{refused_accounts} {TOKENS_MAY_BE_REFUSED}{RETRY_HINT}"
    )
    assert errors == {
        f"account-{number}": "AuthenticationError" if number in refused else None
        for number in range(5)
    }


def test_small_file_with_refused_keys_exits_with_code_three_and_keeps_the_outcomes(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 5)
    output = tmp_path / "balances.jsonl"
    arguments = ["bulk", str(accounts), "-o", str(output)]
    right_secret = os.environ["MESH_CLIENT_SECRET"]
    monkeypatch.setenv("MESH_CLIENT_SECRET", "another-secret")

    first = run(*arguments)
    retried = run(*arguments, "--retry-failed")
    printed = run("bulk", str(accounts))

    assert (first.exit_code, retried.exit_code, printed.exit_code) == (3, 3, 3)
    causes = "failures: 5 AuthenticationError\n"
    advice = f"{causes}every answer was HTTP 401, {KEYS_ARE_REFUSED}"
    counts = f"5 accounts: 0 read, 5 failed: {output}\n"
    assert first.stderr == f"{counts}{advice}add --retry-failed\n"
    assert retried.stderr == f"{counts}{advice}run the command again\n"
    assert printed.stderr == f"5 accounts: 0 read, 5 failed\n{advice}run the command again\n"
    assert [line["error"] for line in read_lines(output)] == ["AuthenticationError"] * 5
    monkeypatch.setenv("MESH_CLIENT_SECRET", right_secret)
    assert run(*arguments, "--retry-failed").exit_code == 0
    assert len(in_process.calls) == 20


@pytest.mark.usefixtures("mesh")
def test_refused_keys_are_noticed_beside_accounts_that_got_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [
        make_outcome(0, AuthenticationError("HTTP 401")),
        make_outcome(1, MeshTimeoutError("no answer")),
    ]
    script(monkeypatch, outcomes)
    accounts = write_accounts(tmp_path / "accounts.csv", 2)

    result = run("bulk", str(accounts), "-o", str(tmp_path / "balances.jsonl"))

    assert result.exit_code == 3


@pytest.mark.usefixtures("mesh")
def test_dead_tokens_alone_do_not_look_like_refused_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_token = AuthenticationError("HTTP 401", error_type="unauthorizedToken")
    outcomes = [make_outcome(0, dead_token)]
    script(monkeypatch, outcomes)
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 1
    assert result.stderr == (
        f"1 account: 0 read, 1 failed: {output}\n"
        f"failures: 1 AuthenticationError (unauthorizedToken)\n{DEAD_TOKEN_HINT}{RETRY_HINT}"
    )


@pytest.mark.usefixtures("mesh")
def test_unauthorized_answers_before_refused_keys_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = AuthenticationError("HTTP 401")
    outcomes = [make_outcome(0, None), *(make_outcome(number, refusal) for number in range(1, 5))]
    script(monkeypatch, outcomes, error=refusal)
    accounts = write_accounts(tmp_path / "accounts.csv", 9)
    output = tmp_path / "balances.jsonl"

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 3
    assert result.stderr == (
        f"error: too many answers in a row were HTTP 401. {KEYS_MAY_BE_REFUSED}run the same "
        "command again\n"
    )
    assert [line["key"] for line in read_lines(output)] == ["account-0"]


def test_max_pause_bounds_the_pauses_of_a_run(in_process: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    in_process.fails(f"{TOKEN}-0", "rate-limited")
    output = tmp_path / "out.jsonl"

    result = run("bulk", str(accounts), "-o", str(output), "--max-pause", "0.5")

    assert result.exit_code == 1
    assert json.loads(output.read_text())["error"] == "RateLimitError"
    assert len(in_process.calls) == 1
