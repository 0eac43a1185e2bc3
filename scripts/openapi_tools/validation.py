"""Checks that a document is valid OpenAPI 3.0, for `make spec` and `make generate`."""

import json
from collections.abc import Iterable, Iterator
from typing import cast

from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV30SpecValidator
from referencing.exceptions import Unresolvable

from openapi_tools.json_values import JSON, JSONObject, SpecError, copy_objects, expect_object
from openapi_tools.references import components_of, find_target, schema_name

_SHOWN = 60
"""How many characters of a wrong value a message shows."""


def check_openapi(document: JSONObject, prefix: str = "") -> None:
    """Raise SpecError, with the place and the reason, unless a document is valid OpenAPI 3.0.

    The message begins with `prefix`.
    """
    try:
        error = next(OpenAPIV30SpecValidator(document).iter_errors(), None)
    except Unresolvable as unresolvable:
        raise SpecError(f"{prefix} there is nothing at '{unresolvable.ref}'") from None
    except RecursionError:
        raise SpecError(f"{prefix} {_describe_recursion(document)}") from None
    if error is None:
        return
    place = error.json_path
    if _value_at(document, error.absolute_path) is not error.instance:
        place = (
            _place_of_default(document, error)
            or _place_of_container(document, "$", error.instance)
            or place
        )
    outer_path = error.json_path
    while error.context:
        error = _innermost(error.context)
    place += error.json_path.removeprefix(outer_path)
    raise SpecError(f"{prefix} {place}: {_describe(error):.200}")


def _describe(error: ValidationError) -> str:
    """Return the message of an error, in which a long value does not hide what is wrong with it."""
    message = str(error.message)
    value = repr(error.instance)
    if len(value) > _SHOWN:
        message = message.replace(value, f"{value[:_SHOWN]}…")
    if error.validator == "uniqueItems":
        message += _describe_duplicate(cast("list[JSON]", error.instance))
    return message


def _describe_duplicate(values: list[JSON]) -> str:
    """Return which item of a list is there twice; an empty string if they are 1 and 1.0."""
    indexes: dict[str, int] = {}
    for index, value in enumerate(values):
        text = json.dumps(value, sort_keys=True)
        if text in indexes:
            return f": [{indexes[text]}] and [{index}] are both {value!r:.60}"
        indexes[text] = index
    return ""


def _describe_recursion(document: JSONObject) -> str:
    """Return why the validator does not come to an end: mostly, schemas are made of each other."""
    schemas = components_of(document, "schemas")
    for name in schemas:
        circle = _find_circle(schemas, [name])
        if circle:
            names = " → ".join(circle)
            return f"$.components.schemas.{name}: these schemas are parts of each other: {names}"
    return "the document is nested too deeply"


def _find_circle(schemas: JSONObject, names: list[str]) -> list[str]:
    """Return the names of schemas from the first one back to itself, or an empty list."""
    for part in _parts_of(expect_object(schemas[names[-1]], names[-1])):
        if part == names[0]:
            return [*names, part]
        if part in schemas and part not in names:
            circle = _find_circle(schemas, [*names, part])
            if circle:
                return circle
    return []


def _parts_of(schema: JSONObject) -> Iterator[str]:
    """Yield the names of the schemas of which a schema is made."""
    name = schema_name(str(schema.get("$ref", "")))
    if name is not None:
        yield name
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            for part in copy_objects(schema[keyword], keyword):
                yield from _parts_of(part)


def _place_of_container(value: JSON, place: str, container: object) -> str | None:
    """Return the place of a mapping or a list, found by its identity, or None.

    The validator checks some schemas by themselves, and then gives the place in the schema.
    """
    if not isinstance(container, dict | list):
        return None
    if value is container:
        return place
    for here, member in _members(value, place):
        inner = _place_of_container(member, here, container)
        if inner is not None:
            return inner
    return None


def _innermost(errors: list[ValidationError]) -> ValidationError:
    """Return the most specific of the errors that the alternatives of a schema gave."""
    return max(errors, key=lambda error: (len(error.absolute_path), error.validator != "required"))


def _place_of_default(document: JSONObject, error: ValidationError) -> str | None:
    """Return the place of a default that does not fit its schema, or None.

    The validator knows only where in the default the error is, not where the default is. But it
    knows which part of a schema the default does not fit.
    """
    for place, schema in _find_schemas_with_default(document, "$"):
        if _part_of_schema(document, schema, error.absolute_schema_path) is error.schema:
            return f"{place}.default"
    return None


def _find_schemas_with_default(value: JSON, place: str) -> Iterator[tuple[str, JSONObject]]:
    if isinstance(value, dict) and "default" in value:
        yield place, value
    for here, member in _members(value, place):
        yield from _find_schemas_with_default(member, here)


def _members(value: JSON, place: str) -> Iterator[tuple[str, JSON]]:
    """Yield the members of a mapping or a list, each with its place."""
    if isinstance(value, dict):
        for key, member in value.items():
            here = f"{place}.{key}" if key.isidentifier() else f"{place}['{key}']"
            yield here, member
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{place}[{index}]", item


def _part_of_schema(document: JSONObject, schema: JSON, path: Iterable[str | int]) -> JSON:
    """Return the part of a schema to which an error's path leads; its last step is a keyword."""
    for part in list(path)[:-1]:
        schema = _value_at(schema, [part])
        if isinstance(schema, dict) and "$ref" in schema:  # the path leaves references out
            schema = find_target(document, str(schema["$ref"]), "$ref")
    return schema


def _value_at(value: JSON, path: Iterable[str | int]) -> JSON:
    """Return the value at a path, or None if there is none."""
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value
