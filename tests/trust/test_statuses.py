"""Statuses: each HTTP status with each kind of body has exactly one meaning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import (
    AccountBalance,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    LockedError,
    MeshAPIError,
    MeshResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnavailableForLegalReasonsError,
)
from tests.faults.observation import Outcome, try_call
from tests.faults.server import Answer, FaultServer, head

if TYPE_CHECKING:
    from tests.conftest import Mode

CONTENT = {"balances": [{"currencyCode": "USD", "cash": 1}], "totalCashUsdValue": 1}
BODIES = {
    "ok": json.dumps({"status": "ok", "content": CONTENT}).encode(),
    "ok without content": b'{"status": "ok"}',
    "known": json.dumps({"status": "locked", "content": CONTENT}).encode(),
    "known in capitals": json.dumps({"status": "Locked", "content": CONTENT}).encode(),
    "unknown": json.dumps({"status": "ofTomorrow", "content": CONTENT}).encode(),
    "no status": json.dumps({"content": CONTENT}).encode(),
    "status of a wrong type": json.dumps({"status": ["ok"], "content": CONTENT}).encode(),
    "other JSON": b'["ok"]',
    "HTML": b"<html><body>ok</body></html>",
    "empty": b"",
}
BY_HTTP_STATUS = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    423: LockedError,
    429: RateLimitError,
    451: UnavailableForLegalReasonsError,
}


def expected_class(http_status: int, body: str) -> type[object]:
    """Return the class that the contract gives an answer."""
    if body.startswith("known"):
        return LockedError
    if http_status >= 500:
        return ServerError
    if http_status >= 400:
        return BY_HTTP_STATUS.get(http_status, MeshAPIError)
    if http_status < 300 and body == "ok":
        return AccountBalance
    if http_status < 300 and body == "unknown":
        return MeshAPIError
    return MeshResponseError


def is_as_expected(outcome: Outcome, http_status: int, body: str) -> bool:
    expected = expected_class(http_status, body)
    if outcome.error is None or expected is AccountBalance:
        return type(outcome.value) is expected
    error = outcome.error
    if type(error) is not expected:
        return False
    return vars(error)["attempts"] == 1 and vars(error)["http_status"] == http_status


@pytest.mark.parametrize("body", BODIES)
def test_each_status_from_200_to_999_has_one_meaning(mode: Mode, body: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        token = json.loads(request.content)["authToken"]
        return httpx.Response(int(token), content=BODIES[body])

    mesh = mode.client(transport=httpx.MockTransport(answer), max_attempts=1)

    outcomes = {status: try_call(mesh.read, str(status)) for status in range(200, 1000)}

    assert {
        status: outcome.error or outcome.value
        for status, outcome in outcomes.items()
        if not is_as_expected(outcome, status, body)
    } == {}


def _with_interims(answer: Answer) -> list[bytes]:
    body = BODIES["ok"]
    start = head(f"Content-Length: {len(body)}", status=f"HTTP/1.1 {answer.amount} Said")
    return [_INTERIMS, start + body]


_INTERIMS = b"".join(
    head("Link: </a>; rel=preload", status=f"HTTP/1.1 {status} Wait") for status in (100, 102, 103)
)
_WITHOUT_BODY = {204, 304}


def test_interim_answers_change_no_meaning(mode: Mode, fault_server: FaultServer) -> None:
    endpoint = fault_server.open(_with_interims)
    endpoint.start_fault()
    mesh = mode.client(base_url=endpoint.url, max_attempts=1)
    statuses = range(200, 1000, 3)

    outcomes = {status: try_call(mesh.read, f"token-{status}") for status in statuses}

    assert {
        status: outcome.error or outcome.value
        for status, outcome in outcomes.items()
        if not is_as_expected(outcome, status, "empty" if status in _WITHOUT_BODY else "ok")
    } == {}
