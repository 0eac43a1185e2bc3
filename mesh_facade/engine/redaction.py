"""Removes secrets from errors: from their texts and fields, and from the frames they lead to."""

import base64
import functools
import inspect
import json
import math
import re
import sys
import traceback
import types
import weakref
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast
from urllib.parse import quote, quote_plus

import httpx

from mesh_facade.errors import MeshError

_SHORTEST_REDACTED = 8  # redacting shorter secrets would mangle ordinary words
_DEEPEST_REDACTED = 100  # levels of nesting; anything deeper is redacted as a whole
_LONGEST_PATTERN = 2000  # characters; compiling a much longer pattern takes seconds
_REDACTED = "[redacted]"
_BITS_OF_BYTE = 8
_BITS_OF_BASE64_LETTER = 6
_BYTES_OF_BASE64_GROUP = 3
_OPTIONAL_BASE64_LETTER = "[A-Za-z0-9+/_-]?"
# System.Text.Json of .NET escapes these characters too, and writes `\"` as `\u0022`.
_ESCAPES_OF_DOTNET = {ord(character): f"\\u{ord(character):04X}" for character in "+&'<>`"}

Container: TypeAlias = dict[str, object] | list[object] | tuple[object, ...]

P = ParamSpec("P")
T = TypeVar("T")


def redact(error: MeshError, secrets: Iterable[str]) -> None:
    """Replace the secrets that a server echoed, in the text and the fields of an error."""
    with_stripped: set[str] = set()
    for secret in secrets:
        with_stripped |= {secret, secret.strip()}
    long_enough = [secret for secret in with_stripped if len(secret) >= _SHORTEST_REDACTED]
    if not long_enough:
        return
    redactor = _Redactor(long_enough)
    error.args = tuple(redactor.redact_value(argument) for argument in error.args)
    for name, value in list(vars(error).items()):
        setattr(error, name, redactor.redact_value(value))


class _Redactor:
    """Replaces secrets, in all spellings of `_spellings`, in texts and in containers of texts."""

    def __init__(self, secrets: list[str]) -> None:
        spellings: set[str] = set()
        self._within_base64: dict[str, str] = {}
        for secret in secrets:
            spellings |= _spellings(secret)
            self._within_base64 |= _patterns_within_base64(secret)
        longest_first = sorted(spellings, key=len, reverse=True)
        alternatives = "|".join(_pattern(spelling) for spelling in longest_first)
        self._pattern = re.compile(alternatives, re.IGNORECASE | re.DOTALL)

    def redact_value(self, value: object, depth: int = 1) -> object:
        """Return a copy of a value in which the secrets are replaced in all texts.

        A container in a container has the depth 2, and so on. Too deep ones are replaced.
        """
        if isinstance(value, str):
            return self._redact_text(value)
        if isinstance(value, Decimal):
            return self._redact_number(value)
        if isinstance(value, (dict, list, tuple)):
            return self._redact_container(cast("Container", value), depth)
        return value

    def _redact_container(self, value: Container, depth: int) -> object:
        if depth > _DEEPEST_REDACTED:
            return _REDACTED
        if isinstance(value, dict):
            return {
                self.redact_value(key): self.redact_value(member, depth + 1)
                for key, member in value.items()
            }
        items = [self.redact_value(item, depth + 1) for item in value]
        if isinstance(value, tuple):
            return tuple(items)
        return items

    def _redact_number(self, value: Decimal) -> object:
        """Return a number, or a text in its place if it holds a secret that consists of digits."""
        if self._pattern.search(str(value)):
            return _REDACTED
        return value

    def _redact_text(self, text: str) -> str:
        text = self._pattern.sub(_REDACTED, text)
        for letters, pattern in self._within_base64.items():
            # Compiling a pattern takes long, so it is tried only if the letters are there: rarely.
            if letters in text:
                text = re.sub(pattern, _REDACTED, text, flags=re.DOTALL)
        return text


def _spellings(secret: str) -> set[str]:
    """Return the spellings of a secret: unchanged, URL-quoted, in JSON and in base64."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    url_safe = encoded.replace("+", "-").replace("/", "_")
    spellings = {secret, quote(secret, ""), quote(secret), quote_plus(secret), encoded, url_safe}
    spellings.add(quote(secret, "!~*'()"))  # as JavaScript's encodeURIComponent writes it
    for in_json in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        spellings.add(in_json)
        spellings.add(in_json.replace("/", "\\/"))  # as PHP writes it
        spellings.add(in_json.replace('\\"', "\\u0022").translate(_ESCAPES_OF_DOTNET))
    return spellings


def _patterns_within_base64(secret: str) -> dict[str, str]:
    """Return patterns for a secret within a longer text that is in base64, such as `id:secret`.

    The keys are the letters that a text must contain before its pattern is tried.

    Base64 makes four letters of each group of three bytes. So the letters of a secret depend on
    where in a group it begins: after none, one or two other bytes. A letter at either end can hold
    bits of the text around the secret too, so any letter matches there.
    """
    patterns: dict[str, str] = {}
    secret_bytes = secret.encode()
    for bytes_before in range(_BYTES_OF_BASE64_GROUP):
        encoded = base64.b64encode(b"\0" * bytes_before + secret_bytes).decode()
        bits_before = _BITS_OF_BYTE * bytes_before
        bits_to_end = bits_before + _BITS_OF_BYTE * len(secret_bytes)
        first_whole_letter = math.ceil(bits_before / _BITS_OF_BASE64_LETTER)
        end_of_whole_letters = bits_to_end // _BITS_OF_BASE64_LETTER
        letters = encoded[first_whole_letter:end_of_whole_letters]
        url_safe = letters.replace("+", "-").replace("/", "_")
        letter_before = ""
        if bytes_before > 0:
            letter_before = _OPTIONAL_BASE64_LETTER
        for spelling in (letters, url_safe):
            pattern = letter_before + _pattern(spelling) + _OPTIONAL_BASE64_LETTER
            patterns[spelling[:_LONGEST_PATTERN]] = pattern
    return patterns


def _pattern(spelling: str) -> str:
    """Return a pattern that matches a spelling.

    The pattern of a very long spelling matches its beginning and the whole rest of the text.
    """
    if len(spelling) <= _LONGEST_PATTERN:
        return re.escape(spelling)
    return re.escape(spelling[:_LONGEST_PATTERN]) + ".*"


class _Ticket:
    """Stands for the arguments of a coroutine that has not begun."""


# `Any`, because they are passed on to a decorated method, whose parameters are not known here.
_arguments: weakref.WeakKeyDictionary[_Ticket, tuple[tuple[Any, ...], dict[str, Any]]] = (
    weakref.WeakKeyDictionary()
)
"""The arguments of coroutines that have not begun, by their tickets."""


class _CoroutineFunction:
    """A coroutine function whose coroutines hold a ticket, and no arguments, until they begin.

    If a coroutine is cancelled before its first step, the traceback of the error holds its frame.
    None of our code has begun to run then, so none can empty that frame. That is why the frame
    holds a ticket in place of the arguments.

    An ordinary function could return a coroutine with a ticket, too, but
    `inspect.iscoroutinefunction` would return False for it. This class has what `inspect` asks of
    an object that is like a function.
    """

    def __init__(
        self,
        method: Callable[..., object],
        run: Callable[[_Ticket], Coroutine[object, object, object]],
    ) -> None:
        functools.update_wrapper(self, method)
        self.__code__ = method.__code__
        self.__defaults__ = method.__defaults__
        self.__kwdefaults__ = method.__kwdefaults__
        self._run = run

    def __get__(self, instance: object, _owner: type | None = None) -> object:
        if instance is None:
            return self
        return types.MethodType(self, instance)

    def __call__(self, *args: object, **kwargs: object) -> Coroutine[object, object, object]:
        ticket = _Ticket()
        _arguments[ticket] = (args, kwargs)
        return self._run(ticket)


def keeps_secrets_out_of_tracebacks(method: Callable[P, T]) -> Callable[P, T]:
    """Decorate a public method, sync or async, whose arguments or whose `self` lead to secrets.

    A traceback holds every frame that an error passed through, and a frame holds its local
    variables. So the decorated method lets an error pass only after it has emptied all frames below
    it, and dropped the arguments from its own.
    """
    if inspect.iscoroutinefunction(method):

        async def guarded_async(ticket: _Ticket) -> object:
            args, kwargs = _arguments.pop(ticket)
            try:
                return await method(*args, **kwargs)
            except BaseException as raised:  # noqa: BLE001 — it is raised again below
                error = raised
            # The next steps come after the `except` block, because within it, `sys.exception()`
            # would be `error`. Here it is the error that the caller is handling, if any.
            # Both steps need that: `empty_frames` leaves the caller's error alone, and `raise`
            # makes it the context of `error`, as it would be without this decorator.
            empty_frames(error)
            del args, kwargs
            try:
                raise error
            finally:
                del error  # else the error would hold this frame, and this frame the error

        guarded_async.__name__ = method.__name__  # the name of its coroutines
        guarded_async.__qualname__ = method.__qualname__
        return cast("Callable[P, T]", _CoroutineFunction(method, guarded_async))

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except BaseException as raised:  # noqa: BLE001 — it is raised again below
            error = raised
        empty_frames(error)  # after the `except` block, as above
        del args, kwargs
        try:
            raise error
        finally:
            del error  # as above

    return guarded


def forget_frames(error: BaseException) -> None:
    """Remove the traceback of an error that is not raised again, and empty all frames it leads to.

    A function of the caller's may have raised it, and may keep it. Call this after the `except`
    block, as `empty_frames`.
    """
    _empty_reachable_frames(error)
    error.with_traceback(None)


def empty_frames(error: BaseException) -> None:
    """Remove local variables from all frames that an error leads to.

    An error leads to its cause, its context and, if it is a group, its members, and to the frames
    in its own traceback and in theirs.

    If `error` is a MeshError, it also loses its traceback and its context, because they only show
    the inside of the package. Any other error, such as KeyboardInterrupt or a bug, keeps its
    traceback, and so do the errors that `error` leads to.

    The caller may be handling an error of its own during the call. Python then makes it the context
    of every error that is raised here. It and the errors that it leads to are left alone, because
    their frames are the caller's.

    Errors of httpx also lose their request, because it may carry the keys.

    Call this after the `except` block that caught `error`. Within that block, the error that
    `sys.exception()` returns is `error`, and not the caller's.
    """
    if isinstance(error, MeshError):
        traceback.clear_frames(error.__traceback__)
        error.with_traceback(None)
        error.__context__ = None
    _empty_reachable_frames(error)


def _empty_reachable_frames(error: BaseException) -> None:
    """Empty the frames that an error leads to, except those of errors that the caller handles."""
    # `error` may itself be one of the caller's errors: a function such as `on_attempt` can raise
    # again the error that the caller is handling, or its cause or context. Then its traceback leads
    # to our frames as well. So the search for the caller's errors stops at `error`. Otherwise,
    # `error` and all that it leads to would count as the caller's, and their frames would stay.
    errors_of_caller = _errors_reachable_from(sys.exception(), without=[error])
    for reachable in _errors_reachable_from(error, without=errors_of_caller):
        traceback.clear_frames(reachable.__traceback__)
        # A caller's transport may have wrapped an error of httpx, which has our request.
        if isinstance(reachable, httpx.HTTPError):
            reachable.request = cast("httpx.Request", None)
        if isinstance(reachable, httpx.HTTPStatusError):
            reachable.response.request = cast("httpx.Request", None)


def _errors_reachable_from(
    start: BaseException | None, without: list[BaseException]
) -> list[BaseException]:
    """Return an error and the errors that it leads to.

    Leave out the errors in `without`, and those that can be reached only through them.
    """
    reachable: list[BaseException] = []
    # Errors can lead to each other in circles. They are told apart by their ids, because the class
    # of an error may define `__eq__`.
    seen: set[int] = {id(error) for error in without}
    to_visit = [start]
    while to_visit:
        error = to_visit.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        reachable.append(error)
        to_visit.append(error.__cause__)
        to_visit.append(error.__context__)
        if isinstance(error, BaseExceptionGroup):
            to_visit.extend(cast("BaseExceptionGroup[BaseException]", error).exceptions)
    return reachable
