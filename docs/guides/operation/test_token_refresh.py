"""Refreshing a token, in both clients, against the mock server."""

import asyncio
from typing import Any

import pytest

from mesh_facade import (
    BadRequestError,
    BrokerType,
    MeshConnectionError,
    MeshResponseError,
    RefreshedTokens,
    TokenPair,
)
from mesh_facade.testing import MockServer

OLD = "an-old-refresh-token"
PAIR = {"accessToken": "a-new-auth-token", "refreshToken": "a-new-refresh-token"}
CONTENT: dict[str, Any] = {
    "status": "succeeded",
    "expiresInSeconds": 3600,
    "brokerAccountTokens": [PAIR],
}


def refresh(mesh: MockServer) -> RefreshedTokens:
    with mesh.client() as client:
        return client.refresh_token(OLD, "coinbase")


def test_refresh_returns_the_new_tokens(mesh_in_process: MockServer) -> None:
    mesh_in_process.answers(OLD, content=CONTENT)

    refreshed = refresh(mesh_in_process)

    assert refreshed == RefreshedTokens(
        status="succeeded",
        pairs=(TokenPair("a-new-auth-token", "a-new-refresh-token"),),
        expires_in_seconds=3600,
    )


def test_async_client_returns_the_same(mesh_in_process: MockServer) -> None:
    async def refresh_async() -> RefreshedTokens:
        async with mesh_in_process.async_client() as client:
            return await client.refresh_token(OLD, "coinbase")

    mesh_in_process.answers(OLD, content=CONTENT)

    assert asyncio.run(refresh_async()) == refresh(mesh_in_process)


def test_request_holds_the_refresh_token_and_the_broker(mesh_in_process: MockServer) -> None:
    mesh_in_process.answers(OLD, content=CONTENT)

    with mesh_in_process.client() as client:
        client.refresh_token(OLD, BrokerType.COINBASE)

    [call] = mesh_in_process.calls
    assert call.fields == {"refreshToken": OLD, "type": "coinbase"}


def test_repr_shows_no_token(mesh_in_process: MockServer) -> None:
    mesh_in_process.answers(OLD, content=CONTENT)

    assert "a-new" not in repr(refresh(mesh_in_process))


def test_missing_tokens_and_lifetime_are_none(mesh_in_process: MockServer) -> None:
    mesh_in_process.answers(OLD, content={"status": "succeeded", "brokerAccountTokens": [{}]})

    refreshed = refresh(mesh_in_process)

    assert refreshed.pairs == (TokenPair(None, None),)
    assert refreshed.expires_in_seconds is None


def test_status_that_the_spec_does_not_list_is_passed_on(mesh_in_process: MockServer) -> None:
    mesh_in_process.answers(OLD, content={"status": "tomorrow"})

    refreshed = refresh(mesh_in_process)

    assert refreshed.status == "tomorrow"
    assert refreshed.pairs == ()


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (None, "content"),
        ({}, "content.status"),
        ({**CONTENT, "expiresInSeconds": "3600"}, "content.expiresInSeconds"),
        ({**CONTENT, "brokerAccountTokens": {}}, "content.brokerAccountTokens"),
        ({**CONTENT, "brokerAccountTokens": [PAIR, 1]}, "content.brokerAccountTokens[1]"),
        (
            {**CONTENT, "brokerAccountTokens": [{"accessToken": 5}]},
            "content.brokerAccountTokens[0].accessToken",
        ),
    ],
)
def test_malformed_content_raises_response_error_that_names_the_field(
    mesh_in_process: MockServer, content: Any, place: str
) -> None:
    mesh_in_process.answers(OLD, content=content)

    with pytest.raises(MeshResponseError) as caught:
        refresh(mesh_in_process)

    assert f"its {place} is not what Mesh's spec allows" in str(caught.value)


def test_malformed_message_raises_response_error(mesh_in_process: MockServer) -> None:
    mesh_in_process.answers(OLD, body={"status": "ok", "message": 5, "content": CONTENT})

    with pytest.raises(MeshResponseError, match="its message is not"):
        refresh(mesh_in_process)


def test_refresh_token_that_the_server_echoes_is_redacted(mesh_in_process: MockServer) -> None:
    body = {"status": "badRequest", "message": f"{OLD} is not known"}
    mesh_in_process.answers(OLD, body=body, status=400)

    with pytest.raises(BadRequestError) as caught:
        refresh(mesh_in_process)

    assert caught.value.message == "[redacted] is not known"


def test_refresh_is_never_sent_twice(mesh_in_process: MockServer) -> None:
    mesh_in_process.fails(OLD, "reset")

    with pytest.raises(MeshConnectionError):
        refresh(mesh_in_process)

    assert len(mesh_in_process.calls) == 1


@pytest.mark.parametrize(("refresh_token", "broker"), [("", "coinbase"), (OLD, "")])
def test_empty_argument_raises_value_error_before_anything_is_sent(
    mesh_in_process: MockServer, refresh_token: str, broker: str
) -> None:
    with mesh_in_process.client() as client, pytest.raises(ValueError, match="is empty"):
        client.refresh_token(refresh_token, broker)

    assert mesh_in_process.calls == []
