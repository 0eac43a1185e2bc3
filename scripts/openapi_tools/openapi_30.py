"""Translates one object of an OpenAPI document, 3.0 or 3.1, to OpenAPI 3.0, and simplifies it.

`simplify` sees one object at a time; the objects inside it have been simplified before. The
importer (`make spec`) uses it.
"""

from collections.abc import Callable
from typing import TypeGuard

from openapi_tools.json_values import JSON, JSONObject, items

DROPPED_IF_EMPTY = frozenset(
    {
        "content",
        "deprecated",
        "examples",
        "headers",
        "nullable",
        "properties",
        "readOnly",
        "required",
        "responses",
    }
)
"""Keywords that say nothing when their value is false, null, or empty."""

# The keywords that a schema may have in OpenAPI 3.0.
_SCHEMA_KEYWORDS = frozenset(
    {
        *("$ref", "additionalProperties", "allOf", "anyOf", "default", "deprecated", "description"),
        *("discriminator", "enum", "example", "exclusiveMaximum", "exclusiveMinimum"),
        *("externalDocs", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum"),
        *("minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "nullable"),
        *("oneOf", "pattern", "properties", "readOnly", "required", "title", "type"),
        *("uniqueItems", "writeOnly", "xml"),
    }
)
# Keywords of OpenAPI 3.1 that change what a schema allows or refers to, and that OpenAPI 3.0 cannot
# express. A document with one of them is refused.
_REFUSED_KEYWORDS = frozenset(
    {
        *("$anchor", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor"),
        *("$recursiveRef", "$schema", "$vocabulary", "contains", "contentSchema", "definitions"),
        *("dependencies", "dependentRequired", "dependentSchemas", "else", "if", "maxContains"),
        *("minContains", "patternProperties", "then", "unevaluatedItems", "unevaluatedProperties"),
    }
)


def allow_null(node: JSONObject) -> JSONObject:
    """Return an object where `nullable` stands for each alternative that is `type: 'null'`."""
    node = dict(node)
    for keyword in ("anyOf", "oneOf"):
        alternatives = node.get(keyword)
        if isinstance(alternatives, list) and {"type": "null"} in alternatives:
            node["nullable"] = True
            node[keyword] = [other for other in alternatives if other != {"type": "null"}]
    return node


def simplify(node: JSONObject, place: str) -> JSONObject:
    """Return an object as OpenAPI 3.0 writes it; `place` is where it is in the document."""
    node = _without_empty_keywords(node)
    _simplify_type(node)
    for keyword in ("anyOf", "oneOf"):
        _simplify_alternatives(node, keyword, place)
    _simplify_constant(node)
    _simplify_limit(node, "minimum", "exclusiveMinimum", stricter=max)
    _simplify_limit(node, "maximum", "exclusiveMaximum", stricter=min)
    _sort_required(node)
    _simplify_examples(node)
    _simplify_encoding(node)
    _simplify_tuple(node)
    return _unwrap(node)


def _without_empty_keywords(node: JSONObject) -> JSONObject:
    return {
        keyword: value
        for keyword, value in node.items()
        if value or keyword not in DROPPED_IF_EMPTY
    }


def _simplify_type(node: JSONObject) -> None:
    """Write a type that may be null as `nullable`, and a list of one type as that type."""
    types = node.get("type")
    if types in ("null", ["null"]):
        del node["type"]
        node["enum"] = [None]
    if not isinstance(types, list):
        return
    others = [kind for kind in types if kind != "null"]
    if len(others) < len(types):
        node["nullable"] = True
    if len(others) == 1:
        node["type"] = others[0]
    elif others:
        node["type"] = others


def _simplify_alternatives(node: JSONObject, keyword: str, place: str) -> None:
    """Write a lone alternative as `allOf`."""
    alternatives = node.get(keyword)
    if isinstance(alternatives, list) and len(alternatives) == 1:
        every = items(node.get("allOf", []), f"{place}.allOf")
        node["allOf"] = [*every, *alternatives]
        del node[keyword]


def _simplify_constant(node: JSONObject) -> None:
    """Write a constant as an enum of one value, and null among the values as `nullable`."""
    if "const" in node:
        node["enum"] = [node.pop("const")]
    values = node.get("enum")
    if isinstance(values, list) and None in values:
        node["nullable"] = True
        others: list[JSON] = [value for value in values if value is not None]
        # An enum must have a value: a schema that allows nothing but null keeps it.
        node["enum"] = others or [None]


def _simplify_limit(
    node: JSONObject, keyword: str, exclusive: str, stricter: Callable[[float, float], float]
) -> None:
    """Write a limit that is itself excluded as OpenAPI 3.0 does: with two keywords."""
    excluded = node.get(exclusive)
    included = node.get(keyword)
    if not _is_number(excluded):
        return
    if _is_number(included) and stricter(included, excluded) != excluded:
        del node[exclusive]  # the other limit already excludes it
        return
    node[keyword] = excluded
    node[exclusive] = True


def _is_number(value: JSON) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sort_required(node: JSONObject) -> None:
    required = node.get("required")
    if isinstance(required, list):
        names: list[JSON] = []
        for name in sorted(required, key=str):
            if name not in names:
                names.append(name)
        node["required"] = names


def _simplify_tuple(node: JSONObject) -> None:
    """Write an array with a schema for each position as an array of any of these schemas.

    OpenAPI 3.0 cannot express which position has which: that is carried as an extension.
    """
    positions = node.get("prefixItems")
    if not isinstance(positions, list):
        return
    node["x-prefixItems"] = node.pop("prefixItems")
    others = node.get("items", {})
    most = node.get("maxItems")
    schemas = list(positions)
    if others is not False and not (isinstance(most, int) and most <= len(positions)):
        schemas.append(others)  # the array may be longer than there are positions
    alternatives: list[JSON] = []
    for schema in schemas:
        if schema not in alternatives:
            alternatives.append(schema)
    if {} in alternatives or True in alternatives:
        node["items"] = {}
    elif len(alternatives) == 1:
        node["items"] = alternatives[0]
    else:
        node["items"] = {"anyOf": alternatives}


def _simplify_examples(node: JSONObject) -> None:
    """Write a lone example as `example`."""
    match node.get("examples"):
        case [value]:
            del node["examples"]
            node["example"] = value
        case {"example": {"value": value, **more}, **rest} if not more and not rest:
            del node["examples"]
            node["example"] = value
        case _:
            pass


def _simplify_encoding(node: JSONObject) -> None:
    """Write binary and base64 content as a `format`."""
    if "format" in node:
        return
    if node.get("contentEncoding") == "base64":
        del node["contentEncoding"]
        node["format"] = "byte"
    elif node.get("contentMediaType") == "application/octet-stream":
        del node["contentMediaType"]
        node["format"] = "binary"


def rename_unknown_keywords(node: JSONObject) -> JSONObject:
    """Return a schema whose keywords that OpenAPI 3.0 does not know are extensions.

    OpenAPI 3.1 allows any keyword in a schema. Those that its standard does not define only
    annotate, and so do some that it defines (`examples`, for one): a client that does not know them
    still reads every answer.
    """
    renamed: JSONObject = {}
    for keyword, value in node.items():
        if keyword in _SCHEMA_KEYWORDS or keyword in _REFUSED_KEYWORDS or keyword.startswith("x-"):
            renamed[keyword] = value
        else:
            renamed[f"x-{keyword}"] = value
    return renamed


def _unwrap(node: JSONObject) -> JSONObject:
    """Return the only schema of an `allOf` that has nothing beside it."""
    match node:
        case {"allOf": [dict() as only]} if len(node) == 1:
            return only
        case _:
            return node
