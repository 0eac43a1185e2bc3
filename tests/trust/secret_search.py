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
    """Return what base64 makes of a word, wherever in the encoded text it starts."""
    encoded = (
        base64.b64encode(b" " * shift + word.encode() + b"  ").decode() for shift in range(3)
    )
    return {text[4:12] for text in encoded}


MARKS = frozenset(WORDS).union(*map(_base64_cores, WORDS))


def canaries_in(text: str) -> set[str]:
    return {mark for mark in MARKS if mark in text}


def objects_reachable_from(found: object, *, seen: set[int] | None = None) -> Iterator[object]:
    """Go through an object and all it holds, but not to the code that it is made of."""
    seen = set() if seen is None else seen
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
    yield from vars(found).values() if hasattr(found, "__dict__") else ()
    for slot in {slot for base in type(found).__mro__ for slot in getattr(base, "__slots__", ())}:
        yield getattr(found, slot, None)
    for frame in (getattr(found, name, None) for name in ("cr_frame", "gi_frame", "ag_frame")):
        yield dict(frame.f_locals) if frame else None


def frames_below_the_client(error: BaseException) -> Iterator[types.FrameType]:
    """Walk the traceback from our shell downwards: generated and httpx frames too."""
    step, is_ours = error.__traceback__, False
    while step is not None:
        is_ours = is_ours or "/mesh_facade/" in step.tb_frame.f_code.co_filename
        if is_ours:
            yield step.tb_frame
        step = step.tb_next


def texts_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """Show all that an error says and leads to."""
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
        if (other := getattr(error, name)) is not None:
            yield from ((f"{name}: {where}", text) for where, text in texts_of(other))


def leaks_in(error: BaseException) -> dict[str, set[str]]:
    return {where: found for where, text in texts_of(error) if (found := canaries_in(text))}


def leaks_in_logs(records: list[logging.LogRecord]) -> dict[str, set[str]]:
    texts = ((record.name, f"{record.getMessage()} {vars(record)!r}") for record in records)
    return {name: found for name, text in texts if (found := canaries_in(text))}
