"""What the mock server refuses."""

from __future__ import annotations

import httpx
import pytest

from mesh_facade.testing import MockServer
from tests.testing.support import BODY, PATH, Either


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
def test_wrong_or_missing_keys_are_answered_with_401(
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
        (
            b'{"authToken": "a-token", "type": "x", "isRequired": 1}',
            "badRequest",
            "('isRequired' was unexpected)",
        ),
        (b"[]", "badRequest", "not of type 'object'"),
        (b'"a-token"', "badRequest", "not of type 'object'"),
        (b"no JSON", "badRequest", "MediaTypeDeserializeError("),
        (b"required", "badRequest", "MediaTypeDeserializeError("),
        (b"\xff", "badRequest", "MediaTypeDeserializeError("),
    ],
)
def test_a_body_that_the_document_forbids_is_answered_with_400_and_the_envelope(
    either: Either, body: bytes, error_type: str, message: str
) -> None:
    mesh, client = either
    mesh.fails("a-token", "server-failure")

    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json().keys() == {"status", "message", "errorType"}
    assert (answer.json()["status"], answer.json()["errorType"]) == ("badRequest", error_type)
    assert message in answer.json()["message"]


def test_a_body_that_is_nested_too_deeply_is_answered_with_400(either: Either) -> None:
    mesh, client = either
    body = b"[" * 100_000 + b"]" * 100_000

    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["message"] == "the body is nested too deeply"
    assert len(mesh.calls) == 1


def test_a_body_of_another_media_type_is_answered_with_400(either: Either) -> None:
    _, client = either

    answer = client.post(PATH, content=b"a", headers={"Content-Type": "text/plain"})

    assert answer.status_code == 400
    assert "text/plain" in answer.json()["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", "/api/v1/balance")])
def test_an_unknown_method_or_path_is_answered_with_404(
    either: Either, method: str, path: str
) -> None:
    _, client = either

    answer = client.request(method, path)

    assert answer.status_code == 404
    assert answer.json()["status"] == "notFound"


def test_keys_are_checked_on_every_request(either: Either) -> None:
    _, client = either

    assert client.post(PATH, json=BODY).status_code == 200
    assert client.post(PATH, json=BODY, headers={"X-Client-Id": "other"}).status_code == 401
    assert client.post(PATH, json=BODY).status_code == 200


def test_an_unknown_broker_is_accepted(either: Either) -> None:
    _, client = either

    assert client.post(PATH, json=BODY | {"type": "brokerOfTomorrow"}).status_code == 200
