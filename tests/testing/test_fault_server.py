"""The fault server of the tests keeps its port, records what it reads, and reports its problems."""

from __future__ import annotations

import errno
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


def test_bytes_that_come_during_silence_are_recorded(fault_server: FaultServer) -> None:
    endpoint = fault_server.open(lambda _: [b"started", SILENCE], stage=Stage.ON_CONNECTION)
    endpoint.start_fault()

    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as connection:
        assert connection.recv(1) == b"s"
        connection.sendall(b"a request")

    endpoint.wait_for_scripts()
    assert endpoint.received == b"a request"


def test_lack_of_descriptors_in_the_fault_server_is_logged(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = socket.socket.accept
    errors = [OSError(errno.EMFILE, "Too many open files")]

    def fail_once(listener: socket.socket) -> tuple[socket.socket, object]:
        if errors:
            raise errors.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", fail_once)
    endpoint = fault_server.open()

    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(1)

    assert "Too many open files" in caplog.text
