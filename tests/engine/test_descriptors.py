"""A process that may open no more files: a shortage on this side, not a fault of the network."""

from __future__ import annotations

import asyncio
import errno
import json
import shlex
import socket
import subprocess
import sys
import threading
import time
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
ACCOUNTS = 300
PROGRAM = """
import asyncio, collections, json, resource, sys
from mesh_facade import AsyncMeshClient, LinkedAccount, MeshClient

mode, url, limit, accounts = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
attempts = []
keys = ("client-id", "client-secret")
options = {"base_url": url, "on_attempt": attempts.append}
linked = [LinkedAccount(f"token-{number}", "coinbase", key=number) for number in range(accounts)]

def run_sync():
    with MeshClient(*keys, **options) as mesh:
        yield from mesh.get_account_balances(linked, concurrency=100)

async def run_async():
    async with AsyncMeshClient(*keys, **options) as mesh:
        return [each async for each in mesh.get_account_balances(linked, concurrency=100)]

resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
outcomes = list(run_sync()) if mode == "sync" else asyncio.run(run_async())
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


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_bulk_run_with_few_descriptors_reads_every_account(
    serve: Serve, mode: str, host: str
) -> None:
    server = serve(answer_slowly)
    url = server.url.replace("127.0.0.1", host)

    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode, url, str(LIMIT), str(ACCOUNTS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": ""},
    )

    assert run.stderr == ""
    result = json.loads(run.stdout)
    assert result == {"outcomes": ACCOUNTS, "errors": {}, "attempts": ACCOUNTS}
    assert len(server.requests) == ACCOUNTS
    assert server.connections < LIMIT


# --- in one process, with a system that opens no more sockets -------------------------------------


class Shortage:
    """A system that opens no further socket while it `is_short`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_short = False
        self.refusals = 0
        real = socket.socket

        class LimitedSocket(real):  # type: ignore[misc, valid-type]
            def __init__(limited, *arguments: Any, **options: Any) -> None:  # noqa: N805
                fileno = options.get("fileno")
                if self.is_short and fileno is None and len(arguments) < 4:
                    self.refusals += 1
                    raise OSError(errno.EMFILE, "Too many open files")
                super().__init__(*arguments, **options)

        monkeypatch.setattr(socket, "socket", LimitedSocket)


@pytest.fixture
def shortage(monkeypatch: pytest.MonkeyPatch) -> Shortage:
    return Shortage(monkeypatch)


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
    "raised",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        OSError(errno.EBUSY, "Device or resource busy"),
    ],
    ids=["no such name", "busy"],
)
def test_failed_look_up_of_a_name_is_recognized_as_a_shortage(
    mode: Mode, shortage: Shortage, monkeypatch: pytest.MonkeyPatch, raised: OSError
) -> None:
    def find_nothing(*_: object, **__: object) -> list[Any]:
        raise raised

    monkeypatch.setattr(socket, "getaddrinfo", find_nothing)
    caller = mode.client(base_url="https://mesh.invalid", max_attempts=1)

    with pytest.raises(MeshConnectionError, match=raised.strerror):
        caller.read()
    shortage.is_short = True
    with pytest.raises(MeshConnectionError, match="too many files are open"):
        caller.read()


def read_one_after_the_other(
    first: Caller, second: Caller, shortage: Shortage, server: Server
) -> list[BaseException | None]:
    """Make a call and, as soon as its connection is open, another that finds no descriptor.

    Return their errors.
    """

    def wait_until_the_first_was_asked() -> None:
        limit = time.monotonic() + 5
        while not server.requests:
            assert time.monotonic() < limit
            time.sleep(0.005)
        shortage.is_short = True

    if first.mode.is_async:

        async def read_both() -> list[Any]:
            tasks = [asyncio.create_task(first.client.get_account_balance(TOKEN, "coinbase"))]
            await asyncio.to_thread(wait_until_the_first_was_asked)
            tasks.append(asyncio.create_task(second.client.get_account_balance(TOKEN, "coinbase")))
            return await asyncio.gather(*tasks, return_exceptions=True)

        results = first.mode.run(read_both())
        return [each if isinstance(each, BaseException) else None for each in results]

    with ThreadPoolExecutor() as threads:
        futures = [threads.submit(first.read)]
        wait_until_the_first_was_asked()
        futures.append(threads.submit(second.read))
        return [future.exception() for future in futures]


def test_call_that_waits_for_a_descriptor_ends_at_its_deadline_and_names_the_limit(
    mode: Mode, serve: Serve, shortage: Shortage
) -> None:
    def hold_first(peer: Peer) -> None:
        peer.receive()
        peer.hold()

    server = serve(hold_first)
    first = mode.client(base_url=server.url, deadline=1.5, max_attempts=1)
    second = first.with_options(deadline=0.3)

    _, error = read_one_after_the_other(first, second, shortage, server)

    assert isinstance(error, MeshTimeoutError)
    assert str(error).startswith(
        "no free connection within the deadline of 0.3 s: too many files are open"
    )
    assert error.attempts == 0


def test_call_without_descriptor_takes_the_connection_of_another_call(
    mode: Mode, serve: Serve, shortage: Shortage
) -> None:
    pause = threading.Event()

    def is_waiting() -> bool:
        homes = caller.client._runner.engine.pool._homes
        return any(home.slots._withheld > 0 for home in list(homes.values()))

    def answer_when_the_second_waits(peer: Peer) -> None:
        peer.receive()
        while not is_waiting():
            pause.wait(0.005)
        peer.answer()
        peer.answer_all()

    server = serve(answer_when_the_second_waits)
    caller = mode.client(base_url=server.url)

    assert read_one_after_the_other(caller, caller, shortage, server) == [None, None]

    assert (server.connections, len(server.requests)) == (1, 2)


def test_slots_come_back_when_descriptors_are_no_longer_short(
    mode: Mode, serve: Serve, shortage: Shortage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = threading.Event()

    def handle(peer: Peer) -> None:
        peer.receive()
        while not shortage.refusals:
            pause.wait(0.005)
        peer.answer()
        peer.answer_all()

    server = serve(handle)
    caller = mode.client(base_url=server.url)
    read_one_after_the_other(caller, caller, shortage, server)
    shortage.is_short = False
    [home] = caller.client._runner.engine.pool._homes.values()
    assert home.slots._withheld > 90
    caller.read()
    assert home.slots._withheld > 90
    monkeypatch.setattr(pool, "RESTORE_AFTER", 0.0)

    for _ in range(100):
        caller.read()

    assert home.slots._withheld == 0
    assert home.slots._free == 100
    assert home._short_at is None


def test_idle_connections_make_room_for_a_call_that_needs_a_new_one(
    mode: Mode, serve: Serve, shortage: Shortage
) -> None:
    caller = mode.client(base_url=serve().url)
    caller.read()
    engine = caller.client._runner.engine
    [home] = engine.pool._homes.values()

    async def make_room() -> list[bool]:
        connection = await engine.pool.acquire(time.monotonic() + 1, must_be_new=True)
        first = engine.pool.release_for_lack_of_descriptor(connection)
        connection = await engine.pool.acquire(time.monotonic() + 1, must_be_new=True)
        return [first, engine.pool.release_for_lack_of_descriptor(connection)]

    run = mode.run if mode.is_async else run_blocking

    assert run(make_room()) == [True, False]
    assert home.take() is None
    assert not shortage.refusals


def test_shortage_that_begins_while_an_earlier_one_is_forgotten_ends_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class BusyHome(pool.Home):
        """Another call runs short just before the earlier shortage is forgotten."""

        def __setattr__(self, name: str, value: object) -> None:
            if name == "_short_at" and value is None and may_run_short.is_set():
                may_run_short.clear()
                assert self.make_room()
            super().__setattr__(name, value)

    may_run_short = threading.Event()
    monkeypatch.setattr(pool, "RESTORE_AFTER", 0.0)
    slots = ThreadSlots(3)
    home = BusyHome(slots)
    for _ in range(2):
        run_blocking(slots.acquire(1))
    assert home.make_room()
    home.restore_slot()
    home.restore_slot()
    run_blocking(slots.acquire(1))
    may_run_short.set()

    for _ in range(4):
        home.restore_slot()

    assert not may_run_short.is_set()
    assert slots._withheld == 0
    assert home._short_at is None


def test_connection_that_another_thread_took_meanwhile_is_waited_for() -> None:
    class BusyHome(pool.Home):
        """Another thread takes the last idle connection, just before it would be closed."""

        def close_all_idle(self) -> int:
            run_blocking(slots.acquire(1))
            return super().close_all_idle()

    slots = ThreadSlots(2)
    home = BusyHome(slots)
    run_blocking(slots.acquire(1))

    assert home.make_room()
    assert slots._withheld == 1


# --- slots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots_class", [ThreadSlots, TaskSlots])
def test_slot_is_withheld_only_while_another_is_in_use(slots_class: type[Slots]) -> None:
    async def run() -> None:
        slots = slots_class(2)  # type: ignore[call-arg]
        await slots.acquire(1)
        assert not slots.withhold()
        await slots.acquire(1)
        assert slots.withhold()
        assert not slots.withhold()
        slots.release()
        await slots.acquire(1)
        with pytest.raises(TimeoutError):
            await slots.acquire(0.01)
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
def test_lack_of_descriptors_is_told_from_other_errors(
    cause: OSError | None, *, is_shortage: bool
) -> None:
    error = httpx.ConnectError("text")
    assert descriptors.is_out_of_descriptors(error, cause) == is_shortage

    error.__cause__ = cause
    assert descriptors.is_out_of_descriptors(error, None) == is_shortage


WITHOUT_DESCRIPTORS = """
import os, resource as _, sys
from mesh_facade.engine.descriptors import describe_descriptor_limit

del sys.modules["resource"]
try:
    while True:
        os.dup(0)
except OSError:
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


def test_system_without_that_limit_is_described_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "resource", None)

    assert descriptors.describe_descriptor_limit() == "(the system's limit)"


def test_transport_of_ones_own_that_lacks_descriptors_says_so_too(mode: Mode) -> None:
    script = Script(OSError(errno.EMFILE, "Too many open files"))

    with pytest.raises(MeshConnectionError, match="too many files are open"):
        mode.client(transport=script).read()
