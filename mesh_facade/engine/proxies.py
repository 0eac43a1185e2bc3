"""Which proxy a client uses, if any. It is decided once, when the client is built.

1. The client's own option `proxy`.
2. The first of the variables `https_proxy`, `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY` that names a
   proxy, unless `no_proxy` or `NO_PROXY` lists the server.
3. If none of these four is set: the proxy in the system's settings. Only macOS and Windows have
   such settings, and exceptions in them are heeded.

The variables are read as curl reads them: the name in lower case counts first, an empty one counts
as none, and a proxy without a scheme is an HTTP proxy. `NO_PROXY` is read a little more generously,
as other tools do: curl knows neither ports nor `*.host` in it. The standard library's own reading
knows no blocks of addresses, and httpx's demands a scheme.
"""

import ipaddress
import logging
import os
import re
import urllib.request

import httpx

from mesh_facade.engine.checks import is_loopback, is_well_formed
from mesh_facade.errors import MeshConfigurationError

_PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_NO_PROXY_VARIABLES = ("no_proxy", "NO_PROXY")
_SCHEMES = ("http", "https", "socks5", "socks5h")
_FORMS = "http://host:port, https://host:port or socks5://host:port"
_LARGEST_PORT = 65_535
_LONGEST_CREDENTIAL = 255  # bytes that SOCKS5 has room for
_HTTPS_PORT = 443

_logger = logging.getLogger("mesh_facade")


def find_proxy(url: httpx.URL, proxy: str | httpx.URL | httpx.Proxy | None) -> httpx.Proxy | None:
    """Return the proxy for a server's URL; None if the server is reached directly.

    A variable, or a setting of the system, that cannot be used is skipped, with a warning in the
    log. A server in plain HTTP is on loopback: it takes no proxy from the environment or from the
    system, and as an option none that is elsewhere.

    Args:
        url: The server's URL.
        proxy: The client's option; None to take what the environment or the system says.

    Raises:
        MeshConfigurationError: The option cannot be used.
    """
    found: httpx.Proxy | None = None
    if proxy is not None:
        found = _parse_proxy(proxy)
        if found is None:
            raise MeshConfigurationError(f"proxy must look like {_FORMS}")
    elif url.scheme == "https":
        found = _find_in_environment(url)
    if found is None:
        return None
    if url.scheme == "http" and not is_loopback(found.url.host):
        raise MeshConfigurationError(
            "proxy would see the keys, because base_url is plain http: use an https base_url, or "
            "no proxy"
        )
    return found


def is_socks(proxy: httpx.Proxy | None) -> bool:
    """Return True if a proxy speaks SOCKS5."""
    return proxy is not None and proxy.url.scheme.startswith("socks5")


def _find_in_environment(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that a variable names or, if no variable is set, the system's."""
    if _is_excluded(url):
        return None
    is_any_set = False
    for variable in _PROXY_VARIABLES:
        value = os.environ.get(variable, "").strip()
        if not value:
            continue
        is_any_set = True
        proxy = _parse_proxy(value)
        if proxy is not None:
            return proxy
        _logger.warning("%s is ignored: it must look like %s", variable, _FORMS)
    if is_any_set:
        return None
    return _find_in_system_settings(url)


def _find_in_system_settings(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy in the settings of macOS or Windows; None on other systems."""
    if urllib.request.proxy_bypass(url.host):
        return None
    value = urllib.request.getproxies().get("https", "").strip()
    if not value:
        return None
    proxy = _parse_proxy(value)
    if proxy is None:
        _logger.warning("the system's proxy is ignored: it must look like %s", _FORMS)
    return proxy


def _parse_proxy(proxy: str | httpx.URL | httpx.Proxy) -> httpx.Proxy | None:
    """Return the proxy that a text or a URL describes; None if it describes none."""
    if isinstance(proxy, str):
        proxy = proxy.strip()
        if "://" not in proxy:
            proxy = f"http://{proxy}"
    if not isinstance(proxy, httpx.Proxy):
        try:
            proxy = httpx.Proxy(proxy)
        except (TypeError, ValueError, httpx.InvalidURL):
            return None
    if not _can_be_used(proxy):
        return None
    return proxy


def _can_be_used(proxy: httpx.Proxy) -> bool:
    """Return True if its scheme, host and port are valid, and SOCKS can carry its credentials."""
    url = proxy.url
    if url.scheme not in _SCHEMES or not re.fullmatch(r"[^\s%]+", url.host):
        return False
    if not is_well_formed(url.raw_host.decode("ascii")):
        return False
    if url.port is not None and not 0 < url.port <= _LARGEST_PORT:
        return False
    if not is_socks(proxy) or proxy.raw_auth is None:
        return True
    return all(len(credential) <= _LONGEST_CREDENTIAL for credential in proxy.raw_auth)


# --- NO_PROXY -------------------------------------------------------------------------------------


def _is_excluded(url: httpx.URL) -> bool:
    """Return True if `NO_PROXY` says that a server is reached directly."""
    for variable in _NO_PROXY_VARIABLES:
        value = os.environ.get(variable, "")
        if value:  # the other variable does not count then
            return _is_in_list(url, value, variable)
    return False


def _is_in_list(url: httpx.URL, entries: str, variable: str) -> bool:
    """Return True if an entry names the server of a URL; warn of those that cannot be read."""
    for number, entry in enumerate(re.findall(r"[^,\s]+", entries), start=1):
        try:
            if _matches(entry, url):
                return True
        except ValueError:
            _logger.warning("entry %d of %s is ignored: it cannot be read", number, variable)
    return False


def _matches(entry: str, url: httpx.URL) -> bool:
    """Return True if an entry of `NO_PROXY` names the server of a URL.

    Raises:
        ValueError: The entry cannot be read.
    """
    if entry == "*":
        return True
    if "://" in entry:  # httpx knows entries for one scheme alone
        scheme, _, entry = entry.partition("://")
        if scheme not in {"https", "all"}:
            return False
    address = _parse_address(url.host)
    if "/" in entry:
        block = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        return address is not None and address in block
    name, port = _split_port(entry)
    if port is not None and port != (url.port or _HTTPS_PORT):
        return False
    if address is not None:
        return _parse_address(name) == address
    return _is_in_domain(url.host, name)


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split `host:port`, `[address]:port` or either without a port; None stands for no port.

    Raises:
        ValueError: It is none of these.
    """
    if entry.count(":") > 1 and not entry.startswith("["):
        return str(ipaddress.IPv6Address(entry)), None  # an address without brackets
    found = re.fullmatch(r"(?:\[(?P<address>.*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>\d+))?", entry)
    if found is None:
        raise ValueError(entry)
    host = found["name"]
    if found["address"] is not None:
        host = str(ipaddress.ip_address(found["address"]))
    if found["port"] is None:
        return host, None
    port = int(found["port"])
    if port > _LARGEST_PORT:
        raise ValueError(entry)
    return host, port


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_in_domain(host: str, domain: str) -> bool:
    """Return True if a host is a domain or in it; `*.domain` means only hosts within it."""
    host = host.lower().rstrip(".")
    domain = domain.lower().rstrip(".")
    if domain.startswith("*."):
        return host.endswith(domain[1:])
    domain = domain.lstrip(".")
    if not domain:
        return False
    return host == domain or host.endswith("." + domain)
