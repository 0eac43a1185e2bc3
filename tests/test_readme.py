"""Every snippet of the README runs, and every command in it exists."""

import asyncio
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mesh_facade.testing import StandIn

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TESTED_ELSEWHERE = {
    "pip install mesh-facade": "test_wheel.py",
    'pip install "mesh-facade[testing]"': "test_wheel.py",
    "python -m mesh_facade.testing": "test_testing.py",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines()]


def test_the_readme_has_the_snippets_that_are_tested_here() -> None:
    assert len(blocks("python")) == 4
    assert len(commands()) >= 8


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    with StandIn() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def test_the_example_reads_the_balance_it_says(
    stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(blocks("python")[0], {})  # noqa: S102 — it is our own
    assert capsys.readouterr().out.split() == ["158.5", "10"]
    assert len(stand_in.calls) == 1


def test_the_example_of_many_accounts_reads_each_once(
    stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(blocks("python")[1], {})  # noqa: S102 — it is our own
    assert sorted(capsys.readouterr().out.splitlines()) == ["0 158.5", "1 158.5", "2 158.5"]
    assert len(stand_in.calls) == 3


def test_the_async_example_reads_the_same(
    stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {}
    exec(blocks("python")[2], namespace)  # noqa: S102 — it is our own
    asyncio.run(namespace["read"]("some-token"))
    assert "Decimal('158.5')" in capsys.readouterr().out
    assert len(stand_in.calls) == 1


def test_the_error_example_tells_a_dead_token_from_other_failures(
    stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.fails("a-dead-token", "unauthorized-token")
    exec(blocks("python")[3], {})  # noqa: S102 — it is our own
    assert capsys.readouterr().out == "ask the user to link again\n"


@pytest.mark.parametrize("command", [c for c in commands() if c not in TESTED_ELSEWHERE])
def test_every_other_command_is_a_target_of_the_makefile(command: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "make"
    plan = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert plan.returncode == 0, plan.stderr


@pytest.mark.parametrize("command", TESTED_ELSEWHERE)
def test_the_commands_that_other_tests_run_are_still_in_the_readme(command: str) -> None:
    assert command in commands()
    assert (ROOT / "tests" / TESTED_ELSEWHERE[command]).exists()


def test_every_path_that_the_readme_names_exists() -> None:
    for path in re.findall(r"`([a-z_]+/[a-z_./-]*)`", README):
        assert (ROOT / path).exists(), path
