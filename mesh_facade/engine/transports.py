"""httpx's own transports, each with a single connection of httpcore in place of its pool.

(With an HTTP proxy, this connection is an `httpcore.HTTPProxy`. By type that is a pool, but the
backend, `SocketConnection`, lets it open only one connection.)

A transport class of our own would be simpler, but the tools that people rely on, OpenTelemetry's
instrumentation and mocks for tests, patch `httpx.HTTPTransport` and would miss our calls. The price
is one name that httpx does not promise: `_pool`, to which a transport hands its requests. A
test checks that httpx's transports use no other private attribute to send a request. It runs weekly
with the newest httpx.

The two classes read alike. httpcore's classes for threads and for tasks have no type in common, so
one function for both would need `Any` for all that it takes and returns.
"""

import ssl

import httpcore
import httpx

from mesh_facade.engine.proxies import is_socks


def find_proxy_context(proxy: httpx.Proxy, ssl_context: ssl.SSLContext) -> ssl.SSLContext | None:
    """Return the context that verifies an `https://` proxy; None for any other proxy.

    The caller's `httpx.Proxy` may have a context of its own. Otherwise, it is the context that
    verifies the server.
    """
    if proxy.url.scheme != "https":
        return None
    return proxy.ssl_context or ssl_context


class ThreadTransport(httpx.HTTPTransport):
    """A transport for threads."""

    def __init__(
        self,
        backend: httpcore.NetworkBackend,
        url: httpx.URL,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
    ) -> None:
        # Not httpx's constructor, which makes a pool and reads the certificates again.
        self._pool = self._make_connection(backend, url, ssl_context, proxy)  # type: ignore[assignment]

    @staticmethod
    def _make_connection(
        backend: httpcore.NetworkBackend,
        url: httpx.URL,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
    ) -> httpcore.ConnectionInterface | httpcore.ConnectionPool:
        if proxy is None or is_socks(proxy):  # the backend speaks to a SOCKS proxy itself
            return httpcore.HTTPConnection(
                httpcore.URL(str(url)).origin, ssl_context=ssl_context, network_backend=backend
            )
        return httpcore.HTTPProxy(
            str(proxy.url),
            proxy.raw_auth,
            proxy.headers.raw,
            ssl_context=ssl_context,
            proxy_ssl_context=find_proxy_context(proxy, ssl_context),
            network_backend=backend,
        )


class TaskTransport(httpx.AsyncHTTPTransport):
    """A transport for tasks."""

    def __init__(
        self,
        backend: httpcore.AsyncNetworkBackend,
        url: httpx.URL,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
    ) -> None:
        # Not httpx's constructor, for the same reason.
        self._pool = self._make_connection(backend, url, ssl_context, proxy)  # type: ignore[assignment]

    @staticmethod
    def _make_connection(
        backend: httpcore.AsyncNetworkBackend,
        url: httpx.URL,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
    ) -> httpcore.AsyncConnectionInterface | httpcore.AsyncConnectionPool:
        if proxy is None or is_socks(proxy):  # the backend speaks to a SOCKS proxy itself
            return httpcore.AsyncHTTPConnection(
                httpcore.URL(str(url)).origin, ssl_context=ssl_context, network_backend=backend
            )
        return httpcore.AsyncHTTPProxy(
            str(proxy.url),
            proxy.raw_auth,
            proxy.headers.raw,
            ssl_context=ssl_context,
            proxy_ssl_context=find_proxy_context(proxy, ssl_context),
            network_backend=backend,
        )
