"""Says `null` in an enum in the words that the generator reads: as a choice beside the enum.

The generator makes a union of such an enum and numbers its class (`BrokerTypeType1`), so the class
of the schema's own name disappears. After this module, the enum holds no null, and each place that
used it allows null: `anyOf: [the enum, null]`.
"""

from openapi_tools.documents import Json, SpecError
from openapi_tools.enum_names import VARNAMES
from openapi_tools.objects import SpecObject, correction, find_objects, json_path

_COMPONENTS = "$.components.schemas"


def split_nullable_enums(document: Json) -> None:
    """Take null out of each enum, and allow it wherever the enum is used, in place."""
    objects = find_objects(document)
    references: set[str] = set()
    inline: list[SpecObject] = []
    for schema in objects:
        if not _has_null_and_values(schema.fields):
            continue
        if _is_component(schema):
            references.add(f"#/components/schemas/{schema.name}")
            _remove_null(schema.fields)
        else:
            inline.append(schema)
    for holder in objects:
        _allow_null_beside_reference(holder.fields, references)
    for schema in inline:
        _move_into_union(schema)


def _has_null_and_values(schema: Json) -> bool:
    values = schema.get("enum")
    if not isinstance(values, list) or values == [None]:
        return False
    return None in values or schema.get("nullable") is True


def _is_component(schema: SpecObject) -> bool:
    return schema.path == json_path(_COMPONENTS, schema.name)


def _null() -> Json:
    return {"nullable": True, "enum": [None]}


def _remove_null(schema: Json) -> None:
    values = schema["enum"]
    names = schema.get(VARNAMES)
    if isinstance(names, list) and len(names) == len(values):
        pairs = zip(names, values, strict=True)
        schema[VARNAMES] = [name for name, value in pairs if value is not None]
    schema["enum"] = [value for value in values if value is not None]
    schema.pop("nullable", None)


def _allow_null_beside_reference(holder: Json, references: set[str]) -> None:
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
    """Turn an enum that has no schema of its own into a union with null."""
    name = schema.fields.get("title") or schema.name
    if not name:
        problem = "an enum with null needs a name"
        raise SpecError(f"{schema.path}: {problem}; {correction(schema.path, '{title: NAME}')}")
    enum: Json = {"title": name}
    for keyword in ("type", "enum", VARNAMES):
        if keyword in schema.fields:
            enum[keyword] = schema.fields.pop(keyword)
    _remove_null(enum)
    schema.fields.pop("title", None)
    schema.fields.pop("nullable", None)
    schema.fields["anyOf"] = [enum, _null()]
