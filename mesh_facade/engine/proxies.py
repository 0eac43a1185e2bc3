"""Which proxy a client uses, if any."""

import urllib.request

import httpx

from mesh_facade.engine.checks import is_loopback
from mesh_facade.errors import MeshConfigurationError


def find_proxy(url: httpx.URL, proxy: str | httpx.URL | httpx.Proxy | None) -> httpx.Proxy | None:
    """Return the proxy that was asked for, else the one that the environment's variables name.

    Plain HTTP is for loopback alone: it takes no proxy from the environment, and none elsewhere.

    Raises:
        MeshConfigurationError: The proxy cannot be used.
    """
    if proxy is None and url.scheme == "https" and not urllib.request.proxy_bypass(url.host):
        proxies = urllib.request.getproxies()
        proxy = proxies.get("https") or proxies.get("all")
    if proxy is None:
        return None
    found = proxy if isinstance(proxy, httpx.Proxy) else _parse(proxy)
    if found is None:
        raise MeshConfigurationError("proxy must look like http://host:port or socks5://host:port")
    if found.url.scheme == "https":  # TLS within TLS hides what lies behind an answer
        raise MeshConfigurationError(
            "proxy with https:// is not supported: use http:// or socks5://"
        )
    if url.scheme == "http" and not is_loopback(found.url.host):
        raise MeshConfigurationError("proxy would see the keys: base_url is plain http")
    return found


def _parse(proxy: str | httpx.URL) -> httpx.Proxy | None:
    try:
        return httpx.Proxy(proxy)
    except (TypeError, ValueError, httpx.InvalidURL):
        return None
