"""Which error an answer means: HTTP status and status of the envelope."""

from __future__ import annotations

import json

import pytest

from mesh_facade import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    LockedError,
    MeshAPIError,
    MeshClient,
    MeshError,
    MeshResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnavailableForLegalReasonsError,
)
from tests.operations.support import class_of_result
from tests.support import KEYS, OK, Script, envelope, read, response

CLASS_BY_HTTP_STATUS: dict[int, type[MeshError]] = {
    **dict.fromkeys((101, 300, 301, 302, 303, 304, 307, 308, 399), MeshResponseError),
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    423: LockedError,
    429: RateLimitError,
    451: UnavailableForLegalReasonsError,
    **dict.fromkeys((402, 405, 408, 410, 418, 422, 499), MeshAPIError),
    **dict.fromkeys((500, 502, 503, 504, 520, 522, 529, 599, 600, 999), ServerError),
}


CLASS_BY_STATUS: dict[str, type[MeshError]] = {
    "badRequest": BadRequestError,
    "permissionDenied": PermissionDeniedError,
    "notFound": NotFoundError,
    "conflict": ConflictError,
    "locked": LockedError,
    "tooManyRequest": RateLimitError,
    "unavailableForLegalReasons": UnavailableForLegalReasonsError,
    "serverFailure": ServerError,
}


BODIES_WITHOUT_KNOWN_STATUS = {
    "ok": OK,
    "unknown status": envelope("ofTomorrow"),
    "status of another type": json.dumps({"status": 5}).encode(),
    "no status": b'{"content": {}}',
    "list": b"[]",
    "null": b"null",
    "HTML": b"<html>Bad gateway</html>",
    "nothing": b"",
    "not UTF-8": b"\xff\xfe",
    "a known status twice": b'{"status": "locked", "status": "locked"}',
}


@pytest.mark.parametrize("status", CLASS_BY_STATUS)
@pytest.mark.parametrize("http_status", [200, 202, 299, 302, 400, 401, 404, 429, 500, 520, 999])
def test_known_status_decides_at_any_http_status(http_status: int, status: str) -> None:
    assert class_of_result(http_status, envelope(status)) is CLASS_BY_STATUS[status]


@pytest.mark.parametrize("status", ["BadRequest", "TooManyRequest", "SERVERFAILURE"])
def test_known_status_is_recognized_in_any_case(status: str) -> None:
    known = {name.lower(): error_class for name, error_class in CLASS_BY_STATUS.items()}

    assert class_of_result(200, envelope(status)) is known[status.lower()]


@pytest.mark.parametrize(
    "body", BODIES_WITHOUT_KNOWN_STATUS.values(), ids=BODIES_WITHOUT_KNOWN_STATUS
)
@pytest.mark.parametrize("http_status", CLASS_BY_HTTP_STATUS)
def test_http_status_decides_without_a_known_status(http_status: int, body: bytes) -> None:
    assert class_of_result(http_status, body) is CLASS_BY_HTTP_STATUS[http_status]


@pytest.mark.parametrize("status", ["ofTomorrow", "", "OK ", "Ok", "okay"])
def test_2xx_with_an_unknown_status_raises_api_error(status: str) -> None:
    assert class_of_result(200, envelope(status, content=json.loads(OK)["content"])) is MeshAPIError


@pytest.mark.parametrize("http_status", [200, 201, 204, 299])
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'"ok"', b"1", b'{"status": null}', b'{"status": ["ok"]}'],
)
def test_2xx_without_a_status_raises_response_error(http_status: int, body: bytes) -> None:
    assert class_of_result(http_status, body) is MeshResponseError


@pytest.mark.parametrize("http_status", [200, 201, 202, 206, 226, 299])
def test_any_2xx_with_ok_and_content_is_a_balance(http_status: int) -> None:
    with MeshClient(**KEYS, transport=Script(response(http_status))) as mesh:
        assert mesh.get_account_balance("a-token", "coinbase") == read(OK)
