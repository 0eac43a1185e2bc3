"""What calls through a proxy of any kind promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import MeshConnectionError, MeshTLSError
from tests.engine.proxy_servers import http_proxy, socks_proxy
from tests.engine.proxy_support import KINDS, Certificates, SetUpProxy, make_certificates
from tests.support import KEYS, OK, TOKEN, Peer, cash_body, message

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve


@pytest.mark.parametrize("kind", KINDS)
def test_calls_through_a_proxy_succeed(set_up_proxy: SetUpProxy, kind: str) -> None:
    setup = set_up_proxy(kind)

    for _ in range(3):
        assert setup.caller.read().cash("USD")

    connections = 1
    if kind == "https":
        connections = 3  # TLS within TLS hides what follows an answer, so each serves one call
    assert len(setup.server.requests) == 3
    assert setup.proxy.connections == setup.server.connections == connections


@pytest.mark.parametrize("kind", KINDS)
def test_request_to_the_proxy_itself_holds_no_secret(set_up_proxy: SetUpProxy, kind: str) -> None:
    setup = set_up_proxy(kind)

    setup.caller.read()

    assert setup.proxy.requests
    for request in setup.proxy.requests:
        assert TOKEN.encode() not in request
        assert KEYS["client_secret"].encode() not in request


@pytest.mark.parametrize("kind", KINDS)
def test_tunnel_through_a_proxy_is_encrypted(set_up_proxy: SetUpProxy, kind: str) -> None:
    token = "a-token-without-characters-that-json-escapes"
    setup = set_up_proxy(kind)

    setup.caller.read(token)

    tunnelled = b"".join(setup.tunnelled)
    [request] = setup.server.requests
    for secret in (token, KEYS["client_secret"]):
        assert secret.encode() in request
        assert secret.encode() not in tunnelled
    assert len(tunnelled) > len(request)


@pytest.mark.parametrize("kind", ["http", "https"])
def test_large_request_and_large_answer_pass_whole(set_up_proxy: SetUpProxy, kind: str) -> None:
    digits = "1" * 100_000

    def answer_large(peer: Peer) -> None:
        peer.receive()
        peer.answer(cash_body("1.5") + b" " * 900_000)

    setup = set_up_proxy(kind, handle_server=answer_large)

    assert str(setup.caller.read(auth_token=digits).cash("USD")) == "1.5"
    assert digits.encode() in setup.server.requests[0]


@pytest.mark.parametrize("kind", KINDS)
def test_certificate_of_the_server_is_verified_through_a_proxy(
    mode: Mode, serve: Serve, set_up_proxy: SetUpProxy, certificates: Certificates, kind: str
) -> None:
    other_server = serve(tls=make_certificates().server)
    setup = set_up_proxy(kind)
    caller = mode.client(
        base_url=other_server.url,
        proxy=f"{kind}://127.0.0.1:{setup.proxy.port}",
        verify=certificates.trust,
    )

    with pytest.raises(MeshTLSError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert other_server.requests == []


def test_certificate_of_the_proxy_is_verified_before_anything_is_sent(
    mode: Mode, serve: Serve, certificates: Certificates
) -> None:
    server = serve(tls=certificates.server)
    proxy = serve(http_proxy(), tls=make_certificates().server)
    caller = mode.client(
        base_url=server.url,
        proxy=f"https://user:password@127.0.0.1:{proxy.port}",
        verify=certificates.trust,
    )

    with pytest.raises(MeshTLSError):
        caller.read()

    assert proxy.requests == []


def test_proxy_may_have_an_ssl_context_of_its_own(
    mode: Mode, serve: Serve, certificates: Certificates
) -> None:
    others = make_certificates()
    server = serve(tls=certificates.server)
    proxy = serve(http_proxy(), tls=others.server)
    caller = mode.client(
        base_url=server.url,
        proxy=httpx.Proxy(f"https://127.0.0.1:{proxy.port}", ssl_context=others.trust),
        verify=certificates.trust,
    )

    assert caller.read()


def test_proxy_with_tls_is_verified_for_a_server_on_loopback_too(mode: Mode, serve: Serve) -> None:
    proxy = serve(tls=make_certificates().server)
    caller = mode.client(base_url="http://127.0.0.1:1", proxy=f"https://127.0.0.1:{proxy.port}")

    with pytest.raises(MeshTLSError):
        caller.read()

    assert proxy.requests == []


def test_plain_http_on_loopback_goes_through_socks(mode: Mode, serve: Serve) -> None:
    server = serve()
    proxy = serve(socks_proxy())
    caller = mode.client(base_url=server.url, proxy=f"socks5://127.0.0.1:{proxy.port}")

    for _ in range(2):
        assert caller.read()

    assert server.connections == proxy.connections == 1


def end_early(peer: Peer) -> None:
    """Send an answer without its last ten bytes."""
    peer.receive()
    peer.send(message(OK)[:-10])


@pytest.mark.parametrize("kind", KINDS)
def test_answer_cut_short_through_a_proxy_is_a_connection_error(
    set_up_proxy: SetUpProxy, kind: str
) -> None:
    setup = set_up_proxy(kind, handle_server=end_early, max_attempts=1)

    with pytest.raises(MeshConnectionError) as caught:
        setup.caller.read()

    assert type(caught.value) is MeshConnectionError
