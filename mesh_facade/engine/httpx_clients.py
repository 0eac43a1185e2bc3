"""The httpx clients that generated operations run on.

Generated code calls `request()` on the httpx client that it is given. In these clients, `request()`
passes the request to the engine (`CallLoop.run`). It returns an answer only if the engine accepted
it, and otherwise raises MeshError.
"""

from typing import cast

import httpx

from mesh_facade.engine.engine import AcceptedAnswer, CallLoop
from mesh_facade.engine.strict_json import JSON
from mesh_facade.engine.waiting import run_blocking

ATTEMPTS_HEADER = "mesh-facade-attempts"
"""A header that is added to accepted answers alone: how many attempts it took to get them."""


class AcceptedResponse(httpx.Response):
    """An accepted answer as generated parsers read one: HTTP 200, decoded already.

    It does not call httpx's constructor, which takes as long as all the checks of an answer.
    """

    def __init__(self, accepted: AcceptedAnswer) -> None:
        answer = accepted.answer
        self.status_code = httpx.codes.OK  # parsers know no other 2xx
        self.headers = answer.headers
        self.headers[ATTEMPTS_HEADER] = str(accepted.attempts)
        self._answer_content = answer.content
        self._answer_value = answer.value

    @property
    def content(self) -> bytes:
        return self._answer_content

    def json(self, **kwargs: object) -> JSON:
        del kwargs
        return self._answer_value

    def __repr__(self) -> str:  # httpx's own needs attributes that its constructor sets
        return f"<AcceptedResponse [{self.status_code}]>"


class EngineClient(httpx.Client):
    """Runs a generated operation's sync function."""

    def __init__(self, call_loop: CallLoop) -> None:
        # Never used. Without it, httpx would make a transport of its own, with an SSL context.
        super().__init__(transport=httpx.BaseTransport())
        self._call_loop = call_loop

    def request(self, method: str, url: httpx.URL | str, **options: object) -> httpx.Response:
        return self.send(_build_request(self._call_loop, method, url, options))

    def send(self, request: httpx.Request, **options: object) -> httpx.Response:
        del options
        return AcceptedResponse(run_blocking(self._call_loop.run(request)))


class AsyncEngineClient(httpx.AsyncClient):
    """Runs a generated operation's async function."""

    def __init__(self, call_loop: CallLoop) -> None:
        super().__init__(transport=httpx.AsyncBaseTransport())  # never used, as above
        self._call_loop = call_loop

    async def request(self, method: str, url: httpx.URL | str, **options: object) -> httpx.Response:
        return await self.send(_build_request(self._call_loop, method, url, options))

    async def send(self, request: httpx.Request, **options: object) -> httpx.Response:
        del options
        return AcceptedResponse(await self._call_loop.run(request))


def _build_request(
    call_loop: CallLoop, method: str, url: httpx.URL | str, options: dict[str, object]
) -> httpx.Request:
    """Build a request from the arguments of `request()`."""
    headers = cast("dict[str, str] | None", options.pop("headers", None))
    json_body = options.pop("json", None)
    return call_loop.build_request(method, str(url), headers, json_body, options)
