"""The OpenAPI document as the mock server needs it: keys, checks of requests, examples.

This module alone imports openapi-core and PyYAML. That takes 0.3 seconds, so it is imported when
the first mock server is made and not before.
"""

import functools
import importlib.resources
from collections.abc import Mapping

import httpx
import yaml
from openapi_core import Config, OpenAPI
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.templating.paths.finders import APICallPathFinder
from openapi_core.testing import MockRequest

from mesh_facade.testing.answers import JSON, NOWHERE, Answer, envelope, write_json

# Validating the document takes longer than most tests, and it was done when it was generated.
_WITHOUT_VALIDATION = Config(spec_validator_cls=None)  # pyright: ignore[reportArgumentType] — as its docs say


@functools.cache
def load_document() -> Mapping[str, JSON]:
    """Read the OpenAPI document that ships with the generated client."""
    source = importlib.resources.files("mesh_connect_client").joinpath("openapi.yaml")
    document: dict[str, JSON] = yaml.safe_load(source.read_bytes())
    return document


class Contract:
    """Checks requests against an OpenAPI document, and finds the document's examples.

    Attributes:
        key_headers: The headers that carry the client's keys, in lower case, each with the key
            that it must hold.
    """

    def __init__(self, document: Mapping[str, JSON], *, client_id: str, client_secret: str) -> None:
        self._openapi = OpenAPI.from_dict(
            {**document, "servers": [{"url": "/"}]}, config=_WITHOUT_VALIDATION
        )
        self.key_headers: dict[str, str] = {}
        for name, header in _key_schemes(document).items():
            key = client_id
            if "secret" in name.lower():
                key = client_secret
            self.key_headers[header.lower()] = key

    def has_right_keys(self, request: httpx.Request) -> bool:
        """Return True if the request carries all keys of the client."""
        return all(request.headers.get(name) == key for name, key in self.key_headers.items())

    def find_refusal(self, request: httpx.Request) -> Answer | None:
        """Return an answer 400 or 404 if the document does not allow the request, or None."""
        checked = _as_openapi_request(request)
        problem = next(self._openapi.iter_request_errors(checked), None)
        if problem is None:
            return None
        if isinstance(problem, PathError):
            return Answer(status=404, body=envelope("notFound", message=str(problem)))
        reason = _describe(problem)
        # openapi-core has this word in its messages about anything that is missing.
        is_missing = "required" in reason.lower()
        error_type = "missingField" if is_missing else "badRequest"
        return Answer(status=400, body=envelope("badRequest", error_type, reason))

    def find_example(self, request: httpx.Request, status: int) -> bytes:
        """Return the document's example of an answer with this status; empty if it has none."""
        checked = _as_openapi_request(request)
        finder = APICallPathFinder(self._openapi.spec)
        try:
            found = finder.find(checked.method, checked.host_url + checked.path)
        except PathError:
            return b""
        operation = found.operation.read_value()
        response = operation["responses"].get(str(status), {})
        for media in response.get("content", {}).values():
            if "example" in media:
                return write_json(media["example"]).encode()
        return b""


def _key_schemes(document: Mapping[str, JSON]) -> dict[str, str]:
    """Return the security schemes that are headers: their names, and the names of the headers."""
    components = document.get("components")
    if not isinstance(components, Mapping):
        return {}
    schemes = components.get("securitySchemes")
    if not isinstance(schemes, Mapping):
        return {}
    headers: dict[str, str] = {}
    for name, scheme in schemes.items():
        if isinstance(scheme, Mapping) and scheme.get("in") == "header":
            headers[name] = str(scheme["name"])
    return headers


def _as_openapi_request(request: httpx.Request) -> MockRequest:
    """Translate a request for openapi-core."""
    parameters = request.url.params
    return MockRequest(
        NOWHERE,  # openapi-core asks for a host; the document names none
        request.method,
        request.url.path,
        args={name: parameters.get_list(name) for name in parameters},
        headers=dict(request.headers),
        data=request.content,
        content_type=request.headers.get("Content-Type", ""),
    )


def _describe(problem: Exception) -> str:
    """Return what is wrong with a request, in the validator's words where it has some."""
    cause = problem.__cause__
    if cause is None:
        return repr(problem)
    schema_errors = getattr(cause, "schema_errors", ())
    if schema_errors:
        return "; ".join([error.message for error in schema_errors])
    return repr(cause)
