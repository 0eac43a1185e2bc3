"""Two things never share a name in the generated package, and nothing gets a made-up name."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import generate
import pytest
import yaml
from openapi_tools.documents import read_document
from openapi_tools.json_values import SpecError
from openapi_tools.name_checks import check_names
from openapi_tools.overlay import apply_overlay

SPEC = read_document(generate.SPEC)
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}}
ANSWERS = {"200": {"description": "OK"}}


def document(paths: Any = None, **schemas: Any) -> dict[str, Any]:
    own = {name: copy.deepcopy(schema) for name, schema in schemas.items()}
    return {"paths": paths or {}, "components": {"schemas": own}}


def model(*properties: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in properties}}


def operation(operation_id: str | None = None, *tags: str) -> dict[str, Any]:
    found: dict[str, Any] = {"responses": ANSWERS}
    if operation_id is not None:
        found["operationId"] = operation_id
    if tags:
        found["tags"] = list(tags)
    return found


def refusal(spec: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as caught:
        check_names(spec)
    message = str(caught.value)
    assert "\n" not in message
    return message


def assert_advice_helps(message: str, spec: dict[str, Any], folder: Path) -> None:
    """Do what a message says, and expect that nothing is refused any more."""
    advice = re.search(r"; add to openapi/overlay\.yaml: (\{.*\})$", message)
    assert advice
    overlay = folder / "overlay.yaml"
    action = yaml.safe_load(advice[1].replace("NAME", "MyOwnName"))
    overlay.write_text(json.dumps({"overlay": "1.0.0", "actions": [action]}))
    assert apply_overlay(overlay, spec) == []
    check_names(spec)


def test_projects_own_spec_has_only_names_of_their_own() -> None:
    check_names(copy.deepcopy(SPEC))


# --- classes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("FooBar", "fooBar"),
        ("FooBar", "foo_bar"),
        ("FooBar", "foo-bar"),
        ("FooBar", "foo.bar"),
        ("FOOBar", "FooBar"),  # two classes, but in one module
    ],
)
def test_two_schemas_with_one_class_are_refused(tmp_path: Path, first: str, second: str) -> None:
    spec = document(**{first: OBJECT, second: OBJECT})

    message = refusal(spec)

    assert f"'{first}' and '{second}' would both be in the module " in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("kind", [OBJECT, {"type": "string", "enum": ["a"]}, {"allOf": [OBJECT]}])
@pytest.mark.parametrize(
    "name",
    [
        *("Response", "client", "any", "Unset", "http_status", "UNSET"),
        *("UUID", "BytesIO", "Literal"),
    ],
)
def test_schema_with_a_name_that_generated_code_imports_is_refused(
    tmp_path: Path, name: str, kind: Any
) -> None:
    spec = document(**{name: kind})
    if name == "http_status":  # HttpStatus is another name than HTTPStatus
        check_names(spec)
        return

    message = refusal(spec)

    assert message.startswith(f"$.components.schemas.{name}: the generated code has a ")
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("Foo", {"type": "array", "items": {**OBJECT, "title": "Response"}}),
        (
            "Foo",
            {"type": "array", "items": {"type": "array", "items": {"enum": ["a"], "title": "any"}}},
        ),
    ],
)
def test_class_of_items_with_a_name_that_generated_code_imports_is_refused(
    tmp_path: Path, name: str, array: Any
) -> None:
    spec = document(**{name: array})

    message = refusal(spec)

    assert message.startswith(f"$.components.schemas.{name}.items")
    assert "the generated code has a " in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("array", [{}, {"items": {"type": "string"}}])
def test_array_with_an_enum_is_the_class_itself(tmp_path: Path, array: Any) -> None:
    check_names(document(Foo={"type": "array", "enum": ["a"], **array}))
    spec = document(Response={"type": "array", "enum": ["a"], **array})

    message = refusal(spec)

    assert message.startswith("$.components.schemas.Response: the generated code has a Response")
    assert_advice_helps(message, spec, tmp_path)


def test_class_of_items_takes_the_name_of_the_array_with_item_behind_it(tmp_path: Path) -> None:
    rows = {"type": "array", "items": OBJECT, "title": "Whatever"}
    check_names(document(Row=rows, row=OBJECT, Response=rows))

    message = refusal(spec := document(Row=rows, RowItem=OBJECT))

    assert "'Row' and 'RowItem' would both be in the module row_item" in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("name", ["-", "...", "_"])
def test_schema_of_punctuation_is_refused(tmp_path: Path, name: str) -> None:
    spec = document(**{name: OBJECT})

    message = refusal(spec)

    assert f"'{name}' gives no name for a class" in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("name", ["x" * 253, "名" * 85])
def test_schema_with_a_name_that_is_too_long_for_a_file_is_refused(
    tmp_path: Path, name: str
) -> None:
    spec = document(**{name: OBJECT})

    message = refusal(spec)

    assert "… gives a name that is too long for a file; " in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("name", ["None", "class", "3Commas", "list", "名前", "x" * 252])
def test_schema_that_the_generator_names_well_is_allowed(name: str) -> None:
    check_names(document(**{name: OBJECT}))


def test_schemas_without_a_class_share_names_freely() -> None:
    check_names(
        document(
            amount={"type": "number"},
            Amount={"type": "string"},
            AMOUNT={"type": "array", "items": {"type": "string"}},
            aMount={"allOf": [{"$ref": "#/components/schemas/amount"}]},
        )
    )


# --- attributes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("authToken", "auth_token"),
        ("a-b", "a_b"),
        ("a b", "a.b"),
        ("cash", "Cash"),
        ("cash", " cash"),
        ("fi", "\ufb01"),  # Python reads the ligature as the two letters
    ],
)
def test_two_properties_with_one_attribute_are_refused(
    tmp_path: Path, first: str, second: str
) -> None:
    spec = document(Row=model(first, second))

    message = refusal(spec)

    assert message.startswith("$.components.schemas.Row.properties")
    assert " would both be the attribute " in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("name", ["toDict", "from_dict", "additional_properties", "d", "cls"])
def test_property_with_a_name_that_the_class_has_is_refused(tmp_path: Path, name: str) -> None:
    spec = document(Row=model("cash", name))

    message = refusal(spec)

    assert message.startswith(f"$.components.schemas.Row.properties.{name}: the generated class")
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("name", ["", "+", "🚀", "__", " "])
def test_property_without_a_letter_or_digit_is_refused(tmp_path: Path, name: str) -> None:
    spec = document(Row=model("cash", name))

    message = refusal(spec)

    assert message.isascii()
    assert " gives no name for an attribute; " in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("name", ["class", "1st", "self", "None", "__init__", "mro", "x" * 300])
def test_property_that_the_generator_names_well_is_allowed(name: str) -> None:
    check_names(document(Row=model("cash", name)))


def test_properties_of_all_parts_of_a_model_are_compared(tmp_path: Path) -> None:
    spec = document(
        Base=model("authToken"),
        Row={"allOf": [{"$ref": "#/components/schemas/Base"}, model("auth_token")]},
    )

    message = refusal(spec)

    assert message.startswith("$.components.schemas.Row.allOf[1].properties.auth_token: ")
    assert_advice_helps(message, spec, tmp_path)


def test_property_that_two_parts_of_a_model_share_is_one_attribute() -> None:
    base = {"$ref": "#/components/schemas/Base"}
    check_names(document(Base=model("cash"), Row={"allOf": [base, model("cash")]}))


@pytest.mark.parametrize("reference", ["#/components/schemas/Row", "#/components/parameters/A"])
def test_parts_that_refer_to_their_model_or_elsewhere_are_passed_over(reference: str) -> None:
    check_names(document(Row={"allOf": [{"$ref": reference}, model("cash")]}))


# --- alternatives -------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
@pytest.mark.parametrize(
    "alternative",
    [
        OBJECT,
        {"properties": {}},
        {"type": "string", "enum": ["a"]},
        {"type": "array", "items": OBJECT},
        {"allOf": [OBJECT]},
    ],
)
def test_class_that_would_be_numbered_among_alternatives_is_refused(
    tmp_path: Path, keyword: str, alternative: Any
) -> None:
    choice = {keyword: [{"type": "string"}, alternative]}
    spec = document(Row={"type": "object", "properties": {"choice": choice}})

    message = refusal(spec)

    place = f"$.components.schemas.Row.properties.choice.{keyword}[1]"
    assert message.startswith(f"{place}: its class would be named by its position; ")
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize(
    "alternative",
    [
        {"type": "string"},
        {"type": "boolean", "enum": [True]},
        {"nullable": True, "enum": [None]},
        {"$ref": "#/components/schemas/Row"},
        {"type": "array", "items": {"type": "string"}},
        {"allOf": [{"$ref": "#/components/schemas/Row"}]},
        {**OBJECT, "title": "Mine"},
        {"type": "array", "items": {**OBJECT, "title": "Mine"}},
    ],
)
def test_alternative_without_a_numbered_class_is_allowed(alternative: Any) -> None:
    choice = {"anyOf": [{"type": "string"}, alternative]}
    check_names(document(Row={"type": "object", "properties": {"choice": choice}}))


def test_alternative_with_the_title_of_the_choice_has_no_name_of_its_own() -> None:
    choice = {"title": "Mine", "anyOf": [{**OBJECT, "title": "Mine"}]}

    message = refusal(document(Row={"type": "object", "properties": {"choice": choice}}))

    assert "its class would be named by its position" in message


# --- functions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (operation("getBalance", "Balance"), operation("get_balance", "Balance")),
        (operation("get-balance", "My Tag"), operation("getBalance", "my_tag")),
        (operation("GetBalance"), operation("getBalance", "default")),
        (operation(), operation("get_/a")),
    ],
)
def test_two_operations_with_one_function_are_refused(
    tmp_path: Path, first: Any, second: Any
) -> None:
    spec = document({"/a": {"get": first}, "/b-c": {"post": second}})

    message = refusal(spec)

    assert message.startswith(
        '$.paths["/b-c"].post: GET /a and POST /b-c would both be the function '
    )
    assert_advice_helps(message, spec, tmp_path)


def test_operations_with_one_name_in_two_modules_are_allowed() -> None:
    check_names(document({"/a": {"get": operation("get", "One"), "post": operation("get", "Two")}}))


def test_operations_without_an_id_are_named_after_method_and_path(tmp_path: Path) -> None:
    check_names(document({"/a/b": {"get": operation()}, "/ab": {"get": operation()}}))
    spec = document({"/a/{b}": {"get": operation()}, "/a_b": {"get": operation()}})

    message = refusal(spec)

    assert "would both be the function default.get_a_b" in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("name", ["+", "🚀", "-", ""])
def test_operation_id_without_a_letter_or_digit_is_refused(tmp_path: Path, name: str) -> None:
    spec = document({"/a": {"get": operation(name)}})

    message = refusal(spec)

    assert " gives no name for a function; " in message
    assert_advice_helps(message, spec, tmp_path)


def test_operation_id_that_is_too_long_for_a_file_is_refused(tmp_path: Path) -> None:
    spec = document({"/a": {"get": operation("x" * 253)}})

    message = refusal(spec)

    assert message.startswith('$.paths["/a"].get: the operationId ')
    assert "… is too long for the name of a file; " in message
    assert_advice_helps(message, spec, tmp_path)


def test_tag_that_is_too_long_for_a_folder_is_refused(tmp_path: Path) -> None:
    spec = document({"/a": {"get": operation("a", "x" * 253)}})

    message = refusal(spec)

    assert message.startswith('$.paths["/a"].get.tags: the tag ')
    assert "… is too long for the name of a folder; " in message
    assert_advice_helps(message, spec, tmp_path)


@pytest.mark.parametrize("tag", ["", "+", "🚀"])
def test_tag_without_a_letter_or_digit_is_refused(tmp_path: Path, tag: str) -> None:
    spec = document({"/a": {"get": operation("a", tag)}})

    message = refusal(spec)

    assert message.startswith('$.paths["/a"].get.tags: the tag ')
    assert_advice_helps(message, spec, tmp_path)


# --- the command --------------------------------------------------------------------------------


def test_refusal_of_the_command_names_the_spec_and_leaves_the_old_tree(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = copy.deepcopy(SPEC)
    row = spec["components"]["schemas"]["B2BBrokerAccountBalance"]["properties"]
    row["buying_power"] = {"type": "number"}
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    output = tmp_path / "generated"

    assert generate.main([f"--spec={path}", f"--output={output}"]) == 1

    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: $.components.schemas.B2BBrokerAccountBalance.prop")
    assert "'buyingPower' and 'buying_power' would both be the attribute buying_power" in error
    assert not output.exists()
