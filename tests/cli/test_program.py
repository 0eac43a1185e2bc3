"""The program as a whole: help, start-up, missing packages."""

from __future__ import annotations

import contextlib
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click
import pytest

import mesh_facade
from mesh_facade import cli
from mesh_facade.cli import bulk, doctor, results
from mesh_facade.testing import MockServer
from tests.cli.support import PROGRAM, run, skipped_on_windows


def test_help_lists_the_exit_codes_and_loads_neither_rich_nor_the_mock_server() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from mesh_facade.cli import main;"
        "sys.modules.pop('rich', None);"
        "print(CliRunner().invoke(main, ['--help']).output);"
        "print({'mesh_facade.testing', 'openapi_core'} & sys.modules.keys())"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "3 keys probably refused" in done.stdout
    assert done.stdout.rstrip().endswith("set()")


def test_help_of_bulk_names_every_suffix_of_an_output() -> None:
    suffixes = [suffix for suffix in results._CSV_SUFFIXES + results._JSON_SUFFIXES if suffix]

    result = run("bulk", "--help")

    assert ".ndjson" in suffixes
    assert [suffix for suffix in suffixes if suffix not in result.stdout] == []
    assert "has no ending" in " ".join(result.stdout.split())


def test_missing_packages_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "click", None)

    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(cli.__file__))

    assert str(caught.value) == (
        "error: mesh-balance needs more packages: pip install 'mesh-facade[cli]'"
    )


def test_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "mesh_facade.cli", "brokers"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "coinbase" in done.stdout.split()


def test_module_runs_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mesh-balance", "brokers"])

    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(Path(cli.__file__).with_name("__main__.py")), run_name="__main__")

    assert caught.value.code == 0
    assert "coinbase" in capsys.readouterr().out.split()


def test_version_needs_no_installed_distribution(tmp_path: Path) -> None:
    """Run the package from a folder, as a checkout or a zip file would be."""
    root = Path(mesh_facade.__file__).parent
    shutil.copytree(root, tmp_path / "mesh_facade")
    program = (
        "import importlib.metadata\n"
        "def fail(*_):\n"
        "    raise importlib.metadata.PackageNotFoundError('mesh-facade')\n"
        "importlib.metadata.version = fail\n"
        "from mesh_facade.cli import main\n"
        "main(['--version'])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"mesh-balance, version {mesh_facade.__version__}\n"


@contextlib.contextmanager
def closed_pipe() -> Iterator[TextIO]:
    """Give a pipe whose reader has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    file = os.fdopen(writer, "w")
    try:
        yield file
    finally:
        file.close()


COMMANDS_THAT_PRINT = [["brokers"], ["brokers", "--json"], ["--help"], ["--version"], ["get", "-h"]]


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
@pytest.mark.parametrize("arguments", COMMANDS_THAT_PRINT)
def test_broken_pipe_is_not_an_error(arguments: list[str]) -> None:
    with closed_pipe() as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "mesh_facade.cli", *arguments],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, "")


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_broken_pipe_is_not_an_error_of_a_balance(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setenv("MESH_AUTH_TOKEN", "a-token")
    mesh.answers("a-token", cash={"USD": 1})
    with closed_pipe() as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "mesh_facade.cli", "get", "--broker", "coinbase", *options],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(mesh.calls) == 1


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
@pytest.mark.parametrize("arguments", COMMANDS_THAT_PRINT)
def test_broken_pipe_ends_the_command_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with closed_pipe() as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)

    assert caught.value.code == 0
    assert capsys.readouterr().err == ""


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
def test_closed_stdout_does_not_turn_a_broken_pipe_into_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: str) -> None:
        raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(click, "echo", fail)
        with pytest.raises(SystemExit) as caught:
            cli.main(["brokers"])

    assert caught.value.code == 0


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["get", "--broker", "x", "--environment", "moon"], 2),
        (["get"], 2),
        (["--nothing"], 2),
        (["bulk", "-"], 1),
    ],
)
def test_broken_stderr_does_not_change_the_exit_code_of_a_failure(
    mesh: MockServer, arguments: list[str], exit_code: int
) -> None:
    """For example in `mesh-balance bulk accounts.csv -o balances.jsonl 2>&1 | head -1`."""
    mesh.fails("dead", "unauthorized-token")

    with closed_pipe() as pipe:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            input="auth_token,broker\ndead,coinbase\nlive,coinbase\n",
            stdout=subprocess.PIPE,
            stderr=pipe,
            text=True,
            check=False,
        )

    assert done.returncode == exit_code
    if arguments[0] == "bulk":
        assert len(done.stdout.splitlines()) == 2


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
def test_progress_bar_on_a_broken_stderr_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_pipe() as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", pipe)
        console = bulk._StderrConsole(stderr=True, force_terminal=True)

        console.print("lost")
        console.print("lost too")
        pipe.flush()


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
def test_broken_stderr_with_a_progress_bar_loses_no_outcome(mesh: MockServer) -> None:
    """The variable FORCE_COLOR makes rich draw the bar into the pipe."""
    # With keys, no message comes before the bar.
    accounts = "".join(f"live,coinbase,{number}\n" for number in range(20))

    with closed_pipe() as pipe:
        done = subprocess.run(
            [*PROGRAM, "bulk", "-"],
            input=f"auth_token,broker,key\n{accounts}",
            stdout=subprocess.PIPE,
            stderr=pipe,
            text=True,
            check=False,
            env={**os.environ, "FORCE_COLOR": "1"},
        )

    assert mesh.calls
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 20


@skipped_on_windows("Windows reports a pipe without a reader as an invalid argument")
@pytest.mark.parametrize("stdout_is_closed", [False, True])
def test_broken_stderr_ends_a_failed_command_quietly(
    monkeypatch: pytest.MonkeyPatch, *, stdout_is_closed: bool
) -> None:
    with closed_pipe() as pipe, monkeypatch.context() as patch:
        if stdout_is_closed:
            patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", pipe)
        with pytest.raises(SystemExit) as caught:
            cli.main(["get", "--broker", "x", "--environment", "moon"])

    assert caught.value.code == 2


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_interrupted_command_exits_with_code_130(
    monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    """`click.Abort` is what click raises for Ctrl-C at a prompt."""

    def interrupt(_environment: str | None) -> list[doctor.CheckResult]:
        raise interruption

    monkeypatch.setattr(doctor, "run_checks", interrupt)

    result = run("doctor")

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")
