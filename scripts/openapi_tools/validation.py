"""Checks that a document is valid OpenAPI 3.0, for `make spec` and `make generate`."""

from collections.abc import Iterable, Iterator
from typing import cast

from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV30SpecValidator
from referencing.exceptions import Unresolvable

from openapi_tools.json_values import (
    JSON,
    JSONObject,
    SpecError,
    copy_objects,
    expect_object,
    to_text,
)
from openapi_tools.references import components_of, find_target, schema_name

_SHOWN_CHARACTERS = 60
"""How many characters of a wrong value a message shows."""

_NOTHING = object()
"""Stands for a value that is not there, because None is a value too: null."""


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
    place = _place_of(document, error)
    # An error of a schema with alternatives holds the errors of each alternative.
    outer_path = error.json_path
    while error.context:
        error = max(error.context, key=_likelihood)
    place += error.json_path.removeprefix(outer_path)
    raise SpecError(f"{prefix} {place}: {_describe(error):.200}")


def _place_of(document: JSONObject, error: ValidationError) -> str:
    """Return the JSONPath of the value that is wrong.

    The path in an error does not always begin at the document: the validator checks each default,
    and some schemas, by themselves, and then the path begins there. Such a path leads to another
    value in the document, or to none.
    """
    path = str(error.json_path)
    if _value_at(document, error.absolute_path) is error.instance:
        return path
    place = _place_of_default(document, error)
    if place is not None:
        return place
    # Texts, mappings and lists are found by their identity. Of a number, true, false or null,
    # Python may use one object for several values, so the place would be a guess.
    start: str | None = None
    if isinstance(error.instance, str | dict | list):
        start = _find_start(document, "$", error)
    return (start or "$") + path.removeprefix("$")


def _likelihood(error: ValidationError) -> tuple[int, bool]:
    """Return how likely an error is to belong to the alternative of a schema that was meant.

    The results are compared: the greatest is the most likely. The deeper the wrong value, the more
    of the document fits the alternative. If two errors are equally deep, one about a missing
    property is less likely: a value that is meant for another alternative lacks it, too.
    """
    return len(error.absolute_path), error.validator != "required"


def _describe(error: ValidationError) -> str:
    """Return the message of an error.

    A long value is cut short, so that it does not hide what is wrong with it.
    """
    message = str(error.message)
    value = repr(error.instance)
    if len(value) > _SHOWN_CHARACTERS:
        message = message.replace(value, f"{value[:_SHOWN_CHARACTERS]}…")
    if error.validator == "uniqueItems":
        message += _describe_duplicate(cast("list[JSON]", error.instance))
    return message


def _describe_duplicate(values: list[JSON]) -> str:
    """Return which items of a list are equal, or the empty string.

    Items that are equal but written differently, such as 1 and 1.0, are not found.
    """
    indexes: dict[str, int] = {}
    for index, value in enumerate(values):
        text = to_text(value)
        if text in indexes:
            return f": [{indexes[text]}] and [{index}] are both {value!r:.60}"
        indexes[text] = index
    return ""


def _describe_recursion(document: JSONObject) -> str:
    """Return why the validator does not come to an end.

    Most often, a schema includes itself. Otherwise the document is nested too deeply.
    """
    schemas = components_of(document, "schemas")
    for name in schemas:
        circle = _find_circle(schemas, name)
        if circle:
            names = " → ".join(circle)
            return (
                f"$.components.schemas.{name}: these schemas include each other through $ref or"
                f" allOf/anyOf/oneOf: {names}"
            )
    return "the document is nested too deeply"


def _find_circle(schemas: JSONObject, start: str) -> list[str]:
    """Return the names of schemas that include each other, from `start` back to it.

    Return an empty list if there is no such circle.
    """
    paths = {start: [start]}
    """The names from `start` to each schema that was found."""
    waiting = [start]
    while waiting:
        name = waiting.pop()
        for included in _included_names(expect_object(schemas[name], name)):
            if included == start:
                return [*paths[name], included]
            if included in schemas and included not in paths:
                paths[included] = [*paths[name], included]
                waiting.append(included)
    return []


def _included_names(schema: JSONObject) -> Iterator[str]:
    """Yield the names of the schemas that a schema includes through $ref, allOf, anyOf and oneOf.

    The value that is checked against the schema is also checked against these. The schemas of
    properties and items are left out, because other values are checked against them.
    """
    name = schema_name(str(schema.get("$ref", "")))
    if name is not None:
        yield name
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            for part in copy_objects(schema[keyword], keyword):
                yield from _included_names(part)


def _find_start(value: JSON, place: str, error: ValidationError) -> str | None:
    """Return the JSONPath of the value at which the path of an error begins, or None.

    It is `value`, whose JSONPath is `place`, or a value inside it: the one from which the path of
    the error leads to the very object that is wrong, not to an equal one.
    """
    if _value_at(value, error.absolute_path) is error.instance:
        return place
    for here, member in _members(value, place):
        inner = _find_start(member, here, error)
        if inner is not None:
            return inner
    return None


def _place_of_default(document: JSONObject, error: ValidationError) -> str | None:
    """Return the place of the wrong value in a default that does not fit its schema, or None.

    The validator knows only where in the default the error is, not where the default is. But it
    knows the wrong value, and which part of a schema this value does not fit. Both are compared,
    because the same part may belong to several schemas with a default, through references.
    """
    path_in_default = str(error.json_path).removeprefix("$")
    for place, schema in _find_schemas_with_default(document, "$"):
        value = _value_at(schema["default"], error.absolute_path)
        part = _part_of_schema(document, schema, error.absolute_schema_path)
        if value is error.instance and part is error.schema:
            return f"{place}.default{path_in_default}"
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
            if key.isidentifier():
                yield f"{place}.{key}", member
            else:
                yield f"{place}['{key}']", member
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{place}[{index}]", item


def _part_of_schema(document: JSONObject, schema: JSONObject, path: Iterable[str | int]) -> object:
    """Return the part of a schema that holds the last keyword of a path, or _NOTHING.

    `path` is that of an error: it leads from the schema to the keyword that is not satisfied. It
    has no step for a `$ref`: its next step is a keyword in the target of the reference.
    """
    part: JSON = schema
    for step in list(path)[:-1]:
        member = _value_at(part, [step])
        if not isinstance(member, dict | list):
            return _NOTHING
        try:
            part = _follow_references(document, member)
        except SpecError:  # there is nothing at a reference, which is another error
            return _NOTHING
    return part


def _follow_references(document: JSONObject, part: JSON) -> JSON:
    """Return the target of a reference, or of the last of a chain of references.

    Return anything else as it is. If references lead in a circle, return one of them.
    """
    followed: set[str] = set()
    while isinstance(part, dict) and "$ref" in part:
        reference = str(part["$ref"])
        if reference in followed:
            break
        followed.add(reference)
        part = find_target(document, reference, "$ref")
    return part


def _value_at(value: JSON, path: Iterable[str | int]) -> object:
    """Return the value at a path, or _NOTHING if there is none."""
    for step in path:
        if isinstance(value, dict) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return _NOTHING
    return value
