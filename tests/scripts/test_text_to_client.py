"""Text stays text from a source, through mesh.yaml and the generator's input, to the client."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import generate
import import_spec
import pytest

from tests.scripts.importing import OPERATION, SETTINGS, Json

# Each is a number, a date, null, a boolean, or a merge key to one reader of YAML or another.
TEXTS = (
    *("25921e05", "1e3", "1.5e3", "+1e3", "1_000", "0x1F", "0o17", "0b11", "010", ".5", "1.", "+1"),
    *("2026-01-01", "2026-01-01T12:30:00Z", "12:30:00", "190:20:30", ".inf", ".NaN", "-.INF", "_1"),
    *("~", "null", "Null", "NULL", "true", "True", "no", "No", "off", "y", "N", "=", "<<"),
)
# Those that make a name in Python.
NAMES = ("25921e05", "1_000", "0x1F", "0o17", "null", "true", "no", "off", "y", "2026-01-01")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return the client of an operation whose schema says each text in each way."""
    folder = tmp_path_factory.mktemp("text")
    properties: Json = {}
    for number, text in enumerate(TEXTS):
        words = {"default": text, "example": text, "title": text}
        properties[f"default_{number}"] = {"type": "string", "description": text, **words}
    for name in NAMES:
        properties[name] = {"type": "string"}
    schema = {"type": "object", "properties": properties, "required": list(NAMES)}
    schemas = {
        "Texts": schema,
        "Choice": {"type": "string", "enum": ["25921e05", "1e3", "a", None]},
    }
    body = {"schema": {"$ref": "#/components/schemas/Texts"}}
    query = {"name": "c", "in": "query", "schema": {"$ref": "#/components/schemas/Choice"}}
    operation = OPERATION | {"operationId": "put", "tags": ["t"], "parameters": [query]}
    operation |= {"requestBody": {"content": {"application/json": body}}}
    document = {"openapi": "3.0.1", "paths": {"/x": {"put": operation}}}
    source = json.dumps(document | {"components": {"schemas": schemas}})
    spec = folder / "mesh.yaml"
    spec.write_text(import_spec.import_source(source.encode(), SETTINGS, ["*"]), "utf-8")
    generate.generate(spec, None, folder / "generated")
    (folder / "generated" / generate.PACKAGE).rename(folder / "text_client")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        return importlib.import_module("text_client.models")


def test_defaults_are_the_text_that_the_source_has(client: ModuleType) -> None:
    texts: Any = client.Texts(*NAMES)
    assert [getattr(texts, f"default_{number}") for number in range(len(TEXTS))] == list(TEXTS)


def test_names_of_properties_are_the_text_that_the_source_has(client: ModuleType) -> None:
    written: Json = client.Texts(*NAMES).to_dict()
    assert sorted(written) == sorted([*NAMES, *(f"default_{n}" for n in range(len(TEXTS)))])


def test_descriptions_titles_and_examples_are_the_text_that_the_source_has(
    client: ModuleType,
) -> None:
    source = Path(str(client.__file__)).with_name("texts.py").read_text("utf-8")
    unfolded = " ".join(source.split())
    for text in TEXTS:
        assert f": {text} Default: '{text}'. Example: {text}." in unfolded


def test_an_enum_with_null_keeps_its_class_and_its_values(client: ModuleType) -> None:
    assert {member.value for member in client.Choice} == {"25921e05", "1e3", "a"}
