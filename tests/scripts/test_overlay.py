import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from generate import OVERLAY, SPEC
from openapi_tools.documents import read_document
from openapi_tools.json_values import SpecError
from openapi_tools.overlay import apply_overlay


def document() -> dict[str, Any]:
    return {
        "info": {"title": "Balances", "contact": {"name": "Mesh"}},
        "tags": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
        "schemas": {
            "One": {"type": "string", "enum": ["x"], "required": ["x"]},
            "Two": {"type": "object"},
        },
    }


@pytest.fixture
def overlay(tmp_path: Path) -> Any:
    """Write an overlay of some actions."""

    def write(*actions: Any, version: str = "1.0.0") -> Path:
        path = tmp_path / "overlay.yaml"
        path.write_text(yaml.safe_dump({"overlay": version, "actions": list(actions)}))
        return path

    return write


def test_an_update_is_merged_into_each_object_that_its_target_matches(overlay: Any) -> None:
    changed = document()

    notes = apply_overlay(overlay({"target": "$.schemas.*", "update": {"type": "any"}}), changed)

    assert [schema["type"] for schema in changed["schemas"].values()] == ["any", "any"]
    assert changed["schemas"]["One"]["enum"] == ["x"]
    assert notes == []


def test_objects_within_an_update_are_merged_and_their_arrays_joined(overlay: Any) -> None:
    changed = document()
    update = {
        "info": {"version": "1", "contact": {"url": "u"}},
        "schemas": {"One": {"enum": ["y"]}},
    }

    apply_overlay(overlay({"target": "$", "update": update}), changed)

    assert changed["info"] == {
        "title": "Balances",
        "version": "1",
        "contact": {"name": "Mesh", "url": "u"},
    }
    assert changed["schemas"]["One"]["enum"] == ["x", "y"]


def test_an_update_of_an_array_is_one_more_item_unless_it_is_there(overlay: Any) -> None:
    changed = document()
    action = {"target": "$.schemas.One.required", "update": "y"}

    notes = apply_overlay(overlay(action, action), changed)

    assert changed["schemas"]["One"]["required"] == ["x", "y"]
    assert len(notes) == 1
    assert notes[0].endswith(
        "action 2: $.schemas.One.required: the action has no effect, because the spec already"
        " agrees with it: you can delete the action"
    )


def test_objects_added_in_two_places_are_independent(overlay: Any) -> None:
    changed = document()
    add = {"target": "$.schemas.*", "update": {"xml": {"name": "n"}, "tags": [{"t": 1}]}}
    change = {"target": "$.schemas.One.xml", "update": {"name": "other"}}
    change_item = {"target": "$.schemas.One.tags[0]", "update": {"t": 2}}

    apply_overlay(overlay(add, change, change_item), changed)

    assert changed["schemas"]["Two"]["xml"] == {"name": "n"}
    assert changed["schemas"]["Two"]["tags"] == [{"t": 1}]


def test_removal_removes_all_matches(overlay: Any) -> None:
    changed = document()

    apply_overlay(
        overlay(
            {"target": "$.tags[?@.name != 'b']", "remove": True},
            {"target": "$.schemas.*['enum', 'required']", "remove": True},
        ),
        changed,
    )

    assert changed["tags"] == [{"name": "b"}]
    assert changed["schemas"]["One"] == {"type": "string"}


@pytest.mark.parametrize("target", ["$.tags[1, 0]", "$.tags[0, 1, 1]", "$.tags[1::-1]"])
def test_removal_of_items_works_in_any_order(overlay: Any, target: str) -> None:
    changed = document()

    apply_overlay(overlay({"target": target, "remove": True}), changed)

    assert changed["tags"] == [{"name": "c"}]


def test_remove_false_beside_an_update_is_an_update(overlay: Any) -> None:
    changed = document()

    apply_overlay(overlay({"target": "$.info", "update": {"a": 1}, "remove": False}), changed)

    assert changed["info"] == document()["info"] | {"a": 1}


def test_action_without_effect_is_reported(overlay: Any) -> None:
    changed = document()

    notes = apply_overlay(
        overlay(
            {"target": "$.schemas.Two", "update": {"type": "object"}},
            {"target": "$.schemas.Two.enum", "remove": True},
            {"target": "$.schemas.One.enum", "remove": True},
        ),
        changed,
    )

    assert [note.split(": ")[1] for note in notes] == ["action 1", "action 2"]


@pytest.mark.parametrize(
    "target", ["$.schemas.One.gone", "$.tags[5]", "$.tags..externalDocs", "$..externalDocs"]
)
def test_removal_of_a_place_that_is_gone_already_has_no_effect(overlay: Any, target: str) -> None:
    changed = {"tags": [{"name": "a"}], "schemas": {"One": {}}}

    notes = apply_overlay(overlay({"target": target, "remove": True}), changed)

    assert len(notes) == 1
    assert "has no effect" in notes[0]


@pytest.mark.parametrize(("old", "new"), [(True, 1), (0, False), (1, 1.0)])
def test_action_that_changes_only_the_type_of_a_value_has_an_effect(
    overlay: Any, old: Any, new: Any
) -> None:
    changed = {"info": {"nested": [{"default": old}]}}
    action = {"target": "$.info.nested[0]", "update": {"default": new}}

    notes = apply_overlay(overlay(action), changed)

    assert notes == []
    assert repr(changed) == repr({"info": {"nested": [{"default": new}]}})


def test_number_is_appended_to_an_array_that_holds_an_equal_boolean(overlay: Any) -> None:
    changed = {"enum": [True, {"a": True}]}

    notes = apply_overlay(
        overlay({"target": "$", "update": {"enum": [1, {"a": 1}, True]}}), changed
    )

    assert notes == []
    assert repr(changed["enum"]) == repr([True, {"a": True}, 1, {"a": 1}])


def test_object_is_not_appended_to_an_array_that_holds_it_with_its_keys_in_another_order(
    overlay: Any,
) -> None:
    changed = {"tags": [{"b": 1, "a": 2}]}

    notes = apply_overlay(overlay({"target": "$.tags", "update": {"a": 2, "b": 1}}), changed)

    assert len(notes) == 1
    assert changed == {"tags": [{"b": 1, "a": 2}]}


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        ({"target": "$.nowhere", "update": {}}, "$.nowhere matches nothing: correct the target"),
        (
            {"target": "$.components.schemas.Renamed.properties", "update": {}},
            (
                "there is no schema Renamed. If Mesh renamed it, add 'NEW_NAME: Renamed' to"
                " `schemas` in openapi/import.yaml; otherwise correct or delete the action"
            ),
        ),
        ({"target": "$.nowhere.enum", "remove": True}, "$.nowhere.enum matches nothing"),
        ({"target": "$.info.title.enum", "remove": True}, "$.info.title.enum matches nothing"),
        ({"target": "$.tags.enum", "remove": True}, "$.tags.enum matches nothing"),
        ({"target": "$", "remove": True}, "the document as a whole"),
        ({"target": "schemas", "update": {}}, "expected"),
        ({"target": "", "update": {}}, "expected"),
        ({"target": "$.info", "updaet": {}}, "`update` or `remove: true`"),
        ({"target": "$.info", "remove": False}, "`update` or `remove: true`"),
        ({"target": 1, "remove": True}, "`target`"),
        ("remove everything", "`target`"),
        ({"target": "$.info.title", "update": {"a": 1}}, "does not fit what is at $['info']"),
        ({"target": "$.info", "update": "text"}, "does not fit what is at $['info']"),
        ({"target": "$.info", "update": {"title": {"a": 1}}}, "$['info'].title"),
        ({"target": "$.schemas.One", "update": {"enum": "y"}}, "does not fit what is at"),
    ],
)  # fmt: skip
def test_inapplicable_action_is_refused_with_its_number_and_reason(
    overlay: Any, action: Any, complaint: str
) -> None:
    path = overlay({"target": "$.info", "update": {"version": "1"}}, action)

    with pytest.raises(SpecError) as refusal:
        apply_overlay(path, document())

    message = str(refusal.value)
    assert message.startswith(f"{path}: action 2: ")
    assert complaint in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "[]", "overlay: 1.0.0", "{overlay: 2.0.0, actions: []}"])
def test_document_other_than_an_overlay_of_version_1_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "overlay.yaml"
    path.write_text(text)

    with pytest.raises(SpecError, match=r"overlay\.yaml: an overlay has `overlay: 1\.0\.0`"):
        apply_overlay(path, document())


def test_a_document_that_is_not_yaml_is_refused_with_the_place_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("actions:\n  - target: [\n")

    with pytest.raises(SpecError, match=r"^\S+broken\.yaml: not YAML: .* line 3, column 1"):
        read_document(path)


def test_nodes_repeated_by_an_anchor_are_independent(tmp_path: Path) -> None:
    path = tmp_path / "anchors.yaml"
    path.write_text("a: &x {b: 1}\nc: *x\nday: 2024-01-01\n")

    read = read_document(path)
    read["a"]["b"] = 2

    assert read == {"a": {"b": 2}, "c": {"b": 1}, "day": "2024-01-01"}


def test_the_projects_overlay_applies_to_a_spec_with_more_brokers_statuses_and_schemas() -> None:
    spec = read_document(SPEC)
    schemas = spec["components"]["schemas"]
    envelope = schemas["ApiResult"]["properties"]
    for enum in (schemas["BrokerType"], schemas["ApiResultStatus"], envelope["status"]):
        enum["enum"].append("unheardOf")
    schemas["OtherApiResult"] = copy.deepcopy(schemas["ApiResult"])

    notes = apply_overlay(OVERLAY, spec)

    assert notes == []
    assert "enum" not in schemas["OtherApiResult"]["properties"]["status"]


@pytest.mark.parametrize(
    "form", [{"$ref": "#/components/schemas/ApiResultStatus"}, {"enum": ["ok"]}]
)
def test_the_projects_overlay_opens_a_status_in_whatever_form_it_is_closed(form: Any) -> None:
    spec = read_document(SPEC)
    properties = spec["components"]["schemas"]["ApiResult"]["properties"]
    properties["status"] = form

    apply_overlay(OVERLAY, spec)

    assert properties["status"] == {"type": "string"}


def test_the_projects_overlay_reports_all_of_its_actions_on_a_spec_that_needs_none() -> None:
    spec = read_document(SPEC)
    apply_overlay(OVERLAY, spec)

    notes = apply_overlay(OVERLAY, spec)

    assert len(notes) == len(read_document(OVERLAY)["actions"])
