"""`mesh-balance bulk`: which output files are accepted, and how they are protected."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from mesh_facade.cli.results import COLUMNS, escape_formula, open_output, unescape_formula
from mesh_facade.testing import MockServer
from tests.cli.support import (
    PROGRAM,
    TOKEN,
    read_lines,
    run,
    skipped_on_windows,
    write_accounts,
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("x.jsonl", text)
            for text in ('{"a": 1}\n', "hello\n", "[]\n", '{"a": 1}', "hello", "[]")
        ),
        *(("x.csv", text) for text in ("a,b\n", "a,b", "keys", "a\rb\n")),
        ("x.jsonl", "[" * 100_000),
    ],
)
def test_file_with_other_content_is_refused_and_left_unchanged(
    mesh: MockServer, tmp_path: Path, name: str, text: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / name
    output.write_bytes(text.encode())

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, output.read_bytes(), mesh.calls) == (2, text.encode(), [])
    assert "line 1 is not an outcome of mesh-balance bulk. Choose another output." in result.stderr


@pytest.mark.parametrize("end", ["", "\n"])
def test_output_that_is_the_input_is_refused_and_left_unchanged(
    mesh: MockServer, tmp_path: Path, end: str
) -> None:
    accounts = tmp_path / "accounts.jsonl"
    text = json.dumps({"key": "1", "auth_token": TOKEN, "broker": "coinbase"}) + end
    accounts.write_text(text)

    result = run("bulk", str(accounts), "-o", str(accounts))

    assert (result.exit_code, accounts.read_text(), mesh.calls) == (2, text, [])
    assert "accounts.jsonl is the input: choose another output" in result.stderr


@skipped_on_windows("symbolic links need a privilege on Windows")
def test_unwritable_output_is_reported_in_one_line(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)

    output = tmp_path / "x.jsonl"
    output.symlink_to(tmp_path / "nowhere" / "x.jsonl")

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "No such file or directory" in result.stderr
    assert result.stderr.count("\n") == 1


def test_output_in_a_missing_folder_is_refused_with_what_to_do(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "nowhere" / "x.jsonl"

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert result.stderr == (
        f"error: {output}: the folder {output.parent} does not exist. Make the folder first.\n"
    )


def test_wrong_option_of_the_client_leaves_no_output_behind(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_BASE_URL")
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.csv"

    result = run("bulk", str(accounts), "-o", str(output), "--environment", "sandbax")

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert "sandbax" in result.stderr


@pytest.mark.parametrize("text", ['{"key": "theirs"}', '{"key": "theirs", "cash": 1}'])
def test_object_of_another_program_is_kept(mesh: MockServer, tmp_path: Path, text: str) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "theirs.json"
    output.write_text(text)

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls, output.read_text()) == (2, [], text)
    assert "line 1 is not an outcome of mesh-balance bulk" in result.stderr


def test_outcome_whose_line_end_alone_is_missing_is_read_again(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    run("bulk", str(accounts), "-o", str(output))
    output.write_bytes(output.read_bytes().removesuffix(b"\n"))

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, len(mesh.calls)) == (0, 2)
    assert len(output.read_text().splitlines()) == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300"])
def test_max_pause_that_cannot_be_used_leaves_no_output_behind(
    mesh: MockServer, tmp_path: Path, seconds: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.csv"

    result = run("bulk", str(accounts), "-o", str(output), f"--max-pause={seconds}")

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert "--max-pause" in result.stderr
    assert "it must be a number of seconds greater than 0 and at most " in result.stderr


def resave(output: Path, change: str) -> None:
    """Save an output of CSV as other programs do."""
    text = output.read_text()
    if change == "quotation marks":
        rows = list(csv.reader(text.splitlines()))
        with output.open("w", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    elif change == "line ends":
        output.write_bytes(text.replace("\n", "\r\n").encode())
    else:
        rows = list(csv.reader(text.splitlines()))
        with output.open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)


RESAVES = ["quotation marks", "line ends", "byte order mark, quotation marks and line ends"]


@pytest.mark.parametrize("change", RESAVES)
def test_csv_output_that_another_program_saved_again_is_resumed(
    mesh: MockServer, tmp_path: Path, change: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.csv"
    mesh.answers(f"{TOKEN}-0", cash={"USD": "1.50"})
    mesh.fails(f"{TOKEN}-1", "not-found")
    run("bulk", str(accounts), "-o", str(output))
    resave(output, change)
    mesh.calls.clear()
    write_accounts(accounts, 4)

    resumed = run("bulk", str(accounts), "-o", str(output))
    retried = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    with output.open(newline="") as file:
        keys = sorted(row["key"] for row in csv.DictReader(file))
    assert (resumed.exit_code, retried.exit_code, len(mesh.calls)) == (1, 1, 2)
    assert resumed.stderr.startswith(f"1 read, 3 already in {output}\n1 of 4 accounts failed")
    assert keys == [f"account-{number}" for number in range(4)]


@pytest.mark.parametrize("change", RESAVES)
def test_header_of_an_older_version_is_recognized_after_another_program_saved_it(
    mesh: MockServer, tmp_path: Path, change: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.csv"
    output.write_text(",".join(COLUMNS[:-1]) + "\n")
    resave(output, change)

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert f"{output}: it was written by an older version" in result.stderr


@pytest.mark.parametrize("name", ["balances.csv", "balances.jsonl"])
def test_only_line_without_a_line_end_is_refused_if_no_run_can_have_written_it(
    mesh: MockServer, tmp_path: Path, name: str
) -> None:
    """The next outcome would be appended to that line."""
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / name
    run("bulk", str(accounts), "-o", str(output))
    outcome = output.read_bytes().splitlines()[-1]
    if output.suffix == ".jsonl":
        outcome = b" " + outcome
    output.write_bytes(outcome)
    mesh.calls.clear()

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, output.read_bytes(), mesh.calls) == (2, outcome, [])
    assert "line 1 is not an outcome of mesh-balance bulk. Choose another output." in result.stderr


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(",".join(f'"{column}"' for column in COLUMNS), id="quotation marks"),
        pytest.param("\ufeff" + ",".join(COLUMNS), id="byte order mark"),
        pytest.param(",".join(COLUMNS) + "\r", id="old line end"),
    ],
)
def test_header_that_another_program_saved_without_its_line_end_is_written_anew(
    mesh: MockServer, tmp_path: Path, header: str
) -> None:
    """The first outcome would be appended to that line."""
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.csv"
    output.write_bytes(header.encode())

    result = run("bulk", str(accounts), "-o", str(output))
    again = run("bulk", str(accounts), "-o", str(output))

    lines = output.read_bytes().splitlines(keepends=True)
    assert (result.exit_code, again.exit_code, len(mesh.calls)) == (0, 0, 1)
    assert lines[0] == (",".join(COLUMNS) + "\n").encode()
    assert [line.partition(b",")[0] for line in lines[1:]] == [b"account-0"]


def test_csv_that_has_a_column_name_in_a_broken_line_is_refused(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.csv"
    output.write_text('"key","fingerprint\n')

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "line 1 is not an outcome of mesh-balance bulk. Choose another output." in result.stderr


@skipped_on_windows("outputs are not locked on Windows")
def test_second_run_into_the_same_output_is_refused(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"

    with open_output(output):
        result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "is being written by another run" in result.stderr


@pytest.mark.parametrize("name", ["x.xlsx", "x.parquet", "x.csv.gz", "x.tsv", "x.2026-11-28"])
def test_output_name_of_an_unknown_format_is_refused(
    mesh: MockServer, tmp_path: Path, name: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / name

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert result.stderr == (
        f"error: {output}: cannot write {output.suffix} files. Choose a name that ends in .csv for "
        "CSV, or in .jsonl for JSON lines.\n"
    )


@pytest.mark.parametrize("name", ["x.csv", "x.CSV", "x.jsonl", "x.ndjson", "x.json", "x"])
def test_output_name_of_a_known_format_is_accepted(
    mesh: MockServer, tmp_path: Path, name: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / name

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0

    is_csv = output.read_text().startswith("key,broker,")
    assert is_csv is (output.suffix.lower() == ".csv")
    assert len(mesh.calls) == 1


FORMULAS = [
    "=1+1",
    "+cmd",
    "-cmd",
    "@SUM(A1)",
    "\t=1",
    "'=1",
    "''=1",
    '=HYPERLINK("http://x","y")',
    "\uff1d1",
    "-",
    "-1-1",
    "+49 123",
]
PLAIN_CELLS = ["", "alice", "'alice", "-102.88", "+1", "1=1", "a@b.example", "{}", "-12345678.9"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_formula_is_escaped_and_restored(cell: str) -> None:
    escaped = escape_formula(cell)

    assert escaped == "'" + cell
    assert unescape_formula(escaped) == cell


@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_cell_that_is_not_a_formula_is_written_as_it_is(cell: str) -> None:
    assert escape_formula(cell) == cell
    assert unescape_formula(cell) == cell


@settings(deadline=None)  # a busy machine is not a fault
@given(strategies.text("'=+-@\t1.a", max_size=6))
def test_every_cell_reads_back_as_it_was(cell: str) -> None:
    assert unescape_formula(escape_formula(cell)) == cell


def test_csv_output_holds_no_formula_and_resumes_with_the_same_keys(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.jsonl"
    output = tmp_path / "balances.csv"
    keys = [*FORMULAS, *PLAIN_CELLS[1:]]
    records = [
        {"auth_token": f"{TOKEN}-{number}", "broker": "=coinbase", "key": key}
        for number, key in enumerate(keys)
    ]
    accounts.write_text("".join(json.dumps(record) + "\n" for record in records))
    mesh.answers(f"{TOKEN}-0", cash={"USD": 1}, total_cash_usd="-102.88")

    first = run("bulk", str(accounts), "-o", str(output))
    again = run("bulk", str(accounts), "-o", str(output))

    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
    cells = [cell for row in rows for cell in row.values() if not numbers.fullmatch(cell)]
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert len(mesh.calls) == len(keys)
    assert not any(cell.startswith(tuple("=+-@\t\r\uff1d")) for cell in cells)
    assert {row["broker"] for row in rows} == {"'=coinbase"}
    assert "-102.88" in {row["total_cash_usd"] for row in rows}


def test_json_output_holds_keys_as_they_are(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    accounts.write_text("auth_token,broker,key\nt,b,=1+1\n")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert [line["key"] for line in read_lines(output)] == ["=1+1"]
    assert len(mesh.calls) == 1


def test_output_that_is_the_input_on_stdin_is_refused(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.jsonl"
    text = json.dumps({"key": "1", "auth_token": TOKEN, "broker": "coinbase"})
    accounts.write_text(text)
    with accounts.open("rb") as stdin:
        done = subprocess.run(
            [*PROGRAM, "bulk", "-", "-o", str(accounts)],
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    assert (done.returncode, accounts.read_text(), mesh.calls) == (2, text, [])
    assert "accounts.jsonl is the input: choose another output" in done.stderr


def test_output_is_written_where_files_cannot_be_locked(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(mesh.calls) == 2
