"""The docs page and mesh.yaml, compared value by value: nothing is lost, nothing is added."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import import_spec
import yaml

PAGE = (Path(__file__).parents[1] / "data" / "get-account-balance.md").read_text("utf-8")
BLOCK = yaml.safe_load(PAGE.split("````")[1].partition("\n")[2])
SETTINGS = import_spec.read_settings()
SETTINGS["operations"] = {  # the pages hold this operation alone, whatever else is pinned
    name: pinned
    for name, pinned in SETTINGS["operations"].items()
    if pinned["operationId"] == "getAccountBalance"
}
MESH = yaml.safe_load(import_spec.import_source(PAGE.encode(), SETTINGS))

OPERATION = ("paths", "/api/v1/balance/get", "post")
SCHEMES = {"X-Client-Id": "Client-Id", "X-Client-Secret": "Client-Secret"}
NAMES = {
    "body": "BalanceBrokerBaseRequest",
    "200": "B2BBrokerAccountBalanceModelApiResult",
    "400": "ApiResult",
}
DROPPED = {  # by a rule that import.yaml states
    ("paths", "path"): "/api/v1/balance/get",
    ("paths", "method"): "post",
    ("paths", "type"): "path",
    ("paths", "deprecated"): False,
    ("paths", "request", "security", 0, "title"): "Client Secret & Client Id",
    **{
        ("paths", "response", status, "application/json", *rest): value
        for status in ("401", "403")
        for rest, value in {
            ("schemaArray", 0, "type"): "any",
            ("examples", "example", "value"): "<any>",
        }.items()
    },
}


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    pairs = enumerate(node) if isinstance(node, list) else getattr(node, "items", list)()
    children = list(pairs)
    if not children and node not in ({}, []):
        yield path, node
    for key, child in children:
        yield from leaves(child, (*path, key))


def place_in_mesh(path: tuple[Any, ...]) -> tuple[Any, ...]:
    match path:
        case ("components", *_):
            return path
        case ("paths", "servers", *rest):
            return "servers", *rest
        case ("paths", "request", "security", 0, "parameters", "header", header, word):
            return "components", "securitySchemes", SCHEMES[header], word
        case ("paths", "request", "body", media, *rest):
            return place_in_message((*OPERATION, "requestBody"), NAMES["body"], media, rest)
        case ("paths", "response", status, media, *rest):
            message = (*OPERATION, "responses", status)
            return place_in_message(message, NAMES.get(status, ""), media, rest)
        case _:
            raise AssertionError(path)


def place_in_message(
    message: tuple[Any, ...], name: str, media: str, rest: list[Any]
) -> tuple[Any, ...]:
    schema = ("components", "schemas", name)
    match rest:
        case ["description"]:
            return *message, "description"
        case ["examples", "example", "value", *inner]:
            return *message, "content", media, "example", *inner
        case ["schemaArray", 0, "refIdentifier"]:
            return *message, "content", media, "schema", "$ref"
        case ["schemaArray", 0, "requiredProperties", index]:
            return *schema, "required", index
        case ["schemaArray", 0, "properties", field, "allOf", 0, *inner]:
            return *schema, "properties", field, *inner
        case ["schemaArray", 0, *inner]:
            return *schema, *inner
        case _:
            raise AssertionError(rest)


def test_every_value_of_the_page_is_in_the_spec_once_and_no_other_value_is() -> None:
    values = dict(leaves(BLOCK))
    carried = {place_in_mesh(path): values[path] for path in values.keys() - DROPPED.keys()}
    added = {
        (*OPERATION, "summary"): re.findall(r"^# (?!Source)(.+)$", PAGE, re.MULTILINE)[0],
        (*OPERATION, "description"): re.findall(r"^> (.+)$", PAGE, re.MULTILINE)[0],
        (*OPERATION, "operationId"): "getAccountBalance",
        (*OPERATION, "tags", 0): "Balance",
        ("openapi",): "3.0.3",
        ("info", "title"): SETTINGS["info"]["title"],
        ("info", "version"): SETTINGS["info"]["version"],
        **{
            ("components", "securitySchemes", name, word): value
            for header, name in SCHEMES.items()
            for word, value in {"in": "header", "name": header}.items()
        },
    }

    assert {path: values[path] for path in DROPPED} == DROPPED
    assert len(carried) == len(values) - len(DROPPED)
    assert dict(leaves(MESH)) == carried | added


def test_the_spec_has_exactly_the_schemas_that_the_operation_needs() -> None:
    assert list(MESH["components"]["schemas"]) == [
        "ApiResult",
        "ApiResultStatus",
        "B2BBrokerAccountBalance",
        "B2BBrokerAccountBalanceModel",
        "B2BBrokerAccountBalanceModelApiResult",
        "BalanceBrokerBaseRequest",
        "BrokerType",
    ]
    assert len(MESH["components"]["schemas"]["BrokerType"]["enum"]) == 59


def test_both_keys_are_required_together() -> None:
    assert MESH["security"] == [{"Client-Id": [], "Client-Secret": []}]


def test_a_response_of_any_type_has_an_empty_schema() -> None:
    responses = MESH["paths"]["/api/v1/balance/get"]["post"]["responses"]
    assert responses["401"]["content"] == {"application/json": {"schema": {}}}
    assert responses["403"]["content"] == {"application/json": {"schema": {}}}
