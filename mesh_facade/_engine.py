"""The engine under the generated operation: it attempts, bounds and checks.

The generated code calls `request()` on the httpx client that it is given. `SyncEngine` and
`AsyncEngine` are such clients: their `request()` returns an answer that was accepted, or raises
what the caller is to see. Both run `Engine.call`, the one over a pool that never suspends.
"""

import functools
import json
import logging
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs
import httpx

from mesh_facade import _configuration, _wire
from mesh_facade._network import Connection
from mesh_facade._pool import Pool
from mesh_facade._retry import Budget, find_pause
from mesh_facade.credentials import Credentials, redact
from mesh_facade.errors import MeshConnectionError, MeshError, MeshTimeoutError, MeshTLSError

ATTEMPTS = "mesh-facade-attempts"  # a header of accepted answers only: tells the shell
_TLS_REFUSALS = ssl.SSLError, ssl.SSLCertVerificationError  # the other kinds: it was cut off
_HEADERS = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": "mesh-facade"}

T = TypeVar("T")
_logger = logging.getLogger("mesh_facade")


class Accepted(httpx.Response):
    """An answer as the generated parser knows it: HTTP 200, and decoded already.

    Without httpx's constructor, which takes as long as all that is checked here.
    """

    def __init__(self, body: bytes, envelope: Any, attempts: int) -> None:
        self.status_code, self._body, self._envelope = 200, body, envelope
        self.headers: Any = {ATTEMPTS: str(attempts)}

    @property
    def content(self) -> bytes:
        return self._body

    def json(self, **_: Any) -> Any:
        return self._envelope


@attrs.frozen
class Attempt:
    """An attempt that has ended, as `on_attempt` and the log are told of it: no secret in it.

    Attributes:
        number: 1 for the first of a call.
        elapsed: Seconds that it took, without the wait for a connection.
        error: The name of the error's class; None where the answer was accepted.
        http_status: The HTTP status of an answer that was not accepted; None where none came.
        pause: Seconds until the next attempt; None where it was the last.
    """

    number: int
    elapsed: float
    error: str | None
    http_status: int | None
    pause: float | None


@attrs.frozen
class Engine:
    """Calls one operation.

    Attributes:
        base_url: What the operation's path is relative to.
        pool: The connections.
        credentials: Sign each attempt.
        find_problem: Says what keeps a decoded answer from being accepted; None: nothing.
        budget: Of retries; None for an operation that must not be sent twice.
        timeout: Seconds that one network wait may take.
        deadline: Seconds that a call may take in all.
        max_attempts: How often it is attempted.
        on_attempt: Is told of each attempt.
        find_pause: Decides, as `_retry.find_pause`, whether and when another attempt follows.
    """

    base_url: str
    pool: Pool
    credentials: Credentials
    find_problem: Callable[[Any], str | None]
    budget: Budget | None
    timeout: float
    deadline: float
    max_attempts: int
    on_attempt: Callable[[Attempt], object] | None = None
    find_pause: Callable[..., float | None] = find_pause

    def __attrs_post_init__(self) -> None:
        _configuration.check_seconds("timeout", self.timeout)
        _configuration.check_seconds("deadline", self.deadline)
        _configuration.check_count("max_attempts", self.max_attempts)

    def build(self, method: str, path: str, **options: Any) -> httpx.Request:
        """Build the request that the generated code asks for, without httpx's cookies and hooks."""
        url, shared_headers = _prepare(self.base_url, path, *options.pop("headers", {}).items())
        headers = shared_headers.copy()
        if "json" in options:
            content = json.dumps(options.pop("json")).encode()
            headers["content-length"] = str(len(content))
            options["stream"] = httpx.ByteStream(content)
        request = httpx.Request(method, url, headers=headers, **options)
        request.read()  # a caller's own transport may look at its content
        return request

    async def call(self, request: httpx.Request) -> httpx.Response:
        """Attempt a request until its answer is accepted or its error stands, which is raised."""
        deadline_at = time.monotonic() + self.deadline
        if self.budget:
            self.budget.deposit()
        attempts, fresh = 0, False
        while True:
            connection = await self._connect(request, deadline_at, attempts, fresh=fresh)
            began_at = time.monotonic()
            outcome = await self._attempt(request, connection)
            if outcome is None:  # the server had closed a kept connection: one free try
                fresh = True
                continue
            attempts += 1
            elapsed = time.monotonic() - began_at
            if not isinstance(outcome, MeshError):
                self._tell(Attempt(attempts, elapsed, None, None, None))
                return Accepted(*outcome, attempts)
            outcome.attempts, left = attempts, deadline_at - time.monotonic()
            pause = self.find_pause(outcome, self.max_attempts, left, self.budget)
            kind, http_status = type(outcome).__name__, getattr(outcome, "http_status", None)
            self._tell(Attempt(attempts, elapsed, kind, http_status, pause))
            if pause is None:
                raise redact(outcome, self.credentials.sent_with(request))
            await self.pool.sleep(pause)

    def _tell(self, attempt: Attempt) -> None:
        if attempt.error:
            fields = attrs.asdict(attempt).items()
            extra = {f"mesh_attempt_{name}": value for name, value in fields}
            _logger.debug("attempt failed", extra=extra)
        if self.on_attempt:
            self.on_attempt(attempt)

    async def _connect(
        self, request: httpx.Request, deadline_at: float, attempts: int, *, fresh: bool
    ) -> Connection:
        """Sign a request, and wait for a connection."""
        lacking = "client_secret"
        try:
            await self.pool.sign(request, self.credentials, deadline_at)
            lacking = "free connection"
            return await self.pool.acquire(deadline_at, fresh=fresh)
        except TimeoutError:
            if not _is_late(deadline_at):  # the secret function's own
                raise
        late = self._too_late(lacking)
        late.attempts = attempts
        raise late

    async def _attempt(
        self, request: httpx.Request, connection: Connection
    ) -> tuple[bytes, Any] | MeshError | None:
        """Return body and envelope, or the error; None: a kept connection was dead."""
        outcome: tuple[bytes, Any] | MeshError
        try:
            wait = max(0.001, min(self.timeout, connection.deadline_at - time.monotonic()))
            timeout = dict.fromkeys(("connect", "read", "write", "pool"), wait)
            request.extensions = {"timeout": timeout}
            response, body = await self.pool.exchange(connection, request)
            outcome = _wire.judge(response, body, self.find_problem)
        except (httpx.RequestError, OSError) as error:  # the latter: a caller's transport's
            is_late = _is_late(connection.deadline_at)
            outcome = self._too_late("answer") if is_late else self._failure(error)
        finally:
            self.pool.release(connection)
        if type(outcome) is MeshConnectionError and connection.is_reused and self.budget:
            return outcome if connection.received else None
        return outcome

    def _too_late(self, lacking: str) -> MeshTimeoutError:
        return MeshTimeoutError(f"no {lacking} within the deadline of {self.deadline:g} s")

    def _failure(self, error: BaseException) -> MeshConnectionError:
        """Name a failure without the words of other libraries, which may quote what was sent."""
        kind, reason, error_class = type(error).__name__, "", MeshConnectionError
        if isinstance(error, httpx.TimeoutException):
            return MeshTimeoutError(f"no answer within the timeout of {self.timeout:g} s ({kind})")
        causes = [error]  # not their contexts: there may stand what the caller is just handling
        while (cause := causes[-1].__cause__) and cause not in causes:
            causes.append(cause)
        for cause in causes:
            if isinstance(cause, OSError) and cause.strerror:
                reason = f": {cause.strerror}"
            if type(cause) in _TLS_REFUSALS:
                error_class = MeshTLSError
        return error_class(f"the connection failed ({kind}){reason}")


@functools.lru_cache
def _prepare(
    base_url: str, path: str, *headers: tuple[str, str]
) -> tuple[httpx.URL, httpx.Headers]:
    """Make once what all requests of an operation share."""
    url = httpx.URL(base_url.rstrip("/") + path)
    return url, httpx.Headers({"host": url.netloc.decode(), **_HEADERS, **dict(headers)})


def _is_late(deadline_at: float) -> bool:
    return time.monotonic() > deadline_at - 0.01  # timers end a little early


class SyncEngine(httpx.Client):
    """The httpx client that the generated sync operation runs on."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(transport=httpx.BaseTransport())
        self._engine = engine

    def request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        return self.send(self._engine.build(method, str(url), **options))

    def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        return drive(self._engine.call(request))


class AsyncEngine(httpx.AsyncClient):
    """The httpx client that the generated async operation runs on."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(transport=httpx.AsyncBaseTransport())
        self._engine = engine

    async def request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        return await self.send(self._engine.build(method, str(url), **options))

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        return await self._engine.call(request)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return what it returns."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine of the sync engine has suspended")
