"""Which handwritten modules know generated code and the wire."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import generate
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SPEC: Any = yaml.safe_load((ROOT / "openapi/mesh.yaml").read_text(encoding="utf-8"))
PACKAGE = ROOT / "mesh_facade"
EXTRAS = {"cli", "testing", "dask", "pytest_plugin"}
CORE = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if not {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts} & EXTRAS
)


def find_imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_only_operations_and_the_clients_import_generated_code() -> None:
    importing = {
        path.relative_to(PACKAGE).parts[0]
        for path in CORE
        if any(name.split(".")[0] == generate.PACKAGE for name in find_imported_modules(path))
    }

    assert len(CORE) >= 10
    assert importing == {"__init__.py", "operations", "client.py"}


def find_string_literals(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are not documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose and isinstance(node.value, str):
            yield node.value


def test_handwritten_code_holds_no_path_method_or_wire_name() -> None:
    properties = {
        name
        for schema in SPEC["components"]["schemas"].values()
        for name in schema.get("properties", ())
    }
    headers = {scheme["name"] for scheme in SPEC["components"]["securitySchemes"].values()}
    # A name without capitals is Python's spelling too: there it may well stand.
    names = {name for name in properties if name != name.lower()} | headers | set(SPEC["paths"])
    names |= {method for item in SPEC["paths"].values() for method in item}
    servers = {server["url"].removeprefix("https://") for server in SPEC["servers"]}

    # The payload of Link is not a call: its fields are read where it is handed over.
    modules = [path for path in CORE if path.name != "link_payload.py"]
    literals = {text: path.name for path in modules for text in find_string_literals(path)}

    assert "authToken" in names
    assert {text for text in literals if text in names or text.lower() in {"post", "get"}} == set()
    assert {
        text for text in literals if "/api/" in text or any(host in text for host in servers)
    } == set()
