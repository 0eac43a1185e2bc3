"""What the tests of bulk runs share: accounts, a counting transport, and runs of either mode."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import LinkedAccount, Outcome
from mesh_facade.testing import MockServer
from tests.support import response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from tests.conftest import Caller, Mode

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
def open_run(caller: Caller, accounts: Any, **options: Any) -> Iterator[Iterator[Outcome]]:
    """Iterate over a run of either mode, and close it at the end."""
    run = caller.client.get_account_balances(accounts, **options)

    def each() -> Iterator[Outcome]:
        if not caller.mode.is_async:
            yield from run
        with contextlib.suppress(StopAsyncIteration):
            while caller.mode.is_async:
                yield caller.mode.run(run.asend(None))

    try:
        yield each()
    finally:
        caller.mode.run(run.aclose() if caller.mode.is_async else run.close())


def read_all(caller: Caller, accounts: Any, **options: Any) -> list[Outcome]:
    with open_run(caller, accounts, **options) as outcomes:
        return list(outcomes)


class CountingTransport(httpx.MockTransport):
    """Answers by token, in process and after a while; it counts the calls under way."""

    def __init__(
        self,
        answer: Callable[[str], httpx.Response] = lambda _: response(),
        seconds: Callable[[str], float] = lambda _: 0.002,
    ) -> None:
        super().__init__(lambda _: response())
        self.answer = answer
        self.seconds = seconds
        self.tokens: list[str] = []
        self.now = self.most = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def _under_way(self, request: httpx.Request) -> Iterator[str]:
        token = json.loads(request.content)["authToken"]
        with self._lock:
            self.tokens.append(token)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield token
        finally:
            with self._lock:
                self.now -= 1

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._under_way(request) as token:
            time.sleep(self.seconds(token))
        return self.answer(token)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with self._under_way(request) as token:
            await asyncio.sleep(self.seconds(token))
        return self.answer(token)


def rate_limited(seconds: object) -> httpx.Response:
    return response(429, b"", {"Retry-After": str(seconds)})


def connect_to(mesh: MockServer, mode: Mode, **options: Any) -> Caller:
    keys = {"client_id": mesh.client_id, "client_secret": mesh.client_secret}
    return mode.client(**{"base_url": mesh.url, **keys, **options})


def take_until_error(
    outcomes: Iterator[Outcome], error_class: type[Exception]
) -> tuple[list[Any], Exception]:
    """Return the keys of all outcomes, and the error that follows them."""
    keys: list[Any] = []
    with pytest.raises(error_class) as caught:
        keys.extend(outcome.account.key for outcome in outcomes)
    return keys, caught.value
