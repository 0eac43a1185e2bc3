"""The fault server of the tests keeps its port."""

from __future__ import annotations

import socket

import pytest

from tests.faults.server import FaultServer, Stage


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
    endpoint = fault_server.open(stage=Stage.LISTEN)
    endpoint.start_fault()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port))

    endpoint.close()
    endpoint.end_fault()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port))
