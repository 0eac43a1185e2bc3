"""The secrets of a call: where they come from, how they travel, and that nobody reads them."""

import base64
import inspect
import json
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

import httpx

from mesh_facade.errors import MeshConfigurationError, MeshError

ClientSecret = str | Callable[[], str]
AsyncClientSecret = ClientSecret | Callable[[], Awaitable[str]]

_SHORTEST_REDACTED = 8  # to strike out shorter ones would mangle what is said
_DEEPEST_REDACTED = 100  # what is nested more deeply is struck out as a whole
_LONGEST_PATTERN = 2000  # of a longer one the beginning, and all behind it, is struck out


class Credentials(httpx.Auth):
    """The two API keys: checked, sent with each attempt, never printed, copied or pickled."""

    def __init__(
        self, client_id: str | None, client_secret: AsyncClientSecret | None, *, headers: list[str]
    ) -> None:
        key = os.environ.get("MESH_CLIENT_ID") if client_id is None else client_id
        secret = os.environ.get("MESH_CLIENT_SECRET") if client_secret is None else client_secret
        self._headers = headers
        self._id = _checked("client_id", key)
        self.is_rotated = callable(secret)
        self._secret = secret if callable(secret) else _checked("client_secret", secret)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Sign a request."""
        self._sign(request, self._secret() if callable(self._secret) else self._secret)
        yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign a request; the secret may have to be awaited."""
        secret = self._secret() if callable(self._secret) else self._secret
        self._sign(request, await secret if inspect.isawaitable(secret) else secret)
        yield request

    def sent_with(self, request: httpx.Request) -> list[str]:
        """Return the secrets that a signed request carries."""
        return [request.headers[name] for name in self._headers if name in request.headers]

    def _sign(self, request: httpx.Request, secret: Any) -> None:
        secret = secret if secret is self._secret else _checked("client_secret", secret)
        request.headers[self._headers[0]] = self._id
        request.headers[self._headers[1]] = secret

    def __repr__(self) -> str:
        return "Credentials(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials cannot be copied or pickled: they are secrets")


def _checked(name: str, value: Any) -> str:
    problem = f"must be a string, not {type(value).__name__}"
    if value is None or value == "":
        problem = f"is missing: pass {name}= or set MESH_{name.upper()}"
    elif isinstance(value, str):
        if re.fullmatch("[!-~]+", value):  # printable ASCII without the space
            return value
        problem = "holds a space, a line end or another character that no key has"
    elif inspect.iscoroutine(value):
        value.close()
        problem = "comes from an async function, which only AsyncMeshClient can wait for"
    raise MeshConfigurationError(f"{name} {problem}")


def redact(error: MeshError, secrets: Iterable[str]) -> MeshError:
    """Strike out of all that an error says the secrets that a server echoed."""
    spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
    if spellings:
        longest_first = sorted(spellings, key=len, reverse=True)
        alternatives = "|".join(map(_pattern, longest_first))
        pattern = re.compile(alternatives, re.IGNORECASE | re.DOTALL)
        error.args = _redacted(error.args, pattern)
        vars(error).update(_redacted(vars(error), pattern))
    return error


def _spellings(secret: str) -> set[str]:
    """Return a secret as it is, in URLs, in JSON and in base64."""
    if len(secret) < _SHORTEST_REDACTED:
        return set()
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    url_safe = encoded.replace("+", "-").replace("/", "_")
    return {
        secret,
        quote(secret, ""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        encoded,
        url_safe,
    }


def _pattern(spelling: str) -> str:
    """Return what matches a spelling, or no less: to compile a very long one takes seconds."""
    rest = ".*" if len(spelling) > _LONGEST_PATTERN else ""
    return re.escape(spelling[:_LONGEST_PATTERN]) + rest


def _redacted(value: Any, pattern: re.Pattern[str], depth: int = 0) -> Any:
    if isinstance(value, str):
        return pattern.sub("[redacted]", value)
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth > _DEEPEST_REDACTED:
        return "[redacted]"
    if isinstance(value, dict):
        items = value.items()
        return {_redacted(k, pattern): _redacted(v, pattern, depth + 1) for k, v in items}
    return type(value)(_redacted(item, pattern, depth + 1) for item in value)
