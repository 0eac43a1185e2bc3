"""Which keywords of OpenAPI hold names, and which hold data: the rest hold keywords again.

Whatever walks through a document needs to know: `enum` is a keyword in a schema, but may be the
name of a property, or a key of an example.
"""

from openapi_tools.json_values import JSON

HOLDS_NAMES = frozenset(
    {
        "callbacks",
        "content",
        "encoding",
        "examples",
        "headers",
        "links",
        "parameters",
        "paths",
        "patternProperties",
        "properties",
        "requestBodies",
        "responses",
        "schemas",
        "scopes",
        "securitySchemes",
        "variables",
    }
)
"""The values of these keywords are objects whose keys are names, not keywords."""

HOLDS_SCHEMAS = frozenset(
    {
        "additionalProperties",
        "allOf",
        "anyOf",
        "items",
        "not",
        "oneOf",
        "prefixItems",
        "properties",
        "propertyNames",
        "schema",
    }
)
"""The values of these keywords are schemas, or lists or objects of schemas."""

_HOLDS_DATA = frozenset({"const", "default", "enum", "example", "value"})


def holds_data(keyword: str, value: JSON) -> bool:
    """Return True if the value of a keyword is data, such as that of an extension."""
    if keyword in _HOLDS_DATA or is_extension(keyword):
        return True
    return keyword == "examples" and isinstance(value, list)  # those of a schema


def is_extension_beside_names(keyword: str, name: str) -> bool:
    """Return True if a key that `keyword` holds beside names is an extension."""
    return keyword in {"paths", "responses"} and is_extension(name)


def is_extension(keyword: str) -> bool:
    """Return True if a keyword is an extension, whose value may be anything."""
    return keyword.startswith("x-")
