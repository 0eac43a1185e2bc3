"""Refuses a document in which two things would get one name in the generated package.

The generator lets one of them replace the other, or gives a name that it made up, often silently.
Each refusal says which action to add to the overlay. `make generate` uses this module.
"""

import unicodedata
from collections.abc import Mapping

from openapi_python_client.parser.openapi import generate_operation_id
from openapi_python_client.schema.untrusted_string import UntrustedString
from openapi_python_client.strings import ClassName, PythonIdentifier, sanitize

from openapi_tools.json_values import JSON, JSONObject, SpecError, expect_object, expect_text
from openapi_tools.objects import (
    SpecObject,
    advise_removal,
    advise_update,
    find_objects,
    json_path,
)
from openapi_tools.operations import operation_at, operations_of
from openapi_tools.references import components_of, schema_name

_Schemas = Mapping[str, JSONObject]

# What the generator puts before a name that is not a valid identifier.
_FIELD_PREFIX = "field_"
_TAG_PREFIX = "tag"

_MAX_FILE_NAME = 255
"""How many bytes a file's name may have: each class, and each function, has a file of its own."""

# What the generated modules import: a class with such a name would take its place.
_IMPORTED_CLASSES = frozenset(
    {
        "Any",
        "AuthenticatedClient",
        "BinaryIO",
        "BytesIO",
        "Client",
        "File",
        "FileTypes",
        "Generator",
        "HTTPStatus",
        "Literal",
        "Mapping",
        "RequestFiles",
        "Response",
        "T",
        "TextIO",
        "TypeVar",
        "UNSET",
        "UUID",
        "Unset",
    }
)
# What the methods of a generated model are called, and the variables in them.
_NAMES_WITHIN_MODELS = frozenset(
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


def check_names(document: JSONObject) -> None:
    """Raise SpecError where a class, an attribute or a function would have no name of its own."""
    schemas = _schemas_of(document)
    _check_classes(schemas)
    for schema in find_objects(document):
        _check_attributes(schema, schemas)
        _check_alternatives(schema)
    _check_functions(document)


def _schemas_of(document: JSONObject) -> _Schemas:
    schemas = components_of(document, "schemas")
    checked: dict[str, JSONObject] = {}
    for name, schema in schemas.items():
        checked[name] = expect_object(schema, f"components.schemas.{name}")
    return checked


def _check_classes(schemas: _Schemas) -> None:
    taken: dict[str, str] = {}
    for name, schema in schemas.items():
        if not _makes_class(schema):
            continue
        path, title = _place_and_title(json_path("$.components.schemas", name), name, schema)
        class_name = ClassName(title, _FIELD_PREFIX)
        # Each class has a module of its own. Two classes, such as FOOBar and FooBar, collide too if
        # their modules have the same name.
        module = _normalised(PythonIdentifier(class_name, _FIELD_PREFIX))
        problem = ""
        if not _leaves_a_name(title):
            problem = f"{title!a} gives no name for a class"
        elif _is_too_long(module):
            problem = f"{title!a:.60}… gives a name that is too long for a file"
        elif class_name in _IMPORTED_CLASSES:
            problem = f"the generated code has a {class_name} of its own"
        elif module in taken:
            problem = f"{taken[module]!a} and {name!a} would both be in the module {module}"
        if problem:
            raise SpecError(f"{path}: {problem}; {advise_update(path, '{title: NAME}')}")
        taken[module] = name


def _place_and_title(path: str, name: str, schema: JSONObject) -> tuple[str, str]:
    """Return the place of the schema that becomes a class, and the text that names the class.

    Of an array without an `enum`, the items become a class. The title of the array itself has no
    effect then.
    """
    while schema.get("type") == "array" and "enum" not in schema:
        path = f"{path}.items"
        name = f"{name}_item"
        schema = expect_object(schema["items"], path)
    return path, expect_text(schema.get("title") or name, f"{path}.title")


def _check_attributes(schema: SpecObject, schemas: _Schemas) -> None:
    taken: dict[str, str] = {}
    for name, path in _properties_of(schema.node, schema.path, schemas, ()).items():
        attribute = _normalised(PythonIdentifier(name, _FIELD_PREFIX))
        problem = ""
        if not _leaves_a_name(name):
            problem = f"{name!a} gives no name for an attribute"
        elif attribute in _NAMES_WITHIN_MODELS:
            problem = f"the generated class has a name {attribute} of its own"
        elif attribute in taken:
            problem = f"{taken[attribute]!a} and {name!a} would both be the attribute {attribute}"
        if problem:
            raise SpecError(f"{path}: {problem}; {advise_removal(path)}")
        taken[attribute] = name


def _properties_of(
    schema: JSONObject, path: str, schemas: _Schemas, seen: tuple[str, ...]
) -> dict[str, str]:
    """Return the path of each property of a model, by its name.

    The properties of the schemas in its `allOf` are the model's too. `seen` has the names of the
    schemas that led here, because a schema may include itself.
    """
    properties: dict[str, str] = {}
    own = schema.get("properties")
    if isinstance(own, dict):
        for name in own:
            properties[name] = json_path(f"{path}.properties", name)
    for index, part in _list_schemas(schema.get("allOf")):
        if "$ref" not in part:
            properties |= _properties_of(part, f"{path}.allOf[{index}]", schemas, seen)
            continue
        name = schema_name(str(part["$ref"])) or ""
        if name in schemas and name not in seen:
            place = json_path("$.components.schemas", name)
            properties |= _properties_of(schemas[name], place, schemas, (*seen, name))
    return properties


def _check_alternatives(schema: SpecObject) -> None:
    """Refuse a class that would be numbered by its position among alternatives."""
    for keyword in ("anyOf", "oneOf"):
        for index, alternative in _list_schemas(schema.node.get(keyword)):
            title = alternative.get("title")
            has_own_title = title and title != schema.node.get("title")
            if has_own_title or _has_titled_items(alternative):
                continue
            if _makes_class(alternative):
                path = f"{schema.path}.{keyword}[{index}]"
                problem = "its class would be named by its position"
                raise SpecError(f"{path}: {problem}; {advise_update(path, '{title: NAME}')}")


def _has_titled_items(schema: JSONObject) -> bool:
    """Return True if a schema is an array whose items have a title, which names their class."""
    items: JSON = schema
    while isinstance(items, dict) and items.get("type") == "array":
        items = items.get("items")
    return items is not schema and isinstance(items, dict) and bool(items.get("title"))


def _makes_class(schema: JSONObject) -> bool:
    """Return True if the generator makes a class of a schema, or of the items of an array."""
    kind = schema.get("type")
    if "$ref" in schema or kind == "boolean":
        return False
    if "enum" in schema:
        return schema["enum"] != [None]
    if kind == "array":
        items = schema.get("items")
        return isinstance(items, dict) and _makes_class(items)
    parts = [part for _, part in _list_schemas(schema.get("allOf"))]
    is_alias = len(parts) == 1 and "$ref" in parts[0]
    if parts and not is_alias:
        return True
    return kind == "object" or (not kind and "properties" in schema)


def _list_schemas(value: JSON) -> list[tuple[int, JSONObject]]:
    """Return the schemas of `allOf`, `anyOf` or `oneOf`, each with its index."""
    schemas: list[tuple[int, JSONObject]] = []
    if isinstance(value, list):
        for index, schema in enumerate(value):
            schemas.append((index, expect_object(schema, f"[{index}]")))
    return schemas


def _check_functions(document: JSONObject) -> None:
    taken: dict[tuple[str, str], str] = {}
    for operation, (path, method) in operations_of(document).items():
        node = operation_at(document, path, method)
        place = json_path(json_path("$.paths", path), method)
        tag = _first_tag(node, place)
        operation_id = _find_operation_id(node, path, method, place)
        module = _normalised(PythonIdentifier(tag, _TAG_PREFIX))
        function = _normalised(PythonIdentifier(operation_id, _FIELD_PREFIX))
        problem = ""
        if not _leaves_a_name(operation_id):
            problem = f"the operationId {operation_id!a} gives no name for a function"
        elif _is_too_long(function):
            problem = f"the operationId {operation_id!a:.60}… is too long for the name of a file"
        elif (module, function) in taken:
            other = taken[module, function]
            problem = f"{other} and {operation} would both be the function {module}.{function}"
        if problem:
            raise SpecError(f"{place}: {problem}; {advise_update(place, '{operationId: NAME}')}")
        taken[module, function] = operation


def _find_operation_id(operation: JSONObject, path: str, method: str, place: str) -> str:
    """Return the text that names the function of an operation; `place` is for an error message."""
    if "operationId" in operation:
        return expect_text(operation["operationId"], f"{place}.operationId")
    return generate_operation_id(path=UntrustedString(path), method=method, prefix=_FIELD_PREFIX)


def _first_tag(operation: JSONObject, place: str) -> str:
    """Return the tag that names the module of an operation, or raise SpecError."""
    tags = operation.get("tags")
    if not isinstance(tags, list) or not tags:
        return "default"
    place = f"{place}.tags"
    tag = expect_text(tags[0], place)
    if not _leaves_a_name(tag):
        raise SpecError(
            f"{place}: the tag {tag!a} gives no name for a module; {advise_removal(place)}"
        )
    if _is_too_long(PythonIdentifier(tag, _TAG_PREFIX)):
        problem = f"the tag {tag!a:.60}… is too long for the name of a folder"
        raise SpecError(f"{place}: {problem}; {advise_removal(place)}")
    return tag


def _leaves_a_name(name: str) -> bool:
    """Return True if a name has a letter or a digit that the generator keeps."""
    return any(character.isalnum() for character in sanitize(name))


def _is_too_long(name: str) -> bool:
    """Return True if a name is too long for the name of a file."""
    return len(f"{name}.py".encode()) > _MAX_FILE_NAME


def _normalised(identifier: str) -> str:
    """Return an identifier as Python reads it."""
    return unicodedata.normalize("NFKC", identifier)
