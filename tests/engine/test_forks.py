"""Forks: handshakes that they wait for, and connections of the child."""

from __future__ import annotations

import asyncio
import contextlib
import os
import runpy
import signal
import threading
from collections.abc import Callable

import pytest

from mesh_facade import AsyncMeshClient, MeshClient
from mesh_facade.engine import forks
from mesh_facade.engine.forks import ForkCounter, HandshakeGuard
from mesh_facade.engine.waiting import StopSignal
from tests.conftest import Serve
from tests.engine.support import answer_with_number_in_token
from tests.support import KEYS, OK, TOKEN, Peer, Script


def reads_own_balance_in_a_child(mesh: MeshClient) -> bool:
    """Fork, and return True if the child's call gets its own answer."""
    child = os.fork()
    if child == 0:  # pragma: no cover — measured in the parent alone
        try:
            is_right = mesh.get_account_balance("token-2", "coinbase").cash("USD") == 2
            os._exit(0 if is_right else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_interruption_while_a_handshake_begins_leaves_no_lock_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C may come between any two lines of Python code, so also within Condition's own."""

    def interrupted_enter(condition: threading.Condition) -> bool:
        condition.acquire()
        raise KeyboardInterrupt

    def take_part_in_a_handshake() -> None:
        with guard:
            taken.append(True)

    guard = HandshakeGuard()
    taken: list[bool] = []
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(threading.Condition, "__enter__", interrupted_enter)
        guard.__enter__()

    thread = threading.Thread(target=take_part_in_a_handshake, daemon=True)
    thread.start()
    thread.join(10)

    assert taken == [True]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # which is tested here
def test_forked_child_opens_its_own_connections(serve: Serve) -> None:
    server = serve(answer_with_number_in_token)
    with MeshClient(**KEYS, base_url=server.url) as mesh:
        assert mesh.get_account_balance("token-1", "coinbase").cash("USD") == 1
        assert reads_own_balance_in_a_child(mesh)
        assert mesh.get_account_balance("token-3", "coinbase").cash("USD") == 3

    assert server.connections == 2


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # which is tested here
def test_pause_of_a_forked_child_ends_whatever_the_parents_threads_did() -> None:
    signal_to_stop = StopSignal()
    is_over = threading.Event()

    def begin_and_end_pauses() -> None:
        while not is_over.is_set():
            signal_to_stop.wait(0.0)

    threads = [threading.Thread(target=begin_and_end_pauses) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:  # pragma: no cover — measured in the parent alone
                signal.alarm(10)  # a child that hangs is killed
                signal_to_stop.wait(0.001)
                signal_to_stop.set()
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_pool_is_new_in_a_process_with_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(OK)
    with MeshClient(**KEYS, transport=script, max_connections=1) as mesh:
        mesh.get_account_balance(TOKEN, "coinbase")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert mesh.get_account_balance(TOKEN, "coinbase")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # which is tested here
def test_forked_child_with_the_id_of_its_parent_opens_its_own_connections(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In containers, a parent and its child can both be process 1.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    server = serve(answer_with_number_in_token)
    with MeshClient(**KEYS, base_url=server.url) as mesh:
        assert mesh.get_account_balance("token-1", "coinbase").cash("USD") == 1
        assert reads_own_balance_in_a_child(mesh)

    assert server.connections == 2


def test_fork_is_counted_in_the_child() -> None:
    counter = ForkCounter()

    counter.after_fork_in_child()

    assert counter.count == 1


def run_in_thread(run: Callable[[], object]) -> threading.Event:
    """Run a function in a thread of its own; return an event that is set when it is done."""
    done = threading.Event()

    def run_and_set() -> None:
        run()
        done.set()

    threading.Thread(target=run_and_set).start()
    return done


def simulate_fork(handshakes: HandshakeGuard) -> None:
    handshakes.before_fork()
    handshakes.after_fork_in_parent()


def run_handshake(handshakes: HandshakeGuard, within: Callable[[], object] = lambda: None) -> None:
    with handshakes:
        within()


def test_fork_waits_for_handshakes_in_progress() -> None:
    handshakes = HandshakeGuard()
    with handshakes:
        with handshakes:
            held = run_in_thread(lambda: simulate_fork(handshakes))
        assert not held.wait(0.05)

    assert held.wait(5)


def test_fork_does_not_wait_for_handshakes_of_its_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "LONGEST_WAIT", 60)
    handshakes = HandshakeGuard()

    def fork_within_a_handshake() -> None:
        run_handshake(handshakes, lambda: simulate_fork(handshakes))

    assert run_in_thread(fork_within_a_handshake).wait(5)


def test_child_forgets_the_handshakes_of_its_parent() -> None:
    handshakes = HandshakeGuard()
    with handshakes:
        handshakes.after_fork_in_child()
        assert run_in_thread(lambda: simulate_fork(handshakes)).wait(5)

    assert run_in_thread(lambda: simulate_fork(handshakes)).wait(5)


def test_fork_does_not_wait_for_a_failed_handshake() -> None:
    handshakes = HandshakeGuard()
    with pytest.raises(OSError, match="cut off"), handshakes:
        raise OSError("cut off")

    assert run_in_thread(lambda: simulate_fork(handshakes)).wait(5)


def test_fork_does_not_wait_for_a_hanging_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "LONGEST_WAIT", 0.01)
    handshakes = HandshakeGuard()
    with handshakes:
        assert run_in_thread(lambda: simulate_fork(handshakes)).wait(5)


def test_handshake_does_not_begin_during_a_fork() -> None:
    handshakes = HandshakeGuard()
    handshakes.before_fork()
    begun = run_in_thread(lambda: run_handshake(handshakes))
    assert not begun.wait(0.05)

    handshakes.after_fork_in_parent()
    assert begun.wait(5)


def test_module_can_be_imported_where_there_is_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")

    module = runpy.run_path(str(forks.__file__))

    assert isinstance(module["handshake_guard"], module["HandshakeGuard"])


def test_fork_does_not_wait_for_a_task_whose_server_is_silent_in_the_handshake(
    serve: Serve,
) -> None:
    server = serve(Peer.hold)
    url = server.url.replace("http://", "https://")
    was_free: list[bool] = []

    async def look_at_the_guard() -> None:
        async with AsyncMeshClient(**KEYS, base_url=url, timeout=5) as mesh:
            call = asyncio.create_task(mesh.get_account_balance("token-1", "coinbase"))
            await asyncio.to_thread(server.wait_until_open, 1)
            was_free.append(forks.handshake_guard._threads == [])
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call

    asyncio.run(look_at_the_guard())

    assert was_free == [True]
