"""Finds the YAML block of a docs page, which is Markdown, for the importer (`make spec`)."""

import re
from collections.abc import Iterator

from attrs import frozen

from openapi_tools.json_values import SpecError

OPENAPI_HEADING = "## OpenAPI"

_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*([^`\n]*)")


@frozen
class Page:
    """A docs page, split at its YAML block."""

    prose: str
    """The text above the block."""
    block: str
    """The content of the block, below as many empty lines as stand above it in the page: an error
    in it is reported with the line of the page."""


@frozen
class _CodeBlock:
    language: str
    first: int  # the index of its first line
    last: int  # the index of the line that closes it


def split_page(text: str) -> Page | None:
    """Return the page that a text is, or None if it is no page: if it has no YAML block."""
    lines = text.removesuffix("\n").split("\n")
    blocks = list(_find_blocks(lines))
    candidates = [block for block in blocks if block.language in {"yaml", "yml"}]
    # Other YAML blocks are samples in the description.
    described = [block for block in candidates if _follows_heading(lines, block)]
    if described:
        candidates = described
    if len(candidates) > 1:
        raise SpecError("the page has more than one YAML block")
    if not candidates:
        if OPENAPI_HEADING in lines:
            raise SpecError(
                f"the page has no YAML block below '{OPENAPI_HEADING}': it is cut short"
            )
        return None
    [block] = candidates
    prose = lines[: block.first - 1]
    above = "\n" * block.first
    return Page(_join(prose), above + _join(lines[block.first : block.last]))


def _find_blocks(lines: list[str]) -> Iterator[_CodeBlock]:
    fence = ""
    language = ""
    first = 0
    for index, line in enumerate(lines):
        if not line.startswith(("```", "~~~")):
            continue
        opening = _FENCE.fullmatch(line)
        if fence:
            if line.startswith(fence) and not line.strip(fence[0] + " \t"):
                yield _CodeBlock(language, first, index)
                fence = ""
        elif opening:
            fence = opening[1]
            language = opening[2].partition(" ")[0].lower()
            first = index + 1
    if fence:
        raise SpecError(
            f"line {first}: the code block that begins here is never closed: the page is cut short"
        )


def _follows_heading(lines: list[str], block: _CodeBlock) -> bool:
    above = [line.strip() for line in lines[: block.first - 1] if line.strip()]
    return above[-1:] == [OPENAPI_HEADING]


def _join(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
