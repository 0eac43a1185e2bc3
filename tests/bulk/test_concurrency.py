"""How many accounts are read at a time, on which connections, in how much memory."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import MeshConfigurationError
from tests.bulk.support import CountingTransport, make_accounts, only_sync, open_run, read_all
from tests.support import response, threads_begun_since

if TYPE_CHECKING:
    from tests.conftest import Caller, Mode, Serve


def test_lanes_share_fewer_connections(mode: Mode, serve: Serve) -> None:
    server = serve()

    outcomes = read_all(mode.client(base_url=server.url, max_connections=3), make_accounts(40))

    assert all(each.balance for each in outcomes)
    assert server.connections == 3


def test_run_uses_the_connections_of_single_calls(mode: Mode, serve: Serve) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)
    caller.read()

    read_all(caller, make_accounts(5), concurrency=1)

    assert server.connections == 1


@pytest.mark.parametrize("options", [{"concurrency": 1}, {"concurrency": 3}, {}])
def test_concurrency_limits_simultaneous_calls_and_defaults_to_twenty(
    mode: Mode, options: dict[str, int]
) -> None:
    transport = CountingTransport(seconds=lambda _: 0.05)
    concurrency = options.get("concurrency", 20)
    count = 3 * concurrency

    assert len(read_all(mode.client(transport=transport), make_accounts(count), **options)) == count
    assert transport.most_in_flight == concurrency


@pytest.mark.parametrize("concurrency", [0, -1, 2.5, "20", True, None])
def test_invalid_concurrency_raises_before_accounts_are_drawn(mode: Mode, concurrency: Any) -> None:
    drawn: list[object] = []

    with pytest.raises(MeshConfigurationError, match=r"^concurrency must be a whole number"):
        mode.client().client.get_account_balances(map(drawn.append, [1]), concurrency=concurrency)
    assert drawn == []


def test_no_more_threads_start_than_there_are_accounts(mode: Mode) -> None:
    before = set(threading.enumerate())
    counts: list[int] = []

    def answer(_: str) -> httpx.Response:
        counts.append(len(threads_begun_since(before)))
        return response()

    read_all(mode.client(transport=CountingTransport(answer)), make_accounts(3), concurrency=50)

    assert max(counts) <= 3


def measure_peak_memory(caller: Caller, count: int) -> int:
    gc.collect()
    tracemalloc.start()
    with open_run(caller, make_accounts(count)) as outcomes:
        assert sum(1 for _ in outcomes) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_accounts(mode: Mode) -> None:
    caller = mode.client(transport=httpx.MockTransport(lambda _: response()))
    measure_peak_memory(caller, 100)

    # If they were kept, the 700 more outcomes would take 800 kB.
    assert measure_peak_memory(caller, 800) < measure_peak_memory(caller, 100) + 500_000


@only_sync
def test_sync_run_works_inside_a_running_event_loop(mode: Mode) -> None:
    async def read() -> int:
        return len(read_all(caller, make_accounts(5)))

    caller = mode.client(transport=CountingTransport())

    assert asyncio.run(read()) == 5


@only_sync
def test_run_goes_on_with_fewer_lanes_if_the_system_allows_no_more_threads(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_threads(monkeypatch, 3)
    transport = CountingTransport(seconds=lambda _: 0.01)

    outcomes = read_all(mode.client(transport=transport), make_accounts(40))

    assert sorted(each.account.key for each in outcomes) == list(range(40))
    assert transport.most_in_flight == 3


@only_sync
def test_run_raises_if_the_system_allows_no_thread_at_all(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_threads(monkeypatch, 0)

    with (
        open_run(mode.client(transport=CountingTransport()), make_accounts(40)) as outcomes,
        pytest.raises(RuntimeError, match="can't start new thread"),
    ):
        next(outcomes)


def limit_threads(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Let only so many threads of lanes start."""
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def start_within_limit(thread: threading.Thread) -> None:
        if len(started) == limit:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_within_limit)
