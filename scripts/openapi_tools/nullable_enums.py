"""Takes `null` out of each enum, and allows it beside the enum: `anyOf: [the enum, null]`.

From an enum with null among its values, the generator makes a union and numbers the class of the
enum (`BrokerTypeType1`), so the class with the schema's own name disappears. `make generate` uses
this module.
"""

from openapi_tools.enum_names import VARNAMES
from openapi_tools.json_values import JSONObject, SpecError, expect_list
from openapi_tools.objects import SpecObject, advise_update, find_objects, json_path
from openapi_tools.references import schema_reference


def split_nullable_enums(document: JSONObject) -> dict[str, str]:
    """Take null out of each enum, and allow it wherever the enum is used, in place.

    An enum that is not in `components.schemas` moves into an `anyOf`. Return the earlier path of
    each enum that moved, by its path in the changed document.
    """
    objects = find_objects(document)
    references: set[str] = set()
    inline: list[SpecObject] = []
    for schema in objects:
        if not _has_null_and_values(schema.node):
            continue
        if _is_component(schema):
            references.add(schema_reference(schema.name))
            _remove_null(schema.node, schema.path)
        else:
            inline.append(schema)
    for holder in objects:
        _allow_null_beside_reference(holder.node, references)
    earlier_paths: dict[str, str] = {}
    for schema in inline:
        _move_into_union(schema)
        earlier_paths[f"{schema.path}.anyOf[0]"] = schema.path
    return earlier_paths


def _has_null_and_values(schema: JSONObject) -> bool:
    values = schema.get("enum")
    if not isinstance(values, list) or values == [None]:
        return False
    return None in values or schema.get("nullable") is True


def _is_component(schema: SpecObject) -> bool:
    return schema.path == json_path("$.components.schemas", schema.name)


def _null() -> JSONObject:
    """Return a schema that allows nothing but null."""
    return {"nullable": True, "enum": [None]}


def _remove_null(schema: JSONObject, place: str) -> None:
    values = expect_list(schema["enum"], f"{place}.enum")
    names = schema.get(VARNAMES)
    if isinstance(names, list) and len(names) == len(values):
        pairs = zip(names, values, strict=True)
        schema[VARNAMES] = [name for name, value in pairs if value is not None]
    schema["enum"] = [value for value in values if value is not None]
    schema.pop("nullable", None)


def _allow_null_beside_reference(holder: JSONObject, references: set[str]) -> None:
    """Turn a reference to a nullable enum into a union with null."""
    reference = holder.get("$ref")
    if isinstance(reference, str) and reference in references:
        holder.clear()
        holder["anyOf"] = [{"$ref": reference}, _null()]
    # `allOf` with one reference is how OpenAPI 3.0 puts a description beside a reference.
    match holder.get("allOf"):
        case [{"$ref": str(reference)}] if reference in references:
            del holder["allOf"]
            holder.pop("nullable", None)
            holder["anyOf"] = [{"$ref": reference}, _null()]
        case _:
            pass


def _move_into_union(schema: SpecObject) -> None:
    """Turn an enum that is not in `components.schemas` into a union with null."""
    node = schema.node
    name = node.get("title") or schema.name
    if not name:
        problem = "an enum with null needs a name"
        raise SpecError(f"{schema.path}: {problem}; {advise_update(schema.path, '{title: NAME}')}")
    enum: JSONObject = {"title": name}
    for keyword in ("type", "enum", VARNAMES):
        if keyword in node:
            enum[keyword] = node.pop(keyword)
    _remove_null(enum, schema.path)
    node.pop("title", None)
    node.pop("nullable", None)
    node["anyOf"] = [enum, _null()]
