"""The objects of a document, each with the JSONPath by which an overlay names it."""

import json
from pathlib import Path
from typing import Any

import generate
import pytest
from openapi_tools.documents import read_document
from openapi_tools.objects import find_objects


def paths_of(document: Any) -> list[str]:
    return [each.path for each in find_objects(document)]


def test_every_object_of_keywords_is_found_outer_ones_first() -> None:
    schema = {"properties": {"enum": {"items": {"type": "string"}}}, "allOf": [{"title": "A"}]}

    assert paths_of({"components": {"schemas": {"a b": schema}}}) == [
        "$",
        '$.components.schemas["a b"]',
        '$.components.schemas["a b"].properties.enum',
        '$.components.schemas["a b"].properties.enum.items',
        '$.components.schemas["a b"].allOf[0]',
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"x-data": {"enum": [1.5]}},
        {"components": {"x-data": {"Thing": {"enum": [1.5]}}}},
        {"components": {"x-data": "words"}},
        {"paths": {"x-data": {"get": {"enum": [1.5]}}}},
        {"components": {"schemas": {"x-text": "not a schema"}}},
    ],
)
def test_data_of_an_extension_is_left_out(document: Any) -> None:
    assert paths_of(document) == ["$"]


def test_data_of_an_extension_of_an_operation_is_left_out() -> None:
    responses = {"200": {"description": "OK"}, "x-data": {"enum": [1.5]}}

    assert paths_of({"paths": {"/x": {"get": {"responses": responses}}}}) == [
        "$",
        '$.paths["/x"]',
        '$.paths["/x"].get',
        '$.paths["/x"].get.responses["200"]',
    ]


def test_schema_or_header_whose_name_begins_like_an_extension_is_found() -> None:
    schemas = {"x-thing": {"properties": {"x-part": {}}}}
    responses = {"x-answer": {"headers": {"x-request-id": {}}}}

    assert paths_of({"components": {"schemas": schemas, "responses": responses}}) == [
        "$",
        '$.components.schemas["x-thing"]',
        '$.components.schemas["x-thing"].properties["x-part"]',
        '$.components.responses["x-answer"]',
        '$.components.responses["x-answer"].headers["x-request-id"]',
    ]


def test_data_of_an_extension_reaches_the_generator_as_it_is(tmp_path: Path) -> None:
    spec: Any = read_document(generate.SPEC)
    data = {"Thing": {"enum": [1.5, None, "1a"]}}
    spec["components"]["x-data"] = data
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))

    generate.generate(path, None, tmp_path / "generated")

    effective: Any = read_document(tmp_path / "generated" / generate.PACKAGE / "openapi.yaml")
    assert effective["components"]["x-data"] == data
