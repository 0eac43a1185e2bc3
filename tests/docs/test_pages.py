"""What the pages refer to exists: paths, tests, faults; and every page can be found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mesh_facade.testing import FAULTS
from tests.docs.pages import DOCS, ROOT, name_of

if TYPE_CHECKING:
    from pathlib import Path

PAGES_IN_THE_ROOT = sorted(ROOT.glob("*.md"))
PAGES_OF_DOCS = sorted(DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", [*PAGES_IN_THE_ROOT, *PAGES_OF_DOCS], ids=name_of)
def test_every_path_and_every_test_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path, test in re.findall(r"`([a-z_.]+/[a-z_./-]*)(?:::(\w+))?`", text):
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_testing_guide_names_every_fault() -> None:
    text = (DOCS / "guides" / "testing.md").read_text(encoding="utf-8")

    assert [name for name in FAULTS if f"`{name}`" not in text] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    for page in PAGES_OF_DOCS:
        assert f" {page.relative_to(DOCS).as_posix()}\n" in navigation, page
