"""Refreshing a token, in both clients, against the mock server."""

import asyncio
from typing import Any

import pytest

from mesh_facade import BadRequestError, MeshConnectionError, MeshResponseError
from mesh_facade.testing import MockServer

OLD = "an-old-refresh-token"
PAIR = {
    "account": {"accountId": "an-account"},
    "accessToken": "a-new-auth-token",
    "refreshToken": "a-new-refresh-token",
}
CONTENT = {"status": "succeeded", "expiresInSeconds": 3600, "brokerAccountTokens": [PAIR]}


def test_refresh_returns_the_new_tokens(mesh_in_process: MockServer) -> None:
    mesh_in_process.answers(OLD, content=CONTENT)

    with mesh_in_process.client() as client:
        refreshed = client.refresh_token(OLD, "coinbase")

    assert refreshed.status == "succeeded"
    [pair] = refreshed.pairs
    assert (pair.auth_token, pair.refresh_token) == ("a-new-auth-token", "a-new-refresh-token")
    assert "a-new" not in repr(refreshed)


def test_the_async_client_returns_the_same(mesh_in_process: MockServer) -> None:
    async def refresh() -> Any:
        async with mesh_in_process.async_client() as client:
            return await client.refresh_token(OLD, "coinbase")

    mesh_in_process.answers(OLD, content=CONTENT)

    [pair] = asyncio.run(refresh()).pairs
    assert (pair.auth_token, pair.refresh_token) == ("a-new-auth-token", "a-new-refresh-token")


def test_a_pair_without_a_refresh_token_has_none(mesh_in_process: MockServer) -> None:
    pair = {"accessToken": "a-new-auth-token"}
    mesh_in_process.answers(OLD, content={**CONTENT, "brokerAccountTokens": [pair]})

    with mesh_in_process.client() as client:
        [refreshed] = client.refresh_token(OLD, "coinbase").pairs

    assert refreshed.refresh_token is None


def test_a_status_that_the_spec_does_not_list_is_passed_on(mesh_in_process: MockServer) -> None:
    mesh_in_process.answers(OLD, content={"status": "tomorrow"})

    with mesh_in_process.client() as client:
        refreshed = client.refresh_token(OLD, "coinbase")

    assert (refreshed.status, refreshed.pairs) == ("tomorrow", ())


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {**CONTENT, "brokerAccountTokens": {}},
        {**CONTENT, "brokerAccountTokens": [1]},
        {**CONTENT, "brokerAccountTokens": [{"accessToken": 5}]},
    ],
)
def test_malformed_content_raises_response_error(
    mesh_in_process: MockServer, content: object
) -> None:
    mesh_in_process.answers(OLD, content=content)

    with mesh_in_process.client() as client, pytest.raises(MeshResponseError):
        client.refresh_token(OLD, "coinbase")


def test_an_error_that_echoes_the_refresh_token_does_not_hold_it(
    mesh_in_process: MockServer,
) -> None:
    body = {"status": "badRequest", "message": f"{OLD} is not known"}
    mesh_in_process.answers(OLD, body=body, status=400)

    with mesh_in_process.client() as client, pytest.raises(BadRequestError) as caught:
        client.refresh_token(OLD, "coinbase")

    assert caught.value.message == "[redacted] is not known"


def test_a_refresh_is_never_sent_twice(mesh_in_process: MockServer) -> None:
    mesh_in_process.fails(OLD, "reset")

    with mesh_in_process.client() as client, pytest.raises(MeshConnectionError):
        client.refresh_token(OLD, "coinbase")

    assert len(mesh_in_process.calls) == 1


@pytest.mark.parametrize("argument", ["", None])
def test_arguments_that_cannot_be_sent_are_refused(
    mesh_in_process: MockServer, argument: Any
) -> None:
    with mesh_in_process.client() as client, pytest.raises((TypeError, ValueError)):
        client.refresh_token(argument, "coinbase")

    assert mesh_in_process.calls == []
