"""The tables of README and docs list what the code has."""

from __future__ import annotations

import re

import mesh_facade
from mesh_facade import MeshError
from mesh_facade.cli import exit_codes
from mesh_facade.testing import FAULTS
from tests.docs import pages

README = pages.README.read_text(encoding="utf-8")
CONCEPTS = (pages.DOCS / "concepts.md").read_text(encoding="utf-8")
COMMAND_LINE = (pages.DOCS / "guides" / "command-line.md").read_text(encoding="utf-8")


def table_after(text: str, first_column: str) -> str:
    """Return the table whose first column has this heading."""
    found = re.search(rf"^\| {first_column} \|.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert found, first_column
    return found[0]


def test_every_error_class_is_in_the_table_of_readme() -> None:
    table = table_after(README, "error")
    names = [
        name
        for name in mesh_facade.__all__
        if isinstance(getattr(mesh_facade, name), type)
        and issubclass(getattr(mesh_facade, name), MeshError)
    ]

    assert [name for name in names if name != "MeshError" and f"`{name}`" not in table] == []


def test_concepts_page_has_the_table_of_errors_of_readme() -> None:
    assert table_after(CONCEPTS, "error") == table_after(README, "error")


def test_every_environment_variable_that_the_package_reads_is_in_the_table_of_readme() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for path in (pages.ROOT / "mesh_facade").rglob("*.py")
    )
    names = set(re.findall(r'environ\.get\("(\w+)"', code))

    table = table_after(README, "variable")

    assert "MESH_CLIENT_ID" in names
    assert [name for name in sorted(names) if f"`{name}`" not in table] == []


def test_every_exit_code_is_in_the_table_of_the_command_line_guide() -> None:
    codes = [value for value in vars(exit_codes).values() if isinstance(value, int)]

    table = table_after(COMMAND_LINE, "code")

    assert exit_codes.INTERRUPTED in codes
    assert [code for code in codes if f"\n| {code} |" not in table] == []


def test_guide_to_testing_has_the_description_and_the_error_of_every_fault() -> None:
    guide = (pages.DOCS / "guides" / "testing.md").read_text(encoding="utf-8")
    rows = [line for line in guide.splitlines() if line.startswith("| `")]

    assert rows == [
        f"| `{fault.name}` | {fault.description} | `{fault.error.__name__}` |"
        for fault in FAULTS.values()
    ]
