"""Applies an OpenAPI Overlay (version 1.0) to an OpenAPI document, for `make generate`."""

import copy
import re
from pathlib import Path
from typing import cast

import jsonpath
from attrs import frozen
from jsonpath.segments import JSONPathChildSegment
from jsonpath.selectors import NameSelector

from openapi_tools.documents import read_document
from openapi_tools.json_values import JSON, JSONObject, SpecError, to_text
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
        before = to_text(document)
        try:
            action = _read_action(entry)
            _apply(action, document)
        except SpecError as error:
            raise SpecError(f"{path}: action {number}: {error}") from error
        except jsonpath.JSONPathError as error:
            # Its text has several lines, with an arrow to the place; `message` is one line.
            raise SpecError(f"{path}: action {number}: {error.message}") from error
        if to_text(document) == before:
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
    # The cast: in a strict environment, compile() always returns a JSONPath.
    target = cast("jsonpath.JSONPath", _RFC_9535.compile(action.target))
    # The keys are places, because a path such as `$.tags[0, 0]` matches one place twice.
    matches = {match.parts: match for match in target.finditer(document)}
    if not matches:
        if action.removes and _has_holder(target, document):
            return  # It is gone already, so the action has no effect, which is only noted.
        raise SpecError(f"{action.target} matches nothing: {_suggest(action.target, document)}")
    # Later items of an array come first, because removing an item moves all items after it.
    for parts in sorted(matches, reverse=True):
        match = matches[parts]
        if action.removes:
            _remove(match)
        else:
            _update(match, copy.deepcopy(action.update))


def _has_holder(target: jsonpath.JSONPath, document: JSONObject) -> bool:
    """Return True if the object or array that would hold the target exists."""
    *segments, last = target.segments
    holder_types: tuple[type, ...] = (dict, list)
    has_names_only = all(isinstance(selector, NameSelector) for selector in last.selectors)
    if isinstance(last, JSONPathChildSegment) and has_names_only:
        holder_types = (dict,)  # the items of an array have no names
    holders = jsonpath.JSONPath(env=_RFC_9535, segments=segments).findall(document)
    return any(isinstance(holder, holder_types) for holder in holders)


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
    # The cast: each match in a JSON document is JSON.
    node = cast("JSON", match.obj)
    if isinstance(node, list):  # the update of an array is an item to append
        _merge(node, [update], match.path)
    else:
        _merge(node, update, match.path)


def _merge(node: JSON, update: JSON, place: str) -> None:
    """Merge an update into an object or an array, in place.

    Merge as the specification says, except that an array gets no item that it has already. Raise
    SpecError unless both are objects, or both are arrays.
    """
    if isinstance(node, dict) and isinstance(update, dict):
        for key, value in update.items():
            if key not in node or (_is_scalar(node[key]) and _is_scalar(value)):
                node[key] = value
            else:
                _merge(node[key], value, f"{place}.{key}")
    elif isinstance(node, list) and isinstance(update, list):
        present = {to_text(item) for item in node}
        node += [item for item in update if to_text(item) not in present]
    else:
        raise SpecError(f"the update does not fit what is at {place}")


def _is_scalar(value: JSON) -> bool:
    return not isinstance(value, dict | list)


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
