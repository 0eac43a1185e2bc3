"""`mesh-balance bulk --retry-failed`: failed accounts are read again, and they alone."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from mesh_facade import Outcome
from mesh_facade.cli import results
from mesh_facade.cli.results import OutputFile, open_output
from mesh_facade.testing import MockServer
from tests.cli.support import (
    ONE_DEAD_TOKEN,
    PROGRAM,
    TOKEN,
    read_lines,
    run,
    skipped_on_windows,
    write_accounts,
)

KILLS = int(os.environ.get("KILLS", "3"))


def read_outcomes(output: Path) -> dict[str, dict[str, Any]]:
    """Return the outcomes by key; there is one for each."""
    if output.suffix == ".csv":
        with output.open(newline="") as file:
            lines: list[dict[str, Any]] = list(csv.DictReader(file))
    else:
        lines = read_lines(output)
    outcomes = {line["key"]: line for line in lines}
    assert len(outcomes) == len(lines)
    return outcomes


def start_with_failures(mesh: MockServer, tmp_path: Path, suffix: str = "jsonl") -> tuple[str, ...]:
    """Read five accounts, of which two fail; return the arguments of that run."""
    accounts = write_accounts(tmp_path / "accounts.csv", 5)
    output = tmp_path / f"balances.{suffix}"
    for number in (1, 3):
        mesh.fails(f"{TOKEN}-{number}", "unauthorized-token")
    arguments = ("bulk", str(accounts), "-o", str(output))
    assert run(*arguments).exit_code == 1
    mesh.calls.clear()
    return arguments


def files_beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_failed_accounts_are_read_again_and_they_alone(
    in_process: MockServer, tmp_path: Path, suffix: str
) -> None:
    arguments = start_with_failures(in_process, tmp_path, suffix)
    output = Path(arguments[-1])
    before = read_outcomes(output)
    in_process.answers(f"{TOKEN}-1", cash={"USD": "1.50"})

    result = run(*arguments, "--retry-failed")

    after = read_outcomes(output)
    tokens = sorted(call.fields["authToken"] for call in in_process.calls)
    assert tokens == [f"{TOKEN}-1", f"{TOKEN}-3"]
    assert result.exit_code == 1
    assert result.stderr == (
        f"1 read, 1 failed, 3 already in {output}\n1 of 5 accounts failed: see {output}\n"
        f"{ONE_DEAD_TOKEN}"
    )
    assert after.keys() == before.keys()
    assert [key for key, line in after.items() if line["error"]] == ["account-3"]
    assert [key for key in after if after[key] != before[key]] == ["account-1", "account-3"]
    assert files_beside(output) == ["accounts.csv", output.name]


@skipped_on_windows("Windows files have no mode for owner, group and others")
def test_output_keeps_its_mode_when_failed_accounts_are_read_again(
    mesh: MockServer, tmp_path: Path
) -> None:
    arguments = start_with_failures(mesh, tmp_path)
    output = Path(arguments[-1])
    output.chmod(0o640)

    run(*arguments, "--retry-failed")

    assert (output.stat().st_mode & 0o777) == 0o640
    assert len(mesh.calls) == 2


def test_failed_account_is_read_again_with_its_new_token(mesh: MockServer, tmp_path: Path) -> None:
    arguments = start_with_failures(mesh, tmp_path)
    accounts = Path(arguments[1])
    output = Path(arguments[-1])
    accounts.write_text(accounts.read_text().replace(f"{TOKEN}-1,", f"{TOKEN}-new,"))

    assert run(*arguments, "--retry-failed").exit_code == 1

    assert sorted(call.fields["authToken"] for call in mesh.calls) == [
        f"{TOKEN}-3",
        f"{TOKEN}-new",
    ]
    assert not read_outcomes(output)["account-1"]["error"]
    assert run(*arguments).exit_code == 1  # the new token's fingerprint is stored


def test_retry_reads_nothing_where_nothing_failed(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"
    arguments = ("bulk", str(accounts), "-o", str(output))
    run(*arguments)
    before = output.read_bytes()
    mesh.calls.clear()

    result = run(*arguments, "--retry-failed")

    assert (result.exit_code, mesh.calls, output.read_bytes()) == (0, [], before)
    assert result.stderr.startswith(f"0 read, 2 already in {output}; ")


def test_retry_leaves_accounts_without_an_outcome_unread_and_says_so(
    mesh: MockServer, tmp_path: Path
) -> None:
    arguments = start_with_failures(mesh, tmp_path)
    write_accounts(Path(arguments[1]), 8)

    result = run(*arguments, "--retry-failed")

    assert len(mesh.calls) == 2
    assert result.stderr.splitlines()[1] == (
        "3 accounts have no outcome yet: run the command without --retry-failed to read them"
    )
    assert len(read_outcomes(Path(arguments[-1]))) == 5


def test_retry_says_that_one_account_has_no_outcome_yet(mesh: MockServer, tmp_path: Path) -> None:
    arguments = start_with_failures(mesh, tmp_path)
    write_accounts(Path(arguments[1]), 6)

    result = run(*arguments, "--retry-failed")

    assert len(mesh.calls) == 2
    assert result.stderr.splitlines()[1] == (
        "1 account has no outcome yet: run the command without --retry-failed to read it"
    )


def test_retry_without_an_output_is_refused(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert "does not exist, so it holds no failed account" in result.stderr


def test_refused_keys_leave_the_failed_outcomes_as_they_were(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 6)
    output = tmp_path / "balances.jsonl"
    for number in range(6):
        in_process.fails(f"{TOKEN}-{number}", "not-found")
    arguments = ["bulk", str(accounts), "--concurrency", "5", "-o", str(output)]
    assert run(*arguments).exit_code == 1
    before = read_outcomes(output)
    monkeypatch.setenv("MESH_CLIENT_SECRET", "another-secret")

    result = run(*arguments, "--retry-failed")

    assert result.exit_code == 3
    assert read_outcomes(output) == before
    assert files_beside(output) == ["accounts.csv", "balances.jsonl"]


def test_interrupted_retry_keeps_what_it_has_read(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = start_with_failures(in_process, tmp_path)
    for number in (1, 3):
        in_process.answers(f"{TOKEN}-{number}", cash={"USD": 1})
    add = OutputFile.add

    def add_and_interrupt(output: OutputFile, outcome: Outcome) -> None:
        add(output, outcome)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OutputFile, "add", add_and_interrupt)
        result = run(*arguments, "--retry-failed")

    failed = [line for line in read_outcomes(Path(arguments[-1])).values() if line["error"]]
    assert result.exit_code == 130
    assert len(failed) == 1
    assert run(*arguments, "--retry-failed").exit_code == 0


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("step", ["_open_private", "copymode", "fsync", "replace", "unlink"])
def test_crash_at_any_step_of_the_replacement_loses_and_doubles_nothing(
    in_process: MockServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    step: str,
) -> None:
    """Stop where a process could be killed, as if it were, and run the command again."""
    arguments = start_with_failures(in_process, tmp_path, suffix)
    output = Path(arguments[-1])
    in_process.answers(f"{TOKEN}-1", cash={"USD": 1})
    open_private = results._open_private

    def crash(*_: object) -> None:
        raise SystemExit(9)

    def crash_at_merging(path: Path, mode: str) -> Any:
        if mode == "wb":
            crash()
        return open_private(path, mode)

    with monkeypatch.context() as patch:
        if step == "_open_private":
            patch.setattr(results, "_open_private", crash_at_merging)
        elif step == "copymode":
            patch.setattr("shutil.copymode", crash)
        elif step == "fsync":
            patch.setattr("os.fsync", crash)
        else:
            patch.setattr(Path, step, crash)
        assert run(*arguments, "--retry-failed").exit_code == 9
    assert len(read_outcomes(output)) == 5
    in_process.calls.clear()

    result = run(*arguments)

    outcomes = read_outcomes(output)
    assert (result.exit_code, in_process.calls) == (1, [])
    assert len(outcomes) == 5
    assert [key for key, line in outcomes.items() if line["error"]] == ["account-3"]
    assert files_beside(output) == ["accounts.csv", output.name]


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(OSError(errno.ENOSPC, "No space left on device"), 2), (KeyboardInterrupt(), 130)],
)
def test_failed_replacement_leaves_no_third_file_behind(
    in_process: MockServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    exit_code: int,
) -> None:
    arguments = start_with_failures(in_process, tmp_path)
    output = Path(arguments[-1])
    before = output.read_bytes()

    def fail(_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        result = run(*arguments, "--retry-failed")

    assert result.exit_code == exit_code
    assert files_beside(output) == ["accounts.csv", output.name, f"{output.name}.retry"]
    assert output.read_bytes() == before
    in_process.calls.clear()
    assert run(*arguments).exit_code == 1
    assert in_process.calls == []
    assert files_beside(output) == ["accounts.csv", output.name]


@skipped_on_windows("Windows removes no file that this test reads at that moment")
def test_killed_retry_leaves_one_whole_outcome_for_each_account(
    mesh: MockServer, tmp_path: Path
) -> None:
    count = 100
    accounts = write_accounts(tmp_path / "accounts.csv", count)
    failing = [f"{TOKEN}-{number}" for number in range(0, count, 2)]

    def answer_all() -> None:
        for token in failing:
            mesh.answers(token, cash={"USD": 1}, delay=0.002)

    for kill in range(KILLS):
        output = tmp_path / f"balances-{kill}.jsonl"
        arguments = ("bulk", str(accounts), "-o", str(output))
        for token in failing:
            mesh.fails(token, "unauthorized-token")
        run(*arguments)
        answer_all()
        journal = tmp_path / f"balances-{kill}.jsonl.retry"
        process = subprocess.Popen(
            [*PROGRAM, *arguments, "--retry-failed", "--concurrency", "2"], stderr=subprocess.PIPE
        )
        wanted = random.Random(kill).randrange(1, 45)  # noqa: S311 — a moment
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= wanted:
                break
            time.sleep(0.001)
        process.kill()
        process.communicate(timeout=20)

        assert len(read_outcomes(output)) == count
        mesh.reset()  # the killed program may have left requests that nobody has read yet
        answer_all()

        result = run(*arguments, "--retry-failed")

        outcomes = read_outcomes(output)
        assert result.exit_code == 0, result.output
        assert len(mesh.calls) <= len(failing) - wanted
        assert len(outcomes) == count
        assert not any(line["error"] for line in outcomes.values())
        assert not journal.exists()


@skipped_on_windows("symbolic links need a privilege on Windows")
def test_symbolic_link_to_an_output_stays_a_link(mesh: MockServer, tmp_path: Path) -> None:
    arguments = start_with_failures(mesh, tmp_path)
    output = Path(arguments[-1])
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "latest.jsonl"
    link.symlink_to(output)

    result = run(*arguments[:-1], str(link), "--retry-failed")

    assert result.exit_code == 1
    assert len(mesh.calls) == 2
    assert link.is_symlink()
    assert len(read_outcomes(output)) == 5


@skipped_on_windows("outputs are not locked on Windows, and open files are not removed")
def test_output_that_another_run_removed_meanwhile_is_not_written(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = start_with_failures(mesh, tmp_path)
    output = Path(arguments[-1])
    open_private = results._open_private

    def open_and_remove(path: Path, mode: str) -> Any:
        file = open_private(path, mode)
        output.unlink()
        return file

    monkeypatch.setattr(results, "_open_private", open_and_remove)
    result = run(*arguments)

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert "is being written by another run" in result.stderr


@skipped_on_windows("outputs are not locked on Windows, and open files are not removed")
def test_output_that_another_run_replaced_meanwhile_is_not_written(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was opened just before its replacement is locked, but is nobody's output."""
    arguments = start_with_failures(mesh, tmp_path)
    output = Path(arguments[-1])
    text = output.read_bytes()
    open_private = results._open_private

    def open_and_replace(path: Path, mode: str) -> Any:
        file = open_private(path, mode)
        output.unlink()
        output.write_bytes(text)
        return file

    monkeypatch.setattr(results, "_open_private", open_and_replace)
    result = run(*arguments)

    assert (result.exit_code, mesh.calls, output.read_bytes()) == (2, [], text)
    assert "is being written by another run. Try again when it has ended." in result.stderr


@skipped_on_windows("outputs are not locked on Windows")
def test_output_stays_locked_until_it_is_replaced(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that opened the output just before would write to a file without a name."""
    arguments = start_with_failures(mesh, tmp_path)
    output = Path(arguments[-1])
    replace = Path.replace

    def open_and_replace(merged: Path, target: Path) -> Path:
        with pytest.raises(ValueError, match="is being written by another run"):
            OutputFile(output, is_csv=False)
        return replace(merged, target)

    monkeypatch.setattr(Path, "replace", open_and_replace)
    result = run(*arguments, "--retry-failed")

    assert (result.exit_code, len(mesh.calls)) == (1, 2)
    assert len(read_outcomes(output)) == 5


@skipped_on_windows("outputs are not locked on Windows")
def test_journal_of_a_running_retry_keeps_other_runs_out(mesh: MockServer, tmp_path: Path) -> None:
    arguments = start_with_failures(mesh, tmp_path)
    output = Path(arguments[-1])
    journal = OutputFile(output.with_name("balances.jsonl.retry"), is_csv=False)

    result = run(*arguments)

    journal.close()
    assert (result.exit_code, mesh.calls) == (2, [])
    assert "balances.jsonl.retry is being written by another run" in result.stderr


def test_journal_with_other_content_is_refused_and_left_unchanged(
    mesh: MockServer, tmp_path: Path
) -> None:
    arguments = start_with_failures(mesh, tmp_path)
    output = Path(arguments[-1])
    journal = output.with_name("balances.jsonl.retry")
    journal.write_text(json.dumps({"a": 1}) + "\n")

    result = run(*arguments)

    assert (result.exit_code, mesh.calls) == (2, [])
    assert journal.read_text() == json.dumps({"a": 1}) + "\n"
    with pytest.raises(ValueError, match=r"balances\.jsonl\.retry: line 1"), open_output(output):
        pass
