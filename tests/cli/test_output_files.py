"""`mesh-balance bulk`: which output files are accepted, and how they are protected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mesh_facade.cli.results import open_output
from mesh_facade.testing import MockServer
from tests.cli.support import TOKEN, run, write_accounts


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
    accounts, output = write_accounts(tmp_path / "accounts.csv", 2), tmp_path / name
    output.write_text(text)

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


def test_unwritable_output_is_reported_in_one_line(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)

    result = run("bulk", str(accounts), "-o", str(tmp_path / "nowhere" / "x.jsonl"))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "No such file or directory" in result.stderr


def test_second_run_into_the_same_output_is_refused(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 2), tmp_path / "balances.jsonl"

    with open_output(output):
        result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "is being written by another run" in result.stderr
