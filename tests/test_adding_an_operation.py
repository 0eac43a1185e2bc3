"""The guide docs/guides/operation.md, followed to the letter on a copy of the project.

`make lint` installs mypy and runs this file; without mypy, the test of the types is skipped.
"""

from __future__ import annotations

import importlib.util
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
IMPORT_SETTINGS = ROOT / "openapi" / "import.yaml"
COPIED = ("docs/reference", "generated", "mesh_facade", "openapi", "scripts", "tests")
NEW_MODULE = "mesh_facade/operations/token_refresh.py"
NEW_TEST = "tests/operations/test_token_refresh.py"
TITLED_BLOCK = re.compile(
    r'^```\{?\.?(?:diff|python) title="([^"]+)"\}?\n(.*?)^```$', re.MULTILINE | re.DOTALL
)
SNIPPET = re.compile(r'^--8<-- "([^"]+)"\n', re.MULTILINE)


def run(project: Path, *arguments: str | Path) -> None:
    """Run Python in a copy of the project, on the copy's own packages."""
    folders = os.pathsep.join([str(project), str(project / "generated")])
    environment = {**os.environ, "PYTHONPATH": folders, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def published_document(spec: Path) -> dict[str, Any]:
    """Return what Mesh would publish: today's spec, and the second operation."""
    document: dict[str, Any] = yaml.safe_load(spec.read_text())
    addition = yaml.safe_load((ROOT / "tests" / "token_refresh.yaml").read_text())
    document["paths"].update(addition["paths"])
    document["components"]["schemas"].update(addition["components"]["schemas"])
    return document


def write_file(path: Path, block: str) -> None:
    """Write the file that a block of the guide includes."""
    path.write_text(SNIPPET.sub(lambda match: (ROOT / match[1]).read_text(), block))


def apply_diff(path: Path, diff: str) -> None:
    """Add the lines that a diff marks with a plus, between the other lines of the diff."""
    before: list[str] = []
    after: list[str] = []
    for line in diff.splitlines(keepends=True):
        assert line == "\n" or line[0] in " +", f"not a line that is added or stays: {line}"
        after.append(line[1:])
        if not line.startswith("+"):
            before.append(line[1:])
    text = path.read_text()
    assert text.count("".join(before)) == 1, f"{path} does not have these lines once: {before}"
    path.write_text(text.replace("".join(before), "".join(after)))


def insert_method(path: Path, class_name: str, method: str) -> None:
    """Insert a method into a class of client.py, above `with_options` and its decorator."""
    text = path.read_text()
    start = text.index(f"class {class_name}(")
    place = text.index("    @keeps_secrets_out_of_tracebacks\n    def with_options(", start)
    path.write_text(text[:place] + textwrap.indent(method, "    ") + "\n" + text[place:])


def follow(project: Path, title: str, block: str) -> None:
    """Do with a block of the guide what its title says."""
    methods_place = re.fullmatch(r"(\S+), class (\w+), above with_options and its decorator", title)
    if methods_place:
        insert_method(project / methods_place[1], methods_place[2], block)
    elif title.endswith(", at the end"):
        path = project / title.removesuffix(", at the end")
        path.write_text(path.read_text() + "\n\n" + block)
    elif block.startswith("--8<--"):
        write_file(project / title, block)
    else:
        for name in title.split(", "):
            apply_diff(project / name, block)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project in which the guide was followed."""
    if "POST /api/v1/token/refresh" in yaml.safe_load(IMPORT_SETTINGS.read_text())["operations"]:
        pytest.skip("the project has this operation already: somebody has followed the guide")
    project = tmp_path_factory.mktemp("project")
    for folder in COPIED:
        shutil.copytree(
            ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", project)
    source = project / "published.yaml"
    source.write_text(yaml.safe_dump(published_document(project / "openapi" / "mesh.yaml")))
    pin, *others = TITLED_BLOCK.findall(GUIDE.read_text())

    follow(project, *pin)
    run(project, "scripts/import_spec.py", source, "--output", "openapi/mesh.yaml", "--adopt")
    run(project, "scripts/generate.py")
    for title, block in others:
        follow(project, title, block)
    return project


def test_the_guide_adds_an_operation_to_both_clients(followed: Path) -> None:
    run(followed, "-m", "pytest", "-q", "-p", "no:cacheprovider", NEW_TEST)


def test_the_test_of_the_guide_covers_each_branch_of_its_module(followed: Path) -> None:
    settings = followed / "coverage.toml"
    settings.write_text(f"[tool.coverage.run]\nbranch = true\ninclude = ['{NEW_MODULE}']\n")
    measured = ["-m", "coverage", "run", f"--rcfile={settings}", f"--data-file={followed}/covered"]

    run(followed, *measured, "-m", "pytest", "-q", "-p", "no:cacheprovider", NEW_TEST)

    report = ["-m", "coverage", "report", f"--rcfile={settings}", "--fail-under=100"]
    run(followed, *report, f"--data-file={followed}/covered", "--show-missing")


def test_tests_of_the_public_names_pass_after_the_guide_was_followed(followed: Path) -> None:
    tests = ["tests/test_public_api.py", "tests/docs/test_python_reference.py"]

    run(followed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


def test_what_the_guide_adds_is_formatted_and_passes_the_lint_rules(followed: Path) -> None:
    changed = ["mesh_facade", NEW_TEST, "tests/test_public_api.py", "tests/typing"]

    run(followed, "-m", "ruff", "check", "--no-cache", *changed)
    run(followed, "-m", "ruff", "format", "--no-cache", "--check", *changed)


@pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed: run `make lint`"
)
def test_what_the_guide_adds_passes_mypy_in_strict_mode(followed: Path) -> None:
    cache = ROOT / ".mypy_cache" / "guide"
    checked = ["mesh_facade", "tests/typing", NEW_TEST]

    run(followed, "-m", "mypy", "--strict", "--cache-dir", cache, *checked)


def test_the_guide_is_short() -> None:
    assert len(GUIDE.read_text().splitlines()) <= 109
