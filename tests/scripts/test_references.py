"""References in a document: followed, renamed, or refused with their place and the reason."""

from typing import Any

import pytest
from openapi_tools import canonical_form
from openapi_tools.canonical_form import to_canonical_form
from openapi_tools.json_values import SpecError
from openapi_tools.operations import operations_of
from openapi_tools.references import schema_name, schema_reference

Json = dict[str, Any]

PLACE = "paths./x.get.responses.200.content.a/b.schema"


def of(schema: Json, names: dict[str, str] | None = None, **components: Any) -> Json:
    """Return the canonical form of an operation that answers with a schema."""
    response = {"description": "OK", "content": {"a/b": {"schema": schema}}}
    paths = {"/x": {"get": {"responses": {"200": response}}}}
    document = {"paths": paths, "components": components}
    return to_canonical_form(document, operations_of(document).values(), {}, names or {})


def schema_of(schema: Json, **schemas: Any) -> Json:
    spec = of(schema, schemas=schemas)
    answer: Json = spec["paths"]["/x"]["get"]["responses"]["200"]
    carried: Json = answer["content"]["a/b"]["schema"]
    return carried


def refusal(schema: Json, **components: Any) -> str:
    with pytest.raises(SpecError) as refused:
        of(schema, **components)
    return str(refused.value)


# --- the mapping of a discriminator -------------------------------------------------------------


def test_the_schemas_of_a_mapping_are_carried() -> None:
    mapping = {"a": "#/components/schemas/A", "b": "B"}
    discriminator = {"propertyName": "kind", "mapping": mapping}
    spec = of({"discriminator": discriminator}, schemas={"A": {}, "B": {"title": "B"}, "C": {}})
    assert spec["components"] == {"schemas": {"A": {}, "B": {"title": "B"}}}
    answer = spec["paths"]["/x"]["get"]["responses"]["200"]
    assert answer["content"]["a/b"]["schema"] == {"discriminator": discriminator}


def test_a_mapping_follows_renamed_schemas_in_both_spellings() -> None:
    mapping = {"a": "#/components/schemas/A", "b": "B", "c": "#/components/schemas/C%20c"}
    schema = {"discriminator": {"propertyName": "kind", "mapping": mapping}}
    names = {"A": "OurA", "B": "OurB", "C c": "OurC"}
    spec = of(schema, names, schemas={"A": {}, "B": {}, "C c": {}})
    answer = spec["paths"]["/x"]["get"]["responses"]["200"]
    assert answer["content"]["a/b"]["schema"]["discriminator"]["mapping"] == {
        "a": "#/components/schemas/OurA",
        "b": "OurB",
        "c": "#/components/schemas/OurC",
    }
    assert sorted(spec["components"]["schemas"]) == ["OurA", "OurB", "OurC"]


def test_a_mapping_inside_a_schema_that_is_mapped_to_is_followed_too() -> None:
    inner = {"discriminator": {"propertyName": "kind", "mapping": {"b": "B"}}}
    schema = {"discriminator": {"propertyName": "kind", "mapping": {"a": "A"}}}
    assert sorted(of(schema, schemas={"A": inner, "B": {}})["components"]["schemas"]) == ["A", "B"]


def test_a_value_of_a_mapping_may_be_named_like_a_keyword() -> None:
    mapping = {"deprecated": "A", "required": "A", "$ref": "A", "mapping": "A"}
    schema = {"discriminator": {"propertyName": "kind", "mapping": mapping}}
    assert schema_of(schema, A={}) == schema


def test_a_discriminator_without_a_mapping_is_carried() -> None:
    assert schema_of({"discriminator": {"propertyName": "kind"}}) == {
        "discriminator": {"propertyName": "kind"}
    }


@pytest.mark.parametrize(
    "target", ["https://a.example/schemas/A", "other.yaml#/A", "A.json", "Gone", "#/x/A", ""]
)
def test_a_mapping_to_anything_but_a_schema_is_refused_with_its_place(target: str) -> None:
    schema = {"discriminator": {"propertyName": "kind", "mapping": {"a": target}}}
    assert refusal(schema, schemas={"A": {}}) == (
        f"{PLACE}.discriminator.mapping.a: '{target}' is neither the name of a schema in this"
        " document nor a reference to one (#/components/schemas/…)"
    )


def test_a_mapping_to_a_missing_schema_is_refused_with_its_place() -> None:
    mapping = {"a": "#/components/schemas/Gone"}
    schema = {"discriminator": {"propertyName": "kind", "mapping": mapping}}
    assert refusal(schema) == (
        f"{PLACE}.discriminator.mapping.a: there is nothing at '#/components/schemas/Gone':"
        " 'schemas' is missing"
    )


@pytest.mark.parametrize("mapping", [[], "A", {"a": 1}])
def test_a_malformed_mapping_is_refused_with_its_place(mapping: Any) -> None:
    schema = {"discriminator": {"propertyName": "kind", "mapping": mapping}}
    assert refusal(schema).startswith(f"{PLACE}.discriminator.mapping")


# --- what a reference may point to --------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("#/components/schemas/A%20b", "A b"),
        ("#/components/schemas/A%7e1b", "A/b"),
        ("#/components/schemas/A~1b~0c", "A/b~c"),
        ("#%2Fcomponents%2Fschemas%2FA", "A"),
        ("#/components/schemas/A/properties/b", None),
        ("#/components/responses/A", None),
        ("other.yaml#/components/schemas/A", None),
        ("#", None),
        ("", None),
    ],
)
def test_the_name_in_a_reference_is_decoded(reference: str, name: str | None) -> None:
    assert schema_name(reference) == name


def test_a_reference_to_a_schema_is_written_so_that_it_reads_the_same() -> None:
    assert schema_name(schema_reference("a/b~c")) == "a/b~c"


def test_percent_encoded_references_are_followed() -> None:
    response = {"description": "OK", "content": {"a/b": {"schema": {"title": "T"}}}}
    reference = {"$ref": "#/paths/~1x~1%7Bid%7D/get/responses/200/content/a~1b/schema"}
    other = {"get": {"responses": {"201": {"content": {"a/b": {"schema": reference}}}}}}
    document = {"paths": {"/x/{id}": {"get": {"responses": {"200": response}}}, "/y": other}}
    spec = to_canonical_form(document, [("/y", "get")], {}, {})
    answer = spec["paths"]["/y"]["get"]["responses"]["201"]
    assert answer["content"]["a/b"]["schema"] == {"title": "T"}


def test_keywords_beside_a_reference_to_a_schema_outside_the_components_are_kept() -> None:
    response = {"description": "OK", "content": {"a/b": {"schema": {"title": "T"}}}}
    reference = {
        "$ref": "#/paths/~1x/get/responses/200/content/a~1b/schema",
        "deprecated": True,
    }
    other = {"get": {"responses": {"201": {"content": {"a/b": {"schema": reference}}}}}}
    document = {"paths": {"/x": {"get": {"responses": {"200": response}}}, "/y": other}}

    spec = to_canonical_form(document, [("/y", "get")], {}, {})

    answer = spec["paths"]["/y"]["get"]["responses"]["201"]
    assert answer["content"]["a/b"]["schema"] == {"deprecated": True, "allOf": [{"title": "T"}]}


@pytest.mark.parametrize(
    ("reference", "part"),
    [
        ("#/components/schemas/A/properties/b", {"type": "integer"}),
        ("#/components/schemas/A/oneOf/1", {"title": "Two"}),
        ("#/components/schemas/A/properties/c%20d", {"title": "Three"}),
    ],
)
def test_a_reference_into_a_part_of_a_schema_is_replaced_by_that_part(
    reference: str, part: Json
) -> None:
    whole = {
        "properties": {"b": {"type": "integer"}, "c d": {"title": "Three"}},
        "oneOf": [{"title": "One"}, {"title": "Two"}],
    }
    spec = of({"$ref": reference}, schemas={"A": whole})
    answer = spec["paths"]["/x"]["get"]["responses"]["200"]
    assert answer["content"]["a/b"]["schema"] == part
    assert "components" not in spec


def test_keywords_beside_a_reference_into_a_schema_go_around_it() -> None:
    whole = {"properties": {"b": {"type": "integer"}}}
    schema = {"$ref": "#/components/schemas/A/properties/b", "description": "D"}
    assert schema_of(schema, A=whole) == {"allOf": [{"type": "integer"}], "description": "D"}


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("#/components/schemas/Gone", "'Gone' is missing"),
        ("#/components/schemas/A/properties/gone", "'properties' is missing"),
        ("#/components/schemas/A/oneOf/2", "'2' is missing"),
        ("#/components/schemas/A/oneOf/-1", "'-1' is missing"),
        ("#/components/schemas/A/title/b", "'b' is missing"),
    ],
)
def test_a_reference_to_nothing_is_refused_with_its_place(reference: str, reason: str) -> None:
    whole = {"title": "A", "oneOf": [{}, {}]}
    assert refusal({"items": {"$ref": reference}}, schemas={"A": whole}) == (
        f"{PLACE}.items: there is nothing at '{reference}': {reason}"
    )


def test_a_reference_to_something_that_is_no_object_is_refused() -> None:
    reference = "#/components/schemas/A/title"
    assert refusal({"$ref": reference}, schemas={"A": {"title": "T"}}) == (
        f"{PLACE}: '{reference}': expected a mapping, not 'T'"
    )


@pytest.mark.parametrize("reference", ["other.yaml", "https://a.example/b#/c", "A"])
def test_a_reference_to_another_document_is_refused_with_the_reason(reference: str) -> None:
    assert refusal({"$ref": reference}) == (
        f"{PLACE}: '{reference}' is in another document: only references within this document"
        " (#/…) can be imported"
    )


@pytest.mark.parametrize("reference", [1, None, {}, ["#/a"]])
def test_a_reference_that_is_no_text_is_refused(reference: Any) -> None:
    assert refusal({"$ref": reference}).startswith(f"{PLACE}.$ref: expected a text, not")


# --- circles, and references that multiply ------------------------------------------------------


def test_a_circle_of_schemas_is_carried() -> None:
    tree = {"properties": {"child": {"$ref": "#/components/schemas/Tree"}}}
    spec = of({"$ref": "#/components/schemas/Tree"}, schemas={"Tree": tree})
    assert spec["components"]["schemas"] == {"Tree": tree}


def test_a_long_chain_of_schemas_is_carried() -> None:
    schemas: Json = {"S0": {}}
    for number in range(1, 3_000):
        schemas[f"S{number}"] = {"items": {"$ref": f"#/components/schemas/S{number - 1}"}}
    spec = of({"$ref": "#/components/schemas/S2999"}, schemas=schemas)
    assert len(spec["components"]["schemas"]) == 3_000


def test_a_circle_of_other_references_is_refused_with_its_place() -> None:
    responses = {
        "A": {"$ref": "#/components/responses/B"},
        "B": {"$ref": "#/components/responses/A"},
    }
    document = {
        "paths": {"/x": {"get": {"responses": {"200": {"$ref": "#/components/responses/A"}}}}},
        "components": {"responses": responses},
    }
    with pytest.raises(SpecError) as refused:
        to_canonical_form(document, [("/x", "get")], {}, {})
    assert str(refused.value) == (
        "paths./x.get.responses.200: these references lead in a circle: #/components/responses/A"
        " → #/components/responses/B → #/components/responses/A"
    )


def test_a_part_of_a_schema_that_contains_itself_is_refused_with_its_place() -> None:
    reference = "#/components/schemas/A/properties/b"
    whole = {"properties": {"b": {"items": {"$ref": reference}}}}
    assert refusal({"$ref": reference}, schemas={"A": whole}) == (
        f"{PLACE}.items: these references lead in a circle: {reference} → {reference}"
    )


@pytest.mark.parametrize("names", [["A"], ["A", "B"], ["A", "B", "C"]])
def test_schemas_that_are_only_references_to_each_other_are_refused(names: list[str]) -> None:
    schemas: Json = {}
    for name, following in zip(names, [*names[1:], names[0]], strict=True):
        schemas[name] = {"$ref": f"#/components/schemas/{following}"}
    assert refusal({"$ref": "#/components/schemas/A"}, schemas=schemas) == (
        "components.schemas.A: these schemas are nothing but references to each other: "
        + " → ".join([*names, "A"])
    )


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_schemas_that_consist_of_each_other_alone_are_refused(keyword: str) -> None:
    schemas: Json = {
        "A": {keyword: [{"$ref": "#/components/schemas/B"}]},
        "B": {"$ref": "#/components/schemas/A", "deprecated": False},
    }
    with pytest.raises(SpecError) as refused:
        of({"$ref": "#/components/schemas/A"}, {"A": "Ours"}, schemas=schemas)
    assert str(refused.value) == (
        "components.schemas.A: these schemas are nothing but references to each other: A → B → A"
    )


def test_a_schema_that_is_only_a_reference_to_another_is_carried() -> None:
    schemas = {"A": {"$ref": "#/components/schemas/B"}, "B": {"title": "B"}}
    spec = of({"$ref": "#/components/schemas/A"}, schemas=schemas)
    assert spec["components"]["schemas"] == schemas


def test_references_that_multiply_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical_form, "MAX_OBJECTS", 1_000)
    levels: Json = {"l0": {"title": "bottom"}}
    for number in range(1, 10):
        below = {"$ref": f"#/components/schemas/A/properties/l{number - 1}"}
        levels[f"l{number}"] = {"allOf": [below] * 9}
    schema = {"$ref": "#/components/schemas/A/properties/l9"}
    assert refusal(schema, schemas={"A": {"properties": levels}}).endswith(
        "with its references replaced by what they point to, the document has more than 1,000"
        " objects"
    )
