"""Components of an OpenAPI document, and the references (`$ref`) to them and to other places."""

from urllib.parse import unquote

from openapi_tools.json_values import JSON, JSONObject, SpecError, copy_object, expect_object


def components_of(document: JSONObject, kind: str) -> JSONObject:
    """Return the components of a kind, such as `schemas`, by name."""
    components = expect_object(document.get("components", {}), "components")
    return expect_object(components.get(kind, {}), f"components.{kind}")


def component_reference(kind: str, name: str) -> str:
    """Return the reference to a component; `kind` is the group that it is in."""
    escaped = name.replace("~", "~0").replace("/", "~1")
    return f"#/components/{kind}/{escaped}"


def schema_reference(name: str) -> str:
    """Return the reference to a schema."""
    return component_reference("schemas", name)


def schema_name(reference: str) -> str | None:
    """Return the name of the schema that a reference names, or None.

    A reference into a part of a schema names none.
    """
    if not reference.startswith("#"):
        return None
    match pointer_parts(reference):
        case ["components", "schemas", name]:
            return name
        case _:
            return None


def is_part_of_schema(reference: str) -> bool:
    """Return True if a reference points into a schema: to a property of it, for example."""
    return reference.startswith("#") and pointer_parts(reference)[:2] == ["components", "schemas"]


def resolve(document: JSONObject, reference: str, place: str) -> JSONObject:
    """Return a copy of the object that a reference points to.

    `place` is where the reference stands, for the message of a SpecError.
    """
    target = find_target(document, reference, place)
    return copy_object(target, f"{place}: '{reference}'")


def find_target(document: JSONObject, reference: str, place: str) -> JSON:
    """Return the value itself that a reference points to."""
    if not reference.startswith("#"):
        raise SpecError(
            f"{place}: '{reference}' is in another document: only references within this document"
            " (#/…) can be imported"
        )
    target: JSON = document
    for part in pointer_parts(reference):
        target = _member(target, part, f"{place}: there is nothing at '{reference}'")
    return target


def pointer_parts(reference: str) -> list[str]:
    """Return the decoded parts of a JSON Pointer in a URI fragment (RFC 6901, section 6)."""
    pointer = unquote(reference.removeprefix("#"))
    if not pointer:
        return []
    parts = pointer.removeprefix("/").split("/")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def _member(value: JSON, part: str, refusal: str) -> JSON:
    if isinstance(value, dict) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    raise SpecError(f"{refusal}: '{part}' is missing")
