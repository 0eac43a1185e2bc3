"""Translates one object of an OpenAPI document, 3.0 or 3.1, to OpenAPI 3.0, and simplifies it.

These functions do not descend. The caller, which is the importer (`make spec`), first calls
`replace_null_alternatives` on an object, then translates the objects inside it, and then calls the
other functions.
"""

from collections.abc import Callable
from typing import TypeGuard

from openapi_tools.json_values import JSON, JSONObject, SpecError, copy_objects, to_text
from openapi_tools.keywords import is_extension

# Keywords that say nothing when their value is false, null, or empty.
_DROPPED_IF_EMPTY = frozenset(
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
# Other keywords that say nothing when their value is false. Only false itself counts: in OpenAPI
# 3.1, the 0 of `exclusiveMinimum: 0` is a limit.
_DROPPED_IF_FALSE = frozenset(
    {
        "allowEmptyValue",
        "allowReserved",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "uniqueItems",
        "writeOnly",
    }
)
# The keywords that a schema may have in OpenAPI 3.0.
_SCHEMA_KEYWORDS = frozenset(
    {
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "default",
        "deprecated",
        "description",
        "discriminator",
        "enum",
        "example",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "externalDocs",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "nullable",
        "oneOf",
        "pattern",
        "properties",
        "readOnly",
        "required",
        "title",
        "type",
        "uniqueItems",
        "writeOnly",
        "xml",
    }
)
# Keywords of OpenAPI 3.1 that change what a schema allows or refers to, and that OpenAPI 3.0 cannot
# express. A document with one of them is refused.
_REFUSED_KEYWORDS = frozenset(
    {
        "$anchor",
        "$defs",
        "$dynamicAnchor",
        "$dynamicRef",
        "$id",
        "$recursiveAnchor",
        "$recursiveRef",
        "$schema",
        "$vocabulary",
        "contains",
        "contentSchema",
        "definitions",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxContains",
        "minContains",
        "patternProperties",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)


def replace_null_alternatives(node: JSONObject) -> JSONObject:
    """Return an object with `nullable` in place of the alternatives that are `type: 'null'`.

    If null is the only alternative, it stays: `to_openapi_30` writes it as OpenAPI 3.0 does. Call
    this function before the alternatives are translated: afterwards they no longer have
    `type: 'null'`.

    Read strictly, OpenAPI 3.0 does not allow null in the result, because null still has to pass one
    of the other alternatives. But Mesh's OpenAPI 3.0 uses this form for a nullable value, and all
    sources must give the same spec. openapi/overlay.yaml corrects the form where a call depends on
    it.
    """
    node = dict(node)
    for keyword in ("anyOf", "oneOf"):
        alternatives = node.get(keyword)
        if isinstance(alternatives, list) and {"type": "null"} in alternatives:
            others = [each for each in alternatives if each != {"type": "null"}]
            if others:
                node["nullable"] = True
                node[keyword] = others
            else:
                node[keyword] = [{"type": "null"}]
    return node


def to_openapi_30(node: JSONObject, place: str) -> JSONObject:
    """Return an object as OpenAPI 3.0 writes it.

    An `allOf` with one schema stays: `unwrap` replaces it. `place` says where the object is in the
    document. Raise SpecError if `allOf` holds anything but a list of objects, or if `x-prefixItems`
    stands beside `prefixItems`.
    """
    node = _without_keywords_that_say_nothing(node)
    _simplify_type(node)
    for keyword in ("anyOf", "oneOf"):
        _simplify_alternatives(node, keyword, place)
    _replace_constant(node)
    _simplify_enum(node)
    _simplify_limit(node, "minimum", "exclusiveMinimum", stricter=max)
    _simplify_limit(node, "maximum", "exclusiveMaximum", stricter=min)
    _sort_required(node)
    _simplify_examples(node)
    _simplify_encoding(node)
    _replace_prefix_items(node, place)
    return node


def _without_keywords_that_say_nothing(node: JSONObject) -> JSONObject:
    kept: JSONObject = {}
    for keyword, value in node.items():
        if keyword in _DROPPED_IF_EMPTY and not value:
            continue
        if keyword in _DROPPED_IF_FALSE and value is False:
            continue
        kept[keyword] = value
    return kept


def _simplify_type(node: JSONObject) -> None:
    """Write a type that may be null as `nullable`, and a list of one type as that type.

    Read strictly, OpenAPI 3.1 forbids null if `type` lists it but an `enum` beside `type` does not.
    But a source that names null as a type means to allow it, so the schema becomes nullable even
    then.
    """
    types = node.get("type")
    if types in ("null", ["null"]):
        # OpenAPI 3.0 has no type for null alone.
        del node["type"]
        node["enum"] = [None]
        node["nullable"] = True
        return
    if not isinstance(types, list):
        return
    others = [kind for kind in types if kind != "null"]
    if len(others) < len(types):
        node["nullable"] = True
    if len(others) == 1:
        node["type"] = others[0]
    else:
        node["type"] = others


def _simplify_alternatives(node: JSONObject, keyword: str, place: str) -> None:
    """Write a lone alternative as `allOf`."""
    alternatives = node.get(keyword)
    if isinstance(alternatives, list) and len(alternatives) == 1:
        schemas = copy_objects(node.get("allOf", []), f"{place}.allOf")
        node["allOf"] = [*schemas, *alternatives]
        del node[keyword]


def _replace_constant(node: JSONObject) -> None:
    """Write `const` as an enum of one value."""
    if "const" in node:
        node["enum"] = [node.pop("const")]


def _simplify_enum(node: JSONObject) -> None:
    """Write null among the values of an enum as `nullable`."""
    values = node.get("enum")
    if isinstance(values, list) and None in values:
        node["nullable"] = True
        others: list[JSON] = [value for value in values if value is not None]
        # An enum must have a value: a schema that allows nothing but null keeps it.
        node["enum"] = others or [None]


def _simplify_limit(
    node: JSONObject, keyword: str, exclusive: str, stricter: Callable[[float, float], float]
) -> None:
    """Write a numeric `exclusiveMinimum` as `minimum` with `exclusiveMinimum: true`.

    The same goes for maximums: `keyword` and `exclusive` are the two keywords, and `stricter` picks
    the stricter one of two limits. If a schema has both keywords, the stricter limit stays.
    """
    exclusive_limit = node.get(exclusive)
    limit = node.get(keyword)
    if not _is_number(exclusive_limit):
        return
    if _is_number(limit) and stricter(limit, exclusive_limit) != exclusive_limit:
        del node[exclusive]
        return
    node[keyword] = exclusive_limit
    node[exclusive] = True


def _is_number(value: JSON) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sort_required(node: JSONObject) -> None:
    """Sort the required names, and drop those that are repeated."""
    required = node.get("required")
    if isinstance(required, list):
        node["required"] = _without_repetitions(sorted(required, key=str))


def _without_repetitions(values: list[JSON]) -> list[JSON]:
    """Return the values in their order, each once."""
    unique: dict[str, JSON] = {}
    for value in values:
        unique.setdefault(to_text(value), value)
    return list(unique.values())


def _replace_prefix_items(node: JSONObject, place: str) -> None:
    """Write an array with a schema for each position as an array of any of these schemas.

    OpenAPI 3.0 cannot express which schema belongs to which position, so `prefixItems` is carried
    as an extension.
    """
    positions = node.get("prefixItems")
    if not isinstance(positions, list):
        return
    _add_extension(node, "prefixItems", node.pop("prefixItems"), place)
    schemas = list(positions)
    schema_of_the_rest = node.get("items", {})
    if schema_of_the_rest is not False and not _is_at_most(node.get("maxItems"), len(positions)):
        schemas.append(schema_of_the_rest)
    alternatives = _without_repetitions(schemas)
    if {} in alternatives or True in alternatives:
        node["items"] = {}
    elif len(alternatives) == 1:
        node["items"] = alternatives[0]
    else:
        node["items"] = {"anyOf": alternatives}


def _is_at_most(value: JSON, limit: int) -> bool:
    return isinstance(value, int) and value <= limit


def _simplify_examples(node: JSONObject) -> None:
    """Write a lone example as `example`, unless there is another `example` already.

    In a schema, `examples` is a list. In a media type, it is an object, and a lone example is only
    replaced if it is named `example` and has nothing but a value.
    """
    examples = node.get("examples")
    if isinstance(examples, list) and len(examples) == 1:
        _replace_examples(node, examples[0])
    elif isinstance(examples, dict) and list(examples) == ["example"]:
        example = examples["example"]
        if isinstance(example, dict) and list(example) == ["value"]:
            _replace_examples(node, example["value"])


def _replace_examples(node: JSONObject, example: JSON) -> None:
    """Replace `examples` by the only example in it. Keep both if `example` has another value."""
    if "example" in node and to_text(node["example"]) != to_text(example):
        return
    del node["examples"]
    node["example"] = example


def _simplify_encoding(node: JSONObject) -> None:
    """Write binary and base64 content as a `format`.

    OpenAPI 3.0 has no format for other encodings, such as base64url, so they stay as they are.
    """
    if "format" in node:
        return
    if node.get("contentEncoding") == "base64":
        del node["contentEncoding"]
        node["format"] = "byte"
    elif "contentEncoding" in node:
        return
    elif node.get("contentMediaType") == "application/octet-stream":
        del node["contentMediaType"]
        node["format"] = "binary"


def rename_unknown_keywords(node: JSONObject, place: str) -> JSONObject:
    """Return a schema in which keywords that OpenAPI 3.0 does not know become extensions (`x-…`).

    There are two sorts of these keywords. Some are not defined by OpenAPI 3.1 either, which allows
    them as annotations: `embed`, for example. Others are defined by it, but a client can read every
    answer without them: `examples`, for example.

    The keywords in _REFUSED_KEYWORDS keep their names, so that validation refuses them.

    Raise SpecError if an extension of the same name is there already, with another value.
    """
    renamed: JSONObject = {}
    unknown: JSONObject = {}
    for keyword, value in node.items():
        if keyword in _SCHEMA_KEYWORDS or keyword in _REFUSED_KEYWORDS or is_extension(keyword):
            renamed[keyword] = value
        else:
            unknown[keyword] = value
    for keyword, value in unknown.items():
        _add_extension(renamed, keyword, value, place)
    return renamed


def _add_extension(node: JSONObject, keyword: str, value: JSON, place: str) -> None:
    """Add the value of a keyword to a schema as an extension.

    Raise SpecError if the extension is there already, with another value.
    """
    extension = f"x-{keyword}"
    if extension in node and to_text(node[extension]) != to_text(value):
        raise SpecError(
            f"{place}: OpenAPI 3.0 has no '{keyword}', which is carried as '{extension}', but the"
            f" source has an '{extension}' of its own there: remove one of the two from the source"
        )
    node[extension] = value


def unwrap(node: JSONObject) -> JSONObject:
    """Return the only schema of an `allOf`, if the object has nothing but this `allOf`.

    Return any other object itself.
    """
    schemas = node.get("allOf")
    if len(node) > 1 or not isinstance(schemas, list) or len(schemas) != 1:
        return node
    if not isinstance(schemas[0], dict):
        return node  # validation refuses it
    return schemas[0]
