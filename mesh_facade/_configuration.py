"""Turns what the caller asks for into checked settings, or an error that says what to change."""

import functools
import ipaddress
import os
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import httpx

from mesh_facade._network import Connection, TaskConnection, ThreadConnection, make_connection
from mesh_facade.errors import MeshConfigurationError


def find_base_url(
    environment: str | None, base_url: str | httpx.URL | None, servers: Iterable[str]
) -> httpx.URL:
    """Return where calls go: `base_url` or `MESH_BASE_URL`, else the environment's server."""
    known = {"sandbox" if "sandbox" in server else "production": server for server in servers}
    if environment is None:
        environment = os.environ.get("MESH_ENVIRONMENT") or "production"
    if environment not in sorted(known):
        raise MeshConfigurationError(f"environment must be one of {sorted(known)}: {environment!r}")
    if base_url is None:
        base_url = os.environ.get("MESH_BASE_URL") or known[environment]
    problem, url = "", httpx.URL()
    try:
        url = httpx.URL(base_url)
        if url.scheme not in {"https", "http"} or not url.host:
            problem = "must look like https://host"
        elif url.userinfo or url.query or url.fragment:
            problem = "must have no user name, no query and no fragment"
        elif url.scheme == "http" and not is_loopback(url.host):
            problem = "must start with https://, for plain http shows the keys to the network"
    except (TypeError, httpx.InvalidURL):
        problem = "is no URL"
    if problem:
        raise MeshConfigurationError(f"base_url {problem}")
    return url


def is_loopback(host: str) -> bool:
    """Whether what is said to a host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_seconds(name: str, value: Any) -> None:
    """Refuse what is no span of time."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and 0 < value <= threading.TIMEOUT_MAX):
        raise MeshConfigurationError(f"{name} must be seconds, more than 0, not {value!r}")


def check_count(name: str, value: Any) -> None:
    """Refuse what is no count."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise MeshConfigurationError(f"{name} must be a whole number from 1, not {value!r}")


def find_proxy(url: httpx.URL, proxy: str | httpx.URL | httpx.Proxy | None) -> httpx.Proxy | None:
    """Return the proxy asked for, else the one that the environment's variables name.

    Plain http is for loopback alone: it takes no proxy from the environment, and none elsewhere.
    """
    if proxy is None and url.scheme == "https" and not urllib.request.proxy_bypass(url.host):
        proxies = urllib.request.getproxies()
        proxy = proxies.get("https") or proxies.get("all")
    problem, found = "", None
    try:
        found = proxy if isinstance(proxy, httpx.Proxy) or proxy is None else httpx.Proxy(proxy)
        if found and found.url.scheme == "https":  # TLS in TLS hides what lies behind an answer
            problem = "must be spoken to without TLS: name it http:// or socks5://"
        elif found and url.scheme == "http" and not is_loopback(found.url.host):
            problem = "would see the keys: base_url is plain http"
    except (TypeError, ValueError, httpx.InvalidURL):
        problem = "must look like http://host:port"
    if problem:
        raise MeshConfigurationError(f"proxy {problem}")
    return found


def connection_maker(
    connection_class: type[ThreadConnection | TaskConnection],
    url: httpx.URL,
    proxy: httpx.Proxy | None,
    *,
    verify: bool | ssl.SSLContext,
) -> Callable[[], Connection]:
    """Return a function that makes a connection."""
    problem = ""
    try:
        if isinstance(verify, bool):
            variables = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
            verify = _make_context(*variables, verify=verify and url.scheme == "https")
        make = functools.partial(make_connection, connection_class, url, verify, proxy)
        if isinstance(verify, ssl.SSLContext):
            make()  # what is wrong shows here rather than in the first call
            return make
        problem = "verify must be True, False or an ssl.SSLContext"
    except RuntimeError:
        problem = "this proxy needs another package: pip install 'httpx[socks]'"
    except OSError:
        problem = "SSL_CERT_FILE or SSL_CERT_DIR names nothing that can be read"
    raise MeshConfigurationError(problem)


@functools.lru_cache
def _make_context(*_variables: str | None, verify: bool) -> ssl.SSLContext:
    """Make an SSL context once: to read the certificates takes longer than a dozen calls."""
    return httpx.create_ssl_context(verify=verify)
