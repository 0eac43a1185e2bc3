"""A PostgreSQL server of the tests' own: in a directory of its own, on a Unix socket alone."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHERE_DEBIAN_KEEPS_THEM = "/usr/lib/postgresql"
SECONDS_TO_START = 60


def find_programs() -> Path | None:
    """Return the directory of `initdb` and `postgres`, or None if PostgreSQL is not installed."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(Path(WHERE_DEBIAN_KEEPS_THEM).glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextlib.contextmanager
def running_postgres(programs: Path) -> Iterator[str]:
    """Run a server, and yield the URL of its database."""
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        options: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL}
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            user = pwd.getpwnam("nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
            options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = f"{folder}/data"
        initdb = [programs / "initdb", "-D", data, "-U", "balances", "--auth=trust"]
        more = ["--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run([*initdb, *more], check=True, capture_output=True, **options)
        server = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        log_path = Path(folder, "log")
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [*server, "-c", "fsync=off", "-c", "timezone=Asia/Tokyo"],
                stdout=log,
                stderr=log,
                **options,
            )
        try:
            _wait_until_ready(process, log_path)
            yield f"postgresql://balances@/postgres?host={folder}"
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown
            process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], log_path: Path) -> None:
    limit = time.monotonic() + SECONDS_TO_START
    while "ready to accept connections" not in log_path.read_text(errors="replace"):
        assert process.poll() is None, log_path.read_text(errors="replace")
        assert time.monotonic() < limit, "PostgreSQL did not start"
        time.sleep(0.05)
