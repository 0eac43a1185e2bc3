"""Exit codes, and the line on stderr that comes with them."""

from __future__ import annotations

import time

import pytest

from mesh_facade.testing import MockServer
from tests.cli.support import TOKEN, run


@pytest.mark.parametrize(
    ("failure", "exit_code", "advice"),
    [
        (
            "unauthorized-token",
            1,
            "; refresh the token, or if that fails let the user link the account again",
        ),
        ("server-failure-200", 1, "try again later"),
        ("rate-limited", 1, "try again later"),
        ("permission-denied", 1, "HTTP 403; ask Mesh for the permission to read balances"),
        ("not-json", 1, "cannot be used"),
        ("reset", 4, "`mesh-balance doctor` tells more"),
    ],
)
def test_failure_prints_one_line_and_sets_the_exit_code(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch, failure: str, exit_code: int, advice: str
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    mesh.fails(TOKEN, failure)

    result = run("get", "--broker", "coinbase", input=TOKEN)

    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert advice in result.stderr
    assert TOKEN not in result.stderr


@pytest.mark.parametrize(
    ("retry_after", "advice"),
    [
        ("3600", "; try again later (Mesh asks to wait 3600 s)\n"),
        ("45.2", "; try again later (Mesh asks to wait 46 s)\n"),
        ("0", "; try again later\n"),
        ("9" * 400, "; try again later\n"),
        ("soon", "; try again later\n"),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_rate_limit_says_how_long_mesh_asks_to_wait(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch, status: int, retry_after: str, advice: str
) -> None:
    monkeypatch.setattr("mesh_facade.engine.retries.random.uniform", lambda _, __: 0.0)
    mesh.answers(TOKEN, status=status, body=b"", headers={"Retry-After": retry_after})

    result = run("get", "--broker", "coinbase", input=TOKEN)

    assert result.exit_code == 1
    assert result.stderr.endswith(advice)


def test_refused_keys_exit_with_code_three(mesh: MockServer) -> None:
    result = run(
        "get", "--broker", "coinbase", input=TOKEN, env={"MESH_CLIENT_SECRET": "another-secret"}
    )

    assert mesh.calls
    assert result.exit_code == 3
    assert result.stderr == (
        "error: Mesh answered HTTP 401; Mesh refused the API keys or the user's token: check "
        "MESH_CLIENT_ID, MESH_CLIENT_SECRET and the environment (production or sandbox)\n"
    )
    assert "another-secret" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get"], "--broker"),
        (["get", "--broker", "x", "--token", "t"], "--token"),
        (["get", "--broker", "x"], "the auth token is missing: set MESH_AUTH_TOKEN"),
        (
            ["get", "--broker", "x", "--environment", "moon"],
            "environment must be one of production, sandbox, not 'moon'\n",
        ),
        (["bulk", "nowhere.csv", "-o", "x"], "nowhere.csv"),
        (["nothing"], "nothing"),
    ],
)
def test_wrong_usage_exits_with_code_two(
    mesh: MockServer, arguments: list[str], message: str
) -> None:
    result = run(*arguments)

    assert (result.exit_code, mesh.calls) == (2, [])
    assert message in result.stderr


@pytest.mark.parametrize(
    ("missing", "subject"),
    [
        (["MESH_CLIENT_ID"], "MESH_CLIENT_ID is"),
        (["MESH_CLIENT_SECRET"], "MESH_CLIENT_SECRET is"),
        (["MESH_CLIENT_ID", "MESH_CLIENT_SECRET"], "MESH_CLIENT_ID and MESH_CLIENT_SECRET are"),
    ],
)
@pytest.mark.parametrize("arguments", [["get", "--broker", "x"], ["bulk", "-"]])
def test_missing_keys_are_all_named_at_once(
    mesh: MockServer,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    missing: list[str],
    subject: str,
) -> None:
    for name in missing:
        monkeypatch.setenv(name, "")

    result = run(*arguments, input=TOKEN)

    assert (result.exit_code, mesh.calls) == (2, [])
    assert result.stderr == f"error: {subject} missing: set your API keys in the environment\n"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MESH_BASE_URL", "mesh.example", "MESH_BASE_URL must look like https://host\n"),
        ("MESH_CLIENT_ID", "an id", "MESH_CLIENT_ID holds a space, a line break or another"),
        ("MESH_CLIENT_SECRET", "a secret", "MESH_CLIENT_SECRET holds a space, a line break or"),
    ],
)
def test_wrong_variable_is_named(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)

    result = run("get", "--broker", "x", input=TOKEN)

    assert (result.exit_code, mesh.calls) == (2, [])
    assert result.stderr.startswith(f"error: {message}")
    assert "doctor" not in result.stderr
