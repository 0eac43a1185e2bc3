"""The HTTP reference: the page that MkDocs builds from openapi/mesh.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import http_reference
import pytest
from openapi_tools.documents import read_document

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "http.md"
SPEC: Any = read_document(ROOT / "openapi" / "mesh.yaml")


@pytest.fixture(scope="module")
def page() -> str:
    return http_reference.on_page_markdown(PAGE.read_text(encoding="utf-8"))


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"the page has no heading {heading!r}"
    return found[1]


def rows_of(text: str) -> list[list[str]]:
    """Return the rows of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [re.split(r" (?<!\\)\| ", line[2:-2] + " ") for line in lines[2:]]


def render_field(schema: dict[str, Any]) -> list[str]:
    """Return the row of a schema's only field."""
    document = {
        "servers": [],
        "paths": {},
        "components": {
            "securitySchemes": {},
            "schemas": {"Thing": {"type": "object", "properties": {"field": schema}}},
        },
    }
    [row] = rows_of(section(http_reference.render(document), "Thing"))
    return [cell.strip() for cell in row]


def test_page_names_the_key_headers_as_they_are_sent(page: str) -> None:
    names = [row[0] for row in rows_of(section(page, "Keys"))]

    assert names == ["`X-Client-Id`", "`X-Client-Secret`"]
    assert not re.search(r"(?<!X-)Client-(Id|Secret)", page)


def test_page_names_the_servers_and_the_operation(page: str) -> None:
    assert "`https://integration-api.meshconnect.com`" in section(page, "Servers")
    assert "Get real-time account fiat balances." in section(page, "POST /api/v1/balance/get")
    assert "[BalanceBrokerBaseRequest]" in section(page, "Request body")
    assert "[B2BBrokerAccountBalanceModelApiResult]" in section(page, "Response 200")
    assert "Mesh does not describe the body." in section(page, "Response 401")


def test_page_shows_every_field_of_every_schema_with_a_type(page: str) -> None:
    for name, schema in SPEC["components"]["schemas"].items():
        rows = rows_of(section(page, name))
        assert [row[0] for row in rows] == [f"`{field}`" for field in schema.get("properties", {})]
        for row in rows:
            assert row[1].strip(), f"{name}.{row[0]} has no type"


def test_page_shows_the_types_that_were_blank_once(page: str) -> None:
    rows = rows_of(section(page, "B2BBrokerAccountBalanceModelApiResult"))
    types = {row[0]: row[1] for row in rows}

    model = "[B2BBrokerAccountBalanceModel](#b2bbrokeraccountbalancemodel)"
    assert types["`content`"] == f"{model} or null"
    assert types["`status`"] == "[ApiResultStatus](#apiresultstatus)"
    assert types["`errorData`"] == "any value"


def test_page_lists_every_broker(page: str) -> None:
    listed = re.findall("`(.+?)`", section(page, "BrokerType"))

    assert listed == SPEC["components"]["schemas"]["BrokerType"]["enum"]


def test_links_lead_to_headings_of_the_page(page: str) -> None:
    headings = [line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")]

    targets = re.findall(r"\]\(#(.+?)\)", page)

    assert targets
    assert [target for target in targets if target not in headings] == []


@pytest.mark.parametrize(
    ("schema", "type_name"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "nullable": True}, "string or null"),
        ({"type": "number", "format": "double"}, "number (double)"),
        ({"type": "array", "items": {"type": "integer"}}, "array of integer"),
        ({"$ref": "#/components/schemas/Thing"}, "[Thing](#thing)"),
        (
            {"anyOf": [{"type": "string"}, {"nullable": True, "enum": [None]}]},
            "string or null",
        ),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "string or integer"),
        ({"allOf": [{"type": "object"}, {"$ref": "#/components/schemas/A"}]}, "object and [A](#a)"),
        ({}, "any value"),
        ({"nullable": True}, "any value"),
    ],
)
def test_each_kind_of_schema_has_a_type(schema: dict[str, Any], type_name: str) -> None:
    assert render_field(schema) == ["`field`", type_name, "no", ""]


def test_description_is_cut_after_its_first_paragraph_and_cannot_break_the_table() -> None:
    row = render_field({"type": "string", "description": "One\r\ntwo <b> | 3.\r\n\r\n### More"})

    assert row[3] == "One two &lt;b> \\| 3."


def test_schema_without_fields_shows_its_description_and_type() -> None:
    document = {
        "servers": [],
        "paths": {},
        "components": {
            "securitySchemes": {},
            "schemas": {"Names": {"description": "All.", "type": "array", "items": {}}},
        },
    }
    page = http_reference.render(document)

    assert section(page, "Names").split() == ["All.", "array", "of", "any", "value"]


def test_body_without_an_example_shows_its_type() -> None:
    body = {"content": {"application/json": {"schema": {"type": "string"}}}}
    document = {
        "servers": [],
        "paths": {"/things": {"put": {"requestBody": body, "responses": {}}}},
        "components": {"securitySchemes": {}, "schemas": {}},
    }
    page = http_reference.render(document)

    assert section(page, "PUT /things").strip() == ""
    assert section(page, "Request body").strip() == "`application/json`: string"


def test_operation_without_a_body_has_no_section_for_it() -> None:
    document = {
        "servers": [],
        "paths": {"/things": {"get": {"description": "List things.", "responses": {}}}},
        "components": {"securitySchemes": {}, "schemas": {}},
    }
    page = http_reference.render(document)

    assert section(page, "GET /things").strip() == "List things."
    assert "Request body" not in page


def test_other_pages_stay_as_they_are() -> None:
    assert http_reference.on_page_markdown("# Title\n", page=None) == "# Title\n"
