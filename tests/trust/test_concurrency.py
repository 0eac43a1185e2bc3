"""Concurrency: threads, forks, cancellations and closing cost no answer and no connection."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import (
    AccountBalance,
    AsyncMeshClient,
    MeshClient,
    MeshError,
    MeshTimeoutError,
)
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE
from tests.faults.matrix import FIRST, NEXT, OWN_AMOUNT, STRUCK, try_call
from tests.faults.server import SILENCE, Answer, Endpoint, FaultServer, Pause, Step

if TYPE_CHECKING:
    from tests.conftest import Mode

KEYS: dict[str, Any] = {"client_id": "client-id", "client_secret": "client-secret"}
POOL = 10


def _is_own(balance: AccountBalance, number: int) -> bool:
    return balance.cash("USD") == number


def _count_descriptors() -> int:
    return len([*Path("/dev/fd").iterdir()])


@pytest.fixture
def slow(fault_server: FaultServer) -> Endpoint:
    """An endpoint whose answers take two milliseconds while it is ill."""
    return fault_server.open(lambda answer: [Pause(0.002), answer.whole])


# --- threads ------------------------------------------------------------------------------------


def test_a_hundred_threads_and_twenty_thousand_calls_get_their_own_answers(
    fault_server: FaultServer,
) -> None:
    threads, calls = 100, 200
    endpoint = fault_server.open()

    with (
        MeshClient(**KEYS, base_url=endpoint.url, max_connections=20) as mesh,
        ThreadPoolExecutor(threads) as executor,
    ):

        def run(thread: int) -> int:
            numbers = range(thread * calls, (thread + 1) * calls)
            answers = (mesh.get_account_balance(f"token-{it}", "coinbase") for it in numbers)
            return sum(map(_is_own, answers, numbers))

        assert sum(executor.map(run, range(threads))) == threads * calls

    assert endpoint.connections <= 20


def test_the_first_use_raced_by_many_threads_builds_one_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[type[Any]] = []

    class CountedClient(httpx.Client):
        def __init__(self, *args: Any, **options: Any) -> None:
            built.append(type(self))
            super().__init__(*args, **options)

    monkeypatch.setattr(httpx, "Client", CountedClient)
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, content=Answer(b"\r\n\r\n" + request.content).body)
    )
    threads = 8

    with ThreadPoolExecutor(threads) as executor:
        for _ in range(200):
            start = threading.Barrier(threads)
            mesh = MeshClient(**KEYS, transport=transport)

            def run(number: int, start: threading.Barrier = start, mesh: Any = mesh) -> Any:
                start.wait()
                generated = mesh._runner._client(GET_ACCOUNT_BALANCE).get_httpx_client()
                balance = mesh.get_account_balance(f"token-{number}", "coinbase")
                return _is_own(balance, number), generated

            answers = list(executor.map(run, range(threads)))

            assert all(is_own for is_own, _ in answers)
            assert len({id(generated) for _, generated in answers}) == 1

    assert built == []


def test_threads_that_time_out_waiting_for_their_turn_lose_no_slot(slow: Endpoint) -> None:
    slow.fall_ill()
    chance = random.Random(4)  # noqa: S311 — the same choices at each run

    with (
        MeshClient(**KEYS, base_url=slow.url, max_connections=POOL, max_attempts=1) as mesh,
        ThreadPoolExecutor(40) as executor,
    ):
        hurried = [mesh.with_options(deadline=chance.uniform(0.0005, 0.02)) for _ in range(1000)]

        def run(number: int) -> bool:
            outcome = try_call(
                lambda token: hurried[number].get_account_balance(token, "coinbase"),
                f"token-{number}",
            )
            if outcome.error:
                return isinstance(outcome.error, MeshTimeoutError)
            return _is_own(outcome.value, number)

        assert all(executor.map(run, range(1000)))
        balances = executor.map(
            lambda number: mesh.get_account_balance(f"token-{number}", "coinbase"), range(20)
        )
        assert all(map(_is_own, balances, range(20)))


# --- forks --------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_fifty_forks_of_four_children_under_traffic_mix_up_no_answer(
    fault_server: FaultServer, tmp_path: Path, mode: str, *, tls: bool
) -> None:
    endpoint = fault_server.open(tls=tls)
    authority = tmp_path / "authority.pem"
    fault_server.authority.cert_pem.write_to_path(str(authority))
    program = Path(__file__).with_name("forking.py")
    python = [sys.executable, "-Wignore:This process:DeprecationWarning"]  # … forks beside threads

    done = subprocess.run(
        [*python, str(program), endpoint.url, str(authority), mode, "50", "4"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == 50 * 5 * 3


def test_the_first_call_imports_nothing_so_that_a_fork_in_its_midst_is_no_trap(
    fault_server: FaultServer,
) -> None:
    code = """
import sys
from mesh_facade import MeshClient
mesh = MeshClient("client-id", "client-secret", base_url=sys.argv[1])
before = set(sys.modules)
mesh.get_account_balance("token-1", "coinbase")
print(sorted(set(sys.modules) - before))
"""
    endpoint = fault_server.open()

    done = subprocess.run(
        [sys.executable, "-c", code, endpoint.url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"


# --- cancellations ------------------------------------------------------------------------------


async def _interrupt_at_random(
    call: Callable[[int], Awaitable[AccountBalance]], count: int, longest: float
) -> dict[str, int]:
    """Make calls, and cancel or time out as many of them, each at a moment of its own."""
    chance = random.Random(5)  # noqa: S311 — the same choices at each run
    counted = {"answered": 0, "cancelled": 0, "timed out": 0}
    lanes = asyncio.Semaphore(POOL + 2)

    async def run(number: int) -> None:
        async with lanes:
            task = asyncio.ensure_future(call(number))
            seconds, way = chance.uniform(0, longest), number % 10
            if way < 4:
                asyncio.get_running_loop().call_later(seconds, task.cancel)
            try:
                balance = await asyncio.wait_for(task, None if way % 9 < 4 else seconds)
            except TimeoutError:
                counted["timed out"] += 1
            except asyncio.CancelledError:
                counted["cancelled"] += 1
            else:
                assert _is_own(balance, number)
                counted["answered"] += 1

    numbers = itertools.count()
    while counted["cancelled"] + counted["timed out"] < count:
        await asyncio.gather(*map(run, itertools.islice(numbers, 500)))
    return counted


@pytest.mark.parametrize(
    ("tls", "count", "longest"), [(False, 5000, 0.01), (True, 1000, 0.03)], ids=["plain", "tls"]
)
def test_thousands_of_cancellations_cost_neither_a_slot_nor_a_descriptor(
    fault_server: FaultServer, *, tls: bool, count: int, longest: float
) -> None:
    waits: list[Pause | Step] = [Pause(0.002)]
    endpoint = fault_server.open(lambda answer: [waits[-1], answer.whole], tls=tls)
    endpoint.fall_ill()

    async def run() -> tuple[dict[str, int], int]:
        options: dict[str, Any] = {"max_connections": POOL, "verify": fault_server.client_context}
        async with AsyncMeshClient(**KEYS, base_url=endpoint.url, **options) as mesh:

            async def call(number: int) -> AccountBalance:
                return await mesh.get_account_balance(f"token-{number}", "coinbase")

            before = _count_descriptors()
            counted = await _interrupt_at_random(call, count, longest)
            balances = await asyncio.gather(*map(call, range(20)))
            assert all(map(_is_own, balances, range(20)))
            waits.append(SILENCE)
            await _check_that_every_slot_works(mesh, endpoint)
            return counted, _count_descriptors() - before

    counted, descriptors = asyncio.run(run())

    assert counted["cancelled"] + counted["timed out"] >= count
    assert min(counted.values()) > count / 20
    assert descriptors <= 2 * POOL  # both ends of each connection are in this process


async def _check_that_every_slot_works(mesh: AsyncMeshClient, endpoint: Endpoint) -> None:
    """Let as many calls as there are slots wait for an answer, and a few more for a slot."""
    patient, hurried = (mesh.with_options(deadline=it, max_attempts=1) for it in (1.0, 0.1))
    calls = [
        (patient if number < POOL else hurried).get_account_balance(f"last-{number}", "coinbase")
        for number in range(2 * POOL)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [MeshTimeoutError] * 2 * POOL
    arrived = {number for number in range(2 * POOL) if b'"last-%d"' % number in endpoint.received}
    assert arrived == set(range(POOL))


# --- event loops --------------------------------------------------------------------------------


@pytest.fixture
def forsaken_loops() -> Iterator[None]:
    """Let a test leave loops with open connections behind, which only the collector can close."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("forsaken_loops")
def test_a_client_works_in_one_event_loop_after_the_other(fault_server: FaultServer) -> None:
    endpoint = fault_server.open()
    mesh = AsyncMeshClient(**KEYS, base_url=endpoint.url)

    async def call_twice() -> bool:
        first, second = [await mesh.get_account_balance(token, "x") for token in (FIRST, NEXT)]
        return _is_own(first, OWN_AMOUNT[FIRST]) and _is_own(second, OWN_AMOUNT[NEXT])

    assert all(asyncio.run(call_twice()) for _ in range(20))
    asyncio.run(mesh.aclose())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("forsaken_loops")
def test_a_client_works_in_two_event_loops_at_the_same_time(fault_server: FaultServer) -> None:
    endpoint = fault_server.open()
    mesh = AsyncMeshClient(**KEYS, base_url=endpoint.url)

    async def call_often(first: int) -> bool:
        numbers = range(first, first + 50)
        calls = (mesh.get_account_balance(f"token-{number}", "coinbase") for number in numbers)
        return all(map(_is_own, await asyncio.gather(*calls), numbers))

    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(lambda lane: asyncio.run(call_often(1000 * lane)), range(4)))


def test_event_loops_that_take_turns_each_keep_their_connection(fault_server: FaultServer) -> None:
    endpoint = fault_server.open()
    mesh = AsyncMeshClient(**KEYS, base_url=endpoint.url)

    with asyncio.Runner() as one, asyncio.Runner() as other:
        for number in range(20):
            for runner in (one, other):
                call = mesh.get_account_balance(f"token-{number}", "coinbase")
                assert _is_own(runner.run(call), number)
        assert endpoint.connections == 2
        for runner in (one, other):
            runner.run(mesh.aclose())


def test_outside_asyncio_an_async_call_is_refused_in_so_many_words() -> None:
    mesh = AsyncMeshClient(**KEYS, base_url="http://127.0.0.1:1")
    call = mesh.get_account_balance(FIRST, "coinbase")

    with pytest.raises(MeshError, match="asyncio"):
        call.send(None)


# --- closing ------------------------------------------------------------------------------------


def test_closing_lets_a_call_under_way_end_and_refuses_the_next(
    mode: Mode, fault_server: FaultServer
) -> None:
    mesh: Any = None
    called = threading.Event()

    def answer_late(answer: Answer) -> list[bytes | Pause]:
        called.set()
        return [Pause(0.05), answer.whole]

    endpoint = fault_server.open(answer_late)
    endpoint.fall_ill()
    mesh = mode.client(**KEYS, base_url=endpoint.url).client

    async def call_and_close() -> AccountBalance:
        call = asyncio.ensure_future(mesh.get_account_balance(STRUCK, "coinbase"))
        await asyncio.to_thread(called.wait, 5)
        await mesh.aclose()
        balance: AccountBalance = await call
        return balance

    if mode.is_async:
        balance = mode.run(call_and_close())
    else:
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(mesh.get_account_balance, STRUCK, "coinbase")
            called.wait(5)
            mesh.close()
            balance = call.result()

    assert _is_own(balance, OWN_AMOUNT[STRUCK])
    error = try_call(lambda token: mode.run(mesh.get_account_balance(token, "x")), NEXT).error
    assert isinstance(error, MeshError)
    assert "closed" in str(error)


def test_a_call_that_waits_for_its_turn_while_the_client_is_closed_is_refused(
    fault_server: FaultServer,
) -> None:
    endpoint = fault_server.open(lambda answer: [Pause(0.05), answer.whole])
    endpoint.fall_ill()

    async def run() -> list[Any]:
        mesh = AsyncMeshClient(**KEYS, base_url=endpoint.url, max_connections=1)
        calls = [
            asyncio.ensure_future(mesh.get_account_balance(token, "coinbase"))
            for token in (FIRST, NEXT, STRUCK)
        ]
        while not endpoint.strikes:  # noqa: ASYNC110 — the server is in another thread
            await asyncio.sleep(0.001)
        await mesh.aclose()
        return await asyncio.gather(*calls, return_exceptions=True)

    first, *others = asyncio.run(run())

    assert _is_own(first, OWN_AMOUNT[FIRST])
    assert [type(other) for other in others] == [MeshError, MeshError]


def test_closing_twice_is_fine_and_leaves_no_descriptor_open(
    mode: Mode, fault_server: FaultServer
) -> None:
    endpoint = fault_server.open()
    before = _count_descriptors()
    mesh = mode.client(**KEYS, base_url=endpoint.url)
    mesh.read(FIRST)

    mesh.close()
    mesh.close()

    end = time.monotonic() + 5
    while _count_descriptors() > before + mode.is_async * 3 and time.monotonic() < end:
        time.sleep(0.001)  # the server closes its end in its own time
    assert _count_descriptors() <= before + mode.is_async * 3  # those of the loop itself
    assert isinstance(try_call(mesh.read, NEXT).error, MeshError)


def test_closing_one_of_two_siblings_closes_both(mode: Mode, fault_server: FaultServer) -> None:
    endpoint = fault_server.open()
    mesh = mode.client(**KEYS, base_url=endpoint.url)
    sibling = mesh.with_options(timeout=5)
    mesh.read(FIRST)

    sibling.close()

    assert isinstance(try_call(mesh.read, NEXT).error, MeshError)
    assert endpoint.connections == 1
