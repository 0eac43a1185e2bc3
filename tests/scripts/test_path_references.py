"""Paths that are references: the importer replaces them, and nothing leaves them out silently."""

import json

import pytest
from openapi_tools.json_values import SpecError
from openapi_tools.operations import operations_of

from tests.scripts.importing import OPERATION, Json, imported


def source(path_item: Json, path_items: Json) -> str:
    components = {"pathItems": path_items}
    return json.dumps({"openapi": "3.1.0", "paths": {"/x": path_item}, "components": components})


def test_path_that_is_a_reference_has_the_operations_of_its_target() -> None:
    document = source(
        {"$ref": "#/components/pathItems/A", "x-own": 1},
        {"A": {"$ref": "#/components/pathItems/B"}, "B": {"get": OPERATION, "x-theirs": 2}},
    )

    spec = imported(document, "*")

    assert spec["paths"] == {"/x": {"get": OPERATION, "x-own": 1, "x-theirs": 2}}


def test_texts_beside_the_reference_of_a_path_replace_those_of_the_target() -> None:
    document = source(
        {"$ref": "#/components/pathItems/A", "summary": "Ours"},
        {"A": {"get": OPERATION, "summary": "Theirs", "description": "Kept"}},
    )

    path_item = imported(document, "*")["paths"]["/x"]

    assert path_item == {"get": OPERATION, "summary": "Ours", "description": "Kept"}


@pytest.mark.parametrize(
    ("path_item", "path_items", "reason"),
    [
        (
            {"$ref": "#/components/pathItems/A", "get": OPERATION},
            {"A": {"get": OPERATION}},
            (
                "paths./x.get: the reference beside it leads to '#/components/pathItems/A', which"
                " has a 'get', too: remove one of the two from the source"
            ),
        ),
        (
            {"$ref": "#/components/pathItems/A", "get": OPERATION},
            {"A": {"$ref": "#/components/pathItems/B"}, "B": {"get": OPERATION}},
            (
                "paths./x.get: the reference beside it leads to '#/components/pathItems/B', which"
                " has a 'get', too: remove one of the two from the source"
            ),
        ),
        (
            {"$ref": "#/components/pathItems/A"},
            {
                "A": {"$ref": "#/components/pathItems/B", "get": OPERATION},
                "B": {"get": OPERATION},
            },
            (
                "#/components/pathItems/A.get: the reference beside it leads to"
                " '#/components/pathItems/B', which has a 'get', too: remove one of the two from"
                " the source"
            ),
        ),
        (
            {"$ref": "#/components/pathItems/A"},
            {"A": {"$ref": "#/components/pathItems/B"}},
            (
                "#/components/pathItems/A: there is nothing at '#/components/pathItems/B':"
                " 'B' is missing"
            ),
        ),
        (
            {"$ref": "#/components/pathItems/A"},
            {"A": {"$ref": 1}},
            "#/components/pathItems/A.$ref: expected a text, not 1",
        ),
        (
            {"$ref": "#/components/pathItems/A"},
            {"A": {"$ref": "#/components/pathItems/A"}},
            (
                "paths./x: these references lead in a circle: #/components/pathItems/A →"
                " #/components/pathItems/A"
            ),
        ),
        (
            {"$ref": "#/components/pathItems/A"},
            {},
            "paths./x: there is nothing at '#/components/pathItems/A': 'A' is missing",
        ),
        (
            {"$ref": "other.yaml"},
            {},
            (
                "paths./x: 'other.yaml' is in another document: only references within this"
                " document (#/…) can be imported"
            ),
        ),
        ({"$ref": 1}, {}, "paths./x.$ref: expected a text, not 1"),
    ],
)
def test_path_whose_reference_cannot_be_replaced_is_refused_with_its_place(
    path_item: Json, path_items: Json, reason: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        imported(source(path_item, path_items), "*")

    assert str(refusal.value) == reason


def test_operations_of_a_path_that_is_still_a_reference_are_not_left_out_silently() -> None:
    document: Json = {"paths": {"/x": {"$ref": "#/components/pathItems/A"}}}

    with pytest.raises(SpecError, match=r"^paths\./x\.\$ref: a path that is a reference is not"):
        operations_of(document)
