"""Certificates, and clients that call a server through a proxy, for the tests of proxies."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Protocol

import attrs
import pytest
import trustme

from mesh_facade import MeshTimeoutError
from tests.engine.proxy_servers import Send, http_proxy, send_whole, socks_proxy
from tests.stopwatch import Stopwatch
from tests.support import Peer, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Caller, Mode, Serve

KINDS = ["http", "https", "socks5", "socks5h"]
"""The schemes of the URLs of proxies."""

# --- certificates ---------------------------------------------------------------------------------


@attrs.frozen
class Certificates:
    """A server's certificate, and a context that trusts the authority that issued it."""

    server: ssl.SSLContext
    trust: ssl.SSLContext


def make_certificates() -> Certificates:
    """Return a certificate of a new authority, which no other context trusts."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "mesh.example").configure_cert(server)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return Certificates(server, trust)


# --- a client, a proxy and a server ---------------------------------------------------------------


@attrs.frozen
class ProxySetup:
    """A server, a proxy in front of it, and a client that calls the server through the proxy.

    Attributes:
        caller: The client.
        proxy: The proxy.
        server: The server.
        tunnelled: All that has passed through the proxy's tunnels, in both directions; empty if the
            proxy has a handler of the test's own.
    """

    caller: Caller
    proxy: Server
    server: Server
    tunnelled: list[bytes]


class SetUpProxy(Protocol):
    """Sets up a server, a proxy in front of it, and a client.

    Args:
        kind: One of `KINDS`.
        handle_server: How the server treats a connection.
        handle_proxy: How the proxy treats a connection; None for a proxy that works.
        reply: How a proxy that works sends its own replies: whole or dripping.
        tunnel: How a proxy that works sends what comes from the server.
        options: Options of the client.
    """

    def __call__(
        self,
        kind: str,
        *,
        handle_server: Callable[[Peer], None] = Peer.answer_all,
        handle_proxy: Callable[[Peer], None] | None = None,
        reply: Callable[[Peer], Send] = send_whole,
        tunnel: Callable[[Peer], Send] = send_whole,
        **options: float,
    ) -> ProxySetup: ...


def setup_function(mode: Mode, serve: Serve, certificates: Certificates) -> SetUpProxy:
    """Return the function that the fixture `set_up_proxy` gives to tests."""

    def set_up_proxy(
        kind: str,
        *,
        handle_server: Callable[[Peer], None] = Peer.answer_all,
        handle_proxy: Callable[[Peer], None] | None = None,
        reply: Callable[[Peer], Send] = send_whole,
        tunnel: Callable[[Peer], Send] = send_whole,
        **options: float,
    ) -> ProxySetup:
        tunnelled: list[bytes] = []
        if handle_proxy is None and kind.startswith("socks"):
            handle_proxy = socks_proxy(reply, tunnel, tunnelled=tunnelled)
        elif handle_proxy is None:
            handle_proxy = http_proxy(reply, tunnel, tunnelled=tunnelled)
        proxy_tls = None
        if kind == "https":
            proxy_tls = certificates.server
        server = serve(handle_server, tls=certificates.server)
        proxy = serve(handle_proxy, tls=proxy_tls)
        caller = mode.client(
            base_url=server.url,
            proxy=f"{kind}://127.0.0.1:{proxy.port}",
            verify=certificates.trust,
            **options,
        )
        return ProxySetup(caller, proxy, server, tunnelled)

    return set_up_proxy


# --- deadlines ------------------------------------------------------------------------------------

DEADLINE = 0.5
EARLIEST = 0.05  # seconds by which a timer may end too early
LATEST = 0.4  # seconds by which a call may end too late


def answer_dripping(peer: Peer) -> None:
    """Send a head that takes far longer than `DEADLINE`."""
    peer.receive()
    peer.drip(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 99)


def assert_times_out_after(seconds: float, caller: Caller) -> None:
    """Make a call, and check that it times out then: not much earlier, and not much later."""
    with Stopwatch() as watch, pytest.raises(MeshTimeoutError):
        caller.read()
    assert watch.elapsed > seconds - EARLIEST
    assert watch.seconds < seconds + LATEST  # without those in which the machine stood still
