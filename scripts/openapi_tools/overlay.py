"""Applies an OpenAPI Overlay (version 1.0) to an OpenAPI document."""

import copy
import re
from pathlib import Path
from typing import Any, cast

import jsonpath

from openapi_tools.documents import SpecError, read_document

# The grammar of RFC 9535 alone: an overlay must mean the same to every other tool.
_RFC_9535 = jsonpath.JSONPathEnvironment(strict=True)


def apply_overlay(path: Path, document: Any) -> list[str]:
    """Apply an overlay to a document, in place; return notes of the actions no longer needed."""
    match read_document(path):
        case {"overlay": "1.0.0", "actions": [*actions]}:
            pass
        case _:
            raise SpecError(f"{path}: an overlay has `overlay: 1.0.0` and a list of `actions`")
    notes: list[str] = []
    for number, action in enumerate(actions, start=1):
        before = copy.deepcopy(document)
        try:
            _apply(action, document)
        except (SpecError, jsonpath.JSONPathError) as error:
            raise SpecError(f"{path}: action {number}: {error.args[0]}") from error
        if document == before:
            notes += [f"{path}: action {number}: {action['target']}: the spec says so already"]
    return notes


def _apply(action: Any, document: Any) -> None:
    match action:
        case {"target": "$", "remove": True}:
            raise SpecError("the document as a whole cannot be removed")
        case {"target": str(path), "remove": True} | {"target": str(path), "update": _}:
            # The cast: a strict environment knows no compound paths.
            target = cast("jsonpath.JSONPath", _RFC_9535.compile(path))
        case _:
            raise SpecError("a `target` and an `update` or `remove: true` are expected")
    removes = action.get("remove") is True
    matches = {match.parts: match for match in target.finditer(document)}
    holder = jsonpath.JSONPath(env=_RFC_9535, segments=target.segments[:-1])
    if not matches and not (removes and holder.findall(document)):
        raise SpecError(f"{path} matches nothing: {_guess(path, document)}")
    # From the end, or removing an item would move the next ones.
    for parts, match in sorted(matches.items(), reverse=True):
        if removes:
            cast("Any", match.parent).obj.pop(parts[-1])
        else:
            update = copy.deepcopy(action["update"])
            _merge(match.obj, [update] if isinstance(match.obj, list) else update, match.path)


def _guess(path: str, document: Any) -> str:
    """Say why a target is not there: most often Mesh has renamed a schema."""
    schema = re.match(r"\$\.components\.schemas\.(\w+)", path)
    if schema and schema[1] not in document.get("components", {}).get("schemas", {}):
        return f"there is no schema {schema[1]}; map its new name to it in openapi/import.yaml"
    return "the spec has changed, so must the action"


def _merge(node: Any, update: Any, place: str) -> None:
    """Merge as the specification says, except that an array gets no item that it has already."""
    match node, update:
        case dict(), dict():
            for key, value in update.items():
                if key in node and {type(node[key]), type(value)} & {dict, list}:
                    _merge(node[key], value, f"{place}.{key}")
                else:
                    node[key] = value
        case list(), list():
            node += [item for item in update if item not in node]
        case _:
            raise SpecError(f"the update does not fit what is at {place}")
