"""The envelope around every answer of Mesh, and what an answer means: a result, or which error.

A result has HTTP 2xx, the status `ok`, and an envelope in which the operation's check finds no
problem. Every other answer becomes one error. The first rule that applies decides its class:

1. If the envelope has a known status other than `ok`, the status decides, whatever the HTTP status:
   Mesh sends such a status with HTTP 200 too.
2. If the HTTP status is not 2xx, the HTTP status decides. From 500 it means ServerError. A 4xx
   without a class of its own means MeshAPIError. Anything below 400 means MeshResponseError.
3. If the status is `ok`, but the operation's check finds a problem, that means MeshResponseError.
4. If the envelope has another status, that means MeshAPIError; if it has none, MeshResponseError.

A known status may be in upper or lower case, because Mesh has changed that in its enums before.
Only `ok` must be spelled exactly so, because a doubtful answer counts as an error.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs
from mesh_connect_client.models import ApiResult

from mesh_facade.engine.bodies import Answer
from mesh_facade.engine.retries import read_retry_after
from mesh_facade.engine.strict_json import JSONObject
from mesh_facade.errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    LockedError,
    MeshAPIError,
    MeshError,
    MeshResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnavailableForLegalReasonsError,
)
from mesh_facade.operations.wire_names import WireNames

CheckAndComplete: TypeAlias = Callable[[JSONObject], str | None]
"""Checks an envelope with the status `ok`, and adds fields that Mesh left out, as null.

It returns what is wrong with the envelope, or None if nothing is. The text ends the sentence
"Mesh's answer cannot be used: …".
"""


@attrs.frozen
class _ErrorKind:
    """An error class, with the HTTP status and the envelope's status that mean it.

    Either of the two is enough; if they mean different errors, the envelope's status decides.

    Attributes:
        http_status: The HTTP status that means it.
        status: The envelope's status that means it; None if the spec lists none.
        error_class: The class.
    """

    http_status: int
    status: str | None
    error_class: type[MeshAPIError]


_ERROR_KINDS = (
    _ErrorKind(400, "badRequest", BadRequestError),
    _ErrorKind(401, None, AuthenticationError),  # the spec lists no status for it
    _ErrorKind(403, "permissionDenied", PermissionDeniedError),
    _ErrorKind(404, "notFound", NotFoundError),
    _ErrorKind(409, "conflict", ConflictError),
    _ErrorKind(423, "locked", LockedError),
    _ErrorKind(429, "tooManyRequest", RateLimitError),
    _ErrorKind(451, "unavailableForLegalReasons", UnavailableForLegalReasonsError),
    # Any HTTP status above 500 means it, too: see `_class_of_http_status`.
    _ErrorKind(500, "serverFailure", ServerError),
)
_CLASS_BY_HTTP_STATUS = {kind.http_status: kind.error_class for kind in _ERROR_KINDS}
# In lower case, as `judge` looks them up.
_CLASS_BY_STATUS = {kind.status.lower(): kind.error_class for kind in _ERROR_KINDS if kind.status}

_WIRE = WireNames(ApiResult)
_STATUS = _WIRE["status"]
# Some versions of the spec lack one or more of these. The present one does not declare `teamCode`.
_ERROR_TYPE = _WIRE.get_or_guess("error_type")
_MESSAGE = _WIRE.get_or_guess("message")
_DISPLAY_MESSAGE = _WIRE.get_or_guess("display_message")
_ERROR_HASH = _WIRE.get_or_guess("error_hash")
_ERROR_DATA = _WIRE.get_or_guess("error_data")
_TEAM_CODE = _WIRE.get_or_guess("team_code")

TEXT_FIELDS = (_MESSAGE, _DISPLAY_MESSAGE, _ERROR_HASH, _ERROR_TYPE)
"""The fields beside `status` that the spec declares as strings or null.

`judge` does not check them. An operation does so in its `check_and_complete`, with its own fields.
`teamCode` is not in this list, because the spec does not declare it.
"""

_REQUEST_ID_HEADERS = ("x-request-id", "cf-ray")
_OK = "ok"
# Only what looks like a code goes into str(error): free text, which may name a person, does not.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def judge(answer: Answer, check_and_complete: CheckAndComplete) -> MeshError | None:
    """Return the error that an answer means; None if it holds a result.

    Args:
        answer: The answer.
        check_and_complete: The operation's own check of an envelope with the status `ok`. It may
            add fields to `answer.value`.
    """
    envelope: JSONObject = {}
    if isinstance(answer.value, dict):
        envelope = answer.value
    status = _text(envelope, _STATUS)
    if status is not None and status.lower() in _CLASS_BY_STATUS:
        return _api_error(_CLASS_BY_STATUS[status.lower()], answer, envelope)
    if not 200 <= answer.http_status < 300:  # noqa: PLR2004 — 2xx is success
        error_class = _class_of_http_status(answer.http_status)
        if error_class is None:
            return _response_error(answer, "its HTTP status is neither success nor failure")
        return _api_error(error_class, answer, envelope)
    if status == _OK:
        problem = check_and_complete(envelope)
        if problem is None:
            return None
        return _response_error(answer, problem)
    if status is not None:
        return _api_error(MeshAPIError, answer, envelope)
    # An answer that could not be read, such as one that is not JSON, has no status either.
    return _response_error(answer, answer.problem or "it is not an envelope with a status")


def find_request_id(headers: Mapping[str, str]) -> str | None:
    """Return the id to quote to Mesh's support; None if the answer has none."""
    for name in _REQUEST_ID_HEADERS:
        if name in headers:  # faster than `headers.get` where a header is missing
            request_id = headers[name]
            if request_id:
                return request_id
    return None


def _class_of_http_status(http_status: int) -> type[MeshAPIError] | None:
    """Return the class for an HTTP status outside 2xx; None if it is below 400."""
    if http_status < 400:  # noqa: PLR2004
        return None
    if http_status >= 500:  # noqa: PLR2004 — 520 or 999 too, as gateways answer
        return ServerError
    return _CLASS_BY_HTTP_STATUS.get(http_status, MeshAPIError)


def _api_error(
    error_class: type[MeshAPIError], answer: Answer, envelope: JSONObject
) -> MeshAPIError:
    status = _text(envelope, _STATUS)
    error_type = _text(envelope, _ERROR_TYPE)
    text = f"Mesh answered HTTP {answer.http_status}"
    for code in (status, error_type):
        if code is not None and _CODE.fullmatch(code):
            text += f": {code}"
    return error_class(
        text,
        http_status=answer.http_status,
        status=status,
        error_type=error_type,
        message=_text(envelope, _MESSAGE),
        display_message=_text(envelope, _DISPLAY_MESSAGE),
        error_hash=_text(envelope, _ERROR_HASH),
        error_data=envelope.get(_ERROR_DATA),
        team_code=_text(envelope, _TEAM_CODE),
        retry_after=read_retry_after(answer.headers),
        request_id=find_request_id(answer.headers),
    )


def _response_error(answer: Answer, problem: str) -> MeshResponseError:
    return MeshResponseError(
        f"Mesh's answer (HTTP {answer.http_status}) cannot be used: {problem}",
        http_status=answer.http_status,
        request_id=find_request_id(answer.headers),
    )


def _text(envelope: JSONObject, wire_name: str) -> str | None:
    """Return a field that is a string; None if it is missing or something else."""
    value = envelope.get(wire_name)
    if not isinstance(value, str):
        return None
    return value
