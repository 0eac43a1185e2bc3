"""A null in an enum makes the places that use it nullable, and the enum stays."""

import copy
import json
from pathlib import Path
from typing import Any

import generate
import pytest
import yaml
from openapi_schema_validator import OAS30ReadValidator
from openapi_tools.documents import read_document
from openapi_tools.json_values import SpecError
from openapi_tools.nullable_enums import split_nullable_enums

NULL = {"nullable": True, "enum": [None]}
REFERENCE = {"$ref": "#/components/schemas/Broker"}


def document(**schemas: Any) -> dict[str, Any]:
    broker = {"type": "string", "nullable": True, "enum": ["a", None, "b"]}
    return {"components": {"schemas": {"Broker": broker, **copy.deepcopy(schemas)}}}


def split(**schemas: Any) -> dict[str, Any]:
    """Return the schemas of a document after null has been taken out of its enums."""
    spec = document(**schemas)
    split_nullable_enums(spec)
    found: dict[str, Any] = spec["components"]["schemas"]
    return found


def test_schema_stays_an_enum_without_null() -> None:
    assert split()["Broker"] == {"type": "string", "enum": ["a", "b"]}


@pytest.mark.parametrize(
    "use", [REFERENCE, {"allOf": [REFERENCE]}, {"allOf": [REFERENCE], "nullable": True}]
)
def test_reference_becomes_nullable(use: Any) -> None:
    schemas = split(Other={"properties": {"broker": use, "more": {"type": "string"}}})

    properties = schemas["Other"]["properties"]
    assert properties == {"broker": {"anyOf": [REFERENCE, NULL]}, "more": {"type": "string"}}


def test_description_beside_a_reference_stays() -> None:
    schemas = split(Other={"properties": {"b": {"allOf": [REFERENCE], "description": "Whose"}}})

    assert schemas["Other"]["properties"]["b"] == {
        "anyOf": [REFERENCE, NULL],
        "description": "Whose",
    }


def test_reference_to_another_schema_stays() -> None:
    other = {"$ref": "#/components/schemas/Other"}

    schemas = split(Other={"type": "object"}, Third={"properties": {"a": other, "b": {}}})

    assert schemas["Third"]["properties"]["a"] == other


@pytest.mark.parametrize(
    ("enum", "title"),
    [
        ({"type": "string", "enum": ["x", None], "nullable": True}, "kind"),
        ({"type": "string", "enum": ["x", None], "title": "Sort"}, "Sort"),
    ],
)
def test_enum_inside_a_property_becomes_a_union_with_a_class_of_the_same_name(
    enum: Any, title: str
) -> None:
    schemas = split(Other={"properties": {"kind": {**enum, "description": "What"}}})

    values = {"title": title, "type": "string", "enum": ["x"]}
    assert schemas["Other"]["properties"]["kind"] == {
        "description": "What",
        "anyOf": [values, NULL],
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["X", "NULL", "Y"], ["X", "Y"]), ({"x": "X"}, {"x": "X"}), (["X"], ["X"])],
)
def test_names_of_the_values_stay_with_them(names: Any, expected: Any) -> None:
    kind = {"enum": ["x", None, "y"], "x-enum-varnames": names}

    schemas = split(Other={"properties": {"kind": kind}})

    assert schemas["Other"]["properties"]["kind"]["anyOf"][0]["x-enum-varnames"] == expected


def test_enum_without_any_name_is_refused_with_the_place_to_name_it() -> None:
    with pytest.raises(SpecError) as caught:
        split(Other={"type": "array", "items": {"enum": ["x", None]}})

    assert str(caught.value) == (
        "$.components.schemas.Other.items: an enum with null needs a name; add to"
        " openapi/overlay.yaml: {target: '$.components.schemas.Other.items',"
        " update: {title: NAME}}"
    )


@pytest.mark.parametrize(
    ("kind", "complaint", "target"),
    [
        ({"enum": ["3commas", None]}, "'3commas' is named VALUE_3COMMAS", ""),
        ({"enum": ["a", 1, None]}, "1 and 'a' are of two types", ".enum[?@ == 1]"),
        (
            {"enum": ["a", None], "x-enum-varnames": 1},
            "expected a mapping from value to name",
            '["x-enum-varnames"]',
        ),
    ],
)
def test_advice_on_an_enum_inside_a_property_names_its_place_in_the_spec(
    tmp_path: Path, kind: Any, complaint: str, target: str
) -> None:
    spec = read_document(generate.SPEC)
    row = spec["components"]["schemas"]["B2BBrokerAccountBalance"]["properties"]
    row["kind"] = kind
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))

    message = message_of_generate(path, None)

    place = "$.components.schemas.B2BBrokerAccountBalance.properties.kind"
    assert complaint in message
    advice = message.partition("add to openapi/overlay.yaml: ")[2]
    action = yaml.safe_load(advice.replace("NAME", "MY_NAME"))
    assert action["target"] == f"{place}{target}"
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(json.dumps({"overlay": "1.0.0", "actions": [action]}))
    assert message_of_generate(path, overlay) == ""


def message_of_generate(spec: Path, overlay: Path | None) -> str:
    """Return the note on names that generating a client from a spec gives, or its error."""
    try:
        _, messages = generate._prepare_document(spec, overlay)
    except SpecError as error:
        return str(error)
    return "\n".join(messages)


@pytest.mark.parametrize("schema", [{"enum": ["a"]}, {"enum": [None], "nullable": True}])
def test_enum_that_needs_no_change_stays(schema: dict[str, Any]) -> None:
    spec = {"components": {"schemas": {"A": schema}}}
    expected = copy.deepcopy(spec)

    split_nullable_enums(spec)

    assert spec == expected


def test_generated_client_holds_the_enum_and_admits_null(tmp_path: Path) -> None:
    spec = read_document(generate.SPEC)
    schemas = spec["components"]["schemas"]
    schemas["BrokerType"]["enum"].insert(0, None)
    row = schemas["B2BBrokerAccountBalance"]["properties"]
    row["broker"] = {"$ref": "#/components/schemas/BrokerType"}
    row["kind"] = {"type": "string", "enum": ["cash", None]}
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))

    generate.generate(path, generate.OVERLAY, tmp_path / "generated")

    package = tmp_path / "generated" / generate.PACKAGE
    broker_type = (package / "models/broker_type.py").read_text()
    assert 'COINBASE = "coinbase"' in broker_type
    text = (package / "models/b2b_broker_account_balance.py").read_text()
    assert "    broker: BrokerType | None | Unset = UNSET\n" in text
    assert "    kind: B2BBrokerAccountBalanceKind | None | Unset = UNSET\n" in text
    effective = read_document(package / "openapi.yaml")["components"]["schemas"]
    schema = effective["B2BBrokerAccountBalance"] | {"components": {"schemas": effective}}
    for balance in ({"broker": None, "kind": None}, {"broker": "coinbase", "kind": "cash"}):
        assert list(OAS30ReadValidator(schema).iter_errors(balance)) == []
    assert list(OAS30ReadValidator(schema).iter_errors({"kind": "other"})) != []
