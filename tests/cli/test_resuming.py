"""`mesh-balance bulk`: the same command again, after an interruption or a crash."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from mesh_facade.cli.results import OutputFile
from mesh_facade.testing import MockServer
from tests.cli.support import (
    TOKEN,
    bulk_process,
    read_lines,
    run,
    skipped_on_windows,
    wait_for_lines,
    write_accounts,
)

KILLS = int(os.environ.get("KILLS", "3"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "300"))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("cut", [0, 1, 40])
def test_interrupted_run_resumes_and_repairs_the_last_line(
    mesh: MockServer, tmp_path: Path, suffix: str, cut: int
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 6)
    output = tmp_path / f"out.{suffix}"
    run("bulk", str(accounts), "-o", str(output))
    whole = output.read_bytes()
    lines = whole.splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:-2]) + lines[-2][:cut])
    mesh.calls.clear()

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0

    assert len(mesh.calls) == 2
    assert len(output.read_bytes().splitlines()) == len(lines)
    assert output.read_bytes().startswith(b"".join(lines[:-2]))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_output_cut_off_at_any_byte_is_repaired(
    mesh: MockServer, tmp_path: Path, suffix: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / f"out.{suffix}"
    run("bulk", str(accounts), "-o", str(output))
    whole = output.read_bytes()

    for cut in range(0, len(whole), 7):
        output.write_bytes(whole[:cut])
        assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
        assert output.read_bytes().count(b"\n") == whole.count(b"\n")
    assert mesh.calls


def test_output_with_a_very_long_line_is_resumed(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "out.csv"
    mesh.answers(f"{TOKEN}-0", cash={f"C{number}": 1 for number in range(3_000)})
    run("bulk", str(accounts), "-o", str(output))
    assert len(output.read_bytes()) > 131_072  # what Python's own reader takes for one field

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(mesh.calls) == 1


@skipped_on_windows("on Windows no program can send Ctrl-C to one other program")
def test_ctrl_c_prints_how_to_resume(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 20)
    output = tmp_path / "balances.jsonl"
    mesh.answers(f"{TOKEN}-19", delay=60)
    process = bulk_process(accounts, output)
    wait_for_lines(output, 19)

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 130
    assert stderr == "interrupted: run the same command again to continue from here\n"
    assert len(read_lines(output)) == 19


def test_interrupted_run_keeps_the_outcomes_that_it_wrote(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 9)
    output = tmp_path / "balances.jsonl"
    add = OutputFile.add

    def add_and_interrupt(results: Any, outcome: Any) -> None:
        add(results, outcome)
        if len(results.outcomes) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OutputFile, "add", add_and_interrupt)
        result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 130
    assert result.stderr == "interrupted: run the same command again to continue from here\n"
    assert len(read_lines(output)) == 4
    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(read_lines(output)) == 9
    assert in_process.calls


def test_killed_run_loses_no_account_and_doubles_none(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", ACCOUNTS)
    mesh.answers(f"{TOKEN}-0", cash={"USD": 1})
    for kill in range(KILLS):
        output = tmp_path / f"balances-{kill}.jsonl"
        process = bulk_process(accounts, output)
        wait_for_lines(output, random.Random(kill).randrange(ACCOUNTS - 20))  # noqa: S311 — a moment
        process.kill()
        process.communicate(timeout=20)
        cut_off = output.read_bytes().count(b"\n")

        result = run("bulk", str(accounts), "-o", str(output))

        assert result.exit_code == 0, result.output
        assert cut_off < ACCOUNTS
        keys = [line["key"] for line in read_lines(output)]
        assert len(keys) == len(set(keys)) == ACCOUNTS
