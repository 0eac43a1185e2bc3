"""Reads many accounts concurrently, and yields outcomes in the order of their completion.

A run reads at most `concurrency` accounts at a time, each in a lane. In `_ThreadRun` a lane is a
thread that reads one account after another; in `_TaskRun` it is a task that reads one account.

What a run decides is written once, in `_Run` and in `pacing.py`. How lanes are started, awaited and
stopped is written twice, because threads and tasks differ in that: a thread cannot be cancelled,
and only a task can wait for an async iterable.

Local variables that refer to tokens are deleted before a frame waits or raises an error. Tools that
report errors print the local variables of all frames in a traceback.
"""

import asyncio
import contextvars
import queue
import sys
import threading
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any, TypeAlias

import attrs

from mesh_facade import link_payload
from mesh_facade.balances import AccountBalance
from mesh_facade.engine.attempts import current_key
from mesh_facade.engine.checks import check_count, check_seconds
from mesh_facade.engine.redaction import empty_frames, keeps_secrets_out_of_tracebacks
from mesh_facade.engine.waiting import StopSignal
from mesh_facade.errors import MeshError
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE, Broker
from mesh_facade.operations.runner import CallResult, Runner, TaskRunner, ThreadRunner
from mesh_facade.pacing import BulkRetryPolicy, RefusedKeys


@attrs.frozen
class LinkedAccount:
    """An account to read. Its repr shows no token.

    Attributes:
        auth_token: The user's secret token, which Mesh gave when the account was linked.
        broker: The account's `brokerType` as Mesh gave it then.
        key: Any value of your choice, to tell outcomes apart. `Attempt` and log records carry it.
    """

    auth_token: str = attrs.field(repr=False)
    broker: Broker
    key: Any = None

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
            cls(auth_token, broker, account_id)
            for auth_token, broker, account_id in link_payload.read_account_tokens(payload)
        ]


@attrs.frozen
class SuccessfulOutcome:
    """An account that was read.

    Attributes:
        account: The account.
        balance: Its balance.
        error: None.
        attempts: How many attempts it took.
        elapsed: Seconds from the account's start to its end, pauses included.
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
        elapsed: Seconds from the account's start to its end, pauses included.
    """

    account: LinkedAccount
    balance: None
    error: Exception
    attempts: int
    elapsed: float


Outcome: TypeAlias = SuccessfulOutcome | FailedOutcome
"""How the reading of an account ended: if `outcome.error is None`, `outcome.balance` is set."""


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


class _Run:
    """The state and the decisions of a run that both modes share.

    Attributes:
        concurrency: How many accounts are read at a time; less than asked for if the system allows
            no more threads.
        stop_signal: Ends the pauses of all lanes. Setting the client's signal sets this one too.
        policy: Decides about retries and pauses.
        engine: The client's engine, with `stop_signal` in place of the client's signal.
        is_drawing_over: No more accounts are drawn. Those in flight still get their outcomes.
        error: Why the run ended early; None if it did not. It is raised after the last outcome.
    """

    def __init__(self, runner: Runner, concurrency: int, max_pause: float | None) -> None:
        check_count("concurrency", concurrency)
        if max_pause is not None:
            check_seconds("max_pause", max_pause)
        self.concurrency = concurrency
        self.stop_signal = StopSignal(parent=runner.engine.stopped)
        self.policy = BulkRetryPolicy(runner.retry_policy.budget, max_pause)
        self.engine = attrs.evolve(runner.engine, stopped=self.stop_signal)
        self.is_drawing_over = False
        self.error: Exception | None = None
        self._refused_keys = RefusedKeys(concurrency)

    def stop_drawing(self, error: Exception | None) -> None:
        """Draw no more accounts, because the input has ended or because of an error."""
        self.is_drawing_over = True
        if self.error is None:  # a later error does not replace the first
            self.error = error

    def record(self, outcome: Outcome) -> None:
        """Count an outcome; draw no more accounts if the API keys are evidently refused."""
        account = outcome.account
        if self._refused_keys.record(account.auth_token, account.broker, outcome.error):
            self.stop_drawing(outcome.error)


def _check_account(account: object) -> None:
    """Raise TypeError if an item of the caller's input is not an account.

    Lanes call this, not the loops that draw: so the accounts before that item still get outcomes.
    """
    if not isinstance(account, LinkedAccount):
        kind = type(account).__name__
        raise TypeError(f"accounts must be LinkedAccounts, but one of them is a {kind}")


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


def _remove_own_frames(error: Exception) -> Exception:
    """Remove this module's frames from an error of the caller's input, and return the error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals["__name__"] == __name__:
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


class _ThreadRun(_Run):
    """A run whose lanes are threads.

    The thread of the caller's loop draws accounts from the input, and puts them into one queue.
    Lanes take them from there, and put outcomes into another queue. Lanes are daemon threads, so
    that a program may end while one waits for an answer. (The threads of a ThreadPoolExecutor would
    keep it from ending.)
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
        self._threads: list[threading.Thread] = []
        # Each item is an account, with the context to read it in. None tells a lane to end.
        self._drawn: queue.SimpleQueue[tuple[contextvars.Context, LinkedAccount] | None]
        self._drawn = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield an outcome for each account.

        Raises:
            AuthenticationError: The API keys are evidently refused.
            TypeError: An item of the input is not a LinkedAccount.
            Exception: Whatever the input raised.
        """
        outcome = None
        try:
            self._fill_lanes()
            while self._in_flight > 0:
                outcome = self._take_outcome()
                if outcome is not None:
                    self.record(outcome)
                    yield outcome
                outcome = None  # the wait for the next one can be long
                self._fill_lanes()
        except BaseException as interruption:  # Ctrl-C, for example
            empty_frames(interruption)
            raise
        finally:
            self._stop()
            error = self.error
            del self, outcome
        if error is not None:
            raise error

    def _fill_lanes(self) -> None:
        """Draw accounts until all lanes are busy or the input has ended."""
        while self._in_flight < self.concurrency and not self.is_drawing_over:
            try:
                account = next(self._accounts)
            except StopIteration:
                self.stop_drawing(None)
                return
            except Exception as error:  # noqa: BLE001 — the input's: it is raised at the end
                self.stop_drawing(_remove_own_frames(error))
                return
            self._in_flight += 1
            if self._in_flight > len(self._threads):
                self._start_thread()
            # The caller's context variables, such as request ids, hold in the lane too.
            self._drawn.put((contextvars.copy_context(), account))

    def _take_outcome(self) -> Outcome | None:
        """Wait for an outcome, and return it; if a lane raised TypeError, end the run instead.

        Raises:
            BaseException: A lane met SystemExit, for example.
        """
        finished = self._finished.get()
        self._in_flight -= 1
        if isinstance(finished, Exception):  # a TypeError of `_check_account`
            self.stop_drawing(finished)
            return None
        if isinstance(finished, BaseException):
            raise finished
        return finished

    def _start_thread(self) -> None:
        """Start another lane; if the system allows no more threads, go on with those there are."""
        name = f"mesh-facade-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        # Listed before it starts, because Ctrl-C may come in between: `_stop` must know it.
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.remove(thread)
            if not self._threads:
                raise
            self.concurrency = len(self._threads)  # these read what has been drawn, too

    def _work(self) -> None:
        """Read accounts as they are drawn, until None comes. The thread of each lane runs this."""
        while True:
            drawn = self._drawn.get()
            if drawn is None:
                self._drawn.put(None)  # for the next thread
                return
            context, account = drawn
            try:
                finished: Outcome | BaseException = context.run(self._read, account)
            except BaseException as error:  # noqa: BLE001 — it ends the run
                empty_frames(error)
                finished = error
            self._finished.put(finished)
            del drawn, context, account, finished

    def _read(self, account: LinkedAccount) -> Outcome:
        """Read an account and return its outcome; raise TypeError if it is not a LinkedAccount."""
        _check_account(account)
        current_key.set(account.key)
        began_at = time.monotonic()
        try:
            result = self._runner.run(GET_ACCOUNT_BALANCE, account.auth_token, account.broker)
        except Exception as error:  # noqa: BLE001 — it is the account's outcome
            empty_frames(error)
            return _failed_outcome(account, error, began_at)
        return _successful_outcome(account, result, began_at)

    def _stop(self) -> None:
        """End pauses, wait for calls in flight, and drop their outcomes."""
        self.is_drawing_over = True
        self.stop_signal.set()
        self._drawn.put(None)  # each thread that takes it puts it back
        if sys.is_finalizing():  # daemon threads are frozen now, so waiting for them would hang
            return
        for thread in self._threads:
            # A thread cannot join one that has not started, nor itself: the garbage collector may
            # close a forgotten generator in any thread, a lane included.
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join()


class _TaskRun(_Run):
    """A run whose lanes are tasks, which can be cancelled.

    From a plain iterable, the run draws an account when a lane is free. An async iterable may have
    to wait for its next account, so a task of its own draws from it, and outcomes are yielded
    meanwhile. It is one task for the whole iterable, as in an `async for`: an iterable may keep
    `asyncio.timeout`, a TaskGroup or a context variable over many items, and these belong to the
    task that has set them.
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
        self._accounts: Iterator[LinkedAccount] = iter(())
        self._async_accounts: AsyncIterator[LinkedAccount] | None = None
        if isinstance(accounts, AsyncIterable):
            self._async_accounts = aiter(accounts)
        else:
            self._accounts = iter(accounts)
        self._free_lanes = asyncio.Semaphore(concurrency)  # the drawing task waits for one
        # Lanes and the drawing task go through one queue, so they share a type. The drawing task
        # returns None.
        self._drawing: asyncio.Task[Outcome | None] | None = None
        self._lanes: set[asyncio.Task[Outcome | None]] = set()
        self._finished: asyncio.Queue[asyncio.Task[Outcome | None]] = asyncio.Queue()

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield an outcome for each account.

        Raises:
            AuthenticationError: The API keys are evidently refused.
            TypeError: An item of the input is not a LinkedAccount.
            Exception: Whatever the input raised.
        """
        task = None
        outcome = None
        try:
            self._begin()
            while self._lanes or self._drawing is not None:
                task = await self._finished.get()
                if task is self._drawing:
                    self._record_end_of_drawing(task)
                    continue
                outcome = self._take_outcome(task)
                if outcome is not None:
                    self.record(outcome)
                    yield outcome
                task = None  # the wait for the next one can be long
                outcome = None
                self._refill()
        except BaseException as interruption:  # a cancellation, for example
            empty_frames(interruption)
            raise
        finally:
            await self._stop()
            error = self.error
            del self, task, outcome
        if error is not None:
            raise error

    def _begin(self) -> None:
        """Start to draw accounts."""
        if self._async_accounts is None:
            self._fill_lanes()
        else:
            self._drawing = asyncio.create_task(self._draw_all(self._async_accounts))
            self._drawing.add_done_callback(self._finished.put_nowait)

    def _refill(self) -> None:
        """Let an account be drawn for a lane that has become free."""
        if self._async_accounts is None:
            self._fill_lanes()
        else:
            self._free_lanes.release()

    def _fill_lanes(self) -> None:
        """Draw from a plain iterable until all lanes are busy or the input has ended."""
        while len(self._lanes) < self.concurrency and not self.is_drawing_over:
            try:
                account = next(self._accounts)
            except StopIteration:
                self.stop_drawing(None)
                return
            except Exception as error:  # noqa: BLE001 — the input's: it is raised at the end
                self.stop_drawing(_remove_own_frames(error))
                return
            self._start_lane(account)

    async def _draw_all(self, accounts: AsyncIterator[LinkedAccount]) -> None:
        """Draw from an async iterable, whenever a lane is free. The task `_drawing` runs this."""
        await self._free_lanes.acquire()
        async for account in accounts:
            self._start_lane(account)
            await self._free_lanes.acquire()

    def _record_end_of_drawing(self, drawing: asyncio.Task[Outcome | None]) -> None:
        """Record that the drawing task has ended.

        The async iterable has ended, or failed, or `stop_drawing` has cancelled the task.
        """
        self._drawing = None
        if drawing.cancelled() and self.is_drawing_over:
            return
        try:
            drawing.result()
        except Exception as error:  # noqa: BLE001 — the input's: it is raised at the end
            self.stop_drawing(_remove_own_frames(error))
            return
        self.stop_drawing(None)

    def stop_drawing(self, error: Exception | None) -> None:
        super().stop_drawing(error)
        if self._drawing is not None:  # an input that never yields again must not hold the run
            self._drawing.cancel()

    def _start_lane(self, account: LinkedAccount) -> None:
        """Start a task that reads an account."""
        if self.is_drawing_over:  # the async iterable caught its cancellation, and yielded again
            raise asyncio.CancelledError
        lane = asyncio.create_task(self._read(account))
        self._lanes.add(lane)
        lane.add_done_callback(self._finished.put_nowait)

    def _take_outcome(self, lane: asyncio.Task[Outcome | None]) -> Outcome | None:
        """Return a lane's outcome; if it raised TypeError, end the run and return None."""
        self._lanes.discard(lane)
        try:
            return lane.result()
        except Exception as error:  # noqa: BLE001 — it is raised at the end
            empty_frames(error)
            self.stop_drawing(error)
            return None

    async def _read(self, account: LinkedAccount) -> Outcome:
        """Read an account and return its outcome; raise TypeError if it is not a LinkedAccount."""
        _check_account(account)
        current_key.set(account.key)
        began_at = time.monotonic()
        try:
            result = await self._runner.run(GET_ACCOUNT_BALANCE, account.auth_token, account.broker)
        except Exception as error:  # noqa: BLE001 — it is the account's outcome
            empty_frames(error)
            return _failed_outcome(account, error, began_at)
        return _successful_outcome(account, result, began_at)

    async def _stop(self) -> None:
        """Cancel the drawing task and all calls in flight, and drop their outcomes."""
        self.is_drawing_over = True
        self.stop_signal.set()
        tasks = list(self._lanes)
        if self._drawing is not None:
            tasks.append(self._drawing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
