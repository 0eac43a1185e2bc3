"""The objects of an OpenAPI document, each with the JSONPath by which an overlay names it.

`make generate` looks through them for names, and advises on an action to add to the overlay.
"""

import json
import re
from collections.abc import Iterator

from attrs import frozen

from openapi_tools.json_values import JSONObject, expect_object
from openapi_tools.keywords import HOLDS_NAMES, holds_data, is_extension, is_extension_beside_names

_PLAIN_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")


@frozen
class SpecObject:
    """An object of the document, and where it is."""

    path: str
    node: JSONObject
    name: str
    """The name under which its parent holds it, or the empty string."""


def find_objects(document: JSONObject) -> list[SpecObject]:
    """Return all objects that are made of keywords: schemas, operations, and so on.

    Outer objects come before the objects inside them. Data is left out (examples, defaults, the
    values of an enum, extensions), and so are servers: the client's names do not depend on them.
    """
    return list(_find_in_object(document, "$", ""))


def _find_in_object(node: JSONObject, path: str, name: str) -> Iterator[SpecObject]:
    yield SpecObject(path, node, name)
    for keyword, value in node.items():
        if holds_data(keyword, value) or keyword == "servers":
            continue
        place = json_path(path, keyword)
        if place == "$.components":
            yield from _find_in_components(expect_object(value, place), place)
        elif isinstance(value, dict) and keyword in HOLDS_NAMES:
            yield from _find_in_names(keyword, value, place)
        elif isinstance(value, dict):
            yield from _find_in_object(value, place, "")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _find_in_object(item, f"{place}[{index}]", "")


def _find_in_components(components: JSONObject, path: str) -> Iterator[SpecObject]:
    for kind, members in components.items():
        if not is_extension(kind):
            place = json_path(path, kind)
            yield from _find_in_names("components", expect_object(members, place), place)


def _find_in_names(keyword: str, members: JSONObject, path: str) -> Iterator[SpecObject]:
    """Yield the objects that a keyword holds by name, and those inside them."""
    for name, member in members.items():
        if isinstance(member, dict) and not is_extension_beside_names(keyword, name):
            yield from _find_in_object(member, json_path(path, name), name)


def json_path(parent: str, name: str) -> str:
    """Return the JSONPath (RFC 9535) of a member, in ASCII."""
    if _PLAIN_NAME.fullmatch(name):
        return f"{parent}.{name}"
    return f"{parent}[{quote(name)}]"


def quote(value: str | float) -> str:
    """Return a string or a number as a literal of both JSONPath and YAML, in ASCII."""
    return json.dumps(value)


def advise_update(path: str, update: str) -> str:
    """Return the advice to add an update to the overlay, as YAML that can be copied from it."""
    return f"add to openapi/overlay.yaml: {{target: {_quote_path(path)}, update: {update}}}"


def advise_removal(path: str) -> str:
    """Return the advice to add a removal to the overlay, as YAML that can be copied from it."""
    return f"add to openapi/overlay.yaml: {{target: {_quote_path(path)}, remove: true}}"


def _quote_path(path: str) -> str:
    """Return a JSONPath as a string of YAML in single quotes."""
    doubled = path.replace("'", "''")
    return f"'{doubled}'"
