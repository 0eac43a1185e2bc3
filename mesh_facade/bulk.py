"""Reads many accounts concurrently, and yields outcomes in the order of their completion.

A run reads at most `concurrency` accounts at a time, each in a lane. In `_ThreadRun` a lane is a
thread that reads one account after another; in `_TaskRun` it is a task that reads one account.

The decisions of a run are written once, in `_Run` and in `pacing.py`. How lanes are started,
awaited and stopped is written once for each mode: a thread cannot be cancelled, and only a task can
wait for an async iterable.

Tools that report errors print the local variables of all frames in a traceback. So a function that
waits, for an account, for an outcome or for a free lane, first deletes its variables that refer to
tokens. And before an error leaves a run, the run's frames are removed from its traceback, or their
variables are deleted.
"""

import asyncio
import contextvars
import queue
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any, TypeAlias, TypeVar, cast

import attrs

from mesh_facade import link_payload
from mesh_facade.balances import AccountBalance
from mesh_facade.engine.attempts import current_account_key
from mesh_facade.engine.checks import check_count, check_seconds
from mesh_facade.engine.redaction import empty_frames, keeps_secrets_out_of_tracebacks
from mesh_facade.engine.waiting import StopSignal
from mesh_facade.errors import MeshError
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE, Broker
from mesh_facade.operations.runner import CallResult, Runner, TaskRunner, ThreadRunner
from mesh_facade.pacing import BulkRetryPolicy, KeyRefusalDetector


@attrs.frozen
class LinkedAccount:
    """An account to read. Its repr shows no token.

    Attributes:
        auth_token: The user's secret token, which Mesh gave when the account was linked.
        broker: The `brokerType` that Mesh gave with the token.
        key: Any value of your choice, to tell outcomes apart. `Attempt` and log records carry it.
    """

    auth_token: str = attrs.field(repr=False)
    broker: Broker
    key: Any = None  # `Any`, so that callers can use the key of an outcome without narrowing it

    @classmethod
    @keeps_secrets_out_of_tracebacks
    def from_link_payload(cls, payload: Mapping[str, object]) -> list["LinkedAccount"]:
        """Return the accounts that a user linked, from the payload that Mesh Link handed over.

        There is one for each entry of `accessToken.accountTokens`. The entry's `accessToken`
        becomes the `auth_token`, its `account.accountId` the `key`, and `accessToken.brokerType`
        the `broker`. All other fields are ignored.

        Args:
            payload: The payload of Link's success callback, decoded from JSON.

        Raises:
            ValueError: A field is missing or empty, or the institution has not granted access yet
                (`delayedAuth`). The message names the field and quotes no token.
            TypeError: The payload or one of its fields has another type.
        """
        return [
            cls(auth_token=entry.access_token, broker=entry.broker_type, key=entry.account_id)
            for entry in link_payload.read_account_tokens(payload)
        ]


@attrs.frozen
class SuccessfulOutcome:
    """An account that was read.

    Attributes:
        account: The account.
        balance: Its balance.
        error: None.
        attempts: How many attempts it took.
        elapsed: Seconds that the reading of the account took, pauses included.
    """

    account: LinkedAccount
    balance: AccountBalance
    error: None
    attempts: int
    elapsed: float


@attrs.frozen
class FailedOutcome:
    """An account that could not be read.

    Attributes:
        account: The account.
        balance: None.
        error: The exception that `get_account_balance` would have raised.
        attempts: How many attempts were made, as `error.attempts` says; 0 if `error` is not a
            MeshError.
        elapsed: Seconds that the reading of the account took, pauses included.
    """

    account: LinkedAccount
    balance: None
    error: Exception
    attempts: int
    elapsed: float


Outcome: TypeAlias = SuccessfulOutcome | FailedOutcome
"""How the reading of an account ended: if `outcome.error is None`, `outcome.balance` is set."""

E = TypeVar("E", bound=BaseException)

_Work: TypeAlias = tuple[contextvars.Context, LinkedAccount]
_SECONDS_AFTER_DEADLINE = 1.0  # a call may end a little after its deadline


def read_in_threads(
    runner: ThreadRunner,
    accounts: Iterable[LinkedAccount],
    *,
    concurrency: int,
    max_pause: float | None,
) -> Generator[Outcome, None, None]:
    """Return a generator that reads accounts in threads; see `MeshClient.get_account_balances`."""
    return _ThreadRun(runner, accounts, concurrency, max_pause).outcomes()


def read_in_tasks(
    runner: TaskRunner,
    accounts: Iterable[LinkedAccount] | AsyncIterable[LinkedAccount],
    *,
    concurrency: int,
    max_pause: float | None,
) -> AsyncGenerator[Outcome, None]:
    """Return a generator that reads accounts in tasks.

    See `AsyncMeshClient.get_account_balances`.
    """
    return _TaskRun(runner, accounts, concurrency, max_pause).outcomes()


class _Run(ABC):
    """The state and the decisions of a run that both modes share.

    Attributes:
        concurrency: How many accounts are read at a time; less than asked for if the system allows
            no more threads.
        stop_signal: Ends the pauses of all lanes. Setting the client's signal sets this one too.
        policy: Decides about retries and pauses.
        engine: The client's engine, with `stop_signal` in place of the client's signal.
        has_stopped_drawing: No more accounts are drawn. Those in flight still get their outcomes.
        error: The error to raise after the last outcome: an error that the input raised, a
            TypeError about an item of the input, or the refusal of the API keys. None if there is
            no error.
    """

    def __init__(self, runner: Runner, concurrency: int, max_pause: float | None) -> None:
        check_count("concurrency", concurrency)
        if max_pause is not None:
            check_seconds("max_pause", max_pause)
        self.concurrency = concurrency
        self.stop_signal = StopSignal(parent=runner.engine.stop_signal)
        self.policy = BulkRetryPolicy(runner.retry_policy.budget, max_pause)
        self.engine = attrs.evolve(runner.engine, stop_signal=self.stop_signal)
        self.has_stopped_drawing = False
        self.error: Exception | None = None
        self._key_refusal_detector = KeyRefusalDetector(concurrency)

    @abstractmethod
    def count_busy_lanes(self) -> int:
        """Return how many lanes are busy.

        A lane is busy from the drawing of its account until the run takes the outcome from the
        queue.
        """

    @abstractmethod
    def start_reading(self, account: LinkedAccount) -> None:
        """Let a lane read an account."""

    def fill_lanes(self, accounts: Iterator[LinkedAccount]) -> None:
        """Draw accounts until all lanes are busy or the input has ended."""
        while self.count_busy_lanes() < self.concurrency and not self.has_stopped_drawing:
            try:
                account = next(accounts)
            except StopIteration:
                self.stop_drawing(None)
                return
            except Exception as error:  # noqa: BLE001 — the caller's input may raise any error
                self.stop_drawing(_remove_own_frames(error))
                return
            self.start_reading(account)
            del account  # keep no token while waiting for the next account

    def stop_drawing(self, error: Exception | None) -> None:
        """Draw no more accounts, because the input has ended or because of an error."""
        self.has_stopped_drawing = True
        if self.error is None:  # a later error does not replace the first
            self.error = error

    def record(self, outcome: Outcome) -> None:
        """Count an outcome; draw no more accounts if the API keys are evidently refused."""
        account = outcome.account
        if self._key_refusal_detector.record(account.auth_token, account.broker, outcome.error):
            self.stop_drawing(outcome.error)


def _check_account(account: object) -> None:
    """Raise TypeError if an item of the caller's input is not an account.

    A lane calls this, so the error waits in the queue of results like an outcome. When the run
    takes it from there, it draws no more accounts. Those in flight, even if they come after that
    item, still get their outcomes. Then the error is raised.
    """
    if not isinstance(account, LinkedAccount):
        kind = type(account).__name__
        raise TypeError(f"accounts must be LinkedAccounts, but one of them has the type {kind}")


def _failed_outcome(account: LinkedAccount, error: Exception, began_at: float) -> FailedOutcome:
    """Return the outcome of an account whose reading raised an error."""
    attempts = 0
    if isinstance(error, MeshError):
        attempts = error.attempts
    elapsed = time.monotonic() - began_at
    return FailedOutcome(
        account=account, balance=None, error=error, attempts=attempts, elapsed=elapsed
    )


def _successful_outcome(
    account: LinkedAccount, result: CallResult[AccountBalance], began_at: float
) -> SuccessfulOutcome:
    """Return the outcome of an account that was read."""
    return SuccessfulOutcome(
        account=account,
        balance=result.value,
        error=None,
        attempts=result.attempts,
        elapsed=time.monotonic() - began_at,
    )


def _remove_own_frames(error: E) -> E:
    """Remove the outermost frames of a traceback, if they are this module's; return the error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__") == __name__:
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


class _ThreadRun(_Run):
    """A run whose lanes are threads.

    The thread that iterates over the outcomes draws accounts from the input, and puts them into one
    queue. Lanes take them from there, and put outcomes into another queue. Lanes are daemon
    threads, so that a program may end while one waits for an answer. (The threads of a
    ThreadPoolExecutor would keep it from ending.)
    """

    def __init__(
        self,
        runner: ThreadRunner,
        accounts: Iterable[LinkedAccount],
        concurrency: int,
        max_pause: float | None,
    ) -> None:
        super().__init__(runner, concurrency, max_pause)
        self._runner = runner.with_engine(self.engine, self.policy)
        self._accounts = iter(accounts)
        self._in_flight = 0
        self._is_stopped = False
        self._threads: list[threading.Thread] = []
        # Each item is an account, with the context to read it in. None tells a lane to end.
        self._work_queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._result_queue: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield an outcome for each account.

        Raises:
            AuthenticationError: The API keys are evidently refused.
            TypeError: An item of the input is not a LinkedAccount.
            RuntimeError: The system allows no thread at all.
            Exception: Whatever the input raised.
        """
        outcome = None
        error: BaseException | None = None
        # The inner `try` stops the lanes. The outer one catches every error, including one raised
        # by `_stop`, such as a second Ctrl-C. The error is raised again below the `except` block,
        # because `empty_frames` works only there.
        try:
            try:
                self.fill_lanes(self._accounts)
                while self._in_flight > 0:
                    outcome = self._take_outcome()
                    if outcome is not None:
                        self.record(outcome)
                        yield outcome
                    outcome = None  # keep no token while waiting for the next outcome
                    self.fill_lanes(self._accounts)
            finally:
                outcome = None  # keep no token while waiting for the calls in flight
                self._stop()
        except BaseException as raised:  # noqa: BLE001 — it is raised again below
            error = raised
        if error is None:
            error = self.error
        else:  # for example Ctrl-C, or the closing of this generator
            empty_frames(error)
        del self  # this frame is in the traceback of the error, and the run refers to tokens
        if error is not None:
            try:
                raise error
            finally:
                del error  # else the error would hold this frame, and this frame the error

    def count_busy_lanes(self) -> int:
        return self._in_flight

    def start_reading(self, account: LinkedAccount) -> None:
        self._in_flight += 1
        if self._in_flight > len(self._threads):
            self._start_thread()
        # A lane sees the caller's context variables, such as request ids.
        self._work_queue.put((contextvars.copy_context(), account))

    def _take_outcome(self) -> Outcome | None:
        """Wait for an outcome, and return it; if a lane raised TypeError, stop drawing instead.

        Raises:
            BaseException: A lane met SystemExit, for example.
        """
        result = self._result_queue.get()
        self._in_flight -= 1
        if isinstance(result, Exception):  # a TypeError of `_check_account`
            self.stop_drawing(result)
            return None
        if isinstance(result, BaseException):
            raise result
        return result

    def _start_thread(self) -> None:
        """Start another lane; if the system allows no more threads, go on with those there are."""
        name = f"mesh-facade-{len(self._threads)}"
        thread = threading.Thread(target=self._run_lane, name=name, daemon=True)
        # Ctrl-C may come right after the start. Then `_stop` must find the thread in the list.
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.remove(thread)
            if not self._threads:
                raise
            # The account just drawn waits in the queue until one of these threads is free.
            self.concurrency = len(self._threads)

    def _run_lane(self) -> None:
        """Read accounts as they are drawn, until the run stops. Each thread runs this."""
        while True:
            work = self._work_queue.get()
            if work is None:
                self._work_queue.put(None)  # for the next thread
                return
            if self._is_stopped:  # this account was drawn, but no lane had begun it
                return
            context, account = work
            result: Outcome | BaseException
            try:
                result = context.run(self._read, account)
            except BaseException as error:  # noqa: BLE001 — the iterating thread gets it
                # This frame still runs, so `empty_frames` cannot empty it: it is removed instead.
                result = _remove_own_frames(error)
            if isinstance(result, BaseException):
                empty_frames(result)  # works only after the `except` block
            self._result_queue.put(result)
            del work, context, account, result  # keep no token while waiting for an account

    def _read(self, account: LinkedAccount) -> Outcome:
        """Read an account and return its outcome; raise TypeError if it is not a LinkedAccount."""
        _check_account(account)
        current_account_key.set(account.key)
        began_at = time.monotonic()
        try:
            result = self._runner.run(GET_ACCOUNT_BALANCE, account.auth_token, account.broker)
        except Exception as raised:  # noqa: BLE001 — it is the account's outcome
            error = raised
        else:
            return _successful_outcome(account, result, began_at)
        empty_frames(error)  # works only after the `except` block
        return _failed_outcome(account, _remove_own_frames(error), began_at)

    def _stop(self) -> None:
        """End pauses, wait for calls in flight, and drop their outcomes.

        The wait lasts at most one second longer than the client's `deadline`. By then all calls
        have ended, unless one is in something that cannot be interrupted, such as a transport of
        the caller's. The wait needs a limit, because the garbage collector may close a forgotten
        generator in any thread, even in one that holds a lock that a lane waits for. Without a
        limit, the two would wait for each other for ever.
        """
        self.has_stopped_drawing = True
        self._is_stopped = True
        self.stop_signal.set()
        self._work_queue.put(None)  # each thread that takes it puts it back
        if sys.is_finalizing():  # daemon threads are frozen now, so waiting for them would hang
            return
        wait_until = time.monotonic() + self.engine.deadline + _SECONDS_AFTER_DEADLINE
        for thread in self._threads:
            # A thread cannot join one that has not started, nor itself: the garbage collector may
            # run in a lane too.
            if thread.is_alive() and thread is not threading.current_thread():
                left = max(0.0, wait_until - time.monotonic())
                thread.join(min(left, threading.TIMEOUT_MAX))


class _TaskRun(_Run):
    """A run whose lanes are tasks, which can be cancelled.

    From a plain iterable, the run draws an account when a lane is free. An async iterable may have
    to wait for its next account, so a separate task draws from it, and outcomes are yielded
    meanwhile. The same task draws all accounts and, if the iterable is an async generator, closes
    it: an iterable may keep `asyncio.timeout`, a TaskGroup or a context variable over many items,
    and these belong to the task that has set them.
    """

    def __init__(
        self,
        runner: TaskRunner,
        accounts: Iterable[LinkedAccount] | AsyncIterable[LinkedAccount],
        concurrency: int,
        max_pause: float | None,
    ) -> None:
        super().__init__(runner, concurrency, max_pause)
        self._runner = runner.with_engine(self.engine, self.policy)
        self._accounts: Iterator[LinkedAccount] = iter(())  # stays empty with an async iterable
        self._async_accounts: AsyncIterator[LinkedAccount] | None = None
        if isinstance(accounts, AsyncIterable):
            self._async_accounts = aiter(accounts)
        else:
            self._accounts = iter(accounts)
        self._free_lanes = asyncio.Semaphore(concurrency)  # the drawing task waits for one
        self._drawing_task: asyncio.Task[None] | None = None
        self._lanes: set[asyncio.Task[Outcome]] = set()
        # Each item is a lane that has ended. None says that the drawing task has ended.
        self._result_queue: asyncio.Queue[asyncio.Task[Outcome] | None] = asyncio.Queue()

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield an outcome for each account.

        Raises:
            AuthenticationError: The API keys are evidently refused.
            TypeError: An item of the input is not a LinkedAccount.
            Exception: Whatever the input raised.
        """
        outcome = None
        error: BaseException | None = None
        # The inner `try` stops the lanes. The outer one catches every error, including one raised
        # by `_stop`, such as a second Ctrl-C. The error is raised again below the `except` block,
        # because `empty_frames` works only there.
        try:
            try:
                self._begin()
                while self._lanes or self._drawing_task is not None:
                    # The queue is awaited here, and not in `_take_outcome`. If `_take_outcome` were
                    # a coroutine that awaits the queue, Python could collect it, still waiting,
                    # after the event loop is closed. That throws GeneratorExit into `get`, whose
                    # cleanup needs the loop, and so raises RuntimeError. Python would pass that
                    # error to `sys.unraisablehook`, with the frame of `_take_outcome`, whose `self`
                    # refers to tokens. Here, the `except` below catches such an error, and `self`
                    # is deleted before the error is raised again.
                    outcome = self._take_outcome(await self._result_queue.get())
                    if outcome is not None:
                        self.record(outcome)
                        yield outcome
                    outcome = None  # keep no token while waiting for the next outcome
                    self._refill()
            finally:
                outcome = None  # keep no token while waiting for the calls in flight
                await self._stop()
        except BaseException as raised:  # noqa: BLE001 — it is raised again below
            error = raised
        if error is None:
            error = self.error
        else:  # for example a cancellation, or the closing of this generator
            empty_frames(error)
        del self  # this frame is in the traceback of the error, and the run refers to tokens
        if error is not None:
            try:
                raise error
            finally:
                del error  # else the error would hold this frame, and this frame the error

    def count_busy_lanes(self) -> int:
        return len(self._lanes)

    def start_reading(self, account: LinkedAccount) -> None:
        lane = asyncio.create_task(self._read(account))
        self._lanes.add(lane)
        lane.add_done_callback(self._result_queue.put_nowait)

    def _begin(self) -> None:
        """Start to draw accounts."""
        if self._async_accounts is None:
            self.fill_lanes(self._accounts)
        else:
            self._drawing_task = asyncio.create_task(self._draw_all(self._async_accounts))
            self._drawing_task.add_done_callback(self._report_end_of_drawing)

    def _refill(self) -> None:
        """Let an account be drawn for a lane that has become free."""
        if self._async_accounts is None:
            self.fill_lanes(self._accounts)
        else:
            self._free_lanes.release()  # if drawing has ended, nobody waits for this

    async def _draw_all(self, accounts: AsyncIterator[LinkedAccount]) -> None:
        """Read all accounts of an async iterable, and close it. `_drawing_task` runs this."""
        error: BaseException | None = None
        try:
            try:
                await self._start_all(accounts)
            finally:
                if isinstance(accounts, AsyncGenerator):
                    await accounts.aclose()
        except BaseException as raised:  # noqa: BLE001 — it is raised again below
            error = raised
        # asyncio lets KeyboardInterrupt and SystemExit leave the event loop at once. `outcomes`
        # does not see them, so their frames are emptied here.
        if error is not None and not isinstance(error, Exception):
            empty_frames(error)
        # This frame is in the traceback of the error, or of its cause or context.
        del self, accounts
        if error is not None:
            try:
                raise error
            finally:
                del error

    async def _start_all(self, accounts: AsyncIterator[LinkedAccount]) -> None:
        """Draw an account whenever a lane is free, and start to read it."""
        cancellation: asyncio.CancelledError | None = None
        # Accounts that a generator yielded while no lane was free: see `_wait_for_lane`.
        waiting: deque[LinkedAccount] = deque()
        try:
            # (The `pragma` comments mark lines that run right after a cancellation. From there to
            # the next wait, Python 3.11 traces no lines, so coverage takes them for not run.)
            while True:
                cancellation = await self._wait_for_lane(accounts)
                if cancellation is None and waiting:
                    self.start_reading(waiting.popleft())
                    continue
                try:
                    if cancellation is not None and isinstance(accounts, AsyncGenerator):
                        account = await accounts.athrow(cancellation)  # pragma: no cover
                    else:
                        account = await anext(accounts)
                except StopAsyncIteration:
                    break
                # The iterable may have caught its cancellation, and yielded again.
                if self.has_stopped_drawing:
                    del account  # pragma: no cover
                    return  # pragma: no cover
                try:
                    if cancellation is None:
                        self.start_reading(account)
                    else:
                        waiting.append(account)  # pragma: no cover
                finally:
                    del account  # keep no token while waiting for a free lane
            while waiting:
                await self._free_lanes.acquire()
                self.start_reading(waiting.popleft())
        finally:
            # This frame, too, is in the traceback of the error, or of its cause or context.
            del self, accounts, cancellation, waiting

    async def _wait_for_lane(
        self, accounts: AsyncIterator[LinkedAccount]
    ) -> asyncio.CancelledError | None:
        """Wait for a free lane. Return a cancellation that `accounts` must get, or None.

        An async generator may keep a scope open, such as `asyncio.timeout` or a TaskGroup, which
        cancels the drawing task to end the generator. If that happens during the wait for a lane,
        the generator does not see the cancellation. It must be thrown into the generator, so that
        the scope recognizes it, and raises its own error. The generator may catch that error, and
        yield another account, although no lane is free for it yet.

        Raises:
            CancelledError: `accounts` is not a generator, or the run has cancelled the task.
        """
        try:
            await self._free_lanes.acquire()
        except asyncio.CancelledError as cancellation:
            if self.has_stopped_drawing or not isinstance(accounts, AsyncGenerator):
                raise
            # Without its traceback, because this frame is in it, and `self` refers to tokens.
            return cancellation.with_traceback(None)
        return None

    def _report_end_of_drawing(self, _: asyncio.Task[None]) -> None:
        self._result_queue.put_nowait(None)

    def _take_outcome(self, lane: asyncio.Task[Outcome] | None) -> Outcome | None:
        """Return the outcome of a lane that has ended, or None if it raised TypeError.

        If `lane` is None, the drawing task has ended. Record that, and return None.

        Raises:
            CancelledError: The async iterable raised it, or someone other than the run cancelled
                a lane or the drawing task.
        """
        if lane is None:
            self._record_end_of_drawing()
            return None
        self._lanes.discard(lane)
        error = lane.exception()
        if isinstance(error, Exception):  # a TypeError of `_check_account`
            empty_frames(error)
            self.stop_drawing(error)
            return None
        return lane.result()

    def _record_end_of_drawing(self) -> None:
        """Record why the drawing task has ended.

        The async iterable has ended, or failed, or `stop_drawing` has cancelled the task.

        Raises:
            CancelledError: The iterable raised it, or someone other than the run cancelled the
                task.
        """
        # It is not None, because `_begin` has set it, and it reports its end only once.
        task = cast("asyncio.Task[None]", self._drawing_task)
        self._drawing_task = None
        if task.cancelled() and self.has_stopped_drawing:
            return
        try:
            task.result()
        except Exception as error:  # noqa: BLE001 — the caller's input may raise any error
            self.stop_drawing(_remove_own_frames(error))
            return
        self.stop_drawing(None)

    def stop_drawing(self, error: Exception | None) -> None:
        has_stopped_before = self.has_stopped_drawing
        super().stop_drawing(error)
        if has_stopped_before or self._drawing_task is None:
            return  # a second cancellation would interrupt what the iterable does at its end
        self._drawing_task.cancel()  # the run must not wait for the iterable's next account

    async def _read(self, account: LinkedAccount) -> Outcome:
        """Read an account and return its outcome; raise TypeError if it is not a LinkedAccount."""
        _check_account(account)
        current_account_key.set(account.key)
        began_at = time.monotonic()
        try:
            result = await self._runner.run(GET_ACCOUNT_BALANCE, account.auth_token, account.broker)
        except BaseException as raised:  # noqa: BLE001 — it is an outcome, or is raised again below
            error = raised
        else:
            return _successful_outcome(account, result, began_at)
        empty_frames(error)  # works only after the `except` block
        if not isinstance(error, Exception):
            # asyncio lets KeyboardInterrupt and SystemExit leave the event loop at once. `outcomes`
            # never sees them, and this frame is in their traceback.
            del self, account
            try:
                raise error
            finally:
                del error
        return _failed_outcome(account, _remove_own_frames(error), began_at)

    async def _stop(self) -> None:
        """Cancel the drawing task and all calls in flight, and drop their outcomes."""
        has_stopped_before = self.has_stopped_drawing
        self.has_stopped_drawing = True
        self.stop_signal.set()
        tasks: list[Awaitable[object]] = []
        for lane in self._lanes:
            lane.cancel()
            tasks.append(lane)
        if self._drawing_task is not None:
            if not has_stopped_before:  # else `stop_drawing` has cancelled it
                self._drawing_task.cancel()
            tasks.append(self._drawing_task)
        await asyncio.gather(*tasks, return_exceptions=True)
