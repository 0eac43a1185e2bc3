"""`mesh-balance bulk` again: a resumed run never takes one account's outcome for another's."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mesh_facade import LinkedAccount
from mesh_facade.cli import fingerprints, resuming
from mesh_facade.testing import MockServer
from tests.cli.support import (
    ONE_DEAD_TOKEN,
    RETRY_HINT,
    TOKEN,
    read_lines,
    run,
    write_accounts,
)

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

    for options, hint in (
        ([], ""),
        (["--trust-keys"], "--trust-keys needs a column 'key'. "),
        (["--retry-failed"], ""),
    ):
        result = run("bulk", str(accounts), "-o", str(output), *options)

        assert (result.exit_code, mesh.calls) == (2, [])
        assert output.read_bytes() == before
        assert result.stderr == (
            f"error: {accounts}, line {line}: {output} holds the outcome of another account for "
            f"record {line - 1}. Lines were added, removed or moved, or a token or a broker was "
            f"changed. {hint}Choose another output or, to keep these outcomes, give each account a "
            "key in a column 'key': its old record number (1 was the first account) if it has an "
            "outcome, otherwise a new key.\n"
        )


def test_added_column_with_the_old_record_numbers_keeps_the_outcomes(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    write(accounts, ["auth_token,broker", "first,coinbase", "second,robinhood"])
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(
        accounts,
        [
            "auth_token,broker,key",
            "added,coinbase,added",
            "first,coinbase,1",
            "second,robinhood,2",
        ],
    )

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, len(mesh.calls)) == (0, 1)
    assert result.stderr == f"1 read, 2 already in {output}\n"
    assert mesh.calls[0].fields["authToken"] == "added"


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
        "auth_token. Choose another output or, if only tokens were renewed, add --trust-keys.\n"
    )


@pytest.mark.parametrize("options", [[], ["--trust-keys"]])
def test_key_with_another_broker_is_refused_even_if_keys_are_trusted(
    mesh: MockServer, tmp_path: Path, options: list[str]
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    write(accounts, WITH_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [*WITH_KEYS[:2], f"{TOKEN}-2,coinbase,bob"])

    result = run("bulk", str(accounts), "-o", str(output), *options)

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "an outcome with this key and another broker. Choose another output, or" in result.stderr
    assert "--trust-keys" not in result.stderr


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (WITHOUT_KEYS, WITH_KEYS),
        (WITH_KEYS, WITHOUT_KEYS),
        (["auth_token,broker,key", f"{TOKEN}-1,coinbase,101"], WITHOUT_KEYS),
        (WITHOUT_KEYS, ["auth_token,broker,key", f"{TOKEN}-1,coinbase,101"]),
        (WITH_KEYS, ["auth_token,broker,key", f"{TOKEN}-3,coinbase,carol"]),
    ],
)
def test_output_that_holds_no_account_of_the_file_is_refused(
    mesh: MockServer, tmp_path: Path, suffix: str, before: list[str], after: list[str]
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / f"balances.{suffix}"
    write(accounts, before)
    run("bulk", str(accounts), "-o", str(output))
    stored = output.read_bytes()
    mesh.calls.clear()
    write(accounts, after)
    subject = f"none of the 2 outcomes in {output} belongs"
    if len(before) == 2:
        subject = f"the outcome in {output} does not belong"

    for options in ([], ["--trust-keys"], ["--retry-failed"]):
        result = run("bulk", str(accounts), "-o", str(output), *options)

        assert (result.exit_code, mesh.calls, output.read_bytes()) == (2, [], stored)
        assert result.stderr == (
            f"error: {accounts}: {subject} to an account of this file. {output} was written for "
            "another file or with other keys: for example, a column 'key' was added or removed "
            "since. Choose another output, or give each account its old key (without a column "
            "'key', that was its record number).\n"
        )


RENAMED_KEY = (["a,coinbase,alice", "b,coinbase,bob"], ["a,coinbase,alice", "b,coinbase,robert"])
ADDED_KEY = (["a,coinbase,", "b,coinbase,"], ["a,coinbase,alice", "b,coinbase,"])


@pytest.mark.parametrize(("change", "line", "key"), [(RENAMED_KEY, 3, "bob"), (ADDED_KEY, 2, "1")])
def test_account_whose_outcome_has_another_key_is_refused(
    mesh: MockServer, tmp_path: Path, change: tuple[list[str], list[str]], line: int, key: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    before, after = change
    write(accounts, ["auth_token,broker,key", *before])
    run("bulk", str(accounts), "-o", str(output))
    stored = output.read_bytes()
    mesh.calls.clear()
    write(accounts, ["auth_token,broker,key", *after])

    for options in ([], ["--trust-keys"], ["--retry-failed"]):
        result = run("bulk", str(accounts), "-o", str(output), *options)

        assert (result.exit_code, mesh.calls, output.read_bytes()) == (2, [], stored)
        assert result.stderr == (
            f"error: {accounts}, line {line}: {output} holds the outcome of this account under "
            f"another key: {key}. Lines were moved, or keys were changed. Choose another output, "
            "or give the account its old key.\n"
        )


@pytest.mark.parametrize("max_comparisons", [resuming._MAX_COMPARISONS, 0])
def test_changed_key_is_noticed_beside_many_renewed_tokens(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_comparisons: int
) -> None:
    monkeypatch.setattr(resuming, "_MAX_COMPARISONS", max_comparisons)
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    head = "auth_token,broker,key"
    write(accounts, [head, *(f"old-{i},coinbase,user-{i}" for i in range(30)), "b,coinbase,bob"])
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [head, *(f"new-{i},coinbase,user-{i}" for i in range(30)), "b,coinbase,robert"])

    result = run("bulk", str(accounts), "-o", str(output), "--trust-keys")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert f"line 32: {output} holds the outcome of this account under another key: bob." in (
        result.stderr
    )


def test_changed_key_is_noticed_beside_many_removed_accounts(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    head = "auth_token,broker,key"
    others = [f"other-{i},coinbase,other-{i}" for i in range(5)]
    removed = [f"removed-{i},coinbase,removed-{i}" for i in range(30)]
    write(accounts, [head, *others, *removed, "b,coinbase,bob"])
    run("bulk", str(accounts), "-o", str(output), "--concurrency", "1")
    mesh.calls.clear()
    write(accounts, [head, *others, "b,coinbase,robert"])

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert f"line 7: {output} holds the outcome of this account under another key: bob." in (
        result.stderr
    )


def test_swapped_keys_are_noticed_beside_many_removed_accounts(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orphans are compared as well, but do not use up the comparisons."""
    monkeypatch.setattr(resuming, "_MAX_COMPARISONS", 0)
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    head = "auth_token,broker,key"
    removed = [f"removed-{i},coinbase,removed-{i}" for i in range(30)]
    write(accounts, [head, "a,coinbase,alice", "b,coinbase,bob", *removed])
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [head, "a,coinbase,bob", "b,coinbase,alice"])

    result = run("bulk", str(accounts), "-o", str(output), "--trust-keys")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "holds the outcome of this account under another key: alice." in result.stderr


def test_line_that_moves_to_the_number_of_an_unread_account_is_refused(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    head = "auth_token,broker"
    write(accounts, [head, "a,coinbase", "b,coinbase", "c,coinbase"])
    run("bulk", str(accounts), "-o", str(output))
    read = [outcome for outcome in read_lines(output) if outcome["key"] != "2"]
    output.write_text("".join(json.dumps(outcome) + "\n" for outcome in read))
    mesh.calls.clear()
    write(accounts, [head, "a,coinbase", "c,coinbase"])

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert f"line 3: {output} holds the outcome of this account as record 3, because" in (
        result.stderr
    )


def test_account_that_has_lost_its_key_is_refused_with_the_old_key(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    head = "auth_token,broker,key"
    write(accounts, [head, "a,coinbase,alice", "b,coinbase,bob", "c,coinbase,carol"])
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [head, "a,coinbase,alice", "b,coinbase,bob", "c,coinbase,"])

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "holds the outcome of this account under another key: carol." in result.stderr
    assert "give the account its old key" in result.stderr


def test_keys_that_changed_places_are_refused_even_if_keys_are_trusted(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    head = "auth_token,broker,key"
    write(accounts, [head, "a,coinbase,1", "b,coinbase,2"])
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [head, "a,coinbase,2", "b,coinbase,1"])

    result = run("bulk", str(accounts), "-o", str(output), "--trust-keys")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "holds the outcome of this account under another key: 1." in result.stderr


def test_failed_outcomes_of_moved_lines_without_keys_are_refused(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    lines = ["unauthorized-1,coinbase", "unauthorized-2,coinbase"]
    for line in lines:
        mesh.fails(line.partition(",")[0], "unauthorized-token")
    write(accounts, ["auth_token,broker", *lines])
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, ["auth_token,broker", lines[1]])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "holds the outcome of this account as record 2, because" in result.stderr
    assert "add a column 'key'" in result.stderr


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("removed", "note"),
    [
        (
            ["bob"],
            (
                "1 outcome in {output} belongs to no account of {accounts} (key: bob). It stays "
                "there and is not counted; to leave it out, choose another output\n"
            ),
        ),
        (
            ["bob", "c\x1bd"],
            (
                "2 outcomes in {output} belong to no account of {accounts} (keys: bob, c d). They "
                "stay there and are not counted; to leave them out, choose another output\n"
            ),
        ),
        (
            ["bob", "carol", "dave", "erin", "frank"],
            (
                "5 outcomes in {output} belong to no account of {accounts} (keys: bob, carol, dave "
                "and 2 more). They stay there and are not counted; to leave them out, choose "
                "another output\n"
            ),
        ),
    ],
)
def test_outcomes_of_removed_accounts_are_kept_and_named(
    mesh: MockServer, tmp_path: Path, suffix: str, removed: list[str], note: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / f"balances.{suffix}"
    kept = ["auth_token,broker,key", f"{TOKEN}-a,coinbase,alice"]
    lines = [f"{TOKEN}-{number},coinbase,{key}" for number, key in enumerate(removed)]
    write(accounts, [*kept, *lines])
    run("bulk", str(accounts), "-o", str(output), "--concurrency", "1")
    before = output.read_bytes()
    mesh.calls.clear()
    write(accounts, [*kept, f"{TOKEN}-z,coinbase,zoe"])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 0
    assert [call.fields["authToken"] for call in mesh.calls] == [f"{TOKEN}-z"]
    assert result.stderr == (
        f"1 read, 1 already in {output}\n" + note.format(output=output, accounts=accounts)
    )
    assert output.read_bytes().startswith(before)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_output_of_another_file_that_shares_an_account_is_refused(
    mesh: MockServer, tmp_path: Path, suffix: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / f"balances.{suffix}"
    write(accounts, [*WITH_KEYS, f"{TOKEN}-3,coinbase,carol"])
    run("bulk", str(accounts), "-o", str(output))
    stored = output.read_bytes()
    mesh.calls.clear()
    write(accounts, [*WITH_KEYS[:2], f"{TOKEN}-4,coinbase,dave", f"{TOKEN}-5,coinbase,erin"])

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls, output.read_bytes()) == (2, [], stored)
    assert result.stderr == (
        f"error: {accounts}: 2 of 3 outcomes in {output} belong to no account of this file, and "
        f"most accounts of this file have no outcome there. So {output} was probably written for "
        "another file. Choose another output.\n"
    )


def test_many_added_accounts_do_not_make_an_output_that_of_another_file(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    write(accounts, WITH_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    added = [f"{TOKEN}-{number},coinbase,user-{number}" for number in range(3, 9)]
    write(accounts, [*WITH_KEYS[:2], *added])

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, len(mesh.calls)) == (0, 6)


def test_failed_accounts_are_read_again_although_most_accounts_changed(
    mesh: MockServer, tmp_path: Path
) -> None:
    """Such a run adds no account to the output, so it cannot mix two files."""
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    mesh.fails(f"{TOKEN}-1", "not-found")
    write(accounts, [*WITH_KEYS, f"{TOKEN}-3,coinbase,carol"])
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [*WITH_KEYS[:2], f"{TOKEN}-4,coinbase,dave", f"{TOKEN}-5,coinbase,erin"])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert (result.exit_code, len(mesh.calls)) == (1, 1)


def test_last_line_of_a_file_without_keys_can_be_removed(mesh: MockServer, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    write(accounts, WITHOUT_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, WITHOUT_KEYS[:2])

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (0, [])
    assert f"1 outcome in {output} belongs to no account of {accounts} (key: 2)." in result.stderr


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["auth_token,broker,key", "dead,coinbase,alice"],
            (
                "holds a failed outcome with this key and another auth_token or broker. If you "
                "renewed or corrected them, add --retry-failed to read the failed accounts again. "
                "Otherwise choose another output.\n"
            ),
        ),
        (
            ["auth_token,broker", "dead,coinbase"],
            (
                "holds the outcome of another account for record 1. Lines were added, removed or "
                "moved, or a token or a broker was changed. If you only renewed or corrected the "
                "token or the broker of this failed account, add --retry-failed. Otherwise: Choose "
                "another output or, to keep these outcomes, give each account a key in a column "
                "'key': its old record number (1 was the first account) if it has an outcome, "
                "otherwise a new key.\n"
            ),
        ),
    ],
)
def test_renewed_token_of_a_failed_account_leads_to_retry_failed(
    mesh: MockServer, tmp_path: Path, lines: list[str], message: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    mesh.fails("dead", "unauthorized-token")
    write(accounts, lines)
    run("bulk", str(accounts), "-o", str(output))
    mesh.calls.clear()
    write(accounts, [line.replace("dead", "renewed") for line in lines])

    refused = run("bulk", str(accounts), "-o", str(output))
    retried = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert (refused.exit_code, retried.exit_code, len(mesh.calls)) == (2, 0, 1)
    assert refused.stderr == f"error: {accounts}, line 2: {output} {message}"


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
        f"1 of 4 accounts failed: see {output}\n{ONE_DEAD_TOKEN}{RETRY_HINT}"
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
        f"error: {output}: it was written by an older version of mesh-balance, without the "
        "fingerprints that show which accounts its outcomes belong to. Choose another output.\n"
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


@pytest.mark.parametrize(
    "broken",
    [
        {"key": 1},
        {"error": 1},
        {"error": "NotFoundError", "error_type": 1},
        {"broker": None},
        {"fingerprint": 0},
    ],
)
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


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_output_with_two_outcomes_of_one_key_is_refused(
    mesh: MockServer, tmp_path: Path, suffix: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / f"balances.{suffix}"
    write(accounts, WITH_KEYS)
    run("bulk", str(accounts), "-o", str(output))
    joined = output.read_text("utf-8").replace("bob", "alice")
    output.write_text(joined, "utf-8")
    mesh.calls.clear()

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "is a second outcome with the key alice: another program has joined two" in result.stderr
    assert output.read_text("utf-8") == joined


def test_outcome_of_an_account_that_matches_is_not_trusted_under_another_key(
    mesh: MockServer, tmp_path: Path
) -> None:
    """Both keys had one token by mistake, and one of them was corrected later."""
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    write(accounts, [WITH_KEYS[0], WITH_KEYS[1], f"{TOKEN}-1,coinbase,bob"])
    run("bulk", str(accounts), "-o", str(output))
    write(accounts, [WITH_KEYS[0], WITH_KEYS[1], f"{TOKEN}-2,coinbase,bob"])
    mesh.calls.clear()

    result = run("bulk", str(accounts), "-o", str(output), "--trust-keys")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert f"line 2: {output} holds the outcome of this account under another key: bob" in (
        result.stderr
    )
