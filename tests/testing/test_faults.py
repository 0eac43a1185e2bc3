"""The faults of the mock server."""

from __future__ import annotations

import json
import socket

import httpx
import pytest

import mesh_facade.errors
from mesh_facade import (
    MeshAPIError,
    MeshConfigurationError,
    MeshError,
    MeshTimeoutError,
    MeshTLSError,
)
from mesh_facade.testing import FAULTS, MockServer
from tests.conftest import Mode
from tests.testing.support import BODY, KEYS, PATH, Either


@pytest.mark.parametrize(
    ("fault_name", "http_status", "text"),
    [
        ("rate-limited", 429, '"status": "tooManyRequest"'),
        ("server-failure", 500, '"status": "serverFailure"'),
        ("server-failure-200", 200, '"status": "serverFailure"'),
        ("html-502", 502, "<html>"),
        ("unauthorized-token", 400, '"errorType": "unauthorizedToken"'),
        ("permission-denied", 403, ""),
        ("unknown-status", 200, '"status": "ofTomorrow"'),
        ("null-content", 200, '"content": null, "status": "ok"'),
        ("not-json", 200, "This is no JSON."),
        ("redirect", 307, ""),
    ],
)
def test_a_named_fault_has_its_status_and_body(
    either: Either, fault_name: str, http_status: int, text: str
) -> None:
    mesh, client = either

    mesh.fails("a-token", fault_name)

    answer = client.post(PATH, json=BODY)
    assert answer.status_code == http_status
    assert text in answer.text
    assert (text == "") == (answer.text == "")


def test_faults_send_their_headers(either: Either) -> None:
    mesh, client = either

    mesh.fails("a-token", "rate-limited")
    assert client.post(PATH, json=BODY).headers["Retry-After"] == "1"
    mesh.fails("a-token", "redirect")
    assert client.post(PATH, json=BODY).headers["Location"] == "https://mock-server.invalid"
    mesh.fails("a-token", "html-502")
    assert client.post(PATH, json=BODY).headers["Content-Type"] == "text/html"


@pytest.mark.parametrize(
    ("fault_name", "error", "timeout"),
    [
        ("reset", httpx.ReadError, 10),
        ("truncated", httpx.RemoteProtocolError, 10),
        ("slow", httpx.ReadTimeout, 0.05),
    ],
)
def test_a_network_fault_raises_the_same_error_with_and_without_a_socket(
    either: Either, fault_name: str, error: type[Exception], timeout: float
) -> None:
    mesh, client = either

    mesh.fails("a-token", fault_name, times=1)

    with pytest.raises(error):
        client.post(PATH, json=BODY, timeout=timeout)
    assert client.post(PATH, json=BODY).status_code == 200


def test_a_reset_connection_carries_no_answer(mesh: MockServer) -> None:
    mesh.fails("a-token", "reset")
    body = json.dumps(BODY)
    head = f"POST {PATH} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n"
    keys = "".join(f"{name}: {value}\r\n" for name, value in KEYS.items())

    with socket.create_connection(("127.0.0.1", httpx.URL(mesh.url).port)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n{keys}\r\n{body}".encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_fault_lasts_for_the_given_number_of_calls(either: Either) -> None:
    mesh, client = either
    mesh.answers("a-token", status=201)

    mesh.fails("a-token", "html-502", times=2)

    statuses = [client.post(PATH, json=BODY).status_code for _ in range(4)]
    assert statuses == [502, 502, 201, 201]


def test_a_later_fault_or_answer_replaces_an_earlier_one(either: Either) -> None:
    mesh, client = either

    mesh.fails("a-token", "html-502")
    mesh.fails("a-token", "server-failure")
    assert [client.post(PATH, json=BODY).status_code for _ in range(2)] == [500, 500]
    mesh.answers("a-token")
    assert client.post(PATH, json=BODY).status_code == 200


def test_an_unknown_fault_raises_value_error_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"'flood'.*: rate-limited, .*, reset, truncated"):
        MockServer().fails("a-token", "flood")


def test_every_fault_raises_the_error_that_it_names(either: Either, mode: Mode) -> None:
    mesh, _ = either
    open_client = mesh.async_client if mode.is_async else mesh.client

    raised: dict[str, type[BaseException]] = {}
    for name, fault in FAULTS.items():
        mesh.fails(name, name)
        deadline = 0.5 if fault.error is MeshTimeoutError else 30.0
        client = open_client(max_attempts=1, timeout=deadline, deadline=deadline)
        with pytest.raises(MeshError) as caught:
            mode.run(client.get_account_balance(name, "coinbase"))
        raised[name] = type(caught.value)
        mode.run(client.aclose() if mode.is_async else client.close())

    assert raised == {name: fault.error for name, fault in FAULTS.items()}


def test_the_faults_cover_every_class_of_error_that_an_answer_can_cause() -> None:
    causes = {fault.error for fault in FAULTS.values()}

    # An answer causes neither of the first two, and the mock server speaks no TLS.
    assert causes == {
        value
        for value in vars(mesh_facade.errors).values()
        if isinstance(value, type) and issubclass(value, MeshError)
    } - {MeshError, MeshConfigurationError, MeshTLSError}


def test_every_fault_has_its_own_name_and_a_description() -> None:
    assert {fault.name: fault for fault in FAULTS.values()} == FAULTS
    assert all(fault.description for fault in FAULTS.values())


def test_a_dead_token_asks_for_a_new_link_and_refused_keys_do_not(mesh: MockServer) -> None:
    reconnect = {}
    with mesh.client() as client:
        for fault in ("unauthorized-token", "unauthorized-keys"):
            mesh.fails(fault, fault)
            with pytest.raises(MeshAPIError) as caught:
                client.get_account_balance(fault, "coinbase")
            reconnect[fault] = caught.value.reconnect_required

    assert reconnect == {"unauthorized-token": True, "unauthorized-keys": False}


def test_a_dripping_answer_outlasts_a_timeout_that_each_byte_keeps(mesh: MockServer) -> None:
    mesh.fails("a-token", "drips")

    with (
        httpx.Client(headers=KEYS, timeout=1) as client,
        client.stream("POST", mesh.url + PATH, json=BODY) as answer,
    ):
        pieces = [piece for piece, _ in zip(answer.iter_raw(), range(5), strict=False)]

    assert pieces == [b" "] * 5


def test_a_truncated_answer_has_half_of_its_body(mesh: MockServer) -> None:
    mesh.answers("a-token", body=b"12345678")
    whole = httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).content
    mesh.fails("a-token", "truncated")

    received: list[bytes] = []
    with (
        httpx.stream("POST", mesh.url + PATH, json=BODY, headers=KEYS) as answer,
        pytest.raises(httpx.RemoteProtocolError, match="closed connection"),
    ):
        received.extend(answer.iter_raw())

    assert whole == b"12345678"
    assert int(answer.headers["Content-Length"]) > len(b"".join(received))
