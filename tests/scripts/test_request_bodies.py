"""A request body that may be sent in several media types is sent as application/json."""

import copy
import json
from pathlib import Path
from typing import Any

import generate
import pytest
from openapi_tools.documents import read_document
from openapi_tools.request_bodies import keep_one_media_type

JSON_BODY = {"schema": {"type": "object"}, "example": {}}
WITHOUT_EXAMPLE = {"schema": {"type": "object"}}


def media_types(**request: Any) -> list[str]:
    """Return the media types that are left to a request body."""
    document: Any = {"paths": {"/x": {"put": copy.deepcopy(request)}}}
    keep_one_media_type(document)
    return list(document["paths"]["/x"]["put"]["requestBody"]["content"])


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ({"text/json": JSON_BODY, "application/json": JSON_BODY}, ["application/json"]),
        ({"application/json": JSON_BODY, "a/b": WITHOUT_EXAMPLE}, ["application/json"]),
        ({"application/json": {}, "text/json": {}}, ["application/json"]),
        ({"application/json": JSON_BODY, "a/b": {"schema": {}}}, ["application/json", "a/b"]),
        (
            {
                "application/json": {"schema": {"default": 1}},
                "a/b": {"schema": {"default": True}},
            },
            ["application/json", "a/b"],
        ),
        ({"text/json": JSON_BODY, "a/b": JSON_BODY}, ["text/json", "a/b"]),
        ({"application/json": JSON_BODY}, ["application/json"]),
    ],
)
def test_media_type_with_the_schema_of_application_json_is_removed(
    content: Any, left: list[str]
) -> None:
    assert media_types(requestBody={"content": content}) == left


@pytest.mark.parametrize(
    "request_", [{}, {"requestBody": {"$ref": "#/components/requestBodies/A"}}]
)
def test_operation_without_a_body_of_its_own_stays(request_: Any) -> None:
    document: Any = {"paths": {"/x": {"put": copy.deepcopy(request_)}}}

    keep_one_media_type(document)

    assert document == {"paths": {"/x": {"put": request_}}}


def test_client_of_a_spec_with_more_media_types_is_the_same(tmp_path: Path) -> None:
    spec: Any = read_document(generate.SPEC)
    content = spec["paths"]["/api/v1/balance/get"]["post"]["requestBody"]["content"]
    content["text/json"] = content["application/json"]
    content["application/*+json"] = content["application/json"]
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))

    generate.generate(path, generate.OVERLAY, tmp_path / "generated")

    module = "api/balance/get_account_balance.py"
    new = (tmp_path / "generated" / generate.PACKAGE / module).read_text()
    assert new == (generate.OUTPUT / generate.PACKAGE / module).read_text()
