"""Applies an OpenAPI Overlay (version 1.0) to an OpenAPI document, for `make generate`."""

import copy
import re
from pathlib import Path
from typing import cast

import jsonpath
from attrs import frozen

from openapi_tools.documents import read_document
from openapi_tools.json_values import JSON, JSONObject, SpecError
from openapi_tools.references import components_of

# The grammar of RFC 9535 alone: an overlay must mean the same to every other tool.
_RFC_9535 = jsonpath.JSONPathEnvironment(strict=True)


@frozen
class _Action:
    """One change: what it applies to, and the update to merge, unless it removes."""

    target: str
    removes: bool
    update: JSON = None


def apply_overlay(path: Path, document: JSONObject) -> list[str]:
    """Apply an overlay to a document, in place; return a note on each action without effect."""
    overlay = read_document(path)
    match overlay:
        case {"overlay": "1.0.0", "actions": [*actions]}:
            pass
        case _:
            raise SpecError(f"{path}: an overlay has `overlay: 1.0.0` and a list of `actions`")
    notes: list[str] = []
    for number, entry in enumerate(actions, start=1):
        before = copy.deepcopy(document)
        try:
            action = _read_action(entry)
            _apply(action, document)
        except (SpecError, jsonpath.JSONPathError) as error:
            raise SpecError(f"{path}: action {number}: {error.args[0]}") from error
        if document == before:
            notes.append(f"{path}: action {number}: {action.target}: the spec says so already")
    return notes


def _read_action(entry: JSON) -> _Action:
    match entry:
        case {"target": "$", "remove": True}:
            raise SpecError("the document as a whole cannot be removed")
        case {"target": str(target), "remove": True}:
            return _Action(target, removes=True)
        case {"target": str(target), "update": update}:
            return _Action(target, removes=False, update=update)
        case _:
            raise SpecError("expected a `target` and an `update` or `remove: true`")


def _apply(action: _Action, document: JSONObject) -> None:
    # The cast: a strict environment knows no compound paths.
    target = cast("jsonpath.JSONPath", _RFC_9535.compile(action.target))
    # A path such as `$.tags[0, 0]` matches one place twice.
    matches = {match.parts: match for match in target.finditer(document)}
    if not matches and not (action.removes and _has_parent(target, document)):
        raise SpecError(f"{action.target} matches nothing: {_suggest(action.target, document)}")
    # From the end, or removing an item would move the next ones.
    for parts, match in sorted(matches.items(), reverse=True):
        if action.removes:
            _remove(cast("jsonpath.JSONPathMatch", match.parent).obj, parts[-1])
        else:
            _update(match, copy.deepcopy(action.update))


def _has_parent(target: jsonpath.JSONPath, document: JSONObject) -> bool:
    """Return True if what holds the target is there: then the target was removed already."""
    holder = jsonpath.JSONPath(env=_RFC_9535, segments=target.segments[:-1])
    return bool(holder.findall(document))


def _remove(holder: object, key: int | str) -> None:
    # The cast: a match's parent is an object or an array, and the key fits it.
    cast("JSONObject", holder).pop(cast("str", key))


def _update(match: jsonpath.JSONPathMatch, update: JSON) -> None:
    # The cast: what matches in a JSON document is JSON.
    node = cast("JSON", match.obj)
    if isinstance(node, list):  # an update of an array is one more item
        _merge(node, [update], match.path)
    else:
        _merge(node, update, match.path)


def _merge(node: JSON, update: JSON, place: str) -> None:
    """Merge as the specification says, except that an array gets no item that it has already."""
    if isinstance(node, dict) and isinstance(update, dict):
        for key, value in update.items():
            if key in node and (_is_container(node[key]) or _is_container(value)):
                _merge(node[key], value, f"{place}.{key}")
            else:
                node[key] = value
    elif isinstance(node, list) and isinstance(update, list):
        node += [item for item in update if item not in node]
    else:
        raise SpecError(f"the update does not fit what is at {place}")


def _is_container(value: JSON) -> bool:
    return isinstance(value, dict | list)


def _suggest(target: str, document: JSONObject) -> str:
    """Return what to do about a target that is not there: most often, Mesh renamed a schema."""
    schema = re.match(r"\$\.components\.schemas\.(\w+)", target)
    if schema and schema[1] not in components_of(document, "schemas"):
        return f"there is no schema {schema[1]}; map its new name to it in openapi/import.yaml"
    return "the spec has changed, so must the action"
