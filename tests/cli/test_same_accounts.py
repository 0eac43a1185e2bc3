"""`mesh-balance bulk` again: a resumed run never takes one account's outcome for another's."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mesh_facade import LinkedAccount
from mesh_facade.cli import fingerprints
from mesh_facade.testing import MockServer
from tests.cli.support import TOKEN, read_lines, run, write_accounts

WITHOUT_KEYS = ["auth_token,broker", f"{TOKEN}-1,coinbase", f"{TOKEN}-2,robinhood"]
WITH_KEYS = ["auth_token,broker,key", f"{TOKEN}-1,coinbase,alice", f"{TOKEN}-2,robinhood,bob"]


def write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join([*lines, ""]))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ([WITHOUT_KEYS[0], f"{TOKEN}-0,coinbase", *WITHOUT_KEYS[1:]], 2),  # a row put on top
        ([WITHOUT_KEYS[0], *WITHOUT_KEYS[2:]], 2),  # a row removed
        ([WITHOUT_KEYS[0], WITHOUT_KEYS[2], WITHOUT_KEYS[1]], 2),  # rows sorted
        ([*WITHOUT_KEYS[:2], f"{TOKEN}-2,coinbase"], 3),  # another broker
        ([*WITHOUT_KEYS[:2], f"{TOKEN}-3,robinhood"], 3),  # another token
    ],
)
def test_changed_file_without_keys_is_refused_before_anything_is_read(
    mesh: MockServer, tmp_path: Path, changed: list[str], line: int, suffix: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / f"balances.{suffix}"
    write(accounts, WITHOUT_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    before = output.read_bytes()
    mesh.calls.clear()
    write(accounts, changed)

    for options in ([], ["--trust-keys"], ["--retry-failed"]):
        result = run("bulk", str(accounts), "-o", str(output), *options)

        assert (result.exit_code, mesh.calls) == (2, [])
        assert output.read_bytes() == before
        assert result.stderr == (
            f"error: {accounts}, line {line}: {output} holds the outcome of another account for "
            f"record {line - 1}. Lines were added, removed or moved, or a token or a broker was "
            "changed. Choose another output; a column 'key' lets you change the order of the "
            "lines.\n"
        )


def test_rows_added_at_the_end_are_read_alone(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    write(accounts, WITHOUT_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [*WITHOUT_KEYS, f"{TOKEN}-3,coinbase"])

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, result.stderr) == (0, f"1 read, 2 already in {output}\n")
    assert [call.fields["authToken"] for call in mesh.calls] == [f"{TOKEN}-3"]
    assert [line["key"] for line in read_lines(output)][2:] == ["3"]


def test_keys_let_rows_be_added_and_moved(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    write(accounts, WITH_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [WITH_KEYS[0], f"{TOKEN}-3,coinbase,carol", WITH_KEYS[2], WITH_KEYS[1]])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 0
    assert [call.fields["authToken"] for call in mesh.calls] == [f"{TOKEN}-3"]
    assert sorted(line["key"] for line in read_lines(output)) == ["alice", "bob", "carol"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_key_with_another_token_is_refused_unless_keys_are_trusted(
    mesh: MockServer, tmp_path: Path, suffix: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / f"balances.{suffix}"
    write(accounts, WITH_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [*WITH_KEYS[:2], f"{TOKEN}-new,robinhood,bob"])

    refused = run("bulk", str(accounts), "-o", str(output))
    trusted = run("bulk", str(accounts), "-o", str(output), "--trust-keys")

    assert (refused.exit_code, trusted.exit_code, mesh.calls) == (2, 0, [])
    assert refused.stderr == (
        f"error: {accounts}, line 3: {output} holds an outcome with this key and another "
        "auth_token or broker. Choose another output or, if only tokens were renewed, add "
        "--trust-keys.\n"
    )


def test_key_with_another_broker_is_refused_even_if_keys_are_trusted(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    write(accounts, WITH_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [*WITH_KEYS[:2], f"{TOKEN}-2,coinbase,bob"])

    result = run("bulk", str(accounts), "-o", str(output), "--trust-keys")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "an outcome with this key and another broker. Choose another output." in result.stderr


def test_run_with_nothing_to_read_says_so(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 4)
    output = tmp_path / "balances.jsonl"
    mesh.fails(f"{TOKEN}-2", "unauthorized-token")
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (1, [])
    assert result.stderr == (
        f"0 read, 4 already in {output}; to read all accounts again, choose another output\n"
        f"1 of 4 accounts failed: see {output}\n"
    )


def test_outcomes_of_accounts_that_are_no_longer_listed_do_not_count(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"
    mesh.fails(f"{TOKEN}-1", "unauthorized-token")
    run("bulk", str(accounts), "-o", str(output))
    write_accounts(accounts, 1)

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 0
    assert result.stderr.startswith(f"0 read, 1 already in {output};")


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_output_of_an_older_version_is_refused_and_left_unchanged(
    mesh: MockServer, tmp_path: Path, suffix: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / f"balances.{suffix}"
    run("bulk", str(accounts), "-o", str(output))
    remove_fingerprints(output)
    before = output.read_bytes()
    mesh.calls.clear()

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, output.read_bytes(), mesh.calls) == (2, before, [])
    assert result.stderr == (
        f"error: {output}: it was written by an older version, so nothing shows which accounts its "
        "outcomes belong to. Choose another output.\n"
    )


def remove_fingerprints(output: Path) -> None:
    """Rewrite an output as versions before fingerprints wrote it."""
    if output.suffix == ".jsonl":
        lines = read_lines(output)
        for line in lines:
            del line["fingerprint"]
        output.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return
    with output.open(newline="") as file:
        rows = [row[:-1] for row in csv.reader(file)]
    with output.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


@pytest.mark.parametrize("broken", [{"key": 1}, {"error": 1}, {"broker": None}, {"fingerprint": 0}])
def test_json_line_with_other_types_is_not_an_outcome(
    mesh: MockServer, tmp_path: Path, broken: dict[str, object]
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    run("bulk", str(accounts), "-o", str(output))
    output.write_text(json.dumps(read_lines(output)[0] | broken) + "\n")
    mesh.calls.clear()

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "line 1 is not an outcome of mesh-balance bulk. Choose another" in result.stderr


def test_fingerprint_recognizes_the_account_and_shows_nothing_of_its_token() -> None:
    account = LinkedAccount(TOKEN, "coinbase", "alice")

    first = fingerprints.make_fingerprint(account)
    second = fingerprints.make_fingerprint(account)

    assert fingerprints.matches(first, account)
    assert fingerprints.matches(second, account)
    assert first != second  # equal tokens do not show
    assert first.split(":")[1] != second.split(":")[1]
    assert not fingerprints.matches(first, LinkedAccount(f"{TOKEN}x", "coinbase", "alice"))
    assert not fingerprints.matches(first, LinkedAccount(TOKEN, "robinhood", "alice"))
    assert not fingerprints.matches(first, LinkedAccount(f"{TOKEN}coin", "base", "alice"))
    assert fingerprints.matches(first, LinkedAccount(TOKEN, "coinbase", "another-key"))


@pytest.mark.parametrize("fingerprint", ["", "hmac-sha256", "hmac-sha256:00", "é:é:é"])
def test_damaged_fingerprint_matches_no_account(fingerprint: str) -> None:
    assert not fingerprints.matches(fingerprint, LinkedAccount(TOKEN, "coinbase"))
