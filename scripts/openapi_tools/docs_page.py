"""Reads a docs page in its older shape, by the rules that openapi/import.yaml states.

The importer (`make spec`) uses it.
"""

import json
import re
from collections.abc import Iterator

from attrs import Factory, frozen

from openapi_tools.code_blocks import OPENAPI_HEADING
from openapi_tools.json_values import JSON, JSONObject, SpecError, copy_object, copy_objects
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
    page = copy_object(block, "page", ("paths", "components"))
    components = copy_object(page["components"], "components", ["schemas"])
    schemas = copy_object(components["schemas"], "components.schemas")
    # Under `paths`, a page describes its one operation.
    described = copy_object(page["paths"], "paths", _OPERATION_KEYS, ["servers", "xMint"])
    if described["type"] != "path":
        raise SpecError(f"paths.type: 'path' is expected, not '{described['type']}'")

    reader = _PageReader(schemas=schemas)
    operation: JSONObject = {"summary": summary}
    if description:
        operation["description"] = description
    operation["deprecated"] = described["deprecated"]
    operation["servers"] = described.get("servers", [])
    operation.update(reader.read_request(described["request"], "paths.request"))
    operation["responses"] = reader.read_responses(described["response"], "paths.response")
    return {
        # A page does not name the version of its keywords: 3.1 has those of 3.0 too.
        "openapi": "3.1.0",
        "paths": {str(described["path"]): {str(described["method"]).lower(): operation}},
        "components": {
            "schemas": {**reader.named_schemas, **schemas},
            "securitySchemes": dict(reader.security_schemes),
        },
    }


def _read_prose(prose: str) -> tuple[str, str]:
    """Return the heading of a page, and the description below it.

    Raise SpecError if the prose has no heading, or does not end with '## OpenAPI'.
    """
    lines = prose.rstrip().split("\n")
    if lines[-1] != OPENAPI_HEADING:
        raise SpecError(f"page: '{OPENAPI_HEADING}' is expected above the YAML block")
    for index, line in enumerate(lines):
        if line.startswith("# ") and not line.startswith("# Source: "):
            return line.removeprefix("# ").strip(), _read_description(lines[index + 1 : -1])
    raise SpecError(f"page: a heading is expected above '{OPENAPI_HEADING}'")


def _read_description(lines: list[str]) -> str:
    """Return the text below the heading. If it begins with a quote, remove the quote's marks."""
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


@frozen
class _PageReader:
    """Reads the parts of a page, and collects the components that they define.

    The parameter `place` of the methods says where a value is in the page. Error messages begin
    with it.
    """

    schemas: JSONObject
    """The schemas among the components of the page, which are complete."""
    named_schemas: JSONObject = Factory(dict)
    """The schemas that have a name (`refIdentifier`), but are not among the components."""
    security_schemes: JSONObject = Factory(dict)

    def read_request(self, value: JSON, place: str) -> JSONObject:
        """Return what the operation says of a request: security, parameters and body."""
        request = copy_object(value, place, _REQUEST_KEYS, ["codeSamples"])
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

    def _read_security(self, value: JSON, place: str) -> list[JSON]:
        """Return the alternative security requirements, and collect their schemes."""
        alternatives: list[tuple[str, list[_Parameter]]] = []
        for entry in copy_objects(value, place):
            parameters = copy_object(entry, place, ("title", "parameters"))["parameters"]
            alternatives.append((str(entry["title"]), list(_list_parameters(parameters, place))))
        ambiguous = _find_ambiguous([keys for _, keys in alternatives])
        requirements: list[JSON] = []
        for title, keys in alternatives:
            requirement: JSONObject = {}
            for key in keys:
                # The page does not name its schemes. The name of the header serves as the name,
                # and where several schemes use one header, the title of the alternative does.
                name = key.name
                if name in ambiguous and len(keys) == 1:
                    name = re.sub(r"[^A-Za-z0-9._-]+", "-", title) or name
                _define(self.security_schemes, name, _security_scheme(key), place)
                requirement[name] = []
            requirements.append(requirement)
        return requirements

    def _read_parameters(self, value: JSON, place: str) -> list[JSON]:
        return [self._read_parameter(parameter) for parameter in _list_parameters(value, place)]

    def _read_parameter(self, parameter: _Parameter) -> JSONObject:
        """Return a parameter as an object of OpenAPI."""
        place = parameter.place
        content = copy_object(parameter.content, place, ["schema"], _SERIALIZATION)
        node: JSONObject = {"in": parameter.location, "name": parameter.name}
        for keyword in _SERIALIZATION:
            if keyword in content:
                node[keyword] = content[keyword]
        # OpenAPI has these three keywords at the parameter, the page in each of its schemas.
        entries = copy_objects(content["schema"], place)
        node["required"] = _take_required(entries, place)
        node.update(_take_shared(entries, ("deprecated", "description")))
        node["schema"] = self._read_schema(entries, place)
        return node

    def _read_message(self, value: JSON, place: str) -> _Message:
        """Return a request body or a response, with its schema and examples by media type."""
        node: JSONObject = {}
        content: JSONObject = {}
        required = False
        for media_type, media in copy_object(value, place).items():
            here = f"{place}.{media_type}"
            parts = copy_object(media, here, ("schemaArray", "examples"), ["description"])
            if "description" in parts:
                _define(node, "description", parts["description"], here)
            if media_type == "_mintlify/placeholder":  # there is no content
                continue
            entries = copy_objects(parts["schemaArray"], here)
            if _take_required(entries, here):
                required = True
            content[media_type] = {
                "schema": self._read_schema(entries, here),
                "examples": _genuine_examples(parts["examples"], f"{here}.examples"),
            }
        if content:
            node["content"] = content
        return _Message(node, required=required)

    def _read_schema(self, entries: list[JSONObject], place: str) -> JSONObject:
        """Return the schema of a `schemaArray`, whose entries are alternatives."""
        if len(entries) == 1:
            return self._read_entry(entries[0], place)
        # Each entry repeats the annotations that belong to all of them together.
        schema = _take_shared(entries, _ANNOTATIONS)
        schema["anyOf"] = [self._read_entry(entry, place) for entry in entries]
        return schema

    def _read_entry(self, entry: JSONObject, place: str) -> JSONObject:
        """Return an entry as a schema or, if it has a name, as a reference to that schema."""
        schema = dict(entry)
        reference = str(schema.pop("refIdentifier", ""))
        if "requiredProperties" in schema:
            schema["required"] = schema.pop("requiredProperties")
        _restore_type(schema)
        name = schema_name(reference)
        if name is None:
            return schema
        # An entry is flattened. The schema among the components is complete, so it is preferred.
        if name not in self.schemas:
            _define(self.named_schemas, name, schema, place)
        return {"$ref": schema_reference(name)}


def _list_parameters(value: JSON, place: str) -> Iterator[_Parameter]:
    """Yield the parameters of a page, which are grouped by location and then by name."""
    for location, group in copy_object(value, place, (), _LOCATIONS).items():
        for name, content in copy_object(group, f"{place}.{location}").items():
            here = f"{place}.{location}.{name}"
            yield _Parameter(location, name, copy_object(content, here), here)


def _find_ambiguous(alternatives: list[list[_Parameter]]) -> set[str]:
    """Return the names of the keys that have more than one security scheme."""
    schemes: JSONObject = {}
    ambiguous: set[str] = set()
    for keys in alternatives:
        for key in keys:
            scheme = _security_scheme(key)
            if key.name not in schemes:
                schemes[key.name] = scheme
            elif schemes[key.name] != scheme:
                ambiguous.add(key.name)
    return ambiguous


def _security_scheme(key: _Parameter) -> JSONObject:
    """Return the security scheme of a key, completed with keywords that the page leaves out."""
    match key.content.get("type"):
        case "apiKey":
            return {"in": key.location, "name": key.name, **key.content}
        case "oauth2":
            return {"flows": {}, **key.content}
        case _:
            return key.content


def _take_required(entries: list[JSONObject], place: str) -> bool:
    """Remove `required` from all entries, and return True if it was true in one of them."""
    required = [entry.pop("required", False) for entry in entries]
    for flag in required:
        if not isinstance(flag, bool):
            raise SpecError(f"{place}.required: true or false is expected, not {flag!r:.60}")
    return any(required)


def _take_shared(entries: list[JSONObject], keywords: tuple[str, ...]) -> JSONObject:
    """Remove the keywords that have the same value in all entries, and return them."""
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


def _define(definitions: JSONObject, name: str, definition: JSON, place: str) -> None:
    """Add a definition; raise SpecError if there is another with the same name."""
    if name not in definitions:
        definitions[name] = definition
    elif definitions[name] != definition:
        raise SpecError(f"{place}: '{name}' is described in two ways in this page")
