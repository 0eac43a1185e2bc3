"""The make targets that add redocly, run with the project's Makefile and made-up programs."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

MAKE = shutil.which("make")
MAKEFILE = Path(__file__).parents[2] / "Makefile"

pytestmark = pytest.mark.skipif(not MAKE, reason="make is not installed")

Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Run make in a project that is set up, with a python that prints its arguments."""
    project = tmp_path / "project"
    programs = tmp_path / "programs"
    for folder in (project / "requirements", project / ".venv/bin", programs):
        folder.mkdir(parents=True)
    shutil.copy(MAKEFILE, project / "Makefile")
    sources = ["Makefile", "requirements/dev.txt", "requirements/extras.txt", "pyproject.toml"]
    stamps = [".venv/.dev", ".venv/.project", ".venv/.extras"]
    for age, name in enumerate([*sources, *stamps], start=1):
        (project / name).touch()
        os.utime(project / name, (age, age))
    write_program(project / ".venv/bin/python", 'echo "python $*"')
    for name in ("sh", "touch"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)

    def run(target: str, *, npm: str = "") -> subprocess.CompletedProcess[str]:
        if npm:
            write_program(programs / "npm", npm)
        return subprocess.run(
            [str(MAKE), target],
            cwd=project,
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


WORKING_NPM = 'mkdir -p .venv/node_modules; echo "npm $*" >&2'
FAILING_NPM = "echo 'npm error 503 Service Unavailable' >&2; exit 1"


def test_make_redocly_without_npm_says_what_to_install(make: Make) -> None:
    done = make("redocly")

    assert done.returncode == 2
    assert "error: npm was not found. Install Node.js 20 or newer with npm" in done.stderr


def test_make_redocly_shows_the_error_of_npm(make: Make) -> None:
    done = make("redocly", npm=FAILING_NPM)

    assert done.returncode == 2
    assert "npm error 503 Service Unavailable" in done.stderr
    assert "error: npm could not install @redocly/cli@" in done.stderr


def test_make_redocly_installs_the_pinned_version(make: Make) -> None:
    done = make("redocly", npm=f"/bin/{WORKING_NPM}")

    assert done.returncode == 0
    assert "npm install --prefix .venv" in done.stderr
    assert " @redocly/cli@2" in done.stderr


@pytest.mark.parametrize("target", ["changes", "update"])
def test_changes_and_update_add_redocly_first(make: Make, target: str) -> None:
    done = make(target, npm=f"/bin/{WORKING_NPM}")

    assert done.returncode == 0
    assert "npm install --prefix .venv" in done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"python scripts/{target}.py")


@pytest.mark.parametrize("target", ["changes", "update"])
def test_changes_and_update_go_on_without_npm(make: Make, target: str) -> None:
    done = make(target)

    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith(f"python scripts/{target}.py")


@pytest.mark.parametrize("target", ["changes", "update"])
def test_changes_and_update_show_the_error_of_npm_and_go_on(make: Make, target: str) -> None:
    done = make(target, npm=FAILING_NPM)

    assert done.returncode == 0
    assert "npm error 503 Service Unavailable" in done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"python scripts/{target}.py")
