"""JSON values, of which every document consists, and checks of their shape."""

import json
from collections.abc import Collection
from typing import TypeAlias

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
"""Any value that JSON can express."""

JSONObject: TypeAlias = dict[str, JSON]
"""A JSON object: what YAML calls a mapping."""


class SpecError(Exception):
    """A document that cannot be read, or does not fit. The message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def to_text(value: JSON) -> str:
    """Return a text to compare a value by: it is the same for equal values only.

    Python's own `==` holds `true`, 1 and 1.0 to be equal.
    """
    return json.dumps(value, sort_keys=True)


def expect_object(value: JSON, place: str) -> JSONObject:
    """Return an object itself, not a copy; raise SpecError for anything else."""
    if not isinstance(value, dict):
        raise SpecError(f"{place}: expected a mapping, not {value!r:.60}")
    return value


def copy_object(
    value: JSON, place: str, *, needed: Collection[str] = (), optional: Collection[str] = ()
) -> JSONObject:
    """Return a copy of an object.

    Raise SpecError if `value` is not an object, if it lacks a needed key, or if it has a key that
    is neither needed nor optional. Without needed and optional keys, every key is allowed.
    """
    members = expect_object(value, place)
    for key in needed:
        if key not in members:
            raise SpecError(f"{place}: '{key}' is missing")
    if needed or optional:
        for key in members:
            if key not in needed and key not in optional:
                raise SpecError(f"{place}: '{key}' is not known here")
    return dict(members)


def copy_objects(value: JSON, place: str) -> list[JSONObject]:
    """Return copies of the objects in a list; raise SpecError for anything else."""
    return [copy_object(item, place) for item in expect_list(value, place)]


def expect_list(value: JSON, place: str) -> list[JSON]:
    """Return a list itself, not a copy; raise SpecError for anything else."""
    if not isinstance(value, list):
        raise SpecError(f"{place}: expected a list, not {value!r:.60}")
    return value


def expect_text(value: JSON, place: str) -> str:
    """Return a string; raise SpecError for anything else."""
    if not isinstance(value, str):
        raise SpecError(f"{place}: expected a text, not {value!r:.60}")
    return value
