"""The docs page in its older shape, read by the rules that openapi/import.yaml states."""

import json
import re
from collections.abc import Iterator
from typing import Any

from attrs import Factory, frozen

from openapi_tools.canonical_form import SCHEMAS
from openapi_tools.documents import Json, SpecError, fields, items

_PROSE = re.compile(r"(?:.*\n)*?# (?!Source: )(.+)\n\s*((?:>.*\n)*)\s*## OpenAPI\s*")
_FILLER = re.compile(r'"<\w+>"')
_OPERATION = ("path", "method", "servers", "request", "response", "deprecated", "type")
_REQUEST = ("security", "parameters", "body")


def to_openapi(prose: str, block: Json) -> Json:
    """Return as an OpenAPI document what a page tells, in its block and in the text above it."""
    if not (above := _PROSE.fullmatch(prose)):
        raise SpecError("page: a heading, a quote and '## OpenAPI' are expected above the block")
    fields(block, "page", ("paths", "components"))
    components = fields(block["components"], "components", ["schemas"])
    schemas = fields(components["schemas"], "components.schemas")
    told = fields(block["paths"], "paths", _OPERATION, ["xMint"])
    if told["type"] != "path":
        raise SpecError(f"paths.type: 'path' is expected, not '{told['type']}'")
    request = fields(told["request"], "paths.request", _REQUEST, ["codeSamples"])
    parameters = _placed(request["parameters"], "paths.request.parameters")
    responses = fields(told["response"], "paths.response")
    page = _Page()
    operation: Json = {
        "summary": above[1],
        "deprecated": told["deprecated"],
        "servers": told["servers"],
        "security": page.requirements(request["security"], "paths.request.security"),
        "parameters": [page.parameter(*parameter) for parameter in parameters],
        "responses": {
            status: {"description": "", **page.message(one, f"paths.response.{status}")}
            for status, one in responses.items()
        },
    }
    if body := page.message(request["body"], "paths.request.body"):
        operation["requestBody"] = body
    if above[2]:
        operation["description"] = re.sub(r"^> ?", "", above[2], flags=re.MULTILINE).strip()
    # Where a schema stands among the components too, it is not flattened there.
    components |= {"schemas": page.schemas | schemas, "securitySchemes": page.schemes}
    paths = {str(told["path"]): {str(told["method"]).lower(): operation}}
    return {"openapi": "3.0.3", "paths": paths, "components": components}


@frozen
class _Page:
    """What a page names in passing: schemas (by refIdentifier) and security schemes."""

    schemas: Json = Factory(dict)
    schemes: Json = Factory(dict)

    def requirements(self, told: Any, place: str) -> list[Json]:
        requirements: list[Json] = []
        for one in items(told, place):
            requirements.append({})
            parameters = fields(one, place, ("title", "parameters"))["parameters"]
            for where, name, scheme, _ in _placed(parameters, place):
                untold: Json = {"apiKey": {"in": where, "name": name}, "oauth2": {"flows": {}}}
                _tell(self.schemes, name, untold.get(str(scheme.get("type")), {}) | scheme, place)
                requirements[-1][name] = []
        return requirements

    def parameter(self, where: str, name: str, told: Json, place: str) -> Json:
        entries = items(fields(told, place, ["schema"])["schema"], place)
        words = {"deprecated", "description"} & entries[0].keys() if len(entries) == 1 else ()
        lifted = {word: entries[0].pop(word) for word in words}
        return {"in": where, "name": name, **lifted, **self._schema(entries, place)}

    def message(self, told: Any, place: str) -> Json:
        message: Json = {}
        for kind, one in fields(told, place).items():
            here = f"{place}.{kind}"
            media = fields(one, here, ("schemaArray", "examples"), ["description"])
            if "description" in media:
                _tell(message, "description", media["description"], here)
            if kind == "_mintlify/placeholder":  # no content
                continue
            message |= self._schema(items(media["schemaArray"], here), here)
            examples = fields(media["examples"], f"{here}.examples")
            genuine = {n: e for n, e in examples.items() if not _FILLER.search(json.dumps(e))}
            content = message.setdefault("content", {})
            content[kind] = {"schema": message.pop("schema"), "examples": genuine}
        return message

    def _schema(self, entries: list[Json], place: str) -> Json:
        """Return the schema of some entries, and beside it whether it is required."""
        required = [entry.pop("required", False) for entry in entries]
        if not {type(each) for each in required} <= {bool}:
            raise SpecError(f"{place}.required: true or false is expected, not {required!r:.60}")
        schemas = [self._entry(entry, place) for entry in entries]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        return {"schema": schema, "required": any(required)}

    def _entry(self, schema: Json, place: str) -> Json:
        if "requiredProperties" in schema:
            schema["required"] = schema.pop("requiredProperties")
        kind = str(schema.get("type"))
        if kind == "any":
            del schema["type"]
        elif kind == "file":
            schema |= {"type": "string", "format": "binary"}
        elif kind.startswith("enum<"):
            schema["type"] = kind[5:-1]
        if "refIdentifier" not in schema:
            return schema
        reference = str(schema.pop("refIdentifier"))
        _tell(self.schemas, reference.removeprefix(SCHEMAS), schema, place)
        return {"$ref": reference}


def _tell(found: Json, name: str, told: Any, place: str) -> None:
    if found.setdefault(name, told) != told:
        raise SpecError(f"{place}: '{name}' is told in two ways in this page")


def _placed(told: Any, place: str) -> Iterator[tuple[str, str, Json, str]]:
    """Walk the parameters that stand by place (`in`) and name, and say where each is told."""
    for where, group in fields(told, place, (), ("path", "query", "header", "cookie")).items():
        for name, one in fields(group, f"{place}.{where}").items():
            here = f"{place}.{where}.{name}"
            yield where, name, fields(one, here), here
