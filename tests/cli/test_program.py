"""The program as a whole: help, start-up, missing packages."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest

from mesh_facade import cli


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
