"""The check that a document is valid OpenAPI 3.0, which reports the place of a fault."""

from typing import Any

import pytest
from openapi_tools.json_values import SpecError
from openapi_tools.validation import check_openapi

Json = dict[str, Any]

INFO = {"title": "T", "version": "1"}
TEXT = {"type": "string"}


def refusal(schema: Json) -> str:
    document: Json = {"openapi": "3.0.3", "info": INFO, "paths": {}}
    document["components"] = {"schemas": {"A": schema, "Text": TEXT, "Texts": {"items": TEXT}}}
    with pytest.raises(SpecError) as refused:
        check_openapi(document, "a.yaml:")
    return str(refused.value)


def test_a_valid_document_is_accepted() -> None:
    check_openapi({"openapi": "3.0.3", "info": INFO, "paths": {}})


def test_a_fault_is_reported_with_the_name_of_the_document_and_the_place() -> None:
    assert refusal({"items": {"type": "text"}}) == (
        "a.yaml: $.components.schemas.A.items.type: 'text' is not one of"
        " ['array', 'boolean', 'integer', 'number', 'object', 'string']"
    )


def test_a_long_value_does_not_hide_what_is_wrong_with_it() -> None:
    values = [f"broker {number}" for number in range(99)]
    reason = refusal({"properties": {"a": {}, "b": {"enum": [*values, "broker 7"]}}})
    assert reason == (
        "a.yaml: $.components.schemas.A.properties.b.enum: ['broker 0', 'broker 1', 'broker 2',"
        " 'broker 3', 'broker 4',… has non-unique elements: [7] and [99] are both 'broker 7'"
    )


def test_numbers_that_are_equal_and_written_differently_are_a_duplicate() -> None:
    assert refusal({"enum": [1, 1.0]}) == (
        "a.yaml: $.components.schemas.A.enum: [1, 1.0] has non-unique elements"
    )


def test_a_word_in_a_schema_that_is_checked_by_itself_is_reported_with_its_place() -> None:
    reason = refusal({"properties": {"a": {"items": {"type": "string", "pattern": "(["}}}})
    assert reason == (
        "a.yaml: $.components.schemas.A.properties.a.items.pattern: '([' is not a 'regex'"
    )


def test_a_word_in_a_schema_of_the_components_is_reported_with_its_place() -> None:
    reason = refusal({"type": "string", "pattern": "(["})
    assert reason == "a.yaml: $.components.schemas.A.pattern: '([' is not a 'regex'"


@pytest.mark.parametrize(
    ("schemas", "circle"),
    [
        ({"A": {"allOf": [{"$ref": "#/components/schemas/A"}]}}, "A → A"),
        (
            {
                "Kitten": {"allOf": [{"$ref": "#/components/schemas/Cat"}]},
                "Cat": {"allOf": [{"allOf": [{"$ref": "#/components/schemas/Pet"}]}, {}]},
                "Pet": {"oneOf": [{"$ref": "#/components/schemas/Cat"}, {"type": "object"}]},
            },
            "Cat → Pet → Cat",
        ),
    ],
)
def test_schemas_that_are_parts_of_each_other_are_named(schemas: Json, circle: str) -> None:
    document = {"openapi": "3.0.3", "info": INFO, "paths": {}, "components": {"schemas": schemas}}
    name = circle.partition(" ")[0]
    with pytest.raises(SpecError) as refused:
        check_openapi(document, "a.yaml:")
    assert str(refused.value) == (
        f"a.yaml: $.components.schemas.{name}: these schemas include each other through $ref or"
        f" allOf/anyOf/oneOf: {circle}"
    )


def reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    "others",
    [
        # Layers of two schemas, each of which includes both of the next layer: 2**60 paths.
        {
            f"{layer} {side}": {"allOf": [reference(f"{layer + 1} a"), reference(f"{layer + 1} b")]}
            for layer in range(60)
            for side in "ab"
        },
        # A chain that is longer than Python's stack.
        {f"{link} a": {"allOf": [reference(f"{link + 1} a")]} for link in range(2_000)},
    ],
    ids=["layers", "chain"],
)
def test_schemas_that_include_each_other_are_found_beside_many_that_do_not(others: Json) -> None:
    schemas = {
        "Kitten": {"allOf": [reference("Cat"), reference("0 a")]},
        "Cat": {"allOf": [reference("Cat")]},
        **others,
    }
    document = {"openapi": "3.0.3", "info": INFO, "paths": {}, "components": {"schemas": schemas}}
    with pytest.raises(SpecError, match=r"Cat: these schemas include each other .*: Cat → Cat$"):
        check_openapi(document)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (
            {"properties": {"x": {"type": "string", "default": {}}}},
            "properties.x.default: {} is not of type 'string'",
        ),
        (
            {"properties": {"x-y": {"type": "string", "default": {}}}},
            "properties['x-y'].default: {} is not of type 'string'",
        ),
        (
            {"allOf": [{}, {"required": ["k"], "default": {"l": 1}}]},
            "allOf[1].default: 'k' is a required property",
        ),
        (
            {"properties": {"a": {"default": {}}, "b": {"type": "string", "default": {}}}},
            "properties.b.default: {} is not of type 'string'",
        ),
        (
            {"properties": {"a": {"default": None}, "b": {"type": "string", "default": None}}},
            "properties.b.default: None for not nullable",
        ),
        (
            {"properties": {"a": {"default": 1}, "b": {"allOf": [{"enum": [2]}], "default": 1}}},
            "properties.b.default: 1 is not one of [2]",
        ),
        (
            {
                "properties": {
                    "a": {"allOf": [{"type": "integer"}], "default": 1},
                    "b": {"allOf": [{"$ref": "#/components/schemas/Text"}], "default": 1},
                }
            },
            "properties.b.default: 1 is not of type 'string'",
        ),
        (
            {
                "properties": {
                    "a": {"allOf": [{"$ref": "#/components/schemas/Text"}], "default": "good"},
                    "b": {"allOf": [{"$ref": "#/components/schemas/Text"}], "default": 1},
                }
            },
            "properties.b.default: 1 is not of type 'string'",
        ),
        (
            {
                "properties": {
                    "a": {"allOf": [{"$ref": "#/components/schemas/Texts"}], "default": []},
                    "b": {
                        "allOf": [{"$ref": "#/components/schemas/Texts"}],
                        "default": ["c", None],
                    },
                }
            },
            "properties.b.default[1]: None for not nullable",
        ),
        (
            {"type": "array", "items": {"type": "integer"}, "default": [1, "zwei"]},
            "default[1]: 'zwei' is not of type 'integer'",
        ),
        (
            {"properties": {"k": {"type": "object"}}, "default": {"k": [2]}},
            "default.k: [2] is not of type 'object'",
        ),
        (
            {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"type": "object", "properties": {"x": {"type": "string"}}},
                        {"type": "integer"},
                    ]
                },
                "default": [{}, {"x": 1}],
            },
            "default[1].x: 1 is not of type 'string'",
        ),
    ],
)
def test_a_default_that_does_not_fit_its_schema_is_reported_with_its_place(
    schema: Json, reason: str
) -> None:
    place = "$.components.schemas.A" + ("" if reason.startswith("[") else ".")
    assert refusal(schema) == f"a.yaml: {place}{reason}"


def test_default_of_an_alias_of_an_alias_is_reported_with_its_place() -> None:
    schemas = {
        "A": {"properties": {"a": {"allOf": [reference("Alias")], "default": 1}}},
        "Alias": reference("Second"),
        "Second": reference("Third"),
        "Third": TEXT,
    }
    document = {"openapi": "3.0.3", "info": INFO, "paths": {}, "components": {"schemas": schemas}}
    with pytest.raises(SpecError) as refused:
        check_openapi(document, "a.yaml:")
    assert str(refused.value) == (
        "a.yaml: $.components.schemas.A.properties.a.default: 1 is not of type 'string'"
    )


@pytest.mark.parametrize(
    "other", [reference("Circle"), reference("Gone"), {"$ref": "other.yaml#/Gone"}]
)
def test_wrong_default_is_found_behind_a_default_whose_schema_leads_nowhere(other: Json) -> None:
    parameter = {
        "in": "query",
        "name": "q",
        "schema": {"allOf": [{"type": "string"}], "default": 1},
    }
    operation = {"parameters": [parameter], "responses": {"200": {"description": "OK"}}}
    schemas = {"A": {"allOf": [other], "default": 1}, "Circle": reference("Circle")}
    document = {
        "openapi": "3.0.3",
        "info": INFO,
        "components": {"schemas": schemas},
        "paths": {"/x": {"get": operation}},
    }
    with pytest.raises(SpecError) as refused:
        check_openapi(document, "a.yaml:")
    assert str(refused.value) == (
        "a.yaml: $.paths['/x'].get.parameters[0].schema.default: 1 is not of type 'string'"
    )


def test_a_reference_to_nothing_is_reported() -> None:
    reference = "/components/schemas/Gone"
    document: Json = {"openapi": "3.0.3", "info": INFO, "components": {"schemas": {}}}
    content = {"a/b": {"schema": {"$ref": f"#{reference}"}}}
    responses = {"200": {"description": "OK", "content": content}}
    document["paths"] = {"/x": {"get": {"responses": responses}}}
    with pytest.raises(SpecError, match=f"there is nothing at '{reference}'"):
        check_openapi(document)


def test_schemas_that_are_nested_too_deeply_are_refused() -> None:
    schema: Json = {}
    for _ in range(400):
        schema = {"items": schema}
    assert refusal(schema) == "a.yaml: the document is nested too deeply"
