"""The guide docs/guides/operation.md, done as it says, on a copy of the project."""

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
TITLED = r'^```(?:yaml|python) title="([^"]+)"\n(.*?)^```$'


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


def with_the_portfolio(spec: Path) -> dict[str, Any]:
    """Return what Mesh would publish: what it says today, and the portfolio."""
    document, more = (
        yaml.safe_load(path.read_text()) for path in (spec, ROOT / "tests" / "portfolio.yaml")
    )
    document["paths"].update(more["paths"])
    document["components"]["schemas"].update(more["components"]["schemas"])
    whole: dict[str, Any] = document
    return whole


def add(copy: Path, title: str, block: str) -> None:
    """Put a block of the guide where its title says."""
    name, _, place = title.partition(", ")
    path = copy / name
    text = path.read_text() if path.exists() else ""
    method = textwrap.indent(block, "    ")
    match name, place:
        case "openapi/import.yaml", _:
            text = re.sub(r"^operations:\n(?:  .*\n)+", block, text, flags=re.MULTILINE)
        case _, "MeshClient":
            text = text.replace("    def close(self)", f"{method}\n    def close(self)", 1)
        case _, "AsyncMeshClient":
            text = text.replace("    async def aclose", f"{method}\n    async def aclose", 1)
        case _, "Call":
            text = re.sub(r"    def accept\(.*?(?=\n    def )", method, text, flags=re.DOTALL)
        case "mesh_facade/client.py", _:
            text = text.replace("import ssl\n", f"import ssl\n{block}", 1)
        case _:
            text += block
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_the_guide_adds_an_operation_to_both_clients(copy: Path) -> None:
    source = copy / "published.yaml"
    source.write_text(yaml.safe_dump(with_the_portfolio(copy / "openapi" / "mesh.yaml")))
    for title, block in re.findall(TITLED, GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        add(copy, title, block)

    run(copy, "scripts/import_spec.py", source, "--output", "openapi/mesh.yaml", "--adopt")
    run(copy, "scripts/generate.py")
    run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_portfolio.py")
