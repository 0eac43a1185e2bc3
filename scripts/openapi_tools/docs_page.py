"""Reads a docs page in its older shape, by the rules that openapi/import.yaml states.

The importer (`make spec`) uses it.
"""

import json
import re
from collections.abc import Iterator

from attrs import Factory, frozen

from openapi_tools.code_blocks import OPENAPI_HEADING
from openapi_tools.json_values import JSON, JSONObject, SpecError, fields, items
from openapi_tools.references import schema_name, schema_reference

_FILLER = re.compile(r'"<\w+>"')
_OPERATION = ("path", "method", "request", "response", "deprecated", "type")
_REQUEST = ("security", "parameters", "body")
_PLACES = ("path", "query", "header", "cookie")
_ANNOTATIONS = ("title", "description", "default", "deprecated", "example", "examples")
_SERIALIZATION = ("style", "explode", "allowReserved")


def to_openapi(prose: str, block: JSONObject) -> JSONObject:
    """Return a page as an OpenAPI document; `prose` is the text above its YAML block."""
    summary, description = _read_prose(prose)
    fields(block, "page", ("paths", "components"))
    components = fields(block["components"], "components", ["schemas"])
    schemas = fields(components["schemas"], "components.schemas")
    paths = fields(block["paths"], "paths", _OPERATION, ["servers", "xMint"])
    if paths["type"] != "path":
        raise SpecError(f"paths.type: 'path' is expected, not '{paths['type']}'")
    request = fields(paths["request"], "paths.request", _REQUEST, ["codeSamples"])
    responses = fields(paths["response"], "paths.response")

    reader = _PageReader(schemas=schemas)
    operation: JSONObject = {"summary": summary}
    if description:
        operation["description"] = description
    operation["deprecated"] = paths["deprecated"]
    operation["servers"] = paths.get("servers", [])
    operation["security"] = reader.security(request["security"], "paths.request.security")
    operation["parameters"] = reader.parameters(request["parameters"], "paths.request.parameters")
    body = reader.message(request["body"], "paths.request.body")
    if body.description or body.content:
        operation["requestBody"] = {**body.to_openapi(), "required": body.required}
    operation["responses"] = {
        status: {
            "description": "",
            **reader.message(response, f"paths.response.{status}").to_openapi(),
        }
        for status, response in responses.items()
    }
    return {
        # A page does not name the version of its keywords: 3.1 has those of 3.0 too.
        "openapi": "3.1.0",
        "paths": {str(paths["path"]): {str(paths["method"]).lower(): operation}},
        "components": {
            "schemas": {**reader.named_schemas, **schemas},
            "securitySchemes": dict(reader.security_schemes),
        },
    }


def _read_prose(prose: str) -> tuple[str, str]:
    """Return the heading of a page, and the description below it."""
    lines = prose.rstrip().split("\n")
    if lines[-1] != OPENAPI_HEADING:
        raise SpecError(f"page: '{OPENAPI_HEADING}' is expected above the YAML block")
    for index, line in enumerate(lines):
        if line.startswith("# ") and not line.startswith("# Source: "):
            return line.removeprefix("# ").strip(), _read_description(lines[index + 1 : -1])
    raise SpecError(f"page: a heading is expected above '{OPENAPI_HEADING}'")


def _read_description(lines: list[str]) -> str:
    """Return the text between heading and block, without the marks of the quote it begins with."""
    lines = "\n".join(lines).strip().split("\n")
    description: list[str] = []
    quoted = True
    for line in lines:
        quoted = quoted and line.startswith(">")
        if quoted:
            line = line.removeprefix(">").removeprefix(" ")  # noqa: PLW2901 — the line, unquoted
        description.append(line)
    return "\n".join(description).strip()


@frozen
class _Parameter:
    """An entry of the lists that a page sorts by where a parameter stands, and by its name."""

    location: str  # path, query, header or cookie
    name: str
    content: JSONObject
    place: str  # in the page


@frozen
class _Message:
    """A request body or a response."""

    description: JSONObject
    """The description under that key, or an empty object."""
    content: JSONObject
    required: bool

    def to_openapi(self) -> JSONObject:
        """Return the message as an object of OpenAPI."""
        message = dict(self.description)
        if self.content:
            message["content"] = self.content
        return message


@frozen
class _PageReader:
    """Reads the parts of a page, and collects what they define."""

    schemas: JSONObject
    """The schemas that the page defines as a whole, among its components."""
    named_schemas: JSONObject = Factory(dict)
    """The schemas that it only names where it uses them (`refIdentifier`)."""
    security_schemes: JSONObject = Factory(dict)

    def security(self, value: JSON, place: str) -> list[JSON]:
        """Return the alternative security requirements, and collect their schemes."""
        alternatives: list[tuple[str, list[_Parameter]]] = []
        for entry in items(value, place):
            parameters = fields(entry, place, ("title", "parameters"))["parameters"]
            alternatives.append((str(entry["title"]), list(_list_parameters(parameters, place))))
        ambiguous = _find_ambiguous([keys for _, keys in alternatives])
        requirements: list[JSON] = []
        for title, keys in alternatives:
            requirement: JSONObject = {}
            for key in keys:
                name = key.name
                if name in ambiguous and len(keys) == 1:
                    name = re.sub(r"[^A-Za-z0-9._-]+", "-", title) or name
                _define(self.security_schemes, name, _security_scheme(key), place)
                requirement[name] = []
            requirements.append(requirement)
        return requirements

    def parameters(self, value: JSON, place: str) -> list[JSON]:
        """Return the parameters of the operation."""
        return [self._parameter(parameter) for parameter in _list_parameters(value, place)]

    def _parameter(self, parameter: _Parameter) -> JSONObject:
        place = parameter.place
        content = fields(parameter.content, place, ["schema"], _SERIALIZATION)
        node: JSONObject = {"in": parameter.location, "name": parameter.name}
        for keyword in _SERIALIZATION:
            if keyword in content:
                node[keyword] = content[keyword]
        entries = items(content["schema"], place)
        node["required"] = _take_required(entries, place)
        node.update(_take_shared(entries, ("deprecated", "description")))
        node["schema"] = self._schema(entries, place)
        return node

    def message(self, value: JSON, place: str) -> _Message:
        """Return a request body or a response."""
        description: JSONObject = {}
        content: JSONObject = {}
        required = False
        for media_type, media in fields(value, place).items():
            here = f"{place}.{media_type}"
            parts = fields(media, here, ("schemaArray", "examples"), ["description"])
            if "description" in parts:
                _define(description, "description", parts["description"], here)
            if media_type == "_mintlify/placeholder":  # there is no content
                continue
            entries = items(parts["schemaArray"], here)
            required = _take_required(entries, here) or required
            content[media_type] = {
                "schema": self._schema(entries, here),
                "examples": _genuine_examples(parts["examples"], f"{here}.examples"),
            }
        return _Message(description, content, required=required)

    def _schema(self, entries: list[JSONObject], place: str) -> JSONObject:
        """Return the schema of a list of entries, of which each is an alternative."""
        if len(entries) == 1:
            return self._entry(entries[0], place)
        # The page repeats in each alternative what holds for all of them together.
        schema = _take_shared(entries, _ANNOTATIONS)
        schema["anyOf"] = [self._entry(entry, place) for entry in entries]
        return schema

    def _entry(self, entry: JSONObject, place: str) -> JSONObject:
        """Return an entry as a schema: as a reference, if the entry names its schema."""
        schema = dict(entry)
        reference = str(schema.pop("refIdentifier", ""))
        if "requiredProperties" in schema:
            schema["required"] = schema.pop("requiredProperties")
        _restore_type(schema)
        name = schema_name(reference)
        if name is None:
            return schema
        # Where a schema stands among the components too, it is whole; here it is flattened.
        if name not in self.schemas:
            _define(self.named_schemas, name, schema, place)
        return {"$ref": schema_reference(name)}


def _list_parameters(value: JSON, place: str) -> Iterator[_Parameter]:
    for location, group in fields(value, place, (), _PLACES).items():
        for name, content in fields(group, f"{place}.{location}").items():
            here = f"{place}.{location}.{name}"
            yield _Parameter(location, name, fields(content, here), here)


def _find_ambiguous(alternatives: list[list[_Parameter]]) -> set[str]:
    """Return the names of the headers that hold another key in each of several alternatives."""
    schemes: JSONObject = {}
    ambiguous: set[str] = set()
    for keys in alternatives:
        for key in keys:
            scheme = _security_scheme(key)
            if schemes.setdefault(key.name, scheme) != scheme:
                ambiguous.add(key.name)
    return ambiguous


def _security_scheme(key: _Parameter) -> JSONObject:
    """Return the security scheme of a key, with what the page leaves out."""
    match key.content.get("type"):
        case "apiKey":
            return {"in": key.location, "name": key.name, **key.content}
        case "oauth2":
            return {"flows": {}, **key.content}
        case _:
            return key.content


def _take_required(entries: list[JSONObject], place: str) -> bool:
    """Take the keyword `required` out of entries, and return True if it is true in one of them."""
    required = [entry.pop("required", False) for entry in entries]
    for flag in required:
        if not isinstance(flag, bool):
            raise SpecError(f"{place}.required: true or false is expected, not {flag!r:.60}")
    return any(required)


def _take_shared(entries: list[JSONObject], keywords: tuple[str, ...]) -> JSONObject:
    """Take those keywords out of entries that all of them have, with the same value."""
    shared: JSONObject = {}
    if not entries:
        return shared
    for keyword in keywords:
        if all(keyword in entry and entry[keyword] == entries[0].get(keyword) for entry in entries):
            shared[keyword] = entries[0][keyword]
            for entry in entries:
                del entry[keyword]
    return shared


def _genuine_examples(value: JSON, place: str) -> JSONObject:
    """Return the examples without those that hold the page's own filler, such as `<string>`."""
    examples: JSONObject = {}
    for name, example in fields(value, place).items():
        if not _FILLER.search(json.dumps(example)):
            examples[name] = example
    return examples


def _restore_type(schema: JSONObject) -> None:
    """Write the type of an entry as OpenAPI does."""
    kind = str(schema.get("type"))
    if kind in {"any", "enum<any>"}:
        del schema["type"]
    elif kind == "file":
        schema["type"] = "string"
        schema["format"] = "binary"
    elif kind.startswith("enum<"):
        schema["type"] = kind.removeprefix("enum<").removesuffix(">")


def _define(definitions: JSONObject, name: str, definition: JSON, place: str) -> None:
    if definitions.setdefault(name, definition) != definition:
        raise SpecError(f"{place}: '{name}' is described in two ways in this page")
