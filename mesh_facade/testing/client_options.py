"""The options of the clients that a mock server hands out, so that type checkers know them."""

import ssl
from collections.abc import Awaitable, Callable
from typing import TypedDict

import httpx

from mesh_facade import Attempt


class _SharedOptions(TypedDict, total=False):
    """The options that both clients have with the same type."""

    client_id: str | None
    environment: str | None
    base_url: str | httpx.URL | None
    timeout: float
    deadline: float
    max_attempts: int
    max_connections: int
    proxy: str | httpx.URL | httpx.Proxy | None
    verify: bool | ssl.SSLContext
    on_attempt: Callable[[Attempt], object] | None


class MeshClientOptions(_SharedOptions, total=False):
    """The options of `MeshClient`, which documents them."""

    client_secret: str | Callable[[], str] | None
    transport: httpx.BaseTransport | None


class AsyncMeshClientOptions(_SharedOptions, total=False):
    """The options of `AsyncMeshClient`, which documents them."""

    client_secret: str | Callable[[], str] | Callable[[], Awaitable[str]] | None
    transport: httpx.AsyncBaseTransport | None


class MockServerOptions(TypedDict, total=False):
    """The options of either client that make it call a mock server."""

    client_id: str
    client_secret: str
    base_url: str
    transport: httpx.MockTransport
