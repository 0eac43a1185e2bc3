"""The objects of an OpenAPI document, each with the JSONPath by which an overlay names it."""

import json
import re
from collections.abc import Iterator

from attrs import frozen

from openapi_tools.documents import Json

# The values of these keywords are mappings whose keys are names, not keywords.
_HOLD_NAMES = frozenset(
    {
        "callbacks",
        "components",
        "content",
        "encoding",
        "headers",
        "links",
        "parameters",
        "paths",
        "patternProperties",
        "properties",
        "requestBodies",
        "responses",
        "schemas",
        "securitySchemes",
    }
)
# The values of these keywords are data, or nothing that the client is generated from.
_HOLD_DATA = frozenset({"const", "default", "enum", "example", "examples", "servers", "value"})
_PLAIN_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")


@frozen
class SpecObject:
    """An object of the document, and where it is."""

    path: str
    fields: Json
    name: str
    """The name under which its parent holds it, or the empty string."""


def find_objects(document: Json) -> list[SpecObject]:
    """Return all objects that are made of keywords: schemas, operations, and so on.

    Outer objects come before the objects inside them. Data is left out: examples, defaults, the
    values of an enum, and extensions.
    """
    return list(_find_in_object(document, "$", ""))


def _find_in_object(node: Json, path: str, name: str) -> Iterator[SpecObject]:
    yield SpecObject(path, node, name)
    for keyword, value in node.items():
        if keyword in _HOLD_DATA or keyword.startswith("x-"):
            continue
        place = json_path(path, keyword)
        if isinstance(value, dict) and keyword == "components":
            for kind, members in value.items():
                yield from _find_in_names(members, json_path(place, kind))
        elif isinstance(value, dict) and keyword in _HOLD_NAMES:
            yield from _find_in_names(value, place)
        elif isinstance(value, dict):
            yield from _find_in_object(value, place, "")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _find_in_object(item, f"{place}[{index}]", "")


def _find_in_names(members: object, path: str) -> Iterator[SpecObject]:
    if isinstance(members, dict):
        for name, member in members.items():
            if isinstance(member, dict):
                yield from _find_in_object(member, json_path(path, name), name)


def json_path(parent: str, name: str) -> str:
    """Return the JSONPath (RFC 9535) of a member, in ASCII."""
    if _PLAIN_NAME.fullmatch(name):
        return f"{parent}.{name}"
    return f"{parent}[{quote(name)}]"


def quote(value: str | float) -> str:
    """Return a string or a number as a literal of both JSONPath and YAML, in ASCII."""
    return json.dumps(value)


def correction(path: str, update: str) -> str:
    """Return the advice to add an update to the overlay, as YAML that can be copied from it."""
    return f"add to openapi/overlay.yaml: {{target: {_yaml(path)}, update: {update}}}"


def removal(path: str) -> str:
    """Return the advice to add a removal to the overlay, as YAML that can be copied from it."""
    return f"add to openapi/overlay.yaml: {{target: {_yaml(path)}, remove: true}}"


def _yaml(path: str) -> str:
    doubled = path.replace("'", "''")
    return f"'{doubled}'"
