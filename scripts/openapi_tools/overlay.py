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
    """One change: it removes its target, or merges an update into it."""

    target: str
    """A JSONPath. The action applies to each place that it matches."""
    removes: bool
    update: JSON = None
    """Only used if the action does not remove its target."""


def apply_overlay(path: Path, document: JSONObject) -> list[str]:
    """Apply an overlay to a document, in place; return a note on each action without effect.

    Raise SpecError, with the number of the action, if one cannot be applied.
    """
    notes: list[str] = []
    for number, entry in enumerate(_read_actions(path), start=1):
        before = copy.deepcopy(document)
        try:
            action = _read_action(entry)
            _apply(action, document)
        except (SpecError, jsonpath.JSONPathError) as error:
            raise SpecError(f"{path}: action {number}: {error.args[0]}") from error
        if document == before:
            notes.append(
                f"{path}: action {number}: {action.target}: the action has no effect, because the"
                " spec already agrees with it: you can delete the action"
            )
    return notes


def _read_actions(path: Path) -> list[JSON]:
    match read_document(path):
        case {"overlay": "1.0.0", "actions": [*actions]}:
            return actions
        case _:
            raise SpecError(f"{path}: an overlay has `overlay: 1.0.0` and a list of `actions`")


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
    # The cast: only an environment that is not strict compiles a path to anything else.
    target = cast("jsonpath.JSONPath", _RFC_9535.compile(action.target))
    # By its place, because a path such as `$.tags[0, 0]` matches one place twice.
    matches = {match.parts: match for match in target.finditer(document)}
    if not matches and not (action.removes and _has_parent(target, document)):
        raise SpecError(f"{action.target} matches nothing: {_suggest(action.target, document)}")
    # Later items of an array come first: to remove an item moves all items after it.
    for parts in sorted(matches, reverse=True):
        match = matches[parts]
        if action.removes:
            _remove(match)
        else:
            _update(match, copy.deepcopy(action.update))


def _has_parent(target: jsonpath.JSONPath, document: JSONObject) -> bool:
    """Return True if a parent of the target is there, so that only the target itself is missing."""
    holder = jsonpath.JSONPath(env=_RFC_9535, segments=target.segments[:-1])
    return bool(holder.findall(document))


def _remove(match: jsonpath.JSONPathMatch) -> None:
    """Remove a place from the object or the array that holds it."""
    # The casts: the place is not the root, and only objects and arrays hold places.
    parent = cast("jsonpath.JSONPathMatch", match.parent)
    holder = cast("JSONObject | list[JSON]", parent.obj)
    key = match.parts[-1]
    if isinstance(holder, list):
        del holder[int(key)]
    else:
        del holder[str(key)]


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
    """Return what to do about a target that matches nothing."""
    schema = re.match(r"\$\.components\.schemas\.(\w+)", target)
    if schema and schema[1] not in components_of(document, "schemas"):
        return (
            f"there is no schema {schema[1]}. If Mesh renamed it, add 'NEW_NAME: {schema[1]}' to"
            " `schemas` in openapi/import.yaml; otherwise correct or delete the action"
        )
    return (
        "correct the target if it is misspelt; if Mesh changed this part of the spec, adapt or"
        " delete the action"
    )
