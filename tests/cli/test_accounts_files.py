"""`mesh-balance bulk`: the files that accounts are read from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mesh_facade.testing import MockServer
from tests.cli.support import TOKEN, read_lines, run


def test_csv_as_a_spreadsheet_saves_it_is_read(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = tmp_path / "accounts.csv", tmp_path / "balances.jsonl"
    accounts.write_bytes(b"\xef\xbb\xbfbroker,auth_token\r\ncoinbase,some-token\r\n")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert [line["key"] for line in read_lines(output)] == ["1"]
    assert len(mesh.calls) == 1


def test_zero_is_a_key_and_null_is_none(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = tmp_path / "accounts.jsonl", tmp_path / "balances.jsonl"
    keys = [0, 1, None]
    records = [{"auth_token": TOKEN, "broker": "coinbase", "key": key} for key in keys]
    accounts.write_text("".join(json.dumps(record) + "\n" for record in records))

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert sorted(line["key"] for line in read_lines(output)) == ["0", "1", "3"]
    assert len(mesh.calls) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no account"),
        ("auth_token,broker\n", "holds no account: CSV or JSON lines are expected"),
        ("token,broker\nt,coinbase\n", "record 1: it needs auth_token and broker"),
        ("auth_token,broker\nt,coinbase\nt\n", "record 2: it needs"),
        ("auth_token,broker,key\nt,b,1\nt,b,1\n", "record 2: its key '1' was there before"),
        ('{"auth_token": "t", "broker": "b"}\n{"auth_tok\n', "record 2: it needs"),
        ('auth_token,broker,key\nt,b,"1\n2"\n', "record 1: a line ends within it"),
        ('{"auth_token": "t", "broker": "b\\nc"}\n', "record 1: a line ends within it"),
        ('{"auth_token": "t", "broker": "b\\rc"}\n', "record 1: a line ends within it"),
        ('{"auth_token": "t", "broker": 1}\n', "record 1: it needs"),
        ('{"auth_token": "t", "broker": "b"}\n[]\n', "record 2: it needs"),
        ('{"auth_token": ' + "[" * 100_000, "record 1: it needs"),
        ('{"auth_token": "t", "broker": "b", "key": "\\ud800"}\n', "surrogates not allowed"),
        (b"auth_token,broker\n\xff,b\n", "accounts.csv: 'utf-8' codec can't decode"),
    ],
)
def test_bad_accounts_file_is_refused_before_anything_is_read_or_written(
    mesh: MockServer, tmp_path: Path, text: str | bytes, told: str
) -> None:
    accounts, output = tmp_path / "accounts.csv", tmp_path / "balances.jsonl"
    accounts.write_bytes(text if isinstance(text, bytes) else text.encode())

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_accounts_cannot_come_from_a_pipe(mesh: MockServer, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "accounts.jsonl")
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b'{"auth_token": "t", "broker": "b"}\n')

    result = run("bulk", str(pipe), "-o", str(tmp_path / "out.jsonl"))

    os.close(writer)
    assert (result.exit_code, mesh.calls) == (2, [])
    assert result.stderr == f"error: {pipe}: underlying stream is not seekable\n"
