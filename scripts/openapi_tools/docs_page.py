"""Reads a docs page in its older shape, by the rules that openapi/import.yaml states.

In its newer shape, a docs page holds a part of an OpenAPI document. In its older shape, it holds a
YAML block of Mintlify, the tool that publishes the docs. The block describes one operation with
keywords of its own, such as `schemaArray`, `refIdentifier` and `requiredProperties`.

The importer (`make spec`) uses this module.
"""

import json
import re
from collections.abc import Collection, Iterator

from attrs import Factory, define, frozen

from openapi_tools.code_blocks import OPENAPI_HEADING
from openapi_tools.json_values import (
    JSON,
    JSONObject,
    SpecError,
    copy_object,
    copy_objects,
    to_text,
)
from openapi_tools.references import schema_name, schema_reference

_FILLER = re.compile(r'"<\w+>"')
_OPERATION_KEYS = ("path", "method", "request", "response", "deprecated", "type")
_REQUEST_KEYS = ("security", "parameters", "body")
_LOCATIONS = ("path", "query", "header", "cookie")
_ANNOTATIONS = ("title", "description", "default", "deprecated", "example", "examples")
_SERIALIZATION = ("style", "explode", "allowReserved")


def to_openapi(prose: str, block: JSONObject) -> JSONObject:
    """Return a page as an OpenAPI document with one operation.

    `prose` is the text above the page's YAML block, and `block` the content of that block. Raise
    SpecError if either of them is not as expected.
    """
    summary, description = _read_prose(prose)
    page = copy_object(block, "page", needed=("paths", "components"))
    components = copy_object(page["components"], "components", needed=["schemas"])
    complete_schemas = copy_object(components["schemas"], "components.schemas")
    # Under `paths`, a page describes its one operation.
    described = copy_object(
        page["paths"], "paths", needed=_OPERATION_KEYS, optional=["servers", "xMint"]
    )
    if described["type"] != "path":
        raise SpecError(f"paths.type: expected 'path', not '{described['type']}'")

    reader = _PageReader(complete_schemas=complete_schemas)
    operation: JSONObject = {"summary": summary}
    if description:
        operation["description"] = description
    operation["deprecated"] = described["deprecated"]
    operation["servers"] = described.get("servers", [])
    operation.update(reader.read_request(described["request"], "paths.request"))
    operation["responses"] = reader.read_responses(described["response"], "paths.response")
    return {
        # A page does not state its version. 3.1 is safe: the importer translates 3.1 to 3.0, and
        # carries keywords of 3.0, such as `nullable`, unchanged.
        "openapi": "3.1.0",
        "paths": {str(described["path"]): {str(described["method"]).lower(): operation}},
        "components": {
            "schemas": {**reader.collected_schemas(), **complete_schemas},
            "securitySchemes": dict(reader.security_schemes),
        },
    }


def _read_prose(prose: str) -> tuple[str, str]:
    """Return the heading of a page, and the description below it.

    Raise SpecError if the prose has no heading, or does not end with '## OpenAPI'.
    """
    lines = prose.rstrip().split("\n")
    if lines[-1] != OPENAPI_HEADING:
        raise SpecError(f"page: expected '{OPENAPI_HEADING}' above the YAML block")
    for index, line in enumerate(lines):
        # A saved page begins with its address, which looks like a heading.
        if line.startswith("# ") and not line.startswith("# Source: "):
            return line.removeprefix("# ").strip(), _read_description(lines[index + 1 : -1])
    raise SpecError(f"page: expected a heading above '{OPENAPI_HEADING}'")


def _read_description(lines: list[str]) -> str:
    """Return the text below the heading. If it begins with a block quote, remove its marks, `>`."""
    text = "\n".join(lines).strip()
    description: list[str] = []
    in_first_quote = True
    for line in text.split("\n"):
        if not line.startswith(">"):
            in_first_quote = False
        if in_first_quote:
            description.append(line.removeprefix(">").removeprefix(" "))
        else:
            description.append(line)
    return "\n".join(description).strip()


@frozen
class _Parameter:
    """A parameter or an API key, as a page describes it."""

    location: str  # path, query, header or cookie
    name: str
    content: JSONObject
    place: str
    """Where it is in the page. Error messages begin with it."""


@frozen
class _Message:
    """A request body or a response."""

    node: JSONObject
    """The object in OpenAPI. It is empty if the page states neither a description nor content."""
    required: bool
    """True if a request must have this body."""


@define
class _NamedSchema:
    """A schema that has a name (`refIdentifier`), as an entry of a page describes it."""

    schema: JSONObject
    moved: set[str]
    """Keywords that were taken out of each occurrence of the schema that was read so far.

    A page may contain the same schema several times. These keywords may be missing from the
    attribute `schema`. A later occurrence may still supply them.
    """


@define
class _PageReader:
    """Reads the parts of a page, and collects the components that they define.

    The parameter `place` of the methods says where a value is in the page. Error messages begin
    with it.
    """

    complete_schemas: JSONObject
    """The schemas among the components of the page."""
    flattened_schemas: dict[str, _NamedSchema] = Factory(dict)
    """The schemas that have a name, but are not among the components of the page.

    They are collected from the entries of the request and the responses, which are flattened.
    """
    security_schemes: JSONObject = Factory(dict)

    def read_request(self, value: JSON, place: str) -> JSONObject:
        """Return what the operation says of a request: security, parameters and body."""
        request = copy_object(value, place, needed=_REQUEST_KEYS, optional=["codeSamples"])
        operation: JSONObject = {
            "security": self._read_security(request["security"], f"{place}.security"),
            "parameters": self._read_parameters(request["parameters"], f"{place}.parameters"),
        }
        body = self._read_message(request["body"], f"{place}.body")
        if body.node:
            operation["requestBody"] = {**body.node, "required": body.required}
        return operation

    def read_responses(self, value: JSON, place: str) -> JSONObject:
        """Return the responses of the operation, by their status. Each has a description."""
        responses: JSONObject = {}
        for status, response in copy_object(value, place).items():
            message = self._read_message(response, f"{place}.{status}")
            responses[status] = {"description": "", **message.node}
        return responses

    def collected_schemas(self) -> JSONObject:
        """Return the schemas that the request and the responses define, by name.

        Call this method last: reading the request and the responses collects them.
        """
        return {name: named.schema for name, named in self.flattened_schemas.items()}

    def _read_security(self, value: JSON, place: str) -> list[JSON]:
        """Return the alternative security requirements, and collect their schemes."""
        alternatives: list[tuple[str, list[_Parameter]]] = []
        for entry in copy_objects(value, place):
            alternative = copy_object(entry, place, needed=("title", "parameters"))
            keys = list(_list_parameters(alternative["parameters"], place))
            alternatives.append((str(alternative["title"]), keys))
        ambiguous = _find_ambiguous_names([keys for _, keys in alternatives])
        requirements: list[JSON] = []
        for title, keys in alternatives:
            requirement: JSONObject = {}
            for key in keys:
                # The page does not name its schemes. The name of the header serves as the name,
                # and where several schemes use one header, the title of the alternative does. An
                # alternative with several keys has one title for all of them, so the title cannot
                # name one key.
                name = key.name
                if name in ambiguous and len(keys) == 1:
                    name = _component_name(title) or name
                self._define_scheme(name, _security_scheme(key), place)
                requirement[name] = []
            requirements.append(requirement)
        return requirements

    def _define_scheme(self, name: str, scheme: JSONObject, place: str) -> None:
        """Add a security scheme; raise SpecError if there is another with the same name."""
        if name not in self.security_schemes:
            self.security_schemes[name] = scheme
        elif to_text(self.security_schemes[name]) != to_text(scheme):
            raise SpecError(f"{place}: the key '{name}' is described in two ways in this page")

    def _read_parameters(self, value: JSON, place: str) -> list[JSON]:
        return [self._read_parameter(parameter) for parameter in _list_parameters(value, place)]

    def _read_parameter(self, parameter: _Parameter) -> JSONObject:
        """Return a parameter as an object of OpenAPI."""
        place = parameter.place
        content = copy_object(parameter.content, place, needed=["schema"], optional=_SERIALIZATION)
        node: JSONObject = {"in": parameter.location, "name": parameter.name}
        for keyword in _SERIALIZATION:
            if keyword in content:
                node[keyword] = content[keyword]
        # The page states `required`, `deprecated` and `description` of a parameter in each entry of
        # its schema. OpenAPI states them beside the schema.
        entries = copy_objects(content["schema"], place)
        node["required"] = _remove_required(entries, place)
        shared = _remove_common(entries, ("deprecated", "description"))
        node.update(shared)
        node["schema"] = self._read_schema(entries, place, moved=shared.keys())
        return node

    def _read_message(self, value: JSON, place: str) -> _Message:
        """Return a request body or a response, with its schema and examples by media type."""
        node: JSONObject = {}
        content: JSONObject = {}
        required = False
        for media_type, media in copy_object(value, place).items():
            here = f"{place}.{media_type}"
            parts = copy_object(
                media, here, needed=("schemaArray", "examples"), optional=["description"]
            )
            if "description" in parts:
                description = parts["description"]
                if "description" not in node:
                    node["description"] = description
                elif node["description"] != description:
                    raise SpecError(
                        f"{here}.description: another media type has a different description;"
                        " OpenAPI has one for all media types"
                    )
            if media_type == "_mintlify/placeholder":  # there is no content
                continue
            entries = copy_objects(parts["schemaArray"], here)
            if _remove_required(entries, here):
                required = True
            content[media_type] = {
                "schema": self._read_schema(entries, here),
                "examples": _genuine_examples(parts["examples"], f"{here}.examples"),
            }
        if content:
            node["content"] = content
        return _Message(node, required=required)

    def _read_schema(
        self, entries: list[JSONObject], place: str, moved: Collection[str] = ()
    ) -> JSONObject:
        """Return the schema of a `schemaArray`, whose entries are alternatives.

        `moved` holds the keywords that were moved out of the entries. Without entries, return `{}`,
        which allows everything.
        """
        if not entries:
            return {}
        if len(entries) == 1:
            return self._read_entry(entries[0], place, moved)
        # Each entry repeats the annotations that belong to all of them together.
        common = _remove_common(entries, _ANNOTATIONS)
        all_moved = set(moved) | common.keys()
        alternatives: list[JSON] = [self._read_entry(entry, place, all_moved) for entry in entries]
        return {**common, "anyOf": alternatives}

    def _read_entry(self, entry: JSONObject, place: str, moved: Collection[str]) -> JSONObject:
        """Return an entry as a schema or, if it has a name, as a reference to that schema."""
        schema = dict(entry)
        reference = str(schema.pop("refIdentifier", ""))
        if "requiredProperties" in schema:
            schema["required"] = schema.pop("requiredProperties")
        _restore_type(schema)
        name = schema_name(reference)
        if name is None:
            return schema
        # The schema among the components still has what flattening lost, so it is preferred.
        if name not in self.complete_schemas:
            self._define_schema(name, schema, place, moved)
        return {"$ref": schema_reference(name)}

    def _define_schema(
        self, name: str, schema: JSONObject, place: str, moved: Collection[str]
    ) -> None:
        """Add a named schema; raise SpecError if there is a different one with the same name.

        The same schema may occur several times in a page. If a keyword was moved out of an
        occurrence (it is in `moved`), its absence there is not a difference. The keyword is then
        taken from an occurrence that still has it.
        """
        if name not in self.flattened_schemas:
            self.flattened_schemas[name] = _NamedSchema(schema, set(moved))
            return
        named = self.flattened_schemas[name]
        for keyword in named.schema.keys() | schema.keys():
            is_moved = keyword in named.moved or keyword in moved
            if not is_moved and not _have_same(keyword, named.schema, schema):
                raise SpecError(
                    f"{place}: the schema '{name}' is described in two ways in this page"
                )
        named.schema = {**named.schema, **schema}
        named.moved.intersection_update(moved)


def _list_parameters(value: JSON, place: str) -> Iterator[_Parameter]:
    """Yield the parameters of a page, which are grouped by location and then by name."""
    for location, group in copy_object(value, place, optional=_LOCATIONS).items():
        for name, content in copy_object(group, f"{place}.{location}").items():
            here = f"{place}.{location}.{name}"
            yield _Parameter(location, name, copy_object(content, here), here)


def _find_ambiguous_names(keys_by_alternative: list[list[_Parameter]]) -> set[str]:
    """Return the names of the keys that have more than one security scheme."""
    schemes: JSONObject = {}
    ambiguous: set[str] = set()
    for keys in keys_by_alternative:
        for key in keys:
            scheme = _security_scheme(key)
            if key.name not in schemes:
                schemes[key.name] = scheme
            elif to_text(schemes[key.name]) != to_text(scheme):
                ambiguous.add(key.name)
    return ambiguous


def _component_name(title: str) -> str:
    """Return a title as the name of a component.

    Each run of characters that such a name may not have becomes one hyphen, and hyphens at the ends
    are removed. The result may be empty.
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-")


def _security_scheme(key: _Parameter) -> JSONObject:
    """Return the security scheme of a key, completed with keywords that the page leaves out."""
    match key.content.get("type"):
        case "apiKey":
            return {"in": key.location, "name": key.name, **key.content}
        case "oauth2":
            return {"flows": {}, **key.content}
        case _:
            return key.content


def _remove_required(entries: list[JSONObject], place: str) -> bool:
    """Remove `required` from all entries, and return True if it was true in one of them."""
    required = [entry.pop("required", False) for entry in entries]
    for flag in required:
        if not isinstance(flag, bool):
            raise SpecError(f"{place}.required: expected true or false, not {flag!r:.60}")
    return any(required)


def _remove_common(entries: list[JSONObject], keywords: tuple[str, ...]) -> JSONObject:
    """Remove the keywords that have the same value in all entries, and return them."""
    common: JSONObject = {}
    if not entries:
        return common
    first = entries[0]
    for keyword in keywords:
        if keyword in first and all(_have_same(keyword, first, entry) for entry in entries):
            common[keyword] = first[keyword]
            for entry in entries:
                del entry[keyword]
    return common


def _have_same(keyword: str, one: JSONObject, other: JSONObject) -> bool:
    """Return True if both objects have the keyword, with the same value."""
    if keyword not in one or keyword not in other:
        return False
    return to_text(one[keyword]) == to_text(other[keyword])


def _genuine_examples(value: JSON, place: str) -> JSONObject:
    """Return the examples without those that hold the page's own filler, such as `<string>`."""
    examples: JSONObject = {}
    for name, example in copy_object(value, place).items():
        if not _FILLER.search(json.dumps(example)):
            examples[name] = example
    return examples


def _restore_type(schema: JSONObject) -> None:
    """Replace the page's own types, such as `enum<string>` and `file`, by those of OpenAPI."""
    kind = str(schema.get("type"))
    if kind in {"any", "enum<any>"}:
        del schema["type"]
    elif kind == "file":
        schema["type"] = "string"
        schema["format"] = "binary"
    elif kind.startswith("enum<"):
        schema["type"] = kind.removeprefix("enum<").removesuffix(">")
