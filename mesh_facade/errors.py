"""The errors: one class for each kind of failure.

MeshError
├── MeshConfigurationError(ValueError)   the client cannot be built as asked: keys, URL, options
├── MeshConnectionError                  no complete answer came: refused, reset, truncated, DNS
│   ├── MeshTimeoutError                 one wait exceeded `timeout`, or the call its `deadline`
│   └── MeshTLSError                     certificate or protocol refused; never retried
├── MeshResponseError                    the answer is not what Mesh's spec allows
└── MeshAPIError                         Mesh answered with an error
    ├── BadRequestError 400        ├── AuthenticationError 401   ├── PermissionDeniedError 403
    ├── NotFoundError 404          ├── ConflictError 409         ├── LockedError 423
    ├── RateLimitError 429         ├── UnavailableForLegalReasonsError 451
    └── ServerError 500 and above

Which answer becomes which class is decided in `mesh_facade/operations/envelope.py`, by `judge` and
its table `_ERROR_KINDS`. If the HTTP status and the envelope's status mean different classes, the
envelope's status decides.

Only four kinds of errors lead from one attempt to another: RateLimitError, ServerError, a
MeshConnectionError whose `is_transient` is true, and any error of HTTP 408, which has no class of
its own. Even then, there is another attempt only if the operation is safe to repeat, only as far as
`max_attempts`, the deadline and the retry budget allow, and not if the client is closed meanwhile.
`mesh_facade/engine/retries.py` decides this, except for two of these conditions:
`mesh_facade/operations/runner.py` uses the policy `NeverRetry` for an operation that is not safe to
repeat, and `mesh_facade/engine/engine.py` ends a call if the client is closed during a pause.
In a bulk run, a 429 with a `Retry-After` has bounds of its own, in `mesh_facade/pacing.py`.

An error that comes before an attempt has begun ends the call, whatever its class. For example: the
client is closed, the secret cannot be used, the deadline passes while the call waits for the secret
or for a connection, or too many files are open and no other call has a connection that could become
free. (A connection that is refused is an attempt.)

Every error can be pickled and copied. No error holds a secret, or leads to one through its cause,
context or traceback: `mesh_facade/engine/redaction.py` sees to that. (Secrets of fewer than 8
characters are not redacted from Mesh's texts: ordinary words would suffer.)

The text of an error, `str(error)`, is ours. If Mesh answered, it holds the HTTP status. Mesh's
status and Mesh's error type are added, each only if it is a single word such as `badRequest`.
Mesh's free text, which may name a person, is in `message` and `display_message`, never in
`str(error)`.
"""

from typing import Any


class MeshError(Exception):
    """Base class of all errors of this package.

    Attributes:
        attempts: How many attempts were made; 0 if none was.
    """

    def __init__(self, text: str = "", /, *, attempts: int = 0) -> None:
        super().__init__(text)
        self.attempts = attempts


class MeshConfigurationError(MeshError, ValueError):
    """A key, URL or option is missing or malformed, or the certificates cannot be read.

    The constructors of the clients, `with_options`, `get_account_balances` and
    `mesh_facade.dask.fetch_balances` raise it. So does a call, if your secret function returns
    something that cannot be an API key.
    """


class MeshConnectionError(MeshError):
    """No complete answer came: refused, reset, truncated, or an unknown host name.

    Attributes:
        is_transient: True if another attempt may help. False if the certificate or the TLS protocol
            was refused (`MeshTLSError`), or if a proxy refused permanently: the call then makes no
            other attempt.
    """

    def __init__(self, text: str = "", /, *, attempts: int = 0, is_transient: bool = True) -> None:
        super().__init__(text, attempts=attempts)
        self.is_transient = is_transient


class MeshTimeoutError(MeshConnectionError):
    """One network wait took longer than `timeout`, or the whole call longer than `deadline`."""


class MeshTLSError(MeshConnectionError):
    """The certificate or the TLS protocol was refused, by either side; never retried."""

    def __init__(self, text: str = "", /, *, attempts: int = 0, is_transient: bool = False) -> None:
        super().__init__(text, attempts=attempts, is_transient=is_transient)


class MeshResponseError(MeshError):
    """The answer is not what Mesh's spec allows, or holds no result, so nothing in it can be used.

    Attributes:
        http_status: The HTTP status of the answer.
        request_id: The id to quote to Mesh's support (`X-Request-Id`, else `CF-Ray`); None if the
            answer had neither header.
    """

    def __init__(
        self,
        text: str = "",
        /,
        *,
        attempts: int = 0,
        http_status: int = 0,
        request_id: str | None = None,
    ) -> None:
        super().__init__(text, attempts=attempts)
        self.http_status = http_status
        self.request_id = request_id


class MeshAPIError(MeshError):
    """Mesh answered with an error.

    The fields from `status` to `error_data` are those of the spec's `ApiResult`; Mesh sends
    `team_code` beside them. Each of these is None if Mesh sent null or nothing. Each except
    `error_data` is also None if Mesh sent something other than a string.

    Attributes:
        http_status: The HTTP status of the answer; it can be 200.
        status: The envelope's status, such as `badRequest`.
        error_type: Mesh's reason, such as `missingField`. (The spec mentions a list of these in
            Mesh's documentation, but there is none.)
        message: Mesh's message, for developers. It may name a person.
        display_message: Mesh's message for the end user. It may name a person.
        error_hash: Mesh's fingerprint of the error, for grouping.
        error_data: Further details, numbers as Decimal; what is nested deeper than 100 levels is
            replaced by `"[redacted]"`.
        team_code: Mesh's routing code, such as `P4`: for alerting, not for display.
        retry_after: Seconds that Mesh asks to wait before the next call (`Retry-After`); None if it
            does not ask for that.
        request_id: The id to quote to Mesh's support (`X-Request-Id`, else `CF-Ray`); None if the
            answer had neither header.
    """

    def __init__(  # noqa: PLR0913 — one keyword for each field
        self,
        text: str = "",
        /,
        *,
        attempts: int = 0,
        http_status: int = 0,
        status: str | None = None,
        error_type: str | None = None,
        message: str | None = None,
        display_message: str | None = None,
        error_hash: str | None = None,
        error_data: Any = None,  # `Any`, so that callers can index it without narrowing
        team_code: str | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(text, attempts=attempts)
        self.http_status = http_status
        self.status = status
        self.error_type = error_type
        self.message = message
        self.display_message = display_message
        self.error_hash = error_hash
        self.error_data = error_data
        self.team_code = team_code
        self.retry_after = retry_after
        self.request_id = request_id

    @property
    def reconnect_required(self) -> bool:
        """True if the user's token is dead; wrong API keys do not set it.

        Try once to refresh the token. If that fails, let the user link the account again. This
        package cannot refresh tokens; docs/guides/tokens.md says what to do.
        """
        return (self.error_type or "").lower() == "unauthorizedtoken"


class BadRequestError(MeshAPIError):
    """HTTP 400 or `badRequest`; `reconnect_required` tells a dead token from a wrong request."""


class AuthenticationError(MeshAPIError):
    """HTTP 401: the API keys or the user's token were refused."""


class PermissionDeniedError(MeshAPIError):
    """HTTP 403 or `permissionDenied`: the API key may not do this."""


class NotFoundError(MeshAPIError):
    """HTTP 404 or `notFound`."""


class ConflictError(MeshAPIError):
    """HTTP 409 or `conflict`."""


class LockedError(MeshAPIError):
    """HTTP 423 or `locked`."""


class RateLimitError(MeshAPIError):
    """HTTP 429 or `tooManyRequest`: too many calls; see `retry_after`."""


class UnavailableForLegalReasonsError(MeshAPIError):
    """HTTP 451 or `unavailableForLegalReasons`."""


class ServerError(MeshAPIError):
    """HTTP 500 and above, or `serverFailure`: Mesh or the institution failed."""
