"""Reads many accounts concurrently, and yields outcomes in the order of their completion.

A run reads at most `concurrency` accounts at a time, each in a lane. `_ThreadRun` keeps its threads
as lanes; `_TaskRun` starts a task, as a lane, for each account. What they share is in `_Run`.
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
from mesh_facade.engine.redaction import empty_frames
from mesh_facade.engine.waiting import StopSignal
from mesh_facade.errors import MeshError
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE, Broker
from mesh_facade.operations.runner import Runner, TaskRunner, ThreadRunner
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
        error: What `get_account_balance` would have raised.
        attempts: How many attempts were made; 0 if `error` is not a MeshError, which counts them.
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
    """Start a run in threads; see `MeshClient.get_account_balances`."""
    return _ThreadRun(runner, accounts, concurrency, max_pause).outcomes()


def read_in_tasks(
    runner: TaskRunner,
    accounts: Iterable[LinkedAccount] | AsyncIterable[LinkedAccount],
    *,
    concurrency: int,
    max_pause: float | None,
) -> AsyncGenerator[Outcome, None]:
    """Start a run in tasks; see `AsyncMeshClient.get_account_balances`."""
    return _TaskRun(runner, accounts, concurrency, max_pause).outcomes()


class _Run:
    """The state of a run that both modes share."""

    def __init__(self, runner: Runner, concurrency: int, max_pause: float | None) -> None:
        check_count("concurrency", concurrency)
        if max_pause is not None:
            check_seconds("max_pause", max_pause)
        self.concurrency = concurrency
        self.stopped = StopSignal(parent=runner.engine.stopped)
        self.policy = BulkRetryPolicy(runner.retry_policy.budget, max_pause)
        self.engine = attrs.evolve(runner.engine, stopped=self.stopped)
        self.has_ended = False  # nothing more is drawn
        self.error: Exception | None = None  # why it ended early, if it did
        self._refused_keys = RefusedKeys(concurrency)

    def end(self, error: Exception | None) -> None:
        """Draw no more accounts: the input has ended, or an error ends the run early."""
        self.has_ended = True
        if self.error is None:  # the first error is kept, even if the input had ended before
            self.error = error

    def record(self, outcome: Outcome) -> None:
        """Take note of an outcome; it may end the run."""
        account = outcome.account
        if self._refused_keys.record(account.auth_token, account.broker, outcome.error):
            self.end(outcome.error)


def _check_account(account: object) -> None:
    if not isinstance(account, LinkedAccount):
        kind = type(account).__name__
        raise TypeError(f"accounts must be LinkedAccounts, but one of them is a {kind}")


def _failed(account: LinkedAccount, error: Exception, began_at: float) -> FailedOutcome:
    attempts = 0
    if isinstance(error, MeshError):
        attempts = error.attempts
    elapsed = time.monotonic() - began_at
    return FailedOutcome(account, None, error, attempts, elapsed)


class _ThreadRun(_Run):
    """A run whose lanes are threads.

    They are daemon threads: a program may end while one waits for an answer. (The threads of a
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
        self._threads: list[threading.Thread] = []
        self._drawn: queue.SimpleQueue[tuple[contextvars.Context, LinkedAccount] | None]
        self._drawn = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield an outcome for each account; then raise what ended the run early, if anything."""
        yield from self._outcomes()
        error = self.error
        del self  # it knows tokens, and a traceback holds this frame
        if error is not None:
            raise error

    def _outcomes(self) -> Generator[Outcome, None, None]:
        try:
            self._fill_lanes()
            while self._in_flight > 0:
                finished = self._finished.get()
                self._in_flight -= 1
                if isinstance(finished, Exception):  # not a LinkedAccount
                    self.end(finished)
                elif isinstance(finished, BaseException):
                    raise finished
                else:
                    self.record(finished)
                    yield finished
                del finished  # it knows a token, and the wait for the next one can be long
                self._fill_lanes()
        finally:
            self._stop()

    def _fill_lanes(self) -> None:
        """Draw accounts until all lanes are busy or the input has ended."""
        while self._in_flight < self.concurrency and not self.has_ended:
            try:
                account = next(self._accounts)
            except StopIteration:
                self.end(None)
                return
            except Exception as error:  # noqa: BLE001 — the input's: it is raised at the end
                self.end(error)
                return
            self._in_flight += 1
            if self._in_flight > len(self._threads):
                self._start_thread()
            # The caller's context variables, such as request ids, hold in the lane too.
            self._drawn.put((contextvars.copy_context(), account))

    def _start_thread(self) -> None:
        name = f"mesh-facade-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        # In this order, because Ctrl-C may come while the thread starts: `_stop` must know it.
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        """Read accounts as they are drawn; what runs in a lane."""
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
            del drawn, context, account, finished  # they know a token

    def _read(self, account: LinkedAccount) -> Outcome:
        _check_account(account)
        current_key.set(account.key)
        began_at = time.monotonic()
        try:
            result = self._runner.run(GET_ACCOUNT_BALANCE, account.auth_token, account.broker)
        except Exception as error:  # noqa: BLE001 — it is the account's outcome
            empty_frames(error)
            return _failed(account, error, began_at)
        elapsed = time.monotonic() - began_at
        return SuccessfulOutcome(account, result.value, None, result.attempts, elapsed)

    def _stop(self) -> None:
        """End pauses, wait for calls in flight, and drop their outcomes."""
        self.has_ended = True
        self.stopped.set()
        self._drawn.put(None)  # each thread that takes it puts it back
        if sys.is_finalizing():  # daemon threads are frozen now, so waiting for them would hang
            return
        for thread in self._threads:
            if thread.is_alive():  # one that could not start, or has not yet, cannot be joined
                thread.join()


class _TaskRun(_Run):
    """A run whose lanes are tasks, which can be cancelled.

    An async iterable may have to wait for its next account. So each lane draws its own account, one
    lane at a time, and outcomes are yielded meanwhile. From a plain iterable, the run draws when it
    starts a lane.
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
        self._turn = asyncio.Lock()  # of the lane that draws from the async iterable
        self._drawing_lane: asyncio.Task[object] | None = None
        self._lanes: set[asyncio.Task[Outcome | None]] = set()
        self._finished: asyncio.Queue[asyncio.Task[Outcome | None]] = asyncio.Queue()

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield an outcome for each account; then raise what ended the run early, if anything."""
        lane = None
        outcome = None
        try:
            self._fill_lanes()
            while self._lanes:
                lane = await self._finished.get()
                self._lanes.discard(lane)
                outcome = self._result_of(lane)
                if outcome is not None:
                    self.record(outcome)
                    yield outcome
                lane = None  # they know a token, and the wait for the next one can be long
                outcome = None
                self._fill_lanes()
        finally:
            await self._stop()
        error = self.error
        del self, lane, outcome  # they know tokens, and a traceback holds this frame
        if error is not None:
            raise error

    def _fill_lanes(self) -> None:
        """Start lanes until there are as many as asked for, or the input has ended."""
        while len(self._lanes) < self.concurrency and not self.has_ended:
            if self._async_accounts is not None:
                lane = asyncio.create_task(self._draw_and_read(self._async_accounts))
            else:
                try:
                    account = next(self._accounts)
                except StopIteration:
                    self.end(None)
                    return
                except Exception as error:  # noqa: BLE001 — the input's: it is raised at the end
                    self.end(error)
                    return
                lane = asyncio.create_task(self._read(account))
            self._lanes.add(lane)
            lane.add_done_callback(self._finished.put_nowait)

    def _result_of(self, lane: asyncio.Task[Outcome | None]) -> Outcome | None:
        """Return a lane's outcome; None if it read no account, or raised, which ends the run."""
        if lane.cancelled() and self.has_ended:  # it was waiting for an account
            return None
        try:
            return lane.result()
        except Exception as error:  # noqa: BLE001 — it is raised at the end
            empty_frames(error)
            self.end(error)
            return None

    async def _draw_and_read(self, accounts: AsyncIterator[LinkedAccount]) -> Outcome | None:
        """Draw an account, and read it; None if the input or the run has ended."""
        async with self._turn:
            if self.has_ended:
                return None
            self._drawing_lane = asyncio.current_task()
            try:
                account = await anext(accounts)
            except StopAsyncIteration:
                self._drawing_lane = None
                self.end(None)
                return None
            except Exception as error:  # noqa: BLE001 — the input's: it is raised at the end
                self._drawing_lane = None
                self.end(error)
                return None
            self._drawing_lane = None
        return await self._read(account)

    def end(self, error: Exception | None) -> None:
        super().end(error)
        if self._drawing_lane is not None:  # an input that never yields again must not hold the run
            self._drawing_lane.cancel()

    async def _read(self, account: LinkedAccount) -> Outcome:
        _check_account(account)
        current_key.set(account.key)
        began_at = time.monotonic()
        try:
            result = await self._runner.run(GET_ACCOUNT_BALANCE, account.auth_token, account.broker)
        except Exception as error:  # noqa: BLE001 — it is the account's outcome
            empty_frames(error)
            return _failed(account, error, began_at)
        elapsed = time.monotonic() - began_at
        return SuccessfulOutcome(account, result.value, None, result.attempts, elapsed)

    async def _stop(self) -> None:
        """Cancel what is in flight, and drop it."""
        self.has_ended = True
        self.stopped.set()
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
