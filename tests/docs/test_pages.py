"""What the pages refer to exists: paths, tests, faults; and every page can be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mesh_facade.testing import FAULTS

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_and_every_test_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path, test in re.findall(r"`([a-z_.]+/[a-z_./-]*)(?:::(\w+))?`", text):
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_testing_guide_names_every_fault() -> None:
    text = (ROOT / "docs" / "guides" / "testing.md").read_text(encoding="utf-8")

    assert [name for name in FAULTS if f"`{name}`" not in text] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    for page in DOCS:
        assert f" {page.relative_to(ROOT / 'docs').as_posix()}\n" in navigation, page
