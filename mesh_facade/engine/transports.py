"""httpx's own transports, each on the one connection that it is given instead of a pool.

A transport class of our own would be simpler, but the tools that people rely on, OpenTelemetry's
instrumentation and mocks for tests, patch `httpx.HTTPTransport` and would miss our calls. The price
is one name that httpx does not promise, `_pool`: to it the transport hands its requests. A test
says what httpx may do with it, and runs weekly on the newest httpx.
"""

import ssl

import httpcore
import httpx


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
        if proxy is None:
            return httpcore.HTTPConnection(
                httpcore.URL(str(url)).origin, ssl_context=ssl_context, network_backend=backend
            )
        if proxy.url.scheme.startswith("socks5"):
            return httpcore.SOCKSProxy(
                str(proxy.url),
                proxy.raw_auth,
                ssl_context=ssl_context,
                network_backend=backend,
            )
        return httpcore.HTTPProxy(
            str(proxy.url),
            proxy.raw_auth,
            proxy.headers.raw,
            ssl_context=ssl_context,
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
        if proxy is None:
            return httpcore.AsyncHTTPConnection(
                httpcore.URL(str(url)).origin, ssl_context=ssl_context, network_backend=backend
            )
        if proxy.url.scheme.startswith("socks5"):
            return httpcore.AsyncSOCKSProxy(
                str(proxy.url),
                proxy.raw_auth,
                ssl_context=ssl_context,
                network_backend=backend,
            )
        return httpcore.AsyncHTTPProxy(
            str(proxy.url),
            proxy.raw_auth,
            proxy.headers.raw,
            ssl_context=ssl_context,
            network_backend=backend,
        )
