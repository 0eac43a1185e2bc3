"""README, followed as a reader follows it: start its mock server, then run all that it shows."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import README, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = [sys.executable, "-m", "mesh_facade.cli"]


def snippet_with(text: str) -> str:
    """Return the one Python snippet of README that contains a text."""
    (snippet,) = [block for block in blocks(README, "python") if text in block]
    return snippet


def commands_of_mesh_balance() -> list[str]:
    """Return the commands that README shows, apart from the one that starts the mock server."""
    lines = "".join(blocks(README, "sh")).splitlines()
    return [line for line in lines if "mesh-balance " in line and "mock-server" not in line]


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Start `mesh-balance mock-server`; return the environment with the variables it prints."""
    server = subprocess.Popen(
        [*PROGRAM, "mock-server"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    variables = {key: value for key, value in os.environ.items() if not key.startswith("MESH_")}
    with server:
        try:
            assert server.stdout
            for _ in range(3):
                name, _, value = server.stdout.readline().strip().partition("=")
                variables[name.removeprefix("export ")] = value
            yield variables
        finally:
            server.terminate()


def run(
    command: list[str], environment: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder; return what it printed and its exit code."""
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("auth_token = ", "158.5\n10\n"),
        ("AsyncMeshClient", "{'USD': Decimal('158.5'), 'EUR': Decimal('10')}\n"),
        ("LinkedAccount", "0 10\n1 10\n2 10\n"),
        (
            "reconnect_required",
            "Refresh the token, or if that fails let the user link the account again.\n",
        ),
    ],
    ids=["one balance", "asyncio", "many accounts", "errors"],
)
def test_python_snippet_prints_what_readme_says(
    text: str, printed: str, environment: dict[str, str], tmp_path: Path
) -> None:
    done = run([sys.executable, "-c", snippet_with(text)], environment, tmp_path)

    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == sorted(printed.splitlines())
    assert done.returncode == 0


def test_every_python_snippet_is_run_here() -> None:
    assert len(blocks(README, "python")) == 4


def test_commands_work_one_after_the_other(environment: dict[str, str], tmp_path: Path) -> None:
    (accounts,) = blocks(README, "csv")
    (tmp_path / "accounts.csv").write_text(accounts, encoding="utf-8")

    for line in commands_of_mesh_balance():
        variables = dict(environment)
        words = shlex.split(line)
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            variables[name] = value
        done = run([*PROGRAM, *words[1:]], variables, tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    outcomes = (tmp_path / "balances.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(outcome)["key"] for outcome in outcomes) == ["alice", "bob"]
