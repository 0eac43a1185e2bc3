"""Errors of calls whose proxy refuses to connect."""

from __future__ import annotations

import pytest

from mesh_facade import MeshConnectionError
from tests.engine.proxy_servers import http_proxy, socks_proxy
from tests.engine.proxy_support import SetUpProxy
from tests.support import Peer


@pytest.fixture
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh_facade.engine.retries.FIRST_BACKOFF", 0.0)


@pytest.mark.usefixtures("_no_backoff")
@pytest.mark.parametrize("kind", ["http", "https"])
@pytest.mark.parametrize(
    ("status", "attempts"),
    [(301, 1), (400, 1), (403, 1), (407, 1), (408, 3), (429, 3), (502, 3), (503, 3), (504, 3)],
)
def test_refusal_of_a_proxy_names_its_status(
    set_up_proxy: SetUpProxy, kind: str, status: int, attempts: int
) -> None:
    answer = f"HTTP/1.1 {status} canary\r\nContent-Length: 0\r\n\r\n".encode()
    setup = set_up_proxy(kind, handle_proxy=http_proxy(answer=answer))

    with pytest.raises(MeshConnectionError) as caught:
        setup.caller.read()

    assert type(caught.value) is MeshConnectionError
    assert str(caught.value) == f"the proxy refused to connect: HTTP {status}"
    assert caught.value.is_transient == (attempts > 1)
    assert caught.value.attempts == setup.proxy.connections == attempts


@pytest.mark.usefixtures("_no_backoff")
@pytest.mark.parametrize(
    ("code", "reason", "attempts"),
    [
        (1, "general failure", 3),
        (2, "not allowed by its rules", 1),
        (4, "host unreachable", 3),
        (5, "connection refused", 3),
        (7, "command not supported", 1),
        (99, "unknown", 1),
    ],
)
def test_refusal_of_a_socks_proxy_names_its_reply(
    set_up_proxy: SetUpProxy, code: int, reason: str, attempts: int
) -> None:
    setup = set_up_proxy("socks5", handle_proxy=socks_proxy(code=code))

    with pytest.raises(MeshConnectionError) as caught:
        setup.caller.read()

    message = f"the proxy refused to connect: SOCKS reply {code} ({reason})"
    assert str(caught.value) == message
    assert caught.value.attempts == setup.proxy.connections == attempts


def hang_up(_: Peer) -> None:
    """End a connection as soon as it is open."""


def test_proxy_that_hangs_up_is_a_connection_error(set_up_proxy: SetUpProxy) -> None:
    setup = set_up_proxy("socks5", handle_proxy=hang_up, max_attempts=1)

    with pytest.raises(MeshConnectionError, match="the connection failed"):
        setup.caller.read()
