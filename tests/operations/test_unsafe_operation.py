"""An operation that is unsafe to repeat is never sent twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

import mesh_facade
from mesh_facade import client
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE
from tests.support import Peer

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve


def test_unsafe_operation_is_not_sent_again_on_a_new_connection(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_once(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()

    server = serve(answer_once)
    caller = mode.client(base_url=server.url)
    caller.read()
    operation = attrs.evolve(GET_ACCOUNT_BALANCE, is_safe_to_repeat=False)
    monkeypatch.setattr(client, "GET_ACCOUNT_BALANCE", operation)

    with pytest.raises(mesh_facade.MeshConnectionError):
        caller.read()

    assert (server.connections, len(server.requests)) == (1, 2)
