"""The faults that the mock server knows by name."""

from collections.abc import Mapping

import attrs

from mesh_facade import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    LockedError,
    MeshAPIError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnavailableForLegalReasonsError,
)
from mesh_facade.testing.answers import (
    NOWHERE,
    Answer,
    Failure,
    envelope,
    envelope_with_content,
)

_HOUR = 3600.0
_DRIP = 0.1  # seconds between two bytes: shorter than any read timeout


@attrs.frozen(kw_only=True)
class Fault:
    """One way in which a call can fail.

    Attributes:
        name: Its name, for `MockServer.fails`.
        description: What the server does.
        error: The class of the exception that a client raises if each of its attempts meets the
            fault.
        answer: What the server sends, and how its connection fails.
    """

    name: str
    description: str
    error: type[MeshError]
    answer: Answer = attrs.field(repr=False)


_ALL = (
    Fault(
        name="rate-limited",
        description="429 with the status `tooManyRequest` and `Retry-After: 1`",
        error=RateLimitError,
        answer=Answer(status=429, body=envelope("tooManyRequest"), headers={"Retry-After": "1"}),
    ),
    Fault(
        name="server-failure",
        description="500 with the status `serverFailure`",
        error=ServerError,
        answer=Answer(status=500, body=envelope("serverFailure")),
    ),
    Fault(
        name="server-failure-200",
        description="200 with the status `serverFailure`",
        error=ServerError,
        answer=Answer(status=200, body=envelope("serverFailure")),
    ),
    Fault(
        name="service-unavailable",
        description="503 without a body, with `Retry-After: 1`",
        error=ServerError,
        answer=Answer(status=503, body=b"", headers={"Retry-After": "1"}),
    ),
    Fault(
        name="html-502",
        description="502 with a page of HTML, as a gateway sends it",
        error=ServerError,
        answer=Answer(
            status=502,
            body=b"<html>Bad gateway</html>",
            headers={"Content-Type": "text/html"},
        ),
    ),
    Fault(
        name="bad-request",
        description="400 with the status `badRequest` and the error type `invalidField`",
        error=BadRequestError,
        answer=Answer(status=400, body=envelope("badRequest", "invalidField")),
    ),
    Fault(
        name="unauthorized-token",
        description="400 with the error type `unauthorizedToken`: the user's token is dead",
        error=BadRequestError,
        answer=Answer(status=400, body=envelope("badRequest", "unauthorizedToken")),
    ),
    Fault(
        name="unauthorized-keys",
        description="401 without a body, as for wrong client keys",
        error=AuthenticationError,
        answer=Answer(status=401, body=b""),
    ),
    Fault(
        name="permission-denied",
        description="403 without a body",
        error=PermissionDeniedError,
        answer=Answer(status=403, body=b""),
    ),
    Fault(
        name="not-found",
        description="404 with the status `notFound`",
        error=NotFoundError,
        answer=Answer(status=404, body=envelope("notFound")),
    ),
    Fault(
        name="conflict",
        description="409 with the status `conflict`",
        error=ConflictError,
        answer=Answer(status=409, body=envelope("conflict")),
    ),
    Fault(
        name="locked",
        description="423 with the status `locked`",
        error=LockedError,
        answer=Answer(status=423, body=envelope("locked")),
    ),
    Fault(
        name="unavailable-for-legal-reasons",
        description="451 with the status `unavailableForLegalReasons`",
        error=UnavailableForLegalReasonsError,
        answer=Answer(status=451, body=envelope("unavailableForLegalReasons")),
    ),
    Fault(
        name="unknown-status",
        description="200 with the status `ofTomorrow`, which no published list has",
        error=MeshAPIError,
        answer=Answer(status=200, body=envelope_with_content(None, status="ofTomorrow")),
    ),
    Fault(
        name="null-content",
        description="200 with the status `ok` and no content",
        error=MeshResponseError,
        answer=Answer(status=200, body=envelope_with_content(None)),
    ),
    Fault(
        name="amount-as-text",
        description="200 with an amount that is a string instead of a number",
        error=MeshResponseError,
        answer=Answer(
            status=200,
            body=envelope_with_content({"balances": [{"currencyCode": "USD", "cash": "158.5"}]}),
        ),
    ),
    Fault(
        name="not-json",
        description="200 with a body that is not JSON",
        error=MeshResponseError,
        answer=Answer(status=200, body=b"This is no JSON."),
    ),
    Fault(
        name="empty-body",
        description="200 without a body",
        error=MeshResponseError,
        answer=Answer(status=200, body=b""),
    ),
    Fault(
        name="too-large",
        description="200 with a body of 2 MiB, which is more than a client reads",
        error=MeshResponseError,
        answer=Answer(status=200, body=b" " * 2 * 1024 * 1024),
    ),
    Fault(
        name="redirect",
        description="307 to another host, which a client does not follow",
        error=MeshResponseError,
        answer=Answer(status=307, body=b"", headers={"Location": NOWHERE}),
    ),
    Fault(
        name="slow",
        description="no answer for an hour",
        error=MeshTimeoutError,
        answer=Answer(delay=_HOUR),
    ),
    Fault(
        name="drips",
        description="200 with a body that comes byte by byte, ten a second, for an hour",
        error=MeshTimeoutError,
        answer=Answer(body=b" " * int(_HOUR / _DRIP), byte_interval=_DRIP),
    ),
    Fault(
        name="closed",
        description="the connection is closed without an answer",
        error=MeshConnectionError,
        answer=Answer(failure=Failure.CLOSED),
    ),
    Fault(
        name="reset",
        description="the connection is reset without an answer",
        error=MeshConnectionError,
        answer=Answer(failure=Failure.RESET),
    ),
    Fault(
        name="truncated",
        description="the connection is closed after half of the body",
        error=MeshConnectionError,
        answer=Answer(failure=Failure.TRUNCATED),
    ),
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
"""The faults by name, for `MockServer.fails`.

Each `Fault` says what the server does (`description`) and which exception a client raises if the
fault lasts (`error`), so that a test can go through all of them.
"""
