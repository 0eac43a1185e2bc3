"""The guide docs/guides/operation.md, followed to the letter on a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guides" / "operation.md"
TITLED_BLOCK = re.compile(
    r'^```\{?\.?(?:yaml|python) title="([^"]+)"\}?\n(.*?)^```$', re.MULTILINE | re.DOTALL
)
SNIPPET = re.compile(r'^--8<-- "([^"]+)"$', re.MULTILINE)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("generated", "mesh_facade", "openapi", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def run(copy: Path, *arguments: str | Path) -> None:
    folders = os.pathsep.join([str(copy), str(copy / "generated")])
    environment = {**os.environ, "PYTHONPATH": folders, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def published_document(spec: Path) -> dict[str, Any]:
    """Return what Mesh would publish: today's spec, and the second operation."""
    document: dict[str, Any] = yaml.safe_load(spec.read_text())
    addition = yaml.safe_load((ROOT / "tests" / "token_refresh.yaml").read_text())
    document["paths"].update(addition["paths"])
    document["components"]["schemas"].update(addition["components"]["schemas"])
    return document


def insert_before(text: str, marker: str, addition: str) -> str:
    assert marker in text
    return text.replace(marker, addition + marker, 1)


def follow(copy: Path, title: str, block: str) -> None:
    """Put a block of the guide where its title says."""
    name, _, place = title.partition(", ")
    path = copy / name
    method = textwrap.indent(block, "    ") + "\n"
    if place == "":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SNIPPET.sub(lambda match: (ROOT / match[1]).read_text(), block))
        return
    text = path.read_text()
    if place == "under operations":
        text = text.replace("operations:\n", "operations:\n" + block, 1)
    elif place == "imports":
        text = insert_before(text, "from mesh_facade._version import", block)
    elif place == "in MeshClient":
        text = insert_before(text, "    def with_options(", method)
    elif place == "in AsyncMeshClient":
        start = text.index("class AsyncMeshClient")
        text = text[:start] + insert_before(text[start:], "    def with_options(", method)
    else:
        raise AssertionError(f"no such place: {place}")
    path.write_text(text)


def test_the_guide_adds_an_operation_to_both_clients(copy: Path) -> None:
    source = copy / "published.yaml"
    source.write_text(yaml.safe_dump(published_document(copy / "openapi" / "mesh.yaml")))
    pin, *others = TITLED_BLOCK.findall(GUIDE.read_text())

    follow(copy, *pin)
    run(copy, "scripts/import_spec.py", source, "--output", "openapi/mesh.yaml", "--adopt")
    run(copy, "scripts/generate.py")
    for title, block in others:
        follow(copy, title, block)
    names = copy / "mesh_facade" / "__init__.py"
    names.write_text(
        insert_before(names.read_text(), '    "ServerError",\n', '    "RefreshedTokens",\n')
    )

    run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/operations")

    assert len(others) == 6


def test_the_guide_is_short() -> None:
    assert len(GUIDE.read_text().splitlines()) <= 109
