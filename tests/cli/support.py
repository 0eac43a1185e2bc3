"""What the command line's tests share: running it, in this process or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mesh_facade import cli

TOKEN = "a-token-that-nobody-else-may-see"
RETRY_HINT = "to read the failed accounts again, add --retry-failed\n"
DEAD_TOKEN_HINT = (
    "1 dead token: refresh the token, or if that fails let the user link the account again\n"
)
ONE_DEAD_TOKEN = f"failures: 1 BadRequestError (unauthorizedToken)\n{DEAD_TOKEN_HINT}"
PROGRAM = [sys.executable, "-m", "mesh_facade.cli"]


def skipped_on_windows(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(sys.platform == "win32", reason=reason)


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), **options)


def write_accounts(path: Path, count: int) -> Path:
    lines = [f"{TOKEN}-{number},coinbase,account-{number}" for number in range(count)]
    path.write_text("\n".join(["auth_token,broker,key", *lines, ""]))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def bulk_process(accounts: Path, output: Path) -> subprocess.Popen[str]:
    command = [*PROGRAM, "bulk", str(accounts), "-o", str(output), "--concurrency", "5"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_lines(output: Path, count: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if output.exists() and output.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"{output} has not {count} lines after 20 s")
