"""The mock server: what it checks and answers, how it fails, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import (
    AuthenticationError,
    MeshClient,
    RateLimitError,
    pytest_plugin,
)
from mesh_facade.testing import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/api/v1/balance/get"
KEYS = {"X-Client-Id": MockServer.client_id, "X-Client-Secret": MockServer.client_secret}
BODY = {"authToken": "a-token", "type": "coinbase"}

PORTFOLIO: dict[str, Any] = {
    "openapi": "3.0.1",
    "info": {"title": "Portfolio", "version": "1"},
    "paths": {
        "/api/v1/balance/portfolio": {
            "get": {
                "parameters": [
                    {
                        "name": "UserId",
                        "in": "query",
                        "required": True,
                        "schema": {"type": "string", "minLength": 1},
                    }
                ],
                "responses": {
                    "200": {
                        "description": "OK",
                        "content": {
                            "application/json": {
                                "schema": {"type": "object"},
                                "example": {"content": {"fiatBalances": [{"symbol": "EUR"}]}},
                            }
                        },
                    },
                    "204": {"description": "Nothing"},
                },
            }
        },
        "/api/v1/users/{id}": {
            "delete": {
                "parameters": [
                    {
                        "name": "id",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "integer"},
                    }
                ],
                "responses": {"200": {"description": "OK"}},
            }
        },
    },
}


mesh = pytest_plugin.mesh


@pytest.fixture(params=["socket", "in-process"])
def either(request: pytest.FixtureRequest) -> Iterator[tuple[MockServer, httpx.Client]]:
    """A mock server, and a bare client that shows the right keys, over a socket and without one."""
    mock_server = MockServer()
    if request.param == "socket":
        with mock_server, httpx.Client(base_url=mock_server.url, headers=KEYS) as client:
            yield mock_server, client
    else:
        transport = mock_server.transport()
        with httpx.Client(base_url=mock_server.url, headers=KEYS, transport=transport) as client:
            yield mock_server, client


Either = tuple[MockServer, httpx.Client]


# --- what it answers --------------------------------------------------------------------------


def test_by_default_it_answers_with_the_example_of_the_spec(either: Either) -> None:
    _, client = either

    answer = client.post(PATH, json=BODY)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["status"] == "ok"
    assert answer.json()["content"]["balances"][0] == {
        "cash": 158.5,
        "buyingPower": 258.5,
        "currencyCode": "USD",
    }


def test_amounts_are_written_digit_for_digit(either: Either) -> None:
    mesh, client = either

    mesh.answers(
        "a-token",
        cash={"USD": "12345678901234567.890", "EUR": None, "JPY": "NaN"},
        buying_power={"USD": 10**30, "CHF": Decimal("-0.10")},
        cryptocurrency_buying_power={"EUR": Decimal("1E-7")},
        total_cash_usd="158.50",
    )

    content = client.post(PATH, json=BODY).text
    numbers = json.loads(content, parse_float=str, parse_int=str, parse_constant=str)
    assert numbers == {
        "status": "ok",
        "message": "",
        "errorType": "",
        "content": {
            "balances": [
                {
                    "currencyCode": "USD",
                    "cash": "12345678901234567.890",
                    "buyingPower": "1" + "0" * 30,
                },
                {"currencyCode": "EUR", "cash": None, "cryptocurrencyBuyingPower": "1E-7"},
                {"currencyCode": "JPY", "cash": "NaN"},
                {"currencyCode": "CHF", "buyingPower": "-0.10"},
            ],
            "totalCashUsdValue": "158.50",
            "totalBuyingPowerUsdValue": None,
        },
    }


def test_a_total_alone_and_no_currency_at_all_are_balances(either: Either) -> None:
    mesh, client = either

    mesh.answers("a-token", total_buying_power_usd=7)
    assert client.post(PATH, json=BODY).json()["content"] == {
        "balances": [],
        "totalCashUsdValue": None,
        "totalBuyingPowerUsdValue": 7,
    }

    mesh.answers("a-token", cash={})
    assert client.post(PATH, json=BODY).json()["content"]["balances"] == []


@pytest.mark.parametrize("amount", ["1,5", "", "ten", True, [1], "\0"])
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{amount!r} is no amount")):
        MockServer().answers("a-token", cash={"USD": amount})


@pytest.mark.parametrize("content", [None, {}, {"balances": None, "new": [1, "two"]}])
def test_content_is_sent_as_it_is(either: Either, content: Any) -> None:
    mesh, client = either

    mesh.answers("a-token", content=content)

    envelope = client.post(PATH, json=BODY).json()
    assert envelope == {"content": content, "status": "ok", "message": "", "errorType": ""}


@pytest.mark.parametrize("envelope", [None, [], {"status": "new", "teamCode": Decimal("1.10")}])
def test_an_envelope_is_sent_as_it_is(either: Either, envelope: Any) -> None:
    mesh, client = either

    mesh.answers("a-token", body=envelope)

    assert client.post(PATH, json=BODY).json() == json.loads(json.dumps(envelope, default=float))


def test_a_body_status_and_headers_are_sent_as_they_are(either: Either) -> None:
    mesh, client = either

    mesh.answers("a-token", body=b"\xff", status=599, headers={"content-type": "image/png"})

    answer = client.post(PATH, json=BODY)
    assert (answer.status_code, answer.content) == (599, b"\xff")
    assert answer.headers.get_list("Content-Type") == ["image/png"]


def test_a_body_that_breaks_its_own_encoding_is_sent_all_the_same(either: Either) -> None:
    mesh, client = either

    mesh.answers("a-token", body=b"no gzip", headers={"Content-Encoding": "gzip"})

    with pytest.raises(httpx.DecodingError):
        client.post(PATH, json=BODY)


def test_a_status_alone_brings_the_example_of_that_status_or_an_empty_body(either: Either) -> None:
    mesh, client = either

    mesh.answers("a-token", status=400)
    assert client.post(PATH, json=BODY).json()["status"] == "badRequest"

    mesh.answers("a-token", status=503)
    answer = client.post(PATH, json=BODY)
    assert (answer.status_code, answer.content) == (503, b"")


@pytest.mark.parametrize(
    "things",
    [
        {"body": {}, "content": None},
        {"content": {}, "total_cash_usd": 1},
        {"cash": {}, "body": b""},
    ],
)
def test_two_whole_bodies_at_once_are_refused(things: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of them"):
        MockServer().answers("a-token", **things)


def test_what_is_said_of_a_token_holds_for_that_token_alone(either: Either) -> None:
    mesh, client = either
    mesh.answers("a-token", status=503)
    mesh.answers("another", status=504)

    assert client.post(PATH, json=BODY).status_code == 503
    assert client.post(PATH, json=BODY | {"authToken": "another"}).status_code == 504
    assert client.post(PATH, json=BODY | {"authToken": "unheard-of"}).status_code == 200


def test_a_delay_passes_before_the_answer(mesh: MockServer) -> None:
    mesh.answers("a-token", delay=0.05)

    start = time.monotonic()
    httpx.post(mesh.url + PATH, json=BODY, headers=KEYS)

    assert time.monotonic() - start >= 0.05


def test_in_process_a_delay_takes_no_time_and_a_long_one_is_a_timeout() -> None:
    mesh = MockServer()
    with httpx.Client(transport=mesh.transport(), headers=KEYS, timeout=9) as client:
        mesh.answers("a-token", delay=9)
        assert client.post(mesh.url + PATH, json=BODY).status_code == 200
        mesh.answers("a-token", delay=9.1)
        with pytest.raises(httpx.ReadTimeout) as caught:
            client.post(mesh.url + PATH, json=BODY)
        assert caught.value.request.url == mesh.url + PATH
        assert client.post(mesh.url + PATH, json=BODY, timeout=None).status_code == 200


# --- what it checks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"X-Client-Id": MockServer.client_id},
        {"X-Client-Secret": MockServer.client_secret},
        {"X-Client-Id": MockServer.client_id, "X-Client-Secret": "wrong"},
        {"X-Client-Id": MockServer.client_secret, "X-Client-Secret": MockServer.client_id},
    ],
)
def test_without_both_keys_it_answers_401_whatever_was_said(
    mesh: MockServer, keys: dict[str, str]
) -> None:
    mesh.answers("a-token", cash={"USD": 1})

    answer = httpx.post(mesh.url + PATH, json=BODY, headers=keys)

    assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.parametrize(
    ("body", "error_type", "message"),
    [
        (b'{"authToken": "a-token"}', "missingField", "'type' is a required property"),
        (b'{"type": "coinbase"}', "missingField", "'authToken' is a required property"),
        (b"", "missingField", "MissingRequiredRequestBody"),
        (b'{"authToken": "", "type": "coinbase"}', "badRequest", "should be non-empty"),
        (b'{"authToken": "a-token", "type": 1}', "badRequest", "not of type 'string'"),
        (b'{"authToken": "a-token", "type": "x", "y": 1}', "badRequest", "('y' was unexpected)"),
        (b"[]", "badRequest", "not of type 'object'"),
        (b'"a-token"', "badRequest", "not of type 'object'"),
        (b"no JSON", "badRequest", "MediaTypeDeserializeError("),
        (b"\xff", "badRequest", "MediaTypeDeserializeError("),
    ],
)
def test_a_body_that_the_spec_does_not_allow_gets_400_with_the_envelope(
    either: Either, body: bytes, error_type: str, message: str
) -> None:
    mesh, client = either
    mesh.fails("a-token", "server-failure")

    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json().keys() == {"status", "message", "errorType"}
    assert (answer.json()["status"], answer.json()["errorType"]) == ("badRequest", error_type)
    assert message in answer.json()["message"]


def test_a_body_of_another_type_gets_400(either: Either) -> None:
    _, client = either

    answer = client.post(PATH, content=b"a", headers={"Content-Type": "text/plain"})

    assert answer.status_code == 400
    assert "text/plain" in answer.json()["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", "/api/v1/balance")])
def test_what_the_document_does_not_have_is_not_found(
    either: Either, method: str, path: str
) -> None:
    _, client = either

    answer = client.request(method, path)

    assert answer.status_code == 404
    assert answer.json()["status"] == "notFound"


def test_the_same_body_with_other_keys_is_judged_anew(either: Either) -> None:
    _, client = either

    assert client.post(PATH, json=BODY).status_code == 200
    assert client.post(PATH, json=BODY, headers={"X-Client-Id": "other"}).status_code == 401
    assert client.post(PATH, json=BODY).status_code == 200


def test_a_broker_that_no_list_knows_is_served(either: Either) -> None:
    _, client = either

    assert client.post(PATH, json=BODY | {"type": "brokerOfTomorrow"}).status_code == 200


# --- other documents --------------------------------------------------------------------------


def test_another_document_is_served_with_all_its_operations() -> None:
    with MockServer(PORTFOLIO) as mesh, httpx.Client(base_url=mesh.url) as client:
        mesh.answers("a-user", content={"fiatBalances": []})
        path = "/api/v1/balance/portfolio"

        assert client.get(path, params={"UserId": "b"}).json() == {
            "content": {"fiatBalances": [{"symbol": "EUR"}]}
        }
        assert client.get(path, params={"UserId": "a-user"}).json()["content"] == {
            "fiatBalances": []
        }
        assert client.get(path).json()["errorType"] == "missingField"
        assert client.get(path, params={"UserId": ""}).json()["errorType"] == "badRequest"
        assert client.delete("/api/v1/users/7").content == b""
        assert client.delete("/api/v1/users/seven").status_code == 400
        assert client.post(PATH, json=BODY).status_code == 404


def test_keys_are_asked_where_the_document_names_them() -> None:
    schemes = {
        "AppSecret": {"type": "apiKey", "in": "header", "name": "K2"},
        "App": {"type": "apiKey", "in": "header", "name": "K1"},
        "Login": {"type": "http", "scheme": "basic"},
    }
    mesh = MockServer(PORTFOLIO | {"components": {"securitySchemes": schemes}})
    with httpx.Client(transport=mesh.transport(), base_url=mesh.url) as client:
        path = "/api/v1/balance/portfolio?UserId=a"

        assert client.get(path).status_code == 401
        keys = {"K1": mesh.client_id, "K2": mesh.client_secret}
        assert client.get(path, headers=keys).status_code == 200


# --- how it fails -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "http_status", "seen"),
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
def test_a_fault_is_answered_by_its_name(
    either: Either, preset: str, http_status: int, seen: str
) -> None:
    mesh, client = either

    mesh.fails("a-token", preset)

    answer = client.post(PATH, json=BODY)
    assert answer.status_code == http_status
    assert seen in answer.text
    assert (seen == "") == (answer.text == "")


def test_faults_say_what_only_headers_can(either: Either) -> None:
    mesh, client = either

    mesh.fails("a-token", "rate-limited")
    assert client.post(PATH, json=BODY).headers["Retry-After"] == "1"
    mesh.fails("a-token", "redirect")
    assert client.post(PATH, json=BODY).headers["Location"] == "https://mock-server.invalid"
    mesh.fails("a-token", "html-502")
    assert client.post(PATH, json=BODY).headers["Content-Type"] == "text/html"


@pytest.mark.parametrize(
    ("preset", "error"),
    [
        ("reset", httpx.ReadError),
        ("truncated", httpx.RemoteProtocolError),
        ("slow", httpx.ReadTimeout),
    ],
)
def test_a_fault_of_the_network_is_the_same_error_with_and_without_a_socket(
    either: Either, preset: str, error: type[Exception]
) -> None:
    mesh, client = either

    mesh.fails("a-token", preset, times=1)

    with pytest.raises(error):
        client.post(PATH, json=BODY, timeout=0.05)
    assert client.post(PATH, json=BODY).status_code == 200


def test_a_reset_sends_nothing_first(mesh: MockServer) -> None:
    mesh.fails("a-token", "reset")
    body = json.dumps(BODY)
    head = f"POST {PATH} HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
    keys = "".join(f"{name}: {value}\r\n" for name, value in KEYS.items())

    with socket.create_connection(("127.0.0.1", httpx.URL(mesh.url).port)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n{keys}\r\n{body}".encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_it_fails_as_often_as_it_was_told_then_answers_as_before(either: Either) -> None:
    mesh, client = either
    mesh.answers("a-token", status=201)

    mesh.fails("a-token", "html-502", times=2)

    statuses = [client.post(PATH, json=BODY).status_code for _ in range(4)]
    assert statuses == [502, 502, 201, 201]


def test_the_last_word_counts(either: Either) -> None:
    mesh, client = either

    mesh.fails("a-token", "html-502")
    mesh.fails("a-token", "server-failure")
    assert [client.post(PATH, json=BODY).status_code for _ in range(2)] == [500, 500]
    mesh.answers("a-token")
    assert client.post(PATH, json=BODY).status_code == 200


def test_an_unknown_fault_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"'flood'.*: rate-limited, .*, reset, truncated"):
        MockServer().fails("a-token", "flood")


# --- what it tells ----------------------------------------------------------------------------


def test_it_keeps_what_was_asked(either: Either) -> None:
    mesh, client = either
    start = time.monotonic()

    client.post(PATH + "?a=1&a=2&b=", json=BODY)
    client.post("/nowhere", content=b"no JSON", headers={"X-Client-Id": "other"})

    first, second = mesh.calls
    assert (first.method, first.path) == ("POST", PATH)
    assert first.fields == {"a": "2"} | BODY
    assert first.headers["x-client-id"] == mesh.client_id
    assert start <= first.time <= second.time <= time.monotonic()
    assert (second.path, second.fields) == ("/nowhere", {})


def test_the_repr_of_a_call_tells_no_secret(either: Either) -> None:
    mesh, client = either

    client.post(PATH + "?UserId=user-secret", json=BODY)

    shown = repr(mesh.calls)
    assert PATH in shown
    for secret in ("a-token", "user-secret", mesh.client_id, mesh.client_secret):
        assert secret not in shown


# --- with the facade --------------------------------------------------------------------------


@pytest.mark.parametrize("entered", [True, False])
def test_clients_of_both_modes_read_the_same_balance(entered: bool) -> None:  # noqa: FBT001 — a parameter of pytest
    async def read(mesh: MockServer) -> object:
        async with mesh.async_client() as client:
            return await client.get_account_balance("a-token", "coinbase")

    mesh = MockServer()
    mesh.answers("a-token", cash={"USD": "158.5"})
    if entered:
        with mesh, mesh.client() as client:
            balance = client.get_account_balance("a-token", "coinbase")
            again = asyncio.run(read(mesh))
    else:
        with mesh.client() as client:
            balance = client.get_account_balance("a-token", "coinbase")
            again = asyncio.run(read(mesh))

    assert balance.cash("USD") == Decimal("158.5")
    assert balance == again
    assert len(mesh.calls) == 2


def test_options_of_a_client_come_before_its_own(mesh: MockServer) -> None:
    mesh.fails("a-token", "rate-limited", times=1)
    with mesh.client(max_attempts=1) as client, pytest.raises(RateLimitError) as caught:
        client.get_account_balance("a-token", "coinbase")
    assert caught.value.retry_after == 1

    with mesh.client(client_secret="wrong") as client, pytest.raises(AuthenticationError):
        client.get_account_balance("a-token", "coinbase")


def test_its_environment_points_a_client_at_it(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in mesh.environment.items():
        monkeypatch.setenv(name, value)

    with MeshClient() as client:
        assert client.get_account_balance("a-token", "coinbase").cash("USD") == Decimal("158.5")


# --- the server -------------------------------------------------------------------------------


def test_a_connection_is_kept_for_many_calls(mesh: MockServer) -> None:
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
def test_what_is_no_http_ends_its_connection_alone(
    mesh: MockServer, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(mesh.url).port)) as connection:
        connection.sendall(sent)
        with contextlib.suppress(ConnectionResetError):  # where not all of it was read
            assert connection.recv(65536) == b""

    assert httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code == 200
    assert caplog.records == []


def test_many_clients_are_served_at_once(mesh: MockServer) -> None:
    mesh.answers("a-token", delay=0.2)

    async def post_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(headers=KEYS) as client:
            posts = (client.post(mesh.url + PATH, json=BODY) for _ in range(50))
            return await asyncio.gather(*posts)

    start = time.monotonic()
    answers = asyncio.run(post_all())

    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - start < 50 * 0.2 / 2


def test_it_closes_at_once_under_idle_and_waiting_clients_and_leaves_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = threading.active_count()
    port = None
    with httpx.Client(headers=KEYS) as client:
        with MockServer() as mesh:
            port = httpx.URL(mesh.url).port
            client.post(mesh.url + PATH, json=BODY)
            mesh.fails("a-token", "slow")
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(mesh.url + PATH, json=BODY, headers=KEYS, timeout=0.05)
            start = time.monotonic()
        assert time.monotonic() - start < 1
        assert threading.active_count() == threads
        with pytest.raises(httpx.ConnectError):
            client.post(f"http://127.0.0.1:{port}{PATH}", json=BODY)
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_it_can_be_entered_again_and_then_remembers() -> None:
    mesh = MockServer()
    mesh.answers("a-token", status=503)
    for _ in range(2):
        with mesh:
            assert httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code == 503
        assert mesh.url == "https://mock-server.invalid"
    assert len(mesh.calls) == 2


def test_a_port_that_is_taken_leaves_nothing_running(mesh: MockServer) -> None:
    threads = threading.active_count()
    port = httpx.URL(mesh.url).port
    assert port

    with pytest.raises(OSError, match="in use"), MockServer(port=port):
        pass  # pragma: no cover — it cannot be entered

    assert threading.active_count() == threads
