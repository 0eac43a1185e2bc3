"""What can go wrong: one class for each thing that a caller can do about it.

MeshError
├── MeshConfigurationError(ValueError)   the client cannot be built as asked: keys, URL, options
├── MeshConnectionError                  nothing usable came back: refused, reset, truncated, DNS
│   ├── MeshTimeoutError                 a wait outlasted `timeout`, or the call its `deadline`
│   └── MeshTLSError                     certificate or protocol refused; never retried
├── MeshResponseError                    an answer that is not what the contract allows
└── MeshAPIError                         Mesh said no
    ├── BadRequestError 400        ├── AuthenticationError 401   ├── PermissionDeniedError 403
    ├── NotFoundError 404          ├── ConflictError 409         ├── LockedError 423
    ├── RateLimitError 429         ├── UnavailableForLegalReasonsError 451
    └── ServerError 5xx, 6xx to 999

Every one can be pickled and copied, and none holds a secret or leads to one.
"""

from typing import Any


class MeshError(Exception):
    """Any failure of this package; `attempts` tells how many were made, 0 if nothing was sent."""

    attempts: int = 0


class MeshConfigurationError(MeshError, ValueError):
    """The client cannot be built as asked: a missing or malformed key, URL or option."""


class MeshConnectionError(MeshError):
    """Nothing usable came back: refused, reset, truncated, or a host name that nobody knows."""


class MeshTimeoutError(MeshConnectionError):
    """One network wait took longer than `timeout`, or the whole call longer than `deadline`."""


class MeshTLSError(MeshConnectionError):
    """The certificate or the protocol was refused, by either side; never retried."""


class MeshResponseError(MeshError):
    """The answer is not what the contract allows, so nothing in it can be trusted.

    `http_status` and `request_id` are those of `MeshAPIError`.
    """

    http_status: int = 0
    request_id: str | None = None


class MeshAPIError(MeshError):
    """Mesh said no. The fields are those of the spec's `ApiResult`; None where it sent nothing.

    Attributes:
        http_status: The answer's HTTP status; it can be 200.
        status: The envelope's status, such as `badRequest`.
        error_type: Mesh's reason, such as `missingField`; no list of them is published.
        message: Mesh's message, for developers.
        display_message: Mesh's message, fit to be shown to the end user.
        error_hash: Groups equal errors.
        error_data: Whatever else Mesh says of the error, numbers as Decimal, 100 levels deep.
        retry_after: Seconds that Mesh asks to wait before the next call (`Retry-After`).
        request_id: Names the answer to Mesh's support (`X-Request-Id`, else `CF-Ray`).
    """

    http_status: int = 0
    status: str | None = None
    error_type: str | None = None
    message: str | None = None
    display_message: str | None = None
    error_hash: str | None = None
    error_data: Any = None
    retry_after: float | None = None
    request_id: str | None = None

    @property
    def reconnect_required(self) -> bool:
        """Whether the user's token is dead: link the account again. Client keys do not set it."""
        return self.error_type == "unauthorizedToken"


class BadRequestError(MeshAPIError):
    """HTTP 400 or `badRequest`."""


class AuthenticationError(MeshAPIError):
    """HTTP 401: the client keys or the user's token were refused; see `reconnect_required`."""


class PermissionDeniedError(MeshAPIError):
    """HTTP 403 or `permissionDenied`: the API key may not read balances."""


class NotFoundError(MeshAPIError):
    """HTTP 404 or `notFound`."""


class ConflictError(MeshAPIError):
    """HTTP 409 or `conflict`."""


class LockedError(MeshAPIError):
    """HTTP 423 or `locked`."""


class RateLimitError(MeshAPIError):
    """HTTP 429 or `tooManyRequest`; see `retry_after`."""


class UnavailableForLegalReasonsError(MeshAPIError):
    """HTTP 451 or `unavailableForLegalReasons`."""


class ServerError(MeshAPIError):
    """HTTP 500 and above, or `serverFailure`: Mesh or the institution failed."""
