"""Runs calls: makes attempts, keeps the deadline, and retries.

`Engine` is what all operations of a client share. `CallLoop` runs the calls of one operation, with
its judge of answers and its retry policy. See `mesh_facade/engine/__init__.py` for how a call runs,
and for who ends it at its deadline.
"""

import functools
import json
import time
from typing import Any, Protocol, cast

import attrs
import httpx

from mesh_facade.engine.attempts import (
    Attempt,
    OnAttempt,
    current_account_key,
    log_call,
    logs_calls,
    report,
)
from mesh_facade.engine.bodies import Answer
from mesh_facade.engine.checks import check_count, check_seconds
from mesh_facade.engine.connection import Connection
from mesh_facade.engine.descriptors import describe_descriptor_limit, is_out_of_descriptors
from mesh_facade.engine.failures import connection_error
from mesh_facade.engine.pool import ConnectionPool, Home
from mesh_facade.engine.redaction import forget_frames, redact
from mesh_facade.engine.retries import CallState, Pause, RetryPolicy
from mesh_facade.engine.waiting import Authentication, StopSignal, Waiting
from mesh_facade.errors import MeshConnectionError, MeshError, MeshTimeoutError

TIMER_TOLERANCE = 0.01
"""A deadline counts as passed this many seconds early, because timers may end early."""
SHORTEST_WAIT = 0.001
"""Seconds: the shortest timeout that httpx is given. With 0, it would not even try."""


class Judge(Protocol):
    """Decides which answers are accepted. An operation of `mesh_facade/operations/` is a judge."""

    def judge(self, answer: Answer) -> MeshError | None:
        """Return the error that an answer means; None if the answer is accepted."""


@attrs.frozen
class Engine:
    """What all calls of a client share.

    Attributes:
        base_url: The URL that the paths of operations are relative to.
        waiting: How calls wait: in threads or in tasks.
        pool: The connections.
        authentication: Adds the API keys to each attempt.
        user_agent: The `User-Agent` of all requests.
        timeout: Seconds that one network wait may take.
        deadline: Seconds that a call may take in all.
        max_attempts: How many attempts a call may make.
        stop_signal: Ends pauses between attempts early. A client passes the signal of its pool; a
            run of many calls replaces it with one of its own.
        on_attempt: Called after each attempt.
    """

    base_url: str
    waiting: Waiting
    pool: ConnectionPool
    authentication: Authentication
    user_agent: str
    timeout: float
    deadline: float
    max_attempts: int
    stop_signal: StopSignal
    on_attempt: OnAttempt | None = None

    def __attrs_post_init__(self) -> None:
        check_seconds("timeout", self.timeout)
        check_seconds("deadline", self.deadline)
        check_count("max_attempts", self.max_attempts)


@attrs.define
class AcceptedAnswer:
    """An answer that was accepted, and how many attempts that took."""

    answer: Answer
    attempts: int


@attrs.define
class _Progress:
    """How far a call has come.

    Attributes:
        deadline_at: When it must end, as `time.monotonic()` counts.
        attempts: How many attempts have been made.
        deadline_extensions: How many pauses after failed attempts have extended the deadline. The
            waits of `_wait_while_on_hold`, before an attempt, are not counted.
        needs_new_connection: Whether the next attempt must not use an idle connection.
        lacks_descriptor: Whether the last connection could not be opened because too many files
            are open. The call then waits for a connection of another call.
    """

    deadline_at: float
    attempts: int = 0
    deadline_extensions: int = 0
    needs_new_connection: bool = False
    lacks_descriptor: bool = False


@attrs.define
class _Exchange:
    """A request that was sent once, and what came back.

    Attributes:
        result: The answer, or the error if there is none.
        began_at: When the attempt began, before its connection was opened, as `time.monotonic()`
            counts.
        home: The slots and idle connections, of one process or event loop, that its connection
            belongs to.
        was_reused: Whether its connection was an idle one.
        has_received: Whether anything came back.
    """

    result: Answer | MeshConnectionError
    began_at: float
    home: Home
    was_reused: bool
    has_received: bool


class _OutOfDescriptorsError(Exception):
    """A connection could not be opened because too many files are open. Nothing was sent."""


@attrs.frozen
class CallLoop:
    """Runs the calls of one operation.

    Attributes:
        engine: What it shares with other operations.
        judge: Decides which answers are accepted.
        retry_policy: Decides whether a failed attempt is followed by another.
    """

    engine: Engine
    judge: Judge
    retry_policy: RetryPolicy

    def build_request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None,
        json_body: object,
        options: dict[str, object],
    ) -> httpx.Request:
        """Build the request that the generated code asks for.

        httpx's own client would add cookies to it, and take three times as long. It would also add
        a Content-Type to a JSON body: here the headers of the generated code must name it.

        Args:
            method: The HTTP method.
            path: The path, relative to the engine's `base_url`.
            headers: Further headers; None for none.
            json_body: A value to be sent as JSON; None for no body.
            options: Further arguments of `httpx.Request`, such as `params`.
        """
        engine = self.engine
        generated_headers = tuple((headers or {}).items())
        url, shared_headers = _shared_url_and_headers(
            engine.base_url, path, engine.user_agent, generated_headers
        )
        request_headers = shared_headers.copy()
        stream: httpx.ByteStream | None = None
        if json_body is not None:
            content = json.dumps(json_body).encode()
            request_headers["content-length"] = str(len(content))
            stream = httpx.ByteStream(content)
        # `Any`, because generated code passes these keywords, and they are not ours to check.
        request = httpx.Request(
            method, url, headers=request_headers, stream=stream, **cast("Any", options)
        )
        request.read()  # a transport of the caller's may look at its content
        return request

    async def run(self, request: httpx.Request) -> AcceptedAnswer:
        """Send a request until an answer is accepted, and log the call.

        Exceptions of the caller's `client_secret` and `on_attempt` functions propagate.

        Raises:
            MeshError: The error of the last attempt, or the reason why the next one could not
                begin: the deadline passed while the call waited for the secret or for a connection,
                the secret function returned something that cannot be an API key, too many files are
                open, the client is closed, or an async client is used outside of an event loop.
        """
        if not logs_calls():
            return await self._call(request)
        began_at = time.monotonic()
        try:
            accepted = await self._call(request)
        except MeshError as error:
            log_call(error.attempts, time.monotonic() - began_at, error)
            raise
        log_call(accepted.attempts, time.monotonic() - began_at, None)
        return accepted

    async def _call(self, request: httpx.Request) -> AcceptedAnswer:
        self.retry_policy.count_call()
        progress = _Progress(time.monotonic() + self.engine.deadline)
        while True:
            await self._wait_while_on_hold(progress)
            exchange = await self._send_once(request, progress)
            if exchange is None:
                continue  # nothing was sent, so this was no attempt
            error: MeshError | None
            if isinstance(exchange.result, MeshError):
                error = exchange.result
            else:
                error = self.judge.judge(exchange.result)
                if error is None:
                    progress.attempts += 1
                    self._report_success(progress.attempts, exchange.began_at)
                    return AcceptedAnswer(exchange.result, progress.attempts)
            # A fault or a timeout on a reused connection may be a failover: then all connections
            # that were idle when this attempt began are dead too.
            has_no_answer = isinstance(error, MeshConnectionError)
            progress.needs_new_connection = has_no_answer and exchange.was_reused
            if progress.needs_new_connection:
                exchange.home.close_released_before(exchange.began_at)
            if self._may_resend(exchange, error):
                continue  # on a new connection; `retries` says why this costs no attempt
            progress.attempts += 1
            error.attempts = progress.attempts
            another_follows = await self._pause_after(error, exchange.began_at, progress)
            if not another_follows:
                break
        redact(error, self.engine.authentication.secrets_in(request))
        raise error

    async def _pause_after(self, error: MeshError, began_at: float, progress: _Progress) -> bool:
        """Report a failed attempt, and pause; return True if another attempt follows."""
        pause = self.retry_policy.claim_retry(error, self._call_state(progress))
        self._report_failure(progress.attempts, began_at, error, pause)
        if pause is None:
            return False
        was_stopped = await self.engine.waiting.pause(pause.seconds, self.engine.stop_signal)
        if was_stopped:
            return False
        if pause.extends_deadline:
            progress.deadline_at += pause.seconds
            progress.deadline_extensions += 1
        return True

    def _call_state(self, progress: _Progress) -> CallState:
        """Return the facts that the retry policy decides by."""
        return CallState(
            attempts=progress.attempts,
            max_attempts=self.engine.max_attempts,
            deadline_extensions=progress.deadline_extensions,
            seconds_left=progress.deadline_at - time.monotonic(),
        )

    async def _wait_while_on_hold(self, progress: _Progress) -> None:
        """Wait before an attempt, for as long as the policy asks; put the deadline off by as much.

        Raises:
            MeshError: The client was closed meanwhile. (Or the run of calls was ended, but then
                nobody sees the error.)
        """
        seconds = self.retry_policy.seconds_to_hold()
        while seconds > 0:
            was_stopped = await self.engine.waiting.pause(seconds, self.engine.stop_signal)
            if was_stopped:
                raise MeshError("this client is closed", attempts=progress.attempts)
            progress.deadline_at += seconds
            seconds = self.retry_policy.seconds_to_hold()

    async def _sign_and_acquire(self, request: httpx.Request, progress: _Progress) -> Connection:
        """Sign a request, and wait for a connection.

        The order keeps a slow secret function from occupying a connection that others wait for.

        Raises:
            MeshTimeoutError: The deadline has passed.
            MeshError: The client is closed, the caller's secret function has returned something
                that cannot be an API key, or an async client is used outside of an event loop.
        """
        try:
            await self._sign(request, progress.deadline_at)
            return await self._acquire(progress)
        except MeshError as error:
            error.attempts = progress.attempts
            raise

    async def _sign(self, request: httpx.Request, deadline_at: float) -> None:
        """Add the keys to a request.

        Raises:
            MeshTimeoutError: The deadline passed before or while the secret function ran.
            MeshError: It returned something that cannot be an API key, or an async client is used
                outside of an event loop.
        """
        authentication = self.engine.authentication
        # A pause may last a little too long. Then the secret function is not to blame.
        if authentication.has_secret_function and _has_passed(deadline_at):
            raise self._deadline_error("answer")
        seconds = deadline_at - time.monotonic()
        timeout: TimeoutError | None = None
        try:
            await self.engine.waiting.sign(request, authentication, seconds)
            # A secret function that blocks is not interrupted: it may come back too late.
            is_late = authentication.has_secret_function and _has_passed(deadline_at)
        except TimeoutError as raised:
            is_late = _has_passed(deadline_at)
            if not is_late:  # the caller's secret function has raised it
                raise
            timeout = raised
        if timeout is not None:
            # The caller's function may keep this error, whose frames lead to the API keys.
            forget_frames(timeout)
        if is_late:
            raise self._deadline_error("client_secret")

    async def _acquire(self, progress: _Progress) -> Connection:
        """Wait for a connection.

        Raises:
            MeshTimeoutError: None came free before the deadline.
            MeshError: The client is closed, or an async client is used outside of an event loop.
        """
        # If the deadline has passed already (a pause may last a little too long), then the wait for
        # a connection is not to blame, and the error must not say so.
        was_late = _has_passed(progress.deadline_at)
        try:
            return await self.engine.pool.acquire(
                progress.deadline_at, must_be_new=progress.needs_new_connection
            )
        except TimeoutError:
            pass  # ours is raised below, so that this one does not become its context
        if was_late:
            raise self._deadline_error("answer")
        awaited = "free connection"
        if progress.lacks_descriptor:
            raise self._deadline_error(awaited, f": {self._describe_shortage()}")
        raise self._deadline_error(awaited)

    async def _send_once(self, request: httpx.Request, progress: _Progress) -> _Exchange | None:
        """Wait for a connection, send a request on it once, and give the connection back.

        The connection is given back even if the call is cancelled. If the request was sent, but its
        answer was not read to its end, `pool.release` closes the connection.

        Return None if nothing was sent and the call must try again: because the policy has put all
        attempts on hold, or because too many files were open, so the connection could not be
        opened.

        Raises:
            MeshTimeoutError: The deadline has passed.
            MeshError: The client is closed, the caller's secret function has returned something
                that cannot be an API key, an async client is used outside of an event loop, or too
                many files are open and no other call has a connection that could become free.
        """
        connection = await self._sign_and_acquire(request, progress)
        exchange: _Exchange | None = None
        lacks_descriptor = False
        try:
            # Another call may have put all attempts on hold while this one waited.
            if self.retry_policy.seconds_to_hold() == 0:
                exchange = await self._send_and_observe(connection, request)
        except _OutOfDescriptorsError:
            lacks_descriptor = True
        except BaseException:  # Ctrl-C too: nothing else would ever give the slot back
            self.engine.pool.release(connection)
            raise
        if not lacks_descriptor:
            self.engine.pool.release(connection)
            progress.lacks_descriptor = False
            return exchange
        may_try_again = self.engine.pool.release_for_lack_of_descriptor(connection)
        if not may_try_again:
            raise self._shortage_error(progress)
        progress.lacks_descriptor = True
        progress.needs_new_connection = False  # a new one would need the descriptor that is missing
        return None

    async def _send_and_observe(self, connection: Connection, request: httpx.Request) -> _Exchange:
        """Send a request on a connection; return what came back.

        Raises:
            _OutOfDescriptorsError: The connection could not be opened.
        """
        began_at = time.monotonic()
        result = await self._answer_or_error(connection, request)
        return _Exchange(
            result=result,
            began_at=began_at,
            home=connection.home,
            was_reused=connection.is_reused,
            has_received=connection.has_received,
        )

    async def _answer_or_error(
        self, connection: Connection, request: httpx.Request
    ) -> Answer | MeshConnectionError:
        engine = self.engine
        connection.is_clean = False  # until its answer has been read to its end
        remaining = max(SHORTEST_WAIT, connection.deadline_at - time.monotonic())
        wait = min(engine.timeout, remaining)
        # A caller's transport for threads has no other limits than these timeouts. One for tasks is
        # also ended by `send_and_read` after `remaining` seconds. Our own connections shorten each
        # timeout to what is left until the deadline.
        request.extensions = {
            "timeout": {"connect": wait, "read": wait, "write": wait, "pool": wait}
        }
        try:
            return await engine.waiting.send_and_read(connection, request, remaining)
        except (httpx.HTTPError, OSError) as raised:  # OSError: from a caller's transport
            failure = raised
        # This comes after the `except` block. Otherwise, `failure` would become the context of an
        # error that is raised here.
        try:
            return self._translate_failure(failure, connection)
        finally:
            # A caller's transport may keep the error, whose frames lead to the request.
            forget_frames(failure)
            del failure

    def _translate_failure(
        self, failure: httpx.HTTPError | OSError, connection: Connection
    ) -> MeshConnectionError:
        """Return the error for a failure of a connection.

        Raises:
            _OutOfDescriptorsError: The connection could not be opened.
        """
        lacks_descriptor = is_out_of_descriptors(failure, connection.cause_of_failed_opening)
        # If no cause of a failed opening was recorded, the connection was open already, or it is a
        # transport of the caller's. Then something may have been sent.
        if lacks_descriptor and connection.cause_of_failed_opening is not None:
            raise _OutOfDescriptorsError
        if _has_passed(connection.deadline_at):
            return self._deadline_error("answer")
        if lacks_descriptor:
            return MeshConnectionError(f"the connection failed: {self._describe_shortage()}")
        return connection_error(failure, connection.cause_of_failed_opening, self.engine.timeout)

    def _may_resend(self, exchange: _Exchange, error: MeshError) -> bool:
        """Return True if a reused connection was found dead, and the policy allows a resend.

        A connection counts as dead if the exchange failed, but not by a timeout, before anything
        came back.
        """
        return (
            type(error) is MeshConnectionError  # and not a subclass, such as a timeout
            and exchange.was_reused
            and not exchange.has_received
            and self.retry_policy.may_resend()
        )

    def _deadline_error(self, awaited: str, reason: str = "") -> MeshTimeoutError:
        """Return the error for a deadline that passed while the call waited for something."""
        seconds = f"{self.engine.deadline:g} s"
        return MeshTimeoutError(f"no {awaited} within the deadline of {seconds}{reason}")

    def _shortage_error(self, progress: _Progress) -> MeshConnectionError:
        text = f"no connection could be opened: {self._describe_shortage()}"
        return MeshConnectionError(text, attempts=progress.attempts)

    def _describe_shortage(self) -> str:
        return (
            f"too many files are open {describe_descriptor_limit()}: raise the limit, close files, "
            f"or lower max_connections, which is {self.engine.pool.size}"
        )

    def _report_success(self, number: int, began_at: float) -> None:
        if self.engine.on_attempt is None:
            return  # nobody would see it: the log reports only attempts that failed
        attempt = Attempt(
            number=number,
            elapsed=time.monotonic() - began_at,
            error=None,
            http_status=None,
            pause=None,
            key=current_account_key.get(),
        )
        report(attempt, self.engine.on_attempt)

    def _report_failure(
        self, number: int, began_at: float, error: MeshError, pause: Pause | None
    ) -> None:
        seconds = None
        if pause is not None:
            seconds = pause.seconds
        attempt = Attempt(
            number=number,
            elapsed=time.monotonic() - began_at,
            error=type(error).__name__,
            http_status=getattr(error, "http_status", None),
            pause=seconds,
            key=current_account_key.get(),
        )
        report(attempt, self.engine.on_attempt)


@functools.lru_cache
def _shared_url_and_headers(
    base_url: str, path: str, user_agent: str, headers: tuple[tuple[str, str], ...]
) -> tuple[httpx.URL, httpx.Headers]:
    """Return the URL and the headers that all requests to a path share.

    They are cached, because making them takes as long as sending a request. The last 128 are kept,
    so a path that differs from call to call is made anew each time. `headers` are kept with them:
    they must hold no secret.
    """
    url = httpx.URL(base_url.rstrip("/") + path)
    shared = httpx.Headers(
        {
            "host": url.netloc.decode(),
            "accept": "application/json",
            "accept-encoding": "gzip",
            "user-agent": user_agent,
        }
    )
    shared.update(headers)
    return url, shared


def _has_passed(deadline_at: float) -> bool:
    """Return True if a deadline has passed, or will within `TIMER_TOLERANCE`."""
    return time.monotonic() > deadline_at - TIMER_TOLERANCE
