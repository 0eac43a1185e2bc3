"""Runs other programs, and returns what they wrote."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_captured(
    command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, and return its exit code and its output.

    Without `environment`, it runs in the environment of this process; without `folder`, in the
    current folder. Raise OSError if it cannot be started.
    """
    # The programs write UTF-8, whatever the encoding of the locale is.
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def required_environment() -> dict[str, str]:
    """Return the variables of this process without which Python does not start.

    Without SYSTEMROOT, Python on Windows has no random numbers and no sockets.
    """
    if "SYSTEMROOT" not in os.environ:
        return {}
    return {"SYSTEMROOT": os.environ["SYSTEMROOT"]}
