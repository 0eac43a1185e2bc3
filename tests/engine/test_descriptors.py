"""A process that may open no more files: a shortage on this side, not a fault of the network."""

from __future__ import annotations

import asyncio
import errno
import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mesh_facade import MeshConnectionError, MeshTimeoutError
from mesh_facade.engine import descriptors, pool
from mesh_facade.engine.slots import Slots, TaskSlots, ThreadSlots
from mesh_facade.engine.waiting import run_blocking
from tests.conftest import Caller, Mode, Serve
from tests.stopwatch import Stopwatch
from tests.support import TOKEN, Peer, Script, Server

resource = pytest.importorskip("resource", reason="Windows has no such limit")

LIMIT = 40
"""Descriptors of the program below: fewer than its 100 lanes want connections."""
ACCOUNT_COUNT = 300
PROGRAM = """
import asyncio, collections, json, resource, sys
from mesh_facade import AsyncMeshClient, LinkedAccount, MeshClient

mode = sys.argv[1]
url = sys.argv[2]
limit = int(sys.argv[3])
account_count = int(sys.argv[4])
attempts = []
keys = ("client-id", "client-secret")
options = {"base_url": url, "on_attempt": attempts.append}
accounts = [LinkedAccount(f"token-{key}", "coinbase", key=key) for key in range(account_count)]

def run_sync():
    with MeshClient(*keys, **options) as mesh:
        return list(mesh.get_account_balances(accounts, concurrency=100))

async def run_async():
    async with AsyncMeshClient(*keys, **options) as mesh:
        return [each async for each in mesh.get_account_balances(accounts, concurrency=100)]

resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
if mode == "sync":
    outcomes = run_sync()
else:
    outcomes = asyncio.run(run_async())
print(json.dumps({
    "outcomes": len(outcomes),
    "errors": collections.Counter(str(each.error) for each in outcomes if each.error is not None),
    "attempts": len(attempts),
}))
"""


def answer_slowly(peer: Peer) -> None:
    """Answer each request after a while, so that calls want more connections than there can be."""
    while True:
        peer.receive()
        time.sleep(0.02)
        peer.answer()


@pytest.mark.parametrize("mode_name", ["sync", "async"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_bulk_run_with_few_descriptors_reads_every_account(
    serve: Serve, mode_name: str, host: str
) -> None:
    server = serve(answer_slowly)
    url = server.url.replace("127.0.0.1", host)

    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode_name, url, str(LIMIT), str(ACCOUNT_COUNT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": ""},
    )

    assert run.stderr == ""
    result = json.loads(run.stdout)
    assert result == {"outcomes": ACCOUNT_COUNT, "errors": {}, "attempts": ACCOUNT_COUNT}
    assert len(server.requests) == ACCOUNT_COUNT
    assert server.connections < LIMIT


# --- in one process, with a system that opens no more sockets -------------------------------------


class Shortage:
    """A system that opens no further socket while it `is_short`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_short = False
        self.refusals = 0
        shortage = self

        class LimitedSocket(socket.socket):
            def __init__(
                self,
                family: int = -1,
                type: int = -1,  # noqa: A002 — the standard library's signature
                proto: int = -1,
                fileno: int | None = None,
            ) -> None:
                # With a `fileno`, as in `accept`, the descriptor is open already.
                if shortage.is_short and fileno is None:
                    shortage.refusals += 1
                    raise OSError(errno.EMFILE, "Too many open files")
                super().__init__(family, type, proto, fileno)

        monkeypatch.setattr(socket, "socket", LimitedSocket)


@pytest.fixture
def shortage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shortage]:
    shortage = Shortage(monkeypatch)
    yield shortage
    shortage.is_short = False  # the test's server needs a socket to stop at once


def test_call_without_descriptor_names_the_limit_at_once_if_nothing_is_in_use(
    mode: Mode, serve: Serve, shortage: Shortage
) -> None:
    attempts: list[object] = []
    caller = mode.client(base_url=serve().url, max_connections=77, on_attempt=attempts.append)
    shortage.is_short = True
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    with Stopwatch() as watch, pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert watch.seconds < 1
    assert str(caught.value) == (
        f"no connection could be opened: too many files are open (ulimit -n: {limit}): raise the "
        "limit, close files, or lower max_connections, which is 77"
    )
    assert type(caught.value) is MeshConnectionError
    assert caught.value.attempts == 0
    assert attempts == []
    shortage.is_short = False
    assert caller.read()  # the slot came back


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        OSError(errno.EBUSY, "Device or resource busy"),
    ],
    ids=["no such name", "busy"],
)
def test_failed_name_lookup_counts_as_shortage_only_if_descriptors_are_short(
    mode: Mode, shortage: Shortage, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def find_nothing(*_: object, **__: object) -> list[Any]:
        raise type(error)(*error.args)  # a new one: each raise leaves its traceback in an error

    monkeypatch.setattr(socket, "getaddrinfo", find_nothing)
    caller = mode.client(base_url="https://mesh.invalid", max_attempts=1)

    with pytest.raises(MeshConnectionError, match=error.strerror):
        caller.read()
    shortage.is_short = True
    with pytest.raises(MeshConnectionError, match="too many files are open"):
        caller.read()


def read_both_with_a_shortage_between(
    first: Caller, second: Caller, shortage: Shortage, server: Server
) -> list[BaseException | None]:
    """Make two calls at the same time, of which the second finds no descriptor.

    The shortage begins when the server has the first request, and lasts. Return the error of each
    call, or None.
    """

    def wait_for_the_first_request() -> None:
        deadline = time.monotonic() + 5
        while not server.requests:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    if first.mode.is_async:

        async def read_both() -> list[Any]:
            tasks = [asyncio.create_task(first.client.get_account_balance(TOKEN, "coinbase"))]
            await asyncio.to_thread(wait_for_the_first_request)
            shortage.is_short = True
            tasks.append(asyncio.create_task(second.client.get_account_balance(TOKEN, "coinbase")))
            return await asyncio.gather(*tasks, return_exceptions=True)

        results = first.mode.run(read_both())
        return [each if isinstance(each, BaseException) else None for each in results]

    with ThreadPoolExecutor() as threads:
        futures = [threads.submit(first.read)]
        wait_for_the_first_request()
        shortage.is_short = True
        futures.append(threads.submit(second.read))
        return [future.exception() for future in futures]


def withholds_slots(caller: Caller) -> bool:
    """Return True if a call without a descriptor waits for the connection of another one."""
    homes = caller.client._runner.engine.pool._homes
    return any(home.slots._withheld > 0 for home in list(homes.values()))


def answer_once_slots_are_withheld(peer: Peer, caller: Caller) -> None:
    """Answer the first request when the second call waits, and later requests at once."""
    peer.receive()
    while not withholds_slots(caller) and not peer.server.is_over.is_set():
        time.sleep(0.005)
    peer.answer()
    peer.answer_all()


def test_call_that_waits_for_a_descriptor_ends_at_its_deadline_and_names_the_limit(
    mode: Mode, serve: Serve, shortage: Shortage
) -> None:
    def hold_first(peer: Peer) -> None:
        peer.receive()
        peer.hold()

    server = serve(hold_first)
    first = mode.client(base_url=server.url, deadline=1.5, max_attempts=1)
    second = first.with_options(deadline=0.3)

    _, error = read_both_with_a_shortage_between(first, second, shortage, server)

    assert isinstance(error, MeshTimeoutError)
    assert str(error).startswith(
        "no free connection within the deadline of 0.3 s: too many files are open"
    )
    assert error.attempts == 0


def test_call_without_descriptor_takes_the_connection_of_another_call(
    mode: Mode, serve: Serve, shortage: Shortage
) -> None:
    server = serve(lambda peer: answer_once_slots_are_withheld(peer, caller))
    caller = mode.client(base_url=server.url)

    errors = read_both_with_a_shortage_between(caller, caller, shortage, server)

    assert errors == [None, None]
    assert (server.connections, len(server.requests)) == (1, 2)


def test_slots_come_back_when_descriptors_are_no_longer_short(
    mode: Mode, serve: Serve, shortage: Shortage, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 100
    server = serve(lambda peer: answer_once_slots_are_withheld(peer, caller))
    caller = mode.client(base_url=server.url, max_connections=size)
    monkeypatch.setattr(pool, "RESTORE_AFTER", 60.0)  # longer than the calls take on a slow machine
    read_both_with_a_shortage_between(caller, caller, shortage, server)
    shortage.is_short = False
    [home] = caller.client._runner.engine.pool._homes.values()
    assert home.slots._withheld == size - 1  # all but the slot of the first call
    caller.read()
    assert home.slots._withheld == size - 1  # it is too early to restore one
    monkeypatch.setattr(pool, "RESTORE_AFTER", 0.0)

    for _ in range(size):  # each call restores one slot; the last one finds none left
        caller.read()

    assert home.slots._withheld == 0
    assert home.slots._free == size


def test_idle_connections_make_room_for_a_call_that_needs_a_new_one(
    mode: Mode, serve: Serve, shortage: Shortage
) -> None:
    caller = mode.client(base_url=serve().url)
    caller.read()
    shortage.is_short = True
    engine = caller.client._runner.engine
    [home] = engine.pool._homes.values()

    async def handle_shortage_twice() -> list[bool]:
        results: list[bool] = []
        for _ in range(2):
            connection = await engine.pool.acquire(time.monotonic() + 1, must_be_new=True)
            results.append(engine.pool.release_for_lack_of_descriptor(connection))
        return results

    run = mode.run if mode.is_async else run_blocking
    results = run(handle_shortage_twice())

    assert results == [True, False]  # the idle connection was closed, and then there was none
    assert home.take() is None
    assert not shortage.refusals


def test_all_slots_come_back_if_another_call_is_released_while_one_runs_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class InterruptedSlots(ThreadSlots):
        """Another thread gets the processor just before slots are withheld."""

        def withhold(self) -> bool:
            home.restore_slot()  # the other thread has released its connection
            return super().withhold()

    monkeypatch.setattr(pool, "RESTORE_AFTER", 0.0)
    slots = InterruptedSlots(3)
    home = pool.Home(slots)
    # Two calls have slots. One of them runs short: its slot and the free one are withheld.
    for _ in range(2):
        run_blocking(slots.acquire(1))
    assert home.handle_shortage()
    assert slots._withheld == 2

    home.restore_slot()
    home.restore_slot()

    assert slots._withheld == 0


def test_shortage_waits_if_another_thread_took_the_last_idle_connection() -> None:
    class HomeThatLosesItsIdleConnection(pool.Home):
        """Another thread takes the last idle connection just before it would be closed."""

        def close_all_idle(self) -> int:
            run_blocking(slots.acquire(1))
            return super().close_all_idle()

    slots = ThreadSlots(2)
    home = HomeThatLosesItsIdleConnection(slots)
    run_blocking(slots.acquire(1))

    assert home.handle_shortage()
    assert slots._withheld == 1


# --- slots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots_class", [ThreadSlots, TaskSlots])
def test_slot_is_withheld_only_while_another_is_in_use(slots_class: type[Slots]) -> None:
    async def run() -> None:
        slots = slots_class(2)  # type: ignore[call-arg]
        await slots.acquire(1)
        assert not slots.withhold()  # no other slot is in use
        await slots.acquire(1)
        assert slots.withhold()  # one of two
        assert not slots.withhold()  # the last one
        # That one can still be used again, but the withheld one cannot.
        slots.release()
        await slots.acquire(1)
        with pytest.raises(TimeoutError):
            await slots.acquire(0.01)
        # The withheld one comes back.
        assert slots.restore()
        await slots.acquire(1)
        assert not slots.restore()

    asyncio.run(run())


# --- which errors mean a shortage -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "is_shortage"),
    [
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.ENFILE, "Too many open files in system"), True),
        (OSError(errno.ECONNREFUSED, "Connection refused"), False),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (None, False),
    ],
)
def test_only_emfile_and_enfile_count_as_shortage(
    cause: OSError | None, *, is_shortage: bool
) -> None:
    error = httpx.ConnectError("text")
    assert descriptors.is_out_of_descriptors(error, cause) == is_shortage

    error.__cause__ = cause
    assert descriptors.is_out_of_descriptors(error, None) == is_shortage


WITHOUT_DESCRIPTORS = """
import errno, os
from mesh_facade.engine.descriptors import describe_descriptor_limit

# This program does not import `resource`. If it did, the function under test could import it
# without a descriptor.
try:
    while True:
        os.dup(0)
except OSError as error:
    assert error.errno == errno.EMFILE
    text = describe_descriptor_limit()
os.closerange(3, 64)
print(text)
"""


def test_limit_is_described_although_no_descriptor_is_left() -> None:
    command = (
        f"ulimit -n 64; exec {shlex.quote(sys.executable)} -c {shlex.quote(WITHOUT_DESCRIPTORS)}"
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)

    assert done.stdout == "(ulimit -n: 64)\n"


def test_limit_is_described_without_the_resource_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "resource", None)

    assert descriptors.describe_descriptor_limit() == "(the system's limit)"


def test_process_without_a_limit_of_its_own_is_told_of_the_systems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    infinity = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (infinity, infinity))

    assert descriptors.describe_descriptor_limit() == "(the system's limit)"


def test_error_of_custom_transport_names_the_shortage(mode: Mode) -> None:
    script = Script(OSError(errno.EMFILE, "Too many open files"))

    with pytest.raises(MeshConnectionError, match="too many files are open"):
        mode.client(transport=script).read()
