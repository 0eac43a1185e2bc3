"""The OpenAPI document as the mock server needs it: keys, checks of requests, examples.

This module alone imports openapi-core and PyYAML. That takes 0.3 seconds, so it is imported when
the first mock server is made and not before.
"""

import functools
import importlib.resources
from collections.abc import Mapping
from typing import Protocol, cast

import httpx
import yaml
from openapi_core import Config, OpenAPI
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.templating.paths.finders import APICallPathFinder
from openapi_core.testing import MockRequest
from openapi_core.validation.request.exceptions import (
    MissingParameterError,
    MissingRequestBodyError,
)
from openapi_core.validation.schemas.exceptions import InvalidSchemaValue

from mesh_facade.testing.answers import JSON, NOWHERE, Answer, envelope, write_json

# Validating a document takes longer than most tests. The document that ships with the generated
# client was validated when the client was generated; a user's own document is not validated.
_WITHOUT_VALIDATION = Config(spec_validator_cls=None)  # pyright: ignore[reportArgumentType] — openapi-core's docs use None


class _SchemaError(Protocol):
    """A validation error of jsonschema.

    Attributes:
        message: What is wrong.
        validator: The keyword of the schema that is not met, such as `required`.
    """

    message: str
    validator: str


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
        # This `servers` replaces the document's own, so a path is found whatever the host.
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
        openapi_request = _as_openapi_request(request)
        try:
            problem = next(self._openapi.iter_request_errors(openapi_request), None)
        except RecursionError:
            return Answer(
                status=400,
                body=envelope("badRequest", "badRequest", "the body is nested too deeply"),
            )
        if problem is None:
            return None
        if isinstance(problem, PathError):
            return Answer(status=404, body=envelope("notFound", message=str(problem)))
        error_type = "badRequest"
        if _lacks_something(problem):
            error_type = "missingField"
        return Answer(status=400, body=envelope("badRequest", error_type, _describe(problem)))

    def find_example(self, request: httpx.Request, status: int) -> bytes:
        """Return the document's example of an answer with this status; empty if it has none."""
        openapi_request = _as_openapi_request(request)
        finder = APICallPathFinder(self._openapi.spec)
        try:
            found = finder.find(
                openapi_request.method, openapi_request.host_url + openapi_request.path
            )
        except PathError:
            return b""
        # Each step into the document with `/` follows references.
        content = found.operation / "responses" / str(status) / "content"
        if not content.exists():
            return b""
        for _, media in content.items():  # noqa: PERF102 — a SchemaPath has no `values`
            if "example" in media:
                return write_json((media / "example").read_value()).encode()
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
        NOWHERE,  # openapi-core asks for a host, and any will do
        request.method,
        request.url.path,
        args={name: parameters.get_list(name) for name in parameters},
        headers=dict(request.headers),
        data=request.content,
        content_type=request.headers.get("Content-Type", ""),
    )


def _lacks_something(problem: Exception) -> bool:
    """Return True if a request lacks a body, a parameter or a field that is required."""
    if isinstance(problem, (MissingRequestBodyError, MissingParameterError)):
        return True
    return any(error.validator == "required" for error in _schema_errors(problem))


def _describe(problem: Exception) -> str:
    """Return what is wrong with a request, in the validator's words where it has some."""
    schema_errors = _schema_errors(problem)
    if schema_errors:
        return "; ".join([error.message for error in schema_errors])
    if problem.__cause__ is not None:
        return repr(problem.__cause__)
    return repr(problem)


def _schema_errors(problem: Exception) -> list[_SchemaError]:
    """Return what a schema forbids in a request; empty if something else is wrong with it."""
    cause = problem.__cause__
    if not isinstance(cause, InvalidSchemaValue):
        return []
    # openapi-core declares plain exceptions, but they are jsonschema's.
    return [cast("_SchemaError", error) for error in cause.schema_errors]
