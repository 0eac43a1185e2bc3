"""`mesh-balance bulk` into a pipe: outcomes as JSON lines on stdout."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_facade import cli
from mesh_facade.cli.bulk import BulkRun
from mesh_facade.cli.results import COLUMNS, STDOUT, StandardOutput
from mesh_facade.testing import MockServer
from tests.cli.support import (
    ONE_DEAD_TOKEN,
    PROGRAM,
    TOKEN,
    run,
    skipped_on_windows,
    write_accounts,
)


@pytest.mark.parametrize("output", [[], ["-o", "-"]])
def test_outcomes_go_to_stdout_as_json_lines(
    in_process: MockServer, tmp_path: Path, output: list[str]
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    in_process.answers(f"{TOKEN}-1", cash={"USD": "12345678901234567.89"})
    in_process.fails(f"{TOKEN}-2", "unauthorized-token")

    result = run("bulk", str(accounts), *output)

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    outcomes = {line["key"]: line for line in lines}
    assert result.exit_code == 1
    assert result.stderr == f"3 accounts: 2 read, 1 failed\n{ONE_DEAD_TOKEN}"
    assert sorted(outcomes) == ["account-0", "account-1", "account-2"]
    assert all(tuple(line) == COLUMNS for line in lines)
    assert outcomes["account-1"]["rows"][0]["cash"] == "12345678901234567.89"
    assert outcomes["account-2"]["error_type"] == "unauthorizedToken"
    assert TOKEN not in result.output
    assert len(in_process.calls) == 3


def test_each_outcome_is_written_to_the_pipe_as_it_comes(mesh: MockServer) -> None:
    mesh.answers(f"{TOKEN}-slow", delay=60)
    text = f"auth_token,broker\n{TOKEN},coinbase\n{TOKEN}-slow,coinbase\n"
    process = subprocess.Popen(
        [*PROGRAM, "bulk", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text)
    process.stdin.close()

    line = process.stdout.readline()

    process.kill()
    process.wait()
    process.stdout.close()
    assert json.loads(line)["key"] == "1"


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
def test_pipe_whose_reader_ends_is_not_an_error(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 50)
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(
        [*PROGRAM, "bulk", str(accounts)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert 0 < len(mesh.calls) <= 50


class Terminal(io.StringIO):
    """A stdout that people read."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = io.BytesIO()

    def isatty(self) -> bool:
        return True


def test_terminal_needs_an_output(
    mesh: MockServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    monkeypatch.setattr(sys, "stdout", Terminal())

    with pytest.raises(SystemExit) as caught:
        cli.main(["bulk", str(accounts)])

    assert (caught.value.code, mesh.calls) == (2, [])
    assert "Name an output file with -o, or pass -o - for the terminal." in capsys.readouterr().err


def test_terminal_that_shows_outcomes_shows_no_progress_bar(
    in_process: MockServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("FORCE_COLOR", "1")  # stderr counts as a terminal

    with pytest.raises(SystemExit) as caught:
        cli.main(["bulk", str(accounts), "-o", "-"])

    assert (caught.value.code, len(in_process.calls)) == (0, 1)
    assert json.loads(stdout.buffer.getvalue())["key"] == "account-0"
    assert capsys.readouterr().err == "1 account read, 0 failed\n"


def test_file_whose_name_is_a_dash_can_be_named_with_its_folder(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_accounts(tmp_path / "accounts.csv", 2).rename("-")

    result = run("bulk", "./-")

    assert (result.exit_code, len(mesh.calls)) == (0, 2)
    assert len(result.stdout.splitlines()) == 2
    refused = run("bulk", "./-", "-o", "./-")
    assert refused.exit_code == 2
    assert "is the input: choose another output" in refused.stderr


def test_retry_failed_needs_an_output_file(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)

    result = run("bulk", str(accounts), "-o", "-", "--retry-failed")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "--retry-failed needs an output file: name it with -o." in result.stderr


def test_closed_stdout_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        with pytest.raises(ValueError, match=r"^stdout is closed: name an output file with -o$"):
            StandardOutput()


def test_interrupted_pipe_starts_again_from_the_first_account(
    in_process: MockServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)

    def interrupt(_: object, __: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StandardOutput, "add", interrupt)
    bulk = BulkRun(
        accounts=accounts,
        output=STDOUT,
        concurrency=1,
        environment=None,
        retry_failed=False,
        trust_keys=False,
    )

    assert bulk.run() == 130
    assert capsys.readouterr().err == (
        "interrupted: the same command starts again with the first account\n"
    )
    assert len(in_process.calls) == 1
