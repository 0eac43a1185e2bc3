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

import pytest

import mesh_facade
from mesh_facade import cli
from tests.cli.support import skipped_on_windows


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

    assert "3 keys refused" in done.stdout
    assert done.stdout.rstrip().endswith("set()")


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
def test_closed_stdout_does_not_turn_a_broken_stderr_into_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closed_pipe() as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", pipe)
        with pytest.raises(SystemExit) as caught:
            cli.main(["get", "--broker", "x", "--environment", "moon"])
        with contextlib.suppress(BrokenPipeError):
            pipe.close()

    assert caught.value.code == 0
