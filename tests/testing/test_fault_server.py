"""The fault server of the tests keeps its port, and reports a script that does not end."""

from __future__ import annotations

import socket

import pytest

from tests.faults import server
from tests.faults.server import SILENCE, FaultServer, Stage


@pytest.mark.parametrize("stage", list(Stage))
def test_no_other_server_can_take_the_port_of_an_endpoint(
    fault_server: FaultServer, stage: Stage
) -> None:
    endpoint = fault_server.open(stage=stage)
    endpoint.start_fault()

    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", endpoint.port))

    endpoint.end_fault()
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5):
        endpoint.close()


def test_nobody_listens_while_an_endpoint_refuses_connections(fault_server: FaultServer) -> None:
    endpoint = fault_server.open(stage=Stage.NOT_LISTENING)
    endpoint.start_fault()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port))

    endpoint.close()
    endpoint.end_fault()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port))


def test_wait_for_scripts_raises_timeout_error_if_a_script_does_not_end(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = fault_server.open(lambda _: [b"started", SILENCE], stage=Stage.ON_CONNECTION)
    endpoint.start_fault()

    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as connection:
        assert connection.recv(1) == b"s"
        with monkeypatch.context() as patch:
            patch.setattr(server, "_LONGEST_WAIT", 0.05)
            with pytest.raises(TimeoutError, match=r"still running after 0\.05 s"):
                endpoint.wait_for_scripts()

    endpoint.wait_for_scripts()
