"""A kept connection that the server has closed: the call is sent again on a new one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from mesh_facade import MeshConnectionError
from tests.engine.support import in_parallel
from tests.support import Peer, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Clock, Mode, Serve


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
def test_kept_connection_closed_by_the_server_costs_no_attempt(
    mode: Mode, serve: Serve, clock: Clock, end: Callable[[Peer], None]
) -> None:
    def answer_once(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()  # it had decided to close when this came in
        end(peer)

    server = serve(answer_once)
    caller = mode.client(base_url=server.url, max_attempts=1)

    assert caller.read()
    assert caller.read()

    assert (server.connections, len(server.requests)) == (2, 3)
    assert clock.pauses == []


def test_reconnecting_without_an_attempt_happens_once_and_on_a_new_connection(
    mode: Mode, serve: Serve, clock: Clock
) -> None:
    def answer_first(peer: Peer) -> None:
        peer.receive()
        if peer.number < 2:
            together.wait(5)
            peer.answer()
            peer.receive()

    together = threading.Barrier(2)
    server = serve(answer_first)
    caller = mode.client(base_url=server.url, max_attempts=1)
    in_parallel(caller, 2)  # two connections are kept, both are dead

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert (server.connections, len(server.requests)) == (3, 4)
    assert clock.pauses == []


def test_answer_that_breaks_on_a_kept_connection_costs_an_attempt(mode: Mode, serve: Serve) -> None:
    def break_second(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()
        peer.send(message()[:40])

    server = serve(break_second)
    caller = mode.client(base_url=server.url, max_attempts=1)
    caller.read()

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert server.connections == 1
