"""The canonical form of an OpenAPI document, by the rules that openapi/import.yaml states."""

import re
from collections.abc import Iterable
from typing import Any

from attrs import Factory, frozen
from openapi_spec_validator import OpenAPIV30SpecValidator
from referencing.exceptions import Unresolvable

from openapi_tools.documents import Json, SpecError, fields, items

SCHEMAS = "#/components/schemas/"
_SCHEMES = "#/components/securitySchemes/"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_HOLDS_NAMES = {"content", "examples", "headers", "properties", "responses"}
_HOLDS_DATA = re.compile("const|default|enum|example|value|x-.*").fullmatch
_SAYS_NOTHING_IF_EMPTY = _HOLDS_NAMES | {"deprecated", "nullable", "readOnly", "required"}


def check_openapi(document: Json, name: str = "") -> None:
    """Refuse what is no valid OpenAPI 3.0, with the place and the reason."""
    try:
        error = next(OpenAPIV30SpecValidator(document).iter_errors(), None)
    except Unresolvable as unresolvable:
        raise SpecError(f"{name} there is nothing at '{unresolvable.ref}'") from None
    while error and error.context:  # of what failed in each alternative, the innermost says most
        error = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "required"))
    if error:
        raise SpecError(f"{name} {error.json_path}: {error.message:.200}")


def operations_of(document: Json) -> dict[str, tuple[str, str]]:
    """Return where the operations stand: 'GET /path' to ('/path', 'get')."""
    return {
        f"{method.upper()} {path}": (path, method)
        for path, item in fields(document.get("paths"), "paths").items()
        for method in _METHODS
        if method in fields(item, f"paths.{path}")
    }


def canonical(document: Json, wanted: Iterable[tuple[str, str]], keys: Json, names: Json) -> Json:
    """Return the wanted operations (path and method) with all that they need.

    `keys` names security schemes by the header that holds the key; `names` has our names of
    schemas by the document's, each of which must be needed.
    """
    form = _Form(document, {header.lower(): name for header, name in keys.items()}, names)
    paths: Json = {}
    for path, method in wanted:
        paths.setdefault(path, {})[method] = form.operation(path, method)
    spec = {"paths": paths, "components": form.components()}
    operations = [operation for item in paths.values() for operation in item.values()]
    for word in ("servers", "security"):
        if operations and all(each[word] == operations[0][word] for each in operations):
            spec[word] = [operation.pop(word) for operation in operations][-1]
    return {word: value for word, value in spec.items() if value}


@frozen
class _Form:
    """A document on its way into the canonical form, and the components found to be needed."""

    source: Json
    keys: Json
    names: Json
    schemas: Json = Factory(dict)
    schemes: Json = Factory(dict)

    def operation(self, path: str, method: str) -> Json:
        """Return an operation, with the servers and the security that hold for it."""
        place = f"paths.{path}.{method}"
        item = self.source["paths"][path]
        own = fields(item[method], place)
        effective = {"servers": [], "security": [], **self.source, **item, **own}
        parameters: dict[tuple[str, str], Json] = {}  # the operation's own replace its path's
        for told in (item.get("parameters", []), own.pop("parameters", [])):
            for node in items(self._plain(told), f"{place}.parameters"):
                parameters[str(node.get("in")), str(node.get("name"))] = node
        keys: Json = {self._scheme(node): [] for node in parameters.values() if self._key(node)}
        security = [
            keys | {self._scheme(name): scopes for name, scopes in one.items()}
            for one in items(effective["security"], f"{place}.security") or [{}] * bool(keys)
        ]
        others = [node for _, node in sorted(parameters.items()) if not self._key(node)]
        operation: Json = self._plain(own) | ({"parameters": others} if others else {})
        return operation | {"servers": effective["servers"], "security": security}

    def components(self) -> Json:
        """Return the components that the operations need."""
        if strays := self.names.keys() - self.schemas.keys():
            raise SpecError(f"the settings rename the schema '{min(strays)}', which is not there")
        schemas = {self.names.get(name, name): schema for name, schema in self.schemas.items()}
        if len(schemas) < len(self.schemas):
            raise SpecError("the settings give a schema the name of another")
        components = {"schemas": schemas, "securitySchemes": self.schemes}
        return {kind: nodes for kind, nodes in components.items() if nodes}

    def _scheme(self, told: str | Json) -> str:
        """Carry the security scheme of a name, or a parameter that is a key; return our name."""
        node = self._plain({"$ref": _SCHEMES + told}) if isinstance(told, str) else told
        if key := self._key(node):
            words = node.keys() & {"description", "in", "name"}
            node = {"type": "apiKey", **{word: node[word] for word in words}}
        name = key or str(told)
        self.schemes.setdefault(name, node)
        return name

    def _key(self, node: Json) -> str | None:
        return self.keys.get(str(node.get("name")).lower()) if node.get("in") == "header" else None

    def _plain(self, value: Any, *, names: bool = False) -> Any:
        """Return a value in plain words; the keys of a mapping are keywords, or else names."""
        if isinstance(value, list) and not names:  # what OpenAPI 3.1 lists as `examples` is data
            return [self._plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        if names:
            return {name: self._plain(item) for name, item in value.items()}
        node = {
            word: item if _HOLDS_DATA(word) else self._plain(item, names=word in _HOLDS_NAMES)
            for word, item in value.items()
        }
        if "mapping" in node:
            raise SpecError(f"a discriminator's mapping is not read here: {node['mapping']!r:.60}")
        reference = node.pop("$ref", None)
        node = _simplified(node)
        return node if reference is None else self._referred(str(reference), node)

    def _referred(self, reference: str, beside: Json) -> Any:
        """Return what a reference stands for: a schema keeps its name, all else is carried."""
        if not reference.startswith(SCHEMAS):
            return self._plain(self._target(reference))
        name = reference.removeprefix(SCHEMAS)
        if name not in self.schemas:
            self.schemas[name] = {}  # it may refer to itself
            self.schemas[name] = self._plain(self._target(reference))
        pointer = {"$ref": SCHEMAS + self.names.get(name, name)}
        every = [pointer, *items(beside.get("allOf", []), f"allOf beside {reference}")]
        return {**beside, "allOf": every} if beside else pointer

    def _target(self, reference: str) -> Json:
        target: Any = {"#": self.source}
        for part in reference.split("/"):
            word = part.replace("~1", "/").replace("~0", "~")
            target = fields(target, reference, [word], target)[word]
        return fields(target, reference)


def _simplified(node: Json) -> Json:
    """Return a node in the words of OpenAPI 3.0, without what says nothing or in many words."""
    node = {word: item for word, item in node.items() if item or word not in _SAYS_NOTHING_IF_EMPTY}
    for word in ("type", "anyOf", "oneOf"):
        choices: list[Any] = node[word] if isinstance(node.get(word), list) else []
        others = [choice for choice in choices if choice not in ("null", {"type": "null"})]
        if len(others) < len(choices):
            node |= {word: others, "nullable": True}
        if len(others) == 1:
            del node[word]
            every = items(node.get("allOf", []), "allOf") + others
            node |= {"type": others[0]} if word == "type" else {"allOf": every}
    if isinstance(required := node.get("required"), list):
        node["required"] = sorted(required, key=str)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    match node:
        case {"examples": [_]}:
            [node["example"]] = node.pop("examples")
        case {"examples": {"example": {"value": _, **more}, **rest}} if not {*more, *rest}:
            node["example"] = node.pop("examples")["example"]["value"]
        case {"allOf": [dict() as only]} if len(node) == 1:
            node = only
        case _:
            pass
    return node
