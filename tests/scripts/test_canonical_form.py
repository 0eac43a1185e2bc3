"""The rules of the canonical form, as openapi/import.yaml states them for any source."""

import json
from typing import Any

import pytest
from openapi_tools.canonical_form import to_canonical_form
from openapi_tools.json_values import SpecError, copy_object, copy_objects
from openapi_tools.operations import operations_of

Json = dict[str, Any]

KEYS = {"X-Client-Id": "Client-Id", "X-Client-Secret": "Client-Secret"}
OK: Json = {"200": {"description": "OK"}}
OTHER: Json = {"name": "other", "in": "query"}
NULL: Json = {"nullable": True}


def api(operation: Json, **rest: Any) -> Json:
    return {"paths": {"/x": {"get": {"responses": OK, **operation}}}, **rest}


def of(document: Json, **names: str) -> Json:
    return to_canonical_form(document, operations_of(document).values(), KEYS, names)


def operation_of(document: Json) -> Json:
    return of(document)["paths"]["/x"]["get"]


def schema_of(schema: Any, **schemas: Any) -> Any:
    media = {"application/json": {"schema": schema}}
    responses = {"200": {"description": "OK", "content": media}}
    carried = operation_of(api({"responses": responses}, components={"schemas": schemas}))
    return carried["responses"]["200"]["content"]["application/json"]["schema"]


def test_operations_are_named_by_method_and_path() -> None:
    document = {"paths": {"/b": {"get": {}, "parameters": []}, "/a": {"post": {}, "get": {}}}}
    assert operations_of(document) == {
        "GET /b": ("/b", "get"),
        "GET /a": ("/a", "get"),
        "POST /a": ("/a", "post"),
    }


def test_a_document_without_operations_gives_an_empty_spec() -> None:
    assert of({"paths": {}}) == {}


def test_an_extension_is_carried_untouched() -> None:
    told = {"deprecated": False, "required": ["b", "a"], "$ref": "nowhere"}

    assert schema_of({"type": "string", "x-told": told}) == {"type": "string", "x-told": told}


def test_keywords_of_a_parameter_that_say_nothing_are_dropped() -> None:
    document = api({"parameters": [{**OTHER, "allowEmptyValue": False, "allowReserved": False}]})

    assert operation_of(document)["parameters"] == [OTHER]


def test_only_the_wanted_operations_and_their_schemas_are_carried() -> None:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}
    document = {
        "info": {"title": "theirs"},
        "paths": {"/x": {"get": {"requestBody": body}, "put": {}}, "/y": {"get": {}}},
        "components": {
            "schemas": {
                "A": {"items": {"$ref": "#/components/schemas/B"}},
                "B": {"properties": {"a": {"$ref": "#/components/schemas/A"}}},
                "C": {},
            }
        },
    }
    spec = to_canonical_form(document, [("/x", "get")], {}, {})
    assert spec == {
        "paths": {"/x": {"get": {"requestBody": body}}},
        "components": {"schemas": {n: document["components"]["schemas"][n] for n in "AB"}},
    }


SCHEMA_A: Json = {"$ref": "#/components/schemas/A"}
A_AND_B: Json = {"schemas": {"A": {"items": {"$ref": "#/components/schemas/B"}}, "B": {}}}


def test_schemas_of_a_parameter_that_the_operation_overrides_are_left_out() -> None:
    of_path = {"name": "a", "in": "query", "schema": SCHEMA_A}
    own = {"name": "a", "in": "query", "schema": {"type": "string"}}
    path_item = {"parameters": [of_path], "get": {"responses": OK, "parameters": [own]}}

    spec = of({"paths": {"/x": path_item}, "components": A_AND_B})

    assert spec == {"paths": {"/x": {"get": {"responses": OK, "parameters": [own]}}}}


def test_schemas_of_a_parameter_that_becomes_a_security_scheme_are_left_out() -> None:
    document = api(
        {"parameters": [{"name": "X-Client-Id", "in": "header", "schema": SCHEMA_A}]},
        components=A_AND_B,
    )

    assert list(of(document)["components"]) == ["securitySchemes"]


def test_schemas_of_keywords_that_are_ignored_beside_a_reference_are_left_out() -> None:
    reference = {"$ref": "#/components/parameters/P", "schema": SCHEMA_A}
    document = api({"parameters": [reference]}, components={"parameters": {"P": OTHER}, **A_AND_B})

    spec = of(document)

    assert spec == {"paths": {"/x": {"get": {"responses": OK, "parameters": [OTHER]}}}}


def test_overridden_parameter_does_not_use_a_schema_that_the_settings_rename() -> None:
    of_path = {**OTHER, "schema": SCHEMA_A}
    path_item = {"parameters": [of_path], "get": {"responses": OK, "parameters": [OTHER]}}

    with pytest.raises(SpecError, match="settings rename the schema 'A', but the imported"):
        of({"paths": {"/x": path_item}, "components": A_AND_B}, A="Ours")


@pytest.mark.parametrize("target", ["A", "#/components/schemas/A"])
def test_schemas_that_only_the_mapping_of_a_discriminator_names_are_carried(target: str) -> None:
    discriminator = {"propertyName": "kind", "mapping": {"a": target}}
    schema = {"type": "object", "discriminator": discriminator}
    document = api(
        {"parameters": [{"name": "a", "in": "query", "schema": schema}]}, components=A_AND_B
    )

    assert of(document)["components"] == A_AND_B


def test_schemas_that_only_a_carried_keyword_of_openapi_3_1_names_are_carried() -> None:
    schema = {"type": "object", "propertyNames": SCHEMA_A}
    document = api(
        {"parameters": [{"name": "a", "in": "query", "schema": schema}]},
        components=A_AND_B,
        openapi="3.1.0",
    )

    spec = of(document)

    [parameter] = spec["paths"]["/x"]["get"]["parameters"]
    assert parameter["schema"] == {"type": "object", "x-propertyNames": SCHEMA_A}
    assert spec["components"] == A_AND_B


def test_a_reference_to_a_response_is_replaced_by_the_response() -> None:
    document = api(
        {"responses": {"400": {"$ref": "#/components/responses/a~1b~0"}}},
        components={"responses": {"a/b~": {"description": "Bad"}}},
    )
    assert operation_of(document)["responses"] == {"400": {"description": "Bad"}}


@pytest.mark.parametrize("reference", ["#/components/schemas/Gone", "other.yaml#/X", "#/x/y"])
def test_a_reference_to_nothing_is_refused(reference: str) -> None:
    with pytest.raises(SpecError, match=reference):
        schema_of({"$ref": reference})


def test_servers_and_security_of_all_operations_stand_at_the_root() -> None:
    own = {"servers": [{"url": "https://a"}], "security": [{"K": []}], "responses": OK}
    schemes = {"securitySchemes": {"K": {"type": "http", "scheme": "bearer"}}}
    told_by_each = {"paths": {"/x": {"get": own, "put": own}}, "components": schemes}
    told_at_the_root = {
        "paths": {"/x": {"get": {"responses": OK}, "put": {"responses": OK}}},
        "components": schemes,
        **{word: own[word] for word in ("servers", "security")},
    }
    assert of(told_by_each) == of(told_at_the_root) == told_at_the_root


def test_servers_and_security_that_differ_stand_at_each_operation() -> None:
    document = {
        "servers": [{"url": "https://a"}],
        "security": [{"K": []}],
        "paths": {
            "/x": {
                "servers": [{"url": "https://b"}],
                "get": {"responses": OK},
                "put": {"responses": OK, "servers": [{"url": "https://c"}], "security": []},
            }
        },
        "components": {"securitySchemes": {"K": {"type": "http", "scheme": "bearer"}}},
    }
    spec = of(document)
    assert "servers" not in spec
    assert "security" not in spec
    assert spec["paths"]["/x"] == {
        "get": {"responses": OK, "servers": [{"url": "https://b"}], "security": [{"K": []}]},
        "put": {"responses": OK, "servers": [{"url": "https://c"}], "security": []},
    }


def test_servers_that_differ_only_as_true_and_1_do_stand_at_each_operation() -> None:
    methods = {
        "get": {"servers": [{"url": "https://a", "x-test": True}]},
        "put": {"servers": [{"url": "https://a", "x-test": 1}]},
    }

    assert json.dumps(of({"paths": {"/x": methods}})["paths"]["/x"]) == json.dumps(methods)


def test_security_schemes_are_named_by_the_settings() -> None:
    theirs = {"type": "apiKey", "in": "header", "name": "x-client-id", "description": "Ask"}
    query = {"type": "apiKey", "in": "query", "name": "X-Client-Id"}
    document = api(
        {}, security=[{"A": [], "B": []}], components={"securitySchemes": {"A": theirs, "B": query}}
    )
    spec = of(document)
    assert spec["security"] == [{"Client-Id": [], "B": []}]
    assert spec["components"] == {"securitySchemes": {"Client-Id": theirs, "B": query}}


def test_extensions_of_a_scheme_that_holds_a_key_are_carried() -> None:
    scheme = {"type": "apiKey", "in": "header", "name": "X-Client-Id", "x-told": {"required": []}}
    document = api({}, security=[{"A": []}], components={"securitySchemes": {"A": scheme}})

    assert of(document)["components"] == {"securitySchemes": {"Client-Id": scheme}}


OWN_SCHEME_WITH_OUR_NAME: Json = {"Client-Id": {"type": "oauth2", "flows": {}}}


def test_scheme_of_the_document_with_our_name_of_a_key_is_refused() -> None:
    key = {"type": "apiKey", "in": "header", "name": "X-Client-Id"}
    schemes = {**OWN_SCHEME_WITH_OUR_NAME, "A": key}

    for security in ([{"A": [], "Client-Id": []}], [{"Client-Id": []}, {"A": []}]):
        with pytest.raises(SpecError) as refusal:
            of(api({}, security=security, components={"securitySchemes": schemes}))

        assert str(refusal.value) == (
            "paths./x.get.security: two different security schemes would have the name 'Client-Id':"
            " give the API key another name in `securitySchemes` of openapi/import.yaml"
        )


def test_scheme_of_the_document_with_our_name_of_a_header_parameter_is_refused() -> None:
    with_parameter = {"responses": OK, "parameters": [header("X-Client-Id")]}
    document = {
        "paths": {
            "/x": {"get": {"responses": OK, "security": [{"Client-Id": []}]}},
            "/y": {"get": with_parameter},
        },
        "components": {"securitySchemes": OWN_SCHEME_WITH_OUR_NAME},
    }

    with pytest.raises(SpecError, match=r"^paths\./y\.get\.parameters: two different security"):
        of(document)


def test_keys_that_differ_only_as_true_and_1_do_are_different_schemes() -> None:
    key: Json = {"type": "apiKey", "in": "header", "name": "X-Client-Id"}
    schemes = {"A": {**key, "x-test": True}, "B": {**key, "x-test": 1}}
    document = api({"security": [{"A": []}, {"B": []}]}, components={"securitySchemes": schemes})

    with pytest.raises(SpecError, match="two different security schemes would have the name"):
        of(document)


def test_two_headers_with_one_name_in_the_settings_are_refused() -> None:
    document = api({"parameters": [header("X-One"), header("X-Two")]})

    with pytest.raises(SpecError, match="two different security schemes would have the name 'Key'"):
        to_canonical_form(document, [("/x", "get")], {"X-One": "Key", "X-Two": "Key"}, {})


def test_key_that_operations_describe_in_other_words_keeps_its_first_description() -> None:
    first = header("X-Client-Id", description="First")
    second = header("x-client-id", description="Second")
    document = {
        "paths": {
            "/x": {"get": {"responses": OK, "parameters": [first]}},
            "/y": {"get": {"responses": OK, "parameters": [second]}},
        }
    }

    key = {"type": "apiKey", "in": "header", "name": "X-Client-Id", "description": "First"}
    assert of(document)["components"] == {"securitySchemes": {"Client-Id": key}}


def test_security_of_a_callback_is_named_by_the_settings_and_its_schemes_are_carried() -> None:
    key = {"type": "apiKey", "in": "header", "name": "X-Client-Id"}
    bearer = {"type": "http", "scheme": "bearer"}
    called = {"post": {"responses": OK, "security": [{"A": []}, {"T": []}]}}
    document = api(
        {"callbacks": {"C": {"{$url}": called}}},
        components={"securitySchemes": {"A": key, "T": bearer}},
    )

    spec = of(document)

    carried = spec["paths"]["/x"]["get"]["callbacks"]["C"]["{$url}"]["post"]
    assert carried == {"responses": OK, "security": [{"Client-Id": []}, {"T": []}]}
    assert spec["components"] == {"securitySchemes": {"Client-Id": key, "T": bearer}}


def test_security_of_a_callback_that_names_no_scheme_is_refused() -> None:
    called = {"post": {"responses": OK, "security": [{"Gone": []}]}}
    document = api({"callbacks": {"C": {"{$url}": called}}})

    place = r"paths\./x\.get\.callbacks\.C\.\{\$url\}\.post\.security"
    with pytest.raises(SpecError, match=rf"^{place}: there is nothing at .*/securitySchemes/Gone"):
        of(document)


def header(name: str, **more: Any) -> Json:
    return {"name": name, "in": "header", "schema": {"type": "string"}, **more}


def test_header_parameters_that_hold_keys_become_security_schemes() -> None:
    secret = header("X-Client-Secret", description="Hush", required=True)
    document = api({"parameters": [header("X-Other"), secret, header("X-Client-Id")]})
    spec = of(document)
    assert spec["paths"]["/x"]["get"]["parameters"] == [header("X-Other")]
    assert spec["security"] == [{"Client-Id": [], "Client-Secret": []}]
    assert spec["components"]["securitySchemes"] == {
        "Client-Id": {"type": "apiKey", "in": "header", "name": "X-Client-Id"},
        "Client-Secret": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Client-Secret",
            "description": "Hush",
        },
    }


def test_keys_among_the_parameters_are_required_in_each_alternative() -> None:
    document = api(
        {"parameters": [header("X-Client-Id")], "security": [{"T": []}, {}]},
        components={"securitySchemes": {"T": {"type": "http", "scheme": "bearer"}}},
    )
    assert of(document)["security"] == [{"Client-Id": [], "T": []}, {"Client-Id": []}]


def test_the_parameters_of_a_path_move_to_its_operations() -> None:
    ours, theirs = {"name": "a", "in": "query", "description": "own"}, {"name": "a", "in": "query"}
    shared = [theirs, {"name": "b", "in": "path"}, {"name": "a", "in": "cookie"}]
    document = {"paths": {"/x": {"parameters": shared, "get": {"parameters": [ours]}, "put": {}}}}
    paths = of(document)["paths"]["/x"]
    assert paths["get"]["parameters"] == [shared[2], shared[1], ours]
    assert paths["put"]["parameters"] == [shared[2], shared[1], theirs]


@pytest.mark.parametrize(
    "says_nothing",
    [
        {"deprecated": False, "nullable": False, "readOnly": False, "writeOnly": False},
        {"exclusiveMinimum": False, "exclusiveMaximum": False, "uniqueItems": False},
        {"required": [], "properties": {}},
    ],
)
def test_keywords_that_say_nothing_are_dropped(says_nothing: Json) -> None:
    assert schema_of({"type": "string", **says_nothing}) == {"type": "string"}


@pytest.mark.parametrize(
    "fact",
    [
        {"additionalProperties": False},
        {"minimum": 0},
        {"default": False},
        {"example": {"b": {"required": []}}},
        {"enum": ["b", "a"]},
        {"allOf": [{"type": "string"}, {"minLength": 1}]},
        {"allOf": [{"type": "string"}], "nullable": True},
        {"properties": {"deprecated": {}, "example": {"type": "string"}, "required": {}}},
        {"type": "object", "x-thing": {"any": [1]}},
        {"type": ["string", "integer"]},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        {"examples": ["a", "b"]},
        {"contentMediaType": "application/octet-stream", "format": "byte"},
        {"contentMediaType": "application/octet-stream", "contentEncoding": "base64url"},
        {"unknown": 1},
    ],
)
def test_keywords_that_state_a_fact_are_carried_unchanged(fact: Json) -> None:
    assert schema_of(fact) == fact


@pytest.mark.parametrize(
    ("enum", "carried"),
    [
        ({"enum": ["a", None]}, {"enum": ["a"], "nullable": True}),
        ({"enum": [None, "a"], "nullable": True}, {"enum": ["a"], "nullable": True}),
        (
            {"type": ["string", "null"], "enum": ["a", None]},
            {"type": "string", "enum": ["a"], "nullable": True},
        ),
        ({"enum": [0, None]}, {"enum": [0], "nullable": True}),
        ({"enum": [None]}, {"enum": [None], "nullable": True}),
        ({"enum": ["null", "~"]}, {"enum": ["null", "~"]}),
    ],
)
def test_null_in_an_enum_means_nullable(enum: Json, carried: Json) -> None:
    assert schema_of(enum) == carried


def test_names_that_are_also_keywords_are_kept_as_names() -> None:
    names = ("default", "deprecated", "discriminator", "enum", "example", "required", "x-a", "$ref")
    referring = {"type": ["string", "null"]}
    schema = schema_of({"properties": dict.fromkeys(names, referring)})
    plain = {"type": "string", "nullable": True}
    assert schema == {"properties": dict.fromkeys(names, plain)}


def test_names_of_callbacks_links_and_scopes_are_kept_as_names() -> None:
    operation: Json = {
        "callbacks": {"default": {"{$url}": {"post": {"responses": OK}}}},
        "responses": {
            "200": {
                "description": "OK",
                "links": {"value": {"parameters": {"required": "", "deprecated": "$url"}}},
            }
        },
    }
    assert operation_of(api(operation)) == operation
    flow = {"tokenUrl": "https://a", "scopes": {"deprecated": "", "required": ""}}
    scheme = {"type": "oauth2", "flows": {"clientCredentials": flow}}
    document = api({}, security=[{"O": []}], components={"securitySchemes": {"O": scheme}})
    assert of(document)["components"]["securitySchemes"] == {"O": scheme}


def test_an_all_of_with_anything_but_a_schema_is_kept_so_that_validation_refuses_it() -> None:
    assert schema_of({"allOf": [5]}) == {"allOf": [5]}


def test_required_is_a_set() -> None:
    assert schema_of({"required": ["b", "a"]}) == {"required": ["a", "b"]}
    assert schema_of({"required": ["b", 1]}) == {"required": [1, "b"]}
    assert schema_of({"required": ["b", "a", "b"]}) == {"required": ["a", "b"]}


def test_an_all_of_with_one_schema_is_replaced_by_that_schema() -> None:
    assert schema_of({"allOf": [{"allOf": [{"type": "string"}]}]}) == {"type": "string"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["string"]}, {"type": "string"}),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"examples": ["a"]}, {"example": "a"}),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "T"},
            {"allOf": [{"type": "string"}], "title": "T", "nullable": True},
        ),
        (
            {"oneOf": [{"type": "null"}, {"title": "A"}, {"title": "B"}]},
            {"oneOf": [{"title": "A"}, {"title": "B"}], "nullable": True},
        ),
        (
            {"allOf": [{"title": "A"}], "oneOf": [{"title": "B"}]},
            {"allOf": [{"title": "A"}, {"title": "B"}]},
        ),
        ({"type": ["string", "null"], "enum": ["a"]}, {"type": "string", "enum": ["a"], **NULL}),
        ({"anyOf": [{"type": "null"}]}, {"nullable": True, "enum": [None]}),
        ({"oneOf": [{"type": "null"}] * 2}, {"nullable": True, "enum": [None]}),
        (
            {"anyOf": [{"type": "null"}], "title": "T"},
            {"allOf": [{"nullable": True, "enum": [None]}], "title": "T"},
        ),
        ({"type": "null"}, {"nullable": True, "enum": [None]}),
        ({"type": ["null"]}, {"nullable": True, "enum": [None]}),
        ({"const": None}, {"nullable": True, "enum": [None]}),
        ({"contentEncoding": "base64"}, {"format": "byte"}),
        ({"contentMediaType": "application/octet-stream"}, {"format": "binary"}),
        ({"exclusiveMinimum": 1}, {"minimum": 1, "exclusiveMinimum": True}),
        ({"exclusiveMaximum": 1.5}, {"maximum": 1.5, "exclusiveMaximum": True}),
        ({"minimum": 1, "exclusiveMinimum": 1}, {"minimum": 1, "exclusiveMinimum": True}),
        ({"minimum": 2, "exclusiveMinimum": 1}, {"minimum": 2}),
        ({"maximum": 2, "exclusiveMaximum": 1}, {"maximum": 1, "exclusiveMaximum": True}),
        ({"maximum": 1, "exclusiveMaximum": 2}, {"maximum": 1}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"minimum": 1, "exclusiveMinimum": True}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
    ],
)
def test_openapi_3_1_is_translated_to_3_0(said: Json, meant: Json) -> None:
    assert schema_of(said) == meant


def schema_of_3_1(schema: Json) -> Json:
    response = {"description": "OK", "content": {"a/b": {"schema": schema}}}
    document = api({"responses": {"200": response}}, openapi="3.1.0")
    document["components"] = {"schemas": {"A": {}}}
    carried: Json = operation_of(document)["responses"]["200"]["content"]["a/b"]["schema"]
    return carried


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("examples", ["a", "b"]),
        ("contentEncoding", "quoted-printable"),
        ("contentMediaType", "image/png"),
        ("propertyNames", {"maxLength": 3}),
        ("$comment", "Why"),
        ("embed", True),
    ],
)
def test_a_word_that_only_openapi_3_1_allows_is_carried_as_an_extension(
    word: str, value: Any
) -> None:
    inner = {"type": "string", word: value}
    carried = {"type": "string", f"x-{word}": value}
    assert schema_of_3_1(inner) == carried
    for outer in ({"items": inner}, {"properties": {"p": inner}}, {"oneOf": [inner, {}]}):
        assert json.dumps(carried) in json.dumps(schema_of_3_1(outer))


@pytest.mark.parametrize("keyword", ["examples", "prefixItems"])
@pytest.mark.parametrize("keyword_is_first", [True, False])
def test_an_extension_is_not_overwritten_by_a_keyword_that_is_carried_under_its_name(
    keyword: str, *, keyword_is_first: bool
) -> None:
    schema: Json = {f"x-{keyword}": [1], keyword: [{}, {"title": "A"}]}
    if keyword_is_first:
        schema = dict(reversed(schema.items()))

    with pytest.raises(SpecError) as refusal:
        schema_of_3_1({"items": schema})

    assert str(refusal.value) == (
        "paths./x.get.responses.200.content.a/b.schema.items: OpenAPI 3.0 has no"
        f" '{keyword}', which is carried as 'x-{keyword}', but the source has an"
        f" 'x-{keyword}' of its own there: remove one of the two from the source"
    )


def test_a_keyword_and_the_extension_of_its_name_with_the_same_value_are_carried_once() -> None:
    assert schema_of_3_1({"embed": [1], "x-embed": [1]}) == {"x-embed": [1]}


@pytest.mark.parametrize("example", ["b", None, True])
def test_an_example_stays_beside_examples_with_another_value(example: Any) -> None:
    schema = {"examples": [1], "example": example}
    assert schema_of(schema) == schema
    assert schema_of_3_1(schema) == {"x-examples": [1], "example": example}


def test_examples_with_the_value_of_the_example_are_dropped() -> None:
    assert schema_of({"examples": [1], "example": 1}) == {"example": 1}


@pytest.mark.parametrize("word", ["if", "contains", "$recursiveRef", "patternProperties", "$id"])
def test_a_restricting_word_of_openapi_3_1_is_kept_so_that_validation_refuses_it(
    word: str,
) -> None:
    assert schema_of_3_1({word: {}}) == {word: {}}


def test_words_of_other_objects_than_schemas_are_kept() -> None:
    document = api({"unknown": 1, "servers": []}, openapi="3.1.0")
    assert operation_of(document)["unknown"] == 1


def test_a_name_in_a_schema_of_openapi_3_1_is_no_word() -> None:
    schema = {"properties": {"embed": {"type": "string"}}, "x-told": {"embed": 1}}
    assert schema_of_3_1(schema) == schema


@pytest.mark.parametrize(
    ("array", "items"),
    [
        ({"maxItems": 2}, {"anyOf": [{"title": "A"}, {"title": "B"}]}),
        ({"items": False}, {"anyOf": [{"title": "A"}, {"title": "B"}]}),
        ({"items": {"title": "C"}}, {"anyOf": [{"title": "A"}, {"title": "B"}, {"title": "C"}]}),
        ({"items": {"title": "B"}}, {"anyOf": [{"title": "A"}, {"title": "B"}]}),
        ({"items": True}, {}),
        ({"maxItems": 3}, {}),
        ({}, {}),
    ],
)
def test_a_schema_for_each_position_of_an_array_becomes_an_alternative(
    array: Json, items: Json
) -> None:
    positions = [{"title": "A"}, {"title": "B"}]
    carried = schema_of_3_1({"type": "array", "prefixItems": positions, **array})
    assert carried == {"type": "array", **array, "items": items, "x-prefixItems": positions}


def test_schemas_of_positions_that_differ_only_as_true_and_1_do_are_both_alternatives() -> None:
    positions = [{"enum": [1]}, {"enum": [True]}]
    carried = schema_of_3_1({"type": "array", "prefixItems": positions, "maxItems": 2})
    assert json.dumps(carried["items"]) == json.dumps({"anyOf": positions})


def test_an_array_whose_positions_all_have_one_schema_has_that_of_its_items() -> None:
    array = {"type": "array", "prefixItems": [{"title": "A"}] * 2, "maxItems": 2}
    assert schema_of_3_1(array)["items"] == {"title": "A"}


def test_keywords_beside_a_reference_go_around_it() -> None:
    pointer = {"$ref": "#/components/schemas/A"}
    assert schema_of(pointer, A={}) == pointer
    assert schema_of({**pointer, "readOnly": False}, A={}) == pointer
    assert schema_of({**pointer, "title": "T"}, A={}) == {"allOf": [pointer], "title": "T"}
    both = schema_of({**pointer, "allOf": [{"title": "A"}, {"title": "B"}]}, A={})
    assert both == {"allOf": [pointer, {"title": "A"}, {"title": "B"}]}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_reference_beside_another_reference_is_kept(keyword: str) -> None:
    pointer = {"$ref": "#/components/schemas/A"}
    other = {"$ref": "#/components/schemas/B"}
    part = {"$ref": "#/components/schemas/B/properties/p"}
    schemas: Json = {"A": {}, "B": {"properties": {"p": {"type": "string"}}}}

    assert schema_of({**pointer, keyword: [other]}, **schemas) == {"allOf": [pointer, other]}
    assert schema_of({**part, keyword: [other]}, **schemas) == {
        "allOf": [{"type": "string"}, other]
    }


COMPONENTS: Json = {
    "callbacks": {"C": {"{$url}": {"post": {"responses": OK}}}},
    "examples": {"E": {"value": 1}},
    "parameters": {"P": {"name": "a", "in": "query", "description": "Theirs"}},
    "responses": {"R": {"description": "Theirs"}},
}


@pytest.mark.parametrize(
    ("reference", "carried"),
    [
        ("#/components/responses/R", {"description": "Ours"}),
        ("#/components/examples/E", {"value": 1, "summary": "Short", "description": "Ours"}),
        ("#/components/callbacks/C", COMPONENTS["callbacks"]["C"]),
        ("#/components/responses", {"R": {"description": "Theirs"}}),
        ("#/x-shared/response", {"description": "Ours"}),
    ],
)
def test_texts_beside_a_reference_of_openapi_3_1_replace_those_of_the_target(
    reference: str, carried: Json
) -> None:
    referring = {"$ref": reference, "summary": "Short", "description": "Ours"}
    rest: Json = {"components": COMPONENTS, "x-shared": {"response": {"description": "Theirs"}}}
    newer = api({"responses": {"200": referring}}, openapi="3.1.0", **rest)

    assert operation_of(newer)["responses"]["200"] == carried


def test_texts_beside_a_reference_of_openapi_3_0_are_ignored() -> None:
    referring = {"$ref": "#/components/responses/R", "description": "Ours"}
    older = api({"responses": {"200": referring}}, openapi="3.0.3", components=COMPONENTS)

    assert operation_of(older)["responses"]["200"] == {"description": "Theirs"}


def test_description_beside_a_reference_to_a_parameter_replaces_that_of_the_parameter() -> None:
    referring = {"$ref": "#/components/parameters/P", "description": "Ours"}
    document = api({"parameters": [referring]}, openapi="3.1.0", components=COMPONENTS)

    (parameter,) = operation_of(document)["parameters"]

    assert parameter == {"name": "a", "in": "query", "description": "Ours"}


@pytest.mark.parametrize(
    ("told", "carried"),
    [
        ({"examples": {"example": {"value": 0}}}, {"example": 0}),
        ({"examples": {"example": {"value": 0}}, "example": 0}, {"example": 0}),
        ({"examples": {}}, {}),
        (
            {"examples": {"example": {"value": 0}}, "example": 1},
            {"examples": {"example": {"value": 0}}, "example": 1},
        ),
        *(
            ({"examples": examples}, {"examples": examples})
            for examples in (
                {"other": {"value": 1}},
                {"example": {"value": 1, "summary": "One"}},
                {"example": {"value": 1}, "other": {"value": 2}},
            )
        ),
    ],
)
def test_the_only_example_becomes_the_media_types_example(told: Json, carried: Json) -> None:
    document = api({"requestBody": {"content": {"application/json": told}}})
    assert operation_of(document)["requestBody"] == {"content": {"application/json": carried}}


def test_a_renamed_schema_is_renamed_everywhere() -> None:
    theirs = "#/components/schemas/Theirs"
    document = api(
        {"parameters": [{"name": "a", "in": "query", "schema": {"$ref": theirs}}]},
        components={"schemas": {"Theirs": {"items": {"$ref": theirs}}}},
    )
    spec = of(document, Theirs="Ours")
    ours = {"$ref": "#/components/schemas/Ours"}
    assert spec["components"] == {"schemas": {"Ours": {"items": ours}}}
    assert spec["paths"]["/x"]["get"]["parameters"][0]["schema"] == ours


def pointer(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def schemas_of_body(body: Json, schemas: Json, **names: str) -> Json:
    document = api({"requestBody": {"schema": body}}, components={"schemas": schemas})
    carried: Json = of(document, **names)["components"]["schemas"]
    return carried


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (None, {"A": "#/components/schemas/Ours"}),
        ({"b": "B"}, {"b": "B", "A": "#/components/schemas/Ours"}),
        ({"a": "A"}, {"a": "Ours"}),
        ({"a": "#/components/schemas/A"}, {"a": "#/components/schemas/Ours"}),
        ({"A": "B"}, {"A": "B"}),
    ],
)
def test_renamed_alternative_keeps_its_tag_on_the_wire(
    keyword: str, mapping: Json | None, expected: Json
) -> None:
    discriminator: Json = {"propertyName": "kind"}
    if mapping is not None:
        discriminator["mapping"] = mapping
    alternatives = [pointer("A"), pointer("B"), pointer("B/properties/p"), {}]
    choice = {keyword: alternatives, "discriminator": discriminator}
    schemas = {"Choice": choice, "A": {}, "B": {"properties": {"p": {"type": "string"}}}}

    carried = schemas_of_body(pointer("Choice"), schemas, A="Ours")

    assert carried["Choice"]["discriminator"] == {"propertyName": "kind", "mapping": expected}


def test_renamed_schema_keeps_its_tag_in_each_schema_that_it_is_derived_from() -> None:
    discriminator = {"propertyName": "kind"}
    derived = {"allOf": [pointer("Parent"), {"type": "object"}]}
    parent = {"allOf": [pointer("Base"), {}], "discriminator": discriminator}
    base = {"type": "object", "discriminator": discriminator}
    schemas = {"A": derived, "Parent": parent, "Base": base}

    carried = schemas_of_body(pointer("A"), schemas, A="Ours")

    expected = {"propertyName": "kind", "mapping": {"A": "#/components/schemas/Ours"}}
    assert carried["Parent"]["discriminator"] == expected
    assert carried["Base"]["discriminator"] == expected


def test_renamed_schema_that_is_an_alias_keeps_its_tag() -> None:
    base = {"type": "object", "discriminator": {"propertyName": "kind"}}

    carried = schemas_of_body(pointer("A"), {"A": pointer("Base"), "Base": base}, A="Ours")

    assert carried["Base"]["discriminator"]["mapping"] == {"A": "#/components/schemas/Ours"}


def test_schemas_that_are_derived_from_each_other_and_renamed_are_kept() -> None:
    schemas = {
        "A": {"allOf": [pointer("B"), {}]},
        "B": {"allOf": [pointer("A"), {}]},
    }

    carried = schemas_of_body(pointer("A"), schemas, A="Ours")

    assert carried["B"]["allOf"] == [pointer("Ours"), {}]


def test_schema_that_the_operations_lack_gives_no_tag_to_another_one_with_its_new_name() -> None:
    base = {"type": "object", "discriminator": {"propertyName": "kind"}}
    derived = {"allOf": [pointer("Base"), {}]}
    document = api(
        {"requestBody": {"schema": pointer("Ours")}},
        components={"schemas": {"Base": base, "Ours": derived}},
    )

    spec = to_canonical_form(
        document, [("/x", "get")], {}, {"Gone": "Ours"}, may_rename_unneeded_schemas=True
    )

    assert spec["components"]["schemas"]["Base"] == base


def test_discriminator_without_a_renamed_schema_is_kept() -> None:
    choice = {"oneOf": [pointer("A")] * 2, "discriminator": {"propertyName": "kind"}}

    assert schemas_of_body(pointer("Choice"), {"Choice": choice, "A": {}})["Choice"] == choice


@pytest.mark.parametrize(
    "schema", [{"$ref": "#/components/schemas/A", "allOf": 5}, {"allOf": None, "oneOf": [{}]}]
)
def test_an_all_of_must_be_a_list(schema: Json) -> None:
    place = r"paths\./x\.get\.responses\.200\.content\.application/json\.schema\.allOf"
    with pytest.raises(SpecError, match=rf"^{place}: expected a list, not"):
        schema_of(schema, A={})


def test_renaming_a_missing_schema_is_refused() -> None:
    with pytest.raises(
        SpecError, match="settings rename the schema 'Gone', but the imported operations need no"
    ):
        of(api({}), Gone="Ours")


def test_two_schemas_cannot_get_one_name() -> None:
    both = [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/B"}]
    document = api({"requestBody": {"anyOf": both}}, components={"schemas": {"A": {}, "B": {}}})
    with pytest.raises(SpecError, match="the settings give two schemas the name 'B'"):
        of(document, A="B")


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "paths: expected a mapping"),
        ({"paths": {"/x": []}}, r"paths\./x: expected a mapping"),
        ({"paths": {"/x": {"get": []}}}, r"paths\./x\.get: expected a mapping"),
        (api({"parameters": None}), r"paths\./x\.get\.parameters: expected a list"),
        (api({"parameters": [OTHER, 1]}), r"paths\./x\.get\.parameters\[1\]: expected a mapping"),
        (
            {"paths": {"/x": {"get": {}, "parameters": [OTHER, 1]}}},
            r"paths\./x\.parameters\[1\]: expected a mapping",
        ),
        (
            {"paths": {"/x": {"get": {}, "parameters": {}}}},
            r"paths\./x\.parameters: expected a list",
        ),
        (api({"security": {}}), r"paths\./x\.get\.security: expected a list"),
        (api({"security": [1]}), r"paths\./x\.get\.security: expected a mapping"),
    ],
)
def test_a_malformed_document_is_refused(document: Json, place: str) -> None:
    with pytest.raises(SpecError, match=f"^{place}, not "):
        of(document)


def test_security_of_a_path_is_refused_because_openapi_does_not_have_it() -> None:
    path_item = {"security": [{"K": []}], "get": {"responses": OK}}
    schemes = {"securitySchemes": {"K": {"type": "http", "scheme": "bearer"}}}
    document: Json = {"paths": {"/x": path_item}, "components": schemes}
    with pytest.raises(SpecError, match=r"^paths\./x\.security: OpenAPI has no 'security' for all"):
        of(document)


def test_copy_object_copies_a_mapping_and_checks_its_keys() -> None:
    told = {"a": 1, "b": 2}
    assert copy_object(told, "here") == told
    assert copy_object(told, "here") is not told
    assert copy_object(told, "here", needed=["a"], optional=["b", "c"]) == told
    with pytest.raises(SpecError, match=r"^here: 'c' is missing$"):
        copy_object(told, "here", needed=["c"], optional=["a", "b"])
    with pytest.raises(SpecError, match=r"^here: 'b' is not known here$"):
        copy_object(told, "here", needed=["a"])
    with pytest.raises(SpecError, match=r"^here: 'a' is not known here$"):
        copy_object(told, "here", optional=["b"])


def test_copy_objects_copies_the_mappings_in_a_list() -> None:
    told = {"a": 1}
    assert copy_objects([told], "here") == [told]
    assert copy_objects([told], "here")[0] is not told
    with pytest.raises(SpecError, match=r"^here: expected a mapping, not 1$"):
        copy_objects([1], "here")
    with pytest.raises(SpecError, match=r"^here: expected a list, not 'text'$"):
        copy_objects("text", "here")


def test_an_extension_beside_responses_is_carried_untouched() -> None:
    data = {"deprecated": False, "allOf": [{"type": ["string", "null"]}], "required": []}
    responses = {"200": {"description": "OK"}, "x-data": data}
    paths = {"/x": {"get": {"responses": responses}}, "x-note": "words"}
    document: Json = {"paths": paths}
    assert operations_of(document) == {"GET /x": ("/x", "get")}
    spec = to_canonical_form(document, [("/x", "get")], {}, {})
    assert spec["paths"]["/x"]["get"]["responses"]["x-data"] == data


def test_texts_and_extensions_of_a_path_with_wanted_operations_are_carried_untouched() -> None:
    fields = {"summary": "S", "description": "D", "x-data": {"deprecated": False, "required": []}}
    path_item = {"get": {"responses": OK}, **fields}
    document = {"paths": {"/x": path_item, "/y": path_item, "x-note": "words"}}

    spec = to_canonical_form(document, [("/x", "get")], {}, {})

    assert spec["paths"] == {"/x": path_item}


def test_servers_and_parameters_of_a_path_stand_at_its_operations_only() -> None:
    servers = [{"url": "https://a"}]
    path_item = {"servers": servers, "parameters": [OTHER], "get": {}, "put": {"servers": []}}

    spec = of({"paths": {"/x": path_item}})

    assert spec["paths"]["/x"] == {
        "get": {"parameters": [OTHER], "servers": servers},
        "put": {"parameters": [OTHER], "servers": []},
    }


def test_an_unknown_keyword_of_a_path_is_kept_so_that_validation_refuses_it() -> None:
    document = {"paths": {"/x": {"get": {"responses": OK}, "unknown": 1}}}

    assert of(document)["paths"]["/x"]["unknown"] == 1
