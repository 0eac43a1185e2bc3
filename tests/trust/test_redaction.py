"""Redaction: secrets that a server echoes are removed from errors and logs."""

from __future__ import annotations

import base64
import json
import logging
import random
import string
import time
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from mesh_facade import BadRequestError, MeshAPIError, MeshError
from tests.faults.observation import try_call
from tests.faults.server import CLOSE, Answer, FaultServer, head
from tests.support import Script, envelope, response
from tests.trust.secret_search import CLIENT_ID, CLIENT_SECRET, TOKEN, leaks_in, leaks_in_logs

if TYPE_CHECKING:
    from tests.conftest import Mode


def _escape_as_dotnet_does(text: str) -> str:
    escaped = json.dumps(text).replace('\\"', "\\u0022")
    return escaped.replace("+", "\\u002B").replace("&", "\\u0026")


def _spellings_of(sent: str) -> dict[str, str]:
    raw = sent.encode()
    return {
        "plain": sent,
        "quoted": urllib.parse.quote(sent, safe=""),
        "quoted for a form": urllib.parse.quote_plus(sent),
        "quoted by Python": urllib.parse.quote(sent),
        "quoted by JavaScript": urllib.parse.quote(sent, safe="!~*'()"),
        "escaped": json.dumps(sent),
        "escaped, with letters as they are": json.dumps(sent, ensure_ascii=False),
        "escaped by PHP": json.dumps(sent).replace("/", "\\/"),
        "escaped by .NET": _escape_as_dotnet_does(sent),
        "stripped": sent.strip(),
        "base64": base64.b64encode(raw).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode(),
    }


def _echo_secrets(http_status: int, status: str) -> Callable[[Answer], list[bytes]]:
    def script(_: Answer) -> list[bytes]:
        secrets = (CLIENT_ID, CLIENT_SECRET, TOKEN + "22")
        echoes = [
            f"{way}: {text}" for secret in secrets for way, text in _spellings_of(secret).items()
        ]
        text = f"You sent {', '.join(echoes)}"
        envelope: dict[str, Any] = {
            "status": status,
            "errorType": text,
            "message": text,
            "displayMessage": text,
            "errorHash": text,
            "teamCode": text,
            "errorData": {text: [text, {"deeper": text}]},
        }
        body = json.dumps(envelope).encode()
        headers = (f"Content-Length: {len(body)}", f"CF-Ray: {CLIENT_SECRET}")
        return [head(*headers, status=f"HTTP/1.1 {http_status} Said") + body]

    return script


@pytest.mark.parametrize("http_status", [200, 400, 401, 403, 429, 500, 599])
@pytest.mark.parametrize(
    "status", ["badRequest", "serverFailure", "ofTomorrow", "ok", TOKEN + "22"]
)
def test_echoed_secrets_are_redacted_from_the_error(
    mode: Mode, fault_server: FaultServer, http_status: int, status: str
) -> None:
    endpoint = fault_server.open(_echo_secrets(http_status, status))
    endpoint.start_fault()
    mesh = mode.client(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, base_url=endpoint.url, max_attempts=1
    )

    error = try_call(mesh.read, TOKEN + "22").error

    assert isinstance(error, MeshError)
    assert leaks_in(error) == {}
    if isinstance(error, MeshAPIError):
        assert "[redacted]" in str(error.message)


def test_echo_outside_http_shows_neither_in_the_error_nor_in_our_log(
    mode: Mode, fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = fault_server.open(lambda answer: [answer.request, CLOSE])
    endpoint.start_fault()
    keys: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    mesh = mode.client(**keys, base_url=endpoint.url, max_attempts=1)

    with caplog.at_level(logging.DEBUG):
        error = try_call(mesh.read, TOKEN).error

    assert error
    assert leaks_in(error) == {}
    ours = [record for record in caplog.records if record.name.startswith("mesh_facade")]
    assert ours
    assert leaks_in_logs(ours) == {}


def test_very_short_secret_is_not_redacted_inside_words(
    mode: Mode, fault_server: FaultServer
) -> None:
    body = b'{"status": "badRequest", "message": "a bad broker"}'
    endpoint = fault_server.open(
        lambda _: [head(f"Content-Length: {len(body)}", status="HTTP/1.1 400 Bad Request") + body]
    )
    endpoint.start_fault()
    mesh = mode.client(client_secret="a", base_url=endpoint.url)

    error = try_call(mesh.read, "b").error

    assert isinstance(error, BadRequestError)
    assert error.message == "a bad broker"


@pytest.mark.parametrize("length", [100, 300, 3000])
def test_long_secret_is_redacted_wherever_it_appears(mode: Mode, length: int) -> None:
    chance = random.Random(length)  # noqa: S311 — the same at each run
    token = "".join(chance.choices(string.ascii_letters, k=length)) + "+/CanaryThree"
    text = f"{token} {token}, {token[:-20]} and {urllib.parse.quote(token, '').lower()} {token}"
    refusal = response(400, envelope("badRequest", message=text))
    mesh = mode.client(transport=Script(refusal), max_attempts=1)

    error = try_call(mesh.read, token).error

    assert "[redacted]" in str(error.message)
    assert "anarythree" not in str(error).lower()
    assert "anarythree" not in str(error.message).lower()


def test_redacting_a_very_long_token_is_fast(mode: Mode) -> None:
    token = TOKEN + "x" * 1_000_000
    refusal = response(400, envelope("badRequest", message=f"no such token: {token}"))
    mesh = mode.client(transport=Script(refusal), deadline=1, max_attempts=1)
    began_at = time.monotonic()

    error = try_call(mesh.read, token).error

    assert time.monotonic() - began_at < 3  # to compile it as a pattern took 4.5
    assert isinstance(error, BadRequestError)
    assert "CanaryThree" not in str(error)
    assert "CanaryThree" not in str(error.message)
    assert "[redacted]" in str(error.message)
