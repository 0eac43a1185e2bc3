"""Which proxy a client uses, if any. It is decided once, when the client is built.

1. The client's own option `proxy`.
2. The first of the variables `https_proxy`, `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY` that names a
   proxy.
3. If none of these four is set: the proxy in the system's settings. Only macOS and Windows have
   such settings. They also list hosts that are reached directly, and those lists are applied.

A server that `no_proxy` or `NO_PROXY` lists is reached directly, unless the option `proxy` is set.

The variables are read as curl reads them: the name in lower case takes precedence, an empty
variable counts as not set, and a proxy without a scheme is an HTTP proxy. Some entries of
`NO_PROXY` that curl does not understand are understood here, as by other tools: those with a port,
and `*.host`.

The standard library's reader of these variables is not used, because it knows no blocks of
addresses in `NO_PROXY`; nor is httpx's, which builds on it. `httpx.Proxy` parses each proxy, after
a missing scheme was added.
"""

import ipaddress
import logging
import os
import re
import urllib.request
from typing import TYPE_CHECKING

import httpx

from mesh_facade.engine.checks import (
    LARGEST_PORT,
    has_valid_port,
    has_well_formed_host,
    is_loopback,
)
from mesh_facade.errors import MeshConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_NO_PROXY_VARIABLES = ("no_proxy", "NO_PROXY")
_SCHEMES = ("http", "https", "socks5", "socks5h")
_FORMS = "http://host:port, https://host:port, socks5://host:port or socks5h://host:port"
_LONGEST_CREDENTIAL = 255  # bytes that SOCKS5 has room for
_HTTPS_PORT = 443

# An entry of NO_PROXY, without its scheme.
_HOST_AND_PORT = re.compile(
    r"""
    (?: \[ (?P<address>.*) \] | (?P<name>[^:\[\]]*) )
    (?: : (?P<port>\d+) )?
    """,
    re.VERBOSE,
)

_logger = logging.getLogger("mesh_facade")


def find_proxy(url: httpx.URL, proxy: str | httpx.URL | httpx.Proxy | None) -> httpx.Proxy | None:
    """Return the proxy for a server's URL; None if the server is reached directly.

    A variable, or a setting of the system, that cannot be used is skipped, with a warning in the
    log.

    For an `http://` server, which is always on loopback, proxies of the environment and of the
    system are ignored, and the option must name a proxy on loopback too.

    Args:
        url: The server's URL.
        proxy: The client's option; None to take what the environment or the system says.

    Raises:
        MeshConfigurationError: The option cannot be used.
    """
    if proxy is None:
        if url.scheme == "http":
            return None
        return _find_configured_proxy(url)
    chosen = _parse_option(proxy)
    if url.scheme == "http" and not is_loopback(chosen.url.host):
        raise MeshConfigurationError(
            "proxy would see the keys, because base_url is plain http: use an https base_url, a "
            "proxy on this machine, such as http://127.0.0.1:8080, or no proxy"
        )
    return chosen


def is_socks(proxy: httpx.Proxy | None) -> bool:
    """Return True if a proxy speaks SOCKS5."""
    return proxy is not None and proxy.url.scheme.startswith("socks5")


def uses_tls(url: httpx.URL, proxy: httpx.Proxy | None) -> bool:
    """Return True if connections to this server, through this proxy, speak TLS with either."""
    if url.scheme == "https":
        return True
    return proxy is not None and proxy.url.scheme == "https"


def _parse_option(option: str | httpx.URL | httpx.Proxy) -> httpx.Proxy:
    """Return the proxy that the client's option names.

    Raises:
        MeshConfigurationError: The option cannot be used.
    """
    try:
        return _parse_proxy(option)
    except ValueError as error:
        problem = str(error)
    # Raised after the `except` block. Within it, httpx's error, which may quote a password, would
    # become the context of this one.
    raise MeshConfigurationError(f"proxy {problem}")


def _find_configured_proxy(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that a variable names or, if no variable is set, the system's."""
    if _is_excluded(url):
        return None
    is_any_set = False
    for variable in _PROXY_VARIABLES:
        value = os.environ.get(variable, "").strip()
        if not value:
            continue
        is_any_set = True
        try:
            return _parse_proxy(value)
        except ValueError as error:
            # Not `error` itself: a handler may keep it, and its cause may hold a password.
            _logger.warning("%s is ignored: it %s", variable, str(error))
    if is_any_set:
        return None
    return _find_in_system_settings(url)


def _find_in_system_settings(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy in the settings of macOS or Windows; None on other systems."""
    value = _read_system_proxies().get("https", "").strip()
    if not value or _is_excluded_by_system(url):
        return None
    try:
        return _parse_proxy(value)
    except ValueError as error:
        # Not `error` itself, as above.
        _logger.warning("the system's proxy is ignored: it %s", str(error))
        return None


def _read_system_proxies() -> dict[str, str]:
    """Return the proxies in the system's settings by scheme; none if the system has no settings.

    `urllib.request.getproxies` will not do: if any variable that ends in `_proxy` is set, even
    `NO_PROXY`, it leaves the system's settings out. So this calls the functions behind it. Each of
    them exists on one system only.
    """
    for name in ("getproxies_macosx_sysconf", "getproxies_registry"):
        read: Callable[[], dict[str, str]] | None = getattr(urllib.request, name, None)
        if read is not None:
            return read()
    return {}


def _is_excluded_by_system(url: httpx.URL) -> bool:
    """Return True if the system's settings say that a server is reached directly."""
    for name in ("proxy_bypass_macosx_sysconf", "proxy_bypass_registry"):
        find_bypass: Callable[[str], bool] | None = getattr(urllib.request, name, None)
        if find_bypass is not None:
            # The settings may name the host in letters of any script, or encoded (`xn--…`).
            return bool(find_bypass(_decoded_host(url)) or find_bypass(_encoded_host(url)))
    return False


def _parse_proxy(value: str | httpx.URL | httpx.Proxy) -> httpx.Proxy:
    """Return the proxy that a text or a URL names.

    Raises:
        ValueError: It cannot be used. The message says why, without a subject, such as `must have
            a port from 1 to 65535`; it quotes nothing, because the value may hold a password.
    """
    proxy = _build_proxy(value)
    _check_proxy(proxy)
    return proxy


def _build_proxy(value: str | httpx.URL | httpx.Proxy) -> httpx.Proxy:
    """Return httpx's proxy for a text or a URL; a text without a scheme names an HTTP proxy."""
    if isinstance(value, httpx.Proxy):
        return value
    if isinstance(value, str):
        value = value.strip()
        if "://" not in value:
            value = f"http://{value}"
    try:
        return httpx.Proxy(value)
    except (TypeError, ValueError, httpx.InvalidURL) as error:
        raise ValueError(f"must look like {_FORMS}") from error


def _check_proxy(proxy: httpx.Proxy) -> None:
    """Raise ValueError unless scheme, host, port and, for SOCKS, the credentials can be used."""
    url = proxy.url
    if url.scheme not in _SCHEMES:
        raise ValueError(f"must look like {_FORMS}")
    if not has_well_formed_host(url):
        raise ValueError(f"must look like {_FORMS}: its host is missing or malformed")
    if not has_valid_port(url):
        raise ValueError(f"must have a port from 1 to {LARGEST_PORT}")
    if is_socks(proxy) and proxy.raw_auth is not None:
        for credential in proxy.raw_auth:
            if len(credential) > _LONGEST_CREDENTIAL:
                raise ValueError(
                    f"must have a user name and a password of at most {_LONGEST_CREDENTIAL} bytes "
                    "each, because SOCKS5 has no room for more"
                )


# --- NO_PROXY -------------------------------------------------------------------------------------


def _is_excluded(url: httpx.URL) -> bool:
    """Return True if `NO_PROXY` says that a server is reached directly."""
    for variable in _NO_PROXY_VARIABLES:
        value = os.environ.get(variable, "")
        if value:  # as in curl, the other one is ignored then, even if this one is only spaces
            return _is_in_list(url, value, variable)
    return False


def _is_in_list(url: httpx.URL, entries: str, variable: str) -> bool:
    """Return True if an entry names the server of a URL; warn of those that cannot be read."""
    for number, entry in enumerate(re.findall(r"[^,\s]+", entries), start=1):
        try:
            if _matches(entry, url):
                return True
        except ValueError:
            _logger.warning(
                "entry %d of %s is ignored: it must be a host or an address, with or without "
                "a port, or a block of addresses such as 10.0.0.0/8",
                number,
                variable,
            )
    return False


def _matches(entry: str, url: httpx.URL) -> bool:
    """Return True if an entry of `NO_PROXY` names the server of a URL.

    Raises:
        ValueError: The entry cannot be read.
    """
    if entry == "*":
        return True
    if "://" in entry:  # as in httpx, an entry may be for one scheme only
        scheme, _, entry = entry.partition("://")
        if scheme.lower() not in {"https", "all"}:
            return False
    server_host = _encoded_host(url)
    server_address = _parse_address(server_host)
    if "/" in entry:
        block = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        return server_address is not None and server_address in block
    name, port = _split_port(entry)
    if port is not None and port != (url.port or _HTTPS_PORT):
        return False
    if server_address is not None:
        return _parse_address(name) == server_address
    return _is_in_domain(server_host, name)


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split `host:port`, `[address]:port` or either without a port; None stands for no port.

    Raises:
        ValueError: It is none of these.
    """
    if entry.count(":") > 1 and not entry.startswith("["):
        return str(ipaddress.IPv6Address(entry)), None  # an address without brackets
    parts = _HOST_AND_PORT.fullmatch(entry)
    if parts is None:
        raise ValueError(entry)
    host = parts["name"]
    if parts["address"] is not None:
        host = str(ipaddress.ip_address(parts["address"]))
    if parts["port"] is None:
        return host, None
    port = int(parts["port"])
    if port > LARGEST_PORT:
        raise ValueError(entry)
    return host, port


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_in_domain(host: str, domain: str) -> bool:
    """Return True if a host is a domain or in it; `*.domain` means only hosts within it.

    Args:
        host: The host, encoded.
        domain: The domain, encoded or not.

    Raises:
        ValueError: No domain can have that name.
    """
    host = host.lower().rstrip(".")
    domain = domain.lower().rstrip(".")
    if domain.startswith("*."):
        return host.endswith("." + _encode_domain(domain[2:]))
    domain = domain.lstrip(".")
    if not domain:
        return False
    domain = _encode_domain(domain)
    return host == domain or host.endswith("." + domain)


def _encoded_host(url: httpx.URL) -> str:
    """Return the host of a URL in ASCII: with `xn--…` for other letters.

    `url.host` has either spelling: httpx decodes it only if the first label is encoded.
    """
    return url.raw_host.decode("ascii")


def _decoded_host(url: httpx.URL) -> str:
    """Return the host of a URL with each of its labels in letters of any script."""
    labels: list[str] = []
    for label in _encoded_host(url).split("."):
        try:
            labels.append(httpx.URL(scheme="https", host=label).host)
        except (ValueError, httpx.InvalidURL):
            labels.append(label)  # it begins with `xn--`, but encodes nothing
    return ".".join(labels)


def _encode_domain(domain: str) -> str:
    """Return a domain in ASCII, encoded as httpx encodes the host of a URL.

    Raises:
        ValueError: No domain can have that name.
    """
    if domain.isascii():
        return domain
    try:
        return _encoded_host(httpx.URL(scheme="https", host=domain))
    except httpx.InvalidURL as error:
        raise ValueError(domain) from error
