"""Finds secrets in the texts that an object leads to."""

from __future__ import annotations

import asyncio
import base64
import gc
import itertools
import json
import traceback
import types
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from tests.support import CLIENT_ID, CLIENT_SECRET, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = [CLIENT_ID, CLIENT_SECRET, TOKEN]


def spellings_of(secret: str) -> list[str]:
    return [
        secret,
        quote(secret, ""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
    ]


SPELLINGS = [spelling for secret in SECRETS for spelling in spellings_of(secret)]


def find_secrets(text: str) -> list[str]:
    return [spelling for spelling in SPELLINGS if spelling in text]


CODE_TYPES = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
    types.FrameType,
    types.TracebackType,
    asyncio.AbstractEventLoop,
)


def texts_reachable_from(roots: list[Any]) -> Iterator[str]:
    """Yield each text that objects lead to, code and its modules aside."""
    seen: dict[int, Any] = {}
    while roots:
        item = roots.pop()
        if id(item) in seen or isinstance(item, CODE_TYPES):
            continue
        seen[id(item)] = item
        if isinstance(item, (bytes, bytearray)):
            yield item.decode("latin-1")
        elif isinstance(item, str):
            yield item
        elif isinstance(item, BaseException):
            roots += locals_below_the_client(item)
            roots += [item.args, vars(item), item.__cause__, item.__context__]
        else:
            roots += gc.get_referents(item)


def locals_below_the_client(error: BaseException) -> list[Any]:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    outside = itertools.takewhile(lambda frame: is_above_the_client(frame.f_code), frames)
    return [dict(frame.f_locals) for frame in frames[len(list(outside)) :]]


def is_above_the_client(code: types.CodeType) -> bool:
    return not code.co_filename.endswith("mesh_facade/client.py")


ECHOED_FIELDS = {
    "message": " ".join(SPELLINGS),
    "displayMessage": SPELLINGS[0],
    "errorType": SPELLINGS[1],
    "errorHash": SPELLINGS[2],
    "teamCode": SPELLINGS[3],
    "errorData": {spelling: [spelling, {"deep": spelling}] for spelling in SPELLINGS},
}


ECHOED_HEADERS = {"X-Request-Id": CLIENT_SECRET, "Retry-After": "3600"}
