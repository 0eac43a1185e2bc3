"""The canonical form of an OpenAPI document, by the rules that openapi/import.yaml states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Json = dict[str, Any]

SCHEMAS = "#/components/schemas/"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_HOLDS_NAMES = {"content", "examples", "headers", "mapping", "properties", "responses"}
_HOLDS_DATA = {"default", "enum", "example", "value"}
_SAYS_NOTHING_IF_EMPTY = _HOLDS_NAMES | {"deprecated", "nullable", "readOnly", "required"}


class SpecError(Exception):
    """What cannot be read whole: where it is, and why."""


def fields(
    value: Any, place: str, needed: Collection[str] = (), optional: Collection[str] = ()
) -> Json:
    """Return a copy of a mapping; refuse anything else, and keys that are missing or not known."""
    if not isinstance(value, dict):
        raise SpecError(f"{place}: a mapping is expected, not {value!r:.60}")
    if missing := [key for key in needed if key not in value]:
        raise SpecError(f"{place}: '{missing[0]}' is missing")
    known = {*needed, *optional} or value.keys()
    if strays := [key for key in value if key not in known]:
        raise SpecError(f"{place}: '{strays[0]}' is not known here")
    return dict(value)


def items(value: Any, place: str) -> list[Any]:
    """Return a copy of a list; refuse anything else."""
    if not isinstance(value, list):
        raise SpecError(f"{place}: a list is expected, not {value!r:.60}")
    return [*value]


def operations_of(document: Json) -> dict[str, tuple[str, str]]:
    """Return where the operations stand: 'GET /path' to ('/path', 'get')."""
    return {
        f"{method.upper()} {path}": (path, method)
        for path, item in fields(document.get("paths"), "paths").items()
        for method in _METHODS
        if method in fields(item, f"paths.{path}")
    }


def canonical(
    document: Json,
    wanted: Iterable[tuple[str, str]],
    keys: Mapping[str, str],
    names: Mapping[str, str],
) -> Json:
    """Return the wanted operations (path and method) with all that they need.

    `keys` holds the names of the security schemes that are a key in a header, by header, and
    `names` our names of schemas, by the document's; each of these must be needed.
    """
    form = _Form(document, keys, names)
    paths: Json = {}
    for path, method in wanted:
        paths.setdefault(path, {})[method] = form.operation(path, method)
    spec = {"paths": paths, "components": form.components()}
    operations = [operation for item in paths.values() for operation in item.values()]
    for word in ("servers", "security"):
        if all(operation[word] == operations[0][word] for operation in operations):
            spec[word] = [operation.pop(word) for operation in operations][-1]
    return {word: value for word, value in spec.items() if value}


class _Form:
    """A document on its way into the canonical form, and the components found to be needed."""

    def __init__(self, source: Json, keys: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._source = source
        self._keys = {header.lower(): name for header, name in keys.items()}
        self._names = names
        self._needed: set[str] = set()
        self._schemes: Json = {}

    def operation(self, path: str, method: str) -> Json:
        """Return an operation, with the servers and the security that hold for it."""
        place = f"paths.{path}.{method}"
        item = self._source["paths"][path]
        own = fields(item[method], place)
        effective = {"servers": [], "security": [], **self._source, **item, **own}
        parameters: dict[tuple[str, str], Json] = {}  # the operation's own replace its path's
        for told in (item.get("parameters", []), own.pop("parameters", [])):
            for node in items(self._plain(told), f"{place}.parameters"):
                name = fields(node, f"{place}.parameters").get("name")
                parameters[str(node.get("in")), str(name)] = node
        keys: Json = {self._scheme("", node): [] for node in parameters.values() if self._key(node)}
        security = [
            keys | {self._scheme(name): scopes for name, scopes in fields(one, place).items()}
            for one in items(effective["security"], f"{place}.security") or [{}] * bool(keys)
        ]
        others = [node for _, node in sorted(parameters.items()) if not self._key(node)]
        operation: Json = self._plain(own) | ({"parameters": others} if others else {})
        return operation | {"servers": effective["servers"], "security": security}

    def components(self) -> Json:
        """Return the components that are needed, and what these need in turn."""
        found: Json = {}
        while waiting := self._needed - found.keys():
            found |= {name: self._plain(self._target(SCHEMAS + name)) for name in sorted(waiting)}
        if strays := self._names.keys() - found.keys():
            raise SpecError(f"the settings rename the schema '{min(strays)}', which is not there")
        schemas = {self._names.get(name, name): schema for name, schema in found.items()}
        if len(schemas) < len(found):
            raise SpecError("the settings give a schema the name of another")
        components = {"schemas": schemas, "securitySchemes": self._schemes}
        return {kind: nodes for kind, nodes in components.items() if nodes}

    def _scheme(self, name: str, parameter: Json | None = None) -> str:
        """Carry a security scheme, or a parameter that is a key, and return its name."""
        node = parameter or self._plain(self._target(f"#/components/securitySchemes/{name}"))
        if key := self._key(node):
            words = node.keys() & {"description", "in", "name"}
            node = {"type": "apiKey", **{word: node[word] for word in words}}
        self._schemes.setdefault(key or name, node)
        return key or name

    def _key(self, node: Json) -> str | None:
        return self._keys.get(str(node.get("name")).lower()) if node.get("in") == "header" else None

    def _plain(self, value: Any, *, names: bool = False) -> Any:
        """Return a value in plain words; the keys of a mapping are keywords, or else names."""
        if isinstance(value, list):
            return [self._plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        if names:
            return {name: self._plain(item) for name, item in value.items()}
        node = _in_words_of_3_0(value)
        if "$ref" in node:
            return self._referred(str(node.pop("$ref")), self._plain(node))
        for word in node.keys() - _HOLDS_DATA:
            node[word] = self._plain(node[word], names=word in _HOLDS_NAMES)
        return _without_noise(node)

    def _referred(self, reference: str, beside: Json) -> Any:
        """Return what a reference stands for: a schema keeps its name, all else is carried."""
        if not reference.startswith(SCHEMAS):
            return self._plain(self._target(reference))
        name = reference.removeprefix(SCHEMAS)
        self._needed.add(name)
        pointer = {"$ref": SCHEMAS + self._names.get(name, name)}
        return {**beside, "allOf": [pointer, *beside.get("allOf", [])]} if beside else pointer

    def _target(self, reference: str) -> Json:
        target: Any = {"#": self._source}
        for part in reference.split("/"):
            word = part.replace("~1", "/").replace("~0", "~")
            target = fields(target, reference, [word], target)[word]
        return fields(target, reference)


def _in_words_of_3_0(node: Json) -> Json:
    """Return a copy in which nothing is said that only OpenAPI 3.1 says."""
    node = dict(node)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if isinstance(examples := node.get("examples"), list) and len(examples) == 1:
        node["example"] = node.pop("examples")[0]
    for word in ("type", "anyOf", "oneOf"):
        choices = node[word] if isinstance(node.get(word), list) else []
        others = [choice for choice in choices if choice not in ("null", {"type": "null"})]
        if len(others) < len(choices):
            node |= {word: others, "nullable": True}
        if len(others) == 1:
            del node[word]
            every = [*node.get("allOf", []), *others]
            node |= {"type": others[0]} if word == "type" else {"allOf": every}
    return node


def _without_noise(node: Json) -> Json:
    """Return a copy without what says nothing, or says in many words what takes few."""
    node = {word: item for word, item in node.items() if item or word not in _SAYS_NOTHING_IF_EMPTY}
    if isinstance(required := node.get("required"), list):
        node["required"] = sorted(required, key=str)
    match node:
        case {"examples": {"example": {"value": value, **more}, **others}} if not {*more, *others}:
            node = {**node, "example": value}
            del node["examples"]
        case {"allOf": [only]} if len(node) == 1:
            node = only
        case _:
            pass
    return node
