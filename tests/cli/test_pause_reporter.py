"""Long pauses of `mesh-balance bulk` are reported on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mesh_facade import Attempt
from mesh_facade.cli import pause_reporter
from mesh_facade.cli.pause_reporter import PauseReporter
from tests.cli.support import TOKEN, run, write_accounts

if TYPE_CHECKING:
    from pathlib import Path

    from mesh_facade.testing import MockServer


def make_attempt(error: str | None, pause: float | None) -> Attempt:
    return Attempt(number=1, elapsed=0.1, error=error, http_status=429, pause=pause, key="a")


def test_pause_of_a_run_is_reported(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_reporter, "SHORTEST_REPORTED_PAUSE", 0.05)
    accounts = write_accounts(tmp_path / "accounts.csv", 3)
    in_process.fails(f"{TOKEN}-0", "rate-limited", times=1)
    output = tmp_path / "balances.jsonl"

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 0
    assert result.stderr == (
        f"Mesh asks to wait: the run pauses for 1 s\n3 accounts read, 0 failed: {output}\n"
    )


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        ("RateLimitError", 4.9),
        ("RateLimitError", None),  # no other attempt follows
        ("ServerError", 20.0),  # only one account waits
        (None, None),
    ],
)
def test_other_attempts_are_not_reported(
    capsys: pytest.CaptureFixture[str], error: str | None, pause: float | None
) -> None:
    PauseReporter()(make_attempt(error, pause))

    assert capsys.readouterr().err == ""


def test_pause_of_all_accounts_is_reported_once_and_a_longer_one_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = PauseReporter()

    for pause in (20.0, 20.0, 45.2):
        report(make_attempt("RateLimitError", pause))

    assert capsys.readouterr().err == (
        "Mesh asks to wait: the run pauses for 20 s\nMesh asks to wait: the run pauses for 46 s\n"
    )
