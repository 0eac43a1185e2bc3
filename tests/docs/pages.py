"""The pages of the documentation, and the code blocks in them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    """Return the path of a page in the project."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page that are marked with a language, without indentation."""
    pattern = rf"^( *)```{language}\n(.*?)^\1```$"
    text = page.read_text(encoding="utf-8")
    return [
        textwrap.dedent(block) for _, block in re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    ]
