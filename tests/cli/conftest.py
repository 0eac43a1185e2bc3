"""Fixtures of the command line's tests: a mock Mesh server that it is pointed at."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from mesh_facade import AsyncMeshClient
from mesh_facade.cli import bulk
from mesh_facade.testing import MockServer


@pytest.fixture(scope="module")
def shared() -> Any:
    """Serve one mock server for all tests here: each has tokens of its own."""
    with MockServer() as mock_server:
        yield mock_server


@pytest.fixture
def mesh(shared: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    """Point the command line at a mock server that knows nothing yet."""
    for name, value in shared.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("MESH_AUTH_TOKEN", "MESH_ENVIRONMENT", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    shared.reset()
    return shared


@pytest.fixture
def in_process(mesh: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    """Answer without a socket: coverage loses sight of what stands above a loop that waits."""
    client = functools.partial(AsyncMeshClient, transport=mesh.transport())
    monkeypatch.setattr(bulk, "AsyncMeshClient", client)
    return mesh
