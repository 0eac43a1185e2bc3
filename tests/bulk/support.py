"""Accounts, a counting transport, and runs of either mode, for the tests of bulk runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import LinkedAccount, Outcome
from mesh_facade.testing import MockServer
from tests.support import response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from tests.conftest import Caller, Mode

Accounts = Iterable[LinkedAccount] | AsyncIterable[LinkedAccount]

only_sync = pytest.mark.parametrize("mode", ["sync"], indirect=True)
only_async = pytest.mark.parametrize("mode", ["async"], indirect=True)


def make_accounts(count: int) -> Iterator[LinkedAccount]:
    for key in range(count):
        yield LinkedAccount(f"token-{key}", "coinbase", key)


async def make_async(accounts: Iterable[LinkedAccount]) -> AsyncIterator[LinkedAccount]:
    for account in accounts:
        await asyncio.sleep(0)
        yield account


@contextlib.contextmanager
def open_run(caller: Caller, accounts: Accounts, **options: Any) -> Iterator[Iterator[Outcome]]:
    """Iterate over a run of either mode, and close it at the end."""
    run = caller.client.get_account_balances(accounts, **options)

    try:
        if caller.mode.is_async:
            yield _iterate(run, caller.mode)
        else:
            yield run
    finally:
        if caller.mode.is_async:
            caller.mode.run(run.aclose())
        else:
            run.close()


def _iterate(run: AsyncGenerator[Outcome, None], mode: Mode) -> Iterator[Outcome]:
    """Yield the outcomes of an async run."""
    while True:
        try:
            outcome: Outcome = mode.run(anext(run))
        except StopAsyncIteration:
            return
        yield outcome


def wait_until_set(event: threading.Event, mode: Mode) -> None:
    """Wait for an event, while the lanes of a run go on."""

    async def poll() -> None:
        while not event.is_set():  # noqa: ASYNC110 — threads set it too
            await asyncio.sleep(0.001)

    if mode.is_async:
        mode.run(asyncio.wait_for(poll(), 10))
    else:
        assert event.wait(10)


def read_all(caller: Caller, accounts: Accounts, **options: Any) -> list[Outcome]:
    with open_run(caller, accounts, **options) as outcomes:
        return list(outcomes)


class CountingTransport(httpx.MockTransport):
    """Answers by token, in process and after a while, and counts calls.

    Attributes:
        tokens: The token of each call, in the order in which the calls began.
        in_flight: How many calls are in flight now.
        most_in_flight: The highest number of calls that were in flight at the same time.
    """

    def __init__(
        self,
        answer: Callable[[str], httpx.Response] = lambda _: response(),
        seconds: Callable[[str], float] = lambda _: 0.002,
    ) -> None:
        super().__init__(lambda _: response())
        self.answer = answer
        self.seconds = seconds
        self.tokens: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def _count_call(self, request: httpx.Request) -> Iterator[str]:
        token = json.loads(request.content)["authToken"]
        with self._lock:
            self.tokens.append(token)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield token
        finally:
            with self._lock:
                self.in_flight -= 1

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._count_call(request) as token:
            time.sleep(self.seconds(token))
        return self.answer(token)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with self._count_call(request) as token:
            await asyncio.sleep(self.seconds(token))
        return self.answer(token)


def rate_limited(seconds: object) -> httpx.Response:
    return response(429, b"", {"Retry-After": str(seconds)})


def connect_to(mesh: MockServer, mode: Mode, **options: Any) -> Caller:
    keys = {"client_id": mesh.client_id, "client_secret": mesh.client_secret}
    return mode.client(**{"base_url": mesh.url, **keys, **options})


def take_until_error(
    outcomes: Iterator[Outcome], error_class: type[Exception]
) -> tuple[list[object], Exception]:
    """Return the keys of all outcomes, and the error that follows them."""
    keys: list[object] = []
    with pytest.raises(error_class) as caught:
        keys.extend(outcome.account.key for outcome in outcomes)
    return keys, caught.value
