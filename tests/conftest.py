"""Fixtures of all tests: a clean environment, both modes of the client, servers, a clock."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import hypothesis
import pytest

from mesh_facade import AccountBalance, AsyncMeshClient, MeshClient
from mesh_facade.engine.waiting import StopSignal
from mesh_facade.testing.pytest_plugin import mesh, mesh_in_process, mesh_server  # noqa: F401 — fixtures
from tests.support import KEYS, TOKEN, Peer, Server

Serve = Callable[..., Server]

# No deadline per example: on a busy machine, a slow example is not a defect.
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep keys, proxies and certificates of the machine out of the tests."""
    for name in os.environ:
        if name.startswith(("MESH_", "SSL_CERT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Let Ctrl-C work as in a terminal: programs that a shell runs in the background ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@attrs.frozen
class Caller:
    """A client of either mode, used in the same way."""

    client: Any
    mode: Mode

    def read(self, auth_token: Any = TOKEN, broker: Any = "coinbase") -> AccountBalance:
        balance: AccountBalance = self.mode.run(self.client.get_account_balance(auth_token, broker))
        return balance

    def with_options(self, **options: Any) -> Caller:
        return Caller(self.client.with_options(**options), self.mode)

    def close(self) -> None:
        if self.mode.is_async:
            self.mode.run(self.client.aclose())
        else:
            self.client.close()


class Mode:
    """Sync or async: a test that takes it runs in both."""

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async
        self.client_class: type[Any] = AsyncMeshClient if is_async else MeshClient
        self._runner = asyncio.Runner()
        self._callers: list[Caller] = []

    def client(self, **options: Any) -> Caller:
        """Return a client with keys, which is closed after the test."""
        caller = Caller(self.client_class(**{**KEYS, **options}), self)
        self._callers.append(caller)
        return caller

    def run(self, call: Any) -> Any:
        """Return the result of a method that was called on a client.

        An async client has returned a coroutine, which runs now. A sync client has returned the
        result itself.
        """
        if self.is_async:
            return self._runner.run(call)
        return call

    def close(self) -> None:
        with contextlib.closing(self._runner):
            for caller in self._callers:
                caller.close()


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Iterator[Mode]:
    with contextlib.closing(Mode(is_async=request.param == "async")) as mode:
        yield mode


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers on loopback that last as long as the test."""
    with contextlib.ExitStack() as stack:

        def start(handle: Callable[[Peer], object] = Peer.answer_all, **options: Any) -> Server:
            return stack.enter_context(Server(handle, **options))

        yield start


class Clock:
    """Replaces the module `time`: it moves only in pauses, or when a test sets `now`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the facade's clock by one that moves only in its pauses, or when a test sets `now`.

    The mock server (`mesh_facade.testing`) does not `import time`, and keeps the real clock.
    """
    clock = Clock()
    facade_modules = [
        module for name, module in sys.modules.items() if name.startswith("mesh_facade.")
    ]
    for module in facade_modules:
        if getattr(module, "time", None) is time:  # it contains `import time`
            monkeypatch.setattr(module, "time", clock)

    def wait(stop_signal: StopSignal, seconds: float) -> bool:
        if stop_signal.is_set():  # the real one returns at once, too
            return True
        clock.sleep(seconds)
        return stop_signal.is_set()

    async def wait_in_task(stop_signal: StopSignal, seconds: float) -> bool:
        return wait(stop_signal, seconds)

    monkeypatch.setattr(StopSignal, "wait", wait)
    monkeypatch.setattr(StopSignal, "wait_in_task", wait_in_task)
    return clock
