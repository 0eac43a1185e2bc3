"""Three secrets, and a search for them in all that an error or an object leads to."""

from __future__ import annotations

import base64
import copy
import functools
import logging
import pickle
import types
from collections.abc import Iterator, Mapping

from mesh_facade import MeshError

CLIENT_ID = 'Id/CanaryOne?&"1"'
CLIENT_SECRET = 'Secret/CanaryTwo+%"2"'
TOKEN = 'Token/CanaryThree é✓ +"3" '
WORDS = ("CanaryOne", "CanaryTwo", "CanaryThree")  # what all spellings but base64 have in common


def _base64_cores(word: str) -> set[str]:
    """Return the parts of base64 texts that hold the word, for each of its three alignments."""
    encoded = (
        base64.b64encode(b" " * shift + word.encode() + b"  ").decode() for shift in range(3)
    )
    return {text[4:12] for text in encoded}


MARKS = frozenset(WORDS).union(*map(_base64_cores, WORDS))


def canaries_in(text: str) -> set[str]:
    return {mark for mark in MARKS if mark in text}


def objects_reachable_from(found: object, *, seen: set[int] | None = None) -> Iterator[object]:
    """Yield an object and all objects that it holds, without types, modules and code."""
    if seen is None:
        seen = set()
    code = (type, types.ModuleType, types.TracebackType, types.FrameType, types.CodeType)
    if id(found) in seen or isinstance(found, code):
        return
    seen.add(id(found))
    yield found
    for part in _parts_of(found):
        yield from objects_reachable_from(part, seen=seen)


def _parts_of(found: object) -> Iterator[object]:
    if isinstance(found, Mapping):
        yield from [*found.keys(), *found.values()]
    elif isinstance(found, (list, tuple, set, frozenset)):
        yield from found
    elif isinstance(found, types.FunctionType):
        yield from [cell.cell_contents for cell in found.__closure__ or ()]
        return
    elif isinstance(found, functools.partial):
        yield from (found.func, found.args, found.keywords)
    yield getattr(found, "__self__", None)
    if hasattr(found, "__dict__"):
        yield from vars(found).values()
    for base in type(found).__mro__:
        for slot in getattr(base, "__slots__", ()):
            yield getattr(found, slot, None)
    for name in ("cr_frame", "gi_frame", "ag_frame"):  # of coroutines and generators
        frame = getattr(found, name, None)
        if frame is not None:
            yield dict(frame.f_locals)


def frames_below_the_client(error: BaseException) -> Iterator[types.FrameType]:
    """Yield the frames of a traceback from the package downwards, those of httpx included."""
    step = error.__traceback__
    is_ours = False
    while step is not None:
        is_ours = is_ours or "/mesh_facade/" in step.tb_frame.f_code.co_filename
        if is_ours:
            yield step.tb_frame
        step = step.tb_next


def texts_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield all texts that an error holds or leads to, each with its place."""
    for name, text in (("str", str(error)), ("repr", repr(error)), ("args", repr(error.args))):
        yield name, text
    yield "attributes", repr(vars(error))
    yield "notes", repr(getattr(error, "__notes__", None))
    if isinstance(error, MeshError):
        yield "pickle", pickle.dumps(error, protocol=0).decode("latin-1")
        yield "unpickled", repr(vars(pickle.loads(pickle.dumps(error))))  # noqa: S301 — our own
        yield "copies", repr([vars(copy.copy(error)), vars(copy.deepcopy(error))])
    for frame in frames_below_the_client(error):
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        for name, value in frame.f_locals.items():
            for thing in objects_reachable_from(value):
                if isinstance(thing, (str, bytes, bytearray)):
                    yield f"local {name} of {where}", str(thing)
                elif not isinstance(thing, BaseException):
                    yield f"local {name} of {where}", repr(thing)
    for name in ("__cause__", "__context__"):
        other = getattr(error, name)
        if other is not None:
            yield from ((f"{name}: {where}", text) for where, text in texts_of(other))


def leaks_in(error: BaseException) -> dict[str, set[str]]:
    """Return the canaries in all that an error holds or leads to, by place."""
    leaks: dict[str, set[str]] = {}
    for where, text in texts_of(error):
        canaries = canaries_in(text)
        if canaries:
            leaks[where] = canaries
    return leaks


def leaks_in_logs(records: list[logging.LogRecord]) -> dict[str, set[str]]:
    """Return the canaries in log records, by logger."""
    leaks: dict[str, set[str]] = {}
    for record in records:
        canaries = canaries_in(f"{record.getMessage()} {vars(record)!r}")
        if canaries:
            leaks[record.name] = canaries
    return leaks
