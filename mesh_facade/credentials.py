"""The two API keys: where they come from, and how they get onto a request.

`_add_key_headers` puts them there, each time before a request is sent. The names of the two headers
are the spec's: `operations/servers.py` takes them from the generated client.
"""

import inspect
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import NoReturn, TypeAlias

import httpx

from mesh_facade.engine.redaction import keeps_secrets_out_of_tracebacks
from mesh_facade.errors import MeshConfigurationError
from mesh_facade.operations.servers import CLIENT_ID_HEADER, CLIENT_SECRET_HEADER

ClientSecret: TypeAlias = str | Callable[[], str]
AsyncClientSecret: TypeAlias = ClientSecret | Callable[[], Awaitable[str]]

_KEY = re.compile("[!-~]+")  # printable ASCII without the space: no key has other characters


class Credentials(httpx.Auth):
    """The two API keys: checked, sent with each attempt, never printed, copied or pickled.

    The engine runs `auth_flow` or `async_auth_flow`, each time before it sends a request (`sign` in
    `engine/waiting.py`). They are the methods of `httpx.Auth`, httpx's interface for signing
    requests. In this package, httpx itself never runs them.

    Attributes:
        has_secret_function: Whether a function, sync or async, returns the secret.
    """

    def __init__(self, client_id: str | None, client_secret: AsyncClientSecret | None) -> None:
        if client_id is None:
            client_id = os.environ.get("MESH_CLIENT_ID")
        if client_secret is None:
            client_secret = os.environ.get("MESH_CLIENT_SECRET")
        self._client_id = _require_key("client_id", client_id)
        self._client_secret: AsyncClientSecret
        if callable(client_secret):
            self._client_secret = client_secret
            self.has_secret_function = True
        else:
            self._client_secret = _require_key("client_secret", client_secret)
            self.has_secret_function = False

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the key headers to a request.

        Exceptions of the secret function propagate.

        Raises:
            MeshConfigurationError: The secret function returned something that cannot be an API
                key.
        """
        if isinstance(self._client_secret, str):
            secret = self._client_secret
        else:
            secret = _require_returned_key(self._client_secret())
        self._add_key_headers(request, secret)
        yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the key headers to a request; await the secret if its function is async.

        Raises the same as `auth_flow`.
        """
        if isinstance(self._client_secret, str):
            secret = self._client_secret
        else:
            given = self._client_secret()
            if inspect.isawaitable(given):
                given = await given
            secret = _require_returned_key(given)
        self._add_key_headers(request, secret)
        yield request

    def secrets_in(self, request: httpx.Request) -> list[str]:
        """Return the keys that a request carries.

        They are not taken from `self`: a secret function may return another secret by now.
        """
        names = (CLIENT_ID_HEADER, CLIENT_SECRET_HEADER)
        return [request.headers[name] for name in names if name in request.headers]

    def _add_key_headers(self, request: httpx.Request, secret: str) -> None:
        request.headers[CLIENT_ID_HEADER] = self._client_id
        request.headers[CLIENT_SECRET_HEADER] = secret

    def __repr__(self) -> str:
        return "Credentials(…)"

    @keeps_secrets_out_of_tracebacks
    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials cannot be copied or pickled: they are secrets")


def _require_returned_key(value: object) -> str:
    """Return what a secret function returned, if it can be an API key.

    Raise MeshConfigurationError otherwise. A missing key and a coroutine get messages of their own,
    because the function is at fault.
    """
    if value is None or value == "":
        raise MeshConfigurationError(
            "client_secret is missing: your function returned None or an empty string"
        )
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that it was never awaited
        raise MeshConfigurationError(
            "client_secret returned a coroutine instead of a key. With MeshClient, the function "
            "must return the key itself: only AsyncMeshClient can await an async function. With "
            "AsyncMeshClient, your function was awaited, and what it returned is also a coroutine: "
            "await the coroutine in your function."
        )
    return _require_key("client_secret", value)


def _require_key(name: str, value: object) -> str:
    """Return a key; raise MeshConfigurationError, without the value, if it cannot be one."""
    if value is None or value == "":
        raise MeshConfigurationError(f"{name} is missing: pass {name}= or set MESH_{name.upper()}")
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that it was never awaited
        advice = "pass a string"
        if name == "client_secret":
            advice = "pass the async function itself, to AsyncMeshClient"
        raise MeshConfigurationError(f"{name} is a coroutine: {advice}")
    if not isinstance(value, str):
        raise MeshConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    if not _KEY.fullmatch(value):
        raise MeshConfigurationError(
            f"{name} holds a space, a line break or another character that no key has"
        )
    return value
