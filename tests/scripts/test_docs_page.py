"""The docs page in its older shape: what it may hold beyond the page of the balance."""

import json
from typing import Any

import pytest
from openapi_tools.docs_page import to_openapi
from openapi_tools.json_values import SpecError

Json = dict[str, Any]

PROSE = "# Get it\n\n## OpenAPI\n\n"
KEY: Json = {"type": "apiKey", "description": "Ask us"}


def media(*entries: Json, examples: Json | None = None, **more: Any) -> Json:
    return {"schemaArray": list(entries), "examples": examples or {}, **more}


def page(schemas: Json | None = None, **told: Any) -> Json:
    request: Json = {"security": [], "parameters": {}, "body": {}}
    request |= {word: told.pop(word) for word in tuple(told) if word in {*request, "codeSamples"}}
    paths = {
        "path": "/x",
        "method": "GET",
        "servers": [{"url": "https://a.example"}],
        "request": request,
        "response": {"200": {}},
        "deprecated": False,
        "type": "path",
    }
    return {"paths": paths | told, "components": {"schemas": schemas or {}}}


def operation(schemas: Json | None = None, **told: Any) -> Json:
    (item,) = to_openapi(PROSE, page(schemas, **told))["paths"].values()
    return item["get"]


def parameters(**places: Any) -> list[Json]:
    return operation(parameters=places)["parameters"]


def test_a_page_becomes_an_openapi_document_with_one_operation() -> None:
    assert to_openapi(PROSE, page()) == {
        "openapi": "3.1.0",
        "paths": {
            "/x": {
                "get": {
                    "summary": "Get it",
                    "deprecated": False,
                    "servers": [{"url": "https://a.example"}],
                    "security": [],
                    "parameters": [],
                    "responses": {"200": {"description": ""}},
                }
            }
        },
        "components": {"schemas": {}, "securitySchemes": {}},
    }


@pytest.mark.parametrize(
    ("prose", "summary", "description"),
    [
        ("# A\n## OpenAPI\n", "A", None),
        ("# Source: https://a.example\n\n# A b\n\n> One.\n\n## OpenAPI\n", "A b", "One."),
        ("> ## Index\n> Fetch\n\n# A\n\n> One\n>\n> # two\n\n\n## OpenAPI\n", "A", "One\n\n# two"),
    ],
)
def test_the_heading_is_the_summary_and_the_quote_below_it_the_description(
    prose: str, summary: str, description: str | None
) -> None:
    (item,) = to_openapi(prose, page())["paths"].values()
    assert item["get"]["summary"] == summary
    assert item["get"].get("description") == description


@pytest.mark.parametrize(
    ("between", "description"),
    [
        ("More.", "More."),
        ("> One.\n\nMore.", "One.\n\nMore."),
        ("> One,\nwhich goes on.\n\n* a\n* b", "One,\nwhich goes on.\n\n* a\n* b"),
        ("> One.\n\n> A quote of its own.", "One.\n\n> A quote of its own."),
        ("# Two\n\n## Three\n\nMore.", "# Two\n\n## Three\n\nMore."),
        ("```bash\n# comment\n\ncurl\n```", "```bash\n# comment\n\ncurl\n```"),
        ("    indented\n", "indented"),
        ("", None),
    ],
)
def test_everything_between_heading_and_block_is_the_description(
    between: str, description: str | None
) -> None:
    (item,) = to_openapi(f"# A\n\n{between}\n\n## OpenAPI\n\n", page())["paths"].values()
    assert item["get"]["summary"] == "A"
    assert item["get"].get("description") == description


@pytest.mark.parametrize(
    ("prose", "reason"),
    [
        ("", "page: expected '## OpenAPI' above the YAML block"),
        ("# A\n", "page: expected '## OpenAPI' above the YAML block"),
        ("# A\n\n## OpenAPI\n\nMore.\n", "page: expected '## OpenAPI' above the YAML block"),
        ("## OpenAPI\n", "page: expected a heading above '## OpenAPI'"),
        ("# Source: https://a\n## OpenAPI\n", "page: expected a heading above '## OpenAPI'"),
    ],
)
def test_a_page_without_its_headings_is_refused(prose: str, reason: str) -> None:
    with pytest.raises(SpecError) as refusal:
        to_openapi(prose, page())
    assert str(refusal.value) == reason


def test_parameters_are_read_from_every_location() -> None:
    told = parameters(
        path={"id": {"schema": [{"type": "string", "required": True, "description": "Which"}]}},
        query={"n": {"schema": [{"type": "integer", "required": False, "deprecated": True}]}},
        header={"X-Trace": {"schema": [{"type": "string"}]}},
        cookie={"c": {"schema": [{"type": "enum<string>", "enum": ["a"], "default": "a"}]}},
    )
    assert told == [
        {
            "in": "path",
            "name": "id",
            "required": True,
            "description": "Which",
            "schema": {"type": "string"},
        },
        {
            "in": "query",
            "name": "n",
            "required": False,
            "deprecated": True,
            "schema": {"type": "integer"},
        },
        {"in": "header", "name": "X-Trace", "required": False, "schema": {"type": "string"}},
        {
            "in": "cookie",
            "name": "c",
            "required": False,
            "schema": {"type": "string", "enum": ["a"], "default": "a"},
        },
    ]


def test_several_entries_become_alternatives_with_their_own_descriptions() -> None:
    (told,) = parameters(
        query={
            "n": {
                "schema": [
                    {"type": "string", "required": True, "description": "Text"},
                    {"type": "null", "required": True},
                ]
            }
        }
    )
    assert told == {
        "in": "query",
        "name": "n",
        "required": True,
        "schema": {"anyOf": [{"type": "string", "description": "Text"}, {"type": "null"}]},
    }


@pytest.mark.parametrize(
    ("told", "schema"),
    [
        ({"type": "any", "description": "All"}, {"description": "All"}),
        ({"type": "file"}, {"type": "string", "format": "binary"}),
        ({"type": "enum<integer>", "enum": [1]}, {"type": "integer", "enum": [1]}),
        ({"type": "object", "requiredProperties": ["a"]}, {"type": "object", "required": ["a"]}),
        ({"enum": ["a"]}, {"enum": ["a"]}),
        ({"type": "enum<any>", "enum": ["a", 1]}, {"enum": ["a", 1]}),
    ],
)
def test_types_of_entries_are_translated_to_openapi(told: Json, schema: Json) -> None:
    body = operation(body={"application/json": media(told)})["requestBody"]
    assert body["content"]["application/json"]["schema"] == schema


def test_a_body_is_required_if_its_entry_is() -> None:
    told = {"type": "string", "required": True}
    body = operation(body={"text/plain": media(told), "text/csv": media(told)})["requestBody"]
    assert body == {
        "required": True,
        "content": {
            "text/plain": {"schema": {"type": "string"}, "examples": {}},
            "text/csv": {"schema": {"type": "string"}, "examples": {}},
        },
    }


def test_description_that_all_media_types_repeat_is_that_of_the_response() -> None:
    plain = media({"type": "string"}, description="A text")
    responses = operation(response={"200": {"text/plain": plain, "text/csv": plain}})["responses"]

    assert responses["200"]["description"] == "A text"
    assert list(responses["200"]["content"]) == ["text/plain", "text/csv"]


def test_a_placeholder_means_that_a_response_has_no_content() -> None:
    nothing = media({"type": "any", "description": "Gone"}, description="Gone")
    responses = operation(
        response={"204": {"_mintlify/placeholder": nothing}, "4XX": {}, "default": {}}
    )["responses"]
    assert responses == {
        "204": {"description": "Gone"},
        "4XX": {"description": ""},
        "default": {"description": ""},
    }


def test_examples_with_the_pages_own_filler_are_dropped() -> None:
    examples = {
        "example": {"value": {"a": [{"b": "<string>"}]}},
        "named": {"summary": "One", "value": {"a": "< 3 > 2 <b>"}},
    }
    told = operation(body={"application/json": media({}, examples=examples)})["requestBody"]
    assert told["content"]["application/json"]["examples"] == {"named": examples["named"]}


def test_a_schema_with_a_name_moves_to_the_components() -> None:
    entry = {"type": "object", "refIdentifier": "#/components/schemas/A"}
    told = to_openapi(
        PROSE, page(response={"200": {"a/b": media(entry)}, "400": {"a/b": media(entry)}})
    )
    content = told["paths"]["/x"]["get"]["responses"]["400"]["content"]
    assert content["a/b"]["schema"] == {"$ref": "#/components/schemas/A"}
    assert told["components"]["schemas"] == {"A": {"type": "object"}}


def test_a_complete_schema_among_the_components_replaces_the_flattened_one() -> None:
    entry = {"type": "object", "refIdentifier": "#/components/schemas/A"}
    whole = {"allOf": [{"title": "B"}, {"title": "C"}]}
    told = to_openapi(PROSE, page({"A": whole}, response={"200": {"a/b": media(entry)}}))
    assert told["components"]["schemas"] == {"A": whole}


def test_all_keys_of_an_entry_are_required_and_entries_are_alternatives() -> None:
    told = to_openapi(
        PROSE,
        page(
            security=[
                {
                    "title": "Id & Session",
                    "parameters": {"header": {"Id": KEY}, "query": {"s": KEY}},
                },
                {
                    "title": "bearer",
                    "parameters": {
                        "header": {"Authorization": {"type": "http", "scheme": "bearer"}}
                    },
                },
            ]
        ),
    )
    assert told["paths"]["/x"]["get"]["security"] == [{"Id": [], "s": []}, {"Authorization": []}]
    assert told["components"]["securitySchemes"] == {
        "Id": {**KEY, "in": "header", "name": "Id"},
        "s": {**KEY, "in": "query", "name": "s"},
        "Authorization": {"type": "http", "scheme": "bearer"},
    }


def test_a_key_of_several_alternatives_has_one_scheme() -> None:
    entries = [
        {"title": "Id", "parameters": {"header": {"Id": KEY}}},
        {"title": "Id & Session", "parameters": {"header": {"Id": KEY, "Session": KEY}}},
    ]
    told = to_openapi(PROSE, page(security=entries))
    assert told["paths"]["/x"]["get"]["security"] == [{"Id": []}, {"Id": [], "Session": []}]
    assert sorted(told["components"]["securitySchemes"]) == ["Id", "Session"]


def test_oauth2_has_no_flows() -> None:
    entry = {"title": "oauth2", "parameters": {"header": {"Authorization": {"type": "oauth2"}}}}
    told = to_openapi(PROSE, page(security=[entry]))
    schemes = told["components"]["securitySchemes"]
    assert schemes == {"Authorization": {"type": "oauth2", "flows": {}}}


def test_code_samples_and_layout_hints_are_dropped() -> None:
    assert operation(codeSamples=[{"lang": "C"}], xMint={"mode": "wide"}) == operation()


def test_two_keys_in_one_header_are_named_by_the_titles_of_their_alternatives() -> None:
    entries = [
        {"title": "Bearer token", "parameters": {"header": {"Authorization": {"type": "oauth2"}}}},
        {
            "title": "Basic",
            "parameters": {"header": {"Authorization": {"type": "http", "scheme": "basic"}}},
        },
        {"title": "Key", "parameters": {"header": {"Id": KEY}}},
    ]
    document = to_openapi(PROSE, page(security=entries))
    assert document["paths"]["/x"]["get"]["security"] == [
        {"Bearer-token": []},
        {"Basic": []},
        {"Id": []},
    ]
    assert sorted(document["components"]["securitySchemes"]) == ["Basic", "Bearer-token", "Id"]


@pytest.mark.parametrize(
    ("title", "name"),
    [("(Bearer token)", "Bearer-token"), ("***", "Authorization"), ("", "Authorization")],
)
def test_title_gives_a_name_only_if_it_has_a_permitted_character(title: str, name: str) -> None:
    entries = [
        {"title": title, "parameters": {"header": {"Authorization": {"type": "oauth2"}}}},
        {"title": "Basic", "parameters": {"header": {"Authorization": {"type": "http"}}}},
    ]
    document = to_openapi(PROSE, page(security=entries))
    assert document["paths"]["/x"]["get"]["security"] == [{name: []}, {"Basic": []}]


def test_two_keys_in_one_header_that_differ_only_as_true_and_1_do_have_two_schemes() -> None:
    entries = [
        {"title": "One", "parameters": {"header": {"Id": {**KEY, "x-test": True}}}},
        {"title": "Two", "parameters": {"header": {"Id": {**KEY, "x-test": 1}}}},
    ]

    document = to_openapi(PROSE, page(security=entries))

    assert list(document["components"]["securitySchemes"]) == ["One", "Two"]


def test_two_keys_of_one_name_that_differ_only_as_true_and_1_do_are_refused() -> None:
    entries = [
        {"title": "One", "parameters": {"header": {"Id": {**KEY, "x-test": value}, "Other": KEY}}}
        for value in (True, 1)
    ]

    with pytest.raises(SpecError, match="the key 'Id' is described in two ways in this page"):
        to_openapi(PROSE, page(security=entries))


def test_a_page_may_name_no_servers() -> None:
    block = page()
    del block["paths"]["servers"]
    (item,) = to_openapi(PROSE, block)["paths"].values()
    assert item["get"]["servers"] == []


def test_the_serialization_of_a_parameter_is_carried() -> None:
    entry = {"type": "array", "required": True}
    (parameter,) = parameters(
        query={"ids": {"schema": [entry], "style": "form", "explode": False, "allowReserved": True}}
    )
    assert parameter == {
        "in": "query",
        "name": "ids",
        "required": True,
        "style": "form",
        "explode": False,
        "allowReserved": True,
        "schema": {"type": "array"},
    }


def test_annotations_that_all_alternatives_share_are_stated_once() -> None:
    shared = {"title": "N", "description": "Which", "default": 1, "required": False}
    (parameter,) = parameters(
        query={"n": {"schema": [{"type": "string", **shared}, {"type": "null", **shared}]}}
    )
    assert parameter == {
        "in": "query",
        "name": "n",
        "required": False,
        "description": "Which",
        "schema": {"title": "N", "default": 1, "anyOf": [{"type": "string"}, {"type": "null"}]},
    }


def test_annotations_that_differ_only_as_false_and_0_do_are_stated_in_each_alternative() -> None:
    entries = [{"type": "boolean", "default": False}, {"type": "integer", "default": 0}]

    (parameter,) = parameters(query={"n": {"schema": entries}})

    assert json.dumps(parameter["schema"]) == json.dumps({"anyOf": entries})


def test_schema_without_entries_allows_everything() -> None:
    (parameter,) = parameters(query={"n": {"schema": []}})
    assert parameter == {"in": "query", "name": "n", "required": False, "schema": {}}
    body = operation(body={"a/b": media()})["requestBody"]
    assert body["content"]["a/b"]["schema"] == {}


TEXTS: Json = {"title": "T", "description": "D"}


def test_annotations_of_a_named_schema_may_be_repeated_in_other_entries() -> None:
    named = {"type": "object", **NAMED, **TEXTS}
    alone = media(named)
    or_null = media(named, {"type": "null", **TEXTS})
    for body in ({"a/b": alone, "a/c": or_null}, {"a/b": or_null, "a/c": alone}):
        told = to_openapi(PROSE, page(body=body))
        assert told["components"]["schemas"] == {"A": {"type": "object", **TEXTS}}
        content = told["paths"]["/x"]["get"]["requestBody"]["content"]
        assert content["a/b" if body["a/b"] is or_null else "a/c"]["schema"] == {
            **TEXTS,
            "anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}],
        }


def test_parameters_that_share_a_named_schema_may_have_descriptions_of_their_own() -> None:
    first = {"type": "string", **NAMED, "description": "From"}
    second = {"type": "string", **NAMED, "description": "To"}
    body = {"a/b": media({"type": "string", **NAMED, "description": "A place"})}
    query = {"from": {"schema": [first]}, "to": {"schema": [second]}}
    told = to_openapi(PROSE, page(parameters={"query": query}, body=body))
    assert told["components"]["schemas"] == {"A": {"type": "string", "description": "A place"}}
    texts = [each["description"] for each in told["paths"]["/x"]["get"]["parameters"]]
    assert texts == ["From", "To"]


def test_a_response_is_never_required() -> None:
    entry = {"type": "string", "required": True}
    assert "required" not in operation(response={"200": {"a/b": media(entry)}})["responses"]["200"]


def test_a_schema_among_the_components_may_be_flattened_in_several_ways() -> None:
    entries = [{**NAMED, "title": "B"}, {**NAMED, "description": "C"}]
    body = {"a/b": media(entries[0]), "a/c": media(entries[1])}
    told = to_openapi(PROSE, page({"A": {"type": "object"}}, body=body))
    assert told["components"]["schemas"] == {"A": {"type": "object"}}


def test_a_reference_that_names_no_schema_is_left_out() -> None:
    entry = {"type": "string", "refIdentifier": "#/components/requestBodies/A"}
    body = operation(body={"a/b": media(entry)})["requestBody"]
    assert body["content"]["a/b"]["schema"] == {"type": "string"}


NAMED = {"refIdentifier": "#/components/schemas/A"}


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({**page(), "info": {}}, "page: 'info' is not known here"),
        ({"paths": {}}, "page: 'components' is missing"),
        ({**page(), "components": {"schemas": {}, "links": {}}}, "components: 'links' is not"),
        ({**page(), "components": {}}, "components: 'schemas' is missing"),
        ({**page(), "components": {"schemas": []}}, "components.schemas: expected a mapping"),
        (page(type="webhook"), "paths.type: expected 'path', not 'webhook'"),
        (page(tags=[]), "paths: 'tags' is not known here"),
        (page(request={}), "paths.request: 'security' is missing"),
        (page(response=[]), "paths.response: expected a mapping"),
        (page(response={"200": []}), "paths.response.200: expected a mapping"),
        (page(response={"200": {"a/b": {"headers": {}}}}), "paths.response.200.a/b: 'schemaArray'"),
        (page(response={"200": {"a/b": media({}, more=1)}}), "paths.response.200.a/b: 'more' is"),
        (
            page(response={"200": {"a/b": media(1)}}),
            "paths.response.200.a/b: expected a mapp",
        ),
        (
            page(response={"200": {"a/b": media({"type": "object", "required": ["a"]})}}),
            "paths.response.200.a/b.required: expected true or false",
        ),
        (
            page(response={"200": {"a/b": {"schemaArray": {}, "examples": {}}}}),
            "paths.response.200.a/b: expected a list",
        ),
        (
            page(response={"200": {"a/b": {"schemaArray": [{}], "examples": [1]}}}),
            "paths.response.200.a/b.examples: expected a mapping",
        ),
        (
            page(body={"a/b": media({}, description="A"), "a/c": media({}, description="B")}),
            "paths.request.body.a/c.description: another media type has a different description;",
        ),
        (
            page(body={"a/b": media({**NAMED, "title": "B"}), "a/c": media({**NAMED})}),
            "paths.request.body.a/c: the schema 'A' is described in two ways in this page",
        ),
        (
            page(
                body={"a/b": media({**NAMED, "enum": [1]}), "a/c": media({**NAMED, "enum": [1.0]})}
            ),
            "paths.request.body.a/c: the schema 'A' is described in two ways in this page",
        ),
        (page(security={}), "paths.request.security: expected a list"),
        (page(security=[{}]), "paths.request.security: 'title' is missing"),
        (
            page(security=[{"title": "", "parameters": {"body": {}}}]),
            "paths.request.security: 'body' is not known here",
        ),
        (
            page(security=[{"title": "", "parameters": {"header": {"A": 1}}}]),
            "paths.request.security.header.A: expected a mapping",
        ),
        (
            page(
                security=[
                    {"title": "", "parameters": {"header": {"A": {"type": kind}}}}
                    for kind in ("http", "oauth2")
                ]
            ),
            "paths.request.security: the key 'A' is described in two ways in this page",
        ),
        (page(parameters={"form": {}}), "paths.request.parameters: 'form' is not known here"),
        (page(parameters={"path": {"id": {}}}), "paths.request.parameters.path.id: 'schema' is"),
        (
            page(parameters={"path": {"id": {"schema": None}}}),
            "paths.request.parameters.path.id: expected a list",
        ),
    ],
)
def test_a_malformed_page_is_refused(block: Json, reason: str) -> None:
    with pytest.raises(SpecError) as refusal:
        to_openapi(PROSE, block)
    assert str(refusal.value).startswith(reason)
