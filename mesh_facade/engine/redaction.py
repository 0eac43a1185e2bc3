"""Removes secrets from errors: from their texts and fields, and from the frames they lead to."""

import base64
import functools
import inspect
import json
import re
import traceback
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar, cast
from urllib.parse import quote, quote_plus

from mesh_facade.errors import MeshError

_SHORTEST_REDACTED = 8  # redacting shorter secrets would mangle ordinary words
_DEEPEST_REDACTED = 100  # levels of nesting; anything deeper is redacted as a whole
_LONGEST_PATTERN = 2000  # characters; compiling a much longer pattern takes seconds
_REDACTED = "[redacted]"

P = ParamSpec("P")
T = TypeVar("T")


def redact(error: MeshError, secrets: Iterable[str]) -> None:
    """Replace the secrets that a server echoed, in the text and the fields of an error."""
    spellings: set[str] = set()
    for secret in secrets:
        spellings |= _spellings(secret)
    if not spellings:
        return
    longest_first = sorted(spellings, key=len, reverse=True)
    alternatives = "|".join(_pattern(spelling) for spelling in longest_first)
    pattern = re.compile(alternatives, re.IGNORECASE | re.DOTALL)
    error.args = tuple(_redacted(argument, pattern) for argument in error.args)
    for name, value in list(vars(error).items()):
        setattr(error, name, _redacted(value, pattern, depth=1))


def _spellings(secret: str) -> set[str]:
    """Return a secret as it is, URL-quoted, JSON-escaped and in base64."""
    if len(secret) < _SHORTEST_REDACTED:
        return set()
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    url_safe = encoded.replace("+", "-").replace("/", "_")
    in_json = json.dumps(secret)[1:-1]
    return {secret, quote(secret, ""), quote_plus(secret), in_json, encoded, url_safe}


def _pattern(spelling: str) -> str:
    """Return a pattern for a spelling; of a very long one, its beginning and all that follows."""
    if len(spelling) <= _LONGEST_PATTERN:
        return re.escape(spelling)
    return re.escape(spelling[:_LONGEST_PATTERN]) + ".*"


def _redacted(value: object, pattern: re.Pattern[str], depth: int = 0) -> object:
    """Return a copy of a value in which the pattern is replaced in all strings."""
    if isinstance(value, str):
        return pattern.sub(_REDACTED, value)
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth > _DEEPEST_REDACTED:
        return _REDACTED
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {
            _redacted(key, pattern): _redacted(member, pattern, depth + 1)
            for key, member in members.items()
        }
    items = [_redacted(item, pattern, depth + 1) for item in cast("list[object]", value)]
    if isinstance(value, tuple):
        return tuple(items)
    return items


def keeps_secrets_out_of_tracebacks(method: Callable[P, T]) -> Callable[P, T]:
    """Decorate a public method whose arguments are secret, sync or async.

    A traceback holds every frame that an error passed through, and a frame holds its local
    variables. So the decorated method lets an error pass only after it has emptied all frames below
    it, and dropped the arguments from its own.
    """
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> object:
            try:
                return await method(*args, **kwargs)
            except BaseException as raised:  # noqa: BLE001 — it is raised again below
                error = raised
            # Outside of the `except` block, or the raised error would be its own context.
            empty_frames(error)
            del args, kwargs
            try:
                raise error
            finally:
                del error  # else the error would hold this frame, and this frame the error

        return cast("Callable[P, T]", guarded_async)

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except BaseException as raised:  # noqa: BLE001 — it is raised again below
            error = raised
        empty_frames(error)
        del args, kwargs
        try:
            raise error
        finally:
            del error  # as above

    return guarded


def empty_frames(error: BaseException) -> None:
    """Remove local variables from all frames that an error leads to.

    An error of this package loses its traceback and its context altogether: they only show the
    inside of the package. Any other error, such as KeyboardInterrupt or a bug, keeps its traceback.
    """
    if isinstance(error, MeshError):
        traceback.clear_frames(error.__traceback__)
        error.with_traceback(None)
        error.__context__ = None
    seen: list[BaseException] = []  # errors can lead to each other in circles
    found: list[BaseException | None] = [error]
    while found:
        each = found.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        traceback.clear_frames(each.__traceback__)
        found.append(each.__cause__)
        found.append(each.__context__)
        if isinstance(each, BaseExceptionGroup):
            found.extend(cast("BaseExceptionGroup[BaseException]", each).exceptions)
