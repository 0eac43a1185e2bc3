"""The Makefile: what it passes on to the tools, what it removes, and an update that was killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECORD_ENVIRONMENT = f"""#!{sys.executable}
import os, pathlib
names = "UV_SYSTEM_CERTS", "SSL_CERT_FILE"
lines = [f"{{name}}={{os.environ.get(name)}}" for name in names]
pathlib.Path(__file__).with_name("environment").write_text("\\n".join(lines))
"""

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def virtual_environment(tmp_path: Path) -> Path:
    """Return a folder whose uv only records the environment that it is given."""
    executable = tmp_path / "bin" / "uv"
    executable.parent.mkdir()
    executable.write_text(RECORD_ENVIRONMENT)
    executable.chmod(0o755)
    return tmp_path


def lock(virtual_environment: Path, **environment: str) -> list[str]:
    """Run `make lock` with that folder in place of .venv; return the environment that uv saw."""
    inherited = dict(os.environ)
    for name in ("MAKEFLAGS", "PIP_CERT", "SSL_CERT_FILE", "UV_SYSTEM_CERTS"):
        inherited.pop(name, None)
    is_there = ["--old-file", f"{virtual_environment}/.lint"]
    command = ["make", "lock", f"VENV={virtual_environment}", *is_there]
    subprocess.run(command, cwd=ROOT, env=inherited | environment, check=True)
    return (virtual_environment / "bin" / "environment").read_text().splitlines()


@needs_make
def test_uv_is_told_to_trust_what_the_system_trusts(virtual_environment: Path) -> None:
    assert lock(virtual_environment) == ["UV_SYSTEM_CERTS=true", "SSL_CERT_FILE=None"]


@needs_make
def test_uv_is_given_the_certificates_that_pip_is_given(virtual_environment: Path) -> None:
    environment = lock(virtual_environment, PIP_CERT="/company/ca.pem")
    assert environment == ["UV_SYSTEM_CERTS=true", "SSL_CERT_FILE=/company/ca.pem"]


@needs_make
def test_certificate_settings_for_uv_itself_win(virtual_environment: Path) -> None:
    environment = lock(
        virtual_environment,
        PIP_CERT="/company/ca.pem",
        SSL_CERT_FILE="/uv/ca.pem",
        UV_SYSTEM_CERTS="false",
    )
    assert environment == ["UV_SYSTEM_CERTS=false", "SSL_CERT_FILE=/uv/ca.pem"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder that has the Makefile, and an update that was killed while it moved files."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".make" / "update.ready").mkdir(parents=True)
    return tmp_path


def clean(checkout: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run `make clean` with a script in place of the Python in .venv."""
    executable = checkout / ".venv" / "bin" / "python"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\n{python}\n")
    executable.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    return subprocess.run(
        ["make", "--no-print-directory", "clean"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@needs_make
def test_clean_finishes_a_killed_update_and_removes_all_that_make_has_built(checkout: Path) -> None:
    for name in ("dist", "mutants", "mutants.log", ".coverage"):
        (checkout / name).touch()

    done = clean(checkout, 'echo "$@" >arguments; rm -r .make/update.ready; echo finished')

    assert done.stdout.startswith("finished\n")
    assert done.returncode == 0
    assert sorted(path.name for path in checkout.iterdir()) == ["Makefile", "arguments"]
    assert (checkout / "arguments").read_text() == "scripts/update.py --finish\n"


@needs_make
def test_make_stops_if_a_killed_update_cannot_be_finished(checkout: Path) -> None:
    done = clean(checkout, "echo 'error: no space left' >&2; exit 1")

    assert "error: no space left" in done.stderr
    assert "rm -r .make/update.ready; git restore openapi generated" in done.stderr
    assert done.returncode == 2
    assert (checkout / ".make" / "update.ready").is_dir()
    assert (checkout / ".venv").is_dir()
