"""A mock server that is reached over a socket and in process."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from mesh_facade.testing import MockServer
from tests.testing.support import KEYS, Either


@pytest.fixture(params=["socket", "in-process"])
def either(request: pytest.FixtureRequest) -> Iterator[Either]:
    """Yield a mock server and a bare client that sends the right keys."""
    mock_server = MockServer()
    if request.param == "socket":
        with mock_server, httpx.Client(base_url=mock_server.url, headers=KEYS) as client:
            yield mock_server, client
    else:
        transport = mock_server.transport()
        with httpx.Client(base_url=mock_server.url, headers=KEYS, transport=transport) as client:
            yield mock_server, client
