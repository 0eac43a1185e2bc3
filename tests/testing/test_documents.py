"""Mock servers of other OpenAPI documents."""

from __future__ import annotations

from typing import Any

import httpx

from mesh_facade.testing import MockServer
from tests.testing.support import BODY, PATH

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


def test_example_behind_a_reference_is_the_default_answer() -> None:
    document: dict[str, Any] = {
        "openapi": "3.0.1",
        "info": {"title": "Status", "version": "1"},
        "paths": {
            "/status": {"get": {"responses": {"200": {"$ref": "#/components/responses/Status"}}}}
        },
        "components": {
            "responses": {
                "Status": {
                    "description": "OK",
                    "content": {
                        "text/plain": {"schema": {"type": "string"}},
                        "application/json": {"example": {"isUp": True, "counts": [1, 2.5]}},
                    },
                }
            }
        },
    }
    with MockServer(document) as mesh:
        answer = httpx.get(mesh.url + "/status")

    assert answer.json() == {"isUp": True, "counts": [1, 2.5]}


def test_all_operations_of_another_document_are_served() -> None:
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


def test_key_headers_are_those_of_the_document() -> None:
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


def test_a_document_without_security_schemes_asks_for_no_key() -> None:
    mesh = MockServer(PORTFOLIO | {"components": {}})
    with httpx.Client(transport=mesh.transport(), base_url=mesh.url) as client:
        assert client.get("/api/v1/balance/portfolio?UserId=a").status_code == 200
