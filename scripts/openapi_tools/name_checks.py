"""Refuses a document in which two things would get one name in the generated package.

The generator lets one of them replace the other, or gives a name that it made up, often without a
word. Each refusal says which action to add to the overlay.
"""

import unicodedata

from openapi_python_client.strings import ClassName, PythonIdentifier, sanitize

from openapi_tools.canonical_form import operations_of
from openapi_tools.documents import Json, SpecError
from openapi_tools.objects import (
    SpecObject,
    correction,
    find_objects,
    json_path,
    removal,
)

# How the generator begins a name that would not be a name otherwise.
_FIELD_PREFIX = "field_"
_TAG_PREFIX = "tag"

# What the generated modules import: a class with such a name would take its place.
_IMPORTED_CLASSES = frozenset(
    {
        "Any",
        "AuthenticatedClient",
        "BinaryIO",
        "Client",
        "File",
        "FileTypes",
        "Generator",
        "HTTPStatus",
        "Mapping",
        "RequestFiles",
        "Response",
        "T",
        "TextIO",
        "TypeVar",
        "UNSET",
        "Unset",
    }
)
# What the methods of a generated model are called, and the variables in them.
_MODEL_NAMES = frozenset(
    {
        "additional_keys",
        "additional_properties",
        "cast",
        "cls",
        "d",
        "field_dict",
        "files",
        "from_dict",
        "json",
        "prop",
        "prop_dict",
        "prop_name",
        "src_dict",
        "to_dict",
        "to_multipart",
        "types",
    }
)


def check_names(document: Json) -> None:
    """Raise SpecError where a class, an attribute or a function would have no name of its own."""
    objects = find_objects(document)
    _check_classes(document)
    for schema in objects:
        _check_attributes(schema, document)
        _check_alternatives(schema)
    _check_functions(document)


def _check_classes(document: Json) -> None:
    taken: dict[str, str] = {}
    for name, schema in _schemas_of(document).items():
        if not _makes_class(schema):
            continue
        path = json_path("$.components.schemas", name)
        title = schema.get("title") or name
        class_name = ClassName(title, _FIELD_PREFIX)
        # Two classes in one module are one too many as well.
        module = _normalised(PythonIdentifier(class_name, _FIELD_PREFIX))
        problem = ""
        if not _has_letters(title):
            problem = f"{title!a} gives no name for a class"
        elif class_name in _IMPORTED_CLASSES:
            problem = f"the generated code has a {class_name} of its own"
        elif module in taken:
            problem = f"{taken[module]!a} and {name!a} would both be the class {class_name}"
        if problem:
            raise SpecError(f"{path}: {problem}; {correction(path, '{title: NAME}')}")
        taken[module] = name


def _check_attributes(schema: SpecObject, document: Json) -> None:
    taken: dict[str, str] = {}
    for name, path in _properties_of(schema.fields, schema.path, document, ()).items():
        attribute = _normalised(PythonIdentifier(name, _FIELD_PREFIX))
        problem = ""
        if not _has_letters(name):
            problem = f"{name!a} gives no name for an attribute"
        elif attribute in _MODEL_NAMES:
            problem = f"the generated class has a name {attribute} of its own"
        elif attribute in taken:
            problem = f"{taken[attribute]!a} and {name!a} would both be the attribute {attribute}"
        if problem:
            raise SpecError(f"{path}: {problem}; {removal(path)}")
        taken[attribute] = name


def _properties_of(
    schema: Json, path: str, document: Json, seen: tuple[str, ...]
) -> dict[str, str]:
    """Return the properties of a model, and of all that it is made of, with their paths."""
    properties: dict[str, str] = {}
    own = schema.get("properties")
    if isinstance(own, dict):
        for name in own:
            properties[name] = json_path(f"{path}.properties", name)
    parts = schema.get("allOf")
    for index, part in enumerate(parts if isinstance(parts, list) else []):
        reference = str(part.get("$ref", ""))
        name = reference.removeprefix("#/components/schemas/")
        if not reference:
            inner = _properties_of(part, f"{path}.allOf[{index}]", document, seen)
        elif name in seen or name not in _schemas_of(document):
            continue
        else:
            place = json_path("$.components.schemas", name)
            inner = _properties_of(_schemas_of(document)[name], place, document, (*seen, name))
        properties |= inner
    return properties


def _check_alternatives(schema: SpecObject) -> None:
    """Refuse a class that would be numbered by its position among alternatives."""
    for keyword in ("anyOf", "oneOf"):
        alternatives = schema.fields.get(keyword)
        for index, alternative in enumerate(alternatives if isinstance(alternatives, list) else []):
            title = alternative.get("title")
            has_own_title = title and title != schema.fields.get("title")
            if _makes_class(alternative) and not has_own_title:
                path = f"{schema.path}.{keyword}[{index}]"
                problem = "its class would be named by its position"
                raise SpecError(f"{path}: {problem}; {correction(path, '{title: NAME}')}")


def _makes_class(schema: Json) -> bool:
    """Return True if the generator makes a class of a schema, or of the items of an array."""
    kind = schema.get("type")
    if "$ref" in schema or kind == "boolean":
        return False
    if "enum" in schema:
        is_null: bool = schema["enum"] == [None]
        return not is_null
    if kind == "array":
        items = schema.get("items")
        return isinstance(items, dict) and _makes_class(items)
    parts = schema.get("allOf", [])
    is_alias = len(parts) == 1 and "$ref" in parts[0]
    return (
        kind == "object" or (bool(parts) and not is_alias) or (not kind and "properties" in schema)
    )


def _check_functions(document: Json) -> None:
    taken: dict[tuple[str, str], str] = {}
    for operation, (path, method) in operations_of(document).items():
        fields = document["paths"][path][method]
        place = json_path(json_path("$.paths", path), method)
        tags = fields.get("tags") or ["default"]
        operation_id = fields.get("operationId") or f"{method}_{path}"
        module = _normalised(PythonIdentifier(tags[0], _TAG_PREFIX))
        function = _normalised(PythonIdentifier(operation_id, _FIELD_PREFIX))
        update = "{operationId: NAME}"
        problem = ""
        if not _has_letters(tags[0]):
            problem = f"the tag {tags[0]!a} gives no name for a module"
            place = f"{place}.tags"
            raise SpecError(f"{place}: {problem}; {removal(place)}")
        if not _has_letters(operation_id):
            problem = f"the operationId {operation_id!a} gives no name for a function"
        elif (module, function) in taken:
            other = taken[module, function]
            problem = f"{other} and {operation} would both be the function {module}.{function}"
        if problem:
            raise SpecError(f"{place}: {problem}; {correction(place, update)}")
        taken[module, function] = operation


def _schemas_of(document: Json) -> dict[str, Json]:
    schemas: dict[str, Json] = document.get("components", {}).get("schemas", {})
    return schemas


def _has_letters(name: str) -> bool:
    """Return True if something of a name is left in Python."""
    return any(character.isalnum() for character in sanitize(name))


def _normalised(identifier: str) -> str:
    """Return an identifier as Python reads it."""
    return unicodedata.normalize("NFKC", identifier)
