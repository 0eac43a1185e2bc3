"""Reads the balances of many accounts: so many at a time, each outcome as it comes.

A run draws and yields where it is iterated over, and its lanes read. It is written once: over
threads, its coroutines never suspend, as in the engine.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import inspect
import math
import queue
import threading
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Coroutine,
    Generator,
    Mapping,
)
from typing import Any

import attrs
from mesh_connect_client.models import BrokerType

from mesh_facade import _configuration, _retry, link_payload
from mesh_facade._engine import drive
from mesh_facade.balances import AccountBalance
from mesh_facade.errors import AuthenticationError, RateLimitError

MOST_PAUSES, LONGEST_PAUSE = 10, 300.0
"""How often, and for how many seconds, a run pauses for one account: rules of ours, not Mesh's."""


@attrs.frozen
class LinkedAccount:
    """An account to read; `key` is yours, to tell outcomes apart. Its repr shows no token."""

    auth_token: str = attrs.field(repr=False)
    broker: BrokerType | str
    key: Any = None

    @classmethod
    def from_link_payload(cls, payload: Mapping[str, Any]) -> list["LinkedAccount"]:
        """Return the accounts that a user linked, from the payload that Mesh Link handed over.

        One for each entry of `accessToken.accountTokens`: its `accessToken` is the `auth_token`,
        the payload's `brokerType` the `broker`, and the `accountId` the `key`. Fields that are not
        needed here are ignored.

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
class Outcome:
    """How the reading of an account ended: one of `balance` and `error` is None.

    Attributes:
        error: What `get_account_balance` would have raised.
        attempts: How many were made, without those that the run paused for and repeated.
        elapsed: Seconds from the account's start to its end, pauses included.
    """

    account: LinkedAccount
    balance: AccountBalance | None
    error: Exception | None
    attempts: int
    elapsed: float


class Run:
    """A run over threads; `evolve` gives a sibling of the client, whose `call` it makes."""

    def __init__(
        self, evolve: Callable[..., Any], call: Callable[..., Any], accounts: Any, concurrency: int
    ) -> None:
        _configuration.check_count("concurrency", concurrency)
        self._call = functools.partial(call, evolve(find_pause=self._find_pause))
        self._concurrency = concurrency
        self._lanes: set[Any] = set()
        self._end: Exception | None = None  # why nothing is drawn any more
        self._opens_at = 0.0
        self._gate = threading.Lock()
        self._open(accounts)

    def _open(self, accounts: Any) -> None:
        self._accounts: Any = iter(accounts)
        self._threads = concurrent.futures.ThreadPoolExecutor(self._concurrency, "mesh-facade")
        self._submit: Any = lambda reading: self._threads.submit(drive, reading)
        self._ended: Any = queue.SimpleQueue()
        self._is_closed = threading.Event()
        self._sleep: Any = self._is_closed.wait

    def __iter__(self) -> Generator[Outcome, None, None]:
        outcomes = self.outcomes()
        try:
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    yield drive(outcomes.asend(None))
        finally:
            drive(outcomes.aclose())

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield an outcome for each account; then raise what ended the run early, if any did."""
        lane = outcome = None
        try:
            while self._lanes or not self._end:
                try:
                    self._feed()
                    lane = await _finish(self._ended.get())
                    self._lanes.discard(lane)
                    outcome = lane.result()
                except Exception as error:  # noqa: BLE001 — the input's: it is raised at the end
                    self._end = self._end if _is_failure(self._end) else error
                else:
                    yield outcome
        finally:
            await self._stop()
        end = self._end
        del self, lane, outcome  # they know tokens, and a traceback holds this frame
        if end and _is_failure(end):
            raise end

    def _feed(self) -> None:
        while len(self._lanes) < self._concurrency and not self._end:
            lane = self._submit(self._draw())
            self._lanes.add(lane)
            lane.add_done_callback(self._ended.put_nowait)

    def _draw(self) -> Coroutine[Any, Any, Outcome]:
        return self._read(next(self._accounts))

    async def _read(self, account: LinkedAccount) -> Outcome:
        """Read an account, again after each pause that it makes all lanes take."""
        if not isinstance(account, LinkedAccount):
            kind = type(account).__name__
            del account  # it may know a token
            raise TypeError(f"accounts must be of LinkedAccount: one is of {kind}")
        began_at, attempts, pauses = time.monotonic(), 0, 0
        while True:
            while closed := self._seconds_closed():
                if await _finish(self._sleep(closed)):
                    raise concurrent.futures.CancelledError
            call = await _finish(self._call(account.auth_token, account.broker))
            attempts += call.attempts
            if pauses == MOST_PAUSES or not _asks_for_pause(call.error):
                break
            attempts, pauses = attempts - 1, pauses + 1
            with self._gate:
                self._opens_at = max(self._opens_at, time.monotonic() + call.error.retry_after)
        error, elapsed = call.error, time.monotonic() - began_at
        if isinstance(error, AuthenticationError) and not error.reconnect_required:
            self._end = error  # the client's keys were refused, so every account will be
        if not isinstance(error, Exception | None):
            raise error  # not the reading failed: someone ends the task, or the program
        return Outcome(account, None if error else call.balance, error, attempts, elapsed)

    def _seconds_closed(self) -> float:
        return max(0.0, self._opens_at - time.monotonic())

    def _find_pause(self, error: Any, attempts: int, remaining: float, budget: Any) -> float | None:
        """Decide for the engine: it repeats nothing that the run does, and nothing in a pause."""
        closed = self._seconds_closed()
        if _asks_for_pause(error) or closed >= remaining:
            return None
        pause = _retry.find_pause(error, attempts, remaining, budget)
        return None if pause is None else max(pause, closed)

    async def _stop(self) -> None:
        self._is_closed.set()
        self._opens_at = math.inf  # no lane tries again
        self._threads.shutdown()


class AsyncRun(Run):
    """A run over tasks, which also draw from an async iterable, so that it holds nothing up."""

    def _open(self, accounts: Any) -> None:
        self._is_async = isinstance(accounts, AsyncIterable)
        self._accounts = aiter(accounts) if self._is_async else iter(accounts)
        self._turn = asyncio.Lock()
        self._submit, self._ended, self._sleep = asyncio.create_task, asyncio.Queue(), asyncio.sleep

    def _draw(self) -> Coroutine[Any, Any, Outcome]:
        return self._draw_and_read() if self._is_async else super()._draw()

    async def _draw_and_read(self) -> Outcome:
        async with self._turn:
            account = await anext(self._accounts)
        return await self._read(account)

    async def _stop(self) -> None:
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)


async def _finish(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _is_failure(end: Exception | None) -> bool:
    """Whether a run ends early, rather than with its input."""
    return not isinstance(end, StopIteration | StopAsyncIteration | None)


def _asks_for_pause(error: Any) -> bool:
    seconds = error.retry_after if isinstance(error, RateLimitError) else None
    return seconds is not None and seconds <= LONGEST_PAUSE
