"""HTTP as the mock server speaks it."""

from __future__ import annotations

import contextlib
import json
import socket

import httpx
import pytest

from mesh_facade.testing import MockServer
from tests.testing.support import BODY, KEYS, PATH


def test_a_connection_is_kept_for_many_requests(mesh: MockServer) -> None:
    body = json.dumps(BODY)
    lines = [f"POST {PATH} HTTP/1.1", "Host: here", f"content-length:{len(body)}"]
    lines += ["Content-Type: application/json", *(f"{n}:  {v} " for n, v in KEYS.items()), ""]
    request = "\r\n".join([*lines, body]).encode()

    with socket.create_connection(("127.0.0.1", httpx.URL(mesh.url).port)) as connection:
        for _ in range(2):
            connection.sendall(request[:50])
            connection.sendall(request[50:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(mesh.calls) == 2


@pytest.mark.parametrize("sent", [b"hello\r\n\r\n", b"GET /" + b"x" * 100_000 + b"\r\n\r\n"])
def test_malformed_http_is_answered_with_its_status_and_ends_only_its_own_connection(
    mesh: MockServer, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(mesh.url).port)) as connection:
        connection.sendall(sent)
        with contextlib.suppress(ConnectionResetError):  # where not all of it was read
            assert connection.recv(65536) == b""

    assert httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code == 200
    assert caplog.records == []
