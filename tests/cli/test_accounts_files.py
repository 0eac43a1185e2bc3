"""`mesh-balance bulk`: the files that accounts are read from."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest

from mesh_facade.cli import accounts as accounts_module
from mesh_facade.cli.accounts import STDIN, open_accounts
from mesh_facade.testing import MockServer
from tests.cli.support import TOKEN, read_lines, run, skipped_on_windows


def test_csv_as_a_spreadsheet_saves_it_is_read(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    accounts.write_bytes(b"\xef\xbb\xbfbroker,auth_token\r\ncoinbase,some-token\r\n")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert [line["key"] for line in read_lines(output)] == ["1"]
    assert len(mesh.calls) == 1


def test_zero_is_a_key_and_null_is_none(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.jsonl"
    output = tmp_path / "balances.jsonl"
    keys = [0, 1, None]
    records = [{"auth_token": TOKEN, "broker": "coinbase", "key": key} for key in keys]
    accounts.write_text("".join(json.dumps(record) + "\n" for record in records))

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert sorted(line["key"] for line in read_lines(output)) == ["0", "1", "3"]
    assert len(mesh.calls) == 3


def test_blank_key_in_json_is_none(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.jsonl"
    output = tmp_path / "balances.jsonl"
    accounts.write_text(json.dumps({"auth_token": TOKEN, "broker": "coinbase", "key": " "}))

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert [line["key"] for line in read_lines(output)] == ["1"]
    assert len(mesh.calls) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no account"),
        ("\n \n", "holds no account"),
        ("auth_token,broker\n", "holds no account: CSV or JSON lines are expected"),
        (",\n ,\n", "missing columns 'auth_token' and 'broker'"),
        (
            "auth_token,broker\nCoinbase,a-secret-token\n",
            "line 2: 'auth_token' is the name of a broker.",
        ),
        (
            '{"auth_token": "coinbase ", "broker": "a-secret-token"}\n',
            "line 1: 'auth_token' is the name of a broker.",
        ),
        (
            "auth_token,broker\ncoinbase,a-secret-token\n",
            (
                "line 2: 'auth_token' is the name of a broker. Are the columns auth_token and "
                "broker in the wrong order?\n"
            ),
        ),
        ("auth_token,broker\n\n,\n", "holds no account: CSV or JSON lines are expected"),
        (
            "token,broker\nt,coinbase\n",
            (
                "accounts.csv: missing column 'auth_token' (found: token,broker). The first line "
                "must name the columns auth_token, broker and, optionally, key, separated by "
                "commas, semicolons or tabs."
            ),
        ),
        ("auth_token|broker|key\nt|b|k\n", "missing columns 'auth_token' and 'broker'"),
        ("auth_token|broker|key\nt|b|k\n", "(found: auth_token|broker|key)"),
        ("Auth_Token;Key\nt;k\n", "missing column 'broker' (found: Auth_Token;Key)"),
        ("auth_token,broker,Broker\nt,b,c\n", "column 'broker' appears more than once"),
        ("auth_token,broker\nt,coinbase\nt\n", "line 3: 'broker' is empty"),
        ("auth_token,broker\nt,b,c\n", "line 2: 3 cells, but the first line names 2 columns"),
        ('auth_token,broker\n\nt,"b\n', "line 3: unexpected end of data"),
        ("auth_token,broker,key\nt,b,1\nt,b,1\n", "line 3: the key is the same as in line 2"),
        (
            "auth_token,broker,key\nt,b,2\nu,b,\n",
            (
                "accounts.csv, line 3: this account has no key, so its record number 2 is its key, "
                "but line 2 has the same key. Give this account a key of its own.\n"
            ),
        ),
        (
            "auth_token,broker,key\nt,b,\nu,b,1\n",
            (
                "accounts.csv, line 3: the key is the same as the record number 1 of line 2, which "
                "has no key. Give each account a key of its own.\n"
            ),
        ),
        ('{"auth_token": "t", "broker": "b"}\n{"auth_tok\n', "line 2: not a JSON object"),
        ('{"auth_token": "t", "key": 1}\n', "missing field 'broker' (found: auth_token,key)"),
        ('{"auth_token": "", "broker": "b"}\n', "line 1: 'auth_token' is empty"),
        ('{"auth_token": null, "broker": "b"}\n', "line 1: 'auth_token' is empty"),
        ('{"auth_token": " \\t", "broker": "b"}\n', "line 1: 'auth_token' is empty"),
        ('{"auth_token": "t", "broker": " "}\n', "line 1: 'broker' is empty"),
        ('{"auth_token": "t", "broker": "b", "key": [1]}\n', "'key' must be a string or a number"),
        ('[{"auth_token": "t", "broker": "b"}]\n', "accounts.csv: found a JSON array instead"),
        ('auth_token,broker,key\nt,b,"1\n2"\n', "line 2: 'key' contains a line break"),
        ('auth_token,broker,key\n"t\nu",b,1\n', "line 2: 'auth_token' contains a line break"),
        ('{"auth_token": "t", "broker": "b\\nc"}\n', "line 1: 'broker' contains a line break"),
        ('{"auth_token": "t", "broker": "b\\rc"}\n', "line 1: 'broker' contains a line break"),
        ('{"auth_token": "t", "broker": 1}\n', "line 1: 'broker' must be a string"),
        ('{"auth_token": "t", "broker": "b"}\n[]\n', "line 2: not a JSON object"),
        (
            '{"auth_token": "t", "broker": "b", "auth_token": "u"}\n',
            "line 1: an object has a field twice. Keep only one of the two.",
        ),
        ('{"auth_token": ' + "[" * 100_000, "line 1: not a JSON object"),
        ('{"auth_token": "t", "broker": "b", "key": "\\ud800"}\n', "surrogates not allowed"),
        (
            '{"auth_token": "t", "broker": "b", "key": "\\ud800"}\n',
            (
                "accounts.csv, line 1: 'key' cannot be encoded as UTF-8: surrogates not allowed. "
                "Correct its \\u escapes.\n"
            ),
        ),
        (
            '{"auth_token": "t", "broker": "b"}\n{"auth_token": "t", "broker": "\\udc00"}\n',
            "accounts.csv, line 2: 'broker' cannot be encoded as UTF-8",
        ),
        (b"auth_token,broker\n\xff,b\n", "accounts.csv: it is not utf-8 (invalid start byte)."),
        (b"auth_token,broker\n\xff,b\n", "Save it as CSV or JSON lines, in UTF-8 or UTF-16."),
    ],
)
def test_bad_accounts_file_is_refused_before_anything_is_read_or_written(
    mesh: MockServer, tmp_path: Path, text: str | bytes, message: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    accounts.write_bytes(text if isinstance(text, bytes) else text.encode())

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@skipped_on_windows("Windows has no named pipes in the file system")
def test_accounts_are_read_from_a_named_pipe(mesh: MockServer, tmp_path: Path) -> None:
    pipe = tmp_path / "accounts.jsonl"
    output = tmp_path / "balances.jsonl"
    os.mkfifo(pipe)
    text = b'{"auth_token": "t", "broker": "b"}\n'
    writer = threading.Thread(target=pipe.write_bytes, args=(text,), daemon=True)
    writer.start()

    result = run("bulk", str(pipe), "-o", str(output))

    writer.join(5)
    note = f"{pipe}: no account has a key: record numbers are the keys\n"
    assert (result.exit_code, result.stderr) == (0, f"{note}1 account read, 0 failed: {output}\n")
    assert [line["key"] for line in read_lines(output)] == ["1"]
    assert len(mesh.calls) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"{TOKEN},coinbase,alice\n",
        f"{TOKEN}\n",
        f"auth_token,{TOKEN}\nbroker,coinbase\n",
        f'"auth_token,{TOKEN}\n',
        f"auth_token broker\n{TOKEN} coinbase\n",
        f'auth_token,broker\n"{TOKEN}",\n',
        f'auth_token,broker\n"{TOKEN}"x,b\n',
        f"auth_token,broker,key\nt,b,{TOKEN}\nu,b,{TOKEN}\n",
        f'[{{"auth_token": "{TOKEN}"}}]\n',
        f'{{"{TOKEN}": "coinbase"}}\n',
        f'{{"auth_token": "{TOKEN}"\n',
        f'{{"auth_token": "{TOKEN}", "broker": 1}}\n',
    ],
)
def test_error_about_an_accounts_file_quotes_no_cell(
    mesh: MockServer, tmp_path: Path, text: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    accounts.write_text(text)

    result = run("bulk", str(accounts), "-o", str(tmp_path / "balances.jsonl"))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "accounts.csv" in result.stderr
    assert TOKEN not in result.output


@pytest.mark.parametrize(
    "text",
    [
        f"auth_token,broker\n{TOKEN},b\xff\n",
        f'{{"auth_token": "{TOKEN}", "broker": "b"\n',
        f'{{"auth_token": "t", "broker": "b", "key": "{TOKEN}\\ud800"}}\n',
    ],
)
def test_error_about_an_accounts_file_has_no_context_that_holds_cells(
    tmp_path: Path, text: str
) -> None:
    """The decoders' errors hold what they could not decode."""
    accounts = tmp_path / "accounts.csv"
    accounts.write_bytes(text.encode("latin-1"))

    with open_accounts(accounts) as file, pytest.raises(ValueError, match="accounts") as caught:
        list(file.read_records())

    assert caught.value.__context__ is None
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(f"{TOKEN};coinbase\n", "?;?", id="CSV"),
        pytest.param(f'{{"{TOKEN}": "t", "broker": "b"}}\n', "?,broker", id="JSON lines"),
    ],
)
def test_names_that_may_be_tokens_are_not_shown(
    mesh: MockServer, tmp_path: Path, text: str, found: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    accounts.write_text(text)

    result = run("bulk", str(accounts), "-o", str(tmp_path / "balances.jsonl"))

    assert mesh.calls == []
    assert (
        f"(found: {found}). ? stands for text that is not shown, because it may be a token."
        in result.stderr
    )


ROWS = [
    ["Auth_Token", " BROKER ", "Note\nof ours", "key"],
    ["token-1", "coinbase", "one\r\ntwo", "alice"],
    ["", "", "", ""],
    [" token-2 ", "robinhood", 'a "quoted" word', "bob"],
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_csv_is_read_in_every_common_dialect_and_encoding(
    mesh: MockServer, tmp_path: Path, delimiter: str, line_end: str, encoding: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows(ROWS)
    blank_line = line_end
    accounts.write_bytes((text.getvalue() + blank_line).encode(encoding))

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, result.stderr) == (0, f"2 accounts read, 0 failed: {output}\n")
    stored = {line["key"]: line["broker"] for line in read_lines(output)}
    assert stored == {"alice": "coinbase", "bob": "robinhood"}
    assert sorted(call.fields["authToken"] for call in mesh.calls) == ["token-1", "token-2"]


def test_line_ends_in_quoted_cells_belong_to_the_cell(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    accounts.write_text('"auth_token\n","a\nnote","broker"\n"t","one\n\ntwo","b"\n"u","","b"\n')

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert sorted(line["key"] for line in read_lines(output)) == ["1", "2"]
    assert len(mesh.calls) == 2


def test_big_endian_utf_16_with_a_byte_order_mark_is_read(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    text = "auth_token,broker\nt,b\n"
    accounts.write_bytes(codecs.BOM_UTF16_BE + text.encode("utf-16-be"))

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(mesh.calls) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_blank_json_lines_are_skipped(mesh: MockServer, tmp_path: Path, encoding: str) -> None:
    accounts = tmp_path / "accounts.jsonl"
    output = tmp_path / "balances.jsonl"
    record = json.dumps({"auth_token": "t", "broker": "bröker"}, ensure_ascii=False)
    accounts.write_bytes(f"\n{record}\n  \n\r\n{record}\n\n".encode(encoding))

    result = run("bulk", str(accounts), "-o", str(output))

    note = f"{accounts}: no account has a key: record numbers are the keys\n"
    assert (result.exit_code, result.stderr) == (0, f"{note}2 accounts read, 0 failed: {output}\n")
    assert sorted(line["key"] for line in read_lines(output)) == ["1", "2"]
    assert {line["broker"] for line in read_lines(output)} == {"bröker"}
    assert len(mesh.calls) == 2


@pytest.mark.parametrize("size", [1, 100_000])
def test_accounts_are_read_from_stdin(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(accounts_module, "_SPOOL_SIZE", size)
    output = tmp_path / "balances.jsonl"
    text = "auth_token;broker;key\nt;coinbase;alice\nu;coinbase;bob\n"

    result = run("bulk", "-", "-o", str(output), input=text)
    again = run("bulk", "-", "-o", str(output), input=text)

    assert (result.exit_code, again.exit_code) == (0, 0)
    assert sorted(line["key"] for line in read_lines(output)) == ["alice", "bob"]
    assert len(mesh.calls) == 2


def test_bad_accounts_on_stdin_are_reported_as_such(mesh: MockServer, tmp_path: Path) -> None:
    output = tmp_path / "balances.jsonl"

    result = run("bulk", "-", "-o", str(output), input="auth_token,broker\nt,\n")

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert result.stderr == "error: stdin, line 2: 'broker' is empty.\n"


def test_closed_stdin_holds_no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", None)
        with pytest.raises(ValueError, match="stdin is closed"), open_accounts(STDIN):
            pass
