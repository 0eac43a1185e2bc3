"""The Python reference: every public name is there, and each has a text."""

from __future__ import annotations

import re
from pathlib import Path

import griffe
import pytest

import mesh_facade
import mesh_facade.errors
import mesh_facade.testing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
DOCUMENTED = re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def package() -> griffe.Object:
    loader = griffe.GriffeLoader(search_paths=[ROOT, ROOT / "generated"])
    loader.load("mesh_connect_client")
    loader.load("mesh_facade")
    loader.resolve_aliases()
    loaded = loader.modules_collection["mesh_facade"]
    assert isinstance(loaded, griffe.Object)
    return loaded


def find(package: griffe.Object, name: str) -> griffe.Object:
    found = package[name.removeprefix("mesh_facade.")]
    if isinstance(found, griffe.Alias):
        return found.final_target
    assert isinstance(found, griffe.Object)
    return found


def text_on_page(name: str) -> str:
    """Return what the page itself says below the name, options aside."""
    after = PAGE.partition(f"::: {name}\n")[2]
    until_next = re.split(r"^(?::::|#) ?", after, maxsplit=1, flags=re.MULTILINE)[0]
    return re.sub(r"^    .*$", "", until_next, flags=re.MULTILINE).strip()


def test_every_public_name_is_in_the_reference() -> None:
    names = set(mesh_facade.__all__) - {"__version__"}

    assert {f"mesh_facade.{name}" for name in names} - set(DOCUMENTED) == set()


def test_every_name_of_the_test_kit_is_in_the_reference() -> None:
    names = {f"mesh_facade.testing.{name}" for name in mesh_facade.testing.__all__}

    assert names - set(DOCUMENTED) == set()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_name_in_the_reference_has_a_text(name: str, package: griffe.Object) -> None:
    documented = find(package, name)

    assert documented.docstring or text_on_page(name)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_method_and_fixture_in_the_reference_has_a_text(
    name: str, package: griffe.Object
) -> None:
    without_text: list[str] = []
    for member in find(package, name).members.values():
        is_own_function = not member.is_alias and member.is_function
        if is_own_function and not member.name.startswith("_") and not member.docstring:
            without_text.append(member.path)

    assert without_text == []


def test_tree_of_errors_is_that_of_the_code() -> None:
    tree = re.search(r"^```text\n(MeshError\n.*?)```$", PAGE, re.MULTILINE | re.DOTALL)

    assert tree
    assert tree[1] in str(mesh_facade.errors.__doc__)


def test_broker_type_says_that_other_strings_are_accepted() -> None:
    assert "a plain string works as well" in text_on_page("mesh_facade.BrokerType")
