"""Snippets name the environment: a client that is built without one talks to production."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, blocks

# The clients of this page talk to a server in the page itself.
OWN_SERVER = DOCS / "facade-pattern.md"


def clients_in(page: Path) -> list[str]:
    """Return the arguments with which the snippets of a page build clients."""
    return re.findall(r"\b(?:Async)?MeshClient\((.*?)\)", "".join(blocks(page, "python")))


PAGES_WITH_CLIENTS = [page for page in PAGES if clients_in(page) and page != OWN_SERVER]


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES_WITH_CLIENTS])
def test_every_client_in_a_snippet_names_its_environment(page: Path) -> None:
    assert [each for each in clients_in(page) if "environment=" not in each] == []


def test_quickstart_and_readme_are_among_the_pages_with_clients() -> None:
    assert {"README.md", "index.md"} <= {page.name for page in PAGES_WITH_CLIENTS}
