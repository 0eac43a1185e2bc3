"""The names of enum members: no name depends on a position, and nothing is renamed silently."""

import copy
import json
import re
import runpy
from pathlib import Path
from typing import Any

import generate
import pytest
import yaml
from openapi_tools.documents import read_document
from openapi_tools.enum_names import name_enum_members
from openapi_tools.json_values import SpecError
from openapi_tools.overlay import apply_overlay

SPEC = read_document(generate.SPEC)
BROKERS = SPEC["components"]["schemas"]["BrokerType"]["enum"]
PATH = "$.components.schemas.BrokerType"

# Values that a spec may list tomorrow, and their names beside the brokers of today.
NAMES = {
    "3commas": "VALUE_3COMMAS",
    "Coinbase": "COINBASE_8266DECA",
    "coinbase ": "COINBASE_4063E437",
    " kraken": "VALUE_SPACE_KRAKEN",
    "": "VALUE_EMPTY",
    "+": "VALUE_PLUS_SIGN",
    "+1": "VALUE_PLUS_SIGN_1",
    "-1": "VALUE_HYPHEN_MINUS_1",
    "1": "VALUE_1",
    "007": "VALUE_007",
    "2024-01-01": "VALUE_2024_01_01",
    "🚀": "VALUE_ROCKET",
    "名前": "名前",
    "straße": "STRASSE",
    "ᵐʳᵒ": "MRO_455186DD",
    "\u037a": "VALUE_GREEK_YPOGEGRAMMENI",
    "mro": "MRO",
    "name": "NAME",
    "value": "VALUE",
    "class": "CLASS",
    "None": "NONE",
    "true": "TRUE",
    "no": "NO",
    "~": "VALUE_TILDE",
    "__init__": "VALUE_LOW_LINE_LOW_LINE_INIT",
    "_private": "VALUE_LOW_LINE_PRIVATE",
    "a-b": "A_B_D44362D6",
    "a_b": "A_B_648FA9B3",
    'say "it\'s"\\': "SAY_ITS",
    "{x}": "VALUE_LEFT_CURLY_BRACKET_X",
    "\t": "VALUE_U0009",
    "İ": "I",
    "x" * 300: "X" * 300,
}


def document(values: list[Any], **fields: Any) -> dict[str, Any]:
    """Return the project's spec with other brokers."""
    spec: dict[str, Any] = copy.deepcopy(SPEC)
    spec["components"]["schemas"]["BrokerType"] = {"type": "string", "enum": values, **fields}
    return spec


def broker_type(spec: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = spec["components"]["schemas"]["BrokerType"]
    return schema


def names(values: list[Any], **fields: Any) -> dict[Any, str]:
    """Return the name of each broker that did not get its name from the generator."""
    spec = document(values, **fields)
    name_enum_members(spec)
    schema = broker_type(spec)
    return dict(zip(schema["enum"], schema.get("x-enum-varnames", []), strict=False))


def refusal(values: list[Any], **fields: Any) -> str:
    with pytest.raises(SpecError) as caught:
        name_enum_members(document(values, **fields))
    return str(caught.value)


def apply_advice(message: str, spec: dict[str, Any], folder: Path) -> None:
    """Do what a message says: add its action to an overlay, and apply that."""
    advice = re.search(r"add to openapi/overlay\.yaml: (\{.*\})$", message)
    assert advice
    action = yaml.safe_load(advice[1].replace("NAME", "MY_NAME"))
    overlay = folder / "overlay.yaml"
    overlay.write_text(json.dumps({"overlay": "1.0.0", "actions": [action]}))
    assert apply_overlay(overlay, spec) == []


# --- names that are derived ---------------------------------------------------------------------


@pytest.mark.parametrize("value", NAMES)
def test_new_value_has_a_name_of_its_own_wherever_it_is_in_the_list(value: str) -> None:
    others = [each for each in NAMES if each != value]
    expected = {**{each: each.upper() for each in BROKERS}, **NAMES}

    for values in ([value, *others, *BROKERS], [*BROKERS, *others, value]):
        assert names(values) == {each: expected[each] for each in values}


def test_order_of_the_values_does_not_matter() -> None:
    values = [*NAMES, *BROKERS]
    expected = names(values)

    for shift in range(1, len(values), 7):
        assert names(values[shift:] + values[:shift]) == expected
        assert names(values[::-1][shift:] + values[::-1][:shift]) == expected


@pytest.mark.parametrize("value", NAMES)
def test_new_value_takes_no_name_from_the_brokers_of_today(value: str) -> None:
    found = names([value, *BROKERS]) or {each: each.upper() for each in BROKERS}

    assert {each: found[each] for each in BROKERS} == {each: each.upper() for each in BROKERS}


def test_generated_enum_has_every_value_under_its_name(tmp_path: Path) -> None:
    # Values that look like numbers depend on how the document is written, which is tested there.
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(document([*NAMES, *BROKERS])))

    generate.generate(spec, generate.OVERLAY, tmp_path / "generated")

    module = tmp_path / "generated" / generate.PACKAGE / "models/broker_type.py"
    members = runpy.run_path(str(module))["BrokerType"].__members__
    expected = {**{each: each.upper() for each in BROKERS}, **NAMES}
    assert {name: str(member) for name, member in members.items()} == {
        name: value for value, name in expected.items()
    }


def test_brokers_of_today_keep_the_names_that_the_generator_gives() -> None:
    spec = copy.deepcopy(SPEC)

    assert name_enum_members(spec) == []
    assert spec == SPEC


def test_two_values_in_camel_case_both_lose_the_name_that_they_share() -> None:
    found = names(["binanceUs", "binanceUS"])

    assert found["binanceUs"].startswith("BINANCEUS_")
    assert found["binanceUS"].startswith("BINANCEUS_")
    assert len(set(found.values())) == 2


def test_value_that_is_listed_twice_is_one_member() -> None:
    assert names(["3commas", "a", "3commas"]) == {"3commas": "VALUE_3COMMAS", "a": "A"}


def test_value_that_is_listed_twice_keeps_its_first_name() -> None:
    given = {"x-enum-varnames": ["FIRST", "A", "SECOND"]}

    assert names(["3commas", "a", "3commas"], **given) == {"3commas": "FIRST", "a": "A"}


@pytest.mark.parametrize(("value", "name"), [(7, "VALUE_7"), (-7, "VALUE_NEGATIVE_7")])
def test_integer_keeps_the_name_that_the_generator_gives(value: int, name: str) -> None:
    spec = document([value, 1], type="integer")

    name_enum_members(spec)

    assert "x-enum-varnames" not in broker_type(spec)
    given = {"x-enum-varnames": {str(value): "mine"}}
    assert names([value, 1], type="integer", **given) == {value: "MINE", 1: "VALUE_1"}
    assert name.endswith("7")


@pytest.mark.parametrize("values", [[None], [True, False]])
def test_enum_without_a_class_is_left_alone(values: list[Any]) -> None:
    spec = document(values, type="boolean" if True in values else "string")
    expected = copy.deepcopy(spec)

    assert name_enum_members(spec) == []
    assert spec == expected


def test_enum_of_an_example_or_a_property_called_enum_is_no_enum() -> None:
    spec = document(["a"])
    spec["components"]["schemas"]["Other"] = {
        "example": {"enum": [1.5]},
        "properties": {"enum": {"type": "string"}},
    }

    assert name_enum_members(spec) == []


# --- notes, and names that are given ------------------------------------------------------------


def test_note_says_which_name_was_made_up_and_how_to_choose_another(tmp_path: Path) -> None:
    [note] = name_enum_members(document(["3commas", *BROKERS]))

    assert note.startswith(f"{PATH}: '3commas' is named VALUE_3COMMAS; for another name, add to")
    spec = document(["3commas", *BROKERS])
    apply_advice(note, spec, tmp_path)
    assert name_enum_members(spec) == []
    assert broker_type(spec)["x-enum-varnames"][0] == "MY_NAME"


def test_given_name_overrides_every_rule() -> None:
    given = {"coinbase": "COIN", "Coinbase": "coinbase", "3commas": "three-commas"}

    found = names(["Coinbase", "coinbase", "3commas"], **{"x-enum-varnames": given})

    assert found == {"Coinbase": "COINBASE", "coinbase": "COIN", "3commas": "THREE_COMMAS"}


def test_derived_name_makes_way_for_a_given_one() -> None:
    found = names(["coinbase", "other"], **{"x-enum-varnames": {"other": "COINBASE"}})

    assert found["other"] == "COINBASE"
    assert found["coinbase"].startswith("COINBASE_")


def test_names_of_the_spec_are_a_list_in_the_order_of_the_values() -> None:
    found = names(["3commas", "b"], **{"x-enum-varnames": ["threeCommas", "B"]})

    assert found == {"3commas": "THREE_COMMAS", "b": "B"}


def test_given_name_without_a_value_is_reported() -> None:
    [note] = name_enum_members(document(["a"], **{"x-enum-varnames": {"gone": "GONE"}}))

    assert note == f"{PATH}[\"x-enum-varnames\"]: 'gone' is not in the enum any more"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["A", "B"], "expected a mapping from value to name, or a list of 1 names"),
        ("A", "expected a mapping from value to name, or a list of 1 names"),
        ({"a": 1}, "the name of 'a' is not a string"),
    ],
)
def test_names_in_the_wrong_form_are_refused(tmp_path: Path, given: Any, complaint: str) -> None:
    message = refusal(["a"], **{"x-enum-varnames": given})

    assert message.startswith(f'{PATH}["x-enum-varnames"]: {complaint}; ')
    spec = document(["a"], **{"x-enum-varnames": given})
    apply_advice(message, spec, tmp_path)
    assert name_enum_members(spec) == []


# --- values that cannot be named ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "given", "complaint"),
    [
        (["a", "b"], {"a": "X", "b": "x"}, "'a' and 'b' would both be named X"),
        (["a", "b"], {"b": "3"}, "'b' would be named '3', which is not a valid Python identifier"),
        (["a", "b"], {"b": "🚀"}, "'b' would be named '', which is not a valid Python identifier"),
    ],
)
def test_name_that_python_cannot_use_is_refused_with_the_correction(
    tmp_path: Path, values: list[Any], given: Any, complaint: str
) -> None:
    message = refusal(values, **{"x-enum-varnames": given})

    assert message.startswith(f"{PATH}.enum: {complaint}; ")
    spec = document(values, **{"x-enum-varnames": given})
    apply_advice(message, spec, tmp_path)
    name_enum_members(spec)
    assert broker_type(spec)["x-enum-varnames"][1] == "MY_NAME"


def test_name_in_a_list_that_python_cannot_use_is_refused_with_the_removal_of_the_list(
    tmp_path: Path,
) -> None:
    message = refusal(["a", "b"], **{"x-enum-varnames": ["A", "3"]})

    assert "'b' would be named '3', which is not a valid Python identifier" in message
    spec = document(["a", "b"], **{"x-enum-varnames": ["A", "3"]})
    apply_advice(message, spec, tmp_path)
    assert name_enum_members(spec) == []


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (7, "7 is a number in an enum of strings"),
        (1.5, "1.5 is neither a string nor an integer"),
        (True, "True is neither a string nor an integer"),
        ("\ue000", "'\\ue000' holds a character that the generator drops"),
        ("it's\u2028", '"it\'s\\u2028" holds a character that the generator drops'),
        ("👨\u200d👩", "holds a character that the generator drops"),
    ],
)
@pytest.mark.parametrize("position", [0, 2])
def test_value_that_no_enum_can_hold_is_refused_with_its_removal(
    tmp_path: Path, value: Any, complaint: str, position: int
) -> None:
    values = ["a", "b"]
    values.insert(position, value)

    message = refusal(list(values))

    assert message.startswith(f"{PATH}.enum: ")
    assert complaint in message
    assert "\n" not in message
    assert message.isascii()
    spec = document(values)
    apply_advice(message, spec, tmp_path)
    name_enum_members(spec)
    assert broker_type(spec)["enum"] == ["a", "b"]


@pytest.mark.parametrize("value", [{"a": 1}, "a\ud800", "a\x00b", "a\n"])
def test_value_that_no_path_can_name_is_refused_with_the_removal_of_the_enum(
    tmp_path: Path, value: Any
) -> None:
    message = refusal(["a", value])

    spec = document(["a", value])
    apply_advice(message, spec, tmp_path)
    assert "enum" not in broker_type(spec)


def test_values_of_two_types_are_refused() -> None:
    message = refusal([7, "a"], type="")

    assert message.startswith(f"{PATH}.enum: 'a' and 7 are of two types; ")
