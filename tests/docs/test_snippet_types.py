"""Every Python snippet of the README and the docs passes mypy and basedpyright.

The snippets of a page build on each other, so each page becomes one module. A snippet stands in the
module on the same lines as in the page: what a checker reports is the place in the page.

mypy runs in strict mode. basedpyright runs in its standard mode, which is what pyright does by
default: its strict mode objects to values of unknown type, which is all that libraries without
types (pyarrow, for example) can give.

`make lint` installs the checkers and runs this file; without them, the tests are skipped.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, name_of

# The snippets in this page that are marked `py` are quoted from examples/, where `make lint` checks
# them; tests/examples/test_guides.py compares the quotes.
QUOTES = DOCS / "guides" / "web.md"

# Libraries that snippets use and that come without types, or have types for some functions only.
UNTYPED = ["django", "pandas", "pyarrow"]
PARTLY_TYPED = ["dask", "distributed"]


def write_module(page: Path, folder: Path) -> Path | None:
    """Write the snippets of a page into a module; return None if the page has none."""
    lines = page.read_text(encoding="utf-8").splitlines()
    module = [""] * len(lines)
    snippet: list[str] | None = None
    start = 0
    for number, line in enumerate(lines):
        if snippet is None:
            is_python = line.strip() == "```python" or (line.strip() == "```py" and page != QUOTES)
            if is_python:
                snippet = []
                start = number + 1
        elif line.strip() == "```":
            module[start:number] = textwrap.dedent("\n".join(snippet)).split("\n")
            snippet = None
        else:
            snippet.append(line)
    assert len(module) == len(lines)
    if not any(module):
        return None
    path = folder / (re.sub(r"\W", "_", name_of(page)) + ".py")
    path.write_text("\n".join(module) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """The modules, and the names of their pages."""
    folder = tmp_path_factory.mktemp("snippets").resolve()
    pages: dict[Path, str] = {}
    for page in PAGES:
        module = write_module(page, folder)
        if module is not None:
            pages[module] = name_of(page)
    pages[DOCS / "smallest_facade.py"] = "docs/smallest_facade.py"
    return pages


def in_pages(report: str, modules: dict[Path, str]) -> str:
    """Return a report that names pages instead of modules."""
    for module, page in modules.items():
        report = report.replace(str(module), page)
    return report


def needs(checker: str) -> pytest.MarkDecorator:
    is_missing = importlib.util.find_spec(checker) is None
    return pytest.mark.skipif(is_missing, reason=f"{checker} is not installed: run `make lint`")


@needs("mypy")
def test_snippets_pass_mypy_in_strict_mode(modules: dict[Path, str], tmp_path: Path) -> None:
    settings = tmp_path / "mypy.ini"
    untyped = "".join(f"[mypy-{name}.*]\nignore_missing_imports = True\n" for name in UNTYPED)
    settings.write_text(
        f"[mypy]\nstrict = True\nmypy_path = {ROOT / 'generated'}\n"
        f"untyped_calls_exclude = {', '.join(PARTLY_TYPED)}\n{untyped}"
    )

    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", str(settings)),
            *("--no-error-summary", "--show-absolute-path", "--no-pretty"),
            *("--cache-dir", str(ROOT / ".mypy_cache" / "snippets")),
            *map(str, modules),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    report = in_pages(done.stdout, modules) + done.stderr
    if report or done.returncode != 0:
        pytest.fail(f"mypy found faults in snippets:\n{report}")


@needs("basedpyright")
def test_snippets_pass_pyright_in_its_standard_mode(
    modules: dict[Path, str], tmp_path: Path
) -> None:
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(
        json.dumps(
            {
                "typeCheckingMode": "standard",
                "include": [str(module) for module in modules],
                "extraPaths": [str(ROOT), str(ROOT / "generated")],
                "pythonVersion": "3.11",
                "reportMissingModuleSource": False,
            }
        )
    )

    done = subprocess.run(
        [
            *(sys.executable, "-m", "basedpyright", "--project", str(settings)),
            *("--pythonpath", sys.executable, "--warnings", "--outputjson"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    report = json.loads(done.stdout)
    found = [
        f"{each['file']}:{each['range']['start']['line'] + 1}: {each['message']}"
        for each in report["generalDiagnostics"]
    ]
    if found:
        in_words = in_pages("\n".join(found), modules)
        pytest.fail(f"pyright found faults in snippets:\n{in_words}")
    assert report["summary"]["filesAnalyzed"] == len(modules)


def test_snippet_keeps_the_line_numbers_of_its_page(tmp_path: Path) -> None:
    page = DOCS / "guides" / "bulk.md"
    lines = page.read_text(encoding="utf-8").splitlines()

    module = write_module(page, tmp_path)

    assert module
    written = module.read_text(encoding="utf-8").splitlines()
    assert len(written) == len(lines)
    for line, original in zip(written, lines, strict=True):
        assert line in {"", original, original.strip()}


def test_page_without_snippets_has_no_module(tmp_path: Path) -> None:
    assert write_module(DOCS / "promises.md", tmp_path) is None
