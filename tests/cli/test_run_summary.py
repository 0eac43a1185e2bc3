"""`mesh-balance bulk`: the end of a run says why accounts failed, and what to do about it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from mesh_facade import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    FailedOutcome,
    LinkedAccount,
    LockedError,
    MeshAPIError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnavailableForLegalReasonsError,
)
from mesh_facade.testing import MockServer
from tests.cli.support import (
    DEAD_TOKEN_HINT,
    KEYS_ARE_REFUSED,
    KEYS_MAY_BE_REFUSED,
    REFUSED_EARLIER,
    RETRY_HINT,
    TOKEN,
    TOKENS_MAY_BE_REFUSED,
    make_outcome,
    read_lines,
    run,
    script,
    write_accounts,
)


def set_wrong_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CLIENT_SECRET", "another-secret")


def read_errors(output: Path) -> dict[str, tuple[str | None, str | None]]:
    """Return the error and the error type of each outcome, by key."""
    return {line["key"]: (line["error"], line["error_type"]) for line in read_lines(output)}


def read_rows(output: Path) -> dict[str, str]:
    """Return each outcome as it stands in the output, by the key of its account."""
    row_by_key: dict[str, str] = {}
    for row in output.read_text().splitlines():
        key = re.search(r"account-\d", row)
        if key is not None:  # it is no heading
            row_by_key[key.group()] = row
    return row_by_key


def test_refused_keys_of_a_resumed_run_exit_with_code_three(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older successes do not show that Mesh accepts the keys of this run."""
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    run("bulk", str(accounts), "-o", str(output))
    write_accounts(accounts, 5)
    set_wrong_keys(monkeypatch)

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, len(in_process.calls)) == (3, 5)
    assert result.stderr == (
        f"0 read, 2 failed, 3 already in {output}\n2 of 5 accounts failed: see {output}\n"
        "failures: 2 AuthenticationError\n"
        f"every answer was HTTP 401. {KEYS_MAY_BE_REFUSED}add --retry-failed\n"
    )


def test_unreachable_server_of_a_resumed_run_exits_with_code_four(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    run("bulk", str(accounts), "-o", str(output))
    write_accounts(accounts, 2)
    in_process.fails(f"{TOKEN}-1", "reset")
    monkeypatch.setattr("mesh_facade.engine.retries.random.uniform", lambda _, __: 0.0)

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 4


def test_refused_keys_are_still_named_when_nothing_is_left_to_read(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.csv"
    set_wrong_keys(monkeypatch)
    run("bulk", str(accounts), "-o", str(output))

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, len(in_process.calls)) == (1, 2)
    assert result.stderr == (
        f"0 read, 2 already in {output}; to read all accounts again, choose another output\n"
        f"2 of 2 accounts failed: see {output}\nfailures: 2 AuthenticationError\n"
        "every failure is HTTP 401, so Mesh probably refused the API keys of the earlier run: if "
        "they are correct now, add --retry-failed; else check MESH_CLIENT_ID, MESH_CLIENT_SECRET "
        "and the environment (production or sandbox)\n"
    )


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_retry_with_refused_keys_keeps_the_reasons_of_older_failures(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / f"balances.{suffix}"
    arguments = ["bulk", str(accounts), "-o", str(output)]
    in_process.fails(f"{TOKEN}-0", "unauthorized-token")
    in_process.fails(f"{TOKEN}-1", "not-found")
    in_process.fails(f"{TOKEN}-2", "unauthorized-keys")
    run(*arguments)
    before = read_rows(output)
    right_secret = os.environ["MESH_CLIENT_SECRET"]
    set_wrong_keys(monkeypatch)

    result = run(*arguments, "--retry-failed")

    after = read_rows(output)
    assert result.exit_code == 3
    assert result.stderr == (
        f"3 accounts: 0 read, 3 failed: {output}\nfailures: 3 AuthenticationError\n"
        f"2 older failures stay in {output}, because the HTTP 401s of this run may be about the "
        f"API keys, not about the accounts\nevery answer was HTTP 401. {KEYS_MAY_BE_REFUSED}run "
        "the command again\n"
    )
    assert after["account-0"] == before["account-0"]
    assert after["account-1"] == before["account-1"]
    assert after["account-2"] != before["account-2"]  # the older 401 alone is replaced
    assert len(after) == len(before) == 3
    monkeypatch.setenv("MESH_CLIENT_SECRET", right_secret)
    in_process.reset()
    assert run(*arguments, "--retry-failed").exit_code == 0


def test_unauthorized_answers_blame_neither_keys_nor_tokens_where_the_output_has_a_balance(
    in_process: MockServer, tmp_path: Path
) -> None:
    """Mesh may send such a 401 for a user's token."""
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    for number in (0, 1):
        in_process.fails(f"{TOKEN}-{number}", "unauthorized-keys")
    arguments = ["bulk", str(accounts), "-o", str(output)]

    first = run(*arguments)
    resumed = run(*arguments)
    retried = run(*arguments, "--retry-failed")

    causes = f"2 of 3 accounts failed: see {output}\nfailures: 2 AuthenticationError\n"
    assert (first.exit_code, resumed.exit_code, retried.exit_code) == (1, 1, 3)
    assert first.stderr == (
        f"3 accounts: 1 read, 2 failed: {output}\nfailures: 2 AuthenticationError\n"
        f"2 accounts {TOKENS_MAY_BE_REFUSED}{RETRY_HINT}"
    )
    assert resumed.stderr == (
        f"0 read, 3 already in {output}; to read all accounts again, choose another output\n"
        f"{causes}2 accounts {REFUSED_EARLIER}{RETRY_HINT}"
    )
    assert retried.stderr == (
        f"0 read, 2 failed, 1 already in {output}\n{causes}"
        f"every answer was HTTP 401. {KEYS_MAY_BE_REFUSED}run the command again\n"
    )


@pytest.mark.usefixtures("mesh")
def test_401_beside_other_failures_advises_as_get_does_where_nothing_shows_accepted_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"
    errors = [AuthenticationError("HTTP 401"), ServerError("HTTP 502")]
    script(monkeypatch, [make_outcome(number, error) for number, error in enumerate(errors)])
    run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [])

    resumed = run("bulk", str(accounts), "-o", str(output))

    assert resumed.exit_code == 1
    assert resumed.stderr.endswith(f"1 account {REFUSED_EARLIER}{RETRY_HINT}")


@pytest.mark.usefixtures("mesh")
def test_run_with_right_keys_does_not_blame_tokens_for_401s_of_a_run_with_wrong_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"
    refused = AuthenticationError("HTTP 401")
    script(monkeypatch, [make_outcome(0, refused), make_outcome(1, refused)])
    run("bulk", str(accounts), "-o", str(output))
    write_accounts(accounts, 3)
    script(monkeypatch, [make_outcome(2, None)])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 1
    assert result.stderr.endswith(f"2 accounts {REFUSED_EARLIER}{RETRY_HINT}")
    assert "link the account again" not in result.stderr


@pytest.mark.usefixtures("mesh")
def test_401_beside_other_failures_of_the_same_run_advises_as_get_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    script(monkeypatch, [make_outcome(0, None)])
    run("bulk", str(accounts), "-o", str(output))
    errors = [AuthenticationError("HTTP 401"), NotFoundError("HTTP 404", status="notFound")]
    script(monkeypatch, [make_outcome(number, error) for number, error in enumerate(errors, 1)])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.stderr.endswith(f"1 account {TOKENS_MAY_BE_REFUSED}{RETRY_HINT}")


@pytest.mark.usefixtures("mesh")
def test_longest_wait_that_mesh_asks_for_is_named_by_the_run_in_which_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 5)
    output = tmp_path / "balances.jsonl"
    errors = [
        RateLimitError("HTTP 429", retry_after=60),
        RateLimitError("HTTP 429", retry_after=3599.5),
        ServerError("HTTP 503", retry_after=0),
        RateLimitError("HTTP 429"),
        NotFoundError("HTTP 404", retry_after=9000),
    ]
    script(monkeypatch, [make_outcome(number, error) for number, error in enumerate(errors)])

    first = run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [])
    resumed = run("bulk", str(accounts), "-o", str(output))

    wait = "Mesh asks to wait 3600 s before you read accounts again\n"
    assert (first.exit_code, resumed.exit_code) == (1, 1)
    assert first.stderr == (
        f"5 accounts: 0 read, 5 failed: {output}\n"
        f"failures: 3 RateLimitError, 1 ServerError, 1 NotFoundError\n{wait}{RETRY_HINT}"
    )
    assert "to wait" not in resumed.stderr


@pytest.mark.usefixtures("mesh")
def test_longest_wait_is_named_beside_refused_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    errors = [AuthenticationError("HTTP 401"), ServerError("HTTP 503", retry_after=120)]
    script(monkeypatch, [make_outcome(number, error) for number, error in enumerate(errors)])

    result = run("bulk", str(accounts))

    assert result.exit_code == 3
    assert result.stderr.splitlines()[-2] == (
        "Mesh asks to wait 120 s before you read accounts again"
    )


@pytest.mark.usefixtures("mesh")
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_resumed_run_repeats_the_advice_on_what_the_user_must_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / f"balances.{suffix}"
    errors = [
        BadRequestError("HTTP 400", error_type="unauthorizedToken"),
        PermissionDeniedError("HTTP 403"),
        BadRequestError("HTTP 400", error_type="invalidField"),
        AuthenticationError("HTTP 401"),
    ]
    outcomes: list[Outcome] = []
    lines = ["auth_token,broker,key"]
    for number, error in enumerate(errors):
        account = LinkedAccount(f"{TOKEN}-{number}", "coinbse", f"account-{number}")
        outcomes.append(FailedOutcome(account, None, error, 1, 0.1))
        lines.append(f"{account.auth_token},coinbse,{account.key}")
    accounts.write_text("\n".join(lines))
    script(monkeypatch, outcomes)

    first = run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [])
    resumed = run("bulk", str(accounts), "-o", str(output))

    advice = (
        f"{DEAD_TOKEN_HINT}HTTP 403: ask Mesh for the permission to read balances\n"
        "1 account with HTTP 400 has a broker that the spec does not list: did you mean coinbase?\n"
    )
    assert first.stderr.endswith(f"{advice}1 account {TOKENS_MAY_BE_REFUSED}{RETRY_HINT}")
    assert resumed.stderr.endswith(f"{advice}1 account {REFUSED_EARLIER}{RETRY_HINT}")


@pytest.mark.usefixtures("mesh")
def test_advice_on_stored_failures_stays_beside_that_on_refused_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    script(monkeypatch, [make_outcome(0, PermissionDeniedError("HTTP 403"))])
    run("bulk", str(accounts), "-o", str(output))
    write_accounts(accounts, 2)
    script(monkeypatch, [make_outcome(1, AuthenticationError("HTTP 401"))])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 3
    assert result.stderr.endswith(
        "HTTP 403: ask Mesh for the permission to read balances\n"
        f"every answer was HTTP 401, {KEYS_ARE_REFUSED}add --retry-failed\n"
    )


@pytest.mark.usefixtures("mesh")
def test_retry_replaces_older_failures_where_other_answers_show_that_the_keys_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"
    not_found = NotFoundError("HTTP 404", error_type="gone")
    script(monkeypatch, [make_outcome(0, not_found), make_outcome(1, not_found)])
    run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [make_outcome(0, AuthenticationError("HTTP 401")), make_outcome(1, None)])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert result.exit_code == 1
    assert read_errors(output) == {
        "account-0": ("AuthenticationError", None),
        "account-1": (None, None),
    }


ANSWERS_THAT_SAY_NOTHING_ABOUT_THE_KEYS = [
    ServerError("HTTP 502", http_status=502),
    ServerError("HTTP 500: serverFailure", status="serverFailure"),
    RateLimitError("HTTP 429: tooManyRequest", status="tooManyRequest"),
    MeshAPIError("HTTP 408", http_status=408),
    MeshResponseError("not JSON"),
    PermissionDeniedError("HTTP 403", http_status=403),
    NotFoundError("HTTP 404", http_status=404),
]
ANSWERS_THAT_SHOW_ACCEPTED_KEYS = [
    BadRequestError("HTTP 400: badRequest", status="badRequest"),
    PermissionDeniedError("HTTP 403: permissionDenied", status="permissionDenied"),
    NotFoundError("HTTP 404: notFound", status="notFound"),
    ConflictError("HTTP 409: conflict", status="conflict"),
    LockedError("HTTP 423: locked", status="locked"),
    UnavailableForLegalReasonsError("HTTP 451", status="unavailableForLegalReasons"),
    AuthenticationError("HTTP 401: unauthorizedToken", error_type="unauthorizedToken"),
]


@pytest.mark.usefixtures("mesh")
@pytest.mark.parametrize("other", ANSWERS_THAT_SAY_NOTHING_ABOUT_THE_KEYS, ids=str)
def test_retry_keeps_older_failures_where_no_answer_shows_that_the_keys_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: MeshError
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"
    conflict = ConflictError("HTTP 409", error_type="busy")
    script(monkeypatch, [make_outcome(0, conflict), make_outcome(1, conflict)])
    run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [make_outcome(0, AuthenticationError("HTTP 401")), make_outcome(1, other)])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert result.exit_code == 3
    assert read_errors(output) == {
        "account-0": ("ConflictError", "busy"),
        "account-1": (type(other).__name__, None),
    }
    assert result.stderr.splitlines()[-1] == (
        "1 answer was HTTP 401, and no other answer of this run shows that Mesh accepts the API "
        f"keys, {KEYS_ARE_REFUSED}run the command again"
    )


def test_unauthorized_answers_beside_answers_of_a_gateway_are_counted(
    mesh: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    refusal = AuthenticationError("HTTP 401")
    bad_gateway = ServerError("HTTP 502", http_status=502)
    script(
        monkeypatch,
        [make_outcome(0, refusal), make_outcome(1, bad_gateway), make_outcome(2, refusal)],
    )

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (3, [])
    assert result.stderr.splitlines()[-1] == (
        "2 answers were HTTP 401, and no other answer of this run shows that Mesh accepts the API "
        f"keys, {KEYS_ARE_REFUSED}add --retry-failed"
    )


@pytest.mark.usefixtures("mesh")
@pytest.mark.parametrize("other", ANSWERS_THAT_SHOW_ACCEPTED_KEYS, ids=str)
def test_retry_replaces_older_failures_where_mesh_answers_about_another_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: MeshAPIError
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"
    conflict = ConflictError("HTTP 409", error_type="busy")
    script(monkeypatch, [make_outcome(0, conflict), make_outcome(1, conflict)])
    run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [make_outcome(0, AuthenticationError("HTTP 401")), make_outcome(1, other)])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert result.exit_code == 1
    assert read_errors(output)["account-0"] == ("AuthenticationError", None)


@pytest.mark.usefixtures("mesh")
def test_retry_after_an_interrupted_run_counts_the_accounts_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 10)
    output = tmp_path / "balances.jsonl"
    not_found = NotFoundError("HTTP 404")
    script(monkeypatch, [make_outcome(number, not_found) for number in range(3)])
    run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [make_outcome(number, None) for number in range(3)])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert result.exit_code == 0
    assert result.stderr == (
        f"3 accounts read, 0 failed: {output}\n"
        "7 accounts have no outcome yet: run the command without --retry-failed to read them\n"
    )


@pytest.mark.usefixtures("mesh")
def test_retry_with_nothing_to_read_does_not_advise_another_output_for_unread_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    script(monkeypatch, [make_outcome(0, None)])
    run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert result.exit_code == 0
    assert result.stderr == (
        f"0 read, 1 already in {output}\n"
        "2 accounts have no outcome yet: run the command without --retry-failed to read them\n"
    )


@pytest.mark.usefixtures("mesh")
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_error_type_with_a_line_break_is_stored_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / f"balances.{suffix}"
    arguments = ("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [make_outcome(0, NotFoundError("HTTP 404", error_type='a\nb"\r\n'))])

    first = run(*arguments)
    retried = run(*arguments, "--retry-failed")
    script(monkeypatch, [])
    resumed = run(*arguments)

    assert (first.exit_code, retried.exit_code, resumed.exit_code) == (1, 1, 1)
    assert 'failures: 1 NotFoundError (a b")\n' in resumed.stderr


@pytest.mark.usefixtures("mesh")
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_empty_error_type_is_stored_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / f"balances.{suffix}"
    script(monkeypatch, [make_outcome(0, NotFoundError("HTTP 404", error_type=""))])
    run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 1
    assert "failures: 1 NotFoundError\n" in result.stderr


@pytest.mark.usefixtures("mesh")
def test_empty_error_type_of_an_older_version_means_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions stored an empty error type as it was; in CSV, it looks like none."""
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    script(monkeypatch, [make_outcome(0, NotFoundError("HTTP 404", error_type=""))])
    run("bulk", str(accounts), "-o", str(output))
    written = output.read_text()
    assert '"error_type": null' in written
    output.write_text(written.replace('"error_type": null', '"error_type": ""'))
    script(monkeypatch, [])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 1
    assert "failures: 1 NotFoundError\n" in result.stderr


@pytest.mark.usefixtures("mesh")
def test_one_older_failure_that_is_kept_is_named_in_the_singular(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    script(monkeypatch, [make_outcome(0, MeshTimeoutError("no answer"))])
    run("bulk", str(accounts), "-o", str(output))
    script(monkeypatch, [make_outcome(0, AuthenticationError("HTTP 401"))])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert result.exit_code == 3
    assert result.stderr.splitlines()[2] == (
        f"1 older failure stays in {output}, because the HTTP 401 of this run may be about the API "
        "keys, not about the account"
    )


@pytest.mark.usefixtures("mesh")
def test_older_failure_of_another_token_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the failure of another account, whose line was replaced."""
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    script(monkeypatch, [make_outcome(0, NotFoundError("HTTP 404"))])
    run("bulk", str(accounts), "-o", str(output))
    accounts.write_text(accounts.read_text().replace(f"{TOKEN}-0", f"{TOKEN}-new"))
    account = LinkedAccount(f"{TOKEN}-new", "coinbase", "account-0")
    script(monkeypatch, [FailedOutcome(account, None, AuthenticationError("HTTP 401"), 1, 0.1)])

    result = run("bulk", str(accounts), "-o", str(output), "--retry-failed")

    assert result.exit_code == 3
    assert "older failure" not in result.stderr
    assert read_errors(output) == {"account-0": ("AuthenticationError", None)}


@pytest.mark.usefixtures("mesh")
def test_timeout_does_not_release_the_unauthorized_answers_that_are_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account without an answer does not show whether Mesh accepts the keys."""
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    output = tmp_path / "balances.jsonl"
    refusal = AuthenticationError("HTTP 401")
    outcomes = [make_outcome(0, refusal), make_outcome(1, MeshTimeoutError("no answer"))]
    script(monkeypatch, outcomes, error=refusal)

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 3
    assert read_errors(output) == {"account-1": ("MeshTimeoutError", None)}


@pytest.mark.usefixtures("mesh")
def test_most_frequent_cause_is_named_first_and_advice_follows_the_causes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 7)
    output = tmp_path / "balances.jsonl"
    errors = [
        BadRequestError("HTTP 400", error_type="unauthorizedToken"),
        MeshConnectionError("reset"),
        MeshConnectionError("reset"),
        MeshConnectionError("reset"),
        ServerError("HTTP 500", error_type="a\x1bb"),
        ServerError("HTTP 500", error_type="a\x1bb"),
        None,
    ]
    script(monkeypatch, [make_outcome(number, error) for number, error in enumerate(errors)])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 1
    assert result.stderr == (
        f"7 accounts: 1 read, 6 failed: {output}\n"
        "failures: 3 MeshConnectionError, 2 ServerError (a b), 1 BadRequestError "
        f"(unauthorizedToken)\n{DEAD_TOKEN_HINT}{RETRY_HINT}"
    )


@pytest.mark.usefixtures("mesh")
def test_token_that_cannot_be_sent_does_not_hide_that_mesh_could_not_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    output = tmp_path / "balances.jsonl"
    errors = [MeshConnectionError("reset"), ValueError("auth_token holds a line break")]
    script(monkeypatch, [make_outcome(number, error) for number, error in enumerate(errors)])

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 4
    assert "Mesh could not be reached" in result.stderr


@pytest.mark.usefixtures("mesh")
def test_dead_token_with_http_403_is_not_told_as_a_missing_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    error = PermissionDeniedError("HTTP 403", error_type="unauthorizedToken")
    script(monkeypatch, [make_outcome(0, error)])

    result = run("bulk", str(accounts), "-o", str(output))

    assert "1 dead token" in result.stderr
    assert "permission to read" not in result.stderr


@pytest.mark.usefixtures("mesh")
def test_control_characters_of_an_edited_output_are_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 1)
    output = tmp_path / "balances.jsonl"
    script(monkeypatch, [make_outcome(0, ServerError("HTTP 500"))])
    run("bulk", str(accounts), "-o", str(output))
    text = output.read_text("utf-8")
    output.write_text(text.replace('"ServerError"', '"Server\\u001b[31m\\nError"'), "utf-8")

    result = run("bulk", str(accounts), "-o", str(output))

    assert "failures: 1 Server [31m Error" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.usefixtures("mesh")
@pytest.mark.parametrize(
    ("count", "others"), [(4, " and 1 other cause"), (6, " and 3 other causes")]
)
def test_at_most_three_causes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, others: str
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", count)
    outcomes = [
        make_outcome(number, NotFoundError("HTTP 404", error_type=f"e{number}"))
        for number in range(count)
    ]
    script(monkeypatch, outcomes)

    result = run("bulk", str(accounts))

    assert result.exit_code == 1
    assert result.stderr == (
        f"{count} accounts: 0 read, {count} failed\n"
        f"failures: 1 NotFoundError (e0), 1 NotFoundError (e1), 1 NotFoundError (e2){others}\n"
    )


def test_missing_permission_advises_to_ask_mesh_for_it(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)
    mesh.fails(f"{TOKEN}-0", "permission-denied")

    result = run("bulk", str(accounts))

    assert result.exit_code == 1
    assert result.stderr.endswith("HTTP 403: ask Mesh for the permission to read balances\n")


@pytest.mark.parametrize(
    ("brokers", "advice"),
    [
        (
            ["coinbse"],
            (
                "1 account with HTTP 400 has a broker that the spec does not list: did you "
                "mean coinbase?"
            ),
        ),
        (
            ["coinbse", "robinhod", "Coinbase", "coinbase"],
            (
                "3 accounts with HTTP 400 have brokers that the spec does not list: did you "
                "mean coinbase or robinhood?"
            ),
        ),
        (
            ["xyzzy"],
            (
                "1 account with HTTP 400 has a broker that the spec does not list: "
                "`mesh-balance brokers` lists the known brokers"
            ),
        ),
    ],
)
def test_refused_brokers_that_the_spec_does_not_list_get_a_suggestion(
    mesh: MockServer, tmp_path: Path, brokers: list[str], advice: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    lines = [f"{TOKEN}-{number},{broker},{number}" for number, broker in enumerate(brokers)]
    accounts.write_text("\n".join(["auth_token,broker,key", *lines]))
    for number in range(len(brokers)):
        mesh.fails(f"{TOKEN}-{number}", "bad-request")

    result = run("bulk", str(accounts), "--concurrency", "1")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == advice


@pytest.mark.parametrize("failure", ["unauthorized-token", "not-found"])
def test_other_failures_of_an_unlisted_broker_get_no_suggestion(
    mesh: MockServer, tmp_path: Path, failure: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    accounts.write_text(f"auth_token,broker,key\n{TOKEN},coinbse,1\n")
    mesh.fails(TOKEN, failure)

    assert "broker" not in run("bulk", str(accounts)).stderr
    assert len(mesh.calls) == 1


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (
            ["auth_token,broker,name", "a,coinbase,alice"],
            "no account has a key: record numbers are the keys",
        ),
        (
            ["auth_token,broker,key", "a,coinbase,alice", "b,coinbase,"],
            "1 account has no key: its record number is its key",
        ),
        (
            ["auth_token,broker,key", "a,coinbase,alice", "b,coinbase,", "c,coinbase,"],
            "2 accounts have no key: their record numbers are their keys",
        ),
    ],
)
def test_first_run_counts_the_accounts_without_a_key(
    mesh: MockServer, tmp_path: Path, lines: list[str], note: str
) -> None:
    accounts = tmp_path / "accounts.csv"
    output = tmp_path / "balances.jsonl"
    accounts.write_text("\n".join(lines))

    first = run("bulk", str(accounts), "-o", str(output))
    second = run("bulk", str(accounts), "-o", str(output))

    assert mesh.calls
    assert first.stderr.splitlines()[0] == f"{accounts}: {note}"
    assert note not in second.stderr
