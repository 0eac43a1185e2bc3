"""docs/smallest_facade.py, which readers copy: it runs as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_smallest_facade_shows_an_exact_result_after_a_retry_and_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "docs/smallest_facade.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "{'USD': Decimal('12345678901234567.89')}",
        "ApiError HTTP 401, and not JSON",
    ]
    assert done.returncode == 0


def test_facade_pattern_links_to_the_smallest_facade_before_its_first_section() -> None:
    page = (ROOT / "docs" / "facade-pattern.md").read_text(encoding="utf-8")

    assert "(smallest_facade.py)" in page.partition("\n## ")[0]
